/* SPDX-License-Identifier: Apache-2.0 */
/* The heap of a Go program as its allocator divides it: spans of pages, each of objects of one size (runtime/mheap.go).
 * Found without symbols, by the list of all spans that the runtime keeps; which words of a span's record say what is
 * checked on the records themselves. */
#ifndef SG_GOLANG_HEAP_SPANS_H
#define SG_GOLANG_HEAP_SPANS_H

#include "golang/go_runtime.h"

enum { go_page_bytes = 8192 };

struct go_span {
    uint64_t start, end;   /* of its pages */
    uint64_t limit;        /* behind its last object */
    uint64_t object_bytes; /* 0: no objects but stacks, or the collector's own lists */
    uint64_t first_object; /* its number among all */
    uint64_t record;       /* address of the runtime's */
    const uint8_t *bytes;  /* all its pages, NULL: not in one piece */
    bool has_no_pointers;
};

struct go_heap {
    struct go_span *spans; /* by start, disjoint */
    size_t span_count;
    uint64_t object_count;
    uint64_t bytes;             /* of objects that may have pointers */
    unsigned size_offset;       /* where elemsize is in the runtime's records */
    struct go_heap_area *areas; /* by start */
    size_t area_count, area_last;
};

/* False when the list is not found, what it says makes no sense, or objects with pointers are not at hand or have more
 * bytes than that. */
bool go_heap_read(const struct go_runtime *runtime, uint64_t bytes_max, struct arena *arena, struct go_heap *ret_heap);

/* NULL: no span of those in use has the address. */
const struct go_span *go_heap_find(struct go_heap *heap, uint64_t address);

/* Where the allocator's memory, used or not, that has the address begins, or the next part of it; UINT64_MAX: none. */
uint64_t go_heap_area_from(const struct go_heap *heap, uint64_t address, uint64_t *ret_end);

/* The number of the object that has the address, UINT64_MAX: the span has none there. */
static inline uint64_t go_span_object(const struct go_span *span, uint64_t address)
{
    if (span->object_bytes == 0 || address >= span->limit)
        return UINT64_MAX;
    uint64_t offset = address - span->start;
    if ((offset | span->object_bytes) <= UINT32_MAX)
        return span->first_object + (uint32_t)offset / (uint32_t)span->object_bytes;
    return span->first_object + offset / span->object_bytes;
}

/* Objects that are kept on their own account, by what hangs on them: a finalizer is given the object, a weak pointer
 * may be made a strong one. Calls `each` with an address in each such, and with words that may lead to the finalizer.
 */
void go_span_visit_kept(const struct go_heap *heap, const struct go_runtime *runtime, const struct go_span *span,
                        void (*each)(void *context, uint64_t address), void *context);

#endif
