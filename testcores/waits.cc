/* SPDX-License-Identifier: Apache-2.0
 *
 * C++ threads in the standard library's waits, reached through templates, lambdas, virtual calls, operators and nested
 * names.
 */
#include "truth.h"

#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>

namespace tc
{

static int group_condition, group_lambda, group_future, group_mutex, group_virtual, group_template, group_function,
    group_join, group_shared, group_anonymous;
static std::mutex held, condition_lock;
static std::shared_mutex held_shared;
static std::condition_variable condition;
static std::promise<int> promise;
static std::shared_future<int> answer;

/* a class template's member, that waits on a condition variable with a predicate */
template <typename Item, int Size> class Queue
{
  public:
    TC_FRAME Item take(int group)
    {
        std::unique_lock<std::mutex> guard(condition_lock);

        truth_arrive(group);
        condition.wait(guard, [this] { return count > 0; });
        return items[--count];
    }

  private:
    Item items[Size];
    volatile int count = 0;
};

static Queue<std::string, 8> strings;

TC_FRAME void take_string()
{
    strings.take(group_condition);
    TC_KEEP();
}

/* a function template, and a lambda handed to it */
template <typename Work> TC_FRAME void apply(Work work, int times)
{
    for (int i = 0; i < times; i++)
        work(i);
    TC_KEEP();
}

TC_FRAME void run_lambda()
{
    int offset = truth_tid() & 1;

    apply(
        [&offset](int i) __attribute__((noinline)) {
            truth_arrive(group_lambda);
            held.lock();
            offset += i;
        },
        1);
    TC_KEEP();
}

TC_FRAME void wait_future()
{
    truth_arrive(group_future);
    answer.wait();
    TC_KEEP();
}

TC_FRAME void lock_mutex()
{
    truth_arrive(group_mutex);
    std::lock_guard<std::mutex> guard(held);
    TC_KEEP();
}

TC_FRAME void lock_shared()
{
    truth_arrive(group_shared);
    std::shared_lock<std::shared_mutex> guard(held_shared);
    TC_KEEP();
}

/* virtual calls through two bases, so that one goes through a thunk (which leaves no frame) */
struct Reader {
    virtual ~Reader() = default;
    virtual void read(int group) = 0;
};
struct Named {
    virtual ~Named() = default;
    virtual void name() = 0;
    int id = 0;
};
struct File final : Named, Reader {
    TC_FRAME void name() override
    {
        id++;
    }
    TC_FRAME void read(int group) override
    {
        name();
        truth_arrive(group);
        held.lock();
        id++;
    }
};

TC_FRAME void read_all(Reader &reader)
{
    reader.read(group_virtual);
    TC_KEEP();
}

TC_FRAME void open_file()
{
    auto file = std::make_unique<File>();

    read_all(*file);
    TC_KEEP();
}

/* overloads, operators, a template of a template */
template <typename T> struct Box {
    T value;
    TC_FRAME Box &operator+=(const Box &other)
    {
        truth_arrive(group_template);
        held.lock();
        value.insert(value.end(), other.value.begin(), other.value.end());
        return *this;
    }
};

TC_FRAME void add_boxes()
{
    Box<std::vector<std::pair<int, long>>> left, right;

    left += right;
    TC_KEEP();
}

TC_FRAME void called_back(int group)
{
    truth_arrive(group);
    held.lock();
    TC_KEEP();
}

TC_FRAME void call_back()
{
    std::function<void()> function = std::bind(called_back, group_function);

    function();
    TC_KEEP();
}

namespace
{
TC_FRAME void unnamed(const char *text)
{
    if (text)
        truth_arrive(group_anonymous);
    held.lock();
    TC_KEEP();
}
} // namespace

TC_FRAME void call_unnamed()
{
    unnamed("x");
    TC_KEEP();
}

TC_FRAME void join_other(std::thread &other)
{
    truth_arrive(group_join);
    other.join();
    TC_KEEP();
}

static std::vector<std::thread> threads;

static void start(int count, void (*run)())
{
    for (int i = 0; i < count; i++)
        threads.emplace_back(run);
}

} // namespace tc

int main()
{
    using namespace tc;

    held.lock();
    held_shared.lock();
    answer = promise.get_future().share();

    group_condition =
        truth_group("std::condition_variable", 4, "~tc::Queue<.*, 8>::take|tc::take_string", ".*futex.*|.*wait.*");
    group_lambda = truth_group("lambda", 3, "~tc::run_lambda\\(\\)::.*operator\\(\\)|~tc::apply<.*>|tc::run_lambda",
                               ".*lock.*|.*futex.*");
    group_future = truth_group("std::future", 3, "tc::wait_future", ".*syscall.*|.*futex.*");
    group_mutex = truth_group("std::mutex", 5, "tc::lock_mutex", ".*lock.*|.*futex.*");
    group_shared = truth_group("std::shared_mutex", 2, "tc::lock_shared", ".*lock.*|.*futex.*");
    group_virtual = truth_group("virtual", 2, "tc::File::read|tc::read_all|tc::open_file", ".*lock.*|.*futex.*");
    group_template = truth_group("operator of a template", 2,
                                 "~tc::Box<std::vector<std::pair<int, long.*>>? ?>::operator\\+=|tc::add_boxes", NULL);
    group_function = truth_group("std::function", 2, "tc::called_back|tc::call_back", ".*lock.*|.*futex.*");
    group_anonymous =
        truth_group("anonymous namespace", 2, "tc::(anonymous namespace)::unnamed|tc::call_unnamed", NULL);
    group_join = truth_group("std::thread::join", 1, "tc::join_other", ".*join.*|.*futex.*");

    start(4, take_string);
    start(3, run_lambda);
    start(3, wait_future);
    start(5, lock_mutex);
    start(2, lock_shared);
    start(2, open_file);
    start(2, add_boxes);
    start(2, call_back);
    start(2, call_unnamed);
    std::thread last(join_other, std::ref(threads.front()));
    truth_end();
    TC_KEEP();
    return 0;
}
