/* SPDX-License-Identifier: Apache-2.0 */
/* Plans for Go code, from the frame sizes in its pclntab: they are never stripped, and hold where CFI is missing or wrong
 * (assembly that switches stacks). */
#ifndef SG_UNWIND_UNWIND_GO_H
#define SG_UNWIND_UNWIND_GO_H

#include "golang/go_runtime.h"
#include "unwind/unwind_plan.h"

/* False when the pc is in no Go function. */
bool unwind_go_compile(const struct go_runtime *runtime, uint64_t pc, struct unwind_plan *ret_plan);

#endif
