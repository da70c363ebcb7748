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
    uint32_t member_first, member_count; /* into places.members */
};

struct places {
    struct place *entries; /* by members, descending */
    size_t count;
    uint32_t *members; /* of each place in their order */
};

/* The places that are worth telling of the members that the rule's conditions hold for and `wanted`, which may be NULL:
 * with enough members for the rule, or for `at_least` and `share_permille` where it does not say, and most of them not
 * yet spoken of. `by_start`: those that began with different functions are in different places, also where they stand in
 * the same call (readers of all kinds of connections). `resource_of` may be NULL, or give index_none. Members whose
 * stacks name no function are in no place. */
struct places *places_read(struct detection *detection, const struct compiled_rule *rule, bool by_start,
                           uint64_t at_least, uint32_t share_permille,
                           bool (*wanted)(const struct snapshot *snapshot, const struct member *member),
                           uint32_t (*resource_of)(const struct snapshot *snapshot, const struct member *member));

/* Adds the members, claims them, and adds the keys members, share, place, function, creator and those of the rule's
 * captures; sums the members' circumstances up. */
void place_tell(struct detection *detection, const struct compiled_rule *rule, const struct places *places,
                size_t number, struct finding *finding, const char *role, struct circumstances *circumstances);

/* Whether the rule says anything about the members that it is for. */
bool rule_has_conditions(const struct rule *rule);

#endif
