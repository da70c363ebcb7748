/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/step.h"

/* A signal handler's return address: the kernel put it there, nothing called. */
bool stepper_is_signal_trampoline(const struct stepper *stepper, uint64_t pc)
{
    uint8_t code[16];
    size_t count = memory_read(stepper->memory, pc, code, sizeof code);
    return stepper->arch->signal_context_offset(code, count) != 0;
}

bool stepper_follows_call(struct stepper *stepper, uint64_t return_address)
{
    /* A trampoline may be the first code of a mapping. */
    if (!image_is_executable(stepper->image, return_address - 1))
        return image_is_executable(stepper->image, return_address) && stepper_is_signal_trampoline(stepper, return_address);
    module_files_open(stepper->files, image_find_module(stepper->image, return_address - 1));
    uint8_t code[8];
    for (size_t count = sizeof code; count >= 2; count--) {
        /* A call may be the first instruction of a mapping: fewer bytes before it then. */
        if (memory_read(stepper->memory, return_address - count, code, count) == count)
            return stepper->arch->call_precedes(code + count, count) ||
                   stepper_is_signal_trampoline(stepper, return_address);
    }
    return true; /* no code at hand: nothing speaks against it */
}

void step_set_return_address(const struct stepper *stepper, struct registers *registers, uint64_t pc)
{
    registers->pc = pc;
    if (arch_has_link_register(stepper->arch))
        return;
    registers->values[stepper->arch->return_address] = pc;
    registers->known |= (uint64_t)1 << stepper->arch->return_address;
}

struct step_result step_simple(struct stepper *stepper, const struct unwind_plan *plan, struct registers *registers)
{
    if (!register_is_known(registers, plan->cfa_register))
        return step_ended(STACK_END_NO_UNWIND_DATA, registers->pc);
    uint64_t cfa = registers->values[plan->cfa_register];
    if (plan->cfa_is_loaded && !stepper_read_u64(stepper, cfa + (uint64_t)(int64_t)plan->cfa_load_offset, &cfa))
        return step_ended(STACK_END_MEMORY_MISSING, cfa + (uint64_t)(int64_t)plan->cfa_load_offset);
    cfa += (uint64_t)(int64_t)plan->cfa_offset;
    uint64_t place = cfa + (uint64_t)(int64_t)plan->return_address_offset, pc;
    unsigned link = stepper->arch->return_address;
    bool from_register = plan->return_place != RETURN_SAVED && register_is_known(registers, link);
    if (from_register)
        pc = registers->values[link];
    else if (plan->return_place == RETURN_IN_REGISTER)
        return step_ended(STACK_END_NO_UNWIND_DATA, registers->pc);
    else if (!stepper_read_u64(stepper, place, &pc))
        return step_ended(STACK_END_MEMORY_MISSING, place);
    pc = stepper_plain_address(stepper, pc);
    /* What a call may change is unknown in the caller; callee-saved registers keep their value unless saved. */
    registers->known &= stepper->arch->callee_saved & ~(uint64_t)plan->undefined;
    for (unsigned i = 0; i < plan->saved_count; i++) {
        unsigned number = plan->saved[i].register_number;
        if (stepper_read_u64(stepper, cfa + (uint64_t)(int64_t)plan->saved[i].offset, &registers->values[number]))
            registers->known |= (uint64_t)1 << number;
        else
            registers->known &= ~((uint64_t)1 << number);
    }
    registers->values[stepper->arch->sp] = cfa;
    registers->known |= (uint64_t)1 << stepper->arch->sp;
    step_set_return_address(stepper, registers, pc);
    bool is_signal = plan->signal_frame || plan->is_trap;
    return (struct step_result){.trust = TRUST_CFI,
                                .stack_may_switch = is_signal,
                                .is_exact = is_signal,
                                .from_register = from_register};
}

struct step_result step_general(struct stepper *stepper, const struct unwind_plan *plan, struct registers *registers,
                                bool exact)
{
    uint32_t module = image_find_module(stepper->image, exact ? registers->pc : registers->pc - 1);
    uint64_t bias = module == index_none ? 0 : stepper->image->modules[module].bias;
    struct registers caller;
    uint64_t cfa, missing;
    if (!unwind_general_execute(plan->general, stepper->arch, registers, stepper->memory, bias, &caller, &cfa,
                                &missing))
        return missing != 0 ? step_ended(STACK_END_MEMORY_MISSING, missing)
                            : step_ended(STACK_END_NO_UNWIND_DATA, registers->pc);
    if (arch_has_link_register(stepper->arch) && !plan->signal_frame)
        caller.known &= ~((uint64_t)1 << stepper->arch->return_address);
    *registers = caller;
    step_set_return_address(stepper, registers, stepper_plain_address(stepper, caller.pc));
    return (struct step_result){
        .trust = TRUST_CFI, .stack_may_switch = plan->signal_frame, .is_exact = plan->signal_frame};
}

struct step_result step_signal_return(struct stepper *stepper, struct registers *registers)
{
    uint8_t code[16], raw[arch_registers_max * 8];
    size_t count = memory_read(stepper->memory, registers->pc, code, sizeof code);
    uint64_t place = registers->values[stepper->arch->sp] + stepper->arch->signal_context_offset(code, count);
    size_t got = memory_read(stepper->memory, place, raw, stepper->arch->signal_context_bytes);
    if (!register_is_known(registers, stepper->arch->sp) || got != stepper->arch->signal_context_bytes)
        return step_ended(STACK_END_MEMORY_MISSING, place + got);
    stepper->arch->signal_context_decode(raw, registers);
    return (struct step_result){.trust = TRUST_SIGNAL_FRAME, .stack_may_switch = true, .is_exact = true};
}

