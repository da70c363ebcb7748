/* SPDX-License-Identifier: Apache-2.0
 *
 * locks SCENARIO…: threads that wait for each other through every lock that libc has, and the facts of who waits for
 * what and who has it. Each scenario is a few actors: an actor takes what it holds, waits until all have, and then asks
 * for what it wants, for good.
 *
 * The facts are written as JSON to the file that TESTCORE_TRUTH names with ".waits" behind it: for each waiter the
 * kind, the object's address and name, and who holds it, by names of groups; the truth itself tells their thread ids.
 */
#include "parking.h"

#include <dlfcn.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/prctl.h>

enum { ACTORS_MAX = 160, HOLDS_MAX = 3, INNOCENTS = 50, SHARED_READERS = 3 };

typedef void (*action)(void *object);

/* What an actor asks for, as the facts have it. */
struct want {
    const char *kind, *name;
    action act;
    void *object;      /* what `act` is given */
    void *address;     /* of the object in the facts, NULL: as object */
    const char *state; /* of the holder where it is not by actors: "none", "ended", "anonymous" … */
    long owner;        /* of another process, or one that ended */
    int readers;
};

struct hold {
    action act;
    void *object;
};

struct actor {
    const char *name;
    struct hold holds[HOLDS_MAX];
    struct want want;
    struct actor *joins; /* its holder, of a join */
    int group;
    pthread_t thread;
};

static struct actor actors[ACTORS_MAX];
static int actor_count, arrived_count;

/* taking things */

static TC_FRAME void take_mutex(void *object)
{
    pthread_mutex_lock(object);
    TC_KEEP();
}

static TC_FRAME void take_write(void *object)
{
    pthread_rwlock_wrlock(object);
    TC_KEEP();
}

static TC_FRAME void take_read(void *object)
{
    pthread_rwlock_rdlock(object);
    TC_KEEP();
}

static TC_FRAME void take_file(void *object)
{
    flockfile(object);
    TC_KEEP();
}

/* asking for things, for good */

static TC_FRAME void read_forever(void *object)
{
    char byte;

    (void)object;
    while (read(parking_pipe(), &byte, 1) != 0)
        TC_KEEP();
}

static TC_FRAME void sync_journal(void *object)
{
    read_forever(object);
    TC_KEEP();
}

static TC_FRAME void want_mutex(void *object)
{
    pthread_mutex_lock(object);
    TC_KEEP();
}

static TC_FRAME void want_mutex_timed(void *object)
{
    struct timespec end;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 3600;
    pthread_mutex_timedlock(object, &end);
    TC_KEEP();
}

static TC_FRAME void want_write(void *object)
{
    pthread_rwlock_wrlock(object);
    TC_KEEP();
}

static TC_FRAME void want_read(void *object)
{
    pthread_rwlock_rdlock(object);
    TC_KEEP();
}

static TC_FRAME void want_semaphore(void *object)
{
    while (sem_wait(object))
        TC_KEEP();
}

static TC_FRAME void want_barrier(void *object)
{
    pthread_barrier_wait(object);
    TC_KEEP();
}

struct condition {
    pthread_mutex_t lock;
    pthread_cond_t cond;
};

static TC_FRAME void want_condition(void *object)
{
    struct condition *condition = object;

    pthread_mutex_lock(&condition->lock);
    for (;;)
        pthread_cond_wait(&condition->cond, &condition->lock);
}

static TC_FRAME void want_condition_timed(void *object)
{
    struct condition *condition = object;
    struct timespec end;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 3600;
    pthread_mutex_lock(&condition->lock);
    for (;;)
        pthread_cond_timedwait(&condition->cond, &condition->lock, &end);
}

static TC_FRAME void want_join(void *object)
{
    struct actor *actor = object;

    pthread_join(actor->thread, NULL);
    TC_KEEP();
}

static TC_FRAME void want_file(void *object)
{
    fputs("never seen\n", object);
    TC_KEEP();
}

static pthread_once_t setup_once = PTHREAD_ONCE_INIT;
static int setup_began;

static void setup(void)
{
    __atomic_store_n(&setup_began, 1, __ATOMIC_SEQ_CST);
    read_forever(NULL);
    TC_KEEP();
}

