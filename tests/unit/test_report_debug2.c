/* SPDX-License-Identifier: Apache-2.0 */
#include "literal_snapshot.h"

#include "group/group.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* After the headers that it needs. */
#include <cmocka.h>

static struct literal literal;

static int setup(void **state)
{
    (void)state;
    literal_init(&literal);
    literal.snapshot.kind = PROFILE_GOROUTINES;
    literal.snapshot.go_minor = 26;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    literal_deinit(&literal);
    return 0;
}

static uint32_t string(const char *text)
{
    return intern_table_add(&literal.snapshot.strings, text_from_string(text));
}

/* A real call with its arguments' template, NULL unknown; or, with an offset of 0, one that is inlined. */
static uint32_t call(const char *function, uint32_t line, uint64_t offset, const char *arguments)
{
    uint32_t number = literal_location(&literal, 0x401000 + line * 16, false, index_none, offset == 0 ? 5 : offset - 1);
    literal_frame(&literal, function, "/src/m.go", line, offset == 0);
    struct location *location = &literal.snapshot.locations[number];
    location->pc_offset = offset;
    location->arguments_known = arguments != NULL;
    location->arguments = arguments == NULL ? 0 : string(arguments);
    return number;
}

/* The goroutines alone, without what stands before and after. */
static const char *goroutines(void)
{
    struct group_options options = {.by = GROUP_BY_PC};
    struct arena scratch;
    arena_init(&scratch, 0, NULL);
    literal.grouping = group_snapshot(&literal.snapshot, &options, &literal.arena, &scratch);
    arena_deinit(&scratch);
    const char *output = literal_report(&literal, &report_debug2, (struct report_options){0}, NULL);
    const char *found = strstr(output, "\n\ngoroutine ");
    return found == NULL ? "" : found + 2;
}

static void test_whole(void **state)
{
    (void)state;
    uint32_t park = call("runtime.gopark", 1, 0xce, "%?, %?");
    uint32_t inlined = call("main.inlined", 6, 0, NULL), caller = call("main.(*T).m[...]", 5, 0x27, "%, {%, ...}, _");
    uint32_t panic = call("runtime.gopanic", 7, 0x11, "{%, %}"), exit = call("runtime.goexit", 8, 1, "{}");
    uint32_t creator = call("main.start", 9, 0x31, NULL);
    uint32_t stack = literal_stack(&literal, STACK_END_OUTERMOST, 0);
    const uint32_t steps[] = {park, inlined, caller, panic, inlined, caller, exit};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        literal_step(&literal, steps[i], TRUST_CFI);
    struct member *first = literal_member(&literal, 7, stack, "chan receive", -1);
    first->waited_known = true;
    first->waited_seconds = 179;
    first->locked_to_thread = first->is_scanned = true;
    first->creator_location = creator + 1;
    first->creator_id = 1;
    /* The second one's values could be read but for the last. */
    literal_member(&literal, 8, stack, "select (no cases)", -1);
    static const uint64_t values[] = {1, 2, 0x10, 0x11, 0xa, 0xb, 0x20, 0x21, 1, 2, 0x30, 0x31, 0xc, 0xd, 0x40};
    static const uint64_t firsts[] = {0, 8, 15};
    literal.snapshot.call_values = values;
    literal.snapshot.call_value_first = firsts;
    literal.snapshot.signal.tid = 8; /* is printed first */
    assert_string_equal(goroutines(), "goroutine 8 [select (no cases)]:\n"
                                      "main.inlined(...)\n\t/src/m.go:6\n"
                                      "main.(*T).m[...](0x30, {0x31, ...}, _)\n\t/src/m.go:5 +0x27\n"
                                      "panic({0xc, 0xd})\n\t/src/m.go:7 +0x11\n"
                                      "main.inlined(...)\n\t/src/m.go:6\n"
                                      "main.(*T).m[...](...)\n\t/src/m.go:5 +0x27\n"
                                      "\n"
                                      "goroutine 7 [chan receive (scan), 2 minutes, locked to thread]:\n"
                                      "main.inlined(...)\n\t/src/m.go:6\n"
                                      "main.(*T).m[...](0x10, {0x11, ...}, _)\n\t/src/m.go:5 +0x27\n"
                                      "panic({0xa, 0xb})\n\t/src/m.go:7 +0x11\n"
                                      "main.inlined(...)\n\t/src/m.go:6\n"
                                      "main.(*T).m[...](0x20, {0x21, ...}, _)\n\t/src/m.go:5 +0x27\n"
                                      "created by main.start in goroutine 1\n\t/src/m.go:9 +0x31\n");
}

