/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the threads of a process without stopping them, by /proc alone: of a thread that waits, its system call, stack
 * pointer, pc (proc_pid_syscall(5)) and stack. The other registers stay unknown. The target notices nothing: no call of
 * it is interrupted. */
#ifndef SG_SOURCE_LIVE_READ_H
#define SG_SOURCE_LIVE_READ_H

#include "base/error.h"
#include "source/live_stop.h"

/* Fills the results of live_stop.h, which live_stop_release releases: threads are LIVE_THREAD_READ, _MOVING or _GONE.
 * The errors are those of live_stop_all_run. */
const struct error *live_read_run(struct live_stop *stop, struct arena *arena);

/* One thread, whose outcome is LIVE_THREAD_UNKNOWN; one that moves is looked at `tries` times. *ret_errno is set when it
 * is not permitted, unless it is set. */
void live_read_thread(struct live_stop *stop, struct live_thread *thread, int tries, int *ret_errno);

/* A second look at threads that were stopped or read one after another: which have stood still since they were read,
 * until all had been read. The stacks of those are of one instant after all, and the futex words are copied anew at that
 * instant: who waits for whom among them is then as true as after a stop of all. */
void live_read_again(struct live_stop *stop);

#endif
