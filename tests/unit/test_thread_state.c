/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "waits/thread_state.h"

#include <string.h>

/* Words of struct user_regs_struct. */
enum { raw_r10 = 7, raw_r9, raw_r8, raw_rax, raw_rcx, raw_rdx, raw_rsi, raw_rdi, raw_orig_rax, raw_rip, raw_count = 27 };

static struct thread_state read_state(const uint64_t *raw, const uint8_t *code, size_t code_bytes)
{
    struct image image = {.arch = &arch_x86_64};
    struct memory_range range = {0x1000, 0x1000 + code_bytes, code};
    if (code != NULL)
        image.memory.core = (struct memory_layer){&range, 1, 1};
    return thread_state_read(&image, &(struct thread){.registers = (const uint8_t *)raw});
}

static void assert_state(int64_t number, int64_t result, uint64_t first, uint64_t second, const char *name, int32_t fd)
{
    uint64_t raw[raw_count] = {[raw_orig_rax] = (uint64_t)number, [raw_rax] = (uint64_t)result, [raw_rdi] = first,
                               [raw_rsi] = second};
    struct thread_state state = read_state(raw, NULL, 0);
    assert_string_equal(state.name, name);
    assert_int_equal(state.fd, fd);
}

enum { restart = -512, restart_block = -516, interrupted = -4 };

/* Numbers of kernel arch/x86/entry/syscalls/syscall_64.tbl. */
static void test_blocked_calls(void **state)
{
    (void)state;
    assert_state(0, restart, 5, 0, "read", 5);
    assert_state(1, restart, 1, 0, "write", 1);
    assert_state(45, restart, 12, 0, "receive", 12);
    assert_state(46, restart, 12, 0, "send", 12);
    assert_state(43, restart, 3, 0, "accept", 3);
    assert_state(288, restart, 3, 0, "accept", 3);
    assert_state(42, restart, 9, 0, "connect", 9);
    assert_state(73, restart, 4, 0, "file lock", 4);
    assert_state(232, interrupted, 6, 0, "epoll wait", 6);
    assert_state(281, interrupted, 6, 0, "epoll wait", 6);
    assert_state(7, restart_block, 0x7000, 1, "poll", -1);
    assert_state(271, -514, 0x7000, 1, "poll", -1);
    assert_state(23, -514, 10, 0, "select", -1);
    assert_state(35, restart_block, 0x7000, 0, "sleep", -1);
    assert_state(230, restart_block, 0, 0, "sleep", -1);
    assert_state(61, restart, 100, 0, "wait for child", -1);
    assert_state(219, interrupted, 0, 0, "restarted call", -1);
    assert_state(34, -514, 0, 0, "pause", -1);
    assert_state(449, restart, 0x7000, 2, "futex wait (several)", -1);
}

static void test_futex_operations(void **state)
{
    (void)state;
    assert_state(202, restart, 0x7000, 0, "futex wait", -1);
    assert_state(202, restart, 0x7000, 128, "futex wait", -1);
    assert_state(202, restart, 0x7000, 9 | 128 | 256, "futex wait", -1);
    assert_state(202, restart, 0x7000, 6 | 128, "futex lock (PI)", -1);
    assert_state(202, restart, 0x7000, 13, "futex lock (PI)", -1);
    assert_state(202, restart, 0x7000, 11, "futex wait (requeue PI)", -1);
    assert_state(202, restart, 0x7000, 1, "futex", -1); /* wake */
}

/* In a call, but not waiting: its name alone. */
static void test_not_blocked(void **state)
{
    (void)state;
    assert_state(0, 100, 5, 0, "returning from read", -1);
    assert_state(202, 0, 0x7000, 128, "returning from futex", -1);
    assert_state(234, 0, 1, 2, "returning from tgkill", -1); /* abort */
    assert_state(100000, restart, 0, 0, "unknown system call", -1);
    assert_state(-1, 5, 0, 0, "running", -1);
}

/* A descriptor is an int: the upper half of the register is anything, a negative one is none. */
static void test_descriptor(void **state)
{
    (void)state;
    assert_state(0, restart, 0xffffffff00000005, 0, "read", 5);
    assert_state(0, restart, UINT64_MAX, 0, "read", -1);
    assert_state(0, restart, 0x7fffffff, 0, "read", 0x7fffffff);
}

static void assert_restarted(const uint8_t *end, size_t end_bytes, const char *name)
{
    uint8_t code[32];
    memset(code, 0x90, sizeof code);
    memcpy(code + sizeof code - end_bytes, end, end_bytes);
    uint64_t raw[raw_count] = {[raw_orig_rax] = 219, [raw_rax] = (uint64_t)restart_block, [raw_rdi] = 0x7000,
                               [raw_rsi] = 128, [raw_rip] = 0x1000 + sizeof code};
    assert_string_equal(read_state(raw, code, sizeof code).name, name);
}
#define ASSERT_RESTARTED(name, ...) \
    assert_restarted((const uint8_t[]){__VA_ARGS__}, sizeof(const uint8_t[]){__VA_ARGS__}, name)

/* The code before the pc tells which call it was; the arguments are still there. */
static void test_restarted(void **state)
{
    (void)state;
    ASSERT_RESTARTED("futex wait", 0xb8, 0xca, 0, 0, 0, 0x0f, 0x05);
    ASSERT_RESTARTED("futex wait", 0xb8, 0xca, 0, 0, 0, 0x40, 0x80, 0xf6, 0x80, 0x0f, 0x05); /* xor $128,%sil between */
    ASSERT_RESTARTED("sleep", 0xb8, 0xe6, 0, 0, 0, 0x0f, 0x05);
    ASSERT_RESTARTED("sleep", 0xb8, 35, 0, 0, 0, 0x0f, 0x05);
    ASSERT_RESTARTED("poll", 0xb8, 7, 0, 0, 0, 0x0f, 0x05);
    ASSERT_RESTARTED("poll", 0xb8, 0xca, 0, 0, 0, 0x0f, 0x05, 0xb8, 7, 0, 0, 0, 0x0f, 0x05); /* the nearest */
    ASSERT_RESTARTED("restarted call", 0xb8, 0xca, 0, 0, 0, 0x0f, 0x34); /* no syscall instruction */
    ASSERT_RESTARTED("restarted call", 0x31, 0xc0, 0x0f, 0x05);          /* read is never restarted so */
    ASSERT_RESTARTED("restarted call", 0xca, 0, 0, 0, 0x0f, 0x05);
}

static void test_unknown(void **state)
{
    (void)state;
    struct thread_state found = read_state(NULL, NULL, 0);
    assert_string_equal(found.name, "unknown");
    assert_int_equal(found.fd, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocked_calls), cmocka_unit_test(test_futex_operations),
        cmocka_unit_test(test_not_blocked),   cmocka_unit_test(test_descriptor),
        cmocka_unit_test(test_restarted),     cmocka_unit_test(test_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
