/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/symbol_dwarf.h"
#include "base/intern_table.h"
#include "base/limits.h"
#include "symbol/range_table.h"

#include <dwarf.h>
#include <string.h>

struct dwarf_unit {
    Dwarf_Die die;
    Dwarf_Half version;
    bool walked, walked_deep; /* into namespaces only; into everything */
    Dwarf_Die *functions;
    size_t function_count, function_capacity;
    struct range_table function_ranges; /* values index functions */
    Dwarf_Lines *lines; /* NULL: none */
    size_t line_count;
    Dwarf_Files *files; /* NULL: none */
    size_t file_count;
};

struct symbol_dwarf {
    Dwarf *dwarf;
    struct arena *arena;
    size_t steps_left;
    Elf_Data *info; /* .debug_info, which strings of DW_FORM_string must end in */
    Dwarf_Aranges *aranges;
    bool ranges_tried;
    struct range_table ranges; /* of the units; values index units */
    struct dwarf_unit **units; /* those that were asked for */
    size_t unit_count, unit_capacity;
    uint32_t *slots; /* open addressing by offset; index + 1, 0 is free */
    size_t slot_count;
};

struct symbol_dwarf *symbol_dwarf_new(Dwarf *dwarf, struct arena *arena)
{
    struct symbol_dwarf *symbols = arena_new(arena, struct symbol_dwarf);
    symbols->dwarf = dwarf;
    symbols->arena = arena;
    symbols->steps_left = limit_dwarf_steps;
    if (dwarf_getaranges(dwarf, &symbols->aranges, NULL) != 0)
        symbols->aranges = NULL;
    return symbols;
}

bool symbol_dwarf_is_exhausted(const struct symbol_dwarf *symbols)
{
    return symbols->steps_left == 0;
}

static bool dwarf_step(struct symbol_dwarf *symbols)
{
    if (symbols->steps_left == 0)
        return false;
    symbols->steps_left--;
    return true;
}

/* First or next entry on a level; false at its end, on damage and when the steps are used up. */
static bool die_first(struct symbol_dwarf *symbols, Dwarf_Die *parent, Dwarf_Die *ret_child)
{
    return dwarf_step(symbols) && dwarf_haschildren(parent) == 1 && dwarf_child(parent, ret_child) == 0;
}

static bool die_next(struct symbol_dwarf *symbols, Dwarf_Die *die)
{
    Dwarf_Die next;
    if (!dwarf_step(symbols) || dwarf_siblingof(die, &next) != 0)
        return false;
    *die = next;
    return true;
}

static bool die_contains(struct symbol_dwarf *symbols, Dwarf_Die *die, uint64_t address)
{
    Dwarf_Addr base, start, end;
    ptrdiff_t offset = 0;
    while (dwarf_step(symbols) && (offset = dwarf_ranges(die, offset, &base, &start, &end)) > 0)
        if (address >= start && address < end)
            return true;
    return false;
}

static void die_append_ranges(struct symbol_dwarf *symbols, Dwarf_Die *die, struct range_table *table, uint32_t value)
{
    Dwarf_Addr base, start, end;
    ptrdiff_t offset = 0;
    while (dwarf_step(symbols) && (offset = dwarf_ranges(die, offset, &base, &start, &end)) > 0) {
        /* Linkers leave 0 as the address of what they dropped. */
        if (start != 0)
            range_table_append(table, symbols->arena, start, end, value);
    }
}

/* The attribute's string; NULL when it has none that ends within its section: libdw trusts DW_FORM_string to. */
static const char *attribute_string(struct symbol_dwarf *symbols, Dwarf_Attribute *attribute)
{
    if (dwarf_whatform(attribute) == DW_FORM_string) {
        if (symbols->info == NULL)
            symbols->info = section_data(symbols->dwarf, ".debug_info");
    }
    return dwarf_formstring(attribute);
}
