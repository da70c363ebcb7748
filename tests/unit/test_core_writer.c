/* SPDX-License-Identifier: Apache-2.0 */
/* What core_writer writes is read back by source_core. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/limits.h"
#include "source/core_writer.h"
#include "source/source_core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct arena arena;
static struct image image, copy;
static struct core_source source = {.file.fd = -1};
static struct diagnostics diagnostics;
static uint8_t bytes[4096];

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0, NULL);
    image = (struct image){.arch = &arch_x86_64, .source_kind = "process", .pid = 77, .command = TEXT("name"),
                           .arguments = TEXT("name with arguments")};
    image.memory.arena = &arena;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    source_core_close(&source);
    arena_deinit(&arena);
    return 0;
}

static void add_mapping(uint64_t start, uint64_t end, const char *path, uint64_t offset, uint8_t access)
{
    static size_t capacity;
    if (image.mapping_count == 0)
        capacity = 0;
    image.mappings = arena_grow(&arena, image.mappings, image.mapping_count, &capacity, sizeof *image.mappings);
    image.mappings[image.mapping_count++] =
        (struct mapping){start, end, offset, text_from_string(path), index_none, access};
}

static void add_range(uint64_t start, uint64_t end)
{
    memory_layer_append(&image.memory, &image.memory.core, (struct memory_range){start, end, bytes});
}

static void add_threads(const struct thread *threads, size_t count)
{
    image.threads = arena_array(&arena, struct thread, count);
    memcpy(image.threads, threads, count * sizeof *threads);
    image.thread_count = image.thread_count_claimed = count;
}

static uint64_t write_and_read(void)
{
    char path[64];
    int fd = memfd_create("core", MFD_CLOEXEC);
    assert_true(fd >= 0);
    memory_layer_freeze(&image.memory, &image.memory.core);
    assert_int_equal(core_writer_write(&image, fd, &arena), 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    diagnostics_init(&diagnostics, &arena);
    const struct error *error = source_core_open(path, &arena, &diagnostics, &source, &copy);
    close(fd);
    if (error != NULL)
        fail_msg("%s", error->message);
    for (size_t i = 0; i < diagnostics.count; i++)
        if (strcmp(diagnostics.entries[i].code, "auxv-missing") != 0 || image.auxv.length != 0)
            fail_msg("%s", diagnostics.entries[i].message);
    return source.file.size_bytes;
}

/* Bytes in the middle of a mapping, at its start, across two, and where nothing is mapped. */
static void test_memory(void **state)
{
    (void)state;
    static const uint8_t registers[27 * 8];
    add_threads((struct thread[]){{.tid = 77, .registers = registers}}, 1);
    add_mapping(0x10000, 0x20000, "/lib/a", 0, MAPPING_READ);
    add_mapping(0x20000, 0x30000, "/lib/a", 0x10000, MAPPING_READ | MAPPING_EXECUTE);
    add_mapping(0x50000, 0x60000, "", 0, MAPPING_READ | MAPPING_WRITE);
    add_mapping(0x60000, 0x61000, "", 0, MAPPING_READ | MAPPING_WRITE);
    add_range(0x10000, 0x11000);
    add_range(0x40000, 0x40100);
    add_range(0x52000, 0x52800);
    add_range(0x5fff0, 0x60010);
    write_and_read();
    for (size_t i = 0; i < image.memory.core.count; i++) {
        const struct memory_range *range = &image.memory.core.ranges[i];
        uint8_t got[4096];
        size_t size_bytes = range->end - range->start;
        assert_int_equal(memory_read(&copy.memory, range->start, got, size_bytes), size_bytes);
        assert_memory_equal(got, range->bytes, size_bytes);
    }
    uint8_t byte;
    static const uint64_t missing[] = {0x11000, 0x20000, 0x3ffff, 0x40100, 0x51fff, 0x52800, 0x60010};
    for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++)
        assert_int_equal(memory_read(&copy.memory, missing[i], &byte, 1), 0);
    for (size_t i = 0; i < image.mapping_count; i++)
        for (uint64_t at = image.mappings[i].start; at < image.mappings[i].end; at += 0x800) {
            const struct mapping *mapping = image_find_mapping(&copy, at);
            assert_non_null(mapping);
            assert_int_equal(mapping->access, image.mappings[i].access);
            assert_true(text_equals(mapping->path, image.mappings[i].path));
        }
    assert_null(image_find_mapping(&copy, 0x40100));
    assert_int_equal(copy.pid, 77);
    assert_true(text_equals(copy.command, image.command) && text_equals(copy.arguments, image.arguments));
    assert_string_equal(copy.written_by, "stackgroup");
}

static void test_threads(void **state)
{
    (void)state;
    uint8_t registers[27 * 8];
    for (size_t i = 0; i < sizeof registers; i++)
        registers[i] = (uint8_t)i;
    add_mapping(0x10000, 0x20000, "", 0, MAPPING_READ);
    add_threads((struct thread[]){{.tid = 77, .registers = registers, .cpu_known = true, .name = TEXT("main")},
                                  {.tid = 78, .state = "not stopped (state D)", .name = TEXT(""), .namespace_tid = 5, .registers_known = 0x10080},
                                  {.tid = 79, .registers = registers, .cpu_known = true,
                                   .cpu_microseconds = 12345678, .name = TEXT("a \n\xff b")}},
                3);
    write_and_read();
    assert_int_equal(copy.thread_count, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct thread *from = &image.threads[i], *to = &copy.threads[i];
        assert_int_equal(to->tid, from->tid);
        assert_int_equal(to->namespace_tid, from->namespace_tid);
        assert_int_equal(to->registers_known, from->registers_known);
        assert_int_equal(to->cpu_known, from->cpu_known);
        assert_int_equal(to->cpu_microseconds, from->cpu_microseconds);
        assert_true(text_equals(to->name, from->name));
        assert_int_equal(to->registers == NULL, from->registers == NULL);
        if (from->registers != NULL)
            assert_memory_equal(to->registers, registers, sizeof registers);
        assert_int_equal(to->state == NULL, from->state == NULL);
        if (from->state != NULL)
            assert_string_equal(to->state, from->state);
    }
}

/* PN_XNUM: at and past what e_phnum can say. */
static void test_many_segments(void **state)
{
    (void)state;
    static const uint8_t registers[27 * 8];
    static const size_t counts[] = {65533, 65534, 70000};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        setup(NULL);
        add_threads((struct thread[]){{.tid = 77, .registers = registers}}, 1);
        for (size_t j = 0; j < counts[i]; j++)
            add_mapping(0x10000 + j * 0x2000, 0x11000 + j * 0x2000, "", 0, MAPPING_READ);
        uint64_t last = 0x10000 + (counts[i] - 1) * 0x2000;
        add_range(last, last + 8);
        write_and_read();
        assert_int_equal(copy.mapping_count, counts[i]);
        assert_int_equal(memory_read(&copy.memory, last, (uint8_t[8]){0}, 8), 8);
        teardown(NULL);
    }
    setup(NULL);
}

static void test_failed_write(void **state)
{
    (void)state;
    add_threads((struct thread[]){{.tid = 77}}, 1);
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    assert_int_equal(core_writer_write(&image, fd[0], &arena), 9); /* EBADF: the reading end */
    close(fd[0]);
    close(fd[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_segments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_write, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