static TC_FRAME void run_setup(void *object)
{
    pthread_once(object, setup);
    TC_KEEP();
}

static TC_FRAME void want_setup(void *object)
{
    while (!__atomic_load_n(&setup_began, __ATOMIC_SEQ_CST))
        truth_sleep_milliseconds(1);
    pthread_once(object, setup);
    TC_KEEP();
}

static TC_FRAME void sleep_forever(void *object)
{
    struct timespec hour = {3600, 0};

    (void)object;
    while (nanosleep(&hour, NULL))
        TC_KEEP();
}

/* Takes a lock to read and keeps its address in its frame while it waits for another. */
struct read_then_lock {
    pthread_rwlock_t *read;
    pthread_mutex_t *lock;
};

static TC_FRAME void want_mutex_as_reader(void *object)
{
    struct read_then_lock *pair = object;
    pthread_rwlock_t *volatile read = pair->read;

    pthread_mutex_lock(pair->lock);
    pthread_rwlock_unlock(read);
    TC_KEEP();
}

/* the loader */

static int constructor_began;

/* Called by locks_library.c. */
void locks_constructor(void);
__attribute__((visibility("default"))) void locks_constructor(void)
{
    __atomic_store_n(&constructor_began, 1, __ATOMIC_SEQ_CST);
    read_forever(NULL);
    TC_KEEP();
}

static TC_FRAME void open_library(void *object)
{
    (void)object;
    dlopen("liblocks.so", RTLD_NOW);
    TC_KEEP();
}

static TC_FRAME void want_loader(void *object)
{
    (void)object;
    while (!__atomic_load_n(&constructor_began, __ATOMIC_SEQ_CST))
        truth_sleep_milliseconds(1);
    dlopen("libm.so.6", RTLD_NOW);
    TC_KEEP();
}

/* actors */

static struct actor *actor_new(const char *name, struct want want)
{
    struct actor *actor = &actors[actor_count];

    if (actor_count++ == ACTORS_MAX)
        truth_fail("too many actors");
    *actor = (struct actor){.name = name, .want = want};
    return actor;
}

static void actor_holds(struct actor *actor, action act, void *object)
{
    for (int i = 0; i < HOLDS_MAX; i++)
        if (!actor->holds[i].act) {
            actor->holds[i] = (struct hold){act, object};
            return;
        }
    truth_fail("too many holds");
}

static void *actor_run(void *argument)
{
    struct actor *actor = argument;

    for (int i = 0; i < HOLDS_MAX && actor->holds[i].act; i++)
        actor->holds[i].act(actor->holds[i].object);
    __atomic_fetch_add(&arrived_count, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&arrived_count, __ATOMIC_SEQ_CST) <= actor_count) /* main is one more */
        truth_sleep_milliseconds(1);
    truth_arrive(actor->group);
    actor->want.act(actor->want.object);
    TC_KEEP();
    return argument;
}

/* Actors of one name, one after the other, are one group. */
static int is_further_one(int i)
{
    return i > 0 && !strcmp(actors[i].name, actors[i - 1].name);
}

static void actors_start(void)
{
    for (int i = 0; i < actor_count; i++) {
        int count = 1;

        while (i + count < actor_count && is_further_one(i + count))
            count++;
        actors[i].group =
            is_further_one(i) ? actors[i - 1].group : truth_group(actors[i].name, count, "actor_run", NULL);
    }
    for (int i = 0; i < actor_count; i++)
        actors[i].thread = parking_thread(actor_run, &actors[i], 128 * 1024);
    __atomic_fetch_add(&arrived_count, 1, __ATOMIC_SEQ_CST);
}

/* facts */

static int actor_has(const struct actor *actor, const void *object)
{
    for (int i = 0; i < HOLDS_MAX && actor->holds[i].act; i++)
        if (actor->holds[i].object == object)
            return 1;
    return 0;
}

