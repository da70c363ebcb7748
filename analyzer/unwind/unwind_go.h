/* SPDX-License-Identifier: Apache-2.0 */
/* Walks goroutines, and any Go code, by the frame sizes in pclntab: they are never stripped, and hold where CFI is missing
 * or wrong (assembly that switches stacks). */
#ifndef SG_UNWIND_UNWIND_GO_H
#define SG_UNWIND_UNWIND_GO_H

#include "golang/goroutines.h"
#include "unwind/walk.h"

/* For walker_set_code_plans, of one walker. `runtime` and `arena` must outlive the walker. */
struct code_plans unwind_go_plans(const struct go_runtime *runtime, struct arena *arena);

/* The stack's number in the trie of a walker that has the runtime's plans. `thread` is the one that the goroutine's tid names, NULL: none. A goroutine
 * that runs is walked from that thread's registers, behind a signal handler if it is in one; in the runtime's own code
 * on another stack it is where it left its own. With `with_c` one that is in C begins where its thread stands there, and
 * the frames of C that called Go stand between those of Go; where they cannot be followed the stack is Go's alone.
 * *ret_sp is the stack pointer at the leaf, on the goroutine's stack. */
uint32_t unwind_goroutine(struct walker *walker, const struct go_runtime *runtime, const struct goroutine *goroutine,
                          const struct thread *thread, bool with_c, uint64_t *ret_sp);

/* The same by a copy of the walker, of a goroutine that is parked in Go; index_none: unwind_goroutine is to be asked. */
uint32_t unwind_goroutine_find(struct walker *copy, const struct go_runtime *runtime, const struct goroutine *goroutine);

#endif
