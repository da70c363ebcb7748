/* SPDX-License-Identifier: Apache-2.0 */
#include "group/descriptor_waits.h"

#include <stdlib.h>

/* One member and what it waits on. */
struct waiter {
    uint32_t state;
    const struct descriptor *descriptor;
};

/* By class of descriptor, then by state, then by number. */
static int compare_waiters(const void *left, const void *right)
{
    const struct waiter *a = left, *b = right;
    if (a->descriptor->class_number != b->descriptor->class_number)
        return a->descriptor->class_number < b->descriptor->class_number ? -1 : 1;
    if (a->state != b->state)
        return a->state < b->state ? -1 : 1;
    return a->descriptor->fd < b->descriptor->fd ? -1 : a->descriptor->fd > b->descriptor->fd;
}

static int compare_waits(const void *left, const void *right)
{
    const struct descriptor_wait *a = left, *b = right;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    if (a->first->fd != b->first->fd)
        return a->first->fd < b->first->fd ? -1 : 1;
    return a->state < b->state ? -1 : a->state > b->state;
}

static void add_waiter(struct grouping *grouping, const struct waiter *waiter, const struct waiter *before,
                       struct arena *arena)
{
    const struct descriptor *descriptor = waiter->descriptor;
    bool is_new = before == NULL || before->state != waiter->state ||
                  before->descriptor->class_number != descriptor->class_number;
    if (is_new) {
        grouping->waits = arena_grow(arena, grouping->waits, grouping->wait_count, &grouping->wait_capacity,
                                     sizeof *grouping->waits);
        grouping->waits[grouping->wait_count++] = (struct descriptor_wait){
            .state = waiter->state,
            .class_number = descriptor->class_number,
            .first = descriptor,
            .receive_queue_known = true,
        };
    }
    struct descriptor_wait *wait = &grouping->waits[grouping->wait_count - 1];
    wait->count++;
    if (!is_new && before->descriptor == descriptor)
        return;
    wait->fd_count++;
    wait->receive_queue += descriptor->receive_queue;
    wait->send_queue += descriptor->send_queue;
    wait->receive_queue_known &= descriptor->receive_queue_known;
}

void descriptor_waits_add(const struct snapshot *snapshot, struct grouping *grouping, struct group *group,
                          struct arena *arena)
{
    group->wait_first = (uint32_t)grouping->wait_count;
    if (snapshot->descriptors == NULL)
        return;
    const uint32_t *members = grouping->members + group->member_first;
    uint32_t count = 0;
    for (uint32_t i = 0; i < group->member_count; i++)
        count += snapshot->members[members[i]].fd >= 0;
    struct waiter *waiters = arena_array(arena, struct waiter, (size_t)count + 1);
    count = 0;
    for (uint32_t i = 0; i < group->member_count; i++) {
        const struct member *member = &snapshot->members[members[i]];
        const struct descriptor *descriptor = descriptors_find(snapshot->descriptors, member->fd);
        if (descriptor != NULL)
            waiters[count++] = (struct waiter){member->state, descriptor};
    }
    qsort(waiters, count, sizeof *waiters, compare_waiters);
    for (uint32_t i = 0; i < count; i++)
        add_waiter(grouping, &waiters[i], i == 0 ? NULL : &waiters[i - 1], arena);
    group->wait_count = (uint32_t)grouping->wait_count - group->wait_first;
    if (group->wait_count != 0)
        qsort(grouping->waits + group->wait_first, group->wait_count, sizeof *grouping->waits, compare_waits);
}
