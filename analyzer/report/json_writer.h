/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as a stream (RFC 8259): objects, arrays, members; commas and indentation are its business, matching opens and
 * closes the caller's. Text of a target that is not UTF-8 stays valid JSON: each byte that belongs to no character
 * becomes U+FFFD. Control characters and marks that reverse the reading direction are written as \uNNNN. */
#ifndef SG_REPORT_JSON_WRITER_H
#define SG_REPORT_JSON_WRITER_H

#include "base/text_writer.h"

enum { json_depth_max = 16 };

/* A block has one value a line, a line all its values on one. Whatever lies in a line is a line. */
enum json_layout { JSON_BLOCK, JSON_LINE };

struct json_level {
    char closing; /* '}' or ']' */
    enum json_layout layout;
    bool is_empty;
};

struct json_writer {
    struct text_writer *out;
    struct json_level levels[json_depth_max];
    unsigned depth;
};

void json_writer_init(struct json_writer *json, struct text_writer *out);

/* `key` is the name in the object around, NULL in an array and at the top; it is ASCII and needs no escape. */
void json_writer_open_object(struct json_writer *json, const char *key, enum json_layout layout);
void json_writer_open_array(struct json_writer *json, const char *key, enum json_layout layout);
void json_writer_close(struct json_writer *json);

void json_writer_text(struct json_writer *json, const char *key, struct text value);
/* A member of an object whose name may be any text. */
void json_writer_named_text(struct json_writer *json, struct text name, struct text value);
void json_writer_string(struct json_writer *json, const char *key, const char *value);
void json_writer_bool(struct json_writer *json, const char *key, bool value);
/* Numbers stay below 2^53: many readers hold doubles. */
void json_writer_number(struct json_writer *json, const char *key, uint64_t value);
void json_writer_signed(struct json_writer *json, const char *key, int64_t value);
/* A number of seconds with six decimals at most. */
void json_writer_seconds(struct json_writer *json, const char *key, uint64_t microseconds);
/* Strings "0x1f" and "4711". */
void json_writer_hex(struct json_writer *json, const char *key, uint64_t value);
void json_writer_id(struct json_writer *json, const char *key, uint64_t value);

#endif
