/* SPDX-License-Identifier: Apache-2.0 */
#include "format/yaml_tree.h"
#include "base/limits.h"
#include "base/text_writer.h"

#include <stdarg.h>
#include <stdio.h>
#include <yaml.h>

struct reading {
    struct arena *arena;
    struct yaml_tree tree;
    struct text bytes;
    size_t *line_starts; /* by line from 0: byte offsets */
    size_t line_count, line_capacity;
    struct yaml_node *open[limit_yaml_depth]; /* the maps and sequences around what comes next */
    struct yaml_node *key;                    /* of the innermost map, once it was read */
    struct yaml_node *keys[limit_yaml_depth]; /* … of those around it */
    size_t depth, node_count;
};

__attribute__((format(printf, 3, 4))) static void add_error(struct reading *reading, struct yaml_place place,
                                                             const char *format, ...)
{
    struct yaml_tree *tree = &reading->tree;
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (tree->error_count == limit_rule_file_errors)
        return;
    tree->errors = arena_grow(reading->arena, tree->errors, tree->error_count, &tree->error_capacity, sizeof *tree->errors);
    tree->errors[tree->error_count++] = (struct yaml_error){place, arena_printf(reading->arena, "%s", line)};
}

static struct yaml_place place_of(yaml_mark_t mark)
{
    return (struct yaml_place){(uint32_t)mark.line + 1, (uint32_t)mark.column + 1};
}

/* Breaks as libyaml counts lines, without those that are refused. */
static void find_lines(struct reading *reading)
{
    struct text bytes = reading->bytes;
    for (size_t start = 0, at = 0;; at++) {
        bool is_end = at >= bytes.length;
        bool is_break = !is_end && (bytes.data[at] == '\n' || (bytes.data[at] == '\r' && (at + 1 == bytes.length ||
                                                                                          bytes.data[at + 1] != '\n')));
        if (!is_end && !is_break)
            continue;
        reading->line_starts = arena_grow(reading->arena, reading->line_starts, reading->line_count,
                                          &reading->line_capacity, sizeof *reading->line_starts);
        reading->line_starts[reading->line_count++] = start;
        start = at + 1;
        if (is_end)
            return;
    }
}

static struct yaml_place place_of_offset(const struct reading *reading, size_t offset)
{
    size_t line = reading->line_count;
    while (line > 1 && reading->line_starts[line - 1] > offset)
        line--;
    uint32_t column = 1;
    for (size_t at = line == 0 ? 0 : reading->line_starts[line - 1]; at < offset && at < reading->bytes.length; at++)
        column += ((unsigned char)reading->bytes.data[at] & 0xc0) != 0x80;
    return (struct yaml_place){(uint32_t)(line == 0 ? 1 : line), column};
}

/* libyaml would turn U+0085, U+2028 and U+2029 into line breaks, which editors do not show. */
static bool check_characters(struct reading *reading)
{
    struct text bytes = reading->bytes;
    for (size_t at = 0; at < bytes.length;) {
        char c = bytes.data[at];
        if (c == '\t' || c == '\n' || c == '\r' || (c >= ' ' && c <= '~')) {
            at++;
            continue;
        }
        struct text rest = {bytes.data + at, bytes.length - at};
        size_t length = text_utf8_character(rest);
        bool is_break = text_starts_with(rest, TEXT("\xe2\x80\xa8")) || text_starts_with(rest, TEXT("\xe2\x80\xa9"));
        if (length == 0 || is_break) {
            bool is_control = (unsigned char)c < 0x80 || (unsigned char)c == 0xc2;
            add_error(reading, place_of_offset(reading, at), is_break     ? "a line break that editors do not show (U+202%c)"
                                                             : is_control ? "a control character (0x%02x)"
                                                                          : "not UTF-8 (byte 0x%02x)",
                      is_break ? (unsigned char)rest.data[2] == 0xa8 ? '8' : '9' : (unsigned char)c);
            return false;
        }
        at += length;
    }
    return true;
}

static struct yaml_node *add_node(struct reading *reading, enum yaml_kind kind, yaml_mark_t mark)
{
    struct yaml_node *node = arena_new(reading->arena, struct yaml_node);
    node->kind = kind;
    node->place = node->content = place_of(mark);
    if (++reading->node_count == limit_yaml_nodes) {
        add_error(reading, node->place, "more than %d values in one file", limit_yaml_nodes);
        reading->tree.is_cut = true;
    }
    return node;
}

