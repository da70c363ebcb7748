/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/code_calls.h"

#include "base/limits.h"

enum { machine_x86_64 = 62, machine_aarch64 = 183 }; /* elf.h, EM_… */

static const uint8_t *view_code(const struct go_runtime *runtime, const struct pclntab_function *function,
                                size_t *ret_bytes)
{
    uint64_t size_bytes = function->end - function->entry;
    if (function->end <= function->entry || size_bytes > limit_code_call_bytes)
        return NULL;
    *ret_bytes = (size_t)size_bytes;
    return memory_view_across(&runtime->image->memory, function->entry, (size_t)size_bytes);
}

static bool is_entry(const struct go_runtime *runtime, uint64_t address)
{
    struct pclntab_function target;
    return go_runtime_find_function(runtime, address, &target) != NULL && target.entry == address;
}

/* Intel's manual, CALL and JMP: E8 and E9 with a displacement of 32 bits from the next instruction. */
static bool call_x86_64(const uint8_t *code, size_t left, uint64_t pc, struct code_call *ret_call)
{
    if (left < 5 || (code[0] != 0xe8 && code[0] != 0xe9))
        return false;
    *ret_call =
        (struct code_call){pc, pc + 5, pc + 5 + (uint64_t)(int64_t)(int32_t)load_u32(code + 1), code[0] == 0xe9};
    return true;
}

/* Arm's manual, BL and B: 26 bits of words from this instruction. */
static bool call_aarch64(const uint8_t *code, size_t left, uint64_t pc, struct code_call *ret_call)
{
    uint32_t instruction = left < 4 || (pc & 3) != 0 ? 0 : load_u32(code);
    uint32_t operation = instruction >> 26;
    if (operation != 0x25 && operation != 0x05)
        return false;
    int64_t words = (int64_t)(int32_t)(instruction << 6) >> 6;
    *ret_call = (struct code_call){pc, pc + 4, pc + (uint64_t)(words * 4), operation == 0x05};
    return true;
}

/* FF /2 with a register, which may have a REX prefix in front. */
static bool register_call_x86_64(const uint8_t *code, size_t left, uint64_t pc, struct code_call *ret_call)
{
    *ret_call = (struct code_call){.pc = pc, .end = pc + 2};
    return left >= 2 && code[0] == 0xff && (code[1] & 0xf8) == 0xd0;
}

static bool register_call_aarch64(const uint8_t *code, size_t left, uint64_t pc, struct code_call *ret_call)
{
    *ret_call = (struct code_call){.pc = pc, .end = pc + 4};
    return left >= 4 && (pc & 3) == 0 && (load_u32(code) & 0xfffffc1f) == 0xd63f0000;
}

const struct code_call *code_register_calls_read(const struct go_runtime *runtime,
                                                 const struct pclntab_function *function, struct arena *arena,
                                                 size_t *ret_count)
{
    uint16_t machine = runtime->image->arch->elf_machine;
    size_t size_bytes = 0, count = 0, capacity = 0;
    const uint8_t *code = view_code(runtime, function, &size_bytes);
    if (code == NULL || (machine != machine_x86_64 && machine != machine_aarch64))
        return NULL;
    struct code_call *calls = arena_grow(arena, NULL, 0, &capacity, sizeof *calls);
    for (size_t i = 0; i < size_bytes; i++) {
        struct code_call call;
        if (!(machine == machine_x86_64 ? register_call_x86_64(code + i, size_bytes - i, function->entry + i, &call)
                                        : register_call_aarch64(code + i, size_bytes - i, function->entry + i, &call)))
            continue;
        calls = arena_grow(arena, calls, count, &capacity, sizeof *calls);
        calls[count++] = call;
    }
    *ret_count = count;
    return calls;
}

const struct code_call *code_calls_read(const struct go_runtime *runtime, const struct pclntab_function *function,
                                        struct arena *arena, size_t *ret_count)
{
    uint16_t machine = runtime->image->arch->elf_machine;
    size_t size_bytes = 0, count = 0, capacity = 0;
    const uint8_t *code = view_code(runtime, function, &size_bytes);
    if (code == NULL || (machine != machine_x86_64 && machine != machine_aarch64))
        return NULL;
    struct code_call *calls = arena_grow(arena, NULL, 0, &capacity, sizeof *calls);
    for (size_t i = 0; i < size_bytes; i++) {
        struct code_call call;
        bool found = machine == machine_x86_64 ? call_x86_64(code + i, size_bytes - i, function->entry + i, &call)
                                               : call_aarch64(code + i, size_bytes - i, function->entry + i, &call);
        if (!found || (call.is_jump && call.target >= function->entry && call.target < function->end) ||
            !is_entry(runtime, call.target))
            continue;
        calls = arena_grow(arena, calls, count, &capacity, sizeof *calls);
        calls[count++] = call;
    }
    *ret_count = count;
    return calls;
}

bool code_refers_to(const struct go_runtime *runtime, const struct pclntab_function *function, uint64_t address)
{
    size_t size_bytes = 0;
    const uint8_t *code = view_code(runtime, function, &size_bytes);
    if (code == NULL || runtime->image->arch->elf_machine != machine_x86_64)
        return false;
    /* The displacement counts from the instruction's end, which an immediate of 1, 2 or 4 bytes may precede. */
    static const uint8_t immediates[] = {0, 1, 2, 4};
    for (size_t i = 0; i + 4 <= size_bytes; i++) {
        uint64_t base = function->entry + i + 4 + (uint64_t)(int64_t)(int32_t)load_u32(code + i);
        for (size_t j = 0; j < sizeof immediates; j++)
            if (base + immediates[j] == address)
                return true;
    }
    return false;
}
