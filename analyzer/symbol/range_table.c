/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/range_table.h"

#include <stdlib.h>

void range_table_append(struct range_table *table, struct arena *arena, uint64_t start, uint64_t end, uint32_t value)
{
    if (start >= end)
        return;
    table->ranges = arena_grow(arena, table->ranges, table->count, &table->capacity, sizeof *table->ranges);
    /* Until the table is frozen, `reach` holds the order of appending: qsort is not stable. */
    table->ranges[table->count] = (struct address_range){start, end, table->count, value};
    table->count++;
}

static int range_compare(const void *left, const void *right)
{
    const struct address_range *a = left, *b = right;
    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    return a->reach > b->reach ? -1 : a->reach < b->reach;
}

void range_table_freeze(struct range_table *table)
{
    if (table->count == 0)
        return;
    qsort(table->ranges, table->count, sizeof *table->ranges, range_compare);
    uint64_t reach = 0;
    for (size_t i = 0; i < table->count; i++) {
        if (table->ranges[i].end > reach)
            reach = table->ranges[i].end;
        table->ranges[i].reach = reach;
    }
}

bool range_table_find(const struct range_table *table, uint64_t address, uint32_t *ret_value)
{
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->ranges[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t i = low; i-- > 0 && table->ranges[i].reach > address;) {
        if (table->ranges[i].end > address) {
            *ret_value = table->ranges[i].value;
            return true;
        }
    }
    return false;
}
