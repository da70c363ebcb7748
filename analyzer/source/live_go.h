/* SPDX-License-Identifier: Apache-2.0 */
/* The goroutines of a live process. Before it is stopped: the runtime is found, its goroutines are listed, and all that
 * a reader will ask for is planned and copied once, which also pages in the places. In the stop the same is copied
 * again, and what has changed since then: new goroutines, stacks that grew or moved, other channels. So the stop costs
 * little more than the bytes; what is reported is of the stop's instant alone.
 *
 * What is copied: runtime.allgs, the g's, each parked goroutine's stack from its sp on, the m's of those that run or
 * are in system calls, sudogs and the channels they wait for, the trees of runtime.semtable and the locks waited for,
 * the program's data and bss. What never changes while a program runs (tables, names, data without pointers) is copied before.
 *
 * Where the target is not stopped at one instant (--rolling, --no-stop) everything is copied while it runs, and then
 * each goroutine's record, stack and record once more are read by one call. One of which any differs from the copy has
 * moved: it keeps its id and state and is told without a stack, as the runtime itself marks one that runs (sched.sp is
 * 0). */
#ifndef SG_SOURCE_LIVE_GO_H
#define SG_SOURCE_LIVE_GO_H

#include "base/diagnostics.h"
#include "golang/go_runtime.h"

#include <stdatomic.h>

struct live_go;

struct live_go_target {
    uint32_t tid;     /* a thread that has memory */
    int memory_fd;    /* /proc/PID/mem, open until live_go_close */
    bool is_stopped;  /* live_go_copy is called in a stop of all threads */
    bool to_be_saved; /* fewer and larger pieces: each becomes a segment */
};

/* NULL: no Go program, or its goroutines are not to be found. Opens the files of modules that may be Go's. */
struct live_go *live_go_find(const struct live_go_target *target, struct image *image, struct module_files *files,
                             struct arena *arena);
void live_go_close(struct live_go *go);

/* What was planned, and what changed since. `deadline` and `let_go` as in live_pieces.h; what it cuts off is told by live_go_take.
 * Small things that turn out to be needed go to `arena`. */
void live_go_copy(struct live_go *go, uint64_t deadline, const atomic_bool *let_go, struct arena *arena);

/* Where the goroutine's or the runtime's stack ends that a thread stands on; 0: on none of theirs. `thread_pointer` as
 * arch->thread_pointer. */
uint64_t live_go_stack_end(const struct live_go *go, uint64_t sp, uint64_t thread_pointer);

/* Appends the copies to the image's unfrozen memory. The runtime then reads them: live_go_runtime. */
void live_go_take(struct live_go *go, struct image *image, struct diagnostics *diagnostics);
const struct go_runtime *live_go_runtime(const struct live_go *go);

#endif
