/* SPDX-License-Identifier: Apache-2.0 */
/* Moves walked stacks from a walker's trie into a snapshot and names their pcs, each once. Shared by what makes
 * snapshots of threads and of goroutines. */
#ifndef SG_STACK_NAMING_H
#define SG_STACK_NAMING_H

#include "base/diagnostics.h"
#include "golang/arguments.h"
#include "symbol/symbolize.h"
#include "unwind/walk.h"

/* Where the arguments of a stack's calls lie: the same for all that stand in it. */
struct stack_argument {
    uint64_t offset;    /* from the stack pointer at the leaf */
    uint8_t size_bytes; /* as in struct go_argument */
};

struct stack_arguments {
    struct stack_run {
        size_t first, count;
    } *stacks; /* by stack of the snapshot: runs of `places` */
    size_t stack_capacity;
    struct stack_argument *places; /* leaf first, one for each '%' of the stack's locations' arguments, unless cut */
    size_t place_count, place_capacity;
    struct go_arguments *locations; /* by location of the snapshot: its own */
    size_t location_capacity;
};

struct stack_naming {
    struct snapshot *snapshot;
    struct walker *walker; /* all walks are done */
    struct symbolizer *symbolizer;
    const struct go_runtime *go; /* stacks are a Go profile's: every call has its own address; NULL: they are not */
    struct stack_arguments *arguments; /* of a Go profile, where its calls' arguments are wanted; NULL: they are not */
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

/* Before the first stack; of a Go profile. */
void stack_naming_want_arguments(struct stack_naming *naming);

/* The snapshot's number for a stack of the trie; those of other labels (a string of the snapshot, 0: none) are others. */
uint32_t stack_naming_stack(struct stack_naming *naming, uint32_t stack, uint32_t labels);

/* For struct data_names: `context` is the symbolizer. */
bool stack_naming_data(void *context, uint64_t address, struct arena *arena, struct text *ret_name);

/* One line for each reason why stacks ended early: how many members, and where first. */
void snapshot_diagnose_ends(const struct snapshot *snapshot, struct diagnostics *diagnostics);

#endif
