/* SPDX-License-Identifier: Apache-2.0 */
/* Who may hold a lock of which nothing says by whom, in a dump that has stacks and no memory: a member that stands in a
 * function in which others wait for the lock, further on than their call of Lock. Only when there is exactly one such
 * member it is taken for the holder, and never for more than inferred: the function may have let go of the lock before.
 *
 *   waiter: Lock ◄─ f+0x5c ◄─ …      candidate: exec ◄─ f+0x1ba ◄─ …
 *
 * Where the place locks several things, by the addresses of this dump (a lock in each of many objects), nobody is
 * looked for: each of those past it may hold another one.
 *
 * Who stands there in a call of Lock itself is a poor candidate: whether it still has the first lock when it takes the
 * second, stacks do not tell. It counts only where there is no other, and only for a circle that its hold closes. */
#ifndef SG_DETECT_LIKELY_HOLDER_H
#define SG_DETECT_LIKELY_HOLDER_H

#include "detect/detector.h"

struct lock_guess {
    bool is_asked;        /* a lock whose holder is unknown and whose waiters' places are known */
    bool is_shared_place; /* other locks are taken in the same place */
    uint64_t candidates;  /* members past the place, those that one stands for counted */
    uint32_t member;      /* the only one; index_none: none, or several */
    uint32_t function;    /* string: in which the waiters call Lock, and the only candidate stands; of several the first
                             by name */
    bool has_more_functions;
    uint64_t poor_candidates;
    uint32_t poor_member; /* as member */
};

struct lock_guesses {
    struct lock_guess *entries; /* one a resource up to the last lock; NULL: this snapshot is none to guess from */
    struct hold *holds;         /* by those of which there is only one */
    size_t hold_count;
    struct hold *poor_holds;
    size_t poor_hold_count;
};

/* In the detection's scratch memory. */
struct lock_guesses lock_guesses_make(struct detection *detection);

#endif
