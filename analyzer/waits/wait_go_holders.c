/* SPDX-License-Identifier: Apache-2.0 */
#include "waits/wait_go_holders.h"

#include "base/limits.h"
#include "golang/code_calls.h"
#include "golang/pending_defers.h"

#include <stdlib.h>

/* A call of package sync's in a function's code. */
enum lock_call { LOCK_CALL_NONE, LOCK_CALL_LOCKS, LOCK_CALL_UNLOCKS, LOCK_CALL_READ_LOCKS, LOCK_CALL_READ_UNLOCKS };

/* What a call by a frame's pc tells, made once a pc. */
struct place {
    uint64_t pc;
    bool is_made;
    struct open_defers defers;
    bool has_locked;      /* stands past one Lock, and past no Unlock */
    bool is_shared;       /* … of a reader */
    uint64_t lock_window; /* address of the code before that call */
    struct pclntab_function function;
};

struct closure {
    uint64_t function;
    enum lock_call call; /* what it does: LOCK_CALL_UNLOCKS, LOCK_CALL_READ_UNLOCKS; else nothing of ours */
    struct pclntab_function code;
    bool is_searched;
    const struct sought *in_code; /* once searched: the first sought lock that its code refers to, NULL: none */
};

struct sought {
    uint64_t address;
    uint32_t resource;
    bool is_rwlock;
    uint32_t readers; /* as many have it to read */
    bool has_writer;  /* one has it alone */
};

/* One that was found to hold, by resource, then member. */
struct candidate {
    uint32_t resource, member;
    bool exclusive;
};

/* A frame that is worth a look in all that stand in one stack. */
struct stack_frame_plan {
    struct place place;
    uint64_t sp, end; /* above the stack pointer at the leaf */
    bool waits_here;  /* it calls Lock itself */
    bool is_searched;
    const struct sought **in_code; /* once searched: sought locks that the code before the call of Lock refers to */
    size_t in_code_count;
};

struct stack_plan {
    bool is_made;
    struct stack_frame_plan *frames;
    size_t count;
    uint64_t
        top; /* of all frames, above the leaf's stack pointer: a return address lies below, which is the same in all */
    uint64_t top_pc;
};

enum { cache_slots = 1024 };

struct search {
    const struct go_runtime *runtime;
    struct snapshot *snapshot;
    struct wait_build *build;
    struct arena *scratch;
    struct sought *sought; /* by address */
    size_t count;
    struct place places[cache_slots];
    struct closure closures[cache_slots];
    struct candidate *candidates;
    size_t candidate_count, candidate_capacity;
    uint32_t member;
    uint64_t code_bytes_left; /* that may still be looked through for calls */
    struct stack_plan *plans; /* by stack */
};

/* What the member waits for; index_none: nothing. Waits are added member by member. */
static uint32_t waited_resource(const struct search *search)
{
    const struct wait_build *build = search->build;
    size_t low = 0, high = build->wait_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (build->waits[middle].member <= search->member)
            low = middle + 1;
        else
            high = middle;
    }
    return low != 0 && build->waits[low - 1].member == search->member ? build->waits[low - 1].resource : index_none;
}

static size_t cache_slot(uint64_t address)
{
    return (size_t)((address * 0x9e3779b97f4a7c15u) >> 54);
}

static int compare_sought(const void *left, const void *right)
{
    const struct sought *a = left, *b = right;
    return a->address < b->address ? -1 : a->address > b->address;
}

/* sync.Mutex and sync.RWMutex, the same in all releases: state, sema; w, writerSem, readerSem, readerCount, readerWait.
 * False: nobody has it at this instant, or its words are not at hand. */
