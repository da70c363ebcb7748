/* SPDX-License-Identifier: Apache-2.0 */
/* Moves walked stacks from a walker's trie into a snapshot and names their pcs, each once. Shared by what makes
 * snapshots of threads and of goroutines. */
#ifndef SG_STACK_NAMING_H
#define SG_STACK_NAMING_H

#include "base/diagnostics.h"
#include "symbol/symbolize.h"
#include "unwind/walk.h"

struct stack_naming {
    struct snapshot *snapshot;
    struct walker *walker; /* all walks are done */
    struct symbolizer *symbolizer;
    const struct go_runtime *go; /* stacks are a Go profile's: every call has its own address; NULL: they are not */
    struct arena *scratch;
    uint32_t *numbers; /* by stack of the trie: of the snapshot's + 1; 0: not yet moved */
    struct location_run *runs; /* by (pc, exact) */
    size_t run_slots;
    struct intern_table labelled; /* (stack of the trie, labels) pairs */
    uint32_t *labelled_numbers;   /* by number in it - 1 */
    size_t labelled_capacity;
};

/* A snapshot without members: what the image tells of its process. */
void snapshot_begin(struct snapshot *ret_snapshot, const struct image *image, enum profile_kind kind,
                    struct arena *arena);

struct stack_naming stack_naming_new(struct snapshot *snapshot, struct walker *walker, struct symbolizer *symbolizer,
                                     const struct go_runtime *go, struct arena *scratch);

/* The snapshot's number for a stack of the trie; those of other labels (a string of the snapshot, 0: none) are others. */
uint32_t stack_naming_stack(struct stack_naming *naming, uint32_t stack, uint32_t labels);

/* For struct data_names: `context` is the symbolizer. */
bool stack_naming_data(void *context, uint64_t address, struct arena *arena, struct text *ret_name);

/* One line for each reason why stacks ended early: how many members, and where first. */
void snapshot_diagnose_ends(const struct snapshot *snapshot, struct diagnostics *diagnostics);

#endif
