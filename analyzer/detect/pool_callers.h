/* SPDX-License-Identifier: Apache-2.0 */
/* Who calls a pool's acquire, and which of those that wait in it may already hold what the others wait for: by the
 * names in the stacks alone, and by what is known beside them (struct pool_facts).
 *
 *   (*Pool).get          ┐
 *   (*Pool).Get          ├ acquire: the rule's functions, and accessors
 *   dao.getConn          ┘
 *   dao.MessageDel         the direct caller; the packages of all direct callers are the layer that takes connections
 *   dao.MessageListGet     another function of that layer: it may have taken one before it called dao.MessageDel
 *   engine.(*Client).send
 *
 * A direct caller that several functions of the layer call, and nobody else, is an accessor: it counts as part of
 * acquire. */
#ifndef SG_DETECT_POOL_CALLERS_H
#define SG_DETECT_POOL_CALLERS_H

#include "detect/detector.h"

/* A function of the program: calls of its closures and copies count as calls of it. */
struct pool_function {
    struct text name;
    uint32_t layer;  /* number; 0 unknown */
    bool is_runtime; /* starts threads or goroutines: no code of the program is below */
};

/* Functions and layers of a snapshot's frames. */
struct pool_functions {
    struct detection *detection;
    struct pool_function *entries; /* [0] is the unknown one, of layer 0 */
    size_t count, capacity;
    uint32_t *function_of_frame; /* by snapshot.frames */
    struct intern_table names;   /* function and layer: entries' numbers */
    struct intern_table layers;
};

struct pool_functions *pool_functions_read(struct detection *detection);

enum pool_nesting {
    NESTING_NONE,
    NESTING_LAYERED, /* another function of the layer comes rootwards: it may hold one */
    NESTING_ORDERED, /* a function rootwards is itself seen to call acquire, at a line before the one that it stands at
                      */
    NESTING_WORKING, /* it stands in a function that works on a pooled object */
    NESTING_CODE,    /* the code of a function rootwards calls acquire before the call that it stands in */
};

/* A stack inside acquire. */
struct pool_entry {
    uint32_t stack;
    uint64_t waiting; /* members that wait in it: those that run only pass through */
    const struct stack_frame *frames;
    size_t frame_count;
    size_t outer;   /* the outermost frame that the rule calls acquire */
    size_t caller;  /* the frame of the direct caller; frame_count: there is none */
    size_t working; /* the leafmost frame rootwards that works on a pooled object; frame_count: none */
    enum pool_nesting nesting;
    size_t holder; /* the frame that may hold one; only when nested */
};

struct pool {
    struct text name; /* the function that most of its entries called */
    struct pool_entry *entries;
    size_t count, capacity;
    uint32_t *accessors; /* functions */
    size_t accessor_count, accessor_capacity;
    /* By function: where it calls acquire itself, the first place and the last; index_none: not seen to. */
    struct stack_frame *first_calls, *last_calls;
};

/* POOL_UNSEEN: its code is known, gives nothing back, and has one call, through an interface or a function's value, that
 * may take one. POOL_DOUBTED: it gives back too, or has several such calls or none. */
enum pool_answer { POOL_UNKNOWN, POOL_YES, POOL_NO, POOL_UNSEEN, POOL_DOUBTED };

/* What more than names tells. Nothing has to be known. */
struct pool_facts {
    void *context;
    /* Whether the function of `frame` calls acquire on a way to the call that it stands in; NULL: not known. `entry`:
     * whose pool it is about, NULL: any. */
    enum pool_answer (*acquires_before)(void *context, const struct pool_entry *entry, struct stack_frame frame);
    uint64_t address;      /* of what counts them, a struct or a channel; 0 unknown */
    const char *pool_text; /* of size and in_use: "redis.Pool at 0xc000010000", where they were read; NULL: not known */
    uint64_t size, in_use; /* the pool's own counters */
    bool size_known, in_use_known;
};

/* Finds accessors and judges each entry. `facts` may be NULL. */
void pool_judge(struct pool *pool, const struct pool_functions *functions, const struct pool_facts *facts);

/* Whether `frame` stands past the places where its function calls acquire; unknown is false. */
bool pool_frame_is_past(const struct pool *pool, const struct pool_functions *functions, struct stack_frame frame);

#endif
