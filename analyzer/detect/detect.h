/* SPDX-License-Identifier: Apache-2.0 */
/* Applies rules to a snapshot: each rule names a detector, which looks for a structure (a cycle, a pool, a leak …) among
 * the members that the rule's conditions select, and the rule gives the words. Works on plain data alone, so that cores,
 * processes and text dumps are judged alike. */
#ifndef SG_DETECT_DETECT_H
#define SG_DETECT_DETECT_H

#include "base/diagnostics.h"
#include "format/rule_file.h"
#include "model/finding.h"
#include "model/program.h"

/* Rules with their expressions compiled. */
struct rule_set;

/* `path` and `runbook_folder` say where it came from; "" for those built in. Errors of the expressions are added to the
 * file's, with their column: a file with any error is not taken. */
struct rule_set *rule_set_new(struct arena *arena);
bool rule_set_add(struct rule_set *set, struct rule_file *file, struct text runbook_folder);
/* Frees what PCRE2 mapped; the rest lives in the arena. NULL is allowed. */
void rule_set_release(struct rule_set *set);

size_t rule_set_count(const struct rule_set *set);
/* "plugin/rule" of a number from 0. */
struct text rule_set_id(const struct rule_set *set, size_t number);
const struct rule *rule_set_rule(const struct rule_set *set, size_t number);

/* The file that the rule came from, and where its runbook lies; of the latter "" built in. */
struct text rule_set_path(const struct rule_set *set, size_t number);
struct text rule_set_runbook_path(const struct rule_set *set, size_t number);
bool rule_set_has_plugin(const struct rule_set *set, struct text plugin);
/* Whether `only` of detect_options names the rule. */
bool rule_set_selects(const struct rule_set *set, size_t number, const char *only);

struct detect_options {
    const char *only; /* "plugin/rule", "plugin" or "rule": all else is left out; NULL: all rules */
    const struct program *program; /* for what only some findings ask; NULL: nobody to ask */
};

/* Findings and their texts are in `arena`; `scratch` is free again afterwards. Rules whose matching hit a limit are
 * told as diagnostics. */
struct findings detect_run(struct rule_set *set, const struct snapshot *snapshot, const struct grouping *grouping,
                           const struct detect_options *options, struct arena *arena, struct arena *scratch,
                           struct diagnostics *diagnostics);

/* Texts of several lines, one a rule that matched at least in part, or every rule that `options->only` names. */
struct explanations {
    const char **entries;
    size_t count;
};

/* What of each rule matched and what failed, after detect_run. */
struct explanations detect_explain(struct rule_set *set, const struct snapshot *snapshot, const struct grouping *grouping,
                                   const struct detect_options *options, const struct findings *findings,
                                   struct arena *arena, struct arena *scratch, struct diagnostics *diagnostics);

#endif
