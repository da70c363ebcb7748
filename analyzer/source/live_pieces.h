/* SPDX-License-Identifier: Apache-2.0 */
/* Many ranges of a live process's memory, known before it is stopped and copied by few calls while it is. The copies
 * lie in one mapping of ours, in the order in which they were placed; a first copy before the stop finds out what there
 * is to copy and pages that mapping in, a second one in the stop is what counts. */
#ifndef SG_SOURCE_LIVE_PIECES_H
#define SG_SOURCE_LIVE_PIECES_H

#include "model/memory.h"

#include <stdatomic.h>
#include <sys/uio.h>

struct live_piece {
    uint64_t start, end; /* target addresses */
    uint8_t *bytes;      /* where they are copied to; NULL: no place was left */
    uint64_t copied;     /* bytes from start on that the last copy got */
};

struct live_pieces {
    struct live_piece *items;
    size_t count, capacity;
};

struct live_copier {
    uint32_t tid;    /* a thread of the target that has memory */
    int memory_fd;   /* /proc/PID/mem */
    bool is_refused; /* process_vm_readv is, by a sandbox: the file is read instead */
    uint8_t *places; /* one mapping of address space, used from its start */
    size_t places_bytes, places_used;
    uint64_t deadline; /* nanoseconds of CLOCK_MONOTONIC after which nothing is copied any more; 0: none */
    const atomic_bool *let_go; /* the same once it is set; NULL: none */
};

/* False with errno. `places_bytes` are reserved, not yet used. */
bool live_copier_open(struct live_copier *copier, uint32_t tid, int memory_fd, size_t places_bytes);
void live_copier_close(struct live_copier *copier);
bool live_copier_time_is_up(const struct live_copier *copier);

/* The ranges of `vector` one after another into `to`, by one call; returns how many bytes were there before the first
 * that was not. */
size_t live_copier_read(struct live_copier *copier, uint8_t *to, const struct iovec *vector, size_t count);

void live_pieces_add(struct live_pieces *pieces, struct arena *arena, uint64_t start, uint64_t size_bytes);

/* Sorts them, makes one of those that overlap or lie at most `gap_bytes` apart, and gives each its place. Once. */
void live_pieces_place(struct live_pieces *pieces, struct live_copier *copier, uint64_t gap_bytes);

/* Copies all into their places, and whatever they held before counts no more. False when the deadline came first. */
bool live_pieces_copy(struct live_pieces *pieces, struct live_copier *copier);

/* The piece that holds all of these addresses, copied or not; NULL: none does. */
struct live_piece *live_pieces_find(const struct live_pieces *pieces, uint64_t start, uint64_t size_bytes);

/* Appends what was copied to a layer. */
void live_pieces_append(const struct live_pieces *pieces, struct memory *memory, struct memory_layer *layer);

#endif