static void write_fact(FILE *file, const struct actor *actor)
{
    const struct want *want = &actor->want;
    const char *separator = "";

    fprintf(file, "{\"waiter\": \"%s\", \"kind\": \"%s\", \"exclusive\": %d, \"holders\": [", actor->name, want->kind,
            want->act == want_write);
    for (int i = 0; i < actor_count && !want->state; i++)
        if (actor->joins == &actors[i] || (!actor->joins && actor_has(&actors[i], want->object))) {
            fprintf(file, "%s\"%s\"", separator, actors[i].name);
            separator = ", ";
        }
    fprintf(file, "], \"state\": \"%s\"", want->state ? want->state : "held");
    if (want->name)
        fprintf(file, ", \"name\": \"%s\", \"address\": \"%p\"", want->name,
                want->address ? want->address : want->object);
    if (want->owner)
        fprintf(file, ", \"owner\": %ld", want->owner);
    if (want->readers)
        fprintf(file, ", \"readers\": %d", want->readers);
    fputs("}", file);
}

static void facts_write(void)
{
    const char *truth = getenv("TESTCORE_TRUTH"), *separator = "";
    char path[4096];
    FILE *file;

    if (!truth)
        return;
    snprintf(path, sizeof path, "%s.waits", truth);
    file = fopen(path, "w");
    if (!file)
        truth_fail(path);
    fputs("[", file);
    for (int i = 0; i < actor_count; i++)
        if (actors[i].want.kind && !is_further_one(i)) {
            fprintf(file, "%s\n ", separator);
            write_fact(file, &actors[i]);
            separator = ",";
        }
    fputs("]\n", file);
    if (fclose(file))
        truth_fail(path);
}

/* scenarios: cycles, and what is none */

static pthread_mutex_t orders_lock = PTHREAD_MUTEX_INITIALIZER, stock_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t ring_first = PTHREAD_MUTEX_INITIALIZER, ring_second = PTHREAD_MUTEX_INITIALIZER;
static struct {
    long serial;
    pthread_mutex_t lock;
} ring_third = {0, PTHREAD_MUTEX_INITIALIZER};
static pthread_mutex_t self_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t journal_lock = PTHREAD_MUTEX_INITIALIZER, cache_lock = PTHREAD_MUTEX_INITIALIZER;

#define WANT_MUTEX(lock)                                                                                               \
    (struct want)                                                                                                      \
    {                                                                                                                  \
        .kind = "mutex", .name = #lock, .act = want_mutex, .object = &(lock)                                           \
    }
#define WANT_NOTHING(how)                                                                                              \
    (struct want)                                                                                                      \
    {                                                                                                                  \
        .act = how                                                                                                     \
    }

static void cycles(void)
{
    struct actor *actor;

    actor = actor_new("two, orders", WANT_MUTEX(stock_lock));
    actor_holds(actor, take_mutex, &orders_lock);
    actor = actor_new("two, stock", WANT_MUTEX(orders_lock));
    actor_holds(actor, take_mutex, &stock_lock);

    actor = actor_new("three, first", WANT_MUTEX(ring_second));
    actor_holds(actor, take_mutex, &ring_first);
    actor = actor_new("three, second", WANT_MUTEX(ring_third.lock));
    actor->want.name = "ring_third+0x8";
    actor_holds(actor, take_mutex, &ring_second);
    actor = actor_new("three, third", WANT_MUTEX(ring_first));
    actor_holds(actor, take_mutex, &ring_third.lock);

    actor = actor_new("self", WANT_MUTEX(self_lock));
    actor_holds(actor, take_mutex, &self_lock);

    actor = actor_new("head", WANT_NOTHING(sync_journal));
    actor_holds(actor, take_mutex, &journal_lock);
    actor = actor_new("chain, middle", WANT_MUTEX(journal_lock));
    actor_holds(actor, take_mutex, &cache_lock);
    actor_new("chain, last", WANT_MUTEX(cache_lock));

    for (int i = 0; i < INNOCENTS; i++)
        actor_new("innocents", WANT_MUTEX(orders_lock));
}

/* rwlocks */

static pthread_rwlock_t table_first = PTHREAD_RWLOCK_INITIALIZER, table_second = PTHREAD_RWLOCK_INITIALIZER;
static pthread_rwlock_t table_read = PTHREAD_RWLOCK_INITIALIZER, table_shared = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t read_then = PTHREAD_MUTEX_INITIALIZER;
static struct read_then_lock read_then_pair = {&table_read, &read_then};

