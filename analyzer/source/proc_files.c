/* SPDX-License-Identifier: Apache-2.0 */
#include "source/proc_files.h"

#include "base/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool proc_read(struct arena *arena, const char *path, struct text *ret_content)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t capacity = 0, length = 0;
    char *bytes = NULL;
    for (;;) {
        while (capacity < length + 4096)
            bytes = arena_grow(arena, bytes, capacity, &capacity, 1);
        ssize_t got = read(fd, bytes + length, capacity - length - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return false;
        if (got == 0)
            break;
        length += (size_t)got;
    }
    bytes[length] = 0;
    *ret_content = (struct text){bytes, length};
    return true;
}

bool proc_read_short(const char *path, char *buffer, size_t size_bytes, struct text *ret_content)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, buffer, size_bytes - 1);
    if (got < 0)
        return false;
    buffer[got] = 0;
    *ret_content = (struct text){buffer, (size_t)got};
    return true;
}

struct text proc_status_value(struct text status, const char *name)
{
    size_t name_length = strlen(name);
    for (const char *line = status.data; line != NULL && line < status.data + status.length;) {
        const char *end = strchr(line, '\n');
        size_t length = end == NULL ? strlen(line) : (size_t)(end - line);
        if (length > name_length + 1 && memcmp(line, name, name_length) == 0 && line[name_length] == ':') {
            const char *value = line + name_length + 1;
            while (*value == '\t' || *value == ' ')
                value++;
            return (struct text){value, (size_t)(line + length - value)};
        }
        line = end == NULL ? NULL : end + 1;
    }
    return (struct text){"", 0};
}

uint64_t proc_ticks_microseconds(uint64_t ticks)
{
    uint64_t ticks_per_second = (uint64_t)sysconf(_SC_CLK_TCK);
    return ticks * (1000000 / (ticks_per_second == 0 ? 100 : ticks_per_second));
}

bool proc_stat_parse(struct text line, struct proc_stat *ret_stat)
{
    /* The name stands in parentheses and may hold any byte, parentheses and newlines too: the last ')' ends it. */
    const char *open = memchr(line.data, '(', line.length);
    const char *close = memrchr(line.data, ')', line.length);
    if (open == NULL || close == NULL || close < open)
        return false;
    unsigned long long user, system, start;
    char state;
    int processor;
    /* Fields 3 state, 14 utime, 15 stime, 22 starttime, 39 processor. */
    int fields = sscanf(close + 1,
                        " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu %*s %*s %*s %*s %*s %*s %llu %*s %*s %*s"
                        " %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %d",
                        &state, &user, &system, &start, &processor);
    if (fields != 5)
        return false;
    *ret_stat = (struct proc_stat){
        .state = state,
        .comm = {open + 1, (size_t)(close - open - 1)},
        .cpu_microseconds = proc_ticks_microseconds(user + system),
        .start_ticks = start,
        .processor = processor,
    };
    return true;
}

bool proc_schedstat_runs(struct text schedstat, uint64_t *ret_runs)
{
    unsigned long long runs; /* nanoseconds on and waiting for a processor, then times on one */
    if (schedstat.length == 0 || sscanf(schedstat.data, "%*u %*u %llu", &runs) != 1)
        return false;
    *ret_runs = runs;
    return true;
}

bool proc_runs(uint32_t pid, uint32_t tid, uint64_t *ret_runs)
{
    char path[96], buffer[128];
    struct text content;
    snprintf(path, sizeof path, "/proc/%u/task/%u/schedstat", pid, tid);
    return proc_read_short(path, buffer, sizeof buffer, &content) && proc_schedstat_runs(content, ret_runs);
}

bool proc_sleeps(uint32_t pid, uint32_t tid, uint64_t *ret_sleeps)
{
    char path[96], buffer[4096];
    struct text content;
    snprintf(path, sizeof path, "/proc/%u/task/%u/status", pid, tid);
    if (!proc_read_short(path, buffer, sizeof buffer, &content))
        return false;
    content = proc_status_value(content, "voluntary_ctxt_switches");
    if (content.length == 0)
        return false;
    *ret_sleeps = strtoull(content.data, NULL, 10);
    return true;
}

int64_t proc_monotonic_offset(struct text timens_offsets)
{
    static const long long century = 100LL * 365 * 86400;
    long long seconds, nanoseconds;
    char line[128];
    snprintf(line, sizeof line, "%.*s", (int)(timens_offsets.length < sizeof line ? timens_offsets.length : sizeof line - 1),
             timens_offsets.data);
    if (sscanf(line, "monotonic %lld %lld", &seconds, &nanoseconds) != 2 || seconds > century || seconds < -century ||
        nanoseconds < 0 || nanoseconds >= 1000000000)
        return 0;
    return seconds * 1000000000 + nanoseconds;
}

uint64_t proc_monotonic_nanoseconds(uint32_t pid)
{
    char path[64], buffer[128];
    struct timespec now;
    struct text offsets = {0};
    snprintf(path, sizeof path, "/proc/%u/timens_offsets", pid);
    clock_gettime(CLOCK_MONOTONIC, &now);
    proc_read_short(path, buffer, sizeof buffer, &offsets); /* since Linux 5.6 */
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec + (uint64_t)proc_monotonic_offset(offsets);
}

bool proc_tasks(struct arena *arena, uint32_t pid, uint32_t **ret_tids, size_t *ret_count)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%u/task", pid);
    DIR *folder = opendir(path);
    if (folder == NULL)
        return false;
    uint32_t *tids = NULL;
    size_t count = 0, capacity = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char *end;
        unsigned long tid = strtoul(entry->d_name, &end, 10);
        if (tid == 0 || *end != 0)
            continue;
        tids = arena_grow(arena, tids, count, &capacity, sizeof *tids);
        tids[count++] = (uint32_t)tid;
    }
    closedir(folder);
    *ret_tids = tids;
    *ret_count = count;
    return true;
}

bool proc_call_parse(const char *line, struct system_call *ret_call, uint64_t *ret_sp, uint64_t *ret_pc)
{
    struct system_call call = {0};
    uint64_t *arguments = call.arguments;
    if (sscanf(line,
               "%" SCNd64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64
               " %" SCNx64,
               &call.number, &arguments[0], &arguments[1], &arguments[2], &arguments[3], &arguments[4], &arguments[5],
               ret_sp, ret_pc) != 9) {
        memset(&call, 0, sizeof call);
        if (sscanf(line, "%" SCNd64 " %" SCNx64 " %" SCNx64, &call.number, ret_sp, ret_pc) != 3 || call.number != -1)
            return false;
    }
    *ret_call = call;
    return true;
}
