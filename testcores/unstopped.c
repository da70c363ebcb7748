/* SPDX-License-Identifier: Apache-2.0
 *
 * unstopped WHAT: processes that notice, or would give away, how they are read while they run. Prints "ready" when all is in
 * place; ends when its standard input is closed.
 *
 *   epoll  a thread waits in epoll_wait without end; for each line on standard input the number of EINTR so far is printed
 *   vfork  a thread waits in vfork for a child that waits itself: no ptrace stop ends that
 *   paths  threads sleep for moments at the end of two paths, left and right, whose frames have the same sizes: a stack read
 *          while its thread ran would mix them
 */
#include "parking.h"

#include <sys/epoll.h>
#include <sys/prctl.h>

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

static TC_FRAME void *tc_vfork_thread(void *unused)
{
    (void)unused;
    if (vfork() == 0) {
        /* The child has no thread that could wait for the parent's end. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    TC_KEEP();
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
    static const struct {
        const char *name;
        int count;
        void *(*run)(void *);
    } rows[] = {{"epoll", 1, tc_epoll_thread}, {"vfork", 1, tc_vfork_thread}, {"paths", 16, tc_paths_thread}};
    size_t row = 0;
    char line[64];

    while (row < 3 && (argc < 2 || strcmp(argv[1], rows[row].name)))
        row++;
    if (row == 3) {
        fprintf(stderr, "usage: unstopped epoll|vfork|paths\n");
        return 2;
    }
    parking_threads(rows[row].count, rows[row].run, NULL);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        printf("%d\n", __atomic_load_n(&interrupted, __ATOMIC_SEQ_CST));
        fflush(stdout);
    }
    return 0;
}
