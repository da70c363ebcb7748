/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "format/goroutine_text.h"
#include "format/heap_text.h"

static void assert_text(struct text text, const char *wanted)
{
    assert_int_equal(text.length, strlen(wanted));
    assert_memory_equal(text.data, wanted, text.length);
}

static struct goroutine_header header(const char *line)
{
    struct goroutine_header result;
    assert_true(goroutine_header_parse(text_from_string(line), &result));
    return result;
}

static void headers_of_all_versions(void **state)
{
    (void)state;
    struct goroutine_header plain = header("goroutine 18 [chan receive]:");
    assert_int_equal(plain.id, 18);
    assert_text(plain.status, "chan receive");
    assert_int_equal(plain.minutes, 0);
    assert_int_equal(plain.labels.length, 0);

    struct goroutine_header full = header("goroutine 7 gp=0xc000007c00 m=4 mp=0xc000100008 [select (no cases) (leaked) "
                                          "(scan) (durable), 11 minutes, locked to thread, synctest bubble 2] "
                                          "{k: v, k2: \"v }] 2\"}:");
    assert_text(full.status, "select (no cases)");
    assert_int_equal(full.minutes, 11);
    assert_true(full.locked_to_thread && full.leaked);
    struct text key, value;
    assert_true(goroutine_label_next(&full.labels, &key, &value));
    assert_text(key, "k");
    assert_text(value, "v");
    assert_true(goroutine_label_next(&full.labels, &key, &value));
    assert_text(key, "k2");
    assert_text(value, "v }] 2");
    assert_false(goroutine_label_next(&full.labels, &key, &value));

    assert_text(header("goroutine 1 m=nil [semacquire]:").status, "semacquire");
    assert_text(header("goroutine 1 [chan send (nil chan), 3 minutes]:").status, "chan send (nil chan)");
    assert_text(header("goroutine 1 [select, labels:{\"a\":\"]\"}, 2 minutes]:").labels, "{\"a\":\"]\"}");
}

static void lines_that_are_no_header(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "goroutine",
        "goroutine x [running]:",
        "goroutine 1 running:",
        "goroutine 1 [running]",
        "goroutine 1 [running",
        "goroutine 1 [running]: and more",
        "goroutine 1 and [running]:",
        "[originating from goroutine 7]:",
        "goroutine 99999999999999999999 [running]:",
        "goroutine 1 [select, labels:{a]:",
    };
    struct goroutine_header ignored;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        assert_false(goroutine_header_parse(text_from_string(lines[i]), &ignored));
}

static struct goroutine_item next(struct goroutine_text *reader, enum goroutine_item_kind kind)
{
    struct goroutine_item item;
    goroutine_text_next(reader, &item);
    assert_int_equal(item.kind, kind);
    return item;
}

static void trace_with_all_of_it(void **state)
{
    (void)state;
    struct goroutine_text reader;
    goroutine_text_init(&reader, TEXT("log: begins\r\n"
                                      "panic: close of nil channel\r\n"
                                      "\r\n"
                                      "goroutine 7 [running]:\r\n"
                                      "main.(*T).m(0xc0000b4010, {0x2, ...}, 0x3?, _)\r\n"
                                      "\tC:/Program Files/m.go:12 +0x1f fp=0xc1 sp=0xc0 pc=0x4b4b7a\r\n"
                                      "log: in between (and more)\r\n"
                                      "main.inlined(...)\r\n"
                                      "\t/m.go:8\r\n"
                                      "...23 frames elided...\r\n"
                                      "created by main.start in goroutine 1\r\n"
                                      "\t/m.go:3 +0x1d\r\n"
                                      "\r\n"
                                      "goroutine 8 [running]:\r\n"
                                      "\tgoroutine running on other thread; stack unavailable\r\n"));
    assert_text(next(&reader, GOROUTINE_ITEM_CAUSE).text, "panic: close of nil channel");
    assert_int_equal(next(&reader, GOROUTINE_ITEM_GOROUTINE).header.id, 7);

    struct goroutine_item call = next(&reader, GOROUTINE_ITEM_CALL);
    assert_text(call.function, "main.(*T).m");
    assert_true(call.has_pc);
    assert_int_equal(call.pc, 0x4b4b7a);
    struct goroutine_place place;
    assert_true(goroutine_place_parse(call.place, &place));
    assert_text(place.file, "C:/Program Files/m.go");
    assert_int_equal(place.line, 12);
    assert_true(place.has_offset);
    assert_int_equal(place.offset, 0x1f);
    uint64_t value;
    bool uncertain;
    assert_true(goroutine_argument_next(&call.arguments, &value, &uncertain));
    assert_int_equal(value, 0xc0000b4010);
    assert_false(uncertain);
    assert_true(goroutine_argument_next(&call.arguments, &value, &uncertain));
    assert_int_equal(value, 2);
    assert_false(goroutine_argument_next(&call.arguments, &value, &uncertain)); /* "..." */

    call = next(&reader, GOROUTINE_ITEM_CALL);
    assert_text(call.function, "main.inlined");
    assert_text(call.arguments, "...");
    assert_true(goroutine_place_parse(call.place, &place));
    assert_false(place.has_offset);
    assert_int_equal(next(&reader, GOROUTINE_ITEM_ELIDED).count, 23);
    call = next(&reader, GOROUTINE_ITEM_CREATED);
    assert_text(call.function, "main.start");
    assert_int_equal(call.count, 1);
    assert_int_equal(next(&reader, GOROUTINE_ITEM_GOROUTINE).header.id, 8);
    next(&reader, GOROUTINE_ITEM_UNAVAILABLE);
    next(&reader, GOROUTINE_ITEM_END);
    assert_int_equal(reader.junk.lines, 2);
    assert_int_equal(reader.junk.first_offset, 0);
    assert_false(reader.is_cut);
}

