/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "literal_elf.h"
#include "unwind/unwind_plan.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <libelf.h>
#include <string.h>

enum { rax = 0, rdx = 1, rbx = 3, rbp = 6, rsp = 7, r12 = 12, r13 = 13, r14 = 14, r15 = 15, rip = 16 };

static struct arena arena;
static struct memory memory;
static struct literal_elf literal;
static Elf *elf;
static Dwarf_CFI *cfi;
static uint64_t stack_words[64];
static const uint64_t stack_base = 0x7f0000001000;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0, NULL);
    memory = (struct memory){.arena = &arena};
    for (size_t i = 0; i < 64; i++)
        stack_words[i] = 0xabcd0000 + i;
    memory_layer_append(&memory, &memory.core,
                        (struct memory_range){stack_base, stack_base + sizeof stack_words,
                                              (const uint8_t *)stack_words});
    literal_elf_init(&literal);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (cfi != NULL)
        dwarf_cfi_end(cfi);
    if (elf != NULL)
        elf_end(elf);
    cfi = NULL;
    elf = NULL;
    arena_deinit(&arena);
    return 0;
}

/* What every compiler's CIE says: the CFA is rsp + 8, the return address lies at CFA - 8. */
#define ENTRY_ROW DW_CFA_def_cfa, rsp, 8, DW_CFA_offset + rip, 1
#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof(const uint8_t[]){__VA_ARGS__}

static void open_cfi(void)
{
    elf_version(EV_CURRENT);
    elf = elf_memory((char *)literal.bytes, sizeof literal.bytes);
    assert_non_null(elf);
    cfi = dwarf_getcfi_elf(elf);
    if (cfi == NULL)
        fail_msg("%s", dwarf_errmsg(-1));
}

static struct unwind_plan plan_at(uint64_t address)
{
    struct unwind_plan plan = {0};
    if (cfi == NULL)
        open_cfi();
    assert_true(unwind_cfi_compile(cfi, address, &arch_x86_64, &arena, &plan));
    return plan;
}

static void assert_simple(const struct unwind_plan *plan, unsigned cfa_register, int cfa_offset, unsigned saved_count)
{
    assert_int_equal(plan->kind, PLAN_SIMPLE);
    assert_int_equal(plan->cfa_register, cfa_register);
    assert_int_equal(plan->cfa_offset, cfa_offset);
    assert_int_equal(plan->return_address_offset, -8);
    assert_int_equal(plan->saved_count, saved_count);
    assert_int_equal(plan->undefined, 0);
}

static void assert_saved(const struct unwind_plan *plan, unsigned number, int offset)
{
    for (unsigned i = 0; i < plan->saved_count; i++)
        if (plan->saved[i].register_number == number) {
            assert_int_equal(plan->saved[i].offset, offset);
            return;
        }
    fail_msg("register %u is not saved", number);
}

/* push %rbp (1 byte); mov %rsp,%rbp (3); … leave; ret at + 0x20 */
static void test_frame_pointer_function(void **state)
{
    (void)state;
    literal_elf_cie(&literal, "zR", BYTES(ENTRY_ROW));
    literal_elf_fde(&literal, 0x1000, 0x30,
                    BYTES(DW_CFA_advance_loc + 1, DW_CFA_def_cfa_offset, 16, DW_CFA_offset + rbp, 2,
                          DW_CFA_advance_loc + 3, DW_CFA_def_cfa_register, rbp, DW_CFA_advance_loc + 0x1c,
                          DW_CFA_def_cfa, rsp, 8));
    struct unwind_plan plan = plan_at(0x1000);
    assert_simple(&plan, rsp, 8, 0);
    assert_false(plan.signal_frame);
    plan = plan_at(0x1001);
    assert_simple(&plan, rsp, 16, 1);
    assert_saved(&plan, rbp, -16);
    for (uint64_t address = 0x1004; address < 0x1020; address += 0x1b) {
        plan = plan_at(address);
        assert_simple(&plan, rbp, 16, 1);
        assert_saved(&plan, rbp, -16);
    }
    plan = plan_at(0x102f);
    assert_simple(&plan, rsp, 8, 1);
    struct unwind_plan none;
    assert_false(unwind_cfi_compile(cfi, 0x0fff, &arch_x86_64, &arena, &none));
    assert_false(unwind_cfi_compile(cfi, 0x1030, &arch_x86_64, &arena, &none));
}

