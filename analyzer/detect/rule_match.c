/* SPDX-License-Identifier: Apache-2.0 */
#include "detect/detection.h"

static bool matches_any(struct detection *detection, const struct compiled_patterns *patterns,
                        const struct stack_frame *frame)
{
    for (size_t i = 0; i < patterns->count; i++)
        if (detection_pattern_matches(detection, patterns->numbers[i], frame))
            return true;
    return false;
}

static bool matches_anywhere(struct detection *detection, const struct compiled_patterns *patterns,
                             const struct stack_frame *frames, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (matches_any(detection, patterns, &frames[i]))
            return true;
    return false;
}

/* Items that follow one another at once form a chain; each chain is taken where it first fits past the last one, which
 * finds a match where there is any. */
bool match_sequence(struct detection *detection, const struct compiled_patterns *patterns, uint32_t stack,
                    uint32_t *ret_frames, size_t *ret_matched)
{
    size_t frame_count, machinery = detection_machinery(detection, stack);
    const struct stack_frame *frames = detection_frames(detection, stack, &frame_count);
    size_t at = 0, matched_most = 0;
    for (size_t item = 0; item < patterns->count;) {
        size_t length = 1;
        while (item + length < patterns->count && patterns->source[item + length].is_next)
            length++;
        bool is_anchored = item == 0 && patterns->source[0].is_next;
        if (is_anchored)
            at = machinery;
        size_t matched = 0;
        for (;; at++) {
            for (matched = 0; matched < length && at + matched < frame_count; matched++)
                if (!detection_pattern_matches(detection, patterns->numbers[item + matched], &frames[at + matched]))
                    break;
            matched_most = item + matched > matched_most ? item + matched : matched_most;
            if (matched == length || is_anchored || at >= frame_count)
                break;
        }
        *ret_matched = matched_most;
        if (matched != length)
            return false;
        for (size_t i = 0; i < length; i++)
            ret_frames[item + i] = (uint32_t)(at + i);
        at += length;
        item += length;
    }
    return true;
}

bool match_stack(struct detection *detection, const struct compiled_match *match, uint32_t stack)
{
    size_t frame_count, matched;
    const struct stack_frame *frames = detection_frames(detection, stack, &frame_count);
    uint32_t positions[64], *long_positions = positions;
    if (match->leaf.count != 0) {
        size_t leaf = detection_machinery(detection, stack);
        if (leaf >= frame_count || !matches_any(detection, &match->leaf, &frames[leaf]))
            return false;
    }
    if (match->root.count != 0) {
        size_t root = detection_root(detection, stack);
        if (root == 0 || !matches_any(detection, &match->root, &frames[root - 1]))
            return false;
    }
    if (match->any.count != 0 && !matches_anywhere(detection, &match->any, frames, frame_count))
        return false;
    if (match->none.count != 0 && matches_anywhere(detection, &match->none, frames, frame_count))
        return false;
    if (match->stack.count > sizeof positions / sizeof positions[0])
        long_positions = arena_array(detection->scratch, uint32_t, match->stack.count);
    return match->stack.count == 0 || match_sequence(detection, &match->stack, stack, long_positions, &matched);
}

bool match_member(struct detection *detection, const struct compiled_match *match, uint32_t number)
{
    const struct snapshot *snapshot = detection->snapshot;
    const struct member *member = &snapshot->members[number];
    if (match->waited_seconds != 0 && (!member->waited_known || member->waited_seconds < match->waited_seconds))
        return false;
    if (match->state.count != 0 && !detection_pattern_matches_string(detection, match->state.numbers[0], member->state))
        return false;
    if (match->creator.count != 0 &&
        !detection_pattern_matches_string(detection, match->creator.numbers[0], member->creator))
        return false;
    bool waits = match->waits_on == 0;
    for (uint32_t i = 0; i < member->wait_count && !waits; i++) {
        const struct wait *wait = &snapshot->waits[member->wait_first + i];
        waits = (match->waits_on >> snapshot->resources[wait->resource].kind & 1) != 0;
    }
    return waits;
}

bool match_kind(const struct detection *detection, const struct compiled_rule *rule)
{
    switch (detection->snapshot->kind) {
    case PROFILE_THREADS:
        return rule->source->members != RULE_FOR_GOROUTINES;
    case PROFILE_GOROUTINES:
        return rule->source->members != RULE_FOR_THREADS;
    case PROFILE_HEAP:
        return false;
    }
    return false;
}

