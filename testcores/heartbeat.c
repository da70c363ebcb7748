/* SPDX-License-Identifier: Apache-2.0
 *
 * heartbeat THREADS [FIRST|LAST]: so many parked threads, 12 calls deep, and one that wakes every millisecond and keeps the
 * longest time between two wakes. It is started before or after the others. Each line on standard input is answered by that
 * time, in microseconds, and begins anew; the end of input ends the program.
 */
#include "parking.h"

static uint64_t longest_nanoseconds;
static int finished;

static uint64_t nanoseconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *tc_heartbeat(void *unused)
{
    uint64_t last = nanoseconds_now();

    (void)unused;
    for (;;) {
        uint64_t now;

        truth_sleep_milliseconds(1);
        now = nanoseconds_now();
        if (now - last > __atomic_load_n(&longest_nanoseconds, __ATOMIC_RELAXED))
            __atomic_store_n(&longest_nanoseconds, now - last, __ATOMIC_RELAXED);
        last = now;
    }
    return NULL;
}

static TC_FRAME void tc_parked(int depth)
{
    if (depth > 0)
        tc_parked(depth - 1);
    else
        while (!__atomic_load_n(&finished, __ATOMIC_RELAXED))
            pause();
    TC_KEEP();
}

static void *tc_parked_thread(void *unused)
{
    (void)unused;
    tc_parked(12);
    TC_KEEP();
    return NULL;
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 100, last = argc > 2 && !strcmp(argv[2], "LAST");
    char line[64];

    if (!last)
        parking_thread(tc_heartbeat, NULL, 32 * 1024);
    for (int i = 0; i < threads; i++)
        parking_thread(tc_parked_thread, NULL, 32 * 1024);
    if (last)
        parking_thread(tc_heartbeat, NULL, 32 * 1024);
    truth_sleep_milliseconds(50 + threads / 20);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        printf("%llu\n", (unsigned long long)(__atomic_exchange_n(&longest_nanoseconds, 0, __ATOMIC_RELAXED) / 1000));
        fflush(stdout);
    }
    return 0;
}
