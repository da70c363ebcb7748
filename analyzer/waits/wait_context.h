/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers of waits share: the target, its threads by their ids, what stacks say, and the facts so far. */
#ifndef SG_WAITS_WAIT_CONTEXT_H
#define SG_WAITS_WAIT_CONTEXT_H

#include "waits/wait_build.h"
#include "waits/wait_call.h"
#include "waits/wait_facts.h"
#include "waits/wait_threads.h"

struct wait_context {
    const struct image *image;
    struct snapshot *snapshot;
    const struct data_names *names; /* NULL: none */
    struct arena *scratch;
    struct wait_threads threads;
    struct wait_calls calls;
    struct wait_build build;
    uint64_t unreadable;                  /* locks whose bytes are not at hand */
    const struct blocking_call *last_row; /* that wait_descriptor.c found last, NULL none */
};

/* A thread's wait on a futex word. */
struct futex_wait {
    uint32_t member;
    enum wait_call call;
    uint64_t word;     /* its address */
    uint32_t expected; /* what the word held when the wait began */
    uint8_t operation; /* FUTEX_WAIT … without its modifiers */
    bool is_private;   /* FUTEX_PRIVATE_FLAG */
};

/* What a word belongs to. */
struct futex_object {
    uint32_t resource; /* in the build */
    bool exclusive;
};

static inline struct resource *wait_context_resource(struct wait_context *context, uint32_t number)
{
    return &context->build.resources[number];
}

/* The thing of that kind at that address, with the name of the data there. */
uint32_t wait_context_object(struct wait_context *context, enum wait_kind kind, uint64_t address, enum learnt learnt,
                             bool *ret_is_new);

/* That a thread with this id in the target's memory has the resource: a hold, or why there is none. `is_shared`: the
 * id may be another process's. Not for id 0. */
void wait_context_own(struct wait_context *context, uint32_t resource, uint32_t id, bool is_shared);

/* False when any of the `count` words at the address is missing. */
bool wait_context_words(const struct wait_context *context, uint64_t address, uint32_t *ret_words, size_t count);

/* The lock's bytes are not at hand: its holder stays unknown. */
void wait_context_unreadable(struct wait_context *context, uint32_t resource);

#endif
