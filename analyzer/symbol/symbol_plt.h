/* SPDX-License-Identifier: Apache-2.0 */
/* Names for the stubs that calls into other modules pass through (.plt, .plt.sec, .plt.got), which no symbol table
 * holds. x86-64 only: the stubs are read as instructions. */
#ifndef SG_SYMBOL_SYMBOL_PLT_H
#define SG_SYMBOL_SYMBOL_PLT_H

#include "symbol/symbol_elf.h"

/* The name ("read@plt", in the arena) and start of the stub at an address of the file; false when there is none or its
 * target is not known by name. `symbols` names the resolvers of indirect functions. Scans the relocations: for distinct
 * addresses only. */
bool symbol_plt_find(Elf *elf, const struct symbol_table *symbols, uint64_t address, struct arena *arena,
                     struct text *ret_name, uint64_t *ret_start);

#endif
