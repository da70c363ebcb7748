/* SPDX-License-Identifier: Apache-2.0 */
/* What glibc keeps behind a futex word. Layouts: printed by a program against glibc 2.36 (x86-64, sysdeps/nptl/bits/
 * thread-shared-types.h and struct_mutex.h, struct_rwlock.h); the condition variable has another one from 2.41 on,
 * whose declaration alone was seen. */
#ifndef SG_WAITS_WAIT_PTHREAD_H
#define SG_WAITS_WAIT_PTHREAD_H

#include "waits/wait_context.h"

/* By the call that the thread stands in. False when it tells nothing that can be found here. */
bool wait_pthread_read(struct wait_context *context, const struct futex_wait *wait, struct futex_object *ret_object);

/* Without names: what the bytes prove. False when they prove nothing. */
bool wait_pthread_guess(struct wait_context *context, const struct futex_wait *wait, struct futex_object *ret_object);

#endif
