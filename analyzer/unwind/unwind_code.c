/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/unwind_code.h"

#include "base/byte_reader.h"

#include <Zydis/Zydis.h>
#include <string.h>

enum {
    machine_x86_64 = 62,  /* EM_X86_64 */
    register_count = 16,  /* by DWARF number */
    dwarf_rbp = 6,
    dwarf_rsp = 7,
    instructions_max = 3000, /* on all paths of one question; functions that block are small */
    visited_slots = 4096,    /* a power of two above instructions_max */
    paths_max = 64,          /* branches waiting to be followed */
    slots_max = 16,          /* stores of registers to the stack that are remembered */
};

/* What a register holds, in terms of the registers at the start. */
struct value {
    enum value_kind {
        VALUE_UNKNOWN,
        VALUE_ADDRESS, /* start value of `base`, plus offset */
        VALUE_LOADED,  /* the 8 bytes at that address, plus addend */
    } kind;
    int base;
    int64_t offset, addend;
};

/* A path's state before an instruction. */
struct path {
    uint64_t pc;
    struct value registers[register_count];
    struct slot {
        int64_t offset; /* from the stack pointer's start value */
        int saved;      /* the register whose start value was stored there */
    } slots[slots_max];
    size_t slot_count;
};

struct explorer {
    const struct memory *memory;
    const struct arch *arch;
    ZydisDecoder decoder;
    struct path paths[paths_max];
    size_t path_count;
    uint64_t visited[visited_slots]; /* a hash table of pcs, 0 is free */
    size_t visited_count;
};

static bool explorer_init(struct explorer *explorer, const struct memory *memory, const struct arch *arch,
                          uint64_t start)
{
    if (arch->elf_machine != machine_x86_64)
        return false;
    explorer->memory = memory;
    explorer->arch = arch;
    explorer->path_count = 1;
    explorer->visited_count = 0;
    memset(explorer->visited, 0, sizeof explorer->visited);
    explorer->paths[0].pc = start;
    explorer->paths[0].slot_count = 0;
    for (int i = 0; i < register_count; i++)
        explorer->paths[0].registers[i] = (struct value){VALUE_ADDRESS, i, 0, 0};
    return ZYAN_SUCCESS(ZydisDecoderInit(&explorer->decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64));
}

/* A path's instructions are visited once: what reaches them first is the straightest way. */
static bool visit(struct explorer *explorer, uint64_t pc)
{
    if (pc == 0 || explorer->visited_count == instructions_max)
        return false;
    size_t slot = (size_t)((pc * 0x9e3779b97f4a7c15u) >> 20) % visited_slots;
    for (; explorer->visited[slot] != 0; slot = (slot + 1) % visited_slots)
        if (explorer->visited[slot] == pc)
            return false;
    explorer->visited[slot] = pc;
    explorer->visited_count++;
    return true;
}

static int dwarf_number(ZydisRegister number)
{
    ZydisRegister wide = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, number);
    static const int8_t numbers[register_count] = {0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15};
    return wide >= ZYDIS_REGISTER_RAX && wide <= ZYDIS_REGISTER_R15 ? numbers[wide - ZYDIS_REGISTER_RAX] : -1;
}

static struct value value_add(struct value value, int64_t amount)
{
    if (value.kind == VALUE_LOADED)
        value.addend += amount;
    else
        value.offset += amount;
    return value;
}

/* What a load from an address gives; unknown behind a second pointer. Below the stack pointer's start value only what
 * this path stored is known: memory there still holds what earlier calls left. */
static struct value value_load(const struct path *path, struct value address)
{
    struct value unknown = {VALUE_UNKNOWN, 0, 0, 0};
    if (address.kind != VALUE_ADDRESS)
        return unknown;
    for (size_t i = 0; address.base == dwarf_rsp && i < path->slot_count; i++)
        if (path->slots[i].offset == address.offset)
            return (struct value){VALUE_ADDRESS, path->slots[i].saved, 0, 0};
    if (address.base == dwarf_rsp && address.offset < 0)
        return unknown;
    return (struct value){VALUE_LOADED, address.base, address.offset, 0};
}

