/* SPDX-License-Identifier: Apache-2.0 */
/* Detector `channel`: many senders or receivers on one channel, or, where the source does not tell the channel, at one
 * call site.
 *
 * Keys for titles: {members}, {share} of all, {place} "f at file.go:12", {function}, {creator} where known, {resource}
 * "channel 0xc000010000" where known, and the rule's captures, all of the first member.
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

/* One pass over the memory for all channels that will be told. */
static void knowers_ask(struct detection *detection, const uint32_t *wanted, size_t wanted_count)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    const struct program *program = detection_program(detection);
    struct arena *scratch = detection_scratch(detection);
    struct channel_knowers *result = arena_new(scratch, struct channel_knowers);
    result->knowers = arena_array(scratch, struct program_knower, wanted_count + 1);
    for (size_t i = 0; i < wanted_count; i++)
        result->knowers[i].address = snapshot->resources[wanted[i]].address;
    qsort(result->knowers, wanted_count, sizeof *result->knowers, compare_knowers);
    for (size_t i = 0; i < wanted_count; i++)
        if (result->count == 0 || result->knowers[result->count - 1].address != result->knowers[i].address)
            result->knowers[result->count++] = result->knowers[i];
    result->heap = program->knowers(program->context, result->knowers, result->count);
    *detection_slot(detection, RULE_CHANNEL) = result;
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

/* All who wait on the channel alone are woken by the same ones. */
static bool is_stuck(struct detection *detection, const struct places *places, const struct place *place)
{
    const struct program *program = detection_program(detection);
    const struct program_stuck *stuck = program == NULL ? NULL : program->stuck(program->context);
    return stuck != NULL && place->member_count != 0 && stuck->members[places->members[place->member_first]] != 0;
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
            !is_stuck(detection, places, place))
            finding->severity = SEVERITY_INFO;
        circumstances_tell(&circumstances, finding);
        stack_memory_tell(detection, finding, place->members);
        detection_set_title(detection, finding, rule,
                            place->resource != index_none ? "{members} {kind} wait on one {resource}"
                                                          : "{members} {kind} wait on a channel in {place}");
    }
}

const struct detector detector_channel = {RULE_CHANNEL, "channel", channels_run, NULL};
