/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "detect/detect.h"
#include "group/group.h"
#include "literal_snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static struct literal literal;
static struct arena arena, scratch;
static struct findings findings;
static struct grouping grouping;

static int setup(void **state)
{
    (void)state;
    literal_init(&literal);
    arena_init(&arena, 0, NULL);
    arena_init(&scratch, 0, NULL);
    literal.snapshot.source_kind = "core";
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

/* A call: "function" in file.c at this line, at this offset from its start. */
static uint32_t call(const char *function, uint32_t line, uint64_t offset)
{
    uint32_t location =
        literal_location(&literal, 0x1000 + literal.snapshot.location_count * 16, false, index_none, offset);
    literal_frame(&literal, function, line == 0 ? NULL : "/src/file.c", line, false);
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

static uint32_t add_member(uint32_t stack, const char *state)
{
    literal_member(&literal, 100 + literal.snapshot.member_count, stack, state, -1);
    return (uint32_t)literal.snapshot.member_count - 1;
}

/* Of a member that waits for a lock in this function. */
static uint32_t waiting_stack(const char *function, uint32_t line)
{
    return STACK(call("futex_wait", 0, 0), call("lock", 0, 0), call(function, line, 0), call("main", 1, 0));
}

static uint32_t add_waiter(const char *function, uint32_t line)
{
    return add_member(waiting_stack(function, line), "futex wait");
}

static void add_waiters(uint32_t count, const char *function, uint32_t line, uint32_t resource)
{
    uint32_t stack = waiting_stack(function, line);
    for (uint32_t i = 0; i < count; i++)
        literal_wait(&literal, add_member(stack, "futex wait"), resource, true, LEARNT_READ);
}

static uint32_t add_resource(enum wait_kind kind, const char *name)
{
    literal_resource(&literal, kind, 0x4000 + 0x40 * (uint64_t)literal.snapshot.resource_count, name);
    return (uint32_t)literal.snapshot.resource_count - 1;
}

static void waits(uint32_t member, uint32_t resource)
{
    literal_wait(&literal, member, resource, true, LEARNT_READ);
}

static void holds(uint32_t member, uint32_t resource)
{
    literal_hold(&literal, resource, member, LEARNT_READ);
}

#define MACHINERY                                                                                                      \
    "plugin: p\nversion: 1\nmachinery: ['^futex_', '^lock$', '^pthread_join$', '^runtime\\.', '^sync\\.']\nrules:\n"
#define CYCLE "  - id: cycle\n    severity: critical\n    detector: lock-cycle\n"
#define QUEUE "  - id: queue\n    severity: warning\n    detector: lock-queue\n"

static void run(const char *yaml)
{
    struct rule_set *set = rule_set_new(&arena);
    struct rule_file file = rule_file_parse(TEXT("p.yaml"), text_from_string(yaml), &arena);
    if (!rule_set_add(set, &file, TEXT("")))
        for (size_t i = 0; i < file.error_count; i++)
            fail_msg("%s", rule_file_error_text(&file, i, &arena));
    literal_sort_waits(&literal);
    grouping = group_snapshot(&literal.snapshot, &(struct group_options){0}, &arena, &scratch);
    arena_reset(&scratch);
    findings = detect_run(set, &literal.snapshot, &grouping, &(struct detect_options){0}, &arena, &scratch,
                          &literal.diagnostics);
    rule_set_release(set);
}

/* All of it as lines: "severity confidence members: title", then its sentences, groups, cycles. */
static const char *told(void)
{
    static char text[1 << 20];
    size_t length = 0;
    text[0] = 0;
#define ADD(...) length += (size_t)snprintf(text + length, sizeof text - length, __VA_ARGS__)
    for (size_t i = 0; i < findings.count; i++) {
        const struct finding *finding = &findings.entries[i];
        ADD("%s %s %s %ju: %s\n", finding->rule.data, severity_name(finding->severity),
            confidence_name(finding->confidence), (uintmax_t)finding->members, finding->title.data);
        for (size_t k = 0; k < finding->evidence_count; k++)
            ADD("  %s\n", finding->evidence[k].data);
        for (size_t k = 0; k < finding->group_count; k++)
            ADD("  %ju %s\n", (uintmax_t)finding->groups[k].members, finding->groups[k].role);
        for (size_t k = 0; k < finding->cycle_count; k++) {
            ADD("  cycle");
            for (uint32_t e = 0; e < finding->cycles[k].edge_count; e++) {
                const struct finding_edge *edge = &finding->edges[finding->cycles[k].edge_first + e];
                ADD(" %ju-%ju", (uintmax_t)literal.snapshot.members[edge->waiter].id,
                    (uintmax_t)literal.snapshot.members[edge->holder].id);
            }
            ADD("\n");
        }
    }
#undef ADD
    return text;
}

static void a_cycle_with_victims(void **state)
{
    (void)state;
    uint32_t a = add_resource(WAIT_MUTEX, "orders"), b = add_resource(WAIT_MUTEX, NULL);
    uint32_t first = add_waiter("transfer", 20), second = add_waiter("audit", 30);
    literal.snapshot.threads[first].name = intern_table_add(&literal.snapshot.strings, TEXT("worker-1"));
    holds(first, a), waits(first, b), holds(second, b), waits(second, a);
    add_waiters(48, "list", 40, a);
    add_waiters(2, "list", 41, b);
    run(MACHINERY CYCLE QUEUE);
    assert_string_equal(told(),
                        "p/cycle critical read 52: 2 threads wait for each other in a circle: mutexes orders, 0x4040\n"
                        "  thread 100 (worker-1) waits for mutex 0x4040 in transfer at file.c:20, held by thread 101 "
                        "(read from memory)\n"
                        "  thread 101 waits for mutex 0x4000 (orders) in audit at file.c:30, held by thread 100 "
                        "(worker-1) (read from memory)\n"
                        "  50 more threads wait behind them\n"
                        "  1 holds and waits\n  1 holds and waits\n  48 waits\n  2 waits\n"
                        "  cycle 100-101 101-100\n");
    assert_string_equal(findings.entries[0].edges[0].call_site.data, "transfer at file.c:20");
}

static void a_mutex_that_is_held_already(void **state)
{
    (void)state;
    uint32_t a = add_resource(WAIT_MUTEX, NULL), member = add_waiter("log_line", 12);
    holds(member, a), waits(member, a);
    add_waiters(1, "work", 40, a);
    run(MACHINERY CYCLE QUEUE);
    assert_string_equal(
        told(),
        "p/cycle critical read 2: thread 100 waits for a mutex that it holds already: mutex 0x4000\n"
        "  thread 100 waits for mutex 0x4000 in log_line at file.c:12, and holds it already (read from memory)\n"
        "  1 more thread waits behind it: thread 101\n"
        "  1 holds and waits\n  1 waits\n  cycle 100-100\n");
}

static void a_reader_that_wants_to_write(void **state)
{
    (void)state;
    uint32_t a = add_resource(WAIT_RWLOCK, "table"), member = add_waiter("update", 12);
    literal_hold(&literal, a, member, LEARNT_INFERRED)->exclusive = false;
    waits(member, a);
    run(MACHINERY CYCLE);
    assert_string_equal(
        told(), "p/cycle critical inferred 1: thread 100 waits for a rwlock that it holds already: rwlock table\n"
                "  thread 100 waits to write rwlock 0x4000 (table) in update at file.c:12, and holds it already to "
                "read (inferred from stacks)\n"
                "  1 holds and waits\n  cycle 100-100\n");
}

static void readers_and_a_writer(void **state)
{
    (void)state;
    uint32_t table = add_resource(WAIT_RWLOCK, "table"), a = add_resource(WAIT_MUTEX, "m"),
             b = add_resource(WAIT_MUTEX, "n");
    uint32_t writer = add_waiter("update", 12), one = add_waiter("scan", 20), two = add_waiter("scan", 21);
    holds(writer, a), holds(writer, b), waits(writer, table), waits(one, a), waits(two, b);
    literal_hold(&literal, table, one, LEARNT_READ)->exclusive = false;
    literal_hold(&literal, table, two, LEARNT_READ)->exclusive = false;
    run(MACHINERY CYCLE QUEUE);
    assert_string_equal(
        told(), "p/cycle critical read 3: 3 threads wait for each other in 2 circles: mutexes m, n, rwlock table\n"
                "  circle 1 of 2, 2 threads:\n"
                "  thread 100 waits to write rwlock 0x4000 (table) in update at file.c:12, held to read by thread 101 "
                "(read from memory)\n"
                "  thread 101 waits for mutex 0x4040 (m) in scan at file.c:20, held by thread 100 (read from memory)\n"
                "  circle 2 of 2, 2 threads:\n"
                "  thread 100 waits to write rwlock 0x4000 (table) in update at file.c:12, held to read by thread 102 "
                "(read from memory)\n"
                "  thread 102 waits for mutex 0x4080 (n) in scan at file.c:21, held by thread 100 (read from memory)\n"
                "  1 holds and waits\n  1 holds and waits\n  1 holds and waits\n"
                "  cycle 100-101 101-100\n  cycle 100-102 102-100\n");
}

static void a_join_in_a_circle(void **state)
{
    (void)state;
    uint32_t join = add_resource(WAIT_JOIN, NULL), a = add_resource(WAIT_MUTEX, "m");
    uint32_t first = add_member(STACK(call("pthread_join", 0, 0), call("stop", 7, 0)), "futex wait");
    uint32_t second = add_waiter("work", 20);
    literal.snapshot.resources[join].address = 101;
    waits(first, join), holds(second, join), holds(first, a), waits(second, a);
    run(MACHINERY CYCLE);
    assert_string_equal(
        told(), "p/cycle critical read 2: 2 threads wait for each other in a circle: mutex m, join of thread 101\n"
                "  thread 100 waits for thread 101 to end in stop at file.c:7 (read from memory)\n"
                "  thread 101 waits for mutex 0x4040 (m) in work at file.c:20, held by thread 100 (read from memory)\n"
                "  1 holds and waits\n  1 holds and waits\n  cycle 100-101 101-100\n");
}

static void two_members(enum stop_kind stop_kind, enum movement movement)
{
    uint32_t a = add_resource(WAIT_MUTEX, NULL), b = add_resource(WAIT_MUTEX, NULL);
    uint32_t first = add_waiter("f", 20), second = add_waiter("g", 30);
    holds(first, a), waits(first, b), holds(second, b), waits(second, a);
    literal.snapshot.stop_kind = stop_kind;
    literal.snapshot.sample_count = 2;
    literal.snapshot.members[first].movement = MOVEMENT_NONE;
    literal.snapshot.members[second].movement = movement;
    run(MACHINERY CYCLE);
}

static void threads_that_were_not_read_at_one_instant(void **state)
{
    (void)state;
    two_members(STOP_KIND_ROLLING, MOVEMENT_UNKNOWN);
    assert_int_equal(findings.count, 0);
    literal.snapshot.members[0].stood_still = literal.snapshot.members[1].stood_still = true;
    run(MACHINERY CYCLE);
    assert_int_equal(findings.count, 1);
    assert_int_equal(findings.entries[0].confidence, CONFIDENCE_READ);
    assert_non_null(
        strstr(told(), "  the threads were not read at one instant, but none of them ran between two looks\n"));
}

static void threads_that_stood_still_between_looks(void **state)
{
    (void)state;
    two_members(STOP_KIND_NONE, MOVEMENT_NONE);
    assert_int_equal(findings.count, 1);
    assert_int_equal(findings.entries[0].confidence, CONFIDENCE_READ);
    assert_non_null(
        strstr(told(), "  the threads were not read at one instant, but none of them ran between two looks\n"));
}

static void a_queue_and_its_head(void **state)
{
    (void)state;
    uint32_t a = add_resource(WAIT_MUTEX, "log_lock"), b = add_resource(WAIT_MUTEX, "cache");
    uint32_t head = add_member(
        STACK(call("fsync", 0, 0), call("flush", 8, 0), call("log_line", 9, 0), call("main", 1, 0)), "fsync");
    uint32_t middle = add_waiter("log_line", 5);
    holds(head, a), waits(middle, a), holds(middle, b);
    add_waiters(10, "log_line", 5, a);
    add_waiters(3, "get", 50, b);
    add_waiters(1, "put", 60, b);
    run(MACHINERY CYCLE QUEUE);
    assert_string_equal(
        told(),
        "p/queue warning read 15: thread 100 blocks 15 threads and is in flush called by log_line\n"
        "  thread 100 holds mutex 0x4000 (log_lock) (read from memory) and waits for no lock itself: it is in fsync, "
        "in flush called by log_line; its state is fsync\n"
        "  11 threads wait for mutex 0x4000 (log_lock) in log_line at file.c:5: held by thread 100 (read from memory)\n"
        "  4 threads wait for mutex 0x4040 (cache) in get at file.c:50 (3 of them): held by thread 101, which itself "
        "waits for mutex 0x4000 (log_lock) (read from memory)\n"
        "  15 threads are held up in all: 11 directly, 4 behind others\n"
        "  1 holds\n  1 holds and waits\n  10 waits\n  3 waits\n  1 waits\n");
    run(MACHINERY QUEUE "    at-least: 16\n");
    assert_int_equal(findings.count, 0);
    run(MACHINERY QUEUE "    at-least: 2\n    share: 95%\n");
    assert_int_equal(findings.count, 0);
}

static uint32_t queue_severity(const char *state)
{
    uint32_t a = add_resource(WAIT_MUTEX, "hot");
    holds(add_member(STACK(call("add", 8, 0), call("main", 1, 0)), state), a);
    add_waiters(12, "add", 7, a);
    run(MACHINERY QUEUE);
    assert_int_equal(findings.count, 1);
    return findings.entries[0].severity;
}

static void a_queue_whose_head_sleeps(void **state)
{
    (void)state;
    assert_int_equal(queue_severity("sleep"), SEVERITY_WARNING);
}

static void a_queue_whose_head_runs(void **state)
{
    (void)state;
    assert_int_equal(queue_severity("running"), SEVERITY_INFO);
    assert_non_null(strstr(told(),
                           "  the lock may merely be busy: thread 100 was not seen to stand still, and one look "
                           "does not tell whether the queue moves\n"));
    /* Several looks do tell. */
    literal.snapshot.sample_count = 2;
    run(MACHINERY QUEUE);
    assert_int_equal(findings.entries[0].severity, SEVERITY_WARNING);
    literal.snapshot.members[1].movement = MOVEMENT_MOVED;
    run(MACHINERY QUEUE);
    assert_int_equal(findings.entries[0].severity, SEVERITY_INFO);
}

static void a_queue_whose_head_did_not_stand_still(void **state)
{
    (void)state;
    literal.snapshot.stop_kind = STOP_KIND_NONE;
    assert_int_equal(queue_severity("sleep"), SEVERITY_INFO);
    for (size_t i = 0; i < literal.snapshot.member_count; i++)
        literal.snapshot.members[i].stood_still = true;
    run(MACHINERY QUEUE);
    assert_int_equal(findings.entries[0].severity, SEVERITY_WARNING);
}

static void narrower_rules_take_their_queue(void **state)
{
    (void)state;
    uint32_t a = add_resource(WAIT_MUTEX, NULL), b = add_resource(WAIT_MUTEX, NULL);
    uint32_t head = add_member(STACK(call("fsync", 0, 0), call("log_line", 9, 0)), "fsync");
    uint32_t other = add_member(STACK(call("work", 0, 0)), "running");
    holds(head, a), holds(other, b);
    add_waiters(12, "log_line", 5, a);
    add_waiters(11, "get", 5, b);
    run(MACHINERY QUEUE "  - id: sync\n    severity: critical\n    detector: lock-queue\n    head: {leaf: '^fsync$'}\n"
                        "    title: '{blocked} wait while {head} syncs'\n");
    assert_int_equal(findings.count, 2);
    assert_string_equal(findings.entries[0].title.data, "12 threads wait while thread 100 syncs");
    assert_string_equal(findings.entries[1].title.data, "thread 101 blocks 11 threads and is in work");
    /* Conditions select the waiters that are counted. */
    uint32_t ended = add_resource(WAIT_MUTEX, NULL);
    literal.snapshot.resources[ended].holder = HOLDER_ENDED;
    add_waiters(1, "put", 5, ended);
    run(MACHINERY QUEUE "    any: '^put$'\n");
    assert_int_equal(findings.count, 1);
    assert_int_equal(findings.entries[0].members, 1);
    run(MACHINERY QUEUE "    any: '^put$'\n    at-least: 2\n");
    assert_int_equal(findings.count, 0);
    run(MACHINERY QUEUE "    any: '^get$'\n");
    assert_int_equal(findings.count, 1);
    assert_string_equal(findings.entries[0].title.data, "thread 101 blocks 11 threads and is in work");
}

static void heads_that_are_no_members(void **state)
{
    (void)state;
    uint32_t ended = add_resource(WAIT_MUTEX, "e"), readers = add_resource(WAIT_RWLOCK, "r"),
             unknown = add_resource(WAIT_MUTEX, "u"), elsewhere = add_resource(WAIT_MUTEX, "x"),
             is_free = add_resource(WAIT_MUTEX, "f"), condition = add_resource(WAIT_CONDITION, "c"),
             semaphore = add_resource(WAIT_SEMAPHORE, "s"), word = add_resource(WAIT_FUTEX, "w");
    struct resource *resources = literal.snapshot.resources;
    resources[ended].holder = HOLDER_ENDED;
    resources[ended].owner_id = 17;
    resources[readers].holder = HOLDER_ANONYMOUS;
    resources[readers].anonymous_count = 3;
    resources[elsewhere].holder = HOLDER_ELSEWHERE;
    resources[elsewhere].owner_id = 4242;
    resources[is_free].holder = HOLDER_FREE;
    add_waiters(1, "a", 1, ended);
    add_waiters(12, "b", 2, readers);
    add_waiters(11, "c", 3, unknown);
    add_waiters(10, "d", 4, elsewhere);
    add_waiters(100, "e", 5, is_free);
    add_waiters(100, "f", 6, condition);
    add_waiters(100, "g", 7, semaphore);
    add_waiters(100, "h", 8, word);
    run(MACHINERY CYCLE QUEUE);
    assert_string_equal(
        told(),
        "p/queue warning read 12: 12 threads wait for rwlock 0x4040 (r): held by 3 readers, not known by whom\n"
        "  12 threads wait to write rwlock 0x4040 (r) in b at file.c:2: held by 3 readers, not known by whom\n  12 "
        "waits\n"
        "p/queue warning read 11: 11 threads wait for mutex 0x4080 (u): its holder is unknown\n"
        "  11 threads wait for mutex 0x4080 (u) in c at file.c:3: its holder is unknown\n  11 waits\n"
        "p/queue warning read 10: 10 threads wait for mutex 0x40c0 (x): held by 4242 of another process\n"
        "  10 threads wait for mutex 0x40c0 (x) in d at file.c:4: held by 4242 of another process\n  10 waits\n"
        "p/queue warning read 1: 1 thread waits for mutex 0x4000 (e): held by thread 17, which has ended\n"
        "  1 thread waits for mutex 0x4000 (e) in a at file.c:1: held by thread 17, which has ended\n  1 waits\n");
}

static void everyday_waits(void **state)
{
    (void)state;
    /* Twenty threads that join one which sleeps, and one that is to be joined while it waits for a condition. */
    uint32_t join = add_resource(WAIT_JOIN, NULL), condition = add_resource(WAIT_CONDITION, NULL);
    uint32_t worker = add_waiter("idle", 3);
    holds(worker, join), waits(worker, condition);
    add_waiters(20, "stop", 9, join);
    uint32_t ended = add_resource(WAIT_JOIN, NULL);
    literal.snapshot.resources[ended].holder = HOLDER_ENDED;
    add_waiters(20, "stop", 10, ended);
    run(MACHINERY CYCLE QUEUE);
    assert_int_equal(findings.count, 0);
}

/* The shape of oid-ping.debug2.txt. */
static uint32_t ping_stack(uint32_t line, uint64_t offset)
{
    return STACK(call("sync.runtime_SemacquireMutex", 77, 0x25), call("sync.(*Mutex).lockSlow", 171, 0x225),
                 call("sync.(*Mutex).Lock", 90, 0x65), call("biz._pingByCmd.func2", line, offset),
                 call("biz._pingByCmd", 86, 0xdd));
}

static uint32_t command_stack(uint32_t line, uint64_t offset)
{
    return STACK(call("syscall.SyscallN", 557, 0x109), call("os/exec.(*Cmd).CombinedOutput", 707, 0x20a),
                 call("biz._pingByCmd.func2", line, offset), call("biz._pingByCmd", 86, 0xdd));
}

static void goroutines(void)
{
    literal.snapshot.kind = PROFILE_GOROUTINES;
    literal.snapshot.source_kind = "text";
}

static void a_likely_holder(void **state)
{
    (void)state;
    goroutines();
    uint32_t a = add_resource(WAIT_MUTEX, NULL);
    add_member(command_stack(68, 0x1ba), "syscall");
    uint32_t stack = ping_stack(60, 0x5c);
    waits(add_member(stack, "semacquire"), a), waits(add_member(stack, "semacquire"), a);
    /* Before the place, in another function, and past it in a call of Lock of its own. */
    add_member(command_stack(50, 0x20), "syscall");
    add_member(STACK(call("biz._pingByCmd", 99, 0xfff)), "running");
    uint32_t b = add_resource(WAIT_MUTEX, NULL);
    waits(add_member(ping_stack(70, 0x200), "semacquire"), b);
    run(MACHINERY QUEUE "    at-least: 1\n");
    assert_string_equal(
        told(),
        "p/queue warning inferred 2: 2 goroutines wait for mutex 0x4000, likely held by goroutine 100, which is in "
        "os/exec.(*Cmd).CombinedOutput called by biz._pingByCmd.func2\n"
        "  goroutine 100 likely holds mutex 0x4000 (inferred from stacks) and waits for no lock itself: it is in "
        "syscall.SyscallN at file.c:557, in os/exec.(*Cmd).CombinedOutput called by biz._pingByCmd.func2; its state is "
        "syscall\n"
        "  2 goroutines wait for mutex 0x4000 in biz._pingByCmd.func2 at file.c:60: likely held by goroutine 100 "
        "(inferred "
        "from stacks)\n"
        "  goroutine 100 is the only goroutine that stands in biz._pingByCmd.func2 past the others' call of Lock\n"
        "  1 holds\n  2 waits\n"
        "p/queue warning read 1: 1 goroutine waits for mutex 0x4040: its holder is unknown\n"
        "  1 goroutine waits for mutex 0x4040 in biz._pingByCmd.func2 at file.c:70: its holder is unknown\n"
        "  no goroutine stands in biz._pingByCmd.func2 past their call of Lock\n  1 waits\n");
    /* A second one in the same place: then nobody knows. */
    add_member(command_stack(68, 0x1ba), "syscall");
    run(MACHINERY QUEUE "    at-least: 2\n");
    assert_string_equal(
        told(),
        "p/queue warning read 2: 2 goroutines wait for mutex 0x4000: its holder is unknown\n"
        "  2 goroutines wait for mutex 0x4000 in biz._pingByCmd.func2 at file.c:60: its holder is unknown\n"
        "  2 goroutines stand in biz._pingByCmd.func2 past their call of Lock: which of them holds it is not known\n"
        "  2 waits\n");
}

static void a_likely_holder_by_lines(void **state)
{
    (void)state;
    goroutines();
    uint32_t a = add_resource(WAIT_MUTEX, NULL);
    waits(add_member(ping_stack(60, 0), "semacquire"), a);
    add_member(command_stack(68, 0), "syscall");
    run(MACHINERY QUEUE "    at-least: 1\n");
    assert_int_equal(findings.entries[0].confidence, CONFIDENCE_INFERRED);
}

static void a_lock_in_each_of_many_objects(void **state)
{
    (void)state;
    goroutines();
    uint32_t a = add_resource(WAIT_MUTEX, NULL), b = add_resource(WAIT_MUTEX, NULL);
    uint32_t stack = ping_stack(60, 0x5c);
    waits(add_member(stack, "semacquire"), a), waits(add_member(stack, "semacquire"), b);
    add_member(command_stack(68, 0x1ba), "syscall");
    run(MACHINERY QUEUE "    at-least: 1\n");
    assert_int_equal(findings.count, 2);
    assert_string_equal(findings.entries[0].title.data, "1 goroutine waits for mutex 0x4000: its holder is unknown");
    assert_string_equal(
        findings.entries[0].evidence[1].data,
        "biz._pingByCmd.func2 locks several things in one place: a goroutine past it may hold another one");
}

/* testcores/shop: one in the second Lock of each function, others in the first. */
static void a_circle_of_poor_guesses(void **state)
{
    (void)state;
    goroutines();
    uint32_t a = add_resource(WAIT_MUTEX, "orders"), b = add_resource(WAIT_MUTEX, "stock");
    uint32_t lock = call("sync.(*Mutex).Lock", 90, 0x65);
    uint32_t order_first = STACK(lock, call("placeOrder", 82, 0x49)), order = STACK(lock, call("placeOrder", 86, 0xb0));
    uint32_t stock_first = STACK(lock, call("restock", 93, 0x49)), stock = STACK(lock, call("restock", 97, 0xb0));
    waits(add_member(order, "semacquire"), b), waits(add_member(stock, "semacquire"), a);
    for (int i = 0; i < 3; i++)
        waits(add_member(order_first, "semacquire"), a), waits(add_member(stock_first, "semacquire"), b);
    run(MACHINERY CYCLE QUEUE "    at-least: 1\n");
    assert_int_equal(findings.count, 1);
    assert_int_equal(findings.entries[0].confidence, CONFIDENCE_SUSPECTED);
    assert_int_equal(findings.entries[0].members, 8);
    assert_string_equal(
        findings.entries[0].evidence[0].data,
        "goroutine 100 waits for mutex 0x4040 (stock) in placeOrder at file.c:86, held by goroutine 101 (suspected)");
    for (int i = 0; i < 2; i++) {
        literal.snapshot.members[i].waited_known = true;
        literal.snapshot.members[i].waited_seconds = 120;
    }
    run(MACHINERY CYCLE);
    assert_int_equal(findings.entries[0].confidence, CONFIDENCE_INFERRED);
    /* Without the other half the guess is not believed, and said so. */
    literal.snapshot.members[1].stack = STACK(lock, call("sweep", 5, 0x20));
    run(MACHINERY CYCLE QUEUE "    at-least: 1\n");
    assert_int_equal(findings.count, 2);
    assert_non_null(strstr(told(), "no goroutine stands in placeOrder and other functions past their call of Lock, "
                                   "except in a later call of Lock"));
}

static void no_guesses_where_memory_tells(void **state)
{
    (void)state;
    uint32_t a = add_resource(WAIT_MUTEX, NULL);
    waits(add_member(ping_stack(60, 0x5c), "futex wait"), a);
    add_member(command_stack(68, 0x1ba), "running");
    run(MACHINERY QUEUE "    at-least: 1\n");
    assert_string_equal(findings.entries[0].title.data, "1 thread waits for mutex 0x4000: its holder is unknown");
}

static void a_tangle_is_bounded(void **state)
{
    (void)state;
    uint32_t stack = waiting_stack("work", 5);
    for (uint32_t i = 0; i < 200; i++)
        add_resource(WAIT_RWLOCK, NULL);
    for (uint32_t i = 0; i < 200; i++)
        add_member(stack, "futex wait");
    for (uint32_t i = 0; i < 200; i++) {
        waits(i, i);
        for (uint32_t k = 0; k < 200; k++)
            if (k != i)
                literal_hold(&literal, i, k, LEARNT_READ)->exclusive = false;
    }
    run(MACHINERY CYCLE);
    assert_int_equal(findings.count, 1);
    const struct finding *finding = &findings.entries[0];
    assert_int_equal(finding->members, 200);
    assert_int_equal(finding->cycle_count, 8);
    assert_true(finding->evidence_count < 40);
    assert_non_null(strstr(finding->title.data, "200 threads wait for each other in a tangle of at least "));
}

static uint32_t random_state = 1;

static uint32_t random_below(uint32_t limit)
{
    random_state = random_state * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)(random_state >> 8) * limit >> 24);
}

