/* SPDX-License-Identifier: Apache-2.0 */
/* What the innermost frames of a stack say of its wait: which call of a library it stands in. The same function has
 * many spellings (__GI___lll_lock_wait, ___pthread_mutex_lock, __new_sem_wait_slow64.constprop.0); names are compared
 * without them. Done once a distinct name and a distinct stack. */
#ifndef SG_WAITS_WAIT_CALL_H
#define SG_WAITS_WAIT_CALL_H

#include "model/snapshot.h"

enum wait_call {
    CALL_UNKNOWN, /* no names, or none that is known */
    CALL_MUTEX,
    CALL_RWLOCK_READ,
    CALL_RWLOCK_WRITE,
    CALL_CONDITION,
    CALL_SEMAPHORE,
    CALL_JOIN,
    CALL_BARRIER,
    CALL_ONCE,
    CALL_STDIO,
    CALL_ALLOCATOR,
    CALL_LOADER, /* a mutex of the dynamic loader */
    CALL_RUST_MUTEX,
    CALL_RUST_READ,
    CALL_RUST_WRITE,
    CALL_RUST_CONDITION,
    CALL_RUST_ONCE,
    CALL_PARK,           /* on a word of the thread's own, until another thread wakes it */
    CALL_WORD_SEMAPHORE, /* of C++20 */
    CALL_WORD_BARRIER,   /* C++20's latch and barrier */
    CALL_WORD,           /* C++20's atomic wait */
    CALL_WORD_MUTEX,     /* of GLib and libgomp: 0 free, 1 locked, then a value of its own when somebody waits */
    CALL_WORD_CONDITION, /* of GLib */
};

struct wait_calls {
    const struct snapshot *snapshot;
    uint8_t *of_function; /* by string: what a name says + 1, 0 not yet looked at */
    uint8_t *of_stack;    /* by stack: enum wait_call + 1, 0 not yet looked at */
    size_t function_count;
    bool has_musl; /* a stack that was looked at has functions of musl's */
};

void wait_calls_init(struct wait_calls *calls, const struct snapshot *snapshot, struct arena *arena);

enum wait_call wait_calls_of_stack(struct wait_calls *calls, uint32_t stack);

/* Whether any of the stack's functions is that call's. */
bool wait_calls_stack_has(struct wait_calls *calls, uint32_t stack, enum wait_call call);

/* A C function's name without what libc puts before those of its own: underscores, GI_ (internal aliases), new_
 * (versions). A run of the argument's bytes. */
struct text wait_call_plain_name(struct text name);

#endif
