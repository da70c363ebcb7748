/* SPDX-License-Identifier: Apache-2.0 */
/* Names of data from ELF symbol tables: an own sorted table of a module's objects (STT_OBJECT) with an extent.
 * Addresses are the file's own (p_vaddr). gABI, Symbol Table. */
#ifndef SG_SYMBOL_SYMBOL_DATA_H
#define SG_SYMBOL_SYMBOL_DATA_H

#include "symbol/symbol_elf.h"

struct data_table;

/* As symbol_table_new; thread-local objects, whose addresses are no addresses, are left out. Never NULL. */
struct data_table *data_table_new(struct arena *arena, const struct symbol_source *sources, size_t source_count);

/* The object that an address lies in: of several the nearest start, then the smallest, then one that is not local. */
bool data_table_find(const struct data_table *table, uint64_t address, struct text *ret_name, uint64_t *ret_start);

#endif
