/* SPDX-License-Identifier: Apache-2.0
 *
 * The data layer of stalls.c: a pool of connections and the functions that take them, in a file of its own, as whoever
 * looks for a layer in a stack takes the source file for it.
 */
#ifndef TESTCORES_STALLS_DATA_H
#define TESTCORES_STALLS_DATA_H

#include "parking.h"

#include <semaphore.h>

enum { CONNECTIONS = 4 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t returned;
    sem_t free_count;
    int left, uses_semaphore;
} db_pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .returned = PTHREAD_COND_INITIALIZER, .left = CONNECTIONS};

static sem_t pool_taken;

/* Where those stand who have a connection and read from it. */
static int group_answers;

static TC_FRAME void db_pool_acquire(int group)
{
    if (db_pool.uses_semaphore) {
        if (group >= 0)
            truth_arrive(group);
        while (sem_wait(&db_pool.free_count))
            TC_KEEP();
        return;
    }
    pthread_mutex_lock(&db_pool.lock);
    if (group >= 0)
        truth_arrive(group);
    while (!db_pool.left)
        pthread_cond_wait(&db_pool.returned, &db_pool.lock);
    db_pool.left--;
    pthread_mutex_unlock(&db_pool.lock);
}

static TC_FRAME void customer_find(int group)
{
    db_pool_acquire(group);
    TC_KEEP();
}

/* Takes one connection and, before it gives it back, asks for another. */
static TC_FRAME void order_list(int group)
{
    db_pool_acquire(-1);
    sem_post(&pool_taken);
    while (truth_sleep_milliseconds(10), __atomic_load_n(&db_pool.left, __ATOMIC_SEQ_CST) > 0)
        TC_KEEP();
    customer_find(group);
    TC_KEEP();
}

static TC_FRAME void stock_count(int group)
{
    db_pool_acquire(group);
    TC_KEEP();
}

/* The layer's way to a connection: everybody comes through it, and nobody holds two. */
static TC_FRAME void dao_connection(int group)
{
    db_pool_acquire(group);
    TC_KEEP();
}

static TC_FRAME void dao_read_answer(void)
{
    sem_post(&pool_taken);
    parking_read(group_answers, parking_pipe());
}

static TC_FRAME void dao_find_customer(int group)
{
    dao_connection(group);
    dao_read_answer();
    TC_KEEP();
}

static TC_FRAME void dao_count_stock(int group)
{
    dao_connection(group);
    dao_read_answer();
    TC_KEEP();
}

#endif
