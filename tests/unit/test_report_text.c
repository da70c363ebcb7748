/* SPDX-License-Identifier: Apache-2.0 */
#include "literal_programs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* After the headers that it needs. */
#include <cmocka.h>

static const struct report_stats stats = {250000, 0.001, 0.0035, 0.0421, 0.0009, 52, 249948, 52, 52, 1 << 20};

/* Bytes of the longest line. */
static size_t longest_line(const char *output)
{
    size_t longest = 0;
    for (const char *line = output; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        longest = length > longest ? length : longest;
        line += length + (line[length] == '\n');
    }
    return longest;
}

/* Columns of the widest line, colours taken out; wide characters of the tests' texts (three bytes from 0xe3 on) count
 * two. */
static size_t widest_line(const char *output)
{
    size_t widest = 0, width = 0;
    for (const unsigned char *byte = (const unsigned char *)output; *byte != '\0'; byte++) {
        if (*byte == '\033')
            byte += strcspn((const char *)byte, "m");
        else if (*byte == '\n')
            width = 0;
        else if ((*byte & 0xc0) != 0x80)
            width += *byte >= 0xe3 ? 2 : 1;
        widest = width > widest ? width : widest;
    }
    return widest;
}

static size_t count_lines(const char *output, const char *start)
{
    size_t count = 0;
    for (const char *line = output; *line != '\0'; line += strcspn(line, "\n") + 1)
        count += strncmp(line, start, strlen(start)) == 0;
    return count;
}

/* The grammar of pprof's reader, formats.md: comments, the header, groups, blank lines; then "---". */
static void assert_grammar(const char *output)
{
    bool has_header = false;
    for (const char *line = output; strncmp(line, "---", 3) != 0; line += strcspn(line, "\n") + 1) {
        assert_true(*line != '\0');
        if (*line == '#' || *line == '\n')
            continue;
        if (!has_header) {
            assert_int_equal(strncmp(line, "thread profile: total ", 22), 0);
            has_header = true;
            continue;
        }
        const char *at = line + strspn(line, "0123456789");
        assert_true(at > line);
        assert_int_equal(strncmp(at, " @ 0x", 5), 0);
        assert_int_equal(at[2 + strspn(at + 2, " 0x123456789abcdef")], '\n');
    }
    assert_true(has_header);
    assert_true(longest_line(output) < 64 * 1024);
}

static void show(void (*build)(struct literal *), struct report_options options, const char *golden)
{
    struct literal literal;
    literal_init(&literal);
    build(&literal);
    const char *output = literal_report(&literal, &report_text, options, &stats);
    if (!options.terminal)
        assert_grammar(output);
    else
        assert_true(widest_line(output) <= options.width);
    assert_true(golden_matches(golden, output));
    literal_deinit(&literal);
}

static void server_as_debug1(void **state)
{
    (void)state;
    show(literal_server, (struct report_options){0}, "server.txt");
}

static void server_with_members_and_stats(void **state)
{
    (void)state;
    show(literal_server, (struct report_options){.members = true, .show_stats = true, .lines_max = 4},
         "server-members.txt");
}

static void server_on_a_terminal(void **state)
{
    (void)state;
    show(literal_server, (struct report_options){.terminal = true, .width = 100, .show_stats = true},
         "server-terminal.txt");
}

static void server_on_a_narrow_terminal_in_colour(void **state)
{
    (void)state;
    show(literal_server, (struct report_options){.terminal = true, .color = true, .width = 40, .lines_max = 3},
         "server-terminal-40.txt");
}

static void descriptors_behind_waits(void **state)
{
    (void)state;
    show(literal_connections, (struct report_options){0}, "connections.txt");
    show(literal_connections, (struct report_options){.members = true}, "connections-members.txt");
    show(literal_connections, (struct report_options){.terminal = true, .width = 100}, "connections-terminal.txt");
}

static void hostile_texts_are_escaped(void **state)
{
    (void)state;
    show(literal_hostile, (struct report_options){.members = true}, "hostile.txt");
    show(literal_hostile, (struct report_options){.terminal = true, .width = 60}, "hostile-terminal.txt");
    show(literal_hostile, (struct report_options){.terminal = true, .width = 20, .members = true},
         "hostile-terminal-20.txt");
}

static void build_nothing(struct literal *literal)
{
    (void)literal;
}

static void nothing_known(void **state)
{
    (void)state;
    show(build_nothing, (struct report_options){0}, "nothing.txt");
    show(build_nothing, (struct report_options){.terminal = true, .width = 40}, "nothing-terminal.txt");
}

