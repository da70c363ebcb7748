/* SPDX-License-Identifier: Apache-2.0 */
/* The deferred calls that a goroutine has still to make: those in its list (g._defer), and those that the compiler put
 * into a function's code, of which a byte in the frame tells which were reached (runtime/panic.go, from Go 1.17 on;
 * before, arguments lay beside them in another way). */
#ifndef SG_GOLANG_PENDING_DEFERS_H
#define SG_GOLANG_PENDING_DEFERS_H

#include "golang/goroutine_frames.h"

enum { pending_captures = 4 };

struct pending_defer {
    uint64_t function;                   /* entry of what will be called */
    uint64_t captures[pending_captures]; /* words behind it: what a closure was given, as far as it was given so many */
    uint64_t sp;                         /* of the frame that it belongs to */
};

/* Where a function keeps those that are in its code; the same for all its frames. */
struct open_defers {
    uint32_t bits;     /* how far below the frame's variables' end the byte lies */
    uint32_t slots[8]; /* … and each closure's pointer */
    unsigned count;    /* 0: it has none */
};

struct open_defers open_defers_of(const struct go_runtime *runtime, uint64_t pc);

/* Of one frame, those that were reached; at most 8. */
size_t open_defers_read(const struct go_runtime *runtime, const struct open_defers *defers,
                        const struct goroutine_frame *frame, struct pending_defer *ret_defers);

/* The goroutine's list, the last first; at most `count_max`. */
size_t pending_defers_read(const struct go_runtime *runtime, uint64_t goroutine, struct pending_defer *ret_defers,
                           size_t count_max);

#endif
