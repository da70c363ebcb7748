/* SPDX-License-Identifier: Apache-2.0 */
/* Layouts of programs with a pool: what is said of whom, and above all what is not said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "detect/detect_pools.h"
#include "detect/detection.h"
#include "literal_rules.h"

static struct rules_test test;

static int setup(void **state)
{
    (void)state;
    rules_test_init(&test);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rules_test_deinit(&test);
    return 0;
}

static void goroutines(uint32_t count, const char *calls)
{
    test.literal.snapshot.kind = PROFILE_GOROUTINES;
    rules_test_mass(&test, count, "select", calls);
}

static void threads(uint32_t count, const char *calls)
{
    rules_test_mass(&test, count, "futex wait", calls);
}

#define REDIS_RULE                                                                                                     \
    "  - id: redigo\n    severity: critical\n    detector: pool\n"                                                     \
    "    title: '{waiters} {kind} wait for {pool}'\n"                                                                  \
    "    acquire: '^redis\\.\\(\\*Pool\\)\\.[gG]et$'\n    hold: '^redis\\.\\(\\*activeConn\\)\\.'\n"
#define REDIS_GET "redis.(*Pool).get pool.go:278 < redis.(*Pool).Get pool.go:179"
#define C_RULE                                                                                                         \
    "  - id: c\n    severity: critical\n    detector: pool\n    acquire: '^pool_get$'\n"                               \
    "    title: '{waiters} threads wait in {pool}'\n"
#define C_GET "pthread_cond_wait < pool_get pool.c:40"

static void finds(uint64_t waiters, uint64_t nested, enum confidence confidence)
{
    rules_test_print(&test);
    assert_int_equal(test.findings.count, 1);
    assert_int_equal(test.findings.entries[0].members, waiters);
    assert_int_equal(test.findings.entries[0].confidence, confidence);
    assert_int_equal(rules_test_role(&test, 0, "holds and waits"), nested);
    assert_int_equal(rules_test_role(&test, 0, "waits"), waiters - nested);
}

static void nothing(void)
{
    rules_test_print(&test);
    assert_int_equal(test.findings.count, 0);
}

/* The published dump, with the functions that matter. */
static void test_nested_by_layer(void **state)
{
    (void)state;
    goroutines(816132,
               REDIS_GET " < foo/tool.POSOnlineUpdate redis.go:549 < foo/engine.(*Client).reader.func3 c.go:417");
    goroutines(189361, "foo/engine.(*Client).writer client.go:777");
    goroutines(159055, REDIS_GET " < foo/tool.UpdateTTL redis.go:614 < foo/engine.(*Client).reader client.go:410");
    goroutines(156, REDIS_GET " < foo/tool.MessageShopDel redis.go:424 < foo/tool.MessageListShopGet redis.go:372"
                              " < foo/engine.(*Client).Send client.go:473");
    goroutines(144, REDIS_GET " < foo/tool.MessageShopGet redis.go:379 < foo/tool.MessageListShopGet redis.go:356"
                              " < foo/engine.(*Client).Send client.go:473");
    rules_test_run(&test, REDIS_RULE);
    finds(975487, 300, CONFIDENCE_SUSPECTED);
    assert_int_equal(test.findings.entries[0].severity, SEVERITY_CRITICAL);
    assert_string_equal(rules_test_key(&test, 0, "waiters"), "975,487");
    assert_string_equal(rules_test_key(&test, 0, "nested"), "300");
    assert_string_equal(rules_test_key(&test, 0, "victims"), "975,187");
    assert_string_equal(rules_test_key(&test, 0, "holders"), "0");
    assert_string_equal(rules_test_key(&test, 0, "verdict"), ", 300 of which may hold what the others wait for");
    assert_string_equal(rules_test_key(&test, 0, "pool"), "redis.(*Pool).Get");
    assert_true(rules_test_says(&test, 0, "300 of them may hold one already: if each does, the pool has 300"));
    assert_true(rules_test_says(&test, 0,
                                "156 in foo/tool.MessageShopDel at redis.go:424, called from "
                                "foo/tool.MessageListShopGet at redis.go:372"));
    assert_true(rules_test_says(&test, 0, "816,132 in foo/tool.POSOnlineUpdate at redis.go:549"));
    for (size_t i = 0; i < test.findings.entries[0].evidence_count; i++)
        assert_null(strstr(test.findings.entries[0].evidence[i].data, "writer"));
}

