/* SPDX-License-Identifier: Apache-2.0 */
/* Names, lines and inlined calls of code addresses. Everything is opened lazily and per distinct address: a module's
 * symbol table is sorted when its first address is asked for, its debug info is opened only when lines are wanted. */
#ifndef SG_SYMBOL_SYMBOLIZE_H
#define SG_SYMBOL_SYMBOLIZE_H

#include "base/diagnostics.h"
#include "debuginfo/module_file.h"
#include "golang/go_runtime.h"
#include "model/snapshot.h"

struct symbolize_options {
    bool lines;    /* file:line and inlined calls from DWARF */
    bool demangle; /* C++ (Itanium), Rust (legacy and v0) */
};

struct symbolizer;

struct symbolizer *symbolizer_new(const struct image *image, struct module_files *files,
                                  const struct symbolize_options *options, struct arena *arena,
                                  struct diagnostics *diagnostics);
void symbolizer_close(struct symbolizer *symbolizer);

/* Fills location->module, offset, frame_first and frame_count from location->pc and exact, and appends its frames
 * (innermost inlined call first, at least one) and their strings to the snapshot. A frame without a name has
 * function = 0; the report prints module+0xoff then. */
void symbolize_location(struct symbolizer *symbolizer, struct snapshot *snapshot, struct location *location);

/* Go code is named by its own tables from then on. `runtime` must outlive the symbolizer's use. */
void symbolizer_set_go(struct symbolizer *symbolizer, const struct go_runtime *runtime);

/* Whether lines are wanted. */
bool symbolizer_has_lines(const struct symbolizer *symbolizer);

/* Where the function that holds an address begins, by its symbol; false when no symbol holds it. */
bool symbolizer_function_start(struct symbolizer *symbolizer, uint64_t address, uint64_t *ret_start);

/* The object of the program that an address lies in, by a data symbol of its module: "orders_lock", "table+0x28", in the
 * arena. False when no symbol holds it: heap and stacks have none. */
bool symbolizer_data_name(struct symbolizer *symbolizer, uint64_t address, struct arena *arena, struct text *ret_name);

#endif
