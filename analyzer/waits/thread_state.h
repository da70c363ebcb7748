/* SPDX-License-Identifier: Apache-2.0 */
/* What a thread is doing, read from its registers alone: the system call it stands in and the descriptor it waits on.
 * No symbols and no memory are needed. */
#ifndef SG_WAITS_THREAD_STATE_H
#define SG_WAITS_THREAD_STATE_H

#include "arch/arch.h"

enum { thread_state_bytes = 48 };

struct thread_state {
    char name[thread_state_bytes]; /* "futex wait", "read", "sleep", "running"; NUL-terminated */
    int32_t fd;                    /* -1: none */
};

/* `registers` as in NT_PRSTATUS; NULL gives the state "unknown". */
struct thread_state thread_state_read(const struct arch *arch, const uint8_t *registers);

#endif
