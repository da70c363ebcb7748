/* SPDX-License-Identifier: Apache-2.0 */
/* What a detector is given and what it may use. One row a detector: detect.c holds the table. */
#ifndef SG_DETECT_DETECTOR_H
#define SG_DETECT_DETECTOR_H

#include "detect/detect.h"

struct detection; /* one run over one snapshot: caches of matches, shared by all rules */
struct compiled_rule;

struct detector {
    enum rule_detector kind;
    const char *name; /* "lock-cycle" */
    /* Once a rule, rules with narrower conditions first. */
    void (*run)(struct detection *detection, const struct compiled_rule *rule);
    /* After all of them; NULL: nothing is left to be said then. */
    void (*finish)(struct detection *detection);
};

extern const struct detector detector_count, detector_lock_cycle, detector_lock_queue, detector_stuck, detector_channel, detector_pool,
    detector_leak, detector_descriptors;

const struct snapshot *detection_snapshot(const struct detection *detection);
const struct grouping *detection_grouping(const struct detection *detection);
/* The program, as long as it can be asked; NULL: it cannot, as of dumps of text. */
const struct program *detection_program(const struct detection *detection);
struct arena *detection_arena(struct detection *detection);   /* of findings */
struct arena *detection_scratch(struct detection *detection); /* until the run ends */
/* Tells of what was not done, once, however many rules meet it. */
void detection_note(struct detection *detection, const char *code, const char *text);
const struct rule *compiled_rule_source(const struct compiled_rule *rule);

/* What a detector keeps between its rules; NULL at first, the memory is scratch. */
void **detection_slot(struct detection *detection, enum rule_detector kind);

/* What the conditions caught in one stack: named groups of the expressions. */
struct capture {
    const char *name;
    struct text value;
};

/* Whether rule->match holds for the member: its stack is matched once, whoever stands in it. */
bool detection_member_matches(struct detection *detection, const struct compiled_rule *rule, uint32_t member);
/* All members for which it holds: `ret_count` indices, rising. Where few do, much cheaper than asking for each. */
const uint32_t *detection_matching_members(struct detection *detection, const struct compiled_rule *rule,
                                           size_t *ret_count);
/* … rule->head. */
bool detection_head_matches(struct detection *detection, const struct compiled_rule *rule, uint32_t member);
/* Of the stack of a member that matches, by match, acquire and hold; `ret_count` of them, may be 0. */
const struct capture *detection_captures(struct detection *detection, const struct compiled_rule *rule, uint32_t stack,
                                         size_t *ret_count);

enum rule_list { RULE_LIST_ACQUIRE, RULE_LIST_HOLD, RULE_LIST_CREATES, RULE_LIST_KEEPS, RULE_LIST_NONE, RULE_LIST_LESS };
/* Whether any expression of that list of the rule matches this frame; each is tried once per distinct name. */
bool detection_frame_matches(struct detection *detection, const struct compiled_rule *rule, enum rule_list list,
                             uint32_t frame, uint32_t location);
/* … this name of a function, which need not be on any stack; tried anew each time. */
bool detection_name_matches_list(struct detection *detection, const struct compiled_rule *rule, enum rule_list list,
                                 struct text name);
/* … any frame of the snapshot: where none does, no stack has to be looked at. */
bool detection_any_frame_matches(struct detection *detection, const struct compiled_rule *rule, enum rule_list list);
/* Whether rule->match.state is given and matches the name of a state that is no member's: a socket's. */
bool detection_state_matches(struct detection *detection, const struct compiled_rule *rule, struct text state);

/* The calls of a stack, leaf first; made once per stack. */
const struct stack_frame *detection_frames(struct detection *detection, uint32_t stack, size_t *ret_count);
/* How many of them, from the leaf on, are waiting machinery (futex, gopark, libc's wait internals). */
size_t detection_machinery(struct detection *detection, uint32_t stack);
/* "f at file.c:12" of the first call outside that machinery, a string of the arena; "" unknown. */
struct text detection_call_site(struct detection *detection, uint32_t stack);
/* "thread 4711", with its name where it has one; "goroutine 12". */
struct text detection_member_text(struct detection *detection, uint32_t member);
/* "mutex 0x5580c0 (orders_lock)". */
struct text detection_resource_text(struct detection *detection, uint32_t resource);

/* "1,204" */
const char *detection_count_text(struct detection *detection, uint64_t count);
/* "threads" or "goroutines". */
const char *detection_members_word(const struct detection *detection, uint64_t count);

/* A new finding with the rule's id, severity, advice and runbook filled in. Valid until the next one is added. */
struct finding *detection_add(struct detection *detection, const struct compiled_rule *rule);
/* Appends to it. */
void detection_add_evidence(struct detection *detection, struct finding *finding, const char *format, ...)
    __attribute__((format(printf, 3, 4), nonnull(3)));
void detection_add_key(struct detection *detection, struct finding *finding, const char *name, struct text value);
/* Adds the member's group, or raises its count, under this role. */
void detection_add_member(struct detection *detection, struct finding *finding, uint32_t member, const char *role);
void detection_add_edge(struct detection *detection, struct finding *finding, struct finding_edge edge);
/* Fills in the title: the rule's own with {name} replaced by the finding's keys and {members}, or `otherwise` (same
 * placeholders) when the rule has none. Last, as it uses the keys. */
void detection_set_title(struct detection *detection, struct finding *finding, const struct compiled_rule *rule,
                         const char *otherwise);

#endif
