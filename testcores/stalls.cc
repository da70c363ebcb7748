/* SPDX-License-Identifier: Apache-2.0
 *
 * `stalls CASE` in C++: cycles and queues through the standard library's locks, and a pool that is a class inside a
 * class. Roles are the truth's groups, as in stalls.c.
 */
#include "parking.h"

#include <condition_variable>
#include <future>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

static int group_first, group_second, group_waits, group_innocent;

template <typename Call> static void start(int count, Call call)
{
    for (int i = 0; i < count; i++) {
        auto *copy = new Call(call);
        parking_thread(
            [](void *argument) -> void * {
                (*static_cast<Call *>(argument))();
                return nullptr;
            },
            copy, 0);
    }
}

static void wait_arrived(int group)
{
    while (__atomic_load_n(&truth_groups[group].arrived, __ATOMIC_SEQ_CST) < truth_groups[group].count)
        truth_sleep_milliseconds(1);
    truth_sleep_milliseconds(50);
}

namespace
{

std::mutex idle_lock;
std::condition_variable idle_condition;

void wait_for_work()
{
    std::unique_lock<std::mutex> guard(idle_lock);
    truth_arrive(group_innocent);
    for (;;)
        idle_condition.wait(guard);
}

pthread_barrier_t both;

} // namespace

namespace bank
{

struct Account {
    std::mutex lock;
    long balance = 100;
};

Account alice, bob;

TC_FRAME void transfer(Account &from, Account &to, int group)
{
    std::lock_guard<std::mutex> first(from.lock);
    pthread_barrier_wait(&both);
    truth_arrive(group);
    std::lock_guard<std::mutex> second(to.lock);
    to.balance += 1;
}

TC_FRAME void audit(Account &account)
{
    truth_arrive(group_waits);
    std::scoped_lock guard(account.lock);
    TC_KEEP();
}

} // namespace bank

/* mutex-cycle: two accounts, locked in opposite orders, auditors behind one of them */
static void stall_mutex_cycle()
{
    pthread_barrier_init(&both, nullptr, 2);
    group_first = truth_group("first", 1, "", nullptr);
    group_second = truth_group("second", 1, "", nullptr);
    group_waits = truth_group("behind", 3, "", nullptr);
    group_innocent = truth_group("innocent", 8, "", nullptr);
    start(1, [] { bank::transfer(bank::alice, bank::bob, group_first); });
    start(1, [] { bank::transfer(bank::bob, bank::alice, group_second); });
    wait_arrived(group_first);
    wait_arrived(group_second);
    start(3, [] { bank::audit(bank::bob); });
    start(8, wait_for_work);
}

namespace app
{

/* A pool inside the class that uses it, as an own type. */
class Repository
{
  public:
    class ConnectionPool
    {
      public:
        explicit ConnectionPool(int size) : left(size)
        {
        }

        TC_FRAME int acquire(int group)
        {
            std::unique_lock<std::mutex> guard(lock);
            if (group >= 0)
                truth_arrive(group);
            returned.wait(guard, [this] { return left > 0; });
            return --left;
        }

        int left;

      private:
        std::mutex lock;
        std::condition_variable returned;
    };

    TC_FRAME void find_customer(int group)
    {
        pool.acquire(group);
        TC_KEEP();
    }

    TC_FRAME void list_orders(int group)
    {
        pool.acquire(-1);
        pthread_barrier_wait(&both);
        find_customer(group);
        TC_KEEP();
    }

    TC_FRAME void count_stock(int group)
    {
        pool.acquire(group);
        TC_KEEP();
    }

  private:
    ConnectionPool pool{6};
};

Repository repository;

} // namespace app

static TC_FRAME void handle_orders()
{
    app::repository.list_orders(group_first);
    TC_KEEP();
}

static TC_FRAME void handle_customer()
{
    app::repository.find_customer(group_waits);
    TC_KEEP();
}

static TC_FRAME void handle_stock()
{
    app::repository.count_stock(group_waits);
    TC_KEEP();
}

