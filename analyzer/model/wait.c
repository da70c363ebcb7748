/* SPDX-License-Identifier: Apache-2.0 */
#include "model/wait.h"

#include <string.h>

static const char *const kind_names[WAIT_KIND_COUNT] = {
    [WAIT_UNKNOWN] = "unknown",
    [WAIT_MUTEX] = "mutex",
    [WAIT_RWLOCK] = "rwlock",
    [WAIT_CONDITION] = "cond",
    [WAIT_SEMAPHORE] = "semaphore",
    [WAIT_JOIN] = "join",
    [WAIT_BARRIER] = "barrier",
    [WAIT_ONCE] = "once",
    [WAIT_FUTEX] = "futex",
    [WAIT_LOADER] = "loader",
    [WAIT_STDIO] = "stdio",
    [WAIT_ALLOCATOR] = "allocator",
    [WAIT_WAITGROUP] = "waitgroup",
    [WAIT_CHANNEL_SEND] = "channel-send",
    [WAIT_CHANNEL_RECEIVE] = "channel-receive",
    [WAIT_SELECT] = "select",
    [WAIT_SOCKET] = "socket",
    [WAIT_PIPE] = "pipe",
    [WAIT_FILE] = "file",
    [WAIT_POLL] = "poll",
    [WAIT_SLEEP] = "sleep",
    [WAIT_CHILD] = "child",
};

const char *wait_kind_name(enum wait_kind kind)
{
    return kind_names[kind];
}

enum wait_kind wait_kind_find(const char *name, size_t length)
{
    for (int kind = WAIT_UNKNOWN + 1; kind < WAIT_KIND_COUNT; kind++)
        if (strlen(kind_names[kind]) == length && memcmp(kind_names[kind], name, length) == 0)
            return (enum wait_kind)kind;
    return WAIT_KIND_COUNT;
}

const char *learnt_name(enum learnt learnt)
{
    static const char *const names[] = {
        [LEARNT_UNKNOWN] = "unknown",   [LEARNT_SUSPECTED] = "suspected", [LEARNT_INFERRED] = "inferred",
        [LEARNT_TOLD] = "told",     [LEARNT_READ] = "read",
    };
    return names[learnt];
}