static void test_all_saved_registers(void **state)
{
    (void)state;
    literal_elf_cie(&literal, "zR", BYTES(ENTRY_ROW));
    literal_elf_fde(&literal, 0x1000, 0x10,
                    BYTES(DW_CFA_def_cfa_offset, 0xd0, 0x01, /* 208 */
                          DW_CFA_offset + r15, 2, DW_CFA_offset + r14, 3, DW_CFA_offset + r13, 4,
                          DW_CFA_offset + r12, 5, DW_CFA_offset + rbp, 6, DW_CFA_offset + rbx, 7));
    struct unwind_plan plan = plan_at(0x1008);
    assert_simple(&plan, rsp, 208, 6);
    static const unsigned order[] = {r15, r14, r13, r12, rbp, rbx};
    for (int i = 0; i < 6; i++)
        assert_saved(&plan, order[i], -16 - 8 * i);
}

static void test_outermost(void **state)
{
    (void)state;
    literal_elf_cie(&literal, "zR", BYTES(ENTRY_ROW));
    literal_elf_fde(&literal, 0x1000, 0x10, BYTES(DW_CFA_undefined, rip)); /* glibc's _start and clone3 */
    assert_int_equal(plan_at(0x1000).kind, PLAN_OUTERMOST);
}

static void test_signal_frame(void **state)
{
    (void)state;
    literal_elf_cie(&literal, "zR", BYTES(ENTRY_ROW));
    literal_elf_fde(&literal, 0x1000, 0x10, BYTES(DW_CFA_nop));
    literal_elf_cie(&literal, "zRS", BYTES(ENTRY_ROW));
    literal_elf_fde(&literal, 0x1010, 0x10, BYTES(DW_CFA_nop));
    assert_false(plan_at(0x1000).signal_frame);
    assert_true(plan_at(0x1010).signal_frame);
}

static struct registers registers_at_stack(void)
{
    struct registers registers = {.pc = 0x1004, .known = (1u << 17) - 1};
    for (unsigned i = 0; i < 17; i++)
        registers.values[i] = 0x100 + i;
    registers.values[rsp] = stack_base + 64;
    registers.values[rip] = registers.pc;
    return registers;
}

static struct registers execute(const struct unwind_plan *plan, const struct registers *from, uint64_t *ret_cfa)
{
    struct registers to = {0};
    uint64_t missing = 1;
    assert_int_equal(plan->kind, PLAN_GENERAL);
    assert_true(unwind_general_execute(plan->general, &arch_x86_64, from, &memory, 0, &to, ret_cfa, &missing));
    assert_int_equal(missing, 0);
    return to;
}

static bool knows(const struct registers *registers, unsigned number)
{
    return (registers->known >> number & 1) != 0;
}

/* A silent row: callee-saved registers keep their value, among them rbx; what a call may change is lost, among it rax,
 * also where another rule makes the plan general. */
static void test_silent_registers(void **state)
{
    (void)state;
    literal_elf_cie(&literal, "zR", BYTES(ENTRY_ROW));
    literal_elf_fde(&literal, 0x1000, 0x10, BYTES(DW_CFA_nop));
    /* rbp lies where rsp - 16 points: an expression */
    literal_elf_fde(&literal, 0x1010, 0x10, BYTES(DW_CFA_expression, rbp, 2, DW_OP_breg0 + rsp, 0x70));
    struct unwind_plan plan = plan_at(0x1000);
    assert_simple(&plan, rsp, 8, 0);
    plan = plan_at(0x1010);
    struct registers from = registers_at_stack();
    uint64_t cfa;
    struct registers to = execute(&plan, &from, &cfa);
    assert_int_equal(cfa, stack_base + 72);
    assert_int_equal(to.pc, stack_words[8]);
    assert_int_equal(to.values[rsp], cfa);
    assert_true(knows(&to, rbx) && knows(&to, r12) && knows(&to, r13) && knows(&to, r14) && knows(&to, r15));
    assert_int_equal(to.values[rbx], 0x100 + rbx);
    assert_int_equal(to.values[r15], 0x100 + r15);
    assert_true(knows(&to, rbp));
    assert_int_equal(to.values[rbp], stack_words[6]);
    for (unsigned i = 0; i < 17; i++)
        if (i != rip && i != rsp && (arch_x86_64.callee_saved >> i & 1) == 0)
            assert_false(knows(&to, i));
    /* What is unknown here stays unknown there. */
    from.known &= ~(1u << rbx);
    to = execute(&plan, &from, &cfa);
    assert_false(knows(&to, rbx));
}

