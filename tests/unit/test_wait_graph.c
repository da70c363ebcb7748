/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "literal_snapshot.h"

#include "detect/wait_graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static struct literal literal;
static struct arena arena, scratch;
static struct wait_graph graph;

static int setup(void **state)
{
    (void)state;
    literal_init(&literal);
    arena_init(&arena, 0, NULL);
    arena_init(&scratch, 0, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&scratch);
    arena_deinit(&arena);
    literal_deinit(&literal);
    return 0;
}

static void add_members(uint32_t count)
{
    uint32_t stack = literal_stack(&literal, STACK_END_OUTERMOST, 0);
    for (uint32_t i = 0; i < count; i++)
        literal_member(&literal, 100 + i, stack, NULL, -1);
}

static void add_resources(enum wait_kind kind, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        literal_resource(&literal, kind, 0x1000 + 0x40 * (uint64_t)literal.snapshot.resource_count, NULL);
}

static void waits(uint32_t member, uint32_t resource)
{
    literal_wait(&literal, member, resource, true, LEARNT_READ);
}

static void holds(uint32_t member, uint32_t resource)
{
    literal_hold(&literal, resource, member, LEARNT_READ);
}

static void reads(uint32_t member, uint32_t resource)
{
    literal_hold(&literal, resource, member, LEARNT_READ)->exclusive = false;
}

static void make_graph(void)
{
    literal_sort_waits(&literal);
    graph = wait_graph_make(&literal.snapshot, NULL, 0, &arena, &scratch);
}

/* "0>0 1>1; 2>3": members and the resources they wait for, a cycle after another; "(+9)" for a selection. */
static const char *cycles_text(void)
{
    char *text = arena_alloc(&arena, 1 << 16, 1);
    size_t length = 0;
    for (size_t i = 0; i < graph.component_count; i++) {
        struct graph_cycles cycles = wait_graph_cycles(&graph, &graph.components[i], &arena, &scratch);
        for (size_t k = 0; k < cycles.count; k++) {
            length += (size_t)sprintf(text + length, "%s", length == 0 ? "" : "; ");
            for (size_t n = 0; n < cycles.cycles[k].count; n += 2)
                length += (size_t)sprintf(text + length, "%s%u>%u", n == 0 ? "" : " ",
                                          cycles.nodes[cycles.cycles[k].first + n],
                                          cycles.nodes[cycles.cycles[k].first + n + 1]);
        }
        if (!cycles.is_complete)
            length += (size_t)sprintf(text + length, " (+%zu)", cycles.at_least);
    }
    return text;
}

static void a_cycle_of_two(void **state)
{
    (void)state;
    add_members(4);
    add_resources(WAIT_MUTEX, 2);
    holds(1, 0), waits(1, 1);
    holds(3, 1), waits(3, 0);
    make_graph();
    assert_string_equal(cycles_text(), "1>1 3>0");
    assert_int_equal(graph.components[0].victim_count, 0);
    assert_false(graph.is_stuck[0]);
    assert_true(graph.is_stuck[1]);
}

static void a_cycle_of_three_and_its_victims(void **state)
{
    (void)state;
    add_members(60);
    add_resources(WAIT_MUTEX, 4);
    for (uint32_t i = 0; i < 3; i++)
        holds(i, i), waits(i, (i + 1) % 3);
    holds(3, 3), waits(3, 0); /* itself a victim, it has others behind it */
    for (uint32_t i = 4; i < 54; i++)
        waits(i, i % 4);
    make_graph();
    assert_string_equal(cycles_text(), "0>1 1>2 2>0");
    assert_int_equal(graph.component_count, 1);
    assert_int_equal(graph.components[0].member_count, 3);
    assert_int_equal(graph.components[0].victim_count, 51);
    assert_int_equal(graph.victims[0], 3);
}

static void two_cycles_that_share_a_member(void **state)
{
    (void)state;
    /* Writers 0 and 1 wait for two readers that hold the rwlock 0; those wait for mutexes 1 and 2, which 0 holds. */
    add_members(3);
    add_resources(WAIT_RWLOCK, 1);
    add_resources(WAIT_MUTEX, 2);
    waits(0, 0), reads(1, 0), reads(2, 0);
    holds(0, 1), holds(0, 2);
    waits(1, 1), waits(2, 2);
    make_graph();
    assert_int_equal(graph.component_count, 1);
    assert_string_equal(cycles_text(), "0>0 1>1; 0>0 2>2");
}

