/* SPDX-License-Identifier: Apache-2.0
 *
 * many THREADS GROUPS: as many threads as asked for in up to 20 groups, every stack about 25 frames deep, on small
 * stacks. For tests of counts and for benchmarks.
 */
#include "parking.h"

#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/resource.h>

enum { MANY_GROUPS = 20 };

static int groups[MANY_GROUPS];
static int pipe_end, epoll_end;
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t condition_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static sem_t semaphore;

/* The six ways to wait, by the group's number. Inlined, so that the group's own function is the frame below libc's. */
TC_INLINED void many_wait(int number)
{
    struct timespec day = {86400, 0};
    struct pollfd wanted = {.fd = pipe_end, .events = POLLIN};
    struct epoll_event event;
    char byte;

    truth_arrive(groups[number]);
    switch (number % 6) {
    case 0:
        pthread_mutex_lock(&condition_lock);
        for (;;)
            pthread_cond_wait(&condition, &condition_lock);
        break;
    case 1:
        while (read(pipe_end, &byte, 1))
            TC_KEEP();
        break;
    case 2:
        while (sem_wait(&semaphore))
            TC_KEEP();
        break;
    case 3:
        while (poll(&wanted, 1, -1) < 1)
            TC_KEEP();
        break;
    case 4:
        while (epoll_wait(epoll_end, &event, 1, -1) < 1)
            TC_KEEP();
        break;
    case 5:
        pthread_mutex_lock(&held);
        break;
    }
    while (nanosleep(&day, NULL))
        TC_KEEP();
}

/* Three functions for each group, on top of eighteen levels that all groups share. */
#define MANY_GROUP(n)                                                                                                  \
    static TC_FRAME void tc_wait_##n(void)                                                                             \
    {                                                                                                                  \
        many_wait(n);                                                                                                  \
        TC_KEEP();                                                                                                     \
    }                                                                                                                  \
    static TC_FRAME void tc_query_##n(void)                                                                            \
    {                                                                                                                  \
        tc_wait_##n();                                                                                                 \
        TC_KEEP();                                                                                                     \
    }                                                                                                                  \
    static TC_FRAME void tc_handle_##n(void)                                                                           \
    {                                                                                                                  \
        tc_query_##n();                                                                                                \
        TC_KEEP();                                                                                                     \
    }

#define MANY_EACH_GROUP(X)                                                                                             \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19)
MANY_EACH_GROUP(MANY_GROUP)

#define MANY_HANDLER(n) tc_handle_##n,
static void (*const handlers[MANY_GROUPS])(void) = {MANY_EACH_GROUP(MANY_HANDLER)};

static TC_FRAME void tc_level_18(int number)
{
    handlers[number]();
    TC_KEEP();
}

/* Locals of different sizes, so that no two levels have the same frame size by accident of the compiler. */
#define MANY_LEVEL(n, next)                                                                                            \
    static TC_FRAME void tc_level_##n(int number)                                                                      \
    {                                                                                                                  \
        volatile char local[n * 8 + 8];                                                                                \
        local[0] = (char)number;                                                                                       \
        tc_level_##next(number);                                                                                       \
        local[n] = local[0];                                                                                           \
    }
MANY_LEVEL(17, 18)
MANY_LEVEL(16, 17)
MANY_LEVEL(15, 16)
MANY_LEVEL(14, 15)
MANY_LEVEL(13, 14)
MANY_LEVEL(12, 13)
MANY_LEVEL(11, 12)
MANY_LEVEL(10, 11)
MANY_LEVEL(9, 10)
MANY_LEVEL(8, 9)
MANY_LEVEL(7, 8)
MANY_LEVEL(6, 7)
MANY_LEVEL(5, 6)
MANY_LEVEL(4, 5)
MANY_LEVEL(3, 4)
MANY_LEVEL(2, 3)
MANY_LEVEL(1, 2)

#define MANY_LEVELS                                                                                                    \
    "tc_level_18|tc_level_17|tc_level_16|tc_level_15|tc_level_14|tc_level_13|tc_level_12|tc_level_11|tc_level_10|tc_"  \
    "level_9|"                                                                                                         \
    "tc_level_8|tc_level_7|tc_level_6|tc_level_5|tc_level_4|tc_level_3|tc_level_2|tc_level_1|tc_many_thread"
#define MANY_FRAMES(n) "tc_wait_" #n "|tc_query_" #n "|tc_handle_" #n "|" MANY_LEVELS,
static const char *const frames[MANY_GROUPS] = {MANY_EACH_GROUP(MANY_FRAMES)};

static void *tc_many_thread(void *argument)
{
    tc_level_1((int)(intptr_t)argument);
    TC_KEEP();
    return NULL;
}

/* Groups get smaller from the first to the last, each keeps at least one thread: group i's share is proportional to
 * group_count - i. */
static int many_group_size(int thread_count, int group_count, int number)
{
    int weights = group_count * (group_count + 1) / 2, size = 1, rest = thread_count - group_count;

    size += (int)((long)rest * (group_count - number) / weights);
    if (number == 0)
        for (int i = 0, given = 0; i < group_count; i++) {
            given += (int)((long)rest * (group_count - i) / weights);
            if (i == group_count - 1)
                size += rest - given;
        }
    return size;
}

int main(int argc, char **argv)
{
    int thread_count = argc > 1 ? atoi(argv[1]) : 100, group_count = argc > 2 ? atoi(argv[2]) : 14;
    static char names[MANY_GROUPS][32];

    if (group_count < 1 || group_count > MANY_GROUPS || thread_count < group_count) {
        fprintf(stderr, "usage: many THREADS GROUPS (at most %d groups)\n", MANY_GROUPS);
        return 2;
    }
    pipe_end = parking_pipe();
    epoll_end = epoll_create1(EPOLL_CLOEXEC);
    sem_init(&semaphore, 0, 0);
    pthread_mutex_lock(&held);
    for (int number = 0; number < group_count; number++) {
        snprintf(names[number], sizeof names[number], "group %d", number);
        groups[number] =
            truth_group(names[number], many_group_size(thread_count, group_count, number), frames[number], NULL);
    }
    for (int number = 0; number < group_count; number++)
        for (int i = 0; i < truth_groups[groups[number]].count; i++)
            parking_thread(tc_many_thread, (void *)(intptr_t)number, 32 * 1024);
    truth_end();
    TC_KEEP();
    return 0;
}
