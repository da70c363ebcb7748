/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "format/go_layouts.h"

#include <string.h>

enum { minor_count = go_minor_newest - go_minor_oldest + 1 };

/* What holds between fields in all releases: runtime2.go keeps their order. */
static void test_relations(void **state)
{
    (void)state;
    for (unsigned minor = go_minor_oldest; minor <= go_minor_newest; minor++) {
        struct go_layout layout = go_layout_of(minor);
        const struct go_g_layout *g = &layout.g;
        assert_int_equal(layout.minor, minor);
        assert_int_equal(g->start_pc, g->go_pc + 16);
        assert_int_equal(g->waiting, g->start_pc + 16);
        assert_int_equal(g->labels, g->waiting + 32);
        assert_int_equal(g->parent_id, minor >= 21 ? g->go_pc - 8 : -1);
        assert_int_equal(g->id, g->status + 8);
        assert_int_equal(g->wait_since, g->id + 16);
        assert_int_equal(g->wait_reason, g->wait_since + 8);
        assert_int_equal(g->syscall_pc, g->syscall_sp + 8);
        assert_int_equal(g->bp, g->lr + 8);
        assert_int_equal(g->bubble, minor >= 24 ? g->labels + 40 : -1);
        assert_int_equal(g->size_bytes, (minor >= 24 ? g->bubble : g->labels) + 8);
        assert_int_equal(layout.m.signal_g, layout.m.process_id + 8);
        assert_int_equal(layout.sudog.size_bytes, layout.sudog.channel + 8);
        assert_int_equal(layout.channel.senders, layout.channel.receivers + 16);
        const struct go_module_layout *module = &layout.module;
        assert_int_equal(module->text, module->min_pc + 16);
        assert_int_equal(module->noptr_bss, module->bss + 16);
        assert_int_equal(module->functions, module->records + 24);
        assert_true(module->size_bytes <= 592);
        assert_int_equal(module->function_data >= 0, minor >= 18);
        assert_int_equal(module->names >= 0, minor >= 16);
    }
}

/* The fields that moved, by release. */
static void test_moves(void **state)
{
    (void)state;
    static const struct {
        int16_t status, go_pc, locked_m, current_g, sudog_element, sudog_channel, receivers, function_data;
    } rows[minor_count] = {
        {144, 280, 216, 192, 32, 88, 56, -1},  {144, 280, 216, 192, 32, 88, 56, -1},  /* 1.13, 1.14 */
        {144, 280, 216, 192, 24, 80, 56, -1},  {144, 280, 216, 192, 24, 80, 56, -1},  /* 1.15, 1.16 */
        {144, 296, 232, 192, 24, 80, 56, -1},  {144, 296, 232, 192, 24, 80, 56, 304}, /* 1.17, 1.18 */
        {144, 296, 232, 192, 24, 80, 56, 304}, {144, 296, 232, 192, 24, 80, 56, 320}, /* 1.19, 1.20 */
        {144, 280, 208, 192, 24, 80, 56, 320}, {144, 280, 208, 192, 24, 80, 56, 320}, /* 1.21, 1.22 */
        {152, 288, 216, 192, 24, 80, 64, 320}, {152, 288, 216, 192, 24, 80, 64, 320}, /* 1.23, 1.24 */
        {144, 280, 208, 184, 24, 80, 64, 320}, {144, 288, 208, 184, 32, 96, 64, 320}, /* 1.25, 1.26 */
        {144, 288, 208, 184, 32, 96, 64, 344},                                        /* 1.27 */
    };
    for (unsigned i = 0; i < minor_count; i++) {
        struct go_layout layout = go_layout_of(go_minor_oldest + i);
        assert_int_equal(layout.g.status, rows[i].status);
        assert_int_equal(layout.g.go_pc, rows[i].go_pc);
        assert_int_equal(layout.g.locked_m, rows[i].locked_m);
        assert_int_equal(layout.m.current_g, rows[i].current_g);
        assert_int_equal(layout.sudog.element, rows[i].sudog_element);
        assert_int_equal(layout.sudog.channel, rows[i].sudog_channel);
        assert_int_equal(layout.channel.receivers, rows[i].receivers);
        assert_int_equal(layout.module.function_data, rows[i].function_data);
    }
}

