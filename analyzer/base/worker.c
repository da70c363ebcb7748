/* SPDX-License-Identifier: Apache-2.0 */
#include "base/worker.h"

#include <sched.h>
#include <signal.h>
#include <stddef.h>

static void *run(void *context)
{
    struct worker *worker = context;
    worker->work(worker, worker->context);
    return NULL;
}

static bool has_processor(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 1;
}

bool worker_start(struct worker *worker, void (*work)(struct worker *worker, void *context), void *context)
{
    static const int own_faults[] = {SIGBUS, SIGFPE, SIGILL, SIGSEGV};
    sigset_t others, before;
    if (worker->is_running || !has_processor())
        return false;
    worker->work = work;
    worker->context = context;
    atomic_store(&worker->is_unwanted, false);
    /* What handlers do may be the caller's thread's alone to do (ptrace). A mapped file that was cut is told by whom it
     * meets. */
    sigfillset(&others);
    for (size_t i = 0; i < sizeof own_faults / sizeof own_faults[0]; i++)
        sigdelset(&others, own_faults[i]);
    if (pthread_sigmask(SIG_SETMASK, &others, &before) != 0)
        return false;
    worker->is_running = pthread_create(&worker->thread, NULL, run, worker) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return worker->is_running;
}

void worker_wait(struct worker *worker)
{
    if (worker->is_running)
        pthread_join(worker->thread, NULL);
    worker->is_running = false;
}

void worker_end(struct worker *worker)
{
    atomic_store(&worker->is_unwanted, true);
    worker_wait(worker);
}
