/* SPDX-License-Identifier: Apache-2.0 */
/* Steps through code that has no unwind data by following its instructions: forward from the pc to its `ret` (which
 * must find the return address at the top of the stack), or from a function's entry to the pc. Musl, hand-written
 * assembly, JIT code and programs built without tables come to their ends that way. The only file that knows the
 * instruction decoder (Zydis); x86-64 alone, other architectures get nothing.
 *
 * What is assumed, and nothing else: the ABI's promise that a function returns with the stack pointer just above the
 * return address and callee-saved registers restored, and that the functions it calls do the same. */
#ifndef SG_UNWIND_UNWIND_CODE_H
#define SG_UNWIND_UNWIND_CODE_H

#include "unwind/unwind_plan.h"

enum { code_candidates_max = 4 };

/* Plans (PLAN_SIMPLE) by the paths from the pc to a return, distinct, the straightest first. Returns how many. */
size_t unwind_code_to_return(const struct memory *memory, const struct arch *arch, uint64_t pc,
                             struct unwind_plan ret_plans[static code_candidates_max]);

/* The plan at `pc` when it is reached from the entry, jumps followed; false when no path leads there. */
bool unwind_code_from_entry(const struct memory *memory, const struct arch *arch, uint64_t entry, uint64_t pc,
                            struct unwind_plan *ret_plan);

/* What the call instruction before a return address called: a direct target, or one read from a pointer beside the
 * code; false for calls through registers and where no call precedes. */
bool unwind_code_call_target(const struct memory *memory, const struct arch *arch, uint64_t return_address,
                             uint64_t *ret_target);

/* Whether only padding follows at the address up to the next 16-byte boundary: the call before it never returns. */
bool unwind_code_is_padding(const struct memory *memory, const struct arch *arch, uint64_t address);

/* Whether the code at a return address ends the thread at once (a system call that must not return, then hlt): the call
 * before it began the thread, as in musl's clone. */
bool unwind_code_is_thread_exit(const struct memory *memory, const struct arch *arch, uint64_t return_address);

#endif
