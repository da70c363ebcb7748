/* SPDX-License-Identifier: Apache-2.0 */
#include "detect/pool_callers.h"

#include "base/limits.h"
#include "detect/function_scope.h"
#include "detect/wording.h"

/* Functions. */

static struct text module_path(const struct snapshot *snapshot, const struct location *location)
{
    return location->module < snapshot->module_count ? snapshot->modules[location->module].path : (struct text){"", 0};
}

/* What calls a thread's or a goroutine's first function: libc, the runtime, a language's wrappers around it. */
static bool is_runtime(struct text name, enum scope_language language)
{
    static const struct text prefixes[] = {{"std::", 5}, {"core::", 6}, {"alloc::", 7}};
    if (function_starts_members(name) || text_equals(name, TEXT("main")))
        return true;
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (language != SCOPE_GO && text_starts_with(name, prefixes[i]))
            return true;
    return false;
}

static uint32_t function_add(struct pool_functions *functions, struct function_scope scope, struct arena *arena)
{
    char *key = arena_alloc(arena, scope.layer.length + 1 + scope.function.length, 1);
    if (scope.layer.length != 0)
        memcpy(key, scope.layer.data, scope.layer.length);
    memcpy(key + scope.layer.length + 1, scope.function.data, scope.function.length);
    uint32_t number =
        intern_table_add(&functions->names, (struct text){key, scope.layer.length + 1 + scope.function.length});
    if (number < functions->count)
        return number;
    functions->entries =
        arena_grow(arena, functions->entries, functions->count, &functions->capacity, sizeof *functions->entries);
    functions->entries[functions->count++] = (struct pool_function){
        .name = scope.function,
        .layer = intern_table_add(&functions->layers, scope.layer),
        .is_runtime = is_runtime(scope.function, scope.language),
    };
    return number;
}

struct pool_functions *pool_functions_read(struct detection *detection)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    struct arena *arena = detection_scratch(detection);
    struct pool_functions *functions = arena_new(arena, struct pool_functions);
    functions->detection = detection;
    functions->function_of_frame = arena_array(arena, uint32_t, snapshot->frame_count + 1);
    intern_table_init(&functions->names, arena);
    intern_table_init(&functions->layers, arena);
    intern_table_add(&functions->names, TEXT(""));
    intern_table_add(&functions->layers, TEXT(""));
    functions->entries = arena_grow(arena, NULL, 0, &functions->capacity, sizeof *functions->entries);
    functions->entries[functions->count++] = (struct pool_function){.name = {"", 0}};
    for (size_t i = 0; i < snapshot->location_count; i++) {
        const struct location *location = &snapshot->locations[i];
        for (uint32_t j = 0; j < location->frame_count; j++) {
            const struct frame *frame = &snapshot->frames[location->frame_first + j];
            if (frame->function == 0)
                continue;
            struct function_scope scope =
                function_scope_read(snapshot_string(snapshot, frame->function), snapshot_string(snapshot, frame->file),
                                    module_path(snapshot, location), arena);
            functions->function_of_frame[location->frame_first + j] = function_add(functions, scope, arena);
        }
    }
    return functions;
}

static uint32_t function_at(const struct pool_functions *functions, const struct stack_frame *frames, size_t at)
{
    return functions->function_of_frame[frames[at].frame];
}

/* Whether the first of two places in one function comes before the second. Lines first: compilers move blocks, so that
 * addresses have another order than the source. */
static bool place_is_before(const struct snapshot *snapshot, struct stack_frame a, struct stack_frame b)
{
    const struct frame *first = &snapshot->frames[a.frame], *second = &snapshot->frames[b.frame];
    if (first->line != 0 && second->line != 0 && first->file == second->file && first->line != second->line)
        return first->line < second->line;
    const struct location *from = &snapshot->locations[a.location], *to = &snapshot->locations[b.location];
    /* Offsets count from the start of the function that others are inlined into, its copies and parts elsewhere. */
    return !first->inlined && !second->inlined && first->function == second->function && from->module == to->module &&
           from->offset < to->offset;
}

