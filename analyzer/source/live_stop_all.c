/* SPDX-License-Identifier: Apache-2.0 */
#include "source/live_stop_all.h"

#include "base/limits.h"
#include "source/live_tracer.h"
#include "source/proc_files.h"

#include <errno.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Takes every thread of the task list that is not taken yet; returns how many were new. */
static size_t seize_new(struct live_tracer *tracer)
{
    struct live_stop *stop = tracer->stop;
    uint32_t *tids;
    size_t count, taken = 0;
    if (!proc_tasks(&stop->arena, stop->pid, &tids, &count))
        return 0;
    for (size_t i = 0; i < count; i++) {
        if (live_stop_find(stop, tids[i]) != NULL)
            continue;
        if (!live_tracer_seize(tracer, tids[i]))
            continue;
        live_stop_add(stop, tids[i]);
        taken++;
    }
    return taken;
}

static void interrupt_new(struct live_tracer *tracer)
{
    struct live_stop *stop = tracer->stop;
    for (size_t i = 0; i < stop->thread_count; i++) {
        struct live_thread *thread = &stop->threads[i];
        if (thread->interrupted)
            continue;
        thread->interrupted = true;
        if (ptrace(PTRACE_INTERRUPT, (pid_t)thread->tid, NULL, NULL) == 0)
            tracer->waiting++;
        else
            thread->outcome = LIVE_THREAD_GONE;
    }
}

static void detach_all(struct live_tracer *tracer)
{
    struct live_stop *stop = tracer->stop;
    for (size_t i = 0; i < stop->thread_count; i++) {
        struct live_thread *thread = &stop->threads[i];
        if (thread->outcome == LIVE_THREAD_STOPPED)
            ptrace(PTRACE_DETACH, (pid_t)thread->tid, NULL, (void *)(uintptr_t)thread->pending_signal);
        else if (thread->outcome == LIVE_THREAD_UNKNOWN)
            thread->outcome = LIVE_THREAD_NOT_STOPPED; /* let go by the kernel when this thread ends */
    }
}

static bool time_is_up(const struct live_stop *stop, uint64_t started)
{
    uint64_t limit = stop->stop_microseconds_max;
    if (live_tracer_is_let_go(stop))
        return true;
    return limit != 0 && live_tracer_now() - started > limit * 1000;
}

/* Waits for the interrupted threads, each by its id: waiting for any makes the kernel look through all of them. One that
 * sits in an uninterruptible call is given limit_live_wait_milliseconds after the last other one stopped. */
static void collect_stops(struct live_tracer *tracer, uint64_t started)
{
    struct live_stop *stop = tracer->stop;
    uint64_t last = live_tracer_now();
    while (tracer->waiting != 0) {
        size_t before = tracer->waiting;
        for (size_t i = 0; i < stop->thread_count; i++) {
            struct live_thread *thread = &stop->threads[i];
            siginfo_t report;
            if ((i & 63) == 0 && time_is_up(stop, started)) {
                stop->cut_short = true;
                return;
            }
            if (thread->outcome != LIVE_THREAD_UNKNOWN)
                continue;
            pid_t got = live_tracer_look((pid_t)thread->tid, &report);
            if (got > 0) {
                live_tracer_take(tracer, thread, &report);
            } else if (got < 0 && errno != EINTR) {
                tracer->waiting--;
                thread->outcome = LIVE_THREAD_GONE;
            }
        }
        if (tracer->waiting != before) {
            last = live_tracer_now();
            continue;
        }
        if (live_tracer_gives_up(stop, last))
            return;
        struct timespec pause = {0, 20000};
        nanosleep(&pause, NULL);
    }
}

static void stop_all(struct live_tracer *tracer, void *context)
{
    (void)context;
    struct live_stop *stop = tracer->stop;
    /* Those that begin later are taken when the others stand, and begin no more. */
    for (int round = 0; round < limit_live_rounds && !live_tracer_is_let_go(stop) && seize_new(tracer) != 0; round++)
        ;
    if (stop->thread_count == 0)
        return;
    if (!live_stop_reserve(stop)) {
        tracer->failed_errno = errno;
        return;
    }
    /* On a busy machine the target would stand while others have the processor. Not everybody may ask for that. Not for
     * rolling stops: the target runs beside them, and wants the processor too. */
    setpriority(PRIO_PROCESS, (id_t)gettid(), -20);
    uint64_t started = live_tracer_now();
    /* Threads may begin between the list and the stop: until a list shows no new one, all are not stopped. */
    do {
        interrupt_new(tracer);
        collect_stops(tracer, started);
    } while (!stop->cut_short && seize_new(tracer) != 0);
    if (stop->go != NULL)
        live_go_copy(stop->go,
                     stop->stop_microseconds_max == 0 ? 0 : started + stop->stop_microseconds_max * 1000,
                     stop->hold != NULL ? &stop->hold->is_let_go : NULL, &stop->arena);
    detach_all(tracer);
    stop->stop_microseconds = (live_tracer_now() - started) / 1000;
}

const struct error *live_stop_all_run(struct live_stop *stop, struct arena *arena)
{
    arena_init(&stop->arena, limit_arena_bytes, NULL);
    return live_tracer_run(stop, stop_all, NULL, arena);
}
