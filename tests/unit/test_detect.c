/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/limits.h"
#include "detect/detect.h"
#include "group/group.h"
#include "literal_snapshot.h"

#include <stdio.h>
#include <time.h>

struct fixture {
    struct literal literal;
    struct arena arena, scratch;
    struct grouping grouping;
    struct findings findings;
};

static int setup(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){0};
    literal_init(&fixture.literal);
    arena_init(&fixture.arena, 0, NULL);
    arena_init(&fixture.scratch, 0, NULL);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    literal_deinit(&fixture->literal);
    arena_deinit(&fixture->arena);
    arena_deinit(&fixture->scratch);
    return 0;
}

/* "leaf < caller < root", each "function" or "function@file:line"; its index. */
static uint32_t add_stack(struct fixture *fixture, const char *frames)
{
    static uint64_t pc = 0x1000;
    uint32_t stack = literal_stack(&fixture->literal, STACK_END_OUTERMOST, 0);
    for (const char *at = frames; *at != 0;) {
        const char *end = strstr(at, " < ");
        char name[512], file[512] = "";
        unsigned line = 0;
        snprintf(name, sizeof name, "%.*s", (int)(end == NULL ? strlen(at) : (size_t)(end - at)), at);
        char *mark = strrchr(name, '|');
        if (mark != NULL) {
            *mark = 0;
            sscanf(mark + 1, "%500[^:]:%u", file, &line);
        }
        uint32_t location = literal_location(&fixture->literal, pc += 16, false, index_none, 4);
        literal_frame(&fixture->literal, name, file[0] != 0 ? file : NULL, line, false);
        literal_step(&fixture->literal, location, TRUST_CFI);
        at = end == NULL ? "" : end + 3;
    }
    return stack;
}

static struct member *add_members(struct fixture *fixture, const char *frames, uint32_t count, const char *state)
{
    uint32_t stack = add_stack(fixture, frames);
    struct member *member = NULL;
    for (uint32_t i = 0; i < count; i++)
        member = literal_member(&fixture->literal, 100 + fixture->literal.snapshot.member_count, stack, state, -1);
    return member;
}

/* Runs a plugin of this text; errors of the file fail the test. */
static const struct findings *run_only(struct fixture *fixture, const char *yaml, const char *only)
{
    struct rule_set *set = rule_set_new(&fixture->arena);
    struct rule_file file = rule_file_parse(TEXT("p.yaml"), text_from_string(yaml), &fixture->arena);
    if (!rule_set_add(set, &file, TEXT("/etc/plugins")))
        for (size_t i = 0; i < file.error_count; i++)
            fail_msg("%s", rule_file_error_text(&file, i, &fixture->arena));
    struct group_options options = {0};
    struct detect_options detect = {only};
    fixture->grouping = group_snapshot(&fixture->literal.snapshot, &options, &fixture->arena, &fixture->scratch);
    fixture->findings = detect_run(set, &fixture->literal.snapshot, &fixture->grouping, &detect, &fixture->arena,
                                   &fixture->scratch, &fixture->literal.diagnostics);
    rule_set_release(set);
    return &fixture->findings;
}

#define HEAD "plugin: p\nversion: 1\nrules:\n  - id: r\n    severity: warning\n    title: '{members} {kind}'\n"

/* How many members the rule with these further lines counts. */
static uint64_t counted(struct fixture *fixture, const char *lines)
{
    char yaml[4096];
    snprintf(yaml, sizeof yaml, "%s%s", HEAD, lines);
    const struct findings *findings = run_only(fixture, yaml, NULL);
    uint64_t members = 0;
    for (size_t i = 0; i < findings->count; i++)
        members += findings->entries[i].members;
    return members;
}

