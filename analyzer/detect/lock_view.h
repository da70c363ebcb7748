/* SPDX-License-Identifier: Apache-2.0 */
/* What the detectors of locks share in one detection: the graph, made when the first rule asks; what rules have already
 * spoken about; and the words for it. */
#ifndef SG_DETECT_LOCK_VIEW_H
#define SG_DETECT_LOCK_VIEW_H

#include "detect/likely_holder.h"
#include "detect/wait_graph.h"

struct lock_view {
    struct wait_graph graph;
    struct lock_guesses guesses;
    bool *is_told; /* per component: a rule before has a finding of it */
};

struct lock_view *lock_view_get(struct detection *detection);

enum learnt learnt_weaker(enum learnt left, enum learnt right);
enum confidence confidence_weaker(enum confidence left, enum confidence right);
enum confidence confidence_from_learnt(enum learnt learnt);
/* Whether the members were all read at one instant, so that facts about several of them hold together. */
bool snapshot_is_consistent(const struct snapshot *snapshot);
/* "read from memory", "inferred from stacks" … */
const char *learnt_phrase(enum learnt learnt);

/* "1 thread", "1,204 goroutines". */
const char *lock_count_text(struct detection *detection, uint64_t count);
/* "to write rwlock 0x40 (table)", "for thread 12 to end", "for mutex 0x40": what comes after "waits". */
const char *lock_wait_text(struct detection *detection, const struct wait *wait);
/* The function that the member called the lock from: string, 0 unknown. */
uint32_t lock_call_function(struct detection *detection, uint32_t member);
/* What a holder does: what it called from the function in which others wait for its lock, "write_log called by
 * commit"; when that function is not on its stack the place where it stands, "fsync at file.c:3"; "" unknown. */
const char *lock_holder_call(struct detection *detection, uint32_t member, uint32_t lock_function);
/* … and the place itself, where the two differ: "fsync at file.c:3, in write_log called by commit". */
const char *lock_holder_place(struct detection *detection, uint32_t member, uint32_t lock_function);
/* Adds the edge with the waiter's call site filled in. */
void lock_add_edge(struct detection *detection, struct finding *finding, const struct wait *wait, uint32_t holder,
                   enum learnt learnt);

/* Brings the finding's groups into an order that does not hang on that of the members: holders first, then those
 * with most members. */
void lock_sort_groups(struct finding *finding);

/* Whether so many satisfy the rule's at-least (or, where it has none, this) and share. */
bool lock_rule_reached(struct detection *detection, const struct rule *rule, uint64_t members, uint64_t otherwise);

#endif
