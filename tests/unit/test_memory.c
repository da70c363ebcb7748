/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "model/memory.h"

#include <stdlib.h>
#include <string.h>

static struct arena arena;
static struct memory memory;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0, NULL);
    memory = (struct memory){.arena = &arena};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static void core(uint64_t start, const char *bytes)
{
    memory_layer_append(&memory, &memory.core,
                        (struct memory_range){start, start + strlen(bytes), (const uint8_t *)bytes});
}

static void files(uint64_t start, const char *bytes)
{
    memory_layer_insert(&memory, &memory.files,
                        (struct memory_range){start, start + strlen(bytes), (const uint8_t *)bytes});
}

static void assert_read(uint64_t address, size_t size_bytes, const char *expected)
{
    char bytes[64];
    assert_int_equal(memory_read(&memory, address, bytes, size_bytes), strlen(expected));
    assert_memory_equal(bytes, expected, strlen(expected));
}

static void test_view(void **state)
{
    (void)state;
    core(100, "abcdefgh");
    core(108, "ijkl");
    assert_int_equal(memory_layer_freeze(&memory, &memory.core), 0);
    assert_null(memory_view(&memory, 99, 1));
    assert_memory_equal(memory_view(&memory, 100, 8), "abcdefgh", 8);
    assert_null(memory_view(&memory, 100, 9)); /* a range ends between */
    assert_memory_equal(memory_view(&memory, 107, 1), "h", 1);
    assert_memory_equal(memory_view(&memory, 108, 4), "ijkl", 4);
    assert_null(memory_view(&memory, 111, 2));
    assert_null(memory_view(&memory, 112, 1));
    assert_null(memory_view(&memory, 100, SIZE_MAX));
    assert_null(memory_view(&memory, UINT64_MAX, 1));
    assert_null(memory_find(&memory, 112));
    assert_int_equal(memory_find(&memory, 111)->start, 108);
}

static void test_view_near(void **state)
{
    (void)state;
    static const char bytes[] = "abcdefghijklmnop";
    const struct {
        uint64_t start;
        size_t first, count;
    } ranges[] = {{100, 0, 4}, {104, 4, 4}, {108, 8, 4}, {112, 13, 2}, {120, 15, 1}};
    for (size_t i = 0; i < 5; i++)
        memory_layer_append(&memory, &memory.core,
                            (struct memory_range){ranges[i].start, ranges[i].start + ranges[i].count,
                                                  (const uint8_t *)bytes + ranges[i].first});
    memory_layer_freeze(&memory, &memory.core);
    struct memory_range near = {0};
    /* The first three go on in each other, in addresses and in bytes; the fourth in addresses alone. */
    assert_ptr_equal(memory_view_near(&memory, &near, 102, 8), bytes + 2);
    assert_int_equal(near.start, 100);
    assert_int_equal(near.end, 112);
    assert_ptr_equal(memory_view_near(&memory, &near, 100, 12), bytes);
    assert_null(memory_view_near(&memory, &near, 100, 13));
    assert_ptr_equal(memory_view_near(&memory, &near, 112, 2), bytes + 13);
    assert_null(memory_view_near(&memory, &near, 114, 1));
    assert_null(memory_view_near(&memory, &near, 112, 3));
    assert_int_equal(near.start, 112);
    assert_null(memory_view(&memory, 102, 8));
}

static void test_view_across(void **state)
{
    (void)state;
    core(100, "abcdefgh");
    core(108, "ijkl");
    memory_layer_freeze(&memory, &memory.core);
    files(112, "mnop");
    assert_ptr_equal(memory_view_across(&memory, 101, 7), memory_view(&memory, 101, 7));
    assert_memory_equal(memory_view_across(&memory, 106, 4), "ghij", 4);
    assert_memory_equal(memory_view_across(&memory, 101, 15), "bcdefghijklmnop", 15);
    assert_null(memory_view_across(&memory, 106, 11)); /* not all there */
    assert_null(memory_view_across(&memory, 99, 2));
}