/* The address that a memory operand names, in terms of the start; unknown with an index or a segment. */
static struct value operand_address(const struct path *path, const ZydisDecodedOperand *operand)
{
    struct value unknown = {VALUE_UNKNOWN, 0, 0, 0};
    int base = dwarf_number(operand->mem.base);
    if (operand->mem.index != ZYDIS_REGISTER_NONE || base < 0 || operand->mem.segment == ZYDIS_REGISTER_FS ||
        operand->mem.segment == ZYDIS_REGISTER_GS)
        return unknown;
    return value_add(path->registers[base], operand->mem.disp.has_displacement ? operand->mem.disp.value : 0);
}

static void remember_store(struct path *path, struct value place, struct value stored)
{
    if (place.kind != VALUE_ADDRESS || place.base != dwarf_rsp)
        return;
    for (size_t i = 0; i < path->slot_count; i++)
        if (path->slots[i].offset == place.offset)
            path->slots[i--] = path->slots[--path->slot_count];
    if (stored.kind == VALUE_ADDRESS && stored.offset == 0 && path->slot_count < slots_max)
        path->slots[path->slot_count++] = (struct slot){place.offset, stored.base};
}

static void forget_caller_saved(const struct explorer *explorer, struct path *path)
{
    for (int i = 0; i < register_count; i++)
        if (i != dwarf_rsp && (explorer->arch->callee_saved >> i & 1) == 0)
            path->registers[i].kind = VALUE_UNKNOWN;
}

