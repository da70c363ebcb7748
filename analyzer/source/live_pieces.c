/* SPDX-License-Identifier: Apache-2.0 */
#include "source/live_pieces.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Of one call: UIO_MAXIOV ranges, and bytes that take about half a millisecond, so that the deadline is kept. */
enum { vector_ranges = 1024, call_bytes = 1 << 20 };

bool live_copier_open(struct live_copier *copier, uint32_t tid, int memory_fd, size_t places_bytes)
{
    *copier = (struct live_copier){.tid = tid, .memory_fd = memory_fd, .places_bytes = places_bytes};
    void *places = mmap(NULL, places_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (places == MAP_FAILED)
        return false;
    madvise(places, places_bytes, MADV_HUGEPAGE); /* fewer faults; where there are none it costs nothing */
    copier->places = places;
    return true;
}

void live_copier_close(struct live_copier *copier)
{
    if (copier->places != NULL)
        munmap(copier->places, copier->places_bytes);
    copier->places = NULL;
}

bool live_copier_time_is_up(const struct live_copier *copier)
{
    struct timespec now;
    if (copier->let_go != NULL && atomic_load(copier->let_go))
        return true;
    if (copier->deadline == 0)
        return false;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec > copier->deadline;
}

void live_pieces_add(struct live_pieces *pieces, struct arena *arena, uint64_t start, uint64_t size_bytes)
{
    if (size_bytes == 0 || start > UINT64_MAX - size_bytes)
        return;
    pieces->items = arena_grow(arena, pieces->items, pieces->count, &pieces->capacity, sizeof *pieces->items);
    pieces->items[pieces->count++] = (struct live_piece){.start = start, .end = start + size_bytes};
}

static int compare_start(const void *left, const void *right)
{
    const struct live_piece *a = left, *b = right;
    return a->start < b->start ? -1 : a->start > b->start;
}

void live_pieces_place(struct live_pieces *pieces, struct live_copier *copier, uint64_t gap_bytes)
{
    size_t kept = 0;
    if (pieces->count != 0)
        qsort(pieces->items, pieces->count, sizeof *pieces->items, compare_start);
    for (size_t i = 0; i < pieces->count; i++) {
        struct live_piece *last = kept == 0 ? NULL : &pieces->items[kept - 1];
        const struct live_piece *piece = &pieces->items[i];
        if (last == NULL || (piece->start > last->end && piece->start - last->end > gap_bytes))
            pieces->items[kept++] = *piece;
        else if (piece->end > last->end)
            last->end = piece->end;
    }
    pieces->count = kept;
    for (size_t i = 0; i < kept; i++) {
        uint64_t size_bytes = pieces->items[i].end - pieces->items[i].start;
        if (size_bytes > copier->places_bytes - copier->places_used)
            continue;
        pieces->items[i].bytes = copier->places + copier->places_used;
        copier->places_used += size_bytes;
    }
}

/* process_vm_readv is several times faster than reads of the file,
 * but makes the kernel copy pages that a forked child shares: Go programs fork only to execute another. */
size_t live_copier_read(struct live_copier *copier, uint8_t *to, const struct iovec *vector, size_t count)
{
    size_t wanted = 0;
    for (size_t i = 0; i < count; i++)
        wanted += vector[i].iov_len;
    if (!copier->is_refused) {
        struct iovec local = {to, wanted};
        ssize_t got = process_vm_readv((pid_t)copier->tid, &local, 1, vector, count, 0);
        if (got >= 0 || errno == EFAULT)
            return got < 0 ? 0 : (size_t)got;
        copier->is_refused = true;
    }
    size_t done = 0;
    for (size_t i = 0; i < count; i++) {
        ssize_t got = pread(copier->memory_fd, to + done, vector[i].iov_len, (off_t)(uintptr_t)vector[i].iov_base);
        done += got < 0 ? 0 : (size_t)got;
        if (got < 0 || (size_t)got != vector[i].iov_len)
            break;
    }
    return done;
}

bool live_pieces_copy(struct live_pieces *pieces, struct live_copier *copier)
{
    struct iovec vector[vector_ranges];
    for (size_t i = 0; i < pieces->count; i++)
        pieces->items[i].copied = 0;
    for (size_t first = 0; first < pieces->count;) {
        if (live_copier_time_is_up(copier))
            return false;
        /* Neighbours in the list have neighbouring places: one run of them takes all that one call copies. */
        size_t count = 0, bytes = 0;
        uint8_t *to = NULL;
        for (size_t i = first; i < pieces->count && count < vector_ranges && bytes < call_bytes; i++) {
            const struct live_piece *piece = &pieces->items[i];
            if (piece->bytes == NULL)
                break;
            size_t left = (size_t)(piece->end - piece->start - piece->copied);
            if (left > call_bytes - bytes)
                left = call_bytes - bytes;
            if (count == 0)
                to = piece->bytes + piece->copied;
            vector[count++] = (struct iovec){(void *)(uintptr_t)(piece->start + piece->copied), left};
            bytes += left;
        }
        if (count == 0) {
            first++; /* it has no place */
            continue;
        }
        size_t got = live_copier_read(copier, to, vector, count);
        for (size_t i = 0; i < count; i++) {
            struct live_piece *piece = &pieces->items[first];
            size_t of_piece = got < vector[i].iov_len ? got : vector[i].iov_len;
            piece->copied += of_piece;
            got -= of_piece;
            if (of_piece < vector[i].iov_len) {
                first++; /* the rest of it is not there */
                break;
            }
            if (piece->copied == piece->end - piece->start)
                first++;
        }
    }
    return true;
}

struct live_piece *live_pieces_find(const struct live_pieces *pieces, uint64_t start, uint64_t size_bytes)
{
    size_t low = 0, high = pieces->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (pieces->items[middle].end <= start)
            low = middle + 1;
        else
            high = middle;
    }
    struct live_piece *piece = low < pieces->count ? &pieces->items[low] : NULL;
    return piece != NULL && piece->start <= start && piece->end - start >= size_bytes ? piece : NULL;
}

void live_pieces_append(const struct live_pieces *pieces, struct memory *memory, struct memory_layer *layer)
{
    for (size_t i = 0; i < pieces->count; i++) {
        const struct live_piece *piece = &pieces->items[i];
        if (piece->bytes != NULL && piece->copied != 0)
            memory_layer_append(memory, layer,
                                (struct memory_range){piece->start, piece->start + piece->copied, piece->bytes});
    }
}
