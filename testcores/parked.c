/* SPDX-License-Identifier: Apache-2.0
 *
 * The common program, built in every variant (PIE, static, musl, stripped, without unwind tables ...): one group of
 * threads for every kind of frame that an unwinder may trip over. Without asynchronous unwind tables (TC_NO_CFI) the
 * places are left out that frame pointers alone cannot unwind.
 */
#include "parking.h"

#include <alloca.h>
#include <semaphore.h>
#include <sys/epoll.h>

static volatile int tc_sink;
static int group_recursion_short, group_recursion_long, group_alloca, group_vla, group_inlined, group_large,
    group_aligned, group_mutex, group_condition, group_semaphore, group_poll, group_epoll, group_sleep, group_callback,
    group_noreturn, group_handler, group_alternate, group_join, group_rwlock, group_pointer;
static int pipe_end;

/* recursion: the same pc many times over */

static TC_FRAME void tc_recurse(int group, int depth)
{
    if (depth == 0)
        parking_read(group, pipe_end);
    else
        tc_recurse(group, depth - 1);
    TC_KEEP();
}

static void *tc_recursion_thread(void *argument)
{
    int group = *(int *)argument;

    tc_recurse(group, group == group_recursion_short ? 2 : 40);
    TC_KEEP();
    return NULL;
}

/* frames whose size is known only when they run */

static TC_FRAME void tc_alloca(size_t size)
{
    char *memory = alloca(size);

    memset(memory, 1, size);
    tc_sink += memory[size / 2];
    parking_read(group_alloca, pipe_end);
    tc_sink += memory[size / 3];
}

static void *tc_alloca_thread(void *argument)
{
    (void)argument;
    tc_alloca(1000 + (size_t)truth_tid() % 7 * 100);
    TC_KEEP();
    return NULL;
}

static TC_FRAME void tc_vla(int size)
{
    int numbers[size];

    for (int i = 0; i < size; i++)
        numbers[i] = i;
    tc_sink += numbers[size / 2];
    parking_read(group_vla, pipe_end);
    tc_sink += numbers[size / 3];
}

static void *tc_vla_thread(void *argument)
{
    (void)argument;
    tc_vla(100 + truth_tid() % 5 * 64);
    TC_KEEP();
    return NULL;
}

/* inlined calls, two deep, in a function that stays */

TC_INLINED void tc_inlined_inner(int fd)
{
    parking_read(group_inlined, fd);
}

TC_INLINED void tc_inlined_outer(int fd)
{
    tc_sink++;
    tc_inlined_inner(fd);
    tc_sink++;
}

static TC_FRAME void tc_inliner(int fd)
{
    tc_inlined_outer(fd);
    tc_sink++;
}

static void *tc_inlined_thread(void *argument)
{
    (void)argument;
    tc_inliner(pipe_end);
    TC_KEEP();
    return NULL;
}

/* large and realigned frames: CFA by big offsets, and by a DWARF expression */

static TC_FRAME void tc_large(void)
{
    char memory[100000];

    memset(memory, 2, sizeof memory);
    tc_sink += memory[500];
    parking_read(group_large, pipe_end);
    tc_sink += memory[50000];
}

static void *tc_large_thread(void *argument)
{
    (void)argument;
    tc_large();
    TC_KEEP();
    return NULL;
}

static TC_FRAME void tc_aligned(int size)
{
    _Alignas(64) char memory[192];
    char *more = alloca((size_t)size);

    memset(memory, 3, sizeof memory);
    memset(more, 3, (size_t)size);
    tc_sink += memory[5] + more[7];
    parking_read(group_aligned, pipe_end);
    tc_sink += memory[50] + more[17];
}

static void *tc_aligned_thread(void *argument)
{
    (void)argument;
    tc_aligned(64 + truth_tid() % 3 * 40);
    TC_KEEP();
    return NULL;
}

/* libc's waits */

static pthread_mutex_t held_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t condition_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t held_rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_t joined;
static sem_t semaphore;

static TC_FRAME void tc_lock(void)
{
    truth_arrive(group_mutex);
    pthread_mutex_lock(&held_mutex);
    TC_KEEP();
}

static void *tc_mutex_thread(void *argument)
{
    (void)argument;
    tc_lock();
    TC_KEEP();
    return NULL;
}

static TC_FRAME void tc_wait_condition(void)
{
    truth_arrive(group_condition);
    pthread_mutex_lock(&condition_mutex);
    for (;;)
        pthread_cond_wait(&condition, &condition_mutex);
}

static void *tc_condition_thread(void *argument)
{
    (void)argument;
    tc_wait_condition();
    TC_KEEP();
    return NULL;
}

static void *tc_rwlock_thread(void *argument)
{
    (void)argument;
    truth_arrive(group_rwlock);
    pthread_rwlock_rdlock(&held_rwlock);
    TC_KEEP();
    return NULL;
}

