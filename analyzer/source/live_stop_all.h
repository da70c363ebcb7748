/* SPDX-License-Identifier: Apache-2.0 */
/* Stops all threads of a process at one instant, for as long as it takes to copy what live_stop.h says and the
 * goroutines of a Go program, and lets them run again. */
#ifndef SG_SOURCE_LIVE_STOP_ALL_H
#define SG_SOURCE_LIVE_STOP_ALL_H

#include "base/error.h"
#include "source/live_stop.h"

/* The error says whom to ask when it is not permitted. Results are released by live_stop_release. */
const struct error *live_stop_all_run(struct live_stop *stop, struct arena *arena);

#endif
