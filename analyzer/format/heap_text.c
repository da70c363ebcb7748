/* SPDX-License-Identifier: Apache-2.0 */
#include "format/heap_text.h"

static void skip_spaces(struct text *text)
{
    while (text->length != 0 && text->data[0] == ' ')
        *text = (struct text){text->data + 1, text->length - 1};
}

static bool take_number(struct text *text, const char *after, uint64_t *ret_value)
{
    skip_spaces(text);
    if (!text_take_decimal(text, ret_value))
        return false;
    skip_spaces(text);
    return text_take_prefix(text, text_from_string(after));
}

/* "718: 76326576 [829493: 1114177328] @ " */
static bool take_numbers(struct text *text, struct heap_numbers *ret_numbers)
{
    struct heap_numbers numbers;
    if (!take_number(text, ":", &numbers.objects) || !take_number(text, "[", &numbers.bytes) ||
        !take_number(text, ":", &numbers.objects_allocated) || !take_number(text, "]", &numbers.bytes_allocated))
        return false;
    skip_spaces(text);
    if (!text_take_prefix(text, TEXT("@")))
        return false;
    skip_spaces(text);
    *ret_numbers = numbers;
    return true;
}

bool heap_header_parse(struct text line, struct heap_numbers *ret_numbers, struct text *ret_kind)
{
    if (!text_take_prefix(&line, TEXT("heap profile:")) || !take_numbers(&line, ret_numbers))
        return false;
    *ret_kind = line;
    return true;
}

static bool record_parse(struct text line, struct heap_item *item)
{
    if (!take_numbers(&line, &item->numbers))
        return false;
    item->text = line;
    uint64_t address;
    while (profile_address_next(&line, &address))
        continue;
    skip_spaces(&line);
    return line.length == 0;
}

void heap_text_init(struct heap_text *reader, struct text text)
{
    bool marked = text_starts_with(text, TEXT("\xef\xbb\xbf"));
    *reader = (struct heap_text){.lines = {text.data, text.length, marked ? 3 : 0}};
}

static bool line_parse(struct heap_text *reader, struct text line, struct heap_item *item)
{
    if (heap_header_parse(line, &item->numbers, &item->text)) {
        reader->in_profile = true;
        item->kind = HEAP_ITEM_HEADER;
        return true;
    }
    if (profile_frame_parse(line, &item->frame)) {
        item->kind = HEAP_ITEM_FRAME;
        return true;
    }
    if (text_take_prefix(&line, TEXT("#"))) {
        item->kind = HEAP_ITEM_COMMENT;
        skip_spaces(&line);
        item->text = line;
        return true;
    }
    item->kind = HEAP_ITEM_RECORD;
    return reader->in_profile && record_parse(line, item);
}

void heap_text_next(struct heap_text *reader, struct heap_item *ret_item)
{
    struct text line;
    for (;;) {
        *ret_item = (struct heap_item){.kind = HEAP_ITEM_END, .offset = reader->lines.position};
        if (!text_lines_next(&reader->lines, &line))
            return;
        if (line.length == 0)
            continue;
        if (line_parse(reader, line, ret_item))
            return;
        if (reader->junk.lines++ == 0)
            reader->junk.first_offset = ret_item->offset;
    }
}
