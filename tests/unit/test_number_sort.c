/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/number_sort.h"

enum { items_max = 5000 };

static struct numbered items[items_max], spare[items_max];

/* Keys of so many different values, spread over the bits from `shift` up; values tell the order before. */
static void fill(size_t count, uint64_t different, unsigned shift)
{
    uint64_t number = 1;
    for (size_t i = 0; i < count; i++) {
        number = number * 6364136223846793005u + 1442695040888963407u;
        items[i] = (struct numbered){(number >> 33) % different << shift, i};
    }
}

static void assert_sorted(size_t count)
{
    number_sort(items, count, spare);
    uint8_t seen[items_max] = {0};
    for (size_t i = 0; i < count; i++) {
        seen[items[i].value]++;
        assert_int_equal(seen[items[i].value], 1);
        if (i == 0)
            continue;
        assert_true(items[i - 1].key <= items[i].key);
        if (items[i - 1].key == items[i].key)
            assert_true(items[i - 1].value < items[i].value);
    }
}

static void test_any_count_and_spread(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 2, 63, 64, 65, 1000, items_max};
    static const uint64_t different[] = {1, 2, 3, 2048, 1u << 30};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        for (size_t j = 0; j < sizeof different / sizeof different[0]; j++)
            for (unsigned shift = 0; shift <= 34; shift += 17) {
                fill(counts[i], different[j], shift);
                assert_sorted(counts[i]);
            }
}

static void test_all_bits_count(void **state)
{
    (void)state;
    for (size_t i = 0; i < 128; i++)
        items[i] = (struct numbered){i % 2 == 0 ? UINT64_MAX << (i / 2) : (uint64_t)1 << (63 - i / 2), i};
    assert_sorted(128);
    assert_true(items[127].key == UINT64_MAX && items[0].key == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_count_and_spread),
        cmocka_unit_test(test_all_bits_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
