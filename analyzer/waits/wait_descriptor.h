/* SPDX-License-Identifier: Apache-2.0 */
/* Waits for the kernel: data on a socket, pipe or file, events, time, a child. The descriptor tells what it is where
 * the source knows descriptors (live processes); else the call alone, when it can only be of one kind. */
#ifndef SG_WAITS_WAIT_DESCRIPTOR_H
#define SG_WAITS_WAIT_DESCRIPTOR_H

#include "waits/wait_context.h"

/* Does nothing for calls of another sort. `name` is the system call's. */
void wait_descriptor_read(struct wait_context *context, uint32_t member, const char *name,
                          const struct system_call *call);

#endif
