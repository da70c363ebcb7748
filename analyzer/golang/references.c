/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/references.h"

#include "base/limits.h"

enum { filter_bits = 1 << 16 };

struct pass {
    struct go_reference_search *search;
    uint64_t lowest, highest;
    uint64_t filter[filter_bits / 64]; /* by the addresses' low bits: most words lead elsewhere */
};

static size_t filter_bit(uint64_t address)
{
    return (size_t)(address >> 4) % filter_bits;
}

/* Whether one of the runs of that many bytes, which begin at these addresses, has it. */
static bool find_record(const uint64_t *starts, size_t count, size_t size_bytes, uint64_t wanted)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (starts[middle] <= wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low != 0 && wanted - starts[low - 1] < size_bytes;
}

static bool find_word(const uint64_t *words, size_t count, uint64_t wanted)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (words[middle] < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && words[low] == wanted;
}

static size_t find_asked(const struct go_reference_search *search, uint64_t address)
{
    size_t low = 0, high = search->asked_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (search->asked[middle].address < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < search->asked_count && search->asked[low].address == address ? low : search->asked_count;
}

static const struct go_stack_range *find_stack(const struct go_reference_search *search, uint64_t address)
{
    size_t low = 0, high = search->stack_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (search->stacks[middle].high <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < search->stack_count && search->stacks[low].low <= address ? &search->stacks[low] : NULL;
}

static bool is_variable(const struct go_runtime *runtime, uint64_t address)
{
    for (size_t i = 0; i < runtime->module_count; i++)
        for (size_t j = 0; j < 4; j++)
            if (address >= runtime->modules[i].data[j].start && address < runtime->modules[i].data[j].end)
                return true;
    return false;
}

/* Whether the word stands in a closure with which one of those who wait began. */
static bool is_in_start(const struct go_reference_search *search, uint64_t at)
{
    enum { captures_max = 8 };
    for (uint64_t i = 1; i <= captures_max; i++) {
        uint64_t word;
        if (memory_read_u64(&search->runtime->image->memory, at - 8 * i, &word) &&
            find_word(search->starts, search->start_count, word))
            return true;
    }
    return false;
}

static void note(struct pass *pass, uint64_t at, uint64_t address)
{
    struct go_reference_search *search = pass->search;
    size_t number = find_asked(search, address);
    if (number == search->asked_count)
        return;
    struct go_referenced *asked = &search->asked[number];
    const struct go_stack_range *stack = find_stack(search, at);
    if (stack != NULL) {
        asked->stacks += at >= stack->sp && !search->is_own(search->context, stack->number, number);
    } else if (is_variable(search->runtime, at)) {
        asked->first_variable = asked->variables++ == 0 ? at : asked->first_variable;
    } else if (!find_record(search->records, search->record_count, search->record_bytes, at) &&
               !is_in_start(search, at)) {
        asked->heap++;
    }
}

static void scan(struct pass *pass, uint64_t start, uint64_t end)
{
    const struct memory *memory = &pass->search->runtime->image->memory;
    start = (start + 7) & ~(uint64_t)7;
    while (start + 8 <= end) {
        const struct memory_range *range = memory_find(memory, start);
        if (range == NULL)
            return;
        uint64_t stop = range->end < end ? range->end : end;
        const uint8_t *bytes = range->bytes + (start - range->start);
        for (uint64_t at = start; at + 8 <= stop; at += 8, bytes += 8) {
            uint64_t word = load_u64(bytes);
            if (word < pass->lowest || word > pass->highest)
                continue;
            size_t bit = filter_bit(word);
            if ((pass->filter[bit / 64] >> bit % 64 & 1) != 0)
                note(pass, at, word);
        }
        start = (stop + 7) & ~(uint64_t)7;
    }
}

uint64_t go_references_heap_bytes(const struct go_runtime *runtime)
{
    const struct memory_layer *core = &runtime->image->memory.core;
    uint64_t total = 0;
    for (size_t i = 0; i < core->count; i++)
        total += core->ranges[i].end - core->ranges[i].start;
    return total;
}

bool go_references_find(struct go_reference_search *search, bool with_heap)
{
    const struct memory *memory = &search->runtime->image->memory;
    struct pass pass = {.search = search, .lowest = UINT64_MAX};
    for (size_t i = 0; i < search->asked_count; i++) {
        uint64_t address = search->asked[i].address;
        size_t bit = filter_bit(address);
        pass.filter[bit / 64] |= (uint64_t)1 << bit % 64;
        pass.lowest = address < pass.lowest ? address : pass.lowest;
        pass.highest = address > pass.highest ? address : pass.highest;
    }
    if (with_heap && go_references_heap_bytes(search->runtime) <= limit_go_heap_bytes) {
        for (size_t i = 0; i < memory->core.count; i++)
            scan(&pass, memory->core.ranges[i].start, memory->core.ranges[i].end);
        return true;
    }
    for (size_t i = 0; i < search->stack_count; i++)
        scan(&pass, search->stacks[i].sp, search->stacks[i].high);
    for (size_t i = 0; i < search->runtime->module_count; i++)
        for (size_t j = 0; j < 4; j++)
            scan(&pass, search->runtime->modules[i].data[j].start, search->runtime->modules[i].data[j].end);
    return false;
}
