/* SPDX-License-Identifier: Apache-2.0 */
#include "waits/thread_state.h"

#include <stdio.h>
#include <string.h>

/* System calls that block, by name (their numbers differ between architectures), in the words shown. */
static const struct {
    const char *name, *state;
    bool has_fd; /* argument 0 is a descriptor */
} blocking_calls[] = {
    {"read", "read", true},
    {"pread64", "read", true},
    {"readv", "read", true},
    {"preadv", "read", true},
    {"preadv2", "read", true},
    {"write", "write", true},
    {"pwrite64", "write", true},
    {"writev", "write", true},
    {"pwritev", "write", true},
    {"pwritev2", "write", true},
    {"recvfrom", "receive", true},
    {"recvmsg", "receive", true},
    {"recvmmsg", "receive", true},
    {"sendto", "send", true},
    {"sendmsg", "send", true},
    {"sendmmsg", "send", true},
    {"sendfile", "sendfile", true},
    {"accept", "accept", true},
    {"accept4", "accept", true},
    {"connect", "connect", true},
    {"flock", "file lock", true},
    {"fcntl", "fcntl", true},
    {"fsync", "fsync", true},
    {"fdatasync", "fdatasync", true},
    {"epoll_wait", "epoll wait", true},
    {"epoll_pwait", "epoll wait", true},
    {"epoll_pwait2", "epoll wait", true},
    {"poll", "poll", false},
    {"ppoll", "poll", false},
    {"select", "select", false},
    {"pselect6", "select", false},
    {"io_uring_enter", "io_uring wait", true},
    {"io_getevents", "aio wait", false},
    {"nanosleep", "sleep", false},
    {"clock_nanosleep", "sleep", false},
    {"pause", "pause", false},
    {"wait4", "wait for child", false},
    {"waitid", "wait for child", false},
    {"rt_sigsuspend", "signal wait", false},
    {"rt_sigtimedwait", "signal wait", false},
    {"semop", "semaphore wait (System V)", false},
    {"semtimedop", "semaphore wait (System V)", false},
    {"msgrcv", "message receive", false},
    {"msgsnd", "message send", false},
    {"mq_timedreceive", "message receive", true},
    {"mq_timedsend", "message send", true},
    {"futex_waitv", "futex wait (several)", false},
    {"restart_syscall", "restarted call", false},
};

static const char *futex_state(const struct system_call *call)
{
    /* linux/futex.h: FUTEX_PRIVATE_FLAG 128 and FUTEX_CLOCK_REALTIME 256 are modifiers. */
    switch (call->arguments[1] & 0x7f) {
    case 0: /* FUTEX_WAIT */
    case 9: /* FUTEX_WAIT_BITSET */
        return "futex wait";
    case 6:  /* FUTEX_LOCK_PI */
    case 13: /* FUTEX_LOCK_PI2 */
        return "futex lock (PI)";
    case 11: /* FUTEX_WAIT_REQUEUE_PI */
        return "futex wait (requeue PI)";
    default:
        return "futex";
    }
}

struct thread_state thread_state_read(const struct image *image, const struct thread *thread)
{
    struct thread_state state = {.name = "running", .fd = -1};
    struct system_call call;
    if (thread->registers == NULL) {
        strcpy(state.name, "unknown");
        return state;
    }
    if (!thread_system_call(image, thread, &call))
        return state;
    const char *name = image->arch->system_call_name(call.number);
    const char *word = NULL;
    if (name == NULL) {
        strcpy(state.name, "unknown system call");
        return state;
    }
    if (call.blocked && strcmp(name, "futex") == 0)
        word = futex_state(&call);
    for (size_t i = 0; word == NULL && call.blocked && i < sizeof blocking_calls / sizeof blocking_calls[0]; i++)
        if (strcmp(blocking_calls[i].name, name) == 0) {
            word = blocking_calls[i].state;
            if (blocking_calls[i].has_fd && (int32_t)call.arguments[0] >= 0)
                state.fd = (int32_t)call.arguments[0];
        }
    if (call.may_be_over)
        snprintf(state.name, sizeof state.name, "in or returning from %s", name);
    else if (!call.blocked) /* it has its result, and was caught on its way back: by a fatal signal, for one */
        snprintf(state.name, sizeof state.name, "returning from %s", name);
    else
        snprintf(state.name, sizeof state.name, "%s", word != NULL ? word : name);
    return state;
}
