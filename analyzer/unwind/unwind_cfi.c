/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/unwind_plan.h"

#include "base/byte_reader.h"
#include "base/limits.h"

#include <dwarf.h>
#include <stdlib.h>

/* libdw hands out every rule as a location expression (libdw.h, dwarf_frame_register). */
struct cfi_rule {
    const Dwarf_Op *operations;
    size_t count;
    bool undefined, same;
    Dwarf_Op storage[3];
};

/* elfutils up to 0.188 at least (backends/x86_64_cfi.c) gives rax the default that the psABI gives rbx: where a row is
 * silent, rax keeps its value and rbx is lost. Both are set right here; a row that itself calls rbx undefined, which no
 * compiler writes, is taken for silent. Held by test_unwind_cfi.c. */
enum { x86_64_machine = 62, x86_64_rax = 0, x86_64_rbx = 3 };

static void rule_correct(const struct arch *arch, int number, struct cfi_rule *rule)
{
    if (arch->elf_machine != x86_64_machine)
        return;
    if (number == x86_64_rax && rule->same) {
        rule->same = false;
        rule->undefined = true;
    } else if (number == x86_64_rbx && rule->undefined) {
        rule->undefined = false;
        rule->same = true;
    }
}

static bool rule_read(Dwarf_Frame *frame, const struct arch *arch, int number, struct cfi_rule *ret_rule)
{
    Dwarf_Op *operations;
    if (dwarf_frame_register(frame, number, ret_rule->storage, &operations, &ret_rule->count) != 0)
        return false;
    ret_rule->operations = operations;
    ret_rule->undefined = ret_rule->count == 0 && operations == ret_rule->storage;
    ret_rule->same = ret_rule->count == 0 && operations == NULL;
    rule_correct(arch, number, ret_rule);
    return true;
}

/* [CFA + offset], the rule of every saved register. */
static bool rule_is_saved(const struct cfi_rule *rule, int64_t *ret_offset)
{
    if (rule->count == 0 || rule->count > 2 || rule->operations[0].atom != DW_OP_call_frame_cfa)
        return false;
    if (rule->count == 2 && rule->operations[1].atom != DW_OP_plus_uconst)
        return false;
    *ret_offset = rule->count == 2 ? (int64_t)rule->operations[1].number : 0;
    return true;
}

static bool rule_is_cfa(const struct cfi_rule *rule)
{
    return rule->count >= 2 && rule->operations[0].atom == DW_OP_call_frame_cfa &&
           rule->operations[rule->count - 1].atom == DW_OP_stack_value &&
           (rule->count == 2 || (rule->count == 3 && rule->operations[1].atom == DW_OP_plus_uconst &&
                                 rule->operations[1].number == 0));
}

static const Dwarf_Op *operations_copy(struct arena *arena, const Dwarf_Op *operations, size_t count)
{
    Dwarf_Op *copy = arena_array(arena, Dwarf_Op, count);
    memcpy(copy, operations, count * sizeof *copy);
    return copy;
}

static bool cfa_read(Dwarf_Frame *frame, Dwarf_Op **ret_operations, size_t *ret_count)
{
    return dwarf_frame_cfa(frame, ret_operations, ret_count) == 0 && *ret_count != 0;
}

static bool compile_simple(Dwarf_Frame *frame, const struct arch *arch, int return_address, struct unwind_plan *plan)
{
    Dwarf_Op *cfa;
    size_t cfa_count;
    if (!cfa_read(frame, &cfa, &cfa_count) || cfa_count != 1)
        return false;
    uint64_t number;
    int64_t offset;
    if (cfa[0].atom == DW_OP_bregx) {
        number = cfa[0].number;
        offset = (int64_t)cfa[0].number2;
    } else if (cfa[0].atom >= DW_OP_breg0 && cfa[0].atom <= DW_OP_breg31) {
        number = cfa[0].atom - DW_OP_breg0;
        offset = (int64_t)cfa[0].number;
    } else {
        return false;
    }
    if (number >= arch->register_count || offset != (int32_t)offset)
        return false;
    plan->cfa_register = (uint8_t)number;
    plan->cfa_offset = (int32_t)offset;
    for (int i = 0; i < arch->register_count; i++) {
        struct cfi_rule rule;
        if (!rule_read(frame, arch, i, &rule))
            return false;
        if (i == return_address) {
            if (rule.same && arch_has_link_register(arch)) {
                plan->return_place = RETURN_IN_REGISTER;
                continue;
            }
            if (!rule_is_saved(&rule, &offset) || offset != (int32_t)offset)
                return false;
            plan->return_address_offset = (int32_t)offset;
            continue;
        }
        if (i == arch->sp && rule_is_cfa(&rule))
            continue;
        bool callee_saved = (arch->callee_saved >> i & 1) != 0;
        if (rule.undefined || rule.same) {
            /* What a call may change is unknown afterwards, unless the row says otherwise. */
            if (rule.same && !callee_saved)
                return false;
            if (rule.undefined && callee_saved)
                plan->undefined |= 1u << i;
            continue;
        }
        if (!callee_saved || !rule_is_saved(&rule, &offset) || offset != (int16_t)offset ||
            plan->saved_count == plan_saved_max)
            return false;
        plan->saved[plan->saved_count].register_number = (uint8_t)i;
        plan->saved[plan->saved_count++].offset = (int16_t)offset;
    }
    plan->kind = PLAN_SIMPLE;
    return true;
}

