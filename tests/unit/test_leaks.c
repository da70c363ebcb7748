/* SPDX-License-Identifier: Apache-2.0 */
/* Detectors of masses: one place, siblings, channels, descriptors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

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

static struct member *goroutines(uint32_t count, const char *state, const char *calls)
{
    test.literal.snapshot.kind = PROFILE_GOROUTINES;
    return rules_test_mass(&test, count, state, calls);
}

static void run(const char *rules)
{
    rules_test_run(&test, rules);
    rules_test_print(&test);
}

#define LEAK "  - id: leak\n    severity: warning\n    detector: leak\n    title: '{members} of {share} in {place}'\n"
#define GRPC                                                                                                           \
    "  - id: grpc\n    severity: critical\n    detector: leak\n    title: '{members}, {siblings}, {origin}'\n"         \
    "    any: ['^google\\.golang\\.org/grpc']\n"                                                                       \
    "    creates: '^google\\.golang\\.org/grpc\\.(Dial|DialContext|NewClient)$'\n"
#define CHANNEL                                                                                                        \
    "  - id: channel\n    severity: warning\n    detector: channel\n    title: '{members} {kind} in {place}'\n"

/* The published dump: what it shows is an excerpt, shares are of what its header speaks of. */
static void test_one_place(void **state)
{
    (void)state;
    goroutines(11274, NULL, "api.notifyFxn websocket.go:156");
    test.literal.snapshot.total_claimed = 13647;
    run(LEAK);
    assert_int_equal(test.findings.count, 1);
    assert_int_equal(test.findings.entries[0].members, 11274);
    assert_string_equal(rules_test_key(&test, 0, "share"), "82.6 %");
    assert_string_equal(rules_test_key(&test, 0, "place"), "api.notifyFxn at websocket.go:156");
    assert_true(rules_test_says(&test, 0, "22 MiB"));
}

/* What hides the wait is a fact to tell. */
static void test_unnamed_calls(void **state)
{
    (void)state;
    goroutines(10000, NULL, "? < ? < ? < main.f pprof.go:11");
    goroutines(4, NULL, "main.main pprof.go:20");
    run(LEAK);
    assert_int_equal(test.findings.count, 1);
    assert_true(rules_test_says(&test, 0, "no function of the 3 calls"));
}

/* Worker pools, half of a busy server, and threads. */
static void test_no_leak(void **state)
{
    (void)state;
    goroutines(100, "chan receive", "main.worker main.go:10");
    goroutines(3, "select", "main.main main.go:90");
    run(LEAK);
    assert_int_equal(test.findings.count, 0);
}

static void test_no_leak_in_crowd(void **state)
{
    (void)state;
    goroutines(2000, "IO wait", "net.(*conn).Read net.go:10 < net/http.(*conn).serve server.go:9");
    goroutines(2000, "IO wait", "net.(*conn).Read net.go:10 < net/http.(*connReader).backgroundRead server.go:5");
    goroutines(1500, "select", "main.handle main.go:90");
    run(LEAK "    share: 50%\n");
    assert_int_equal(test.findings.count, 0);
}

static void test_no_leak_of_threads(void **state)
{
    (void)state;
    rules_test_mass(&test, 10000, "futex wait", "pthread_cond_wait < worker main.c:10 < start_thread");
    run(LEAK);
    assert_int_equal(test.findings.count, 0);
}

static void test_leak_of_threads(void **state)
{
    (void)state;
    rules_test_mass(&test, 10000, "futex wait", "pthread_cond_wait < worker main.c:10 < start_thread");
    run(LEAK "    for: threads\n");
    assert_int_equal(test.findings.count, 1);
    for (size_t i = 0; i < test.findings.entries[0].evidence_count; i++)
        assert_null(strstr(test.findings.entries[0].evidence[i].data, "MiB"));
}

