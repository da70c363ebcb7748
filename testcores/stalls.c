/* SPDX-License-Identifier: Apache-2.0
 *
 * `stalls CASE`: the ways in which threads of a C program stand still behind one another, one a case. The groups of the
 * truth are roles ("head", "waits", "innocent"), so that a test can say who must be named and who must not. Cases whose
 * process is not the one started (fork) print the child's id before "ready".
 */
#include "parking.h"
#include "stalls_data.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { WAITERS = 12, INNOCENT = 8, PHILOSOPHERS = 5, VICTIMS = 20, IDLE = 1000 };

static int group_head, group_waits, group_innocent;

/* A thread with nothing to do with it: waits for work on a condition. */
static pthread_mutex_t work_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work_there = PTHREAD_COND_INITIALIZER;

static TC_FRAME void wait_for_work(int group)
{
    pthread_mutex_lock(&work_lock);
    truth_arrive(group);
    for (;;)
        pthread_cond_wait(&work_there, &work_lock);
}

static void *run_innocent(void *argument)
{
    wait_for_work(group_innocent);
    TC_KEEP();
    return argument;
}

/* A descriptor to which nothing more can be written. */
static int full_pipe(void)
{
    int ends[2];
    char bytes[4096];

    if (pipe(ends))
        truth_fail("pipe");
    memset(bytes, 'x', sizeof bytes);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    while (write(ends[1], bytes, sizeof bytes) > 0)
        continue;
    fcntl(ends[1], F_SETFL, 0);
    return ends[1];
}

/* One head and those behind it: the head runs `hold` first; it has the lock when it arrives. */
static void queue_start(void *(*hold)(void *), void *(*queue)(void *), int innocent)
{
    group_head = truth_group("head", 1, "", NULL);
    group_waits = truth_group("waits", WAITERS, "", NULL);
    parking_thread(hold, NULL, 0);
    while (!__atomic_load_n(&truth_groups[group_head].arrived, __ATOMIC_SEQ_CST))
        truth_sleep_milliseconds(1);
    truth_sleep_milliseconds(50);
    for (int i = 0; i < WAITERS; i++)
        parking_thread(queue, NULL, 0);
    if (innocent) {
        group_innocent = truth_group("innocent", INNOCENT, "", NULL);
        parking_threads(INNOCENT, run_innocent, NULL);
    }
}

/* dns: names are looked up with a lock held */

static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;

/* A server on this machine that never answers. */
static void resolver_is_deaf(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    if (bind(fd, (struct sockaddr *)&address, size) || getsockname(fd, (struct sockaddr *)&address, &size))
        truth_fail("bind");
    res_init();
    _res.nscount = 1;
    _res.nsaddr_list[0] = address;
    _res.retrans = 600;
    _res.retry = 4;
}

static TC_FRAME void cache_resolve(const char *host, int group)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_INET}, *found;

    if (group == group_waits)
        truth_arrive(group);
    pthread_mutex_lock(&cache_lock);
    resolver_is_deaf();
    truth_arrive(group);
    getaddrinfo(host, "80", &hints, &found);
    pthread_mutex_unlock(&cache_lock);
}

static void *run_resolve_first(void *argument)
{
    cache_resolve("backend.example", group_head);
    TC_KEEP();
    return argument;
}

static void *run_resolve(void *argument)
{
    cache_resolve("backend.example", group_waits);
    TC_KEEP();
    return argument;
}

static void stall_dns(void)
{
    queue_start(run_resolve_first, run_resolve, 1);
}

/* logging: a log under a mutex, whose reader is gone */

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd;

static TC_FRAME void log_write(const char *line, size_t length)
{
    while (write(log_fd, line, length) < 0)
        TC_KEEP();
}

static TC_FRAME void log_message(const char *line, int group)
{
    if (group == group_waits)
        truth_arrive(group);
    pthread_mutex_lock(&log_lock);
    truth_arrive(group);
    log_write(line, strlen(line));
    pthread_mutex_unlock(&log_lock);
}

