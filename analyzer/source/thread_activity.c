/* SPDX-License-Identifier: Apache-2.0 */
#include "source/thread_activity.h"

#include "source/proc_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int compare_tid(const void *left, const void *right)
{
    const struct thread_activity *a = left, *b = right;
    return a->tid < b->tid ? -1 : a->tid > b->tid;
}

static bool read_file(uint32_t pid, uint32_t tid, const char *name, char *buffer, size_t size_bytes,
                      struct text *ret_content)
{
    char path[96];
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/task/%" PRIu32 "/%s", pid, tid, name);
    return proc_read_short(path, buffer, size_bytes, ret_content);
}

bool thread_activity_read(uint32_t pid, struct arena *arena, struct thread_activity **ret_threads, size_t *ret_count)
{
    uint32_t *tids;
    size_t tid_count, count = 0;
    if (!proc_tasks(arena, pid, &tids, &tid_count))
        return false;
    struct thread_activity *threads = arena_array(arena, struct thread_activity, tid_count + 1);
    for (size_t i = 0; i < tid_count; i++) {
        char buffer[4096];
        struct text content;
        struct proc_stat stat;
        if (!read_file(pid, tids[i], "stat", buffer, sizeof buffer, &content) || !proc_stat_parse(content, &stat))
            continue;
        struct thread_activity *thread = &threads[count++];
        *thread = (struct thread_activity){
            .tid = tids[i],
            .start_ticks = stat.start_ticks,
            .cpu_nanoseconds = stat.cpu_microseconds * 1000,
        };
        /* stat counts in ticks of 10 ms, too coarse for a thread that sleeps most of the time; schedstat, where the
         * kernel has it, in nanoseconds. */
        if (read_file(pid, tids[i], "schedstat", buffer, sizeof buffer, &content))
            thread->cpu_nanoseconds = strtoull(content.data, NULL, 10);
        proc_sleeps(pid, tids[i], &thread->switches);
    }
    if (count != 0)
        qsort(threads, count, sizeof *threads, compare_tid);
    *ret_threads = threads;
    *ret_count = count;
    return count != 0;
}

const struct thread_activity *thread_activity_find(const struct thread_activity *threads, size_t count, uint32_t tid)
{
    return count == 0 ? NULL
                      : bsearch(&(struct thread_activity){.tid = tid}, threads, count, sizeof *threads, compare_tid);
}
