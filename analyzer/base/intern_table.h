/* SPDX-License-Identifier: Apache-2.0 */
/* Each distinct text once, by number. Number 0 is the empty text. */
#ifndef SG_BASE_INTERN_TABLE_H
#define SG_BASE_INTERN_TABLE_H

#include "base/text.h"

#include <stdint.h>

struct intern_table {
    struct arena *arena; /* owns the copies */
    struct text *texts;  /* by number; NUL-terminated beyond their length */
    size_t count, capacity;
    uint32_t *slots; /* open addressing; number + 1, 0 is free */
    size_t slot_count;
};

void intern_table_init(struct intern_table *table, struct arena *arena);

/* The text's number; a copy is made when it is new. */
uint32_t intern_table_add(struct intern_table *table, struct text text);

/* False when the text was never added. */
bool intern_table_find(const struct intern_table *table, struct text text, uint32_t *ret_number);

static inline struct text intern_table_text(const struct intern_table *table, uint32_t number)
{
    return table->texts[number];
}

/* Well mixed in all its bits; also used for other keys of the program. */
uint64_t hash_bytes(const void *bytes, size_t size_bytes, uint64_t seed);

#endif
