/* SPDX-License-Identifier: Apache-2.0 */
/* Checks a goroutine's stack against the chain of frame pointers, which Go code for x86-64 keeps since 1.7 and which
 * has nothing to do with the tables that it was walked by. */
#ifndef SG_UNWIND_GO_FRAME_POINTERS_H
#define SG_UNWIND_GO_FRAME_POINTERS_H

#include "golang/goroutines.h"
#include "unwind/stack_trie.h"

enum go_chain {
    GO_CHAIN_NONE, /* it runs, is in a system call, or has not run yet: no chain begins at its leaf */
    GO_CHAIN_EQUAL,
    GO_CHAIN_DIFFERS,
};

/* Where the two part: a frame's number from the leaf on, its pc, and what the chain has there. */
struct go_chain_difference {
    uint32_t frame;
    uint64_t pc, other;
};

/* Nodes of the stack at hand, kept from one to the next. */
struct go_chain_check {
    struct arena *arena;
    uint32_t *nodes;
    size_t capacity;
};

/* `stack` is what unwind_goroutine gave. Frames past a call from C have no chain and are not compared. */
enum go_chain go_frame_pointers_check(struct go_chain_check *check, const struct go_runtime *runtime,
                                      const struct goroutine *goroutine, const struct stack_trie *trie, uint32_t stack,
                                      struct go_chain_difference *ret_difference);

#endif
