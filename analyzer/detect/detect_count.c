/* SPDX-License-Identifier: Apache-2.0 */
/* Many members in a matched place: all together, or one finding for each key of `by`. */
#include "detect/detector.h"

#include "base/intern_table.h"
#include "base/limits.h"
#include "base/name.h"

#include <inttypes.h>
#include <stdlib.h>

enum { keys_max = limit_rule_by, shown_groups = 3, shown_values = 3 };

enum key_kind { KEY_RESOURCE, KEY_CREATOR, KEY_FUNCTION, KEY_GROUP, KEY_CAPTURE };

/* Members that have their keys in common. */
struct bucket {
    uint32_t numbers[keys_max]; /* by key: of a resource, a string (creator), or a text in counting.values */
    uint64_t members;
    uint64_t less;  /* … of whom others account for so many */
    uint32_t *list; /* indices of snapshot.members */
    size_t list_count, list_capacity;
};

struct counting {
    struct detection *detection;
    const struct compiled_rule *rule;
    const struct rule *source;
    const struct snapshot *snapshot;
    struct arena *scratch;
    enum key_kind keys[keys_max];
    size_t key_count;
    struct intern_table values, tuples;
    uint32_t *stack_values; /* by stack, by key: from 1, of counting.values; 0 until asked for */
    struct bucket *buckets; /* by tuple, from 1 */
    size_t bucket_count, bucket_capacity;
};

