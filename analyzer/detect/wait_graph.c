/* SPDX-License-Identifier: Apache-2.0 */
#include "detect/wait_graph.h"

#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

bool wait_kind_is_lock(enum wait_kind kind)
{
    static const bool is_lock[WAIT_KIND_COUNT] = {
        [WAIT_MUTEX] = true,  [WAIT_RWLOCK] = true, [WAIT_JOIN] = true,      [WAIT_ONCE] = true,
        [WAIT_LOADER] = true, [WAIT_STDIO] = true,  [WAIT_ALLOCATOR] = true,
    };
    return kind < WAIT_KIND_COUNT && is_lock[kind];
}

uint32_t wait_graph_lock_limit(const struct snapshot *snapshot)
{
    size_t count = snapshot->resource_count;
    while (count > 0 && !wait_kind_is_lock(snapshot->resources[count - 1].kind))
        count--;
    return (uint32_t)count;
}

int wait_graph_compare_members(const struct snapshot *snapshot, uint32_t left, uint32_t right)
{
    uint64_t a = snapshot->members[left].id, b = snapshot->members[right].id;
    if (a != b)
        return a < b ? -1 : 1;
    return left == right ? 0 : left < right ? -1 : 1;
}

int wait_graph_compare_resources(const struct snapshot *snapshot, uint32_t left, uint32_t right)
{
    const struct resource *a = &snapshot->resources[left], *b = &snapshot->resources[right];
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->address != b->address)
        return a->address < b->address ? -1 : 1;
    return left == right ? 0 : left < right ? -1 : 1;
}

static int compare_members(const void *left, const void *right, void *context)
{
    return wait_graph_compare_members(context, *(const uint32_t *)left, *(const uint32_t *)right);
}

static int compare_resources(const void *left, const void *right, void *context)
{
    return wait_graph_compare_resources(context, *(const uint32_t *)left, *(const uint32_t *)right);
}

static void sort_numbers(uint32_t *numbers, size_t count, int (*compare)(const void *, const void *, void *),
                         const struct snapshot *snapshot)
{
    if (count > 1)
        qsort_r(numbers, count, sizeof *numbers, compare, (void *)snapshot);
}

/* What is needed while the graph is made. */
struct making {
    struct wait_graph *graph;
    const struct snapshot *snapshot;
    struct arena *arena, *scratch;
    uint32_t *held_first, *held; /* per member: the resources that it holds */
};

/* The snapshot's waits for locks, by member, each resource once. */
static void collect_member_waits(struct making *making)
{
    const struct snapshot *snapshot = making->snapshot;
    struct wait_graph *graph = making->graph;
    size_t members = snapshot->member_count;
    uint32_t *seen_by = arena_array(making->scratch, uint32_t, graph->resource_count); /* member + 1 */
    graph->member_wait_first = arena_array(making->arena, uint32_t, members + 1);
    graph->member_waits = arena_array(making->arena, uint32_t, snapshot->wait_count + 1);
    uint32_t count = 0, at = 0;
    for (uint32_t member = 0; member < members; member++) {
        graph->member_wait_first[member] = count;
        bool can_be_woken = false;
        for (; at < snapshot->wait_count && snapshot->waits[at].member == member; at++) {
            uint32_t resource = snapshot->waits[at].resource;
            if (resource >= snapshot->resource_count)
                continue;
            bool is_lock = wait_kind_is_lock(snapshot->resources[resource].kind);
            can_be_woken |= !is_lock;
            if (!is_lock || seen_by[resource] == member + 1)
                continue;
            seen_by[resource] = member + 1;
            graph->member_waits[count++] = at;
        }
        if (can_be_woken)
            count = graph->member_wait_first[member];
    }
    graph->member_wait_first[members] = count;
}

static int compare_waits(const void *left, const void *right, void *context)
{
    const struct snapshot *snapshot = context;
    return wait_graph_compare_members(snapshot, snapshot->waits[*(const uint32_t *)left].member,
                                      snapshot->waits[*(const uint32_t *)right].member);
}

/* By member; most sources have them so already. */
static void sort_waits(uint32_t *waits, uint32_t count, const struct snapshot *snapshot)
{
    bool is_sorted = true;
    for (uint32_t i = 1; i < count && is_sorted; i++)
        is_sorted = compare_waits(&waits[i - 1], &waits[i], (void *)snapshot) <= 0;
    if (!is_sorted)
        qsort_r(waits, count, sizeof *waits, compare_waits, (void *)snapshot);
}

