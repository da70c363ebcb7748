/* SPDX-License-Identifier: Apache-2.0 */
/* A second thread for a part of the work: it reads what nobody changes meanwhile, writes only what it was given for that, and
 * neither allocates nor opens anything. One thing at a time; whoever starts it ends it, also on the way out of an error. */
#ifndef SG_BASE_WORKER_H
#define SG_BASE_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Begins as zeros. */
struct worker {
    pthread_t thread;
    bool is_running;
    atomic_bool is_unwanted;
    void (*work)(struct worker *worker, void *context);
    void *context;
};

/* False where there is no processor for it, or no thread to be had: nothing was begun. Signals stay with the caller's
 * threads, but for faults of its own. */
bool worker_start(struct worker *worker, void (*work)(struct worker *worker, void *context), void *context);

/* Asked by the work, every millisecond or so: nobody needs the rest of it. */
static inline bool worker_is_unwanted(const struct worker *worker)
{
    return atomic_load_explicit(&worker->is_unwanted, memory_order_relaxed);
}

/* Waits until the work is done. Nothing when none runs. */
void worker_wait(struct worker *worker);

/* The same for work that may stop where it is. */
void worker_end(struct worker *worker);

#endif
