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
#include "detect/places.h"

#include <inttypes.h>

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

static void channel_tell(struct detection *detection, struct finding *finding, const struct places *places,
                         const struct place *place)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    const struct resource *channel = &snapshot->resources[place->resource];
    detection_add_key(detection, finding, "resource", detection_resource_text(detection, place->resource));
    if (channel->capacity_known)
        detection_add_evidence(detection, finding, "The channel holds %s of %s (read).",
                               detection_count_text(detection, channel->fill),
                               detection_count_text(detection, channel->capacity));
    /* Others who know it: the same address as another kind of wait. */
    for (size_t i = 0; i < snapshot->resource_count; i++) {
        const struct resource *other = &snapshot->resources[i];
        if (i != place->resource && kind_is_channel(other->kind) && other->address == channel->address)
            detection_add_evidence(detection, finding, "%s more %s on the same channel: %.*s.",
                                   detection_count_text(detection, other->waiters),
                                   for_count(other->waiters, "waits", "wait"),
                                   (int)detection_resource_text(detection, (uint32_t)i).length,
                                   detection_resource_text(detection, (uint32_t)i).data);
    }
    /* Its members can stand at several call sites. */
    struct tally sites;
    tally_init(&sites, detection);
    for (uint32_t i = 0; i < snapshot->member_count; i++)
        if (places->place_of_member[i] == place - places->entries)
            tally_add(&sites, detection_call_site(detection, snapshot->members[i].stack), snapshot->members[i].count);
    if (sites.count > 2) /* [0] is "" */
        detection_add_evidence(detection, finding, "They stand at several places: %s.", tally_text(&sites, " in "));
}

static void channels_run(struct detection *detection, const struct compiled_rule *rule)
{
    const struct rule *source = compiled_rule_source(rule);
    const struct snapshot *snapshot = detection_snapshot(detection);
    /* Conditions of the rule say what a wait on a channel looks like in dumps without states. */
    struct places *places =
        places_read(detection, rule, false, rule_has_conditions(source) ? NULL : waits_on_channel, channel_of);
    for (size_t i = 0, told = 0; i < places->count && told < limit_masses_of_rule; i++) {
        struct place *place = &places->entries[i];
        if (!place_is_worth_telling(detection, rule, place, members_least, 0))
            continue;
        told++;
        struct finding *finding = detection_add(detection, rule);
        finding->confidence = place->resource != index_none ? CONFIDENCE_READ : CONFIDENCE_INFERRED;
        place_tell(detection, rule, places, i, finding, "waits");
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
        circumstances_tell(&place->circumstances, finding);
        stack_memory_tell(detection, finding, place->members);
        detection_set_title(detection, finding, rule,
                            place->resource != index_none ? "{members} {kind} wait on one {resource}"
                                                          : "{members} {kind} wait on a channel in {place}");
    }
}

const struct detector detector_channel = {RULE_CHANNEL, "channel", channels_run};
