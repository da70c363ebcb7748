/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin's rules as they stand in its YAML file (plugins/README.md is the language). Bytes in, structs out: nothing is
 * compiled and no file is opened. All errors of a file are told, each with its line and column. */
#ifndef SG_FORMAT_RULE_FILE_H
#define SG_FORMAT_RULE_FILE_H

#include "base/text.h"

#include <stdint.h>

enum rule_severity { RULE_SEVERITY_UNKNOWN, RULE_INFO, RULE_WARNING, RULE_CRITICAL };
enum rule_detector {
    RULE_COUNT,
    RULE_LOCK_CYCLE,
    RULE_LOCK_QUEUE,
    RULE_STUCK,
    RULE_CHANNEL,
    RULE_POOL,
    RULE_LEAK,
    RULE_DESCRIPTORS,
    RULE_DETECTOR_COUNT,
};
enum rule_for { RULE_FOR_ANY, RULE_FOR_THREADS, RULE_FOR_GOROUTINES };
enum rule_holder { RULE_HOLDER_ANY, RULE_HOLDER_MEMBER, RULE_HOLDER_ENDED, RULE_HOLDER_READERS, RULE_HOLDER_UNKNOWN };
enum rule_field { RULE_FIELD_FUNCTION, RULE_FIELD_FILE, RULE_FIELD_MODULE };

struct rule_place {
    uint32_t line, column; /* from 1; of a scalar's first character */
};

struct rule_pattern {
    struct text expression; /* PCRE2, NUL-terminated */
    enum rule_field field;
    bool is_next;           /* of `stack`: must match the very next frame; of its first item: the leaf */
    bool is_quoted;         /* single-quoted: each ' of the expression has two columns in the file */
    struct rule_place place; /* of the expression's first character */
};

struct rule_patterns {
    struct rule_pattern *items;
    size_t count;
};

/* A word that is looked up when the rule is compiled. */
struct rule_word {
    struct text text; /* NUL-terminated */
    struct rule_place place;
};

/* Conditions on one member and its stack; an empty one holds for all. */
struct rule_match {
    struct rule_patterns leaf;  /* 0 or 1 */
    struct rule_patterns stack; /* in this order, leaf to root */
    struct rule_patterns any, none;
    struct rule_patterns root, state, creator; /* 0 or 1 each */
    uint32_t waits_on;          /* bits by enum wait_kind; 0: not asked. Of the words below, once the rule is compiled */
    struct rule_word *waits_on_words;
    size_t waits_on_word_count;
    uint64_t waited_seconds;    /* 0: not asked */
};

struct rule_example {
    bool is_silent; /* else: finds */
    struct text dump;
    struct rule_place place;
};

struct rule {
    struct text id;
    enum rule_severity severity;
    enum rule_detector detector;
    enum rule_for members;
    struct rule_match match; /* the members counted, waiting … */
    struct rule_match head;  /* lock-queue: what the thread at the head does */
    bool has_head;
    struct rule_patterns acquire, keeps, hold; /* pool */
    struct text size, in_use;           /* pool, stuck: names of fields */
    struct text lent, pool;             /* stuck: "sql.driverConn.db", a type and its pointer to "sql.DB", the pool's */
    struct rule_patterns creates;       /* leak: functions that make more of what leaks */
    struct rule_patterns less;          /* count: each member with one of these accounts for one of those counted */
    enum rule_holder holder;            /* lock-queue: what is known of who has the lock at the head */
    uint64_t at_least;    /* members; 0: not given, the detector's own */
    uint64_t info_from;   /* lock-queue: so many, which no rule speaks of, are told as info where the head stands still; 0: never */
    uint32_t share_permille; /* of all members; 0: not asked */
    uint32_t grown_permille; /* "2x" is 2000; 0: not asked; needs two dumps */
    struct text *by;      /* captures, "resource", "function", "creator", "group" */
    struct rule_place *by_places;
    size_t by_count;
    struct text title, advice, runbook;
    struct rule_example *examples;
    size_t example_count;
    struct rule_place place;
};

struct rule_error {
    struct rule_place place;
    const char *message; /* one line, without the place */
};

struct rule_file {
    struct text path;   /* as in messages */
    struct text plugin, about;
    uint64_t version;
    struct rule_patterns machinery; /* functions of the waiting machinery, passed over in front of `leaf` */
    struct rule *rules;
    size_t rule_count;
    struct rule_error *errors; /* in the file's order; any: the file is not to be used */
    size_t error_count;
};

/* `path` is for messages only. The result and all its texts are in `arena`; `bytes` may go afterwards. */
struct rule_file rule_file_parse(struct text path, struct text bytes, struct arena *arena);

/* Where in the file a byte of the expression stands. */
struct rule_place rule_pattern_place(const struct rule_pattern *pattern, size_t offset);

/* Adds an error, in the file's order; past limits.h's ceiling it is dropped. */
void rule_file_add_error(struct rule_file *file, struct arena *arena, struct rule_place place, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* "path:12:17: message", in the arena. */
const char *rule_file_error_text(const struct rule_file *file, size_t number, struct arena *arena);

/* The one of `words` that `word` was probably meant to be; NULL: none is near. */
const char *rule_word_nearest(struct text word, const char *const *words, size_t count);

/* "lock-cycle" */
const char *rule_detector_name(enum rule_detector detector);

#endif
