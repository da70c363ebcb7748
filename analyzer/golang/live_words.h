/* SPDX-License-Identifier: Apache-2.0 */
/* Which words of a parked goroutine's frames the collector takes for pointers: the compiler's maps of what is alive at
 * a call (runtime/stkframe.go, getStackMap; funcdata 0 and 1, pcdata 1). What a frame has besides is left over from
 * others that used the stack before. */
#ifndef SG_GOLANG_LIVE_WORDS_H
#define SG_GOLANG_LIVE_WORDS_H

#include "golang/goroutine_frames.h"

/* What is alive at one pc, the same in all frames that stand there. */
struct go_live_words {
    uint64_t pc;
    bool is_made, is_known;
    bool is_odd;                          /* what its frames have alive is not told by the pc alone */
    const uint8_t *locals, *arguments;    /* bits by word, NULL: none is a pointer */
    uint32_t local_count, argument_count; /* words; of locals those that end at the frame's variables' end */
    const uint8_t *objects;               /* variables whose addresses are taken: records of offset and size */
    uint32_t object_count;
    bool has_frame;
};

enum { go_live_slots = 1024 };

struct go_live_reader {
    const struct go_runtime *runtime;
    struct go_live_words slots[go_live_slots]; /* by pc */
};

/* Runs of words, from `start` up to `end`, which may be pointers. */
typedef void go_live_visitor(void *context, uint64_t start, uint64_t end);

/* Of a goroutine that waits in a call, not of one that was interrupted or panics. False: its frames could not be
 * followed, nothing was visited and any word may be a pointer. */
bool go_live_words_visit(struct go_live_reader *reader, uint64_t pc, uint64_t sp, uint64_t stack_high,
                         go_live_visitor *visit, void *context);

#endif
