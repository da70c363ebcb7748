/* SPDX-License-Identifier: Apache-2.0 */
/* A live target for samples: threads that are stuck on a mutex, threads that sleep shortly in a loop (nearly always seen
 * in the same place), one that spins, one that is stuck in a wait with a timeout. Prints "ready" and waits. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t started;

static void *stuck(void *unused)
{
    prctl(PR_SET_NAME, "stuck");
    pthread_barrier_wait(&started);
    pthread_mutex_lock(&held);
    return unused;
}

static void *looping(void *unused)
{
    struct timespec pause = {0, 5000000};
    prctl(PR_SET_NAME, "looping");
    pthread_barrier_wait(&started);
    for (;;)
        nanosleep(&pause, NULL);
    return unused;
}

static void *spinning(void *unused)
{
    prctl(PR_SET_NAME, "spinning");
    pthread_barrier_wait(&started);
    for (;;)
        __asm__ volatile("" ::: "memory");
    return unused;
}

static void *timed(void *unused)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
    struct timespec until;
    prctl(PR_SET_NAME, "timed");
    pthread_barrier_wait(&started);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 3600;
    pthread_mutex_lock(&mutex);
    pthread_cond_timedwait(&never, &mutex, &until);
    return unused;
}

int main(int count, char **arguments)
{
    int each = count > 1 ? atoi(arguments[1]) : 4;
    pthread_t thread;
    pthread_barrier_init(&started, NULL, (unsigned)(2 * each + 3));
    pthread_mutex_lock(&held);
    for (int i = 0; i < each; i++) {
        pthread_create(&thread, NULL, stuck, NULL);
        pthread_create(&thread, NULL, looping, NULL);
    }
    pthread_create(&thread, NULL, spinning, NULL);
    pthread_create(&thread, NULL, timed, NULL);
    pthread_barrier_wait(&started);
    usleep(200000);
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
