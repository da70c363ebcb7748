/* SPDX-License-Identifier: Apache-2.0 */
/* Walks threads from their registers to the outermost frame, by compiled plans, into one trie. Where a pc has no CFI,
 * what else leads on is tried in order: the kernel's signal frame, a call to no code, the frame pointer; each frame
 * keeps how it was found. */
#ifndef SG_UNWIND_WALK_H
#define SG_UNWIND_WALK_H

#include "base/diagnostics.h"
#include "debuginfo/module_file.h"
#include "unwind/stack_trie.h"
#include "unwind/step.h"

struct walker;

struct walker *walker_new(const struct image *image, struct module_files *files, struct function_starts starts,
                          struct arena *arena);

/* Plans of code whose language keeps tables of its own, all with the context. */
struct code_plans {
    /* Asked before CFI. False: not this code. */
    bool (*compile)(void *context, uint64_t pc, struct unwind_plan *ret_plan);
    /* A step by a plan of PLAN_SWITCH, as those of step.h. */
    struct step_result (*step)(void *context, struct stepper *stepper, const struct unwind_plan *plan,
                               struct registers *registers, bool exact);
    /* The steps that follow are of this thread's stack. */
    void (*enter_thread)(void *context, const struct thread *thread);
    /* Whether a frame lies on another stack than the one that is walked: its size does not count there. */
    bool (*is_elsewhere)(void *context, uint64_t sp);
    void *context;
};
/* Before the first walk. */
void walker_set_code_plans(struct walker *walker, struct code_plans plans);
void *walker_code_context(const struct walker *walker);

/* The stack's number in the walker's trie. */
uint32_t walk_thread(struct walker *walker, const struct thread *thread);

/* The same from registers that are not a thread's own: `exact` says that the pc was about to run, not called from. */
uint32_t walk_registers(struct walker *walker, const struct registers *registers, bool exact);

/* What the walker knows at this time, for another thread to ask while it goes on: walker_find alone takes it. The caller's
 * own copy, in the arena. `memory` is the target's, in which nothing changes meanwhile. */
struct walker *walker_copy(const struct walker *walker, const struct memory *memory, struct arena *arena);

/* The number of the stack that walk_registers would tell, where it is an outermost end that a copy knows, of frames that
 * it knows and of plain steps; else index_none. Allocates nothing. */
uint32_t walker_find(struct walker *copy, const struct registers *registers, bool exact);

/* Counts a stack that a copy of this walker found as walked. */
void walker_count(struct walker *walker, uint32_t stack);

/* Steps from a frame rootwards until the stack pointer lies outside of [low, high), without making a stack: *registers and
 * *exact are that frame's. False when none is found. */
bool walker_leave(struct walker *walker, struct registers *registers, bool *exact, uint64_t low, uint64_t high);

struct stack_trie *walker_trie(struct walker *walker);

struct walker_counts {
    uint64_t plans;  /* distinct pcs compiled */
    bool code_limit_reached; /* limit_code_questions: code without tables was not followed any more */
};
struct walker_counts walker_counts(const struct walker *walker);

/* The same stack with frames of the second unwinder appended above its outermost one. */
struct walker_frame {
    uint64_t pc;
    bool exact;
};
uint32_t walker_extend(struct walker *walker, uint32_t stack, const struct walker_frame *frames, size_t count,
                       enum stack_end end);

/* A stack that the second unwinder found alone; the first frame is the thread's own pc. */
uint32_t walker_adopt(struct walker *walker, const struct walker_frame *frames, size_t count, enum stack_end end);

/* Whether the node's pc is an instruction that ran or was about to run, not a return address: a leaf, a frame that a
 * signal interrupted, or the signal trampoline itself. */
bool walker_node_is_exact(const struct walker *walker, uint32_t node);

/* Whether the node's code is of the language that has tables of its own (code_plans). */
bool walker_node_is_of_language(const struct walker *walker, uint32_t node);

/* How far above the stack pointer of a node's frame its caller's lies; false when that differs from stack to stack or is
 * not known. */
bool walker_node_frame_bytes(const struct walker *walker, uint32_t node, uint64_t *ret_bytes);

/* Whether a return address is one: it lies in executable memory and follows a call, as far as the code is at hand. */
bool walker_follows_call(struct walker *walker, uint64_t return_address);

#endif
