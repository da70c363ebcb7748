/* SPDX-License-Identifier: Apache-2.0 */
/* A run of bytes with a length: names and lines as they stand in a file, not NUL-terminated, any encoding. */
#ifndef SG_BASE_TEXT_H
#define SG_BASE_TEXT_H

#include "base/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
    const char *data; /* may be NULL when length is 0 */
    size_t length;    /* bytes */
};

#define TEXT(literal) ((struct text){(literal), sizeof(literal) - 1})

static inline struct text text_from_string(const char *string)
{
    return (struct text){string, string == NULL ? 0 : strlen(string)};
}

static inline bool text_equals(struct text a, struct text b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

static inline bool text_starts_with(struct text text, struct text prefix)
{
    return text.length >= prefix.length && memcmp(text.data, prefix.data, prefix.length) == 0;
}

static inline bool text_ends_with(struct text text, struct text suffix)
{
    return text.length >= suffix.length &&
           memcmp(text.data + text.length - suffix.length, suffix.data, suffix.length) == 0;
}

/* Without its first `start` bytes; it has as many. */
static inline struct text text_from(struct text text, size_t start)
{
    return (struct text){text.data + start, text.length - start};
}

/* Where `part` begins in the text first; SIZE_MAX when it does not. */
static inline size_t text_find(struct text text, struct text part)
{
    const char *found = text.length == 0 ? NULL : memmem(text.data, text.length, part.data, part.length);
    return found == NULL ? SIZE_MAX : (size_t)(found - text.data);
}

/* What follows the last '/', or all of it. */
static inline struct text text_basename(struct text path)
{
    size_t start = path.length;
    while (start > 0 && path.data[start - 1] != '/')
        start--;
    return (struct text){path.data + start, path.length - start};
}

/* A copy in the arena, NUL-terminated beyond its length. */
static inline struct text text_copy(struct arena *arena, struct text text)
{
    char *copy = arena_alloc(arena, text.length + 1, 1);
    if (text.length != 0)
        memcpy(copy, text.data, text.length);
    return (struct text){copy, text.length};
}

#endif