static void collect_waiters(struct making *making)
{
    const struct snapshot *snapshot = making->snapshot;
    struct wait_graph *graph = making->graph;
    uint32_t wait_count = graph->member_wait_first[snapshot->member_count];
    graph->waiters = arena_array(making->arena, uint32_t, wait_count + 1);
    for (uint32_t i = 0; i < wait_count; i++) {
        const struct wait *wait = &snapshot->waits[graph->member_waits[i]];
        struct lock_node *lock = &graph->locks[wait->resource];
        lock->waiter_count++;
        lock->has_writer |= snapshot->resources[wait->resource].kind == WAIT_RWLOCK && wait->exclusive;
    }
    uint32_t first = 0;
    for (size_t i = 0; i < graph->resource_count; i++) {
        graph->locks[i].waiter_first = first;
        first += graph->locks[i].waiter_count;
        graph->locks[i].waiter_count = 0;
    }
    for (uint32_t i = 0; i < wait_count; i++) {
        struct lock_node *lock = &graph->locks[snapshot->waits[graph->member_waits[i]].resource];
        graph->waiters[lock->waiter_first + lock->waiter_count++] = graph->member_waits[i];
    }
    for (size_t i = 0; i < graph->resource_count; i++)
        sort_waits(&graph->waiters[graph->locks[i].waiter_first], graph->locks[i].waiter_count, snapshot);
}

/* Whether those that wait for the lock wait for this holder. */
static bool hold_counts(const struct making *making, const struct hold *hold)
{
    const struct snapshot *snapshot = making->snapshot;
    if (hold->member >= snapshot->member_count || hold->resource >= snapshot->resource_count)
        return false;
    const struct resource *resource = &snapshot->resources[hold->resource];
    if (!wait_kind_is_lock(resource->kind))
        return false;
    return resource->kind != WAIT_RWLOCK || hold->exclusive || making->graph->locks[hold->resource].has_writer;
}

static void collect_holds(struct making *making, const struct hold *more_holds, size_t more_count)
{
    const struct snapshot *snapshot = making->snapshot;
    struct wait_graph *graph = making->graph;
    size_t total = snapshot->hold_count + more_count, members = snapshot->member_count;
    const struct hold **counted = arena_array(making->scratch, const struct hold *, total + 1);
    size_t count = 0;
    making->held_first = arena_array(making->scratch, uint32_t, members + 2);
    for (size_t i = 0; i < total; i++) {
        const struct hold *hold =
            i < snapshot->hold_count ? &snapshot->holds[i] : &more_holds[i - snapshot->hold_count];
        if (!hold_counts(making, hold))
            continue;
        counted[count++] = hold;
        graph->locks[hold->resource].hold_count++;
        making->held_first[hold->member + 2]++;
    }
    uint32_t first = 0;
    for (size_t i = 0; i < graph->resource_count; i++) {
        struct lock_node *lock = &graph->locks[i];
        lock->hold_first = first;
        first += lock->hold_count;
        if (lock->hold_count != 0)
            lock->holder = HOLDER_HELD;
        lock->hold_count = 0;
    }
    for (size_t i = 2; count != 0 && i < members + 2; i++)
        making->held_first[i] += making->held_first[i - 1];
    graph->holds = arena_array(making->arena, struct hold, count + 1);
    making->held = arena_array(making->scratch, uint32_t, count + 1);
    for (size_t i = 0; i < count; i++) {
        struct lock_node *lock = &graph->locks[counted[i]->resource];
        graph->holds[lock->hold_first + lock->hold_count++] = *counted[i];
        making->held[making->held_first[counted[i]->member + 1]++] = counted[i]->resource;
    }
}