static enum key_kind key_kind_of(struct text by)
{
    static const struct {
        struct text word;
        enum key_kind kind;
    } words[] = {{{"resource", 8}, KEY_RESOURCE},
                 {{"creator", 7}, KEY_CREATOR},
                 {{"function", 8}, KEY_FUNCTION},
                 {{"group", 5}, KEY_GROUP}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (text_equals(words[i].word, by))
            return words[i].kind;
    return KEY_CAPTURE;
}

/* The resource of the member that the rule asks for; index_none. */
static uint32_t find_resource(const struct counting *counting, const struct member *member)
{
    const struct snapshot *snapshot = counting->snapshot;
    uint32_t wanted = counting->source->match.waits_on;
    for (uint32_t i = 0; i < member->wait_count; i++) {
        uint32_t resource = snapshot->waits[member->wait_first + i].resource;
        if (wanted == 0 || (wanted >> snapshot->resources[resource].kind & 1) != 0)
            return resource;
    }
    return index_none;
}

/* The first function outside the waiting machinery. */
static struct text function_of(const struct counting *counting, uint32_t stack)
{
    size_t frame_count, first = detection_machinery(counting->detection, stack);
    const struct stack_frame *frames = detection_frames(counting->detection, stack, &frame_count);
    if (first >= frame_count)
        return TEXT("");
    return name_normalise(
        snapshot_string(counting->snapshot, counting->snapshot->frames[frames[first].frame].function));
}

static struct text capture_of(const struct counting *counting, uint32_t stack, struct text name)
{
    size_t count;
    const struct capture *captures = detection_captures(counting->detection, counting->rule, stack, &count);
    for (size_t i = 0; i < count; i++)
        if (text_equals(text_from_string(captures[i].name), name))
            return captures[i].value;
    return TEXT("");
}

static struct text stack_value(const struct counting *counting, size_t key, uint32_t stack)
{
    const struct grouping *grouping = detection_grouping(counting->detection);
    if (counting->keys[key] == KEY_FUNCTION)
        return function_of(counting, stack);
    if (counting->keys[key] == KEY_CAPTURE)
        return capture_of(counting, stack, counting->source->by[key]);
    uint32_t group = grouping->group_of_stack == NULL ? index_none : grouping->group_of_stack[stack];
    return group == index_none ? TEXT("") : text_from_string(grouping->groups[group].fingerprint);
}

static uint32_t key_number(struct counting *counting, size_t key, const struct member *member)
{
    if (counting->keys[key] == KEY_RESOURCE)
        return find_resource(counting, member);
    if (counting->keys[key] == KEY_CREATOR)
        return member->creator;
    uint32_t *number = &counting->stack_values[member->stack * counting->key_count + key];
    if (*number == 0)
        *number = intern_table_add(&counting->values, stack_value(counting, key, member->stack)) + 1;
    return *number - 1;
}

static struct text key_text(struct counting *counting, size_t key, uint32_t number)
{
    if (counting->keys[key] == KEY_RESOURCE)
        return detection_resource_text(counting->detection, number);
    struct text text = counting->keys[key] == KEY_CREATOR ? snapshot_string(counting->snapshot, number)
                                                          : intern_table_text(&counting->values, number);
    return text.length != 0 ? text : TEXT("unknown");
}

static void count_member(struct counting *counting, uint32_t number)
{
    const struct member *member = &counting->snapshot->members[number];
    struct bucket bucket = {.members = 0};
    for (size_t i = 0; i < counting->key_count; i++) {
        bucket.numbers[i] = key_number(counting, i, member);
        if (counting->keys[i] == KEY_RESOURCE && bucket.numbers[i] == index_none)
            return;
    }
    /* One byte in front: the table's number 0 is the empty text. */
    char tuple[1 + sizeof bucket.numbers] = "t";
    memcpy(tuple + 1, bucket.numbers, sizeof bucket.numbers);
    uint32_t at = intern_table_add(&counting->tuples, (struct text){tuple, sizeof tuple}) - 1;
    if (at == counting->bucket_count) {
        counting->buckets = arena_grow(counting->scratch, counting->buckets, counting->bucket_count,
                                       &counting->bucket_capacity, sizeof *counting->buckets);
        counting->buckets[counting->bucket_count++] = bucket;
    }
    struct bucket *known = &counting->buckets[at];
    known->list =
        arena_grow(counting->scratch, known->list, known->list_count, &known->list_capacity, sizeof *known->list);
    known->list[known->list_count++] = number;
    known->members += member->count;
}

static const char *share_text(struct counting *counting, uint64_t members)
{
    uint64_t total = counting->snapshot->total, permille = total == 0 ? 0 : (members * 2000 + total) / (2 * total);
    return arena_printf(detection_arena(counting->detection), "%" PRIu64 ".%" PRIu64 "%%", permille / 10,
                        permille % 10);
}

/* "3 minutes", in the largest unit that is reached. */
static const char *duration_text(struct counting *counting, uint64_t seconds)
{
    static const struct {
        const char *name;
        uint64_t seconds;
    } units[] = {{"day", 86400}, {"hour", 3600}, {"minute", 60}, {"second", 1}};
    size_t i = 0;
    while (i < 3 && seconds < units[i].seconds)
        i++;
    uint64_t count = seconds / units[i].seconds;
    return arena_printf(detection_arena(counting->detection), "%" PRIu64 " %s%s", count, units[i].name,
                        count == 1 ? "" : "s");
}

struct tally {
    uint32_t number; /* what is counted */
    uint64_t members;
};

static int compare_tallies(const void *a_, const void *b_)
{
    const struct tally *a = a_, *b = b_;
    if (a->members != b->members)
        return a->members > b->members ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* Counts the bucket's members by state or by resource; most first. */
static struct tally *tally_members(struct counting *counting, const struct bucket *bucket, bool by_state,
                                   size_t *ret_count)
{
    struct intern_table numbers;
    struct tally *tallies = NULL;
    size_t count = 0, capacity = 0;
    intern_table_init(&numbers, counting->scratch);
    for (size_t i = 0; i < bucket->list_count; i++) {
        const struct member *member = &counting->snapshot->members[bucket->list[i]];
        uint32_t number = by_state ? member->state : find_resource(counting, member);
        if (number == (by_state ? 0 : index_none))
            continue;
        uint32_t at = intern_table_add(&numbers, (struct text){(const char *)&number, sizeof number}) - 1;
        if (at == count) {
            tallies = arena_grow(counting->scratch, tallies, count, &capacity, sizeof *tallies);
            tallies[count++] = (struct tally){.number = number};
        }
        tallies[at].members += member->count;
    }
    if (count != 0)
        qsort(tallies, count, sizeof *tallies, compare_tallies);
    *ret_count = count;
    return tallies;
}

static void add_groups(struct counting *counting, struct finding *finding, const struct bucket *bucket)
{
    const struct grouping *grouping = detection_grouping(counting->detection);
    for (size_t i = 0; i < bucket->list_count; i++)
        detection_add_member(counting->detection, finding, bucket->list[i], "counted");
    struct tally *tallies = arena_array(counting->scratch, struct tally, finding->group_count);
    for (size_t i = 0; i < finding->group_count; i++)
        tallies[i] = (struct tally){finding->groups[i].group, finding->groups[i].members};
    if (finding->group_count == 0)
        return;
    qsort(tallies, finding->group_count, sizeof *tallies, compare_tallies);
    for (size_t i = 0; i < finding->group_count; i++)
        finding->groups[i] = (struct finding_group){tallies[i].number, tallies[i].members, "counted"};
    const char *places = "";
    struct arena *arena = detection_arena(counting->detection);
    for (size_t i = 0; i < finding->group_count && i < shown_groups; i++) {
        const struct group *group = &grouping->groups[tallies[i].number];
        struct text site = detection_call_site(counting->detection, group->stack);
        places = arena_printf(arena, "%s%s%s in %.*s (group %s)", places, i == 0 ? "" : ", ",
                              detection_count_text(counting->detection, tallies[i].members), (int)site.length,
                              site.data, group->fingerprint);
    }
    if (finding->group_count > shown_groups)
        places = arena_printf(arena, "%s, and %zu more group%s", places, finding->group_count - shown_groups,
                              finding->group_count == shown_groups + 1 ? "" : "s");
    detection_add_evidence(counting->detection, finding, "%s of all %s %s (%s) are here: %s",
                           detection_count_text(counting->detection, bucket->members),
                           detection_count_text(counting->detection, counting->snapshot->total),
                           detection_members_word(counting->detection, counting->snapshot->total),
                           share_text(counting, bucket->members), places);
}

static void add_states(struct counting *counting, struct finding *finding, const struct bucket *bucket)
{
    size_t count;
    const struct tally *tallies = tally_members(counting, bucket, true, &count);
    const char *words = "";
    for (size_t i = 0; i < count && i < shown_values; i++) {
        struct text state = snapshot_string(counting->snapshot, tallies[i].number);
        words =
            arena_printf(detection_arena(counting->detection), "%s%s%.*s %s", words, i == 0 ? "" : ", ",
                         (int)state.length, state.data, detection_count_text(counting->detection, tallies[i].members));
    }
    if (count != 0)
        detection_add_evidence(counting->detection, finding, "Their states: %s%s", words,
                               count > shown_values ? " and others" : "");
}

static void add_resources(struct counting *counting, struct finding *finding, const struct bucket *bucket)
{
    size_t count;
    const struct tally *tallies = tally_members(counting, bucket, false, &count);
    const char *words = "";
    for (size_t i = 0; i < count && i < shown_values; i++) {
        struct text resource = detection_resource_text(counting->detection, tallies[i].number);
        words = arena_printf(detection_arena(counting->detection), "%s%s%.*s (%s)", words, i == 0 ? "" : ", ",
                             (int)resource.length, resource.data,
                             detection_count_text(counting->detection, tallies[i].members));
    }
    if (count != 0)
        detection_add_evidence(counting->detection, finding, "They wait for %s%s", words,
                               count > shown_values ? arena_printf(detection_arena(counting->detection),
                                                                   " and %zu others", count - shown_values)
                                                    : "");
}

static void add_durations(struct counting *counting, struct finding *finding, const struct bucket *bucket)
{
    uint64_t least = UINT64_MAX, most = 0, known = 0;
    for (size_t i = 0; i < bucket->list_count; i++) {
        const struct member *member = &counting->snapshot->members[bucket->list[i]];
        if (!member->waited_known)
            continue;
        known += member->count;
        least = member->waited_seconds < least ? member->waited_seconds : least;
        most = member->waited_seconds > most ? member->waited_seconds : most;
    }
    if (known == 0)
        return;
    detection_add_key(counting->detection, finding, "waited", text_from_string(duration_text(counting, most)));
    if (least == most)
        detection_add_evidence(counting->detection, finding, "%s of them have waited for %s",
                               detection_count_text(counting->detection, known), duration_text(counting, most));
    else
        detection_add_evidence(counting->detection, finding, "%s of them have waited, from %s to %s",
                               detection_count_text(counting->detection, known), duration_text(counting, least),
                               duration_text(counting, most));
}

/* Captures that are no key of `by` already: the values that the bucket's stacks have, for the title. */
static void add_captures(struct counting *counting, struct finding *finding, const struct bucket *bucket)
{
    char *is_seen = arena_alloc(counting->scratch, counting->snapshot->stack_count + 1, 1);
    for (size_t i = 0; i < bucket->list_count; i++) {
        uint32_t stack = counting->snapshot->members[bucket->list[i]].stack;
        size_t count;
        const struct capture *captures = detection_captures(counting->detection, counting->rule, stack, &count);
        if (is_seen[stack] != 0)
            continue;
        is_seen[stack] = 1;
        for (size_t j = 0; j < count; j++) {
            size_t known = 0;
            while (known < finding->key_count && strcmp(finding->keys[known].name, captures[j].name) != 0)
                known++;
            if (known == finding->key_count) {
                detection_add_key(counting->detection, finding, captures[j].name, captures[j].value);
            } else if (!text_equals(finding->keys[known].value, captures[j].value) &&
                       !text_ends_with(finding->keys[known].value, TEXT(" and others"))) {
                bool is_by = false;
                for (size_t k = 0; k < counting->key_count && !is_by; k++)
                    is_by = text_equals(counting->source->by[k], text_from_string(captures[j].name));
                if (!is_by)
                    finding->keys[known].value = text_from_string(
                        arena_printf(detection_arena(counting->detection), "%.*s and others",
                                     (int)finding->keys[known].value.length, finding->keys[known].value.data));
            }
        }
    }
}

/* Stacks tell where members stand; what they wait for is as good as how it was learnt. */
static enum confidence confidence_of(const struct counting *counting, const struct bucket *bucket)
{
    enum confidence weakest = CONFIDENCE_READ;
    if (counting->source->match.waits_on == 0)
        return CONFIDENCE_INFERRED;
    for (size_t i = 0; i < bucket->list_count; i++) {
        const struct member *member = &counting->snapshot->members[bucket->list[i]];
        for (uint32_t j = 0; j < member->wait_count; j++) {
            const struct wait *wait = &counting->snapshot->waits[member->wait_first + j];
            enum confidence confidence = wait->learnt >= LEARNT_TOLD       ? CONFIDENCE_READ
                                         : wait->learnt == LEARNT_INFERRED ? CONFIDENCE_INFERRED
                                                                           : CONFIDENCE_SUSPECTED;
            if ((counting->source->match.waits_on >> counting->snapshot->resources[wait->resource].kind & 1) != 0 &&
                confidence < weakest)
                weakest = confidence;
        }
    }
    return weakest;
}

/* Members that account for one of those counted each: it is in use by them. */
static uint64_t count_less(const struct counting *counting)
{
    const struct snapshot *snapshot = counting->snapshot;
    uint64_t less = 0;
    if (counting->source->less.count == 0 ||
        !detection_any_frame_matches(counting->detection, counting->rule, RULE_LIST_LESS))
        return 0;
    bool *is_less = arena_array(counting->scratch, bool, snapshot->stack_count + 1);
    for (uint32_t stack = 0; stack < snapshot->stack_count; stack++) {
        size_t count;
        const struct stack_frame *frames = detection_frames(counting->detection, stack, &count);
        for (size_t i = 0; i < count && !is_less[stack]; i++)
            is_less[stack] = detection_frame_matches(counting->detection, counting->rule, RULE_LIST_LESS,
                                                     frames[i].frame, frames[i].location);
    }
    for (size_t i = 0; i < snapshot->member_count; i++)
        less += is_less[snapshot->members[i].stack] ? snapshot->members[i].count : 0;
    return less;
}

static struct finding *report_bucket(struct counting *counting, const struct bucket *bucket)
{
    struct detection *detection = counting->detection;
    struct finding *finding = detection_add(detection, counting->rule);
    finding->members = bucket->members - bucket->less;
    finding->confidence = confidence_of(counting, bucket);
    for (size_t i = 0; i < counting->key_count; i++)
        detection_add_key(detection, finding, counting->source->by[i].data, key_text(counting, i, bucket->numbers[i]));
    add_groups(counting, finding, bucket);
    if (bucket->less != 0)
        detection_add_evidence(detection, finding,
                               "%s of these are not counted: others that stand elsewhere account for "
                               "as many",
                               detection_count_text(detection, bucket->less));
    add_resources(counting, finding, bucket);
    add_states(counting, finding, bucket);
    add_durations(counting, finding, bucket);
    add_captures(counting, finding, bucket);
    detection_add_key(detection, finding, "share", text_from_string(share_text(counting, bucket->members)));
    detection_set_title(detection, finding, counting->rule, "{members} {kind} in one place");
    return finding;
}

static int compare_buckets(const void *a_, const void *b_)
{
    const struct bucket *a = *(const struct bucket *const *)a_, *b = *(const struct bucket *const *)b_;
    if (a->members != b->members)
        return a->members > b->members ? -1 : 1;
    return a < b ? -1 : a > b;
}

static bool is_worth_telling(const struct counting *counting, const struct bucket *bucket)
{
    const struct rule *source = counting->source;
    return bucket->members - bucket->less >= (source->at_least != 0 ? source->at_least : 1) &&
           (source->share_permille == 0 ||
            bucket->members * 1000 >= source->share_permille * counting->snapshot->total);
}

/* The largest of those that the rule asks for. */
static void report_buckets(struct counting *counting)
{
    const struct bucket **worthy = arena_array(counting->scratch, const struct bucket *, counting->bucket_count + 1);
    size_t count = 0;
    uint64_t less = count_less(counting);
    for (size_t i = 0; i < counting->bucket_count; i++) {
        struct bucket *bucket = &counting->buckets[i];
        bucket->less = less < bucket->members ? less : bucket->members;
        less -= bucket->less;
    }
    for (size_t i = 0; i < counting->bucket_count; i++)
        if (is_worth_telling(counting, &counting->buckets[i]))
            worthy[count++] = &counting->buckets[i];
    qsort(worthy, count, sizeof *worthy, compare_buckets);
    size_t told = count < limit_masses_of_rule ? count : limit_masses_of_rule;
    for (size_t i = 0; i < told; i++) {
        struct finding *finding = report_bucket(counting, worthy[i]);
        if (i + 1 == told && told < count)
            detection_add_evidence(counting->detection, finding,
                                   "%s more that the rule finds, none of them larger, are not told",
                                   detection_count_text(counting->detection, count - told));
    }
}

static void count_run(struct detection *detection, const struct compiled_rule *rule)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    struct counting counting = {
        .detection = detection,
        .rule = rule,
        .source = compiled_rule_source(rule),
        .snapshot = snapshot,
        .scratch = detection_scratch(detection),
    };
    /* Growth needs a second dump. */
    if (counting.source->grown_permille != 0)
        return;
    counting.key_count = counting.source->by_count;
    for (size_t i = 0; i < counting.key_count; i++)
        counting.keys[i] = key_kind_of(counting.source->by[i]);
    size_t member_count;
    const uint32_t *members = detection_matching_members(detection, rule, &member_count);
    if (member_count == 0)
        return;
    intern_table_init(&counting.values, counting.scratch);
    intern_table_init(&counting.tuples, counting.scratch);
    counting.stack_values = arena_array(counting.scratch, uint32_t, snapshot->stack_count * counting.key_count + 1);
    for (size_t i = 0; i < member_count; i++)
        count_member(&counting, members[i]);
    report_buckets(&counting);
}

const struct detector detector_count = {RULE_COUNT, "count", count_run, NULL};