static void deep_stack_keeps_its_ends(void **state)
{
    (void)state;
    struct literal literal;
    literal_init(&literal);
    literal_recursion(&literal, 8000);
    const char *output = literal_report(&literal, &report_text, (struct report_options){.lines_max = 100}, NULL);
    assert_grammar(output);
    assert_int_equal(count_lines(output, "#\t"), 100);
    assert_int_equal(count_lines(output, "# ... 7900 frames left out ...\n"), 1);
    assert_int_equal(count_lines(output, "# addresses: the first 3000 of 8000\n"), 1);

    output = literal_report(&literal, &report_text, (struct report_options){0}, NULL);
    assert_grammar(output);
    assert_int_equal(count_lines(output, "#\t"), 8000);
    literal_deinit(&literal);
}

static void long_texts_stay_below_64_kib(void **state)
{
    (void)state;
    struct literal literal;
    literal_init(&literal);
    enum { length = 100000 };
    char *name = malloc(length + 1);
    assert_non_null(name);
    memset(name, 1, length); /* each byte is escaped to four */
    name[length] = '\0';
    struct text text = {name, length};
    literal.snapshot.source_path = literal.snapshot.exe = literal.snapshot.arguments = text;
    uint32_t module = literal_module(&literal, name, 0, 1);
    literal_mapping(&literal, 0, 1, 0, MAPPING_EXECUTE, name);
    uint32_t location = literal_location(&literal, UINT64_MAX, true, module, UINT64_MAX);
    literal_frame(&literal, name, name, UINT32_MAX, false);
    uint32_t stack = literal_stack(&literal, STACK_END_NO_PROGRESS, UINT64_MAX);
    for (unsigned i = 0; i < 4000; i++)
        literal_step(&literal, location, TRUST_LIBUNWIND);
    for (uint64_t i = 0; i < 5000; i++) {
        char state_text[32];
        snprintf(state_text, sizeof state_text, "state %u", (unsigned)i);
        literal_member(&literal, UINT64_MAX - i, stack, state_text, (int32_t)i);
    }
    literal_group(&literal, stack, "2222222222222222");
    diagnostics_add(&literal.diagnostics, DIAGNOSTIC_LOSS, "long", text, "cut");
    const struct report_options options = {.members = true, .lines_max = 10};
    const char *output = literal_report(&literal, &report_text, options, NULL);
    assert_grammar(output);
    assert_true(longest_line(output) > 16 * 1024);

    const struct report_options terminal = {.terminal = true, .width = 72, .lines_max = 10};
    assert_true(widest_line(literal_report(&literal, &report_text, terminal, NULL)) <= 72);
    free(name);
    literal_deinit(&literal);
}

static void every_diagnostic_is_printed_once(void **state)
{
    (void)state;
    struct literal literal;
    literal_init(&literal);
    for (unsigned i = 0; i < 12; i++) {
        char subject[16];
        snprintf(subject, sizeof subject, "/lib/%02u.so", i);
        diagnostics_add(&literal.diagnostics,
                        i == 11      ? DIAGNOSTIC_LOST
                        : i % 4 == 0 ? DIAGNOSTIC_NOTE
                                     : DIAGNOSTIC_LOSS,
                        "module-missing", text_from_string(subject), "not found, its functions have no names");
    }
    literal.diagnostics.suppressed = 3;
    const char *output = literal_report(&literal, &report_text, (struct report_options){0}, NULL);
    assert_grammar(output);
    assert_int_equal(count_lines(output, "# lost: /lib/11.so: not found, its functions have no names [module-missing]"),
                     1);
    assert_int_equal(count_lines(output, "# loss: "), 8);
    assert_int_equal(count_lines(output, "# note: /lib/"), 3);
    assert_int_equal(count_lines(output, "# 4 more losses: after the groups"), 1);
    assert_int_equal(count_lines(output, "# note: 3 further diagnostics"), 1);
    /* The gravest first, although it came last; what is not in the head follows the groups. */
    assert_true(strstr(output, "# lost: ") < strstr(output, "# loss: "));
    assert_true(strstr(output, "/lib/06.so") > strstr(output, "thread profile: "));
    literal_deinit(&literal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_as_debug1),
        cmocka_unit_test(server_with_members_and_stats),
        cmocka_unit_test(server_on_a_terminal),
        cmocka_unit_test(server_on_a_narrow_terminal_in_colour),
        cmocka_unit_test(descriptors_behind_waits),
        cmocka_unit_test(hostile_texts_are_escaped),
        cmocka_unit_test(nothing_known),
        cmocka_unit_test(deep_stack_keeps_its_ends),
        cmocka_unit_test(long_texts_stay_below_64_kib),
        cmocka_unit_test(every_diagnostic_is_printed_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
