/* SPDX-License-Identifier: Apache-2.0 */
/* One run of the rules over one snapshot: what was matched is kept by name and by stack, so that a rule costs by distinct
 * names and stacks and not by members. Behind detector.h's functions. */
#ifndef SG_DETECT_DETECTION_H
#define SG_DETECT_DETECTION_H

#include "detect/detector.h"
#include "detect/rule_set.h"

struct stack_facts {
    struct stack_frame *frames; /* NULL until asked for */
    size_t frame_count;
    size_t machinery;           /* leading frames */
    size_t root;                /* frames without machinery that stands outermost (goexit) */
    struct text call_site;
    bool has_frames, has_machinery, has_call_site;
};

/* Of one match block over all stacks. */
struct match_results {
    uint8_t *stacks; /* by stack: enum stack_result; NULL until asked for */
    uint32_t *members; /* indices, rising */
    size_t member_count;
    bool has_members;
};

enum stack_result { STACK_NOT_TRIED, STACK_FAILS, STACK_MATCHES };

struct capture_list {
    struct capture *items;
    size_t count;
    bool is_made;
};

struct detection {
    struct rule_set *set;
    const struct snapshot *snapshot;
    const struct grouping *grouping;
    const struct program *program; /* may be NULL */
    struct arena *arena, *scratch;
    struct diagnostics *diagnostics;
    struct name_table names[NAME_KIND_COUNT];
    struct name_matches *matches;          /* by pattern */
    uint64_t *machinery_functions;         /* a bit a function name; union of all plugins' */
    bool has_machinery;
    struct stack_facts *stacks;
    uint32_t *stack_of_member; /* NULL until asked for */
    uint32_t *members_of_stack; /* made with it: how many stand in each */
    struct match_results *results, *head_results; /* by rule */
    struct capture_list **captures;        /* by rule, by stack; NULL until asked for */
    void *slots[RULE_DETECTOR_COUNT];
    struct findings findings;
    /* Of the finding that was added last. */
    size_t evidence_capacity, group_capacity, edge_capacity, key_capacity;
    uint32_t *group_entries; /* by group: the last entry of it, from 1 */
    uint32_t *group_stamps;  /* … of which finding, its number from 1 */
};

void detection_init(struct detection *detection);

/* Which names the pattern matches: tried when first asked. */
const struct name_matches *detection_name_matches(struct detection *detection, uint32_t pattern);
/* Whether the pattern matches this frame's name, file or module. */
bool detection_pattern_matches(struct detection *detection, uint32_t pattern, const struct stack_frame *frame);
/* … this string of the snapshot: of states and creators. */
bool detection_pattern_matches_string(struct detection *detection, uint32_t pattern, uint32_t string);

/* One past the outermost frame that is no machinery. */
size_t detection_root(struct detection *detection, uint32_t stack);

/* rule_match.c: whether the stack alone does what the match asks of stacks. */
bool match_stack(struct detection *detection, const struct compiled_match *match, uint32_t stack);
/* … and the member what it asks of members. */
bool match_member(struct detection *detection, const struct compiled_match *match, uint32_t member);
/* Whether the rule is for members of this snapshot's kind. */
bool match_kind(const struct detection *detection, const struct compiled_rule *rule);
/* The frames that items of `stack` match, by item; false: they do not. `ret_matched`: how many items do at most. */
bool match_sequence(struct detection *detection, const struct compiled_patterns *patterns, uint32_t stack,
                    uint32_t *ret_frames, size_t *ret_matched);

#endif
