/* SPDX-License-Identifier: Apache-2.0 */
/* Address ranges that may nest and overlap, each with a number: which is the innermost that holds an address. */
#ifndef SG_SYMBOL_RANGE_TABLE_H
#define SG_SYMBOL_RANGE_TABLE_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>

struct address_range {
    uint64_t start, end; /* end exclusive */
    uint64_t reach;      /* largest end of this and all ranges before it, set by range_table_freeze */
    uint32_t value;
};

struct range_table {
    struct address_range *ranges;
    size_t count, capacity;
};

/* Empty ranges are left out. */
void range_table_append(struct range_table *table, struct arena *arena, uint64_t start, uint64_t end, uint32_t value);

/* Sorts; lookups come after it. */
void range_table_freeze(struct range_table *table);

/* The range with the nearest start that holds the address; of several with that start, the one appended first. */
bool range_table_find(const struct range_table *table, uint64_t address, uint32_t *ret_value);

#endif
