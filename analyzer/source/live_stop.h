/* SPDX-License-Identifier: Apache-2.0 */
/* What is copied of the threads of a running process: registers, the used part of their stacks, the memory around the
 * words that they wait for (futex(2): the lock's owner stands beside it) and their own blocks. Filled by live_stop_all,
 * live_rolling, live_read or live_held. Nothing is written to the target. */
#ifndef SG_SOURCE_LIVE_STOP_H
#define SG_SOURCE_LIVE_STOP_H

#include "base/limits.h"
#include "model/image.h"
#include "source/live_go.h"

#include <stdatomic.h>

enum live_thread_outcome {
    LIVE_THREAD_UNKNOWN,
    LIVE_THREAD_STOPPED,     /* registers were read */
    LIVE_THREAD_READ,        /* live_read.c: it waited, and did not move while it was read */
    LIVE_THREAD_MOVING,      /* live_read.c: it ran; no registers */
    LIVE_THREAD_NOT_STOPPED, /* it did not stop in time: in a system call that cannot be interrupted */
    LIVE_THREAD_GONE,        /* it ended meanwhile */
};

struct live_thread {
    uint32_t tid;
    enum live_thread_outcome outcome;
    bool interrupted;
    bool to_be_stopped;      /* live_rolling_stop */
    int pending_signal;      /* caught on its way, given back at the detach; 0 none */
    uint8_t *registers;      /* arch->registers_size_bytes */
    uint64_t registers_known; /* as in struct thread */
    uint64_t stack_start;    /* address of the copied bytes */
    uint8_t *stack;          /* stack_bytes of them */
    size_t stack_bytes;
    uint64_t interrupted_stack_start; /* the same of the thread's own stack where sp is on a signal stack */
    uint8_t *interrupted_stack;
    size_t interrupted_stack_bytes;   /* 0: it is not */
    uint64_t block_start;    /* of the thread's own block (glibc's struct pthread) where it does not lie above the stack */
    uint8_t *block;
    size_t block_bytes;
    uint64_t word_start;     /* the same around the futex word that it waits for */
    uint8_t *word;
    size_t word_bytes;       /* 0: none, or copied with another thread that waits for it */
    uint64_t runs;           /* times that it was given a processor, counted just before it was read; of threads that are
                              * not stopped all at once */
    bool runs_known;
    uint64_t sleeps;         /* of one that is stopped alone: proc_sleeps before it was */
    uint8_t sleeps_allowed;  /* how often our stop of it has made it sleep since; 0: `runs` counts */
    bool stood_still;        /* live_read_again */
};

/* Between the thread that holds a target and a signal handler of the caller's that ends the process: were the kernel to
 * let the target go instead, signals that were on their way to it when it was stopped would be lost. */
struct live_hold {
    atomic_bool is_held;
    atomic_bool is_let_go; /* set once, by the handler, which then waits until the target is not held */
};

struct live_stop {
    uint32_t pid;
    const struct image *image; /* arch and mappings, read before the stop */
    int memory_fd;             /* /proc/PID/mem */
    uint64_t main_stack_start, main_stack_end; /* [stack] in its maps; both 0 when there is none */
    enum stop_kind kind;
    bool needs_registers;      /* of rolling stops: all of them, of every thread; so none is read as it waits */
    struct live_hold *hold;    /* NULL: none */
    uint64_t stop_microseconds_max; /* 0: no limit */
    struct live_go *go;        /* copied in a stop of all; NULL: no Go program */

    struct live_thread *threads; /* the results, from here on */
    size_t thread_count, thread_capacity;
    uint32_t refused_tids[limit_live_refused]; /* not to be had: another traces them, or they have ended */
    size_t refused_count;
    uint64_t stop_microseconds;  /* from the first interrupt to the last detach */
    uint32_t *durations;         /* nanoseconds, of rolling stops, from the interrupt to the detach */
    size_t duration_count, duration_capacity;
    bool rounds_exhausted;       /* threads went on to begin when the task list had been read limit_live_rounds times */
    bool cut_short;              /* stop_microseconds_max was reached: the rest were let go unread */
    uint8_t *stacks;             /* one mapping that all copies lie in */
    size_t stacks_bytes, stacks_used;
    uint64_t words_copied[limit_live_words]; /* starts of the last words that were copied, by live_stop.c's hash */
    struct arena arena;          /* of the threads' table */
};

void live_stop_release(struct live_stop *stop);

/* The table of threads is kept by ascending id. */
struct live_thread *live_stop_find(struct live_stop *stop, uint32_t tid);
void live_stop_add(struct live_stop *stop, uint32_t tid);
bool live_stop_reserve(struct live_stop *stop); /* false with errno */

/* A place for raw registers in the copies, NULL when they are full; it is taken by live_stop_copy_memory. */
uint8_t *live_stop_registers(struct live_stop *stop);
/* Takes the thread's registers that were written there, and copies the memory that they point to. `thread_pointer` as
 * arch->thread_pointer, 0 unknown. */
void live_stop_copy_memory(struct live_stop *stop, struct live_thread *thread, uint64_t sp, uint64_t thread_pointer);
/* The thread turned out to have moved: what was copied with it does not count. `stacks_used` as it was before. */
void live_stop_forget_memory(struct live_stop *stop, struct live_thread *thread, size_t stacks_used);

#endif
