/* SPDX-License-Identifier: Apache-2.0 */
#include "detect/places.h"

#include "detect/claims.h"

#include <stdlib.h>

struct places_search {
    struct detection *detection;
    const struct compiled_rule *rule;
    const struct snapshot *snapshot;
    bool by_start;
    struct intern_table keys; /* numbers are entries + 1 */
    struct places *places;
};

/* What a stack's place is, once a stack. */
struct stack_spot {
    bool is_known, has_frame;
    struct stack_frame frame;
    size_t unnamed_count;
    uint32_t start; /* string: the function that it began with; 0 unknown */
    /* The place of the last member that stood in it, and what that was made of beside the stack. */
    uint32_t entry, resource, creator; /* entry index_none: no member yet */
};

static struct stack_spot spot_of(struct places_search *search, uint32_t stack)
{
    struct stack_spot spot = {.is_known = true, .entry = index_none};
    size_t count;
    const struct stack_frame *frames = detection_frames(search->detection, stack, &count);
    spot.has_frame = stack_place(search->detection, stack, &spot.frame);
    if (!spot.has_frame)
        return spot;
    struct stack_frame start;
    if (search->by_start && stack_start(search->detection, stack, &start))
        spot.start = search->snapshot->frames[start.frame].function;
    for (size_t i = 0; i < count && frames[i].frame != spot.frame.frame; i++)
        spot.unnamed_count += search->snapshot->frames[frames[i].frame].function == 0;
    return spot;
}

static const char *capture_value(struct places_search *search, uint32_t stack, struct text name)
{
    size_t count;
    const struct capture *captures = detection_captures(search->detection, search->rule, stack, &count);
    for (size_t i = 0; i < count; i++)
        if (text_equals(text_from_string(captures[i].name), name))
            return text_copy(detection_scratch(search->detection), captures[i].value).data;
    return "";
}

/* One part of a member's key, for one word of the rule's `by`. */
static const char *key_part(struct places_search *search, const struct member *member, const struct stack_spot *spot,
                            struct text word, uint32_t resource)
{
    const struct snapshot *snapshot = search->snapshot;
    struct arena *arena = detection_scratch(search->detection);
    if (text_equals(word, TEXT("resource")))
        return arena_printf(arena, "%u", resource);
    if (text_equals(word, TEXT("function")))
        return arena_printf(arena, "%u", snapshot->frames[spot->frame.frame].function);
    if (text_equals(word, TEXT("creator")))
        return arena_printf(arena, "%u", member->creator);
    if (text_equals(word, TEXT("group")))
        return arena_printf(arena, "%u", detection_grouping(search->detection)->group_of_stack[member->stack]);
    return capture_value(search, member->stack, word);
}

static struct text key_of(struct places_search *search, const struct member *member, const struct stack_spot *spot,
                          uint32_t resource)
{
    struct arena *arena = detection_scratch(search->detection);
    const struct rule *source = compiled_rule_source(search->rule);
    const struct frame *frame = &search->snapshot->frames[spot->frame.frame];
    const char *key = "";
    if (source->by_count == 0 && resource != index_none)
        key = arena_printf(arena, "resource %u", resource);
    else if (source->by_count == 0)
        key = arena_printf(arena, "place %u %u %u of %u", frame->function, frame->file, frame->line, spot->start);
    for (size_t i = 0; i < source->by_count; i++)
        key = arena_printf(arena, "%s\n%s", key, key_part(search, member, spot, source->by[i], resource));
    return text_from_string(key);
}

static uint32_t place_add(struct places_search *search, uint32_t number, const struct stack_spot *spot,
                          uint32_t resource)
{
    const struct member *member = &search->snapshot->members[number];
    struct places *places = search->places;
    uint32_t entry = intern_table_add(&search->keys, key_of(search, member, spot, resource)) - 1;
    if (entry < places->count)
        return entry;
    places->entries = arena_grow(detection_scratch(search->detection), places->entries, places->count,
                                 &places->capacity, sizeof *places->entries);
    struct place *place = &places->entries[places->count++];
    *place = (struct place){
        .first_member = number,
        .resource = resource,
        .frame = spot->frame,
        .start = spot->start,
        .unnamed_count = spot->unnamed_count,
    };
    return entry;
}

static int place_compare(const void *a, const void *b, void *context)
{
    const struct place *entries = context;
    const struct place *first = &entries[*(const uint32_t *)a], *second = &entries[*(const uint32_t *)b];
    if (first->members != second->members)
        return first->members < second->members ? 1 : -1;
    return first->first_member < second->first_member ? -1 : 1;
}