/* Judging. */

struct judgement {
    struct pool *pool;
    const struct pool_functions *functions;
    const struct pool_facts *facts;
    const struct snapshot *snapshot;
    bool *is_accessor, *is_direct; /* by function */
    bool *is_layer;                /* by layer: it has a direct caller */
};

/* How one direct caller is called. */
struct callers {
    uint32_t first; /* function; 0: none seen */
    bool several, others;
};

static enum pool_answer code_answer(const struct judgement *judgement, const struct pool_entry *entry,
                                    struct stack_frame frame)
{
    const struct pool_facts *facts = judgement->facts;
    return facts == NULL || facts->acquires_before == NULL ? POOL_UNKNOWN
                                                           : facts->acquires_before(facts->context, entry, frame);
}

/* The function of the frame takes one before the call that it stands in: its code says so, or others are seen in it
 * that do. */
static bool holds_before(const struct judgement *judgement, const struct pool_entry *entry, struct stack_frame frame)
{
    uint32_t function = judgement->functions->function_of_frame[frame.frame];
    struct stack_frame call = judgement->pool->first_calls[function];
    enum pool_answer answer = code_answer(judgement, entry, frame);
    if (answer != POOL_UNKNOWN && answer != POOL_UNSEEN)
        return answer == POOL_YES;
    return call.location != index_none && place_is_before(judgement->snapshot, call, frame);
}

/* Its function is seen to take one, but only later. */
static bool holds_after(const struct judgement *judgement, struct stack_frame frame)
{
    uint32_t function = judgement->functions->function_of_frame[frame.frame];
    struct stack_frame call = judgement->pool->first_calls[function];
    return call.location != index_none && place_is_before(judgement->snapshot, frame, call);
}

static void direct_callers_mark(struct judgement *judgement)
{
    const struct pool_functions *functions = judgement->functions;
    struct pool *pool = judgement->pool;
    memset(judgement->is_direct, 0, functions->count * sizeof *judgement->is_direct);
    memset(judgement->is_layer, 0, functions->layers.count * sizeof *judgement->is_layer);
    for (size_t i = 0; i < pool->count; i++) {
        const struct pool_entry *entry = &pool->entries[i];
        if (entry->caller == entry->frame_count)
            continue;
        uint32_t function = function_at(functions, entry->frames, entry->caller);
        struct stack_frame call = entry->frames[entry->caller];
        if (function == 0)
            continue;
        judgement->is_direct[function] = true;
        if (functions->entries[function].layer != 0)
            judgement->is_layer[functions->entries[function].layer] = true;
        struct stack_frame *first = &pool->first_calls[function], *last = &pool->last_calls[function];
        if (first->location == index_none || place_is_before(judgement->snapshot, call, *first))
            *first = call;
        if (last->location == index_none || place_is_before(judgement->snapshot, *last, call))
            *last = call;
    }
}

static void callers_note(const struct judgement *judgement, struct callers *callers, const struct stack_frame *frames,
                         size_t count, size_t at)
{
    const struct pool_functions *functions = judgement->functions;
    uint32_t callee = function_at(functions, frames, at);
    size_t next = at + 1;
    while (next < count && function_at(functions, frames, next) == callee)
        next++;
    uint32_t caller = next < count ? function_at(functions, frames, next) : 0;
    if (caller == 0 || !judgement->is_layer[functions->entries[caller].layer] ||
        holds_before(judgement, NULL, frames[next])) {
        /* One that took a connection and then calls this makes it no accessor: it takes a second. */
        callers->others = true;
        return;
    }
    callers->several |= callers->first != 0 && callers->first != caller;
    callers->first = callers->first == 0 ? caller : callers->first;
}

/* Marks the direct callers that several functions of the layer call and nobody else, anywhere in the dump. False: there
 * are no new ones. */
