/* SPDX-License-Identifier: Apache-2.0 */
#include "group/resource_waits.h"

#include <stdlib.h>

/* One wait of one member. */
struct waiter {
    const struct wait *wait;
    uint32_t place; /* of the member in its group, by ascending id */
};

/* Rows that belong together come together, each by the members' order. */
static int compare_waiters(const void *left, const void *right)
{
    const struct waiter *a = left, *b = right;
    if (a->wait->resource != b->wait->resource)
        return a->wait->resource < b->wait->resource ? -1 : 1;
    if (a->wait->exclusive != b->wait->exclusive)
        return a->wait->exclusive ? -1 : 1;
    return a->place < b->place ? -1 : a->place > b->place;
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

static struct resource_wait *row_new(struct grouping *grouping, const struct wait *wait, struct arena *arena)
{
    grouping->resource_waits = arena_grow(arena, grouping->resource_waits, grouping->resource_wait_count,
                                          &grouping->resource_wait_capacity, sizeof *grouping->resource_waits);
    struct resource_wait *row = &grouping->resource_waits[grouping->resource_wait_count++];
    *row = (struct resource_wait){
        .resource = wait->resource,
        .exclusive = wait->exclusive,
        .waiter_first = (uint32_t)grouping->resource_waiter_count,
        .learnt = wait->learnt,
    };
    return row;
}

void resource_waits_add(const struct snapshot *snapshot, struct grouping *grouping, struct group *group,
                        struct arena *arena, struct arena *scratch)
{
    group->resource_wait_first = (uint32_t)grouping->resource_wait_count;
    const uint32_t *members = grouping->members + group->member_first;
    size_t count = 0;
    for (uint32_t i = 0; i < group->member_count; i++)
        count += snapshot->members[members[i]].wait_count;
    if (count == 0)
        return;
    struct waiter *waiters = arena_array(scratch, struct waiter, count);
    count = 0;
    for (uint32_t i = 0; i < group->member_count; i++) {
        const struct member *member = &snapshot->members[members[i]];
        for (uint32_t j = 0; j < member->wait_count; j++)
            waiters[count++] = (struct waiter){&snapshot->waits[member->wait_first + j], i};
    }
    qsort(waiters, count, sizeof *waiters, compare_waiters);
    struct resource_wait *row = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct wait *wait = waiters[i].wait, *before = i == 0 ? NULL : waiters[i - 1].wait;
        bool is_new = before == NULL || before->resource != wait->resource || before->exclusive != wait->exclusive;
        /* Cases of one select can name the same channel twice. */
        if (!is_new && waiters[i].place == waiters[i - 1].place)
            continue;
        if (is_new)
            row = row_new(grouping, wait, arena);
        grouping->resource_waiters =
            arena_grow(arena, grouping->resource_waiters, grouping->resource_waiter_count,
                       &grouping->resource_waiter_capacity, sizeof *grouping->resource_waiters);
        grouping->resource_waiters[grouping->resource_waiter_count++] = members[waiters[i].place];
        row->waiter_count++;
        row->count += snapshot->members[members[waiters[i].place]].count;
        row->learnt = wait->learnt < row->learnt ? wait->learnt : row->learnt;
    }
    group->resource_wait_count = (uint32_t)grouping->resource_wait_count - group->resource_wait_first;
    qsort(grouping->resource_waits + group->resource_wait_first, group->resource_wait_count,
          sizeof *grouping->resource_waits, compare_rows);
}
