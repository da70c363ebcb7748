/* SPDX-License-Identifier: Apache-2.0 */
/* For authors of rules: what of a rule matched in a snapshot and what did not. */
#include "detect/detection.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct explaining {
    struct detection *detection;
    const struct compiled_rule *rule;
    const char *text;  /* lines so far */
    bool has_partial;  /* a condition holds for somebody */
};

__attribute__((format(printf, 2, 3))) static void add_line(struct explaining *explaining, const char *format, ...)
{
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    explaining->text = arena_printf(explaining->detection->arena, "%s%s%s", explaining->text,
                                    *explaining->text == 0 ? "" : "\n", line);
}

static uint64_t count_stack_members(const struct explaining *explaining, const uint8_t *stacks)
{
    const struct snapshot *snapshot = explaining->detection->snapshot;
    uint64_t members = 0;
    for (size_t i = 0; i < snapshot->member_count; i++)
        members += stacks[snapshot->members[i].stack] ? snapshot->members[i].count : 0;
    return members;
}

/* Members in whose stacks a match of these conditions alone holds. */
static uint64_t count_stacks_matching(struct explaining *explaining, const struct compiled_match *match)
{
    const struct snapshot *snapshot = explaining->detection->snapshot;
    uint8_t *stacks = arena_alloc(explaining->detection->scratch, snapshot->stack_count + 1, 1);
    for (size_t i = 0; i < snapshot->stack_count; i++)
        stacks[i] = match_stack(explaining->detection, match, (uint32_t)i);
    return count_stack_members(explaining, stacks);
}

static uint64_t count_members_matching(struct explaining *explaining, const struct compiled_match *match)
{
    const struct snapshot *snapshot = explaining->detection->snapshot;
    uint64_t members = 0;
    for (size_t i = 0; i < snapshot->member_count; i++)
        members += match_member(explaining->detection, match, (uint32_t)i) ? snapshot->members[i].count : 0;
    return members;
}

static void add_count(struct explaining *explaining, const char *what, uint64_t members)
{
    explaining->has_partial |= members != 0;
    add_line(explaining, "    %-28s %s%s %s", what, members == 0 ? "FAILS: " : "",
             detection_count_text(explaining->detection, members),
             detection_members_word(explaining->detection, members));
}

/* How far the items of `stack` come at most, and in whose stacks. */
static void explain_sequence(struct explaining *explaining, const struct compiled_patterns *patterns)
{
    static const char *const prefixes[] = {
        [RULE_FIELD_FUNCTION] = "", [RULE_FIELD_FILE] = "file:", [RULE_FIELD_MODULE] = "module:"};
    struct detection *detection = explaining->detection;
    const struct snapshot *snapshot = detection->snapshot;
    uint32_t *positions = arena_array(detection->scratch, uint32_t, patterns->count);
    size_t *reached = arena_array(detection->scratch, size_t, snapshot->stack_count + 1), most = 0;
    for (size_t i = 0; i < snapshot->stack_count; i++) {
        match_sequence(detection, patterns, (uint32_t)i, positions, &reached[i]);
        most = reached[i] > most ? reached[i] : most;
    }
    uint8_t *stacks = arena_alloc(detection->scratch, snapshot->stack_count + 1, 1);
    for (size_t i = 0; i < snapshot->stack_count; i++)
        stacks[i] = most != 0 && reached[i] == most;
    uint64_t members = count_stack_members(explaining, stacks);
    explaining->has_partial |= most != 0;
    if (most == patterns->count)
        add_line(explaining, "    %-28s %s %s", "stack", detection_count_text(detection, members),
                 detection_members_word(detection, members));
    else
        add_line(explaining, "    %-28s FAILS: item %zu of %zu, '%s%s%s', fits nowhere%s; those before it fit for %s %s",
                 "stack", most + 1, patterns->count, patterns->source[most].is_next ? "-> " : "",
                 prefixes[patterns->source[most].field], patterns->source[most].expression.data, most == 0 ? "" : " after them",
                 detection_count_text(detection, members), detection_members_word(detection, members));
}

static void explain_match(struct explaining *explaining, const struct compiled_match *match, const char *prefix)
{
    struct arena *arena = explaining->detection->scratch;
    const struct {
        const char *name;
        const struct compiled_patterns *patterns;
        struct compiled_match alone;
        bool is_of_members;
    } conditions[] = {
        {"leaf", &match->leaf, {.leaf = match->leaf}, false},
        {"any", &match->any, {.any = match->any}, false},
        {"root", &match->root, {.root = match->root}, false},
        {"state", &match->state, {.state = match->state}, true},
        {"created-by", &match->creator, {.creator = match->creator}, true},
    };
    for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++)
        if (conditions[i].patterns->count != 0)
            add_count(explaining, arena_printf(arena, "%s%s", prefix, conditions[i].name),
                      conditions[i].is_of_members ? count_members_matching(explaining, &conditions[i].alone)
                                                  : count_stacks_matching(explaining, &conditions[i].alone));
    if (match->stack.count != 0)
        explain_sequence(explaining, &match->stack);
    if (match->waits_on != 0)
        add_count(explaining, arena_printf(arena, "%swaits-on", prefix),
                  count_members_matching(explaining, &(struct compiled_match){.waits_on = match->waits_on}));
    if (match->waited_seconds != 0)
        add_count(explaining, arena_printf(arena, "%swaited", prefix),
                  count_members_matching(explaining, &(struct compiled_match){.waited_seconds = match->waited_seconds}));
    if (match->none.count != 0) {
        bool had_partial = explaining->has_partial;
        add_count(explaining, arena_printf(arena, "%snone", prefix),
                  count_stacks_matching(explaining, &(struct compiled_match){.none = match->none}));
        explaining->has_partial = had_partial; /* most stacks have none of it */
    }
}