static void shuffle(uint32_t *numbers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        numbers[i] = i;
    for (uint32_t i = count; i > 1; i--) {
        uint32_t other = random_below(i), swapped = numbers[i - 1];
        numbers[i - 1] = numbers[other];
        numbers[other] = swapped;
    }
}

/* The same process, its members, resources and facts in another order. */
static void make_shuffled(void)
{
    enum { member_count = 60, resource_count = 12 };
    static const uint32_t holder_of[resource_count] = {0, 1, 2, 3, 4, 5, 6, 0, 8, 9, 9, 11};
    static const uint32_t waits_of[16] = {1, 2, 0, 4, 3, 0, 5, 0, 9, 99, 8, 99, 10, 11, 6, 6};
    uint32_t member_at[member_count], resource_at[resource_count], order[member_count];
    shuffle(member_at, member_count);
    shuffle(resource_at, resource_count);
    uint32_t member_of[member_count], resource_of[resource_count];
    uint32_t stacks[3] = {0};
    for (uint32_t i = 0; i < 3; i++)
        stacks[i] = STACK(call("futex_wait", 0, 0), call(i == 0 ? "a" : i == 1 ? "b" : "c", 10 + i, 0));
    for (uint32_t i = 0; i < member_count; i++) {
        member_of[member_at[i]] = i;
        literal_member(&literal, 100 + member_at[i], stacks[member_at[i] % 3], NULL, -1);
    }
    for (uint32_t i = 0; i < resource_count; i++) {
        resource_of[resource_at[i]] = i;
        literal_resource(&literal, WAIT_MUTEX, 0x4000 + 0x40 * resource_at[i], NULL);
    }
    shuffle(order, resource_count);
    for (uint32_t i = 0; i < resource_count; i++)
        holds(member_of[holder_of[order[i]]], resource_of[order[i]]);
    shuffle(order, member_count);
    for (uint32_t i = 0; i < member_count; i++) {
        uint32_t wanted = order[i] < 16 ? waits_of[order[i]] : order[i] % resource_count;
        if (wanted != 99)
            waits(member_of[order[i]], resource_of[wanted]);
    }
}

