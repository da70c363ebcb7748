/* SPDX-License-Identifier: Apache-2.0 */
/* Goroutines that nobody can wake any more: what they wait for (channels, the semaphores behind package sync's locks
 * and wait groups, conditions) is referred to by nothing that a goroutine which can still run, a variable or C could
 * come to. What the collector does to find garbage is done with the memory at hand: from variables, registers, stacks
 * and records outside the heap along whatever looks like a pointer, object by object; a goroutine that waits counts
 * only when what it waits for has been come to. A word left over may keep one from being found; none is found wrongly,
 * as long as pointers are not hidden from Go's own collector. Runtime's own words (who waits in which queue, its lists
 * of goroutines and spans) are passed over. The idea is that of the runtime's goroutineleak profile (Go 1.26), which
 * asks this of a living program. */
#ifndef SG_GOLANG_STUCK_GOROUTINES_H
#define SG_GOLANG_STUCK_GOROUTINES_H

#include "golang/go_types.h"
#include "golang/heap_spans.h"

/* One that is stuck and knows what another one that is stuck waits for. */
struct go_stuck_link {
    uint64_t slot;       /* of the runtime's list, of the one that knows */
    uint64_t start, end; /* the object in which the other one's channel or lock is */
};

struct go_stuck {
    bool is_known;               /* all that had to be read could be */
    bool is_too_much;            /* it was not read, for it would take long */
    uint8_t *slots;              /* by slot of the runtime's list: 1 is stuck */
    uint64_t *ids;               /* of the goroutines, by slot; 0: none is there */
    struct go_stuck_link *links; /* by start, then slot; at most limit_go_links */
    size_t link_count;
    bool links_are_all; /* false: there are too many to look at each */
};

/* is_patient: however many goroutines there are, and for seconds. */
struct go_stuck go_stuck_find(const struct go_runtime *runtime, bool is_patient, struct arena *arena);

/* What lends things of one type, each of which has a pointer to it: a pool of connections. */
struct go_lender {
    uint64_t address;
    uint64_t existing; /* things of its that are no garbage */
    uint64_t held;     /* … of these, those that something leads to without the lender: who has one holds it */
};

struct go_lent_question {
    const struct go_struct *types; /* of the things */
    size_t type_count;
    struct text field; /* theirs, that leads to the lender */
    bool is_patient;   /* as of go_stuck_find */
    /* What looks like a thing may be none: whether a lender can be there. */
    bool (*is_lender)(void *context, uint64_t address);
    void *context;
};

/* At most `count_max`; returns how many, 0 also where the memory at hand does not tell. */
size_t go_lenders_find(const struct go_runtime *runtime, const struct go_lent_question *question, struct arena *arena,
                       struct go_lender *ret_lenders, size_t count_max);

#endif
