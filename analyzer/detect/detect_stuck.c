/* SPDX-License-Identifier: Apache-2.0 */
/* Detector `stuck`: members that nobody can wake any more, of those that the rule's conditions hold for: what they wait
 * for is referred to by nothing that a member which can still run, or a variable, could come to. The program's memory
 * proves it (model/program.h), or a dump says it: "(leaked)" of Go's own collector. One finding a rule.
 *
 * Keys for titles: {members}, {things} "4 channels", {place} of the first member, and of wait groups {calls}, how many
 * calls of Done they still count on.
 *
 * A rule with `lent` has one finding for each pool that its members wait for and whose things nobody holds any more:
 * {leaked}, {held}, {size}, {in-use}.
 *
 * Where the rule does not say: at-least 1. A single one that is the program's main goroutine, and that no other one
 * waits with, is how programs keep from ending: `info`. */
#include "detect/claims.h"
#include "detect/wording.h"
#include "model/program.h"

#include <inttypes.h>
#include <stdlib.h>

enum { things_told = 3 }; /* one by one; the rest is summed up */

/* A channel, a lock … that members of the finding wait for. */
struct thing {
    uint32_t resource;
    uint64_t members;
};

struct stuck_search {
    struct detection *detection;
    const struct compiled_rule *rule;
    const struct program_stuck *stuck; /* NULL: only what a dump says is known */
    uint32_t *members;
    size_t member_count;
    uint64_t weight; /* of the members */
    struct thing *things;
    size_t thing_count;
    bool is_told; /* by a dump, of some of them */
};

static bool waits_for_rule(const struct rule *rule, const struct resource *resource)
{
    return rule->match.waits_on == 0 || (rule->match.waits_on >> resource->kind & 1) != 0;
}

/* Channels that are nil and selects without cases are waited for by all alike: other rules tell them. Of a lock whose
 * holder is known its queue is told, with what that one does. */
static bool waits_for_something(const struct stuck_search *search, const struct member *member)
{
    const struct snapshot *snapshot = detection_snapshot(search->detection);
    for (uint32_t i = 0; i < member->wait_count; i++) {
        const struct resource *resource = &snapshot->resources[snapshot->waits[member->wait_first + i].resource];
        if (waits_for_rule(compiled_rule_source(search->rule), resource) && resource->hold_count == 0 &&
            (resource->address != 0 || resource->is_any))
            return true;
    }
    return false;
}

static const struct program_stuck *ask(const struct stuck_search *search, const struct program *program)
{
    const struct program_stuck *stuck = program->stuck(program->context);
    if (stuck == NULL || !stuck->is_too_much)
        return stuck;
    detection_note(search->detection, "stuck-not-searched",
                   "who can still wake whom was not looked for, as the program is large: "
                   "stackgroup --rule=go/channel-abandoned looks for those that wait for ever, and takes its time");
    return NULL;
}

static void collect(struct stuck_search *search)
{
    struct detection *detection = search->detection;
    const struct snapshot *snapshot = detection_snapshot(detection);
    const struct program *program = detection_program(detection);
    size_t count;
    bool is_asked = program == NULL;
    const uint32_t *matching = detection_matching_members(detection, search->rule, &count);
    search->members = arena_array(detection_scratch(detection), uint32_t, count + 1);
    for (size_t i = 0; i < count; i++) {
        const struct member *member = &snapshot->members[matching[i]];
        if (!waits_for_something(search, member) || claims_has(detection, matching[i]))
            continue;
        if (!is_asked)
            search->stuck = ask(search, program);
        is_asked = true;
        bool is_stuck = search->stuck != NULL && search->stuck->members[matching[i]] != 0;
        if (!is_stuck && !member->is_leaked)
            continue;
        search->is_told |= !is_stuck;
        search->members[search->member_count++] = matching[i];
        search->weight += member->count;
    }
}

static int compare_things(const void *left, const void *right)
{
    const struct thing *a = left, *b = right;
    if (a->members != b->members)
        return a->members > b->members ? -1 : 1;
    return a->resource < b->resource ? -1 : a->resource > b->resource;
}

