/* SPDX-License-Identifier: Apache-2.0
 *
 * The data layer of clients.c: its pool and who takes connections of it.
 */
#ifndef TESTCORES_CLIENTS_DATA_H
#define TESTCORES_CLIENTS_DATA_H

static struct {
    pthread_mutex_t lock;
    pthread_cond_t returned;
    db_connection free[CONNECTIONS];
    int left;
} db_pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .returned = PTHREAD_COND_INITIALIZER};

static void pool_fill(void)
{
    for (int i = 0; i < CONNECTIONS; i++)
        db_pool.free[db_pool.left++] = db_connect();
}

static TC_FRAME db_connection db_pool_get(void)
{
    db_connection connection;

    pthread_mutex_lock(&db_pool.lock);
    while (!db_pool.left)
        pthread_cond_wait(&db_pool.returned, &db_pool.lock);
    connection = db_pool.free[--db_pool.left];
    pthread_mutex_unlock(&db_pool.lock);
    return connection;
}

static TC_FRAME void db_pool_put(db_connection connection)
{
    pthread_mutex_lock(&db_pool.lock);
    db_pool.free[db_pool.left++] = connection;
    pthread_cond_signal(&db_pool.returned);
    pthread_mutex_unlock(&db_pool.lock);
}

static TC_FRAME void customer_find(void)
{
    db_connection connection = db_pool_get();

    db_query(connection);
    db_pool_put(connection);
}

static TC_FRAME void order_list(void)
{
    db_connection connection = db_pool_get();

    truth_sleep_milliseconds(200);
    customer_find();
    db_pool_put(connection);
}

static TC_FRAME void report_query(void)
{
    db_connection connection = db_pool_get();

    db_query(connection);
    db_pool_put(connection);
}

#endif