/* pool-nested */
static void stall_pool_nested()
{
    pthread_barrier_init(&both, nullptr, 6);
    group_first = truth_group("nested", 6, "", nullptr);
    group_waits = truth_group("victim", 24, "", nullptr);
    group_innocent = truth_group("innocent", 8, "", nullptr);
    start(6, handle_orders);
    wait_arrived(group_first);
    start(12, handle_customer);
    start(12, handle_stock);
    start(8, wait_for_work);
}

namespace cache
{

std::shared_mutex table;

TC_FRAME void refresh()
{
    std::unique_lock<std::shared_mutex> guard(table);
    parking_read(group_first, parking_pipe());
}

TC_FRAME void lookup()
{
    truth_arrive(group_waits);
    std::shared_lock<std::shared_mutex> guard(table);
    TC_KEEP();
}

} // namespace cache

/* shared-mutex: readers behind a writer that reads from elsewhere; no cycle */
static void stall_shared_mutex()
{
    group_first = truth_group("head", 1, "", nullptr);
    group_waits = truth_group("waits", 12, "", nullptr);
    start(1, cache::refresh);
    wait_arrived(group_first);
    start(12, cache::lookup);
}

/* future: waits for a promise that nobody keeps; not a lock, and nobody to blame */
static std::promise<int> promise;

static TC_FRAME void wait_answer(std::shared_future<int> answer)
{
    truth_arrive(group_waits);
    answer.wait();
    TC_KEEP();
}

static void stall_future()
{
    std::shared_future<int> answer = promise.get_future().share();

    group_waits = truth_group("waits", 6, "", nullptr);
    start(6, [answer] { wait_answer(answer); });
}

namespace settings
{

std::mutex lock;

TC_FRAME int load()
{
    truth_arrive(group_first);
    std::lock_guard<std::mutex> guard(lock);
    return getpid();
}

TC_FRAME int &instance()
{
    static int value = load();
    return value;
}

TC_FRAME void change()
{
    std::lock_guard<std::mutex> guard(lock);
    pthread_barrier_wait(&both);
    wait_arrived(group_first);
    truth_arrive(group_second);
    instance() = 1;
}

TC_FRAME void read()
{
    truth_arrive(group_waits);
    truth_sleep_milliseconds(instance());
}

} // namespace settings

/* static-cycle: a static variable is made by one who needs the lock that another one has who needs the variable */
static void stall_static_cycle()
{
    pthread_barrier_init(&both, nullptr, 2);
    group_first = truth_group("makes", 1, "", nullptr);
    group_second = truth_group("locks", 1, "", nullptr);
    group_waits = truth_group("behind", 3, "", nullptr);
    group_innocent = truth_group("innocent", 8, "", nullptr);
    start(1, settings::change);
    pthread_barrier_wait(&both);
    start(1, settings::instance);
    wait_arrived(group_second);
    start(3, settings::read);
    start(8, wait_for_work);
}

/* turns: workers that take their jobs from a queue that one of them at a time waits at; nothing is wrong */
namespace jobs
{

std::mutex turn, lock;
std::condition_variable there;

TC_FRAME void next()
{
    std::unique_lock<std::mutex> guard(lock);
    there.wait(guard, [] { return false; });
    TC_KEEP();
}

TC_FRAME void work()
{
    truth_arrive(group_innocent);
    std::lock_guard<std::mutex> guard(turn);
    next();
    TC_KEEP();
}

} // namespace jobs

static void stall_turns()
{
    group_innocent = truth_group("innocent", 16, "", nullptr);
    start(16, jobs::work);
}

static const struct {
    const char *name;
    void (*start)();
} cases[] = {
    {"mutex-cycle", stall_mutex_cycle},
    {"pool-nested", stall_pool_nested},
    {"shared-mutex", stall_shared_mutex},
    {"future", stall_future},
    {"static-cycle", stall_static_cycle},
    {"turns", stall_turns},
};

int main(int count, char **arguments)
{
    for (const auto &row : cases)
        if (count > 1 && !strcmp(arguments[1], row.name)) {
            row.start();
            truth_end();
        }
    fprintf(stderr, "stalls CASE\n");
    return 2;
}
