/* SPDX-License-Identifier: Apache-2.0 */
/* The g's that were read so far, by address: a damaged list of goroutines names some twice, as one with a lying length does
 * whose array is followed by an older copy of itself. Bits of 2 MiB runs of the heap: what follows one another in the
 * list lies close together, so that a look costs next to nothing beside reading the g. */
#ifndef SG_GOLANG_GOROUTINE_SET_H
#define SG_GOLANG_GOROUTINE_SET_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>

struct goroutine_set {
    struct arena *arena;
    struct goroutine_run *runs; /* by hash, a power of two slots */
    size_t run_count, slot_count;
    struct goroutine_run *last;
};

struct goroutine_set goroutine_set_new(struct arena *arena);

/* False when it is there already. Two g's are never closer than 256 bytes. */
bool goroutine_set_add(struct goroutine_set *set, uint64_t address);

#endif