static void places_sort(struct places_search *search)
{
    struct arena *arena = detection_scratch(search->detection);
    struct places *places = search->places;
    uint32_t *order = arena_array(arena, uint32_t, places->count + 1);
    uint32_t *position = arena_array(arena, uint32_t, places->count + 1);
    struct place *sorted = arena_array(arena, struct place, places->count + 1);
    for (uint32_t i = 0; i < places->count; i++)
        order[i] = i;
    if (places->count != 0)
        qsort_r(order, places->count, sizeof *order, place_compare, places->entries);
    for (uint32_t i = 0; i < places->count; i++) {
        sorted[i] = places->entries[order[i]];
        position[order[i]] = i;
    }
    places->entries = sorted;
    for (size_t i = 0; i < search->snapshot->member_count; i++)
        if (places->place_of_member[i] != index_none)
            places->place_of_member[i] = position[places->place_of_member[i]];
}

struct places *places_read(struct detection *detection, const struct compiled_rule *rule, bool by_start,
                           bool (*wanted)(const struct snapshot *snapshot, const struct member *member),
                           uint32_t (*resource_of)(const struct snapshot *snapshot, const struct member *member))
{
    struct arena *arena = detection_scratch(detection);
    const struct snapshot *snapshot = detection_snapshot(detection);
    struct places_search search = {
        .detection = detection,
        .rule = rule,
        .snapshot = snapshot,
        .by_start = by_start,
        .places = arena_new(arena, struct places),
    };
    struct stack_spot *spots = arena_array(arena, struct stack_spot, snapshot->stack_count + 1);
    intern_table_init(&search.keys, arena);
    intern_table_add(&search.keys, TEXT(""));
    search.places->place_of_member = arena_array(arena, uint32_t, snapshot->member_count + 1);
    memset(search.places->place_of_member, 0xff, snapshot->member_count * sizeof *search.places->place_of_member);
    size_t matching_count;
    const uint32_t *matching = detection_matching_members(detection, rule, &matching_count);
    for (size_t m = 0; m < matching_count; m++) {
        uint32_t i = matching[m];
        const struct member *member = &snapshot->members[i];
        if (wanted != NULL && !wanted(snapshot, member))
            continue;
        struct stack_spot *spot = &spots[member->stack];
        if (!spot->is_known)
            *spot = spot_of(&search, member->stack);
        if (!spot->has_frame)
            continue;
        uint32_t resource = resource_of == NULL ? index_none : resource_of(snapshot, member);
        if (spot->entry == index_none || resource != spot->resource || member->creator != spot->creator)
            spot->entry = place_add(&search, i, spot, resource);
        spot->resource = resource;
        spot->creator = member->creator;
        search.places->place_of_member[i] = spot->entry;
        struct place *place = &search.places->entries[spot->entry];
        place->members += member->count;
        place->claimed += claims_has(detection, i) ? member->count : 0;
    }
    places_sort(&search);
    return search.places;
}

bool place_is_worth_telling(struct detection *detection, const struct compiled_rule *rule, const struct place *place,
                            uint64_t at_least, uint32_t share_permille)
{
    const struct rule *source = compiled_rule_source(rule);
    uint64_t population = snapshot_population(detection_snapshot(detection));
    if (source->at_least != 0)
        at_least = source->at_least;
    if (source->share_permille != 0)
        share_permille = source->share_permille;
    return place->claimed * 2 <= place->members && place->members >= at_least &&
           place->members * 1000 >= share_permille * population;
}

void place_tell(struct detection *detection, const struct compiled_rule *rule, const struct places *places,
                size_t number, struct finding *finding, const char *role)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    struct arena *arena = detection_arena(detection);
    struct place *place = &places->entries[number];
    const struct member *first = &snapshot->members[place->first_member];
    size_t capture_count;
    const struct capture *captures = detection_captures(detection, rule, first->stack, &capture_count);
    finding->members = place->members;
    circumstances_init(&place->circumstances, detection);
    for (uint32_t i = 0; i < snapshot->member_count; i++)
        if (places->place_of_member[i] == number) {
            circumstances_add(&place->circumstances, &snapshot->members[i]);
            detection_add_member(detection, finding, i, role);
            claims_add(detection, i);
        }
    finding_add_count(detection, finding, "members", place->members);
    detection_add_key(detection, finding, "share",
                      text_from_string(share_text(arena, place->members, snapshot_population(snapshot))));
    detection_add_key(detection, finding, "place", text_from_string(frame_place(snapshot, place->frame, arena)));
    detection_add_key(detection, finding, "function",
                      snapshot_string(snapshot, snapshot->frames[place->frame.frame].function));
    if (first->creator != 0)
        detection_add_key(detection, finding, "creator", snapshot_string(snapshot, first->creator));
    for (size_t i = 0; i < capture_count; i++)
        detection_add_key(detection, finding, captures[i].name, captures[i].value);
}

bool rule_has_conditions(const struct rule *rule)
{
    const struct rule_match *match = &rule->match;
    return match->leaf.count + match->stack.count + match->any.count + match->none.count + match->root.count +
                   match->state.count + match->creator.count + match->waits_on_word_count !=
               0 ||
           match->waits_on != 0 || match->waited_seconds != 0;
}