static void test_by_creator(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct member *member = goroutines(1000, "chan receive", "main.wait main.go:10");
        member->creator = intern_table_add(&test.literal.snapshot.strings, i == 1 ? TEXT("main.a") : TEXT("main.b"));
        member->waited_known = true;
        member->waited_seconds = 60 + 60 * (uint64_t)i;
    }
    run(LEAK "    share: 10%\n    by: [creator]\n");
    assert_int_equal(test.findings.count, 2);
    assert_int_equal(test.findings.entries[0].members, 2000);
    assert_string_equal(rules_test_key(&test, 0, "creator"), "main.b");
    assert_true(rules_test_says(&test, 0, "at least 1 min, up to 3 min"));
}

static void grpc_connections(void)
{
    goroutines(148, NULL, "google.golang.org/grpc.(*ccBalancerWrapper).watcher balancer.go:115");
    goroutines(107, NULL,
               "google.golang.org/grpc/internal/transport.(*controlBuffer).get controlbuf.go:408 < "
               "google.golang.org/grpc/internal/transport.(*loopyWriter).run controlbuf.go:535 < "
               "google.golang.org/grpc/internal/transport.newHTTP2Client.func6 http2_client.go:442");
    goroutines(106, NULL,
               "net.(*conn).Read net.go:183 < golang.org/x/net/http2.(*Framer).ReadFrame frame.go:498 < "
               "google.golang.org/grpc/internal/transport.(*http2Client).reader http2_client.go:1561");
    goroutines(1, NULL,
               "net.(*conn).Read net.go:183 < "
               "google.golang.org/grpc/internal/transport.(*http2Client).readServerPreface http2_client.go:1531 < "
               "google.golang.org/grpc/internal/transport.(*http2Client).reader http2_client.go:1549");
}

static void test_siblings(void **state)
{
    (void)state;
    grpc_connections();
    goroutines(1, NULL,
               "google.golang.org/grpc.(*ClientConn).WaitForStateChange clientconn.go:515 < "
               "google.golang.org/grpc.DialContext clientconn.go:321 < google.golang.org/grpc.Dial clientconn.go:105 < "
               "CIT/internal/server.NewConn conn.go:101 < CIT/internal/server.NewClientOnce cli.go:10 < "
               "CIT/internal/biz.OIDGet OIDValSerialize.go:39 < main.bizFunc.func4 main.go:86");
    goroutines(16, NULL, "time.Sleep time.go:195 < main.main main.go:70");
    run(GRPC);
    assert_int_equal(test.findings.count, 1);
    assert_int_equal(test.findings.entries[0].members, 362);
    assert_string_equal(rules_test_key(&test, 0, "siblings"), "148");
    assert_string_equal(rules_test_key(&test, 0, "origin"), "CIT/internal/server.NewClientOnce");
    assert_int_equal(rules_test_role(&test, 0, "started together"), 362);
    assert_int_equal(rules_test_role(&test, 0, "creates"), 1);
    assert_true(rules_test_says(&test, 0, "148 in grpc.(*ccBalancerWrapper).watcher"));
    assert_true(rules_test_says(&test, 0, "107 in transport.newHTTP2Client.func6 > transport.(*loopyWriter).run"));
    assert_true(rules_test_says(&test, 0, "107 in transport.(*http2Client).reader (106 of them in one stack)"));
    assert_true(rules_test_says(&test, 0,
                                "CIT/internal/server.NewConn at conn.go:101, called from "
                                "CIT/internal/server.NewClientOnce at cli.go:10, called from "
                                "CIT/internal/biz.OIDGet at OIDValSerialize.go:39"));
}

static void test_siblings_without_creator(void **state)
{
    (void)state;
    grpc_connections();
    run(GRPC);
    assert_int_equal(test.findings.count, 1);
    assert_string_equal(rules_test_key(&test, 0, "origin"), "a caller that no stack shows");
    assert_int_equal(rules_test_role(&test, 0, "creates"), 0);
}

/* A handful of connections; one kind alone; kinds in numbers of their own. */
static void test_no_siblings(void **state)
{
    (void)state;
    goroutines(20, NULL, "google.golang.org/grpc.(*ccBalancerWrapper).watcher balancer.go:115");
    goroutines(20, NULL, "google.golang.org/grpc/internal/transport.(*http2Client).reader http2_client.go:1561");
    run(GRPC);
    assert_int_equal(test.findings.count, 0);
}

