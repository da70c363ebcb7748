/* SPDX-License-Identifier: Apache-2.0 */
#include "waits/wait_build.h"

#include "base/number_sort.h"

#include <stdlib.h>

enum { slot_count_first = 256 };

/* Room for a wait and a thing of each member; selects have more. */
void wait_build_init(struct wait_build *build, struct snapshot *snapshot, struct arena *scratch)
{
    size_t count = snapshot->member_count + 1;
    *build = (struct wait_build){
        .snapshot = snapshot,
        .scratch = scratch,
        .slot_count = slot_count_first,
        .resources = arena_array(snapshot->arena, struct resource, count),
        .resource_capacity = count,
        .waits = arena_array(snapshot->arena, struct wait, count),
        .wait_capacity = count,
    };
    while (build->slot_count < count)
        build->slot_count *= 2;
    build->slots = arena_array(scratch, uint32_t, build->slot_count);
}

/* The slot that holds the thing, or the free one where it belongs. Things that lie together, as what was made together
 * does, have slots together: a million channels are looked up in the order in which they were made. */
static size_t find_slot(const struct wait_build *build, enum wait_kind kind, uint64_t address, uint32_t name)
{
    enum { region_bits = 16, spacing_bits = 4 };
    const uint64_t key[] = {kind, address >> region_bits, address == 0 ? name : 0};
    size_t in_region = (address & ((1u << region_bits) - 1)) >> spacing_bits;
    size_t slot = ((size_t)hash_bytes(key, sizeof key, 0) + in_region) & (build->slot_count - 1);
    for (; build->slots[slot] != 0; slot = (slot + 1) & (build->slot_count - 1)) {
        const struct resource *resource = &build->resources[build->slots[slot] - 1];
        if (resource->kind == kind && resource->address == address && (address != 0 || resource->name == name))
            break;
    }
    return slot;
}

static void grow_slots(struct wait_build *build)
{
    build->slot_count *= 2;
    build->slots = arena_array(build->scratch, uint32_t, build->slot_count);
    for (size_t i = 0; i < build->resource_count; i++) {
        const struct resource *resource = &build->resources[i];
        build->slots[find_slot(build, resource->kind, resource->address, resource->name)] = (uint32_t)i + 1;
    }
}

uint32_t wait_build_resource(struct wait_build *build, enum wait_kind kind, uint64_t address, uint32_t name,
                             bool *ret_is_new)
{
    size_t slot = find_slot(build, kind, address, name);
    *ret_is_new = build->slots[slot] == 0;
    if (!*ret_is_new)
        return build->slots[slot] - 1;
    build->resources = arena_grow(build->snapshot->arena, build->resources, build->resource_count,
                                  &build->resource_capacity, sizeof *build->resources);
    build->resources[build->resource_count] = (struct resource){.kind = kind, .address = address, .name = name};
    uint32_t number = (uint32_t)build->resource_count++;
    build->slots[slot] = number + 1;
    if (build->resource_count * 2 > build->slot_count)
        grow_slots(build);
    return number;
}

void wait_build_wait(struct wait_build *build, struct wait wait)
{
    build->waits = arena_grow(build->snapshot->arena, build->waits, build->wait_count, &build->wait_capacity,
                              sizeof *build->waits);
    build->waits[build->wait_count++] = wait;
}

void wait_build_hold(struct wait_build *build, struct hold hold)
{
    build->holds =
        arena_grow(build->scratch, build->holds, build->hold_count, &build->hold_capacity, sizeof *build->holds);
    build->holds[build->hold_count++] = hold;
    build->resources[hold.resource].holder = HOLDER_HELD;
}

