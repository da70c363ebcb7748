/* SPDX-License-Identifier: Apache-2.0 */
/* Stops the threads of a process one after another, each for as long as it takes to copy what live_stop.h says. */
#ifndef SG_SOURCE_LIVE_ROLLING_H
#define SG_SOURCE_LIVE_ROLLING_H

#include "base/error.h"
#include "source/live_stop.h"

/* The error says whom to ask when it is not permitted. Results are released by live_stop_release. */
const struct error *live_rolling_run(struct live_stop *stop, struct arena *arena);

#endif
