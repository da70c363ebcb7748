/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads in the places where architectures differ: leaf functions that keep the return address in a register, frames whose
 * size is not known before they run, signal handlers, waits. For a user-mode emulator, under which truth.h counts threads that
 * are not the program's: it knows nothing about itself but what it writes to its argument, its /proc/self/maps.
 */
#include <alloca.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FRAME __attribute__((noinline, noclone, used))
#define KEEP() __asm__ volatile("" ::: "memory")

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER, free_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static atomic_int arrived;
static volatile int sink, stop;
static int ends[2];

static FRAME void park(void)
{
    char byte;
    arrived++;
    sink = (int)read(ends[0], &byte, 1);
    KEEP();
}

static FRAME void recurse(int depth)
{
    if (depth == 0)
        park();
    else
        recurse(depth - 1);
    KEEP();
}

static void *recursion_thread(void *argument)
{
    recurse((int)(long)argument);
    KEEP();
    return NULL;
}

static FRAME void grow(size_t size)
{
    char *memory = alloca(size);
    memset(memory, 1, size);
    park();
    sink += memory[size / 2];
}

static void *alloca_thread(void *argument)
{
    grow((size_t)argument);
    KEEP();
    return NULL;
}

/* Calls nothing: no frame, the return address stays where the call left it. */
static FRAME int spin(void)
{
    int count = 0;
    while (!stop)
        count++;
    return count;
}

static void *leaf_thread(void *argument)
{
    (void)argument;
    arrived++;
    sink = spin();
    KEEP();
    return NULL;
}

static void *mutex_thread(void *argument)
{
    (void)argument;
    arrived++;
    pthread_mutex_lock(&held);
    KEEP();
    return NULL;
}

static void *condition_thread(void *argument)
{
    (void)argument;
    pthread_mutex_lock(&free_lock);
    arrived++;
    pthread_cond_wait(&condition, &free_lock);
    KEEP();
    return NULL;
}

static void *join_thread(void *argument)
{
    arrived++;
    pthread_join(*(pthread_t *)argument, NULL);
    KEEP();
    return NULL;
}

static FRAME void on_signal(int number)
{
    (void)number;
    park();
    KEEP();
}

static FRAME void interrupt_itself(void)
{
    raise(SIGUSR1);
    KEEP();
}

/* A leaf that is interrupted: its caller is in the register that the kernel saved. */
static FRAME int fault(volatile int *place)
{
    return *place + 1;
}

static void *handler_thread(void *argument)
{
    static char stacks[2][65536];
    static atomic_int used;
    stack_t stack = {.ss_sp = stacks[used++], .ss_size = sizeof stacks[0]};
    sigaltstack(&stack, NULL);
    if (argument == NULL)
        interrupt_itself();
    else
        sink = fault(argument);
    KEEP();
    return NULL;
}

/* With a small stack: emulators write all of it into the core. */
static void start(pthread_t *ret_thread, void *(*function)(void *), void *argument)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    if (pthread_attr_setstacksize(&attributes, 256 * 1024) != 0 ||
        pthread_create(ret_thread, &attributes, function, argument) != 0)
        exit(3);
}

static void copy_maps(const char *path)
{
    char line[4096];
    FILE *from = fopen("/proc/self/maps", "r"), *to = fopen(path, "w");
    if (from == NULL || to == NULL)
        exit(3);
    while (fgets(line, sizeof line, from) != NULL)
        fputs(line, to);
    fclose(from);
    fclose(to);
}

int main(int count, char **arguments)
{
    enum { threads_max = 16 };
    pthread_t threads[threads_max];
    int started = 0;
    struct sigaction on_usr1 = {.sa_handler = on_signal}, on_fault = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    if (count != 2 || pipe(ends) != 0)
        return 3;
    sigaction(SIGUSR1, &on_usr1, NULL);
    sigaction(SIGSEGV, &on_fault, NULL);
    pthread_mutex_lock(&held);
    start(&threads[started++], recursion_thread, (void *)1L);
    start(&threads[started++], recursion_thread, (void *)30L);
    start(&threads[started++], alloca_thread, (void *)1000L);
    start(&threads[started++], leaf_thread, NULL);
    for (int i = 0; i < 3; i++)
        start(&threads[started++], mutex_thread, NULL);
    start(&threads[started++], condition_thread, NULL);
    start(&threads[started++], join_thread, &threads[0]);
    start(&threads[started++], handler_thread, NULL);
    start(&threads[started++], handler_thread, (void *)16L);
    while (arrived < started)
        usleep(10000);
    usleep(200000); /* from there to their calls */
    copy_maps(arguments[1]);
    abort();
}
