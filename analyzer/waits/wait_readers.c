/* SPDX-License-Identifier: Apache-2.0 */
#include "waits/wait_readers.h"

#include "base/byte_reader.h"
#include "base/limits.h"

/* A lock whose readers are sought. */
struct sought {
    uint32_t resource;
    uint64_t address;
    uint32_t found_count;
    uint32_t *found; /* members; one more than the readers at most: then there are too many */
};

struct search {
    struct sought locks[limit_reader_locks];
    size_t lock_count;
    uint64_t lowest, highest;
    uint64_t bytes_left;
};

static void collect_locks(struct search *search, const struct wait_context *context)
{
    search->lowest = UINT64_MAX;
    for (size_t i = 0; i < context->build.resource_count && search->lock_count < limit_reader_locks; i++) {
        const struct resource *resource = &context->build.resources[i];
        if (resource->kind != WAIT_RWLOCK || resource->holder != HOLDER_ANONYMOUS || resource->address == 0 ||
            resource->is_shared || resource->anonymous_count > context->image->thread_count)
            continue;
        search->locks[search->lock_count++] = (struct sought){
            .resource = (uint32_t)i,
            .address = resource->address,
            .found = arena_array(context->scratch, uint32_t, (size_t)resource->anonymous_count + 1),
        };
        search->lowest = resource->address < search->lowest ? resource->address : search->lowest;
        search->highest = resource->address > search->highest ? resource->address : search->highest;
    }
}

/* A waiter of the lock itself has its address in the frame that waits: that says nothing. */
static void note_reader(struct search *search, const struct wait_context *context, uint64_t value, uint32_t member,
                        uint32_t waited)
{
    for (size_t i = 0; i < search->lock_count; i++) {
        struct sought *lock = &search->locks[i];
        uint32_t wanted = context->build.resources[lock->resource].anonymous_count;
        if (lock->address != value || lock->resource + 1 == waited || lock->found_count > wanted ||
            (lock->found_count != 0 && lock->found[lock->found_count - 1] == member))
            continue;
        lock->found[lock->found_count++] = member;
    }
}

/* The used part of the thread's stack: from its stack pointer to its thread block, which lies above, or to the end of
 * the mapping. */
static void search_stack(struct search *search, const struct wait_context *context, uint32_t member,
                         uint32_t waited)
{
    const struct image *image = context->image;
    const struct thread *thread = &image->threads[member];
    if (thread->registers == NULL)
        return;
    struct registers registers;
    image->arch->registers_decode(thread->registers, &registers);
    uint64_t sp = registers.values[image->arch->sp], block = image->arch->thread_pointer(thread->registers);
    sp = (sp + 7) & ~(uint64_t)7;
    const struct memory_range *range = memory_find(&image->memory, sp);
    if (range == NULL)
        return;
    uint64_t end = range->end;
    if (block > sp && block < end)
        end = block;
    if (end - sp > limit_reader_stack_bytes)
        end = sp + limit_reader_stack_bytes;
    if (end - sp > search->bytes_left) {
        search->bytes_left = 0;
        return;
    }
    search->bytes_left -= end - sp;
    const uint8_t *bytes = range->bytes + (sp - range->start);
    for (uint64_t at = 0; at + 8 <= end - sp; at += 8) {
        uint64_t value = load_u64(bytes + at);
        if (value >= search->lowest && value <= search->highest)
            note_reader(search, context, value, member, waited);
    }
}

static void tell_readers(struct wait_context *context, const struct sought *lock)
{
    struct resource *resource = wait_context_resource(context, lock->resource);
    if (lock->found_count != resource->anonymous_count)
        return;
    for (uint32_t i = 0; i < lock->found_count; i++)
        wait_build_hold(&context->build, (struct hold){lock->resource, lock->found[i], false, LEARNT_INFERRED});
    resource->anonymous_count = 0;
}

void wait_readers_infer(struct wait_context *context)
{
    struct search search = {.bytes_left = limit_reader_bytes};
    collect_locks(&search, context);
    if (search.lock_count == 0)
        return;
    size_t count = context->image->thread_count;
    uint32_t *waited = arena_array(context->scratch, uint32_t, count + 1); /* by member: a resource + 1 */
    for (size_t i = 0; i < context->build.wait_count; i++)
        waited[context->build.waits[i].member] = context->build.waits[i].resource + 1;
    for (size_t i = 0; i < count; i++)
        search_stack(&search, context, (uint32_t)i, waited[i]);
    if (search.bytes_left == 0) /* the count of those found is not that of those who have it */
        return;
    for (size_t i = 0; i < search.lock_count; i++)
        tell_readers(context, &search.locks[i]);
}
