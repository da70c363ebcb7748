/* SPDX-License-Identifier: Apache-2.0 */
/* Tells threads that moved between several looks at a live process from those that did not: same raw pcs each time, no
 * waits and no CPU time of their own. What a stop itself costs a thread is taken off. A pool's worker that wakes, does
 * something short and sleeps again at the same place has moved. */
#ifndef SG_SAMPLES_H
#define SG_SAMPLES_H

#include "model/image.h"
#include "source/thread_activity.h"
#include "unwind/walk.h"
#include "waits/thread_state.h"

/* A thread of the last look, by what all looks showed of it. */
struct sampled_thread {
    struct thread_activity first; /* when it was first seen */
    uint64_t stack_hash;          /* raw pcs of the last look */
    uint32_t looks;               /* that it was seen in */
    bool moved;
    char state[thread_state_bytes];
};

struct samples {
    uint64_t count, ended; /* looks; threads that were gone at a later one */
    struct sampled_thread *threads; /* as image->threads of the last look */
    struct sampled_thread **by_tid; /* ascending */
    size_t thread_count;
};

/* Compares a look with those before. `activity` was read just before the look. What the table of the looks before lies
 * in may be released afterwards; the new one is in `arena`. A thread whose call was restarted by a stop keeps the state
 * that it had (native-waits.md). */
void samples_add(struct samples *samples, struct image *image, struct walker *walker, const uint32_t *thread_stacks,
                 const struct thread_activity *activity, size_t activity_count, struct arena *arena);

#endif
