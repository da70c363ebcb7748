/* SPDX-License-Identifier: Apache-2.0 */
/* Detector `leak`: one place that holds most of the process; and siblings, members that one origin starts together (a
 * connection's watcher, reader and writer) in near-equal numbers, with the frame that still creates more. Siblings are
 * looked for first, and only by rules that say whose (conditions, or `creates`).
 *
 * Keys for titles:
 *   {members}  of the place, or all siblings together    {share}    of all
 *   {place}    "f at file.go:12"                         {function} of the place, or that the largest kind began with
 *   {creator}  of a place, where known                   {siblings} members of the largest kind: about so many things
 *   {library}  import path that siblings began in        {origin}   the outermost function of the package that calls
 *                                                                   `creates`
 * and, of a place, the rule's captures.
 *
 * Where the rule does not say: a place has at-least 1,000 and, without conditions, share 50%; each kind of sibling has
 * at-least 50. Of threads only a rule that is `for: threads` finds any. */
#include "base/limits.h"
#include "detect/claims.h"
#include "detect/function_scope.h"
#include "detect/places.h"

#include <stdlib.h>

enum {
    /* Where the rule does not say: one place with fewer is a worker pool. */
    place_members_least = 1000,
    place_share_permille = 500,
    /* … members of one kind of sibling. */
    sibling_members_least = 50,
    /* Kinds that have at least two thirds of the largest one's number are of one origin: one that was not yet
     * connected, or was closed in part, has not all of them. In the one dump that was published they are 148, 107 and
     * 107. */
    sibling_factor_permille = 667,
    /* Functions named of one kind's stack, from its start. */
    chain_functions_shown = 3,
};

/* Threads are made in pools of any size, whose idle ones all stand in one place: only a rule that is about threads says
 * of them that they leak. */
static bool rule_is_for_these(struct detection *detection, const struct rule *source)
{
    return detection_snapshot(detection)->kind == PROFILE_GOROUTINES || source->members == RULE_FOR_THREADS;
}

/* Siblings. */

struct sibling {
    struct text function, layer; /* that it began with */
    uint64_t members;
    uint32_t largest_stack;
    uint64_t largest_members; /* in that stack */
    bool is_told;
};

struct siblings {
    struct detection *detection;
    const struct snapshot *snapshot;
    struct sibling *entries;
    size_t count, capacity;
    struct intern_table names;  /* numbers are entries + 1 */
    uint32_t *sibling_of_stack; /* index_none */
    uint64_t *members_of_stack;
};

static struct text frame_layer(struct detection *detection, struct stack_frame frame)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    const struct frame *known = &snapshot->frames[frame.frame];
    uint32_t module = snapshot->locations[frame.location].module;
    struct text path = module < snapshot->module_count ? snapshot->modules[module].path : (struct text){"", 0};
    return function_scope_read(snapshot_string(snapshot, known->function), snapshot_string(snapshot, known->file), path,
                               detection_scratch(detection))
        .layer;
}

static uint32_t sibling_add(struct siblings *siblings, uint32_t stack)
{
    struct stack_frame start;
    if (!stack_start(siblings->detection, stack, &start))
        return index_none;
    struct text function = snapshot_string(siblings->snapshot, siblings->snapshot->frames[start.frame].function);
    uint32_t number = intern_table_add(&siblings->names, function) - 1;
    if (number < siblings->count)
        return number;
    siblings->entries = arena_grow(detection_scratch(siblings->detection), siblings->entries, siblings->count,
                                   &siblings->capacity, sizeof *siblings->entries);
    siblings->entries[siblings->count++] =
        (struct sibling){.function = function, .layer = frame_layer(siblings->detection, start)};
    return number;
}

static void siblings_count(struct siblings *siblings, const struct compiled_rule *rule)
{
    const struct snapshot *snapshot = siblings->snapshot;
    struct arena *arena = detection_scratch(siblings->detection);
    siblings->sibling_of_stack = arena_array(arena, uint32_t, snapshot->stack_count + 1);
    siblings->members_of_stack = arena_array(arena, uint64_t, snapshot->stack_count + 1);
    size_t count;
    const uint32_t *matching = detection_matching_members(siblings->detection, rule, &count);
    for (size_t i = 0; i < count; i++) {
        const struct member *member = &snapshot->members[matching[i]];
        if (!claims_has(siblings->detection, matching[i]))
            siblings->members_of_stack[member->stack] += member->count;
    }
    for (uint32_t i = 0; i < snapshot->stack_count; i++) {
        siblings->sibling_of_stack[i] = siblings->members_of_stack[i] == 0 ? index_none : sibling_add(siblings, i);
        if (siblings->sibling_of_stack[i] == index_none)
            continue;
        struct sibling *sibling = &siblings->entries[siblings->sibling_of_stack[i]];
        sibling->members += siblings->members_of_stack[i];
        if (siblings->members_of_stack[i] > sibling->largest_members) {
            sibling->largest_members = siblings->members_of_stack[i];
            sibling->largest_stack = i;
        }
    }
}

