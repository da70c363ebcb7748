/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded cursor over bytes from outside. A read past the end sets `failed`, returns zero and moves nothing; `failed`
 * sticks, so that a sequence of reads is checked once at its end. Values are little-endian (ELFDATA2LSB). */
#ifndef SG_BASE_BYTE_READER_H
#define SG_BASE_BYTE_READER_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct byte_reader {
    const uint8_t *bytes;
    size_t size_bytes;
    size_t position; /* 0 … size_bytes */
    bool failed;
};

static inline struct byte_reader byte_reader_new(const void *bytes, size_t size_bytes)
{
    return (struct byte_reader){bytes, size_bytes, 0, false};
}

static inline size_t byte_reader_left(const struct byte_reader *reader)
{
    return reader->size_bytes - reader->position;
}

/* The next `count` bytes, borrowed; NULL past the end. */
static inline const uint8_t *byte_reader_take(struct byte_reader *reader, size_t count)
{
    if (reader->failed || count > byte_reader_left(reader)) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *result = reader->bytes + reader->position;
    reader->position += count;
    return result;
}

static inline void byte_reader_seek(struct byte_reader *reader, size_t position)
{
    if (position > reader->size_bytes)
        reader->failed = true;
    else
        reader->position = position;
}

static inline uint64_t load_u64(const void *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static inline uint32_t load_u32(const void *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static inline uint16_t load_u16(const void *bytes)
{
    uint16_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static inline uint64_t byte_reader_u64(struct byte_reader *reader)
{
    const uint8_t *bytes = byte_reader_take(reader, 8);
    return bytes == NULL ? 0 : load_u64(bytes);
}

static inline uint32_t byte_reader_u32(struct byte_reader *reader)
{
    const uint8_t *bytes = byte_reader_take(reader, 4);
    return bytes == NULL ? 0 : load_u32(bytes);
}

static inline uint16_t byte_reader_u16(struct byte_reader *reader)
{
    const uint8_t *bytes = byte_reader_take(reader, 2);
    return bytes == NULL ? 0 : load_u16(bytes);
}

/* A NUL-terminated string without its NUL; fails when no NUL is left. */
static inline struct text byte_reader_string(struct byte_reader *reader)
{
    size_t left = byte_reader_left(reader);
    const uint8_t *start = reader->failed || left == 0 ? NULL : reader->bytes + reader->position;
    const uint8_t *nul = start == NULL ? NULL : memchr(start, 0, left);
    if (nul == NULL) {
        reader->failed = true;
        return (struct text){"", 0};
    }
    reader->position += (size_t)(nul - start) + 1;
    return (struct text){(const char *)start, (size_t)(nul - start)};
}

#endif