static bool sought_read(const struct go_runtime *runtime, struct sought *sought)
{
    enum { rwmutex_bytes = 24, mutex_bytes = 8, reader_count = 16, reader_wait = 20, readers_max = 1 << 30 };
    uint8_t bytes[rwmutex_bytes];
    size_t wanted = sought->is_rwlock ? rwmutex_bytes : mutex_bytes;
    bool is_late;
    if (memory_ask(&runtime->image->memory, sought->address, bytes, wanted, &is_late) != wanted)
        return false;
    bool is_locked = (load_u32(bytes) & 1) != 0;
    if (!sought->is_rwlock) {
        sought->has_writer = is_locked;
        return is_locked;
    }
    int32_t readers = (int32_t)load_u32(bytes + reader_count), leaving = (int32_t)load_u32(bytes + reader_wait);
    /* A writer that has come waits for those who read; later ones wait for it. */
    sought->has_writer = readers < 0 && leaving == 0 && is_locked;
    if (readers < 0 && leaving > 0)
        sought->readers = (uint32_t)leaving;
    else if (readers > 0 && readers < readers_max)
        sought->readers = (uint32_t)readers;
    return sought->has_writer || sought->readers != 0;
}

static void collect(struct search *search)
{
    const struct wait_build *build = search->build;
    search->sought = arena_array(search->scratch, struct sought, limit_go_locks_sought);
    for (uint32_t i = 0; i < build->resource_count && search->count < limit_go_locks_sought; i++) {
        const struct resource *resource = &build->resources[i];
        struct sought sought = {resource->address, i, resource->kind == WAIT_RWLOCK, 0, false};
        if ((resource->kind == WAIT_MUTEX || resource->kind == WAIT_RWLOCK) && resource->address != 0 &&
            resource->holder == HOLDER_UNKNOWN && sought_read(search->runtime, &sought))
            search->sought[search->count++] = sought;
    }
    if (search->count != 0)
        qsort(search->sought, search->count, sizeof *search->sought, compare_sought);
}

static const struct sought *find_sought(const struct search *search, uint64_t address)
{
    struct sought key = {.address = address};
    return bsearch(&key, search->sought, search->count, sizeof key, compare_sought);
}

/* Calls of package sync's. */

