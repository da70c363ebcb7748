/* SPDX-License-Identifier: Apache-2.0 */
/* Summarises which locks, channels and other resources the members of a group wait for: four hundred threads in front
 * of one mutex become one row. */
#ifndef SG_GROUP_RESOURCE_WAITS_H
#define SG_GROUP_RESOURCE_WAITS_H

#include "base/number_sort.h"
#include "model/grouping.h"

/* For the waits of the largest group so far, used again for the next; begins as zeros. */
struct resource_waits_room {
    struct numbered *items, *spare;
    size_t capacity;
};

/* Appends the group's rows to grouping->resource_waits, in `arena`, and sets its resource_wait_first and
 * resource_wait_count. The group's members are known already, by ascending id; `count` is how many waits they have. */
void resource_waits_add(const struct snapshot *snapshot, struct grouping *grouping, struct group *group, size_t count,
                        struct resource_waits_room *room, struct arena *arena, struct arena *scratch);

#endif