static int sibling_compare(const void *a, const void *b)
{
    const struct sibling *first = *(struct sibling *const *)a, *second = *(struct sibling *const *)b;
    if (first->members != second->members)
        return first->members < second->members ? 1 : -1;
    size_t length = first->function.length < second->function.length ? first->function.length : second->function.length;
    int order = length == 0 ? 0 : memcmp(first->function.data, second->function.data, length);
    return order != 0 ? order : (first->function.length < second->function.length ? -1 : 1);
}

/* "transport.newHTTP2Client.func6 > transport.(*loopyWriter).run": from where it began, as far as the library goes. */
static const char *sibling_chain(struct siblings *siblings, const struct sibling *sibling)
{
    const struct snapshot *snapshot = siblings->snapshot;
    struct arena *arena = detection_scratch(siblings->detection);
    size_t count, shown = 0;
    const struct stack_frame *frames = detection_frames(siblings->detection, sibling->largest_stack, &count);
    const char *chain = "";
    for (size_t i = count; i-- > 0 && shown < chain_functions_shown;) {
        struct text function = snapshot_string(snapshot, snapshot->frames[frames[i].frame].function);
        if (function.length == 0 || function_starts_members(function))
            continue;
        if (!layers_share_root(frame_layer(siblings->detection, frames[i]), sibling->layer))
            break;
        struct text name = function_short_name(function);
        chain = arena_printf(arena, "%s%s%.*s", chain, shown++ == 0 ? "" : " > ", (int)name.length, name.data);
    }
    return chain;
}

static bool finding_has_key(const struct finding *finding, const char *name)
{
    for (size_t i = 0; i < finding->key_count; i++)
        if (strcmp(finding->keys[i].name, name) == 0)
            return true;
    return false;
}

/* A member that stands inside what creates more: who called that, up to the way out of the caller's package. */
static void creator_tell(struct siblings *siblings, const struct compiled_rule *rule, struct finding *finding,
                         uint32_t stack, uint64_t members)
{
    struct detection *detection = siblings->detection;
    const struct snapshot *snapshot = siblings->snapshot;
    struct arena *arena = detection_scratch(detection);
    size_t count, constructor = SIZE_MAX;
    const struct stack_frame *frames = detection_frames(detection, stack, &count);
    for (size_t i = 0; i < count; i++)
        if (detection_frame_matches(detection, rule, RULE_LIST_CREATES, frames[i].frame, frames[i].location))
            constructor = i;
    struct text library = frame_layer(detection, frames[constructor]), package = {"", 0};
    size_t origin = constructor + 1;
    while (origin < count && layers_share_root(frame_layer(detection, frames[origin]), library))
        origin++;
    struct text function = snapshot_string(snapshot, snapshot->frames[frames[constructor].frame].function);
    const char *path = "";
    size_t end = count - origin < limit_creator_frames ? count : origin + limit_creator_frames;
    for (size_t i = origin; i < end; i++) {
        struct text layer = frame_layer(detection, frames[i]);
        path = arena_printf(arena, "%s, called from %s", path, frame_place(snapshot, frames[i], arena));
        if (i == origin)
            package = layer;
        else if (!text_equals(layer, package))
            break;
        else
            origin = i;
    }
    detection_add_evidence(detection, finding, "%s %s creating another at this instant: %.*s%s.",
                           detection_count_text(detection, members), for_count(members, "is", "are"),
                           (int)function.length, function.data, path);
    if (origin < count && !finding_has_key(finding, "origin"))
        detection_add_key(detection, finding, "origin",
                          snapshot_string(snapshot, snapshot->frames[frames[origin].frame].function));
}

static bool stack_creates(struct siblings *siblings, const struct compiled_rule *rule, uint32_t stack)
{
    size_t count;
    const struct stack_frame *frames = detection_frames(siblings->detection, stack, &count);
    for (size_t i = 0; i < count; i++)
        if (detection_frame_matches(siblings->detection, rule, RULE_LIST_CREATES, frames[i].frame, frames[i].location))
            return true;
    return false;
}

