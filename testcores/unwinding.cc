/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads in the middle of an exception: parked in a destructor that unwinding runs (the return address is in a landing
 * pad, often in the function's cold part), in a catch handler, in a catch handler after a rethrow. Argument
 * "terminate": the process dies of an exception that nobody catches.
 */
#include "truth.h"

#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace tc
{

static int group_destructor, group_catch, group_rethrow, group_crash;
static std::mutex held;

struct Parks {
    TC_FRAME ~Parks()
    {
        truth_arrive(group_destructor);
        held.lock();
        TC_KEEP();
    }
};

TC_FRAME void throw_something(int depth)
{
    if (depth > 0)
        throw_something(depth - 1);
    else
        throw std::runtime_error("test");
    TC_KEEP();
}

TC_FRAME void destroys()
{
    Parks parks;

    throw_something(3);
    TC_KEEP();
}

TC_FRAME void in_destructor()
{
    try {
        destroys();
    } catch (const std::exception &) {
        TC_KEEP();
    }
}

TC_FRAME void park_in_catch(int group)
{
    truth_arrive(group);
    held.lock();
    TC_KEEP();
}

TC_FRAME void in_catch()
{
    try {
        throw_something(2);
    } catch (const std::exception &) {
        park_in_catch(group_catch);
    }
    TC_KEEP();
}

TC_FRAME void rethrows()
{
    try {
        throw_something(1);
    } catch (const std::runtime_error &) {
        throw;
    }
    TC_KEEP();
}

TC_FRAME void in_rethrow()
{
    try {
        rethrows();
    } catch (const std::exception &) {
        park_in_catch(group_rethrow);
    }
    TC_KEEP();
}

TC_FRAME void throw_for_good()
{
    throw std::logic_error("nobody catches this");
}

TC_FRAME void dies()
{
    group_crash = truth_group("crash", 1, "tc::throw_for_good|tc::dies|main", NULL);
    truth_arrive(group_crash);
    truth_write(SIGABRT, group_crash);
    throw_for_good();
    TC_KEEP();
}

static std::vector<std::thread> threads;

static void start(int count, void (*run)())
{
    for (int i = 0; i < count; i++)
        threads.emplace_back(run);
}

} // namespace tc

int main(int argc, char **argv)
{
    using namespace tc;

    held.lock();
    group_destructor =
        truth_group("in a destructor", 3, "tc::Parks::~Parks|tc::destroys|tc::in_destructor", ".*lock.*|.*futex.*");
    group_catch = truth_group("in a catch handler", 2, "tc::park_in_catch|tc::in_catch", ".*lock.*|.*futex.*");
    group_rethrow = truth_group("after a rethrow", 2, "tc::park_in_catch|tc::in_rethrow", ".*lock.*|.*futex.*");
    start(3, in_destructor);
    start(2, in_catch);
    start(2, in_rethrow);
    if (argc > 1 && !strcmp(argv[1], "terminate"))
        dies();
    truth_end();
    TC_KEEP();
    return 0;
}