static void a_member_that_waits_for_itself(void **state)
{
    (void)state;
    add_members(2);
    add_resources(WAIT_MUTEX, 1);
    holds(1, 0), waits(1, 0), waits(0, 0);
    make_graph();
    assert_string_equal(cycles_text(), "1>0");
    assert_int_equal(graph.components[0].victim_count, 1);
}

static void two_readers_that_want_to_write(void **state)
{
    (void)state;
    add_members(2);
    add_resources(WAIT_RWLOCK, 1);
    reads(0, 0), reads(1, 0), waits(0, 0), waits(1, 0);
    make_graph();
    assert_int_equal(graph.component_count, 1);
    assert_string_equal(cycles_text(), "0>0; 1>0");
}

static void readers_wait_for_readers_only_behind_a_writer(void **state)
{
    (void)state;
    add_members(3);
    add_resources(WAIT_RWLOCK, 1);
    reads(0, 0);
    literal_wait(&literal, 0, 0, false, LEARNT_READ);
    make_graph();
    assert_int_equal(graph.component_count, 0);
    assert_false(graph.is_stuck[0]);
    waits(1, 0);
    make_graph();
    assert_string_equal(cycles_text(), "0>0");
    assert_int_equal(graph.components[0].victim_count, 1);
}

static void one_reader_of_several_suffices(void **state)
{
    (void)state;
    add_members(4);
    add_resources(WAIT_RWLOCK, 1);
    add_resources(WAIT_MUTEX, 1);
    reads(1, 0), reads(2, 0), reads(3, 0); /* 1 and 3 run */
    waits(0, 0), holds(0, 1), waits(2, 1);
    make_graph();
    assert_string_equal(cycles_text(), "0>0 2>1");
    assert_false(graph.is_stuck[1]);
}

static void a_chain_is_no_cycle(void **state)
{
    (void)state;
    add_members(5);
    add_resources(WAIT_MUTEX, 4);
    for (uint32_t i = 0; i < 4; i++)
        waits(i, i), holds(i + 1, i);
    make_graph();
    assert_int_equal(graph.component_count, 0);
    assert_false(graph.is_stuck[0]);
    assert_int_equal(wait_graph_wait(&graph, 2)->resource, 2);
    assert_null(wait_graph_wait(&graph, 4));
}

static void joins_are_edges_and_conditions_are_not(void **state)
{
    (void)state;
    add_members(4);
    add_resources(WAIT_JOIN, 1);
    add_resources(WAIT_MUTEX, 1);
    add_resources(WAIT_CONDITION, 2);
    waits(0, 0), holds(1, 0);
    waits(1, 1), holds(0, 1);
    waits(2, 2), holds(3, 2), waits(3, 3), holds(2, 3);
    make_graph();
    assert_string_equal(cycles_text(), "0>0 1>1");
    assert_false(graph.is_stuck[2]);
}

static void one_of_several_alternatives_wakes(void **state)
{
    (void)state;
    /* Member 0 waits for either lock. 1 waits for 0; 2 runs, until it waits for 0 as well. */
    add_members(3);
    add_resources(WAIT_MUTEX, 3);
    waits(0, 0), waits(0, 1), holds(1, 0), holds(2, 1), holds(0, 2), waits(1, 2);
    make_graph();
    assert_int_equal(graph.component_count, 0);
    assert_null(wait_graph_wait(&graph, 0));
    waits(2, 2);
    make_graph();
    assert_string_equal(cycles_text(), "0>0 1>2; 0>1 2>2");
    /* Something else that can wake it. */
    add_resources(WAIT_CONDITION, 1);
    waits(0, 3);
    make_graph();
    assert_int_equal(graph.component_count, 0);
    assert_int_equal(wait_graph_wait_count(&graph, 0), 0);
}