/* Takes away, until nothing changes, who waits for nobody that is left: linear in the edges. */
static void find_stuck(struct making *making)
{
    struct wait_graph *graph = making->graph;
    const struct snapshot *snapshot = making->snapshot;
    uint32_t *stuck_holders = arena_array(making->scratch, uint32_t, graph->resource_count);
    uint32_t *queue = arena_array(making->scratch, uint32_t, graph->resource_count);
    size_t queued = 0;
    for (uint32_t member = 0; member < snapshot->member_count; member++)
        graph->is_stuck[member] = wait_graph_wait_count(graph, member) != 0;
    for (uint32_t resource = 0; resource < graph->resource_count; resource++) {
        struct lock_node *lock = &graph->locks[resource];
        for (uint32_t i = 0; i < lock->hold_count; i++)
            stuck_holders[resource] += graph->is_stuck[graph->holds[lock->hold_first + i].member];
        lock->is_stuck = stuck_holders[resource] != 0;
        if (!lock->is_stuck)
            queue[queued++] = resource;
    }
    while (queued > 0) {
        const struct lock_node *lock = &graph->locks[queue[--queued]];
        for (uint32_t i = 0; i < lock->waiter_count; i++) {
            uint32_t member = snapshot->waits[graph->waiters[lock->waiter_first + i]].member;
            if (!graph->is_stuck[member])
                continue;
            graph->is_stuck[member] = false;
            for (uint32_t held = making->held_first[member]; held < making->held_first[member + 1]; held++) {
                uint32_t resource = making->held[held];
                if (--stuck_holders[resource] != 0)
                    continue;
                graph->locks[resource].is_stuck = false;
                queue[queued++] = resource;
            }
        }
    }
    /* A thing without waiters is no part of the graph. */
    for (uint32_t resource = 0; resource < graph->resource_count; resource++)
        graph->locks[resource].is_stuck &= graph->locks[resource].waiter_count != 0;
}

/* The stuck part as one row of nodes: members, then resources. */
static uint32_t node_edges(const struct wait_graph *graph, uint32_t node)
{
    size_t members = graph->snapshot->member_count;
    return node < members ? wait_graph_wait_count(graph, node) : graph->locks[node - members].hold_count;
}

/* index_none: the edge leads out of what is stuck. */
static uint32_t node_target(const struct wait_graph *graph, uint32_t node, uint32_t edge)
{
    size_t members = graph->snapshot->member_count;
    if (node < members) {
        uint32_t wait = graph->member_waits[graph->member_wait_first[node] + edge];
        return (uint32_t)members + graph->snapshot->waits[wait].resource;
    }
    uint32_t holder = graph->holds[graph->locks[node - members].hold_first + edge].member;
    return graph->is_stuck[holder] ? holder : index_none;
}

static void component_add(struct making *making, const uint32_t *nodes, size_t count, size_t *capacity,
                          uint32_t *member_count, uint32_t *resource_count)
{
    struct wait_graph *graph = making->graph;
    uint32_t members = (uint32_t)making->snapshot->member_count;
    graph->components =
        arena_grow(making->arena, graph->components, graph->component_count, capacity, sizeof *graph->components);
    struct wait_component *component = &graph->components[graph->component_count++];
    *component = (struct wait_component){.member_first = *member_count, .resource_first = *resource_count};
    for (size_t i = 0; i < count; i++)
        if (nodes[i] < members)
            graph->component_members[(*member_count)++] = nodes[i];
        else
            graph->component_resources[(*resource_count)++] = nodes[i] - members;
    component->member_count = *member_count - component->member_first;
    component->resource_count = *resource_count - component->resource_first;
    sort_numbers(&graph->component_members[component->member_first], component->member_count, compare_members,
                 making->snapshot);
    sort_numbers(&graph->component_resources[component->resource_first], component->resource_count, compare_resources,
                 making->snapshot);
}

struct walk_level {
    uint32_t node, edge;
};

/* Tarjan's strongly connected components, over what is stuck. A single node is none: between two members of a cycle
 * there is a lock, even when both are the same. */