static void *run_log_first(void *argument)
{
    log_message("request done\n", group_head);
    TC_KEEP();
    return argument;
}

static void *run_log(void *argument)
{
    log_message("request done\n", group_waits);
    TC_KEEP();
    return argument;
}

static void stall_logging(void)
{
    log_fd = full_pipe();
    queue_start(run_log_first, run_log, 1);
}

/* stdio: the same with a FILE and its own lock */

static FILE *log_stream;

static TC_FRAME void report(const char *what, int group)
{
    truth_arrive(group);
    fprintf(log_stream, "request %s done\n", what);
    fflush(log_stream);
    TC_KEEP();
}

static void *run_report_first(void *argument)
{
    report("first", group_head);
    TC_KEEP();
    return argument;
}

static void *run_report(void *argument)
{
    report("next", group_waits);
    TC_KEEP();
    return argument;
}

static void stall_stdio(void)
{
    log_stream = fdopen(full_pipe(), "w");
    queue_start(run_report_first, run_report, 1);
}

/* loader: a library's constructor that does not come back; its name is the second argument */

static const char *library_path;

static TC_FRAME void plugin_load(int group)
{
    truth_arrive(group);
    dlopen(library_path, RTLD_NOW);
    TC_KEEP();
}

static void *run_load_first(void *argument)
{
    plugin_load(group_head);
    TC_KEEP();
    return argument;
}

static void *run_load(void *argument)
{
    plugin_load(group_waits);
    TC_KEEP();
    return argument;
}

static void stall_loader(void)
{
    queue_start(run_load_first, run_load, 1);
}

/* dns-many: the same server, and no lock */

static TC_FRAME void backend_connect(int group)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_INET}, *found;

    resolver_is_deaf();
    truth_arrive(group);
    getaddrinfo("backend.example", "80", &hints, &found);
    TC_KEEP();
}

static void *run_connect(void *argument)
{
    backend_connect(group_waits);
    TC_KEEP();
    return argument;
}

static void stall_dns_many(void)
{
    group_waits = truth_group("waits", WAITERS, "", NULL);
    for (int i = 0; i < WAITERS; i++)
        parking_thread(run_connect, NULL, 0);
}

/* owner-ended: a thread ended with a lock held */

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;

static void *run_lock_and_end(void *argument)
{
    pthread_mutex_lock(&table_lock);
    return argument;
}

static TC_FRAME void table_insert(int group)
{
    truth_arrive(group);
    pthread_mutex_lock(&table_lock);
    TC_KEEP();
}

static void *run_insert(void *argument)
{
    table_insert(group_waits);
    TC_KEEP();
    return argument;
}

static void stall_owner_ended(void)
{
    pthread_t thread = parking_thread(run_lock_and_end, NULL, 0);

    pthread_join(thread, NULL);
    group_waits = truth_group("waits", WAITERS, "", NULL);
    parking_threads(WAITERS, run_insert, NULL);
}

/* fork-mutex, fork-time: a child of a threaded process needs a lock that a thread held which it does not have */

static sem_t is_locked;

static void *run_hold_table(void *argument)
{
    pthread_mutex_lock(&table_lock);
    sem_post(&is_locked);
    parking_read(group_head, parking_pipe());
    return argument;
}

static TC_FRAME void child_work(void)
{
    pthread_mutex_lock(&table_lock);
    TC_KEEP();
}

static void print_child(pid_t child)
{
    printf("child %d\n", (int)child);
    fflush(stdout);
}

static void stall_fork_mutex(void)
{
    pid_t child;

    group_head = truth_group("head", 1, "", NULL);
    sem_init(&is_locked, 0, 0);
    parking_thread(run_hold_table, NULL, 0);
    sem_wait(&is_locked);
    child = fork();
    if (!child) {
        child_work();
        _exit(0);
    }
    truth_sleep_milliseconds(200);
    print_child(child);
}

