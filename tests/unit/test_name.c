/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/name.h"

static const char long_template[] = "std::vector<int, std::allocator<int> >::push_back(int&&)";

static void assert_normal(const char *name, const char *expected)
{
    struct text result = name_normalise(text_from_string(name));
    assert_int_equal(result.length, strlen(expected));
    assert_memory_equal(result.data, expected, result.length);
}

static void test_plain_names_stay(void **state)
{
    (void)state;
    assert_normal("", "");
    assert_normal("main", "main");
    assert_normal(long_template, long_template);
    assert_normal("operator[]", "operator[]");
    assert_normal("f(int [3])", "f(int [3])");
    assert_normal("main.func1.2", "main.func1.2");
    assert_normal("libfoo.so.6+0x1234", "libfoo.so.6+0x1234");
    assert_normal("x.partial", "x.partial");
    assert_normal("my_cold", "my_cold");
}

static void test_versions_go(void **state)
{
    (void)state;
    assert_normal("pthread_cond_wait@@GLIBC_2.3.2", "pthread_cond_wait");
    assert_normal("pthread_cond_wait@GLIBC_2.2.5", "pthread_cond_wait");
    assert_normal("read@plt", "read@plt");
    assert_normal("@", "@");
    assert_normal("@@GLIBC_2.2.5", "@@GLIBC_2.2.5");
}

static void test_clones_go(void **state)
{
    (void)state;
    assert_normal("work.constprop.0", "work");
    assert_normal("work.isra.0.cold", "work");
    assert_normal("work.part.12.constprop.3", "work");
    assert_normal("work.cold", "work");
    assert_normal("work.cold.7", "work");
    assert_normal("ns::f(int) [clone .constprop.0] [clone .cold]", "ns::f(int)");
    assert_normal("f(std::string) [clone .isra.0]", "f(std::string)");
    assert_normal(".cold", ".cold");
    assert_normal(" [clone .cold]", " [clone .cold]");
}

static void test_rust_hashes_go(void **state)
{
    (void)state;
    assert_normal("core::ptr::drop_in_place::h0123456789abcdef", "core::ptr::drop_in_place");
    assert_normal("a::h0123456789abcdeg", "a::h0123456789abcdeg");
    assert_normal("a::h0123456789ABCDEF", "a::h0123456789ABCDEF");
    assert_normal("a::h0123456789abcde", "a::h0123456789abcde");
    assert_normal("a::h0123456789abcdef.cold", "a");
}

/* No byte outside the text is looked at: every prefix of a name is a name. */
static void test_every_length(void **state)
{
    (void)state;
    static const char name[] = "f(int) [clone .cold]::h0123456789abcdef.constprop.0@@V_1";
    for (size_t length = 0; length < sizeof name; length++) {
        char *exact = test_malloc(length + 1);
        memcpy(exact, name, length);
        struct text result = name_normalise((struct text){exact, length});
        assert_true(result.length <= length && (length == 0 || result.length != 0));
        test_free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_names_stay), cmocka_unit_test(test_versions_go),  cmocka_unit_test(test_clones_go),
        cmocka_unit_test(test_rust_hashes_go),   cmocka_unit_test(test_every_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
