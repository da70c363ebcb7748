/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "format/proc_fd.h"

static void assert_link(const char *link, const char *kind, uint64_t inode, const char *name)
{
    struct fd_link parsed = fd_link_parse(text_from_string(link));
    assert_string_equal(descriptor_kind_name(parsed.kind), kind);
    assert_int_equal(parsed.inode, inode);
    if (!text_equals(parsed.name, text_from_string(name)))
        fail_msg("%s: name '%.*s'", link, (int)parsed.name.length, parsed.name.data);
}

static void test_links(void **state)
{
    (void)state;
    assert_link("socket:[1559426]", "socket", 1559426, "");
    assert_link("pipe:[12]", "pipe", 12, "");
    assert_link("/var/log/a.log (deleted)", "file", 0, "/var/log/a.log (deleted)");
    assert_link("/dev/null", "file", 0, "/dev/null");
    assert_link("anon_inode:[eventpoll]", "epoll", 0, "");
    assert_link("anon_inode:[eventfd]", "eventfd", 0, "");
    assert_link("anon_inode:[timerfd]", "timerfd", 0, "");
    assert_link("anon_inode:[signalfd]", "signalfd", 0, "");
    assert_link("anon_inode:inotify", "inotify", 0, "");
    assert_link("anon_inode:[io_uring]", "other", 0, "[io_uring]");
    assert_link("net:[4026531840]", "other", 0, "net:[4026531840]");
}

static void test_odd_links(void **state)
{
    (void)state;
    assert_link("", "other", 0, "");
    assert_link("socket:[]", "other", 0, "socket:[]");
    assert_link("socket:[12", "other", 0, "socket:[12");
    assert_link("socket:[12]x", "other", 0, "socket:[12]x");
    assert_link("socket:[18446744073709551616]", "other", 0, "socket:[18446744073709551616]");
}

static void test_watch(void **state)
{
    (void)state;
    assert_true(fdinfo_line_is_watch(TEXT("tfd:        3 events:       1f data:                3  pos:0 ino:13ce1a sdev:9")));
    assert_false(fdinfo_line_is_watch(TEXT("flags:\t02000002")));
    assert_false(fdinfo_line_is_watch(TEXT("tfd")));
}

static void test_limits(void **state)
{
    (void)state;
    uint64_t count = 7, hard = 0;
    struct text limits = TEXT("Limit                     Soft Limit           Hard Limit           Units     \n"
                              "Max processes             63434                63434                processes \n"
                              "Max open files            1024                 524288               files     \n");
    assert_true(proc_limits_open_files(limits, &count, &hard));
    assert_int_equal(count, 1024);
    assert_int_equal(hard, 524288);
    count = 7;
    assert_false(proc_limits_open_files(TEXT("Max open files            unlimited  unlimited files\n"), &count, &hard));
    assert_false(proc_limits_open_files(TEXT("Max open files "), &count, &hard));
    assert_false(proc_limits_open_files(TEXT("Max processes 1 1"), &count, &hard));
    assert_false(proc_limits_open_files((struct text){NULL, 0}, &count, &hard));
    assert_int_equal(count, 7);
    assert_true(proc_limits_open_files(TEXT("Max open files 100 unlimited files\n"), &count, &hard));
    assert_int_equal(count, 100);
    assert_int_equal(hard, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links), cmocka_unit_test(test_odd_links), cmocka_unit_test(test_watch),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
