/* SPDX-License-Identifier: Apache-2.0 */
/* A region of memory that grows in chunks and is released at once. An arena parameter says "the result lives as long
 * as that arena". Allocation never returns NULL: when the byte limit is reached, or the kernel refuses, control jumps
 * to `exhausted`, which the owner (pipeline.c) has set; the arenas stay valid and are released by their owner. */
#ifndef SG_BASE_ARENA_H
#define SG_BASE_ARENA_H

#include <setjmp.h>
#include <stddef.h>

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    char *next, *end;           /* free space of the newest chunk */
    char *clean;                /* from here to its end it is zeros that were never written to */
    size_t size_bytes;          /* taken from the OS so far */
    size_t size_bytes_max;      /* ceiling; 0 means none */
    jmp_buf *exhausted;         /* where to go when the ceiling is hit; NULL means abort() */
};

void arena_init(struct arena *arena, size_t size_bytes_max, jmp_buf *exhausted);
void arena_deinit(struct arena *arena);

/* Zeroed, aligned to 16 bytes. count * size that overflows counts as exhaustion. Of large arrays only what is used becomes
 * resident: room for the most that there can be is cheaper than growing. */
void *arena_alloc(struct arena *arena, size_t count, size_t size);
#define arena_new(arena, type) ((type *)arena_alloc((arena), 1, sizeof(type)))
#define arena_array(arena, type, count) ((type *)arena_alloc((arena), (count), sizeof(type)))

/* Room for at least one more element in a growing array: returns the array, moved when it was full (the old copy stays
 * in the arena). *capacity counts elements. */
void *arena_grow(struct arena *arena, void *array, size_t count, size_t *capacity, size_t size);

/* Pointers given out before become invalid; some memory is kept for the next allocations. */
void arena_reset(struct arena *arena);

char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3), nonnull(2)));

#endif