static void rwlocks(void)
{
    struct actor *actor;

    actor =
        actor_new("rw, first",
                  (struct want){.kind = "rwlock", .name = "table_second", .act = want_write, .object = &table_second});
    actor_holds(actor, take_write, &table_first);
    actor = actor_new("rw, second",
                      (struct want){.kind = "rwlock", .name = "table_first", .act = want_read, .object = &table_first});
    actor_holds(actor, take_write, &table_second);
    actor_new("rw, behind",
              (struct want){.kind = "rwlock", .name = "table_first", .act = want_write, .object = &table_first});

    actor = actor_new("reader", (struct want){.kind = "mutex",
                                              .name = "read_then",
                                              .act = want_mutex_as_reader,
                                              .object = &read_then_pair,
                                              .address = &read_then});
    actor_holds(actor, take_read, &table_read);
    actor->joins = &actors[actor_count]; /* the next one has the mutex */
    actor = actor_new("writer",
                      (struct want){.kind = "rwlock", .name = "table_read", .act = want_write, .object = &table_read});
    actor_holds(actor, take_mutex, &read_then);

    for (int i = 0; i < SHARED_READERS; i++) {
        actor = actor_new("shares a table", WANT_NOTHING(read_forever));
        actor_holds(actor, take_read, &table_shared);
    }
    actor_new("anonymous", (struct want){.kind = "rwlock",
                                         .name = "table_shared",
                                         .act = want_write,
                                         .object = &table_shared,
                                         .state = "anonymous",
                                         .readers = SHARED_READERS});
}

/* kinds of mutexes */

static pthread_mutex_t recursive_lock, checked_lock, robust_lock, inherit_lock, timed_lock;
#ifdef __GLIBC__
static pthread_mutex_t adaptive_lock;
#endif

static void mutex_make(pthread_mutex_t *mutex, int type, int robust, int inherit, int shared)
{
    pthread_mutexattr_t attributes;

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, type);
    if (robust)
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (inherit)
        pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    if (shared)
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    errno = pthread_mutex_init(mutex, &attributes);
    if (errno)
        truth_fail("pthread_mutex_init");
}

static void kinds(void)
{
    struct actor *actor;

    mutex_make(&recursive_lock, PTHREAD_MUTEX_RECURSIVE, 0, 0, 0);
    mutex_make(&checked_lock, PTHREAD_MUTEX_ERRORCHECK, 0, 0, 0);
    mutex_make(&robust_lock, PTHREAD_MUTEX_ERRORCHECK, 1, 0, 0);
    mutex_make(&inherit_lock, PTHREAD_MUTEX_ERRORCHECK, 0, 1, 0);
    mutex_make(&timed_lock, PTHREAD_MUTEX_RECURSIVE, 0, 0, 0);
    actor = actor_new("holds all kinds", WANT_NOTHING(sleep_forever));
    actor_holds(actor, take_mutex, &recursive_lock);
    actor_holds(actor, take_mutex, &recursive_lock);
    actor_holds(actor, take_mutex, &checked_lock);
    actor = actor_new("holds more kinds", WANT_NOTHING(sleep_forever));
    actor_holds(actor, take_mutex, &robust_lock);
    actor_holds(actor, take_mutex, &inherit_lock);
    actor_holds(actor, take_mutex, &timed_lock);
    actor_new("recursive", WANT_MUTEX(recursive_lock));
    actor_new("checked", WANT_MUTEX(checked_lock));
    actor_new("robust", WANT_MUTEX(robust_lock));
    actor_new("inherit", WANT_MUTEX(inherit_lock));
    actor = actor_new("timed", WANT_MUTEX(timed_lock));
    actor->want.act = want_mutex_timed;
#ifdef __GLIBC__
    mutex_make(&adaptive_lock, PTHREAD_MUTEX_ADAPTIVE_NP, 0, 0, 0);
    actor = actor_new("holds adaptive", WANT_NOTHING(sleep_forever));
    actor_holds(actor, take_mutex, &adaptive_lock);
    actor_new("adaptive", WANT_MUTEX(adaptive_lock));
#endif
}

/* other things */

