/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/limits.h"
#include "unwind/unwind_plan.h"

#include <dwarf.h>
#include <string.h>

enum { rbx = 3, rsp = 7, rip = 16 };

static struct memory memory;
static struct arena arena;
static const uint64_t base = 0x10000;
static const uint8_t content[16] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x88, 0xff, 0xff};

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0, NULL);
    memory = (struct memory){.arena = &arena};
    memory_layer_append(&memory, &memory.core, (struct memory_range){base, base + sizeof content, content});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static const struct registers from = {.values = {[rbx] = 0x300, [rsp] = 0x10000}, .known = 1u << rbx | 1u << rsp};

/* Runs the operations as the CFA's rule; the return address is a constant. */
static bool run(const Dwarf_Op *operations, size_t count, uint64_t *ret_value, uint64_t *ret_missing)
{
    static const Dwarf_Op constant[] = {{.atom = DW_OP_const4u, .number = 0x401000}, {.atom = DW_OP_stack_value}};
    struct register_rule rule = {rip, 2, constant};
    struct general_plan plan = {
        .cfa = operations, .cfa_count = (uint32_t)count, .rule_count = 1, .rules = &rule, .return_address = rip};
    struct registers to;
    *ret_missing = UINT64_MAX;
    return unwind_general_execute(&plan, &arch_x86_64, &from, &memory, 0x5000000, &to, ret_value, ret_missing);
}

#define OP1(name) {.atom = DW_OP_##name}
#define OP(name, operand) {.atom = DW_OP_##name, .number = (uint64_t)(operand)}
#define CONST(value) OP(constu, value)

struct row {
    const char *what;
    Dwarf_Op operations[10]; /* up to the first DW_OP 0 */
    uint64_t expected;
};

static size_t row_count(const Dwarf_Op *operations)
{
    size_t count = 0;
    while (count < 10 && operations[count].atom != 0)
        count++;
    return count;
}