static int stop_formatting;

static void *run_format_times(void *argument)
{
    while (!__atomic_load_n(&stop_formatting, __ATOMIC_SEQ_CST)) {
        time_t now = time(NULL);
        struct tm parts;

        localtime_r(&now, &parts);
    }
    return argument;
}

static TC_FRAME void child_write_log(void)
{
    time_t now = time(NULL);
    struct tm parts;

    localtime_r(&now, &parts);
    TC_KEEP();
}

static void stall_fork_time(void)
{
    pthread_t thread = parking_thread(run_format_times, NULL, 0);

    for (;;) {
        pid_t child = fork();
        int status;

        if (!child) {
            child_write_log();
            _exit(0);
        }
        truth_sleep_milliseconds(20);
        if (!waitpid(child, &status, WNOHANG)) {
            truth_sleep_milliseconds(200);
            if (!waitpid(child, &status, WNOHANG)) {
                print_child(child);
                break;
            }
        }
    }
    stop_formatting = 1;
    pthread_join(thread, NULL);
}

/* handler: a signal handler that allocates, on top of the allocator */

static TC_FRAME void report_signal(void)
{
    char *text = (char *)malloc(30000);

    if (text)
        snprintf(text, 30000, "signal");
    TC_KEEP();
    free(text);
}

static void on_signal(int number)
{
    (void)number;
    report_signal();
    TC_KEEP();
}

static unsigned long allocations;

static TC_FRAME void build_index(void)
{
    void *parts[64] = {0};

    for (unsigned i = 0;; i++) {
        free(parts[i % 64]);
        parts[i % 64] = malloc(20000 + i % 7 * 1000);
        __atomic_fetch_add(&allocations, 1, __ATOMIC_SEQ_CST);
    }
}

static void *run_build_index(void *argument)
{
    truth_arrive(group_head);
    build_index();
    TC_KEEP();
    return argument;
}

static void stall_handler(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    pthread_t thread;

    group_head = truth_group("head", 1, "", NULL);
    group_innocent = truth_group("innocent", INNOCENT, "", NULL);
    parking_threads(INNOCENT, run_innocent, NULL);
    sigaction(SIGUSR1, &action, NULL);
    thread = parking_thread(run_build_index, NULL, 0);
    for (unsigned long before = 0, now = 1; before != now;) {
        for (int i = 0; i < 200; i++) {
            pthread_kill(thread, SIGUSR1);
            usleep(50);
        }
        before = __atomic_load_n(&allocations, __ATOMIC_SEQ_CST);
        truth_sleep_milliseconds(50);
        now = __atomic_load_n(&allocations, __ATOMIC_SEQ_CST);
    }
}

/* spin: a queue whose head computes */

static TC_FRAME void index_rebuild(int group)
{
    pthread_mutex_lock(&table_lock);
    truth_arrive(group);
    for (volatile unsigned long i = 0;; i++)
        TC_KEEP();
}

static void *run_rebuild(void *argument)
{
    index_rebuild(group_head);
    return argument;
}

static void stall_spin(void)
{
    queue_start(run_rebuild, run_insert, 1);
    truth_group_spins(group_head);
}

/* malloc: more threads than arenas, all in it; no stall */

static void *run_allocate(void *argument)
{
    truth_arrive(group_innocent);
    build_index();
    TC_KEEP();
    return argument;
}

static void stall_malloc(void)
{
    mallopt(M_ARENA_MAX, 1);
    group_innocent = truth_group("innocent", 2 * WAITERS, "", NULL);
    truth_group_spins(group_innocent);
    parking_threads(2 * WAITERS, run_allocate, NULL);
}

/* philosophers: a cycle of five whose stacks are all the same */

static pthread_mutex_t forks[PHILOSOPHERS];
static pthread_barrier_t all_sit;

