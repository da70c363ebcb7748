/* SPDX-License-Identifier: Apache-2.0 */
#include "source/live_read.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "source/proc_files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Where a thread is and how often it was given a processor. While neither changes it has not run, so that its stack has
 * not changed either: a loop may come back to the same call with the same arguments, but not without running. */
struct look {
    char call[256];     /* /proc/PID/task/TID/syscall */
    char schedule[128]; /* schedstat; "" where the kernel has none (CONFIG_SCHED_INFO) */
};

static bool read_again(int fd, char *buffer, size_t size_bytes)
{
    memset(buffer, 0, size_bytes);
    return fd >= 0 && pread(fd, buffer, size_bytes - 1, 0) > 0;
}

static bool has_moved(int call_fd, int schedule_fd, const struct look *before)
{
    struct look now;
    bool is_there = read_again(call_fd, now.call, sizeof now.call);
    read_again(schedule_fd, now.schedule, sizeof now.schedule);
    return !is_there || strcmp(before->call, now.call) != 0 || strcmp(before->schedule, now.schedule) != 0;
}

static int open_of_thread(const struct live_stop *stop, uint32_t tid, const char *name)
{
    char path[96];
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/task/%" PRIu32 "/%s", stop->pid, tid, name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

void live_read_thread(struct live_stop *stop, struct live_thread *thread, int tries, int *ret_errno)
{
    AUTO_CLOSE int call_fd = open_of_thread(stop, thread->tid, "syscall");
    if (call_fd < 0) {
        thread->outcome = LIVE_THREAD_GONE;
        if (errno != ENOENT && errno != ESRCH && *ret_errno == 0)
            *ret_errno = errno;
        return;
    }
    AUTO_CLOSE int schedule_fd = open_of_thread(stop, thread->tid, "schedstat");
    thread->outcome = LIVE_THREAD_MOVING;
    for (int attempt = 0; attempt < tries; attempt++) {
        struct look before;
        struct system_call call;
        uint64_t sp, pc;
        if (attempt != 0)
            sched_yield();
        read_again(schedule_fd, before.schedule, sizeof before.schedule);
        if (!read_again(call_fd, before.call, sizeof before.call)) {
            thread->outcome = LIVE_THREAD_GONE;
            if (errno != ESRCH && *ret_errno == 0)
                *ret_errno = errno;
            return;
        }
        uint8_t *registers = live_stop_registers(stop);
        if (registers == NULL)
            return;
        if (!proc_call_parse(before.call, &call, &sp, &pc))
            continue;
        size_t used_before = stop->stacks_used;
        uint64_t known = stop->image->arch->registers_encode(&call, sp, pc, registers);
        live_stop_copy_memory(stop, thread, sp, 0);
        if (!has_moved(call_fd, schedule_fd, &before)) {
            thread->registers_known = known;
            thread->runs_known = proc_schedstat_runs(text_from_string(before.schedule), &thread->runs);
            thread->outcome = LIVE_THREAD_READ;
            return;
        }
        live_stop_forget_memory(stop, thread, used_before);
    }
}

/* Threads that were listed and have not been looked at are left out, and said to be. */
static void drop_unread(struct live_stop *stop)
{
    for (size_t i = 0; i < stop->thread_count; i++)
        if (stop->threads[i].outcome == LIVE_THREAD_UNKNOWN)
            stop->threads[i].outcome = LIVE_THREAD_GONE;
}

static void read_rounds(struct live_stop *stop, int *ret_errno)
{
    size_t done = 0;
    for (int round = 0;; round++) {
        uint32_t *tids;
        size_t count;
        if (!proc_tasks(&stop->arena, stop->pid, &tids, &count))
            return;
        for (size_t i = 0; i < count; i++)
            if (live_stop_find(stop, tids[i]) == NULL)
                live_stop_add(stop, tids[i]);
        if (stop->thread_count == done)
            return;
        stop->rounds_exhausted = round == limit_live_rounds;
        if (stop->rounds_exhausted) {
            drop_unread(stop);
            return;
        }
        done = stop->thread_count;
        if (stop->stacks == NULL && !live_stop_reserve(stop)) {
            *ret_errno = errno;
            return;
        }
        for (size_t i = 0; i < stop->thread_count; i++)
            if (stop->threads[i].outcome == LIVE_THREAD_UNKNOWN)
                live_read_thread(stop, &stop->threads[i], limit_live_tries, ret_errno);
    }
}

const struct error *live_read_run(struct live_stop *stop, struct arena *arena)
{
    int failed = 0;
    arena_init(&stop->arena, limit_arena_bytes, arena->exhausted);
    read_rounds(stop, &failed);
    stop->arena.exhausted = NULL;
    for (size_t i = 0; i < stop->thread_count; i++)
        if (stop->threads[i].outcome != LIVE_THREAD_GONE)
            return NULL;
    if (failed == EPERM || failed == EACCES)
        return error_new(arena, ERROR_OPEN, "process %" PRIu32 ": not permitted to read it: run as root, or as its user",
                         stop->pid);
    return error_new(arena, ERROR_OPEN, "process %" PRIu32 ": cannot be read: %s", stop->pid,
                     failed == 0 ? "it has ended" : strerror(failed));
}

enum second_look { LOOK_MOVED, LOOK_STILL, LOOK_RUNNING };

/* Still: it stands in the call that its registers show, and did not run since it was last counted; after our stop of it,
 * it slept no more often than that accounts for. Counts it anew. */
static enum second_look look_again(const struct live_stop *stop, struct live_thread *thread)
{
    struct system_call before, now;
    struct registers registers;
    uint64_t sp, pc, runs, sleeps;
    char line[256];
    const struct arch *arch = stop->image->arch;
    if (!thread->runs_known || !arch->system_call_decode(thread->registers, &before) || !before.blocked)
        return LOOK_MOVED;
    AUTO_CLOSE int call_fd = open_of_thread(stop, thread->tid, "syscall");
    if (!read_again(call_fd, line, sizeof line))
        return LOOK_MOVED;
    if (!proc_call_parse(line, &now, &sp, &pc))
        return LOOK_RUNNING;
    arch->registers_decode(thread->registers, &registers);
    /* The number may have become restart_syscall's. */
    if (now.number < 0 || sp != registers.values[arch->sp] || pc != registers.pc ||
        memcmp(now.arguments, before.arguments, sizeof now.arguments) != 0)
        return LOOK_MOVED;
    /* Counted after the call was read, so that it did not run in between; and sleeps last. */
    thread->runs_known = proc_runs(stop->pid, thread->tid, &runs);
    if (!thread->runs_known || (thread->sleeps_allowed == 0 && runs != thread->runs))
        return LOOK_MOVED;
    if (thread->sleeps_allowed != 0 && (!proc_sleeps(stop->pid, thread->tid, &sleeps) ||
                                        sleeps - thread->sleeps > thread->sleeps_allowed))
        return LOOK_MOVED;
    thread->runs = runs;
    thread->sleeps_allowed = 0;
    return LOOK_STILL;
}

static void copy_words_again(struct live_stop *stop)
{
    for (size_t i = 0; i < stop->thread_count; i++) {
        struct live_thread *thread = &stop->threads[i];
        if (thread->word_bytes == 0)
            continue;
        ssize_t got = pread(stop->memory_fd, thread->word, thread->word_bytes, (off_t)thread->word_start);
        thread->word_bytes = got < 0 ? 0 : (size_t)got;
    }
}

static void look_at_all(struct live_stop *stop)
{
    for (size_t i = 0; i < stop->thread_count; i++) {
        struct live_thread *thread = &stop->threads[i];
        if (!thread->stood_still)
            continue;
        enum second_look look = look_again(stop, thread);
        for (int attempt = 1; look == LOOK_RUNNING && attempt < limit_live_tries && thread->sleeps_allowed != 0;
             attempt++) {
            struct timespec pause = {0, 200000}; /* it is on its way back into its call */
            nanosleep(&pause, NULL);
            look = look_again(stop, thread);
        }
        thread->stood_still = look == LOOK_STILL;
    }
}

void live_read_again(struct live_stop *stop)
{
    for (size_t i = 0; i < stop->thread_count; i++)
        stop->threads[i].stood_still =
            stop->threads[i].outcome == LIVE_THREAD_STOPPED || stop->threads[i].outcome == LIVE_THREAD_READ;
    /* After a stop a look of its own is needed to count from: what was woken while it was stopped runs when it is let go,
     * and may wait at the same place again. */
    if (stop->kind == STOP_KIND_ROLLING)
        look_at_all(stop);
    copy_words_again(stop);
    look_at_all(stop);
}
