/* SPDX-License-Identifier: Apache-2.0 */
/* Who the readers of a rwlock may be: the lock counts them and does not name them. A thread that has the lock's address
 * in its stack, and waits for something else or runs, may have taken it. Only where as many threads have it as the lock
 * counts readers are they told, and then as inferred. */
#ifndef SG_WAITS_WAIT_READERS_H
#define SG_WAITS_WAIT_READERS_H

#include "waits/wait_context.h"

/* After all waits are known. */
void wait_readers_infer(struct wait_context *context);

#endif
