/* SPDX-License-Identifier: Apache-2.0 */
#include "source/live_processors.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static void *watch(void *context)
{
    struct live_watcher *watcher = context;
    /* Not SCHED_IDLE: the kernel takes a processor that runs nothing else for a free one, and wakes the stopped thread
     * there, by an interrupt that costs more than the stop. */
    if (setpriority(PRIO_PROCESS, (id_t)gettid(), 19) != 0)
        return NULL;
    while (!atomic_load_explicit(&watcher->is_over, memory_order_relaxed))
        atomic_store_explicit(&watcher->processor, sched_getcpu(), memory_order_relaxed);
    return NULL;
}

void live_processors_open(struct live_processors *processors)
{
    *processors = (struct live_processors){.is_open = true, .current = -1};
    /* With a real-time policy this thread and those that inherit it would keep the target from its processor. */
    int policy = sched_getscheduler(0);
    if ((policy == SCHED_FIFO || policy == SCHED_RR) &&
        sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){0}) != 0)
        return;
    if (sched_getaffinity(0, sizeof processors->allowed, &processors->allowed) != 0)
        CPU_ZERO(&processors->allowed);
    int others = CPU_COUNT(&processors->allowed) - 1;
    if (others > limit_live_awake_processors)
        return;
    for (; processors->watcher_count < others; processors->watcher_count++) {
        struct live_watcher *watcher = &processors->watchers[processors->watcher_count];
        atomic_init(&watcher->processor, -1);
        if (pthread_create(&watcher->thread, NULL, watch, watcher) != 0)
            return;
    }
}

/* A processor that is busy otherwise needs no watcher, and gives it no time. */
enum { arrival_nanoseconds = 500000 };

static void await_arrival(const struct live_watcher *watcher, int processor)
{
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        if (atomic_load_explicit(&watcher->processor, memory_order_relaxed) == processor)
            return;
        sched_yield();
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - begin.tv_sec) * 1000000000 + (now.tv_nsec - begin.tv_nsec) < arrival_nanoseconds);
}

void live_processors_move(struct live_processors *processors, int processor)
{
    cpu_set_t one;
    if (processor == processors->current || processor < 0 || processor >= CPU_SETSIZE ||
        !CPU_ISSET(processor, &processors->allowed))
        return;
    int others[limit_live_awake_processors], other = 0;
    for (int i = 0; i < processors->watcher_count; i++, other++) {
        while (other < CPU_SETSIZE && (other == processor || !CPU_ISSET(other, &processors->allowed)))
            other++;
        CPU_ZERO(&one);
        CPU_SET(other, &one);
        pthread_setaffinity_np(processors->watchers[i].thread, sizeof one, &one);
        others[i] = other;
    }
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    sched_setaffinity(0, sizeof one, &one);
    processors->current = processor;
    for (int i = 0; i < processors->watcher_count; i++)
        await_arrival(&processors->watchers[i], others[i]);
}

void live_processors_close(struct live_processors *processors)
{
    for (int i = 0; i < processors->watcher_count; i++)
        atomic_store(&processors->watchers[i].is_over, true);
    for (int i = 0; i < processors->watcher_count; i++)
        pthread_join(processors->watchers[i].thread, NULL);
    processors->watcher_count = 0;
}
