/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for what in a native program, from its threads' registers and memory: the system call that a thread is
 * blocked in gives the word or descriptor; the frames, where they have names, and the bytes around the word tell what
 * the word belongs to and who has it. Without names a thing is called a mutex only when its memory proves it. */
#ifndef SG_WAITS_WAIT_FACTS_H
#define SG_WAITS_WAIT_FACTS_H

#include "base/diagnostics.h"
#include "model/snapshot.h"

/* Names of the target's data, which another stage knows. */
struct data_names {
    /* False when no symbol holds the address; "orders_lock" or "table+0x28", in the arena. */
    bool (*find)(void *context, uint64_t address, struct arena *arena, struct text *ret_name);
    void *context;
};

/* Fills resources, waits and holds, and the members' ranges. Members are the image's threads, in its order. */
void wait_facts_read(const struct image *image, struct snapshot *snapshot, const struct data_names *names,
                     struct arena *scratch, struct diagnostics *diagnostics);

#endif
