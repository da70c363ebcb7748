/* SPDX-License-Identifier: Apache-2.0
 *
 * `sockets close-wait COUNT`: so many connections whose peer has closed and that this process keeps. `sockets open
 * COUNT`: so many that are in use. `sockets limit COUNT`: a limit of COUNT descriptors, all but three used up. The peer
 * is a child process. Prints "ready" and stays.
 */
#include "parking.h"

#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* Connects as often as told, closes if told, and lives as long as its parent. */
static void peer(struct sockaddr_in address, int count, int closes)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < count; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        if (connect(fd, (struct sockaddr *)&address, sizeof address))
            truth_fail("connect");
        if (closes)
            close(fd);
    }
    for (;;)
        pause();
}

static void start_sockets(int count, int closes)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(fd, (struct sockaddr *)&address, size) || listen(fd, 64) ||
        getsockname(fd, (struct sockaddr *)&address, &size))
        truth_fail("listen");
    if (!fork())
        peer(address, count, closes);
    for (int i = 0; i < count; i++)
        if (accept(fd, NULL, NULL) < 0)
            truth_fail("accept");
}

static void start_limit(int count)
{
    struct rlimit limit = {(rlim_t)count, (rlim_t)count};

    setrlimit(RLIMIT_NOFILE, &limit);
    while (dup(0) < count - 4)
        continue;
}

int main(int count, char **arguments)
{
    int number = count == 3 ? atoi(arguments[2]) : 0;

    if (count == 3 && !strcmp(arguments[1], "close-wait"))
        start_sockets(number, 1);
    else if (count == 3 && !strcmp(arguments[1], "open"))
        start_sockets(number, 0);
    else if (count == 3 && !strcmp(arguments[1], "limit"))
        start_limit(number);
    else
        return 2;
    truth_sleep_milliseconds(300);
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
