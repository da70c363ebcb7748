/* SPDX-License-Identifier: Apache-2.0 */
/* What must stand in a text for a regular expression to match it, so that most texts need not be tried: of
 * '^(__GI_)?(pthread_mutex_lock|lll_lock_wait)$' one of the two long names. Understands the part of PCRE2's syntax that
 * names are written in; of anything else it says that it does not know. */
#ifndef SG_BASE_PATTERN_LITERALS_H
#define SG_BASE_PATTERN_LITERALS_H

#include "base/text.h"

/* Every text that the expression matches has at least one of the `ret_count` literals in it, each of 3 bytes or more.
 * 0: nothing is known. The expression compiles. */
const struct text *pattern_literals(struct text expression, struct arena *arena, size_t *ret_count);

#endif
