/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/diagnostics.h"
#include "base/limits.h"

#include <stdio.h>

static struct arena arena;
static struct diagnostics diagnostics;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0, NULL);
    diagnostics_init(&diagnostics, &arena);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static void test_merge(void **state)
{
    (void)state;
    diagnostics_add(&diagnostics, DIAGNOSTIC_NOTE, "cut", TEXT("a"), "first %d", 1);
    diagnostics_add(&diagnostics, DIAGNOSTIC_NOTE, "cut", TEXT("b"), "second");
    diagnostics_add(&diagnostics, DIAGNOSTIC_NOTE, "missing", TEXT("a"), "third");
    diagnostics_add(&diagnostics, DIAGNOSTIC_LOST, "cut", TEXT("a"), "fourth");
    struct diagnostic *last = diagnostics_add(&diagnostics, DIAGNOSTIC_LOSS, "cut", TEXT("a"), "fifth");
    assert_int_equal(diagnostics.count, 3);
    assert_ptr_equal(last, &diagnostics.entries[0]);
    assert_string_equal(last->message, "first 1");
    assert_string_equal(last->subject, "a");
    assert_int_equal(last->count, 3);
    assert_int_equal(last->weight, DIAGNOSTIC_LOST);
    assert_int_equal(diagnostics.entries[1].count, 1);
    assert_string_equal(diagnostics.entries[2].code, "missing");
    assert_int_equal(diagnostics.suppressed, 0);
}

/* The subject is copied: it may be a borrowed run of bytes without a NUL. */
static void test_subject_is_copied(void **state)
{
    (void)state;
    char path[] = "/lib/x.so and more";
    diagnostics_add(&diagnostics, DIAGNOSTIC_NOTE, "cut", (struct text){path, 9}, "message");
    path[0] = '?';
    assert_string_equal(diagnostics.entries[0].subject, "/lib/x.so");
    assert_string_equal(diagnostics_add(&diagnostics, DIAGNOSTIC_NOTE, "none", TEXT(""), "m")->subject, "");
}

/* `count` kinds, spread over as many codes as the ceiling of one asks for. */
static void add_kinds(int count)
{
    static const char *const codes[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    _Static_assert(limit_diagnostics / limit_diagnostics_of_code <= 8, "enough codes");
    char subject[16];
    for (int i = 0; i < count; i++) {
        snprintf(subject, sizeof subject, "%d", i);
        diagnostics_add(&diagnostics, DIAGNOSTIC_NOTE, codes[i / limit_diagnostics_of_code], text_from_string(subject), "m");
    }
}

static void test_ceiling(void **state)
{
    (void)state;
    char subject[16];
    add_kinds(limit_diagnostics);
    assert_int_equal(diagnostics.count, limit_diagnostics);
    assert_int_equal(diagnostics.suppressed, 0);
    for (int i = 0; i < 10; i++) {
        snprintf(subject, sizeof subject, "more %d", i);
        assert_non_null(diagnostics_add(&diagnostics, DIAGNOSTIC_NOTE, "other", text_from_string(subject), "m"));
    }
    assert_int_equal(diagnostics.count, limit_diagnostics);
    assert_int_equal(diagnostics.suppressed, 10);
    /* Known kinds are still counted. */
    assert_int_equal(diagnostics_add(&diagnostics, DIAGNOSTIC_NOTE, "a", TEXT("0"), "m")->count, 2);
}

/* One code with a subject for each thread leaves room for the others. */
static void test_ceiling_of_a_code(void **state)
{
    (void)state;
    char subject[16];
    for (int i = 0; i < limit_diagnostics; i++) {
        snprintf(subject, sizeof subject, "%d", i);
        diagnostics_add(&diagnostics, DIAGNOSTIC_LOSS, "unwinders-differ", text_from_string(subject), "m");
    }
    assert_int_equal(diagnostics.count, limit_diagnostics_of_code);
    diagnostics_add(&diagnostics, DIAGNOSTIC_NOTE, "summary", TEXT(""), "m");
    assert_string_equal(diagnostics.entries[diagnostics.count - 1].code, "summary");
}

/* Whatever else was lost before: lost threads must reach the exit code, which looks at the entries. */
static void test_weight_survives_ceiling(void **state)
{
    (void)state;
    add_kinds(limit_diagnostics);
    diagnostics_add(&diagnostics, DIAGNOSTIC_LOST, "threads-lost", TEXT(""), "m");
    bool lost = false;
    for (size_t i = 0; i < diagnostics.count; i++)
        lost |= diagnostics.entries[i].weight == DIAGNOSTIC_LOST;
    assert_true(lost);
}

static void test_long_message_is_cut(void **state)
{
    (void)state;
    const char *message =
        diagnostics_add(&diagnostics, DIAGNOSTIC_NOTE, "long", TEXT(""), "%0*d", 100000, 1)->message;
    assert_in_range(strlen(message), 500, 1100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_merge, setup, teardown),
        cmocka_unit_test_setup_teardown(test_subject_is_copied, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ceiling, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ceiling_of_a_code, setup, teardown),
        cmocka_unit_test_setup_teardown(test_weight_survives_ceiling, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_message_is_cut, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
