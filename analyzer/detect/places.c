/* SPDX-License-Identifier: Apache-2.0 */
#include "detect/places.h"

#include "detect/claims.h"

#include <stdlib.h>

/* A place while members are counted. */
struct counted {
    struct place place;
    uint32_t told; /* where it is among those worth telling, + 1 */
};

struct places_search {
    struct detection *detection;
    const struct compiled_rule *rule;
    const struct snapshot *snapshot;
    bool by_start;
    /* What places are told apart by, of what differs between members of one stack; `by_resource_alone`: the resource,
     * and where there is none the stack. */
    bool by_resource, by_resource_alone, by_creator;
    struct intern_table keys;
    uint32_t *of_key; /* by key: entry + 1 */
    size_t of_key_capacity;
    uint32_t *of_resource; /* by_resource_alone: entry + 1; made at the first */
    struct counted *entries;
    size_t count, capacity;
    uint64_t at_least;
    uint32_t share_permille;
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

static bool rule_is_by(const struct rule *rule, struct text word)
{
    for (size_t i = 0; i < rule->by_count; i++)
        if (text_equals(rule->by[i], word))
            return true;
    return false;
}

static uint32_t entry_add(struct places_search *search, uint32_t number, const struct stack_spot *spot,
                          uint32_t resource)
{
    search->entries = arena_grow(detection_scratch(search->detection), search->entries, search->count,
                                 &search->capacity, sizeof *search->entries);
    search->entries[search->count] = (struct counted){.place = {
                                                          .first_member = number,
                                                          .resource = resource,
                                                          .frame = spot->frame,
                                                          .start = spot->start,
                                                          .unnamed_count = spot->unnamed_count,
                                                      }};
    return (uint32_t)search->count++;
}

static uint32_t entry_of(struct places_search *search, uint32_t number, const struct stack_spot *spot,
                         uint32_t resource)
{
    const struct member *member = &search->snapshot->members[number];
    if (search->by_resource_alone && resource != index_none) {
        if (search->of_resource == NULL)
            search->of_resource =
                arena_array(detection_scratch(search->detection), uint32_t, search->snapshot->resource_count + 1);
        uint32_t *entry = &search->of_resource[resource];
        if (*entry == 0)
            *entry = entry_add(search, number, spot, resource) + 1;
        return *entry - 1;
    }
    uint32_t key = intern_table_add(&search->keys, key_of(search, member, spot, resource)), *entry;
    search->of_key = arena_grow(detection_scratch(search->detection), search->of_key, key, &search->of_key_capacity,
                                sizeof *search->of_key);
    entry = &search->of_key[key];
    if (*entry == 0)
        *entry = entry_add(search, number, spot, resource) + 1;
    return *entry - 1;
}

static bool is_enough(const struct places_search *search, uint64_t members)
{
    return members >= search->at_least &&
           members * 1000 >= search->share_permille * snapshot_population(search->snapshot);
}

static int compare_counted(const void *a, const void *b)
{
    const struct place *first = &(*(struct counted *const *)a)->place, *second = &(*(struct counted *const *)b)->place;
    if (first->members != second->members)
        return first->members < second->members ? 1 : -1;
    return first->first_member < second->first_member ? -1 : 1;
}

/* Those worth telling, sorted. */
static void places_take(struct places_search *search, struct places *places)
{
    struct arena *arena = detection_scratch(search->detection);
    struct counted **worthy = arena_array(arena, struct counted *, search->count + 1);
    for (size_t i = 0; i < search->count; i++) {
        const struct place *place = &search->entries[i].place;
        if (place->claimed * 2 <= place->members && is_enough(search, place->members))
            worthy[places->count++] = &search->entries[i];
    }
    if (places->count > 1)
        qsort(worthy, places->count, sizeof *worthy, compare_counted);
    places->entries = arena_array(arena, struct place, places->count + 1);
    uint32_t first = 0;
    for (size_t i = 0; i < places->count; i++) {
        worthy[i]->told = (uint32_t)i + 1;
        places->entries[i] = worthy[i]->place;
        places->entries[i].member_first = first;
        first += places->entries[i].member_count;
        places->entries[i].member_count = 0;
    }
    places->members = arena_array(arena, uint32_t, first + 1);
}

/* Members of one stack mostly follow one another into one place. */
static uint32_t count_member(struct places_search *search, struct stack_spot *spot, uint32_t number, uint32_t resource)
{
    const struct member *member = &search->snapshot->members[number];
    uint32_t kept_resource = search->by_resource ? resource : index_none;
    uint32_t kept_creator = search->by_creator ? member->creator : 0;
    if (spot->entry == index_none || kept_resource != spot->resource || kept_creator != spot->creator)
        spot->entry = entry_of(search, number, spot, resource);
    spot->resource = kept_resource;
    spot->creator = kept_creator;
    struct place *place = &search->entries[spot->entry].place;
    place->member_count++;
    place->members += member->count;
    place->claimed += claims_has(search->detection, number) ? member->count : 0;
    return spot->entry;
}

struct places *places_read(struct detection *detection, const struct compiled_rule *rule, bool by_start,
                           uint64_t at_least, uint32_t share_permille,
                           bool (*wanted)(const struct snapshot *snapshot, const struct member *member),
                           uint32_t (*resource_of)(const struct snapshot *snapshot, const struct member *member))
{
    struct arena *arena = detection_scratch(detection);
    const struct snapshot *snapshot = detection_snapshot(detection);
    const struct rule *source = compiled_rule_source(rule);
    struct places *places = arena_new(arena, struct places);
    struct places_search search = {
        .detection = detection,
        .rule = rule,
        .snapshot = snapshot,
        .by_start = by_start,
        .by_resource = resource_of != NULL && (source->by_count == 0 || rule_is_by(source, TEXT("resource"))),
        .by_creator = rule_is_by(source, TEXT("creator")),
        .at_least = source->at_least != 0 ? source->at_least : at_least,
        .share_permille = source->share_permille != 0 ? source->share_permille : share_permille,
    };
    search.by_resource_alone = search.by_resource && source->by_count <= 1;
    size_t matching_count;
    const uint32_t *matching = detection_matching_members(detection, rule, &matching_count);
    if (matching_count == 0)
        return places;
    struct stack_spot *spots = arena_array(arena, struct stack_spot, snapshot->stack_count + 1);
    intern_table_init(&search.keys, arena);
    search.of_key_capacity = 64;
    search.of_key = arena_array(arena, uint32_t, search.of_key_capacity);
    uint32_t *entries = arena_array(arena, uint32_t, matching_count); /* + 1; 0: in no place */
    for (size_t i = 0; i < matching_count; i++) {
        const struct member *member = &snapshot->members[matching[i]];
        if (wanted != NULL && !wanted(snapshot, member))
            continue;
        struct stack_spot *spot = &spots[member->stack];
        if (!spot->is_known)
            *spot = spot_of(&search, member->stack);
        uint32_t resource = resource_of == NULL ? index_none : resource_of(snapshot, member);
        /* A leak has a million channels, one goroutine at each: there is no place for each. */
        if (spot->has_frame && !(search.by_resource && resource != index_none &&
                                 !is_enough(&search, snapshot->resources[resource].waiters)))
            entries[i] = count_member(&search, spot, matching[i], resource) + 1;
    }
    places_take(&search, places);
    for (size_t i = 0; i < matching_count; i++) {
        uint32_t told = entries[i] == 0 ? 0 : search.entries[entries[i] - 1].told;
        if (told != 0) {
            struct place *place = &places->entries[told - 1];
            places->members[place->member_first + place->member_count++] = matching[i];
        }
    }
    return places;
}

void place_tell(struct detection *detection, const struct compiled_rule *rule, const struct places *places,
                size_t number, struct finding *finding, const char *role, struct circumstances *circumstances)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    struct arena *arena = detection_arena(detection);
    const struct place *place = &places->entries[number];
    const struct member *first = &snapshot->members[place->first_member];
    size_t capture_count;
    const struct capture *captures = detection_captures(detection, rule, first->stack, &capture_count);
    finding->members = place->members;
    circumstances_init(circumstances, detection);
    for (uint32_t i = 0; i < place->member_count; i++) {
        uint32_t member = places->members[place->member_first + i];
        circumstances_add(circumstances, &snapshot->members[member]);
        detection_add_member(detection, finding, member, role);
        claims_add(detection, member);
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
