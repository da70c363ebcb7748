/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/goroutine_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_each_is_new_once(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0, NULL);
    struct goroutine_set set = goroutine_set_new(&arena);
    /* Close by, a run further, and far apart: more runs than the table begins with. */
    const uint64_t starts[] = {0, 0xc000000000, 0xc0001fff00, 0xc000400000, UINT64_MAX - 0xffff};
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
            for (uint64_t j = 0; j < 100; j++)
                assert_int_equal(goroutine_set_add(&set, starts[i] + j * 256 + (j & 31) * 8), round == 0);
        for (uint64_t j = 1; j < 1000; j++)
            assert_int_equal(goroutine_set_add(&set, (j << 30) + 0x100000), round == 0);
    }
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_is_new_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