/* What an instruction does to the registers, as far as it is followed; all else that it writes becomes unknown. */
static void instruction_apply(struct path *path, const ZydisDecodedInstruction *instruction,
                              const ZydisDecodedOperand *operands)
{
    struct value *sp = &path->registers[dwarf_rsp];
    bool to_register = operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER && operands[0].size == 64;
    int target = to_register ? dwarf_number(operands[0].reg.value) : -1;
    struct value result = {VALUE_UNKNOWN, 0, 0, 0};
    switch (instruction->mnemonic) {
    case ZYDIS_MNEMONIC_PUSH: {
        int source = operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER ? dwarf_number(operands[0].reg.value) : -1;
        struct value stored = source >= 0 ? path->registers[source] : result;
        *sp = value_add(*sp, -8);
        remember_store(path, *sp, stored);
        return;
    }
    case ZYDIS_MNEMONIC_POP:
        result = value_load(path, *sp);
        *sp = value_add(*sp, 8);
        if (target >= 0)
            path->registers[target] = result;
        return;
    case ZYDIS_MNEMONIC_PUSHFQ:
        *sp = value_add(*sp, -8);
        return;
    case ZYDIS_MNEMONIC_POPFQ:
        *sp = value_add(*sp, 8);
        return;
    case ZYDIS_MNEMONIC_LEAVE:
        *sp = path->registers[dwarf_rbp];
        path->registers[dwarf_rbp] = value_load(path, *sp);
        *sp = value_add(*sp, 8);
        return;
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
        if (target >= 0 && operands[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
            int64_t amount = operands[1].imm.value.s;
            path->registers[target] =
                value_add(path->registers[target], instruction->mnemonic == ZYDIS_MNEMONIC_ADD ? amount : -amount);
            return;
        }
        break;
    case ZYDIS_MNEMONIC_LEA:
        if (target >= 0) {
            path->registers[target] = operand_address(path, &operands[1]);
            return;
        }
        break;
    case ZYDIS_MNEMONIC_MOV:
        if (operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY && operands[0].size == 64) {
            int source = operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER ? dwarf_number(operands[1].reg.value) : -1;
            remember_store(path, operand_address(path, &operands[0]), source >= 0 ? path->registers[source] : result);
            return;
        }
        if (target >= 0 && operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
            int source = dwarf_number(operands[1].reg.value);
            path->registers[target] = source >= 0 ? path->registers[source] : result;
            return;
        }
        if (target >= 0 && operands[1].type == ZYDIS_OPERAND_TYPE_MEMORY) {
            path->registers[target] = value_load(path, operand_address(path, &operands[1]));
            return;
        }
        break;
    default:
        break;
    }
    for (uint8_t i = 0; i < instruction->operand_count; i++) {
        if (operands[i].type != ZYDIS_OPERAND_TYPE_REGISTER ||
            (operands[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) == 0)
            continue;
        int written = dwarf_number(operands[i].reg.value);
        if (written >= 0)
            path->registers[written].kind = VALUE_UNKNOWN;
    }
}

/* Where a jump or call leads: its immediate, or the pointer beside the code that it reads (PLT stubs). */
static bool branch_target(const struct explorer *explorer, const ZydisDecodedInstruction *instruction,
                          const ZydisDecodedOperand *operand, uint64_t pc, uint64_t *ret_target)
{
    if (operand->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && operand->imm.is_relative) {
        *ret_target = pc + instruction->length + (uint64_t)operand->imm.value.s;
        return true;
    }
    return operand->type == ZYDIS_OPERAND_TYPE_MEMORY && operand->mem.base == ZYDIS_REGISTER_RIP &&
           operand->mem.index == ZYDIS_REGISTER_NONE &&
           memory_read_u64(explorer->memory, pc + instruction->length + (uint64_t)operand->mem.disp.value, ret_target);
}

static void add_path(struct explorer *explorer, const struct path *from, uint64_t pc)
{
    if (explorer->path_count == paths_max)
        return;
    explorer->paths[explorer->path_count] = *from;
    explorer->paths[explorer->path_count++].pc = pc;
}

enum advance { ADVANCE_ON, ADVANCE_RETURN, ADVANCE_DEAD };

/* Executes the instruction at path->pc and moves on. */
static enum advance path_advance(struct explorer *explorer, struct path *path)
{
    uint8_t code[ZYDIS_MAX_INSTRUCTION_LENGTH];
    size_t count = memory_read(explorer->memory, path->pc, code, sizeof code);
    ZydisDecodedInstruction instruction;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    if (count == 0 ||
        !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&explorer->decoder, code, count, &instruction, operands)))
        return ADVANCE_DEAD;
    uint64_t target;
    switch (instruction.meta.category) {
    case ZYDIS_CATEGORY_RET:
        return instruction.mnemonic == ZYDIS_MNEMONIC_RET ? ADVANCE_RETURN : ADVANCE_DEAD;
    case ZYDIS_CATEGORY_UNCOND_BR:
        if (!branch_target(explorer, &instruction, &operands[0], path->pc, &target))
            return ADVANCE_DEAD;
        path->pc = target;
        return ADVANCE_ON;
    case ZYDIS_CATEGORY_COND_BR:
        if (branch_target(explorer, &instruction, &operands[0], path->pc, &target))
            add_path(explorer, path, target);
        path->pc += instruction.length;
        return ADVANCE_ON;
    case ZYDIS_CATEGORY_CALL:
        forget_caller_saved(explorer, path);
        path->pc += instruction.length;
        return ADVANCE_ON;
    case ZYDIS_CATEGORY_INTERRUPT:
        return ADVANCE_DEAD;
    default:
        break;
    }
    if (instruction.mnemonic == ZYDIS_MNEMONIC_HLT || instruction.mnemonic == ZYDIS_MNEMONIC_UD2)
        return ADVANCE_DEAD;
    instruction_apply(path, &instruction, operands);
    path->pc += instruction.length;
    return ADVANCE_ON;
}

static bool fits(int64_t offset)
{
    return offset == (int16_t)offset;
}