static void creators_tell(struct siblings *siblings, const struct compiled_rule *rule, struct finding *finding)
{
    const struct snapshot *snapshot = siblings->snapshot;
    uint64_t *members = arena_array(detection_scratch(siblings->detection), uint64_t, snapshot->stack_count + 1);
    if (compiled_rule_source(rule)->creates.count == 0 ||
        !detection_any_frame_matches(siblings->detection, rule, RULE_LIST_CREATES))
        return;
    for (uint32_t i = 0; i < snapshot->member_count; i++) {
        uint32_t stack = snapshot->members[i].stack;
        if (!stack_creates(siblings, rule, stack))
            continue;
        members[stack] += snapshot->members[i].count;
        detection_add_member(siblings->detection, finding, i, "creates");
    }
    for (uint32_t i = 0, told = 0; i < snapshot->stack_count && told < limit_creators_told; i++)
        if (members[i] != 0) {
            creator_tell(siblings, rule, finding, i, members[i]);
            told++;
        }
}

/* `kinds` are those of one origin, `count` of them, the most first. */
static void siblings_tell(struct siblings *siblings, const struct compiled_rule *rule, struct sibling **kinds,
                          size_t count)
{
    struct detection *detection = siblings->detection;
    const struct snapshot *snapshot = siblings->snapshot;
    struct finding *finding = detection_add(detection, rule);
    struct circumstances circumstances;
    struct tally chains;
    uint64_t members = 0;
    tally_init(&chains, detection);
    circumstances_init(&circumstances, detection);
    for (size_t i = 0; i < count; i++) {
        members += kinds[i]->members;
        const char *chain = sibling_chain(siblings, kinds[i]);
        if (kinds[i]->largest_members != kinds[i]->members)
            chain = arena_printf(detection_scratch(detection), "%s (%s of them in one stack)", chain,
                                 detection_count_text(detection, kinds[i]->largest_members));
        tally_add(&chains, text_from_string(chain), kinds[i]->members);
        kinds[i]->is_told = true;
    }
    size_t matching_count;
    const uint32_t *matching = detection_matching_members(detection, rule, &matching_count);
    for (size_t m = 0; m < matching_count; m++) {
        uint32_t i = matching[m];
        uint32_t number = siblings->sibling_of_stack[snapshot->members[i].stack];
        bool takes_part = false;
        for (size_t j = 0; j < count && number != index_none; j++)
            takes_part |= kinds[j] == &siblings->entries[number];
        if (!takes_part || claims_has(detection, i))
            continue;
        detection_add_member(detection, finding, i, "started together");
        claims_add(detection, i);
        circumstances_add(&circumstances, &snapshot->members[i]);
    }
    finding->members = members;
    finding->confidence = CONFIDENCE_INFERRED;
    detection_add_evidence(detection, finding, "%s %s to one library, in near-equal numbers of %zu kinds: %s.",
                           part_text(detection, members), for_count(members, "belongs", "belong"), count,
                           tally_text(&chains, " in "));
    creators_tell(siblings, rule, finding);
    circumstances_tell(&circumstances, finding);
    stack_memory_tell(detection, finding, members);
    finding_add_count(detection, finding, "members", members);
    finding_add_count(detection, finding, "siblings", kinds[0]->members);
    detection_add_key(detection, finding, "function", kinds[0]->function);
    detection_add_key(detection, finding, "library", kinds[0]->layer);
    struct stack_frame place;
    if (stack_place(detection, kinds[0]->largest_stack, &place))
        detection_add_key(detection, finding, "place",
                          text_from_string(frame_place(snapshot, place, detection_arena(detection))));
    if (!finding_has_key(finding, "origin"))
        detection_add_key(detection, finding, "origin", TEXT("a caller that no stack shows"));
    detection_add_key(detection, finding, "share",
                      text_from_string(share_text(detection_arena(detection), members, snapshot_population(snapshot))));
    detection_set_title(detection, finding, rule,
                        "{members} {kind} belong to about {siblings} things that {library} started");
}

/* False: there are none. */
static bool siblings_find(struct detection *detection, const struct compiled_rule *rule)
{
    const struct rule *source = compiled_rule_source(rule);
    struct arena *arena = detection_scratch(detection);
    struct siblings siblings = {.detection = detection, .snapshot = detection_snapshot(detection)};
    uint64_t at_least = source->at_least != 0 ? source->at_least : sibling_members_least;
    /* A server has a reader and a writer for each client: only a rule that says whose siblings it means finds some. */
    if (!rule_has_conditions(source) && source->creates.count == 0)
        return false;
    intern_table_init(&siblings.names, arena);
    intern_table_add(&siblings.names, TEXT(""));
    siblings_count(&siblings, rule);
    struct sibling **order = arena_array(arena, struct sibling *, siblings.count + 1);
    struct sibling **kinds = arena_array(arena, struct sibling *, siblings.count + 1);
    size_t order_count = 0;
    for (size_t i = 0; i < siblings.count; i++)
        if (siblings.entries[i].members >= at_least)
            order[order_count++] = &siblings.entries[i];
    if (order_count != 0)
        qsort(order, order_count, sizeof *order, sibling_compare);
    if (order_count > limit_masses_of_rule)
        order_count = limit_masses_of_rule;
    bool found = false;
    for (size_t i = 0; i < order_count; i++) {
        size_t count = 0;
        uint64_t members = 0;
        for (size_t j = i; j < order_count && !order[i]->is_told; j++)
            if (!order[j]->is_told && layers_share_root(order[i]->layer, order[j]->layer) &&
                order[j]->members * 1000 >= order[i]->members * sibling_factor_permille) {
                kinds[count++] = order[j];
                members += order[j]->members;
            }
        if (count < 2 || members * 1000 < (uint64_t)source->share_permille * snapshot_population(siblings.snapshot))
            continue;
        siblings_tell(&siblings, rule, kinds, count);
        found = true;
    }
    return found;
}

