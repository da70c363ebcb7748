/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread that runs in the vdso: it spins in clock_gettime. Its innermost frames are anybody's guess (the vdso, libc's
 * wrapper, the PLT, the loop itself); the program's own frames below are not.
 */
#include "parking.h"

static int group_spin, group_parked;

static TC_FRAME void tc_spin(void)
{
    struct timespec now;

    truth_arrive(group_spin);
    for (;;)
        clock_gettime(CLOCK_MONOTONIC, &now);
}

static TC_FRAME void tc_spin_caller(void)
{
    tc_spin();
    TC_KEEP();
}

static void *tc_spin_thread(void *argument)
{
    tc_spin_caller();
    TC_KEEP();
    return argument;
}

static void *tc_parked_thread(void *argument)
{
    parking_read(group_parked, parking_pipe());
    return argument;
}

int main(void)
{
    parking_pipe();
    group_spin = truth_group("vdso", 1, "tc_spin|tc_spin_caller|tc_spin_thread", NULL);
    truth_group_spins(group_spin);
    group_parked = truth_group("parked", 3, "tc_parked_thread", ".*read.*");
    parking_threads(1, tc_spin_thread, NULL);
    parking_threads(3, tc_parked_thread, NULL);
    truth_end();
    TC_KEEP();
    return 0;
}
