/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/limits.h"
#include "format/rule_file.h"

#include <stdio.h>

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static struct rule_file parse(const char *yaml)
{
    return rule_file_parse(TEXT("f.yaml"), text_from_string(yaml), &arena);
}

static void test_fields(void **state)
{
    (void)state;
    struct rule_file file = parse("plugin: redis-go\n"
                                  "version: 1\n"
                                  "about: Connection pools\n"
                                  "machinery: ['^futex_', 'module:libc']\n"
                                  "rules:\n"
                                  "  - id: pool\n"
                                  "    severity: critical\n"
                                  "    detector: pool\n"
                                  "    for: goroutines\n"
                                  "    acquire: '^get$'\n"
                                  "    hold: ['^a''b$', 'file:^/x']\n"
                                  "    size: MaxActive\n"
                                  "    in-use: active\n"
                                  "    at-least: 10\n"
                                  "    title: '{waiters} wait'\n"
                                  "    advice: |\n"
                                  "      One.\n"
                                  "      Two.\n"
                                  "    runbook: pool.md\n"
                                  "    examples:\n"
                                  "      - finds: |\n"
                                  "          a dump\n"
                                  "           of two lines\n"
                                  "      - silent: |\n"
                                  "          x\n"
                                  "  - id: queue\n"
                                  "    severity: info\n"
                                  "    detector: lock-queue\n"
                                  "    for: threads\n"
                                  "    leaf: '^l$'\n"
                                  "    stack: ['^a$', '-> ^b$', '->  file:c']\n"
                                  "    any: '^any$'\n"
                                  "    none: ['^n1$', '^n2$']\n"
                                  "    root: '^main$'\n"
                                  "    state: '^file:$'\n"
                                  "    created-by: '^c$'\n"
                                  "    waits-on: [mutex, rwlock]\n"
                                  "    waited: 1.5h\n"
                                  "    share: 12.5%\n"
                                  "    grown: 2.5x\n"
                                  "    by: [resource, op]\n"
                                  "    title: t\n"
                                  "    holder: member\n"
                                  "    head:\n"
                                  "      leaf: '^fsync$'\n"
                                  "      waits-on: file\n"
                                  "      waited: 90s\n");
    for (size_t i = 0; i < file.error_count; i++)
        fail_msg("%s", rule_file_error_text(&file, i, &arena));
    assert_string_equal(file.plugin.data, "redis-go");
    assert_int_equal(file.version, 1);
    assert_string_equal(file.about.data, "Connection pools");
    assert_int_equal(file.machinery.count, 2);
    assert_int_equal(file.machinery.items[1].field, RULE_FIELD_MODULE);
    assert_string_equal(file.machinery.items[1].expression.data, "libc");
    assert_int_equal(file.rule_count, 2);
    const struct rule *rule = &file.rules[0];
    assert_string_equal(rule->id.data, "pool");
    assert_int_equal(rule->severity, RULE_CRITICAL);
    assert_int_equal(rule->detector, RULE_POOL);
    assert_int_equal(rule->members, RULE_FOR_GOROUTINES);
    assert_int_equal(rule->acquire.count, 1);
    assert_int_equal(rule->hold.count, 2);
    assert_string_equal(rule->hold.items[0].expression.data, "^a'b$");
    assert_int_equal(rule->hold.items[1].field, RULE_FIELD_FILE);
    assert_string_equal(rule->hold.items[1].expression.data, "^/x");
    assert_string_equal(rule->size.data, "MaxActive");
    assert_string_equal(rule->in_use.data, "active");
    assert_int_equal(rule->at_least, 10);
    assert_string_equal(rule->title.data, "{waiters} wait");
    assert_string_equal(rule->advice.data, "One.\nTwo.");
    assert_string_equal(rule->runbook.data, "pool.md");
    assert_int_equal(rule->example_count, 2);
    assert_false(rule->examples[0].is_silent);
    assert_string_equal(rule->examples[0].dump.data, "a dump\n of two lines\n");
    assert_int_equal(rule->examples[0].place.line, 22);
    assert_true(rule->examples[1].is_silent);
    assert_int_equal(rule->place.line, 6);
    rule = &file.rules[1];
    assert_int_equal(rule->detector, RULE_LOCK_QUEUE);
    assert_int_equal(rule->holder, RULE_HOLDER_MEMBER);
    assert_int_equal(rule->match.leaf.count, 1);
    assert_int_equal(rule->match.stack.count, 3);
    assert_false(rule->match.stack.items[0].is_next);
    assert_true(rule->match.stack.items[1].is_next);
    assert_string_equal(rule->match.stack.items[1].expression.data, "^b$");
    assert_true(rule->match.stack.items[2].is_next);
    assert_int_equal(rule->match.stack.items[2].field, RULE_FIELD_FILE);
    assert_string_equal(rule->match.stack.items[2].expression.data, "c");
    assert_int_equal(rule->match.any.count, 1);
    assert_int_equal(rule->match.none.count, 2);
    assert_int_equal(rule->match.root.count, 1);
    assert_string_equal(rule->match.state.items[0].expression.data, "^file:$");
    assert_int_equal(rule->match.creator.count, 1);
    assert_int_equal(rule->match.waits_on_word_count, 2);
    assert_string_equal(rule->match.waits_on_words[1].text.data, "rwlock");
    assert_int_equal(rule->match.waited_seconds, 5400);
    assert_int_equal(rule->share_permille, 125);
    assert_int_equal(rule->grown_permille, 2500);
    assert_int_equal(rule->by_count, 2);
    assert_string_equal(rule->by[1].data, "op");
    assert_true(rule->has_head);
    assert_string_equal(rule->head.leaf.items[0].expression.data, "^fsync$");
    assert_string_equal(rule->head.waits_on_words[0].text.data, "file");
    assert_int_equal(rule->head.waited_seconds, 90);
}

