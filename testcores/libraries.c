/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads whose stacks pass through shared libraries: one with everything in it, one whose symbols are in a
 * .gnu_debuglink file, one with .gnu_debugdata, one stripped (only its exported function has a name: "?" is the other),
 * one opened by dlopen. The dlopen'ed one's path is argument 1.
 */
#include "parking.h"

#include <dlfcn.h>

typedef void callback(void *);
typedef void library(callback *call, void *argument);

library tc_plain_exported, tc_debuglink_exported, tc_debugdata_exported, tc_stripped_exported;

struct part {
    library *call;
    int group;
};

static int pipe_end;

static TC_FRAME void tc_park_read(void *argument)
{
    parking_read(*(int *)argument, pipe_end);
    TC_KEEP();
}

static void *tc_library_thread(void *argument)
{
    struct part *part = argument;

    part->call(tc_park_read, &part->group);
    TC_KEEP();
    return NULL;
}

#define FRAMES(name) "tc_park_read|" name "_hidden|" name "_exported|tc_library_thread"

int main(int argc, char **argv)
{
    static struct part parts[5] = {{tc_plain_exported, 0},
                                   {tc_debuglink_exported, 0},
                                   {tc_debugdata_exported, 0},
                                   {tc_stripped_exported, 0},
                                   {NULL, 0}};
    void *opened = dlopen(argc > 1 ? argv[1] : "./libtc_opened.so", RTLD_NOW);

    pipe_end = parking_pipe();
    if (!opened)
        truth_fail(dlerror());
    *(void **)&parts[4].call = dlsym(opened, "tc_opened_exported");
    if (!parts[4].call)
        truth_fail(dlerror());
    parts[0].group = truth_group("library", 2, FRAMES("tc_plain"), ".*read.*");
    parts[1].group = truth_group("library with .gnu_debuglink", 2, FRAMES("tc_debuglink"), ".*read.*");
    parts[2].group = truth_group("library with .gnu_debugdata", 2, FRAMES("tc_debugdata"), ".*read.*");
    parts[3].group =
        truth_group("stripped library", 2, "tc_park_read|?|tc_stripped_exported|tc_library_thread", ".*read.*");
    parts[4].group = truth_group("opened library", 2, FRAMES("tc_opened"), ".*read.*");
    for (int i = 0; i < 5; i++)
        parking_threads(2, tc_library_thread, &parts[i]);
    truth_end();
    TC_KEEP();
    return 0;
}
