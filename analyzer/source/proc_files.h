/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc tells of a process and its threads, read as it stands; proc(5). Nothing here stops or changes a target. */
#ifndef SG_SOURCE_PROC_FILES_H
#define SG_SOURCE_PROC_FILES_H

#include "arch/arch.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

/* A whole file of /proc, whose size is not known before: NUL-terminated beyond its length, in the arena. False with
 * errno when it cannot be read. */
bool proc_read(struct arena *arena, const char *path, struct text *ret_content);

/* The same for a file that is known to be short, without an arena: at most size_bytes - 1 are read. */
bool proc_read_short(const char *path, char *buffer, size_t size_bytes, struct text *ret_content);

/* The value after "Name:\t" in /proc/PID/status; "" when the line is not there. */
struct text proc_status_value(struct text status, const char *name);

/* One line of /proc/PID/task/TID/stat. */
struct proc_stat {
    char state;        /* R S D T t Z X I */
    struct text comm;  /* at most 15 bytes, any */
    uint64_t cpu_microseconds;  /* user + system */
    uint64_t start_ticks;       /* since boot, in clock ticks; tells a reused id */
    int processor;              /* where it ran last */
};
bool proc_stat_parse(struct text line, struct proc_stat *ret_stat);
uint64_t proc_ticks_microseconds(uint64_t ticks);

/* How often a thread was given a processor, from its /proc/PID/task/TID/schedstat; false where the kernel does not count
 * (CONFIG_SCHED_INFO). */
bool proc_schedstat_runs(struct text schedstat, uint64_t *ret_runs);
bool proc_runs(uint32_t pid, uint32_t tid, uint64_t *ret_runs);
/* Times that it gave a processor up by itself, as whoever begins to wait does (status, voluntary_ctxt_switches). */
bool proc_sleeps(uint32_t pid, uint32_t tid, uint64_t *ret_sleeps);

/* /proc/PID/task/TID/syscall: "202 0x.. 0x.. 0x.. 0x.. 0x.. 0x.. SP PC", or "-1 SP PC" of a thread that waits outside of
 * a system call (a page fault). False for "running". */
bool proc_call_parse(const char *line, struct system_call *ret_call, uint64_t *ret_sp, uint64_t *ret_pc);

/* Now, by CLOCK_MONOTONIC as the process sees it (time_namespaces(7)). */
uint64_t proc_monotonic_nanoseconds(uint32_t pid);

/* What "monotonic  -172800  500000000" of /proc/PID/timens_offsets adds to this machine's clock, in nanoseconds; 0 where
 * there is no such line. */
int64_t proc_monotonic_offset(struct text timens_offsets);

/* The ids in /proc/PID/task, ascending as the kernel lists them. False with errno when it cannot be read. */
bool proc_tasks(struct arena *arena, uint32_t pid, uint32_t **ret_tids, size_t *ret_count);

#endif
