/* SPDX-License-Identifier: Apache-2.0 */
#include "literal_programs.h"

#include "group/group.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* After the headers that it needs. */
#include <cmocka.h>

static const struct report_stats stats = {250000, 0.001, 0.0035, 0.0421, 0.0009, 0.0012, 52, 249948, 52, 52, 1 << 20};

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

/* The grammar of pprof's reader, formats.md: comments, the header, groups, blank lines; then "---", if there are
 * mappings. */
static void assert_grammar(const char *output)
{
    bool has_header = false;
    for (const char *line = output; *line != '\0' && strncmp(line, "---", 3) != 0; line += strcspn(line, "\n") + 1) {
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

static void the_verdict_comes_first(void **state)
{
    (void)state;
    show(literal_deadlock, (struct report_options){0}, "deadlock.txt");
    show(literal_deadlock, (struct report_options){.members = true, .all_findings = true}, "deadlock-all.txt");
    show(literal_deadlock, (struct report_options){.terminal = true, .width = 100}, "deadlock-terminal.txt");
    show(literal_deadlock, (struct report_options){.terminal = true, .width = 30, .color = true, .all_findings = true},
         "deadlock-terminal-30.txt");
}

static void add_findings(struct literal *literal, enum severity severity, size_t count, struct text title)
{
    static struct text evidence[] = {{"one sentence", 12}, {"another", 7}, {"a third", 7}, {"a fourth", 8}};
    static struct finding_group group = {0, 1, "waits"};
    struct findings *findings = &literal->findings;
    findings->entries = findings->count == 0 ? arena_array(&literal->arena, struct finding, 200000) : findings->entries;
    for (size_t i = 0; i < count; i++)
        findings->entries[findings->count++] = (struct finding){.rule = TEXT("a/b"),
                                                                .severity = severity,
                                                                .confidence = CONFIDENCE_READ,
                                                                .title = title,
                                                                .evidence = evidence,
                                                                .evidence_count = 4,
                                                                .groups = &group,
                                                                .group_count = 1,
                                                                .advice = TEXT("act")};
    literal->rule_count = 3;
}

/* Lines between the first and the one that tells of the process. */
static size_t verdict_height(const char *output)
{
    const char *first = strchr(output, '\n') + 1, *end = strstr(first, "process: ");
    size_t lines = 0;
    assert_non_null(end);
    for (const char *at = first; at < end; at++)
        lines += *at == '\n';
    return lines;
}

static void any_number_of_findings_takes_a_screen(void **state)
{
    (void)state;
    static const struct {
        size_t critical, warning, info, titles; /* titles: findings of weight that are named at least */
    } cases[] = {{1, 0, 0, 1}, {2, 0, 0, 2},  {1, 2, 0, 3},  {4, 4, 0, 5},      {0, 0, 1, 0},
                 {0, 0, 9, 0}, {3, 3, 90, 4}, {0, 50, 0, 5}, {100000, 0, 0, 5}, {1, 100, 99000, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (unsigned width = 0; width <= 100; width += 25) {
            struct literal literal;
            literal_init(&literal);
            literal_recursion(&literal, 1);
            add_findings(&literal, SEVERITY_CRITICAL, cases[i].critical, TEXT("a title of some words that say it"));
            add_findings(&literal, SEVERITY_WARNING, cases[i].warning, TEXT("short"));
            add_findings(&literal, SEVERITY_INFO, cases[i].info, TEXT("not bad at all, and told in one line at most"));
            const char *output = literal_report(
                &literal, &report_text, (struct report_options){.terminal = width != 0, .width = width}, NULL);
            if (width == 0)
                assert_grammar(output);
            size_t titles = count_lines(output, "critical: ") + count_lines(output, "warning: ") +
                            count_lines(output, "# critical: ") + count_lines(output, "# warning: ");
            size_t infos = count_lines(output, "info: ") + count_lines(output, "# info: ");
            size_t all = cases[i].critical + cases[i].warning + cases[i].info;
            assert_true(infos <= 3);
            assert_true(verdict_height(output) <= 20 + (width == 0 ? 0 : 2));
            if (width != 25) { /* where a line holds no sentence */
                assert_true(titles >= cases[i].titles);
                bool says_more = strstr(output, " more finding") != NULL && strstr(output, ", --all-findings (") != NULL;
                assert_int_equal(titles + infos < all, says_more);
            }
            literal_deinit(&literal);
        }
}

static void hostile_findings_are_bounded(void **state)
{
    (void)state;
    struct literal literal;
    literal_init(&literal);
    literal_recursion(&literal, 1);
    char *title = arena_array(&literal.arena, char, 1 << 20);
    memset(title, '\033', 1 << 20);
    add_findings(&literal, SEVERITY_CRITICAL, 2, (struct text){title, 1 << 20});
    struct text evidence = {title, 1 << 20};
    for (size_t i = 0; i < 2; i++) {
        literal.findings.entries[i].evidence = &evidence;
        literal.findings.entries[i].evidence_count = 1;
    }
    literal.findings.entries[0].advice = literal.findings.entries[0].runbook_path = evidence;
    const char *output = literal_report(&literal, &report_text, (struct report_options){0}, NULL);
    assert_grammar(output);
    assert_true(verdict_height(output) <= 20);
    output = literal_report(&literal, &report_text, (struct report_options){.all_findings = true}, NULL);
    assert_grammar(output);
    assert_true(longest_line(output) <= 210);
    assert_null(strchr(output, '\033'));
    literal_deinit(&literal);
}

static void silence_is_told_where_rules_ran(void **state)
{
    (void)state;
    struct literal literal;
    literal_init(&literal);
    literal_recursion(&literal, 1);
    assert_null(strstr(literal_report(&literal, &report_text, (struct report_options){0}, NULL), "finding"));
    literal.rule_count = 41;
    assert_non_null(strstr(literal_report(&literal, &report_text, (struct report_options){0}, NULL),
                           "\n# findings: none (41 rules)\n"));
    assert_non_null(strstr(literal_report(&literal, &report_text, (struct report_options){.terminal = true}, NULL),
                           "\nfindings: none (41 rules)\n"));
    literal_deinit(&literal);
}

/* Every id of ten thousand waiters, in lines that pprof's reader bears. */
static void waiters_of_one_lock(void **state)
{
    (void)state;
    struct literal literal;
    literal_init(&literal);
    uint32_t location = literal_location(&literal, 0x401136, true, index_none, 0x9);
    literal_frame(&literal, "lock", NULL, 0, false);
    uint32_t stack = literal_stack(&literal, STACK_END_OUTERMOST, 0);
    literal_step(&literal, location, TRUST_REGISTERS);
    literal_resource(&literal, WAIT_MUTEX, 0x1000, NULL);
    for (uint32_t i = 0; i < 10000; i++) {
        literal_member(&literal, 4000000000000000000 + i, stack, NULL, -1);
        literal_wait(&literal, i, 0, true, LEARNT_READ);
    }
    literal.grouping = group_snapshot(&literal.snapshot, &(struct group_options){0}, &literal.arena, &literal.arena);
    const char *output = literal_report(&literal, &report_text, (struct report_options){.members = true}, NULL);
    assert_grammar(output);
    assert_int_equal(count_lines(output, "# waits: 1000 on mutex 0x1000, holder unknown (read): 4"), 10);
    output = literal_report(&literal, &report_text, (struct report_options){0}, NULL);
    assert_int_equal(count_lines(output, "# waits: 10000 on mutex 0x1000, holder unknown (read): 4"), 1);
    assert_non_null(strstr(output, "4000000000000000015 … (+9984)\n"));
    literal_deinit(&literal);
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
        cmocka_unit_test(the_verdict_comes_first),
        cmocka_unit_test(any_number_of_findings_takes_a_screen),
        cmocka_unit_test(hostile_findings_are_bounded),
        cmocka_unit_test(silence_is_told_where_rules_ran),
        cmocka_unit_test(waiters_of_one_lock),
        cmocka_unit_test(nothing_known),
        cmocka_unit_test(deep_stack_keeps_its_ends),
        cmocka_unit_test(long_texts_stay_below_64_kib),
        cmocka_unit_test(every_diagnostic_is_printed_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