/* Releases outside of the tables have the nearest one's. */
static void test_unknown_releases(void **state)
{
    (void)state;
    static const unsigned pairs[][2] = {{28, 27}, {99, 27}, {UINT32_MAX, 27}, {12, 13}, {0, 13}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct go_layout unknown = go_layout_of(pairs[i][0]), known = go_layout_of(pairs[i][1]);
        assert_memory_equal(&unknown.g, &known.g, sizeof known.g);
        assert_memory_equal(&unknown.m, &known.m, sizeof known.m);
        assert_memory_equal(&unknown.sudog, &known.sudog, sizeof known.sudog);
        assert_memory_equal(&unknown.channel, &known.channel, sizeof known.channel);
        assert_memory_equal(&unknown.module, &known.module, sizeof known.module);
        for (unsigned reason = 0; reason <= UINT8_MAX; reason++)
            assert_ptr_equal(go_wait_reason(pairs[i][0], (uint8_t)reason),
                             go_wait_reason(pairs[i][1], (uint8_t)reason));
    }
}

static void test_reasons(void **state)
{
    (void)state;
    static const struct {
        const char *reason;
        unsigned first, last; /* releases */
        uint8_t number;
    } rows[] = {
        {"", 13, 27, 0},
        {"GC assist marking", 13, 27, 1},
        {"IO wait", 13, 27, 2},
        {"chan receive (nil chan)", 13, 25, 3},
        {"chan receive (nil chan)", 26, 27, 15},
        {"select", 13, 25, 9},
        {"select", 26, 27, 18},
        {"select (no cases)", 13, 25, 10},
        {"select (no cases)", 26, 27, 17},
        {"chan receive", 13, 25, 14},
        {"chan receive", 26, 27, 19},
        {"chan send", 13, 25, 15},
        {"chan send", 26, 27, 20},
        {"finalizer wait", 13, 25, 16},
        {"finalizer wait", 26, 27, 10},
        {"semacquire", 13, 24, 18},
        {"semacquire", 25, 25, 19},
        {"semacquire", 26, 27, 13},
        {"sleep", 13, 24, 19},
        {"sleep", 25, 25, 20},
        {"sleep", 26, 27, 14},
        {"sync.Cond.Wait", 13, 24, 20},
        {"sync.Cond.Wait", 25, 27, 21},
        {"timer goroutine (idle)", 13, 19, 21},
        {"sync.Mutex.Lock", 20, 24, 21},
        {"sync.Mutex.Lock", 25, 27, 22},
        {"sync.RWMutex.Lock", 20, 24, 23},
        {"sync.WaitGroup.Wait", 24, 24, 24},
        {"sync.WaitGroup.Wait", 25, 27, 25},
        {"trace reader (blocked)", 20, 23, 24},
        {"coroutine", 22, 23, 36},
        {"coroutine", 24, 24, 37},
        {"coroutine", 25, 27, 38},
        {"select (synctest)", 24, 24, 43},
        {"cleanup wait", 25, 27, 46},
        {NULL, 13, 19, 27},
        {NULL, 24, 24, 44},
        {NULL, 25, 27, 47},
        {NULL, 13, 27, 255},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (unsigned minor = rows[i].first; minor <= rows[i].last; minor++) {
            const char *reason = go_wait_reason(minor, rows[i].number);
            if (rows[i].reason == NULL)
                assert_null(reason);
            else
                assert_string_equal(reason, rows[i].reason);
        }
}

static void test_statuses(void **state)
{
    (void)state;
    static const char *const names[] = {"idle",      "runnable",  "running", "syscall",
                                        "waiting",   NULL,        "dead",    NULL,
                                        "copystack", "preempted", "waiting", "waiting for cgo callback"};
    for (uint32_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i] == NULL)
            assert_null(go_status_name(i));
        else
            assert_string_equal(go_status_name(i), names[i]);
    assert_null(go_status_name(GO_STATUS_COUNT));
    assert_null(go_status_name(go_status_scan | GO_WAITING)); /* the bit is taken off before */
    assert_null(go_status_name(UINT32_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relations), cmocka_unit_test(test_moves),    cmocka_unit_test(test_unknown_releases),
        cmocka_unit_test(test_reasons),   cmocka_unit_test(test_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