static void things_read(struct stuck_search *search)
{
    struct detection *detection = search->detection;
    const struct snapshot *snapshot = detection_snapshot(detection);
    uint32_t *numbers = arena_array(detection_scratch(detection), uint32_t, snapshot->resource_count + 1);
    size_t capacity = 0;
    for (size_t i = 0; i < search->member_count; i++) {
        const struct member *member = &snapshot->members[search->members[i]];
        for (uint32_t j = 0; j < member->wait_count; j++) {
            uint32_t resource = snapshot->waits[member->wait_first + j].resource;
            if (snapshot->resources[resource].address == 0)
                continue;
            if (numbers[resource] == 0) {
                search->things = arena_grow(detection_scratch(detection), search->things, search->thing_count,
                                            &capacity, sizeof *search->things);
                search->things[search->thing_count++] = (struct thing){resource, 0};
                numbers[resource] = (uint32_t)search->thing_count;
            }
            search->things[numbers[resource] - 1].members += member->count;
        }
    }
    if (search->thing_count > 1)
        qsort(search->things, search->thing_count, sizeof *search->things, compare_things);
}

/* Whether a member waits for what lies in the link's object. */
static bool member_waits_in(const struct snapshot *snapshot, const struct program_link *link)
{
    const struct member *member = &snapshot->members[link->member];
    for (uint32_t i = 0; i < member->wait_count; i++) {
        uint64_t address = snapshot->resources[snapshot->waits[member->wait_first + i].resource].address;
        if (address >= link->start && address < link->end)
            return true;
    }
    return false;
}

