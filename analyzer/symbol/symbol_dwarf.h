/* SPDX-License-Identifier: Apache-2.0 */
/* Lines and inlined calls from DWARF, through libdw. Addresses are the file's own (p_vaddr). What is found by walking a
 * unit (its functions, its ranges) is kept, so that further addresses cost a binary search and one function's entries.
 * DWARF 5, 2.17 (ranges), 3.3.8 (inlined calls), 6.2 (lines). */
#ifndef SG_SYMBOL_SYMBOL_DWARF_H
#define SG_SYMBOL_SYMBOL_DWARF_H

#include "base/arena.h"

#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stdint.h>

struct symbol_dwarf;

/* One call, real or inlined. Strings are the Dwarf's. */
struct dwarf_frame {
    const char *name;      /* as the linker knows it (mangled), else as in the source; NULL unknown */
    const char *file;      /* from the line table, not normalised; relative ones to `directory`; NULL unknown */
    const char *directory; /* where the compiler ran; NULL unknown */
    uint32_t line;         /* 0 unknown */
    uint64_t start;        /* of a real function: its entry address; 0 unknown */
};

/* `path` is the file that the DWARF is in; .dwo files are looked for beside it. NULL: not known. */
struct symbol_dwarf *symbol_dwarf_new(Dwarf *dwarf, const char *path, struct arena *arena);

/* Fills up to `frames_max` (at least 1) calls, innermost inlined first, the real function last; 0 when nothing covers
 * the address. Of a deeper chain the innermost and the real function are given. */
size_t symbol_dwarf_find(struct symbol_dwarf *symbols, uint64_t address, struct dwarf_frame *ret_frames,
                         size_t frames_max);

/* Whether limit_dwarf_steps ended the search: later answers lack lines. */
bool symbol_dwarf_is_exhausted(const struct symbol_dwarf *symbols);

#endif
