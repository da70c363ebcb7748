/* SPDX-License-Identifier: Apache-2.0 */
/* One step of a walk: from a frame's registers to its caller's, by the plan of the frame's pc. Stepping reads memory
 * and checks what it finds; it knows nothing of threads and stacks. */
#ifndef SG_UNWIND_STEP_H
#define SG_UNWIND_STEP_H

#include "base/byte_reader.h"
#include "debuginfo/module_file.h"
#include "unwind/unwind_plan.h"

/* Where the function that holds an address begins, as symbols tell; stepping knows no symbol tables. */
struct function_starts {
    bool (*find)(void *context, uint64_t address, uint64_t *ret_start); /* NULL: none are known */
    void *context;
};

/* What every step works on. */
struct stepper {
    const struct image *image;
    const struct memory *memory;
    const struct arch *arch;
    struct module_files *files;
    struct function_starts starts;
    struct arena *arena;
    struct memory_range window;   /* the range of the last read: stacks are read from one */
    uint32_t code_questions_left; /* to the instruction decoder */
};

/* One step's result: the caller's registers, or why there are none. */
struct step_result {
    enum stack_end end; /* STACK_END_UNKNOWN: stepped */
    uint64_t end_address;
    enum frame_trust trust;
    bool stack_may_switch; /* to any other, as a signal frame may */
    bool is_exact;         /* the caller's pc: nothing called from there */
    bool from_register;    /* the return address was in a register: the stack pointer may be the same */
};

/* Each step replaces the registers by the caller's, by a plan of the kind that its name tells; on an end they are
 * undefined. `exact` and `trust` are the frame's own. step_simple is also what step_code.c ends in. */
struct step_result step_simple(struct stepper *stepper, const struct unwind_plan *plan, struct registers *registers);
struct step_result step_general(struct stepper *stepper, const struct unwind_plan *plan, struct registers *registers,
                                bool exact);
struct step_result step_signal_return(struct stepper *stepper, struct registers *registers);
struct step_result step_call(struct stepper *stepper, struct registers *registers);
struct step_result step_frame_pointer(struct stepper *stepper, struct registers *registers);
/* Where a thread stands or was interrupted in code without tables: by the link register as long as it is the frame's own. */
struct step_result step_link_register(struct stepper *stepper, struct registers *registers);

/* The caller's pc, once all else is the caller's. A link register holds something else in a caller: the call that is under
 * way overwrote it. */
void step_set_return_address(const struct stepper *stepper, struct registers *registers, uint64_t pc);

/* step_code.c: the plan of a pc without unwind data, and a step by it. */
struct code_plan *code_plan_new(struct stepper *stepper, uint64_t pc, bool exact);
struct step_result step_code(struct stepper *stepper, struct code_plan *code, struct registers *registers, bool exact,
                             enum frame_trust trust);

/* Whether a return address is one: it lies in executable memory and follows a call, or is a signal handler's. Where the
 * code is not at hand, nothing speaks against it. */
bool stepper_follows_call(struct stepper *stepper, uint64_t return_address);

/* Whether the code there ends a signal handler. */
bool stepper_is_signal_trampoline(const struct stepper *stepper, uint64_t pc);

static inline bool register_is_known(const struct registers *registers, unsigned number)
{
    return (registers->known >> number & 1) != 0;
}

static inline struct step_result step_ended(enum stack_end end, uint64_t address)
{
    return (struct step_result){.end = end, .end_address = address};
}

/* A return address without its signature. */
static inline uint64_t stepper_plain_address(const struct stepper *stepper, uint64_t return_address)
{
    return return_address & stepper->arch->return_address_mask;
}

static inline bool stepper_read_u64(struct stepper *stepper, uint64_t address, uint64_t *ret_value)
{
    const struct memory_range *window = &stepper->window;
    if (address < window->start || window->end - window->start < 8 || address > window->end - 8) {
        const struct memory_range *range = memory_find(stepper->memory, address);
        if (range == NULL || range->end - address < 8)
            return memory_read_u64(stepper->memory, address, ret_value);
        /* Of a file's range a part may be the core's: only what comes from the core is kept. */
        if (memory_is_core(stepper->memory, range))
            stepper->window = *range;
        *ret_value = load_u64(range->bytes + (address - range->start));
        return true;
    }
    *ret_value = load_u64(window->bytes + (address - window->start));
    return true;
}

#endif
