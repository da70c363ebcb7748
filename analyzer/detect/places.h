/* SPDX-License-Identifier: Apache-2.0 */
/* Members counted by the place that they stand in: a call site, a channel, or what the rule's `by` says. */
#ifndef SG_DETECT_PLACES_H
#define SG_DETECT_PLACES_H

#include "detect/wording.h"

struct place {
    uint64_t members;
    uint64_t claimed; /* of these, those that an earlier finding has spoken of */
    uint32_t first_member;
    uint32_t resource;        /* the channel; index_none: told apart by the call site */
    struct stack_frame frame; /* of the first member, outside the waiting machinery */
    uint32_t start;           /* string: the function that they began with; 0: several, or unknown */
    size_t unnamed_count;     /* calls in front of `frame` of which the source tells no name */
    struct circumstances circumstances; /* once it is told */
};

struct places {
    struct place *entries; /* by members, descending */
    size_t count, capacity;
    uint32_t *place_of_member; /* by member: into entries; index_none: not counted */
};

/* Counts the members that the rule's conditions hold for and `wanted`, which may be NULL. `by_start`: those that began
 * with different functions are in different places, also where they stand in the same call (readers of all kinds of
 * connections). `resource_of` may be NULL, or give index_none. Members whose stacks name no function are in no place.
 */
struct places *places_read(struct detection *detection, const struct compiled_rule *rule, bool by_start,
                           bool (*wanted)(const struct snapshot *snapshot, const struct member *member),
                           uint32_t (*resource_of)(const struct snapshot *snapshot, const struct member *member));

/* Whether it has enough members for the rule, or for what holds where the rule does not say; and most of them are not
 * yet spoken of. */
bool place_is_worth_telling(struct detection *detection, const struct compiled_rule *rule, const struct place *place,
                            uint64_t at_least, uint32_t share_permille);

/* Adds the members, claims them, and adds the keys members, share, place, function, creator and those of the rule's
 * captures. */
void place_tell(struct detection *detection, const struct compiled_rule *rule, const struct places *places,
                size_t number, struct finding *finding, const char *role);

/* Whether the rule says anything about the members that it is for. */
bool rule_has_conditions(const struct rule *rule);

#endif
