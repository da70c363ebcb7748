/* SPDX-License-Identifier: Apache-2.0 */
/* How to step from one code address to its caller, compiled once and executed for every thread that stands there. The
 * simple kind covers what compilers emit for nearly every function; the general kind keeps DWARF expressions. */
#ifndef SG_UNWIND_UNWIND_PLAN_H
#define SG_UNWIND_UNWIND_PLAN_H

#include "model/memory.h"
#include "model/snapshot.h"

#include <elfutils/libdw.h>

enum unwind_plan_kind {
    PLAN_UNKNOWN,
    PLAN_SIMPLE,        /* CFA = register + offset; saved registers at CFA + offset */
    PLAN_GENERAL,       /* rules with expressions, or more registers than the simple kind holds */
    PLAN_OUTERMOST,     /* the return address is undefined: no caller */
    PLAN_SIGNAL_RETURN, /* the kernel's signal frame, recognised by the code of its trampoline */
    PLAN_CALL,          /* no code there: a call through a bad pointer, return address at the top of the stack */
    PLAN_NO_TABLE,      /* code without unwind data: its instructions, else the frame pointer */
    PLAN_SWITCH,        /* code that moves between the stacks of its language's runtime: code_plans.step */
};

enum { plan_saved_max = 6 };

/* Where a simple plan finds the return address. */
enum return_place {
    RETURN_SAVED,                /* in memory, at an offset from the CFA */
    RETURN_IN_REGISTER,          /* where the call left it, if that register is known */
    RETURN_IN_REGISTER_OR_SAVED, /* in memory if the register is not known */
};

/* A DWARF location of a register's value in the caller: memory, another register, or a value. */
struct register_rule {
    uint8_t register_number;
    uint32_t operation_count;
    const Dwarf_Op *operations; /* in the walker's arena */
};

struct general_plan {
    const Dwarf_Op *cfa; /* computes the CFA as a value */
    uint32_t cfa_count;
    uint32_t rule_count;
    uint64_t same; /* bits: registers that keep their value */
    struct register_rule *rules; /* of registers neither undefined nor the same, the return address included */
    uint8_t return_address;
};

struct unwind_plan {
    uint8_t kind; /* enum unwind_plan_kind */
    bool signal_frame; /* this code is a signal trampoline: the caller's pc is exact */
    bool is_trap;      /* a call that Go's runtime made up where the caller stood: the caller's pc is exact, its own is not */
    bool is_entry;     /* a return address that is a function's first instruction: exact, nothing called */
    bool is_of_language; /* from code_plans */
    bool is_plain; /* a simple plan that reads two words at the most, at a distance from the stack pointer; the walker's */
    bool cfa_is_loaded; /* CFA = [register + load offset] + offset; from unwind_code.c alone */
    uint8_t cfa_register;
    uint8_t saved_count;
    uint8_t return_place; /* enum return_place */
    int16_t cfa_load_offset;
    int32_t cfa_offset;
    int32_t return_address_offset; /* from the CFA */
    struct {
        uint8_t register_number;
        int16_t offset; /* from the CFA */
    } saved[plan_saved_max];
    uint32_t undefined; /* bits: callee-saved registers whose value is lost */
    union {
        const struct general_plan *general; /* PLAN_GENERAL */
        struct code_plan *code;             /* PLAN_NO_TABLE */
        uint32_t switch_kind;               /* PLAN_SWITCH: its owner's; the rest is the plan on the stack it came from */
    };
};

/* unwind_cfi.c: the CFI row at a file address (p_vaddr) as a plan; false when the table has none. */
bool unwind_cfi_compile(Dwarf_CFI *cfi, uint64_t address, const struct arch *arch, struct arena *arena,
                        struct unwind_plan *ret_plan);

/* Executes a general plan: reads `from`, writes the caller's registers to *ret_registers and the CFA. `bias` is added
 * to DW_OP_addr. On failure *ret_missing is the address that could not be read, or 0 for a rule that cannot be
 * evaluated. */
bool unwind_general_execute(const struct general_plan *plan, const struct arch *arch, const struct registers *from,
                            const struct memory *memory, uint64_t bias, struct registers *ret_registers,
                            uint64_t *ret_cfa, uint64_t *ret_missing);

#endif
