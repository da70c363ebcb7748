/* SPDX-License-Identifier: Apache-2.0 */
#include "go_program.h"

#include "base/limits.h"
#include "golang/case_chain.h"
#include "golang/code_calls.h"
#include "golang/go_types.h"
#include "golang/goroutine_frames.h"
#include "golang/references.h"
#include "golang/stuck_goroutines.h"
#include "symbol/symbol_go.h"

#include <stdlib.h>
#include <string.h>

/* Where a member was parked; sp 0: it runs. */
struct member_place {
    uint64_t pc, sp, high;
};

/* The frames of the first member that was asked for of a stack, up to a step; count 0: none was. */
struct frame_run {
    uint32_t step;
    size_t count;
    struct goroutine_frame *frames; /* sp and end from its stack pointer up */
};

struct call_list {
    bool is_made;
    const struct program_call *calls; /* NULL: the code is not at hand */
    size_t count;
};

struct type_list {
    struct text name;
    const struct go_struct *types;
    size_t count;
};

struct go_program {
    struct program program;
    const struct go_runtime *runtime;
    const struct snapshot *snapshot;
    struct worker *worker;
    bool is_patient;
    struct arena *arena;
    struct member_place *places;    /* by member; NULL until asked for */
    struct frame_run *frame_runs;   /* by stack; NULL until asked for */
    struct call_list *calls;        /* by location; NULL until asked for */
    struct intern_table targets;    /* functions by address … */
    struct call_list *target_calls; /* … and what they call, by number */
    size_t target_capacity;
    struct type_list *types;
    size_t type_count, type_capacity;
    uint64_t code_bytes_left;
    struct program_stuck *stuck; /* NULL until found */
    bool stuck_is_asked;
};

/* The list of goroutines is gone through once more, when first asked: members are in its order. */
static const struct member_place *member_place(struct go_program *program, uint32_t member)
{
    const struct snapshot *snapshot = program->snapshot;
    if (program->places != NULL)
        return &program->places[member];
    program->places = arena_array(program->arena, struct member_place, snapshot->member_count + 1);
    struct goroutine_reader reader = goroutine_reader_new(program->runtime);
    size_t at = 0;
    for (uint64_t slot = 0; slot < program->runtime->goroutine_count && at < snapshot->member_count; slot++) {
        struct goroutine goroutine;
        if (goroutine_read(&reader, slot, &goroutine) != GOROUTINE_READ || goroutine.id != snapshot->members[at].id)
            continue;
        if (goroutine.status != GO_RUNNING && goroutine.sp > goroutine.stack_low)
            program->places[at] = (struct member_place){goroutine.pc, goroutine.sp, goroutine.stack_high};
        at++;
    }
    return &program->places[member];
}

/* The frames of a place that lie as those of a run do; false: there are others. Sizes of frames are told by their pcs, so that
 * return addresses are all that is to be compared. */
static bool frames_follow(const struct go_program *program, const struct frame_run *run, const struct member_place *place,
                          struct goroutine_frame *ret_frames)
{
    bool pushes = program->runtime->image->arch->call_return_offset != 0; /* as in goroutine_frames_read */
    uint64_t pc = place->pc;
    for (size_t i = 0; i < run->count; i++) {
        const struct goroutine_frame *frame = &run->frames[i];
        struct goroutine_frame own = {pc, place->sp + frame->sp, place->sp + frame->end};
        if (pc != frame->pc || place->high - place->sp <= frame->sp ||
            place->high - place->sp < frame->end - (pushes ? 8 : 0))
            return false;
        ret_frames[i] = own;
        if (i + 1 < run->count &&
            !memory_read_u64(&program->runtime->image->memory, pushes ? own.end - 8 : own.sp, &pc))
            return false;
    }
    return true;
}

static void frame_run_keep(struct go_program *program, struct frame_run *run, uint32_t step, uint64_t sp,
                           const struct goroutine_frame *frames, size_t count)
{
    *run = (struct frame_run){step, count, arena_array(program->arena, struct goroutine_frame, count)};
    for (size_t i = 0; i < count; i++)
        run->frames[i] = (struct goroutine_frame){frames[i].pc, frames[i].sp - sp, frames[i].end - sp};
}

