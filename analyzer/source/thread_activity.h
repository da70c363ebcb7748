/* SPDX-License-Identifier: Apache-2.0 */
/* How far each thread of a live process has got, by the kernel's counts, read without stopping it; two readings tell
 * whether a thread ran in between. */
#ifndef SG_SOURCE_THREAD_ACTIVITY_H
#define SG_SOURCE_THREAD_ACTIVITY_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>

struct thread_activity {
    uint32_t tid;
    uint64_t start_ticks; /* since boot; tells a reused id */
    uint64_t cpu_nanoseconds;
    uint64_t switches; /* times that it gave up its processor by itself: waits */
};

/* By ascending tid. False when there is no such process. */
bool thread_activity_read(uint32_t pid, struct arena *arena, struct thread_activity **ret_threads, size_t *ret_count);

/* NULL when the id is not among them. */
const struct thread_activity *thread_activity_find(const struct thread_activity *threads, size_t count, uint32_t tid);

#endif
