/* SPDX-License-Identifier: Apache-2.0 */
#include "base/intern_table.h"

/* Eight bytes a step: texts of dumps are hashed line by line. */
uint64_t hash_bytes(const void *bytes, size_t size_bytes, uint64_t seed)
{
    const unsigned char *byte = bytes;
    uint64_t hash = 0xcbf29ce484222325u ^ seed ^ size_bytes, word;
    for (; size_bytes >= 8; size_bytes -= 8, byte += 8) {
        memcpy(&word, byte, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
    for (word = 0; size_bytes > 0; size_bytes--)
        word = word << 8 | *byte++;
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 32;
    hash *= 0xd6e8feb86659fd93u;
    return hash ^ (hash >> 29);
}

static void intern_table_resize(struct intern_table *table, size_t slot_count)
{
    table->slots = arena_array(table->arena, uint32_t, slot_count);
    table->slot_count = slot_count;
    for (size_t number = 0; number < table->count; number++) {
        struct text text = table->texts[number];
        size_t slot = hash_bytes(text.data, text.length, 0) & (slot_count - 1);
        while (table->slots[slot] != 0)
            slot = (slot + 1) & (slot_count - 1);
        table->slots[slot] = (uint32_t)number + 1;
    }
}

void intern_table_init(struct intern_table *table, struct arena *arena)
{
    *table = (struct intern_table){.arena = arena};
    intern_table_resize(table, 256);
    intern_table_add(table, TEXT(""));
}

bool intern_table_find(const struct intern_table *table, struct text text, uint32_t *ret_number)
{
    size_t mask = table->slot_count - 1;
    for (size_t slot = hash_bytes(text.data, text.length, 0) & mask; table->slots[slot] != 0; slot = (slot + 1) & mask)
        if (text_equals(table->texts[table->slots[slot] - 1], text)) {
            *ret_number = table->slots[slot] - 1;
            return true;
        }
    return false;
}

uint32_t intern_table_add(struct intern_table *table, struct text text)
{
    size_t mask = table->slot_count - 1;
    size_t slot = hash_bytes(text.data, text.length, 0) & mask;
    for (; table->slots[slot] != 0; slot = (slot + 1) & mask)
        if (text_equals(table->texts[table->slots[slot] - 1], text))
            return table->slots[slot] - 1;
    table->texts =
        arena_grow(table->arena, table->texts, table->count, &table->capacity, sizeof *table->texts);
    table->texts[table->count] = text_copy(table->arena, text);
    uint32_t number = (uint32_t)table->count++;
    table->slots[slot] = number + 1;
    if (table->count * 2 > table->slot_count)
        intern_table_resize(table, table->slot_count * 2);
    return number;
}