static bool compile_general(Dwarf_Frame *frame, const struct arch *arch, int return_address, struct arena *arena,
                            struct unwind_plan *plan)
{
    Dwarf_Op *cfa;
    size_t cfa_count;
    if (!cfa_read(frame, &cfa, &cfa_count))
        return false;
    struct general_plan *general = arena_new(arena, struct general_plan);
    general->cfa = operations_copy(arena, cfa, cfa_count);
    general->cfa_count = (uint32_t)cfa_count;
    general->return_address = (uint8_t)return_address;
    general->rules = arena_array(arena, struct register_rule, arch->register_count);
    for (int i = 0; i < arch->register_count; i++) {
        struct cfi_rule rule;
        if (!rule_read(frame, arch, i, &rule) || rule.undefined)
            continue;
        if (rule.same) {
            general->same |= (uint64_t)1 << i;
            continue;
        }
        general->rules[general->rule_count++] = (struct register_rule){
            .register_number = (uint8_t)i,
            .operations = operations_copy(arena, rule.operations, rule.count),
            .operation_count = (uint32_t)rule.count,
        };
    }
    plan->kind = PLAN_GENERAL;
    plan->general = general;
    return true;
}

bool unwind_cfi_compile(Dwarf_CFI *cfi, uint64_t address, const struct arch *arch, struct arena *arena,
                        struct unwind_plan *ret_plan)
{
    Dwarf_Frame *frame;
    if (dwarf_cfi_addrframe(cfi, address, &frame) != 0)
        return false;
    struct unwind_plan plan = {0};
    bool signal_frame = false;
    int return_address = dwarf_frame_info(frame, NULL, NULL, &signal_frame);
    bool compiled = false;
    if (return_address >= 0 && return_address < arch->register_count) {
        struct cfi_rule rule;
        if (rule_read(frame, arch, return_address, &rule) && rule.undefined) {
            plan.kind = PLAN_OUTERMOST;
            compiled = true;
        } else {
            compiled = compile_simple(frame, arch, return_address, &plan);
            if (!compiled) {
                plan = (struct unwind_plan){0};
                compiled = compile_general(frame, arch, return_address, arena, &plan);
            }
        }
    }
    free(frame); /* libdw.h: the caller frees it with free() */
    plan.signal_frame = signal_frame;
    if (compiled)
        *ret_plan = plan;
    return compiled;
}

/* A DWARF stack machine over the registers of one frame (DWARF 5, section 2.5). */
struct machine {
    const struct registers *registers;
    const struct arch *arch;
    const struct memory *memory;
    uint64_t bias, cfa;
    bool cfa_known;
    uint64_t stack[limit_expression_stack];
    size_t depth;
    uint64_t missing;
    bool is_value;   /* DW_OP_stack_value: the result is the value, not where it lies */
    int in_register; /* DW_OP_regN: the location is a register; -1 none */
};

static bool push(struct machine *machine, uint64_t value)
{
    if (machine->depth == limit_expression_stack)
        return false;
    machine->stack[machine->depth++] = value;
    return true;
}

static bool push_register(struct machine *machine, uint64_t number, uint64_t offset)
{
    if (number >= machine->arch->register_count || (machine->registers->known >> number & 1) == 0)
        return false;
    return push(machine, machine->registers->values[number] + offset);
}

static bool dereference(struct machine *machine, size_t size_bytes)
{
    uint8_t bytes[8] = {0};
    uint64_t *top = &machine->stack[machine->depth - 1];
    if (size_bytes == 0 || size_bytes > sizeof bytes)
        return false;
    if (memory_read(machine->memory, *top, bytes, size_bytes) != size_bytes) {
        machine->missing = *top;
        return false;
    }
    *top = load_u64(bytes);
    return true;
}

