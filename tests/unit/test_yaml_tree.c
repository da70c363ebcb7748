/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/limits.h"
#include "format/yaml_tree.h"

#include <stdio.h>
#include <stdlib.h>

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

static const struct yaml_node *child(const struct yaml_node *node, size_t number)
{
    const struct yaml_node *found = node->first;
    while (number-- > 0)
        found = found->next;
    return found;
}

static void assert_place(struct yaml_place place, uint32_t line, uint32_t column)
{
    assert_int_equal(place.line, line);
    assert_int_equal(place.column, column);
}

static void test_tree(void **state)
{
    (void)state;
    struct yaml_tree tree = yaml_tree_parse(TEXT("# comment\n"
                                                 "a: plain text # comment\n"
                                                 "b: 'it''s'\n"
                                                 "\xc3\xa4: \"x\\ty\"\n"
                                                 "list:\n"
                                                 "  - |\n"
                                                 "    one\n"
                                                 "      two\n"
                                                 "  - |2\n"
                                                 "       three\n"
                                                 "  - >\n"
                                                 "    f\n"
                                                 "    g\n"
                                                 "  - {k: v, w: [1, 2]}\n"
                                                 "empty:\n"),
                                            &arena);
    assert_int_equal(tree.error_count, 0);
    assert_false(tree.is_cut);
    const struct yaml_node *root = tree.root;
    assert_int_equal(root->kind, YAML_TREE_MAP);
    assert_string_equal(child(root, 0)->key->text.data, "a");
    assert_string_equal(child(root, 0)->text.data, "plain text");
    assert_int_equal(child(root, 0)->style, YAML_TREE_PLAIN);
    assert_place(child(root, 0)->place, 2, 4);
    assert_place(child(root, 0)->content, 2, 4);
    assert_string_equal(child(root, 1)->text.data, "it's");
    assert_int_equal(child(root, 1)->style, YAML_TREE_SINGLE_QUOTED);
    assert_place(child(root, 1)->place, 3, 4);
    assert_place(child(root, 1)->content, 3, 5);
    assert_string_equal(child(root, 2)->text.data, "x\ty");
    assert_int_equal(child(root, 2)->style, YAML_TREE_DOUBLE_QUOTED);
    assert_place(child(root, 2)->content, 4, 5);
    const struct yaml_node *list = child(root, 3);
    assert_int_equal(list->kind, YAML_TREE_SEQUENCE);
    assert_string_equal(child(list, 0)->text.data, "one\n  two\n");
    assert_int_equal(child(list, 0)->style, YAML_TREE_LITERAL);
    assert_place(child(list, 0)->place, 6, 5);
    assert_place(child(list, 0)->content, 7, 5);
    assert_string_equal(child(list, 1)->text.data, "   three\n");
    assert_place(child(list, 1)->content, 10, 5);
    assert_int_equal(child(list, 2)->style, YAML_TREE_FOLDED);
    assert_string_equal(child(list, 2)->text.data, "f g\n");
    assert_true(child(list, 2)->spans_lines);
    assert_int_equal(child(list, 3)->kind, YAML_TREE_MAP);
    assert_string_equal(child(child(child(list, 3), 1), 1)->text.data, "2");
    assert_string_equal(child(root, 4)->text.data, "");
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *yaml;
        uint32_t line, column;
        const char *message;
    } rows[] = {
        {"a: &x b\n", 1, 4, "anchors ('&x') are not allowed in rule files"},
        {"a: [b, *x]\n", 1, 8, "aliases ('*x') are not allowed in rule files; a text that starts with '*' must be quoted"},
        {"a: !x b\n", 1, 4, "tags ('!x') are not allowed in rule files; a text that starts with '!' must be quoted"},
        {"a: !!str b\n", 1, 4,
         "tags ('tag:yaml.org,2002:str') are not allowed in rule files; a text that starts with '!' must be quoted"},
        {"<<: {a: b}\n", 1, 1, "merge keys ('<<') are not allowed in rule files"},
        {"a: b\nc: d\na: e\n", 3, 1, "'a' stands here twice, first in line 1"},
        {"a: b\n---\nc: d\n", 2, 1, "a second document: one file is one plugin"},
        {"%YAML 1.1\n---\na: b\n", 1, 1, "directives ('%…') are not allowed in rule files"},
        {"? [a]\n: b\n", 1, 3, "a key must be a word, not a list or a map"},
        {"a: \"x\\0y\"\n", 1, 4, "a text with a control character"},
        {"a: \"x\\e[2Jy\"\n", 1, 4, "a text with a control character"},
        {"a: \"\\r\"\n", 1, 4, "a text with a control character"},
        {"\"a\\u009b\": 1\n", 1, 1, "a text with a control character"},
        {"a: b\n\tc: d\n", 2, 1, "found a tab character that violates indentation, while scanning a plain scalar from line 1 on"},
        {"a: 'b\n", 2, 1, "found unexpected end of stream, while scanning a quoted scalar from line 1 on"},
        {"a: \"\\.\"\n", 1, 5, "found unknown escape character; in single quotes a backslash stands for itself"},
        {"a: b\nc: \xc3(\n", 2, 4, "not UTF-8 (byte 0xc3)"},
        {"a: \x01\n", 1, 4, "a control character (0x01)"},
        {"a: x\xe2\x80\xa8y\n", 1, 5, "a line break that editors do not show (U+2028)"},
        {"[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]", 1, 17, "more than 16 levels of lists and maps"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct yaml_tree tree = yaml_tree_parse(text_from_string(rows[i].yaml), &arena);
        if (tree.error_count != 1)
            fail_msg("%s: %zu errors", rows[i].yaml, tree.error_count);
        assert_string_equal(tree.errors[0].message, rows[i].message);
        assert_place(tree.errors[0].place, rows[i].line, rows[i].column);
    }
}

