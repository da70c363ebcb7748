/* SPDX-License-Identifier: Apache-2.0 */
#include "literal_programs.h"
#include "report/json_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* After the headers that it needs. */
#include <cmocka.h>

static const struct report_stats stats = {250000, 0.001, 0.0035, 0.0421, 0.0009, 0.0012, 52, 249948, 52, 52, 1 << 20};

static void show(void (*build)(struct literal *), struct report_options options, const char *golden)
{
    struct literal literal;
    literal_init(&literal);
    build(&literal);
    assert_true(golden_matches(golden, literal_report(&literal, &report_json, options, &stats)));
    literal_deinit(&literal);
}

static void server_document(void **state)
{
    (void)state;
    show(literal_server, (struct report_options){0}, "server.json");
}

static void server_with_members_and_stats(void **state)
{
    (void)state;
    show(literal_server, (struct report_options){.members = true, .show_stats = true}, "server-members.json");
}

static void descriptors_behind_waits(void **state)
{
    (void)state;
    show(literal_connections, (struct report_options){0}, "connections.json");
}

static void findings_and_waits(void **state)
{
    (void)state;
    show(literal_deadlock, (struct report_options){0}, "deadlock.json");
}

static void hostile_texts_are_escaped(void **state)
{
    (void)state;
    show(literal_hostile, (struct report_options){.members = true}, "hostile.json");
}

static void build_nothing(struct literal *literal)
{
    literal->diagnostics.suppressed = 2;
}

static void nothing_known(void **state)
{
    (void)state;
    show(build_nothing, (struct report_options){0}, "nothing.json");
}

static void assert_written(struct text text, const char *expected)
{
    struct text_writer out;
    text_writer_init_memory(&out);
    struct json_writer json;
    json_writer_init(&json, &out);
    json_writer_text(&json, NULL, text);
    text_writer_bytes(&out, "", 1);
    assert_string_equal(out.buffer, expected);
    text_writer_deinit(&out);
}

static void text_becomes_valid_json(void **state)
{
    (void)state;
    assert_written(TEXT(""), "\"\"");
    assert_written(TEXT("a\"b\\c/"), "\"a\\\"b\\\\c/\"");
    assert_written(TEXT("\n\t\033\177"), "\"\\u000a\\u0009\\u001b\\u007f\"");
    assert_written((struct text){"a\0b", 3}, "\"a\\u0000b\"");
    assert_written(TEXT("ü日\xf0\x9f\x98\x80"), "\"ü日\xf0\x9f\x98\x80\"");
    assert_written(TEXT("\xc2\x9b|\xe2\x80\xae|\xe2\x81\xa6|\xe2\x80\xa8"), "\"\\u009b|\\u202e|\\u2066|\\u2028\"");
    /* Lone, cut, overlong, surrogate, past the last plane: one U+FFFD a byte. */
    assert_written(TEXT("\x80"), "\"\\ufffd\"");
    assert_written(TEXT("x\xe2\x80"), "\"x\\ufffd\\ufffd\"");
    assert_written(TEXT("\xc0\xaf"), "\"\\ufffd\\ufffd\"");
    assert_written(TEXT("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"");
    assert_written(TEXT("\xf4\x90\x80\x80y"), "\"\\ufffd\\ufffd\\ufffd\\ufffdy\"");
}

static void layout_and_numbers(void **state)
{
    (void)state;
    struct text_writer out;
    text_writer_init_memory(&out);
    struct json_writer json;
    json_writer_init(&json, &out);
    json_writer_open_object(&json, NULL, JSON_BLOCK);
    json_writer_open_array(&json, "none", JSON_BLOCK);
    json_writer_close(&json);
    json_writer_open_array(&json, "line", JSON_LINE);
    json_writer_seconds(&json, NULL, 0);
    json_writer_seconds(&json, NULL, 1500000);
    json_writer_seconds(&json, NULL, 7);
    json_writer_open_object(&json, NULL, JSON_BLOCK);
    json_writer_hex(&json, "a", UINT64_MAX);
    json_writer_id(&json, "b", UINT64_MAX);
    json_writer_signed(&json, "c", -6);
    json_writer_close(&json);
    json_writer_close(&json);
    json_writer_bool(&json, "last", false);
    json_writer_close(&json);
    text_writer_bytes(&out, "", 1);
    assert_string_equal(
        out.buffer, "{\n"
                    " \"none\": [],\n"
                    " \"line\": [0, 1.5, 0.000007, {\"a\": \"0xffffffffffffffff\", \"b\": \"18446744073709551615\", "
                    "\"c\": -6}],\n"
                    " \"last\": false\n"
                    "}\n");
    text_writer_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_document),           cmocka_unit_test(server_with_members_and_stats),
        cmocka_unit_test(descriptors_behind_waits),  cmocka_unit_test(findings_and_waits),
        cmocka_unit_test(hostile_texts_are_escaped), cmocka_unit_test(nothing_known),
        cmocka_unit_test(text_becomes_valid_json),   cmocka_unit_test(layout_and_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