static bool binary(uint8_t atom, uint64_t a, uint64_t b, uint64_t *ret_value)
{
    int64_t signed_a = (int64_t)a, signed_b = (int64_t)b;
    switch (atom) {
    case DW_OP_and:
        *ret_value = a & b;
        return true;
    case DW_OP_or:
        *ret_value = a | b;
        return true;
    case DW_OP_xor:
        *ret_value = a ^ b;
        return true;
    case DW_OP_plus:
        *ret_value = a + b;
        return true;
    case DW_OP_minus:
        *ret_value = a - b;
        return true;
    case DW_OP_mul:
        *ret_value = a * b;
        return true;
    case DW_OP_div:
        if (b == 0 || (signed_a == INT64_MIN && signed_b == -1))
            return false;
        *ret_value = (uint64_t)(signed_a / signed_b);
        return true;
    case DW_OP_mod:
        if (b == 0)
            return false;
        *ret_value = a % b;
        return true;
    case DW_OP_shl:
        *ret_value = b < 64 ? a << b : 0;
        return true;
    case DW_OP_shr:
        *ret_value = b < 64 ? a >> b : 0;
        return true;
    case DW_OP_shra:
        *ret_value = (uint64_t)(signed_a >> (b < 64 ? b : 63));
        return true;
    case DW_OP_eq:
        *ret_value = a == b;
        return true;
    case DW_OP_ne:
        *ret_value = a != b;
        return true;
    case DW_OP_lt:
        *ret_value = signed_a < signed_b;
        return true;
    case DW_OP_le:
        *ret_value = signed_a <= signed_b;
        return true;
    case DW_OP_gt:
        *ret_value = signed_a > signed_b;
        return true;
    case DW_OP_ge:
        *ret_value = signed_a >= signed_b;
        return true;
    default:
        return false;
    }
}

/* How many operands an operation takes from the stack. */
static size_t operand_count(uint8_t atom)
{
    switch (atom) {
    case DW_OP_deref:
    case DW_OP_deref_size:
    case DW_OP_dup:
    case DW_OP_drop:
    case DW_OP_abs:
    case DW_OP_neg:
    case DW_OP_not:
    case DW_OP_plus_uconst:
    case DW_OP_bra:
        return 1;
    case DW_OP_over:
    case DW_OP_swap:
        return 2;
    case DW_OP_rot:
        return 3;
    default:
        return (atom >= DW_OP_and && atom <= DW_OP_xor && atom != DW_OP_bra) ||
                       (atom >= DW_OP_eq && atom <= DW_OP_ne)
                   ? 2
                   : 0;
    }
}

static bool operation_execute(struct machine *machine, const Dwarf_Op *operation)
{
    uint8_t atom = operation->atom;
    if (machine->depth < operand_count(atom))
        return false;
    uint64_t *top = machine->depth == 0 ? NULL : &machine->stack[machine->depth - 1];
    if (atom >= DW_OP_lit0 && atom <= DW_OP_lit31)
        return push(machine, atom - DW_OP_lit0);
    if (atom >= DW_OP_breg0 && atom <= DW_OP_breg31)
        return push_register(machine, atom - DW_OP_breg0, operation->number);
    if (atom >= DW_OP_reg0 && atom <= DW_OP_reg31) {
        machine->in_register = atom - DW_OP_reg0;
        return true;
    }
    switch (atom) {
    case DW_OP_nop:
        return true;
    case DW_OP_regx:
        machine->in_register = operation->number < machine->arch->register_count ? (int)operation->number : -1;
        return machine->in_register >= 0;
    case DW_OP_bregx:
        return push_register(machine, operation->number, operation->number2);
    case DW_OP_addr:
        return push(machine, operation->number + machine->bias);
    case DW_OP_const1u:
    case DW_OP_const1s:
    case DW_OP_const2u:
    case DW_OP_const2s:
    case DW_OP_const4u:
    case DW_OP_const4s:
    case DW_OP_const8u:
    case DW_OP_const8s:
    case DW_OP_constu:
    case DW_OP_consts:
        return push(machine, operation->number);
    case DW_OP_call_frame_cfa:
        return machine->cfa_known && push(machine, machine->cfa);
    case DW_OP_stack_value:
        machine->is_value = true;
        return true;
    case DW_OP_dup:
        return push(machine, *top);
    case DW_OP_drop:
        machine->depth--;
        return true;
    case DW_OP_over:
        return push(machine, top[-1]);
    case DW_OP_pick:
        return operation->number < machine->depth && push(machine, top[-(int64_t)operation->number]);
    case DW_OP_swap: {
        uint64_t value = top[0];
        top[0] = top[-1];
        top[-1] = value;
        return true;
    }
    case DW_OP_rot: {
        uint64_t value = top[0];
        top[0] = top[-1];
        top[-1] = top[-2];
        top[-2] = value;
        return true;
    }
    case DW_OP_deref:
        return dereference(machine, 8);
    case DW_OP_deref_size:
        return dereference(machine, operation->number);
    case DW_OP_abs:
        if ((int64_t)*top < 0)
            *top = -*top;
        return true;
    case DW_OP_neg:
        *top = -*top;
        return true;
    case DW_OP_not:
        *top = ~*top;
        return true;
    case DW_OP_plus_uconst:
        *top += operation->number;
        return true;
    default: {
        uint64_t value;
        if (operand_count(atom) != 2 || !binary(atom, top[-1], top[0], &value))
            return false;
        machine->depth--;
        top[-1] = value;
        return true;
    }
    }
}

