/* SPDX-License-Identifier: Apache-2.0 */
/* Equal stacks with their counts, in the order in which they are shown. Plain data, made by group/. */
#ifndef SG_MODEL_GROUPING_H
#define SG_MODEL_GROUPING_H

#include "model/snapshot.h"

/* CREATOR: who started the members, where that is known, else as START: the function that they began with. */
enum group_by { GROUP_BY_LINE, GROUP_BY_PC, GROUP_BY_FUNCTION, GROUP_BY_CREATOR, GROUP_BY_START };

/* "line", "pc", "function", "creator", "start". */
const char *group_by_name(enum group_by by);

struct state_count {
    uint32_t state; /* string */
    int32_t fd;     /* -1: none, or several */
    uint32_t count;
};

/* Members of a group that the same function started. */
struct creator_count {
    uint32_t creator; /* string */
    uint32_t count;
};

/* Members of a group that wait, in the same state, on descriptors of the same class. */
struct descriptor_wait {
    uint32_t state;         /* string */
    uint32_t class_number;  /* into snapshot.descriptors->classes */
    uint32_t count;         /* members */
    uint32_t fd_count;      /* distinct descriptors */
    const struct descriptor *first; /* the one with the lowest number */
    uint64_t receive_queue; /* of all the descriptors together, as in struct descriptor */
    uint64_t send_queue;
    bool receive_queue_known;
};

/* Members of a group that wait for the same resource, and as the same: readers and writers apart. */
struct resource_wait {
    uint64_t count;      /* members, those that one stands for counted */
    uint32_t resource;   /* into snapshot.resources */
    uint32_t waiter_first, waiter_count; /* into grouping.resource_waiters: indices of members, by ascending id */
    enum learnt learnt : 8; /* the weakest of their waits */
    bool is_several : 1; /* that and others of its kind; of plain rows only */
    bool is_plain : 1;   /* no more than the kind can be said, which states tell too: what system calls wait for, and what
                            has neither address nor name */
    bool exclusive : 1;
};

struct group {
    uint32_t stack;    /* the most frequent pc stack among the merged */
    uint32_t count;    /* members, those that one stands for counted */
    uint32_t variants; /* distinct pc stacks merged, at least 1 */
    uint32_t member_first, member_count; /* into grouping.members: indices, by ascending id */
    uint32_t state_first, state_count; /* into grouping.states, most frequent first */
    uint32_t wait_first, wait_count; /* into grouping.waits, most frequent first; none: no descriptors are known */
    uint32_t resource_wait_first, resource_wait_count; /* into grouping.resource_waits, most waiters first */
    uint32_t creator_first, creator_count; /* into grouping.creators, most frequent first; members whose creator is not
                                            * known are in none */
    uint32_t waited_count; /* members of which it is known how long they wait */
    uint64_t waited_seconds_min, waited_seconds_max; /* of those */
    struct heap_usage heap; /* of all members, in heap profiles */
    uint64_t cpu_microseconds;
    bool cpu_known, cpu_at_most;
    uint32_t moved, never_moved; /* members by enum movement, the rest is unknown */
    bool signalled;       /* holds the thread that took the signal: first, and never hidden */
    bool partial;         /* its stacks ended early */
    char fingerprint[17]; /* 16 hex digits of SHA-256 over the normalised names, NUL */
};

struct grouping {
    enum group_by by;
    struct group *groups; /* in order, the shown ones first */
    size_t group_count, group_count_all; /* shown; with those that are hidden */
    uint32_t *group_of_stack; /* by stack: into groups, hidden ones too; index_none: no member stands in it */
    uint32_t *members; /* indices into snapshot.members */
    struct state_count *states;
    size_t state_count;
    struct creator_count *creators;
    size_t creator_count, creator_capacity;
    struct descriptor_wait *waits;
    size_t wait_count, wait_capacity;
    struct resource_wait *resource_waits;
    size_t resource_wait_count, resource_wait_capacity;
    uint32_t *resource_waiters; /* indices into snapshot.members */
    size_t resource_waiter_count, resource_waiter_capacity;
    struct heap_usage heap; /* of all members, in heap profiles */
    /* What filters, --min-count and --top left out. */
    uint64_t hidden_groups, hidden_members;
};

#endif