static void nonsense_is_passed_over(void **state)
{
    (void)state;
    add_members(3);
    add_resources(WAIT_MUTEX, 2);
    holds(0, 0); /* holds, waits for nothing */
    holds(77, 1), holds(1, 99), holds(UINT32_MAX, UINT32_MAX);
    waits(1, 99), waits(88, 0), waits(UINT32_MAX, UINT32_MAX);
    waits(2, 1), waits(2, 1), waits(2, 1);
    make_graph();
    assert_int_equal(graph.component_count, 0);
    assert_int_equal(graph.locks[1].waiter_count, 1);
    assert_int_equal(graph.locks[1].hold_count, 0);
}

static void nothing_at_all(void **state)
{
    (void)state;
    make_graph();
    assert_int_equal(graph.component_count, 0);
}

static double milliseconds_since(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) * 1e3 + (double)(now.tv_nsec - start->tv_nsec) / 1e6;
}

static void a_tangle_of_200(void **state)
{
    (void)state;
    add_members(200);
    add_resources(WAIT_RWLOCK, 200);
    for (uint32_t i = 0; i < 200; i++) {
        waits(i, i);
        for (uint32_t k = 0; k < 200; k++)
            if (k != i)
                reads(k, i);
    }
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    make_graph();
    struct graph_cycles cycles = wait_graph_cycles(&graph, &graph.components[0], &arena, &scratch);
    print_message("200 threads, each waiting for all others: %.1f ms\n", milliseconds_since(&start));
    assert_int_equal(graph.component_count, 1);
    assert_int_equal(graph.components[0].member_count, 200);
    assert_false(cycles.is_complete);
    assert_true(cycles.at_least > 64);
    assert_int_equal(cycles.count, 8);
    for (size_t i = 0; i < cycles.count; i++)
        assert_int_equal(cycles.cycles[i].count, 4);
}

/* Sizes that a user may meet and that a forged file may ask for; no recursion, nothing quadratic. */
static void a_million(void **state)
{
    (void)state;
    enum { count = 1000000 };
    add_members(count);
    add_resources(WAIT_MUTEX, count);
    for (uint32_t i = 0; i < count / 2; i++)
        holds(i, i), waits(i, (i + 1) % (count / 2));
    for (uint32_t i = count / 2; i < count; i++)
        holds(i, i), waits(i, i - 1);
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    make_graph();
    assert_int_equal(graph.component_count, 1);
    struct graph_cycles cycles = wait_graph_cycles(&graph, &graph.components[0], &arena, &scratch);
    print_message("a ring of 500,000 with a chain of 500,000 behind it: %.0f ms\n", milliseconds_since(&start));
    assert_int_equal(graph.components[0].victim_count, count / 2);
    assert_int_equal(cycles.count, 1);
    assert_int_equal(cycles.cycles[0].count, count);
    assert_true(cycles.is_complete);
}

static void a_ring_with_a_chord(void **state)
{
    (void)state;
    enum { count = 20000 };
    add_members(count);
    add_resources(WAIT_RWLOCK, count);
    for (uint32_t i = 0; i < count; i++)
        reads(i, i), waits(i, (i + 1) % count);
    reads(count / 2, 1); /* member 0 waits for 1 and, across, for count / 2 */
    make_graph();
    struct graph_cycles cycles = wait_graph_cycles(&graph, &graph.components[0], &arena, &scratch);
    assert_true(cycles.is_complete);
    assert_int_equal(cycles.count, 2);
    assert_int_equal(cycles.cycles[0].count, count + 2);
    assert_int_equal(cycles.cycles[1].count, 2 * count);
}

/* The definitions of the header, word by word, without a thought for cost. */
struct brute {
    const struct snapshot *snapshot;
    bool is_stuck[8];
    uint32_t path[16];
    size_t depth;
    char cycles[64][80];
    size_t cycle_count;
    bool is_full;
};

