/* SPDX-License-Identifier: Apache-2.0 */
/* Steps through code of Go's runtime that moves between stacks: a goroutine's own, and g0's of the thread that runs it
 * (systemstack, asmcgocall, the clock's readers, mcall, gogo, morestack). Its frame sizes hold while the stack pointer
 * is the goroutine's; what it left there when it moved, the runtime's records tell. Source: runtime/asm_amd64.s and
 * sys_linux_amd64.s of Go 1.13 to 1.27, and the same for arm64, where their frames hold their return address at the bottom. */
#ifndef SG_UNWIND_GO_SWITCH_H
#define SG_UNWIND_GO_SWITCH_H

#include "golang/goroutines.h"
#include "unwind/step.h"

/* The stacks that the walk at hand may meet. */
struct go_stacks {
    const struct go_runtime *runtime;
    const struct thread *thread; /* still to be looked up, NULL: none */
    uint64_t machine;            /* its m, 0 not known */
    uint64_t goroutine;          /* the g that runs on it, 0 none or not known */
    uint64_t low, high;          /* that one's stack, both 0: not known */
    bool with_c;                 /* frames of C between those of Go are walked too */
    uint64_t callback_sp;        /* of the last call from C that was walked over: its frame on g0's stack; 0 none yet */
    bool is_scheduling;          /* the thread looks for work, or has just taken some: sched is not its caller's */
    bool is_back;                /* from C, in the call that the goroutine is in */
};

/* What moves, for unwind_plan.switch_kind. */
enum go_switch {
    GO_SWITCH_NONE,
    GO_SWITCH_CLOCK,  /* calls the kernel's code on g0's stack, and keeps its caller in m.vdsoSP and vdsoPC */
    GO_SWITCH_C,      /* calls C on g0's stack, and keeps there the g and how deep it was */
    GO_SWITCH_SYSTEM, /* calls Go on g0's stack; sched.sp is where it was */
    GO_SWITCH_TOP,    /* leaves its stack for g0's and never returns there: it is outermost on that */
    GO_SWITCH_TO,     /* goes on at another goroutine's sched */
    GO_SWITCH_BACK,   /* C called it on g0's stack, and it calls Go on the goroutine's */
    GO_SWITCH_LOOP,   /* moves nowhere itself, but what called it no longer waits for it */
    GO_SWITCH_OTHER,
};

/* `name` as pclntab has it. Of other functions that set the stack pointer nothing is known. */
enum go_switch go_switch_of(struct text name);

void go_stacks_enter_thread(struct go_stacks *stacks, const struct thread *thread);
void go_stacks_enter_goroutine(struct go_stacks *stacks, const struct goroutine *goroutine, bool with_c);

/* Whether a stack pointer lies on the goroutine's. */
bool go_stacks_is_own(const struct go_stacks *stacks, uint64_t sp);

struct step_result go_switch_step(struct go_stacks *stacks, struct stepper *stepper, const struct unwind_plan *plan,
                                  struct registers *registers, bool exact);

#endif
