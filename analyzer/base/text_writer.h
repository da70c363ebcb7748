/* SPDX-License-Identifier: Apache-2.0 */
/* Buffered output to a file descriptor or into memory. The first failed write sticks; what follows is dropped, and
 * text_writer_finish tells. */
#ifndef SG_BASE_TEXT_WRITER_H
#define SG_BASE_TEXT_WRITER_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

struct text_writer {
    int fd; /* -1: into memory */
    char *buffer;
    size_t length, capacity; /* bytes in the buffer */
    int failed_errno;        /* 0 while all is well */
};

void text_writer_init_fd(struct text_writer *writer, int fd);
void text_writer_init_memory(struct text_writer *writer);
void text_writer_deinit(struct text_writer *writer);

/* Flushes; returns 0 or the errno of the first failure. In memory, the result is buffer[0 … length). */
int text_writer_finish(struct text_writer *writer);

void text_writer_bytes(struct text_writer *writer, const void *bytes, size_t count);
void text_writer_printf(struct text_writer *writer, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline void text_writer_text(struct text_writer *writer, struct text text)
{
    text_writer_bytes(writer, text.data, text.length);
}

static inline void text_writer_string(struct text_writer *writer, const char *string)
{
    text_writer_bytes(writer, string, strlen(string));
}

/* Text of a target, for people and line-based readers: control bytes (C0, DEL, and the C1 range in UTF-8) and bytes
 * that are not UTF-8 come out as \xNN, so that no name can drive a terminal or break a line. */
void text_writer_safe(struct text_writer *writer, struct text text);

/* "0x" and lower-case hex digits. */
void text_writer_hex(struct text_writer *writer, uint64_t value);

/* 1234567 as 1,234,567. */
void text_writer_count(struct text_writer *writer, uint64_t value);

/* How many bytes at `text` form one valid UTF-8 character that is no control character; 0 when they do not. */
size_t text_utf8_character(struct text text);

#endif
