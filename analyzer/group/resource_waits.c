/* SPDX-License-Identifier: Apache-2.0 */
#include "group/resource_waits.h"

#include <stdlib.h>

/* One wait of one member. */
struct waiter {
    const struct wait *wait;
    uint32_t row;   /* equal in what becomes one row: the resource, or the kind of plain ones */
    uint32_t place; /* of the member in its group, by ascending id */
    bool is_plain, exclusive;
};

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

/* Rows that belong together come together, each by the members' order. */
static int compare_waiters(const void *left, const void *right)
{
    const struct waiter *a = left, *b = right;
    if (a->is_plain != b->is_plain)
        return a->is_plain ? 1 : -1;
    if (a->row != b->row)
        return a->row < b->row ? -1 : 1;
    if (!a->is_plain && a->exclusive != b->exclusive)
        return a->exclusive ? -1 : 1;
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

static struct resource_wait *row_new(struct grouping *grouping, const struct waiter *first, struct arena *arena)
{
    grouping->resource_waits = arena_grow(arena, grouping->resource_waits, grouping->resource_wait_count,
                                          &grouping->resource_wait_capacity, sizeof *grouping->resource_waits);
    struct resource_wait *row = &grouping->resource_waits[grouping->resource_wait_count++];
    *row = (struct resource_wait){
        .resource = first->wait->resource,
        .is_plain = first->is_plain,
        .exclusive = first->wait->exclusive,
        .waiter_first = (uint32_t)grouping->resource_waiter_count,
        .learnt = first->wait->learnt,
    };
    return row;
}

static bool is_of_row(const struct waiter *waiter, const struct waiter *before)
{
    return waiter->is_plain == before->is_plain && waiter->row == before->row &&
           (waiter->is_plain || waiter->wait->exclusive == before->wait->exclusive);
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
        for (uint32_t j = 0; j < member->wait_count; j++) {
            const struct wait *wait = &snapshot->waits[member->wait_first + j];
            const struct resource *resource = &snapshot->resources[wait->resource];
            bool is_plain = resource_is_plain(resource);
            waiters[count++] = (struct waiter){wait, is_plain ? resource->kind : wait->resource, i, is_plain, wait->exclusive};
        }
    }
    bool is_sorted = true; /* as in the common case of one resource */
    for (size_t i = 1; i < count && is_sorted; i++)
        is_sorted = compare_waiters(&waiters[i - 1], &waiters[i]) <= 0;
    if (!is_sorted)
        qsort(waiters, count, sizeof *waiters, compare_waiters);
    struct resource_wait *row = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct wait *wait = waiters[i].wait;
        bool is_new = row == NULL || !is_of_row(&waiters[i], &waiters[i - 1]);
        if (is_new)
            row = row_new(grouping, &waiters[i], arena);
        row->is_several |= wait->resource != row->resource;
        /* Cases of one select can name the same channel twice. */
        if (!is_new && waiters[i].place == waiters[i - 1].place)
            continue;
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
