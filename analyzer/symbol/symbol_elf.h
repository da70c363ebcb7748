/* SPDX-License-Identifier: Apache-2.0 */
/* Names from ELF symbol tables: an own sorted table of a module's code symbols, 20 bytes a symbol, names left where
 * they stand in the file. Addresses are the file's own (p_vaddr), not the target's. elf(5), SHT_SYMTAB; gABI, Symbol
 * Table. */
#ifndef SG_SYMBOL_SYMBOL_ELF_H
#define SG_SYMBOL_SYMBOL_ELF_H

#include "base/text.h"

#include <libelf.h>
#include <stdint.h>

enum { symbol_sources_max = 3 };

/* One symbol table as it stands in a file; borrowed for as long as the table built from it is used. */
struct symbol_source {
    Elf *elf;               /* whose section headers st_shndx counts; NULL: st_shndx is not looked at */
    const uint8_t *symbols; /* Elf64_Sym, any alignment */
    size_t symbol_count;    /* with the undefined ones */
    const char *strings;
    size_t strings_size_bytes;
    bool sized_only; /* symbols without a size are left out: between the exported functions of a stripped module lie
                        others without names, and a label would claim them */
};

/* A section (or segment, where a file has no sections) that code runs in. */
struct code_range {
    uint64_t start, end;
};

struct symbol_table;

/* The .symtab or .dynsym (SHT_SYMTAB, SHT_DYNSYM) of a file; .dynsym is also found through PT_DYNAMIC, in images whose
 * section headers are not at hand; `bias` is what the loader may have added to the addresses in it. False when there is
 * none with anything in it. */
bool symbol_source_open(Elf *elf, uint64_t bias, uint32_t section_type, struct symbol_source *ret_source);

/* The code of a file, in an array in the arena, sorted by start; may be empty. */
struct code_range *elf_code_ranges(Elf *elf, struct arena *arena, size_t *ret_count);

/* Takes up to symbol_sources_max sources, in order of preference where their symbols are equal. Never NULL. */
struct symbol_table *symbol_table_new(struct arena *arena, const struct symbol_source *sources, size_t source_count,
                                      const struct code_range *ranges, size_t range_count);

/* The symbol that names an address. Of those whose extent holds it, a non-local one goes before a local one, then the
 * nearest start, then GLOBAL before WEAK before LOCAL, the smaller, the first in the table. A symbol without a size (a
 * label in assembly) names it only when no extent holds it, none lies or ends between, and both are in one section. */
bool symbol_table_find(const struct symbol_table *table, uint64_t address, struct text *ret_name, uint64_t *ret_start);

#endif
