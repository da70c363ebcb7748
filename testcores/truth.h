/* SPDX-License-Identifier: Apache-2.0
 *
 * What a test program knows about itself, written down before its core is made.
 *
 * A program declares groups of threads with the frames they will stand in, starts the threads, and each thread calls
 * truth_arrive() as the last thing before it parks. truth_end() waits until every thread has arrived and stands still,
 * writes the truth as JSON to the file that TESTCORE_TRUTH names, prints "ready" and ends as TESTCORE_END says: "abort"
 * (the default: the kernel writes the core) or "wait" (somebody takes a core from outside). A program that dies in its
 * own way calls truth_write() instead and then crashes.
 *
 * Frames are one string, leaf first, separated by '|', and name the program's own functions only. Marks on a frame:
 *   "^name"  inlined in some builds: there visible only with debug info
 *   "name+"  one or more times
 *   "~re"    a regular expression that the whole name matches (lambdas, which every compiler names differently)
 *   "?"      a function whose name is nowhere, in a stripped library
 * leaf is a regular expression for the innermost function (libc's or the program's), NULL when anything may be there.
 *
 * A header and no library, so that every variant (static, musl, another compiler, no unwind tables) compiles it as its
 * own.
 */
#ifndef TESTCORES_TRUTH_H
#define TESTCORES_TRUTH_H

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A function that must be a frame of its own under its own name: not inlined, not cloned, not merged with an equal one.
 */
#if defined(__clang__)
#define TC_FRAME __attribute__((noinline, used))
#else
#define TC_FRAME __attribute__((noipa, used))
#endif
#define TC_INLINED static inline __attribute__((always_inline))

/* Stands after a call so that it cannot become a jump, which would leave its frame out of the stack. */
#define TC_KEEP() __asm__ volatile("" ::: "memory")

enum { TRUTH_GROUPS_MAX = 64, TRUTH_SETTLE_SECONDS = 60 };

struct truth_group {
    const char *name;
    const char *frames;
    const char *leaf;
    int count;
    int spinning; /* its threads run, so nobody waits for them to stand still */
    int arrived;
    int *tids;
};

static struct truth_group truth_groups[TRUTH_GROUPS_MAX];
static int truth_groups_count;

static void truth_fail(const char *what)
{
    fprintf(stderr, "testcore: %s (%s)\n", what, strerror(errno));
    _exit(3);
}

static inline int truth_tid(void)
{
    return (int)syscall(SYS_gettid);
}

/* Declares count threads that will stand in frames. Returns the number to arrive with. */
static inline int truth_group(const char *name, int count, const char *frames, const char *leaf)
{
    struct truth_group *group = &truth_groups[truth_groups_count];

    if (truth_groups_count == TRUTH_GROUPS_MAX)
        truth_fail("too many groups");
    group->name = name;
    group->frames = frames;
    group->leaf = leaf;
    group->count = count;
    group->tids = (int *)calloc((size_t)count + 1, sizeof *group->tids);
    return truth_groups_count++;
}

static inline void truth_group_spins(int index)
{
    truth_groups[index].spinning = 1;
}

/* Called by a thread right before it parks. Takes no lock: a lock here would be a second place to be found in. */
static inline void truth_arrive(int index)
{
    struct truth_group *group = &truth_groups[index];
    int place = __atomic_fetch_add(&group->arrived, 1, __ATOMIC_SEQ_CST);

    if (place >= group->count)
        truth_fail("more threads arrived than declared");
    __atomic_store_n(&group->tids[place], truth_tid(), __ATOMIC_SEQ_CST);
}

static inline void truth_sleep_milliseconds(long milliseconds)
{
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};

    nanosleep(&time, NULL);
}

/* A number that stays the same while the thread stays in one system call with the same arguments; 0 while it runs.
 * The kernel's syscall file holds number, arguments, sp and pc. Where it is missing, the thread's state has to do. */