struct step_result step_call(struct stepper *stepper, struct registers *registers)
{
    unsigned sp = stepper->arch->sp;
    bool is_linked = arch_has_link_register(stepper->arch);
    uint64_t place = registers->values[sp], pc = registers->values[stepper->arch->return_address];
    if (!register_is_known(registers, sp) || (!is_linked && !stepper_read_u64(stepper, place, &pc)))
        return step_ended(STACK_END_MEMORY_MISSING, place);
    pc = stepper_plain_address(stepper, pc);
    if ((is_linked && !register_is_known(registers, stepper->arch->return_address)) || !stepper_follows_call(stepper, pc))
        return step_ended(STACK_END_NO_UNWIND_DATA, registers->pc);
    registers->values[sp] = is_linked ? place : place + 8;
    registers->known &= stepper->arch->callee_saved | (uint64_t)1 << sp;
    step_set_return_address(stepper, registers, pc);
    return (struct step_result){.trust = TRUST_CALL, .from_register = is_linked};
}

/* Both in one executable mapping of no file. Interpreters that are made at run time push the address to go on at and
 * jump (HotSpot's invoke_return_entry): no call precedes it. */
static bool is_made_at_run_time(const struct stepper *stepper, uint64_t pc, uint64_t return_address)
{
    const struct mapping *mapping = image_find_mapping(stepper->image, return_address);
    return mapping != NULL && mapping->module == index_none && mapping->path.length == 0 &&
           (mapping->access & MAPPING_EXECUTE) != 0 && pc >= mapping->start && pc < mapping->end;
}

struct step_result step_frame_pointer(struct stepper *stepper, struct registers *registers)
{
    unsigned sp = stepper->arch->sp, fp = stepper->arch->fp;
    uint64_t frame = registers->values[fp], saved, pc;
    bool is_linked = arch_has_link_register(stepper->arch);
    if (is_linked && register_is_known(registers, fp) && frame == 0) /* AAPCS64, "The Frame Pointer": the end of the chain */
        return step_ended(STACK_END_OUTERMOST, 0);
    /* The chain holds only while the register does point at a saved pair above the stack pointer. */
    if (!register_is_known(registers, fp) || (frame & 7) != 0 || (!register_is_known(registers, sp) && !is_linked) ||
        frame < registers->values[sp] || frame > UINT64_MAX - 16 || !stepper_read_u64(stepper, frame, &saved) ||
        !stepper_read_u64(stepper, frame + 8, &pc))
        return step_ended(STACK_END_NO_UNWIND_DATA, registers->pc);
    pc = stepper_plain_address(stepper, pc);
    if (pc == 0 && saved == 0) /* psABI 3.4.1: the outermost frame is marked by zero */
        return step_ended(STACK_END_OUTERMOST, 0);
    if (!stepper_follows_call(stepper, pc) && !is_made_at_run_time(stepper, registers->pc, pc))
        return step_ended(STACK_END_NO_UNWIND_DATA, registers->pc);
    registers->values[fp] = saved;
    registers->values[sp] = frame + 16;
    registers->known = (uint64_t)1 << fp;
    /* On AArch64 the pair may lie anywhere in its frame, and most compilers put it at the bottom: the caller's stack pointer
     * is not known, but that it lies above. */
    if (!is_linked)
        registers->known |= (uint64_t)1 << sp;
    step_set_return_address(stepper, registers, pc);
    return (struct step_result){.trust = TRUST_FRAME_POINTER};
}

/* Whether code that holds the address has made no call yet that left this return address. */
static bool is_own_return_address(struct stepper *stepper, uint64_t address, uint64_t return_address)
{
    uint64_t own_start, other_start;
    return stepper->starts.find != NULL && stepper->starts.find(stepper->starts.context, address, &own_start) &&
           stepper->starts.find(stepper->starts.context, return_address - 1, &other_start) && own_start != other_start;
}

struct step_result step_link_register(struct stepper *stepper, struct registers *registers)
{
    unsigned link = stepper->arch->return_address, fp = stepper->arch->fp;
    uint64_t pc = stepper_plain_address(stepper, registers->values[link]), saved;
    if (!arch_has_link_register(stepper->arch) || !register_is_known(registers, link) ||
        !stepper_follows_call(stepper, pc) || !is_own_return_address(stepper, registers->pc, pc))
        return step_ended(STACK_END_NO_UNWIND_DATA, registers->pc);
    /* It has a frame already: the frame pointer leads to the same caller, and past it. */
    if (register_is_known(registers, fp) && stepper_read_u64(stepper, registers->values[fp] + 8, &saved) &&
        stepper_plain_address(stepper, saved) == pc)
        return step_frame_pointer(stepper, registers);
    /* How much of the stack it has taken is not known. */
    registers->known &= stepper->arch->callee_saved;
    step_set_return_address(stepper, registers, pc);
    return (struct step_result){.trust = TRUST_CODE, .from_register = true};
}