/* The index of the operation at a branch's target; count when it is the end, count + 1 when there is none. The first
 * operation may be libdw's own DW_OP_call_frame_cfa, which has no place in the expression. */
static size_t branch_target(const Dwarf_Op *operations, size_t count, size_t from)
{
    uint64_t offset = operations[from].offset + 3 + (uint64_t)(int64_t)(int16_t)operations[from].number;
    size_t first = operations[0].atom == DW_OP_call_frame_cfa ? 1 : 0;
    for (size_t i = first; i < count; i++)
        if (operations[i].offset == offset)
            return i;
    return (int64_t)offset > (int64_t)operations[count - 1].offset ? count : count + 1;
}

static bool expression_execute(struct machine *machine, const Dwarf_Op *operations, size_t count)
{
    machine->depth = 0;
    machine->missing = 0;
    machine->is_value = false;
    machine->in_register = -1;
    size_t steps = 0;
    for (size_t i = 0; i < count;) {
        if (++steps > limit_expression_steps)
            return false;
        uint8_t atom = operations[i].atom;
        if (atom == DW_OP_skip || (atom == DW_OP_bra && machine->depth != 0)) {
            bool taken = atom == DW_OP_skip || machine->stack[--machine->depth] != 0;
            i = taken ? branch_target(operations, count, i) : i + 1;
            if (i > count)
                return false;
            continue;
        }
        if (!operation_execute(machine, &operations[i]))
            return false;
        i++;
    }
    return machine->in_register >= 0 || machine->depth != 0;
}

bool unwind_general_execute(const struct general_plan *plan, const struct arch *arch, const struct registers *from,
                            const struct memory *memory, uint64_t bias, struct registers *ret_registers,
                            uint64_t *ret_cfa, uint64_t *ret_missing)
{
    struct machine machine = {.registers = from, .arch = arch, .memory = memory, .bias = bias};
    *ret_missing = 0;
    if (!expression_execute(&machine, plan->cfa, plan->cfa_count) || machine.depth == 0) {
        *ret_missing = machine.missing;
        return false;
    }
    machine.cfa = machine.stack[machine.depth - 1];
    machine.cfa_known = true;

    struct registers to = {.known = from->known & plan->same};
    for (int i = 0; i < arch->register_count; i++)
        to.values[i] = from->values[i];
    /* The stack pointer of the caller is the CFA unless a rule says otherwise. */
    to.values[arch->sp] = machine.cfa;
    to.known |= (uint64_t)1 << arch->sp;
    for (size_t i = 0; i < plan->rule_count; i++) {
        const struct register_rule *rule = &plan->rules[i];
        uint64_t bit = (uint64_t)1 << rule->register_number, value = 0;
        bool good = expression_execute(&machine, rule->operations, rule->operation_count);
        if (good && machine.in_register >= 0) {
            good = machine.in_register < arch->register_count && (from->known >> machine.in_register & 1) != 0;
            value = good ? from->values[machine.in_register] : 0;
        } else if (good) {
            if (!machine.is_value)
                good = dereference(&machine, 8);
            value = machine.stack[machine.depth - 1];
        }
        if (!good) {
            if (rule->register_number == plan->return_address) {
                *ret_missing = machine.missing;
                return false;
            }
            to.known &= ~bit;
            continue;
        }
        to.values[rule->register_number] = value;
        to.known |= bit;
    }
    if ((to.known >> plan->return_address & 1) == 0)
        return false;
    to.pc = to.values[plan->return_address];
    *ret_registers = to;
    *ret_cfa = machine.cfa;
    return true;
}
