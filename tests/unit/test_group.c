/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "literal_snapshot.h"

#include "group/group.h"

static struct literal literal;
static struct arena scratch;

static int setup(void **state)
{
    (void)state;
    literal_init(&literal);
    arena_init(&scratch, 0, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&scratch);
    literal_deinit(&literal);
    return 0;
}

static uint32_t named(uint64_t pc, const char *function, uint32_t line, uint64_t offset)
{
    uint32_t location = literal_location(&literal, pc, false, index_none, offset);
    literal_frame(&literal, function, line == 0 ? NULL : "a.c", line, false);
    return location;
}

static uint32_t stack_of(size_t count, const uint32_t *locations)
{
    uint32_t stack = literal_stack(&literal, STACK_END_OUTERMOST, 0);
    for (size_t i = 0; i < count; i++)
        literal_step(&literal, locations[i], TRUST_CFI);
    return stack;
}
#define STACK(...) stack_of(sizeof(const uint32_t[]){__VA_ARGS__} / 4, (const uint32_t[]){__VA_ARGS__})

static void members(uint64_t first_id, uint32_t count, uint32_t stack)
{
    for (uint32_t i = 0; i < count; i++)
        literal_member(&literal, first_id + i, stack, "running", -1);
}

static struct grouping grouped_by(enum group_by by)
{
    return group_snapshot(&literal.snapshot, &(struct group_options){.by = by}, &literal.arena, &scratch);
}

static struct grouping grouped(const struct group_options *options)
{
    return group_snapshot(&literal.snapshot, options, &literal.arena, &scratch);
}

