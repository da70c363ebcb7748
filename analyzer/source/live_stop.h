/* SPDX-License-Identifier: Apache-2.0 */
/* Stops all threads of a process at one instant, copies their registers and the used part of their stacks, and lets them
 * run again (ptrace(2): SEIZE, INTERRUPT, DETACH; no signal is sent). Runs in a thread of its own, so that whatever
 * happens the kernel lets the target go when that thread ends. Nothing is written to the target.
 *
 * What a stop does to the target is told in native-waits.md: epoll_wait, sigtimedwait, sigwaitinfo, semop and recv with
 * a timeout return EINTR; all else goes on unseen. */
#ifndef SG_SOURCE_LIVE_STOP_H
#define SG_SOURCE_LIVE_STOP_H

#include "base/diagnostics.h"
#include "base/error.h"
#include "model/image.h"

#include <stdatomic.h>

enum live_thread_outcome {
    LIVE_THREAD_UNKNOWN,
    LIVE_THREAD_STOPPED,     /* registers were read */
    LIVE_THREAD_NOT_STOPPED, /* it did not stop in time: in a system call that cannot be interrupted */
    LIVE_THREAD_GONE,        /* it ended meanwhile */
};

struct live_thread {
    uint32_t tid;
    enum live_thread_outcome outcome;
    bool interrupted;
    int pending_signal;      /* caught on its way, given back at the detach; 0 none */
    uint8_t *registers;      /* arch->registers_size_bytes */
    uint64_t stack_start;    /* address of the copied bytes */
    uint8_t *stack;          /* stack_bytes of them */
    size_t stack_bytes;
};

struct live_stop {
    uint32_t pid;
    const struct image *image; /* arch and mappings, read before the stop */
    int memory_fd;             /* /proc/PID/mem */
    uint64_t stop_microseconds_max; /* 0: no limit */

    struct live_thread *threads; /* filled by live_stop_run, as the other results */
    size_t thread_count, thread_capacity;
    uint64_t stop_microseconds;  /* from the first interrupt to the last detach */
    bool cut_short;              /* stop_microseconds_max was reached: the rest were let go unread */
    uint8_t *stacks;             /* one mapping that all copies lie in */
    size_t stacks_bytes, stacks_used;
    struct arena arena;          /* of the threads' table */
};

/* The error says whom to ask when it is not permitted. Results are released by live_stop_release. */
const struct error *live_stop_run(struct live_stop *stop, struct arena *arena);
void live_stop_release(struct live_stop *stop);

#endif
