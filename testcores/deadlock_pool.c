/* SPDX-License-Identifier: Apache-2.0
 *
 * A small server that hangs, the subject of scripts/demo: two threads wait for each other's account lock (a deadlock),
 * forty requests wait for one of the three connections of a pool, whose holders wait for answers that do not come, and
 * a few workers have nothing to do.
 */
#include "parking.h"

#include <semaphore.h>
#include <sys/epoll.h>

enum { CONNECTIONS = 3, REQUESTS = 40, WORKERS = 6, POLLERS = 2, TIMERS = 1 };

/* two accounts, locked in opposite orders */

struct account {
    pthread_mutex_t lock;
    long balance;
};

static struct account account_alice = {PTHREAD_MUTEX_INITIALIZER, 100};
static struct account account_bob = {PTHREAD_MUTEX_INITIALIZER, 100};
static pthread_barrier_t both_have_one_lock;
static int group_first, group_second;

static TC_FRAME void account_lock(struct account *account, int group)
{
    if (group >= 0)
        truth_arrive(group);
    pthread_mutex_lock(&account->lock);
    TC_KEEP();
}

static TC_FRAME void transfer_money(struct account *from, struct account *to, long amount, int group)
{
    account_lock(from, -1);
    pthread_barrier_wait(&both_have_one_lock);
    account_lock(to, group);
    from->balance -= amount;
    to->balance += amount;
    pthread_mutex_unlock(&to->lock);
    pthread_mutex_unlock(&from->lock);
}

static void *pay_rent(void *argument)
{
    transfer_money(&account_alice, &account_bob, 10, group_first);
    TC_KEEP();
    return argument;
}

static void *pay_wages(void *argument)
{
    transfer_money(&account_bob, &account_alice, 20, group_second);
    TC_KEEP();
    return argument;
}

/* a pool of connections, all taken */

struct connection {
    int fd;
};

static struct pool {
    pthread_mutex_t lock;
    pthread_cond_t returned;
    int idle_count;
    struct connection connections[CONNECTIONS];
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .returned = PTHREAD_COND_INITIALIZER, .idle_count = CONNECTIONS};

static int group_waiters, group_answer, group_poll, group_idle, group_events, group_timer;
static sem_t taken;

static TC_FRAME struct connection *pool_take(int group)
{
    struct connection *connection;

    pthread_mutex_lock(&pool.lock);
    if (!pool.idle_count)
        truth_arrive(group);
    while (!pool.idle_count)
        pthread_cond_wait(&pool.returned, &pool.lock);
    connection = &pool.connections[--pool.idle_count];
    pthread_mutex_unlock(&pool.lock);
    return connection;
}

static TC_FRAME void connection_read_answer(struct connection *connection)
{
    char answer[64];

    sem_post(&taken);
    truth_arrive(group_answer);
    while (read(connection->fd, answer, sizeof answer) < 0)
        TC_KEEP();
}

static TC_FRAME void connection_wait_answer(struct connection *connection)
{
    struct pollfd wanted = {.fd = connection->fd, .events = POLLIN};

    sem_post(&taken);
    truth_arrive(group_poll);
    while (poll(&wanted, 1, -1) < 1)
        TC_KEEP();
}

static TC_FRAME void query_orders(int customer)
{
    struct connection *connection = pool_take(group_waiters);

    connection_read_answer(connection);
    if (customer < 0)
        pthread_cond_signal(&pool.returned);
}

static TC_FRAME void query_stock(void)
{
    struct connection *connection = pool_take(group_waiters);

    connection_wait_answer(connection);
    pthread_cond_signal(&pool.returned);
}

static void *handle_order(void *argument)
{
    query_orders(7);
    TC_KEEP();
    return argument;
}

static void *handle_stock(void *argument)
{
    query_stock();
    TC_KEEP();
    return argument;
}

/* workers without work */

static sem_t jobs;

static TC_FRAME void job_take(void)
{
    truth_arrive(group_idle);
    while (sem_wait(&jobs))
        TC_KEEP();
}

static void *work(void *argument)
{
    job_take();
    TC_KEEP();
    return argument;
}

static TC_FRAME void event_loop(int fd)
{
    struct epoll_event events[16];

    truth_arrive(group_events);
    while (epoll_wait(fd, events, 16, -1) < 1)
        TC_KEEP();
}

static void *accept_requests(void *argument)
{
    event_loop(epoll_create1(EPOLL_CLOEXEC));
    TC_KEEP();
    return argument;
}

static TC_FRAME void timer_sleep(void)
{
    struct timespec hour = {3600, 0};

    truth_arrive(group_timer);
    while (nanosleep(&hour, NULL))
        TC_KEEP();
}

static void *expire_sessions(void *argument)
{
    timer_sleep();
    TC_KEEP();
    return argument;
}

int main(void)
{
    for (int i = 0; i < CONNECTIONS; i++)
        pool.connections[i].fd = parking_pipe();
    pthread_barrier_init(&both_have_one_lock, NULL, 2);
    sem_init(&jobs, 0, 0);
    sem_init(&taken, 0, 0);

    group_first = truth_group("deadlock, first", 1, "account_lock|transfer_money|pay_rent", ".*lock.*|.*futex.*");
    group_second = truth_group("deadlock, second", 1, "account_lock|transfer_money|pay_wages", ".*lock.*|.*futex.*");
    group_answer =
        truth_group("holds a connection, reads", 2, "connection_read_answer|query_orders|handle_order", ".*read.*");
    group_poll =
        truth_group("holds a connection, polls", 1, "connection_wait_answer|query_stock|handle_stock", ".*poll.*");
    group_waiters =
        truth_group("waits for a connection", REQUESTS, "pool_take|query_orders|handle_order", ".*wait.*|.*futex.*");
    group_idle = truth_group("idle worker", WORKERS, "job_take|work", ".*futex.*|.*sem.*");
    group_events = truth_group("event loop", POLLERS, "event_loop|accept_requests", ".*epoll.*");
    group_timer = truth_group("timer", TIMERS, "timer_sleep|expire_sessions", ".*nanosleep.*");

    parking_threads(1, pay_rent, NULL);
    parking_threads(1, pay_wages, NULL);
    parking_threads(1, handle_stock, NULL);
    parking_threads(CONNECTIONS - 1, handle_order, NULL);
    for (int i = 0; i < CONNECTIONS; i++)
        sem_wait(&taken); /* the pool is empty from here on */
    parking_threads(REQUESTS, handle_order, NULL);
    parking_threads(WORKERS, work, NULL);
    parking_threads(POLLERS, accept_requests, NULL);
    parking_threads(TIMERS, expire_sessions, NULL);
    truth_end();
    TC_KEEP();
    return 0;
}