/* False: names that the match asks for occur nowhere in the snapshot. */
static bool match_is_possible(struct detection *detection, const struct compiled_match *match)
{
    const struct compiled_patterns *all[] = {&match->leaf, &match->root, &match->state, &match->creator, &match->stack};
    bool any_occurs = match->any.count == 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        for (size_t j = 0; j < all[i]->count; j++)
            if (detection_name_matches(detection, all[i]->numbers[j])->names == NULL)
                return false;
    for (size_t i = 0; i < match->any.count && !any_occurs; i++)
        any_occurs = detection_name_matches(detection, match->any.numbers[i])->names != NULL;
    return any_occurs;
}

static bool try_stack(struct detection *detection, const struct compiled_match *match, struct match_results *results,
                      uint32_t stack)
{
    if (results->stacks == NULL)
        results->stacks = arena_alloc(detection->scratch, detection->snapshot->stack_count + 1, 1);
    uint8_t *result = &results->stacks[stack];
    if (*result == STACK_NOT_TRIED)
        *result = match_stack(detection, match, stack) ? STACK_MATCHES : STACK_FAILS;
    return *result == STACK_MATCHES;
}

static bool detection_matches(struct detection *detection, const struct compiled_rule *rule,
                              const struct compiled_match *match, struct match_results *results, uint32_t number)
{
    return match_kind(detection, rule) &&
           try_stack(detection, match, results, detection->snapshot->members[number].stack) &&
           match_member(detection, match, number);
}

bool detection_member_matches(struct detection *detection, const struct compiled_rule *rule, uint32_t member)
{
    return detection_matches(detection, rule, &rule->match, &detection->results[rule->number], member);
}

/* Each rule looks through the stacks of all members: apart from all else they are a sixteenth of the memory. */
static const uint32_t *stacks_of_members(struct detection *detection)
{
    const struct snapshot *snapshot = detection->snapshot;
    if (detection->stack_of_member == NULL) {
        detection->stack_of_member = arena_array(detection->scratch, uint32_t, snapshot->member_count + 1);
        detection->members_of_stack = arena_array(detection->scratch, uint32_t, snapshot->stack_count + 1);
        for (size_t i = 0; i < snapshot->member_count; i++) {
            detection->stack_of_member[i] = snapshot->members[i].stack;
            detection->members_of_stack[snapshot->members[i].stack]++;
        }
    }
    return detection->stack_of_member;
}

/* Room for all members of the stacks that match: of what is not used nothing becomes resident. */
static void find_members(struct detection *detection, const struct compiled_rule *rule, struct match_results *results)
{
    const struct snapshot *snapshot = detection->snapshot;
    const uint32_t *stacks = NULL;
    size_t count = 0;
    for (uint32_t i = 0; i < snapshot->stack_count; i++)
        if (try_stack(detection, &rule->match, results, i)) {
            stacks = stacks_of_members(detection);
            count += detection->members_of_stack[i];
        }
    if (count == 0)
        return;
    results->members = arena_array(detection->scratch, uint32_t, count);
    for (uint32_t i = 0; i < snapshot->member_count; i++)
        if (results->stacks[stacks[i]] == STACK_MATCHES && match_member(detection, &rule->match, i))
            results->members[results->member_count++] = i;
}

const uint32_t *detection_matching_members(struct detection *detection, const struct compiled_rule *rule,
                                           size_t *ret_count)
{
    struct match_results *results = &detection->results[rule->number];
    if (!results->has_members) {
        results->has_members = true;
        if (match_kind(detection, rule) && match_is_possible(detection, &rule->match))
            find_members(detection, rule, results);
    }
    *ret_count = results->member_count;
    return results->members;
}

bool detection_head_matches(struct detection *detection, const struct compiled_rule *rule, uint32_t member)
{
    return detection_matches(detection, rule, &rule->head, &detection->head_results[rule->number], member);
}

static const struct compiled_patterns *rule_list(const struct compiled_rule *rule, enum rule_list list)
{
    switch (list) {
    case RULE_LIST_ACQUIRE:
        return &rule->acquire;
    case RULE_LIST_KEEPS:
        return &rule->keeps;
    case RULE_LIST_HOLD:
        return &rule->hold;
    case RULE_LIST_NONE:
        return &rule->match.none;
    case RULE_LIST_LESS:
        return &rule->less;
    case RULE_LIST_CREATES:
        break;
    }
    return &rule->creates;
}

bool detection_frame_matches(struct detection *detection, const struct compiled_rule *rule, enum rule_list list,
                             uint32_t frame, uint32_t location)
{
    struct stack_frame stack_frame = {.location = location, .frame = frame};
    return matches_any(detection, rule_list(rule, list), &stack_frame);
}

bool detection_name_matches_list(struct detection *detection, const struct compiled_rule *rule, enum rule_list list,
                                 struct text name)
{
    const struct compiled_patterns *patterns = rule_list(rule, list);
    for (size_t i = 0; i < patterns->count; i++) {
        const struct compiled_pattern *pattern = &detection->set->patterns[patterns->numbers[i]];
        if (pattern->kind == NAME_FUNCTION && pattern_matches(pattern->pattern, name))
            return true;
    }
    return false;
}

