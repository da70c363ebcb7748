/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/step.h"

#include "unwind/unwind_code.h"

/* What is known of a pc without unwind data. */
struct code_plan {
    struct unwind_plan candidates[code_candidates_max]; /* by its paths to a return */
    size_t candidate_count;
    struct unwind_plan proven; /* kind PLAN_UNKNOWN: none yet */
    bool weak_refused;         /* a caller's call that may never return: only a proof counts */
    uint8_t failures;          /* frames that no proof was found for; code_failures_max end the search at this pc */
};

enum { code_failures_max = 16 };

/* Counts one question to the instruction decoder; false when they are used up. */
static bool stepper_may_ask(struct stepper *stepper)
{
    if (stepper->code_questions_left == 0)
        return false;
    stepper->code_questions_left--;
    return true;
}

struct code_plan *code_plan_new(struct stepper *stepper, uint64_t pc, bool exact)
{
    struct code_plan *code = arena_new(stepper->arena, struct code_plan);
    if (!stepper_may_ask(stepper)) {
        code->failures = code_failures_max;
        return code;
    }
    code->candidate_count = unwind_code_to_return(stepper->memory, stepper->arch, pc, code->candidates);
    code->weak_refused = !exact && unwind_code_is_padding(stepper->memory, stepper->arch, pc);
    return code;
}

/* Where a simple plan expects the return address. */
static bool return_address_place(struct stepper *stepper, const struct unwind_plan *plan,
                                 const struct registers *registers, uint64_t *ret_place)
{
    uint64_t cfa = registers->values[plan->cfa_register];
    if (!register_is_known(registers, plan->cfa_register) ||
        (plan->cfa_is_loaded && !stepper_read_u64(stepper, cfa + (uint64_t)(int64_t)plan->cfa_load_offset, &cfa)))
        return false;
    *ret_place = cfa + (uint64_t)(int64_t)plan->cfa_offset + (uint64_t)(int64_t)plan->return_address_offset;
    return true;
}

/* Whether the value at `place` is a return address whose call leads into the code at `pc` with exactly this stack: the
 * callee's own instructions, followed from the call's target, put its return address there. */
static bool prove_return_address(struct stepper *stepper, const struct registers *registers, uint64_t place,
                                 struct unwind_plan *ret_plan)
{
    uint64_t return_address, target, expected;
    if (!stepper_read_u64(stepper, place, &return_address) || !stepper_follows_call(stepper, return_address) ||
        !unwind_code_call_target(stepper->memory, stepper->arch, return_address, &target) ||
        !image_is_executable(stepper->image, target))
        return false;
    if (!stepper_may_ask(stepper))
        return false;
    module_files_open(stepper->files, image_find_module(stepper->image, target));
    return unwind_code_from_entry(stepper->memory, stepper->arch, target, registers->pc, ret_plan) &&
           return_address_place(stepper, ret_plan, registers, &expected) && expected == place;
}

static struct step_result take_code_plan(struct stepper *stepper, const struct unwind_plan *plan,
                                         struct registers *registers)
{
    struct step_result result = step_simple(stepper, plan, registers);
    result.trust = TRUST_CODE;
    return result;
}

/* Called through a register, as threads' start routines are: the paths to the return alone must do. */
static struct step_result step_unproven(struct stepper *stepper, const struct code_plan *code,
                                        struct registers *registers)
{
    uint64_t place, return_address;
    for (size_t i = 0; !code->weak_refused && i < code->candidate_count; i++) {
        /* The straightest path counts: without its register the others would be guesses. */
        if (!register_is_known(registers, code->candidates[i].cfa_register))
            break;
        if (return_address_place(stepper, &code->candidates[i], registers, &place) &&
            stepper_read_u64(stepper, place, &return_address) && stepper_follows_call(stepper, return_address))
            return take_code_plan(stepper, &code->candidates[i], registers);
    }
    return step_ended(STACK_END_NO_UNWIND_DATA, registers->pc);
}

enum { scanned_slots = 512 }; /* of 8 bytes above the stack pointer; blocking leaves have small frames */

struct step_result step_code(struct stepper *stepper, struct code_plan *code, struct registers *registers, bool exact,
                             enum frame_trust trust)
{
    uint64_t place, return_address;
    /* A frame that the frame pointer led to knows its stack pointer only if the callee's frame was of the usual shape.
     */
    if (trust == TRUST_FRAME_POINTER)
        return step_ended(STACK_END_NO_UNWIND_DATA, registers->pc);
    /* Proven once, the stack's shape at this pc holds for every thread; the return address is still looked at. */
    if (code->proven.kind == PLAN_SIMPLE && return_address_place(stepper, &code->proven, registers, &place) &&
        stepper_read_u64(stepper, place, &return_address) && stepper_follows_call(stepper, return_address))
        return take_code_plan(stepper, &code->proven, registers);
    if (code->failures == code_failures_max)
        return step_unproven(stepper, code, registers);
    for (size_t i = 0; i < code->candidate_count; i++)
        if (return_address_place(stepper, &code->candidates[i], registers, &place) &&
            prove_return_address(stepper, registers, place, &code->proven))
            return take_code_plan(stepper, &code->proven, registers);
    uint64_t start, lookup = exact ? registers->pc : registers->pc - 1;
    if (stepper->starts.find != NULL && stepper->starts.find(stepper->starts.context, lookup, &start) &&
        stepper_may_ask(stepper) &&
        unwind_code_from_entry(stepper->memory, stepper->arch, start, registers->pc, &code->proven) &&
        return_address_place(stepper, &code->proven, registers, &place) &&
        stepper_read_u64(stepper, place, &return_address) && stepper_follows_call(stepper, return_address))
        return take_code_plan(stepper, &code->proven, registers);
    uint64_t sp = registers->values[stepper->arch->sp];
    for (size_t i = 0; register_is_known(registers, stepper->arch->sp) && i < scanned_slots; i++)
        if (prove_return_address(stepper, registers, sp + 8 * i, &code->proven))
            return take_code_plan(stepper, &code->proven, registers);
    code->proven.kind = PLAN_UNKNOWN;
    code->failures++;
    return step_unproven(stepper, code, registers);
}
