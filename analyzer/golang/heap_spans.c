/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/heap_spans.h"

#include "base/limits.h"

#include <stdlib.h>

/* runtime.mspan: the same in Go 1.13 to 1.27, up to elemsize, which moved with fields before it. In front of it stand
 * spanclass and state, behind it limit, a lock and the list of what hangs on objects. */
enum {
    span_start = 24,
    span_pages = 32,
    span_size_first = 96,
    span_size_last = 136,
    before_size_class = 6,
    before_size_state = 5,
    behind_size_limit = 8,
    behind_size_specials = 24,
    span_bytes = span_size_last + behind_size_specials + 8,
};
enum { state_in_use = 1, state_manual = 2, state_last = 3 };
enum { classes_max = 68, small_bytes_max = 32768, object_bytes_min = 8 };
/* Linux: heapArenaBytes. All memory in one is the allocator's. */
static const uint64_t area_bytes = (uint64_t)64 << 20;
enum { area_pages = (64 << 20) / go_page_bytes };

struct go_heap_area {
    uint64_t start;
    uint32_t *pages; /* by page: a span's number + 1 */
};

struct reading {
    const struct go_runtime *runtime;
    struct arena *arena;
    struct go_heap *heap;
    uint64_t bytes_max;
    uint64_t list, count; /* of pointers to records */
};

static const uint8_t *record_view(const struct reading *reading, uint64_t address)
{
    return address == 0 || (address & 7) != 0 ? NULL
                                              : memory_view(&reading->runtime->image->memory, address, span_bytes);
}

static bool is_record(const uint8_t *record)
{
    enum { pages_max = 1 << 26 };
    uint64_t start = load_u64(record + span_start), pages = load_u64(record + span_pages);
    return start % go_page_bytes == 0 && start < (uint64_t)1 << 48 && pages <= pages_max;
}

/* How many records a slice lists, 0: it is no list of them. */
static uint64_t list_read(const struct reading *reading, const uint8_t *slice, uint64_t *ret_list)
{
    enum { looks = 16 };
    const struct memory *memory = &reading->runtime->image->memory;
    uint64_t list = load_u64(slice), count = load_u64(slice + 8), capacity = load_u64(slice + 16);
    if (count == 0 || count > capacity || capacity > limit_go_spans || list == 0 || (list & 7) != 0)
        return 0;
    size_t used = 0;
    for (uint64_t i = 0; i < count && i < looks; i++) {
        uint64_t address;
        const uint8_t *record = memory_read_u64(memory, list + 8 * i, &address) ? record_view(reading, address) : NULL;
        if (record == NULL || !is_record(record))
            return 0;
        used += load_u64(record + span_start) != 0 && load_u64(record + span_pages) != 0;
    }
    *ret_list = list;
    return used == 0 ? 0 : count;
}

/* The longest list: others are of spans of one kind. */
static bool list_find(struct reading *reading)
{
    for (size_t i = 0; i < 4; i++) {
        struct go_range range = reading->runtime->modules[0].data[i];
        uint64_t start = (range.start + 7) & ~(uint64_t)7, size = range.end > start ? range.end - start : 0;
        const uint8_t *bytes =
            size == 0 ? NULL : memory_view_across(&reading->runtime->image->memory, start, (size_t)size);
        for (uint64_t at = 0; bytes != NULL && at + 24 <= size; at += 8) {
            uint64_t list, count = list_read(reading, bytes + at, &list);
            if (count > reading->count) {
                reading->count = count;
                reading->list = list;
            }
        }
    }
    return reading->count != 0;
}

static uint8_t record_state(const uint8_t *record, unsigned size_offset)
{
    return record[size_offset - before_size_state];
}

