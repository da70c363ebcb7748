/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for whom, by locks: members and locks as nodes, edges from a member to the lock that it waits for and from
 * the lock to those who must let go of it. Made from the snapshot's waits and holds alone and linear in their number;
 * reader locks with many holders stay one node, so that n waiters and m holders are n + m edges.
 *
 * What makes an edge:
 *  - locks, joins and once-only initialisers; never conditions, semaphores, channels, which anybody may signal;
 *  - of a rwlock, a writer waits for all that hold it. A reader waits for the writer that holds it, and for readers
 * only while a writer waits too: then no new reader gets in;
 *  - a member that waits for several things needs one of them: it has edges only when all of them are locks, and is
 *    stuck only when all of them are.
 *
 * A member is stuck when no order of events can wake it: the greatest set in which each waits for another of the set.
 * What is stuck is a cycle or waits behind one. */
#ifndef SG_DETECT_WAIT_GRAPH_H
#define SG_DETECT_WAIT_GRAPH_H

#include "detect/graph_cycles.h"
#include "model/snapshot.h"

struct lock_node {
    enum holder_state holder;
    uint32_t hold_first, hold_count;     /* into wait_graph.holds: whom its waiters wait for */
    uint32_t waiter_first, waiter_count; /* into wait_graph.waiters; 0 of things that are no locks */
    bool has_writer;                     /* a rwlock that a member waits to write */
    bool is_stuck;                       /* its waiters are */
};

/* A strongly connected part of what is stuck: members that wait for each other. */
struct wait_component {
    uint32_t member_first, member_count;     /* into wait_graph.component_members, by id */
    uint32_t resource_first, resource_count; /* into wait_graph.component_resources, by kind and address */
    uint32_t victim_first, victim_count;     /* into wait_graph.victims: stuck behind it, in no component */
};

struct wait_graph {
    const struct snapshot *snapshot;
    struct lock_node *locks; /* one a resource of the snapshot, up to the last that is a lock */
    uint32_t resource_count; /* of them */
    struct hold *holds;      /* by resource: the snapshot's and those that were inferred */
    uint32_t *waiters;       /* by resource, then by member id: into snapshot.waits, each member once */
    /* Per member: into member_waits, which has the snapshot.waits for locks; empty when something else can wake it. */
    uint32_t *member_wait_first;
    uint32_t *member_waits;
    bool *is_stuck;                    /* per member */
    struct wait_component *components; /* by their lowest member id */
    size_t component_count;
    /* Per member and, from the snapshot's member_count on, per resource, as many as there are `locks`. */
    uint32_t *component_of; /* index_none: in none; NULL: there are no components */
    uint32_t *number_of;    /* among its component's members or resources */
    uint32_t *component_members, *component_resources, *victims;
};

/* Whether holding a thing of this kind can keep another member from going on. */
bool wait_kind_is_lock(enum wait_kind kind);

/* One past the number of the last resource that is a lock. They come first: a million channels need no nodes. */
uint32_t wait_graph_lock_limit(const struct snapshot *snapshot);

/* `more_holds` are taken besides the snapshot's. Numbers that point nowhere are passed over. In `arena`. */
struct wait_graph wait_graph_make(const struct snapshot *snapshot, const struct hold *more_holds,
                                  size_t more_hold_count, struct arena *arena, struct arena *scratch);

static inline uint32_t wait_graph_wait_count(const struct wait_graph *graph, uint32_t member)
{
    return graph->member_wait_first[member + 1] - graph->member_wait_first[member];
}

/* The only wait of a member that a lock keeps from going on; NULL: it waits for none, or for any of several. */
const struct wait *wait_graph_wait(const struct wait_graph *graph, uint32_t member);
/* The member's wait for that lock, and the lock's hold by that member; NULL: there is none. */
const struct wait *wait_graph_find_wait(const struct wait_graph *graph, uint32_t member, uint32_t resource);
const struct hold *wait_graph_find_hold(const struct wait_graph *graph, uint32_t resource, uint32_t member);

/* Lower id first, then the snapshot's order, which says nothing. Negative, 0, positive. */
int wait_graph_compare_members(const struct snapshot *snapshot, uint32_t left, uint32_t right);
int wait_graph_compare_resources(const struct snapshot *snapshot, uint32_t left, uint32_t right);

/* The component's elementary cycles. Their nodes are a member, the resource it waits for, the member that holds it …;
 * each starts with its lowest member. */
struct graph_cycles wait_graph_cycles(const struct wait_graph *graph, const struct wait_component *component,
                                      struct arena *arena, struct arena *scratch);

#endif
