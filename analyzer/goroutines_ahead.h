/* SPDX-License-Identifier: Apache-2.0 */
/* Walks goroutines in a second thread, ahead of the one that makes the snapshot: of many, nearly all stand in stacks that the
 * first of them have shown. What it does not know the first thread walks itself, as it does all while no processor is free:
 * the snapshot is the same. */
#ifndef SG_GOROUTINES_AHEAD_H
#define SG_GOROUTINES_AHEAD_H

#include "base/worker.h"
#include "golang/semaphores.h"
#include "unwind/unwind_go.h"

struct goroutines_ahead;

/* To be called before each slot of the runtime's list, in their order, with what it returned before, first NULL. Begins when
 * the walker has seen enough; NULL until then, and for lists that are too short. Before all else the thread runs the search, if
 * there is one, whose result can be taken once the worker has ended. */
struct goroutines_ahead *goroutines_ahead_at(struct goroutines_ahead *ahead, const struct go_runtime *runtime,
                                             struct walker *walker, uint64_t slot,
                                             struct go_semaphore_search *semaphores, struct worker *worker,
                                             struct arena *arena);

/* The stack of the goroutine in that slot by its number in the walker's trie; index_none: it is to be walked. For slots up to
 * a few after the one that was begun last. */
uint32_t goroutines_ahead_stack(const struct goroutines_ahead *ahead, uint64_t slot);

#endif