/* Every query goes through the same function of the layer: it is part of acquire, and none is nested. */
static void test_accessor(void **state)
{
    (void)state;
    goroutines(40, REDIS_GET " < foo/dao.conn c.go:7 < foo/dao.User dao.go:10 < foo/web.user web.go:3");
    goroutines(30, REDIS_GET " < foo/dao.conn c.go:7 < foo/dao.Order dao.go:20 < foo/web.order web.go:9");
    rules_test_run(&test, REDIS_RULE);
    nothing();
}

/* An accessor of accessors. */
static void test_accessor_repeats(void **state)
{
    (void)state;
    goroutines(20,
               REDIS_GET " < foo/dao.conn c.go:7 < foo/dao.do c.go:9 < foo/dao.User dao.go:10 < foo/web.user w.go:3");
    goroutines(20, REDIS_GET " < foo/dao.conn c.go:7 < foo/dao.do c.go:9 < foo/dao.Order dao.go:20 < foo/web.o w.go:9");
    goroutines(20,
               REDIS_GET " < foo/dao.conn c.go:7 < foo/dao.try c.go:12 < foo/dao.User dao.go:13 < foo/web.u w.go:3");
    goroutines(20,
               REDIS_GET " < foo/dao.conn c.go:7 < foo/dao.try c.go:12 < foo/dao.Order dao.go:23 < foo/web.o w.go:9");
    rules_test_run(&test, REDIS_RULE);
    nothing();
}

/* … and behind an accessor nesting is seen. */
static void test_nested_behind_accessor(void **state)
{
    (void)state;
    goroutines(40, REDIS_GET " < foo/dao.conn c.go:7 < foo/dao.User dao.go:10 < foo/web.user web.go:3");
    goroutines(30, REDIS_GET " < foo/dao.conn c.go:7 < foo/dao.Order dao.go:20 < foo/web.order web.go:9");
    goroutines(8, REDIS_GET
               " < foo/dao.conn c.go:7 < foo/dao.Order dao.go:20 < foo/dao.Report dao.go:52 < foo/web.r w.go:1");
    rules_test_run(&test, REDIS_RULE);
    finds(78, 8, CONFIDENCE_SUSPECTED);
}

/* All in layers: a public function of the layer calls a private one that connects. */
static void test_all_layered(void **state)
{
    (void)state;
    goroutines(40, REDIS_GET " < foo/dao.queryUser dao.go:10 < foo/dao.User dao.go:100 < foo/web.user web.go:3");
    goroutines(30, REDIS_GET " < foo/dao.queryOrder dao.go:20 < foo/dao.Order dao.go:110 < foo/web.order web.go:9");
    rules_test_run(&test, REDIS_RULE);
    nothing();
}

static void test_everyone_nested(void **state)
{
    (void)state;
    goroutines(12, REDIS_GET " < foo/tool.Del redis.go:424 < foo/tool.List redis.go:372 < foo/engine.Send c.go:473");
    rules_test_run(&test, REDIS_RULE);
    nothing();
}

/* Names do not tell whether each level of a recursion takes one. */
static void test_recursion(void **state)
{
    (void)state;
    goroutines(40, REDIS_GET " < foo/dao.User dao.go:10 < foo/web.user web.go:3");
    goroutines(5, REDIS_GET
               " < foo/dao.Tree dao.go:30 < foo/dao.Tree dao.go:35 < foo/dao.Tree dao.go:35 < foo/web.t w.go:4");
    goroutines(5, REDIS_GET
               " < foo/dao.Node dao.go:40 < foo/dao.children dao.go:45 < foo/dao.Node dao.go:47 < foo/web.t w.go:4");
    rules_test_run(&test, REDIS_RULE);
    nothing();
}

/* A helper that calls the closure of the very function that waits. */
static void test_closure_in_helper(void **state)
{
    (void)state;
    goroutines(40, REDIS_GET " < foo/dao.User dao.go:10 < foo/web.user web.go:3");
    goroutines(30, REDIS_GET " < foo/dao.Order.func1 dao.go:21 < foo/dao.retry dao.go:90 < foo/dao.Order dao.go:20"
                             " < foo/web.order web.go:9");
    rules_test_run(&test, REDIS_RULE);
    nothing();
}

