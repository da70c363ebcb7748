/* SPDX-License-Identifier: Apache-2.0 */
/* Detector `channel`: many senders or receivers on one channel, or, where the source does not tell the channel, at one
 * call site.
 *
 * Keys for titles: {members}, {share} of all, {place} "f at file.go:12", {function}, {creator} where known, {resource}
 * "channel 0xc000010000" where known, and the rule's captures, all of the first member.
 *
 * A rule with `known-by: nobody` has one finding for all channels that nothing but their waiters refers to, where all
 * memory could be searched: {members}, {channels}.
 *
 * Where the rule does not say: at-least 1,000. A rule with conditions is taken at its word that they are waits on
 * channels; else wait facts and the runtime's states ("chan receive") tell. */
#include "base/limits.h"
#include "detect/claims.h"
#include "detect/places.h"
#include "model/program.h"

#include <inttypes.h>
#include <stdlib.h>

/* Goroutines on one channel below which nothing is said unless the rule says so: worker pools are smaller. */
enum { members_least = 1000 };

static bool kind_is_channel(enum wait_kind kind)
{
    return kind == WAIT_CHANNEL_SEND || kind == WAIT_CHANNEL_RECEIVE;
}

/* The channel that the member waits for; of a select none is the one. */
static uint32_t channel_of(const struct snapshot *snapshot, const struct member *member)
{
    uint32_t channel = index_none;
    for (uint32_t i = 0; i < member->wait_count; i++) {
        uint32_t number = snapshot->waits[member->wait_first + i].resource;
        const struct resource *resource = &snapshot->resources[number];
        if (!kind_is_channel(resource->kind) || resource->address == 0)
            continue;
        if (channel != index_none)
            return index_none;
        channel = number;
    }
    return channel;
}

/* By fact, or by the runtime's own word: "chan receive", "chan send (nil chan)". */
static bool waits_on_channel(const struct snapshot *snapshot, const struct member *member)
{
    for (uint32_t i = 0; i < member->wait_count; i++)
        if (kind_is_channel(snapshot->resources[snapshot->waits[member->wait_first + i].resource].kind))
            return true;
    return text_starts_with(snapshot_string(snapshot, member->state), TEXT("chan "));
}

/* What is known of who else knows channels, from one pass over the program's memory. */
struct channel_knowers {
    struct program_knower *knowers; /* by address */
    size_t count;
    enum program_heap heap;
};

static int compare_waiters(const void *left, const void *right)
{
    const struct resource *a = *(const struct resource *const *)left, *b = *(const struct resource *const *)right;
    if (a->waiters != b->waiters)
        return a->waiters > b->waiters ? -1 : 1;
    return a->address < b->address ? -1 : a->address > b->address;
}

static int compare_knowers(const void *left, const void *right)
{
    const struct program_knower *a = left, *b = right;
    return a->address < b->address ? -1 : a->address > b->address;
}

static const struct channel_knowers *knowers_get(struct detection *detection)
{
    return *detection_slot(detection, RULE_CHANNEL);
}

static const struct program_knower *knower_of(const struct channel_knowers *knowers, uint64_t address)
{
    struct program_knower key = {.address = address};
    return knowers == NULL ? NULL : bsearch(&key, knowers->knowers, knowers->count, sizeof key, compare_knowers);
}

/* Whether so little memory is at hand that all of it may be searched before anything has been found. */
static bool heap_is_quick(struct detection *detection)
{
    const struct program *program = detection_program(detection);
    uint64_t bytes;
    return program != NULL && program->heap(program->context, &bytes) == PROGRAM_HEAP_SEARCHED &&
           bytes <= limit_go_quick_heap_bytes;
}

/* Asks for the channels, and for those with most waiters, which other rules will speak of. Where that is quick even one
 * with a single waiter may be that nobody else knows. */