/* The member's frames up to the real call of a step. */
static size_t frames_to_step(struct go_program *program, uint32_t member, uint32_t step,
                             struct goroutine_frame *ret_frames)
{
    const struct snapshot *snapshot = program->snapshot;
    const struct stack *stack = &snapshot->stacks[snapshot->members[member].stack];
    const struct member_place *place = member_place(program, member);
    if (program->frame_runs == NULL)
        program->frame_runs = arena_array(program->arena, struct frame_run, snapshot->stack_count + 1);
    /* Thousands stand in one stack, and are asked for the same step of it. */
    struct frame_run *run = &program->frame_runs[snapshot->members[member].stack];
    if (run->count != 0 && run->step == step && place->sp < place->high && place->high <= UINT64_MAX - 4096 &&
        frames_follow(program, run, place, ret_frames))
        return run->count;
    size_t count =
        goroutine_frames_read(program->runtime, place->pc, place->sp, place->high, ret_frames, limit_go_frames);
    /* Steps that are real calls have their frames' pcs; between them may be frames of wrappers, which have no step. */
    size_t found = 0;
    for (uint32_t i = 0; i < stack->step_count && found < count; i++) {
        const struct location *location = &snapshot->locations[snapshot->steps[stack->step_first + i].location];
        if (snapshot->frames[location->frame_first].inlined)
            continue;
        uint64_t pc = location_lookup(location) - location->offset + location->pc_offset;
        while (found < count && ret_frames[found].pc != pc)
            found++;
        if (i >= step)
            break;
    }
    count = found < count ? found + 1 : 0;
    if (count != 0 && run->count == 0)
        frame_run_keep(program, run, step, place->sp, ret_frames, count);
    return count;
}

/* Calls. */

static struct text printed_name(struct go_program *program, struct text name)
{
    char buffer[limit_name_bytes];
    struct text printed = symbol_go_name(name, buffer, sizeof buffer);
    return printed.data == buffer ? text_copy(program->arena, printed) : printed;
}

/* The calls at a pc, innermost first; returns how many. */
static size_t chain_read(const struct pclntab *table, const struct pclntab_function *function, uint64_t lookup,
                         struct pclntab_call *ret_chain)
{
    struct pclntab_cursor cursor = pclntab_cursor_new(table, function, lookup);
    size_t count = 0;
    while (count < limit_inline_depth && pclntab_cursor_next(&cursor, &ret_chain[count]))
        count++;
    return count;
}

/* Which of the calls at a pc is that of the function `name`; `count`: none. */
static size_t chain_level(const struct pclntab_call *chain, size_t count, struct text name, bool is_inlined)
{
    char buffer[limit_name_bytes];
    if (!is_inlined)
        return count == 0 ? 0 : count - 1;
    for (size_t i = count; i-- > 0;)
        if (text_equals(symbol_go_name(chain[i].name, buffer, sizeof buffer), name))
            return i;
    return count;
}

struct call_reading {
    struct go_program *program;
    const struct pclntab *table;
    struct pclntab_function function;
    struct text name;
    bool is_inlined;
    uint64_t pc; /* where the asker's call stands */
    uint32_t line;
};

/* The asker's own call ends one byte behind its pc. */
static bool call_is_before(const struct call_reading *reading, const struct code_call *code, uint32_t line)
{
    bool lines_tell = line != 0 && reading->line != 0 && line != reading->line;
    return lines_tell ? line < reading->line : code->end <= reading->pc;
}

static bool call_make(const struct call_reading *reading, const struct code_call *code, struct program_call *ret_call)
{
    struct go_program *program = reading->program;
    struct pclntab_call chain[limit_inline_depth];
    size_t count = chain_read(reading->table, &reading->function, code->pc, chain);
    size_t level = chain_level(chain, count, reading->name, reading->is_inlined);
    struct pclntab_function target;
    const struct pclntab *table = go_runtime_find_function(program->runtime, code->target, &target);
    if (level >= count || table == NULL)
        return false;
    struct text *names = arena_array(program->arena, struct text, level + 1);
    for (size_t i = 0; i <= level; i++)
        names[i] = printed_name(program, i == level ? pclntab_name(table, target.name) : chain[level - 1 - i].name);
    uint32_t line = chain[level].line;
    *ret_call = (struct program_call){
        .names = names,
        .name_count = level + 1,
        .line = line,
        .pc = code->pc,
        .target = code->target,
        .is_before = call_is_before(reading, code, line),
    };
    return true;
}