static int compare_numbers(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_waits(const void *left, const void *right)
{
    const struct wait *a = left, *b = right;
    int order = compare_numbers(a->member, b->member);
    return order != 0 ? order : compare_numbers(a->resource, b->resource);
}

static int compare_holds(const void *left, const void *right)
{
    const struct hold *a = left, *b = right;
    int order = compare_numbers(a->resource, b->resource);
    return order != 0 ? order : compare_numbers(a->member, b->member);
}

/* Each to its place, without a second array: a million take 64 MB. `places` is used up. A place leads to the next one of its
 * circle, and each is a cache miss: they are asked for some steps ahead. */
static void move_resources(struct resource *resources, uint32_t *places, size_t count)
{
    enum { prefetch_distance = 8 };
    for (uint32_t i = 0; i < count; i++) {
        struct resource carried = resources[i];
        uint32_t at = places[i], ahead = at;
        for (int step = 0; step < prefetch_distance && at != i; step++) {
            ahead = places[ahead];
            __builtin_prefetch(&resources[ahead], 1);
        }
        while (at != i) {
            uint32_t next = places[at];
            struct resource swap = resources[at];
            resources[at] = carried;
            carried = swap;
            places[at] = at;
            at = next;
            ahead = places[ahead];
            __builtin_prefetch(&resources[ahead], 1);
        }
        resources[i] = carried;
        places[i] = i;
    }
}

static void finish_resources(struct wait_build *build)
{
    enum { kind_shift = 32 };
    struct snapshot *snapshot = build->snapshot;
    size_t count = build->resource_count;
    struct numbered *order = arena_array(build->scratch, struct numbered, count);
    struct numbered *spare = arena_array(build->scratch, struct numbered, count);
    for (size_t i = 0; i < count; i++)
        order[i] = (struct numbered){build->resources[i].address, (uint64_t)build->resources[i].kind << kind_shift | i};
    number_sort(order, count, spare);
    for (size_t i = 0; i < count; i++)
        order[i] = (struct numbered){order[i].value >> kind_shift, (uint32_t)order[i].value};
    number_sort(order, count, spare);
    uint32_t *places = (void *)spare;
    for (size_t i = 0; i < count; i++)
        places[order[i].value] = (uint32_t)i;
    for (size_t i = 0; i < build->wait_count; i++)
        build->waits[i].resource = places[build->waits[i].resource];
    for (size_t i = 0; i < build->hold_count; i++)
        build->holds[i].resource = places[build->holds[i].resource];
    move_resources(build->resources, places, count);
    snapshot->resources = build->resources;
    snapshot->resource_count = count;
}

/* Mostly each member was looked at once, in turn, and only what one waits for is to be ordered: cases of selects. */
static void sort_waits(struct wait *waits, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (waits[i - 1].member > waits[i].member) {
            qsort(waits, count, sizeof *waits, compare_waits);
            return;
        }
    for (size_t first = 0, end; first < count; first = end) {
        bool is_ordered = true;
        for (end = first + 1; end < count && waits[end].member == waits[first].member; end++)
            is_ordered &= waits[end - 1].resource <= waits[end].resource;
        if (!is_ordered)
            qsort(&waits[first], end - first, sizeof *waits, compare_waits);
    }
}

void wait_build_finish(struct wait_build *build)
{
    struct snapshot *snapshot = build->snapshot;
    if (build->resource_count == 0)
        return;
    finish_resources(build);

    snapshot->waits = build->waits;
    snapshot->wait_count = build->wait_count;
    sort_waits(snapshot->waits, snapshot->wait_count);
    for (size_t i = 0; i < snapshot->wait_count; i++) {
        struct member *member = &snapshot->members[snapshot->waits[i].member];
        if (member->wait_count++ == 0)
            member->wait_first = (uint32_t)i;
        snapshot->resources[snapshot->waits[i].resource].waiters += member->count;
    }

    snapshot->holds = arena_array(snapshot->arena, struct hold, build->hold_count);
    for (size_t i = 0; i < build->hold_count; i++)
        snapshot->holds[i] = build->holds[i];
    snapshot->hold_count = build->hold_count;
    if (build->hold_count != 0)
        qsort(snapshot->holds, snapshot->hold_count, sizeof *snapshot->holds, compare_holds);
    for (size_t i = 0; i < snapshot->hold_count; i++) {
        struct resource *resource = &snapshot->resources[snapshot->holds[i].resource];
        if (resource->hold_count++ == 0)
            resource->hold_first = (uint32_t)i;
    }
}
