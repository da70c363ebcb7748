/* SPDX-License-Identifier: Apache-2.0 */
#include "report/columns.h"

#include "base/text_writer.h"

/* Bytes of the next character and the columns it takes. East Asian and emoji blocks count two, marks that join count
 * one: too many columns only shorten a line, too few would break it. */
static size_t character_bytes(struct text text, size_t *ret_columns)
{
    size_t bytes = text_utf8_character(text);
    const unsigned char *byte = (const unsigned char *)text.data;
    bool wide = bytes == 4 || (bytes == 3 && ((byte[0] == 0xe1 && byte[1] >= 0x84 && byte[1] <= 0x87) ||
                                              (byte[0] == 0xe2 && byte[1] >= 0xba) ||
                                              (byte[0] >= 0xe3 && byte[0] <= 0xed) || byte[0] == 0xef));
    *ret_columns = wide ? 2 : 1;
    return bytes == 0 ? 1 : bytes;
}

size_t text_columns(struct text text)
{
    size_t columns = 0, step;
    for (size_t at = 0; at < text.length; columns += step)
        at += character_bytes((struct text){text.data + at, text.length - at}, &step);
    return columns;
}

struct text text_start(struct text text, size_t columns_max)
{
    size_t columns = 0, at = 0, step;
    while (at < text.length) {
        size_t bytes = character_bytes((struct text){text.data + at, text.length - at}, &step);
        if (columns + step > columns_max)
            break;
        columns += step;
        at += bytes;
    }
    return (struct text){text.data, at};
}

struct text text_end(struct text text, size_t columns_max)
{
    size_t columns = text_columns(text), step;
    while (columns > columns_max) {
        size_t bytes = character_bytes(text, &step);
        text.data += bytes;
        text.length -= bytes;
        columns -= step;
    }
    return text;
}

struct text text_take_line(struct text *rest, size_t columns_max)
{
    struct text part = text_start(*rest, columns_max);
    if (part.length < rest->length) {
        size_t end = part.length;
        while (end > 0 && rest->data[end] != ' ')
            end--;
        if (end != 0)
            part.length = end;
    }
    /* A character wider than the line: taken all the same, or the caller would never end. */
    if (part.length == 0 && rest->length != 0) {
        size_t columns;
        part.length = character_bytes(*rest, &columns);
    }
    rest->data += part.length;
    rest->length -= part.length;
    while (rest->length != 0 && rest->data[0] == ' ') {
        rest->data++;
        rest->length--;
    }
    return part;
}
