/* SPDX-License-Identifier: Apache-2.0 */
/* The elementary cycles of a directed graph: each once, within bounds. A tangle can have more cycles than atoms exist,
 * so that past a number of them only the shortest are kept. Johnson, Finding all the elementary circuits of a directed
 * graph, SIAM J. Comput. 4(1), 1975, without recursion. */
#ifndef SG_DETECT_GRAPH_CYCLES_H
#define SG_DETECT_GRAPH_CYCLES_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>

struct graph {
    uint32_t node_count;
    const uint32_t *first;   /* node_count + 1, into targets */
    const uint32_t *targets; /* no edge twice */
};

struct graph_cycle {
    size_t first, count; /* into graph_cycles.nodes */
};

struct graph_cycles {
    uint32_t *nodes; /* of each cycle from its lowest number on, in the direction of the edges */
    size_t node_count, node_capacity;
    struct graph_cycle *cycles; /* the shortest first, then by their nodes */
    size_t count, capacity;
    bool is_complete; /* else: a selection, with one of the shortest among it */
    size_t at_least;  /* that exist; `count` when complete */
};

/* Every cycle must pass one of the nodes below `root_count`. More than `cycles_max` cycles, or more work than
 * limits.h grants: the shortest `shortest_max` of those through each node. The result is in `arena`. */
struct graph_cycles graph_find_cycles(const struct graph *graph, uint32_t root_count, size_t cycles_max,
                                      size_t shortest_max, struct arena *arena, struct arena *scratch);

#endif
