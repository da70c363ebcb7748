/* SPDX-License-Identifier: Apache-2.0 */
/* Who likely holds a lock of package sync, which keeps no owner: a goroutine that has still to make a deferred call of
 * its Unlock, or that stands past the only Lock of a function that gives nothing back before. Inferred, never read:
 * told only where the lock's own word says that somebody has it, and for a lock that one can hold only where there is
 * one. */
#ifndef SG_WAITS_WAIT_GO_HOLDERS_H
#define SG_WAITS_WAIT_GO_HOLDERS_H

#include "golang/go_runtime.h"
#include "waits/wait_build.h"

/* For the locks among the resources; the members' stacks are looked through once when there are any. */
void wait_go_infer_holders(const struct go_runtime *runtime, struct snapshot *snapshot, struct wait_build *build,
                           struct arena *scratch);

#endif
