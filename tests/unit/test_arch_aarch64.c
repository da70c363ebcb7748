/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "arch/arch.h"

#include <string.h>

/* The kernel's struct user_pt_regs: x0 to x30, sp, pc, pstate. */
enum { x0 = 0, x8 = 8, x19 = 19, x29 = 29, x30 = 30, sp = 31, pc = 32, raw_count = 34 };
static const uint32_t svc = 0xd4000001, nop = 0xd503201f;

static bool precedes(uint32_t instruction)
{
    uint8_t bytes[4];
    memcpy(bytes, &instruction, sizeof bytes);
    return arch_aarch64.call_precedes(bytes + 4, 4);
}

static void test_calls(void **state)
{
    (void)state;
    assert_true(precedes(0x94000000));  /* bl . */
    assert_true(precedes(0x97ffffff));  /* bl .-4 */
    assert_true(precedes(0xd63f0100));  /* blr x8 */
    assert_true(precedes(0xd63f03c0));  /* blr x30 */
    assert_true(precedes(0xd73f0a62));  /* blraa x19, x2 */
    assert_true(precedes(0xd63f0a7f));  /* blraaz x19 */
    assert_false(precedes(0x14000000)); /* b . */
    assert_false(precedes(0xd61f0100)); /* br x8 */
    assert_false(precedes(0xd65f03c0)); /* ret */
    assert_false(precedes(nop));
    uint8_t few[3] = {0};
    assert_false(arch_aarch64.call_precedes(few + 3, 3));
}

static void test_registers(void **state)
{
    (void)state;
    uint64_t raw[raw_count];
    for (uint64_t i = 0; i < raw_count; i++)
        raw[i] = 0x1000 + i;
    struct registers registers;
    assert_int_equal(arch_aarch64.registers_size_bytes, sizeof raw);
    arch_aarch64.registers_decode((const uint8_t *)raw, &registers);
    for (size_t i = 0; i <= sp; i++)
        assert_int_equal(registers.values[i], 0x1000 + i);
    assert_int_equal(registers.pc, 0x1000 + pc);
    assert_int_equal(registers.known, 0xffffffff);
    assert_true(arch_has_link_register(&arch_aarch64));
    assert_false(arch_has_link_register(&arch_x86_64));
    /* AAPCS64: x19 to x28 and the frame pointer */
    assert_int_equal(arch_aarch64.callee_saved, 0x3ff80000);
}

static bool confirm(int64_t number, uint64_t first, uint32_t before, uint32_t at, struct system_call *ret_call)
{
    uint64_t raw[raw_count] = {[x0] = first, [1] = 1, [2] = 2, [3] = 3, [4] = 4, [5] = 5, [x8] = (uint64_t)number};
    return arch_aarch64.system_call_decode((const uint8_t *)raw, ret_call) &&
           arch_aarch64.system_call_confirm(before, at, ret_call);
}

static void test_system_call(void **state)
{
    (void)state;
    struct system_call call;
    assert_false(confirm(98, 0x5500001000, nop, nop, &call)); /* x8 holds anything */
    assert_false(confirm(98, 0x5500001000, 0, 0, &call));     /* the code is not at hand */
    assert_false(confirm(0x5500001000, 0, svc, nop, &call));
    /* Set back to be restarted: all arguments stand. */
    assert_true(confirm(63, 3, nop, svc, &call));
    assert_true(call.blocked && !call.may_be_over);
    assert_int_equal(call.number, 63);
    assert_int_equal(call.arguments[0], 3);
    assert_int_equal(call.arguments[5], 5);
    /* Behind the instruction: a result, or still the first argument. */
    assert_true(confirm(63, 3, svc, nop, &call));
    assert_true(!call.blocked && call.may_be_over);
    assert_true(confirm(98, 0x5500001000, svc, nop, &call));
    assert_true(call.blocked && !call.may_be_over);
    assert_true(confirm(63, 0x5500001000, svc, nop, &call)); /* a read can return that much */
    assert_true(!call.blocked && call.may_be_over);
    assert_true(confirm(22, (uint64_t)-4, svc, nop, &call));
    assert_true(call.blocked);
    assert_true(confirm(98, (uint64_t)-110, svc, nop, &call));
    assert_true(!call.blocked && !call.may_be_over);
}