static void test_operations(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"lit0", {OP1(lit0)}, 0},
        {"lit31", {OP1(lit31)}, 31},
        {"const1s", {OP(const1s, -5)}, (uint64_t)-5},
        {"const8u", {OP(const8u, 0x8877665544332211)}, 0x8877665544332211},
        {"addr", {OP(addr, 0x1234)}, 0x5001234},
        {"breg", {OP(breg3, -16)}, 0x2f0},
        {"bregx", {{.atom = DW_OP_bregx, .number = rbx, .number2 = 16}}, 0x310},
        {"nop", {CONST(5), OP1(nop)}, 5},
        {"dup", {CONST(5), OP1(dup), OP1(plus)}, 10},
        {"drop", {CONST(5), CONST(6), OP1(drop)}, 5},
        {"over", {CONST(5), CONST(3), OP1(over), OP1(minus), OP1(minus)}, 5 - (3 - 5)},
        {"pick", {CONST(7), CONST(8), CONST(9), OP(pick, 2)}, 7},
        {"pick 0", {CONST(7), OP(pick, 0)}, 7},
        {"swap", {CONST(5), CONST(3), OP1(swap), OP1(minus)}, (uint64_t)-2},
        /* rot: the top becomes third, the second the top: 1 2 3 → 3 1 2 */
        {"rot top", {CONST(1), CONST(2), CONST(3), OP1(rot)}, 2},
        {"rot second", {CONST(1), CONST(2), CONST(3), OP1(rot), OP1(drop)}, 1},
        {"rot third", {CONST(1), CONST(2), CONST(3), OP1(rot), OP1(drop), OP1(drop)}, 3},
        {"deref", {CONST(0x10000), OP1(deref)}, 0x8807060504030201},
        {"deref_size 1", {CONST(0x10007), OP(deref_size, 1)}, 0x88},
        {"deref_size 4", {CONST(0x10001), OP(deref_size, 4)}, 0x05040302},
        {"abs", {CONST(-5), OP1(abs)}, 5},
        {"abs of positive", {CONST(5), OP1(abs)}, 5},
        {"neg", {CONST(5), OP1(neg)}, (uint64_t)-5},
        {"not", {CONST(5), OP1(not)}, ~(uint64_t)5},
        {"and", {CONST(12), CONST(10), OP1(and)}, 8},
        {"or", {CONST(12), CONST(10), OP1(or)}, 14},
        {"xor", {CONST(12), CONST(10), OP1(xor)}, 6},
        {"plus", {CONST(12), CONST(10), OP1(plus)}, 22},
        {"plus wraps", {CONST(-1), CONST(2), OP1(plus)}, 1},
        {"plus_uconst", {CONST(12), OP(plus_uconst, 30)}, 42},
        {"minus", {CONST(12), CONST(10), OP1(minus)}, 2},
        {"mul", {CONST(12), CONST(10), OP1(mul)}, 120},
        {"div is signed", {CONST(-12), CONST(5), OP1(div)}, (uint64_t)-2},
        {"mod", {CONST(12), CONST(5), OP1(mod)}, 2},
        {"shl", {CONST(3), CONST(4), OP1(shl)}, 48},
        {"shl by 64", {CONST(3), CONST(64), OP1(shl)}, 0},
        {"shr is logical", {CONST(-1), CONST(60), OP1(shr)}, 15},
        {"shr by 100", {CONST(-1), CONST(100), OP1(shr)}, 0},
        {"shra is arithmetic", {CONST(-16), CONST(2), OP1(shra)}, (uint64_t)-4},
        {"shra by 100", {CONST(-16), CONST(100), OP1(shra)}, (uint64_t)-1},
        {"eq", {CONST(3), CONST(3), OP1(eq)}, 1},
        {"ne", {CONST(3), CONST(3), OP1(ne)}, 0},
        {"lt is signed", {CONST(-1), CONST(3), OP1(lt)}, 1},
        {"le", {CONST(3), CONST(3), OP1(le)}, 1},
        {"gt is signed", {CONST(-1), CONST(3), OP1(gt)}, 0},
        {"ge", {CONST(3), CONST(3), OP1(ge)}, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t value = 0, missing;
        if (!run(rows[i].operations, row_count(rows[i].operations), &value, &missing) || value != rows[i].expected)
            fail_msg("%s gives %#llx", rows[i].what, (unsigned long long)value);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"division by zero", {CONST(1), CONST(0), OP1(div)}, 0},
        {"least / -1", {CONST(INT64_MIN), CONST(-1), OP1(div)}, 0},
        {"mod by zero", {CONST(1), CONST(0), OP1(mod)}, 0},
        {"too few for plus", {CONST(1), OP1(plus)}, 0},
        {"too few for rot", {CONST(1), CONST(2), OP1(rot)}, 0},
        {"drop of nothing", {OP1(drop)}, 0},
        {"deref of nothing", {OP1(deref)}, 0},
        {"plus_uconst of nothing", {OP(plus_uconst, 1)}, 0},
        {"bra on nothing", {OP(bra, 0)}, 0},
        {"pick too deep", {CONST(1), OP(pick, 1)}, 0},
        {"pick far too deep", {CONST(1), OP(pick, UINT64_MAX)}, 0},
        {"deref_size 0", {CONST(0x10000), OP(deref_size, 0)}, 0},
        {"deref_size 9", {CONST(0x10000), OP(deref_size, 9)}, 0},
        {"nothing is left", {CONST(1), OP1(drop)}, 0},
        {"unknown register", {OP(breg0, 0)}, 0},
        {"no such register", {{.atom = DW_OP_bregx, .number = 1000}}, 0},
        {"the CFA within its own rule", {OP1(call_frame_cfa)}, 0},
        {"an operation of no use here", {OP1(push_object_address)}, 0},
        {"jump into an operand", {OP(skip, 1), {.atom = DW_OP_const4u, .number = 5, .offset = 3}}, 0},
        {"jump before the start", {CONST(1), {.atom = DW_OP_skip, .number = (uint64_t)-100, .offset = 2}}, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t value = 0, missing;
        if (run(rows[i].operations, row_count(rows[i].operations), &value, &missing))
            fail_msg("%s gives %#llx", rows[i].what, (unsigned long long)value);
        assert_int_equal(missing, 0);
    }
}

static void test_missing_memory_is_named(void **state)
{
    (void)state;
    static const Dwarf_Op operations[] = {CONST(0x20000), OP1(deref)};
    static const Dwarf_Op half[] = {CONST(0x1000c), OP1(deref)}; /* 4 of 8 bytes are there */
    uint64_t value, missing;
    assert_false(run(operations, 2, &value, &missing));
    assert_int_equal(missing, 0x20000);
    assert_false(run(half, 2, &value, &missing));
    assert_int_equal(missing, 0x1000c);
}