bool detection_any_frame_matches(struct detection *detection, const struct compiled_rule *rule, enum rule_list list)
{
    const struct snapshot *snapshot = detection->snapshot;
    for (uint32_t i = 0; i < snapshot->location_count; i++)
        for (uint32_t j = 0; j < snapshot->locations[i].frame_count; j++)
            if (detection_frame_matches(detection, rule, list, snapshot->locations[i].frame_first + j, i))
                return true;
    return false;
}

bool detection_state_matches(struct detection *detection, const struct compiled_rule *rule, struct text state)
{
    const struct compiled_patterns *patterns = &rule->match.state;
    return patterns->count != 0 && pattern_matches(detection->set->patterns[patterns->numbers[0]].pattern, state);
}

static void add_captures(struct detection *detection, struct capture_list *list, uint32_t number,
                         const struct stack_frame *stack_frame)
{
    const struct compiled_pattern *compiled = &detection->set->patterns[number];
    size_t count = pattern_name_count(compiled->pattern);
    const struct frame *frame = &detection->snapshot->frames[stack_frame->frame];
    const struct name_table *table = &detection->names[compiled->kind];
    if (count == 0 || !detection_pattern_matches(detection, number, stack_frame))
        return;
    uint32_t string = compiled->kind == NAME_FUNCTION ? frame->function
                      : compiled->kind == NAME_FILE   ? frame->file
                                                      : detection->snapshot->locations[stack_frame->location].module;
    struct text *values = arena_array(detection->scratch, struct text, count);
    if (!pattern_captures(compiled->pattern, name_table_text(table, table->numbers[string]), values))
        return;
    struct capture *items = arena_array(detection->scratch, struct capture, list->count + count);
    for (size_t i = 0; i < list->count; i++)
        items[i] = list->items[i];
    list->items = items;
    for (size_t i = 0; i < count; i++) {
        const char *name = pattern_name(compiled->pattern, i);
        bool is_known = values[i].data == NULL;
        for (size_t j = 0; j < list->count && !is_known; j++)
            is_known = strcmp(list->items[j].name, name) == 0;
        if (!is_known)
            list->items[list->count++] = (struct capture){name, text_copy(detection->arena, values[i])};
    }
}

/* By each pattern, of the innermost frame that it matches. */
static void add_captures_anywhere(struct detection *detection, struct capture_list *list,
                                  const struct compiled_patterns *patterns, const struct stack_frame *frames,
                                  size_t frame_count)
{
    for (size_t i = 0; i < patterns->count; i++)
        for (size_t j = 0; j < frame_count; j++)
            if (detection_pattern_matches(detection, patterns->numbers[i], &frames[j])) {
                add_captures(detection, list, patterns->numbers[i], &frames[j]);
                break;
            }
}

static void make_captures(struct detection *detection, const struct compiled_rule *rule, uint32_t stack,
                          struct capture_list *list)
{
    const struct compiled_match *match = &rule->match;
    size_t frame_count, matched;
    const struct stack_frame *frames = detection_frames(detection, stack, &frame_count);
    size_t leaf = detection_machinery(detection, stack);
    uint32_t *positions = arena_array(detection->scratch, uint32_t, match->stack.count);
    if (match->leaf.count != 0 && leaf < frame_count)
        add_captures(detection, list, match->leaf.numbers[0], &frames[leaf]);
    if (match->stack.count != 0 && match_sequence(detection, &match->stack, stack, positions, &matched))
        for (size_t i = 0; i < match->stack.count; i++)
            add_captures(detection, list, match->stack.numbers[i], &frames[positions[i]]);
    add_captures_anywhere(detection, list, &match->any, frames, frame_count);
    size_t root = detection_root(detection, stack);
    if (match->root.count != 0 && root != 0)
        add_captures(detection, list, match->root.numbers[0], &frames[root - 1]);
    add_captures_anywhere(detection, list, &rule->acquire, frames, frame_count);
    add_captures_anywhere(detection, list, &rule->hold, frames, frame_count);
}

const struct capture *detection_captures(struct detection *detection, const struct compiled_rule *rule, uint32_t stack,
                                         size_t *ret_count)
{
    *ret_count = 0;
    if (rule->capture_count == 0)
        return NULL;
    struct capture_list **lists = &detection->captures[rule->number];
    if (*lists == NULL)
        *lists = arena_array(detection->scratch, struct capture_list, detection->snapshot->stack_count);
    struct capture_list *list = &(*lists)[stack];
    if (!list->is_made) {
        list->is_made = true;
        make_captures(detection, rule, stack, list);
    }
    *ret_count = list->count;
    return list->items;
}
