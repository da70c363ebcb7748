/* SPDX-License-Identifier: Apache-2.0 */
#include "detect/name_table.h"
#include "base/limits.h"
#include "base/name.h"

static uint32_t gram_hash(const char *bytes)
{
    uint32_t gram = (uint32_t)(unsigned char)bytes[0] | (uint32_t)(unsigned char)bytes[1] << 8 |
                    (uint32_t)(unsigned char)bytes[2] << 16;
    return (gram * 2654435761u) >> 16;
}

static void add_name(struct name_table *table, uint32_t string)
{
    if (string != 0 && table->numbers[string] == index_none)
        table->numbers[string] = table->count++;
}

static struct text text_of(const struct snapshot *snapshot, enum name_kind kind, uint32_t string)
{
    if (kind == NAME_MODULE)
        return snapshot->modules[string].path;
    struct text name = snapshot_string(snapshot, string);
    return kind == NAME_FUNCTION || kind == NAME_CREATOR ? name_normalise(name) : name;
}

void name_table_make(struct name_table *table, const struct snapshot *snapshot, enum name_kind kind, struct arena *arena)
{
    size_t string_count = kind == NAME_MODULE ? snapshot->module_count : snapshot->strings.count;
    table->is_made = true;
    table->numbers = arena_array(arena, uint32_t, string_count + 1);
    memset(table->numbers, 0xff, (string_count + 1) * sizeof *table->numbers);
    switch (kind) {
    case NAME_FUNCTION:
        for (size_t i = 0; i < snapshot->frame_count; i++)
            add_name(table, snapshot->frames[i].function);
        break;
    case NAME_FILE:
        for (size_t i = 0; i < snapshot->frame_count; i++)
            add_name(table, snapshot->frames[i].file);
        break;
    case NAME_MODULE:
        for (size_t i = 0; i < snapshot->module_count; i++)
            table->numbers[i] = table->count++;
        break;
    case NAME_STATE:
        for (size_t i = 0; i < snapshot->member_count; i++)
            add_name(table, snapshot->members[i].state);
        break;
    case NAME_CREATOR:
        for (size_t i = 0; i < snapshot->member_count; i++)
            add_name(table, snapshot->members[i].creator);
        break;
    case NAME_KIND_COUNT:
        break;
    }
    uint32_t *strings = arena_array(arena, uint32_t, (size_t)table->count + 1);
    size_t size_bytes = 0;
    for (size_t i = 0; i < string_count; i++)
        if (table->numbers[i] != index_none) {
            strings[table->numbers[i]] = (uint32_t)i;
            size_bytes += text_of(snapshot, kind, (uint32_t)i).length + 1;
        }
    table->bytes = arena_alloc(arena, size_bytes + 1, 1);
    table->starts = arena_array(arena, uint32_t, (size_t)table->count + 1);
    size_t at = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        struct text text = text_of(snapshot, kind, strings[i]);
        table->starts[i] = (uint32_t)at;
        if (text.length != 0)
            memcpy(table->bytes + at, text.data, text.length);
        for (size_t j = 0; j + 3 <= text.length; j++) {
            uint32_t hash = gram_hash(text.data + j);
            table->grams[hash / 64] |= (uint64_t)1 << hash % 64;
        }
        at += text.length + 1;
    }
    table->starts[table->count] = (uint32_t)at;
}

static bool literal_may_occur(const struct name_table *table, struct text literal)
{
    for (size_t i = 0; i + 3 <= literal.length; i++) {
        uint32_t hash = gram_hash(literal.data + i);
        if ((table->grams[hash / 64] >> hash % 64 & 1) == 0)
            return false;
    }
    return true;
}

/* The name that a byte of `table->bytes` belongs to. */
static uint32_t name_at(const struct name_table *table, size_t offset)
{
    uint32_t low = 0, high = table->count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (table->starts[middle] <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void try_name(struct name_matches *matches, const struct name_table *table, struct pattern *pattern,
                     uint32_t number, struct arena *arena)
{
    size_t hits = pattern_limit_hits(pattern);
    if (hits >= limit_pattern_hits)
        return;
    if (pattern_matches(pattern, name_table_text(table, number))) {
        if (matches->names == NULL)
            matches->names = arena_array(arena, uint64_t, table->count / 64 + 1);
        matches->names[number / 64] |= (uint64_t)1 << number % 64;
    }
    matches->limit_hit |= pattern_limit_hits(pattern) != hits;
}

static void try_names_with(struct name_matches *matches, const struct name_table *table, struct pattern *pattern,
                           struct text literal, struct arena *arena)
{
    const char *end = table->bytes + table->starts[table->count];
    for (const char *at = table->bytes; at < end;) {
        const char *found = memmem(at, (size_t)(end - at), literal.data, literal.length);
        if (found == NULL)
            return;
        uint32_t number = name_at(table, (size_t)(found - table->bytes));
        bool is_known = matches->names != NULL && (matches->names[number / 64] >> number % 64 & 1) != 0;
        if (!is_known)
            try_name(matches, table, pattern, number, arena);
        at = table->bytes + table->starts[number + 1];
    }
}

void name_matches_make(struct name_matches *matches, const struct name_table *table, struct pattern *pattern,
                       const struct text *literals, size_t literal_count, struct arena *arena)
{
    matches->is_made = true;
    for (size_t i = 0; i < literal_count; i++)
        if (literal_may_occur(table, literals[i]))
            try_names_with(matches, table, pattern, literals[i], arena);
    for (uint32_t i = 0; i < table->count && literal_count == 0; i++)
        try_name(matches, table, pattern, i, arena);
}
