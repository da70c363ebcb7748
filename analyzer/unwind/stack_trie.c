/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/stack_trie.h"

static size_t node_hash(uint32_t parent, uint64_t pc, unsigned flags)
{
    uint64_t hash = (pc ^ ((uint64_t)parent << 32 | flags)) * 0x9e3779b97f4a7c15u;
    return (size_t)(hash ^ (hash >> 29));
}

static unsigned node_flags(bool exact, enum frame_trust trust)
{
    return (unsigned)trust << 1 | exact;
}

static void trie_resize(struct stack_trie *trie, size_t slot_count)
{
    trie->slots = arena_array(trie->arena, uint32_t, slot_count);
    trie->slot_count = slot_count;
    for (size_t i = 1; i < trie->node_count; i++) {
        const struct trie_node *node = &trie->nodes[i];
        size_t slot = node_hash(node->parent, node->pc, node_flags(node->exact, node->trust)) & (slot_count - 1);
        while (trie->slots[slot] != 0)
            slot = (slot + 1) & (slot_count - 1);
        trie->slots[slot] = (uint32_t)i;
    }
}

void stack_trie_init(struct stack_trie *trie, struct arena *arena)
{
    *trie = (struct stack_trie){.arena = arena};
    trie->nodes = arena_grow(arena, NULL, 0, &trie->node_capacity, sizeof *trie->nodes);
    trie->nodes[0].stack = index_none;
    trie->node_count = 1;
    trie_resize(trie, 1024);
}

/* The slot that holds the child, or the free one where it belongs. */
static size_t child_slot(const struct stack_trie *trie, uint32_t parent, uint64_t pc, bool exact, enum frame_trust trust)
{
    size_t mask = trie->slot_count - 1;
    size_t slot = node_hash(parent, pc, node_flags(exact, trust)) & mask;
    for (; trie->slots[slot] != 0; slot = (slot + 1) & mask) {
        const struct trie_node *node = &trie->nodes[trie->slots[slot]];
        if (node->pc == pc && node->parent == parent && node->exact == exact && node->trust == trust)
            break;
    }
    return slot;
}

uint32_t stack_trie_known_child(struct stack_trie *trie, uint32_t parent, uint64_t pc, bool exact, enum frame_trust trust)
{
    uint32_t number = trie->slots[child_slot(trie, parent, pc, exact, trust)];
    if (number != 0)
        trie->nodes[parent].last_child = number;
    return number;
}

uint32_t stack_trie_find_child(struct stack_trie *trie, uint32_t parent, uint64_t pc, bool exact,
                               enum frame_trust trust, bool *ret_is_new)
{
    trie->misses++;
    size_t slot = child_slot(trie, parent, pc, exact, trust);
    *ret_is_new = trie->slots[slot] == 0;
    if (!*ret_is_new) {
        trie->nodes[parent].last_child = trie->slots[slot];
        return trie->slots[slot];
    }
    trie->nodes =
        arena_grow(trie->arena, trie->nodes, trie->node_count, &trie->node_capacity, sizeof *trie->nodes);
    uint32_t number = (uint32_t)trie->node_count++;
    trie->nodes[number] = (struct trie_node){
        .pc = pc,
        .parent = parent,
        .depth = trie->nodes[parent].depth + 1,
        .stack = index_none,
        .exact = exact,
        .trust = (uint8_t)trust,
    };
    trie->nodes[parent].last_child = number;
    trie->slots[slot] = number;
    if (trie->node_count * 2 > trie->slot_count)
        trie_resize(trie, trie->slot_count * 2);
    return number;
}

uint32_t stack_trie_stack(struct stack_trie *trie, uint32_t node, enum stack_end end, uint64_t end_address)
{
    for (uint32_t i = trie->nodes[node].stack; i != index_none; i = trie->stacks[i].next)
        if (trie->stacks[i].end == end) {
            if (trie->stacks[i].end_address != end_address)
                trie->stacks[i].end_address = 0;
            return i;
        }
    trie->stacks =
        arena_grow(trie->arena, trie->stacks, trie->stack_count, &trie->stack_capacity, sizeof *trie->stacks);
    uint32_t number = (uint32_t)trie->stack_count++;
    trie->stacks[number] = (struct trie_stack){node, end, end_address, trie->nodes[node].stack};
    trie->nodes[node].stack = number;
    return number;
}