static void test_read_across_ranges(void **state)
{
    (void)state;
    core(108, "ijkl");
    core(100, "abcdefgh");
    core(113, "nop");
    memory_layer_freeze(&memory, &memory.core);
    assert_read(106, 4, "ghij");
    assert_read(100, 40, "abcdefghijkl"); /* 112 is missing */
    assert_read(112, 4, "");
    assert_read(113, 4, "nop");
    assert_read(100, 0, "");
    uint64_t value = 7;
    assert_true(memory_read_u64(&memory, 102, &value));
    assert_int_equal(value, 0x6a69686766656463); /* c … j */
    assert_false(memory_read_u64(&memory, 106, &value));
    assert_int_equal(value, 0x6a69686766656463);
}

/* The core's byte wins wherever it has one, also inside a range of a file. */
static void test_layers(void **state)
{
    (void)state;
    core(104, "CDEF");
    memory_layer_freeze(&memory, &memory.core);
    files(100, "abcdefghijkl");
    assert_read(100, 12, "abcdCDEFijkl");
    assert_read(106, 12, "EFijkl");
    uint64_t value;
    assert_true(memory_read_u64(&memory, 100, &value));
    assert_memory_equal(&value, "abcdCDEF", 8);
    assert_true(memory_read_u64(&memory, 102, &value));
    assert_memory_equal(&value, "cdCDEFij", 8);
    assert_memory_equal(memory_view(&memory, 100, 4), "abcd", 4);
    assert_null(memory_view(&memory, 100, 5));
    assert_memory_equal(memory_view(&memory, 104, 4), "CDEF", 4);
    assert_memory_equal(memory_view(&memory, 108, 4), "ijkl", 4);
}

static void test_first_listed_wins(void **state)
{
    (void)state;
    core(110, "second");
    core(100, "a-first-that-is-long");
    core(95, "0123456789");
    assert_int_equal(memory_layer_freeze(&memory, &memory.core), 2);
    assert_read(95, 64, "01234a-first-thsecondlong");
}

static void test_equal_starts(void **state)
{
    (void)state;
    core(100, "ab");
    core(100, "ABCD");
    core(100, "xyzuvw");
    assert_int_equal(memory_layer_freeze(&memory, &memory.core), 2);
    assert_read(100, 64, "abCDvw");
}

/* One range over many: each of the many is lost. */
static void test_all_losers_count(void **state)
{
    (void)state;
    core(100, "a range that covers all others");
    core(102, "b");
    core(110, "c");
    core(120, "d");
    core(200, "e");
    assert_int_equal(memory_layer_freeze(&memory, &memory.core), 3);
    assert_int_equal(memory.core.count, 2);
}

static void test_insert_into_gaps(void **state)
{
    (void)state;
    files(104, "EF");
    files(108, "IJ");
    files(100, "abcdefghijkl");
    assert_read(100, 64, "abcdEFghIJkl");
    files(101, "????"); /* nothing is free there */
    assert_read(100, 64, "abcdEFghIJkl");
    files(110, "..mn");
    assert_read(100, 64, "abcdEFghIJklmn");
    files(90, "");
    assert_read(90, 1, "");
}

enum { space = 200, longest = 60 };

