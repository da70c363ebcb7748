/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/references.h"

#include "base/limits.h"

enum { filter_bits = 1 << 16 };

struct go_reference_pass {
    struct go_reference_search *search;
    const struct go_stack_range *stack; /* that is gone through; NULL: the search's stacks tell */
    struct memory_range near;           /* as memory_view_near wants it */
    uint64_t lowest, highest;
    uint64_t filter[filter_bits / 64]; /* by the addresses' low bits: most words lead elsewhere */
};

static size_t filter_bit(uint64_t address)
{
    return (size_t)(address >> 4) % filter_bits;
}

/* How many of the words, ascending, are below. */
static size_t count_below(const uint64_t *words, size_t count, uint64_t limit)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (words[middle] < limit)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Whether one of the runs of that many bytes, which begin at these addresses, has it. */
static bool find_record(const uint64_t *starts, size_t count, size_t size_bytes, uint64_t wanted)
{
    size_t begun = wanted == UINT64_MAX ? count : count_below(starts, count, wanted + 1);
    return begun != 0 && wanted - starts[begun - 1] < size_bytes;
}

static bool find_word(const uint64_t *words, size_t count, uint64_t wanted)
{
    size_t at = count_below(words, count, wanted);
    return at < count && words[at] == wanted;
}

size_t go_referenced_find(const struct go_referenced *asked, size_t count, uint64_t address)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (asked[middle].address < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && asked[low].address == address ? low : count;
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

static void note(struct go_reference_pass *pass, uint64_t at, uint64_t address)
{
    struct go_reference_search *search = pass->search;
    size_t number = go_referenced_find(search->asked, search->asked_count, address);
    if (number == search->asked_count)
        return;
    struct go_referenced *asked = &search->asked[number];
    const struct go_stack_range *stack = pass->stack != NULL ? pass->stack : find_stack(search, at);
    if (stack != NULL) {
        asked->stacks += at >= stack->sp && !search->is_own(search->context, stack->number, number);
    } else if (go_runtime_has_variable(search->runtime, at)) {
        asked->first_variable = asked->variables++ == 0 ? at : asked->first_variable;
    } else if (!find_record(search->records, search->record_count, search->record_bytes, at) &&
               !is_in_start(search, at)) {
        asked->heap++;
    }
}

static void note_word(struct go_reference_pass *pass, uint64_t at, uint64_t word)
{
    size_t bit = filter_bit(word);
    if (word - pass->lowest <= pass->highest - pass->lowest && (pass->filter[bit / 64] >> bit % 64 & 1) != 0)
        note(pass, at, word);
}

/* Most words of four are no addresses, or of code: one branch for them. */
static void scan_bytes(struct go_reference_pass *pass, uint64_t at, const uint8_t *bytes, size_t size_bytes)
{
    uint64_t lowest = pass->lowest, span = pass->highest - pass->lowest;
    for (; size_bytes >= 32; size_bytes -= 32, bytes += 32, at += 32) {
        uint64_t words[] = {load_u64(bytes), load_u64(bytes + 8), load_u64(bytes + 16), load_u64(bytes + 24)};
        if (!((words[0] - lowest <= span) | (words[1] - lowest <= span) | (words[2] - lowest <= span) |
              (words[3] - lowest <= span)))
            continue;
        for (size_t i = 0; i < 4; i++)
            note_word(pass, at + 8 * i, words[i]);
    }
    for (; size_bytes >= 8; size_bytes -= 8, bytes += 8, at += 8)
        note_word(pass, at, load_u64(bytes));
}

static void scan(struct go_reference_pass *pass, uint64_t start, uint64_t end)
{
    const struct memory *memory = &pass->search->runtime->image->memory;
    start = (start + 7) & ~(uint64_t)7;
    while (start + 8 <= end) {
        const struct memory_range *range = memory_find(memory, start);
        if (range == NULL)
            return;
        uint64_t stop = range->end < end ? range->end : end;
        scan_bytes(pass, start, range->bytes + (start - range->start), (size_t)(stop - start));
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

static void pass_begin(struct go_reference_pass *pass, struct go_reference_search *search)
{
    *pass = (struct go_reference_pass){.search = search, .lowest = UINT64_MAX};
    for (size_t i = 0; i < search->asked_count; i++) {
        uint64_t address = search->asked[i].address;
        size_t bit = filter_bit(address);
        pass->filter[bit / 64] |= (uint64_t)1 << bit % 64;
        pass->lowest = address < pass->lowest ? address : pass->lowest;
        pass->highest = address > pass->highest ? address : pass->highest;
    }
}

bool go_references_find(struct go_reference_search *search)
{
    const struct memory_layer *core = &search->runtime->image->memory.core;
    struct go_reference_pass pass;
    if (search->asked_count == 0)
        return true;
    if (go_references_heap_bytes(search->runtime) > limit_go_heap_bytes)
        return false;
    pass_begin(&pass, search);
    for (size_t i = 0; i < core->count; i++)
        scan(&pass, core->ranges[i].start, core->ranges[i].end);
    return true;
}

struct go_reference_pass *go_reference_pass_new(struct go_reference_search *search, struct arena *arena)
{
    struct go_reference_pass *pass = arena_new(arena, struct go_reference_pass);
    pass_begin(pass, search);
    return pass;
}

void go_reference_pass_stack(struct go_reference_pass *pass, const struct go_stack_range *stack)
{
    const struct memory *memory = &pass->search->runtime->image->memory;
    if (pass->search->asked_count == 0 || stack->sp >= stack->high)
        return;
    size_t size_bytes = (size_t)(stack->high - stack->sp);
    const uint8_t *bytes = (stack->sp & 7) != 0 ? NULL : memory_view_near(memory, &pass->near, stack->sp, size_bytes);
    pass->stack = stack;
    if (bytes != NULL)
        scan_bytes(pass, stack->sp, bytes, size_bytes);
    else
        scan(pass, stack->sp, stack->high);
    pass->stack = NULL;
}

void go_reference_pass_variables(struct go_reference_pass *pass)
{
    const struct go_runtime *runtime = pass->search->runtime;
    for (size_t i = 0; i < runtime->module_count && pass->search->asked_count != 0; i++)
        for (size_t j = 0; j < 4; j++)
            scan(pass, runtime->modules[i].data[j].start, runtime->modules[i].data[j].end);
}