/* Whether a record that says to be in use makes sense when elemsize is at that offset. */
static bool fits(const uint8_t *record, unsigned size_offset)
{
    uint64_t start = load_u64(record + span_start), end = start + load_u64(record + span_pages) * go_page_bytes;
    uint64_t size = load_u64(record + size_offset), limit = load_u64(record + size_offset + behind_size_limit);
    unsigned class = record[size_offset - before_size_class] >> 1;
    return size >= object_bytes_min && size <= end - start && limit > start && limit <= end && class < classes_max &&
           (class == 0) == (size > small_bytes_max);
}

/* Where elemsize is: where nearly all records make sense; one may be in the making. */
static bool size_find(struct reading *reading)
{
    enum { looks_max = 4096 };
    size_t best = 0;
    for (unsigned offset = span_size_first; offset <= span_size_last; offset += 8) {
        size_t used = 0, good = 0;
        for (uint64_t i = 0; i < reading->count && i < looks_max; i++) {
            uint64_t address;
            const uint8_t *record = memory_read_u64(&reading->runtime->image->memory, reading->list + 8 * i, &address)
                                        ? record_view(reading, address)
                                        : NULL;
            if (record == NULL || record_state(record, offset) != state_in_use)
                continue;
            used++;
            good += fits(record, offset);
        }
        if (good > best && good + good / 64 + 1 >= used) {
            best = good;
            reading->heap->size_offset = offset;
        }
    }
    return best != 0;
}

static int compare_spans(const void *left, const void *right)
{
    const struct go_span *a = left, *b = right;
    return a->start < b->start ? -1 : a->start > b->start;
}

static bool spans_read(struct reading *reading)
{
    const struct memory *memory = &reading->runtime->image->memory;
    struct go_heap *heap = reading->heap;
    heap->spans = arena_array(reading->arena, struct go_span, reading->count + 1);
    for (uint64_t i = 0; i < reading->count; i++) {
        uint64_t address;
        const uint8_t *record =
            memory_read_u64(memory, reading->list + 8 * i, &address) ? record_view(reading, address) : NULL;
        if (record == NULL || !is_record(record) || record_state(record, reading->heap->size_offset) > state_last)
            return false;
        uint8_t state = record_state(record, reading->heap->size_offset);
        uint64_t start = load_u64(record + span_start), pages = load_u64(record + span_pages);
        if ((state != state_in_use && state != state_manual) || start == 0 || pages == 0)
            continue;
        struct go_span *span = &heap->spans[heap->span_count++];
        *span = (struct go_span){.start = start, .end = start + pages * go_page_bytes, .record = address};
        if (state == state_manual)
            continue;
        if (!fits(record, reading->heap->size_offset))
            return false;
        span->object_bytes = load_u64(record + reading->heap->size_offset);
        span->limit = load_u64(record + reading->heap->size_offset + behind_size_limit);
        span->has_no_pointers = (record[reading->heap->size_offset - before_size_class] & 1) != 0;
    }
    qsort(heap->spans, heap->span_count, sizeof *heap->spans, compare_spans);
    return true;
}

/* Numbers the objects, and sees that they are at hand. */
static bool spans_finish(struct reading *reading)
{
    struct go_heap *heap = reading->heap;
    for (size_t i = 0; i < heap->span_count; i++) {
        struct go_span *span = &heap->spans[i];
        if (i != 0 && span->start < heap->spans[i - 1].end)
            return false;
        span->first_object = heap->object_count;
        if (span->object_bytes == 0)
            continue;
        heap->object_count += (span->limit - span->start + span->object_bytes - 1) / span->object_bytes;
        if (heap->object_count > limit_go_objects)
            return false;
        if (span->has_no_pointers)
            continue;
        heap->bytes += span->limit - span->start;
        if (heap->bytes > reading->bytes_max)
            return false;
        span->bytes = memory_view_across(&reading->runtime->image->memory, span->start, span->limit - span->start);
        if (span->bytes == NULL)
            return false;
    }
    return true;
}