/* A byte of an expression and the character of the file that it came from. */
static void test_places(void **state)
{
    (void)state;
    struct rule_file file = parse("plugin: p\nversion: 1\nmachinery:\n"
                                  "  - 'a''b(c'\n"
                                  "  - 'file:\xc3\xa4('\n"
                                  "  - |\n"
                                  "    it's(\n"
                                  "    two(\n");
    assert_int_equal(file.error_count, 0);
    static const struct {
        size_t item, offset;
        uint32_t line, column;
    } rows[] = {{0, 0, 4, 6}, {0, 1, 4, 7},  {0, 2, 4, 9}, {0, 3, 4, 10}, {1, 0, 5, 11},
                {1, 2, 5, 12}, {2, 0, 7, 5}, {2, 4, 7, 9}, {2, 6, 8, 5},  {2, 9, 8, 8}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rule_place place = rule_pattern_place(&file.machinery.items[rows[i].item], rows[i].offset);
        if (place.line != rows[i].line || place.column != rows[i].column)
            fail_msg("row %zu: %u:%u", i, place.line, place.column);
    }
}

#define HEAD "plugin: p\nversion: 1\nrules:\n  - id: r\n    severity: info\n    title: t\n"

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *error;
    } rows[] = {
        {"", "f.yaml:1:1: the file is empty"},
        {"# nothing\n", "f.yaml:1:1: the file is empty"},
        {"- a\n", "f.yaml:1:1: a plugin is a map of 'key: value' lines"},
        {"version: 1\nrules: []\n", "f.yaml:1:1: a plugin has no 'plugin'"},
        {"plugin: p\nrules: []\n", "f.yaml:1:1: a plugin has no 'version'"},
        {"plugin: p\nversion: 1\n", "f.yaml:1:1: a plugin has no 'rules'"},
        {"plugin: p\nversion: 1\nrules: x\n", "f.yaml:3:8: 'rules' is a list of rules"},
        {"plugin: p\nversion: 1\nrules: [x]\n", "f.yaml:3:9: a rule is a map of 'key: value' lines"},
        {"plugin: p\nversion: 2\nrules: []\n",
         "f.yaml:2:10: version 2 of the rule language is not known to this stackgroup, which reads 1"},
        {"plugin: P q\nversion: 1\nrules: []\n", "f.yaml:1:9: 'P q' must be lower-case letters, digits and '-'"},
        {"plugin: [p]\nversion: 1\nrules: []\n", "f.yaml:1:9: 'plugin' is one text, not a list"},
        {"plugin: p\nversion: 1\nruels: []\nmachinery: ['x']\n", "f.yaml:3:1: a plugin has no key 'ruels'; did you mean 'rules'?"},
        {"plugin: p\nversion: 1\nrules:\n  - severity: info\n    title: t\n", "f.yaml:4:5: a rule has no 'id'"},
        {"plugin: p\nversion: 1\nrules:\n  - id: r\n    title: t\n", "f.yaml:4:5: a rule has no 'severity'"},
        {HEAD "  - id: r\n    severity: info\n    title: t\n", "f.yaml:7:9: the id 'r' stands here twice, first in line 4"},
        {HEAD "    titel: x\n", "f.yaml:7:5: a rule has no key 'titel'; did you mean 'title'?"},
        {HEAD "    title: x\n", "f.yaml:7:5: 'title' stands here twice, first in line 6"},
        {HEAD "    leaf: foo\n",
         "f.yaml:7:11: a regular expression must be single-quoted or a '|' block: unquoted, YAML would cut it at ' #' and "
         "take '*', '[', '!', '{' or ': ' for its own"},
        {HEAD "    leaf: \"foo\"\n", "f.yaml:7:11: a regular expression must be single-quoted or a '|' block: in double quotes "
                                    "YAML takes backslashes away"},
        {HEAD "    leaf: >\n      foo\n", "f.yaml:7:11: a regular expression must be single-quoted or a '|' block: '>' would "
                                          "join its lines with spaces"},
        {HEAD "    leaf: 'a\n      b'\n", "f.yaml:7:11: a single-quoted regular expression must end in its line; use a '|' block"},
        {HEAD "    leaf: ['a']\n", "f.yaml:7:11: 'leaf' is one regular expression; write alternatives as 'a|b'"},
        {HEAD "    leaf: ''\n", "f.yaml:7:11: an empty regular expression"},
        {HEAD "    leaf: 'file:'\n", "f.yaml:7:11: an empty regular expression"},
        {HEAD "    leaf: '-> x'\n", "f.yaml:7:11: '-> ' stands in front of items of 'stack' only"},
        {HEAD "    any: []\n", "f.yaml:7:10: 'any' is an empty list"},
        {HEAD "    any: [{a: b}]\n", "f.yaml:7:11: a regular expression is one text, not a map; it must be single-quoted"},
        {HEAD "    at-least: many\n", "f.yaml:7:15: 'many' of 'at-least' is no whole number from 1 on"},
        {HEAD "    at-least: 0\n", "f.yaml:7:15: '0' of 'at-least' is no whole number from 1 on"},
        {HEAD "    at-least: 99999999999999999999\n",
         "f.yaml:7:15: '99999999999999999999' of 'at-least' is no whole number from 1 on"},
        {HEAD "    at-least:\n", "f.yaml:7:14: 'at-least' has no value"},
        {HEAD "    share: 50\n", "f.yaml:7:12: '50' of 'share' is no part of all members such as 50%"},
        {HEAD "    share: 101%\n", "f.yaml:7:12: '101%' of 'share' is no part of all members such as 50%"},
        {HEAD "    share: 1.%\n", "f.yaml:7:12: '1.%' of 'share' is no part of all members such as 50%"},
        {HEAD "    waited: 5\n", "f.yaml:7:13: '5' of 'waited' is no time such as 90s, 5m or 2h"},
        {HEAD "    waited: 5ms\n", "f.yaml:7:13: '5ms' of 'waited' is no time such as 90s, 5m or 2h"},
        {HEAD "    grown: 2\n", "f.yaml:7:12: '2' of 'grown' is no factor such as 2x"},
        {HEAD "    grown: 1x\n", "f.yaml:7:12: '1x' of 'grown' is no factor such as 2x"},
        {HEAD "    detector: counter\n", "f.yaml:7:15: 'counter' is no value of 'detector'; there are: count, lock-cycle, "
                                         "lock-queue, stuck, channel, pool, leak, descriptors"},
        {HEAD "    for: thread\n", "f.yaml:7:10: 'thread' is no value of 'for'; there are: any, threads, goroutines"},
        {HEAD "    detector: lock-queue\n    holder: nobody\n",
         "f.yaml:8:13: 'nobody' is no value of 'holder'; there are: member, ended, readers, unknown"},
        {HEAD "    holder: ended\n", "f.yaml:7:5: 'holder' belongs to 'detector: lock-queue', this rule's is 'count'"},
        {HEAD "    acquire: 'x'\n", "f.yaml:7:5: 'acquire' belongs to 'detector: pool', this rule's is 'count'"},
        {HEAD "    detector: pool\n", "f.yaml:4:5: a rule of 'detector: pool' has no 'acquire'"},
        {HEAD "    head: {leaf: 'x'}\n", "f.yaml:7:5: 'head' belongs to 'detector: lock-queue', this rule's is 'count'"},
        {HEAD "    detector: lock-queue\n    head: x\n", "f.yaml:8:11: 'head' is a map of 'key: value' lines"},
        {HEAD "    detector: lock-queue\n    head: {leav: 'x'}\n", "f.yaml:8:12: 'head' has no key 'leav'; did you mean 'leaf'?"},
        {HEAD "    runbook: a/b.md\n", "f.yaml:7:14: 'a/b.md': a runbook is the name of a file beside the plugin, without a folder"},
        {HEAD "    runbook: ..\n", "f.yaml:7:14: '..': a runbook is the name of a file beside the plugin, without a folder"},
        {HEAD "    examples: x\n", "f.yaml:7:15: 'examples' is a list of 'finds: |' and 'silent: |'"},
        {HEAD "    examples: [x]\n", "f.yaml:7:16: an example is a map of 'key: value' lines"},
        {HEAD "    examples:\n      - found: |\n          x\n",
         "f.yaml:8:9: an example is one of 'finds: |' and 'silent: |' with a dump below it"},
        {HEAD "    examples:\n      - finds: x\n", "f.yaml:8:16: a dump must be a '|' block, in which lines stay as they are"},
        {HEAD "    advice: &a x\n", "f.yaml:7:13: anchors ('&a') are not allowed in rule files"},
        {HEAD "    <<: {a: b}\n", "f.yaml:7:5: merge keys ('<<') are not allowed in rule files"},
        {HEAD "   x: 1\n", "f.yaml:7:4: did not find expected '-' indicator, while parsing a block collection from line 4 on"},
        /* What stood behind the end of the reading is not said to be missing. */
        {"plugin: p\nrules:\n  - id: 'x\n", "f.yaml:4:1: found unexpected end of stream, while scanning a quoted scalar from "
                                            "line 3 on"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rule_file file = parse(rows[i].yaml);
        if (file.error_count != 1)
            fail_msg("%s: %zu errors: %s", rows[i].yaml, file.error_count,
                     file.error_count != 0 ? rule_file_error_text(&file, 0, &arena) : "");
        assert_string_equal(rule_file_error_text(&file, 0, &arena), rows[i].error);
    }
    struct rule_file file = parse(HEAD "    zzzzzzzzzzzz: x\n");
    assert_int_equal(file.error_count, 1);
    assert_non_null(strstr(file.errors[0].message, "a rule has no key 'zzzzzzzzzzzz'; there are: id, severity"));
}

