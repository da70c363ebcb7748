/* SPDX-License-Identifier: Apache-2.0 */
/* What a text dump says of waits beyond its stacks, as it stands there: kept by the reader of texts, made facts of
 * (model/wait.h) by waits/wait_dump. */
#ifndef SG_MODEL_TOLD_H
#define SG_MODEL_TOLD_H

#include "base/text.h"

#include <stdint.h>

enum { told_arguments_max = 3 };

/* A call of a waiting function with its arguments: "sync.(*Mutex).Lock(0xc0000b4010)". */
struct told_call {
    uint32_t member;   /* into snapshot.members */
    uint32_t function; /* string */
    uint64_t arguments[told_arguments_max];
    uint8_t argument_count;
    uint8_t uncertain; /* bit i: arguments[i] has a "?", its register may have been used anew */
};

/* A "# waits:" line of stackgroup's own text, for some or all members of a group. */
struct told_wait {
    uint32_t member_first, member_count; /* the group's, into snapshot.members */
    struct text text;                    /* what follows "# waits: " */
};

struct told {
    struct told_call *calls; /* by member, leaf first */
    size_t call_count, call_capacity;
    struct told_wait *waits; /* in the text's order */
    size_t wait_count, wait_capacity;
};

#endif