/* Single-file programs are one layer; that a function is seen to take one, at a line before, tells. */
static void test_nested_by_order(void **state)
{
    (void)state;
    threads(4, C_GET " < audit main.c:30 < transfer main.c:52 < worker main.c:80 < start_thread");
    threads(20, C_GET " < transfer main.c:50 < worker main.c:80 < start_thread");
    rules_test_run(&test, C_RULE);
    finds(24, 4, CONFIDENCE_INFERRED);
    assert_true(rules_test_says(&test, 0, "itself seen to take one at an earlier place"));
}

/* The other order: it is called before the own one is taken. */
static void test_called_before_acquire(void **state)
{
    (void)state;
    threads(4, C_GET " < audit main.c:30 < transfer main.c:48 < worker main.c:80 < start_thread");
    threads(20, C_GET " < transfer main.c:50 < worker main.c:80 < start_thread");
    rules_test_run(&test, C_RULE);
    nothing();
}

/* One file for all: what a thread began with is no proof, as all stacks begin in it. */
static void test_single_file(void **state)
{
    (void)state;
    threads(4, C_GET " < audit main.c:30 < transfer main.c:52 < transfers main.c:80 < start_thread");
    threads(20, C_GET " < query main.c:60 < queries main.c:90 < start_thread");
    rules_test_run(&test, C_RULE);
    finds(24, 4, CONFIDENCE_SUSPECTED);
}

static void test_single_file_plain(void **state)
{
    (void)state;
    threads(20, C_GET " < query main.c:60 < queries main.c:90 < start_thread");
    threads(10, C_GET " < store main.c:70 < stores main.c:95 < start_thread");
    rules_test_run(&test, C_RULE);
    nothing();
}

/* Transfers nest; queries wait for what two that read and four that audit have. */
static void nested_threads(void)
{
    threads(40, C_GET " < query query.c:60 < handle main.c:90 < start_thread");
    threads(4, C_GET " < audit query.c:30 < transfer query.c:52 < handle main.c:91 < start_thread");
}

static void test_holders(void **state)
{
    (void)state;
    nested_threads();
    threads(2, "read < answer query.c:20 < query query.c:62 < handle main.c:90 < start_thread");
    /* Not yet there. */
    threads(3, "read < request query.c:10 < query query.c:58 < handle main.c:90 < start_thread");
    rules_test_run(&test, C_RULE);
    finds(44, 4, CONFIDENCE_SUSPECTED);
    /* Names alone, while others work with theirs: a busy pool looks like this. */
    assert_int_equal(test.findings.entries[0].severity, SEVERITY_INFO);
    assert_string_equal(rules_test_key(&test, 0, "holders"), "2");
    assert_int_equal(rules_test_role(&test, 0, "holds"), 2);
    assert_true(rules_test_says(&test, 0, "2 in answer at query.c:20, called from query at query.c:62"));
    assert_true(rules_test_says(&test, 0, "if each does, and each of 2 that do something else, the pool has 6"));
}

static void test_holders_by_rule(void **state)
{
    (void)state;
    goroutines(40, REDIS_GET " < foo/dao.User dao.go:10 < foo/web.user web.go:3");
    goroutines(
        5,
        "net.(*conn).Read net.go:1 < redis.(*activeConn).Do pool.go:400 < foo/dao.Slow dao.go:30 < foo/web.s w.go:1");
    /* Works on one while it waits for another. */
    goroutines(3, REDIS_GET " < foo/log.Write log.go:3 < redis.(*activeConn).Do pool.go:410 < foo/dao.Slow dao.go:30");
    rules_test_run(&test, REDIS_RULE);
    finds(43, 3, CONFIDENCE_INFERRED);
    assert_string_equal(rules_test_key(&test, 0, "holders"), "5");
    assert_true(rules_test_says(&test, 0, "if each does, and each of 5 that do something else, the pool has 8"));
}

/* Those that run only pass through, and have one soon. */
static void test_running(void **state)
{
    (void)state;
    nested_threads();
    rules_test_mass(&test, 9, "running", "pool_get pool.c:33 < query query.c:60 < handle main.c:90 < start_thread");
    rules_test_mass(&test, 3, "running",
                    "pool_get pool.c:33 < audit query.c:30 < transfer query.c:52 < handle main.c:91");
    rules_test_run(&test, C_RULE);
    finds(44, 4, CONFIDENCE_SUSPECTED);
}

static void few_threads(void)
{
    threads(6, C_GET " < query query.c:60 < handle main.c:90 < start_thread");
    threads(3, C_GET " < audit query.c:30 < transfer query.c:52 < handle main.c:91 < start_thread");
}