static void assert_counts(struct grouping grouping, size_t count, const uint32_t *counts)
{
    assert_int_equal(grouping.group_count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(grouping.groups[i].count, counts[i]);
}
#define COUNTS(grouping, ...)                                                                                          \
    assert_counts(grouping, sizeof(const uint32_t[]){__VA_ARGS__} / 4, (const uint32_t[]){__VA_ARGS__})

/* Two calls on one line, and one on another line of the same function. */
static void test_levels(void **state)
{
    (void)state;
    uint32_t start = named(0x100, "main", 1, 0x10);
    uint32_t one = STACK(named(0x201, "work", 7, 0x11), start);
    uint32_t same_line = STACK(named(0x206, "work", 7, 0x16), start);
    uint32_t other_line = STACK(named(0x20b, "work", 8, 0x1b), start);
    members(1, 3, one);
    members(11, 4, same_line);
    members(21, 1, other_line);
    struct grouping grouping = grouped_by(GROUP_BY_PC);
    COUNTS(grouping, 4, 3, 1);
    assert_int_equal(grouping.groups[0].variants, 1);
    grouping = grouped_by(GROUP_BY_LINE);
    COUNTS(grouping, 7, 1);
    assert_int_equal(grouping.groups[0].variants, 2);
    assert_int_equal(grouping.groups[0].stack, same_line); /* the more frequent one stands for both */
    assert_int_equal(grouping.groups[1].stack, other_line);
    grouping = grouped_by(GROUP_BY_FUNCTION);
    COUNTS(grouping, 8);
    assert_int_equal(grouping.groups[0].variants, 3);
    assert_int_equal(grouping.groups[0].stack, same_line);
    /* All members, by ascending id. */
    static const uint64_t ids[] = {1, 2, 3, 11, 12, 13, 14, 21};
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(literal.snapshot.members[grouping.members[grouping.groups[0].member_first + i]].id, ids[i]);
    assert_int_equal(grouping.hidden_groups, 0);
}

/* Without lines, --by=line tells offsets apart; without names, offsets in the module. */
static void test_without_lines_or_names(void **state)
{
    (void)state;
    uint32_t library = literal_module(&literal, "/lib/x.so", 0x1000, 0x2000);
    members(1, 1, STACK(named(0x201, "work", 0, 0x11)));
    members(2, 1, STACK(named(0x206, "work", 0, 0x16)));
    for (uint64_t i = 0; i < 2; i++) {
        uint32_t nameless = literal_location(&literal, 0x1100 + i, false, library, 0x100 + i);
        literal_frame(&literal, NULL, NULL, 0, false);
        members(3 + i, 1, STACK(nameless));
    }
    COUNTS(grouped_by(GROUP_BY_LINE), 1, 1, 1, 1);
    COUNTS(grouped_by(GROUP_BY_FUNCTION), 2, 1, 1);
}

/* The inlined calls belong to the place: the same real line through other inlined functions is another. */
static void test_inlined(void **state)
{
    (void)state;
    static const char *const inlined[] = {"lock", "unlock"};
    for (uint64_t i = 0; i < 2; i++) {
        uint32_t location = literal_location(&literal, 0x100 + i, false, index_none, i);
        literal_frame(&literal, inlined[i], "lock.h", 3, true);
        literal_frame(&literal, "work", "a.c", 7, false);
        members(1 + i, 1, STACK(location));
    }
    COUNTS(grouped_by(GROUP_BY_LINE), 1, 1);
}

/* The same frames, but one walk ended early. */
static void test_end_tells_apart(void **state)
{
    (void)state;
    uint32_t location = named(0x100, "main", 1, 0);
    uint32_t whole = STACK(location);
    uint32_t cut = literal_stack(&literal, STACK_END_MEMORY_MISSING, 0x7000);
    literal_step(&literal, location, TRUST_CFI);
    members(1, 2, whole);
    members(3, 1, cut);
    struct grouping grouping = grouped_by(GROUP_BY_FUNCTION);
    COUNTS(grouping, 2, 1);
    assert_false(grouping.groups[0].partial);
    assert_true(grouping.groups[1].partial);
}

/* "@ 0x1000" < "@ 0x1000 0x…" < "@ 0x20" < "@ 0x9": text, not numbers. */
static void test_ties(void **state)
{
    (void)state;
    uint32_t f9 = named(0x9, "a", 1, 0), f20 = named(0x20, "b", 2, 0), f1000 = named(0x1000, "c", 3, 0);
    uint32_t s9 = STACK(f9), s20 = STACK(f20), s1000_9 = STACK(f1000, f9), s1000 = STACK(f1000);
    members(1, 1, s9);
    members(2, 1, s20);
    members(3, 1, s1000_9);
    members(4, 1, s1000);
    struct grouping grouping = grouped_by(GROUP_BY_LINE);
    COUNTS(grouping, 1, 1, 1, 1);
    assert_int_equal(grouping.groups[0].stack, s1000);
    assert_int_equal(grouping.groups[1].stack, s1000_9);
    assert_int_equal(grouping.groups[2].stack, s20);
    assert_int_equal(grouping.groups[3].stack, s9);
}

/* Of two equally frequent variants, the one whose addresses come first. */
static void test_tied_variants(void **state)
{
    (void)state;
    uint32_t later = STACK(named(0x9, "work", 7, 9)), first = STACK(named(0x10, "work", 7, 16));
    members(1, 2, later);
    members(3, 2, first);
    struct grouping grouping = grouped_by(GROUP_BY_LINE);
    COUNTS(grouping, 4);
    assert_int_equal(grouping.groups[0].stack, first);
}

static void test_signalled(void **state)
{
    (void)state;
    uint32_t crowd = STACK(named(0x100, "wait", 1, 0)), alone = STACK(named(0x200, "crash", 2, 0));
    members(1, 9, crowd);
    members(10, 1, alone);
    literal.snapshot.signal = (struct signal_info){.number = 11, .tid = 10};
    struct pattern *wait;
    assert_null(pattern_compile(&literal.arena, "--filter", "wait", &wait));
    struct group_options options[] = {
        {.by = GROUP_BY_LINE}, {.top = 1}, {.count_min = 5}, {.filter = wait}, {.exclude = wait}};
    for (size_t i = 0; i < 5; i++) {
        struct grouping grouping = grouped(&options[i]);
        assert_true(grouping.group_count >= 1);
        assert_int_equal(grouping.groups[0].stack, alone);
        assert_true(grouping.groups[0].signalled);
        bool crowd_is_shown = i != 4; /* --top counts the others */
        assert_int_equal(grouping.group_count, crowd_is_shown ? 2 : 1);
        assert_int_equal(grouping.hidden_members, crowd_is_shown ? 0 : 9);
        assert_int_equal(grouping.hidden_groups, crowd_is_shown ? 0 : 1);
    }
    /* gcore: nobody took a signal. */
    literal.snapshot.signal.number = 0;
    COUNTS(grouped(&options[0]), 9, 1);
    pattern_release(wait);
}

static void test_top_and_min_count(void **state)
{
    (void)state;
    static const uint32_t counts[] = {5, 4, 3, 2, 1};
    for (uint32_t i = 0; i < 5; i++)
        members(100 * i, counts[i], STACK(named(0x100 + i, "work", i + 1, i)));
    struct grouping grouping = grouped(&(struct group_options){.top = 2});
    COUNTS(grouping, 5, 4);
    assert_int_equal(grouping.hidden_groups, 3);
    assert_int_equal(grouping.hidden_members, 6);
    grouping = grouped(&(struct group_options){.count_min = 3});
    COUNTS(grouping, 5, 4, 3);
    assert_int_equal(grouping.hidden_members, 3);
    grouping = grouped(&(struct group_options){.count_min = 6});
    assert_int_equal(grouping.group_count, 0);
    assert_int_equal(grouping.hidden_members, 15);
    COUNTS(grouped(&(struct group_options){.top = 100}), 5, 4, 3, 2, 1);
}

/* Over function, file:line and module of any frame; --top counts what the filters leave. */
static void test_filters(void **state)
{
    (void)state;
    uint32_t library = literal_module(&literal, "/lib/libssl.so", 0x1000, 0x2000);
    uint32_t start = named(0x100, "main", 1, 0);
    uint32_t tls = literal_location(&literal, 0x1100, false, library, 0x100);
    literal_frame(&literal, "copy_inlined", "copy.h", 42, true);
    literal_frame(&literal, NULL, NULL, 0, false);
    members(1, 3, STACK(named(0x200, "lock", 7, 0), start));
    members(11, 2, STACK(tls, start));
    members(21, 1, STACK(named(0x300, "lock", 70, 0), start));
    static const struct {
        const char *filter, *exclude;
        uint64_t top;
        size_t count;
        uint32_t counts[3];
    } rows[] = {
        {"^lock$", NULL, 0, 2, {3, 1}},        {NULL, "lock", 0, 1, {2}},     {"libssl", NULL, 0, 1, {2}},
        {"copy\\.h:42$", NULL, 0, 1, {2}},     {"a\\.c:7$", NULL, 0, 1, {3}}, {"^main$", NULL, 0, 3, {3, 2, 1}},
        {"main", "lock", 0, 1, {2}},           {NULL, "main", 0, 0, {0}},     {"copy_inlined", NULL, 0, 1, {2}},
        {"^lock$", NULL, 1, 1, {3}},           {NULL, "a\\.c:7$", 1, 1, {2}}, {"nothing", NULL, 0, 0, {0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct group_options options = {.by = GROUP_BY_LINE, .top = rows[i].top};
        if (rows[i].filter != NULL)
            assert_null(pattern_compile(&literal.arena, "--filter", rows[i].filter, &options.filter));
        if (rows[i].exclude != NULL)
            assert_null(pattern_compile(&literal.arena, "--exclude", rows[i].exclude, &options.exclude));
        struct grouping grouping = grouped(&options);
        assert_counts(grouping, rows[i].count, rows[i].counts);
        pattern_release(options.filter);
        pattern_release(options.exclude);
    }
}

static void assert_state(const struct grouping *grouping, uint32_t at, const char *name, int32_t fd, uint32_t count)
{
    const struct state_count *found = &grouping->states[grouping->groups[0].state_first + at];
    assert_true(text_equals(snapshot_string(&literal.snapshot, found->state), text_from_string(name)));
    assert_int_equal(found->fd, fd);
    assert_int_equal(found->count, count);
}

static void test_states(void **state)
{
    (void)state;
    uint32_t stack = STACK(named(0x100, "read", 1, 0));
    static const struct {
        const char *state;
        int32_t fd;
    } rows[] = {{"read", 5}, {"running", -1}, {"read", 7}, {"running", -1}, {"read", 5}, {"running", -1}};
    for (uint64_t i = 0; i < 6; i++)
        literal_member(&literal, i + 1, stack, rows[i].state, rows[i].fd);
    struct grouping grouping = grouped_by(GROUP_BY_LINE);
    assert_int_equal(grouping.groups[0].state_count, 3);
    assert_state(&grouping, 0, "running", -1, 3);
    assert_state(&grouping, 1, "read", 5, 2);
    assert_state(&grouping, 2, "read", 7, 1);
    /* With a fifth kind the descriptors are not told apart any more. */
    literal_member(&literal, 10, stack, "read", 8);
    literal_member(&literal, 11, stack, "read", 9);
    grouping = grouped_by(GROUP_BY_LINE);
    assert_int_equal(grouping.groups[0].state_count, 2);
    assert_state(&grouping, 0, "read", -1, 5);
    assert_state(&grouping, 1, "running", -1, 3);
}

static void test_cpu_times(void **state)
{
    (void)state;
    uint32_t stack = STACK(named(0x100, "work", 1, 0));
    for (uint64_t i = 1; i <= 3; i++) {
        literal_member(&literal, i, stack, "running", -1);
        *literal_thread(&literal) = (struct member_thread){.cpu_microseconds = i * 1000000, .cpu_known = true};
    }
    struct grouping grouping = grouped_by(GROUP_BY_LINE);
    assert_true(grouping.groups[0].cpu_known);
    assert_false(grouping.groups[0].cpu_at_most);
    assert_int_equal(grouping.groups[0].cpu_microseconds, 6000000);
    literal.snapshot.threads[1].cpu_at_most = true;
    assert_true(grouped_by(GROUP_BY_LINE).groups[0].cpu_at_most);
    literal.snapshot.threads[2].cpu_known = false;
    assert_false(grouped_by(GROUP_BY_LINE).groups[0].cpu_known);
}

/* Threads without a frame, and stacks that nobody stands in. */
static void assert_row(const struct grouping *grouping, const struct group *group, uint32_t at, uint32_t resource,
                       bool exclusive, uint64_t count, uint64_t first_id, uint32_t waiter_count)
{
    assert_true(at < group->resource_wait_count);
    const struct resource_wait *row = &grouping->resource_waits[group->resource_wait_first + at];
    assert_int_equal(row->resource, resource);
    assert_int_equal(row->exclusive, exclusive);
    assert_int_equal(row->count, count);
    assert_int_equal(row->waiter_count, waiter_count);
    assert_int_equal(literal.snapshot.members[grouping->resource_waiters[row->waiter_first]].id, first_id);
}

static void test_resource_waits(void **state)
{
    (void)state;
    uint32_t many = STACK(named(0x10, "lock", 1, 0)), idle = STACK(named(0x20, "idle", 2, 0));
    members(20, 5, many);
    members(10, 2, many); /* ids not in order */
    members(30, 1, idle);
    literal.snapshot.members[6].count = 40;
    literal_resource(&literal, WAIT_MUTEX, 0x100, NULL);
    literal_resource(&literal, WAIT_RWLOCK, 0x200, NULL);
    literal_resource(&literal, WAIT_CHANNEL_RECEIVE, 0x300, NULL);
    for (uint32_t i = 0; i < 3; i++)
        literal_wait(&literal, i, 1, i == 1, i == 2 ? LEARNT_INFERRED : LEARNT_READ);
    literal_wait(&literal, 3, 2, false, LEARNT_TOLD);
    literal_wait(&literal, 3, 2, false, LEARNT_TOLD); /* twice in one select */
    literal_wait(&literal, 3, 0, true, LEARNT_READ);
    literal_wait(&literal, 5, 0, true, LEARNT_READ);
    literal_wait(&literal, 6, 0, true, LEARNT_READ);
    struct grouping grouping = grouped_by(GROUP_BY_LINE);
    const struct group *group = &grouping.groups[0];
    assert_int_equal(group->resource_wait_count, 4);
    assert_row(&grouping, group, 0, 0, true, 42, 10, 3);
    assert_row(&grouping, group, 1, 1, false, 2, 20, 2);
    assert_row(&grouping, group, 2, 1, true, 1, 21, 1);
    assert_row(&grouping, group, 3, 2, false, 1, 23, 1);
    assert_int_equal(grouping.resource_waits[group->resource_wait_first + 1].learnt, LEARNT_INFERRED);
    assert_int_equal(grouping.groups[1].resource_wait_count, 0);
}

static void test_plain_waits_are_one_row(void **state)
{
    (void)state;
    members(1, 6, STACK(named(0x10, "read", 1, 0)));
    for (uint32_t i = 0; i < 3; i++)
        literal_resource(&literal, WAIT_SOCKET, 0, "descriptor 5")->holder = HOLDER_NEVER;
    literal_resource(&literal, WAIT_FILE, 0, "descriptor 9");
    literal_resource(&literal, WAIT_FILE, 0, "descriptor 10");
    literal_hold(&literal, 4, 0, LEARNT_READ); /* a lock on a file */
    for (uint32_t i = 0; i < 5; i++)
        literal_wait(&literal, i, i, i % 2, LEARNT_READ);
    literal_wait(&literal, 5, 2, false, LEARNT_READ);
    literal_wait(&literal, 5, 0, false, LEARNT_READ); /* one member, two sockets */
    struct grouping grouping = grouped_by(GROUP_BY_LINE);
    const struct group *group = &grouping.groups[0];
    assert_int_equal(group->resource_wait_count, 3);
    assert_row(&grouping, group, 0, 0, false, 4, 1, 4);
    assert_row(&grouping, group, 1, 3, true, 1, 4, 1);
    assert_row(&grouping, group, 2, 4, false, 1, 5, 1);
    const struct resource_wait *rows = grouping.resource_waits + group->resource_wait_first;
    assert_true(rows[0].is_plain && rows[1].is_plain && !rows[2].is_plain);
    assert_true(rows[0].is_several && !rows[1].is_several && !rows[2].is_several);
}

/* Who started whom, where that is known; else, and for START, what they began with, wherever they stand. */
static void test_beginnings(void **state)
{
    (void)state;
    uint32_t begin = named(0x50, "start_thread", 0, 0), one = named(0x10, "one", 1, 0), two = named(0x20, "two", 2, 0);
    uint32_t lock = named(0x30, "lock", 3, 0), read = named(0x40, "read", 4, 0);
    uint32_t one_locks = STACK(lock, one, begin), one_reads = STACK(read, one, begin), two_locks = STACK(lock, two, begin);
    members(1, 3, one_locks);
    members(4, 2, one_reads);
    members(6, 1, two_locks);
    struct grouping grouping = grouped_by(GROUP_BY_START);
    assert_int_equal(grouping.group_count, 2);
    assert_int_equal(grouping.groups[0].count, 5);
    assert_int_equal(grouping.groups[0].variants, 2);
    assert_int_equal(grouping.groups[0].stack, one_locks);
    /* One stack, two creators; one creator, two stacks; one whose creator is not known. */
    uint32_t serve = literal_string(&literal, "serve"), poll = literal_string(&literal, "poll");
    const uint32_t creators[] = {serve, serve, poll, serve, 0, poll};
    for (size_t i = 0; i < 6; i++)
        literal.snapshot.members[i].creator = creators[i];
    snapshot_split_by_creator(&literal.snapshot, &scratch);
    grouping = grouped_by(GROUP_BY_CREATOR);
    assert_int_equal(grouping.group_count, 3);
    assert_int_equal(grouping.groups[0].count, 3);
    assert_int_equal(grouping.groups[1].count, 2);
    assert_int_equal(grouping.groups[2].count, 1);
    assert_int_equal(literal.snapshot.stacks[grouping.groups[0].stack].creator, serve);
    assert_int_equal(literal.snapshot.stacks[grouping.groups[1].stack].creator, poll);
    for (size_t i = 0; i < 6; i++) {
        uint32_t group = grouping.group_of_stack[literal.snapshot.members[i].stack];
        assert_int_equal(group, creators[i] == serve ? 0 : creators[i] == poll ? 1 : 2);
    }
}

static void test_empty(void **state)
{
    (void)state;
    struct grouping grouping = grouped_by(GROUP_BY_LINE);
    assert_int_equal(grouping.group_count, 0);
    uint32_t lost = literal_stack(&literal, STACK_END_NO_REGISTERS, 0);
    STACK(named(0x100, "nobody", 1, 0));
    members(1, 2, lost);
    grouping = grouped_by(GROUP_BY_LINE);
    COUNTS(grouping, 2);
    assert_int_equal(grouping.groups[0].stack, lost);
    assert_true(grouping.groups[0].partial);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_levels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_lines_or_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_inlined, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_tells_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ties, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tied_variants, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signalled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_top_and_min_count, setup, teardown),
        cmocka_unit_test_setup_teardown(test_filters, setup, teardown),
        cmocka_unit_test_setup_teardown(test_states, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cpu_times, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resource_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_plain_waits_are_one_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_beginnings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
