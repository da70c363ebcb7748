/* SPDX-License-Identifier: Apache-2.0 */
#include "format/proc_maps.h"

static bool take_number(struct text *line, unsigned base, char after, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t at = 0;
    for (; at < line->length; at++) {
        char c = line->data[at];
        unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 99;
        if (digit >= base)
            break;
        if (value > (UINT64_MAX - digit) / base)
            return false;
        value = value * base + digit;
    }
    if (at == 0 || at == line->length || line->data[at] != after)
        return false;
    line->data += at + 1;
    line->length -= at + 1;
    *ret_value = value;
    return true;
}

static bool map_parse(struct text line, struct proc_map *ret_map)
{
    struct proc_map map = {0};
    uint64_t major, minor;
    if (!take_number(&line, 16, '-', &map.start) || !take_number(&line, 16, ' ', &map.end) || map.start >= map.end ||
        line.length < 5 || line.data[4] != ' ')
        return false;
    map.access = (uint8_t)((line.data[0] == 'r') << 2 | (line.data[1] == 'w') << 1 | (line.data[2] == 'x'));
    line.data += 5;
    line.length -= 5;
    if (!take_number(&line, 16, ' ', &map.file_offset) || !take_number(&line, 16, ':', &major) ||
        !take_number(&line, 16, ' ', &minor))
        return false;
    /* A map without a path ends in the inode and a blank, which editors and mails take away. */
    if (!text_equals(line, TEXT("0")) && !take_number(&line, 10, ' ', &map.inode))
        return false;
    while (line.length != 0 && line.data[0] == ' ')
        line.data++, line.length--;
    map.path = text_equals(line, TEXT("0")) && map.inode == 0 ? TEXT("") : line;
    *ret_map = map;
    return true;
}

bool proc_map_next(struct text *rest, struct proc_map *ret_map)
{
    while (rest->length != 0) {
        const char *newline = memchr(rest->data, '\n', rest->length);
        size_t length = newline == NULL ? rest->length : (size_t)(newline - rest->data);
        struct text line = {rest->data, length};
        size_t taken = length + (newline != NULL);
        rest->data += taken;
        rest->length -= taken;
        if (map_parse(line, ret_map))
            return true;
    }
    return false;
}
