/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "format/register_text.h"

static void test_lines(void **state)
{
    (void)state;
    struct text rest = TEXT("# a debugger's\n\n 4711 rip=0x401136 rsp=0x7ffe00000010\r\n4712\n");
    struct register_line line;
    uint32_t number = 0;
    assert_int_equal(register_line_next(&rest, &number, &line), REGISTER_TEXT_LINE);
    assert_int_equal(line.tid, 4711);
    assert_int_equal(number, 3);
    struct text name;
    uint64_t value;
    assert_true(register_field_next(&line.fields, &name, &value));
    assert_true(text_equals(name, TEXT("rip")));
    assert_int_equal(value, 0x401136);
    assert_true(register_field_next(&line.fields, &name, &value));
    assert_true(text_equals(name, TEXT("rsp")));
    assert_int_equal(value, 0x7ffe00000010);
    assert_false(register_field_next(&line.fields, &name, &value));
    assert_int_equal(line.fields.length, 0);
    assert_int_equal(register_line_next(&rest, &number, &line), REGISTER_TEXT_LINE);
    assert_int_equal(line.tid, 4712);
    assert_int_equal(line.fields.length, 0);
    assert_int_equal(register_line_next(&rest, &number, &line), REGISTER_TEXT_END);
}

static void test_garbage(void **state)
{
    (void)state;
    static const char *const lines[] = {"rip=0x1",     "0 rip=0x1",           "-4 rip=0x1",
                                        "4711rip=0x1", "99999999999 rip=0x1", "\x01"};
    static const char *const fields[] = {
        "rip", "rip=", "rip=1", "rip=0x", "rip=0x12345678123456789", "rip=0x1,rsp=0x2"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct text rest = text_from_string(lines[i]);
        struct register_line line;
        uint32_t number = 0;
        if (register_line_next(&rest, &number, &line) != REGISTER_TEXT_GARBAGE)
            fail_msg("'%s' was taken", lines[i]);
    }
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        struct text rest = text_from_string(fields[i]), name;
        uint64_t value;
        if (register_field_next(&rest, &name, &value) || rest.length == 0)
            fail_msg("'%s' was taken", fields[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines), cmocka_unit_test(test_garbage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
