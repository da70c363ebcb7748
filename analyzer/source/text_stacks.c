/* SPDX-License-Identifier: Apache-2.0 */
#include "source/text_stacks.h"

#include "base/limits.h"
#include "format/stack_text.h"

#include <inttypes.h>
#include <stdlib.h>

/* A call, read and named; all but the function may be missing. */
struct told_frame {
    struct frame frame;
    uint64_t pc, offset;
    uint32_t module;
};

/* A thread's wait, turned into a line of stackgroup's own once all holders are known. */
struct thread_wait {
    uint32_t member;
    uint64_t waiter_id, address, holder_id;
    struct text kind, name, how; /* how: " to read" and the like */
    bool has_no_owner;           /* kinds that nobody holds */
};

/* Who has an object of the JVM. */
struct thread_hold {
    uint64_t address, id;
};

struct thread_address {
    uint64_t address, id;
};

struct stacks {
    struct text_build *build;
    bool are_headless;  /* no thread has a head: all are read */
    bool has_addresses; /* every frame has one */
    /* The thread under way. */
    bool is_open;
    struct stack_item head;
    struct text state;
    struct told_frame *frames;
    size_t frame_count, frame_capacity;
    bool is_native_leaf; /* the JVM's "Native Method" on top */
    bool has_wait;
    struct thread_wait wait;
    uint64_t held_first; /* of its holds */
    /* Of the whole text. */
    struct intern_table ids; /* of threads that were read */
    struct thread_wait *waits;
    size_t wait_count, wait_capacity;
    struct thread_hold *holds;
    size_t hold_count, hold_capacity;
    struct thread_address *addresses; /* pthread_t of each thread that tells it */
    size_t address_count, address_capacity;
    struct intern_table module_paths; /* number - 1 is the module */
    struct module *modules;
    size_t module_count, module_capacity;
    uint64_t repeated, without_stack;
};

/* What the text tells as a whole, before its threads are read. */
static void look_ahead(struct stacks *stacks, struct text text)
{
    struct stack_text reader;
    struct stack_item item;
    stacks->are_headless = stacks->has_addresses = true;
    stack_text_init(&reader, text);
    for (stack_text_next(&reader, &item); item.kind != STACK_ITEM_END; stack_text_next(&reader, &item)) {
        if (item.kind == STACK_ITEM_THREAD)
            stacks->are_headless &= item.tool == STACK_TOOL_NONE;
        if (item.kind == STACK_ITEM_FRAME)
            stacks->has_addresses &= item.pc != 0;
    }
}

static uint32_t find_module(struct stacks *stacks, struct text path)
{
    if (path.length == 0)
        return index_none;
    uint32_t number = intern_table_add(&stacks->module_paths, path);
    if (number == stacks->module_count + 1) { /* 0 is the empty text */
        stacks->modules = arena_grow(stacks->build->keep, stacks->modules, stacks->module_count,
                                     &stacks->module_capacity, sizeof *stacks->modules);
        stacks->modules[stacks->module_count++] =
            (struct module){.path = text_copy(stacks->build->keep, path), .is_elf = true};
    }
    return number - 1;
}

static bool is_start(struct text name, struct text start)
{
    do
        while (name.length != 0 && name.data[0] == '_')
            name = text_from(name, 1);
    while (text_take_prefix(&name, TEXT("GI_")));
    return text_starts_with(name, start);
}

