/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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

/* Large chunks come from the kernel itself, as zeros, and go back to it at once. Huge pages were tried for them: virtual
 * machines that give free ones back to their host pay more for these than for all the faults. */
enum { chunk_bytes_min = 64 * 1024, chunk_bytes_mapped = 1 << 20 };

static struct arena_chunk *chunk_new(size_t payload)
{
    size_t bytes = sizeof(struct arena_chunk) + payload;
    if (payload < chunk_bytes_mapped)
        return calloc(1, bytes);
    void *chunk = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return chunk == MAP_FAILED ? NULL : chunk;
}

static void chunk_free(struct arena_chunk *chunk)
{
    if (chunk->size_bytes < chunk_bytes_mapped) {
        free(chunk);
        return;
    }
    ASAN_UNPOISON_MEMORY_REGION(chunk->payload, chunk->size_bytes);
    munmap(chunk, sizeof *chunk + chunk->size_bytes);
}

void arena_init(struct arena *arena, size_t size_bytes_max, jmp_buf *exhausted)
{
    *arena = (struct arena){.size_bytes_max = size_bytes_max, .exhausted = exhausted};
}

void arena_deinit(struct arena *arena)
{
    for (struct arena_chunk *chunk = arena->chunks; chunk != NULL;) {
        struct arena_chunk *older = chunk->older;
        chunk_free(chunk);
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
    struct arena_chunk *chunk = chunk_new(payload);
    if (chunk == NULL)
        arena_fail(arena);
    chunk->size_bytes = payload;
    chunk->older = arena->chunks;
    arena->chunks = chunk;
    arena->size_bytes += payload;
    arena->next = arena->clean = chunk->payload;
    arena->end = chunk->payload + payload;
    ASAN_POISON_MEMORY_REGION(chunk->payload, payload);
}

/* Memory from the kernel is not touched before its use. */
static void arena_clear(struct arena *arena, char *start, size_t bytes)
{
    size_t written = start < arena->clean ? (size_t)(arena->clean - start) : 0;
    memset(start, 0, bytes < written ? bytes : written);
    if (bytes > written)
        arena->clean = start + bytes;
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
    arena_clear(arena, result, bytes);
    return result;
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
            arena_clear(arena, arena->next, new_bytes - old_bytes);
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
    struct arena_chunk *kept = NULL;
    for (struct arena_chunk *chunk = arena->chunks; chunk != NULL;) {
        struct arena_chunk *older = chunk->older;
        /* The newest, unless what comes next may need as much elsewhere. */
        if (chunk == arena->chunks && chunk->size_bytes < chunk_bytes_mapped) {
            kept = chunk;
        } else {
            arena->size_bytes -= chunk->size_bytes;
            chunk_free(chunk);
        }
        chunk = older;
    }
    arena->chunks = kept;
    if (kept == NULL) {
        arena->next = arena->end = arena->clean = NULL;
        return;
    }
    kept->older = NULL;
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