static bool brute_wants_holder(const struct snapshot *snapshot, const struct hold *hold)
{
    if (snapshot->resources[hold->resource].kind == WAIT_CONDITION)
        return false;
    if (snapshot->resources[hold->resource].kind != WAIT_RWLOCK || hold->exclusive)
        return true;
    for (size_t i = 0; i < snapshot->wait_count; i++) {
        const struct wait *wait = &snapshot->waits[i];
        if (wait->resource != hold->resource || !wait->exclusive)
            continue;
        bool waits_for_else = false;
        for (size_t k = 0; k < snapshot->wait_count; k++)
            waits_for_else |= snapshot->waits[k].member == wait->member &&
                              snapshot->resources[snapshot->waits[k].resource].kind == WAIT_CONDITION;
        if (!waits_for_else)
            return true;
    }
    return false;
}

static bool brute_is_blocking(const struct brute *brute, uint32_t resource)
{
    const struct snapshot *snapshot = brute->snapshot;
    for (size_t i = 0; i < snapshot->hold_count; i++)
        if (snapshot->holds[i].resource == resource && brute->is_stuck[snapshot->holds[i].member] &&
            brute_wants_holder(snapshot, &snapshot->holds[i]))
            return true;
    return false;
}

static void brute_stuck(struct brute *brute)
{
    const struct snapshot *snapshot = brute->snapshot;
    for (size_t i = 0; i < snapshot->member_count; i++)
        brute->is_stuck[i] = true;
    for (bool has_changed = true; has_changed;) {
        has_changed = false;
        for (uint32_t member = 0; member < snapshot->member_count; member++) {
            bool is_stuck = false, can_wake = false;
            for (size_t i = 0; i < snapshot->wait_count; i++)
                if (snapshot->waits[i].member == member) {
                    is_stuck = true;
                    can_wake |= !brute_is_blocking(brute, snapshot->waits[i].resource);
                }
            is_stuck &= !can_wake;
            has_changed |= is_stuck != brute->is_stuck[member];
            brute->is_stuck[member] = is_stuck;
        }
    }
}

static void brute_walk(struct brute *brute, uint32_t member)
{
    const struct snapshot *snapshot = brute->snapshot;
    for (size_t w = 0; w < snapshot->wait_count; w++) {
        uint32_t resource = snapshot->waits[w].resource;
        bool is_used = false;
        for (size_t i = 1; i < brute->depth; i += 2)
            is_used |= brute->path[i] == resource;
        if (snapshot->waits[w].member != member || is_used)
            continue;
        brute->path[brute->depth++] = resource;
        for (size_t h = 0; h < snapshot->hold_count; h++) {
            const struct hold *hold = &snapshot->holds[h];
            if (hold->resource != resource || !brute->is_stuck[hold->member] || hold->member < brute->path[0] ||
                !brute_wants_holder(snapshot, hold))
                continue;
            if (hold->member == brute->path[0]) {
                if (brute->cycle_count == 64) {
                    brute->is_full = true;
                    continue;
                }
                size_t length = 0;
                for (size_t i = 0; i < brute->depth; i += 2)
                    length += (size_t)sprintf(brute->cycles[brute->cycle_count] + length, "%s%u>%u", i == 0 ? "" : " ",
                                              brute->path[i], brute->path[i + 1]);
                brute->cycle_count++;
                continue;
            }
            bool is_on_path = false;
            for (size_t i = 0; i < brute->depth; i += 2)
                is_on_path |= brute->path[i] == hold->member;
            if (is_on_path)
                continue;
            brute->path[brute->depth++] = hold->member;
            brute_walk(brute, hold->member);
            brute->depth--;
        }
        brute->depth--;
    }
}

static int compare_texts(const void *left, const void *right)
{
    return strcmp(left, right);
}

static uint32_t random_state = 1;

static uint32_t random_below(uint32_t limit)
{
    random_state = random_state * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)(random_state >> 8) * limit >> 24);
}