/* The function's code at the location, and which of the calls inlined there is the location's. */
static bool reading_open(struct go_program *program, uint32_t number, struct call_reading *ret_reading)
{
    const struct snapshot *snapshot = program->snapshot;
    const struct location *location = &snapshot->locations[number];
    const struct frame *frame = &snapshot->frames[location->frame_first];
    struct pclntab_call chain[limit_inline_depth];
    *ret_reading = (struct call_reading){
        .program = program, .name = snapshot_string(snapshot, frame->function), .is_inlined = frame->inlined};
    uint64_t lookup = location_lookup(location);
    ret_reading->table = go_runtime_find_function(program->runtime, lookup, &ret_reading->function);
    if (ret_reading->table == NULL)
        return false;
    /* Of inlined calls the location's pc is one before their callee's code, of real ones the call's. */
    ret_reading->pc = frame->inlined ? lookup : lookup - location->offset + location->pc_offset - 1;
    size_t count = chain_read(ret_reading->table, &ret_reading->function, lookup, chain);
    size_t level = chain_level(chain, count, ret_reading->name, frame->inlined);
    if (level >= count)
        return false;
    ret_reading->line = chain[level].line;
    return true;
}

static void calls_make(struct go_program *program, const struct call_reading *reading, struct call_list *list)
{
    uint64_t size_bytes = reading->function.end - reading->function.entry;
    if (size_bytes > program->code_bytes_left)
        return;
    program->code_bytes_left -= size_bytes;
    size_t count;
    const struct code_call *codes = code_calls_read(program->runtime, &reading->function, program->arena, &count);
    if (codes == NULL)
        return;
    struct program_call *calls = arena_array(program->arena, struct program_call, count + 1);
    for (size_t i = 0; i < count; i++)
        list->count += call_make(reading, &codes[i], &calls[list->count]);
    list->calls = calls;
}

static const struct program_call *program_calls(void *context, uint32_t location, size_t *ret_count)
{
    struct go_program *program = context;
    if (program->calls == NULL)
        program->calls = arena_array(program->arena, struct call_list, program->snapshot->location_count + 1);
    struct call_list *list = &program->calls[location];
    struct call_reading reading;
    if (!list->is_made && reading_open(program, location, &reading))
        calls_make(program, &reading, list);
    list->is_made = true;
    *ret_count = list->count;
    return list->calls;
}

static bool program_unseen_calls(void *context, uint32_t location, size_t *ret_count)
{
    struct go_program *program = context;
    struct call_reading reading;
    size_t count = 0;
    *ret_count = 0;
    if (!reading_open(program, location, &reading))
        return false;
    const struct code_call *codes =
        code_register_calls_read(program->runtime, &reading.function, program->arena, &count);
    for (size_t i = 0; codes != NULL && i < count; i++) {
        struct pclntab_call chain[limit_inline_depth];
        size_t depth = chain_read(reading.table, &reading.function, codes[i].pc, chain);
        size_t level = chain_level(chain, depth, reading.name, reading.is_inlined);
        *ret_count += level < depth && call_is_before(&reading, &codes[i], chain[level].line);
    }
    return codes != NULL;
}

static const struct program_call *program_calls_of(void *context, uint64_t target, size_t *ret_count)
{
    struct go_program *program = context;
    uint32_t number = intern_table_add(&program->targets, (struct text){(const char *)&target, sizeof target});
    while (program->target_capacity <= number)
        program->target_calls = arena_grow(program->arena, program->target_calls, program->target_capacity,
                                           &program->target_capacity, sizeof *program->target_calls);
    struct call_list *list = &program->target_calls[number];
    struct call_reading reading = {.program = program};
    reading.table = go_runtime_find_function(program->runtime, target, &reading.function);
    if (!list->is_made && reading.table != NULL)
        calls_make(program, &reading, list);
    list->is_made = true;
    *ret_count = list->count;
    return list->calls;
}

static uint64_t program_function_of(void *context, uint32_t number)
{
    struct go_program *program = context;
    struct pclntab_function function;
    uint64_t lookup = location_lookup(&program->snapshot->locations[number]);
    return go_runtime_find_function(program->runtime, lookup, &function) == NULL ? 0 : function.entry;
}

/* Pools. */

static const struct type_list *types_of(struct go_program *program, const char *name)
{
    for (size_t i = 0; i < program->type_count; i++)
        if (text_equals(program->types[i].name, text_from_string(name)))
            return &program->types[i];
    program->types = arena_grow(program->arena, program->types, program->type_count, &program->type_capacity,
                                sizeof *program->types);
    struct type_list *list = &program->types[program->type_count++];
    list->name = text_copy(program->arena, text_from_string(name));
    list->types = go_structs_find(program->runtime, list->name, program->arena, &list->count);
    return list;
}

