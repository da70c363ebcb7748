/* SPDX-License-Identifier: Apache-2.0 */
#include "format/register_text.h"

#include "format/goroutine_text.h"

static void skip_blanks(struct text *text)
{
    while (text->length != 0 && (text->data[0] == ' ' || text->data[0] == '\t' || text->data[0] == '\r')) {
        text->data++;
        text->length--;
    }
}

enum register_text_result register_line_next(struct text *rest, uint32_t *line_number, struct register_line *ret_line)
{
    while (rest->length != 0) {
        const char *newline = memchr(rest->data, '\n', rest->length);
        struct text line = {rest->data, newline == NULL ? rest->length : (size_t)(newline - rest->data)};
        size_t taken = line.length + (newline != NULL);
        rest->data += taken;
        rest->length -= taken;
        ++*line_number;
        skip_blanks(&line);
        if (line.length == 0 || line.data[0] == '#')
            continue;
        uint64_t tid;
        if (!text_take_decimal(&line, &tid) || tid == 0 || tid > INT32_MAX ||
            (line.length != 0 && line.data[0] != ' ' && line.data[0] != '\t'))
            return REGISTER_TEXT_GARBAGE;
        skip_blanks(&line);
        *ret_line = (struct register_line){(uint32_t)tid, line};
        return REGISTER_TEXT_LINE;
    }
    return REGISTER_TEXT_END;
}

bool register_field_next(struct text *fields, struct text *ret_name, uint64_t *ret_value)
{
    struct text rest = *fields;
    const char *equals = memchr(rest.data, '=', rest.length);
    if (equals == NULL)
        return false;
    struct text name = {rest.data, (size_t)(equals - rest.data)};
    rest.data += name.length + 1;
    rest.length -= name.length + 1;
    if (!text_take_hex(&rest, ret_value) ||
        (rest.length != 0 && rest.data[0] != ' ' && rest.data[0] != '\t' && rest.data[0] != '\r'))
        return false;
    skip_blanks(&rest);
    *ret_name = name;
    *fields = rest;
    return true;
}
