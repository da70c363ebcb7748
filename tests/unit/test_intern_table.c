/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/intern_table.h"

#include <stdio.h>

static struct arena arena;
static struct intern_table table;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0, NULL);
    intern_table_init(&table, &arena);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static void test_empty_is_zero(void **state)
{
    (void)state;
    assert_int_equal(intern_table_add(&table, TEXT("")), 0);
    assert_int_equal(intern_table_add(&table, (struct text){NULL, 0}), 0);
    assert_int_equal(intern_table_text(&table, 0).length, 0);
    assert_int_equal(table.count, 1);
}

static void test_equal_bytes_equal_number(void **state)
{
    (void)state;
    char text[] = "abc\0def";
    uint32_t whole = intern_table_add(&table, (struct text){text, 7});
    uint32_t head = intern_table_add(&table, (struct text){text, 3});
    assert_int_not_equal(whole, head);
    text[0] = 'x';
    assert_int_equal(intern_table_add(&table, TEXT("abc")), head);
    assert_int_equal(intern_table_add(&table, TEXT("abc\0def")), whole);
    assert_string_equal(intern_table_text(&table, head).data, "abc");
    assert_int_equal(intern_table_text(&table, whole).data[7], 0);
}

/* Through several resizes: 20,000 texts, each twice, numbered in order of appearance. */
static void test_many(void **state)
{
    (void)state;
    char text[32];
    for (int round = 0; round < 2; round++)
        for (uint32_t i = 0; i < 20000; i++) {
            int length = snprintf(text, sizeof text, "name %u", i);
            assert_int_equal(intern_table_add(&table, (struct text){text, (size_t)length}), i + 1);
        }
    assert_int_equal(table.count, 20001);
    for (uint32_t i = 0; i < 20000; i += 997) {
        snprintf(text, sizeof text, "name %u", i);
        assert_string_equal(intern_table_text(&table, i + 1).data, text);
    }
}

static void test_hash(void **state)
{
    (void)state;
    assert_int_equal(hash_bytes("abc", 3, 0), hash_bytes("abc", 3, 0));
    assert_int_not_equal(hash_bytes("abc", 3, 0), hash_bytes("abc", 3, 1));
    assert_int_not_equal(hash_bytes("abc", 3, 0), hash_bytes("abd", 3, 0));
    assert_int_not_equal(hash_bytes("", 0, 0), hash_bytes("\0", 1, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_empty_is_zero, setup, teardown),
        cmocka_unit_test_setup_teardown(test_equal_bytes_equal_number, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test(test_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
