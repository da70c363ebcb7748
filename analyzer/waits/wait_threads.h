/* SPDX-License-Identifier: Apache-2.0 */
/* Which thread a number in the target's memory means: by thread id, as locks keep their owner, or by the address of its
 * thread block, as pthread_t has it. Ids in memory are those of the target's own pid namespace; where the source does
 * not tell them, each thread's block does. The block also tells glibc from musl where no name does. */
#ifndef SG_WAITS_WAIT_THREADS_H
#define SG_WAITS_WAIT_THREADS_H

#include "model/snapshot.h"

enum libc_kind { LIBC_UNKNOWN, LIBC_GLIBC, LIBC_MUSL };

struct wait_threads {
    enum libc_kind libc;
    bool ids_known;     /* ids in memory can be told: false, they are of a pid namespace that could not be mapped */
    bool is_complete;   /* an id that no thread has is of none that is alive */
    uint32_t *id_slots; /* members + 1 by id in memory; 0 is free */
    uint32_t *ids;      /* by member: its id in memory, 0 unknown */
    uint64_t *pointers; /* by member: the address of its block, 0 unknown */
    size_t slot_count;
    const struct image *image;
    struct arena *arena;
    struct thread_block *blocks; /* by address; NULL: nobody asked yet */
    size_t block_count;
};

struct thread_block {
    uint64_t address;
    uint32_t member;
};

/* Members are the image's threads, in its order. The image and the arena stay in use. */
void wait_threads_init(struct wait_threads *threads, const struct image *image, struct arena *arena);

/* The member with that id in the target's memory, index_none when there is none. */
uint32_t wait_threads_find(const struct wait_threads *threads, uint32_t id);

/* The member whose thread block is at the address, index_none when there is none. */
uint32_t wait_threads_find_block(struct wait_threads *threads, uint64_t address);

/* The member whose block starts at or just below the address: fields of the block lie there. */
uint32_t wait_threads_around(struct wait_threads *threads, uint64_t address);

#endif
