/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/pending_defers.h"

enum { minor_oldest = 17, minor_slots = 22 }; /* 1.22: slots lie in a row and are not listed */
enum { data_open_defers = 4 };                /* FUNCDATA_OpenCodedDeferInfo */

static bool read_varint(const struct pclntab *table, uint64_t *address, uint32_t *ret_value)
{
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 32; shift += 7) {
        const uint8_t *byte = table->view(table->context, (*address)++, 1);
        if (byte == NULL)
            return false;
        value |= (uint32_t)(*byte & 0x7f) << shift;
        if ((*byte & 0x80) == 0) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

struct open_defers open_defers_of(const struct go_runtime *runtime, uint64_t pc)
{
    struct open_defers none = {.count = 0}, defers = none;
    struct pclntab_function function;
    const struct pclntab *table = go_runtime_find_function(runtime, pc, &function);
    uint64_t at = table == NULL ? 0 : pclntab_function_data(table, &function, data_open_defers);
    if (at == 0 || runtime->minor < minor_oldest || !read_varint(table, &at, &defers.bits))
        return none;
    uint32_t count = 8;
    if (runtime->minor < minor_slots && (!read_varint(table, &at, &count) || count > 8))
        return none;
    /* Listed from the last to the first, as they are run. */
    for (uint32_t i = 0; i < count; i++)
        if (runtime->minor >= minor_slots && i != 0)
            defers.slots[i] = defers.slots[i - 1] - 8;
        else if (!read_varint(table, &at, &defers.slots[runtime->minor >= minor_slots ? 0 : count - 1 - i]))
            return none;
    defers.count = count;
    return defers;
}

/* A function value is the function's entry and what it captured. */
static bool read_closure(const struct go_runtime *runtime, uint64_t address, struct pending_defer *ret_defer)
{
    uint8_t bytes[8 * (1 + pending_captures)] = {0};
    bool is_late;
    if (address == 0 || memory_ask(&runtime->image->memory, address, bytes, sizeof bytes, &is_late) < 8)
        return false;
    ret_defer->function = load_u64(bytes);
    for (size_t i = 0; i < pending_captures; i++)
        ret_defer->captures[i] = load_u64(bytes + 8 * (i + 1));
    return true;
}

size_t open_defers_read(const struct go_runtime *runtime, const struct open_defers *defers,
                        const struct goroutine_frame *frame, struct pending_defer *ret_defers)
{
    const struct memory *memory = &runtime->image->memory;
    /* Below the return address and the caller's frame pointer, which amd64 keeps there, arm64 below the frame. */
    uint64_t end = frame->end - (runtime->image->arch->call_return_offset != 0 ? 16 : 8), slot;
    size_t count = 0;
    uint8_t bits;
    if (defers->count == 0 || end < frame->sp || defers->bits > end - frame->sp ||
        memory_read(memory, end - defers->bits, &bits, 1) != 1)
        return 0;
    for (unsigned i = 0; i < defers->count; i++) {
        if ((bits >> i & 1) == 0 || defers->slots[i] > end - frame->sp ||
            !memory_read_u64(memory, end - defers->slots[i], &slot) || !read_closure(runtime, slot, &ret_defers[count]))
            continue;
        ret_defers[count++].sp = frame->sp;
    }
    return count;
}

size_t pending_defers_read(const struct go_runtime *runtime, uint64_t goroutine, struct pending_defer *ret_defers,
                           size_t count_max)
{
    enum { defer_sp = 8, defer_function = 24, record_bytes = 48 };
    uint64_t link = runtime->minor >= minor_slots ? 32 : 40, at;
    size_t count = 0;
    if (runtime->minor < minor_oldest || !memory_read_u64(&runtime->image->memory, goroutine + go_g_defer, &at))
        return 0;
    for (size_t looks = 0; at != 0 && looks < count_max; looks++) {
        uint8_t record[record_bytes];
        bool is_late;
        if (memory_ask(&runtime->image->memory, at, record, sizeof record, &is_late) != sizeof record)
            break;
        /* One that stands for all in a function's code has none of its own. */
        if (read_closure(runtime, load_u64(record + defer_function), &ret_defers[count]))
            ret_defers[count++].sp = load_u64(record + defer_sp);
        at = load_u64(record + link);
    }
    return count;
}
