/* SPDX-License-Identifier: Apache-2.0 */
#include "source/live_rolling.h"

#include "base/limits.h"
#include "source/live_processors.h"
#include "source/live_read.h"
#include "source/live_tracer.h"
#include "source/proc_files.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <time.h>
#include <unistd.h>

/* Copies and lets go what has stopped. Asks for any thread: at most those that do not stop are held at a time. The
 * thread asked for in vain is waited for `limit` nanoseconds; 0: none is waited for. */
static void roll_collect(struct live_tracer *tracer, const struct live_thread *wanted, uint64_t limit)
{
    struct live_stop *stop = tracer->stop;
    uint64_t started = limit == 0 ? 0 : live_tracer_now();
    while (tracer->waiting != 0) {
        siginfo_t report;
        pid_t got = live_tracer_look(-1, &report);
        if (got < 0 && errno != EINTR)
            return;
        struct live_thread *thread = got > 0 ? live_stop_find(stop, (uint32_t)got) : NULL;
        if (thread != NULL) {
            live_tracer_take(tracer, thread, &report);
            if (live_tracer_is_stop(&report))
                ptrace(PTRACE_DETACH, got, NULL, (void *)(uintptr_t)thread->pending_signal);
            if (thread == wanted)
                return;
        } else if (got == 0) {
            if (limit == 0 || live_tracer_now() - started > limit)
                return;
            sched_yield();
        }
    }
}