static inline uint64_t truth_thread_place(int tid)
{
    char path[64], text[256];
    FILE *file;
    uint64_t hash = 1469598103934665603u;

    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
    file = fopen(path, "r");
    if (!file) {
        char *state;

        snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
        file = fopen(path, "r");
        if (!file || !fgets(text, sizeof text, file))
            truth_fail(path);
        fclose(file);
        state = strrchr(text, ')');
        return state && state[1] && state[2] == 'S';
    }
    if (!fgets(text, sizeof text, file))
        truth_fail(path);
    fclose(file);
    if (!strncmp(text, "running", 7) || !strncmp(text, "-1", 2))
        return 0;
    for (const char *at = text; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 1099511628211u;
    return hash | 1;
}

/* Waits until all declared threads have arrived and two looks, 20 ms apart, find each in the same system call. */
static inline void truth_settle(void)
{
    time_t give_up = time(NULL) + TRUTH_SETTLE_SECONDS;
    uint64_t before = 0;

    for (;; truth_sleep_milliseconds(20)) {
        uint64_t now = 0;
        int all = 1, declared = 0, found = 0;
        struct dirent *entry;
        DIR *tasks;

        if (time(NULL) > give_up)
            truth_fail("threads did not settle");
        for (int i = 0; i < truth_groups_count && all; i++) {
            struct truth_group *group = &truth_groups[i];

            declared += group->count;
            if (__atomic_load_n(&group->arrived, __ATOMIC_SEQ_CST) < group->count)
                all = 0;
            for (int k = 0; k < group->count && all; k++) {
                int tid = __atomic_load_n(&group->tids[k], __ATOMIC_SEQ_CST);
                uint64_t place = !tid ? 0 : tid == truth_tid() || group->spinning ? 1 : truth_thread_place(tid);

                all = place != 0;
                now = (now ^ place) * 1099511628211u + (uint64_t)tid;
            }
        }
        if (!all || now != before) {
            before = all ? now : 0;
            continue;
        }
        tasks = opendir("/proc/self/task");
        if (!tasks)
            truth_fail("/proc/self/task");
        while ((entry = readdir(tasks)))
            found += entry->d_name[0] != '.';
        closedir(tasks);
        if (found != declared)
            truth_fail("the number of threads is not the number declared");
        return;
    }
}

static inline void truth_write_string(FILE *file, const char *text)
{
    fputc('"', file);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', file);
        fputc(*text, file);
    }
    fputc('"', file);
}

static inline void truth_write_groups(FILE *file)
{
    for (int i = 0; i < truth_groups_count; i++) {
        const struct truth_group *group = &truth_groups[i];
        char *frames = strdup(group->frames), *rest = frames, *frame;

        fprintf(file, "%s\n  {\"name\": \"%s\", \"count\": %d, \"frames\": [", i ? "," : "", group->name, group->count);
        for (int k = 0; (frame = strsep(&rest, "|")); k++) {
            fputs(k ? ", " : "", file);
            truth_write_string(file, frame);
        }
        fputs("]", file);
        if (group->leaf) {
            fputs(", \"leaf\": ", file);
            truth_write_string(file, group->leaf);
        }
        fputs(", \"tids\": [", file);
        for (int k = 0; k < group->count; k++)
            fprintf(file, "%s%d", k ? ", " : "", group->tids[k]);
        fputs("]}", file);
        free(frames);
    }
}

/* Settles, writes the truth, prints "ready". signal_group < 0: no thread dies of a signal. */
static inline void truth_write(int signal_number, int signal_group)
{
    const char *path = getenv("TESTCORE_TRUTH");
    FILE *file;

    truth_settle();
    if (path) {
        file = fopen(path, "w");
        if (!file)
            truth_fail(path);
        fprintf(file, "{\"pid\": %d, \"tid\": %d, ", (int)getpid(), truth_tid());
        if (signal_group >= 0)
            fprintf(file, "\"signal\": {\"number\": %d, \"group\": \"%s\"}, ", signal_number,
                    truth_groups[signal_group].name);
        fputs("\"groups\": [", file);
        truth_write_groups(file);
        fputs("]}\n", file);
        if (fclose(file))
            truth_fail(path);
    }
    puts("ready");
    fflush(stdout);
}

static inline int truth_aborts(void)
{
    const char *end = getenv("TESTCORE_END");

    return !end || !strcmp(end, "abort");
}

/* The end of a program whose main thread has nothing left to do; main calls it itself. */
static TC_FRAME void truth_end(void)
{
    int group = truth_group("main", 1, "truth_end|main", truth_aborts() ? NULL : ".*pause.*|__syscall.*");

    truth_arrive(group);
    truth_write(SIGABRT, truth_aborts() ? group : -1);
    if (truth_aborts())
        abort();
    for (;;)
        pause();
}

#endif