/* Forward over one operation; skip and bra take 3 bytes, a literal 1. */
static void test_branches(void **state)
{
    (void)state;
    for (uint64_t condition = 0; condition < 2; condition++) {
        const Dwarf_Op operations[] = {
            {.atom = DW_OP_lit7, .offset = 0},
            {.atom = (uint8_t)(DW_OP_lit0 + condition), .offset = 1},
            {.atom = DW_OP_bra, .number = 1, .offset = 2}, /* to 6 */
            {.atom = DW_OP_lit9, .offset = 5},
            {.atom = DW_OP_lit2, .offset = 6},
            {.atom = DW_OP_plus, .offset = 7},
        };
        uint64_t value, missing;
        assert_true(run(operations, 6, &value, &missing));
        assert_int_equal(value, condition ? 9 : 11);
    }
    const Dwarf_Op to_end[] = {
        {.atom = DW_OP_lit7, .offset = 0},
        {.atom = DW_OP_skip, .number = 1, .offset = 1}, /* to 5, the end */
        {.atom = DW_OP_lit9, .offset = 4},
    };
    uint64_t value, missing;
    assert_true(run(to_end, 3, &value, &missing));
    assert_int_equal(value, 7);
}

/* Counts down from n: three operations a round, of which limit_expression_steps are done at most. */
static bool count_down(uint64_t n)
{
    const Dwarf_Op operations[] = {
        {.atom = DW_OP_constu, .number = n, .offset = 0},
        {.atom = DW_OP_lit1, .offset = 3},
        {.atom = DW_OP_minus, .offset = 4},
        {.atom = DW_OP_dup, .offset = 5},
        {.atom = DW_OP_bra, .number = (uint64_t)-6, .offset = 6}, /* to 3 */
    };
    uint64_t value, missing;
    bool result = run(operations, 5, &value, &missing);
    if (result)
        assert_int_equal(value, 0);
    return result;
}

static void test_step_limit(void **state)
{
    (void)state;
    assert_true(count_down(1));
    assert_true(count_down(100));
    assert_true(count_down((limit_expression_steps - 1) / 4));
    assert_false(count_down((limit_expression_steps - 1) / 4 + 1));
    const Dwarf_Op for_ever[] = {{.atom = DW_OP_lit0, .offset = 0},
                                 {.atom = DW_OP_skip, .number = (uint64_t)-3, .offset = 1}};
    uint64_t value, missing;
    assert_false(run(for_ever, 2, &value, &missing));
}

static void test_stack_limit(void **state)
{
    (void)state;
    Dwarf_Op operations[limit_expression_stack + 1];
    for (size_t i = 0; i <= limit_expression_stack; i++)
        operations[i] = (Dwarf_Op){.atom = DW_OP_lit1, .offset = i};
    uint64_t value, missing;
    assert_true(run(operations, limit_expression_stack, &value, &missing));
    assert_false(run(operations, limit_expression_stack + 1, &value, &missing));
}

/* A register whose rule fails is unknown and stops nothing; the return address's does. */
static void test_failing_rules(void **state)
{
    (void)state;
    static const Dwarf_Op cfa[] = {OP(breg7, 16)};
    static const Dwarf_Op missing_memory[] = {OP1(call_frame_cfa), OP(plus_uconst, 0x1000)};
    static const Dwarf_Op there[] = {OP1(call_frame_cfa), OP(plus_uconst, -16)};
    struct register_rule rules[] = {{rbx, 2, missing_memory}, {rip, 2, there}};
    struct general_plan plan = {.cfa = cfa, .cfa_count = 1, .rule_count = 2, .rules = rules, .return_address = rip};
    struct registers to;
    uint64_t value, missing;
    assert_true(unwind_general_execute(&plan, &arch_x86_64, &from, &memory, 0, &to, &value, &missing));
    assert_int_equal(value, base + 16);
    assert_int_equal(to.pc, 0x8807060504030201);
    assert_int_equal(to.known & 1u << rbx, 0);
    rules[1].operations = missing_memory;
    assert_false(unwind_general_execute(&plan, &arch_x86_64, &from, &memory, 0, &to, &value, &missing));
    assert_int_equal(missing, base + 0x1010);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operations),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_branches),    cmocka_unit_test(test_missing_memory_is_named),
        cmocka_unit_test(test_step_limit),  cmocka_unit_test(test_stack_limit),
        cmocka_unit_test(test_failing_rules),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
