/* SPDX-License-Identifier: Apache-2.0 */
/* Names, lines and inlined calls of Go code, from its pclntab. */
#ifndef SG_SYMBOL_SYMBOL_GO_H
#define SG_SYMBOL_SYMBOL_GO_H

#include "golang/go_runtime.h"
#include "model/snapshot.h"

/* "pkg.F[go.shape.int]" as it is printed, "pkg.F[...]": in the buffer, or the name itself where it has no type arguments or
 * the buffer is too small. */
struct text symbol_go_name(struct text name, char *buffer, size_t size_bytes);

/* As symbolize_location, for a pc in Go code; false and nothing done for any other. Names are as Go's own dumps print
 * them: type arguments as "[...]". */
bool symbol_go_location(const struct go_runtime *runtime, bool lines, struct snapshot *snapshot,
                        struct location *location);

/* The same as Go's profiles have it: a location for each call at the pc, inlined ones too, each with an address of its
 * own. Appends them to the snapshot, innermost first, and returns how many: 0 for a pc that is in no Go code. */
uint32_t symbol_go_locations(const struct go_runtime *runtime, bool lines, struct snapshot *snapshot, uint64_t pc,
                             bool exact);

/* The call of the function that holds a return address, by itself: appends its location to the snapshot and returns its
 * number; index_none for a pc that is in no Go code. As the runtime prints who created a goroutine: file and line are
 * those of the call, also where that was inlined. */
uint32_t symbol_go_function_location(const struct go_runtime *runtime, bool lines, struct snapshot *snapshot,
                                     uint64_t pc);

#endif
