/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "format/thread_text.h"

static void assert_text(struct text text, const char *wanted)
{
    assert_int_equal(text.length, strlen(wanted));
    assert_memory_equal(text.data, wanted, text.length);
}

static struct thread_waits waits(const char *text)
{
    struct thread_waits result;
    assert_true(thread_waits_parse(text_from_string(text), &result));
    return result;
}

static void waits_of_all_forms(void **state)
{
    (void)state;
    struct thread_waits line =
        waits("40 on mutex 0x55d0c0 ((anonymous namespace)::log), held by thread 4711 (read): 4712 "
              "4713 … (+38)");
    assert_int_equal(line.count, 40);
    assert_text(line.kind, "mutex");
    assert_int_equal(line.address, 0x55d0c0);
    assert_text(line.name, "(anonymous namespace)::log");
    assert_int_equal(line.holder, THREAD_HOLDER_MEMBERS);
    assert_text(line.learnt, "read");
    assert_int_equal(line.more, 38);
    uint64_t id;
    assert_true(thread_id_next(&line.holders, &id));
    assert_int_equal(id, 4711);
    assert_true(thread_id_next(&line.ids, &id) && id == 4712);
    assert_true(thread_id_next(&line.ids, &id) && id == 4713);
    assert_false(thread_id_next(&line.ids, &id));

    line = waits("1 on rwlock 0x55d100 to write, held by 3 readers, not known by whom (read): 4720");
    assert_true(line.to_write);
    assert_int_equal(line.holder, THREAD_HOLDER_READERS);
    assert_int_equal(line.holder_count, 3);
    line = waits("2 on rwlock 0x55d100 to read, held by threads 1 2");
    assert_true(line.to_read);
    assert_true(thread_id_next(&line.holders, &id) && thread_id_next(&line.holders, &id) && id == 2);
    line = waits("1 on mutex 0x1, held by thread 4699, which has ended (inferred)");
    assert_int_equal(line.holder, THREAD_HOLDER_ENDED);
    assert_int_equal(line.holder_id, 4699);
    assert_text(line.learnt, "inferred");
    line = waits("1 on mutex, held by 812 of another process: 7");
    assert_int_equal(line.holder, THREAD_HOLDER_ELSEWHERE);
    assert_int_equal(line.address, 0);
    assert_int_equal(waits("1 on mutex 0x2, free").holder, THREAD_HOLDER_FREE);
    assert_int_equal(waits("1 on mutex 0x2, holder unknown (told): 3").holder, THREAD_HOLDER_UNKNOWN);
    assert_int_equal(waits("3 on cond 0x2: 4 5 6").holder, THREAD_HOLDER_NONE);
    assert_int_equal(waits("3 on goroutine, held by goroutine 5").holder, THREAD_HOLDER_MEMBERS);
}

static void lines_that_are_no_waits(void **state)
{
    (void)state;
    static const char *const lines[] = {"",
                                        "… (+3 resources)",
                                        "x on mutex",
                                        "3 mutex",
                                        "3 on ",
                                        "3 on mutex, held by",
                                        "3 on mutex 0x1 and more",
                                        "3 on mutex, held by 5"};
    struct thread_waits ignored;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        assert_false(thread_waits_parse(text_from_string(lines[i]), &ignored));
}

static void comments(void **state)
{
    (void)state;
    struct thread_comment comment =
        thread_comment_parse(TEXT("member 4712 (7 in its namespace) a worker: read fd 7, cpu 0.1 s, moved"));
    assert_int_equal(comment.kind, THREAD_COMMENT_MEMBER);
    assert_int_equal(comment.id, 4712);
    assert_text(comment.name, "a worker");
    assert_text(comment.text, "read fd 7");
    int32_t fd;
    assert_text(thread_state_split(comment.text, &fd), "read");
    assert_int_equal(fd, 7);
    assert_text(thread_state_split(TEXT("futex wait (34), read fd 7 (5)"), &fd), "futex wait (34), read fd 7 (5)");
    assert_int_equal(fd, -1);

    comment = thread_comment_parse(TEXT("trust: frame pointer 0x4011a0 to 0x401250 (7 frames)"));
    assert_int_equal(comment.kind, THREAD_COMMENT_TRUST);
    assert_text(comment.text, "frame pointer");
    assert_int_equal(comment.count, 7);
    comment = thread_comment_parse(TEXT("end: memory missing at 0x7f14"));
    assert_text(comment.text, "memory missing");
    assert_int_equal(comment.address, 0x7f14);
    comment = thread_comment_parse(TEXT("members: 1 2 … (+97)"));
    assert_int_equal(comment.count, 97);
    comment = thread_comment_parse(TEXT("lost: /a: prstatus note cut [note-cut]"));
    assert_int_equal(comment.kind, THREAD_COMMENT_LOST);
    assert_text(comment.name, "note-cut");
    assert_text(comment.text, "/a: prstatus note cut");
    assert_int_equal(thread_comment_parse(TEXT("note: a log line [see above]")).kind, THREAD_COMMENT_OTHER);
    assert_int_equal(thread_comment_parse(TEXT("note: a log line [\x1b]")).kind, THREAD_COMMENT_OTHER);
    assert_int_equal(thread_comment_parse(TEXT("note: a log line []")).kind, THREAD_COMMENT_OTHER);
    assert_int_equal(thread_comment_parse(TEXT("waiting: 3 to 11 minutes")).count, 180);
    assert_int_equal(thread_comment_parse(TEXT("waiting: 1,200 minutes")).count, 72000);
    assert_int_equal(thread_comment_parse(TEXT("waiting: 2 minutes (1 of 2)")).kind, THREAD_COMMENT_OTHER);
    assert_int_equal(thread_comment_parse(TEXT("threads: 44 of 46 in 5 groups by line")).count, 46);
    assert_int_equal(thread_comment_parse(TEXT("fingerprint: 00")).kind, THREAD_COMMENT_OTHER);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_of_all_forms),
        cmocka_unit_test(lines_that_are_no_waits),
        cmocka_unit_test(comments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
