/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime's processors (runtime.p), as far as they tell when the program last did something. */
#ifndef SG_GOLANG_PROCESSORS_H
#define SG_GOLANG_PROCESSORS_H

#include "golang/go_runtime.h"

/* The latest instant at which the runtime's monitor saw a processor take up other work, in nanoseconds of the target's
 * monotonic clock: the program was alive then. 0: not found. A core does not tell when it was written; this is the closest
 * that its memory comes to it. */
uint64_t go_processors_latest(const struct go_runtime *runtime);

/* Whether it can be one of a monotonic clock: not 0, and under a century. */
bool go_is_instant(uint64_t nanoseconds);

#endif