/* What gdb prints of a lock function's arguments, where there is debug information. */
static void take_native_wait(struct stacks *stacks, const struct stack_item *item)
{
    static const struct {
        struct text function, argument, kind, how;
        bool has_no_owner;
    } rows[] = {
        {{"pthread_mutex_", 14}, {"mutex", 5}, {"mutex", 5}, {"", 0}, false},
        {{"pthread_rwlock_rd", 17}, {"rwlock", 6}, {"rwlock", 6}, {" to read", 8}, false},
        {{"pthread_rwlock_wr", 17}, {"rwlock", 6}, {"rwlock", 6}, {" to write", 9}, false},
        {{"pthread_cond_", 13}, {"cond", 4}, {"cond", 4}, {"", 0}, true},
        {{"pthread_barrier_wait", 20}, {"barrier", 7}, {"barrier", 7}, {"", 0}, true},
        {{"new_sem_wait", 12}, {"sem", 3}, {"semaphore", 9}, {"", 0}, true},
        {{"pthread_clockjoin", 17}, {"threadid", 8}, {"join", 4}, {"", 0}, false},
        {{"pthread_timedjoin", 17}, {"threadid", 8}, {"join", 4}, {"", 0}, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && !stacks->has_wait; i++) {
        uint64_t address;
        struct text symbol;
        if (!is_start(item->function, rows[i].function) ||
            !stack_argument_find(item->arguments, rows[i].argument, &address, &symbol))
            continue;
        stacks->has_wait = true;
        stacks->wait = (struct thread_wait){
            .address = address,
            .kind = rows[i].kind,
            .name = symbol,
            .how = rows[i].how,
            .has_no_owner = rows[i].has_no_owner,
        };
    }
}

/* java.util.concurrent's own objects, by their class. What is not here may be anything. */
static bool find_parking(struct text class, struct text *ret_kind, bool *ret_has_no_owner)
{
    static const struct {
        struct text part, kind;
        bool has_no_owner;
    } rows[] = {
        {{"ConditionObject", 15}, {"cond", 4}, true},   {{"ReentrantReadWriteLock", 22}, {"rwlock", 6}, false},
        {{"ReentrantLock", 13}, {"mutex", 5}, false},   {{"Semaphore", 9}, {"semaphore", 9}, true},
        {{"CountDownLatch", 14}, {"barrier", 7}, true}, {{"CyclicBarrier", 13}, {"barrier", 7}, true},
        {{"Phaser", 6}, {"barrier", 7}, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (text_find(class, rows[i].part) != SIZE_MAX) {
            *ret_kind = rows[i].kind;
            *ret_has_no_owner = rows[i].has_no_owner;
            return true;
        }
    return false;
}

static void take_lock(struct stacks *stacks, const struct stack_item *item)
{
    struct thread_wait wait = {.address = item->address, .name = item->name};
    switch (item->lock) {
    case STACK_LOCK_HELD:
        stacks->holds = arena_grow(stacks->build->scratch, stacks->holds, stacks->hold_count, &stacks->hold_capacity,
                                   sizeof *stacks->holds);
        stacks->holds[stacks->hold_count++] = (struct thread_hold){item->address, stacks->head.id};
        return;
    case STACK_LOCK_WAITED_TO_ENTER:
        wait.kind = TEXT("mutex");
        break;
    case STACK_LOCK_WAITED_ON:
        wait.kind = TEXT("cond");
        wait.has_no_owner = true;
        break;
    case STACK_LOCK_PARKED:
        if (!find_parking(item->name, &wait.kind, &wait.has_no_owner))
            return;
        break;
    }
    if (stacks->has_wait) /* the innermost is the one */
        return;
    stacks->has_wait = true;
    stacks->wait = wait;
}

static void take_frame(struct stacks *stacks, const struct stack_item *item)
{
    struct text_build *build = stacks->build;
    if (stacks->frame_count >= limit_frames) {
        build->frames_over++;
        return;
    }
    if (stacks->frame_count == 0)
        stacks->is_native_leaf = text_equals(item->file, TEXT("Native Method"));
    take_native_wait(stacks, item);
    stacks->frames = arena_grow(build->scratch, stacks->frames, stacks->frame_count, &stacks->frame_capacity,
                                sizeof *stacks->frames);
    stacks->frames[stacks->frame_count++] = (struct told_frame){
        .frame = {.function = text_build_string(build, item->function),
                  .file = text_build_string(build, item->file),
                  .line = item->line > UINT32_MAX ? 0 : (uint32_t)item->line},
        .pc = item->pc,
        /* Of the address in the call, as everywhere; what is told is the address itself. */
        .offset = item->module_offset - (item->module_offset != 0 && stacks->frame_count > 1),
        .module = find_module(stacks, item->module),
    };
}

static void take_place(struct stacks *stacks, const struct stack_item *item)
{
    if (stacks->frame_count == 0)
        return;
    struct frame *frame = &stacks->frames[stacks->frame_count - 1].frame;
    frame->file = text_build_string(stacks->build, item->file);
    frame->line = item->line > UINT32_MAX ? 0 : (uint32_t)item->line;
}

/* Frames at one address are calls inlined there, and the one that holds them. */
static void add_steps(struct stacks *stacks)
{
    enum { frames_max = limit_inline_depth };
    struct frame frames[frames_max];
    for (size_t i = 0, run; i < stacks->frame_count; i += run) {
        const struct told_frame *first = &stacks->frames[i];
        run = 1;
        while (stacks->has_addresses && i + run < stacks->frame_count && run < frames_max &&
               stacks->frames[i + run].pc == first->pc)
            run++;
        for (size_t k = 0; k < run; k++)
            frames[k] = stacks->frames[i + k].frame;
        struct text_location location = {
            /* Locations are looked up one below, and the leaf's address is its own. */
            .pc = stacks->has_addresses ? first->pc + (i == 0) : 0,
            .offset = first->offset,
            .module = first->module,
            .frame_count = (uint32_t)run,
        };
        text_build_step(stacks->build, text_build_location(stacks->build, &location, frames), TRUST_TOLD);
    }
}

/* "TIMED_WAITING (parking)" in words; a thread in native code is RUNNABLE to the JVM, whether it runs or not. */
static uint32_t state_string(struct stacks *stacks)
{
    enum { bytes_max = 64 };
    char words[bytes_max];
    struct text state = stacks->state;
    if (text_starts_with(state, TEXT("RUNNABLE")) && stacks->is_native_leaf)
        state = TEXT("native code");
    if (state.length == 0 || state.length > bytes_max)
        return 0;
    for (size_t i = 0; i < state.length; i++) {
        char c = state.data[i];
        words[i] = c == '_' ? ' ' : c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    return text_build_string(stacks->build, (struct text){words, state.length});
}

static void close_thread(struct stacks *stacks)
{
    struct text_build *build = stacks->build;
    if (!stacks->is_open)
        return;
    stacks->is_open = false;
    /* The JVM's own threads have no frames of Java: only their names are told. */
    if (stacks->frame_count == 0 && stacks->head.tool == STACK_TOOL_JVM) {
        stacks->without_stack++;
        return;
    }
    uint32_t state = state_string(stacks);
    enum stack_end end = stacks->frame_count == 0 ? STACK_END_NOT_TOLD : STACK_END_OUTERMOST;
    add_steps(stacks);
    uint32_t stack = text_build_stack(build, end, 0, 0);
    struct member *member = text_build_member(build, stack, 1);
    uint32_t number = (uint32_t)(build->snapshot->member_count - 1);
    member->id = stacks->head.id;
    member->state = state;
    if (stacks->head.name.length != 0)
        text_build_thread(build)->name = text_build_string(build, stacks->head.name);
    if (stacks->head.address != 0) {
        stacks->addresses = arena_grow(build->scratch, stacks->addresses, stacks->address_count,
                                       &stacks->address_capacity, sizeof *stacks->addresses);
        stacks->addresses[stacks->address_count++] = (struct thread_address){stacks->head.address, stacks->head.id};
    }
    if (!stacks->has_wait)
        return;
    stacks->wait.member = number;
    stacks->wait.waiter_id = stacks->head.id;
    /* Object.wait gave the object up, though its frames still say "locked". */
    for (size_t i = stacks->held_first; i < stacks->hold_count; i++)
        if (stacks->holds[i].address == stacks->wait.address)
            stacks->holds[i].id = 0;
    stacks->waits =
        arena_grow(build->scratch, stacks->waits, stacks->wait_count, &stacks->wait_capacity, sizeof *stacks->waits);
    stacks->waits[stacks->wait_count++] = stacks->wait;
}

/* Dumps taken one after the other are often in one file: the first of each thread is read. */
static void open_thread(struct stacks *stacks, const struct stack_item *item)
{
    close_thread(stacks);
    if (item->tool == STACK_TOOL_NONE && !stacks->are_headless)
        return;
    size_t known = stacks->ids.count;
    if (item->id != 0 &&
        intern_table_add(&stacks->ids, (struct text){(const char *)&item->id, sizeof item->id}) != known) {
        stacks->repeated++;
        return;
    }
    stacks->is_open = true;
    stacks->head = *item;
    stacks->state = item->text;
    stacks->frame_count = 0;
    stacks->has_wait = stacks->is_native_leaf = false;
    stacks->held_first = stacks->hold_count;
}

static int compare_holds(const void *left, const void *right)
{
    const struct thread_hold *a = left, *b = right;
    if (a->address != b->address)
        return a->address < b->address ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* Of rows sorted by address the last of that address: ids that were taken away, 0, come first. */
static uint64_t find_id(const struct thread_hold *rows, size_t count, uint64_t address)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (rows[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low != 0 && rows[low - 1].address == address ? rows[low - 1].id : 0;
}

/* The lines that waits/wait_dump.c reads, as stackgroup would have written them. */
static void tell_waits(struct stacks *stacks)
{
    struct text_build *build = stacks->build;
    struct told *told = build->told;
    struct thread_hold *blocks = arena_array(build->scratch, struct thread_hold, stacks->address_count + 1);
    for (size_t i = 0; i < stacks->address_count; i++)
        blocks[i] = (struct thread_hold){stacks->addresses[i].address, stacks->addresses[i].id};
    qsort(blocks, stacks->address_count, sizeof *blocks, compare_holds);
    if (stacks->hold_count != 0)
        qsort(stacks->holds, stacks->hold_count, sizeof *stacks->holds, compare_holds);
    for (size_t i = 0; i < stacks->wait_count; i++) {
        const struct thread_wait *wait = &stacks->waits[i];
        bool is_join = text_equals(wait->kind, TEXT("join"));
        uint64_t holder = is_join ? find_id(blocks, stacks->address_count, wait->address)
                                  : find_id(stacks->holds, stacks->hold_count, wait->address);
        if (is_join && holder == 0)
            continue;
        const char *held = wait->has_no_owner ? ""
                           : holder != 0      ? arena_printf(build->keep, ", held by thread %" PRIu64, holder)
                                              : ", holder unknown";
        const char *name = wait->name.length == 0 || wait->name.length > limit_name_bytes
                               ? ""
                               : arena_printf(build->keep, " (%.*s)", (int)wait->name.length, wait->name.data);
        const char *address = is_join ? "" : arena_printf(build->keep, " 0x%" PRIx64, wait->address);
        const char *line =
            arena_printf(build->keep, "1 on %.*s%s%s%.*s%s (told): %" PRIu64, (int)wait->kind.length, wait->kind.data,
                         address, name, (int)wait->how.length, wait->how.data, held, wait->waiter_id);
        told->waits = arena_grow(build->keep, told->waits, told->wait_count, &told->wait_capacity, sizeof *told->waits);
        told->waits[told->wait_count++] =
            (struct told_wait){.member_first = wait->member, .member_count = 1, .text = text_from_string(line)};
    }
}

void text_stacks_read(struct text_build *build, struct text text)
{
    struct stacks stacks = {.build = build};
    struct stack_text reader;
    struct stack_item item;
    intern_table_init(&stacks.ids, build->scratch);
    intern_table_init(&stacks.module_paths, build->scratch);
    look_ahead(&stacks, text);
    stack_text_init(&reader, text);
    for (stack_text_next(&reader, &item); item.kind != STACK_ITEM_END; stack_text_next(&reader, &item)) {
        if (item.kind == STACK_ITEM_THREAD)
            open_thread(&stacks, &item);
        if (item.kind == STACK_ITEM_PROCESS && build->snapshot->pid == 0 && item.id <= UINT32_MAX) {
            build->snapshot->pid = (uint32_t)item.id;
            build->snapshot->arguments = text_copy(build->keep, item.text);
        }
        if (!stacks.is_open)
            continue;
        switch (item.kind) {
        case STACK_ITEM_FRAME:
            take_frame(&stacks, &item);
            break;
        case STACK_ITEM_PLACE:
            take_place(&stacks, &item);
            break;
        case STACK_ITEM_STATE:
            stacks.state = item.text;
            break;
        case STACK_ITEM_LOCK:
            take_lock(&stacks, &item);
            break;
        case STACK_ITEM_END:
        case STACK_ITEM_PROCESS:
        case STACK_ITEM_THREAD:
            break;
        }
    }
    close_thread(&stacks);
    tell_waits(&stacks);
    build->snapshot->modules = stacks.modules;
    build->snapshot->module_count = stacks.module_count;
    text_build_junk(build, reader.junk.lines, reader.junk.first_offset);
    if (stacks.without_stack != 0)
        diagnostics_add(build->diagnostics, DIAGNOSTIC_NOTE, "threads-of-runtime", TEXT(""),
                        "%" PRIu64 " threads of which the JVM prints no stack are left out", stacks.without_stack);
    if (stacks.repeated != 0)
        diagnostics_add(build->diagnostics, DIAGNOSTIC_NOTE, "thread-repeated", TEXT(""),
                        "%" PRIu64 " stacks are of threads that the text has shown before: the first of each is read",
                        stacks.repeated);
}