/* A map's keys are few: looked through one by one. */
static void check_key(struct reading *reading, struct yaml_node *map, struct yaml_node *key)
{
    size_t count = 0;
    if (key->is_refused)
        return;
    if (key->style == YAML_TREE_PLAIN && text_equals(key->text, TEXT("<<"))) {
        add_error(reading, key->place, "merge keys ('<<') are not allowed in rule files");
        key->is_refused = true;
        return;
    }
    for (struct yaml_node *child = map->first; child != NULL; child = child->next, count++)
        if (!child->key->is_refused && text_equals(child->key->text, key->text)) {
            add_error(reading, key->place, "'%.64s' stands here twice, first in line %u", key->text.data,
                      child->key->place.line);
            key->is_refused = true;
            return;
        }
    if (count == limit_yaml_keys) {
        add_error(reading, key->place, "more than %d keys in one map", limit_yaml_keys);
        reading->tree.is_cut = true;
    }
}

static void place_node(struct reading *reading, struct yaml_node *node)
{
    if (reading->depth == 0) {
        if (reading->tree.root == NULL)
            reading->tree.root = node;
        return;
    }
    struct yaml_node *parent = reading->open[reading->depth - 1];
    if (parent->kind == YAML_TREE_MAP && reading->key == NULL) {
        if (node->kind != YAML_TREE_SCALAR) {
            add_error(reading, node->place, "a key must be a word, not a list or a map");
            node->is_refused = true;
        }
        check_key(reading, parent, node);
        reading->key = node;
        return;
    }
    node->key = parent->kind == YAML_TREE_MAP ? reading->key : NULL;
    reading->key = NULL;
    if (parent->last == NULL)
        parent->first = node;
    else
        parent->last->next = node;
    parent->last = node;
}

/* The indentation of a block is what its first line that is not blank has more than the text itself. */
static struct yaml_place block_content(const struct reading *reading, const struct yaml_node *node)
{
    struct text bytes = reading->bytes, text = node->text;
    size_t line = node->place.line, at = 0;
    while (at < text.length && text.data[at] == '\n')
        at++, line++;
    size_t own = 0, all = 0;
    while (at + own < text.length && text.data[at + own] == ' ')
        own++;
    if (line < reading->line_count)
        while (reading->line_starts[line] + all < bytes.length && bytes.data[reading->line_starts[line] + all] == ' ')
            all++;
    return (struct yaml_place){node->place.line + 1, (uint32_t)(all > own ? all - own : 0) + 1};
}

