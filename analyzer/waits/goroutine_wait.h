/* SPDX-License-Identifier: Apache-2.0 */
/* What a goroutine waits for, by its wait reason and the functions at its leaf: what dumps of text and the runtime's
 * memory have in common. Which thing it is, an address, is for those to tell. */
#ifndef SG_WAITS_GOROUTINE_WAIT_H
#define SG_WAITS_GOROUTINE_WAIT_H

#include "model/snapshot.h"

struct reason_row;
struct stack_wait;

struct goroutine_waits {
    struct snapshot *snapshot;
    struct arena *scratch;
    uint8_t *rows; /* by string: number of its row + 1, 0 none */
    const struct reason_row **reasons; /* by string; NULL: no reason of Go's */
    struct stack_wait *stacks; /* by stack; made once each */
};

struct goroutine_wait {
    enum wait_kind kind;
    enum learnt learnt; /* told by the reason, or inferred from the functions */
    bool exclusive;
    bool is_inner_mutex; /* of a rwlock: it waits for the mutex in it that writers take first */
    uint32_t function;  /* string: the call that tells the kind, "sync.(*Mutex).Lock"; 0 none */
    uint32_t name;      /* string "nil channel"; 0 none */
};

/* The snapshot's members, stacks and strings are complete. */
void goroutine_waits_init(struct goroutine_waits *waits, struct snapshot *snapshot, struct arena *scratch);

/* False when the member waits for nothing, or nothing tells for what. */
bool goroutine_wait_find(struct goroutine_waits *waits, uint32_t member, struct goroutine_wait *ret_wait);

/* A function between a goroutine's own code and the runtime. */
struct goroutine_call {
    enum wait_kind kind;
    bool is_of_thing; /* its first argument is what is waited for */
};

/* False for all other functions. `function` is a string of the snapshot. */
bool goroutine_call_find(const struct goroutine_waits *waits, uint32_t function, struct goroutine_call *ret_call);

/* What can be said of the holder of a thing of that kind before anything is known of it. */
enum holder_state goroutine_holder_state(enum wait_kind kind);

#endif