static int compare_durations(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

/* A thread in an uninterruptible call gets this long before the next has its turn; it is copied when it does stop. */
enum { roll_wait_nanoseconds = 2000000 };

struct turn {
    uint32_t tid;
    int processor; /* where it ran last, -1 unknown */
};

static int compare_turns(const void *left, const void *right)
{
    const struct turn *a = left, *b = right;
    return a->processor != b->processor ? (a->processor > b->processor) - (a->processor < b->processor)
                                        : (a->tid > b->tid) - (a->tid < b->tid);
}

/* The threads that had no turn yet, those of one processor after another. */
static struct turn *list_turns(struct live_stop *stop, size_t *ret_count)
{
    struct turn *turns = arena_array(&stop->arena, struct turn, stop->thread_count + 1);
    size_t count = 0;
    for (size_t i = 0; i < stop->thread_count; i++) {
        char path[64], buffer[1024];
        struct text line;
        struct proc_stat stat;
        if (stop->threads[i].interrupted || stop->threads[i].outcome != LIVE_THREAD_UNKNOWN)
            continue;
        turns[count] = (struct turn){.tid = stop->threads[i].tid, .processor = -1};
        snprintf(path, sizeof path, "/proc/%" PRIu32 "/task/%" PRIu32 "/stat", stop->pid, turns[count].tid);
        if (proc_read_short(path, buffer, sizeof buffer, &line) && proc_stat_parse(line, &stat))
            turns[count].processor = stat.processor;
        count++;
    }
    qsort(turns, count, sizeof *turns, compare_turns);
    *ret_count = count;
    return turns;
}

/* Reads what the stop will read, so that the stop finds page tables, stack and buffer in the cache: half of the time of
 * the copy. A thread that runs, or moves on, only loses that. */
static void warm_stack(const struct live_stop *stop, uint32_t tid)
{
    enum { warm_bytes = 2 * 4096 };
    char path[96], buffer[256];
    struct text line;
    struct system_call call;
    uint64_t sp, pc;
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/task/%" PRIu32 "/syscall", stop->pid, tid);
    if (stop->stacks_bytes - stop->stacks_used < warm_bytes || !proc_read_short(path, buffer, sizeof buffer, &line) ||
        !proc_call_parse(line.data, &call, &sp, &pc))
        return;
    (void)!pread(stop->memory_fd, stop->stacks + stop->stacks_used, warm_bytes, (off_t)(sp & -(uint64_t)4096));
}

/* A stop takes a thread out of its call, to sleep in the tracer's stop and then in its call again. How often it is given
 * a processor meanwhile is up to who else wants one. */
enum { sleeps_of_a_stop = 2 };

static void stop_one(struct live_tracer *tracer, uint32_t tid)
{
    struct live_stop *stop = tracer->stop;
    uint64_t sleeps;
    bool sleeps_known = proc_sleeps(stop->pid, tid, &sleeps);
    warm_stack(stop, tid);
    if (!live_tracer_seize(tracer, tid))
        return;
    struct live_thread *thread = live_stop_find(stop, tid);
    thread->runs_known = sleeps_known;
    thread->sleeps = sleeps_known ? sleeps : 0;
    thread->sleeps_allowed = sleeps_of_a_stop;
    thread->interrupted = true;
    uint64_t started = live_tracer_now();
    if (ptrace(PTRACE_INTERRUPT, (pid_t)tid, NULL, NULL) != 0) {
        thread->outcome = LIVE_THREAD_GONE;
        return;
    }
    tracer->waiting++;
    roll_collect(tracer, thread, roll_wait_nanoseconds);
    uint64_t duration = live_tracer_now() - started;
    if (thread->outcome != LIVE_THREAD_STOPPED)
        return;
    stop->durations = arena_grow(&stop->arena, stop->durations, stop->duration_count, &stop->duration_capacity,
                                 sizeof *stop->durations);
    stop->durations[stop->duration_count++] = duration < UINT32_MAX ? (uint32_t)duration : UINT32_MAX;
}

/* Those whose outcome is unknown and that had no turn yet. */
static void give_turns(struct live_tracer *tracer, struct live_processors *processors)
{
    size_t count;
    const struct turn *turns = list_turns(tracer->stop, &count);
    if (count != 0 && !processors->is_open)
        live_processors_open(processors);
    for (size_t i = 0; i < count && !live_tracer_is_let_go(tracer->stop); i++) {
        live_processors_move(processors, turns[i].processor);
        stop_one(tracer, turns[i].tid);
    }
}

/* Waits for those that had their turn and have not stopped yet. */
static void await_late(struct live_tracer *tracer)
{
    struct live_stop *stop = tracer->stop;
    uint64_t started = live_tracer_now();
    while (tracer->waiting != 0 && !live_tracer_is_let_go(stop) && !live_tracer_gives_up(stop, started)) {
        struct timespec pause = {0, 50000};
        nanosleep(&pause, NULL);
        roll_collect(tracer, NULL, 0);
    }
}

/* One that waits needs no stop: its registers are those of its call. What is not known of the rest of them the caller
 * finds out. Where the kernel counts no turns a thread may have run in between unseen. */
static void read_waiting(struct live_stop *stop)
{
    for (size_t i = 0; i < stop->thread_count && !live_tracer_is_let_go(stop); i++) {
        struct live_thread *thread = &stop->threads[i];
        int ignored = 0;
        if (thread->outcome != LIVE_THREAD_UNKNOWN || thread->interrupted)
            continue;
        live_read_thread(stop, thread, 1, &ignored);
        if (thread->outcome != LIVE_THREAD_READ || !thread->runs_known)
            thread->outcome = LIVE_THREAD_UNKNOWN;
    }
}

static void roll(struct live_tracer *tracer, void *context)
{
    struct live_stop *stop = tracer->stop;
    size_t done = 0;
    for (int round = 0;; round++) {
        uint32_t *tids;
        size_t count;
        if (!proc_tasks(&stop->arena, stop->pid, &tids, &count))
            break;
        for (size_t i = 0; i < count; i++)
            if (live_stop_find(stop, tids[i]) == NULL)
                live_stop_add(stop, tids[i]);
        if (stop->thread_count == done)
            break;
        if (stop->stacks == NULL && !live_stop_reserve(stop)) {
            tracer->failed_errno = errno;
            break;
        }
        stop->rounds_exhausted = round == limit_live_rounds;
        if (stop->rounds_exhausted || live_tracer_is_let_go(stop))
            break;
        done = stop->thread_count;
        if (!stop->needs_registers)
            read_waiting(stop);
        give_turns(tracer, context);
    }
    await_late(tracer);
    bool is_reached = false;
    for (size_t i = 0; i < stop->thread_count; i++) {
        struct live_thread *thread = &stop->threads[i];
        if (thread->outcome == LIVE_THREAD_UNKNOWN)
            thread->outcome = thread->interrupted ? LIVE_THREAD_NOT_STOPPED : LIVE_THREAD_GONE;
        is_reached |= thread->interrupted || thread->outcome == LIVE_THREAD_READ;
    }
    if (!is_reached)
        stop->thread_count = 0; /* none could be taken: the caller says why */
}

static void roll_rest(struct live_tracer *tracer, void *context)
{
    struct live_stop *stop = tracer->stop;
    struct live_thread *before = arena_array(&stop->arena, struct live_thread, stop->thread_count + 1);
    size_t refused_before = stop->refused_count;
    memcpy(before, stop->threads, stop->thread_count * sizeof *before);
    for (size_t i = 0; i < stop->thread_count; i++)
        if (before[i].to_be_stopped)
            stop->threads[i].outcome = LIVE_THREAD_UNKNOWN;
    give_turns(tracer, context);
    await_late(tracer);
    for (size_t i = 0; i < stop->thread_count; i++)
        if (before[i].to_be_stopped && stop->threads[i].outcome != LIVE_THREAD_STOPPED)
            stop->threads[i] = before[i];
    stop->refused_count = refused_before; /* who traces those keeps them from a stop, not from being shown as they were read */
}

static const struct error *run(struct live_stop *stop, void (*work)(struct live_tracer *tracer, void *context),
                               struct arena *arena)
{
    struct live_processors processors = {0};
    const struct error *error = live_tracer_run(stop, work, &processors, arena);
    live_processors_close(&processors);
    if (stop->duration_count != 0)
        qsort(stop->durations, stop->duration_count, sizeof *stop->durations, compare_durations);
    return error;
}

const struct error *live_rolling_run(struct live_stop *stop, struct arena *arena)
{
    arena_init(&stop->arena, limit_arena_bytes, NULL);
    return run(stop, roll, arena);
}

const struct error *live_rolling_stop(struct live_stop *stop, struct arena *arena)
{
    return run(stop, roll_rest, arena);
}
