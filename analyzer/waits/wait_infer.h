/* SPDX-License-Identifier: Apache-2.0 */
/* Who may have what keeps no owner: the readers of a rwlock, which it counts and does not name, and the thread that
 * runs the routine of a once. A thread that has the thing's address in its stack, and waits for something else or runs,
 * may have it; of a once it must also stand below pthread_once. The guard of a function's static variable is had by a
 * thread that stands in that function past the guard. Only where as many threads do as the thing asks for are they
 * told, and then as inferred. */
#ifndef SG_WAITS_WAIT_INFER_H
#define SG_WAITS_WAIT_INFER_H

#include "waits/wait_context.h"

/* After all waits are known. */
void wait_infer_holders(struct wait_context *context);

#endif
