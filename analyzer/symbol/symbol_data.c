/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/symbol_data.h"

#include "base/limits.h"

#include <elf.h>
#include <stdlib.h>

struct data_symbol {
    uint64_t start, end;
    uint64_t reach;   /* largest end of this and all symbols before it */
    const char *name; /* `left` bytes to the end of its strings */
    size_t left;
    bool is_local;
};

struct data_table {
    struct data_symbol *symbols; /* by start; of equal ones the better last */
    size_t count;
};

static bool read_symbol(const struct symbol_source *source, size_t i, struct data_symbol *ret_symbol)
{
    Elf64_Sym raw;
    memcpy(&raw, source->symbols + i * sizeof raw, sizeof raw);
    if (ELF64_ST_TYPE(raw.st_info) != STT_OBJECT || raw.st_shndx == SHN_UNDEF || raw.st_shndx == SHN_ABS ||
        raw.st_size == 0 || raw.st_value > UINT64_MAX - raw.st_size || raw.st_name >= source->strings_size_bytes ||
        source->strings[raw.st_name] == '\0')
        return false;
    *ret_symbol = (struct data_symbol){
        .start = raw.st_value,
        .end = raw.st_value + raw.st_size,
        .name = source->strings + raw.st_name,
        .left = source->strings_size_bytes - raw.st_name,
        .is_local = ELF64_ST_BIND(raw.st_info) == STB_LOCAL,
    };
    return true;
}

/* Walking left from an address, what comes first is the nearest start, then the smallest extent, then not local. */
static int compare_symbols(const void *left, const void *right)
{
    const struct data_symbol *a = left, *b = right;
    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    if (a->end != b->end)
        return a->end > b->end ? -1 : 1;
    if (a->is_local != b->is_local)
        return a->is_local ? -1 : 1;
    return strncmp(b->name, a->name, a->left < b->left ? a->left : b->left);
}

struct data_table *data_table_new(struct arena *arena, const struct symbol_source *sources, size_t source_count)
{
    struct data_table *table = arena_new(arena, struct data_table);
    struct data_symbol symbol;
    size_t capacity = 0;
    for (size_t s = 0; s < source_count; s++)
        for (size_t i = 0; i < sources[s].symbol_count; i++)
            capacity += read_symbol(&sources[s], i, &symbol);
    table->symbols = arena_array(arena, struct data_symbol, capacity + 1);
    /* A file that changes meanwhile must not give more than was counted. */
    for (size_t s = 0; s < source_count; s++)
        for (size_t i = 0; i < sources[s].symbol_count && table->count < capacity; i++)
            table->count += read_symbol(&sources[s], i, &table->symbols[table->count]);
    qsort(table->symbols, table->count, sizeof *table->symbols, compare_symbols);
    uint64_t reach = 0;
    for (size_t i = 0; i < table->count; i++) {
        if (table->symbols[i].end > reach)
            reach = table->symbols[i].end;
        table->symbols[i].reach = reach;
    }
    return table;
}

bool data_table_find(const struct data_table *table, uint64_t address, struct text *ret_name, uint64_t *ret_start)
{
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->symbols[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t i = low, steps = 0; i-- > 0 && table->symbols[i].reach > address && steps < limit_symbol_overlap;
         steps++) {
        const struct data_symbol *symbol = &table->symbols[i];
        if (symbol->end <= address)
            continue;
        *ret_name = (struct text){symbol->name, strnlen(symbol->name, symbol->left)};
        *ret_start = symbol->start;
        return true;
    }
    return false;
}
