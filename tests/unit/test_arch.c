/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "arch/arch.h"

#include <string.h>

/* The last `count` bytes before the return address, in memory of that size, so that a sanitizer sees a look past
 * them. */
static bool precedes(const uint8_t *bytes, size_t count)
{
    uint8_t *exact = test_malloc(count + (count == 0));
    memcpy(exact, bytes, count);
    bool result = arch_x86_64.call_precedes(exact + count, count);
    test_free(exact);
    return result;
}
#define PRECEDES(...) precedes((const uint8_t[]){__VA_ARGS__}, sizeof(const uint8_t[]){__VA_ARGS__})

static void test_direct_call(void **state)
{
    (void)state;
    assert_true(PRECEDES(0xe8, 0x11, 0x22, 0x33, 0x44));
    assert_true(PRECEDES(0x90, 0x90, 0x90, 0xe8, 0, 0, 0, 0));
    assert_true(PRECEDES(0x66, 0x66, 0x48, 0xe8, 0, 0, 0, 0)); /* as in __tls_get_addr sequences */
    assert_false(PRECEDES(0xe9, 0x11, 0x22, 0x33, 0x44));      /* jmp */
    assert_false(PRECEDES(0x11, 0x22, 0x33, 0x44));            /* cut */
    assert_false(PRECEDES(0xe8, 0, 0, 0, 0, 0x90));            /* one byte further */
}

/* Intel SDM 2, tables 2-2 and 2-3: how long ff /digit with this ModRM and SIB is. */
static size_t length_of(uint8_t modrm, uint8_t sib)
{
    unsigned mod = modrm >> 6, rm = modrm & 7;
    static const size_t displacement[] = {0, 1, 4, 0};
    if (mod == 3)
        return 2;
    if (rm == 4)
        return 3 + (mod == 0 && (sib & 7) == 5 ? 4 : displacement[mod]);
    return 2 + (mod == 0 && rm == 5 ? 4 : displacement[mod]);
}

/* Every ModRM and SIB byte; what follows and precedes cannot be taken for a call itself. */
static void test_indirect_calls(void **state)
{
    (void)state;
    for (unsigned modrm = 0; modrm < 256; modrm++)
        for (unsigned sib = 0; sib < 256; sib++) {
            /* These may begin another call: e8, and ff before what reads as /2. */
            if (sib == 0xff || sib == 0xe8)
                continue;
            uint8_t code[16];
            memset(code, 0x90, sizeof code);
            size_t length = length_of((uint8_t)modrm, (uint8_t)sib);
            code[8] = 0xff;
            code[9] = (uint8_t)modrm;
            if (length > 2)
                code[10] = (uint8_t)sib; /* or the first byte of the displacement */
            bool is_call = (modrm >> 3 & 7) == 2;
            if (precedes(code + length, 8) != is_call)
                fail_msg("ff %02x %02x of %zu bytes", modrm, sib, length);
            if (!is_call)
                continue;
            assert_true(precedes(code + 8, length)); /* nothing before it is at hand */
            /* With a REX prefix: call *(%r8 …). */
            code[7] = 0x41;
            assert_true(precedes(code + length, 8));
            assert_true(precedes(code + 7, length + 1));
            code[7] = 0x90;
            /* One byte short or long is no call. */
            if (length > 2)
                assert_false(precedes(code + 8, length - 1));
            assert_false(precedes(code + length + 1, 8));
        }
}

static void test_prefixes(void **state)
{
    (void)state;
    assert_true(PRECEDES(0xff, 0xd0));                                     /* call *%rax */
    assert_true(PRECEDES(0x41, 0xff, 0xd4));                               /* call *%r12 */
    assert_true(PRECEDES(0x3e, 0xff, 0xd0));                               /* notrack call *%rax */
    assert_true(PRECEDES(0x67, 0xe8, 0, 0, 0, 0));                         /* addr32 call, as linkers relax */
    assert_true(PRECEDES(0x2e, 0xe8, 0, 0, 0, 0));                         /* cs call */
    assert_true(PRECEDES(0x64, 0xff, 0x14, 0x25, 0x10, 0, 0, 0));          /* call *%fs:0x10 */
    assert_true(PRECEDES(0x65, 0xff, 0x14, 0x25, 0x10, 0, 0, 0));          /* call *%gs:0x10 */
    assert_true(PRECEDES(0x42, 0xff, 0x94, 0xc3, 0x78, 0x56, 0x34, 0x12)); /* call *0x12345678(%rbx,%r8,8) */
}

