/* SPDX-License-Identifier: Apache-2.0 */
/* What a finding may ask of a program whose code and memory are still at hand: too much to be read for every stack, and
 * needed for the few places that a verdict is about. Answers are facts; what they prove is the asker's to say. A dump
 * of text has nobody to ask. */
#ifndef SG_MODEL_PROGRAM_H
#define SG_MODEL_PROGRAM_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

/* A direct call in a function's code. */
struct program_call {
    /* What is called: first the function that stands in the source, then those inlined there, last the one that is
     * really called; of each as in struct frame. */
    const struct text *names;
    size_t name_count;
    uint32_t line; /* of the function itself; 0 unknown */
    uint64_t pc;
    uint64_t target; /* where the last of them begins */
    bool is_before;  /* the asker's own call: on an earlier line, or at a lower address where lines do not tell */
};

/* A struct that counts what it lends. */
struct program_pool {
    uint64_t address;
    uint64_t size, in_use;
    bool is_late; /* read of a live target after its stop */
};

struct program_pool_question {
    const char *type;         /* "redis.Pool": package's last part and type */
    struct text size, in_use; /* names of fields */
    uint32_t member;          /* whose frames know the pool … */
    uint32_t step;            /* … up to this one, from the leaf */
};

/* Who knows a thing that members wait for, apart from these. */
struct program_knower {
    uint64_t address;
    uint64_t stacks;                    /* words on other members' stacks and in registers … */
    uint32_t member;                    /* … of this one and maybe others; UINT32_MAX: none */
    uint64_t variables, first_variable; /* words among the program's variables, the first one's address */
    uint64_t heap; /* words elsewhere, left-over ones too; the runtime's records of waits are no such */
};

enum program_heap {
    PROGRAM_HEAP_SEARCHED,
    PROGRAM_HEAP_MISSING,   /* not at hand, as of a live process */
    PROGRAM_HEAP_TOO_LARGE, /* limit_go_heap_bytes */
};

/* A member that nobody can wake and that knows what another such one waits for. */
struct program_link {
    uint32_t member;
    uint64_t start, end; /* the object that this is in */
};

/* Who waits for what nothing can come to any more that could still run: no other member, variable, or thing on the
 * heap that these lead to. */
struct program_stuck {
    bool is_too_much;       /* it was not looked for, as it would take long: only where one rule is asked for */
    const uint8_t *members; /* by member: 1 is so */
    const struct program_link *links; /* by start, then member */
    size_t link_count;
    bool links_are_all; /* false: not all members were looked at */
};

/* A pool whose things lead to it. */
struct program_lender {
    uint64_t address;
    uint64_t size, in_use;
    uint64_t existing, held; /* things of its; … that somebody holds: something leads to them without the pool */
    uint64_t waiters;        /* of the members asked about, those whose stacks know the pool */
};

struct program_lender_question {
    const char *lent;         /* "sql.driverConn": the things … */
    struct text field;        /* … "db", which leads to the pool … */
    const char *type;         /* … a "sql.DB" … */
    struct text size, in_use; /* … with these fields */
    const uint32_t *members;
    size_t member_count;
};

struct program {
    void *context;
    /* Direct calls of the function that the snapshot's location is in, by address; NULL: its code is not at hand. */
    const struct program_call *(*calls)(void *context, uint32_t location, size_t *ret_count);
    /* How many calls stand before it of which the code does not tell whom they call, through interfaces and functions'
     * values; false: not known. */
    bool (*unseen_calls)(void *context, uint32_t location, size_t *ret_count);
    /* … of the function that begins at an address; none of them is_before. */
    const struct program_call *(*calls_of)(void *context, uint64_t target, size_t *ret_count);
    /* Where the function begins that the location's code is of; 0 unknown. */
    uint64_t (*function_of)(void *context, uint32_t location);
    /* Pools that the frames of a member point to and whose counters make sense; at most `count_max`. */
    size_t (*pools)(void *context, const struct program_pool_question *question, struct program_pool *ret_pools,
                    size_t count_max);
    /* Which of the words, at most 64, stand in the frames of a member up to a step: a bit for each. */
    uint64_t (*frames_have)(void *context, uint32_t member, uint32_t step, const uint64_t *words, size_t count);
    /* Whether all memory could be searched, and how many bytes that would be. */
    enum program_heap (*heap)(void *context, uint64_t *ret_bytes);
    /* Fills in all but the addresses, which rise. One pass over the memory, however many they are. */
    enum program_heap (*knowers)(void *context, struct program_knower *knowers, size_t count);
    /* NULL: not known, as of a live process, or of one whose memory is too much for that. Found when first asked. */
    const struct program_stuck *(*stuck)(void *context);
    /* Pools that things of a type lead to and some of the members wait for; at most `count_max`. 0 also where the memory at
     * hand does not tell. */
    size_t (*lenders)(void *context, const struct program_lender_question *question, struct program_lender *ret_lenders,
                      size_t count_max);
    /* Whether the frame of a member's step leads to an address: a word of it points to a thing that has the address, or
     * that has a pointer to one that has. Of a live target things on the heap are not at hand: *ret_is_known is false
     * then. */
    bool (*frame_leads_to)(void *context, uint32_t member, uint32_t step, uint64_t address, bool *ret_is_known);
};

#endif
