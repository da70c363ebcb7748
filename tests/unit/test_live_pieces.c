/* SPDX-License-Identifier: Apache-2.0 */
/* The process copies from itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "source/live_pieces.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { page_bytes = 4096, memory_pages = 1024, places_bytes = 16 << 20 };

static struct arena arena;
static struct live_copier copier;
static struct live_pieces pieces;
static uint8_t *memory;
static int memory_fd;

static uint8_t pattern(size_t at)
{
    return (uint8_t)(at * 31 + at / page_bytes);
}

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0, NULL);
    memory_fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    memory = mmap(NULL, (size_t)memory_pages * page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < (size_t)memory_pages * page_bytes; i++)
        memory[i] = pattern(i);
    pieces = (struct live_pieces){0};
    return memory_fd >= 0 && live_copier_open(&copier, (uint32_t)getpid(), memory_fd, places_bytes) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    live_copier_close(&copier);
    close(memory_fd);
    munmap(memory, (size_t)memory_pages * page_bytes);
    arena_deinit(&arena);
    return 0;
}

static uint64_t address(size_t at)
{
    return (uint64_t)(uintptr_t)memory + at;
}

static void add(size_t at, size_t size_bytes)
{
    live_pieces_add(&pieces, &arena, address(at), size_bytes);
}

static void assert_copied(const struct live_piece *piece, uint64_t copied)
{
    assert_int_equal(piece->copied, copied);
    for (size_t i = 0; i < copied; i++)
        assert_int_equal(piece->bytes[i], pattern((size_t)(piece->start - address(0)) + i));
}

static void test_neighbours_are_merged(void **state)
{
    (void)state;
    add(1000, 100);
    add(0, 500);
    add(400, 200);  /* overlaps */
    add(1116, 10);  /* 16 bytes behind */
    add(1143, 10);  /* 17 */
    add(1050, 20);  /* within */
    add(5000, 0);   /* none */
    live_pieces_place(&pieces, &copier, 16);
    assert_int_equal(pieces.count, 3);
    assert_true(live_pieces_copy(&pieces, &copier));
    assert_int_equal(pieces.items[1].start, address(1000));
    assert_copied(&pieces.items[0], 600);
    assert_copied(&pieces.items[1], 126);
    assert_copied(&pieces.items[2], 10);
    assert_ptr_equal(live_pieces_find(&pieces, address(1100), 26), &pieces.items[1]);
    assert_null(live_pieces_find(&pieces, address(1100), 27));
    assert_null(live_pieces_find(&pieces, address(999), 1));
    assert_null(live_pieces_find(&pieces, address(1153), 1));
}

/* More ranges than one call takes, and one of more bytes. */
static void copy_many(void)
{
    for (size_t i = 0; i < 3000; i++)
        add(i * 64, 24);
    add(256 * page_bytes, (size_t)700 * page_bytes + 8);
    live_pieces_place(&pieces, &copier, 0);
    assert_int_equal(pieces.count, 3001);
    assert_true(live_pieces_copy(&pieces, &copier));
    for (size_t i = 0; i < 3000; i++)
        assert_copied(&pieces.items[i], 24);
    assert_copied(&pieces.items[3000], (uint64_t)700 * page_bytes + 8);
}

static void test_many(void **state)
{
    (void)state;
    copy_many();
}

static void test_without_the_call(void **state)
{
    (void)state;
    copier.is_refused = true;
    copy_many();
}

/* What is not mapped costs itself alone. */
static void copy_holes(void)
{
    assert_int_equal(munmap(memory + 2 * page_bytes, page_bytes), 0);
    add(page_bytes, 8);
    add(2 * page_bytes - 8, 16); /* half of it is there */
    add(2 * page_bytes + 100, 8);
    add(3 * page_bytes - 4, 8);
    add(3 * page_bytes + 8, 8);
    live_pieces_place(&pieces, &copier, 0);
    assert_true(live_pieces_copy(&pieces, &copier));
    assert_copied(&pieces.items[0], 8);
    assert_copied(&pieces.items[1], 8);
    assert_copied(&pieces.items[2], 0);
    assert_copied(&pieces.items[3], 0);
    assert_copied(&pieces.items[4], 8);
    struct memory copied = {.arena = &arena};
    live_pieces_append(&pieces, &copied, &copied.core);
    assert_int_equal(copied.core.count, 3);
}

static void test_holes(void **state)
{
    (void)state;
    copy_holes();
}

static void test_holes_without_the_call(void **state)
{
    (void)state;
    copier.is_refused = true;
    copy_holes();
}

static void test_second_copy_counts(void **state)
{
    (void)state;
    add(0, 16);
    live_pieces_place(&pieces, &copier, 0);
    assert_true(live_pieces_copy(&pieces, &copier));
    memory[3] = 0xee;
    assert_true(live_pieces_copy(&pieces, &copier));
    assert_int_equal(pieces.items[0].bytes[3], 0xee);
    copier.deadline = 1;
    assert_true(live_copier_time_is_up(&copier));
    assert_false(live_pieces_copy(&pieces, &copier));
    assert_int_equal(pieces.items[0].copied, 0);
}

static void test_no_place_left(void **state)
{
    (void)state;
    copier.places_used = copier.places_bytes - 24;
    add(0, 16);
    add(100, 16);
    add(200, 8);
    live_pieces_place(&pieces, &copier, 0);
    assert_true(live_pieces_copy(&pieces, &copier));
    assert_copied(&pieces.items[0], 16);
    assert_null(pieces.items[1].bytes);
    assert_copied(&pieces.items[2], 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_neighbours_are_merged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_the_call, setup, teardown),
        cmocka_unit_test_setup_teardown(test_holes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_holes_without_the_call, setup, teardown),
        cmocka_unit_test_setup_teardown(test_second_copy_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_place_left, setup, teardown),
    };
    return cmocka_run_group_tests_name("live_pieces", tests, NULL, NULL);
}
