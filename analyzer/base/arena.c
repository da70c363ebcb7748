/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef __has_feature
#define __has_feature(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
/* What no allocation covers is poisoned, so that reading past one is found although its neighbour is ours too. */
#include <sanitizer/asan_interface.h>
enum { red_zone_bytes = 16 };
#else
#define ASAN_POISON_MEMORY_REGION(start, bytes) ((void)(start), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(start, bytes) ((void)(start), (void)(bytes))
enum { red_zone_bytes = 0 };
#endif

struct arena_chunk {
    struct arena_chunk *older;
    size_t size_bytes; /* of the payload */
    _Alignas(16) char payload[];
};

enum { chunk_bytes_min = 64 * 1024 };

void arena_init(struct arena *arena, size_t size_bytes_max, jmp_buf *exhausted)
{
    *arena = (struct arena){.size_bytes_max = size_bytes_max, .exhausted = exhausted};
}

void arena_deinit(struct arena *arena)
{
    for (struct arena_chunk *chunk = arena->chunks; chunk != NULL;) {
        struct arena_chunk *older = chunk->older;
        free(chunk);
        chunk = older;
    }
    *arena = (struct arena){.size_bytes_max = arena->size_bytes_max, .exhausted = arena->exhausted};
}

__attribute__((noreturn)) static void arena_fail(struct arena *arena)
{
    if (arena->exhausted != NULL)
        longjmp(*arena->exhausted, 1);
    abort();
}

static void arena_add_chunk(struct arena *arena, size_t bytes)
{
    size_t payload = bytes > chunk_bytes_min ? bytes : chunk_bytes_min;
    if (arena->size_bytes_max != 0 &&
        (arena->size_bytes > arena->size_bytes_max || payload > arena->size_bytes_max - arena->size_bytes))
        arena_fail(arena);
    struct arena_chunk *chunk = malloc(sizeof *chunk + payload);
    if (chunk == NULL)
        arena_fail(arena);
    chunk->size_bytes = payload;
    chunk->older = arena->chunks;
    arena->chunks = chunk;
    arena->size_bytes += payload;
    arena->next = chunk->payload;
    arena->end = chunk->payload + payload;
    ASAN_POISON_MEMORY_REGION(chunk->payload, payload);
}

void *arena_alloc(struct arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - 15 - red_zone_bytes)
        arena_fail(arena);
    size_t taken = ((bytes + 15) & ~(size_t)15) + red_zone_bytes;
    if (taken > (size_t)(arena->end - arena->next))
        arena_add_chunk(arena, taken);
    char *result = arena->next;
    arena->next += taken;
    ASAN_UNPOISON_MEMORY_REGION(result, bytes);
    return memset(result, 0, bytes);
}

void *arena_grow(struct arena *arena, void *array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return array;
    size_t wanted = *capacity < 8 ? 16 : *capacity * 2;
    if (array != NULL) {
        /* The newest allocation grows in place (never where red zones part them). */
        size_t old_bytes = (*capacity * size + 15) & ~(size_t)15;
        size_t new_bytes;
        if (__builtin_mul_overflow(wanted, size, &new_bytes) || new_bytes > SIZE_MAX - 15)
            arena_fail(arena);
        new_bytes = (new_bytes + 15) & ~(size_t)15;
        if ((char *)array + old_bytes == arena->next && new_bytes - old_bytes <= (size_t)(arena->end - arena->next)) {
            memset(arena->next, 0, new_bytes - old_bytes);
            arena->next += new_bytes - old_bytes;
            *capacity = wanted;
            return array;
        }
    }
    void *grown = arena_alloc(arena, wanted, size);
    if (count != 0)
        memcpy(grown, array, count * size);
    *capacity = wanted;
    return grown;
}

void arena_reset(struct arena *arena)
{
    if (arena->chunks == NULL)
        return;
    /* One chunk is kept, the newest. */
    for (struct arena_chunk *chunk = arena->chunks->older; chunk != NULL;) {
        struct arena_chunk *older = chunk->older;
        arena->size_bytes -= chunk->size_bytes;
        free(chunk);
        chunk = older;
    }
    arena->chunks->older = NULL;
    arena->next = arena->chunks->payload;
    arena->end = arena->next + arena->chunks->size_bytes;
    ASAN_POISON_MEMORY_REGION(arena->next, arena->chunks->size_bytes);
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0)
        length = 0;
    char *result = arena_alloc(arena, (size_t)length + 1, 1);
    va_start(arguments, format);
    vsnprintf(result, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return result;
}
