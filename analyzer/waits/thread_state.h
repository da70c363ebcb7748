/* SPDX-License-Identifier: Apache-2.0 */
/* What a thread is doing, read from its registers: the system call it stands in and the descriptor it waits on. No symbols
 * are needed, and memory only for a call that was restarted. */
#ifndef SG_WAITS_THREAD_STATE_H
#define SG_WAITS_THREAD_STATE_H

#include "model/image.h"

enum { thread_state_bytes = 48 };

struct thread_state {
    char name[thread_state_bytes]; /* "futex wait", "read", "sleep", "running"; NUL-terminated */
    int32_t fd;                    /* -1: none */
};

/* Lost registers give the state "unknown". */
struct thread_state thread_state_read(const struct image *image, const struct thread *thread);

#endif
