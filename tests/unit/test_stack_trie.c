/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "unwind/stack_trie.h"

static struct arena arena;
static struct stack_trie trie;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0, NULL);
    stack_trie_init(&trie, &arena);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static void test_key(void **state)
{
    (void)state;
    bool is_new;
    uint32_t node = stack_trie_child(&trie, 0, 0x1000, true, TRUST_REGISTERS, &is_new);
    assert_true(is_new);
    assert_int_equal(trie.nodes[node].depth, 1);
    assert_int_equal(trie.nodes[node].parent, 0);
    assert_int_equal(trie.nodes[node].plan, 0);
    assert_int_equal(stack_trie_child(&trie, 0, 0x1000, true, TRUST_REGISTERS, &is_new), node);
    assert_false(is_new);
    /* Each part of the key tells nodes apart. */
    uint32_t others[] = {stack_trie_child(&trie, 0, 0x1001, true, TRUST_REGISTERS, &is_new),
                         stack_trie_child(&trie, 0, 0x1000, false, TRUST_REGISTERS, &is_new),
                         stack_trie_child(&trie, 0, 0x1000, true, TRUST_CFI, &is_new),
                         stack_trie_child(&trie, node, 0x1000, true, TRUST_REGISTERS, &is_new)};
    for (size_t i = 0; i < 4; i++) {
        assert_int_not_equal(others[i], node);
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(others[i], others[j]);
    }
    assert_int_equal(trie.nodes[others[3]].depth, 2);
    assert_int_equal(stack_trie_child(&trie, 0, 0x1000, true, TRUST_REGISTERS, &is_new), node);
}

/* The child that was taken last is found without the table. */
static void test_hits(void **state)
{
    (void)state;
    bool is_new;
    for (int i = 0; i < 10; i++)
        stack_trie_child(&trie, 0, 0x1000, true, TRUST_REGISTERS, &is_new);
    assert_int_equal(trie.hits, 9);
    assert_int_equal(trie.misses, 1);
    stack_trie_child(&trie, 0, 0x2000, true, TRUST_REGISTERS, &is_new);
    stack_trie_child(&trie, 0, 0x1000, true, TRUST_REGISTERS, &is_new);
    assert_false(is_new);
    assert_int_equal(trie.misses, 3);
}

/* 100,000 nodes through several resizes: a tree of 10 children each, built twice. */
static void test_many(void **state)
{
    (void)state;
    enum { count = 100000 };
    uint32_t *nodes = test_malloc(count * sizeof *nodes);
    for (int round = 0; round < 2; round++)
        for (uint32_t i = 0; i < count; i++) {
            bool is_new;
            uint32_t parent = i < 10 ? 0 : nodes[i / 10 - 1];
            uint32_t node = stack_trie_child(&trie, parent, 0x400000 + i % 10, false, TRUST_CFI, &is_new);
            assert_int_equal(is_new, round == 0);
            if (round == 0)
                nodes[i] = node;
            else
                assert_int_equal(nodes[i], node);
            assert_int_equal(trie.nodes[node].depth, trie.nodes[parent].depth + 1);
        }
    assert_int_equal(trie.node_count, count + 1);
    test_free(nodes);
}

static void test_stacks(void **state)
{
    (void)state;
    bool is_new;
    uint32_t node = stack_trie_child(&trie, 0, 0x1000, true, TRUST_REGISTERS, &is_new);
    uint32_t missing = stack_trie_stack(&trie, node, STACK_END_MEMORY_MISSING, 0x7000);
    uint32_t outermost = stack_trie_stack(&trie, node, STACK_END_OUTERMOST, 0);
    assert_int_not_equal(missing, outermost);
    assert_int_equal(stack_trie_stack(&trie, node, STACK_END_MEMORY_MISSING, 0x8000), missing);
    assert_int_equal(stack_trie_stack(&trie, node, STACK_END_OUTERMOST, 0), outermost);
    assert_int_equal(trie.stacks[missing].end_address, 0); /* they differ */
    assert_int_equal(trie.stacks[missing].node, node);
    /* A stack without frames. */
    uint32_t none = stack_trie_stack(&trie, 0, STACK_END_NO_REGISTERS, 0);
    assert_int_equal(stack_trie_stack(&trie, 0, STACK_END_NO_REGISTERS, 0), none);
    assert_int_equal(trie.stack_count, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stacks, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