static void order_says_nothing(void **state)
{
    (void)state;
    char *first = NULL;
    for (int round = 0; round < 50; round++) {
        make_shuffled();
        run(MACHINERY CYCLE QUEUE "    at-least: 3\n");
        assert_true(findings.count >= 4);
        if (first == NULL)
            first = strdup(told());
        assert_string_equal(told(), first);
        literal_deinit(&literal);
        literal_init(&literal);
        arena_reset(&arena);
        arena_reset(&scratch);
    }
    free(first);
}

static double milliseconds_since(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) * 1e3 + (double)(now.tv_nsec - start->tv_nsec) / 1e6;
}

static void what_it_costs(void **state)
{
    (void)state;
    uint32_t a = add_resource(WAIT_MUTEX, "a"), b = add_resource(WAIT_MUTEX, "b");
    uint32_t head = add_member(STACK(call("fsync", 0, 0)), "fsync"), second = add_waiter("f", 3);
    holds(head, a), holds(second, b), waits(second, a);
    for (uint32_t i = 0; i < 10; i++) {
        add_waiters(500, "f", 10 + i, a);
        add_waiters(500, "g", 10 + i, b);
    }
    run(MACHINERY CYCLE QUEUE);
    assert_int_equal(findings.entries[0].members, 10001);
    struct rule_set *set = rule_set_new(&arena);
    struct rule_file file = rule_file_parse(TEXT("p.yaml"), TEXT(MACHINERY CYCLE QUEUE), &arena);
    assert_true(rule_set_add(set, &file, TEXT("")));
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        struct timespec start;
        clock_gettime(CLOCK_MONOTONIC, &start);
        detect_run(set, &literal.snapshot, &grouping, &(struct detect_options){0}, &arena, &scratch,
                   &literal.diagnostics);
        double taken = milliseconds_since(&start);
        best = taken < best ? taken : best;
    }
    rule_set_release(set);
    print_message("10,000 waiters of 2 mutexes: %.2f ms\n", best);
}

static void nothing_at_all(void **state)
{
    (void)state;
    run(MACHINERY CYCLE QUEUE);
    assert_int_equal(findings.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        CASE(a_cycle_with_victims),
        CASE(a_mutex_that_is_held_already),
        CASE(a_reader_that_wants_to_write),
        CASE(readers_and_a_writer),
        CASE(a_join_in_a_circle),
        CASE(threads_that_were_not_read_at_one_instant),
        CASE(threads_that_stood_still_between_looks),
        CASE(a_queue_whose_head_sleeps),
        CASE(a_queue_whose_head_runs),
        CASE(a_queue_whose_head_did_not_stand_still),
        CASE(a_queue_and_its_head),
        CASE(narrower_rules_take_their_queue),
        CASE(heads_that_are_no_members),
        CASE(everyday_waits),
        CASE(a_likely_holder),
        CASE(a_likely_holder_by_lines),
        CASE(a_lock_in_each_of_many_objects),
        CASE(a_circle_of_poor_guesses),
        CASE(no_guesses_where_memory_tells),
        CASE(a_tangle_is_bounded),
        CASE(order_says_nothing),
        CASE(what_it_costs),
        CASE(nothing_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