/* Escapes in double quotes can make any character; texts go to terminals, and are looked at up to their NUL. */
static bool is_printable(struct text text)
{
    for (size_t at = 0; at < text.length;) {
        char c = text.data[at];
        size_t length = c == '\t' || c == '\n' ? 1 : text_utf8_character((struct text){text.data + at, text.length - at});
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

static void take_scalar(struct reading *reading, const yaml_event_t *event)
{
    static const enum yaml_style styles[] = {
        [YAML_ANY_SCALAR_STYLE] = YAML_TREE_PLAIN,
        [YAML_PLAIN_SCALAR_STYLE] = YAML_TREE_PLAIN,
        [YAML_SINGLE_QUOTED_SCALAR_STYLE] = YAML_TREE_SINGLE_QUOTED,
        [YAML_DOUBLE_QUOTED_SCALAR_STYLE] = YAML_TREE_DOUBLE_QUOTED,
        [YAML_LITERAL_SCALAR_STYLE] = YAML_TREE_LITERAL,
        [YAML_FOLDED_SCALAR_STYLE] = YAML_TREE_FOLDED,
    };
    struct yaml_node *node = add_node(reading, YAML_TREE_SCALAR, event->start_mark);
    node->style = styles[event->data.scalar.style];
    node->text = text_copy(reading->arena, (struct text){(const char *)event->data.scalar.value, event->data.scalar.length});
    node->spans_lines = event->end_mark.line != event->start_mark.line;
    if (node->style == YAML_TREE_SINGLE_QUOTED || node->style == YAML_TREE_DOUBLE_QUOTED)
        node->content.column++;
    else if (node->style != YAML_TREE_PLAIN)
        node->content = block_content(reading, node);
    if (!is_printable(node->text)) {
        add_error(reading, node->place, "a text with a control character");
        node->is_refused = true;
    }
    place_node(reading, node);
}

static void open_node(struct reading *reading, enum yaml_kind kind, yaml_mark_t mark)
{
    struct yaml_node *node = add_node(reading, kind, mark);
    place_node(reading, node);
    if (reading->depth == limit_yaml_depth) {
        add_error(reading, node->place, "more than %d levels of lists and maps", limit_yaml_depth);
        reading->tree.is_cut = true;
        return;
    }
    reading->keys[reading->depth] = reading->key;
    reading->open[reading->depth++] = node;
    reading->key = NULL;
}

static void close_node(struct reading *reading)
{
    reading->key = reading->keys[--reading->depth];
}

static void refuse_properties(struct reading *reading, const yaml_event_t *event, const yaml_char_t *anchor,
                              const yaml_char_t *tag)
{
    if (anchor != NULL)
        add_error(reading, place_of(event->start_mark), "anchors ('&%.64s') are not allowed in rule files",
                  (const char *)anchor);
    if (tag != NULL)
        add_error(reading, place_of(event->start_mark),
                  "tags ('%.64s') are not allowed in rule files; a text that starts with '!' must be quoted",
                  (const char *)tag);
}

static void take_event(struct reading *reading, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        refuse_properties(reading, event, event->data.scalar.anchor, event->data.scalar.tag);
        take_scalar(reading, event);
        return;
    case YAML_SEQUENCE_START_EVENT:
        refuse_properties(reading, event, event->data.sequence_start.anchor, event->data.sequence_start.tag);
        open_node(reading, YAML_TREE_SEQUENCE, event->start_mark);
        return;
    case YAML_MAPPING_START_EVENT:
        refuse_properties(reading, event, event->data.mapping_start.anchor, event->data.mapping_start.tag);
        open_node(reading, YAML_TREE_MAP, event->start_mark);
        return;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        close_node(reading);
        return;
    case YAML_ALIAS_EVENT: {
        struct yaml_node *node = add_node(reading, YAML_TREE_SCALAR, event->start_mark);
        add_error(reading, node->place,
                  "aliases ('*%.64s') are not allowed in rule files; a text that starts with '*' must be quoted",
                  (const char *)event->data.alias.anchor);
        node->text = TEXT("");
        node->is_refused = true;
        place_node(reading, node);
        return;
    }
    case YAML_DOCUMENT_START_EVENT:
        if (event->data.document_start.version_directive != NULL ||
            event->data.document_start.tag_directives.start != event->data.document_start.tag_directives.end)
            add_error(reading, place_of(event->start_mark), "directives ('%%…') are not allowed in rule files");
        if (reading->tree.root != NULL) {
            add_error(reading, place_of(event->start_mark), "a second document: one file is one plugin");
            reading->tree.is_cut = true;
        }
        return;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return;
    }
}

static void add_syntax_error(struct reading *reading, const yaml_parser_t *parser)
{
    struct yaml_place place = parser->error == YAML_READER_ERROR ? place_of_offset(reading, parser->problem_offset)
                                                                 : place_of(parser->problem_mark);
    const char *escape = "found unknown escape character";
    if (parser->problem != NULL && strcmp(parser->problem, escape) == 0)
        add_error(reading, place, "%s; in single quotes a backslash stands for itself", escape);
    else if (parser->context != NULL)
        add_error(reading, place, "%s, %s from line %zu on", parser->problem, parser->context,
                  parser->context_mark.line + 1);
    else
        add_error(reading, place, "%s", parser->problem != NULL ? parser->problem : "memory is short");
}

/* libyaml's memory is its own: when the arena is exhausted it has to be given back before control goes on. */
static void read_events(struct reading *reading)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        add_error(reading, (struct yaml_place){1, 1}, "memory is short");
        return;
    }
    jmp_buf *outer = reading->arena->exhausted, exhausted;
    yaml_event_t event = {.type = YAML_NO_EVENT};
    if (setjmp(exhausted) != 0) {
        yaml_event_delete(&event);
        yaml_parser_delete(&parser);
        reading->arena->exhausted = outer;
        if (outer == NULL)
            abort();
        longjmp(*outer, 1);
    }
    reading->arena->exhausted = &exhausted;
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)reading->bytes.data, reading->bytes.length);
    for (bool goes_on = true; goes_on && !reading->tree.is_cut;) {
        if (!yaml_parser_parse(&parser, &event)) {
            add_syntax_error(reading, &parser);
            reading->tree.is_cut = true;
            break;
        }
        goes_on = event.type != YAML_STREAM_END_EVENT;
        take_event(reading, &event);
        yaml_event_delete(&event);
        event.type = YAML_NO_EVENT;
    }
    reading->arena->exhausted = outer;
    yaml_parser_delete(&parser);
}

struct yaml_tree yaml_tree_parse(struct text bytes, struct arena *arena)
{
    struct reading *reading = arena_new(arena, struct reading);
    reading->arena = arena;
    if (text_starts_with(bytes, TEXT("\xef\xbb\xbf")))
        bytes = (struct text){bytes.data + 3, bytes.length - 3};
    reading->bytes = bytes;
    if (bytes.length > limit_rule_file_bytes) {
        add_error(reading, (struct yaml_place){1, 1}, "the file has more than %d bytes", limit_rule_file_bytes);
        return reading->tree;
    }
    find_lines(reading);
    if (check_characters(reading))
        read_events(reading);
    return reading->tree;
}