static void test_few(void **state)
{
    (void)state;
    few_threads();
    rules_test_run(&test, C_RULE);
    nothing();
}

static void test_few_by_rule(void **state)
{
    (void)state;
    few_threads();
    rules_test_run(&test, C_RULE "    at-least: 5\n");
    finds(9, 3, CONFIDENCE_SUSPECTED);
}

/* A general rule does not tell again what a rule before it has told. */
static void test_told_once(void **state)
{
    (void)state;
    nested_threads();
    rules_test_run(&test, C_RULE "  - id: general\n    severity: critical\n    detector: pool\n    acquire: 'get$'\n"
                                 "    title: '{pool}'\n"
                                 "  - id: leak\n    severity: warning\n    detector: leak\n    for: threads\n"
                                 "    at-least: 20\n    title: '{place}'\n");
    finds(44, 4, CONFIDENCE_SUSPECTED);
}

static void test_nobody(void **state)
{
    (void)state;
    threads(100, "read < query main.c:60 < start_thread");
    rules_test_run(&test, C_RULE);
    assert_int_equal(test.findings.count, 0);
}

/* Two pools behind one function, told apart by their conditions: only one has who nests. */
static void test_two_pools(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        threads(20, C_GET " < query query.c:60 < handle main.c:90 < start_thread");
        rules_test_wait(&test, WAIT_CONDITION, 0x1000);
        threads(15, C_GET " < store store.c:70 < keep main.c:95 < start_thread");
        rules_test_wait(&test, WAIT_CONDITION, 0x2000);
    }
    threads(2, C_GET " < audit query.c:30 < transfer query.c:52 < handle main.c:91 < start_thread");
    rules_test_wait(&test, WAIT_CONDITION, 0x1000);
    rules_test_run(&test, C_RULE);
    finds(42, 2, CONFIDENCE_SUSPECTED);
}

/* A condition of its own for each waiter is no pool of its own. */
static void test_condition_each(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 20; i++) {
        threads(1, C_GET " < query query.c:60 < handle main.c:90 < start_thread");
        rules_test_wait(&test, WAIT_CONDITION, 0x1000 + i);
    }
    threads(2, C_GET " < audit query.c:30 < transfer query.c:52 < handle main.c:91 < start_thread");
    rules_test_run(&test, C_RULE);
    finds(22, 2, CONFIDENCE_SUSPECTED);
}

/* Two kinds of pool that one rule names, side by side: functions that take of one are no layer of the other. */
static void test_two_classes(void **state)
{
    (void)state;
    threads(20,
            "pthread_cond_wait < db::Pool::get() db.cc:9 < dao::Users::load(int) users.cc:5 < web::user() web.cc:3");
    threads(15, "pthread_cond_wait < mq::Pool::get() mq.cc:9 < jobs::Queue::put() jobs.cc:5 < web::job() web.cc:9");
    threads(4, "pthread_cond_wait < mq::Pool::get() mq.cc:9 < jobs::Queue::put() jobs.cc:5"
               " < dao::Users::save(int) users.cc:15 < web::user() web.cc:4");
    threads(3, "pthread_cond_wait < db::Pool::get() db.cc:9 < dao::Users::load(int) users.cc:5"
               " < dao::Users::all() users.cc:25 < web::all() web.cc:7");
    rules_test_run(&test, "  - id: two\n    severity: critical\n    detector: pool\n    title: '{pool}'\n"
                          "    acquire: '::Pool::get\\(\\)$'\n");
    finds(23, 3, CONFIDENCE_SUSPECTED);
    assert_string_equal(rules_test_key(&test, 0, "pool"), "db::Pool::get()");
}

static void test_cpp(void **state)
{
    (void)state;
    threads(30,
            "pthread_cond_wait < db::Pool::get() db.cc:9 < dao::Users::load(int) users.cc:5 < web::user() web.cc:3");
    threads(6, "pthread_cond_wait < db::Pool::get() db.cc:9 < dao::Users::load(int) users.cc:5"
               " < dao::Users::all(int)::{lambda(int)#1}::operator()(int) const users.cc:25"
               " < void std::for_each<int*>(int*) algo.h:4 < dao::Users::all(int) users.cc:22 < web::all() web.cc:7");
    rules_test_run(&test, "  - id: cpp\n    severity: critical\n    detector: pool\n    title: '{pool}'\n    acquire: "
                          "'^db::Pool::get\\('\n");
    finds(36, 6, CONFIDENCE_SUSPECTED);
}