/* The value of a counter: an integer of any width, or an atomic one, which is a struct with its value last. */
static bool counter_read(struct go_program *program, const struct go_struct *type, struct text name, uint64_t address,
                         uint64_t *ret_value, bool *ret_is_late)
{
    enum { kind_int_first = 2, kind_int_last = 11 };
    struct go_field field;
    uint8_t bytes[8] = {0};
    bool is_late = false;
    if (!go_struct_field(program->runtime, type, name, &field) || field.kind < kind_int_first ||
        field.kind > kind_int_last || field.size_bytes > 8 ||
        memory_ask(&program->runtime->image->memory, address + field.offset, bytes, (size_t)field.size_bytes,
                   &is_late) != field.size_bytes)
        return false;
    *ret_value = load_u64(bytes);
    *ret_is_late |= is_late;
    return true;
}

static bool pool_read(struct go_program *program, const struct go_struct *type,
                      const struct program_pool_question *question, uint64_t address, struct program_pool *ret_pool)
{
    enum { size_max = 1 << 24 };
    *ret_pool = (struct program_pool){.address = address};
    return counter_read(program, type, question->size, address, &ret_pool->size, &ret_pool->is_late) &&
           counter_read(program, type, question->in_use, address, &ret_pool->in_use, &ret_pool->is_late) &&
           ret_pool->size != 0 && ret_pool->size <= size_max && ret_pool->in_use <= ret_pool->size &&
           go_struct_fits(program->runtime, type, address);
}

static size_t program_pools(void *context, const struct program_pool_question *question, struct program_pool *ret_pools,
                            size_t count_max)
{
    struct go_program *program = context;
    struct goroutine_frame frames[limit_go_frames];
    const struct type_list *types = types_of(program, question->type);
    size_t frame_count = types->count == 0 ? 0 : frames_to_step(program, question->member, question->step, frames);
    size_t count = 0;
    for (uint64_t at = frame_count == 0 ? 0 : frames[0].sp; frame_count != 0 && at < frames[frame_count - 1].end;
         at += 8) {
        uint64_t word;
        bool is_known = !memory_read_u64(&program->runtime->image->memory, at, &word) || word == 0;
        for (size_t i = 0; i < count; i++)
            is_known |= ret_pools[i].address == word;
        for (size_t i = 0; i < types->count && !is_known && count < count_max; i++)
            if (pool_read(program, &types->types[i], question, word, &ret_pools[count])) {
                count++;
                break;
            }
    }
    return count;
}

static uint64_t program_frames_have(void *context, uint32_t member, uint32_t step, const uint64_t *words, size_t count)
{
    struct go_program *program = context;
    struct goroutine_frame frames[limit_go_frames];
    size_t frame_count = frames_to_step(program, member, step, frames);
    uint64_t end = frame_count == 0 ? 0 : frames[frame_count - 1].end, found = 0;
    for (uint64_t at = frame_count == 0 ? 0 : frames[0].sp; at < end; at += 8) {
        uint64_t own;
        if (!memory_read_u64(&program->runtime->image->memory, at, &own))
            continue;
        for (size_t i = 0; i < count; i++)
            found |= (uint64_t)(own == words[i]) << i;
    }
    return found;
}

/* What is saved of a process, and what is copied of one, has no heap. */
static enum program_heap program_heap(void *context, uint64_t *ret_bytes)
{
    const struct go_program *program = context;
    const struct image *image = program->runtime->image;
    *ret_bytes = go_references_heap_bytes(program->runtime);
    if (strcmp(image->source_kind, "core") != 0 ||
        (image->written_by != NULL && strcmp(image->written_by, "stackgroup") == 0))
        return PROGRAM_HEAP_MISSING;
    return *ret_bytes <= limit_go_heap_bytes ? PROGRAM_HEAP_SEARCHED : PROGRAM_HEAP_TOO_LARGE;
}

enum { led_words = 16 }; /* of a thing on the way: what is lent is a small struct */

static bool things_have(const struct memory *memory, uint64_t at, uint64_t address, unsigned steps, bool *ret_is_known)
{
    uint8_t bytes[led_words * 8];
    size_t size_bytes = (at & 7) != 0 || at < 4096 ? 0 : memory_read(memory, at, bytes, sizeof bytes);
    *ret_is_known |= size_bytes != 0;
    for (size_t i = 0; i + 8 <= size_bytes; i += 8) {
        uint64_t word = load_u64(bytes + i);
        bool is_known;
        if (word == address || (steps > 1 && word != 0 && things_have(memory, word, address, steps - 1, &is_known)))
            return true;
    }
    return false;
}

