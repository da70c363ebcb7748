/* SPDX-License-Identifier: Apache-2.0 */
#include "detect/graph_cycles.h"

#include "base/limits.h"
#include "model/image.h"

#include <stdlib.h>

struct link {
    uint32_t node, next; /* index_none ends the list */
};

struct level {
    uint32_t node, edge;
    bool has_found;
};

struct search {
    const struct graph *graph;
    uint32_t *reverse_first, *reverse_targets;
    struct arena *arena, *scratch;
    struct graph_cycles result;
    size_t cycles_max;
    uint64_t steps, steps_max;
    bool is_cut;

    /* Nodes that can still be part of a cycle that has not been found. */
    bool *is_alive;
    uint32_t *in_degree, *out_degree;
    /* … those from which the present root can be reached. */
    uint32_t *in_round; /* root + 1 */
    bool *is_blocked;
    uint32_t *blocks; /* heads into links: whom the node's release releases */
    struct link *links;
    size_t link_count, link_capacity;
    uint32_t *queue;
    struct level *levels;
};

static void search_init(struct search *search)
{
    const struct graph *graph = search->graph;
    size_t nodes = graph->node_count;
    size_t edges = graph->first[nodes];
    struct arena *scratch = search->scratch;
    search->reverse_first = arena_array(scratch, uint32_t, nodes + 2);
    search->reverse_targets = arena_array(scratch, uint32_t, edges + 1);
    search->is_alive = arena_array(scratch, bool, nodes);
    search->in_degree = arena_array(scratch, uint32_t, nodes);
    search->out_degree = arena_array(scratch, uint32_t, nodes);
    search->in_round = arena_array(scratch, uint32_t, nodes);
    search->is_blocked = arena_array(scratch, bool, nodes);
    search->blocks = arena_array(scratch, uint32_t, nodes);
    search->queue = arena_array(scratch, uint32_t, nodes + 1);
    search->levels = arena_array(scratch, struct level, nodes + 1);
    for (size_t i = 0; i < edges; i++)
        search->in_degree[graph->targets[i]]++;
    for (size_t i = 0; i < nodes; i++) {
        search->is_alive[i] = true;
        search->out_degree[i] = graph->first[i + 1] - graph->first[i];
        search->reverse_first[i + 2] = search->reverse_first[i + 1] + search->in_degree[i];
    }
    /* Filling moves each start up to the next one's. */
    for (uint32_t i = 0; i < nodes; i++)
        for (uint32_t edge = graph->first[i]; edge < graph->first[i + 1]; edge++)
            search->reverse_targets[search->reverse_first[graph->targets[edge] + 1]++] = i;
    /* A large graph gets what one look at all of it takes; that finds at least one cycle. */
    search->steps_max = limit_cycle_steps + 4 * (nodes + edges);
}

/* Takes the node out, and then whatever has no way in or no way out any more: after the root of a plain ring all of it,
 * so that a ring of n nodes costs n and not n². */
static void search_remove(struct search *search, uint32_t node)
{
    const struct graph *graph = search->graph;
    size_t count = 0;
    search->is_alive[node] = false;
    search->queue[count++] = node;
    while (count > 0) {
        node = search->queue[--count];
        for (uint32_t edge = graph->first[node]; edge < graph->first[node + 1]; edge++) {
            uint32_t target = graph->targets[edge];
            if (--search->in_degree[target] == 0 && search->is_alive[target]) {
                search->is_alive[target] = false;
                search->queue[count++] = target;
            }
        }
        for (uint32_t edge = search->reverse_first[node]; edge < search->reverse_first[node + 1]; edge++) {
            uint32_t source = search->reverse_targets[edge];
            if (--search->out_degree[source] == 0 && search->is_alive[source]) {
                search->is_alive[source] = false;
                search->queue[count++] = source;
            }
        }
    }
}

