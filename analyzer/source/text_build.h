/* SPDX-License-Identifier: Apache-2.0 */
/* Puts a snapshot together from what a text says, stack by stack: the common part of the readers of texts. */
#ifndef SG_SOURCE_TEXT_BUILD_H
#define SG_SOURCE_TEXT_BUILD_H

#include "base/diagnostics.h"
#include "model/snapshot.h"

struct text_build {
    struct snapshot *snapshot;
    struct arena *keep, *scratch;
    struct diagnostics *diagnostics;
    struct intern_table location_keys; /* number - 1 is the location */
    struct intern_table stack_keys;    /* number - 1 is the stack */
    struct told *told;
    size_t member_capacity, thread_capacity;
    /* The stack under way, leaf first: pairs of a location and its trust. */
    uint32_t *steps;
    size_t step_count, step_capacity;
    uint64_t frames_over; /* frames left out because of limit_frames */
};

void text_build_init(struct text_build *build, struct snapshot *snapshot, struct arena *keep, struct arena *scratch,
                     struct diagnostics *diagnostics);

uint32_t text_build_string(struct text_build *build, struct text text);

/* A location told by a text; `frames` may be none: one without a name is made. */
struct text_location {
    uint64_t pc; /* a return address; 0: the text tells none, it gets a number */
    uint64_t offset; /* of the address in the call, from its function's start; 0: not told */
    uint32_t module; /* into snapshot.modules, index_none */
    uint32_t frame_count;
    bool is_hidden;
};
uint32_t text_build_location(struct text_build *build, const struct text_location *told, const struct frame *frames);

/* Appends to the stack under way. */
void text_build_step(struct text_build *build, uint32_t location, enum frame_trust trust);

/* The stack under way, found or added; another one begins. */
uint32_t text_build_stack(struct text_build *build, enum stack_end end, uint64_t end_address, uint32_t labels);

/* Valid until the next one is added. */
struct member *text_build_member(struct text_build *build, uint32_t stack, uint64_t count);

/* Of the member that was added last; valid as long. */
struct member_thread *text_build_thread(struct text_build *build);

void text_build_told_call(struct text_build *build, struct told_call call);

/* Total, and what is said of the whole. */
void text_build_finish(struct text_build *build);

/* Lines that were no part of any dump, as one note. */
void text_build_junk(struct text_build *build, uint64_t lines, size_t first_offset);

#endif