static void knowers_ask(struct detection *detection, const uint32_t *wanted, size_t wanted_count)
{
    bool is_quick = heap_is_quick(detection);
    size_t count_max = is_quick ? (size_t)limit_go_channels_asked : (size_t)limit_masses_of_rule;
    uint64_t waiters_least = is_quick ? 1 : 2;
    const struct snapshot *snapshot = detection_snapshot(detection);
    const struct program *program = detection_program(detection);
    struct arena *scratch = detection_scratch(detection);
    struct channel_knowers *result = arena_new(scratch, struct channel_knowers);
    const struct resource **channels = NULL;
    size_t count = 0, capacity = 0, total = 0;
    for (size_t i = 0; i < snapshot->resource_count; i++) {
        const struct resource *resource = &snapshot->resources[i];
        if (!kind_is_channel(resource->kind) || resource->address == 0 || resource->waiters < waiters_least)
            continue;
        channels = arena_grow(scratch, channels, count, &capacity, sizeof(const struct resource *));
        channels[count++] = resource;
    }
    if (count > 1)
        qsort(channels, count, sizeof *channels, compare_waiters);
    result->knowers = arena_array(scratch, struct program_knower, wanted_count + count_max + 1);
    for (size_t i = 0; i < wanted_count; i++)
        result->knowers[total++].address = snapshot->resources[wanted[i]].address;
    for (size_t i = 0; i < count && i < count_max; i++)
        result->knowers[total++].address = channels[i]->address;
    if (total > 1)
        qsort(result->knowers, total, sizeof *result->knowers, compare_knowers);
    for (size_t i = 0; i < total; i++)
        if (result->count == 0 || result->knowers[result->count - 1].address != result->knowers[i].address)
            result->knowers[result->count++] = result->knowers[i];
    if (result->count != 0)
        result->heap = program->knowers(program->context, result->knowers, result->count);
    *detection_slot(detection, RULE_CHANNEL) = result;
}

static bool is_known_by_nobody(const struct channel_knowers *knowers, const struct program_knower *knower)
{
    return knowers->heap == PROGRAM_HEAP_SEARCHED && knower->stacks == 0 && knower->variables == 0 && knower->heap == 0;
}

/* "Apart from those who wait for it …": who could still use it, and what was searched for that. */
static void knower_tell(struct detection *detection, struct finding *finding, const struct channel_knowers *knowers,
                        const struct program_knower *knower)
{
    struct arena *scratch = detection_scratch(detection);
    static const char *const unsearched[] = {
        [PROGRAM_HEAP_SEARCHED] = "",
        [PROGRAM_HEAP_MISSING] = "; the heap is not at hand and was not searched",
        [PROGRAM_HEAP_TOO_LARGE] = "; the heap was not searched, it is too large",
    };
    const char *stacks = "no other goroutine's stack", *variables = "no variable", *heap = unsearched[knowers->heap];
    if (knower->stacks != 0 && knower->member != index_none)
        stacks = arena_printf(scratch, "other goroutines' stacks (%.*s)",
                              (int)detection_member_text(detection, knower->member).length,
                              detection_member_text(detection, knower->member).data);
    else if (knower->stacks != 0)
        stacks = "a thread's registers or a stack of the runtime's";
    if (knower->variables != 0)
        variables = arena_printf(scratch, "a variable at 0x%" PRIx64, knower->first_variable);
    if (knowers->heap == PROGRAM_HEAP_SEARCHED)
        heap = knower->heap == 0 ? ", nothing on the heap"
                                 : arena_printf(scratch, ", %s %s on the heap, left-over ones too",
                                                detection_count_text(detection, knower->heap),
                                                for_count(knower->heap, "word", "words"));
    detection_add_evidence(detection, finding, "Apart from those who wait, the channel is known to (read): %s, %s%s.",
                           stacks, variables, heap);
    finding_add_count(detection, finding, "known-on-stacks", knower->stacks);
    finding_add_count(detection, finding, "known-in-variables", knower->variables);
    if (knowers->heap == PROGRAM_HEAP_SEARCHED)
        finding_add_count(detection, finding, "known-on-heap", knower->heap);
}

