/* SPDX-License-Identifier: Apache-2.0 */
/* What musl keeps behind a futex word. Layouts: printed by a program against musl 1.2.3 (x86-64) and its source's
 * src/internal/pthread_impl.h. */
#ifndef SG_WAITS_WAIT_MUSL_H
#define SG_WAITS_WAIT_MUSL_H

#include "waits/wait_context.h"

/* By the call that the thread stands in; `registers` are its own. False when it tells nothing that can be found here.
 */
bool wait_musl_read(struct wait_context *context, const struct futex_wait *wait, const struct registers *registers,
                    struct futex_object *ret_object);

/* Without names: a mutex or a join that the bytes prove. */
bool wait_musl_guess(struct wait_context *context, const struct futex_wait *wait, struct futex_object *ret_object);

#endif
