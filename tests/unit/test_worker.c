/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/worker.h"

#include <sched.h>
#include <signal.h>

struct job {
    int count;
    sigset_t blocked;
};

static void count_once(struct worker *worker, void *context)
{
    struct job *job = context;
    (void)worker;
    pthread_sigmask(SIG_SETMASK, NULL, &job->blocked);
    job->count++;
}

static void wait_for_the_end(struct worker *worker, void *context)
{
    struct job *job = context;
    while (!worker_is_unwanted(worker))
        sched_yield();
    job->count++;
}

static bool one_processor(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) == 1;
}

static void test_one_thing_at_a_time(void **state)
{
    (void)state;
    struct worker worker = {0};
    struct job job = {0};
    sigset_t before, after;
    worker_wait(&worker);
    worker_end(&worker);
    if (one_processor())
        skip(); /* there is no worker then, which the next test shows */
    sigemptyset(&before);
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_true(worker_start(&worker, wait_for_the_end, &job));
    assert_false(worker_start(&worker, count_once, &job));
    worker_end(&worker);
    assert_int_equal(job.count, 1);
    assert_true(worker_start(&worker, count_once, &job));
    worker_wait(&worker);
    worker_wait(&worker);
    assert_int_equal(job.count, 2);
    /* Signals are for others, faults for whom they meet. */
    assert_true(sigismember(&job.blocked, SIGALRM));
    assert_true(sigismember(&job.blocked, SIGTERM));
    assert_false(sigismember(&job.blocked, SIGBUS));
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int i = 1; i < SIGRTMIN; i++)
        assert_int_equal(sigismember(&before, i), sigismember(&after, i));
}

static void test_no_second_processor(void **state)
{
    (void)state;
    struct worker worker = {0};
    struct job job = {0};
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_false(worker_start(&worker, count_once, &job));
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    worker_end(&worker);
    assert_int_equal(job.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_thing_at_a_time),
        cmocka_unit_test(test_no_second_processor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
