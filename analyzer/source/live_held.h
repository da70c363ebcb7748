/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that a debugger holds still: it says their registers (format/register_text.h), their memory is read from
 * /proc/PID/mem as after a stop of ours. The kernel lets one tracer have a thread, so that a second attach is not to be
 * had. */
#ifndef SG_SOURCE_LIVE_HELD_H
#define SG_SOURCE_LIVE_HELD_H

#include "source/live_stop.h"

/* Fills the results of live_stop.h, which live_stop_release releases. A thread whose registers were not told is read as
 * live_read.c does; stop->kind becomes STOP_KIND_NONE then: it may run. `registers_name` is for messages. */
const struct error *live_held_run(struct live_stop *stop, struct text registers, const char *registers_name,
                                  struct arena *arena);

#endif
