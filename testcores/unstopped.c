/* SPDX-License-Identifier: Apache-2.0
 *
 * unstopped WHAT: processes that notice, or would give away, how they are read while they run. Prints "ready" when all is in
 * place; ends when its standard input is closed.
 *
 *   epoll  a thread waits in epoll_wait without end; for each line on standard input the number of EINTR so far is printed
 *   paths  threads sleep for moments at the end of two paths, left and right, whose frames have the same sizes: a stack read
 *          while its thread ran would mix them
 */
#include "parking.h"

#include <sys/epoll.h>

static int interrupted;

static TC_FRAME void *tc_epoll_thread(void *unused)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event;

    (void)unused;
    while (epoll_wait(fd, &event, 1, -1) < 0 && errno == EINTR)
        __atomic_fetch_add(&interrupted, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static TC_FRAME void tc_rest(void)
{
    struct timespec moment = {0, 20000};

    nanosleep(&moment, NULL);
    TC_KEEP();
}

#define PATH(side)                                                                                                     \
    static TC_FRAME void tc_##side##_inner(void)                                                                       \
    {                                                                                                                  \
        tc_rest();                                                                                                     \
        TC_KEEP();                                                                                                     \
    }                                                                                                                  \
    static TC_FRAME void tc_##side##_middle(void)                                                                      \
    {                                                                                                                  \
        tc_##side##_inner();                                                                                           \
        TC_KEEP();                                                                                                     \
    }                                                                                                                  \
    static TC_FRAME void tc_##side##_outer(void)                                                                       \
    {                                                                                                                  \
        tc_##side##_middle();                                                                                          \
        TC_KEEP();                                                                                                     \
    }
PATH(left)
PATH(right)

static TC_FRAME void *tc_paths_thread(void *unused)
{
    (void)unused;
    for (;;) {
        tc_left_outer();
        tc_right_outer();
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int paths = argc > 1 && !strcmp(argv[1], "paths");
    char line[64];

    if (!paths && (argc < 2 || strcmp(argv[1], "epoll"))) {
        fprintf(stderr, "usage: unstopped epoll|paths\n");
        return 2;
    }
    parking_threads(paths ? 16 : 1, paths ? tc_paths_thread : tc_epoll_thread, NULL);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        printf("%d\n", __atomic_load_n(&interrupted, __ATOMIC_SEQ_CST));
        fflush(stdout);
    }
    return 0;
}
