/* SPDX-License-Identifier: Apache-2.0 */
/* Rules as they are applied: each expression compiled once, however many rules have it. Detectors see these types by
 * the functions of detector.h alone. */
#ifndef SG_DETECT_RULE_SET_H
#define SG_DETECT_RULE_SET_H

#include "base/intern_table.h"
#include "detect/detect.h"
#include "base/pattern_literals.h"
#include "detect/name_table.h"

struct compiled_pattern {
    enum name_kind kind;
    struct pattern *pattern;
    const struct text *literals;
    size_t literal_count;
};

/* As struct rule_patterns, with each one's number in rule_set.patterns. */
struct compiled_patterns {
    const struct rule_pattern *source;
    uint32_t *numbers;
    size_t count;
};

struct compiled_match {
    struct compiled_patterns leaf, stack, any, none, root, state, creator;
    uint32_t waits_on;
    uint64_t waited_seconds;
};

struct compiled_rule {
    const struct rule *source;
    uint32_t number;
    struct text id; /* "plugin/rule" */
    struct text plugin, path, runbook_path;
    struct compiled_match match, head;
    struct compiled_patterns acquire, keeps, hold, creates, less;
    const char **capture_names;
    size_t capture_count;
};

struct machinery {
    struct compiled_patterns patterns;
    struct text plugin;
};

struct rule_set {
    struct arena *arena;
    struct pattern_matcher *matcher;
    struct intern_table expressions; /* "kind expression"; its number is the pattern's */
    struct compiled_pattern *patterns;
    size_t pattern_count, pattern_capacity;
    struct compiled_rule **rules;
    size_t rule_count, rule_capacity;
    struct machinery *machinery; /* of all plugins */
    size_t machinery_count, machinery_capacity;
    struct text *plugins;
    size_t plugin_count, plugin_capacity;
};

#endif
