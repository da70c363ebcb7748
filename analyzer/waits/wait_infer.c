/* SPDX-License-Identifier: Apache-2.0 */
#include "waits/wait_infer.h"

#include "base/byte_reader.h"
#include "base/limits.h"

/* A thing whose holders are sought. */
struct sought {
    uint32_t resource;
    uint64_t address;
    uint32_t wanted; /* as many holders it has */
    bool is_once;
    uint32_t function, module; /* of a guard: whose static variable it guards (string; 0 none), and where that is */
    uint32_t found_count;
    uint32_t *found; /* members; one more than wanted at most: then there are too many */
};

struct search {
    struct sought sought[limit_inferred_resources];
    size_t count;
    uint64_t lowest, highest;
    uint64_t bytes_left;
    /* Of the member whose stack is looked through: whether it stands in a once; looked for when first asked. */
    bool is_once_known, is_in_once;
};

static void collect(struct search *search, const struct wait_context *context)
{
    search->lowest = UINT64_MAX;
    for (size_t i = 0; i < context->build.resource_count && search->count < limit_inferred_resources; i++) {
        const struct resource *resource = &context->build.resources[i];
        bool is_once = resource->kind == WAIT_ONCE && resource->holder == HOLDER_UNKNOWN;
        bool is_read = resource->kind == WAIT_RWLOCK && resource->holder == HOLDER_ANONYMOUS && !resource->is_shared &&
                       resource->anonymous_count <= context->image->thread_count;
        if ((!is_once && !is_read) || resource->address == 0)
            continue;
        uint32_t wanted = is_once ? 1 : resource->anonymous_count;
        search->sought[search->count++] = (struct sought){
            .resource = (uint32_t)i,
            .address = resource->address,
            .wanted = wanted,
            .is_once = is_once,
            .found = arena_array(context->scratch, uint32_t, (size_t)wanted + 1),
        };
        search->lowest = resource->address < search->lowest ? resource->address : search->lowest;
        search->highest = resource->address > search->highest ? resource->address : search->highest;
    }
}

static bool member_is_in_once(struct search *search, struct wait_context *context, uint32_t member)
{
    uint32_t stack = context->snapshot->members[member].stack;
    if (!search->is_once_known)
        search->is_in_once = wait_calls_stack_has(&context->calls, stack, CALL_ONCE) ||
                             wait_calls_stack_has(&context->calls, stack, CALL_RUST_ONCE);
    search->is_once_known = true;
    return search->is_in_once;
}

/* A waiter of the thing itself has its address in the frame that waits: that says nothing. */
static void note_holder(struct search *search, struct wait_context *context, uint64_t value, uint32_t member,
                        uint32_t waited)
{
    for (size_t i = 0; i < search->count; i++) {
        struct sought *sought = &search->sought[i];
        if (sought->address != value || sought->resource + 1 == waited || sought->found_count > sought->wanted ||
            (sought->found_count != 0 && sought->found[sought->found_count - 1] == member) ||
            (sought->is_once && !member_is_in_once(search, context, member)))
            continue;
        sought->found[sought->found_count++] = member;
    }
}

/* The used part of the thread's stack: from its stack pointer to its thread block, which lies above, or to the end of
 * the mapping. */
static void search_stack(struct search *search, struct wait_context *context, uint32_t member, uint32_t waited)
{
    const struct image *image = context->image;
    const struct thread *thread = &image->threads[member];
    if (thread->registers == NULL)
        return;
    struct registers registers;
    image->arch->registers_decode(thread->registers, &registers);
    uint64_t sp = registers.values[image->arch->sp], block = context->threads.pointers[member];
    sp = (sp + 7) & ~(uint64_t)7;
    const struct memory_range *range = memory_find(&image->memory, sp);
    if (range == NULL)
        return;
    uint64_t end = range->end;
    if (block > sp && block < end)
        end = block;
    if (end - sp > limit_inferred_stack_bytes)
        end = sp + limit_inferred_stack_bytes;
    if (end - sp > search->bytes_left) {
        search->bytes_left = 0;
        return;
    }
    search->bytes_left -= end - sp;
    const uint8_t *bytes = range->bytes + (sp - range->start);
    search->is_once_known = false;
    for (uint64_t at = 0; at + 8 <= end - sp; at += 8) {
        uint64_t value = load_u64(bytes + at);
        if (value >= search->lowest && value <= search->highest)
            note_holder(search, context, value, member, waited);
    }
}

/* A function's call on a stack. */
struct stack_call {
    uint32_t function, module;
};

