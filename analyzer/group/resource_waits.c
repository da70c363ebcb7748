/* SPDX-License-Identifier: Apache-2.0 */
#include "group/resource_waits.h"

#include <stdlib.h>

static bool resource_is_plain(const struct resource *resource)
{
    if (resource->hold_count != 0 || (resource->holder != HOLDER_NEVER && resource->holder != HOLDER_UNKNOWN))
        return false;
    switch (resource->kind) {
    case WAIT_SOCKET:
    case WAIT_PIPE:
    case WAIT_FILE:
    case WAIT_POLL:
    case WAIT_SLEEP:
    case WAIT_CHILD:
        return true;
    case WAIT_UNKNOWN:
    case WAIT_MUTEX:
    case WAIT_RWLOCK:
    case WAIT_CONDITION:
    case WAIT_SEMAPHORE:
    case WAIT_JOIN:
    case WAIT_BARRIER:
    case WAIT_ONCE:
    case WAIT_FUTEX:
    case WAIT_LOADER:
    case WAIT_STDIO:
    case WAIT_ALLOCATOR:
    case WAIT_WAITGROUP:
    case WAIT_CHANNEL_SEND:
    case WAIT_CHANNEL_RECEIVE:
    case WAIT_SELECT:
    case WAIT_KIND_COUNT:
        break;
    }
    return resource->is_any || (resource->address == 0 && resource->name == 0 && !resource->capacity_known);
}

enum { prefetch_distance = 8 };

/* What is equal in the waits of one row: plain ones are told apart by kind alone and come last. */
enum { row_plain_bit = 33, row_number_bit = 1, row_shared_bit = 0 };

static uint64_t row_key(const struct resource *resource, const struct wait *wait)
{
    if (resource_is_plain(resource))
        return (uint64_t)1 << row_plain_bit | (uint64_t)resource->kind << row_number_bit;
    return (uint64_t)wait->resource << row_number_bit | (uint64_t)!wait->exclusive << row_shared_bit;
}

/* The members' order within a row is kept. Both numbers of a wait, its member's place in the group and its own. */
static uint64_t waiter_value(uint32_t place, uint32_t wait)
{
    return (uint64_t)place << 32 | wait;
}

static uint32_t waiter_place(const struct numbered *waiter)
{
    return (uint32_t)(waiter->value >> 32);
}

/* The snapshot's order of resources is by kind and address: it decides between equal counts. */
static int compare_rows(const void *left, const void *right)
{
    const struct resource_wait *a = left, *b = right;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    if (a->resource != b->resource)
        return a->resource < b->resource ? -1 : 1;
    return a->exclusive == b->exclusive ? 0 : a->exclusive ? -1 : 1;
}

static struct resource_wait *row_new(struct grouping *grouping, const struct wait *first, bool is_plain,
                                     struct arena *arena)
{
    grouping->resource_waits = arena_grow(arena, grouping->resource_waits, grouping->resource_wait_count,
                                          &grouping->resource_wait_capacity, sizeof *grouping->resource_waits);
    struct resource_wait *row = &grouping->resource_waits[grouping->resource_wait_count++];
    *row = (struct resource_wait){
        .resource = first->resource,
        .is_plain = is_plain,
        .exclusive = first->exclusive,
        .waiter_first = (uint32_t)grouping->resource_waiter_count,
        .learnt = first->learnt,
    };
    return row;
}

/* A group's members are strewn among all the others, and their waits: of one the wait is asked for, of one that comes
 * before it the thing that its wait is for. */
static void prefetch_wait(const struct snapshot *snapshot, uint32_t member, uint32_t before)
{
    __builtin_prefetch(&snapshot->waits[snapshot->members[member].wait_first]);
    if (snapshot->members[before].wait_count != 0)
        __builtin_prefetch(&snapshot->resources[snapshot->waits[snapshot->members[before].wait_first].resource]);
}

/* The waits of the group's members, row by row. */
static const struct numbered *order_waits(const struct snapshot *snapshot, const uint32_t *members,
                                          const struct group *group, struct resource_waits_room *room,
                                          size_t count, struct arena *scratch)
{
    if (count > room->capacity) {
        room->items = arena_array(scratch, struct numbered, count);
        room->spare = arena_array(scratch, struct numbered, count);
        room->capacity = count;
    }
    count = 0;
    for (uint32_t i = 0; i < group->member_count; i++) {
        const struct member *member = &snapshot->members[members[i]];
        if (i + 3 * prefetch_distance < group->member_count) {
            __builtin_prefetch(&snapshot->members[members[i + 3 * prefetch_distance]]);
            prefetch_wait(snapshot, members[i + 2 * prefetch_distance], members[i + prefetch_distance]);
        }
        for (uint32_t j = member->wait_first; j < member->wait_first + member->wait_count; j++) {
            const struct wait *wait = &snapshot->waits[j];
            room->items[count++] =
                (struct numbered){row_key(&snapshot->resources[wait->resource], wait), waiter_value(i, j)};
        }
    }
    number_sort(room->items, count, room->spare);
    return room->items;
}

static void sort_rows(struct resource_wait *rows, uint32_t count)
{
    bool is_sorted = true; /* as where each goroutine has a channel of its own */
    for (uint32_t i = 1; i < count && is_sorted; i++)
        is_sorted = compare_rows(&rows[i - 1], &rows[i]) <= 0;
    if (!is_sorted)
        qsort(rows, count, sizeof *rows, compare_rows);
}

void resource_waits_add(const struct snapshot *snapshot, struct grouping *grouping, struct group *group, size_t count,
                        struct resource_waits_room *room, struct arena *arena, struct arena *scratch)
{
    group->resource_wait_first = (uint32_t)grouping->resource_wait_count;
    const uint32_t *members = grouping->members + group->member_first;
    const struct numbered *waiters = order_waits(snapshot, members, group, room, count, scratch);
    bool counts_are_one = group->count == group->member_count; /* a look at each again is a cache miss each */
    struct resource_wait *row = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct wait *wait = &snapshot->waits[(uint32_t)waiters[i].value];
        uint32_t place = waiter_place(&waiters[i]);
        bool is_new = row == NULL || waiters[i].key != waiters[i - 1].key;
        if (is_new)
            row = row_new(grouping, wait, waiters[i].key >> row_plain_bit != 0, arena);
        row->is_several |= wait->resource != row->resource;
        /* Cases of one select can name the same channel twice. */
        if (!is_new && place == waiter_place(&waiters[i - 1]))
            continue;
        grouping->resource_waiters =
            arena_grow(arena, grouping->resource_waiters, grouping->resource_waiter_count,
                       &grouping->resource_waiter_capacity, sizeof *grouping->resource_waiters);
        grouping->resource_waiters[grouping->resource_waiter_count++] = members[place];
        row->waiter_count++;
        row->count += counts_are_one ? 1 : snapshot->members[members[place]].count;
        row->learnt = wait->learnt < row->learnt ? wait->learnt : row->learnt;
    }
    group->resource_wait_count = (uint32_t)grouping->resource_wait_count - group->resource_wait_first;
    sort_rows(grouping->resource_waits + group->resource_wait_first, group->resource_wait_count);
}
