/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for what, as far as a text dump tells: wait reasons, the functions at a stack's leaf and their arguments in
 * Go's dumps; "# waits:" lines in stackgroup's own. Who holds a thing is told by the latter alone; guessing it from
 * stacks is not done here. */
#ifndef SG_WAITS_WAIT_DUMP_H
#define SG_WAITS_WAIT_DUMP_H

#include "base/diagnostics.h"
#include "model/snapshot.h"

/* Fills resources, waits and holds, and the members' ranges, from snapshot->told and the stacks. */
void wait_dump_read(struct snapshot *snapshot, struct arena *scratch, struct diagnostics *diagnostics);

#endif