static bool program_frame_leads_to(void *context, uint32_t member, uint32_t step, uint64_t address, bool *ret_is_known)
{
    enum { steps_max = 2 };
    struct go_program *program = context;
    const struct memory *memory = &program->runtime->image->memory;
    const struct memory_range *range;
    struct goroutine_frame frames[limit_go_frames];
    size_t count = frames_to_step(program, member, step, frames);
    *ret_is_known = false;
    for (uint64_t at = count == 0 ? 0 : frames[count - 1].sp; count != 0 && at < frames[count - 1].end; at += 8) {
        uint64_t word;
        if (!memory_read_u64(memory, at, &word) || (word & 7) != 0)
            continue;
        /* Things on the heap or in variables, not code and its tables. */
        range = memory_find(memory, word);
        if (range != NULL && memory_is_core(memory, range) &&
            things_have(memory, word, address, steps_max, ret_is_known))
            return true;
    }
    /* Other goroutines' stacks and variables can be read of any target; what is not there may be on the heap. */
    uint64_t heap_bytes;
    *ret_is_known &= program_heap(program, &heap_bytes) != PROGRAM_HEAP_MISSING;
    return false;
}

/* Who knows a channel. */

struct knower_search {
    struct go_program *program;
    struct program_knower *knowers;
    struct go_referenced *asked;
    size_t count;
    struct go_stack_range *stacks;
    size_t stack_count;
    uint64_t *sudogs, *starts;
    size_t sudog_count, sudog_capacity, start_count, start_capacity;
};

static bool member_waits_at(const struct snapshot *snapshot, uint32_t number, uint64_t address)
{
    const struct member *member = &snapshot->members[number];
    for (uint32_t i = 0; i < member->wait_count; i++)
        if (snapshot->resources[snapshot->waits[member->wait_first + i].resource].address == address)
            return true;
    return false;
}

static bool is_waiter(void *context, uint32_t number, size_t asked)
{
    struct knower_search *search = context;
    if (number == index_none) /* one of the runtime's own */
        return false;
    if (member_waits_at(search->program->snapshot, number, search->asked[asked].address))
        return true;
    if (search->knowers[asked].member == index_none)
        search->knowers[asked].member = number;
    return false;
}

