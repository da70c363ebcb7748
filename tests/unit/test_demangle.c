/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "base/limits.h"
#include "symbol/demangle.h"

static char buffer[demangle_buffer_bytes];

static void assert_demangled(const char *name, const char *expected)
{
    struct text result = demangle(text_from_string(name), buffer);
    assert_string_equal(result.data, expected);
    assert_int_equal(result.length, strlen(expected));
}

static void test_cpp(void **state)
{
    (void)state;
    assert_demangled("_ZN2ns3boxIiE4slowEi", "ns::box<int>::slow(int)");
    assert_demangled("_ZNSt5mutex4lockEv", "std::mutex::lock()");
    assert_demangled("_ZN2ns1fEv.constprop.0", "ns::f() [clone .constprop.0]");
}

static void test_rust(void **state)
{
    (void)state;
    assert_demangled("_ZN3std6thread4park17h0123456789abcdefE", "std::thread::park");
    assert_demangled("_ZN73_$LT$core..slice..iter..Iter$LT$T$GT$$u20$as$u20$core..iter..Iterator$GT$4next"
                     "17h0123456789abcdefE",
                     "<core::slice::iter::Iter<T> as core::iter::Iterator>::next");
    /* 日 and an emoji; a control character and half a surrogate pair stay. */
    assert_demangled("_ZN1r7$u65e5$9$u1f600$x17h0123456789abcdefE", "r::\xe6\x97\xa5::\xf0\x9f\x98\x80x");
    assert_demangled("_ZN1r5$u85$7$ud800$17h0123456789abcdefE", "r::$u85$::$ud800$");
    assert_demangled("_RNvNtCslNYArtu3iFV_5alloc3fmt6format", "alloc::fmt::format");
}

static void test_versions_stay(void **state)
{
    (void)state;
    assert_demangled("_ZNSt5mutex4lockEv@@GLIBCXX_3.4", "std::mutex::lock()@@GLIBCXX_3.4");
    assert_demangled("_ZNSt5mutex4lockEv@plt", "std::mutex::lock()@plt");
}

static void test_others_stay(void **state)
{
    (void)state;
    static const char *const names[] = {"", "main", "_Z", "_R", "_Znot a name", "ZN1aE", "_ZN1a"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_demangled(names[i], names[i]);
}

/* Each parameter is x<the one before, the one before>: 30 of them stand for 2^30 names. */
static void test_growth_is_cut(void **state)
{
    (void)state;
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    char name[512];
    size_t length = (size_t)snprintf(name, sizeof name, "_Z1f1xIiiE");
    for (int i = 0; i < 30; i++)
        length += (size_t)snprintf(name + length, sizeof name - length, "S_IS%c_S%c_E", digits[i], digits[i]);
    struct text result = demangle((struct text){name, length}, buffer);
    assert_int_equal(result.length, limit_name_bytes);
    assert_memory_equal(result.data, "f(x<int, int>, x<x<int, int>, x<int, int> >, ", 45);
    assert_string_equal(result.data + result.length - 3, "...");
}

static void test_depth_is_bounded(void **state)
{
    (void)state;
    char name[limit_name_bytes + 100];
    static const char *const repeated[] = {"P",   "N1a", "1aI", "FiP", "DpT_", "cv",
                                           "L_Z", "RC",  "M1a", "NtC", "B_",   "T"};
    for (size_t i = 0; i < sizeof repeated / sizeof repeated[0]; i++)
        for (int rust = 0; rust < 2; rust++) {
            size_t length = (size_t)sprintf(name, rust ? "_RC" : "_Z1f");
            while (length + strlen(repeated[i]) < limit_name_bytes)
                length += (size_t)sprintf(name + length, "%s", repeated[i]);
            struct text result = demangle((struct text){name, length}, buffer);
            assert_true(result.length <= limit_name_bytes);
        }
}

static void test_long_names_are_cut(void **state)
{
    (void)state;
    char name[limit_name_bytes + 100];
    memset(name, 'a', sizeof name);
    memcpy(name, "_Z", 2);
    struct text result = demangle((struct text){name, sizeof name}, buffer);
    assert_int_equal(result.length, limit_name_bytes);
    assert_string_equal(result.data + result.length - 3, "...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpp),
        cmocka_unit_test(test_rust),
        cmocka_unit_test(test_versions_stay),
        cmocka_unit_test(test_others_stay),
        cmocka_unit_test(test_growth_is_cut),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_long_names_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
