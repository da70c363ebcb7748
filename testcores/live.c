/* SPDX-License-Identifier: Apache-2.0
 *
 * live WHAT [ARGUMENT...]: processes that somebody looks at while they run. Prints "ready" when all is in place; ends when its
 * standard input is closed, if not before.
 *
 *   signals COUNT            queued signals sent to itself as fast as it can, then one at a time, each when the last has been
 *                            handled; prints how many came
 *   zombie-leader THREADS    main leaves by pthread_exit, the others park
 *   vfork THREADS            one thread sits in vfork, whose child sleeps; the others park
 *   churn THREADS            threads that start and end all the time, never more than so many, beside four that stay
 *   brief MICROSECONDS       eight threads, and the process ends after so long
 *   count THREADS FILE       each thread counts up in FILE, an array of 64-bit numbers, once a millisecond
 *   deep                     parks 20 calls deep
 *   wide                     a thread parks below a frame of a megabyte, as Ruby's do
 */
#include "parking.h"

#include <alloca.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

static int handled, out_of_order, arrived;

static void ready(void)
{
    puts("ready");
    fflush(stdout);
}

static void wait_for_end(void)
{
    char byte;
    ssize_t got;

    while ((got = read(STDIN_FILENO, &byte, 1)) > 0 || (got < 0 && errno == EINTR))
        TC_KEEP();
}

static TC_FRAME void *tc_live_parked(void *unused)
{
    (void)unused;
    __atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
    for (;;)
        pause();
    return NULL;
}

static void wait_for_arrived(int count)
{
    while (__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < count)
        usleep(500);
}

static void park_threads(int count)
{
    parking_threads(count, tc_live_parked, NULL);
    wait_for_arrived(count);
}

static void *tc_live_end(void *unused)
{
    (void)unused;
    wait_for_end();
    _exit(0);
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    if (info->si_value.sival_int != handled)
        out_of_order++;
    __atomic_fetch_add(&handled, 1, __ATOMIC_SEQ_CST);
}

static int wait_for_handled(int count)
{
    for (int i = 0; i < 50000 && __atomic_load_n(&handled, __ATOMIC_SEQ_CST) < count; i++)
        usleep(100);
    return __atomic_load_n(&handled, __ATOMIC_SEQ_CST);
}

static void *tc_live_sender(void *argument)
{
    int count = (int)(intptr_t)argument, single;

    for (int i = 0; i < count; i++)
        while (sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = i}))
            usleep(20);
    printf("queued %d\n", wait_for_handled(count));
    printf("out of order %d\n", out_of_order);
    fflush(stdout);
    for (single = 0; single < count; single++) {
        __atomic_store_n(&handled, 0, __ATOMIC_SEQ_CST);
        sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 0});
        if (wait_for_handled(1) != 1)
            break;
    }
    printf("single %d\n", single);
    printf("out of order %d\n", out_of_order);
    fflush(stdout);
    return NULL;
}

/* One thread takes the signals, so that their order can be told. */
static void *tc_live_receiver(void *unused)
{
    sigset_t set;

    (void)unused;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    for (volatile unsigned long i = 0;; i++)
        if (i % 100000 == 0)
            usleep(50);
    return NULL;
}

static void run_signals(int count)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_RESTART};
    sigset_t set;

    action.sa_sigaction = on_signal;
    sigfillset(&action.sa_mask);
    sigaction(SIGRTMIN + 1, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    park_threads(4);
    parking_threads(1, tc_live_receiver, NULL);
    ready();
    parking_threads(1, tc_live_sender, (void *)(intptr_t)count);
}

static TC_FRAME void *tc_live_vfork(void *unused)
{
    pid_t child = vfork();

    (void)unused;
    if (child == 0) {
        struct timespec time = {30, 0};

        nanosleep(&time, NULL);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    return NULL;
}

static void *tc_live_brief(void *unused)
{
    (void)unused;
    usleep(100 + (useconds_t)truth_tid() % 7 * 150);
    return NULL;
}

static void *tc_live_churn(void *argument)
{
    pthread_t threads[256];
    int count = (int)(intptr_t)argument < 256 ? (int)(intptr_t)argument : 256;

    __atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        for (int i = 0; i < count; i++)
            threads[i] = parking_thread(tc_live_brief, NULL, 32 * 1024);
        for (int i = 0; i < count; i++)
            pthread_join(threads[i], NULL);
    }
    return NULL;
}

static void *tc_live_count(void *argument)
{
    __atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        __atomic_fetch_add((uint64_t *)argument, 1, __ATOMIC_RELAXED);
        usleep(1000);
    }
    return NULL;
}

static void run_count(int threads, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    size_t bytes = (size_t)threads * sizeof(uint64_t);
    uint64_t *counters;

    if (fd < 0 || ftruncate(fd, (off_t)bytes))
        truth_fail(path);
    counters = (uint64_t *)mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (counters == MAP_FAILED)
        truth_fail("mmap");
    for (int i = 0; i < threads; i++)
        parking_thread(tc_live_count, counters + i, 32 * 1024);
    wait_for_arrived(threads);
}

static TC_FRAME int tc_live_deep(int depth)
{
    int result = depth > 0 ? tc_live_deep(depth - 1) : 0;

    if (depth == 0) {
        ready();
        wait_for_end();
    }
    TC_KEEP();
    return result + 1;
}

static TC_FRAME void *tc_live_wide(void *unused)
{
    char *stack = alloca(1 << 20);

    __asm__ volatile("" : : "r"(stack) : "memory"); /* it is used */
    tc_live_deep(3);
    TC_KEEP();
    return unused;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    int number = argc > 2 ? atoi(argv[2]) : 4;

    if (!strcmp(what, "signals")) {
        run_signals(number);
    } else if (!strcmp(what, "zombie-leader")) {
        park_threads(number);
        parking_threads(1, tc_live_end, NULL);
        ready();
        pthread_exit(NULL);
    } else if (!strcmp(what, "vfork")) {
        park_threads(number);
        parking_threads(1, tc_live_vfork, NULL);
        usleep(20000);
        ready();
    } else if (!strcmp(what, "churn")) {
        park_threads(4);
        parking_threads(1, tc_live_churn, (void *)(intptr_t)number);
        wait_for_arrived(5);
        ready();
    } else if (!strcmp(what, "brief")) {
        park_threads(8);
        ready();
        usleep((useconds_t)number);
        return 0;
    } else if (!strcmp(what, "count")) {
        run_count(number, argc > 3 ? argv[3] : "counters");
        ready();
    } else if (!strcmp(what, "deep")) {
        return tc_live_deep(20) == 0;
    } else if (!strcmp(what, "wide")) {
        pthread_t thread;
        return pthread_create(&thread, NULL, tc_live_wide, NULL) != 0 || pthread_join(thread, NULL) != 0;
    } else {
        fprintf(stderr, "usage: live signals|zombie-leader|vfork|churn|brief|count|deep|wide [ARGUMENT...]\n");
        return 2;
    }
    wait_for_end();
    return 0;
}