static void search_start_round(struct search *search, uint32_t root)
{
    size_t begin = 0, end = 0;
    search->queue[end++] = root;
    search->in_round[root] = root + 1;
    while (begin < end) {
        uint32_t node = search->queue[begin++];
        search->is_blocked[node] = false;
        search->blocks[node] = index_none;
        for (uint32_t edge = search->reverse_first[node]; edge < search->reverse_first[node + 1]; edge++) {
            uint32_t source = search->reverse_targets[edge];
            search->steps++;
            if (!search->is_alive[source] || search->in_round[source] == root + 1)
                continue;
            search->in_round[source] = root + 1;
            search->queue[end++] = source;
        }
    }
    search->link_count = 0;
}

static void search_unblock(struct search *search, uint32_t node)
{
    size_t count = 0;
    search->is_blocked[node] = false;
    search->queue[count++] = node;
    while (count > 0) {
        node = search->queue[--count];
        uint32_t link = search->blocks[node];
        search->blocks[node] = index_none;
        for (; link != index_none; link = search->links[link].next) {
            uint32_t other = search->links[link].node;
            search->steps++;
            if (!search->is_blocked[other])
                continue;
            search->is_blocked[other] = false;
            search->queue[count++] = other;
        }
    }
}

static void search_block_behind(struct search *search, uint32_t node, uint32_t root)
{
    const struct graph *graph = search->graph;
    for (uint32_t edge = graph->first[node]; edge < graph->first[node + 1]; edge++) {
        uint32_t target = graph->targets[edge];
        search->steps++;
        if (search->in_round[target] != root + 1)
            continue;
        search->links = arena_grow(search->scratch, search->links, search->link_count, &search->link_capacity,
                                   sizeof *search->links);
        search->links[search->link_count] = (struct link){node, search->blocks[target]};
        search->blocks[target] = (uint32_t)search->link_count++;
    }
}

static void search_add_cycle(struct search *search, const struct level *levels, size_t count)
{
    struct graph_cycles *result = &search->result;
    if (result->count == search->cycles_max || result->node_count + count > limit_cycle_nodes) {
        search->is_cut = true;
        result->at_least = result->count + 1;
        return;
    }
    result->cycles =
        arena_grow(search->arena, result->cycles, result->count, &result->capacity, sizeof *result->cycles);
    result->cycles[result->count++] = (struct graph_cycle){result->node_count, count};
    for (size_t i = 0; i < count; i++) {
        result->nodes =
            arena_grow(search->arena, result->nodes, result->node_count, &result->node_capacity, sizeof *result->nodes);
        result->nodes[result->node_count++] = levels[i].node;
    }
    result->at_least = result->count;
}

/* All cycles whose lowest root is this one. */
static void search_root(struct search *search, uint32_t root)
{
    const struct graph *graph = search->graph;
    search_start_round(search, root);
    size_t depth = 0;
    search->levels[depth++] = (struct level){root, graph->first[root], false};
    search->is_blocked[root] = true;
    while (depth > 0 && !search->is_cut) {
        struct level *level = &search->levels[depth - 1];
        if (level->edge < graph->first[level->node + 1]) {
            uint32_t target = graph->targets[level->edge++];
            if (++search->steps > search->steps_max)
                search->is_cut = true;
            if (search->in_round[target] != root + 1)
                continue;
            if (target == root) {
                search_add_cycle(search, search->levels, depth);
                level->has_found = true;
            } else if (!search->is_blocked[target]) {
                search->is_blocked[target] = true;
                search->levels[depth++] = (struct level){target, graph->first[target], false};
            }
            continue;
        }
        struct level done = *level;
        depth--;
        if (done.has_found)
            search_unblock(search, done.node);
        else
            search_block_behind(search, done.node, root);
        if (depth > 0)
            search->levels[depth - 1].has_found |= done.has_found;
    }
}

