/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "source/proc_descriptors.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct arena arena;
static struct diagnostics diagnostics;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0, NULL);
    diagnostics_init(&diagnostics, &arena);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static const struct descriptor_class *class_of(const struct descriptors *descriptors, int fd)
{
    const struct descriptor *descriptor = descriptors_find(descriptors, fd);
    assert_non_null(descriptor);
    return &descriptors->classes[descriptor->class_number];
}

static uint64_t inode_of(int fd)
{
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    return status.st_ino;
}

/* This very process is the target. */
static void test_own(void **state)
{
    (void)state;
    int pair[2], pipes[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(pipe(pipes), 0);
    int copy = dup(pair[0]), event = eventfd(0, 0), poll = epoll_create1(0), file = open("/dev/null", O_RDONLY);
    assert_int_equal(epoll_ctl(poll, EPOLL_CTL_ADD, pair[0], &(struct epoll_event){.events = EPOLLIN}), 0);
    assert_int_equal(epoll_ctl(poll, EPOLL_CTL_ADD, event, &(struct epoll_event){.events = EPOLLIN}), 0);

    const struct descriptors *found = proc_descriptors_read((uint32_t)getpid(), &arena, &diagnostics);
    assert_non_null(found);
    assert_int_equal(diagnostics.count, 0);
    assert_int_equal(class_of(found, pair[0])->kind, DESCRIPTOR_SOCKET);
    assert_int_equal(class_of(found, pair[0])->protocol, NET_UNIX);
    assert_int_equal(class_of(found, pair[0])->state, NET_STATE_ESTABLISHED);
    assert_ptr_equal(class_of(found, copy), class_of(found, pair[0]));
    assert_int_equal(class_of(found, pipes[0])->kind, DESCRIPTOR_PIPE);
    assert_int_equal(descriptors_find(found, pipes[0])->inode, inode_of(pipes[0]));
    assert_int_equal(class_of(found, event)->kind, DESCRIPTOR_EVENTFD);
    assert_int_equal(class_of(found, poll)->kind, DESCRIPTOR_EPOLL);
    assert_int_equal(descriptors_find(found, poll)->watched, 2);
    assert_true(text_equals(class_of(found, file)->name, TEXT("/dev/null")));
    assert_true(found->count_open >= 8 && found->count_open >= found->count);
    assert_int_equal(found->count_max, sysconf(_SC_OPEN_MAX));
    assert_null(descriptors_find(found, -1));
    assert_null(descriptors_find(found, INT32_MAX));
    assert_null(descriptors_find(NULL, 0));
    for (size_t i = 1; i < found->class_count; i++)
        assert_true(found->classes[i - 1].count >= found->classes[i].count);
    int opened[] = {pair[0], pair[1], pipes[0], pipes[1], copy, event, poll, file};
    for (size_t i = 0; i < sizeof opened / sizeof opened[0]; i++)
        close(opened[i]);
}

static void test_no_process(void **state)
{
    (void)state;
    assert_null(proc_descriptors_read(UINT32_MAX, &arena, &diagnostics));
    assert_int_equal(diagnostics.count, 1);
    assert_string_equal(diagnostics.entries[0].code, "descriptors-unreadable");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_own, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_process, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