/* One place. */

static void place_evidence(struct detection *detection, struct finding *finding, const struct place *place)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    struct arena *arena = detection_scratch(detection);
    const char *began = "";
    if (place->start != 0 && place->start != snapshot->frames[place->frame.frame].function)
        began = arena_printf(arena, ", and began with %s", snapshot_string(snapshot, place->start).data);
    detection_add_evidence(detection, finding, "%s %s in one place, %s%s.", part_text(detection, place->members),
                           for_count(place->members, "stands", "stand"), frame_place(snapshot, place->frame, arena),
                           began);
}

/* Waits in which an idle server's goroutines stand: for requests, for whichever of several things comes first. */
static bool is_idle_wait(struct text state)
{
    return text_equals(state, TEXT("select")) || text_equals(state, TEXT("IO wait")) ||
           text_equals(state, TEXT("sync.Cond.Wait"));
}

/* Of a dump without states the frames say it of those that wait for a peer or a condition. */
static bool waits_idly(const struct snapshot *snapshot, const struct member *member)
{
    for (uint32_t i = 0; i < member->wait_count; i++) {
        enum wait_kind kind = snapshot->resources[snapshot->waits[member->wait_first + i].resource].kind;
        if (kind != WAIT_SOCKET && kind != WAIT_POLL && kind != WAIT_CONDITION)
            return false;
    }
    return member->wait_count != 0;
}

/* Whether all but the few that were just met at work wait so. */
static bool place_may_be_idle(struct detection *detection, const struct places *places, const struct place *place,
                              const struct circumstances *circumstances)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    uint64_t idle = 0, known = 0;
    for (size_t i = 0; i < circumstances->states.count; i++) {
        const struct tally_row *row = &circumstances->states.rows[i];
        known += row->count;
        idle += is_idle_wait(row->text) ? row->count : 0;
    }
    for (uint32_t i = 0; known == 0 && i < place->member_count; i++) {
        const struct member *member = &snapshot->members[places->members[place->member_first + i]];
        idle += waits_idly(snapshot, member) ? member->count : 0;
    }
    known = known != 0 ? known : place->members;
    return known != 0 && idle * 10 >= known * 9;
}

static void place_find(struct detection *detection, const struct compiled_rule *rule)
{
    const struct rule *source = compiled_rule_source(rule);
    struct places *places = places_read(detection, rule, true, place_members_least,
                                        rule_has_conditions(source) ? 0 : place_share_permille, NULL, NULL);
    for (size_t i = 0; i < places->count && i < limit_masses_of_rule; i++) {
        const struct place *place = &places->entries[i];
        struct circumstances circumstances;
        struct finding *finding = detection_add(detection, rule);
        finding->confidence = CONFIDENCE_INFERRED;
        place_tell(detection, rule, places, i, finding, "waits", &circumstances);
        place_evidence(detection, finding, place);
        if (place->unnamed_count != 0)
            detection_add_evidence(detection, finding,
                                   "What they wait for there is not told: the dump names no function of the %zu calls "
                                   "in front of it.",
                                   place->unnamed_count);
        if (place_may_be_idle(detection, places, place, &circumstances)) {
            finding->severity = finding->severity < SEVERITY_INFO ? finding->severity : SEVERITY_INFO;
            detection_add_evidence(detection, finding,
                                   "So wait the idle ones of a server too, one a client: a second look tells whether "
                                   "their number grows.");
        }
        circumstances_tell(&circumstances, finding);
        stack_memory_tell(detection, finding, place->members);
        detection_set_title(detection, finding, rule, "{members} {kind}, {share} of all, stand in {place}");
    }
}

static void leaks_run(struct detection *detection, const struct compiled_rule *rule)
{
    if (!rule_is_for_these(detection, compiled_rule_source(rule)) || siblings_find(detection, rule))
        return;
    place_find(detection, rule);
}

const struct detector detector_leak = {RULE_LEAK, "leak", leaks_run, NULL};