static void test_frames(void **state)
{
    struct fixture *fixture = *state;
    add_members(fixture, "a < b < c < main", 1, NULL);
    add_members(fixture, "a < x < c < main", 10, NULL);
    add_members(fixture, "b@GLIBC_2.2.5 < a.constprop.0|/src/a.c:7 < main < _start", 100, NULL);
    static const struct {
        const char *lines;
        uint64_t members;
    } rows[] = {
        {"    leaf: '^a$'\n", 11},
        {"    leaf: '^b$'\n", 100},
        {"    root: '^main$'\n", 11},
        {"    root: '^_start$'\n", 100},
        {"    any: '^b$'\n", 101},
        {"    any: ['^b$', '^x$']\n", 111},
        {"    none: '^b$'\n", 10},
        {"    none: ['^b$', '^x$']\n", 0},
        {"    stack: ['^a$', '^c$']\n", 11},
        {"    stack: ['^a$', '^main$']\n", 111},
        {"    stack: ['^c$', '^a$']\n", 0},
        {"    stack: ['^a$', '-> ^c$']\n", 0},
        {"    stack: ['^a$', '-> ^b$', '^main$']\n", 1},
        {"    stack: ['^a$', '-> ^main$']\n", 100},
        {"    stack: ['-> ^a$']\n", 11},
        {"    stack: ['-> ^b$']\n", 100},
        {"    stack: ['^main$', '^main$']\n", 0},
        {"    any: 'file:/a\\.c$'\n", 100},
        {"    any: 'file:^a$'\n", 0},
        {"    leaf: '^a$'\n    root: '^main$'\n    none: '^x$'\n", 1},
        {"    any: |\n      ^x$\n", 10},
        {"    leaf: '^a$'\n    at-least: 11\n", 11},
        {"    leaf: '^a$'\n    at-least: 12\n", 0},
        {"    leaf: '^a$'\n    share: 9.9%\n", 11},
        {"    leaf: '^a$'\n    share: 10%\n", 0},
        {"    leaf: '^a$'\n    for: threads\n", 11},
        {"    leaf: '^a$'\n    for: goroutines\n", 0},
        {"    leaf: '^a$'\n    grown: 2x\n", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (counted(fixture, rows[i].lines) != rows[i].members)
            fail_msg("%s: %d", rows[i].lines, (int)counted(fixture, rows[i].lines));
}

/* The first place where an item fits is not always the one its follower needs. */
static void test_sequence_goes_on(void **state)
{
    struct fixture *fixture = *state;
    add_members(fixture, "a < x < a < b < main", 1, NULL);
    add_members(fixture, "a < a < b < c < main", 10, NULL);
    assert_int_equal(counted(fixture, "    stack: ['^a$', '-> ^b$']\n"), 11);
    assert_int_equal(counted(fixture, "    stack: ['^a$', '-> ^b$', '-> ^main$']\n"), 1);
    assert_int_equal(counted(fixture, "    stack: ['^a$', '^a$', '-> ^b$']\n"), 11);
    assert_int_equal(counted(fixture, "    stack: ['-> ^a$', '^b$']\n"), 11);
    assert_int_equal(counted(fixture, "    stack: ['-> ^a$', '-> ^a$']\n"), 10);
}

static void test_machinery(void **state)
{
    struct fixture *fixture = *state;
    add_members(fixture, "futex_wait < __GI___lll_lock_wait < work < main", 1, NULL);
    add_members(fixture, "futex_wait < lll_other", 10, NULL);
    static const char yaml[] = "plugin: p\nversion: 1\nmachinery: ['^futex_', 'lll_lock_wait$', '^lll_']\nrules:\n"
                               "  - id: work\n    severity: info\n    title: t\n    leaf: '^work$'\n"
                               "  - id: futex\n    severity: critical\n    title: t\n    leaf: '^futex_wait$'\n"
                               "  - id: first\n    severity: warning\n    title: t\n    stack: ['-> ^work$']\n"
                               "  - id: inside\n    severity: info\n    title: t\n    stack: ['^futex', '-> lll_', '-> work']\n";
    const struct findings *findings = run_only(fixture, yaml, NULL);
    assert_int_equal(findings->count, 4);
    assert_string_equal(findings->entries[0].rule.data, "p/futex");
    assert_int_equal(findings->entries[0].members, 10);
    assert_string_equal(findings->entries[1].rule.data, "p/first");
    assert_int_equal(findings->entries[1].members, 1);
    assert_string_equal(findings->entries[2].rule.data, "p/inside");
    assert_string_equal(findings->entries[3].rule.data, "p/work");
    findings = run_only(fixture, yaml, "inside");
    assert_int_equal(findings->count, 1);
    findings = run_only(fixture, yaml, "p/inside");
    assert_int_equal(findings->count, 1);
    assert_int_equal(run_only(fixture, yaml, "p")->count, 4);
    assert_int_equal(run_only(fixture, yaml, "ins")->count, 0);
}

/* Go's text form leaves the runtime's names out, at both ends. */
static void test_frames_without_names(void **state)
{
    struct fixture *fixture = *state;
    struct frame *frames;
    add_members(fixture, "hidden < pool.get < main.serve < hidden", 2, NULL);
    fixture->literal.snapshot.kind = PROFILE_GOROUTINES;
    frames = fixture->literal.snapshot.frames;
    frames[0].function = frames[3].function = 0;
    assert_int_equal(counted(fixture, "    leaf: '^pool\\.get$'\n    root: '^main\\.serve$'\n"), 2);
    assert_int_equal(counted(fixture, "    stack: ['-> ^pool', '-> ^main']\n"), 2);
    assert_non_null(strstr(fixture->findings.entries[0].evidence[0].data, "2 in pool.get (group "));
    fixture->literal.snapshot.kind = PROFILE_THREADS;
    assert_int_equal(counted(fixture, "    leaf: '^pool'\n"), 0);
    assert_int_equal(counted(fixture, "    root: '^main'\n"), 0);
}

static void test_members(void **state)
{
    struct fixture *fixture = *state;
    struct snapshot *snapshot = &fixture->literal.snapshot;
    add_members(fixture, "lock < work < main", 4, "futex wait");
    struct resource resources[] = {{.kind = WAIT_MUTEX, .address = 0x1000}, {.kind = WAIT_SOCKET}};
    struct wait waits[] = {
        {.member = 0, .resource = 0, .learnt = LEARNT_READ}, {.member = 1, .resource = 1, .learnt = LEARNT_READ}};
    snapshot->resources = resources;
    snapshot->resource_count = 2;
    snapshot->waits = waits;
    snapshot->wait_count = 2;
    snapshot->members[0].wait_count = 1;
    snapshot->members[1].wait_first = 1;
    snapshot->members[1].wait_count = 1;
    snapshot->members[1].state = intern_table_add(&snapshot->strings, TEXT("read"));
    snapshot->members[2].waited_known = true;
    snapshot->members[2].waited_seconds = 300;
    snapshot->members[2].count = 10;
    snapshot->members[3].creator = intern_table_add(&snapshot->strings, TEXT("main.start"));
    snapshot->total = 13;
    assert_int_equal(counted(fixture, "    state: '^futex'\n"), 12);
    assert_int_equal(counted(fixture, "    state: '^read$'\n"), 1);
    assert_int_equal(counted(fixture, "    waits-on: mutex\n"), 1);
    assert_int_equal(counted(fixture, "    waits-on: [socket, mutex]\n"), 2);
    assert_int_equal(counted(fixture, "    waits-on: cond\n"), 0);
    assert_int_equal(counted(fixture, "    waited: 5m\n"), 10);
    assert_int_equal(counted(fixture, "    waited: 301s\n"), 0);
    assert_int_equal(counted(fixture, "    created-by: '^main\\.'\n"), 1);
    assert_int_equal(counted(fixture, "    waits-on: mutex\n    leaf: 'other'\n"), 0);
    counted(fixture, "    waits-on: mutex\n    by: resource\n");
    const struct finding *finding = &fixture->findings.entries[0];
    assert_int_equal(finding->confidence, CONFIDENCE_READ);
    assert_string_equal(finding->keys[0].name, "resource");
    assert_string_equal(finding->keys[0].value.data, "mutex 0x1000");
    assert_int_equal(counted(fixture, "    by: resource\n"), 2);
    assert_int_equal(fixture->findings.count, 2);
    assert_int_equal(counted(fixture, "    by: creator\n"), 13);
    assert_int_equal(fixture->findings.count, 2);
    assert_string_equal(fixture->findings.entries[0].keys[0].value.data, "unknown");
    assert_string_equal(fixture->findings.entries[1].keys[0].value.data, "main.start");
}

static void test_captures(void **state)
{
    struct fixture *fixture = *state;
    add_members(fixture, "read < redis_get < main", 3, "read");
    add_members(fixture, "read < redis_set < main", 1200, "read");
    add_members(fixture, "read < other < main", 1, "read");
    static const char yaml[] = "plugin: p\nversion: 1\nrules:\n"
                               "  - id: each\n    severity: critical\n    title: '{members} {kind} in {op}, {nothing} {'\n"
                               "    any: '^redis_(?<op>.*)$'\n    by: op\n    advice: do it\n    runbook: x.md\n"
                               "  - id: all\n    severity: info\n    title: '{op}'\n    stack: ['^read$', '-> redis_(?<op>.*)$']\n";
    const struct findings *findings = run_only(fixture, yaml, NULL);
    assert_int_equal(findings->count, 3);
    const struct finding *finding = &findings->entries[0];
    assert_string_equal(finding->title.data, "1,200 threads in set, {nothing} {");
    assert_string_equal(finding->advice.data, "do it");
    assert_string_equal(finding->runbook.data, "x.md");
    assert_string_equal(finding->runbook_path.data, "/etc/plugins/x.md");
    assert_int_equal(finding->confidence, CONFIDENCE_INFERRED);
    assert_int_equal(finding->group_count, 1);
    assert_int_equal(finding->groups[0].members, 1200);
    assert_string_equal(finding->evidence[1].data, "Their states: read 1,200");
    assert_string_equal(findings->entries[1].title.data, "3 threads in get, {nothing} {");
    assert_string_equal(findings->entries[2].title.data, "get and others");
    assert_int_equal(findings->entries[2].group_count, 2);
    assert_int_equal(findings->entries[2].groups[0].members, 1200);
}

/* Every way to part a name of 4,000 letters: the rule is named, the others are applied. */
/* A rule without a threshold finds as many as there are functions: the largest are told. */
static void test_many_keys(void **state)
{
    struct fixture *fixture = *state;
    enum { functions = limit_masses_of_rule + 30 };
    for (int i = 0; i < functions; i++) {
        char stack[64];
        snprintf(stack, sizeof stack, "work%d < main", i);
        add_members(fixture, stack, (size_t)i + 1, "read");
    }
    const struct findings *findings =
        run_only(fixture, "plugin: p\nversion: 1\nrules:\n  - id: all\n    severity: info\n    title: 'x'\n"
                          "    by: function\n", NULL);
    assert_int_equal(findings->count, limit_masses_of_rule);
    assert_int_equal(findings->entries[0].members, functions);
    const struct finding *last = &findings->entries[limit_masses_of_rule - 1];
    assert_int_equal(last->members, 31);
    assert_string_equal(last->evidence[last->evidence_count - 1].data,
                        "30 more that the rule finds, none of them larger, are not told");
}

static void test_match_limit(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 200; i++) {
        char name[4000];
        int length = snprintf(name, sizeof name, "std::f%d::", i);
        memset(name + length, 'a', sizeof name - 1 - (size_t)length);
        name[sizeof name - 2] = '!';
        name[sizeof name - 1] = 0;
        uint32_t stack = literal_stack(&fixture->literal, STACK_END_OUTERMOST, 0);
        uint32_t location = literal_location(&fixture->literal, 0x1000 + (uint64_t)i, false, index_none, 4);
        literal_frame(&fixture->literal, name, NULL, 0, false);
        literal_step(&fixture->literal, location, TRUST_CFI);
        literal_member(&fixture->literal, 1 + (uint64_t)i, stack, NULL, -1);
    }
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    const struct findings *findings = run_only(fixture,
        "plugin: p\nversion: 1\nrules:\n  - id: bomb\n    severity: info\n    title: t\n    any: '(a+)+$'\n"
        "  - id: good\n    severity: info\n    title: t\n    any: '^std::'\n",
        NULL);
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_int_equal(findings->count, 1);
    assert_string_equal(findings->entries[0].rule.data, "p/good");
    assert_int_equal(findings->entries[0].members, 200);
    const struct diagnostics *diagnostics = &fixture->literal.diagnostics;
    assert_int_equal(diagnostics->count, 1);
    assert_string_equal(diagnostics->entries[0].code, "rule-match-limit");
    assert_string_equal(diagnostics->entries[0].subject, "p/bomb");
    assert_int_equal(diagnostics->entries[0].weight, DIAGNOSTIC_LOST);
    assert_int_equal(diagnostics->entries[0].count, 1);
    assert_true(after.tv_sec - before.tv_sec < 3);
}

static void test_errors_of_rules(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *lines, *error;
    } rows[] = {
        {"    any: 'foo('\n", "p.yaml:7:15: missing closing parenthesis, in 'foo('"},
        {"    any: 'it''s ('\n", "p.yaml:7:18: missing closing parenthesis, in 'it's ('"},
        {"    any: |\n      foo(\n", "p.yaml:8:11: missing closing parenthesis, in 'foo('"},
        {"    any: 'file:['\n", "p.yaml:7:17: missing terminating ] for character class, in '['"},
        {"    waits-on: mutx\n", "p.yaml:7:15: nothing waits on 'mutx'; did you mean 'mutex'?"},
        {"    by: op\n", "p.yaml:7:9: 'by' splits by resource, function, creator, group or a named group '(?<name>…)' of the "
                         "rule's expressions; there is no 'op'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char yaml[4096];
        snprintf(yaml, sizeof yaml, "%s%s", HEAD, rows[i].lines);
        struct rule_set *set = rule_set_new(&fixture->arena);
        struct rule_file file = rule_file_parse(TEXT("p.yaml"), text_from_string(yaml), &fixture->arena);
        assert_false(rule_set_add(set, &file, TEXT("")));
        assert_int_equal(file.error_count, 1);
        assert_string_equal(rule_file_error_text(&file, 0, &fixture->arena), rows[i].error);
        assert_int_equal(rule_set_count(set), 0);
        /* The same expression once more is the same error. */
        file = rule_file_parse(TEXT("p.yaml"), text_from_string(yaml), &fixture->arena);
        assert_false(rule_set_add(set, &file, TEXT("")));
        rule_set_release(set);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sequence_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_machinery, setup, teardown),
        cmocka_unit_test_setup_teardown(test_frames_without_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_members, setup, teardown),
        cmocka_unit_test_setup_teardown(test_captures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_match_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors_of_rules, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
