/* SPDX-License-Identifier: Apache-2.0 */
/* Answers the questions of findings (model/program.h) about a Go program: from its code, its type descriptors and its
 * goroutines' stacks. Nothing is read until it is asked for. */
#ifndef SG_GO_PROGRAM_H
#define SG_GO_PROGRAM_H

#include "base/worker.h"
#include "golang/go_runtime.h"
#include "model/program.h"
#include "model/snapshot.h"

/* `snapshot` has the goroutines of this runtime. is_patient: who is stuck is looked for in large programs too, which takes
 * seconds. In `arena`, as all answers; the worker is free between them. */
const struct program *go_program_new(const struct go_runtime *runtime, const struct snapshot *snapshot,
                                     bool is_patient, struct worker *worker, struct arena *arena);

#endif
