/* SPDX-License-Identifier: Apache-2.0 */
/* Where the frames of one parked goroutine lie in its stack: by the frame sizes of pclntab and the return addresses,
 * for questions about what stands in them. Its stack is told elsewhere (unwind/); this walks plain Go code and nothing
 * else. */
#ifndef SG_GOLANG_GOROUTINE_FRAMES_H
#define SG_GOLANG_GOROUTINE_FRAMES_H

#include "golang/goroutines.h"

/* A real call: those that are inlined have none. */
struct goroutine_frame {
    uint64_t pc;      /* exact at the leaf, else a return address */
    uint64_t sp, end; /* its words: from the stack pointer up to what it was called with */
};

/* At most `count_max`, leaf first; returns how many. 0: it runs, or its stack is not at hand. */
size_t goroutine_frames_read(const struct go_runtime *runtime, uint64_t pc, uint64_t sp, uint64_t stack_high,
                             struct goroutine_frame *ret_frames, size_t count_max);

#endif
