/* SPDX-License-Identifier: Apache-2.0 */
/* Merges equal stacks into groups, counts, sorts and filters them. Equality is by program counter, by source line
 * (function + offset where there is no line), by function; or only by what they began with. */
#ifndef SG_GROUP_GROUP_H
#define SG_GROUP_GROUP_H

#include "base/diagnostics.h"
#include "base/pattern.h"
#include "model/grouping.h"

struct group_options {
    enum group_by by;
    uint64_t top;                      /* shown groups at most, 0: all */
    uint64_t count_min;                /* smaller groups are hidden */
    struct pattern *filter, *exclude;  /* over function names, "file:line" and module paths of any frame; NULL: none */
};

/* The group of the signalled thread comes first and is never hidden; then by count, falling, then by the text of its
 * addresses, rising. Results live in `arena`; `scratch` is free again afterwards. */
struct grouping group_snapshot(const struct snapshot *snapshot, const struct group_options *options,
                               struct arena *arena, struct arena *scratch);

#endif
