/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads and places to park that several test programs need. truth.h says what a test program is.
 */
#ifndef TESTCORES_PARKING_H
#define TESTCORES_PARKING_H

#include "truth.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>

/* Starts one thread; stack_bytes 0 means the system's default. */
static inline pthread_t parking_thread(void *(*run)(void *), void *argument, size_t stack_bytes)
{
    pthread_attr_t attributes;
    pthread_t thread;

    pthread_attr_init(&attributes);
    if (stack_bytes)
        pthread_attr_setstacksize(&attributes, stack_bytes);
    errno = pthread_create(&thread, &attributes, run, argument);
    if (errno)
        truth_fail("pthread_create");
    pthread_attr_destroy(&attributes);
    return thread;
}

static inline void parking_threads(int count, void *(*run)(void *), void *argument)
{
    for (int i = 0; i < count; i++)
        parking_thread(run, argument, 256 * 1024);
}

/* The reading end of a pipe that nobody ever writes to. */
static inline int parking_pipe(void)
{
    static int ends[2] = {-1, -1};

    if (ends[0] < 0 && pipe(ends))
        truth_fail("pipe");
    return ends[0];
}

/* Parks for good in read(). Inlined, so that the caller is the frame below libc's read. A signal or a debugger may end
 * the call: it is made again. */
TC_INLINED void parking_read(int group, int fd)
{
    char byte;

    truth_arrive(group);
    while (read(fd, &byte, 1) != 0)
        TC_KEEP();
}

#endif