/* At a `ret`: the stack pointer stands at the return address. */
static bool plan_at_return(const struct explorer *explorer, const struct path *path, struct unwind_plan *ret_plan)
{
    struct value sp = path->registers[dwarf_rsp];
    if (sp.kind == VALUE_UNKNOWN || !fits(sp.offset) || !fits(sp.addend))
        return false;
    /* A realigned frame keeps its caller's stack pointer in memory. */
    bool is_loaded = sp.kind == VALUE_LOADED;
    struct unwind_plan plan = {.kind = PLAN_SIMPLE,
                               .cfa_register = (uint8_t)sp.base,
                               .cfa_is_loaded = is_loaded,
                               .cfa_load_offset = is_loaded ? (int16_t)sp.offset : 0,
                               .cfa_offset = (int32_t)(is_loaded ? sp.addend : sp.offset) + 8,
                               .return_address_offset = -8};
    for (int i = 0; i < register_count; i++) {
        struct value value = path->registers[i];
        if ((explorer->arch->callee_saved >> i & 1) == 0 ||
            (value.kind == VALUE_ADDRESS && value.base == i && value.offset == 0))
            continue;
        if (value.kind == VALUE_LOADED && value.addend == 0 && value.base == sp.base && !is_loaded &&
            fits(value.offset - plan.cfa_offset) && plan.saved_count < plan_saved_max) {
            plan.saved[plan.saved_count].register_number = (uint8_t)i;
            plan.saved[plan.saved_count++].offset = (int16_t)(value.offset - plan.cfa_offset);
        } else {
            plan.undefined |= 1u << i;
        }
    }
    *ret_plan = plan;
    return true;
}

/* At the pc, coming from the entry: the stack pointer (or the frame pointer) lies a known distance below the return
 * address, and registers that were changed were stored first. */
static bool plan_from_entry(const struct explorer *explorer, const struct path *path, struct unwind_plan *ret_plan)
{
    struct unwind_plan plan = {.kind = PLAN_SIMPLE, .return_address_offset = -8};
    int base = dwarf_rsp;
    if (path->registers[base].kind != VALUE_ADDRESS || path->registers[base].base != dwarf_rsp)
        base = dwarf_rbp;
    struct value value = path->registers[base];
    if (value.kind != VALUE_ADDRESS || value.base != dwarf_rsp || value.offset > 0 ||
        value.offset != (int32_t)value.offset)
        return false;
    plan.cfa_register = (uint8_t)base;
    plan.cfa_offset = 8 - (int32_t)value.offset;
    for (int i = 0; i < register_count; i++) {
        value = path->registers[i];
        if ((explorer->arch->callee_saved >> i & 1) == 0 ||
            (value.kind == VALUE_ADDRESS && value.base == i && value.offset == 0))
            continue;
        size_t slot = 0;
        while (slot < path->slot_count && path->slots[slot].saved != i)
            slot++;
        if (slot < path->slot_count && fits(path->slots[slot].offset - 8) && plan.saved_count < plan_saved_max) {
            plan.saved[plan.saved_count].register_number = (uint8_t)i;
            plan.saved[plan.saved_count++].offset = (int16_t)(path->slots[slot].offset - 8);
        } else {
            plan.undefined |= 1u << i;
        }
    }
    *ret_plan = plan;
    return true;
}

size_t unwind_code_to_return(const struct memory *memory, const struct arch *arch, uint64_t pc,
                             struct unwind_plan ret_plans[static code_candidates_max])
{
    struct explorer explorer;
    size_t count = 0;
    if (!explorer_init(&explorer, memory, arch, pc))
        return 0;
    while (explorer.path_count != 0 && count < code_candidates_max) {
        struct path path = explorer.paths[--explorer.path_count];
        while (visit(&explorer, path.pc)) {
            enum advance advance = path_advance(&explorer, &path);
            if (advance == ADVANCE_ON)
                continue;
            struct unwind_plan plan;
            if (advance == ADVANCE_RETURN && plan_at_return(&explorer, &path, &plan)) {
                size_t same = 0;
                while (same < count && (ret_plans[same].cfa_register != plan.cfa_register ||
                                        ret_plans[same].cfa_is_loaded != plan.cfa_is_loaded ||
                                        ret_plans[same].cfa_offset != plan.cfa_offset))
                    same++;
                if (same == count)
                    ret_plans[count++] = plan;
            }
            break;
        }
    }
    return count;
}

