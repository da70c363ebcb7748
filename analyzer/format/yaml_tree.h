/* SPDX-License-Identifier: Apache-2.0 */
/* The part of YAML that rule files use, as a tree: maps, sequences and scalars, each with its place. What makes a file mean
 * something else than it shows is refused: anchors, aliases, tags, merge keys, directives, duplicate keys, several
 * documents. yaml_tree.c is the only file that knows libyaml. */
#ifndef SG_FORMAT_YAML_TREE_H
#define SG_FORMAT_YAML_TREE_H

#include "base/text.h"

#include <stdint.h>

enum yaml_kind { YAML_TREE_SCALAR, YAML_TREE_SEQUENCE, YAML_TREE_MAP };
enum yaml_style {
    YAML_TREE_PLAIN,
    YAML_TREE_SINGLE_QUOTED,
    YAML_TREE_DOUBLE_QUOTED,
    YAML_TREE_LITERAL, /* a block after '|' */
    YAML_TREE_FOLDED,  /* a block after '>' */
};

/* A character of the file, both from 1. Columns count characters, not bytes. */
struct yaml_place {
    uint32_t line, column;
};

struct yaml_node {
    enum yaml_kind kind;
    enum yaml_style style;     /* of scalars */
    struct yaml_place place;   /* where it starts: of a quoted scalar the quote, of a block the '|' */
    struct yaml_place content; /* of scalars: the first character of the text itself */
    struct text text;          /* of scalars, NUL-terminated */
    bool spans_lines;          /* of scalars: in the file */
    bool is_refused;           /* stands for something refused, of which an error tells */
    /* Children in the file's order; of a map, those with a key. */
    struct yaml_node *first, *last, *next;
    struct yaml_node *key;     /* a scalar; NULL outside maps */
};

struct yaml_error {
    struct yaml_place place;
    const char *message; /* one line */
};

struct yaml_tree {
    struct yaml_node *root; /* NULL: nothing could be read */
    bool is_cut;            /* the reading ended before the file did */
    struct yaml_error *errors; /* as they were found */
    size_t error_count, error_capacity;
};

/* All is in `arena`; `bytes` may go afterwards. A syntax error ends the reading, what stood before it is kept. */
struct yaml_tree yaml_tree_parse(struct text bytes, struct arena *arena);

#endif
