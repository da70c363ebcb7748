/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/go_frame_pointers.h"

#include <elf.h>

/* How a frame keeps its caller's frame pointer. */
enum keeping {
    KEEPS,
    KEEPS_NOT,  /* it has no room: the function has just begun, or needs none */
    MAY_KEEP,   /* assembly, as its author liked */
    IS_UNKNOWN, /* another language's, or called from one */
};

static enum keeping find_keeping(const struct go_runtime *runtime, uint64_t pc)
{
    struct pclntab_function function;
    const struct pclntab *table = go_runtime_find_function(runtime, pc, &function);
    if (table == NULL || text_equals(pclntab_name(table, function.name), TEXT("runtime.cgocallback")))
        return IS_UNKNOWN;
    int32_t delta = function.sp_values == 0 ? 0 : pclntab_sp_delta(table, &function, pc);
    if (delta < 8)
        return KEEPS_NOT;
    /* 1.18 flags assembly. */
    return runtime->minor < 18 || (function.flags & GO_FUNCTION_ASM) != 0 ? MAY_KEEP : KEEPS;
}

/* Whether the runtime made its caller call it, anywhere in that one's code. */
static bool is_made_up_call(const struct go_runtime *runtime, uint64_t pc)
{
    struct pclntab_function function;
    const struct pclntab *table = go_runtime_find_function(runtime, pc, &function);
    return table != NULL && text_equals(pclntab_name(table, function.name), TEXT("runtime.asyncPreempt"));
}

/* Leaf first. */
static uint32_t list_nodes(struct go_chain_check *check, const struct stack_trie *trie, uint32_t stack)
{
    uint32_t node = trie->stacks[stack].node, count = trie->nodes[node].depth;
    while (check->capacity < count)
        check->nodes = arena_grow(check->arena, check->nodes, check->capacity, &check->capacity, sizeof *check->nodes);
    for (uint32_t i = count; i-- > 0; node = trie->nodes[node].parent)
        check->nodes[i] = node;
    return count;
}

enum go_chain go_frame_pointers_check(struct go_chain_check *check, const struct go_runtime *runtime,
                                      const struct goroutine *goroutine, const struct stack_trie *trie, uint32_t stack,
                                      struct go_chain_difference *ret_difference)
{
    const struct memory *memory = &runtime->image->memory;
    uint64_t frame = goroutine->bp;
    if (runtime->image->arch->elf_machine != EM_X86_64 || goroutine->status == GO_RUNNING || goroutine->call_sp != 0 ||
        goroutine->pc_is_exact || frame == 0)
        return GO_CHAIN_NONE;
    uint32_t count = list_nodes(check, trie, stack);
    bool is_dead = false;
    for (uint32_t i = 0; i + 1 < count; i++) {
        const struct trie_node *node = &trie->nodes[check->nodes[i]];
        uint64_t caller = trie->nodes[check->nodes[i + 1]].pc, returns = 0, next = 0;
        /* Up to 1.20 the frame that was preempted does not count as exact: the runtime itself looks it up so. */
        bool is_interrupted =
            node->exact || (i != 0 && is_made_up_call(runtime, trie->nodes[check->nodes[i - 1]].pc));
        enum keeping keeping = find_keeping(runtime, node->pc);
        if (keeping == IS_UNKNOWN)
            return GO_CHAIN_EQUAL;
        if (keeping == KEEPS_NOT)
            continue;
        bool is_inside = frame >= goroutine->stack_low && frame < goroutine->stack_high;
        bool is_read =
            is_inside && memory_read_u64(memory, frame, &next) && memory_read_u64(memory, frame + 8, &returns);
        if (is_read && returns == caller) {
            frame = next;
            is_dead |= is_interrupted;
            continue;
        }
        /* Interrupted between making its frame and pointing at it. Or a fault's, where nothing goes on: when a stack is
         * moved the runtime leaves such a frame's pointer as it is (adjustframe, continpc). */
        if (is_interrupted || (is_dead && !is_inside))
            return GO_CHAIN_EQUAL;
        if (keeping == KEEPS) {
            *ret_difference = (struct go_chain_difference){i + 1, caller, returns};
            return GO_CHAIN_DIFFERS;
        }
    }
    return GO_CHAIN_EQUAL;
}