/* A row that saves or loses registers by name. */
static void test_lost_registers(void **state)
{
    (void)state;
    literal_elf_cie(&literal, "zR", BYTES(ENTRY_ROW));
    literal_elf_fde(&literal, 0x1000, 0x10, BYTES(DW_CFA_undefined, r12));
    literal_elf_fde(&literal, 0x1010, 0x10, BYTES(DW_CFA_offset + rax, 2));
    struct unwind_plan plan = plan_at(0x1000);
    assert_int_equal(plan.kind, PLAN_SIMPLE);
    assert_int_equal(plan.undefined, 1u << r12);
    plan = plan_at(0x1010);
    struct registers from = registers_at_stack();
    uint64_t cfa;
    struct registers to = execute(&plan, &from, &cfa);
    assert_true(knows(&to, rax));
    assert_int_equal(to.values[rax], stack_words[7]);
}

/* The rows that linkers write for a PLT: 11 bytes into each stub of 16 its index has been pushed. */
static void test_plt_expression(void **state)
{
    (void)state;
    literal_elf_cie(&literal, "zR", BYTES(ENTRY_ROW));
    literal_elf_fde(&literal, 0x1000, 0x100,
                    BYTES(DW_CFA_def_cfa_expression, 11, DW_OP_breg0 + rsp, 8, DW_OP_breg0 + rip, 0, DW_OP_lit15,
                          DW_OP_and, DW_OP_lit11, DW_OP_ge, DW_OP_lit3, DW_OP_shl, DW_OP_plus));
    for (uint64_t pc = 0x1000; pc < 0x1020; pc++) {
        struct unwind_plan plan = plan_at(pc);
        struct registers from = registers_at_stack();
        from.pc = from.values[rip] = pc;
        uint64_t cfa;
        struct registers to = execute(&plan, &from, &cfa);
        bool pushed = (pc & 15) >= 11;
        assert_int_equal(cfa, stack_base + 64 + (pushed ? 16 : 8));
        assert_int_equal(to.pc, stack_words[pushed ? 9 : 8]);
    }
}

/* The return address in a register, and as a value; the stack pointer by a rule of its own. */
static void test_other_places(void **state)
{
    (void)state;
    literal_elf_cie(&literal, "zR", BYTES(DW_CFA_def_cfa, rsp, 0));
    literal_elf_fde(&literal, 0x1000, 0x10, BYTES(DW_CFA_register, rip, rdx));
    literal_elf_fde(&literal, 0x1010, 0x10,
                    BYTES(DW_CFA_val_expression, rip, 2, DW_OP_breg0 + rbx, 7, DW_CFA_val_expression, rsp, 2,
                          DW_OP_breg0 + rsp, 40));
    struct registers from = registers_at_stack();
    uint64_t cfa, missing;
    struct unwind_plan plan = plan_at(0x1000);
    struct registers to = execute(&plan, &from, &cfa);
    assert_int_equal(to.pc, 0x100 + rdx);
    assert_int_equal(cfa, stack_base + 64);
    plan = plan_at(0x1010);
    to = execute(&plan, &from, &cfa);
    assert_int_equal(to.pc, 0x100 + rbx + 7);
    assert_int_equal(to.values[rsp], stack_base + 104);
    from.known &= ~(1u << rbx);
    assert_false(unwind_general_execute(plan.general, &arch_x86_64, &from, &memory, 0, &to, &cfa, &missing));
    assert_int_equal(missing, 0);
}

/* Saved 400,000 bytes below the CFA: too far for the simple plan's 16 bits. */
static void test_far_save(void **state)
{
    (void)state;
    literal_elf_cie(&literal, "zR", BYTES(ENTRY_ROW));
    literal_elf_fde(&literal, 0x1000, 0x10,
                    BYTES(DW_CFA_def_cfa_offset, 0x88, 0xb5, 0x18, /* 400008 */
                          DW_CFA_offset + rbp, 0xd0, 0x86, 0x03)); /* 50000 words */
    struct unwind_plan plan = plan_at(0x1000);
    static const uint64_t far_words[] = {0x5555};
    memory_layer_append(&memory, &memory.core,
                        (struct memory_range){stack_base + 64 + 400000, stack_base + 64 + 400008,
                                              (const uint8_t *)far_words});
    struct registers from = registers_at_stack();
    uint64_t cfa;
    struct registers to = execute(&plan, &from, &cfa);
    assert_int_equal(cfa, stack_base + 64 + 400008);
    assert_int_equal(to.pc, 0x5555);
    assert_int_equal(to.values[rbp], stack_words[9]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_frame_pointer_function, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_saved_registers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_outermost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signal_frame, setup, teardown),
        cmocka_unit_test_setup_teardown(test_silent_registers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost_registers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_plt_expression, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_places, setup, teardown),
        cmocka_unit_test_setup_teardown(test_far_save, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
