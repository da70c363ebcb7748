/* SPDX-License-Identifier: Apache-2.0
 *
 * `clients CASE [PORT]`, built against one client library a time (-DCLIENT_LIBPQ, _HIREDIS, _MYSQL): a server in the
 * same process lets clients in and then never answers. "lock": one connection behind a mutex. "pool": a pool of four
 * whose holders take a second one. "row", MySQL alone, at a real server's PORT: the same as "lock", and the query waits
 * for a row that another connection of the process has changed in a transaction that it forgot. Prints "ready" and
 * stays.
 */
#include "parking.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <stdbool.h>
#include <sys/socket.h>

enum { CONNECTIONS = 4, WAITERS = 12 };

static int server_port;

#if defined(CLIENT_LIBPQ)
#include <libpq-fe.h>

typedef PGconn *db_connection;

static void server_greet(int fd)
{
    static const char ready[] = "R\0\0\0\10\0\0\0\0Z\0\0\0\5I";
    char startup[512];

    if (read(fd, startup, sizeof startup) < 1 || write(fd, ready, sizeof ready - 1) < 1)
        truth_fail("greeting");
}

static db_connection db_connect(void)
{
    char text[128];

    snprintf(text, sizeof text, "host=127.0.0.1 port=%d user=u dbname=d sslmode=disable gssencmode=disable",
             server_port);
    return PQconnectdb(text);
}

static TC_FRAME void db_query(db_connection connection)
{
    PQclear(PQexec(connection, "select 1"));
    TC_KEEP();
}

#elif defined(CLIENT_HIREDIS)
#include <hiredis/hiredis.h>

typedef redisContext *db_connection;

static void server_greet(int fd)
{
    (void)fd;
}

static db_connection db_connect(void)
{
    return redisConnect("127.0.0.1", server_port);
}

static TC_FRAME void db_query(db_connection connection)
{
    freeReplyObject(redisCommand(connection, "GET key"));
    TC_KEEP();
}

#elif defined(CLIENT_MYSQL)
#include <mysql.h>

typedef MYSQL *db_connection;

static void server_greet(int fd)
{
    static const char greeting[] = "\x4a\0\0\0\x0a"
                                   "5.7.40\0"
                                   "\1\0\0\0"
                                   "abcdefgh\0"
                                   "\xff\xf7\x21\2\0\x0f\x00\x15"
                                   "\0\0\0\0\0\0\0\0\0\0"
                                   "ijklmnopqrst\0"
                                   "mysql_native_password";
    static const char welcome[] = "\7\0\0\2\0\0\0\2\0\0\0";
    char packet[sizeof greeting], login[512];

    memcpy(packet, greeting, sizeof greeting);
    packet[0] = sizeof greeting - 4;
    if (write(fd, packet, sizeof packet) < 1 || read(fd, login, sizeof login) < 1 ||
        write(fd, welcome, sizeof welcome - 1) < 1)
        truth_fail("greeting");
}

static db_connection db_connect(void)
{
    MYSQL *connection = mysql_init(NULL);

    if (!mysql_real_connect(connection, "127.0.0.1", "app", "", "shop", (unsigned)server_port, NULL, 0)) {
        fprintf(stderr, "%s\n", mysql_error(connection));
        exit(3);
    }
    return connection;
}

static const char *db_text = "select 1";

static TC_FRAME void db_query(db_connection connection)
{
    mysql_query(connection, db_text);
    TC_KEEP();
}

#endif

static TC_FRAME void serve(int listening)
{
    for (;;) {
        int fd = accept(listening, NULL, NULL);

        if (fd >= 0)
            server_greet(fd);
    }
}

static void *run_server(void *argument)
{
    serve((int)(intptr_t)argument);
    return NULL;
}

static void server_start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(fd, (struct sockaddr *)&address, size) || listen(fd, 64) ||
        getsockname(fd, (struct sockaddr *)&address, &size))
        truth_fail("listen");
    server_port = ntohs(address.sin_port);
    parking_thread(run_server, (void *)(intptr_t)fd, 0);
}

/* lock */

static pthread_mutex_t db_lock = PTHREAD_MUTEX_INITIALIZER;
static db_connection db_only;

static TC_FRAME void session_load(void)
{
    pthread_mutex_lock(&db_lock);
    db_query(db_only);
    pthread_mutex_unlock(&db_lock);
}

static void *run_session(void *argument)
{
    session_load();
    TC_KEEP();
    return argument;
}

static void start_lock(void)
{
    db_only = db_connect();
    parking_threads(1, run_session, NULL);
    truth_sleep_milliseconds(300);
    parking_threads(WAITERS, run_session, NULL);
}

/* row */

#if defined(CLIENT_MYSQL)
static void start_row(int port)
{
    server_port = port;
    db_connection forgotten = db_connect();

    db_text = "update account set amount = amount + 1 where id = 1";
    if (mysql_query(forgotten, "begin") || mysql_query(forgotten, db_text)) {
        fprintf(stderr, "%s\n", mysql_error(forgotten));
        exit(3);
    }
    start_lock();
}
#endif

/* pool */

#include "clients_data.h"

static void *run_orders(void *argument)
{
    order_list();
    TC_KEEP();
    return argument;
}

static void *run_customer(void *argument)
{
    customer_find();
    TC_KEEP();
    return argument;
}

static void *run_report(void *argument)
{
    report_query();
    TC_KEEP();
    return argument;
}

static void start_pool(void)
{
    pool_fill();
    parking_threads(CONNECTIONS - 1, run_orders, NULL);
    parking_threads(1, run_report, NULL);
    truth_sleep_milliseconds(500);
    parking_threads(WAITERS, run_customer, NULL);
}

static bool start_case(int count, char **arguments)
{
#if defined(CLIENT_MYSQL)
    if (count == 3 && !strcmp(arguments[1], "row")) {
        start_row(atoi(arguments[2]));
        return true;
    }
#endif
    server_start();
    if (count == 2 && !strcmp(arguments[1], "lock"))
        start_lock();
    else if (count == 2 && !strcmp(arguments[1], "pool"))
        start_pool();
    else
        return false;
    return true;
}

int main(int count, char **arguments)
{
    if (!start_case(count, arguments))
        return 2;
    truth_sleep_milliseconds(500);
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
