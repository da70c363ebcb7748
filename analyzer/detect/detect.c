/* SPDX-License-Identifier: Apache-2.0 */
#include "detect/detection.h"

#include <stdlib.h>

/* In the order in which they run: what a cycle explains is not reported as a queue. */
static const struct detector *const detectors[] = {
    &detector_lock_cycle,
    &detector_lock_queue,
    &detector_pool,
    &detector_stuck,
    &detector_count,
    &detector_channel,
    &detector_leak,
    &detector_descriptors,
};

/* How much a rule asks for: the narrower one says more. */
static size_t rule_narrowness(const struct compiled_rule *rule)
{
    size_t conditions =
        (rule->source->has_head ? 1000 : 0) + (rule->source->holder != RULE_HOLDER_ANY ? 500 : 0);
    const struct compiled_match *matches[] = {&rule->match, &rule->head};
    for (size_t i = 0; i < 2; i++) {
        const struct compiled_match *match = matches[i];
        /* `none` is how a general rule leaves things to others. */
        conditions += match->leaf.count + match->stack.count + (match->any.count != 0) + match->root.count +
                      match->state.count + match->creator.count + (match->waits_on != 0) + (match->waited_seconds != 0);
    }
    return conditions;
}

static int compare_rules(const void *a_, const void *b_)
{
    const struct compiled_rule *a = *(const struct compiled_rule *const *)a_;
    const struct compiled_rule *b = *(const struct compiled_rule *const *)b_;
    size_t conditions_a = rule_narrowness(a), conditions_b = rule_narrowness(b);
    if (conditions_a != conditions_b)
        return conditions_a > conditions_b ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

static int compare_texts(struct text a, struct text b)
{
    size_t length = a.length < b.length ? a.length : b.length;
    int order = length == 0 ? 0 : memcmp(a.data, b.data, length);
    return order != 0 ? order : a.length < b.length ? -1 : a.length > b.length;
}

static int compare_findings(const void *a_, const void *b_)
{
    const struct finding *a = a_, *b = b_;
    if (a->severity != b->severity)
        return a->severity > b->severity ? -1 : 1;
    if (a->members != b->members)
        return a->members > b->members ? -1 : 1;
    int order = compare_texts(a->rule, b->rule);
    return order != 0 ? order : compare_texts(a->title, b->title);
}

static bool hit_limit(const struct detection *detection, const struct compiled_patterns *patterns)
{
    for (size_t i = 0; i < patterns->count; i++)
        if (detection->matches[patterns->numbers[i]].limit_hit)
            return true;
    return false;
}

static bool match_hit_limit(const struct detection *detection, const struct compiled_match *match)
{
    const struct compiled_patterns *all[] = {&match->leaf, &match->stack, &match->any,    &match->none,
                                             &match->root, &match->state, &match->creator};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (hit_limit(detection, all[i]))
            return true;
    return false;
}

static void diagnose_limit(struct detection *detection, struct text subject)
{
    diagnostics_add(detection->diagnostics, DIAGNOSTIC_LOST, "rule-match-limit", subject,
                    "%.*s: matching a name took too long and counts as no match: simplify the rule's expression",
                    (int)subject.length, subject.data);
}

static void diagnose_limits(struct detection *detection, const struct detect_options *options)
{
    struct rule_set *set = detection->set;
    for (size_t i = 0; i < set->rule_count; i++) {
        const struct compiled_rule *rule = set->rules[i];
        if (rule_set_selects(set, i, options->only) &&
            (match_hit_limit(detection, &rule->match) || match_hit_limit(detection, &rule->head) ||
             hit_limit(detection, &rule->acquire) || hit_limit(detection, &rule->keeps) || hit_limit(detection, &rule->hold) ||
             hit_limit(detection, &rule->creates) || hit_limit(detection, &rule->less)))
            diagnose_limit(detection, rule->id);
    }
    for (size_t i = 0; i < set->machinery_count; i++)
        if (hit_limit(detection, &set->machinery[i].patterns))
            diagnose_limit(detection, set->machinery[i].plugin);
}

struct findings detect_run(struct rule_set *set, const struct snapshot *snapshot, const struct grouping *grouping,
                           const struct detect_options *options, struct arena *arena, struct arena *scratch,
                           struct diagnostics *diagnostics)
{
    struct detection *detection = arena_new(scratch, struct detection);
    *detection = (struct detection){
        .set = set,
        .snapshot = snapshot,
        .grouping = grouping,
        .program = options->program,
        .arena = arena,
        .scratch = scratch,
        .diagnostics = diagnostics,
    };
    detection_init(detection);
    struct compiled_rule **rules = arena_array(scratch, struct compiled_rule *, set->rule_count + 1);
    size_t count = 0;
    for (size_t i = 0; i < set->rule_count; i++)
        if (rule_set_selects(set, i, options->only) && match_kind(detection, set->rules[i]))
            rules[count++] = set->rules[i];
    qsort(rules, count, sizeof(struct compiled_rule *), compare_rules);
    for (size_t i = 0; i < sizeof detectors / sizeof detectors[0]; i++) {
        for (size_t j = 0; j < count; j++)
            if (rules[j]->source->detector == detectors[i]->kind)
                detectors[i]->run(detection, rules[j]);
        if (detectors[i]->finish != NULL)
            detectors[i]->finish(detection);
    }
    diagnose_limits(detection, options);
    struct findings *findings = &detection->findings;
    if (findings->count != 0)
        qsort(findings->entries, findings->count, sizeof *findings->entries, compare_findings);
    return *findings;
}
