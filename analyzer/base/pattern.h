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

/* Unanchored. A match that hits a limit counts as none, and pattern_limit_hit tells. */
bool pattern_matches(struct pattern *pattern, struct text text);
bool pattern_limit_hit(const struct pattern *pattern);

/* Frees what the JIT mapped; the rest lives in the arena. NULL is allowed. */
void pattern_release(struct pattern *pattern);

#endif
