/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "golang/case_chain.h"

/* How many are taken of 1, 2 … `count`, of which the last leads to `back`. */
static uint64_t taken(uint64_t count, uint64_t back)
{
    uint64_t number = 0;
    struct case_chain chain = {0};
    for (uint64_t at = 1; case_chain_take(&chain, at); at = at == count ? back : at + 1)
        number++;
    return number;
}

static void test_ends(void **state)
{
    (void)state;
    for (uint64_t count = 1; count < 100; count++)
        assert_int_equal(taken(count, 0), count);
    assert_int_equal(taken(limit_go_cases, 0), limit_go_cases);
    assert_int_equal(taken((uint64_t)limit_go_cases + 1, 0), limit_go_cases);
}

static void test_circles(void **state)
{
    (void)state;
    for (uint64_t count = 1; count < 100; count++)
        for (uint64_t back = 1; back <= count; back++) {
            assert_true(taken(count, back) >= count);
            assert_true(taken(count, back) <= 3 * count);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_circles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