static void test_all_errors(void **state)
{
    (void)state;
    struct rule_file file = parse("plugin: p\nversion: 1\nrules:\n"
                                  "  - id: a\n    severity: bad\n    title: x\n    laef: x\n    leaf: x\n"
                                  "  - id: a\n    severity: info\n    title: *x\n    share: 0%\n");
    static const uint32_t lines[] = {5, 7, 8, 9, 11, 12};
    assert_int_equal(file.error_count, sizeof lines / sizeof lines[0]);
    for (size_t i = 0; i < file.error_count; i++)
        assert_int_equal(file.errors[i].place.line, lines[i]);
}

static void test_error_limit(void **state)
{
    (void)state;
    static char yaml[20000];
    int length = sprintf(yaml, "plugin: p\nversion: 1\nmachinery:\n");
    for (int i = 0; i < 2 * limit_rule_file_errors; i++)
        length += sprintf(yaml + length, "  - plain\n");
    assert_int_equal(parse(yaml).error_count, limit_rule_file_errors);
}

static void test_nearest(void **state)
{
    (void)state;
    static const char *const words[] = {"severity", "title", "by", "mutex"};
    assert_string_equal(rule_word_nearest(TEXT("severty"), words, 4), "severity");
    assert_string_equal(rule_word_nearest(TEXT("tilte"), words, 4), "title");
    assert_string_equal(rule_word_nearest(TEXT("mutexes"), words, 4), "mutex");
    assert_null(rule_word_nearest(TEXT("runbook"), words, 4));
    assert_null(rule_word_nearest(TEXT("xyz"), words, 4));
    assert_null(rule_word_nearest(TEXT("a-word-of-more-letters-than-are-compared-at-all"), words, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),     cmocka_unit_test(test_places),      cmocka_unit_test(test_errors),
        cmocka_unit_test(test_all_errors), cmocka_unit_test(test_error_limit), cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