/* Ranges near each other, against a map of single bytes in which the first to claim an address keeps it. */
static void test_random_ranges(void **state)
{
    static uint8_t content[64 * longest];
    unsigned seed = 1;
    for (int round = 0; round < 3000; round++) {
        teardown(state);
        setup(state);
        int owner[2][space], taken[64] = {0};
        size_t sizes[64];
        for (int i = 0; i < space; i++)
            owner[0][i] = owner[1][i] = -1;
        int count = rand_r(&seed) % 12;
        for (int i = 0; i < count; i++) {
            /* The last third goes into the lower layer. */
            bool lower = i > count * 2 / 3;
            uint64_t start = (uint64_t)rand_r(&seed) % (space - longest);
            sizes[i] = 1 + (size_t)rand_r(&seed) % (longest - 1);
            uint8_t *bytes = content + i * longest;
            for (size_t j = 0; j < sizes[i]; j++) {
                bytes[j] = (uint8_t)rand_r(&seed);
                int *of = &owner[lower][start + j];
                if (*of < 0)
                    *of = bytes[j] + 256 * i;
                else if (!lower)
                    taken[i] = 1;
            }
            struct memory_range range = {start, start + sizes[i], bytes};
            if (lower)
                memory_layer_insert(&memory, &memory.files, range);
            else
                memory_layer_append(&memory, &memory.core, range);
        }
        size_t lost = 0;
        for (int i = 0; i < count; i++)
            lost += (size_t)taken[i];
        assert_int_equal(memory_layer_freeze(&memory, &memory.core), lost);
        for (size_t i = 1; i < memory.core.count; i++)
            assert_true(memory.core.ranges[i - 1].end <= memory.core.ranges[i].start);
        for (size_t i = 1; i < memory.files.count; i++)
            assert_true(memory.files.ranges[i - 1].end <= memory.files.ranges[i].start);

        int expected[space];
        for (int i = 0; i < space; i++)
            expected[i] = owner[0][i] >= 0 ? owner[0][i] : owner[1][i];
        for (uint64_t address = 0; address < space; address++) {
            uint8_t bytes[space], eight[8];
            size_t run = 0;
            while (address + run < space && expected[address + run] >= 0)
                run++;
            assert_int_equal(memory_read(&memory, address, bytes, sizeof bytes), run);
            for (size_t i = 0; i < run; i++)
                assert_int_equal(bytes[i], expected[address + i] & 255);
            uint64_t value;
            assert_int_equal(memory_read_u64(&memory, address, &value), run >= 8);
            if (run >= 8) {
                memcpy(eight, &value, 8);
                assert_memory_equal(eight, bytes, 8);
            }
            for (size_t size = 1; size < 20; size++) {
                const uint8_t *view = memory_view(&memory, address, size);
                assert_true(view == NULL || size <= run);
                if (view != NULL)
                    assert_memory_equal(view, bytes, size);
            }
            assert_int_equal(memory_view(&memory, address, 1) != NULL, run != 0);
        }
    }
}

static unsigned questions;

/* A target with bytes from 0x1000 to 0x2800: of each address its lowest byte. */
static size_t read_target(void *context, uint64_t address, void *ret_bytes, size_t size_bytes)
{
    (void)context;
    questions++;
    size_t count = 0;
    while (count < size_bytes && address + count >= 0x1000 && address + count < 0x2800) {
        ((uint8_t *)ret_bytes)[count] = (uint8_t)(address + count);
        count++;
    }
    return count;
}

static void assert_asked(uint64_t address, size_t size_bytes, size_t count, const char *expected, bool late)
{
    char bytes[64];
    bool is_late = !late;
    assert_int_equal(memory_ask(&memory, address, bytes, size_bytes, &is_late), count);
    assert_int_equal(is_late, late);
    assert_memory_equal(bytes, expected, count);
}

/* Copies come first, wherever they lie; what they do not have is asked once. Plain reads never ask. */
static void test_ask(void **state)
{
    (void)state;
    struct memory_target target = {.read = read_target, .bytes_left = 5 * 4096};
    core(0x1234, "copied");
    files(0x1240, "file");
    memory_layer_freeze(&memory, &memory.core);
    assert_asked(0x1238, 4, 2, "ed", false);
    memory.target = &target;
    questions = 0;
    assert_asked(0x1234, 6, 6, "copied", false);
    assert_int_equal(questions, 0);
    assert_asked(0x1232, 20, 20, "\x32\x33"
                                 "copied\x3a\x3b\x3c\x3d\x3e\x3f"
                                 "file\x44\x45", true);
    assert_asked(0x1500, 1, 1, "", true);
    assert_int_equal(questions, 1);
    assert_asked(0x1ffe, 4, 4, "\xfe\xff\x00\x01", true);
    assert_int_equal(questions, 2);
    assert_asked(0x27fe, 4, 2, "\xfe\xff", true); /* the end of what is there */
    assert_asked(0x3000, 4, 0, "", false);
    assert_read(0x1500, 1, "");
    questions = 0;
    for (int i = 0; i < 10; i++)
        assert_asked(0x9000, 1, 0, "", false);
    assert_int_equal(questions, 1); /* bytes_left */
    assert_asked(0x1600, 1, 1, "", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_view, setup, teardown),
        cmocka_unit_test_setup_teardown(test_view_near, setup, teardown),
        cmocka_unit_test_setup_teardown(test_view_across, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_across_ranges, setup, teardown),
        cmocka_unit_test_setup_teardown(test_layers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_first_listed_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(test_equal_starts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_losers_count, setup, teardown),
        cmocka_unit_test_setup_teardown(test_insert_into_gaps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_ranges, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ask, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