static void test_no_siblings_unequal(void **state)
{
    (void)state;
    goroutines(900, NULL, "google.golang.org/grpc.(*Server).serve server.go:115");
    goroutines(60, NULL, "google.golang.org/grpc/internal/transport.(*http2Client).reader http2_client.go:1561");
    run(GRPC);
    assert_int_equal(test.findings.count, 0);
}

static void test_no_siblings_of_two_libraries(void **state)
{
    (void)state;
    goroutines(100, "select", "github.com/a/b.run b.go:1");
    goroutines(100, "select", "github.com/a/c.run c.go:1");
    run(LEAK "    any: '^github'\n");
    assert_int_equal(test.findings.count, 0);
}

/* Channels. */

static void test_channel_by_call_site(void **state)
{
    (void)state;
    goroutines(3000, "chan receive", "main.consume main.go:10");
    goroutines(2000, "IO wait", "net.(*conn).Read net.go:1");
    run(CHANNEL);
    assert_int_equal(test.findings.count, 1);
    assert_int_equal(test.findings.entries[0].members, 3000);
    assert_int_equal(test.findings.entries[0].confidence, CONFIDENCE_INFERRED);
    assert_string_equal(rules_test_key(&test, 0, "place"), "main.consume at main.go:10");
    assert_true(rules_test_says(&test, 0, "3,000 of 5,000 goroutines (60.0 %)"));
}

/* One channel with waiters at two call sites, and who waits at its other end. */
static void test_channel_by_address(void **state)
{
    (void)state;
    goroutines(2, "chan send", "main.produce main.go:30");
    rules_test_wait(&test, WAIT_CHANNEL_SEND, 0xc000010000);
    goroutines(800, "chan receive", "main.consume main.go:10");
    rules_test_wait(&test, WAIT_CHANNEL_RECEIVE, 0xc000010000);
    goroutines(400, "chan receive", "main.drain main.go:20");
    rules_test_wait(&test, WAIT_CHANNEL_RECEIVE, 0xc000010000);
    goroutines(900, "chan receive", "main.consume main.go:10");
    rules_test_wait(&test, WAIT_CHANNEL_RECEIVE, 0xc000020000);
    test.literal.snapshot.resources[1].capacity_known = true;
    test.literal.snapshot.resources[1].capacity = 10;
    run(CHANNEL);
    assert_int_equal(test.findings.count, 1);
    assert_int_equal(test.findings.entries[0].members, 1200);
    assert_int_equal(test.findings.entries[0].confidence, CONFIDENCE_READ);
    assert_true(rules_test_says(&test, 0, "0xc000010000"));
    assert_true(rules_test_says(&test, 0, "holds 0 of 10"));
    assert_true(rules_test_says(&test, 0, "2 more wait on the same channel"));
    assert_true(rules_test_says(&test, 0, "several places: 800 in main.consume"));
}

static void test_channel_few(void **state)
{
    (void)state;
    goroutines(100, "chan receive", "main.consume main.go:10");
    run(CHANNEL);
    assert_int_equal(test.findings.count, 0);
}

/* Without states only the rule's conditions tell that it is a channel. */
static void test_channel_by_rule(void **state)
{
    (void)state;
    goroutines(3000, NULL, "main.consume main.go:10");
    goroutines(3000, NULL, "main.other main.go:20");
    run(CHANNEL "    leaf: '^main\\.consume$'\n");
    assert_int_equal(test.findings.count, 1);
    assert_int_equal(test.findings.entries[0].members, 3000);
}

/* Descriptors. */

#define CLOSE_WAIT                                                                                                     \
    "  - id: close-wait\n    severity: warning\n    detector: descriptors\n    state: '^CLOSE_WAIT$'\n"                \
    "    title: '{sockets} sockets are in {state}, most to {peer}'\n"
#define EXHAUSTED                                                                                                      \
    "  - id: exhausted\n    severity: critical\n    detector: descriptors\n"                                           \
    "    title: '{descriptors} of {limit} descriptors are open'\n"