static bool accessors_find(struct judgement *judgement, struct arena *arena)
{
    const struct pool_functions *functions = judgement->functions;
    struct pool *pool = judgement->pool;
    struct callers *callers = arena_array(arena, struct callers, functions->count);
    for (uint32_t stack = 0; stack < judgement->snapshot->stack_count; stack++) {
        size_t count;
        const struct stack_frame *frames = detection_frames(functions->detection, stack, &count);
        for (size_t i = 0; i < count; i++) {
            uint32_t function = function_at(functions, frames, i);
            if (judgement->is_direct[function] && (i == 0 || function_at(functions, frames, i - 1) != function))
                callers_note(judgement, &callers[function], frames, count, i);
        }
    }
    bool found = false;
    for (uint32_t i = 1; i < functions->count; i++) {
        if (!callers[i].several || callers[i].others || judgement->is_accessor[i])
            continue;
        judgement->is_accessor[i] = found = true;
        pool->accessors =
            arena_grow(arena, pool->accessors, pool->accessor_count, &pool->accessor_capacity, sizeof *pool->accessors);
        pool->accessors[pool->accessor_count++] = i;
    }
    return found;
}

static void callers_move(struct judgement *judgement)
{
    for (size_t i = 0; i < judgement->pool->count; i++) {
        struct pool_entry *entry = &judgement->pool->entries[i];
        while (entry->caller < entry->frame_count &&
               judgement->is_accessor[function_at(judgement->functions, entry->frames, entry->caller)])
            entry->caller++;
    }
}

/* The outermost frame of the direct caller. What comes before it was called by it: a helper that its closure is handed
 * to (dao.retry), or its own recursion, of which names alone do not tell whether each level takes one. */
static size_t outermost_call(const struct judgement *judgement, const struct pool_entry *entry)
{
    uint32_t function = function_at(judgement->functions, entry->frames, entry->caller);
    size_t at = entry->caller;
    for (size_t i = entry->caller + 1; i < entry->frame_count; i++)
        if (function_at(judgement->functions, entry->frames, i) == function)
            at = i;
    return at;
}

/* The leafmost of the frames that the thread or goroutine began with: below them is nothing of the program. */
static size_t first_function_start(const struct judgement *judgement, const struct pool_entry *entry)
{
    uint32_t first = 0;
    size_t start = entry->frame_count;
    for (size_t i = entry->frame_count; i-- > entry->caller;) {
        uint32_t function = function_at(judgement->functions, entry->frames, i);
        if (function == 0 || judgement->functions->entries[function].is_runtime)
            continue;
        if (first != 0 && function != first)
            break;
        first = function;
        start = i;
    }
    return start;
}

/* By all but the layer. False: nothing is proved. */
static bool entry_judge_by_proof(const struct judgement *judgement, struct pool_entry *entry)
{
    uint32_t direct = function_at(judgement->functions, entry->frames, entry->caller);
    if (entry->working < entry->frame_count) {
        entry->nesting = NESTING_WORKING;
        entry->holder = entry->working;
        return true;
    }
    /* Code first. Places seen do not tell the levels of a recursion apart; code does: a helper that takes one and calls
     * what it was given, which comes to the helper again. */
    for (size_t i = entry->caller + 1; i < entry->frame_count; i++)
        if (function_at(judgement->functions, entry->frames, i) != 0 &&
            code_answer(judgement, entry, entry->frames[i]) == POOL_YES) {
            entry->nesting = NESTING_CODE;
            entry->holder = i;
            return true;
        }
    for (size_t i = entry->caller + 1; i < entry->frame_count; i++) {
        uint32_t function = function_at(judgement->functions, entry->frames, i);
        if (function == 0 || function == direct || !holds_before(judgement, entry, entry->frames[i]))
            continue;
        entry->nesting = NESTING_ORDERED;
        entry->holder = i;
        return true;
    }
    return false;
}