static void trace_behind_a_logger(void **state)
{
    (void)state;
    struct goroutine_text reader;
    goroutine_text_init(&reader, TEXT("12:00 app: goroutine 1 [select]:\n"
                                      "12:00 app: main.main()\n"
                                      "12:01 app: \t/m.go:9 +0x2\n"));
    assert_int_equal(next(&reader, GOROUTINE_ITEM_GOROUTINE).header.id, 1);
    struct goroutine_item call = next(&reader, GOROUTINE_ITEM_CALL);
    assert_text(call.function, "main.main");
    assert_text(call.place, "/m.go:9 +0x2");
    next(&reader, GOROUTINE_ITEM_END);
    assert_int_equal(reader.junk.lines, 0);
}

/* Cut at every length: the same items as far as they go, and a cut is told. */
static void trace_cut(void **state)
{
    (void)state;
    static const char whole[] = "goroutine 1 [select]:\nmain.f(0x1)\n\t/m.go:9 +0x2\nmain.main()\n\t/m.go:1 +0x1";
    for (size_t length = 0; length < sizeof whole; length++) {
        char *exact = test_malloc(length + 1);
        memcpy(exact + 1, whole, length);
        struct goroutine_text reader;
        struct goroutine_item item;
        uint64_t calls = 0;
        goroutine_text_init(&reader, (struct text){exact + 1, length});
        for (goroutine_text_next(&reader, &item); item.kind != GOROUTINE_ITEM_END; goroutine_text_next(&reader, &item))
            calls += item.kind == GOROUTINE_ITEM_CALL;
        assert_true(calls <= 2);
        if (length == strlen("goroutine 1 [select]:\nmain.f(0x"))
            assert_true(reader.is_cut);
        test_free(exact);
    }
}

static void frame_lines(void **state)
{
    (void)state;
    struct profile_frame frame;
    assert_true(profile_frame_parse(TEXT("#\t0xcb15f5\tmain.(*T).m+0x155\t\tC:/a b/m.go:115"), &frame));
    assert_int_equal(frame.address, 0xcb15f5);
    assert_text(frame.function, "main.(*T).m");
    assert_int_equal(frame.offset, 0x155);
    assert_text(frame.place, "C:/a b/m.go");
    assert_int_equal(frame.line, 115);

    assert_true(profile_frame_parse(TEXT("#\t0x600122"), &frame));
    assert_int_equal(frame.function.length, 0);
    assert_true(profile_frame_parse(TEXT("#\t0x7f00\toperator+(int)+0x2\t(libc.so.6)"), &frame));
    assert_text(frame.function, "operator+(int)");
    assert_text(frame.place, "(libc.so.6)");
    assert_false(frame.has_line);
    assert_false(profile_frame_parse(TEXT("#\tx"), &frame));
    assert_false(profile_frame_parse(TEXT("# 0x1"), &frame));
    assert_false(profile_frame_parse(TEXT("#\t0x12345678901234567\ta+0x1\tb:1"), &frame));
}

static void profile_of_counts(void **state)
{
    (void)state;
    struct profile_text reader;
    struct profile_item item;
    profile_text_init(&reader, TEXT("\xef\xbb\xbf"
                                    "some log\n"
                                    "goroutine profile: total 9\n"
                                    "5 @ 0x1f 0x2\n"
                                    "# labels: {\"a\":\"b\"}\n"
                                    "#\t0x1e\tmain.f+0x1\t/m.go:4\n"
                                    "\n"
                                    "5 @ 0xG\n"
                                    "# other\n"
                                    "--- Memory map: ---\n"));
    static const enum profile_item_kind kinds[] = {PROFILE_ITEM_HEADER, PROFILE_ITEM_GROUP,   PROFILE_ITEM_LABELS,
                                                   PROFILE_ITEM_FRAME,  PROFILE_ITEM_COMMENT, PROFILE_ITEM_SECTION,
                                                   PROFILE_ITEM_END};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        profile_text_next(&reader, &item);
        assert_int_equal(item.kind, kinds[i]);
        if (item.kind == PROFILE_ITEM_HEADER)
            assert_int_equal(item.count, 9);
        if (item.kind == PROFILE_ITEM_GROUP)
            assert_text(item.text, "0x1f 0x2");
        if (item.kind == PROFILE_ITEM_LABELS)
            assert_text(item.text, "{\"a\":\"b\"}");
    }
    assert_int_equal(reader.junk.lines, 2);
}

static void heap(void **state)
{
    (void)state;
    struct heap_numbers numbers;
    struct text kind;
    assert_true(
        heap_header_parse(TEXT("heap profile: 718: 76326576 [829493: 1114177328] @ heap/1048576"), &numbers, &kind));
    assert_int_equal(numbers.objects, 718);
    assert_int_equal(numbers.bytes, 76326576);
    assert_int_equal(numbers.objects_allocated, 829493);
    assert_int_equal(numbers.bytes_allocated, 1114177328);
    assert_text(kind, "heap/1048576");
    assert_false(heap_header_parse(TEXT("goroutine profile: total 9"), &numbers, &kind));
    assert_false(heap_header_parse(TEXT("heap profile: many"), &numbers, &kind));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_of_all_versions),
        cmocka_unit_test(lines_that_are_no_header),
        cmocka_unit_test(trace_with_all_of_it),
        cmocka_unit_test(trace_behind_a_logger),
        cmocka_unit_test(trace_cut),
        cmocka_unit_test(frame_lines),
        cmocka_unit_test(profile_of_counts),
        cmocka_unit_test(heap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
