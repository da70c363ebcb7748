/* SPDX-License-Identifier: Apache-2.0 */
/* What the code and the memory of a program tell of a pool: which functions take from it before they call on, and the
 * pool's own counters. Fills struct pool_facts. */
#ifndef SG_DETECT_POOL_PROGRAM_H
#define SG_DETECT_POOL_PROGRAM_H

#include "detect/pool_callers.h"
#include "model/program.h"

struct pool_program {
    struct detection *detection;
    const struct compiled_rule *rule;
    const struct program *program;
    /* Told apart by their memory, those that most waiters were seen to wait for first; may be none. */
    struct program_pool objects[16]; /* limit_pool_objects */
    size_t object_count;
    struct intern_table names, callees; /* what was asked before: of names, and of functions by address and package */
    struct intern_table packages;       /* of pools */
    uint8_t *roles, *keeping;           /* answers + 1, by their numbers */
    size_t role_capacity, keeping_capacity;
};

/* NULL: there is nobody to ask. */
struct pool_program *pool_program_new(struct detection *detection, const struct compiled_rule *rule);

/* As pool_facts.acquires_before; `context` is the struct pool_program. */
enum pool_answer pool_program_acquires_before(void *context, const struct pool_entry *entry, struct stack_frame frame);

/* Looks for the pools that these members' frames know, of the type whose method `acquire` is and with the fields that
 * the rule names: "redis.(*Pool).Get". `step_of` gives the step of a member's outermost frame inside acquire. */
struct pool_waiter {
    uint32_t member, step;
};
void pool_program_find_objects(struct pool_program *program, struct text acquire, const struct pool_waiter *waiters,
                               size_t count);

/* Which of the objects the member's frames know; index_none: none, or several. */
uint32_t pool_program_object_of(const struct pool_program *program, struct pool_waiter waiter);

#endif
