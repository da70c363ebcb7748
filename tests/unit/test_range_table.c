/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "symbol/range_table.h"

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

static const uint32_t nothing = UINT32_MAX;

static uint32_t found(const struct range_table *table, uint64_t address)
{
    uint32_t value = nothing;
    range_table_find(table, address, &value);
    return value;
}

static void test_innermost(void **state)
{
    (void)state;
    struct range_table table = {0};
    range_table_append(&table, &arena, 50, 60, 3);
    range_table_append(&table, &arena, 10, 100, 1);
    range_table_append(&table, &arena, 20, 40, 2);
    range_table_append(&table, &arena, 30, 30, 4); /* empty */
    range_table_append(&table, &arena, 90, 80, 5); /* damaged */
    range_table_freeze(&table);
    assert_int_equal(table.count, 3);
    assert_int_equal(found(&table, 9), nothing);
    assert_int_equal(found(&table, 10), 1);
    assert_int_equal(found(&table, 30), 2);
    assert_int_equal(found(&table, 40), 1);
    assert_int_equal(found(&table, 59), 3);
    assert_int_equal(found(&table, 99), 1);
    assert_int_equal(found(&table, 100), nothing);
    assert_int_equal(found(&table, UINT64_MAX), nothing);
}

static void test_first_of_equal_starts(void **state)
{
    (void)state;
    struct range_table table = {0};
    range_table_append(&table, &arena, 10, 20, 1);
    range_table_append(&table, &arena, 10, 20, 2);
    range_table_append(&table, &arena, 10, 30, 3);
    range_table_freeze(&table);
    assert_int_equal(found(&table, 15), 1);
    assert_int_equal(found(&table, 25), 3);
}

static void test_empty(void **state)
{
    (void)state;
    struct range_table table = {0};
    range_table_freeze(&table);
    assert_int_equal(found(&table, 0), nothing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_innermost),
        cmocka_unit_test(test_first_of_equal_starts),
        cmocka_unit_test(test_empty),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
