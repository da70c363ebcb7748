/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for what, and who has it: facts as plain data, each with how it was learnt. A fact is read (memory or a
 * register says so), inferred (stacks say so), told (by the dump that was read) or absent; never a guess shown as read.
 *
 *   member ──► wait ──► resource ──► hold ──► member
 */
#ifndef SG_MODEL_WAIT_H
#define SG_MODEL_WAIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* rules.md, `waits-on`. */
enum wait_kind {
    WAIT_UNKNOWN,
    WAIT_MUTEX,
    WAIT_RWLOCK,
    WAIT_CONDITION,
    WAIT_SEMAPHORE,
    WAIT_JOIN,
    WAIT_BARRIER,
    WAIT_ONCE,
    WAIT_FUTEX, /* a word of which no more is known */
    WAIT_LOADER,
    WAIT_STDIO, /* the lock of a FILE */
    WAIT_ALLOCATOR,
    WAIT_WAITGROUP,
    WAIT_CHANNEL_SEND,
    WAIT_CHANNEL_RECEIVE,
    WAIT_SELECT,
    WAIT_SOCKET,
    WAIT_PIPE,
    WAIT_FILE,
    WAIT_POLL,
    WAIT_SLEEP,
    WAIT_CHILD,
    WAIT_KIND_COUNT,
};

enum learnt { LEARNT_UNKNOWN, LEARNT_SUSPECTED, LEARNT_INFERRED, LEARNT_TOLD, LEARNT_READ };

/* Why a resource has no hold. */
enum holder_state {
    HOLDER_UNKNOWN,     /* nothing tells */
    HOLDER_HELD,        /* its holds say by whom */
    HOLDER_ANONYMOUS,   /* by `anonymous_count` of which nothing tells who: a rwlock's readers */
    HOLDER_ENDED,       /* by owner_id, which no member has: it ended with the lock held */
    HOLDER_ELSEWHERE,   /* by owner_id of another process, or in a pid namespace that could not be mapped */
    HOLDER_FREE,        /* by nobody at this instant: just given up, its next owner not yet awake */
    HOLDER_NEVER,       /* things of this kind are held by none: conditions, semaphores, channels */
};

/* 64 bytes: programs have as many channels as goroutines. */
struct resource {
    uint64_t address;    /* of the object, not of the word waited on; 0 unknown. Of a join: the thread's id */
    enum wait_kind kind : 8;
    enum learnt learnt : 8; /* that it is of this kind */
    enum holder_state holder : 8;
    bool is_any : 1;     /* nothing tells which one: it stands for all things of its kind that are not told apart, and
                          * those who wait for it have no more in common than the kind */
    bool capacity_known : 1;
    bool counter_known : 1; /* of a wait group: fill is how many calls of Done it waits for */
    bool is_shared : 1;  /* between processes: holders can be elsewhere */
    uint32_t name;       /* string "orders_lock" or "table+0x28"; 0 unknown */
    uint64_t owner_id;   /* as it stands in memory, in the target's own pid namespace; 0 none */
    uint32_t anonymous_count;
    uint32_t hold_first, hold_count; /* into snapshot.holds */
    uint64_t waiters;    /* members that wait for it, counted by waits */
    /* Semaphores, channels: what is in it and how much fits; known when capacity_known. Wait groups: counter_known. */
    uint64_t fill, capacity;
};

struct wait {
    uint32_t member, resource;
    bool exclusive;         /* wants it alone: a writer, or a mutex */
    enum learnt learnt : 8; /* that this member waits for this resource */
};

struct hold {
    uint32_t resource, member;
    bool exclusive;
    enum learnt learnt : 8;
};

/* "mutex", "channel-send" …: the words of rules and reports. */
const char *wait_kind_name(enum wait_kind kind);
/* WAIT_KIND_COUNT when there is none such. */
enum wait_kind wait_kind_find(const char *name, size_t length);
/* "read", "inferred" … */
const char *learnt_name(enum learnt learnt);

#endif
