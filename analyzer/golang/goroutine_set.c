/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/goroutine_set.h"

enum { g_bits = 8, run_bits = 21, run_words = 1 << (run_bits - g_bits - 6), slots_first = 64 };

struct goroutine_run {
    uint64_t number; /* address >> run_bits */
    uint64_t *words; /* NULL: a free slot */
};

struct goroutine_set goroutine_set_new(struct arena *arena)
{
    return (struct goroutine_set){
        .arena = arena,
        .runs = arena_array(arena, struct goroutine_run, slots_first),
        .slot_count = slots_first,
    };
}

static struct goroutine_run *find_slot(const struct goroutine_set *set, uint64_t number)
{
    size_t mask = set->slot_count - 1, slot = (size_t)((number * 0x9e3779b97f4a7c15u) >> 20) & mask;
    while (set->runs[slot].words != NULL && set->runs[slot].number != number)
        slot = (slot + 1) & mask;
    return &set->runs[slot];
}

static void grow(struct goroutine_set *set)
{
    const struct goroutine_run *old = set->runs;
    size_t old_count = set->slot_count;
    set->slot_count *= 2;
    set->runs = arena_array(set->arena, struct goroutine_run, set->slot_count);
    for (size_t i = 0; i < old_count; i++)
        if (old[i].words != NULL)
            *find_slot(set, old[i].number) = old[i];
}

bool goroutine_set_add(struct goroutine_set *set, uint64_t address)
{
    uint64_t number = address >> run_bits;
    if (set->last == NULL || set->last->number != number) {
        set->last = find_slot(set, number);
        if (set->last->words == NULL) {
            if (2 * ++set->run_count > set->slot_count) {
                grow(set);
                set->last = find_slot(set, number);
            }
            *set->last = (struct goroutine_run){number, arena_array(set->arena, uint64_t, run_words)};
        }
    }
    size_t bit = (size_t)(address >> g_bits) & (((size_t)1 << (run_bits - g_bits)) - 1);
    uint64_t mask = (uint64_t)1 << (bit & 63);
    bool is_new = (set->last->words[bit >> 6] & mask) == 0;
    set->last->words[bit >> 6] |= mask;
    return is_new;
}
