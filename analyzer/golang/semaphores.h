/* SPDX-License-Identifier: Apache-2.0 */
/* Which semaphore a goroutine is parked on: runtime.semtable, the tree of waiters behind sync's mutexes, rwlocks and wait
 * groups. A g does not tell it before Go 1.26. */
#ifndef SG_GOLANG_SEMAPHORES_H
#define SG_GOLANG_SEMAPHORES_H

#include "golang/go_runtime.h"

struct go_semaphore_wait {
    uint64_t goroutine; /* address of its g */
    uint64_t address;   /* of the u32 that it waits on */
};

/* Where the table is; 0: not to be found, because no goroutine waits. */
uint64_t go_semaphores_find(const struct go_runtime *runtime);

/* All of them, by ascending g; in `arena`, may be none. That the goroutines are some is not checked: a million of them would
 * be as many looks elsewhere. The table is found without symbols: by the places of its
 * entries, which the addresses waited on decide. A running target is asked for what is not copied. */
const struct go_semaphore_wait *go_semaphores_read(const struct go_runtime *runtime, struct arena *arena,
                                                   size_t *ret_count);

/* The same in parts, as chains of a million are read by a thread of their own: made and taken by the one, run by the other
 * with a runtime of its own, which allocates nothing where there is no running target. */
struct go_semaphore_search;
struct go_semaphore_search *go_semaphore_search_new(const struct go_runtime *runtime, struct arena *arena);
void go_semaphore_search_run(struct go_semaphore_search *search, const struct go_runtime *runtime);
const struct go_semaphore_wait *go_semaphore_search_take(struct go_semaphore_search *search, size_t *ret_count);

#endif
