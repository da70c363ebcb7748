/* SPDX-License-Identifier: Apache-2.0 */
/* Takes the threads of a process one after another: those that wait are read where they stand, without a stop
 * (live_read.h), unless stop->needs_registers; the others are stopped, each for as long as it takes to copy what
 * live_stop.h says. */
#ifndef SG_SOURCE_LIVE_ROLLING_H
#define SG_SOURCE_LIVE_ROLLING_H

#include "base/error.h"
#include "source/live_stop.h"

/* Threads are LIVE_THREAD_READ, with the registers that a call tells, or as after a stop. The error says whom to ask
 * when it is not permitted. Results are released by live_stop_release. */
const struct error *live_rolling_run(struct live_stop *stop, struct arena *arena);

/* After live_rolling_run: stops those threads that are marked to_be_stopped too. One that does not stop, or has ended,
 * stays as it was read. */
const struct error *live_rolling_stop(struct live_stop *stop, struct arena *arena);

#endif