static sem_t jobs;
static pthread_barrier_t meeting;
static struct condition returned = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER};

static void objects(void)
{
    struct actor *actor, *first = &actors[actor_count];

    /* Two threads that join each other get EDEADLK: three do not. */
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"join, first", "join, second", "join, third"};

        actor = actor_new(names[i], (struct want){.kind = "join", .act = want_join});
        actor->joins = first + (i + 1) % 3;
        actor->want.object = actor->joins;
    }
    sem_init(&jobs, 0, 0);
    pthread_barrier_init(&meeting, NULL, 3);
    actor_new(
        "semaphore",
        (struct want){.kind = "semaphore", .name = "jobs", .act = want_semaphore, .object = &jobs, .state = "none"});
    actor_new(
        "barrier",
        (struct want){.kind = "barrier", .name = "meeting", .act = want_barrier, .object = &meeting, .state = "none"});
    for (int i = 0; i < 4; i++) {
        static const char *const names[] = {"cond, first", "cond, second", "cond, third", "cond, timed"};

        actor_new(names[i], (struct want){.kind = "cond",
                                          .name = "returned+0x28",
                                          .act = i == 3 ? want_condition_timed : want_condition,
                                          .object = &returned,
                                          .address = &returned.cond,
                                          .state = "none"});
    }
    actor = actor_new("setup", WANT_NOTHING(run_setup));
    actor->want.object = &setup_once;
    actor_new("once", (struct want){.kind = "once", .name = "setup_once", .act = want_setup, .object = &setup_once})
        ->joins = actor;
    actor_new("sleeper", (struct want){.kind = "sleep", .act = sleep_forever, .state = "none"});
}

/* Of a stream of its own: stdout is main's to write to. */
static void stdio(void)
{
    FILE *file = fopen("/dev/null", "w");
    struct actor *actor;

    if (!file)
        truth_fail("/dev/null");
    actor = actor_new("has the file", WANT_NOTHING(read_forever));
    actor_holds(actor, take_file, file);
    actor_new("stdio", (struct want){.kind = "stdio", .act = want_file, .object = file});
}

static void loader(void)
{
    struct actor *actor = actor_new("constructor", WANT_NOTHING(open_library));

    actor_new("loader", (struct want){.kind = "loader", .act = want_loader})->joins = actor;
}

/* owners that are no threads of this process */

static pthread_mutex_t left_lock = PTHREAD_MUTEX_INITIALIZER;
static long left_by;

static void *leave_locked(void *argument)
{
    left_by = truth_tid();
    pthread_mutex_lock(&left_lock);
    return argument;
}

static void ended(void)
{
    pthread_t thread = parking_thread(leave_locked, NULL, 0);
    struct actor *actor;

    pthread_join(thread, NULL);
    actor = actor_new("ended", WANT_MUTEX(left_lock));
    actor->want.state = "ended";
    actor->want.owner = left_by;
}

static void shared(void)
{
    pthread_mutex_t *mutex = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int ready[2];
    pid_t child;
    char byte;

    if (mutex == MAP_FAILED || pipe(ready))
        truth_fail("shared");
    mutex_make(mutex, PTHREAD_MUTEX_RECURSIVE, 0, 0, 1);
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pthread_mutex_lock(mutex);
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    if (child < 0 || read(ready[0], &byte, 1) != 1)
        truth_fail("fork");
    actor_new("shared",
              (struct want){.kind = "mutex", .act = want_mutex, .object = mutex, .state = "elsewhere", .owner = child});
}

static const struct scenario {
    const char *name;
    void (*make)(void);
} scenarios[] = {{"cycles", cycles}, {"rwlocks", rwlocks}, {"kinds", kinds}, {"objects", objects},
                 {"stdio", stdio},   {"loader", loader},   {"ended", ended}, {"shared", shared}};

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const struct scenario *scenario = NULL;

        for (size_t k = 0; k < sizeof scenarios / sizeof scenarios[0]; k++)
            if (!strcmp(argv[i], scenarios[k].name))
                scenario = &scenarios[k];
        if (!scenario)
            truth_fail("no such scenario");
        scenario->make();
    }
    actors_start();
    facts_write();
    truth_end();
    TC_KEEP();
    return 0;
}