static void test_rust(void **state)
{
    (void)state;
    threads(30,
            "std::sys::futex_wait < r2d2::Pool<M>::get lib.rs:9 < app::dao::user users.rs:5 < app::web::user web.rs:3");
    threads(6, "std::sys::futex_wait < r2d2::Pool<M>::get lib.rs:9 < app::dao::user users.rs:5"
               " < app::dao::all::{{closure}} users.rs:25 < app::dao::all users.rs:22 < app::web::all web.rs:7");
    rules_test_run(&test, "  - id: rust\n    severity: critical\n    detector: pool\n    title: '{pool}'\n    acquire: "
                          "'^r2d2::Pool<.*>::get'\n");
    finds(36, 6, CONFIDENCE_SUSPECTED);
}

/* Stripped: no names but the pool's, which is exported. */
static void test_no_names(void **state)
{
    (void)state;
    threads(30, "? < pool_get < ? < ? < ?");
    rules_test_run(&test, C_RULE);
    nothing();
}

/* With the code of List and its like at hand: what each calls before the call that it stands in. */
static enum pool_answer acquires_before(void *context, const struct pool_entry *entry, struct stack_frame frame)
{
    (void)entry;
    const struct snapshot *snapshot = &test.literal.snapshot;
    struct text name = snapshot_string(snapshot, snapshot->frames[frame.frame].function);
    return text_equals(name, text_from_string(context)) ? POOL_YES : POOL_NO;
}

static char list_name[] = "foo/tool.List", nobody[] = "nobody";

static void run_with(const struct pool_facts *facts)
{
    rules_test_run(&test, REDIS_RULE);
    struct detection detection = {
        .set = test.set,
        .snapshot = &test.literal.snapshot,
        .grouping = &test.grouping,
        .arena = &test.literal.arena,
        .scratch = &test.scratch,
        .diagnostics = &test.literal.diagnostics,
    };
    detection_init(&detection);
    pools_find(&detection, test.set->rules[0], facts);
    test.findings = detection.findings;
}

static void list_and_show(void)
{
    goroutines(12, REDIS_GET " < foo/tool.Del redis.go:424 < foo/tool.List redis.go:372 < foo/engine.Send c.go:473");
    goroutines(15, REDIS_GET " < foo/tool.Del redis.go:424 < foo/tool.Show redis.go:390 < foo/engine.Send c.go:473");
    goroutines(30, REDIS_GET " < foo/tool.Get redis.go:430 < foo/engine.Send c.go:480");
}

static void test_code_proves(void **state)
{
    (void)state;
    list_and_show();
    run_with(&(struct pool_facts){.acquires_before = acquires_before, .context = list_name});
    finds(57, 12, CONFIDENCE_INFERRED);
}

static void test_code_refutes(void **state)
{
    (void)state;
    list_and_show();
    run_with(&(struct pool_facts){.acquires_before = acquires_before, .context = nobody});
    nothing();
}

static void test_counters_read(void **state)
{
    (void)state;
    list_and_show();
    run_with(&(struct pool_facts){
        .acquires_before = acquires_before,
        .context = list_name,
        .size_known = true,
        .size = 12,
        .in_use_known = true,
        .in_use = 12,
    });
    finds(57, 12, CONFIDENCE_READ);
    assert_true(rules_test_says(&test, 0, "the pool has 12, in use: 12 (read)"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_nested_by_layer),
        TEST(test_accessor),
        TEST(test_accessor_repeats),
        TEST(test_nested_behind_accessor),
        TEST(test_all_layered),
        TEST(test_everyone_nested),
        TEST(test_recursion),
        TEST(test_closure_in_helper),
        TEST(test_nested_by_order),
        TEST(test_called_before_acquire),
        TEST(test_single_file),
        TEST(test_single_file_plain),
        TEST(test_holders),
        TEST(test_holders_by_rule),
        TEST(test_running),
        TEST(test_few),
        TEST(test_few_by_rule),
        TEST(test_told_once),
        TEST(test_nobody),
        TEST(test_two_pools),
        TEST(test_condition_each),
        TEST(test_two_classes),
        TEST(test_cpp),
        TEST(test_rust),
        TEST(test_no_names),
        TEST(test_code_proves),
        TEST(test_code_refutes),
        TEST(test_counters_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