static bool areas_make(struct reading *reading)
{
    struct go_heap *heap = reading->heap;
    size_t capacity = 0;
    for (size_t i = 0; i < heap->span_count; i++) {
        const struct go_span *span = &heap->spans[i];
        for (uint64_t page = span->start; page < span->end; page += go_page_bytes) {
            uint64_t start = page - page % area_bytes;
            if (heap->area_count == 0 || heap->areas[heap->area_count - 1].start != start) {
                if (heap->area_count == limit_go_areas)
                    return false;
                heap->areas = arena_grow(reading->arena, heap->areas, heap->area_count, &capacity, sizeof *heap->areas);
                heap->areas[heap->area_count++] =
                    (struct go_heap_area){start, arena_array(reading->arena, uint32_t, area_pages)};
            }
            heap->areas[heap->area_count - 1].pages[page % area_bytes / go_page_bytes] = (uint32_t)i + 1;
        }
    }
    return heap->area_count != 0;
}

bool go_heap_read(const struct go_runtime *runtime, uint64_t bytes_max, struct arena *arena, struct go_heap *ret_heap)
{
    *ret_heap = (struct go_heap){.spans = NULL};
    struct reading reading = {.runtime = runtime, .arena = arena, .heap = ret_heap, .bytes_max = bytes_max};
    return list_find(&reading) && size_find(&reading) && spans_read(&reading) && spans_finish(&reading) &&
           areas_make(&reading);
}

static const struct go_heap_area *area_find(struct go_heap *heap, uint64_t address)
{
    if (address - heap->areas[heap->area_last].start < area_bytes)
        return &heap->areas[heap->area_last];
    size_t low = 0, high = heap->area_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (heap->areas[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || address - heap->areas[low - 1].start >= area_bytes)
        return NULL;
    heap->area_last = low - 1;
    return &heap->areas[low - 1];
}

const struct go_span *go_heap_find(struct go_heap *heap, uint64_t address)
{
    const struct go_heap_area *area = area_find(heap, address);
    uint32_t number = area == NULL ? 0 : area->pages[address % area_bytes / go_page_bytes];
    return number == 0 ? NULL : &heap->spans[number - 1];
}

uint64_t go_heap_area_from(const struct go_heap *heap, uint64_t address, uint64_t *ret_end)
{
    size_t low = 0, high = heap->area_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (heap->areas[middle].start + area_bytes <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == heap->area_count)
        return UINT64_MAX;
    *ret_end = heap->areas[low].start + area_bytes;
    return heap->areas[low].start;
}

/* runtime.special: next; the offset in the span, two bytes in older releases; the kind, which were renumbered. A span
 * of over 64 KB has one object: whatever the kind, it is kept, as its offset may look like the kind. */
void go_span_visit_kept(const struct go_heap *heap, const struct go_runtime *runtime, const struct go_span *span,
                        void (*each)(void *context, uint64_t address), void *context)
{
    enum { offset_at = 8, narrow_kind_at = 10, wide_kind_at = 16, special_bytes = 48, narrow_max = 1 << 16 };
    const struct memory *memory = &runtime->image->memory;
    uint8_t profile = runtime->minor < 23 ? 2 : runtime->minor < 25 ? 3 : 4;
    uint64_t at, steps = (span->end - span->start) / object_bytes_min;
    if (!memory_read_u64(memory, span->record + heap->size_offset + behind_size_specials, &at))
        return;
    for (; at != 0 && steps > 0; steps--) {
        uint8_t bytes[special_bytes];
        if (memory_read(memory, at, bytes, sizeof bytes) != sizeof bytes)
            return;
        uint64_t offset = load_u64(bytes + offset_at);
        bool is_wide = offset < narrow_max || runtime->minor >= 25;
        uint8_t kind = is_wide ? bytes[wide_kind_at] : bytes[narrow_kind_at];
        if (!is_wide)
            offset %= narrow_max;
        if (kind != profile || span->end - span->start > narrow_max) {
            each(context, offset < span->limit - span->start ? span->start + offset : span->start);
            for (size_t i = offset_at + 8; i < sizeof bytes; i += 8) /* the finalizer */
                each(context, load_u64(bytes + i));
        }
        at = load_u64(bytes);
    }
}