/* The bubbles of testing/synctest: 1.24 calls them groups, and does not tell who is blocked for good. */
static void test_bubbles(void **state)
{
    teardown(state);
    static const struct {
        unsigned minor;
        bool is_durable;
        const char *header;
    } rows[] = {
        {26, true, "goroutine 7 [sleep (durable), synctest bubble 2]:\n"},
        {25, false, "goroutine 7 [sleep, synctest bubble 2]:\n"},
        {24, false, "goroutine 7 [sleep, synctest group 2]:\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        void *unused = NULL;
        setup(&unused);
        literal.snapshot.go_minor = rows[i].minor;
        uint32_t it = call("main.f", 2, 0x10, ""), stack = literal_stack(&literal, STACK_END_OUTERMOST, 0);
        literal_step(&literal, it, TRUST_CFI);
        struct member *member = literal_member(&literal, 7, stack, "sleep", -1);
        member->bubble = 2;
        member->is_durable = rows[i].is_durable;
        const char *text = goroutines();
        assert_ptr_equal(strstr(text, rows[i].header), text);
        teardown(&unused);
    }
    setup(state);
}

/* One call alone on a stack of the runtime's: is it shown, or are all as there is nothing else? */
static void check_shown(unsigned minor, const char *function, bool shown)
{
    void *unused = NULL;
    setup(&unused);
    literal.snapshot.go_minor = minor;
    uint32_t park = call("runtime.gopark", 1, 0xce, ""), it = call(function, 2, 0x10, "");
    uint32_t stack = literal_stack(&literal, STACK_END_OUTERMOST, 0);
    literal_step(&literal, park, TRUST_CFI);
    literal_step(&literal, it, TRUST_CFI);
    literal_member(&literal, 1, stack, "select", -1);
    if ((strstr(goroutines(), "runtime.gopark()") == NULL) != shown)
        fail_msg("go1.%u: %s", minor, function);
    teardown(&unused);
}

static void test_shown(void **state)
{
    (void)state;
    teardown(state);
    check_shown(26, "main.main", true);
    check_shown(26, "runtime.main", false);
    check_shown(26, "runtime.GC", true);
    check_shown(26, "runtime.(*Func).Name", true);
    check_shown(26, "runtime.(*mheap).Free", false);
    check_shown(26, "runtime.GC.func1", false);
    check_shown(20, "runtime.GC.func1", true);
    check_shown(20, "runtime.(*Func).Name", false);
    check_shown(26, "runtime.runFinalizers", true);
    check_shown(25, "runtime.runFinalizers", false);
    check_shown(26, "internal/poll.runtime_pollWait", true);
    check_shown(26, "callbackasm1", false);
    check_shown(26, "runtime.gopanic", false); /* nothing is shown before it */
    setup(state);
}

static uint32_t count(const char *text, const char *part)
{
    uint32_t found = 0;
    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        found++;
    return found;
}

/* A recursion of so many calls, two of three inlined, that hidden ones of the runtime end. */
static const char *recursion(unsigned minor, uint32_t depth, uint32_t wrappers)
{
    void *unused = NULL;
    teardown(&unused);
    setup(&unused);
    literal.snapshot.go_minor = minor;
    uint32_t park = call("runtime.gopark", 1, 0xce, "");
    uint32_t inlined = call("main.inlined", 2, 0, NULL), real = call("main.real", 3, 0x20, "");
    uint32_t stack = literal_stack(&literal, STACK_END_OUTERMOST, 0);
    literal_step(&literal, park, TRUST_CFI);
    for (uint32_t i = 0; i < depth; i++) {
        literal_step(&literal, i % 3 == 2 ? real : inlined, TRUST_CFI);
        literal.snapshot.steps[literal.snapshot.step_count - 1].wrappers = i == 0 ? wrappers : 0;
    }
    literal_member(&literal, 1, stack, "select", -1);
    return goroutines();
}

static void test_limits(void **state)
{
    (void)state;
    /* 1.21: the first fifty and the last fifty that are shown. */
    assert_null(strstr(recursion(21, 100, 0), "elided"));
    assert_non_null(strstr(recursion(21, 101, 0), "\n...1 frames elided...\n"));
    const char *text = recursion(21, 300, 0);
    assert_non_null(strstr(text, "\n...200 frames elided...\n"));
    assert_int_equal(count(text, "main.inlined(...)\n") + count(text, "main.real()\n"), 100);
    /* Before: what hundred real calls show, the hidden one among them; the mark stands where that is a hundred itself.
     */
    text = recursion(20, 600, 0);
    assert_int_equal(count(text, "main.inlined(...)\n"), 198);
    assert_int_equal(count(text, "main.real()\n"), 99);
    assert_null(strstr(text, "elided"));
    assert_int_equal(count(recursion(20, 600, 2), "main.real()\n"), 97);
    assert_non_null(strstr(recursion(20, 100, 0), "...additional frames elided...\n"));
    assert_null(strstr(recursion(20, 99, 0), "elided"));
}

static void test_labels(void **state)
{
    (void)state;
    uint32_t stack = literal_stack(&literal, STACK_END_OUTERMOST, 0);
    literal_step(&literal, call("main.main", 2, 0x10, ""), TRUST_CFI);
    literal_member(&literal, 1, stack, "select", -1)->labels = string("{\"k\":\"v\", \"k2\":\"v 2\"}");
    assert_null(strstr(goroutines(), "v 2")); /* releases before 1.27 print none */
    literal.snapshot.go_minor = 27;
    assert_non_null(strstr(goroutines(), "goroutine 1 [select] {k: v, k2: \"v 2\"}:\n"));
}

static void test_refusals(void **state)
{
    (void)state;
    struct report_input input = {.snapshot = &literal.snapshot};
    uint32_t stack = literal_stack(&literal, STACK_END_OUTERMOST, 0);
    literal_member(&literal, 1, stack, "select", -1);
    assert_null(report_debug2.refusal(&input));
    literal_member(&literal, 0, stack, "select", -1);
    assert_non_null(report_debug2.refusal(&input));
    literal.snapshot.kind = PROFILE_THREADS;
    assert_non_null(report_debug2.refusal(&input));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bubbles, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shown, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_labels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