static void *tc_semaphore_thread(void *argument)
{
    (void)argument;
    truth_arrive(group_semaphore);
    while (sem_wait(&semaphore))
        TC_KEEP();
    return NULL;
}

static void *tc_join_thread(void *argument)
{
    (void)argument;
    truth_arrive(group_join);
    pthread_join(joined, NULL);
    TC_KEEP();
    return NULL;
}

static TC_FRAME void tc_poll(void)
{
    struct pollfd one = {.fd = pipe_end, .events = POLLIN};

    truth_arrive(group_poll);
    while (poll(&one, 1, -1) < 1)
        TC_KEEP();
}

static void *tc_poll_thread(void *argument)
{
    (void)argument;
    tc_poll();
    TC_KEEP();
    return NULL;
}

static TC_FRAME void tc_epoll(int fd)
{
    struct epoll_event event;

    truth_arrive(group_epoll);
    while (epoll_wait(fd, &event, 1, -1) < 1)
        TC_KEEP();
}

static void *tc_epoll_thread(void *argument)
{
    (void)argument;
    tc_epoll(epoll_create1(EPOLL_CLOEXEC));
    TC_KEEP();
    return NULL;
}

static void *tc_sleep_thread(void *argument)
{
    struct timespec day = {86400, 0};

    (void)argument;
    truth_arrive(group_sleep);
    while (nanosleep(&day, NULL))
        TC_KEEP();
    return NULL;
}

/* a callback: the program's frames stand on both sides of libc's */

static TC_FRAME int tc_compare(const void *left, const void *right)
{
    (void)left;
    (void)right;
    parking_read(group_callback, pipe_end);
    return 0;
}

static TC_FRAME void tc_sort(void)
{
    int numbers[2] = {2, 1};

    qsort(numbers, 2, sizeof numbers[0], tc_compare);
    tc_sink = numbers[0];
}

static void *tc_callback_thread(void *argument)
{
    (void)argument;
    tc_sort();
    TC_KEEP();
    return NULL;
}

/* a call through a table of function pointers */

static TC_FRAME void tc_pointed_to(void)
{
    parking_read(group_pointer, pipe_end);
}

static void (*volatile tc_table[1])(void) = {tc_pointed_to};

static void *tc_pointer_thread(void *argument)
{
    (void)argument;
    tc_table[0]();
    TC_KEEP();
    return NULL;
}

/* a call that never returns stands last in its function: the return address belongs to the next function */

static TC_FRAME __attribute__((noreturn)) void tc_never_returns(void)
{
    for (;;)
        parking_read(group_noreturn, pipe_end);
}

static TC_FRAME __attribute__((noreturn)) void tc_calls_last(void)
{
    tc_sink++;
    tc_never_returns();
}

static TC_FRAME void tc_follows(void)
{
    tc_sink++;
}

static void *tc_noreturn_thread(void *argument)
{
    if (argument == &tc_sink)
        tc_follows();
    tc_calls_last();
    return NULL;
}

/* signal handlers, on the thread's own stack and on an alternate one */

static TC_FRAME void tc_handler_parks(void)
{
    parking_read(group_handler, pipe_end);
    TC_KEEP();
}

static void tc_handler(int number)
{
    (void)number;
    tc_handler_parks();
    TC_KEEP();
}

static TC_FRAME void tc_raises(void)
{
    raise(SIGUSR1);
    TC_KEEP();
}

static void *tc_handler_thread(void *argument)
{
    (void)argument;
    tc_raises();
    TC_KEEP();
    return NULL;
}

static void tc_alternate_handler(int number)
{
    (void)number;
    parking_read(group_alternate, pipe_end);
    TC_KEEP();
}

static TC_FRAME void tc_faults(volatile int *address)
{
#ifdef TC_NO_CFI
    /* The compiler may put the faulting store before the frame pointer is set up: nothing could tell the caller then.
     */
    raise(address ? SIGBUS : SIGSEGV);
#else
    *address = 1;
#endif
    TC_KEEP();
}

static void *tc_alternate_thread(void *argument)
{
    stack_t stack = {.ss_size = 65536};

    (void)argument;
    stack.ss_sp = malloc(stack.ss_size);
    if (sigaltstack(&stack, NULL))
        truth_fail("sigaltstack");
    tc_faults(NULL);
    TC_KEEP();
    return NULL;
}

#ifndef TC_NO_CFI
/* A function whose first instruction raises the signal: the interrupted pc is exact, and pc - 1 would be the function
 * before. */
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

static int group_first;

static void tc_illegal_handler(int number)
{
    (void)number;
    parking_read(group_first, pipe_end);
    TC_KEEP();
}

static void *tc_first_thread(void *argument)
{
    (void)argument;
    tc_first_instruction();
    TC_KEEP();
    return NULL;
}
#endif

