/* SPDX-License-Identifier: Apache-2.0 */
#include "waits/wait_context.h"

#include "base/byte_reader.h"

uint32_t wait_context_object(struct wait_context *context, enum wait_kind kind, uint64_t address, enum learnt learnt,
                             bool *ret_is_new)
{
    uint32_t number = wait_build_resource(&context->build, kind, address, 0, ret_is_new);
    struct resource *resource = wait_context_resource(context, number);
    if (!*ret_is_new)
        return number;
    resource->learnt = learnt;
    struct text name;
    if (context->names != NULL && address != 0 &&
        context->names->find(context->names->context, address, context->scratch, &name))
        resource->name = intern_table_add(&context->snapshot->strings, name);
    return number;
}

void wait_context_own(struct wait_context *context, uint32_t number, uint32_t id, bool is_shared)
{
    const struct wait_threads *threads = &context->threads;
    struct resource *resource = wait_context_resource(context, number);
    uint32_t member = wait_threads_find(threads, id);
    resource->owner_id = id;
    if (member != index_none)
        wait_build_hold(&context->build, (struct hold){number, member, true, LEARNT_READ});
    else if (is_shared || !threads->ids_known)
        resource->holder = HOLDER_ELSEWHERE;
    else
        resource->holder = threads->is_complete ? HOLDER_ENDED : HOLDER_UNKNOWN;
}

bool wait_context_words(const struct wait_context *context, uint64_t address, uint32_t *ret_words, size_t count)
{
    uint8_t bytes[64];
    const struct memory *memory = &context->image->memory;
    if (count * 4 > sizeof bytes || memory_read(memory, address, bytes, count * 4) != count * 4)
        return false;
    /* Where a core was cut, the module's file has the bytes that its data began with: an unlocked lock. */
    if (!memory_is_core(memory, memory_find(memory, address)) ||
        !memory_is_core(memory, memory_find(memory, address + count * 4 - 1)))
        return false;
    for (size_t i = 0; i < count; i++)
        ret_words[i] = load_u32(bytes + 4 * i);
    return true;
}

void wait_context_unreadable(struct wait_context *context, uint32_t number)
{
    struct resource *resource = wait_context_resource(context, number);
    resource->holder = HOLDER_UNKNOWN;
    resource->learnt = LEARNT_INFERRED;
    context->unreadable++;
}
