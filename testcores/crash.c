/* SPDX-License-Identifier: Apache-2.0
 *
 * Programs that die in a known place while other threads are parked. Argument: null (a call through a NULL pointer: pc
 * is 0), null-deep (the same, from a thread), divide (by zero), read (a bad address), trap, illegal (at a function's
 * first instruction), abort (from a thread), overflow (recursion off the end of a small stack), kill (a signal that it
 * sends itself).
 */
#include "parking.h"

#include <pthread.h>

static int group_crash, group_reader, group_sleeper, group_locker;
static int pipe_end;
static volatile int tc_zero, tc_sink;
static void (*volatile tc_null)(void);
static volatile int *volatile tc_bad_address = (int *)0x1234;
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;

static TC_FRAME void tc_reader(int depth)
{
    if (depth)
        tc_reader(depth - 1);
    else
        parking_read(group_reader, pipe_end);
    TC_KEEP();
}

static void *tc_reader_thread(void *argument)
{
    tc_reader(2);
    TC_KEEP();
    return argument;
}

static void *tc_sleeper_thread(void *argument)
{
    struct timespec day = {86400, 0};

    truth_arrive(group_sleeper);
    while (nanosleep(&day, NULL))
        TC_KEEP();
    return argument;
}

static TC_FRAME void tc_locker(void)
{
    truth_arrive(group_locker);
    pthread_mutex_lock(&held);
    TC_KEEP();
}

static void *tc_locker_thread(void *argument)
{
    tc_locker();
    TC_KEEP();
    return argument;
}

/* Declares the group that will die, from within it, and says so. */
static void tc_last_words(int signal_number, const char *frames)
{
    group_crash = truth_group("crash", 1, frames, NULL);
    truth_arrive(group_crash);
    truth_write(signal_number, group_crash);
}

static TC_FRAME void tc_call_null(void)
{
    tc_null();
    TC_KEEP();
}

static TC_FRAME void tc_call_null_caller(void)
{
    tc_call_null();
    TC_KEEP();
}

static void *tc_null_thread(void *argument)
{
    tc_last_words(SIGSEGV, "tc_call_null|tc_call_null_caller|tc_null_thread");
    tc_call_null_caller();
    TC_KEEP();
    return argument;
}

static TC_FRAME int tc_divide(int by)
{
    return 1000 / by;
}

static TC_FRAME void tc_divide_caller(void)
{
    tc_sink = tc_divide(tc_zero);
}

static TC_FRAME void tc_read_bad(void)
{
    tc_sink = *tc_bad_address;
    TC_KEEP();
}

static TC_FRAME void tc_trap(void)
{
    __asm__ volatile("int3");
    TC_KEEP();
}

__asm__(".text\n"
        ".type tc_before_first, @function\n"
        "tc_before_first:\n"
        "\t.cfi_startproc\n"
        "\tret\n"
        "\t.cfi_endproc\n"
        ".size tc_before_first, . - tc_before_first\n"
        ".type tc_first_instruction, @function\n"
        "tc_first_instruction:\n"
        "\t.cfi_startproc\n"
        "\tud2\n"
        "\tret\n"
        "\t.cfi_endproc\n"
        ".size tc_first_instruction, . - tc_first_instruction\n");
void tc_first_instruction(void);

static TC_FRAME void tc_illegal(void)
{
    tc_first_instruction();
    TC_KEEP();
}

static TC_FRAME void tc_abort(void)
{
    tc_sink++;
    abort();
}

static void *tc_abort_thread(void *argument)
{
    tc_last_words(SIGABRT, "tc_abort|tc_abort_thread");
    tc_abort();
    TC_KEEP();
    return argument;
}

static TC_FRAME int tc_overflow(int depth)
{
    char memory[256];

    memset(memory, depth, sizeof memory);
    if (depth >= 0)
        tc_sink += tc_overflow(depth + 1);
    return memory[tc_sink & 255];
}

static void *tc_overflow_thread(void *argument)
{
    tc_last_words(SIGSEGV, "tc_overflow+|tc_overflow_thread");
    tc_sink = tc_overflow(0);
    TC_KEEP();
    return argument;
}

/* The main thread's place while another one dies: it must not be found elsewhere. */
static TC_FRAME void tc_main_waits(pthread_t thread)
{
    pthread_join(thread, NULL);
    TC_KEEP();
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "abort";
    int in_thread = !strcmp(how, "null-deep") || !strcmp(how, "abort") || !strcmp(how, "overflow");

    pipe_end = parking_pipe();
    pthread_mutex_lock(&held);
    group_reader = truth_group("reader", 3, "tc_reader|tc_reader|tc_reader|tc_reader_thread", ".*read.*");
    group_sleeper = truth_group("sleeper", 2, "tc_sleeper_thread", ".*nanosleep.*");
    group_locker = truth_group("locker", 5, "tc_locker|tc_locker_thread", ".*lock.*|.*futex.*");
    parking_threads(3, tc_reader_thread, NULL);
    parking_threads(2, tc_sleeper_thread, NULL);
    parking_threads(5, tc_locker_thread, NULL);

    if (in_thread) {
        int group_main = truth_group("main", 1, "tc_main_waits|main", ".*join.*|.*futex.*");
        void *(*run)(void *) = !strcmp(how, "null-deep") ? tc_null_thread
                               : !strcmp(how, "abort")   ? tc_abort_thread
                                                         : tc_overflow_thread;

        truth_arrive(group_main);
        tc_main_waits(parking_thread(run, NULL, 128 * 1024));
    } else if (!strcmp(how, "null")) {
        tc_last_words(SIGSEGV, "tc_call_null|tc_call_null_caller|main");
        tc_call_null_caller();
    } else if (!strcmp(how, "divide")) {
        tc_last_words(SIGFPE, "tc_divide|tc_divide_caller|main");
        tc_divide_caller();
    } else if (!strcmp(how, "read")) {
        tc_last_words(SIGSEGV, "tc_read_bad|main");
        tc_read_bad();
    } else if (!strcmp(how, "trap")) {
        tc_last_words(SIGTRAP, "tc_trap|main");
        tc_trap();
    } else if (!strcmp(how, "illegal")) {
        tc_last_words(SIGILL, "tc_first_instruction|tc_illegal|main");
        tc_illegal();
    } else if (!strcmp(how, "kill")) {
        int group_main = truth_group("main", 1, "main", NULL);

        truth_arrive(group_main);
        truth_write(SIGQUIT, group_main);
        kill(getpid(), SIGQUIT);
    }
    TC_KEEP();
    return 1;
}
