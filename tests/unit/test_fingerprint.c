/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "literal_snapshot.h"

#include "group/fingerprint.h"

static struct literal literal;

static int setup(void **state)
{
    (void)state;
    literal_init(&literal);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    literal_deinit(&literal);
    return 0;
}

/* A stack of these functions, leaf first, each in a location of its own. */
static uint32_t stack_of(size_t count, const char *const *functions)
{
    uint32_t stack = literal_stack(&literal, STACK_END_OUTERMOST, 0);
    for (size_t i = 0; i < count; i++) {
        uint32_t location = literal_location(&literal, 0x1000 + i, false, index_none, i);
        literal_frame(&literal, functions[i], NULL, 0, false);
        literal_step(&literal, location, TRUST_CFI);
    }
    return stack;
}
#define STACK(...)                                                                                                     \
    stack_of(sizeof(const char *const[]){__VA_ARGS__} / sizeof(char *), (const char *const[]){__VA_ARGS__})

static void assert_fingerprint(uint32_t stack, const char *expected)
{
    char digits[17];
    fingerprint_stack(&literal.snapshot, &literal.snapshot.stacks[stack], digits);
    assert_string_equal(digits, expected);
}

/* Values by sha256sum(1): printf 'work\nmain' | sha256sum | cut -c1-16 */
static const char work_main[] = "e7173b65dd9fbae4";
static const char cond_wait_queue_main[] = "734f912b1a818ddf"; /* pthread_cond_wait queue_take main */

static void test_known_values(void **state)
{
    (void)state;
    assert_fingerprint(STACK("work", "main"), work_main);
    assert_fingerprint(STACK("pthread_cond_wait", "queue_take", "main"), cond_wait_queue_main);
    assert_fingerprint(literal_stack(&literal, STACK_END_NO_REGISTERS, 0), "e3b0c44298fc1c14"); /* of nothing */
}

/* As glibc shows it with debug info, without it, and as musl does. */
static void test_wait_machinery(void **state)
{
    (void)state;
    assert_fingerprint(STACK("__futex_abstimed_wait_common64", "__futex_abstimed_wait_common",
                             "__GI___futex_abstimed_wait_cancelable64", "__pthread_cond_wait_common",
                             "pthread_cond_wait", "queue_take", "main"),
                       cond_wait_queue_main);
    assert_fingerprint(STACK("__syscall_cp_c", "__timedwait_cp", "pthread_cond_wait", "queue_take", "main"),
                       cond_wait_queue_main);
    /* Not at the leaf it is a function like any other. */
    assert_fingerprint(STACK("work", "futex_wait", "main"), "951d9f42b71ff9c5");
    /* Where nothing else is, it stays. */
    assert_fingerprint(STACK("__lll_lock_wait", "futex_wait"), "78d7bd0f16365482");
}

static void test_names_are_normalised(void **state)
{
    (void)state;
    assert_fingerprint(STACK("work.constprop.0.cold", "main"), work_main);
    assert_fingerprint(STACK("work.isra.0", "main.part.1"), work_main);
    assert_fingerprint(STACK("work::h0123456789abcdef", "main@@VERS_1.0"), work_main);
    assert_fingerprint(STACK("__GI___lll_lock_wait", "pthread_cond_wait@@GLIBC_2.3.2", "queue_take.cold", "main"),
                       cond_wait_queue_main);
}

static void test_inlined_frames_are_dropped(void **state)
{
    (void)state;
    uint32_t stack = literal_stack(&literal, STACK_END_OUTERMOST, 0);
    uint32_t location = literal_location(&literal, 0x1000, true, index_none, 0);
    literal_frame(&literal, "futex_wait", "futex.h", 3, true);
    literal_frame(&literal, "lock", "lock.h", 4, true);
    literal_frame(&literal, "work", "a.c", 5, false);
    literal_step(&literal, location, TRUST_REGISTERS);
    location = literal_location(&literal, 0x2000, false, index_none, 0);
    literal_frame(&literal, "main", NULL, 0, false);
    literal_step(&literal, location, TRUST_CFI);
    assert_fingerprint(stack, work_main);
}

/* printf 'x.so+0x1234\n+0xdeadbeef\nmain' */
static void test_nameless(void **state)
{
    (void)state;
    uint32_t library = literal_module(&literal, "/lib/x.so", 0x10000, 0x20000);
    uint32_t stack = literal_stack(&literal, STACK_END_OUTERMOST, 0);
    uint32_t location = literal_location(&literal, 0x11234, true, library, 0x1234);
    literal_frame(&literal, NULL, NULL, 0, false);
    literal_step(&literal, location, TRUST_REGISTERS);
    location = literal_location(&literal, 0xdeadbeef, false, index_none, 0xdeadbeef);
    literal_frame(&literal, NULL, NULL, 0, false);
    literal_step(&literal, location, TRUST_CFI);
    location = literal_location(&literal, 0x2000, false, index_none, 0);
    literal_frame(&literal, "main", NULL, 0, false);
    literal_step(&literal, location, TRUST_CFI);
    assert_fingerprint(stack, "7f1c39b812b4bfd1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_known_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wait_machinery, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_are_normalised, setup, teardown),
        cmocka_unit_test_setup_teardown(test_inlined_frames_are_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nameless, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