static void channel_tell(struct detection *detection, struct finding *finding, const struct places *places,
                         const struct place *place)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    const struct resource *channel = &snapshot->resources[place->resource];
    detection_add_key(detection, finding, "resource", detection_resource_text(detection, place->resource));
    bool is_full = channel->capacity_known && channel->fill == channel->capacity;
    bool others_wait = false;
    if (channel->capacity_known)
        detection_add_evidence(
            detection, finding, "The channel holds %s of %s (read)%s.", detection_count_text(detection, channel->fill),
            detection_count_text(detection, channel->capacity),
            is_full && channel->capacity != 0 && channel->kind == WAIT_CHANNEL_SEND ? ": it is full" : "");
    /* Others who know it: the same address as another kind of wait. */
    static const enum wait_kind kinds[] = {WAIT_CHANNEL_SEND, WAIT_CHANNEL_RECEIVE, WAIT_SELECT};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        uint32_t number = snapshot_find_resource(snapshot, kinds[i], channel->address);
        if (number == index_none || number == place->resource)
            continue;
        uint64_t waiters = snapshot->resources[number].waiters;
        others_wait = true;
        detection_add_evidence(detection, finding, "%s more %s on the same channel: %.*s.",
                               detection_count_text(detection, waiters), for_count(waiters, "waits", "wait"),
                               (int)detection_resource_text(detection, number).length,
                               detection_resource_text(detection, number).data);
    }
    if (!others_wait && detection_program(detection) != NULL)
        detection_add_evidence(detection, finding, "No goroutine waits to %s (read).",
                               channel->kind == WAIT_CHANNEL_SEND ? "receive from it" : "send to it");
    const struct channel_knowers *knowers = knowers_get(detection);
    const struct program_knower *knower = knower_of(knowers, channel->address);
    if (knower != NULL)
        knower_tell(detection, finding, knowers, knower);
    /* Its members can stand at several call sites. */
    struct tally sites;
    tally_init(&sites, detection);
    for (uint32_t i = 0; i < place->member_count; i++) {
        const struct member *member = &snapshot->members[places->members[place->member_first + i]];
        tally_add(&sites, detection_call_site(detection, member->stack), member->count);
    }
    if (sites.count > 2) /* [0] is "" */
        detection_add_evidence(detection, finding, "They stand at several places: %s.", tally_text(&sites, " in "));
}

static bool channel_is_abandoned(struct detection *detection, uint32_t resource)
{
    const struct channel_knowers *knowers = knowers_get(detection);
    const struct program_knower *knower =
        knower_of(knowers, detection_snapshot(detection)->resources[resource].address);
    return knower != NULL && is_known_by_nobody(knowers, knower);
}

/* A rule that splits by resource is about channels that are known, and about few who wait on one: these may merely be
 * in a hurry, unless nobody else knows the channel. */
static bool splits_by_resource(const struct rule *rule)
{
    for (size_t i = 0; i < rule->by_count; i++)
        if (text_equals(rule->by[i], TEXT("resource")))
            return true;
    return false;
}

/* One finding for all who wait on channels that nobody can use any more. */
static void abandoned_run(struct detection *detection, const struct compiled_rule *rule)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    struct arena *scratch = detection_scratch(detection);
    if (!heap_is_quick(detection))
        return;
    uint32_t *waiting = arena_array(scratch, uint32_t, snapshot->member_count + 1);
    uint64_t members = 0;
    size_t count = 0, matching_count, channels = 0;
    const uint32_t *matching = detection_matching_members(detection, rule, &matching_count);
    bool *is_counted = arena_array(scratch, bool, snapshot->resource_count + 1);
    struct tally sites;
    tally_init(&sites, detection);
    for (size_t i = 0; i < matching_count; i++) {
        const struct member *member = &snapshot->members[matching[i]];
        uint32_t channel = channel_of(snapshot, member);
        if (channel == index_none || member->wait_count != 1)
            continue;
        if (knowers_get(detection) == NULL)
            knowers_ask(detection, NULL, 0);
        const struct channel_knowers *knowers = knowers_get(detection);
        const struct program_knower *knower = knower_of(knowers, snapshot->resources[channel].address);
        if (knower == NULL || !is_known_by_nobody(knowers, knower))
            continue;
        channels += !is_counted[channel];
        is_counted[channel] = true;
        waiting[count++] = matching[i];
        members += member->count;
        tally_add(&sites, detection_call_site(detection, member->stack), member->count);
    }
    uint64_t at_least = compiled_rule_source(rule)->at_least;
    if (members == 0 || members < at_least)
        return;
    struct finding *finding = detection_add(detection, rule);
    finding->confidence = CONFIDENCE_READ;
    finding->members = members;
    struct circumstances circumstances;
    circumstances_init(&circumstances, detection);
    for (size_t i = 0; i < count; i++) {
        claims_add(detection, waiting[i]);
        detection_add_member(detection, finding, waiting[i], "waits");
        circumstances_add(&circumstances, &snapshot->members[waiting[i]]);
    }
    finding_add_count(detection, finding, "channels", channels);
    detection_add_evidence(
        detection, finding,
        "%s %s on %s that nothing else refers to: no other goroutine's stack, no "
        "variable, nothing on the heap (read; all of the core's memory was searched).",
        part_text(detection, members), for_count(members, "waits", "wait"),
        channels == 1 ? "a channel" : arena_printf(scratch, "%s channels", detection_count_text(detection, channels)));
    detection_add_evidence(detection, finding, "They wait: %s.", tally_text(&sites, " in "));
    circumstances_tell(&circumstances, finding);
    detection_set_title(detection, finding, rule, "{members} {kind} wait on channels that nothing else refers to");
}

