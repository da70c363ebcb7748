/* SPDX-License-Identifier: Apache-2.0 */
/* Traces a process (ptrace(2): SEIZE, INTERRUPT, DETACH; no signal is sent) in a thread of its own, so that whatever
 * happens the kernel lets the target go when that thread ends. What a stop does to the target is told in
 * native-waits.md: epoll_wait, sigtimedwait, sigwaitinfo, semop and recv with a timeout return EINTR; all else goes on
 * unseen. */
#ifndef SG_SOURCE_LIVE_TRACER_H
#define SG_SOURCE_LIVE_TRACER_H

#include "base/error.h"
#include "source/live_stop.h"

#include <signal.h>
#include <sys/types.h>

/* What the tracing thread works on; it reports by errno. */
struct live_tracer {
    struct live_stop *stop;
    int failed_errno; /* of the first thread that could not be taken, or of the buffer; 0 none */
    size_t waiting;   /* threads interrupted and not yet stopped */
};

/* Runs the work in the tracing thread. The error says whom to ask when it is not permitted; it is one too when the
 * table of threads is empty afterwards. */
const struct error *live_tracer_run(struct live_stop *stop, void (*work)(struct live_tracer *tracer, void *context),
                                    void *context, struct arena *arena);

/* False when it has ended or is refused, which is noted with the results. */
bool live_tracer_seize(struct live_tracer *tracer, uint32_t tid);

/* As waitpid(tid, ..., __WALL | WNOHANG) of this thread's own tracees, but a stop stays to be waited for: the kernel
 * forgets the signal of a stop that was waited for (kernel/exit.c, wait_task_stopped), and were we killed between that
 * and the detach the target would never get it. `tid` -1: any of them. */
pid_t live_tracer_look(pid_t tid, siginfo_t *ret_report);
bool live_tracer_is_stop(const siginfo_t *report);
/* Takes such a report: the thread has stopped, and registers and memory are copied, or it ended. */
void live_tracer_take(struct live_tracer *tracer, struct live_thread *thread, const siginfo_t *report);

/* By live_hold. */
bool live_tracer_is_let_go(const struct live_stop *stop);
/* Whether waiting on is of no use for what has not stopped: `since` is when the last of the others did, or the wait
 * began. A thread that sits in no uninterruptible call merely got no processor yet, and is waited for longer. */
bool live_tracer_gives_up(const struct live_stop *stop, uint64_t since);

uint64_t live_tracer_now(void); /* nanoseconds of CLOCK_MONOTONIC */

#endif
