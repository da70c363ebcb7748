/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/arena.h"

#include <stdbool.h>
#include <string.h>

enum { chunk_bytes = 64 * 1024 };

#ifndef __has_feature
#define __has_feature(name) 0
#endif

static void test_zeroed_and_aligned(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0, NULL);
    for (size_t size = 1; size < 200; size += 7) {
        unsigned char *bytes = arena_alloc(&arena, 1, size);
        assert_int_equal((uintptr_t)bytes % 16, 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(bytes[i], 0);
        memset(bytes, 0xff, size);
    }
    assert_non_null(arena_alloc(&arena, 0, 8));
    assert_non_null(arena_alloc(&arena, 8, 0));
    arena_deinit(&arena);
}

/* Reset hands out the same memory again, zeroed again. */
static void test_reset(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0, NULL);
    arena_reset(&arena);
    assert_int_equal(arena.size_bytes, 0);
    for (int round = 0; round < 3; round++) {
        memset(arena_alloc(&arena, 10, chunk_bytes), 0xff, 10 * chunk_bytes);
        memset(arena_alloc(&arena, 1, 100), 0xff, 100);
        arena_reset(&arena);
        const unsigned char *bytes = arena_alloc(&arena, 1, 1000);
        for (size_t i = 0; i < 1000; i++)
            assert_int_equal(bytes[i], 0);
    }
    assert_true(arena.size_bytes <= 11 * chunk_bytes);
    arena_deinit(&arena);
    assert_int_equal(arena.size_bytes, 0);
}

/* An array that fills several chunks keeps its elements, and the new ones are zero. */
static void test_grow(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0, NULL);
    uint64_t *array = NULL;
    size_t capacity = 0;
    for (size_t count = 0; count < 50000; count++) {
        array = arena_grow(&arena, array, count, &capacity, sizeof *array);
        assert_true(count < capacity);
        assert_int_equal(array[count], 0);
        array[count] = count * 3 + 1;
    }
    for (size_t i = 0; i < 50000; i++)
        assert_int_equal(array[i], i * 3 + 1);
    arena_deinit(&arena);
}

static void test_grow_in_place(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0, NULL);
    size_t capacity = 0;
    uint32_t *array = arena_grow(&arena, NULL, 0, &capacity, sizeof *array);
    size_t old_capacity = capacity;
    for (size_t i = 0; i < capacity; i++)
        array[i] = (uint32_t)i + 1;
    uint32_t *same = arena_grow(&arena, array, old_capacity - 1, &capacity, sizeof *array);
    assert_ptr_equal(same, array);
    assert_int_equal(capacity, old_capacity);
    uint32_t *grown = arena_grow(&arena, array, old_capacity, &capacity, sizeof *array);
#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer)
    assert_ptr_equal(grown, array);
#endif
    assert_true(capacity > old_capacity);
    /* Something else behind it: the array moves, and neither runs into the other. */
    uint32_t *other = arena_array(&arena, uint32_t, 4);
    memset(other, 0xee, 16);
    size_t full = capacity;
    uint32_t *moved = arena_grow(&arena, grown, full, &capacity, sizeof *array);
    assert_ptr_not_equal(moved, grown);
    for (size_t i = full; i < capacity; i++)
        assert_int_equal(moved[i], 0);
    memset(moved, 0x11, capacity * sizeof *moved);
    assert_int_equal(other[0], 0xeeeeeeee);
    assert_int_equal(other[3], 0xeeeeeeee);
    for (size_t i = 0; i < old_capacity; i++)
        assert_int_equal(grown[i], i + 1);
    arena_deinit(&arena);
}

/* 3-byte elements: the rounding to 16 bytes of what was allocated must not confuse the growth. */
static void test_grow_odd_size(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0, NULL);
    unsigned char *array = NULL;
    size_t capacity = 0;
    for (size_t count = 0; count < 1000; count++) {
        array = arena_grow(&arena, array, count, &capacity, 3);
        memset(array + 3 * count, (int)(count & 0xff), 3);
    }
    for (size_t i = 0; i < 3000; i++)
        assert_int_equal(array[i], i / 3 & 0xff);
    arena_deinit(&arena);
}

static void test_limit_jumps(void **state)
{
    (void)state;
    struct arena arena;
    jmp_buf exhausted;
    volatile size_t taken = 0;
    arena_init(&arena, 10 * chunk_bytes, &exhausted);
    if (setjmp(exhausted) == 0) {
        for (;;) {
            memset(arena_alloc(&arena, 1, 1000), 1, 1000);
            taken += 1000;
        }
    }
    assert_in_range(taken, 9 * chunk_bytes, 10 * chunk_bytes);
    assert_true(arena.size_bytes <= 10 * chunk_bytes);
    /* Still valid: after a reset it gives again. */
    if (setjmp(exhausted) == 0) {
        arena_reset(&arena);
        assert_non_null(arena_alloc(&arena, 1, 1000));
    } else {
        fail();
    }
    arena_deinit(&arena);
}

static bool jumps(size_t count, size_t size)
{
    struct arena arena;
    jmp_buf exhausted;
    arena_init(&arena, 1 << 20, &exhausted);
    volatile bool jumped = setjmp(exhausted) != 0;
    if (!jumped)
        arena_alloc(&arena, count, size);
    arena_deinit(&arena);
    return jumped;
}

static void test_overflow_jumps(void **state)
{
    (void)state;
    assert_false(jumps(1, 1 << 19));
    assert_true(jumps(1, (1 << 20) + 1));
    assert_true(jumps(SIZE_MAX, 1));
    assert_true(jumps(SIZE_MAX - 15, 1));
    assert_true(jumps(SIZE_MAX / 2 + 1, 2));
    assert_true(jumps((size_t)1 << 33, (size_t)1 << 33)); /* 2^66 is 4 modulo 2^64 */
}

static void test_overflow_of_growth_jumps(void **state)
{
    (void)state;
    struct arena arena;
    jmp_buf exhausted;
    arena_init(&arena, 1 << 20, &exhausted);
    volatile bool jumped = setjmp(exhausted) != 0;
    if (!jumped) {
        size_t capacity = (size_t)1 << 62;
        arena_grow(&arena, arena_alloc(&arena, 1, 16), capacity, &capacity, 8);
    }
    assert_true(jumped);
    arena_deinit(&arena);
}

static void test_printf(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0, NULL);
    assert_string_equal(arena_printf(&arena, "%s %d", "a", 7), "a 7");
    assert_string_equal(arena_printf(&arena, "%s", ""), "");
    assert_int_equal(strlen(arena_printf(&arena, "%*d", 100000, 1)), 100000);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zeroed_and_aligned),       cmocka_unit_test(test_reset),
        cmocka_unit_test(test_grow),                     cmocka_unit_test(test_grow_in_place),
        cmocka_unit_test(test_grow_odd_size),            cmocka_unit_test(test_limit_jumps),
        cmocka_unit_test(test_overflow_jumps),           cmocka_unit_test(test_overflow_of_growth_jumps),
        cmocka_unit_test(test_printf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
