/* SPDX-License-Identifier: Apache-2.0 */
#include "waits/wait_descriptor.h"

#include <stdio.h>

enum what { BY_DESCRIPTOR, NO_DESCRIPTOR, SYSTEM_V_SET, RECORD_LOCK };

/* Kinds that the call alone tells; WAIT_UNKNOWN: the descriptor must. Locks are held by somebody, data by nobody. */
static const struct blocking_call {
    const char *name;
    uint8_t what, kind;
    bool is_lock;
} calls[] = {
    {"read", BY_DESCRIPTOR, WAIT_UNKNOWN, false},
    {"readv", BY_DESCRIPTOR, WAIT_UNKNOWN, false},
    {"preadv2", BY_DESCRIPTOR, WAIT_UNKNOWN, false},
    {"write", BY_DESCRIPTOR, WAIT_UNKNOWN, false},
    {"writev", BY_DESCRIPTOR, WAIT_UNKNOWN, false},
    {"pwritev2", BY_DESCRIPTOR, WAIT_UNKNOWN, false},
    {"sendfile", BY_DESCRIPTOR, WAIT_UNKNOWN, false},
    {"splice", BY_DESCRIPTOR, WAIT_UNKNOWN, false},
    {"ioctl", BY_DESCRIPTOR, WAIT_UNKNOWN, false},
    {"pread64", BY_DESCRIPTOR, WAIT_FILE, false},
    {"preadv", BY_DESCRIPTOR, WAIT_FILE, false},
    {"pwrite64", BY_DESCRIPTOR, WAIT_FILE, false},
    {"pwritev", BY_DESCRIPTOR, WAIT_FILE, false},
    {"fsync", BY_DESCRIPTOR, WAIT_FILE, false},
    {"fdatasync", BY_DESCRIPTOR, WAIT_FILE, false},
    {"sync_file_range", BY_DESCRIPTOR, WAIT_FILE, false},
    {"fallocate", BY_DESCRIPTOR, WAIT_FILE, false},
    {"ftruncate", BY_DESCRIPTOR, WAIT_FILE, false},
    {"flock", BY_DESCRIPTOR, WAIT_FILE, true},
    {"fcntl", RECORD_LOCK, WAIT_FILE, true},
    {"recvfrom", BY_DESCRIPTOR, WAIT_SOCKET, false},
    {"recvmsg", BY_DESCRIPTOR, WAIT_SOCKET, false},
    {"recvmmsg", BY_DESCRIPTOR, WAIT_SOCKET, false},
    {"sendto", BY_DESCRIPTOR, WAIT_SOCKET, false},
    {"sendmsg", BY_DESCRIPTOR, WAIT_SOCKET, false},
    {"sendmmsg", BY_DESCRIPTOR, WAIT_SOCKET, false},
    {"accept", BY_DESCRIPTOR, WAIT_SOCKET, false},
    {"accept4", BY_DESCRIPTOR, WAIT_SOCKET, false},
    {"connect", BY_DESCRIPTOR, WAIT_SOCKET, false},
    {"epoll_wait", BY_DESCRIPTOR, WAIT_POLL, false},
    {"epoll_pwait", BY_DESCRIPTOR, WAIT_POLL, false},
    {"epoll_pwait2", BY_DESCRIPTOR, WAIT_POLL, false},
    {"io_uring_enter", BY_DESCRIPTOR, WAIT_POLL, false},
    {"poll", NO_DESCRIPTOR, WAIT_POLL, false},
    {"ppoll", NO_DESCRIPTOR, WAIT_POLL, false},
    {"select", NO_DESCRIPTOR, WAIT_POLL, false},
    {"pselect6", NO_DESCRIPTOR, WAIT_POLL, false},
    {"nanosleep", NO_DESCRIPTOR, WAIT_SLEEP, false},
    {"clock_nanosleep", NO_DESCRIPTOR, WAIT_SLEEP, false},
    {"wait4", NO_DESCRIPTOR, WAIT_CHILD, false},
    {"waitid", NO_DESCRIPTOR, WAIT_CHILD, false},
    {"semop", SYSTEM_V_SET, WAIT_SEMAPHORE, false},
    {"semtimedop", SYSTEM_V_SET, WAIT_SEMAPHORE, false},
};

static enum wait_kind kind_of_descriptor(const struct descriptor *descriptor, const struct descriptors *descriptors)
{
    if (descriptor == NULL)
        return WAIT_UNKNOWN;
    switch (descriptors->classes[descriptor->class_number].kind) {
    case DESCRIPTOR_SOCKET:
        return WAIT_SOCKET;
    case DESCRIPTOR_PIPE:
        return WAIT_PIPE;
    case DESCRIPTOR_FILE:
        return WAIT_FILE;
    case DESCRIPTOR_EPOLL:
    case DESCRIPTOR_EVENTFD:
    case DESCRIPTOR_TIMERFD:
    case DESCRIPTOR_SIGNALFD:
    case DESCRIPTOR_INOTIFY:
        return WAIT_POLL;
    case DESCRIPTOR_UNKNOWN:
    case DESCRIPTOR_OTHER:
    case DESCRIPTOR_KIND_COUNT:
        break;
    }
    return WAIT_UNKNOWN;
}

static void add_wait(struct wait_context *context, uint32_t member, const struct blocking_call *row,
                     enum wait_kind kind, const char *name)
{
    bool is_new;
    uint32_t number = wait_build_resource(
        &context->build, kind, 0, intern_table_add(&context->snapshot->strings, text_from_string(name)), &is_new);
    struct resource *resource = wait_context_resource(context, number);
    resource->learnt = LEARNT_READ;
    if (is_new || row->is_lock)
        resource->holder = row->is_lock ? HOLDER_UNKNOWN : HOLDER_NEVER;
    wait_build_wait(&context->build, (struct wait){member, number, row->is_lock, LEARNT_READ});
}

static void read_row(struct wait_context *context, uint32_t member, const struct blocking_call *row,
                     const struct system_call *call)
{
    enum { set_lock_wait = 7, open_set_lock_wait = 38 }; /* F_SETLKW, F_OFD_SETLKW */
    char name[40] = "";
    int32_t number = (int32_t)call->arguments[0];
    enum wait_kind kind = (enum wait_kind)row->kind;
    switch ((enum what)row->what) {
    case RECORD_LOCK:
        if (call->arguments[1] != set_lock_wait && call->arguments[1] != open_set_lock_wait)
            return;
        /* fall through */
    case BY_DESCRIPTOR:
        if (number < 0)
            return;
        if (kind == WAIT_UNKNOWN)
            kind =
                kind_of_descriptor(descriptors_find(context->image->descriptors, number), context->image->descriptors);
        snprintf(name, sizeof name, "descriptor %d", number);
        break;
    case SYSTEM_V_SET:
        snprintf(name, sizeof name, "System V set %d", number);
        break;
    case NO_DESCRIPTOR:
        break;
    }
    if (kind != WAIT_UNKNOWN)
        add_wait(context, member, row, kind, name);
}

void wait_descriptor_read(struct wait_context *context, uint32_t member, const char *name,
                          const struct system_call *call)
{
    /* Threads that do the same come after each other, as a rule. */
    if (context->last_row == NULL || strcmp(context->last_row->name, name) != 0) {
        context->last_row = NULL;
        for (size_t i = 0; i < sizeof calls / sizeof calls[0] && context->last_row == NULL; i++)
            if (strcmp(calls[i].name, name) == 0)
                context->last_row = &calls[i];
    }
    if (context->last_row != NULL)
        read_row(context, member, context->last_row, call);
}