static enum lock_call lock_call_of(struct text name)
{
    static const struct {
        const char *name;
        enum lock_call call;
    } rows[] = {
        {"sync.(*Mutex).Lock", LOCK_CALL_LOCKS},
        {"sync.(*Mutex).Unlock", LOCK_CALL_UNLOCKS},
        {"sync.(*RWMutex).Lock", LOCK_CALL_LOCKS},
        {"sync.(*RWMutex).Unlock", LOCK_CALL_UNLOCKS},
        {"sync.(*RWMutex).RLock", LOCK_CALL_READ_LOCKS},
        {"sync.(*RWMutex).RUnlock", LOCK_CALL_READ_UNLOCKS},
        {"sync.(*Mutex).lockSlow", LOCK_CALL_LOCKS},
        {"sync.(*Mutex).unlockSlow", LOCK_CALL_UNLOCKS},
        {"sync.(*RWMutex).rUnlockSlow", LOCK_CALL_READ_UNLOCKS},
        {"internal/sync.(*Mutex).lockSlow", LOCK_CALL_LOCKS},
        {"internal/sync.(*Mutex).unlockSlow", LOCK_CALL_UNLOCKS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (text_equals(name, text_from_string(rows[i].name)))
            return rows[i].call;
    return LOCK_CALL_NONE;
}

/* What a call is to the function itself, whatever of package sync was inlined there; *ret_line is the function's. What
 * another function that was inlined does is its own. */
static enum lock_call call_read(const struct search *search, const struct pclntab *table,
                                const struct pclntab_function *function, const struct code_call *call,
                                uint32_t *ret_line)
{
    struct pclntab_cursor cursor = pclntab_cursor_new(table, function, call->pc);
    struct pclntab_call at, last = {.inlined = false};
    struct pclntab_function target;
    struct text outermost = TEXT("");
    while (pclntab_cursor_next(&cursor, &at)) {
        outermost = at.inlined ? at.name : outermost;
        last = at;
    }
    *ret_line = last.line;
    if (outermost.length != 0)
        return lock_call_of(outermost);
    const struct pclntab *own = go_runtime_find_function(search->runtime, call->target, &target);
    return own == NULL ? LOCK_CALL_NONE : lock_call_of(pclntab_name(own, target.name));
}

/* As code_calls_read; NULL, too, when enough code was looked through. */
static const struct code_call *read_calls(struct search *search, const struct pclntab_function *function,
                                          size_t *ret_count)
{
    if (function->end - function->entry > search->code_bytes_left)
        return NULL;
    search->code_bytes_left -= function->end - function->entry;
    return code_calls_read(search->runtime, function, search->scratch, ret_count);
}

static uint32_t line_at(const struct pclntab *table, const struct pclntab_function *function, uint64_t lookup)
{
    struct pclntab_cursor cursor = pclntab_cursor_new(table, function, lookup);
    struct pclntab_call at = {.line = 0};
    while (pclntab_cursor_next(&cursor, &at))
        continue;
    return at.line;
}

/* Counts the calls on lines before the place. Several on one line, or loops, are too much for that. */
static void place_read_code(struct search *search, const struct pclntab *table, struct place *place)
{
    size_t count, locks = 0, unlocks = 0;
    uint32_t line = line_at(table, &place->function, place->pc - 1);
    const struct code_call *calls = read_calls(search, &place->function, &count);
    for (size_t i = 0; calls != NULL && i < count; i++) {
        uint32_t own;
        enum lock_call call = call_read(search, table, &place->function, &calls[i], &own);
        if (call == LOCK_CALL_NONE || own == 0 || own >= line)
            continue;
        bool locks_here = call == LOCK_CALL_LOCKS || call == LOCK_CALL_READ_LOCKS;
        locks += locks_here;
        unlocks += !locks_here;
        if (locks_here) {
            place->is_shared = call == LOCK_CALL_READ_LOCKS;
            place->lock_window = calls[i].pc;
        }
    }
    place->has_locked = locks == 1 && unlocks == 0;
}

static const struct place *place_of(struct search *search, uint64_t pc)
{
    struct place *place = &search->places[cache_slot(pc)];
    if (place->is_made && place->pc == pc)
        return place;
    *place = (struct place){.pc = pc, .is_made = true};
    const struct pclntab *table = go_runtime_find_function(search->runtime, pc - 1, &place->function);
    struct text name = table == NULL ? TEXT("") : pclntab_name(table, place->function.name);
    if (table == NULL || text_starts_with(name, TEXT("runtime.")) || text_starts_with(name, TEXT("sync.")) ||
        text_starts_with(name, TEXT("internal/")))
        return place;
    place->defers = open_defers_of(search->runtime, pc - 1);
    place_read_code(search, table, place);
    return place;
}

/* Which unlocking the function does that is deferred: itself package sync's, or one that calls it. */
static struct closure *closure_of(struct search *search, uint64_t function)
{
    struct closure *closure = &search->closures[cache_slot(function)];
    if (closure->function == function)
        return closure;
    *closure = (struct closure){.function = function};
    const struct pclntab *table = go_runtime_find_function(search->runtime, function, &closure->code);
    if (table == NULL || closure->code.entry != function)
        return closure;
    closure->call = lock_call_of(pclntab_name(table, closure->code.name));
    size_t count;
    const struct code_call *calls = read_calls(search, &closure->code, &count);
    for (size_t i = 0; closure->call == LOCK_CALL_NONE && calls != NULL && i < count; i++) {
        uint32_t line;
        enum lock_call call = call_read(search, table, &closure->code, &calls[i], &line);
        if (call == LOCK_CALL_UNLOCKS || call == LOCK_CALL_READ_UNLOCKS)
            closure->call = call;
    }
    return closure;
}

/* Candidates. */

static void note(struct search *search, const struct sought *sought, bool exclusive)
{
    search->candidates = arena_grow(search->scratch, search->candidates, search->candidate_count,
                                    &search->candidate_capacity, sizeof *search->candidates);
    search->candidates[search->candidate_count++] = (struct candidate){sought->resource, search->member, exclusive};
}

static const struct sought *closure_lock(const struct search *search, struct closure *closure)
{
    for (size_t i = 0; !closure->is_searched && i < search->count && i < limit_go_locks_in_code; i++)
        if (code_refers_to(search->runtime, &closure->code, search->sought[i].address)) {
            closure->in_code = &search->sought[i];
            break;
        }
    closure->is_searched = true;
    return closure->in_code;
}

/* The lock that a deferred call gives back: its address was captured, or stands in the code. */
static void note_defer(struct search *search, const struct pending_defer *defer)
{
    struct closure *closure = closure_of(search, defer->function);
    if (closure->call != LOCK_CALL_UNLOCKS && closure->call != LOCK_CALL_READ_UNLOCKS)
        return;
    bool exclusive = closure->call == LOCK_CALL_UNLOCKS;
    const struct sought *sought = find_sought(search, defer->captures[0]);
    if (sought == NULL)
        sought = closure_lock(search, closure);
    if (sought != NULL)
        note(search, sought, exclusive);
}

/* The sought lock that a word points to, or to a struct around it: the nearest, for small objects lie side by side. */
static const struct sought *find_around(const struct search *search, uint64_t word)
{
    enum { around_bytes = 256 };
    size_t low = 0, high = search->count;
    if (word < 4096)
        return NULL;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (search->sought[middle].address < word)
            low = middle + 1;
        else
            high = middle;
    }
    return low < search->count && search->sought[low].address - word < around_bytes ? &search->sought[low] : NULL;
}

/* Of what was found to be the lock that a place has taken: the one that the member waits for counts only where there is
 * no other, as of a goroutine that waits for itself. */
struct found_locks {
    uint32_t waited_resource; /* the member's */
    const struct sought *other, *waited;
    bool several;
};

static void found_add(struct found_locks *found, const struct sought *sought)
{
    if (sought->resource == found->waited_resource) {
        found->waited = sought;
        return;
    }
    found->several |= found->other != NULL && found->other != sought;
    found->other = sought;
}

/* Where the words end that a function keeps of its own: above the return address are those that it got in registers,
 * and put away. */
static uint64_t frame_words_end(const struct search *search, const struct place *place,
                                const struct goroutine_frame *frame)
{
    enum { arguments_max = 256 };
    uint32_t bytes = place->function.args_bytes;
    if (bytes == UINT32_C(0x80000000)) /* unknown */
        return frame->end;
    bytes = bytes < arguments_max ? bytes : arguments_max;
    return frame->end + bytes + (search->runtime->image->arch->call_return_offset == 0 ? 8 : 0);
}

/* All that stand in one stack share the code. */
static void search_code(const struct search *search, struct stack_frame_plan *plan)
{
    enum { window_bytes = 40 };
    struct pclntab_function window = plan->place.function;
    size_t capacity = 0;
    if (plan->is_searched)
        return;
    plan->is_searched = true;
    window.end = plan->place.lock_window;
    window.entry = window.end - window.entry > window_bytes ? window.end - window_bytes : window.entry;
    for (size_t i = 0; i < search->count && i < limit_go_locks_in_code; i++) {
        if (!code_refers_to(search->runtime, &window, search->sought[i].address))
            continue;
        plan->in_code = arena_grow(search->scratch, plan->in_code, plan->in_code_count, &capacity,
                                   sizeof(const struct sought *));
        plan->in_code[plan->in_code_count++] = &search->sought[i];
    }
}

/* The only sought lock that the frame's words point to, or to a struct around it; or that the code before the call of
 * Lock refers to. A lock that this very frame waits for is not the one that it has. */
static void note_locked(struct search *search, struct stack_frame_plan *plan, const struct goroutine_frame *frame)
{
    const struct place *place = &plan->place;
    struct found_locks found = {.waited_resource = waited_resource(search)};
    search_code(search, plan);
    for (size_t i = 0; i < plan->in_code_count; i++)
        found_add(&found, plan->in_code[i]);
    bool is_in_code = found.other != NULL || found.waited != NULL;
    uint64_t end = is_in_code ? 0 : frame_words_end(search, place, frame);
    for (uint64_t at = frame->sp; at + 8 <= end; at += 8) {
        uint64_t word;
        const struct sought *sought = NULL;
        if (memory_read_u64(&search->runtime->image->memory, at, &word))
            sought = find_around(search, word);
        if (sought != NULL)
            found_add(&found, sought);
    }
    const struct sought *locked = found.other;
    if (locked == NULL && (is_in_code || !plan->waits_here))
        locked = found.waited;
    if (locked != NULL && !found.several)
        note(search, locked, !place->is_shared);
}

static bool is_of_sync(const struct go_runtime *runtime, uint64_t pc)
{
    struct pclntab_function function;
    const struct pclntab *table = go_runtime_find_function(runtime, pc - 1, &function);
    struct text name = table == NULL ? TEXT("") : pclntab_name(table, function.name);
    return text_starts_with(name, TEXT("runtime.")) || text_starts_with(name, TEXT("sync.")) ||
           text_starts_with(name, TEXT("internal/sync."));
}

static void plan_make(struct search *search, const struct goroutine *goroutine, struct stack_plan *plan)
{
    struct goroutine_frame frames[limit_go_frames];
    size_t count = goroutine_frames_read(search->runtime, goroutine->pc, goroutine->sp, goroutine->stack_high, frames,
                                         limit_go_frames);
    bool waits_here = waited_resource(search) != index_none;
    *plan = (struct stack_plan){.is_made = true,
                                .frames = arena_array(search->scratch, struct stack_frame_plan, count + 1)};
    for (size_t i = 0; i < count; i++) {
        const struct place *place = place_of(search, frames[i].pc);
        if (place->defers.count != 0 || place->has_locked)
            plan->frames[plan->count++] =
                (struct stack_frame_plan){.place = *place,
                                          .sp = frames[i].sp - goroutine->sp,
                                          .end = frames[i].end - goroutine->sp,
                                          .waits_here = waits_here};
        waits_here = waits_here && is_of_sync(search->runtime, frames[i].pc);
        if (i != 0) {
            plan->top = frames[i].sp - goroutine->sp;
            plan->top_pc = frames[i].pc;
        }
    }
}

/* Wrappers are left out of stacks, so that two of one stack can lie otherwise. */
static bool plan_fits(const struct search *search, const struct stack_plan *plan, const struct goroutine *goroutine)
{
    /* Where a call leaves its return address: amd64 right below the caller's frame, arm64 below the callee's. */
    uint64_t pc;
    if (search->runtime->image->arch->call_return_offset == 0 || plan->top == 0)
        return true;
    return memory_read_u64(&search->runtime->image->memory, goroutine->sp + plan->top - 8, &pc) && pc == plan->top_pc;
}

static void search_frame(struct search *search, const struct goroutine *goroutine, struct stack_frame_plan *plan,
                         const struct pending_defer *defers, size_t defer_count)
{
    struct goroutine_frame frame = {plan->place.pc, goroutine->sp + plan->sp, goroutine->sp + plan->end};
    struct pending_defer own[8];
    size_t own_count = open_defers_read(search->runtime, &plan->place.defers, &frame, own);
    for (size_t i = 0; i < own_count; i++)
        note_defer(search, &own[i]);
    bool defers_any = own_count != 0;
    for (size_t i = 0; i < defer_count; i++)
        defers_any |= defers[i].sp == frame.sp;
    /* One that defers its Unlock is told by that. */
    if (plan->place.has_locked && !defers_any)
        note_locked(search, plan, &frame);
}

static void search_goroutine(struct search *search, const struct goroutine *goroutine)
{
    struct pending_defer defers[limit_go_defers];
    if (goroutine->status == GO_RUNNING || goroutine->sp <= goroutine->stack_low ||
        goroutine->sp > goroutine->stack_high || goroutine->stack_high > UINT64_MAX - 4096)
        return;
    size_t defer_count = pending_defers_read(search->runtime, goroutine->address, defers, limit_go_defers);
    for (size_t i = 0; i < defer_count; i++)
        note_defer(search, &defers[i]);
    struct stack_plan *plan = &search->plans[search->snapshot->members[search->member].stack];
    if (!plan->is_made)
        plan_make(search, goroutine, plan);
    /* The plan is of the first that stood there; of this one all that, too, lies on its stack. */
    for (size_t i = 0; i < plan->count && plan_fits(search, plan, goroutine); i++)
        if (plan->frames[i].end <= goroutine->stack_high - goroutine->sp)
            search_frame(search, goroutine, &plan->frames[i], defers, defer_count);
}

static int compare_candidates(const void *left, const void *right)
{
    const struct candidate *a = left, *b = right;
    if (a->resource != b->resource)
        return a->resource < b->resource ? -1 : 1;
    if (a->member != b->member)
        return a->member < b->member ? -1 : 1;
    return (int)b->exclusive - (int)a->exclusive;
}

/* Adds the holds of a lock where as many were found as have it. */
static void tell(struct search *search, const struct sought *sought, const struct candidate *found, size_t count)
{
    uint32_t wanted = sought->has_writer ? 1 : sought->readers, exact = 0, last = index_none;
    for (size_t i = 0; i < count; i++) {
        exact += found[i].exclusive == sought->has_writer && found[i].member != last;
        last = found[i].exclusive == sought->has_writer ? found[i].member : last;
    }
    if (exact != wanted)
        return;
    last = index_none;
    for (size_t i = 0; i < count; i++) {
        if (found[i].exclusive != sought->has_writer || found[i].member == last)
            continue;
        last = found[i].member;
        wait_build_hold(search->build, (struct hold){sought->resource, last, sought->has_writer, LEARNT_INFERRED});
    }
}

/* Whether the member can be found to hold: by what it has deferred, or by a frame of its stack. */
static bool is_worth_a_look(const struct search *search, const struct go_park *parks, uint32_t member)
{
    const struct stack_plan *plan = &search->plans[search->snapshot->members[member].stack];
    return parks[member].has_defers || !plan->is_made || plan->count != 0;
}

static void search_members(struct search *search, const struct go_park *parks)
{
    enum { prefetch_distance = 8 };
    const struct go_runtime *runtime = search->runtime;
    const struct snapshot *snapshot = search->snapshot;
    struct goroutine_reader reader = goroutine_reader_new(runtime);
    uint64_t slot = 0; /* the member's, or before it: members are in the list's order, but it has others too */
    for (; search->member < snapshot->member_count; search->member++, slot++) {
        uint32_t ahead = search->member + prefetch_distance;
        if (ahead < snapshot->member_count && is_worth_a_look(search, parks, ahead))
            goroutine_prefetch(&reader, slot + prefetch_distance);
        if (!is_worth_a_look(search, parks, search->member))
            continue;
        struct goroutine goroutine = {.id = 0};
        for (; slot < runtime->goroutine_count; slot++)
            if (goroutine_read(&reader, slot, &goroutine) == GOROUTINE_READ &&
                goroutine.id == snapshot->members[search->member].id)
                break;
        if (slot >= runtime->goroutine_count)
            break;
        search_goroutine(search, &goroutine);
    }
}

void wait_go_infer_holders(const struct go_runtime *runtime, const struct go_park *parks, struct snapshot *snapshot,
                           struct wait_build *build, struct arena *scratch)
{
    struct search *search = arena_new(scratch, struct search);
    *search = (struct search){
        .runtime = runtime,
        .snapshot = snapshot,
        .build = build,
        .scratch = scratch,
        .code_bytes_left = limit_code_calls_bytes,
    };
    collect(search);
    if (search->count == 0)
        return;
    search->plans = arena_array(scratch, struct stack_plan, snapshot->stack_count + 1);
    search_members(search, parks);
    if (search->candidate_count != 0)
        qsort(search->candidates, search->candidate_count, sizeof *search->candidates, compare_candidates);
    uint32_t *sought_of = arena_array(scratch, uint32_t, build->resource_count + 1);
    for (uint32_t i = 0; i < search->count; i++)
        sought_of[search->sought[i].resource] = i;
    for (size_t first = 0, end; first < search->candidate_count; first = end) {
        uint32_t resource = search->candidates[first].resource;
        for (end = first; end < search->candidate_count && search->candidates[end].resource == resource;)
            end++;
        tell(search, &search->sought[sought_of[resource]], &search->candidates[first], end - first);
    }
}
