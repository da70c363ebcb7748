/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions (PCRE2): compiled by its JIT, with limits on what one match may cost, over bytes that need not be
 * valid UTF-8. The only file that knows PCRE2. */
#ifndef SG_BASE_PATTERN_H
#define SG_BASE_PATTERN_H

#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>

struct pattern;

/* `what` names it in messages ("--filter"). The error tells the column (from 1) and PCRE2's reason. */
const struct error *pattern_compile(struct arena *arena, const char *what, const char *expression,
                                    struct pattern **ret_pattern);

/* What matching needs beside the pattern; may be shared by many that one thread uses. */
struct pattern_matcher;
struct pattern_matcher *pattern_matcher_new(struct arena *arena);
void pattern_matcher_release(struct pattern_matcher *matcher); /* NULL is allowed */

/* Why an expression does not compile. */
struct pattern_fault {
    size_t offset; /* bytes into the expression */
    const char *reason;
};

/* As above, for those that stand in a file; `expression` is NUL-terminated. */
bool pattern_compile_shared(struct arena *arena, struct pattern_matcher *matcher, struct text expression,
                            struct pattern **ret_pattern, struct pattern_fault *ret_fault);

/* Unanchored. A match that hits a limit counts as none, and pattern_limit_hit tells. */
bool pattern_matches(struct pattern *pattern, struct text text);
bool pattern_limit_hit(const struct pattern *pattern);
/* How many matches did. */
size_t pattern_limit_hits(const struct pattern *pattern);

/* Named groups, "(?<name>…)", by number from 0. */
size_t pattern_name_count(const struct pattern *pattern);
const char *pattern_name(const struct pattern *pattern, size_t number);
/* As pattern_matches; `ret_values` has one entry a name, runs of `text`, with data NULL where the group took no part. */
bool pattern_captures(struct pattern *pattern, struct text text, struct text *ret_values);

/* Frees what PCRE2 mapped; the rest lives in the arena. NULL is allowed. */
void pattern_release(struct pattern *pattern);

#endif