/* Asks who knows the channels that will be told. */
static void places_ask(struct detection *detection, const struct places *places)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    uint32_t wanted[limit_masses_of_rule];
    size_t count = 0;
    bool are_known = true;
    for (size_t i = 0; i < places->count && count < limit_masses_of_rule; i++) {
        uint32_t channel = places->entries[i].resource;
        if (channel == index_none)
            continue;
        wanted[count++] = channel;
        are_known &= knower_of(knowers_get(detection), snapshot->resources[channel].address) != NULL;
    }
    if (detection_program(detection) != NULL && count != 0 && !are_known)
        knowers_ask(detection, wanted, count);
}

static void channels_run(struct detection *detection, const struct compiled_rule *rule)
{
    const struct rule *source = compiled_rule_source(rule);
    if (source->known_by == RULE_KNOWN_BY_NOBODY) {
        abandoned_run(detection, rule);
        return;
    }
    const struct snapshot *snapshot = detection_snapshot(detection);
    /* Conditions of the rule say what a wait on a channel looks like in dumps without states. */
    const struct places *places = places_read(detection, rule, false, members_least, 0,
                                              rule_has_conditions(source) ? NULL : waits_on_channel, channel_of);
    places_ask(detection, places);
    for (size_t i = 0, told = 0; i < places->count && told < limit_masses_of_rule; i++) {
        const struct place *place = &places->entries[i];
        struct circumstances circumstances;
        if (splits_by_resource(source) && place->resource == index_none)
            continue;
        told++;
        struct finding *finding = detection_add(detection, rule);
        finding->confidence = place->resource != index_none ? CONFIDENCE_READ : CONFIDENCE_INFERRED;
        place_tell(detection, rule, places, i, finding, "waits", &circumstances);
        const char *site = frame_place(snapshot, place->frame, detection_scratch(detection));
        if (place->resource != index_none) {
            struct text channel = detection_resource_text(detection, place->resource);
            detection_add_evidence(detection, finding, "%s %s on %.*s.", part_text(detection, place->members),
                                   for_count(place->members, "waits", "wait"), (int)channel.length, channel.data);
            channel_tell(detection, finding, places, place);
        } else {
            detection_add_evidence(detection, finding, "%s %s in %s.", part_text(detection, place->members),
                                   for_count(place->members, "waits", "wait"), site);
        }
        if (splits_by_resource(source) && place->members < members_least &&
            !channel_is_abandoned(detection, place->resource))
            finding->severity = SEVERITY_INFO;
        circumstances_tell(&circumstances, finding);
        stack_memory_tell(detection, finding, place->members);
        detection_set_title(detection, finding, rule,
                            place->resource != index_none ? "{members} {kind} wait on one {resource}"
                                                          : "{members} {kind} wait on a channel in {place}");
    }
}

const struct detector detector_channel = {RULE_CHANNEL, "channel", channels_run, NULL};
