/* SPDX-License-Identifier: Apache-2.0 */
#include "goroutines_ahead.h"

#include "base/arena.h"

enum {
    slots_least = 16384,    /* below, a thread costs more than it saves */
    slots_seen = 4096,      /* after which the walker is copied */
    nodes_most = 1 << 16,   /* of what is copied */
    block_slots = 1024,     /* handed over at a time */
    prefetch_distance = 8,
    own_share_percent = 45, /* of what lies before the next block that is done: the first thread's, which does more a slot */
};

struct goroutines_ahead {
    /* Its own, without the layers of memory that grow: files that the first thread opens, answers of a live target. */
    struct image image;
    struct go_runtime runtime;
    struct walker *walker; /* the copy */
    struct go_semaphore_search *semaphores;
    struct goroutine_reader reader;
    uint64_t slot_count;
    uint16_t *stacks; /* by slot: number + 1; 0: not known */
    size_t block_count;
    atomic_bool *is_done; /* by block */
    atomic_size_t at;     /* block of the first thread */
};

static void do_block(struct goroutines_ahead *ahead, size_t block)
{
    uint64_t end = (uint64_t)(block + 1) * block_slots < ahead->slot_count ? (uint64_t)(block + 1) * block_slots : ahead->slot_count;
    for (uint64_t slot = (uint64_t)block * block_slots; slot < end; slot++) {
        struct goroutine goroutine;
        goroutine_prefetch(&ahead->reader, slot + prefetch_distance);
        goroutine_prefetch_stack(&ahead->reader, slot + prefetch_distance / 2);
        if (goroutine_read(&ahead->reader, slot, &goroutine) != GOROUTINE_READ)
            continue;
        uint32_t stack = unwind_goroutine_find(ahead->walker, &ahead->runtime, &goroutine);
        ahead->stacks[slot] = stack < UINT16_MAX ? (uint16_t)(stack + 1) : 0;
    }
    atomic_store_explicit(&ahead->is_done[block], true, memory_order_release);
}

/* The first block that is neither done nor the first thread's by right; where that has caught up the share begins anew. */
static size_t next_block(const struct goroutines_ahead *ahead)
{
    size_t first = atomic_load_explicit(&ahead->at, memory_order_relaxed) + 1, end = first;
    while (end < ahead->block_count && !atomic_load_explicit(&ahead->is_done[end], memory_order_relaxed))
        end++;
    return end < first + 2 ? ahead->block_count : first + (end - first) * own_share_percent / 100;
}

static void walk_ahead(struct worker *worker, void *context)
{
    struct goroutines_ahead *ahead = context;
    if (ahead->semaphores != NULL)
        go_semaphore_search_run(ahead->semaphores, &ahead->runtime);
    for (size_t block = next_block(ahead); block < ahead->block_count && !worker_is_unwanted(worker);) {
        do_block(ahead, block++);
        bool is_passed = block <= atomic_load_explicit(&ahead->at, memory_order_relaxed);
        if (is_passed || block == ahead->block_count || atomic_load_explicit(&ahead->is_done[block], memory_order_relaxed))
            block = next_block(ahead);
    }
}

static struct goroutines_ahead *begin(const struct go_runtime *runtime, struct walker *walker, uint64_t slot,
                                      struct go_semaphore_search *semaphores, struct worker *worker,
                                      struct arena *arena)
{
    struct goroutines_ahead *ahead = arena_new(arena, struct goroutines_ahead);
    *ahead = (struct goroutines_ahead){
        .image = *runtime->image,
        .runtime = *runtime,
        .semaphores = semaphores,
        .slot_count = runtime->goroutine_count,
        .stacks = arena_array(arena, uint16_t, runtime->goroutine_count),
        .block_count = (size_t)((runtime->goroutine_count + block_slots - 1) / block_slots),
    };
    ahead->image.memory.files = (struct memory_layer){0};
    ahead->image.memory.target = NULL;
    ahead->runtime.image = &ahead->image;
    ahead->walker = walker_copy(walker, &ahead->image.memory, arena);
    ahead->reader = goroutine_reader_new(&ahead->runtime);
    ahead->is_done = arena_array(arena, atomic_bool, ahead->block_count);
    atomic_store(&ahead->at, (size_t)(slot / block_slots));
    return worker_start(worker, walk_ahead, ahead) ? ahead : NULL;
}

struct goroutines_ahead *goroutines_ahead_at(struct goroutines_ahead *ahead, const struct go_runtime *runtime,
                                             struct walker *walker, uint64_t slot,
                                             struct go_semaphore_search *semaphores, struct worker *worker,
                                             struct arena *arena)
{
    if (ahead != NULL && slot % block_slots == 0)
        atomic_store_explicit(&ahead->at, (size_t)(slot / block_slots), memory_order_relaxed);
    if (slot != slots_seen || runtime->goroutine_count < slots_least || walker_trie(walker)->node_count > nodes_most)
        return ahead;
    return begin(runtime, walker, slot, semaphores, worker, arena);
}

uint32_t goroutines_ahead_stack(const struct goroutines_ahead *ahead, uint64_t slot)
{
    if (ahead == NULL || slot >= ahead->slot_count ||
        !atomic_load_explicit(&ahead->is_done[slot / block_slots], memory_order_acquire))
        return index_none;
    return ahead->stacks[slot] == 0 ? index_none : (uint32_t)ahead->stacks[slot] - 1;
}