/* The first link to an object that ends above the address. */
static size_t link_from(const struct program_stuck *stuck, uint64_t address)
{
    size_t low = 0, high = stuck->link_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (stuck->links[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Others that are stuck themselves and know the thing; returns how many. */
static uint64_t knowers_tally(const struct stuck_search *search, uint64_t address, struct tally *tally)
{
    const struct snapshot *snapshot = detection_snapshot(search->detection);
    const struct program_stuck *stuck = search->stuck;
    uint64_t count = 0;
    tally_init(tally, search->detection);
    for (size_t i = stuck == NULL ? 0 : link_from(stuck, address);
         stuck != NULL && i < stuck->link_count && stuck->links[i].start <= address; i++) {
        const struct member *member = &snapshot->members[stuck->links[i].member];
        if (member_waits_in(snapshot, &stuck->links[i]))
            continue;
        struct text site = detection_call_site(search->detection, member->stack);
        struct text state = snapshot_string(snapshot, member->state);
        const char *text = arena_printf(detection_scratch(search->detection), "%.*s (%.*s)", (int)site.length,
                                        site.data, (int)state.length, state.data);
        tally_add(tally, text_from_string(text), member->count);
        count += member->count;
    }
    return count;
}

static const char *thing_fill_text(struct detection *detection, const struct resource *resource)
{
    if (resource->counter_known)
        return arena_printf(detection_scratch(detection), ", whose counter stands at %s (read): %s of Done %s missing",
                            detection_count_text(detection, resource->fill),
                            resource->fill == 1 ? "a call"
                                                : arena_printf(detection_scratch(detection), "%s calls",
                                                               detection_count_text(detection, resource->fill)),
                            for_count(resource->fill, "is", "are"));
    if (resource->capacity_known)
        return arena_printf(detection_scratch(detection), ", which holds %s of %s (read)",
                            detection_count_text(detection, resource->fill),
                            detection_count_text(detection, resource->capacity));
    return "";
}

static void thing_tell(struct stuck_search *search, struct finding *finding, const struct thing *thing)
{
    struct detection *detection = search->detection;
    const struct resource *resource = &detection_snapshot(detection)->resources[thing->resource];
    struct text name = detection_resource_text(detection, thing->resource);
    struct tally tally;
    uint64_t knowers = knowers_tally(search, resource->address, &tally);
    detection_add_evidence(detection, finding, "%s %s for %.*s%s.", detection_count_text(detection, thing->members),
                           for_count(thing->members, "waits", "wait"), (int)name.length, name.data,
                           thing_fill_text(detection, resource));
    if (knowers != 0)
        detection_add_evidence(
            detection, finding, "%s%s %s it, and %s stuck %s: %s.", search->stuck->links_are_all ? "" : "At least ",
            detection_count_text(detection, knowers),
            for_count(knowers, "other goroutine knows", "other goroutines know"), for_count(knowers, "is", "are"),
            for_count(knowers, "itself", "themselves"), tally_text(&tally, " in "));
}

static const char *things_text(struct stuck_search *search)
{
    const struct snapshot *snapshot = detection_snapshot(search->detection);
    struct arena *scratch = detection_scratch(search->detection);
    const struct member *first = &snapshot->members[search->members[0]];
    enum wait_kind kind = snapshot->resources[snapshot->waits[first->wait_first].resource].kind;
    bool one = search->thing_count == 1;
    if (search->thing_count == 0) /* nothing tells how many */
        return kind == WAIT_CONDITION ? "a sync.Cond" : "something";
    const char *word = one ? "lock" : "locks";
    if (kind == WAIT_CHANNEL_SEND || kind == WAIT_CHANNEL_RECEIVE || kind == WAIT_SELECT)
        word = one ? "channel" : "channels";
    else if (kind == WAIT_WAITGROUP)
        word = one ? "wait group" : "wait groups";
    else if (kind == WAIT_CONDITION)
        word = one ? "sync.Cond" : "sync.Conds";
    return arena_printf(scratch, "%s %s", one ? "a" : detection_count_text(search->detection, search->thing_count),
                        word);
}

/* `var wg sync.WaitGroup; wg.Add(1); wg.Wait()`, `<-make(chan bool)`: at the end of main. */
static bool is_kept_alive(const struct stuck_search *search)
{
    enum { main_id = 1 };
    const struct snapshot *snapshot = detection_snapshot(search->detection);
    struct tally tally;
    return search->weight == 1 && snapshot->members[search->members[0]].id == main_id && search->thing_count == 1 &&
           knowers_tally(search, snapshot->resources[search->things[0].resource].address, &tally) == 0;
}

static void counters_tell(const struct stuck_search *search, struct finding *finding)
{
    const struct snapshot *snapshot = detection_snapshot(search->detection);
    uint64_t calls = 0;
    bool is_known = false;
    for (size_t i = 0; i < search->thing_count; i++) {
        const struct resource *resource = &snapshot->resources[search->things[i].resource];
        calls += resource->counter_known ? resource->fill : 0;
        is_known |= resource->counter_known;
    }
    if (is_known)
        finding_add_count(search->detection, finding, "calls", calls);
}

static void stuck_tell(struct stuck_search *search)
{
    struct detection *detection = search->detection;
    const struct snapshot *snapshot = detection_snapshot(detection);
    struct finding *finding = detection_add(detection, search->rule);
    struct circumstances circumstances;
    struct tally sites;
    const char *things = things_text(search);
    circumstances_init(&circumstances, detection);
    tally_init(&sites, detection);
    finding->confidence = CONFIDENCE_READ;
    finding->members = search->weight;
    for (size_t i = 0; i < search->member_count; i++) {
        const struct member *member = &snapshot->members[search->members[i]];
        claims_add(detection, search->members[i]);
        detection_add_member(detection, finding, search->members[i], "waits");
        circumstances_add(&circumstances, member);
        tally_add(&sites, detection_call_site(detection, member->stack), member->count);
    }
    detection_add_key(detection, finding, "things", text_from_string(things));
    finding_add_count(detection, finding, "thing-count", search->thing_count);
    detection_add_key(detection, finding, "place",
                      detection_call_site(detection, snapshot->members[search->members[0]].stack));
    counters_tell(search, finding);
    if (search->is_told)
        detection_add_evidence(detection, finding,
                               "%s %s said to be leaked: Go's collector found that nothing which can still run refers "
                               "to what they wait for.",
                               part_text(detection, search->weight), for_count(search->weight, "is", "are"));
    else
        detection_add_evidence(detection, finding,
                               "%s %s for %s that nothing refers to which can still run: no variable, no thread, no "
                               "other goroutine but stuck ones, nor anything on the heap that these lead to (read).",
                               part_text(detection, search->weight), for_count(search->weight, "waits", "wait"),
                               things);
    detection_add_evidence(detection, finding, "They wait: %s.", tally_text(&sites, " in "));
    for (size_t i = 0; i < search->thing_count && i < things_told; i++)
        thing_tell(search, finding, &search->things[i]);
    if (is_kept_alive(search))
        finding->severity = SEVERITY_INFO;
    circumstances_tell(&circumstances, finding);
    detection_set_title(detection, finding, search->rule, "{members} {kind} wait for ever");
}

/* Pools that are used up by what nobody holds any more: "sql.driverConn.db" of a "sql.DB". */

static void leak_tell(struct detection *detection, const struct compiled_rule *rule, const uint32_t *members,
                      size_t count, const struct program_lender *pool)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    const struct rule *source = compiled_rule_source(rule);
    struct finding *finding = detection_add(detection, rule);
    struct circumstances circumstances;
    uint64_t leaked = pool->in_use - pool->held;
    circumstances_init(&circumstances, detection);
    finding->confidence = CONFIDENCE_READ;
    if (pool->held != 0 && finding->severity == SEVERITY_CRITICAL)
        finding->severity = SEVERITY_WARNING; /* those will be given back */
    for (size_t i = 0; i < count; i++) {
        detection_add_member(detection, finding, members[i], "waits");
        circumstances_add(&circumstances, &snapshot->members[members[i]]);
        finding->members += snapshot->members[members[i]].count;
    }
    finding_add_count(detection, finding, "leaked", leaked);
    finding_add_count(detection, finding, "held", pool->held);
    finding_add_count(detection, finding, "size", pool->size);
    finding_add_count(detection, finding, "in-use", pool->in_use);
    detection_add_evidence(detection, finding, "The pool (%.*s at 0x%" PRIx64 ") has %s, in use: %s (read).",
                           (int)source->pool.length, source->pool.data, pool->address,
                           detection_count_text(detection, pool->size), detection_count_text(detection, pool->in_use));
    detection_add_evidence(
        detection, finding,
        "Of these %s %s held by somebody: without the pool no goroutine, variable or thing on the heap "
        "leads to the other %s (read). They were taken and dropped, and never come back.",
        pool->held == 0
            ? "none"
            : arena_printf(detection_scratch(detection), "%s at the most", detection_count_text(detection, pool->held)),
        for_count(pool->held, "is", "are"), detection_count_text(detection, leaked));
    circumstances_tell(&circumstances, finding);
    detection_set_title(detection, finding, rule, "{leaked} things of a pool are held by nobody");
}

static void leaks_run(struct detection *detection, const struct compiled_rule *rule)
{
    enum { pools_max = 16 };
    const struct rule *source = compiled_rule_source(rule);
    const struct program *program = detection_program(detection);
    struct arena *scratch = detection_scratch(detection);
    struct program_lender pools[pools_max];
    size_t count, dot = source->lent.length;
    const uint32_t *members = detection_matching_members(detection, rule, &count);
    while (dot > 0 && source->lent.data[dot - 1] != '.')
        dot--;
    if (program == NULL || count == 0 || count < source->at_least || dot == 0)
        return;
    struct program_lender_question question = {
        .lent = arena_printf(scratch, "%.*s", (int)dot - 1, source->lent.data),
        .field = {source->lent.data + dot, source->lent.length - dot},
        .type = arena_printf(scratch, "%.*s", (int)source->pool.length, source->pool.data),
        .size = source->size,
        .in_use = source->in_use,
        .members = members,
        .member_count = count,
    };
    size_t pool_count = program->lenders(program->context, &question, pools, pools_max);
    /* One that is being opened has no thing yet. */
    for (size_t i = 0; i < pool_count; i++)
        if (pools[i].in_use == pools[i].size && pools[i].existing == pools[i].in_use && pools[i].held < pools[i].in_use)
            leak_tell(detection, rule, members, count, &pools[i]);
}

static void stuck_run(struct detection *detection, const struct compiled_rule *rule)
{
    struct stuck_search search = {.detection = detection, .rule = rule};
    uint64_t at_least = compiled_rule_source(rule)->at_least;
    if (compiled_rule_source(rule)->lent.length != 0) {
        leaks_run(detection, rule);
        return;
    }
    collect(&search);
    if (search.member_count == 0 || search.weight < at_least)
        return;
    things_read(&search);
    stuck_tell(&search);
}

const struct detector detector_stuck = {RULE_STUCK, "stuck", stuck_run};
