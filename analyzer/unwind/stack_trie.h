/* SPDX-License-Identifier: Apache-2.0 */
/* All stacks of a process as one tree, leaf first: threads that stand in the same place share a path, so that walking
 * and grouping are one comparison a frame. A node is a frame below its callees; each remembers the child that was
 * taken last, which is right nine times of ten. A stack is a node plus the reason why the walk ended there. */
#ifndef SG_UNWIND_STACK_TRIE_H
#define SG_UNWIND_STACK_TRIE_H

#include "model/snapshot.h"

struct trie_node {
    uint64_t pc;
    uint32_t parent; /* the callee; 0 is the root, above the leaves */
    uint32_t depth;  /* frames up to and including this one */
    uint32_t plan;   /* the walker's, for this pc */
    uint32_t last_child;
    uint32_t stack; /* the last stack that ended here, index_none */
    uint8_t exact, trust;
    bool is_elsewhere; /* not on the stack that the others lie on: code_plans.is_elsewhere */
};

struct trie_stack {
    uint32_t node; /* the outermost frame */
    enum stack_end end;
    uint64_t end_address;
    uint32_t next; /* another stack that ended in the same node, index_none */
};

struct stack_trie {
    struct arena *arena;
    struct trie_node *nodes;
    size_t node_count, node_capacity;
    struct trie_stack *stacks;
    size_t stack_count, stack_capacity;
    uint32_t *slots; /* node numbers by (parent, pc, exact, trust); 0 is free */
    size_t slot_count;
    uint64_t hits, misses; /* of last_child */
};

void stack_trie_init(struct stack_trie *trie, struct arena *arena);

/* The child with that key; 0: there is none yet. */
uint32_t stack_trie_known_child(struct stack_trie *trie, uint32_t parent, uint64_t pc, bool exact,
                                enum frame_trust trust);

/* The child with that key, made when new: *ret_is_new says so, and its plan is 0 then. */
uint32_t stack_trie_find_child(struct stack_trie *trie, uint32_t parent, uint64_t pc, bool exact,
                               enum frame_trust trust, bool *ret_is_new);

static inline uint32_t stack_trie_child(struct stack_trie *trie, uint32_t parent, uint64_t pc, bool exact,
                                        enum frame_trust trust, bool *ret_is_new)
{
    uint32_t hot = trie->nodes[parent].last_child;
    const struct trie_node *node = &trie->nodes[hot];
    if (hot != 0 && node->pc == pc && node->exact == exact && node->trust == trust) {
        trie->hits++;
        *ret_is_new = false;
        return hot;
    }
    return stack_trie_find_child(trie, parent, pc, exact, trust, ret_is_new);
}

/* The stack that ends at the node for that reason; its end_address is 0 once two of them differ. */
uint32_t stack_trie_stack(struct stack_trie *trie, uint32_t node, enum stack_end end, uint64_t end_address);

#endif