static void random_graph(void)
{
    uint32_t members = 2 + random_below(6), resources = 1 + random_below(6);
    bool has_hold[8][8] = {{false}}, has_wait[8][8] = {{false}};
    add_members(members);
    for (uint32_t i = 0; i < resources; i++) {
        uint32_t kind = random_below(12);
        add_resources(kind == 0 ? WAIT_CONDITION : kind < 7 ? WAIT_MUTEX : WAIT_RWLOCK, 1);
    }
    for (uint32_t i = 0; i < members; i++) {
        uint32_t alternatives = random_below(8) == 0 ? 2 : random_below(8) != 0;
        for (uint32_t k = 0; k < alternatives; k++) {
            uint32_t resource = random_below(resources);
            if (!has_wait[i][resource])
                literal_wait(&literal, i, resource, random_below(4) != 0, LEARNT_READ);
            has_wait[i][resource] = true;
        }
    }
    for (uint32_t i = 0; i < resources; i++) {
        bool is_rwlock = literal.snapshot.resources[i].kind == WAIT_RWLOCK;
        uint32_t holders = is_rwlock ? random_below(4) : random_below(8) != 0;
        bool exclusive = !is_rwlock || holders == 1;
        for (uint32_t k = 0; k < holders; k++) {
            uint32_t member = random_below(members);
            if (!has_hold[i][member])
                literal_hold(&literal, i, member, LEARNT_READ)->exclusive = exclusive;
            has_hold[i][member] = true;
        }
    }
}

static void random_graphs_against_brute_force(void **state)
{
    (void)state;
    size_t with_cycles = 0, with_several = 0;
    for (int round = 0; round < 20000; round++) {
        random_graph();
        make_graph();
        struct brute brute = {.snapshot = &literal.snapshot};
        brute_stuck(&brute);
        for (uint32_t i = 0; i < literal.snapshot.member_count; i++)
            assert_int_equal(graph.is_stuck[i], brute.is_stuck[i]);
        for (uint32_t i = 0; i < literal.snapshot.member_count; i++) {
            brute.path[0] = i;
            brute.depth = 1;
            if (brute.is_stuck[i])
                brute_walk(&brute, i);
        }
        size_t count = 0, stuck = 0, named = 0;
        char found[64][80];
        for (size_t i = 0; i < graph.component_count; i++) {
            struct graph_cycles cycles = wait_graph_cycles(&graph, &graph.components[i], &arena, &scratch);
            named += graph.components[i].member_count + graph.components[i].victim_count;
            assert_true(cycles.is_complete);
            for (size_t k = 0; k < cycles.count && count < 64; k++, count++) {
                size_t length = 0;
                for (size_t n = 0; n < cycles.cycles[k].count; n += 2)
                    length += (size_t)sprintf(found[count] + length, "%s%u>%u", n == 0 ? "" : " ",
                                              cycles.nodes[cycles.cycles[k].first + n],
                                              cycles.nodes[cycles.cycles[k].first + n + 1]);
            }
        }
        for (uint32_t i = 0; i < literal.snapshot.member_count; i++)
            stuck += graph.is_stuck[i];
        assert_int_equal(named, stuck); /* each stuck member is in a cycle or behind one, once */
        assert_false(brute.is_full);
        assert_int_equal(count, brute.cycle_count);
        qsort(found, count, sizeof found[0], compare_texts);
        qsort(brute.cycles, count, sizeof brute.cycles[0], compare_texts);
        for (size_t i = 0; i < count; i++)
            assert_string_equal(found[i], brute.cycles[i]);
        with_cycles += count > 0;
        with_several += count > 1;
        literal_deinit(&literal);
        literal_init(&literal);
        arena_reset(&arena);
        arena_reset(&scratch);
    }
    /* The generator has to reach what it is for. */
    assert_true(with_cycles > 4000 && with_several > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        CASE(a_cycle_of_two),
        CASE(a_cycle_of_three_and_its_victims),
        CASE(two_cycles_that_share_a_member),
        CASE(a_member_that_waits_for_itself),
        CASE(two_readers_that_want_to_write),
        CASE(readers_wait_for_readers_only_behind_a_writer),
        CASE(one_reader_of_several_suffices),
        CASE(a_chain_is_no_cycle),
        CASE(joins_are_edges_and_conditions_are_not),
        CASE(one_of_several_alternatives_wakes),
        CASE(nonsense_is_passed_over),
        CASE(nothing_at_all),
        CASE(a_tangle_of_200),
        CASE(a_million),
        CASE(a_ring_with_a_chord),
        CASE(random_graphs_against_brute_force),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