static void test_no_calls(void **state)
{
    (void)state;
    assert_false(precedes((const uint8_t *)"", 0));
    assert_false(PRECEDES(0xff));
    assert_false(PRECEDES(0xff, 0xe0));                                     /* jmp *%rax */
    assert_false(PRECEDES(0xff, 0xf0));                                     /* push %rax */
    assert_false(PRECEDES(0xff, 0x1c, 0x24));                               /* far call: pushes two words */
    assert_false(PRECEDES(0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xc3)); /* ret */
    assert_false(PRECEDES(0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc));
    assert_false(PRECEDES(0xf4, 0x90, 0x48, 0x89, 0xe5, 0x5d, 0x0f, 0x05)); /* syscall */
    assert_false(PRECEDES(0, 0, 0, 0, 0, 0, 0, 0));
}

/* struct user_regs_struct, kernel arch/x86/include/asm/user_64.h */
enum { r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax, rip, cs, eflags, rsp, ss,
       fs_base, raw_count = 27 };

static void test_system_call(void **state)
{
    (void)state;
    uint64_t raw[raw_count] = {[orig_rax] = 202, [rax] = (uint64_t)-512, [rdi] = 1, [rsi] = 2, [rdx] = 3, [r10] = 4,
                               [r8] = 5, [r9] = 6};
    struct system_call call;
    assert_true(arch_x86_64.system_call_decode((const uint8_t *)raw, &call));
    assert_int_equal(call.number, 202);
    for (uint64_t i = 0; i < 6; i++)
        assert_int_equal(call.arguments[i], i + 1);
    static const struct {
        int64_t result;
        bool blocked;
    } rows[] = {{-4, true}, {-38, true}, {-511, false}, {-512, true}, {-513, true}, {-514, true}, {-516, true},
                {-517, false}, {0, false}, {7, false}, {-11, false}, {-3, false}, {-5, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        raw[rax] = (uint64_t)rows[i].result;
        assert_true(arch_x86_64.system_call_decode((const uint8_t *)raw, &call));
        assert_int_equal(call.blocked, rows[i].blocked);
    }
    raw[orig_rax] = (uint64_t)-1;
    assert_false(arch_x86_64.system_call_decode((const uint8_t *)raw, &call));
    raw[orig_rax] = 0; /* read */
    assert_true(arch_x86_64.system_call_decode((const uint8_t *)raw, &call));
    assert_int_equal(call.number, 0);
}

static void test_system_call_names(void **state)
{
    (void)state;
    static const struct {
        int64_t number;
        const char *name;
    } rows[] = {{0, "read"},       {7, "poll"},        {35, "nanosleep"}, {61, "wait4"},       {202, "futex"},
                {219, "restart_syscall"}, {230, "clock_nanosleep"}, {232, "epoll_wait"}, {247, "waitid"},
                {281, "epoll_pwait"}, {288, "accept4"}, {334, "rseq"},     {426, "io_uring_enter"},
                {435, "clone3"},   {441, "epoll_pwait2"}, {449, "futex_waitv"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_string_equal(arch_x86_64.system_call_name(rows[i].number), rows[i].name);
    assert_null(arch_x86_64.system_call_name(-1));
    assert_null(arch_x86_64.system_call_name(335));
    assert_null(arch_x86_64.system_call_name(423));
    assert_null(arch_x86_64.system_call_name(100000));
    assert_null(arch_x86_64.system_call_name(INT64_MIN));
}

static void test_registers(void **state)
{
    (void)state;
    uint64_t raw[raw_count];
    for (uint64_t i = 0; i < raw_count; i++)
        raw[i] = 0x1000 + i;
    struct registers registers;
    arch_x86_64.registers_decode((const uint8_t *)raw, &registers);
    /* psABI figure 3.36 */
    static const int by_dwarf[] = {rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15, rip};
    for (size_t i = 0; i < 17; i++)
        assert_int_equal(registers.values[i], 0x1000 + by_dwarf[i]);
    assert_int_equal(registers.pc, 0x1000 + rip);
    assert_int_equal(registers.known, 0x1ffff);
    assert_int_equal(arch_x86_64.thread_pointer((const uint8_t *)raw), 0x1000 + fs_base);
}

/* What is encoded is decoded again, and nothing else counts as known. */
static void test_registers_encode(void **state)
{
    (void)state;
    uint8_t encoded[27 * 8];
    assert_int_equal(arch_x86_64.registers_size_bytes, sizeof encoded);
    struct system_call call = {.number = 202, .arguments = {1, 2, 3, 4, 5, 6}}, decoded_call;
    uint64_t known = arch_x86_64.registers_encode(&call, 0x7000, 0x4000, encoded);
    struct registers registers;
    arch_x86_64.registers_decode(encoded, &registers);
    assert_int_equal(registers.pc, 0x4000);
    assert_int_equal(registers.values[7], 0x7000);
    assert_true(arch_x86_64.system_call_decode(encoded, &decoded_call));
    assert_int_equal(decoded_call.number, 202);
    assert_true(decoded_call.blocked);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(decoded_call.arguments[i], i + 1);
    assert_int_equal(known & arch_x86_64.callee_saved, 0);
    /* DWARF: rdi 5, rsi 4, rdx 1, r10, r8, r9, rsp 7, rip 16 */
    assert_int_equal(known, 1u << 5 | 1u << 4 | 1u << 1 | 1u << 10 | 1u << 8 | 1u << 9 | 1u << 7 | 1u << 16);
    call = (struct system_call){.number = -1};
    assert_int_equal(arch_x86_64.registers_encode(&call, 0x7000, 0x4000, encoded), 1u << 7 | 1u << 16);
    assert_false(arch_x86_64.system_call_decode(encoded, &decoded_call));
}

static void test_signal_context_offset(void **state)
{
    (void)state;
    static const uint8_t glibc[] = {0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05, 0x0f, 0x1f, 0x80, 0, 0, 0, 0};
    static const uint8_t musl[] = {0xb8, 15, 0, 0, 0, 0x0f, 0x05, 0xc3};
    for (size_t count = 0; count <= sizeof glibc; count++)
        assert_int_equal(arch_x86_64.signal_context_offset(glibc, count), count >= 9 ? 40 : 0);
    for (size_t count = 0; count <= sizeof musl; count++)
        assert_int_equal(arch_x86_64.signal_context_offset(musl, count), count >= 7 ? 40 : 0);
    uint8_t other[sizeof glibc];
    for (size_t i = 0; i < 9; i++) {
        memcpy(other, glibc, sizeof other);
        other[i] ^= 1; /* another system call or none */
        assert_int_equal(arch_x86_64.signal_context_offset(other, sizeof other), 0);
    }
}

static void test_signal_context(void **state)
{
    (void)state;
    /* struct sigcontext_64: r8 … r15, di, si, bp, bx, dx, ax, cx, sp, ip */
    static const int dwarf[] = {8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16};
    uint64_t raw[17];
    for (uint64_t i = 0; i < 17; i++)
        raw[i] = 0x2000 + i;
    assert_int_equal(arch_x86_64.signal_context_bytes, sizeof raw);
    struct registers registers;
    arch_x86_64.signal_context_decode((const uint8_t *)raw, &registers);
    for (size_t i = 0; i < 17; i++)
        assert_int_equal(registers.values[dwarf[i]], 0x2000 + i);
    assert_int_equal(registers.pc, 0x2010);
    assert_int_equal(registers.known, 0x1ffff);
}

static void test_find(void **state)
{
    (void)state;
    assert_ptr_equal(arch_find(62), &arch_x86_64);
    assert_null(arch_find(0));
    assert_null(arch_find(3));
    assert_string_equal(arch_machine_name(183), "AArch64");
    assert_null(arch_machine_name(9999));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_direct_call),           cmocka_unit_test(test_indirect_calls),
        cmocka_unit_test(test_prefixes),              cmocka_unit_test(test_no_calls),
        cmocka_unit_test(test_system_call),           cmocka_unit_test(test_system_call_names),
        cmocka_unit_test(test_registers),             cmocka_unit_test(test_signal_context_offset),
        cmocka_unit_test(test_signal_context),        cmocka_unit_test(test_find),
        cmocka_unit_test(test_registers_encode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