static int compare_words(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

static int compare_stacks(const void *left, const void *right)
{
    const struct go_stack_range *a = left, *b = right;
    return a->low < b->low ? -1 : a->low > b->low;
}

static bool is_asked(const struct knower_search *search, uint32_t number)
{
    const struct snapshot *snapshot = search->program->snapshot;
    const struct member *member = &snapshot->members[number];
    for (uint32_t i = 0; i < member->wait_count; i++) {
        uint64_t address = snapshot->resources[snapshot->waits[member->wait_first + i].resource].address;
        if (go_referenced_find(search->asked, search->count, address) != search->count)
            return true;
    }
    return false;
}

static struct go_stack_range stack_range(const struct knower_search *search, const struct goroutine_stack *stack,
                                         uint32_t member)
{
    const struct snapshot *snapshot = search->program->snapshot;
    bool is_member = member < snapshot->member_count && snapshot->members[member].id == stack->id;
    return (struct go_stack_range){stack->low, stack->sp, stack->high, is_member ? member : index_none};
}

/* Sorted, so that each word's stack is found. */
static void add_stack(struct knower_search *search, struct go_stack_range stack)
{
    if (stack.low < stack.high)
        search->stacks[search->stack_count++] = stack;
}

/* The runtime's records of a wait that is asked for, and where the one that waits began. */
static void add_records(struct knower_search *search, const struct goroutine *goroutine)
{
    const struct go_runtime *runtime = search->program->runtime;
    struct arena *arena = search->program->arena;
    uint64_t sudog = goroutine->waiting;
    search->starts =
        arena_grow(arena, search->starts, search->start_count, &search->start_capacity, sizeof *search->starts);
    search->starts[search->start_count++] = goroutine->start_pc;
    for (struct case_chain chain = {0}; case_chain_take(&chain, sudog);) {
        search->sudogs =
            arena_grow(arena, search->sudogs, search->sudog_count, &search->sudog_capacity, sizeof *search->sudogs);
        search->sudogs[search->sudog_count++] = sudog;
        if (!memory_read_u64(&runtime->image->memory, sudog + (uint64_t)runtime->layout.sudog.wait_link, &sudog))
            break;
    }
}

/* The stacks of all goroutines, ended ones too, whose words are left over; the records of those who wait. */
static void knower_search_fill(struct knower_search *search)
{
    const struct go_runtime *runtime = search->program->runtime;
    const struct memory *memory = &runtime->image->memory;
    struct goroutine_reader reader = goroutine_reader_new(runtime);
    uint32_t member = 0;
    search->stacks = arena_array(search->program->arena, struct go_stack_range, runtime->goroutine_count + 1);
    for (uint64_t slot = 0; slot < runtime->goroutine_count; slot++) {
        struct goroutine_stack found;
        struct goroutine goroutine;
        if (!goroutine_read_stack(&reader, slot, &found)) {
            struct go_stack_range stack = {.number = index_none};
            uint64_t g;
            if (memory_read_u64(memory, runtime->goroutines + 8 * slot, &g) &&
                memory_read_u64(memory, g + go_g_stack_low, &stack.low) &&
                memory_read_u64(memory, g + go_g_stack_high, &stack.high)) {
                stack.sp = stack.high;
                add_stack(search, stack);
            }
            continue;
        }
        struct go_stack_range stack = stack_range(search, &found, member);
        add_stack(search, stack);
        if (stack.number != index_none && is_asked(search, member) &&
            goroutine_read(&reader, slot, &goroutine) == GOROUTINE_READ)
            add_records(search, &goroutine);
        member += stack.number != index_none;
    }
    qsort(search->stacks, search->stack_count, sizeof *search->stacks, compare_stacks);
    if (search->sudog_count != 0)
        qsort(search->sudogs, search->sudog_count, sizeof *search->sudogs, compare_words);
    if (search->start_count != 0)
        qsort(search->starts, search->start_count, sizeof *search->starts, compare_words);
}

/* Stacks of a part of the runtime's list, gone through for what a search asks. */
struct stack_scan {
    struct knower_search search;
    struct go_reference_search references;
    struct go_reference_pass *pass;
    uint64_t slot, slot_end;
    uint32_t member; /* the first that may stand in these slots */
};

static struct stack_scan *stack_scan_new(const struct knower_search *search, uint64_t slot, uint64_t slot_end,
                                         uint32_t member)
{
    struct arena *arena = search->program->arena;
    struct stack_scan *scan = arena_new(arena, struct stack_scan);
    *scan = (struct stack_scan){
        .search =
            {
                .program = search->program,
                .knowers = arena_array(arena, struct program_knower, search->count + 1),
                .asked = arena_array(arena, struct go_referenced, search->count + 1),
                .count = search->count,
            },
        .references =
            {
                .runtime = search->program->runtime,
                .asked_count = search->count,
                .is_own = is_waiter,
                .context = &scan->search,
            },
        .slot = slot,
        .slot_end = slot_end,
        .member = member,
    };
    scan->references.asked = scan->search.asked;
    for (size_t i = 0; i < search->count; i++) {
        scan->search.asked[i].address = search->asked[i].address;
        scan->search.knowers[i].member = index_none;
    }
    scan->pass = go_reference_pass_new(&scan->references, arena);
    return scan;
}

/* A million stacks are gone through where they lie: sorted they would take as much memory as all else. */
static void scan_stacks(struct worker *worker, void *context)
{
    enum { prefetch_distance = 8 };
    struct stack_scan *scan = context;
    struct goroutine_reader reader = goroutine_reader_new(scan->search.program->runtime);
    uint32_t member = scan->member;
    for (uint64_t slot = scan->slot; slot < scan->slot_end; slot++) {
        struct goroutine_stack found;
        goroutine_prefetch_head(&reader, slot + prefetch_distance);
        goroutine_prefetch_stack(&reader, slot + prefetch_distance / 2);
        if ((slot & 1023) == 0 && worker != NULL && worker_is_unwanted(worker))
            return;
        if (!goroutine_read_stack(&reader, slot, &found))
            continue;
        struct go_stack_range stack = stack_range(&scan->search, &found, member);
        go_reference_pass_stack(scan->pass, &stack);
        member += stack.number != index_none;
    }
}

/* The first slot from that one on whose goroutine is a member; the number of slots: there is none, or it was not found soon. */
static uint64_t find_member_slot(const struct go_program *program, uint64_t slot, uint32_t *ret_member)
{
    const struct snapshot *snapshot = program->snapshot;
    uint64_t slot_count = program->runtime->goroutine_count;
    struct goroutine_reader reader = goroutine_reader_new(program->runtime);
    struct goroutine_stack found = {0};
    while (slot < slot_count && !goroutine_read_stack(&reader, slot, &found))
        slot++;
    /* Members are in the list's order, which has others too. */
    uint64_t member = slot < snapshot->member_count ? slot + 1 : snapshot->member_count;
    while (member > 0 && slot < slot_count && snapshot->members[member - 1].id != found.id)
        member--;
    *ret_member = member == 0 ? 0 : (uint32_t)member - 1;
    return member == 0 ? slot_count : slot;
}

/* The second half by the worker, where there are many. */
static void scan_all_stacks(struct knower_search *search)
{
    enum { slots_least = 16384 };
    struct go_program *program = search->program;
    uint64_t slot_count = program->runtime->goroutine_count, middle = slot_count;
    uint32_t member = 0;
    if (slot_count >= slots_least)
        middle = find_member_slot(program, slot_count / 2, &member);
    struct stack_scan *halves[] = {stack_scan_new(search, 0, middle, 0),
                                   stack_scan_new(search, middle, slot_count, member)};
    bool is_helped = middle < slot_count && worker_start(program->worker, scan_stacks, halves[1]);
    scan_stacks(NULL, halves[0]);
    go_reference_pass_variables(halves[0]->pass);
    if (is_helped)
        worker_wait(program->worker);
    else
        scan_stacks(NULL, halves[1]);
    for (size_t i = 0; i < search->count; i++)
        for (size_t j = 0; j < 2; j++) {
            const struct go_referenced *asked = &halves[j]->search.asked[i];
            search->asked[i].stacks += asked->stacks;
            search->asked[i].variables += asked->variables;
            search->asked[i].first_variable += asked->first_variable;
            if (search->knowers[i].member == index_none)
                search->knowers[i].member = halves[j]->search.knowers[i].member;
        }
}

/* What a thread has in its registers alone. */
static void knowers_add_registers(struct knower_search *search)
{
    const struct image *image = search->program->runtime->image;
    for (size_t i = 0; i < image->thread_count; i++) {
        struct registers registers;
        if (image->threads[i].registers == NULL)
            continue;
        image->arch->registers_decode(image->threads[i].registers, &registers);
        for (size_t j = 0; j < arch_registers_max; j++)
            for (size_t k = 0; k < search->count && (registers.known >> j & 1) != 0; k++)
                search->asked[k].stacks += registers.values[j] == search->asked[k].address;
    }
}

static enum program_heap program_knowers(void *context, struct program_knower *knowers, size_t count)
{
    struct go_program *program = context;
    const struct go_runtime *runtime = program->runtime;
    struct knower_search search = {
        .program = program,
        .knowers = knowers,
        .asked = arena_array(program->arena, struct go_referenced, count + 1),
        .count = count,
    };
    for (size_t i = 0; i < count; i++) {
        search.asked[i].address = knowers[i].address;
        knowers[i].member = index_none;
    }
    uint64_t bytes;
    enum program_heap heap = program_heap(program, &bytes);
    if (heap == PROGRAM_HEAP_SEARCHED)
        knower_search_fill(&search);
    if (heap != PROGRAM_HEAP_SEARCHED)
        scan_all_stacks(&search);
    struct go_reference_search references = {
        .runtime = runtime,
        .asked = search.asked,
        .asked_count = count,
        .stacks = search.stacks,
        .stack_count = search.stack_count,
        .records = search.sudogs,
        .record_count = search.sudog_count,
        .record_bytes = (size_t)runtime->layout.sudog.size_bytes + 16, /* the channel may be the last word but one */
        .starts = search.starts,
        .start_count = search.start_count,
        .is_own = is_waiter,
        .context = &search,
    };
    if (heap == PROGRAM_HEAP_SEARCHED)
        go_references_find(&references);
    knowers_add_registers(&search);
    for (size_t i = 0; i < count; i++) {
        knowers[i].stacks = search.asked[i].stacks;
        knowers[i].variables = search.asked[i].variables;
        knowers[i].first_variable = search.asked[i].first_variable;
        knowers[i].heap = search.asked[i].heap;
    }
    return heap;
}

/* Who is stuck. */

/* Members are in the order of the runtime's list, which has others too. */
static const struct program_stuck *program_stuck(void *context)
{
    struct go_program *program = context;
    const struct go_runtime *runtime = program->runtime;
    const struct snapshot *snapshot = program->snapshot;
    uint64_t bytes;
    if (program->stuck_is_asked)
        return program->stuck;
    program->stuck_is_asked = true;
    if (program_heap(program, &bytes) == PROGRAM_HEAP_MISSING)
        return NULL;
    struct go_stuck found = go_stuck_find(runtime, program->is_patient, program->arena);
    if (!found.is_known && !found.is_too_much)
        return NULL;
    struct program_stuck *stuck = arena_new(program->arena, struct program_stuck);
    stuck->is_too_much = found.is_too_much;
    program->stuck = stuck;
    if (found.is_too_much)
        return stuck;
    uint8_t *members = arena_array(program->arena, uint8_t, snapshot->member_count + 1);
    uint32_t *slots = arena_array(program->arena, uint32_t, runtime->goroutine_count + 1);
    struct program_link *links = arena_array(program->arena, struct program_link, found.link_count + 1);
    uint32_t at = 0;
    for (uint64_t slot = 0; slot < runtime->goroutine_count; slot++) {
        slots[slot] = index_none;
        if (at == snapshot->member_count || found.ids[slot] != snapshot->members[at].id)
            continue;
        members[at] = found.slots[slot];
        slots[slot] = at++;
    }
    for (size_t i = 0; i < found.link_count; i++)
        if (slots[found.links[i].slot] != index_none)
            links[stuck->link_count++] =
                (struct program_link){slots[found.links[i].slot], found.links[i].start, found.links[i].end};
    stuck->members = members;
    stuck->links = links;
    stuck->links_are_all = found.links_are_all;
    return stuck;
}

/* What is lent. */

static uint64_t count_knowing(struct go_program *program, const struct program_lender_question *question,
                              uint64_t address)
{
    uint64_t count = 0;
    for (size_t i = 0; i < question->member_count && i < limit_pool_holders_asked; i++) {
        const struct member_place *place = member_place(program, question->members[i]);
        uint64_t word, at = place->sp;
        while (at != 0 && at + 8 <= place->high && memory_read_u64(&program->runtime->image->memory, at, &word) &&
               word != address)
            at += 8;
        count += at != 0 && at + 8 <= place->high && memory_read_u64(&program->runtime->image->memory, at, &word) &&
                 word == address;
    }
    return count;
}

struct lender_check {
    struct go_program *program;
    const struct type_list *types;
    struct program_pool_question counters;
};

static bool lender_read(const struct lender_check *check, uint64_t address, struct program_pool *ret_pool)
{
    for (size_t i = 0; i < check->types->count; i++)
        if (pool_read(check->program, &check->types->types[i], &check->counters, address, ret_pool))
            return true;
    return false;
}

static bool is_lender(void *context, uint64_t address)
{
    struct program_pool unused;
    return lender_read(context, address, &unused);
}

static size_t program_lenders(void *context, const struct program_lender_question *question,
                              struct program_lender *ret_lenders, size_t count_max)
{
    struct go_program *program = context;
    struct lender_check check = {
        program, NULL, {.type = question->type, .size = question->size, .in_use = question->in_use}};
    struct go_lender found[limit_pool_objects];
    uint64_t bytes;
    size_t count = 0;
    if (program_heap(program, &bytes) == PROGRAM_HEAP_MISSING)
        return 0;
    types_of(program, question->type); /* lists move when one more is made */
    const struct type_list *lent = types_of(program, question->lent);
    check.types = types_of(program, question->type);
    struct go_lent_question lent_question = {lent->types,      lent->count, question->field,
                                            program->is_patient, is_lender,   &check};
    size_t found_count =
        go_lenders_find(program->runtime, &lent_question, program->arena, found, limit_pool_objects);
    for (size_t i = 0; i < found_count && count < count_max; i++) {
        struct program_pool pool;
        uint64_t waiters = count_knowing(program, question, found[i].address);
        if (waiters != 0 && lender_read(&check, found[i].address, &pool))
            ret_lenders[count++] = (struct program_lender){.address = found[i].address,
                                                           .size = pool.size,
                                                           .in_use = pool.in_use,
                                                           .existing = found[i].existing,
                                                           .held = found[i].held,
                                                           .waiters = waiters};
    }
    return count;
}

const struct program *go_program_new(const struct go_runtime *runtime, const struct snapshot *snapshot,
                                     bool is_patient, struct worker *worker, struct arena *arena)
{
    struct go_program *program = arena_new(arena, struct go_program);
    *program = (struct go_program){
        .program =
            {
                .context = program,
                .calls = program_calls,
                .unseen_calls = program_unseen_calls,
                .calls_of = program_calls_of,
                .function_of = program_function_of,
                .pools = program_pools,
                .frames_have = program_frames_have,
                .heap = program_heap,
                .knowers = program_knowers,
                .stuck = program_stuck,
                .lenders = program_lenders,
                .frame_leads_to = program_frame_leads_to,
            },
        .runtime = runtime,
        .snapshot = snapshot,
        .worker = worker,
        .is_patient = is_patient,
        .arena = arena,
        .code_bytes_left = limit_code_calls_bytes,
    };
    intern_table_init(&program->targets, arena);
    return &program->program;
}
