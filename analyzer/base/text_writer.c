/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text_writer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { buffer_bytes = 64 * 1024 };

void text_writer_init_fd(struct text_writer *writer, int fd)
{
    *writer = (struct text_writer){.fd = fd};
}

void text_writer_init_memory(struct text_writer *writer)
{
    *writer = (struct text_writer){.fd = -1};
}

void text_writer_deinit(struct text_writer *writer)
{
    free(writer->buffer);
    *writer = (struct text_writer){.fd = -1};
}

static void text_writer_flush(struct text_writer *writer)
{
    size_t done = 0;
    while (done < writer->length && writer->failed_errno == 0) {
        ssize_t written = write(writer->fd, writer->buffer + done, writer->length - done);
        if (written >= 0)
            done += (size_t)written;
        else if (errno != EINTR)
            writer->failed_errno = errno;
    }
    writer->length = 0;
}

int text_writer_finish(struct text_writer *writer)
{
    if (writer->fd >= 0)
        text_writer_flush(writer);
    return writer->failed_errno;
}

/* Makes room for `count` more bytes; false when the writer has failed. */
static bool text_writer_reserve(struct text_writer *writer, size_t count)
{
    if (writer->failed_errno != 0)
        return false;
    if (count <= writer->capacity - writer->length)
        return true;
    if (writer->fd >= 0 && writer->length != 0) {
        text_writer_flush(writer);
        if (writer->failed_errno != 0)
            return false;
        if (count <= writer->capacity)
            return true;
    }
    size_t capacity = writer->capacity < buffer_bytes ? buffer_bytes : writer->capacity * 2;
    if (capacity < writer->length + count)
        capacity = writer->length + count;
    char *grown = realloc(writer->buffer, capacity);
    if (grown == NULL) {
        writer->failed_errno = ENOMEM;
        return false;
    }
    writer->buffer = grown;
    writer->capacity = capacity;
    return true;
}

void text_writer_bytes(struct text_writer *writer, const void *bytes, size_t count)
{
    if (count == 0 || !text_writer_reserve(writer, count))
        return;
    memcpy(writer->buffer + writer->length, bytes, count);
    writer->length += count;
}

void text_writer_printf(struct text_writer *writer, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    if ((size_t)length < sizeof line) {
        text_writer_bytes(writer, line, (size_t)length);
        return;
    }
    if (!text_writer_reserve(writer, (size_t)length + 1))
        return;
    va_start(arguments, format);
    vsnprintf(writer->buffer + writer->length, (size_t)length + 1, format, arguments);
    va_end(arguments);
    writer->length += (size_t)length;
}

size_t text_utf8_character(struct text text)
{
    const unsigned char *byte = (const unsigned char *)text.data;
    if (text.length == 0)
        return 0;
    if (byte[0] < 0x80)
        return byte[0] >= 0x20 && byte[0] != 0x7f;
    size_t length = byte[0] >= 0xf0 ? 4 : byte[0] >= 0xe0 ? 3 : byte[0] >= 0xc2 ? 2 : 0;
    if (length == 0 || byte[0] > 0xf4 || length > text.length)
        return 0;
    uint32_t code = byte[0] & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((byte[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (byte[i] & 0x3f);
    }
    static const uint32_t code_min[] = {0, 0, 0xa0, 0x800, 0x10000}; /* 0xa0: C1 controls are refused */
    if (code < code_min[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return 0;
    /* Line and paragraph separators, and the marks that reverse the reading direction. */
    if (code == 0x2028 || code == 0x2029 || (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069))
        return 0;
    return length;
}

void text_writer_safe(struct text_writer *writer, struct text text)
{
    while (text.length != 0) {
        size_t good = 0;
        for (size_t step; (step = text_utf8_character((struct text){text.data + good, text.length - good})) != 0;)
            good += step;
        text_writer_bytes(writer, text.data, good);
        text.data += good;
        text.length -= good;
        if (text.length != 0) {
            text_writer_printf(writer, "\\x%02x", (unsigned char)text.data[0]);
            text.data++;
            text.length--;
        }
    }
}

void text_writer_hex(struct text_writer *writer, uint64_t value)
{
    char digits[18];
    size_t at = sizeof digits;
    do {
        digits[--at] = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value != 0);
    digits[--at] = 'x';
    digits[--at] = '0';
    text_writer_bytes(writer, digits + at, sizeof digits - at);
}

void text_writer_count(struct text_writer *writer, uint64_t value)
{
    char digits[27];
    size_t at = sizeof digits;
    for (int printed = 0; value != 0 || printed == 0; printed++) {
        if (printed != 0 && printed % 3 == 0)
            digits[--at] = ',';
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    }
    text_writer_bytes(writer, digits + at, sizeof digits - at);
}