static void find_components(struct making *making)
{
    struct wait_graph *graph = making->graph;
    const struct snapshot *snapshot = making->snapshot;
    uint32_t members = (uint32_t)snapshot->member_count;
    size_t nodes = snapshot->member_count + graph->resource_count, capacity = 0;
    uint32_t stuck_members = 0, stuck_resources = 0;
    for (uint32_t i = 0; i < members; i++)
        stuck_members += graph->is_stuck[i];
    if (stuck_members == 0)
        return;
    for (size_t i = 0; i < graph->resource_count; i++)
        stuck_resources += graph->locks[i].is_stuck;
    graph->component_members = arena_array(making->arena, uint32_t, stuck_members);
    graph->component_resources = arena_array(making->arena, uint32_t, stuck_resources);

    uint32_t *number = arena_array(making->scratch, uint32_t, nodes); /* from 1; 0: not seen */
    uint32_t *low = arena_array(making->scratch, uint32_t, nodes);
    bool *is_open = arena_array(making->scratch, bool, nodes);
    uint32_t *open = arena_array(making->scratch, uint32_t, stuck_members + stuck_resources);
    struct walk_level *levels = arena_array(making->scratch, struct walk_level, stuck_members + stuck_resources);
    uint32_t seen = 0, member_count = 0, resource_count = 0;
    size_t open_count = 0;
    for (uint32_t start = 0; start < members; start++) {
        if (!graph->is_stuck[start] || number[start] != 0)
            continue;
        size_t depth = 0;
        uint32_t node = start;
        bool is_new = true;
        while (is_new || depth > 0) {
            if (is_new) {
                number[node] = low[node] = ++seen;
                is_open[node] = true;
                open[open_count++] = node;
                levels[depth++] = (struct walk_level){node, 0};
                is_new = false;
            }
            struct walk_level *level = &levels[depth - 1];
            if (level->edge < node_edges(graph, level->node)) {
                uint32_t target = node_target(graph, level->node, level->edge++);
                if (target == index_none)
                    continue;
                if (number[target] == 0) {
                    node = target;
                    is_new = true;
                } else if (is_open[target] && number[target] < low[level->node]) {
                    low[level->node] = number[target];
                }
                continue;
            }
            uint32_t done = level->node;
            depth--;
            if (depth > 0 && low[done] < low[levels[depth - 1].node])
                low[levels[depth - 1].node] = low[done];
            if (low[done] != number[done])
                continue;
            size_t first = open_count;
            do
                is_open[open[--first]] = false;
            while (open[first] != done);
            if (open_count - first > 1)
                component_add(making, &open[first], open_count - first, &capacity, &member_count, &resource_count);
            open_count = first;
        }
    }
}

static int compare_components(const void *left, const void *right, void *context)
{
    const struct wait_graph *graph = context;
    const struct wait_component *a = left, *b = right;
    return wait_graph_compare_members(graph->snapshot, graph->component_members[a->member_first],
                                      graph->component_members[b->member_first]);
}

static void number_components(struct wait_graph *graph, struct arena *arena)
{
    size_t members = graph->snapshot->member_count, nodes = members + graph->resource_count;
    if (graph->component_count == 0)
        return;
    graph->component_of = arena_array(arena, uint32_t, nodes);
    graph->number_of = arena_array(arena, uint32_t, nodes);
    memset(graph->component_of, 0xff, nodes * sizeof *graph->component_of);
    qsort_r(graph->components, graph->component_count, sizeof *graph->components, compare_components, graph);
    for (uint32_t i = 0; i < graph->component_count; i++) {
        const struct wait_component *component = &graph->components[i];
        for (uint32_t k = 0; k < component->member_count + component->resource_count; k++) {
            bool is_member = k < component->member_count;
            uint32_t number = is_member ? k : k - component->member_count;
            size_t node = is_member ? graph->component_members[component->member_first + number]
                                    : members + graph->component_resources[component->resource_first + number];
            graph->component_of[node] = i;
            graph->number_of[node] = number;
        }
    }
}

/* Each stuck member outside the components goes to the first one that it waits behind. */
static void find_victims(struct making *making)
{
    struct wait_graph *graph = making->graph;
    const struct snapshot *snapshot = making->snapshot;
    if (graph->component_count == 0)
        return;
    uint32_t *queue = arena_array(making->scratch, uint32_t, snapshot->member_count);
    bool *is_reached = arena_array(making->scratch, bool, snapshot->member_count);
    bool *is_done = arena_array(making->scratch, bool, graph->resource_count);
    graph->victims = arena_array(making->arena, uint32_t, snapshot->member_count);
    uint32_t victim_count = 0;
    for (uint32_t i = 0; i < graph->component_count; i++) {
        struct wait_component *component = &graph->components[i];
        size_t begin = 0, end = 0;
        for (; end < component->member_count; end++)
            queue[end] = graph->component_members[component->member_first + end];
        component->victim_first = victim_count;
        while (begin < end) {
            uint32_t member = queue[begin++];
            for (uint32_t held = making->held_first[member]; held < making->held_first[member + 1]; held++) {
                const struct lock_node *lock = &graph->locks[making->held[held]];
                if (is_done[making->held[held]])
                    continue;
                is_done[making->held[held]] = true;
                for (uint32_t k = 0; k < lock->waiter_count; k++) {
                    uint32_t waiter = snapshot->waits[graph->waiters[lock->waiter_first + k]].member;
                    if (!graph->is_stuck[waiter] || is_reached[waiter] || graph->component_of[waiter] != index_none)
                        continue;
                    is_reached[waiter] = true;
                    graph->victims[victim_count++] = waiter;
                    queue[end++] = waiter;
                }
            }
        }
        component->victim_count = victim_count - component->victim_first;
        sort_numbers(&graph->victims[component->victim_first], component->victim_count, compare_members, snapshot);
    }
}

