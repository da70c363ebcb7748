/* SPDX-License-Identifier: Apache-2.0 */
/* What goroutines wait for, from the Go runtime's own records: channels through their sudogs, the semaphores of sync's
 * locks and wait groups. Go keeps no owner of a lock: wait_go_holders.h infers it. */
#ifndef SG_WAITS_WAIT_GO_H
#define SG_WAITS_WAIT_GO_H

#include "golang/goroutines.h"
#include "golang/semaphores.h"
#include "model/snapshot.h"
#include "waits/wait_facts.h"
#include "waits/wait_go_holders.h"

/* As go_semaphores_read gives them. Goroutines are made, and asked for, mostly by ascending address. */
struct go_semaphores {
    const struct go_semaphore_wait *waits;
    size_t count;
    size_t last; /* where the last goroutine's is or would be */
};

/* In two steps: as the goroutine's record tells it, and once the semaphores are known, of the g at that address. */
struct go_park go_park_new(const struct goroutine *goroutine);
void go_park_settle(struct go_park *park, uint64_t goroutine, struct go_semaphores *semaphores);

/* Fills resources and waits, and the members' ranges. `parks` are the members', in their order. What lies among the
 * program's variables has their names ("main.mu"). */
void wait_go_read(const struct go_runtime *runtime, const struct go_park *parks, const struct data_names *names,
                  struct snapshot *snapshot, struct arena *scratch);

#endif
