/* SPDX-License-Identifier: Apache-2.0 */
/* Turns an unwound image into a snapshot: names each distinct pc once, copies the stacks that threads stand in, and
 * tells each thread's state and what it waits for. The image may be closed afterwards. */
#ifndef SG_SNAPSHOT_FROM_IMAGE_H
#define SG_SNAPSHOT_FROM_IMAGE_H

#include "base/diagnostics.h"
#include "samples.h"
#include "symbol/symbolize.h"
#include "unwind/unwind_threads.h"

struct image_stacks {
    struct walker *walker;
    uint32_t *thread_stacks; /* by thread: into the walker's trie; afterwards into snapshot.stacks */
    struct symbolizer *symbolizer;
    const struct samples *samples;
    uint64_t sample_microseconds; /* from the first look to the last */
    void (*progress)(void *context, const char *stage, uint64_t done, uint64_t total); /* NULL: none */
    void *progress_context;
};

void snapshot_from_image(const struct image *image, const struct image_stacks *stacks, struct snapshot *ret_snapshot,
                         struct arena *arena, struct arena *scratch, struct diagnostics *diagnostics);

#endif
