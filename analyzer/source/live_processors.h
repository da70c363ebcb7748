/* SPDX-License-Identifier: Apache-2.0 */
/* Places the thread that stops others one by one on the processor where each of them ran last, and keeps the other
 * processors from going to sleep meanwhile. A thread that is interrupted is woken where a processor is idle; one that
 * sleeps takes 10 to 20 us to get up in a virtual machine, more than all the rest of a stop. Nothing of the target is
 * changed: what keeps processors awake gives way to nearly everything (nice 19, a 70th of a usual share). */
#ifndef SG_SOURCE_LIVE_PROCESSORS_H
#define SG_SOURCE_LIVE_PROCESSORS_H

#include "base/limits.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Keeps one processor awake. */
struct live_watcher {
    pthread_t thread;
    atomic_int processor; /* that it was last seen on, -1 not yet */
    atomic_bool is_over;
};

struct live_processors {
    cpu_set_t allowed; /* that the calling thread may use */
    bool is_open;
    int current;       /* where it was moved to, -1 not yet */
    struct live_watcher watchers[limit_live_awake_processors];
    int watcher_count;
};

/* On a machine of more than limit_live_awake_processors others none is kept awake. */
void live_processors_open(struct live_processors *processors);
/* Moves the calling thread there; without effect where it may not run. Its scheduler may move it on again. */
void live_processors_move(struct live_processors *processors, int processor);
/* May be called again. */
void live_processors_close(struct live_processors *processors);

#endif
