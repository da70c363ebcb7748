/* SPDX-License-Identifier: Apache-2.0 */
/* Who likely holds a lock of package sync, which keeps no owner: a goroutine that has still to make a deferred call of
 * its Unlock, or that stands past the only Lock of a function that gives nothing back before. Inferred, never read:
 * told only where the lock's own word says that somebody has it, and for a lock that one can hold only where there is
 * one. */
#ifndef SG_WAITS_WAIT_GO_HOLDERS_H
#define SG_WAITS_WAIT_GO_HOLDERS_H

#include "golang/go_runtime.h"
#include "waits/wait_build.h"

/* What is kept of a goroutine's record until its stack has names. */
struct go_park {
    uint64_t address : 62;     /* 0 none */
    uint64_t is_semaphore : 1; /* of the semaphore that it is parked on; else of its sudog */
    uint64_t has_defers : 1;
};

/* For the locks among the resources. Of the members, whose parks these are, those are looked at that have defers or
 * whose stack has a function that locks. */
void wait_go_infer_holders(const struct go_runtime *runtime, const struct go_park *parks, struct snapshot *snapshot,
                           struct wait_build *build, struct arena *scratch);

#endif
