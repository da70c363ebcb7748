/* SPDX-License-Identifier: Apache-2.0 */
/* Summarises what the members of a group wait on: hundreds of threads that each read their own connection become one
 * row. */
#ifndef SG_GROUP_DESCRIPTOR_WAITS_H
#define SG_GROUP_DESCRIPTOR_WAITS_H

#include "model/grouping.h"

/* Appends the group's rows to grouping->waits, in the arena, and sets its wait_first and wait_count. The group's members
 * are known already. */
void descriptor_waits_add(const struct snapshot *snapshot, struct grouping *grouping, struct group *group,
                          struct arena *arena);

#endif