static void entry_judge_by_layer(const struct judgement *judgement, struct pool_entry *entry, bool with_first)
{
    uint32_t direct = function_at(judgement->functions, entry->frames, entry->caller);
    size_t end = with_first ? entry->frame_count : first_function_start(judgement, entry);
    for (size_t i = outermost_call(judgement, entry) + 1; i < end; i++) {
        uint32_t function = function_at(judgement->functions, entry->frames, i);
        const struct pool_function *known = &judgement->functions->entries[function];
        if (function == 0 || function == direct || !judgement->is_layer[known->layer] || known->is_runtime ||
            holds_after(judgement, entry->frames[i]) || code_answer(judgement, entry, entry->frames[i]) == POOL_NO)
            continue;
        entry->nesting = NESTING_LAYERED;
        entry->holder = i;
        return;
    }
}

static void entries_judge_by_layer(const struct judgement *judgement, const bool *is_open, bool with_first,
                                   uint64_t *ret_nested, uint64_t *ret_plain)
{
    *ret_nested = *ret_plain = 0;
    for (size_t i = 0; i < judgement->pool->count; i++) {
        struct pool_entry *entry = &judgement->pool->entries[i];
        if (!is_open[i])
            continue;
        entry->nesting = NESTING_NONE;
        entry_judge_by_layer(judgement, entry, with_first);
        *(entry->nesting == NESTING_NONE ? ret_plain : ret_nested) += entry->waiting;
    }
}

static void entries_judge(struct judgement *judgement, struct arena *arena)
{
    struct pool *pool = judgement->pool;
    bool *is_open = arena_array(arena, bool, pool->count + 1);
    for (size_t i = 0; i < pool->count; i++) {
        struct pool_entry *entry = &pool->entries[i];
        if (entry->caller == entry->frame_count || function_at(judgement->functions, entry->frames, entry->caller) == 0)
            continue;
        is_open[i] = !entry_judge_by_proof(judgement, entry);
    }
    /* Names alone accuse only where others of the pool wait without another function of the layer: else all programs in
     * layers would be accused. Where the layer is the whole program (one file, package main) every stack begins in it,
     * so that what a thread began with is passed over then. */
    uint64_t nested, plain;
    entries_judge_by_layer(judgement, is_open, true, &nested, &plain);
    if (nested > 0 && plain == 0)
        entries_judge_by_layer(judgement, is_open, false, &nested, &plain);
    if (plain == 0)
        for (size_t i = 0; i < pool->count; i++)
            if (is_open[i])
                pool->entries[i].nesting = NESTING_NONE;
}

void pool_judge(struct pool *pool, const struct pool_functions *functions, const struct pool_facts *facts)
{
    struct arena *arena = detection_scratch(functions->detection);
    struct judgement judgement = {
        .pool = pool,
        .functions = functions,
        .facts = facts,
        .snapshot = detection_snapshot(functions->detection),
        .is_accessor = arena_array(arena, bool, functions->count),
        .is_direct = arena_array(arena, bool, functions->count),
        .is_layer = arena_array(arena, bool, functions->layers.count),
    };
    pool->first_calls = arena_array(arena, struct stack_frame, functions->count);
    pool->last_calls = arena_array(arena, struct stack_frame, functions->count);
    for (size_t i = 0; i < functions->count; i++)
        pool->first_calls[i].location = pool->last_calls[i].location = index_none;
    direct_callers_mark(&judgement);
    for (int round = 0; round < limit_pool_rounds && accessors_find(&judgement, arena); round++) {
        callers_move(&judgement);
        direct_callers_mark(&judgement);
    }
    entries_judge(&judgement, arena);
}

bool pool_frame_is_past(const struct pool *pool, const struct pool_functions *functions, struct stack_frame frame)
{
    uint32_t function = functions->function_of_frame[frame.frame];
    struct stack_frame call = pool->last_calls[function];
    return function != 0 && call.location != index_none &&
           place_is_before(detection_snapshot(functions->detection), call, frame);
}