static void descriptors(uint32_t close_wait, uint64_t count_open, uint64_t count_max)
{
    static struct descriptor entries[1];
    static struct descriptor_class classes[2];
    static struct descriptors all;
    classes[0] = (struct descriptor_class){.kind = DESCRIPTOR_SOCKET,
                                           .protocol = NET_TCP,
                                           .state = NET_STATE_CLOSE_WAIT,
                                           .local = {4, {10, 0, 0, 1}, 0},
                                           .peer = {4, {10, 0, 0, 7}, 5432},
                                           .count = close_wait};
    classes[1] = (struct descriptor_class){.kind = DESCRIPTOR_SOCKET,
                                           .protocol = NET_TCP,
                                           .state = NET_STATE_ESTABLISHED,
                                           .peer = {4, {10, 0, 0, 9}, 80},
                                           .count = 500};
    entries[0] = (struct descriptor){.fd = 7, .class_number = 0};
    all = (struct descriptors){.entries = entries,
                               .count = 1,
                               .classes = classes,
                               .class_count = 2,
                               .count_open = count_open,
                               .count_max = count_max};
    test.literal.snapshot.descriptors = &all;
    rules_test_mass(&test, 3, "read", "read < fetch main.c:5")->fd = 7;
}

static void test_close_wait(void **state)
{
    (void)state;
    descriptors(812, 1320, 65536);
    run(CLOSE_WAIT EXHAUSTED);
    assert_int_equal(test.findings.count, 1);
    assert_string_equal(rules_test_key(&test, 0, "sockets"), "812");
    assert_string_equal(rules_test_key(&test, 0, "peer"), "10.0.0.7:5432");
    assert_string_equal(rules_test_key(&test, 0, "state"), "CLOSE_WAIT");
    assert_int_equal(test.findings.entries[0].members, 3);
    assert_int_equal(test.findings.entries[0].confidence, CONFIDENCE_READ);
    assert_true(rules_test_says(&test, 0, "812 × tcp socket at 10.0.0.1 to 10.0.0.7:5432 in CLOSE_WAIT"));
    assert_true(rules_test_says(&test, 0, "3 wait on one of them: 3 in fetch at main.c:5"));
}

static void test_close_wait_few(void **state)
{
    (void)state;
    descriptors(40, 600, 65536);
    run(CLOSE_WAIT EXHAUSTED);
    assert_int_equal(test.findings.count, 0);
}

static void test_exhausted(void **state)
{
    (void)state;
    descriptors(40, 1000, 1024);
    run(CLOSE_WAIT EXHAUSTED);
    assert_int_equal(test.findings.count, 1);
    assert_string_equal(rules_test_key(&test, 0, "limit"), "1,024");
    assert_true(rules_test_says(&test, 0, "1,000 of 1,024 descriptors"));
}

static void test_no_limit_known(void **state)
{
    (void)state;
    descriptors(40, 100000, 0);
    run(EXHAUSTED);
    assert_int_equal(test.findings.count, 0);
}

static void test_no_descriptors(void **state)
{
    (void)state;
    rules_test_mass(&test, 3, "read", "read < fetch main.c:5");
    run(CLOSE_WAIT EXHAUSTED);
    assert_int_equal(test.findings.count, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_one_place),
        TEST(test_unnamed_calls),
        TEST(test_no_leak),
        TEST(test_no_leak_in_crowd),
        TEST(test_no_leak_of_threads),
        TEST(test_leak_of_threads),
        TEST(test_by_creator),
        TEST(test_siblings),
        TEST(test_siblings_without_creator),
        TEST(test_no_siblings),
        TEST(test_no_siblings_unequal),
        TEST(test_no_siblings_of_two_libraries),
        TEST(test_channel_by_call_site),
        TEST(test_channel_by_address),
        TEST(test_channel_few),
        TEST(test_channel_by_rule),
        TEST(test_close_wait),
        TEST(test_close_wait_few),
        TEST(test_exhausted),
        TEST(test_no_limit_known),
        TEST(test_no_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