/* A shortest cycle through the root, as levels from its lowest node on: their number, 0 when the work is used up. */
static size_t search_shortest(struct search *search, uint32_t root, uint32_t *came_from, uint32_t *seen)
{
    const struct graph *graph = search->graph;
    size_t begin = 0, end = 0, count = 0;
    search->queue[end++] = root;
    while (begin < end && count == 0) {
        uint32_t node = search->queue[begin++];
        for (uint32_t edge = graph->first[node]; edge < graph->first[node + 1] && count == 0; edge++) {
            uint32_t target = graph->targets[edge];
            if (++search->steps > search->steps_max)
                return 0;
            if (target == root) {
                for (uint32_t back = node; back != root; back = came_from[back])
                    search->levels[count++].node = back;
                search->levels[count++].node = root;
            } else if (seen[target] != root + 1) {
                seen[target] = root + 1;
                came_from[target] = node;
                search->queue[end++] = target;
            }
        }
    }
    /* It was followed backwards: turned round, then rotated. */
    for (size_t i = 0; i < count / 2; i++) {
        struct level swapped = search->levels[i];
        search->levels[i] = search->levels[count - 1 - i];
        search->levels[count - 1 - i] = swapped;
    }
    size_t lowest = 0;
    for (size_t i = 1; i < count; i++)
        if (search->levels[i].node < search->levels[lowest].node)
            lowest = i;
    /* `queue` has room for them all. */
    for (size_t i = 0; i < count; i++)
        search->queue[i] = search->levels[(lowest + i) % count].node;
    for (size_t i = 0; i < count; i++)
        search->levels[i].node = search->queue[i];
    return count;
}

static int cycle_compare(const void *left, const void *right, void *context)
{
    const struct graph_cycle *a = left, *b = right;
    const uint32_t *nodes = context;
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    for (size_t i = 0; i < a->count; i++)
        if (nodes[a->first + i] != nodes[b->first + i])
            return nodes[a->first + i] < nodes[b->first + i] ? -1 : 1;
    return 0;
}

static void cycles_sort(struct graph_cycles *cycles)
{
    if (cycles->count > 1)
        qsort_r(cycles->cycles, cycles->count, sizeof *cycles->cycles, cycle_compare, cycles->nodes);
}

/* Instead of the first that were met: the shortest. */
static void search_select_shortest(struct search *search, uint32_t root_count, size_t shortest_max)
{
    size_t known = search->result.at_least;
    search->result = (struct graph_cycles){0};
    search->is_cut = false;
    search->cycles_max = SIZE_MAX;
    search->steps = 0;
    uint32_t *came_from = arena_array(search->scratch, uint32_t, search->graph->node_count);
    uint32_t *seen = arena_array(search->scratch, uint32_t, search->graph->node_count);
    for (uint32_t root = 0; root < root_count && !search->is_cut; root++) {
        size_t count = search_shortest(search, root, came_from, seen);
        if (count != 0)
            search_add_cycle(search, search->levels, count);
        search->is_cut |= search->steps > search->steps_max;
    }
    struct graph_cycles *result = &search->result;
    cycles_sort(result);
    size_t distinct = 0;
    for (size_t i = 0; i < result->count; i++)
        if (distinct == 0 || cycle_compare(&result->cycles[distinct - 1], &result->cycles[i], result->nodes) != 0)
            result->cycles[distinct++] = result->cycles[i];
    result->count = distinct < shortest_max ? distinct : shortest_max;
    result->at_least = known > distinct ? known : distinct;
}

struct graph_cycles graph_find_cycles(const struct graph *graph, uint32_t root_count, size_t cycles_max,
                                      size_t shortest_max, struct arena *arena, struct arena *scratch)
{
    struct search search = {.graph = graph, .arena = arena, .scratch = scratch, .cycles_max = cycles_max};
    search_init(&search);
    for (uint32_t root = 0; root < root_count && !search.is_cut; root++) {
        if (!search.is_alive[root])
            continue;
        search_root(&search, root);
        search_remove(&search, root);
    }
    if (search.is_cut) {
        search_select_shortest(&search, root_count, shortest_max);
        return search.result;
    }
    cycles_sort(&search.result);
    search.result.is_complete = true;
    return search.result;
}
