/* SPDX-License-Identifier: Apache-2.0 */
#include "model/memory.h"

#include "base/byte_reader.h"

#include <stdlib.h>
#include <string.h>

/* As in memory.h: no range reaches the last page. */
static const uint64_t end_max = UINT64_MAX - 4096;

void memory_layer_append(struct memory *memory, struct memory_layer *layer, struct memory_range range)
{
    if (range.start >= end_max)
        return;
    range.end = range.end < end_max ? range.end : end_max;
    layer->ranges = arena_grow(memory->arena, layer->ranges, layer->count, &layer->capacity, sizeof *layer->ranges);
    layer->ranges[layer->count++] = range;
}

/* The index of the first range that ends above the address. */
static size_t layer_lower_bound(const struct memory_layer *layer, uint64_t address)
{
    size_t low = 0, high = layer->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (layer->ranges[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int compare_start(const void *left, const void *right)
{
    const struct memory_range *a = left, *b = right;
    return a->start < b->start ? -1 : a->start > b->start;
}

void memory_layer_insert(struct memory *memory, struct memory_layer *layer, struct memory_range range)
{
    range.end = range.end < end_max ? range.end : end_max;
    while (range.start < range.end) {
        size_t at = layer_lower_bound(layer, range.start);
        uint64_t free_end = range.end;
        if (at < layer->count && layer->ranges[at].start <= range.start) {
            /* Covered up to the end of that range: go on behind it. */
            uint64_t covered_end = layer->ranges[at].end;
            if (covered_end >= range.end)
                return;
            range.bytes += covered_end - range.start;
            range.start = covered_end;
            continue;
        }
        if (at < layer->count && layer->ranges[at].start < free_end)
            free_end = layer->ranges[at].start;
        memory_layer_append(memory, layer, (struct memory_range){0});
        memmove(layer->ranges + at + 1, layer->ranges + at, (layer->count - 1 - at) * sizeof *layer->ranges);
        layer->ranges[at] = (struct memory_range){range.start, free_end, range.bytes};
        range.bytes += free_end - range.start;
        range.start = free_end;
    }
}

size_t memory_layer_freeze(struct memory *memory, struct memory_layer *layer)
{
    bool sorted = true, overlapping = false;
    for (size_t i = 1; i < layer->count && sorted; i++)
        sorted = layer->ranges[i - 1].start <= layer->ranges[i].start;
    struct memory_range *in_order = layer->ranges;
    size_t count = layer->count;
    if (!sorted) {
        struct memory_range *copy = arena_array(memory->arena, struct memory_range, count);
        memcpy(copy, in_order, count * sizeof *copy);
        qsort(copy, count, sizeof *copy, compare_start);
        layer->ranges = copy;
        layer->capacity = count;
    }
    for (size_t i = 1; i < count && !overlapping; i++)
        overlapping = layer->ranges[i].start < layer->ranges[i - 1].end;
    if (!overlapping)
        return 0;

    /* Rare and hostile. Sweep over all boundaries, always taking the range that was appended first; O(n log n) by a
     * heap of the ranges that cover the current address, keyed by their place in file order. */
    struct memory_range *sorted_ranges = arena_array(memory->arena, struct memory_range, count);
    size_t *order = arena_array(memory->arena, size_t, count);
    memcpy(sorted_ranges, in_order, count * sizeof *sorted_ranges);
    /* Sort places instead of ranges, so that the file order stays known. */
    struct place {
        uint64_t start;
        size_t place;
    } *places = arena_array(memory->arena, struct place, count);
    for (size_t i = 0; i < count; i++)
        places[i] = (struct place){in_order[i].start, i};
    _Static_assert(offsetof(struct place, start) == 0 && offsetof(struct memory_range, start) == 0,
                   "compare_start reads the first word");
    qsort(places, count, sizeof *places, compare_start);

    struct memory_layer result = {0};
    size_t heap_count = 0, next = 0, lost = count;
    uint64_t *kept_bytes = arena_array(memory->arena, uint64_t, count);
    uint64_t at = 0;
    while (next < count || heap_count != 0) {
        if (heap_count == 0)
            at = places[next].start;
        for (; next < count && places[next].start <= at; next++) {
            size_t child = heap_count++;
            for (order[child] = places[next].place; child != 0 && order[(child - 1) / 2] > order[child];
                 child = (child - 1) / 2) {
                size_t swap = order[child];
                order[child] = order[(child - 1) / 2];
                order[(child - 1) / 2] = swap;
            }
        }
        const struct memory_range *top = &sorted_ranges[order[0]];
        if (top->end <= at) {
            order[0] = order[--heap_count];
            for (size_t parent = 0;;) {
                size_t least = parent;
                for (size_t child = 2 * parent + 1; child <= 2 * parent + 2 && child < heap_count; child++)
                    if (order[child] < order[least])
                        least = child;
                if (least == parent)
                    break;
                size_t swap = order[parent];
                order[parent] = order[least];
                order[least] = swap;
                parent = least;
            }
            continue;
        }
        uint64_t end = top->end;
        if (next < count && places[next].start < end)
            end = places[next].start;
        const uint8_t *bytes = top->bytes + (at - top->start);
        struct memory_range *last = result.count == 0 ? NULL : &result.ranges[result.count - 1];
        if (last != NULL && last->end == at && last->bytes + (last->end - last->start) == bytes)
            last->end = end;
        else
            memory_layer_append(memory, &result, (struct memory_range){at, end, bytes});
        kept_bytes[order[0]] += end - at;
        at = end;
    }
    for (size_t i = 0; i < count; i++)
        lost -= kept_bytes[i] == sorted_ranges[i].end - sorted_ranges[i].start;
    *layer = result;
    return lost;
}

struct memory_layer memory_layer_copy(struct memory *memory, const struct memory_layer *layer)
{
    struct memory_layer copy = {
        .ranges = arena_array(memory->arena, struct memory_range, layer->count + 1),
        .count = layer->count,
        .capacity = layer->count + 1,
    };
    if (layer->count != 0)
        memcpy(copy.ranges, layer->ranges, layer->count * sizeof *copy.ranges);
    return copy;
}

static const struct memory_range *layer_find(const struct memory_layer *layer, uint64_t address)
{
    size_t at = layer_lower_bound(layer, address);
    return at < layer->count && layer->ranges[at].start <= address ? &layer->ranges[at] : NULL;
}

const struct memory_range *memory_find(const struct memory *memory, uint64_t address)
{
    const struct memory_range *range = layer_find(&memory->core, address);
    return range != NULL ? range : layer_find(&memory->files, address);
}

static bool range_goes_on(const struct memory_range *range, const struct memory_range *next)
{
    return range->end == next->start && range->bytes + (range->end - range->start) == next->bytes;
}

bool memory_find_around(const struct memory *memory, uint64_t address, struct memory_range *ret_range)
{
    enum { joined_max = 64 }; /* to each side: whoever asks now here, now there asks often */
    const struct memory_range *range = layer_find(&memory->core, address);
    if (range == NULL)
        return false;
    const struct memory_range *first = range, *last = range, *ranges = memory->core.ranges;
    while (first != ranges && range - first < joined_max && range_goes_on(first - 1, first))
        first--;
    while (last + 1 != ranges + memory->core.count && last - range < joined_max && range_goes_on(last, last + 1))
        last++;
    *ret_range = (struct memory_range){first->start, last->end, first->bytes};
    return true;
}

/* The range that holds the address and how many bytes it answers for from there: where a range of the core begins
 * inside one of a file, the core is to be asked. NULL when the address is missing. */
static const struct memory_range *memory_run(const struct memory *memory, uint64_t address, uint64_t *ret_bytes)
{
    size_t above = layer_lower_bound(&memory->core, address);
    const struct memory_range *core = above < memory->core.count ? &memory->core.ranges[above] : NULL;
    if (core != NULL && core->start <= address) {
        *ret_bytes = core->end - address;
        return core;
    }
    const struct memory_range *range = layer_find(&memory->files, address);
    if (range == NULL)
        return NULL;
    *ret_bytes = (core != NULL && core->start < range->end ? core->start : range->end) - address;
    return range;
}

const uint8_t *memory_view(const struct memory *memory, uint64_t address, size_t size_bytes)
{
    uint64_t left;
    const struct memory_range *range = memory_run(memory, address, &left);
    return range != NULL && size_bytes <= left ? range->bytes + (address - range->start) : NULL;
}

const uint8_t *memory_view_across(const struct memory *memory, uint64_t address, size_t size_bytes)
{
    const uint8_t *bytes = memory_view(memory, address, size_bytes);
    if (bytes != NULL)
        return bytes;
    /* Nothing is copied of what is not there whole. */
    for (size_t done = 0; done < size_bytes;) {
        uint64_t left;
        if (memory_run(memory, address + done, &left) == NULL)
            return NULL;
        done += left < size_bytes - done ? (size_t)left : size_bytes - done;
    }
    uint8_t *copy = arena_alloc(memory->arena, size_bytes, 1);
    memory_read(memory, address, copy, size_bytes);
    return copy;
}

size_t memory_read(const struct memory *memory, uint64_t address, void *ret_bytes, size_t size_bytes)
{
    size_t done = 0;
    while (done < size_bytes) {
        uint64_t left;
        const struct memory_range *range = memory_run(memory, address + done, &left);
        if (range == NULL)
            break;
        size_t step = left < size_bytes - done ? (size_t)left : size_bytes - done;
        memcpy((uint8_t *)ret_bytes + done, range->bytes + (address + done - range->start), step);
        done += step;
    }
    return done;
}

bool memory_read_u64(const struct memory *memory, uint64_t address, uint64_t *ret_value)
{
    const uint8_t *bytes = memory_view(memory, address, 8);
    if (bytes != NULL) {
        *ret_value = load_u64(bytes);
        return true;
    }
    uint8_t copy[8];
    if (memory_read(memory, address, copy, sizeof copy) != sizeof copy)
        return false;
    *ret_value = load_u64(copy);
    return true;
}

/* The page of the target that the address lies in, as much of it as is there; NULL when that does not hold the address. */
static const struct memory_range *ask_target(struct memory_target *target, struct arena *arena, uint64_t address)
{
    enum { page_bytes = 4096 };
    uint64_t start = address & -(uint64_t)page_bytes;
    uint8_t bytes[page_bytes];
    if (target->bytes_left < page_bytes)
        return NULL;
    size_t got = target->read(target->context, start, bytes, page_bytes);
    target->bytes_left -= page_bytes;
    if (got == 0)
        return NULL;
    uint8_t *kept = arena_alloc(arena, got, 1);
    memcpy(kept, bytes, got);
    struct memory memory = {.arena = arena};
    memory_layer_insert(&memory, &target->pages, (struct memory_range){start, start + got, kept});
    return layer_find(&target->pages, address);
}

size_t memory_ask(const struct memory *memory, uint64_t address, void *ret_bytes, size_t size_bytes, bool *ret_is_late)
{
    size_t done = 0;
    *ret_is_late = false;
    for (;;) {
        done += memory_read(memory, address + done, (uint8_t *)ret_bytes + done, size_bytes - done);
        if (done == size_bytes || memory->target == NULL)
            return done;
        uint64_t at = address + done;
        const struct memory_range *range = layer_find(&memory->target->pages, at);
        if (range == NULL)
            range = ask_target(memory->target, memory->arena, at);
        if (range == NULL)
            return done;
        /* Up to where a layer answers again. */
        uint64_t end = range->end;
        const struct memory_layer *layers[] = {&memory->core, &memory->files};
        for (size_t i = 0; i < 2; i++) {
            size_t above = layer_lower_bound(layers[i], at);
            if (above < layers[i]->count && layers[i]->ranges[above].start < end)
                end = layers[i]->ranges[above].start;
        }
        size_t step = end - at < size_bytes - done ? (size_t)(end - at) : size_bytes - done;
        memcpy((uint8_t *)ret_bytes + done, range->bytes + (at - range->start), step);
        done += step;
        *ret_is_late = true;
    }
}
