/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/pattern.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static struct pattern *compiled(const char *expression)
{
    struct pattern *pattern = NULL;
    const struct error *error = pattern_compile(&arena, "--filter", expression, &pattern);
    if (error != NULL)
        fail_msg("%s", error->message);
    return pattern;
}

static void test_matches(void **state)
{
    (void)state;
    struct pattern *pattern = compiled("^std::.*wait$|mutex");
    assert_true(pattern_matches(pattern, TEXT("std::condition_variable::wait")));
    assert_true(pattern_matches(pattern, TEXT("pthread_mutex_lock")));
    assert_false(pattern_matches(pattern, TEXT("xstd::wait")));
    assert_false(pattern_matches(pattern, TEXT("")));
    assert_false(pattern_matches(pattern, (struct text){NULL, 0}));
    assert_false(pattern_limit_hit(pattern));
    pattern_release(pattern);
    pattern = compiled("");
    assert_true(pattern_matches(pattern, (struct text){NULL, 0}));
    pattern_release(pattern);
    pattern_release(NULL);
}

/* The length counts, not a NUL. */
static void test_length(void **state)
{
    (void)state;
    struct pattern *pattern = compiled("lock$");
    assert_true(pattern_matches(pattern, (struct text){"mutex_lock_slow", 10}));
    assert_true(pattern_matches(pattern, TEXT("a\0lock")));
    assert_false(pattern_matches(pattern, TEXT("lock_slow")));
    pattern_release(pattern);
}

static void test_error_column(void **state)
{
    (void)state;
    static const struct {
        const char *expression, *start;
    } rows[] = {
        {"foo(", "--exclude: column 5 of 'foo(': missing closing parenthesis"},
        {"ab*+*", "--exclude: column 5 of 'ab*+*': quantifier does not follow"},
        {"[a", "--exclude: column 3 of '[a': missing terminating ]"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pattern *pattern = NULL;
        const struct error *error = pattern_compile(&arena, "--exclude", rows[i].expression, &pattern);
        assert_non_null(error);
        assert_null(pattern);
        assert_int_equal(error->code, ERROR_USAGE);
        if (strncmp(error->message, rows[i].start, strlen(rows[i].start)) != 0)
            fail_msg("%s", error->message);
    }
}

/* Backtracks over all ways to part the a's: 2^60 of them without the limit. */
static void test_match_limit(void **state)
{
    (void)state;
    struct pattern *pattern = compiled("^(a+)+b$");
    assert_true(pattern_matches(pattern, TEXT("aaab")));
    assert_false(pattern_limit_hit(pattern));
    assert_false(pattern_matches(pattern, TEXT("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabc")));
    assert_true(pattern_limit_hit(pattern));
    /* It goes on after that. */
    assert_true(pattern_matches(pattern, TEXT("aaab")));
    assert_true(pattern_limit_hit(pattern));
    pattern_release(pattern);
}

static void test_captures(void **state)
{
    (void)state;
    struct pattern_matcher *matcher = pattern_matcher_new(&arena);
    struct pattern_fault fault;
    struct pattern *pattern, *other;
    struct text values[3];
    assert_true(pattern_compile_shared(&arena, matcher, TEXT("^(?<a>x+)(?<c>y)?(?<b>z*)"), &pattern, &fault));
    assert_true(pattern_compile_shared(&arena, matcher, TEXT("none"), &other, &fault));
    assert_int_equal(pattern_name_count(pattern), 3);
    assert_string_equal(pattern_name(pattern, 0), "a");
    assert_string_equal(pattern_name(pattern, 1), "b");
    assert_string_equal(pattern_name(pattern, 2), "c");
    assert_int_equal(pattern_name_count(other), 0);
    /* More often than the JIT waits for. */
    for (int i = 0; i < 200; i++) {
        assert_true(pattern_captures(pattern, TEXT("xxzzz"), values));
        assert_true(text_equals(values[0], TEXT("xx")));
        assert_true(text_equals(values[1], TEXT("zzz")));
        assert_null(values[2].data);
        assert_false(pattern_captures(other, TEXT("x"), values));
    }
    pattern_release(pattern);
    pattern_release(other);
    assert_false(pattern_compile_shared(&arena, matcher, TEXT("ab(c"), &pattern, &fault));
    assert_int_equal(fault.offset, 4);
    assert_string_equal(fault.reason, "missing closing parenthesis");
    pattern_matcher_release(matcher);
}

static void test_invalid_utf8(void **state)
{
    (void)state;
    struct pattern *pattern = compiled("lock");
    assert_true(pattern_matches(pattern, TEXT("\xff\xfe lock \xc3")));
    assert_true(pattern_matches(pattern, TEXT("\xed\xa0\x80lock")));
    assert_false(pattern_matches(pattern, TEXT("\xff\xfe\x80")));
    assert_false(pattern_limit_hit(pattern));
    pattern_release(pattern);
    /* Characters, not bytes, where they are valid. */
    pattern = compiled("^.$");
    assert_true(pattern_matches(pattern, TEXT("\xe2\x82\xac")));
    pattern_release(pattern);
    struct pattern *none = NULL;
    assert_non_null(pattern_compile(&arena, "--filter", "\xff", &none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches),     cmocka_unit_test(test_length),       cmocka_unit_test(test_error_column),
        cmocka_unit_test(test_match_limit), cmocka_unit_test(test_invalid_utf8),
        cmocka_unit_test(test_captures),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
