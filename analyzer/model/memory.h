/* SPDX-License-Identifier: Apache-2.0 */
/* A target's memory as far as it is at hand: ranges of addresses with their bytes, in two layers. The core (or what was
 * copied from a live process) is asked first; where it has nothing, the verified files of modules answer for mappings
 * that a core leaves out. Bytes that neither has are missing: a read says so and never makes zeros of it.
 *
 * A live target can be asked for what was not copied while it was stopped, by memory_ask alone. Its answer is of now: the
 * target runs again. It fits what does not change while a thread stands still (the thread's block, the name and the kind
 * of a lock), not what is compared with the stacks: those and the words that threads wait for are copied in the stop.
 *
 * No range reaches the last page of the address space, where no program's memory lies: what goes through one word by word
 * may add to its end. */
#ifndef SG_MODEL_MEMORY_H
#define SG_MODEL_MEMORY_H

#include "base/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct memory_range {
    uint64_t start, end;  /* target addresses, end exclusive; start < end */
    const uint8_t *bytes; /* end - start of them, borrowed from a mapping that outlives the image's use */
};

struct memory_layer {
    struct memory_range *ranges; /* sorted by start, disjoint */
    size_t count, capacity;
};

/* A target that runs. */
struct memory_target {
    size_t (*read)(void *context, uint64_t address, void *ret_bytes, size_t size_bytes); /* returns how many are there */
    void *context;
    struct memory_layer pages; /* what it answered: a second question has the same answer */
    uint64_t bytes_left;       /* that it may still be asked for */
};

struct memory {
    struct arena *arena;
    struct memory_layer core;
    struct memory_layer files;
    struct memory_target *target; /* NULL: none, as with cores */
};

/* Appends without order; memory_layer_freeze sorts afterwards. */
void memory_layer_append(struct memory *memory, struct memory_layer *layer, struct memory_range range);

/* Sorts and makes the ranges disjoint: where two overlap, the one appended first keeps its bytes. Returns how many
 * ranges lost bytes that way. */
size_t memory_layer_freeze(struct memory *memory, struct memory_layer *layer);

/* The layer as it is: what is done with the original later is not done with it. */
struct memory_layer memory_layer_copy(struct memory *memory, const struct memory_layer *layer);

/* Adds one range to a frozen layer, only where the layer has nothing yet. */
void memory_layer_insert(struct memory *memory, struct memory_layer *layer, struct memory_range range);

/* The range that holds the address, or NULL. */
const struct memory_range *memory_find(const struct memory *memory, uint64_t address);

/* Whether a range that memory_find gave belongs to the upper layer, which nothing overlies. */
static inline bool memory_is_core(const struct memory *memory, const struct memory_range *range)
{
    return range >= memory->core.ranges && range < memory->core.ranges + memory->core.count;
}

/* `size_bytes` contiguous bytes at the address without a copy, or NULL when any is missing or a range ends between. */
const uint8_t *memory_view(const struct memory *memory, uint64_t address, size_t size_bytes);

/* The core's bytes around an address, over ranges (some dozens) that go on in them where the one before ends: a
 * kernel's core has a segment for each mapping, and Go's heap grows by mappings. False when the core does not have the address. */
bool memory_find_around(const struct memory *memory, uint64_t address, struct memory_range *ret_range);

/* memory_view that looks first in the bytes of the core that answered last: begins as zeros, and is the reader's own. */
static inline const uint8_t *memory_view_near(const struct memory *memory, struct memory_range *last, uint64_t address,
                                              size_t size_bytes)
{
    if (address - last->start < last->end - last->start && size_bytes <= last->end - address)
        return last->bytes + (address - last->start);
    if (memory_find_around(memory, address, last) && size_bytes <= last->end - address)
        return last->bytes + (address - last->start);
    return memory_view(memory, address, size_bytes);
}

/* The same as memory_view, but bytes that lie in several ranges are copied, into the memory's arena. */
const uint8_t *memory_view_across(const struct memory *memory, uint64_t address, size_t size_bytes);

/* Copies as many bytes as are there from the address on, across ranges; returns how many. */
size_t memory_read(const struct memory *memory, uint64_t address, void *ret_bytes, size_t size_bytes);

/* False when any of the 8 bytes is missing. */
bool memory_read_u64(const struct memory *memory, uint64_t address, uint64_t *ret_value);

/* As memory_read, and where both layers have nothing the running target is asked. *ret_is_late tells whether any of the
 * bytes are the target's answer, which is not of the stop's instant. Without a target it is memory_read. */
size_t memory_ask(const struct memory *memory, uint64_t address, void *ret_bytes, size_t size_bytes, bool *ret_is_late);

#endif