static TC_FRAME void take_fork(int place, int group)
{
    if (group >= 0)
        truth_arrive(group);
    pthread_mutex_lock(&forks[place % PHILOSOPHERS]);
    TC_KEEP();
}

static void *run_philosopher(void *argument)
{
    int place = (int)(intptr_t)argument;

    take_fork(place, -1);
    pthread_barrier_wait(&all_sit);
    take_fork(place + 1, group_head);
    TC_KEEP();
    return argument;
}

static void *run_guest(void *argument)
{
    take_fork(0, group_waits);
    TC_KEEP();
    return argument;
}

static void stall_philosophers(void)
{
    group_head = truth_group("cycle", PHILOSOPHERS, "", NULL);
    group_waits = truth_group("behind", 3, "", NULL);
    group_innocent = truth_group("innocent", INNOCENT, "", NULL);
    pthread_barrier_init(&all_sit, NULL, PHILOSOPHERS + 1);
    for (int i = 0; i < PHILOSOPHERS; i++)
        pthread_mutex_init(&forks[i], NULL);
    for (int i = 0; i < PHILOSOPHERS; i++)
        parking_thread(run_philosopher, (void *)(intptr_t)i, 0);
    pthread_barrier_wait(&all_sit);
    while (__atomic_load_n(&truth_groups[group_head].arrived, __ATOMIC_SEQ_CST) < PHILOSOPHERS)
        truth_sleep_milliseconds(1);
    parking_threads(3, run_guest, NULL);
    parking_threads(INNOCENT, run_innocent, NULL);
}

/* reader-writer: a reader that reads again behind a waiting writer; writers are preferred */

static pthread_rwlock_t config_lock;
static sem_t writer_waits, reader_reads;

static TC_FRAME void config_get(int group)
{
    truth_arrive(group);
    pthread_rwlock_rdlock(&config_lock);
    TC_KEEP();
}

static TC_FRAME void config_reload(void)
{
    pthread_rwlock_rdlock(&config_lock);
    sem_post(&reader_reads);
    sem_wait(&writer_waits);
    config_get(group_head);
    TC_KEEP();
}

static void *run_reload(void *argument)
{
    config_reload();
    TC_KEEP();
    return argument;
}

static void *run_config_set(void *argument)
{
    truth_arrive(group_waits);
    pthread_rwlock_wrlock(&config_lock);
    TC_KEEP();
    return argument;
}

static void stall_reader_writer(void)
{
    pthread_rwlockattr_t attributes;

    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&config_lock, &attributes);
    sem_init(&writer_waits, 0, 0);
    sem_init(&reader_reads, 0, 0);
    group_head = truth_group("reads again", 1, "", NULL);
    group_waits = truth_group("writes", 1, "", NULL);
    group_innocent = truth_group("innocent", INNOCENT, "", NULL);
    parking_thread(run_reload, NULL, 0);
    sem_wait(&reader_reads);
    parking_thread(run_config_set, NULL, 0);
    truth_sleep_milliseconds(100);
    sem_post(&writer_waits);
    parking_threads(INNOCENT, run_innocent, NULL);
}

/* pool-condition, pool-semaphore, pool-accessor: connections, taken by the data layer */

static void *run_order_list(void *argument)
{
    order_list(group_head);
    TC_KEEP();
    return argument;
}

static void *run_customer_page(void *argument)
{
    customer_find(group_waits);
    TC_KEEP();
    return argument;
}

static void *run_stock_page(void *argument)
{
    stock_count(group_waits);
    TC_KEEP();
    return argument;
}