static void explain_list(struct explaining *explaining, const char *name, const struct compiled_patterns *patterns)
{
    if (patterns->count != 0)
        add_count(explaining, name, count_stacks_matching(explaining, &(struct compiled_match){.any = *patterns}));
}

static void explain_thresholds(struct explaining *explaining)
{
    struct detection *detection = explaining->detection;
    const struct rule *rule = explaining->rule->source;
    const struct snapshot *snapshot = detection->snapshot;
    size_t count;
    uint64_t members = 0;
    const uint32_t *list = detection_matching_members(detection, explaining->rule, &count);
    for (size_t i = 0; i < count; i++)
        members += snapshot->members[list[i]].count;
    add_line(explaining, "    %-28s %s of %s %s", "all conditions", detection_count_text(detection, members),
             detection_count_text(detection, snapshot->total), detection_members_word(detection, snapshot->total));
    /* What other detectors count is not known here: waiters of one lock, members of one pool. */
    if (rule->at_least != 0 && rule->detector == RULE_COUNT)
        add_line(explaining, "    %-28s %s%s", arena_printf(detection->scratch, "at-least %" PRIu64, rule->at_least),
                 members >= rule->at_least ? "reached" : "FAILS: ",
                 members >= rule->at_least ? "" : detection_count_text(detection, members));
    if (rule->share_permille != 0 && rule->detector == RULE_COUNT) {
        uint64_t permille = snapshot->total == 0 ? 0 : members * 1000 / snapshot->total;
        add_line(explaining, "    %-28s %s%" PRIu64 ".%" PRIu64 "%%",
                 arena_printf(detection->scratch, "share %u.%u%%", rule->share_permille / 10, rule->share_permille % 10),
                 permille >= rule->share_permille ? "reached: " : "FAILS: ", permille / 10, permille % 10);
    }
    if (rule->by_count != 0)
        add_line(explaining, "    %-28s thresholds hold for each key alone", "by");
    if (rule->grown_permille != 0)
        add_line(explaining, "    %-28s FAILS: needs two dumps", "grown");
}

static size_t count_findings(const struct findings *findings, struct text rule, struct text *ret_title)
{
    size_t count = 0;
    for (size_t i = 0; i < findings->count; i++)
        if (text_equals(findings->entries[i].rule, rule) && count++ == 0)
            *ret_title = findings->entries[i].title;
    return count;
}

static const char *explain_rule(struct detection *detection, const struct compiled_rule *rule,
                                const struct findings *findings, bool is_wanted)
{
    struct explaining explaining = {.detection = detection, .rule = rule, .text = ""};
    struct text title = TEXT("");
    size_t found = count_findings(findings, rule->id, &title);
    if (found != 0)
        add_line(&explaining, "%s: found%s: %.*s", rule->id.data,
                 found == 1 ? "" : arena_printf(detection->scratch, " %zu times", found), (int)title.length, title.data);
    else
        add_line(&explaining, "%s (%s): nothing found", rule->id.data, rule_detector_name(rule->source->detector));
    if (!match_kind(detection, rule)) {
        add_line(&explaining, "    %-28s FAILS: the dump has %s", "for",
                 detection->snapshot->kind == PROFILE_HEAP ? "allocations" : detection_members_word(detection, 2));
        return is_wanted ? explaining.text : NULL;
    }
    explain_match(&explaining, &rule->match, "");
    explain_match(&explaining, &rule->head, "head: ");
    explain_list(&explaining, "acquire", &rule->acquire);
    explain_list(&explaining, "keeps", &rule->keeps);
    explain_list(&explaining, "hold", &rule->hold);
    explain_list(&explaining, "creates", &rule->creates);
    explain_list(&explaining, "less", &rule->less);
    explain_thresholds(&explaining);
    return is_wanted || found != 0 || explaining.has_partial ? explaining.text : NULL;
}

struct explanations detect_explain(struct rule_set *set, const struct snapshot *snapshot, const struct grouping *grouping,
                                   const struct detect_options *options, const struct findings *findings,
                                   struct arena *arena, struct arena *scratch, struct diagnostics *diagnostics)
{
    struct detection *detection = arena_new(scratch, struct detection);
    *detection = (struct detection){
        .set = set,
        .snapshot = snapshot,
        .grouping = grouping,
        .arena = arena,
        .scratch = scratch,
        .diagnostics = diagnostics,
    };
    detection_init(detection);
    struct explanations explanations = {.entries = arena_array(arena, const char *, set->rule_count)};
    for (size_t i = 0; i < set->rule_count; i++) {
        if (!rule_set_selects(set, i, options->only))
            continue;
        const char *text = explain_rule(detection, set->rules[i], findings, options->only != NULL);
        if (text != NULL)
            explanations.entries[explanations.count++] = text;
    }
    return explanations;
}
