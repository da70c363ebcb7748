/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a snapshot of a Go program's goroutines: reads each, walks it, names its stack, and tells what it waits for. */
#ifndef SG_SNAPSHOT_FROM_GOROUTINES_H
#define SG_SNAPSHOT_FROM_GOROUTINES_H

#include "base/worker.h"
#include "stack_naming.h"
#include "unwind/unwind_go.h"

struct goroutine_options {
    bool with_system;    /* the runtime's own too */
    bool without_c;      /* frames of C that Go called, or that called it, are left out */
    bool cross_check;    /* compare each with its chain of frame pointers; differences are diagnostics */
    bool with_arguments; /* of every call: snapshot.call_values */
};

/* `walker` has the runtime's plans; the worker is free, and when this returns it is again. Goroutines that cannot be read
 * are counted and told. */
void snapshot_from_goroutines(const struct go_runtime *runtime, const struct goroutine_options *options,
                              struct walker *walker, struct symbolizer *symbolizer, struct snapshot *ret_snapshot,
                              struct worker *worker, struct arena *arena, struct arena *scratch,
                              struct diagnostics *diagnostics);

#endif
