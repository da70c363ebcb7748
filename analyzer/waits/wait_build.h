/* SPDX-License-Identifier: Apache-2.0 */
/* Wait facts while they are gathered: things are found again by what they are, waits and holds are noted in any order,
 * and the end sorts all of it into the snapshot as model/wait.h says. Knows nothing of where a fact comes from. */
#ifndef SG_WAITS_WAIT_BUILD_H
#define SG_WAITS_WAIT_BUILD_H

#include "model/snapshot.h"

struct wait_build {
    struct snapshot *snapshot;
    struct arena *scratch;
    struct resource *resources; /* in order of first mention */
    size_t resource_count, resource_capacity;
    uint32_t *slots; /* numbers + 1 by (kind, address, name); 0 is free */
    size_t slot_count;
    struct wait *waits;
    size_t wait_count, wait_capacity;
    struct hold *holds;
    size_t hold_count, hold_capacity;
};

/* The snapshot has its members. */
void wait_build_init(struct wait_build *build, struct snapshot *snapshot, struct arena *scratch);

/* The number of the thing of that kind at that address; where the address is 0, with that name (a string of the
 * snapshot). *ret_is_new: nothing else is known of it yet. */
uint32_t wait_build_resource(struct wait_build *build, enum wait_kind kind, uint64_t address, uint32_t name,
                             bool *ret_is_new);

void wait_build_wait(struct wait_build *build, struct wait wait);

/* The resource is HOLDER_HELD from here on. */
void wait_build_hold(struct wait_build *build, struct hold hold);

/* Sorts and moves everything to the snapshot's arena, sets the members' ranges, counts waiters. Waits and holds speak
 * of members of the snapshot. */
void wait_build_finish(struct wait_build *build);

#endif