struct wait_graph wait_graph_make(const struct snapshot *snapshot, const struct hold *more_holds,
                                  size_t more_hold_count, struct arena *arena, struct arena *scratch)
{
    uint32_t resource_count = wait_graph_lock_limit(snapshot);
    struct wait_graph graph = {
        .snapshot = snapshot,
        .locks = arena_array(arena, struct lock_node, resource_count),
        .resource_count = resource_count,
        .is_stuck = arena_array(arena, bool, snapshot->member_count),
    };
    for (size_t i = 0; i < resource_count; i++)
        graph.locks[i].holder = snapshot->resources[i].holder;
    struct making making = {.graph = &graph, .snapshot = snapshot, .arena = arena, .scratch = scratch};
    collect_member_waits(&making);
    collect_waiters(&making);
    collect_holds(&making, more_holds, more_hold_count);
    find_stuck(&making);
    find_components(&making);
    number_components(&graph, arena);
    find_victims(&making);
    return graph;
}

const struct wait *wait_graph_wait(const struct wait_graph *graph, uint32_t member)
{
    if (wait_graph_wait_count(graph, member) != 1)
        return NULL;
    return &graph->snapshot->waits[graph->member_waits[graph->member_wait_first[member]]];
}

const struct wait *wait_graph_find_wait(const struct wait_graph *graph, uint32_t member, uint32_t resource)
{
    for (uint32_t i = graph->member_wait_first[member]; i < graph->member_wait_first[member + 1]; i++) {
        const struct wait *wait = &graph->snapshot->waits[graph->member_waits[i]];
        if (wait->resource == resource)
            return wait;
    }
    return NULL;
}

const struct hold *wait_graph_find_hold(const struct wait_graph *graph, uint32_t resource, uint32_t member)
{
    const struct hold *best = NULL;
    if (resource >= graph->resource_count)
        return NULL;
    const struct lock_node *lock = &graph->locks[resource];
    for (uint32_t i = 0; i < lock->hold_count; i++) {
        const struct hold *hold = &graph->holds[lock->hold_first + i];
        if (hold->member == member && (best == NULL || hold->learnt > best->learnt))
            best = hold;
    }
    return best;
}

/* The component alone, its members numbered by id from 0, its resources after them. */
struct graph_cycles wait_graph_cycles(const struct wait_graph *graph, const struct wait_component *component,
                                      struct arena *arena, struct arena *scratch)
{
    uint32_t all_members = (uint32_t)graph->snapshot->member_count;
    uint32_t members = component->member_count, node_count = members + component->resource_count;
    uint32_t self = (uint32_t)(component - graph->components);
    uint32_t *nodes = arena_array(scratch, uint32_t, node_count);
    size_t edge_count = 0;
    for (uint32_t i = 0; i < node_count; i++) {
        nodes[i] = i < members ? graph->component_members[component->member_first + i]
                               : all_members + graph->component_resources[component->resource_first + i - members];
        edge_count += node_edges(graph, nodes[i]);
    }
    uint32_t *first = arena_array(scratch, uint32_t, node_count + 1);
    uint32_t *targets = arena_array(scratch, uint32_t, edge_count);
    uint32_t *seen_by = arena_array(scratch, uint32_t, node_count); /* + 1 */
    uint32_t count = 0;
    for (uint32_t i = 0; i < node_count; i++) {
        for (uint32_t edge = 0; edge < node_edges(graph, nodes[i]); edge++) {
            uint32_t target = node_target(graph, nodes[i], edge);
            if (target == index_none || graph->component_of[target] != self)
                continue;
            uint32_t number = graph->number_of[target] + (target < all_members ? 0 : members);
            if (seen_by[number] == i + 1)
                continue;
            seen_by[number] = i + 1;
            targets[count++] = number;
        }
        first[i + 1] = count;
    }
    struct graph part = {node_count, first, targets};
    struct graph_cycles cycles =
        graph_find_cycles(&part, members, limit_lock_cycles, limit_lock_cycles_told, arena, scratch);
    for (size_t i = 0; i < cycles.node_count; i++) {
        uint32_t node = nodes[cycles.nodes[i]];
        cycles.nodes[i] = node < all_members ? node : node - all_members;
    }
    return cycles;
}