static void tc_signals(void)
{
    struct sigaction action = {.sa_handler = tc_handler};

    sigaction(SIGUSR1, &action, NULL);
    action.sa_handler = tc_alternate_handler;
    action.sa_flags = SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &action, NULL);
#ifndef TC_NO_CFI
    action.sa_handler = tc_illegal_handler;
    action.sa_flags = SA_NODEFER;
    sigaction(SIGILL, &action, NULL);
#endif
}

#define FORTY_TIMES(x) x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x

int main(void)
{
    pipe_end = parking_pipe();
    tc_signals();
    sem_init(&semaphore, 0, 0);
    pthread_mutex_lock(&held_mutex);
    pthread_rwlock_wrlock(&held_rwlock);

    group_recursion_short =
        truth_group("recursion, 3 deep", 3, "tc_recurse|tc_recurse|tc_recurse|tc_recursion_thread", ".*read.*");
    group_recursion_long = truth_group("recursion, 41 deep", 2,
                                       "tc_recurse|" FORTY_TIMES("tc_recurse|") "tc_recursion_thread", ".*read.*");
    group_alloca = truth_group("alloca", 4, "tc_alloca|tc_alloca_thread", ".*read.*");
    group_vla = truth_group("variable length array", 3, "tc_vla|tc_vla_thread", ".*read.*");
    group_inlined =
        truth_group("inlined", 3, "^tc_inlined_inner|^tc_inlined_outer|tc_inliner|tc_inlined_thread", ".*read.*");
    group_large = truth_group("large frame", 2, "tc_large|tc_large_thread", ".*read.*");
    group_aligned = truth_group("realigned frame", 3, "tc_aligned|tc_aligned_thread", ".*read.*");
    group_mutex = truth_group("mutex", 6, "tc_lock|tc_mutex_thread", ".*lock.*|.*futex.*");
    group_condition =
        truth_group("condition variable", 5, "tc_wait_condition|tc_condition_thread", ".*futex.*|.*wait.*");
    group_rwlock = truth_group("rwlock", 2, "tc_rwlock_thread", ".*futex.*|.*lock.*");
    group_semaphore = truth_group("semaphore", 4, "tc_semaphore_thread", ".*futex.*|.*sem.*");
    group_join = truth_group("join", 1, "tc_join_thread", ".*futex.*|.*join.*");
    group_poll = truth_group("poll", 2, "tc_poll|tc_poll_thread", ".*poll.*");
    group_epoll = truth_group("epoll", 2, "tc_epoll|tc_epoll_thread", ".*epoll.*");
    group_sleep = truth_group("sleep", 3, "tc_sleep_thread", ".*nanosleep.*");
    group_callback = truth_group("callback", 2, "tc_compare|tc_sort|tc_callback_thread", ".*read.*");
    group_pointer = truth_group("function pointer", 2, "tc_pointed_to|tc_pointer_thread", ".*read.*");
    group_noreturn =
        truth_group("call that never returns", 2, "tc_never_returns|tc_calls_last|tc_noreturn_thread", ".*read.*");
    group_handler =
        truth_group("signal handler", 2, "tc_handler_parks|tc_handler|tc_raises|tc_handler_thread", ".*read.*");
    group_alternate = truth_group("signal handler on its own stack", 2,
                                  "tc_alternate_handler|tc_faults|tc_alternate_thread", ".*read.*");

    parking_threads(3, tc_recursion_thread, &group_recursion_short);
    parking_threads(2, tc_recursion_thread, &group_recursion_long);
    parking_threads(4, tc_alloca_thread, NULL);
    parking_threads(3, tc_vla_thread, NULL);
    parking_threads(3, tc_inlined_thread, NULL);
    parking_threads(2, tc_large_thread, NULL);
    parking_threads(3, tc_aligned_thread, NULL);
    parking_threads(6, tc_mutex_thread, NULL);
    parking_threads(5, tc_condition_thread, NULL);
    parking_threads(2, tc_rwlock_thread, NULL);
    parking_threads(4, tc_semaphore_thread, NULL);
    joined = parking_thread(tc_sleep_thread, NULL, 0);
    parking_threads(1, tc_join_thread, NULL);
    parking_threads(2, tc_poll_thread, NULL);
    parking_threads(2, tc_epoll_thread, NULL);
    parking_threads(2, tc_sleep_thread, NULL);
    parking_threads(2, tc_callback_thread, NULL);
    parking_threads(2, tc_pointer_thread, NULL);
    parking_threads(2, tc_noreturn_thread, NULL);
    parking_threads(2, tc_handler_thread, NULL);
    parking_threads(2, tc_alternate_thread, NULL);
#ifndef TC_NO_CFI
    group_first = truth_group("signal at a function's first instruction", 2,
                              "tc_illegal_handler|tc_first_instruction|tc_first_thread", ".*read.*");
    parking_threads(2, tc_first_thread, NULL);
#endif
    truth_end();
    TC_KEEP();
    return 0;
}
