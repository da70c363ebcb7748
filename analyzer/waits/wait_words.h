/* SPDX-License-Identifier: Apache-2.0 */
/* Locks that are a word or two of their own: Rust's std (library/std/src/sys/sync, its futex versions) and C++20's latch,
 * semaphore and atomic wait. None of them keeps an owner. */
#ifndef SG_WAITS_WAIT_WORDS_H
#define SG_WAITS_WAIT_WORDS_H

#include "waits/wait_context.h"

/* False when the call is another library's. */
bool wait_words_read(struct wait_context *context, const struct futex_wait *wait, struct futex_object *ret_object);

#endif