bool unwind_code_from_entry(const struct memory *memory, const struct arch *arch, uint64_t entry, uint64_t pc,
                            struct unwind_plan *ret_plan)
{
    struct explorer explorer;
    if (!explorer_init(&explorer, memory, arch, entry))
        return false;
    while (explorer.path_count != 0) {
        struct path path = explorer.paths[--explorer.path_count];
        while (path.pc != pc && visit(&explorer, path.pc))
            if (path_advance(&explorer, &path) != ADVANCE_ON)
                break;
        if (path.pc == pc)
            return plan_from_entry(&explorer, &path, ret_plan);
    }
    return false;
}

bool unwind_code_call_target(const struct memory *memory, const struct arch *arch, uint64_t return_address,
                             uint64_t *ret_target)
{
    uint8_t code[6];
    if (arch->elf_machine != machine_x86_64)
        return false;
    if (memory_read(memory, return_address - 5, code, 5) == 5 && code[0] == 0xe8) {
        *ret_target = return_address + (uint64_t)(int64_t)(int32_t)load_u32(code + 1);
        return true;
    }
    return memory_read(memory, return_address - 6, code, 6) == 6 && code[0] == 0xff && code[1] == 0x15 &&
           memory_read_u64(memory, return_address + (uint64_t)(int64_t)(int32_t)load_u32(code + 2), ret_target);
}

/* Decodes without operands; the instruction's length, 0 when there is none. */
static size_t decode(const struct explorer *explorer, uint64_t address, ZydisDecodedInstruction *ret_instruction)
{
    uint8_t code[ZYDIS_MAX_INSTRUCTION_LENGTH];
    size_t count = memory_read(explorer->memory, address, code, sizeof code);
    if (count == 0 ||
        !ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&explorer->decoder, NULL, code, count, ret_instruction)))
        return 0;
    return ret_instruction->length;
}

bool unwind_code_is_thread_exit(const struct memory *memory, const struct arch *arch, uint64_t return_address)
{
    enum { instructions_before_exit_max = 6 };
    struct explorer explorer;
    ZydisDecodedInstruction instruction;
    bool after_call = false;
    if (!explorer_init(&explorer, memory, arch, return_address))
        return false;
    for (int i = 0; i < instructions_before_exit_max; i++) {
        size_t length = decode(&explorer, return_address, &instruction);
        if (length == 0)
            return false;
        if (after_call)
            return instruction.mnemonic == ZYDIS_MNEMONIC_HLT;
        if (instruction.mnemonic == ZYDIS_MNEMONIC_SYSCALL)
            after_call = true;
        else if (instruction.mnemonic != ZYDIS_MNEMONIC_MOV && instruction.mnemonic != ZYDIS_MNEMONIC_XOR)
            return false;
        return_address += length;
    }
    return false;
}

bool unwind_code_is_padding(const struct memory *memory, const struct arch *arch, uint64_t address)
{
    struct explorer explorer;
    if (!explorer_init(&explorer, memory, arch, address))
        return false;
    while ((address & 15) != 0) {
        ZydisDecodedInstruction instruction;
        if (decode(&explorer, address, &instruction) == 0)
            return false;
        if (instruction.mnemonic != ZYDIS_MNEMONIC_NOP && instruction.mnemonic != ZYDIS_MNEMONIC_INT3)
            return false;
        address += instruction.length;
    }
    return true;
}