/* What is refused does not hide what comes after it. */
static void test_goes_on(void **state)
{
    (void)state;
    struct yaml_tree tree = yaml_tree_parse(TEXT("a: &x 1\nb: *x\nb: !t 2\n<<: 3\nc: 4\n"), &arena);
    assert_int_equal(tree.error_count, 5);
    assert_false(tree.is_cut);
    tree = yaml_tree_parse(TEXT("a: 1\nb: [2, 3\nc: 4\n"), &arena);
    assert_int_equal(tree.error_count, 1);
    assert_true(tree.is_cut);
    assert_string_equal(child(tree.root, 0)->text.data, "1");
}

static void test_limits(void **state)
{
    (void)state;
    size_t length = limit_rule_file_bytes + 1;
    char *bytes = malloc(length + 1);
    memset(bytes, '#', length);
    struct yaml_tree tree = yaml_tree_parse((struct text){bytes, length}, &arena);
    assert_int_equal(tree.error_count, 1);
    assert_null(tree.root);
    /* Twice as many values as are read: "[1,1,1 …". */
    length = 4 * (size_t)limit_yaml_nodes;
    for (size_t i = 0; i < length; i++)
        bytes[i] = i == 0 ? '[' : i % 2 == 1 ? '1' : ',';
    tree = yaml_tree_parse((struct text){bytes, length}, &arena);
    assert_true(tree.is_cut);
    assert_string_equal(tree.errors[0].message, "more than 100000 values in one file");
    length = 0;
    for (int i = 0; i <= limit_yaml_keys; i++)
        length += (size_t)sprintf(bytes + length, "k%d: 1\n", i);
    tree = yaml_tree_parse((struct text){bytes, length}, &arena);
    assert_true(tree.is_cut);
    assert_string_equal(tree.errors[0].message, "more than 256 keys in one map");
    free(bytes);
}

/* libyaml's memory is given back when the arena's ceiling is reached; a sanitizer sees if not. */
static void test_exhaustion(void **state)
{
    (void)state;
    struct arena small;
    jmp_buf exhausted;
    static char bytes[200000];
    memset(bytes, 'x', sizeof bytes);
    memcpy(bytes, "a: |\n ", 6);
    arena_init(&small, 100000, &exhausted);
    if (setjmp(exhausted) == 0) {
        yaml_tree_parse((struct text){bytes, sizeof bytes}, &small);
        fail_msg("not exhausted");
    }
    assert_ptr_equal(small.exhausted, &exhausted);
    arena_deinit(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree),   cmocka_unit_test(test_errors),     cmocka_unit_test(test_goes_on),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_exhaustion),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