static void stall_pool(int uses_semaphore)
{
    db_pool.uses_semaphore = uses_semaphore;
    sem_init(&db_pool.free_count, 0, CONNECTIONS);
    sem_init(&pool_taken, 0, 0);
    group_head = truth_group("nested", CONNECTIONS, "", NULL);
    group_waits = truth_group("victim", VICTIMS, "", NULL);
    group_innocent = truth_group("innocent", INNOCENT, "", NULL);
    parking_threads(CONNECTIONS, run_order_list, NULL);
    for (int i = 0; i < CONNECTIONS; i++)
        sem_wait(&pool_taken);
    db_pool.left = 0;
    parking_threads(VICTIMS / 2, run_customer_page, NULL);
    parking_threads(VICTIMS - VICTIMS / 2, run_stock_page, NULL);
    parking_threads(INNOCENT, run_innocent, NULL);
}

static void stall_pool_condition(void)
{
    stall_pool(0);
}

static void stall_pool_semaphore(void)
{
    stall_pool(1);
}

static void *run_dao_first(void *argument)
{
    dao_find_customer(-1);
    TC_KEEP();
    return argument;
}

static void *run_dao_find(void *argument)
{
    dao_find_customer(group_waits);
    TC_KEEP();
    return argument;
}

static void *run_dao_count(void *argument)
{
    dao_count_stock(group_waits);
    TC_KEEP();
    return argument;
}

static void stall_pool_accessor(void)
{
    sem_init(&pool_taken, 0, 0);
    group_head = truth_group("holder", CONNECTIONS, "", NULL);
    group_answers = group_head;
    group_waits = truth_group("waits", VICTIMS, "", NULL);
    parking_threads(CONNECTIONS, run_dao_first, NULL);
    for (int i = 0; i < CONNECTIONS; i++)
        sem_wait(&pool_taken);
    parking_threads(VICTIMS / 2, run_dao_find, NULL);
    parking_threads(VICTIMS - VICTIMS / 2, run_dao_count, NULL);
}

/* idle: a big pool of threads without work; queue: producers before a full queue, consumers before an empty one */

static void stall_idle(void)
{
    group_innocent = truth_group("innocent", IDLE, "", NULL);
    parking_threads(IDLE, run_innocent, NULL);
}

static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t queue_not_full = PTHREAD_COND_INITIALIZER, queue_not_empty = PTHREAD_COND_INITIALIZER;

static TC_FRAME void queue_wait(pthread_cond_t *condition, int group)
{
    pthread_mutex_lock(&queue_lock);
    truth_arrive(group);
    for (;;)
        pthread_cond_wait(condition, &queue_lock);
}

static void *run_producer(void *argument)
{
    queue_wait(&queue_not_full, group_head);
    return argument;
}

static void *run_consumer(void *argument)
{
    queue_wait(&queue_not_empty, group_waits);
    return argument;
}

static void stall_queue(void)
{
    group_head = truth_group("producer", INNOCENT, "", NULL);
    group_waits = truth_group("consumer", WAITERS, "", NULL);
    parking_threads(INNOCENT, run_producer, NULL);
    parking_threads(WAITERS, run_consumer, NULL);
}

static const struct {
    const char *name;
    void (*start)(void);
} cases[] = {
    {"dns", stall_dns},
    {"dns-many", stall_dns_many},
    {"logging", stall_logging},
    {"stdio", stall_stdio},
    {"loader", stall_loader},
    {"owner-ended", stall_owner_ended},
    {"fork-mutex", stall_fork_mutex},
    {"fork-time", stall_fork_time},
    {"handler", stall_handler},
    {"spin", stall_spin},
    {"malloc", stall_malloc},
    {"philosophers", stall_philosophers},
    {"reader-writer", stall_reader_writer},
    {"pool-condition", stall_pool_condition},
    {"pool-semaphore", stall_pool_semaphore},
    {"pool-accessor", stall_pool_accessor},
    {"idle", stall_idle},
    {"queue", stall_queue},
};

int main(int count, char **arguments)
{
    library_path = count > 2 ? arguments[2] : "";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (count > 1 && !strcmp(arguments[1], cases[i].name)) {
            cases[i].start();
            truth_end();
        }
    fprintf(stderr, "stalls CASE [LIBRARY]\n");
    return 2;
}
