/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/test_file.XXXXXX";
static char path[64];

static int setup(void **state)
{
    (void)state;
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/f", directory);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return rmdir(directory);
}

static void write_file(const char *content)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void assert_refused(const char *name, int expected)
{
    struct file_mapping mapping = {.fd = -7};
    assert_int_equal(file_map(name, &mapping), expected);
    assert_int_equal(mapping.fd, -7);
    uint64_t size_bytes = 12345;
    errno = 0;
    assert_int_equal(file_open_regular(name, &size_bytes), -1);
    assert_int_equal(errno, expected);
    assert_int_equal(size_bytes, 12345);
}

static void test_map(void **state)
{
    (void)state;
    write_file("content");
    struct file_mapping mapping;
    assert_int_equal(file_map(path, &mapping), 0);
    assert_int_equal(mapping.size_bytes, 7);
    assert_memory_equal(mapping.bytes, "content", 7);
    assert_int_equal(fcntl(mapping.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    int fd = mapping.fd;
    file_unmap(&mapping);
    assert_int_equal(mapping.fd, -1);
    assert_null(mapping.bytes);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    file_unmap(&mapping); /* nothing is open any more */
    unlink(path);
}

static void test_empty(void **state)
{
    (void)state;
    write_file("");
    struct file_mapping mapping;
    assert_int_equal(file_map(path, &mapping), 0);
    assert_null(mapping.bytes);
    assert_int_equal(mapping.size_bytes, 0);
    assert_true(mapping.fd >= 0);
    file_unmap(&mapping);
    unlink(path);
}

/* Nobody writes to it: an open without O_NONBLOCK would hang. */
/* Pages are given back, and come again when they are asked for. */
static void test_drop_pages(void **state)
{
    (void)state;
    enum { size_bytes = (64 << 20) + 4099 };
    struct worker worker = {0};
    struct file_mapping mapping;
    write_file("first");
    assert_int_equal(truncate(path, size_bytes), 0);
    assert_int_equal(file_map(path, &mapping), 0);
    for (int i = 0; i < 2; i++) {
        assert_memory_equal(mapping.bytes, "first", 5);
        assert_int_equal(mapping.bytes[size_bytes / 2], 0);
        assert_int_equal(mapping.bytes[size_bytes - 1], 0);
        file_drop_pages(&mapping, &worker);
        assert_false(worker.is_running);
    }
    file_unmap(&mapping);
    file_drop_pages(&mapping, &worker);
    assert_int_equal(unlink(path), 0);
}

static void test_fifo(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(10);
    assert_refused(path, EINVAL);
    alarm(0);
    unlink(path);
}

static void test_no_regular_file(void **state)
{
    (void)state;
    assert_refused(directory, EISDIR);
    assert_refused("/dev/null", EINVAL);
    assert_refused(path, ENOENT);
    assert_refused("/dev/null/x", ENOTDIR);
    assert_int_equal(symlink(path, path), 0);
    assert_refused(path, ELOOP);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_drop_pages),
        cmocka_unit_test(test_fifo),
        cmocka_unit_test(test_no_regular_file),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
