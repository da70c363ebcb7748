/* SPDX-License-Identifier: Apache-2.0 */
#include "report/json_writer.h"

#include <assert.h>
#include <inttypes.h>

void json_writer_init(struct json_writer *json, struct text_writer *out)
{
    *json = (struct json_writer){.out = out};
}

static void json_writer_newline(struct json_writer *json)
{
    text_writer_string(json->out, "\n");
    for (unsigned i = 0; i < json->depth; i++)
        text_writer_string(json->out, " ");
}

/* What stands before a value: comma, line break, key. */
static void json_writer_begin(struct json_writer *json, const char *key)
{
    if (json->depth != 0) {
        struct json_level *level = &json->levels[json->depth - 1];
        if (!level->is_empty)
            text_writer_string(json->out, ",");
        if (level->layout == JSON_BLOCK)
            json_writer_newline(json);
        else if (!level->is_empty)
            text_writer_string(json->out, " ");
        level->is_empty = false;
    }
    if (key != NULL)
        text_writer_printf(json->out, "\"%s\": ", key);
}

static void json_writer_open(struct json_writer *json, const char *key, enum json_layout layout, const char *brackets)
{
    assert(json->depth < json_depth_max);
    json_writer_begin(json, key);
    if (json->depth != 0 && json->levels[json->depth - 1].layout == JSON_LINE)
        layout = JSON_LINE;
    text_writer_bytes(json->out, &brackets[0], 1);
    json->levels[json->depth++] = (struct json_level){brackets[1], layout, true};
}

void json_writer_open_object(struct json_writer *json, const char *key, enum json_layout layout)
{
    json_writer_open(json, key, layout, "{}");
}

void json_writer_open_array(struct json_writer *json, const char *key, enum json_layout layout)
{
    json_writer_open(json, key, layout, "[]");
}

void json_writer_close(struct json_writer *json)
{
    assert(json->depth > 0);
    const struct json_level *level = &json->levels[--json->depth];
    if (level->layout == JSON_BLOCK && !level->is_empty)
        json_writer_newline(json);
    text_writer_bytes(json->out, &level->closing, 1);
    if (json->depth == 0)
        text_writer_string(json->out, "\n");
}

/* Characters that text_utf8_character refuses although they are well-formed: controls and direction marks. Returns
 * their bytes, or 0 for a byte that belongs to no character. */
static size_t refused_character(struct text text, unsigned *ret_code)
{
    const unsigned char *byte = (const unsigned char *)text.data;
    if (byte[0] < 0x80) {
        *ret_code = byte[0];
        return 1;
    }
    if (text.length >= 2 && byte[0] == 0xc2 && byte[1] >= 0x80 && byte[1] <= 0x9f) {
        *ret_code = byte[1];
        return 2;
    }
    if (text.length >= 3 && byte[0] == 0xe2 && (byte[1] == 0x80 || byte[1] == 0x81) && (byte[2] & 0xc0) == 0x80) {
        *ret_code = 0x2000u | (byte[1] & 0x3fu) << 6 | (byte[2] & 0x3fu);
        return 3;
    }
    return 0;
}

static void json_writer_quoted(struct json_writer *json, struct text text)
{
    struct text_writer *out = json->out;
    text_writer_string(out, "\"");
    size_t plain = 0; /* bytes from the start of `text` that go out as they are */
    while (plain < text.length) {
        struct text rest = {text.data + plain, text.length - plain};
        size_t bytes = text_utf8_character(rest);
        if (bytes != 0 && rest.data[0] != '"' && rest.data[0] != '\\') {
            plain += bytes;
            continue;
        }
        text_writer_bytes(out, text.data, plain);
        unsigned code = 0xfffd;
        size_t refused = bytes != 0 ? 0 : refused_character(rest, &code);
        if (bytes != 0)
            text_writer_printf(out, "\\%c", rest.data[0]);
        else
            text_writer_printf(out, "\\u%04x", code);
        size_t skip = refused != 0 ? refused : 1;
        text = (struct text){rest.data + skip, rest.length - skip};
        plain = 0;
    }
    text_writer_bytes(out, text.data, plain);
    text_writer_string(out, "\"");
}

void json_writer_text(struct json_writer *json, const char *key, struct text value)
{
    json_writer_begin(json, key);
    json_writer_quoted(json, value);
}

void json_writer_named_text(struct json_writer *json, struct text name, struct text value)
{
    json_writer_begin(json, NULL);
    json_writer_quoted(json, name);
    text_writer_string(json->out, ": ");
    json_writer_quoted(json, value);
}

void json_writer_string(struct json_writer *json, const char *key, const char *value)
{
    json_writer_text(json, key, text_from_string(value));
}

void json_writer_bool(struct json_writer *json, const char *key, bool value)
{
    json_writer_begin(json, key);
    text_writer_string(json->out, value ? "true" : "false");
}

void json_writer_number(struct json_writer *json, const char *key, uint64_t value)
{
    json_writer_begin(json, key);
    text_writer_printf(json->out, "%" PRIu64, value);
}

void json_writer_signed(struct json_writer *json, const char *key, int64_t value)
{
    json_writer_begin(json, key);
    text_writer_printf(json->out, "%" PRId64, value);
}

void json_writer_seconds(struct json_writer *json, const char *key, uint64_t microseconds)
{
    json_writer_begin(json, key);
    /* Integers only: printf's %f would follow the locale's decimal comma. */
    uint64_t fraction = microseconds % 1000000;
    int digits = 6;
    for (; digits > 0 && fraction % 10 == 0; digits--)
        fraction /= 10;
    text_writer_printf(json->out, "%" PRIu64, microseconds / 1000000);
    if (digits != 0)
        text_writer_printf(json->out, ".%0*" PRIu64, digits, fraction);
}

void json_writer_hex(struct json_writer *json, const char *key, uint64_t value)
{
    json_writer_begin(json, key);
    text_writer_printf(json->out, "\"0x%" PRIx64 "\"", value);
}

void json_writer_id(struct json_writer *json, const char *key, uint64_t value)
{
    json_writer_begin(json, key);
    text_writer_printf(json->out, "\"%" PRIu64 "\"", value);
}
