/* SPDX-License-Identifier: Apache-2.0 */
/* Threads blocked in futex(2): which word, and what it belongs to. Each distinct word is looked into once. */
#ifndef SG_WAITS_WAIT_FUTEX_H
#define SG_WAITS_WAIT_FUTEX_H

#include "waits/wait_context.h"

struct wait_futex {
    struct futex_memo *memos;
    size_t memo_count, slot_count;
    struct futex_wait *nameless; /* waits of stacks that do not tell the call, kept for wait_futex_finish */
    size_t nameless_count, nameless_capacity;
};

void wait_futex_init(struct wait_futex *futex, struct arena *arena);

/* `call` is a futex call, whatever its number, that the member is blocked in with these registers. */
void wait_futex_read(struct wait_futex *futex, struct wait_context *context, uint32_t member,
                     const struct system_call *call, const struct registers *registers);

/* The same for futex_waitv: an array of words. */
void wait_futex_read_several(struct wait_futex *futex, struct wait_context *context, uint32_t member,
                             const struct system_call *call, const struct registers *registers);

/* The waits of stacks without names: what a thread with names waits for on the same word is the same thing. After all
 * others. */
void wait_futex_finish(struct wait_futex *futex, struct wait_context *context);

#endif