static void test_system_call_names(void **state)
{
    (void)state;
    /* kernel include/uapi/asm-generic/unistd.h */
    static const struct {
        int64_t number;
        const char *name;
    } rows[] = {{22, "epoll_pwait"}, {63, "read"},  {73, "ppoll"},  {98, "futex"},   {101, "nanosleep"},
                {128, "restart_syscall"}, {202, "accept"}, {242, "accept4"}, {260, "wait4"}, {449, "futex_waitv"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_string_equal(arch_aarch64.system_call_name(rows[i].number), rows[i].name);
    assert_null(arch_aarch64.system_call_name(-1));
    assert_null(arch_aarch64.system_call_name(400));
    assert_null(arch_aarch64.system_call_name(100000));
}

static void test_restarted_call(void **state)
{
    (void)state;
    int64_t number = 0;
    uint32_t code[] = {nop, 0xd2800c48 /* mov x8, #98 */, 0xaa0003e1, svc};
    assert_true(arch_aarch64.restarted_call((const uint8_t *)code, sizeof code, &number));
    assert_int_equal(number, 98);
    code[1] = 0x52800e68; /* mov w8, #115 */
    assert_true(arch_aarch64.restarted_call((const uint8_t *)code, sizeof code, &number));
    assert_int_equal(number, 115);
    code[1] = 0xd28007e8; /* mov x8, #63 */
    assert_false(arch_aarch64.restarted_call((const uint8_t *)code, sizeof code, &number));
    assert_false(arch_aarch64.restarted_call((const uint8_t *)code, 3, &number));
}

static void test_registers_encode(void **state)
{
    (void)state;
    uint8_t encoded[raw_count * 8];
    struct system_call call = {.number = 98, .arguments = {1, 2, 3, 4, 5, 6}}, decoded;
    assert_int_equal(arch_aarch64.registers_encode(&call, 0x7000, 0x4000, encoded), 0x3f | 1u << x8 | 1u << sp);
    struct registers registers;
    arch_aarch64.registers_decode(encoded, &registers);
    assert_int_equal(registers.pc, 0x4000);
    assert_int_equal(registers.values[sp], 0x7000);
    assert_true(arch_aarch64.system_call_decode(encoded, &decoded));
    assert_int_equal(decoded.number, 98);
    for (uint64_t i = 0; i < 6; i++)
        assert_int_equal(decoded.arguments[i], i + 1);
    call.number = -1;
    assert_int_equal(arch_aarch64.registers_encode(&call, 0x7000, 0x4000, encoded), 1u << sp);
    assert_false(arch_aarch64.system_call_decode(encoded, &decoded));
}

static void test_signal_context(void **state)
{
    (void)state;
    const uint32_t code[] = {0xd2801168 /* mov x8, #139 */, svc}, other[] = {0xd2801148, svc};
    for (size_t count = 0; count <= 8; count++)
        assert_int_equal(arch_aarch64.signal_context_offset((const uint8_t *)code, count), count == 8 ? 312 : 0);
    assert_int_equal(arch_aarch64.signal_context_offset((const uint8_t *)other, sizeof other), 0);
    uint64_t raw[33]; /* struct sigcontext behind fault_address */
    for (uint64_t i = 0; i < 33; i++)
        raw[i] = 0x2000 + i;
    struct registers registers;
    assert_int_equal(arch_aarch64.signal_context_bytes, sizeof raw);
    arch_aarch64.signal_context_decode((const uint8_t *)raw, &registers);
    assert_int_equal(registers.values[x19], 0x2000 + x19);
    assert_int_equal(registers.values[x29], 0x2000 + x29);
    assert_int_equal(registers.values[x30], 0x2000 + x30);
    assert_int_equal(registers.values[sp], 0x2000 + sp);
    assert_int_equal(registers.pc, 0x2000 + pc);
}

static void test_find(void **state)
{
    (void)state;
    assert_ptr_equal(arch_find(183), &arch_aarch64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),           cmocka_unit_test(test_registers),
        cmocka_unit_test(test_system_call),     cmocka_unit_test(test_system_call_names),
        cmocka_unit_test(test_restarted_call),  cmocka_unit_test(test_registers_encode),
        cmocka_unit_test(test_signal_context),  cmocka_unit_test(test_find),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