/* The next call, from the innermost outwards; the cursor is two zeros at first. False at the end. */
static bool next_call(const struct snapshot *snapshot, const struct stack *stack, uint32_t cursor[2],
                      struct stack_call *ret_call)
{
    if (cursor[0] >= stack->step_count || cursor[0] >= limit_frames_crowded)
        return false;
    const struct location *location = &snapshot->locations[snapshot->steps[stack->step_first + cursor[0]].location];
    *ret_call = (struct stack_call){snapshot->frames[location->frame_first + cursor[1]].function, location->module};
    if (++cursor[1] >= location->frame_count) {
        cursor[0]++;
        cursor[1] = 0;
    }
    return true;
}

/* Takes the cursor past the frame that waits for a guard, to the call of it; false: the stack waits for none. */
static bool find_guarded(const struct snapshot *snapshot, const struct stack *stack, uint32_t cursor[2],
                         struct stack_call *ret_call)
{
    while (next_call(snapshot, stack, cursor, ret_call))
        if (text_equals(wait_call_plain_name(snapshot_string(snapshot, ret_call->function)), TEXT("cxa_guard_acquire")))
            return next_call(snapshot, stack, cursor, ret_call) && ret_call->function != 0;
    return false;
}

/* The initial value of a function's static variable is made by the function itself: whoever stands in it, further out
 * than in the wait for the guard, has passed that. */
static bool stack_makes_static(const struct snapshot *snapshot, const struct stack *stack, const struct sought *sought,
                               bool is_waiter)
{
    uint32_t cursor[2] = {0, 0};
    struct stack_call call;
    if (is_waiter && !find_guarded(snapshot, stack, cursor, &call))
        return false;
    while (next_call(snapshot, stack, cursor, &call))
        if (call.function == sought->function && call.module == sought->module)
            return true;
    return false;
}

static void search_guards(struct search *search, struct wait_context *context, const uint32_t *waited)
{
    const struct snapshot *snapshot = context->snapshot;
    for (size_t i = 0; i < context->build.wait_count; i++) {
        const struct wait *wait = &context->build.waits[i];
        uint32_t cursor[2] = {0, 0};
        struct stack_call call;
        for (size_t k = 0; k < search->count; k++)
            if (search->sought[k].is_once && search->sought[k].function == 0 &&
                search->sought[k].resource == wait->resource &&
                find_guarded(snapshot, &snapshot->stacks[snapshot->members[wait->member].stack], cursor, &call)) {
                search->sought[k].function = call.function;
                search->sought[k].module = call.module;
            }
    }
    for (size_t k = 0; k < search->count; k++) {
        struct sought *sought = &search->sought[k];
        if (sought->function == 0)
            continue;
        sought->found_count = 0;
        for (uint32_t i = 0; i < context->image->thread_count && sought->found_count <= sought->wanted; i++) {
            const struct stack *stack = &snapshot->stacks[snapshot->members[i].stack];
            uint64_t bytes = 8 * ((uint64_t)stack->step_count + 1); /* as far as a look at a frame is one at a word */
            search->bytes_left -= bytes < search->bytes_left ? bytes : search->bytes_left;
            if (search->bytes_left == 0)
                return;
            if (stack_makes_static(snapshot, stack, sought, waited[i] == sought->resource + 1))
                sought->found[sought->found_count++] = i;
        }
    }
}

static void tell_holders(struct wait_context *context, const struct sought *sought)
{
    if (sought->found_count != sought->wanted)
        return;
    for (uint32_t i = 0; i < sought->found_count; i++)
        wait_build_hold(&context->build,
                        (struct hold){sought->resource, sought->found[i], sought->is_once, LEARNT_INFERRED});
    wait_context_resource(context, sought->resource)->anonymous_count = 0;
}

void wait_infer_holders(struct wait_context *context)
{
    struct search search = {.bytes_left = limit_inferred_bytes};
    collect(&search, context);
    if (search.count == 0)
        return;
    size_t count = context->image->thread_count;
    uint32_t *waited = arena_array(context->scratch, uint32_t, count + 1); /* by member: a resource + 1 */
    for (size_t i = 0; i < context->build.wait_count; i++)
        waited[context->build.waits[i].member] = context->build.waits[i].resource + 1;
    for (size_t i = 0; i < count; i++)
        search_stack(&search, context, (uint32_t)i, waited[i]);
    search_guards(&search, context, waited);
    if (search.bytes_left == 0) /* the count of those found is not that of those who have it */
        return;
    for (size_t i = 0; i < search.count; i++)
        tell_holders(context, &search.sought[i]);
}
