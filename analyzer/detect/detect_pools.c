/* SPDX-License-Identifier: Apache-2.0 */
/* Detector `pool`: members that wait for an object of a pool (a connection, a buffer), those among them that may hold
 * one already and so wait for themselves (nested acquisition), and holders that do something else.
 *
 * Keys for titles:
 *   {waiters}  members that wait inside acquire          {nested}   of them, those that may hold one already
 *   {victims}  of them, the others                       {holders}  members that may hold one and do something else
 *   {pool}     the outermost function of acquire         {share}    of all members, that wait
 *   {verdict}  ", 300 of which may hold what the others wait for"
 * and the rule's captures, of the stack of the first waiter.
 *
 * Where the rule does not say: at-least 10 waiters. Without nesting nothing is found: a pool under load has waiters
 * too, and holders that work; to count them is for the detector `count`. */
#include "detect/detect_pools.h"

#include "base/limits.h"
#include "detect/claims.h"
#include "detect/pool_program.h"
#include "detect/wording.h"

#include <inttypes.h>
#include <stdlib.h>

/* Waiters below which nothing is said unless the rule says so: a busy pool has a few at any instant. */
enum { waiters_least = 10 };

/* A member or mass that waits inside acquire. Those of one pool have the same layer and resource. */
struct pool_member {
    uint32_t member;
    uint32_t layer;    /* of acquire */
    uint32_t resource; /* what the pool's waiters wait on; index_none unknown, or each has its own */
    uint32_t channel;  /* the one with room that it waits on; index_none: none */
    uint32_t object;   /* into pool_program.objects; index_none unknown */
    uint32_t entry;    /* into pool.entries, once its pool is known */
};

struct pool_search {
    struct detection *detection;
    const struct compiled_rule *rule;
    const struct snapshot *snapshot;
    const struct pool_functions *functions;
    struct pool_entry *inside; /* by stack; frames NULL: not inside acquire */
    uint32_t *entry_of_stack;  /* by stack: into the entries of the pool gathered last */
    struct pool_member *members;
    size_t member_count;
    struct pool_program *program; /* NULL: nobody to ask */
};

/* Members that do not wait, as far as their state tells. */
static bool member_runs(const struct snapshot *snapshot, const struct member *member)
{
    struct text state = snapshot_string(snapshot, member->state);
    return text_starts_with(state, TEXT("running")) || text_starts_with(state, TEXT("runnable")) ||
           text_starts_with(state, TEXT("returning from"));
}

static bool frame_is(struct pool_search *search, enum rule_list list, struct stack_frame frame)
{
    return detection_frame_matches(search->detection, search->rule, list, frame.frame, frame.location);
}

/* The leafmost frame inside acquire, or `count`. */
static size_t acquire_find(struct pool_search *search, const struct stack_frame *frames, size_t count)
{
    size_t at = 0;
    while (at < count && !frame_is(search, RULE_LIST_ACQUIRE, frames[at]))
        at++;
    return at;
}

static uint32_t layer_at(const struct pool_search *search, struct stack_frame frame)
{
    return search->functions->entries[search->functions->function_of_frame[frame.frame]].layer;
}

/* Where acquire ends rootwards: its own helpers (database/sql's retry) may stand between its functions. */
static size_t acquire_outer(struct pool_search *search, const struct stack_frame *frames, size_t count, size_t inner)
{
    size_t outer = inner;
    for (size_t i = inner + 1; i < count; i++) {
        if (frame_is(search, RULE_LIST_ACQUIRE, frames[i]))
            outer = i;
        else if (layer_at(search, frames[i]) == 0 || layer_at(search, frames[i]) != layer_at(search, frames[inner]))
            break;
    }
    return outer;
}

static void entry_fill(struct pool_search *search, uint32_t stack, size_t inner, struct pool_entry *entry)
{
    size_t count;
    const struct stack_frame *frames = detection_frames(search->detection, stack, &count);
    size_t outer = acquire_outer(search, frames, count, inner);
    *entry = (struct pool_entry){
        .stack = stack,
        .frames = frames,
        .frame_count = count,
        .outer = outer,
        .caller = outer + 1,
        .working = outer + 1,
    };
    while (entry->working < count && !frame_is(search, RULE_LIST_HOLD, frames[entry->working]))
        entry->working++;
}

/* Fills in `inside` and the functions. False: no stack is inside acquire, as in most dumps for most rules. */
static bool search_stacks(struct pool_search *search)
{
    struct arena *arena = detection_scratch(search->detection);
    if (!detection_any_frame_matches(search->detection, search->rule, RULE_LIST_ACQUIRE))
        return false;
    void **functions = detection_slot(search->detection, RULE_POOL);
    if (*functions == NULL)
        *functions = pool_functions_read(search->detection);
    search->functions = *functions;
    search->inside = arena_array(arena, struct pool_entry, search->snapshot->stack_count);
    search->entry_of_stack = arena_array(arena, uint32_t, search->snapshot->stack_count);
    for (uint32_t stack = 0; stack < search->snapshot->stack_count; stack++) {
        size_t count;
        const struct stack_frame *frames = detection_frames(search->detection, stack, &count);
        size_t inner = acquire_find(search, frames, count);
        if (inner < count)
            entry_fill(search, stack, inner, &search->inside[stack]);
    }
    return true;
}

static bool kind_is_channel(enum wait_kind kind)
{
    return kind == WAIT_CHANNEL_RECEIVE || kind == WAIT_CHANNEL_SEND || kind == WAIT_SELECT;
}

/* The channel of what is lent, or of places for it: it has room, and is empty or full. Of a select's the one that most
 * wait on. */
static uint32_t lending_channel(const struct snapshot *snapshot, const struct member *member)
{
    uint32_t found = index_none;
    for (uint32_t i = 0; i < member->wait_count; i++) {
        uint32_t number = snapshot->waits[member->wait_first + i].resource;
        const struct resource *resource = &snapshot->resources[number];
        if (kind_is_channel(resource->kind) && resource->address != 0 && resource->capacity_known &&
            resource->capacity != 0 && (found == index_none || resource->waiters > snapshot->resources[found].waiters))
            found = number;
    }
    return found;
}

/* The condition, semaphore or channel that the pool's waiters share. */
static uint32_t shared_resource(const struct snapshot *snapshot, const struct member *member)
{
    for (uint32_t i = 0; i < member->wait_count; i++) {
        uint32_t number = snapshot->waits[member->wait_first + i].resource;
        const struct resource *resource = &snapshot->resources[number];
        if (resource->address != 0 && (resource->kind == WAIT_CONDITION || resource->kind == WAIT_SEMAPHORE))
            return number;
    }
    return lending_channel(snapshot, member);
}

/* Two pools of one kind are told apart by what their waiters wait on, unless each waiter has a condition of its own. */
static void resources_settle(struct pool_search *search)
{
    size_t resource_count = search->snapshot->resource_count;
    uint32_t *waiters = arena_array(detection_scratch(search->detection), uint32_t, resource_count + 1);
    size_t known = 0, distinct = 0;
    uint32_t most = index_none;
    for (size_t i = 0; i < search->member_count; i++) {
        uint32_t resource = search->members[i].resource;
        if (resource == index_none)
            continue;
        known++;
        distinct += waiters[resource]++ == 0;
        if (most == index_none || waiters[resource] > waiters[most])
            most = resource;
    }
    /* Whose resource is not known stands in the largest queue. */
    bool tells = distinct >= 2 && distinct * 2 <= known;
    for (size_t i = 0; i < search->member_count; i++)
        if (!tells || search->members[i].resource == index_none)
            search->members[i].resource = tells ? most : index_none;
}

/* The waiter, and how far its acquire goes. */
static struct pool_waiter waiter_of(const struct pool_search *search, const struct pool_member *member)
{
    const struct pool_entry *entry = &search->inside[search->snapshot->members[member->member].stack];
    return (struct pool_waiter){member->member, entry->frames[entry->outer].step};
}

/* Those of one channel wait for one pool; whose frames know several, or none, for the one that most know. */
static void objects_settle(struct pool_search *search)
{
    uint32_t *objects =
        arena_array(detection_scratch(search->detection), uint32_t, search->snapshot->resource_count + 1); /* + 1 */
    for (size_t i = 0; i < search->member_count; i++) {
        const struct pool_member *member = &search->members[i];
        if (member->channel != index_none && member->object != index_none && objects[member->channel] == 0)
            objects[member->channel] = member->object + 1;
    }
    for (size_t i = 0; i < search->member_count; i++) {
        struct pool_member *member = &search->members[i];
        if (member->channel != index_none && objects[member->channel] != 0)
            member->object = objects[member->channel] - 1;
        else if (member->object == index_none)
            member->object = 0;
    }
}

/* Which of several pools each waits for, where memory tells. */
static void objects_find(struct pool_search *search)
{
    struct pool_waiter *waiters =
        arena_array(detection_scratch(search->detection), struct pool_waiter, search->member_count);
    for (size_t i = 0; i < search->member_count; i++)
        waiters[i] = waiter_of(search, &search->members[i]);
    const struct pool_entry *entry = &search->inside[search->snapshot->members[search->members->member].stack];
    const struct frame *frame = &search->snapshot->frames[entry->frames[entry->outer].frame];
    pool_program_find_objects(search->program, snapshot_string(search->snapshot, frame->function), waiters,
                              search->member_count);
    size_t count = search->program->object_count;
    for (size_t i = 0; i < search->member_count && count != 0; i++)
        search->members[i].object = count == 1 ? 0 : pool_program_object_of(search->program, waiters[i]);
    if (count > 1)
        objects_settle(search);
}

static uint32_t layer_of_stack(const struct pool_search *search, uint32_t stack)
{
    const struct pool_entry *entry = &search->inside[stack];
    return entry->frames == NULL ? 0 : layer_at(search, entry->frames[entry->outer]);
}

static void search_members(struct pool_search *search)
{
    const struct snapshot *snapshot = search->snapshot;
    search->members = arena_array(detection_scratch(search->detection), struct pool_member, snapshot->member_count + 1);
    size_t count;
    const uint32_t *matching = detection_matching_members(search->detection, search->rule, &count);
    for (size_t i = 0; i < count; i++) {
        const struct member *member = &snapshot->members[matching[i]];
        if (search->inside[member->stack].frames == NULL || member_runs(snapshot, member))
            continue;
        search->members[search->member_count++] = (struct pool_member){
            .member = matching[i],
            .layer = layer_of_stack(search, member->stack),
            .resource = shared_resource(snapshot, member),
            .channel = lending_channel(snapshot, member),
            .object = index_none,
        };
    }
    resources_settle(search);
    if (search->program != NULL && search->member_count != 0)
        objects_find(search);
}

/* All stacks inside the acquire of these members, who are one pool's waiters. */
static struct pool *pool_gather(struct pool_search *search, struct pool_member *members, size_t count)
{
    struct arena *arena = detection_scratch(search->detection);
    struct pool *pool = arena_new(arena, struct pool);
    uint32_t stack_count = (uint32_t)search->snapshot->stack_count;
    for (uint32_t i = 0; i < stack_count; i++)
        pool->count += search->inside[i].frames != NULL && layer_of_stack(search, i) == members->layer;
    pool->entries = arena_array(arena, struct pool_entry, pool->count);
    size_t entry_count = 0;
    for (uint32_t i = 0; i < stack_count; i++)
        if (search->inside[i].frames != NULL && layer_of_stack(search, i) == members->layer) {
            search->entry_of_stack[i] = (uint32_t)entry_count;
            pool->entries[entry_count++] = search->inside[i];
        }
    struct tally names;
    tally_init(&names, search->detection);
    for (size_t i = 0; i < count; i++) {
        const struct member *member = &search->snapshot->members[members[i].member];
        members[i].entry = search->entry_of_stack[member->stack];
        struct pool_entry *entry = &pool->entries[members[i].entry];
        entry->waiting += member->count;
        uint32_t function = search->snapshot->frames[entry->frames[entry->outer].frame].function;
        tally_add(&names, snapshot_string(search->snapshot, function), member->count);
    }
    tally_text(&names, "");
    pool->name = names.rows[0].text;
    return pool;
}

/* What the finding says. */

struct pool_verdict {
    uint64_t waiters, nested;
    uint64_t suspected, ordered; /* of those nested, by the layers alone; by places in their function */
    uint64_t holders;            /* others that may hold one, and do not wait for another */
    bool is_certain;             /* as many hold one and wait as are in use: nobody is left to give one back */
    struct tally nested_places, victim_places, holder_places, proofs;
    struct circumstances circumstances;
};

static const char *nesting_reason(enum pool_nesting nesting)
{
    switch (nesting) {
    case NESTING_LAYERED:
        return "of the code that takes them, and the outer function may have taken one before (suspected from the "
               "names "
               "alone)";
    case NESTING_ORDERED:
        return "that is itself seen to take one at an earlier place (inferred from the stacks)";
    case NESTING_WORKING:
        return "that works on one (inferred from the stacks)";
    case NESTING_CODE:
        return "whose code takes one before this call and gives none back (inferred from the code)";
    case NESTING_NONE:
        break;
    }
    return "";
}

static struct text nested_place(const struct pool_search *search, const struct pool_entry *entry, struct arena *arena)
{
    const char *caller = frame_place(search->snapshot, entry->frames[entry->caller], arena);
    const char *holder = frame_place(search->snapshot, entry->frames[entry->holder], arena);
    return text_from_string(arena_printf(arena, "%s, called from %s", caller, holder));
}

static void verdict_count_waiters(struct pool_search *search, const struct pool *pool, struct pool_verdict *verdict)
{
    struct arena *arena = detection_scratch(search->detection);
    for (size_t i = 0; i < pool->count; i++) {
        const struct pool_entry *entry = &pool->entries[i];
        verdict->waiters += entry->waiting;
        if (entry->nesting == NESTING_NONE) {
            size_t at = entry->caller < entry->frame_count ? entry->caller : entry->outer;
            const char *place = frame_place(search->snapshot, entry->frames[at], arena);
            tally_add(&verdict->victim_places, text_from_string(place), entry->waiting);
            continue;
        }
        verdict->nested += entry->waiting;
        verdict->suspected += entry->nesting == NESTING_LAYERED ? entry->waiting : 0;
        verdict->ordered += entry->nesting == NESTING_ORDERED ? entry->waiting : 0;
        tally_add(&verdict->nested_places, nested_place(search, entry, arena), entry->waiting);
        tally_add(&verdict->proofs, text_from_string(nesting_reason(entry->nesting)), entry->waiting);
    }
}

/* Whether the function took one earlier: its code tells better than where others of it are seen. */
static bool frame_holds(struct pool_search *search, const struct pool *pool, const struct pool_facts *facts,
                        struct stack_frame frame)
{
    enum pool_answer answer = POOL_UNKNOWN;
    const struct pool_entry *entry = pool->entries;
    while (entry < pool->entries + pool->count && entry->waiting == 0)
        entry++;
    if (facts != NULL && facts->acquires_before != NULL)
        answer = facts->acquires_before(facts->context, entry, frame);
    return answer == POOL_UNKNOWN || answer == POOL_UNSEEN ? pool_frame_is_past(pool, search->functions, frame)
                                                           : answer == POOL_YES;
}

/* Whether the member's frame keeps anything that leads to the pool: without it, what its function took is of another
 * one, or no longer there. True where memory does not tell. */
static bool frame_knows_pool(struct pool_search *search, const struct pool_facts *facts, uint32_t member, uint32_t step)
{
    bool is_known;
    if (search->program == NULL || facts->address == 0)
        return true;
    const struct program *program = search->program->program;
    return program->frame_leads_to(program->context, member, step, facts->address, &is_known) || !is_known;
}

/* The frame of a stack outside acquire whose function works on a pooled object, or has taken one earlier. */
static bool holder_frame(struct pool_search *search, const struct pool *pool, const struct pool_facts *facts,
                         uint32_t stack, bool by_rule, size_t *ret_at)
{
    size_t count;
    const struct stack_frame *frames = detection_frames(search->detection, stack, &count);
    for (size_t i = 0; by_rule && i < count; i++)
        if (frame_is(search, RULE_LIST_HOLD, frames[i])) {
            *ret_at = i;
            return true;
        }
    for (size_t i = 0; i < count; i++)
        if (frame_holds(search, pool, facts, frames[i])) {
            *ret_at = i;
            return true;
        }
    return false;
}

/* `by_rule`: whether the rule's `hold` can speak of this pool, there being no other. */
static void verdict_count_holders(struct pool_search *search, const struct pool *pool, struct pool_verdict *verdict,
                                  const struct pool_facts *facts, struct finding *finding, bool by_rule)
{
    struct arena *arena = detection_scratch(search->detection);
    const struct snapshot *snapshot = search->snapshot;
    enum { NOT_ASKED, HOLDS, HOLDS_NOT };
    uint8_t *answers = arena_array(arena, uint8_t, snapshot->stack_count);
    struct text *places = arena_array(arena, struct text, snapshot->stack_count);
    uint32_t *steps = arena_array(arena, uint32_t, snapshot->stack_count);
    size_t asked = 0;
    for (uint32_t i = 0; i < snapshot->member_count; i++) {
        uint32_t stack = snapshot->members[i].stack;
        if (search->inside[stack].frames != NULL)
            continue;
        if (answers[stack] == NOT_ASKED) {
            size_t at = 0;
            bool holds = holder_frame(search, pool, facts, stack, by_rule, &at);
            answers[stack] = holds ? HOLDS : HOLDS_NOT;
            size_t count;
            const struct stack_frame *frames = detection_frames(search->detection, stack, &count);
            struct stack_frame doing;
            steps[stack] = holds ? frames[at].step : 0;
            if (holds && stack_place(search->detection, stack, &doing) && doing.frame != frames[at].frame)
                places[stack] =
                    text_from_string(arena_printf(arena, "%s, called from %s", frame_place(snapshot, doing, arena),
                                                  frame_place(snapshot, frames[at], arena)));
            else if (holds)
                places[stack] = text_from_string(frame_place(snapshot, frames[at], arena));
        }
        if (answers[stack] != HOLDS ||
            (asked < limit_pool_holders_asked && ++asked != 0 && !frame_knows_pool(search, facts, i, steps[stack])))
            continue;
        verdict->holders += snapshot->members[i].count;
        tally_add(&verdict->holder_places, places[stack], snapshot->members[i].count);
        detection_add_member(search->detection, finding, i, "holds");
    }
}

/* How many there are, and what follows if each of those that may hold one does. */
static void evidence_of_waiters(struct pool_search *search, struct finding *finding, const struct pool *pool,
                                const struct pool_verdict *verdict, const struct pool_facts *facts)
{
    struct detection *detection = search->detection;
    struct arena *scratch = detection_scratch(detection);
    const char *held = detection_count_text(detection, verdict->nested + verdict->holders);
    const char *condition = arena_printf(scratch, "if each does, the pool has %s and none of them can go on", held);
    if (verdict->holders != 0)
        condition = arena_printf(scratch, "if each does, and each of %s that do something else, the pool has %s",
                                 detection_count_text(detection, verdict->holders), held);
    if (facts != NULL && facts->size_known)
        condition =
            arena_printf(scratch, "the pool has %s%s%s (read%s%s)", detection_count_text(detection, facts->size),
                         facts->in_use_known ? ", in use: " : "",
                         facts->in_use_known ? detection_count_text(detection, facts->in_use) : "",
                         facts->pool_text != NULL ? ": " : "", facts->pool_text != NULL ? facts->pool_text : "");
    detection_add_evidence(detection, finding, "%s %s inside %.*s; %s of them %s already: %s.",
                           part_text(detection, verdict->waiters), for_count(verdict->waiters, "waits", "wait"),
                           (int)pool->name.length, pool->name.data, detection_count_text(detection, verdict->nested),
                           verdict->is_certain ? for_count(verdict->nested, "holds one", "hold one") : "may hold one",
                           condition);
    if (verdict->is_certain)
        detection_add_evidence(detection, finding,
                               "That is all that %s in use: nobody is left who could give one back.",
                               for_count(facts->in_use, "is", "are"));
}

/* "goroutine 7, 8, 9": those that hold one while they wait for another. */
static void evidence_of_names(struct pool_search *search, struct finding *finding, const struct pool *pool,
                              const struct pool_member *members, size_t count)
{
    enum { names_max = 16 };
    struct detection *detection = search->detection;
    struct arena *scratch = detection_scratch(detection);
    const char *names = "";
    uint64_t told = 0, nested = 0;
    for (size_t i = 0; i < count; i++) {
        const struct member *member = &search->snapshot->members[members[i].member];
        if (pool->entries[members[i].entry].nesting == NESTING_NONE || member->id == 0)
            continue;
        if (nested++ < names_max)
            names = arena_printf(scratch, "%s%s%" PRIu64, names, told++ == 0 ? "" : ", ", member->id);
    }
    if (told != 0)
        detection_add_evidence(
            detection, finding, "These are %s %s%s.", detection_members_word(detection, nested), names,
            nested > told ? arena_printf(scratch, " and %s more", detection_count_text(detection, nested - told)) : "");
}

static void evidence_of_nesting(struct pool_search *search, struct finding *finding, struct pool_verdict *verdict)
{
    struct detection *detection = search->detection;
    detection_add_evidence(detection, finding, "Those that %s one while they wait for another: %s.",
                           verdict->is_certain ? "hold" : "may hold", tally_text(&verdict->nested_places, " in "));
    uint64_t victims = verdict->waiters - verdict->nested;
    if (victims != 0)
        detection_add_evidence(
            detection, finding, "%s %s for what these hold: %s.", detection_count_text(detection, victims),
            for_count(victims, "other waits", "others only wait"), tally_text(&verdict->victim_places, " in "));
    if (verdict->holders != 0)
        detection_add_evidence(detection, finding, "%s %s may hold one and %s something else (inferred): %s.",
                               detection_count_text(detection, verdict->holders),
                               detection_members_word(detection, verdict->holders),
                               for_count(verdict->holders, "does", "do"), tally_text(&verdict->holder_places, " in "));
    tally_text(&verdict->proofs, "");
    for (size_t i = 0; i < verdict->proofs.count; i++)
        if (verdict->proofs.rows[i].count != 0)
            detection_add_evidence(detection, finding, "%s came there through another function %s.",
                                   detection_count_text(detection, verdict->proofs.rows[i].count),
                                   verdict->proofs.rows[i].text.data);
}

static void evidence_of_accessors(struct pool_search *search, struct finding *finding, const struct pool *pool)
{
    const char *names = "";
    for (size_t i = 0; i < pool->accessor_count && i < 4; i++) {
        struct text name = search->functions->entries[pool->accessors[i]].name;
        names = arena_printf(detection_scratch(search->detection), "%s%s%.*s", names, i == 0 ? "" : ", ",
                             (int)name.length, name.data);
    }
    if (pool->accessor_count != 0)
        detection_add_evidence(search->detection, finding,
                               "Taken as part of it, as only functions of one layer call it: %s.", names);
}

static void finding_add_keys(struct pool_search *search, struct finding *finding, const struct pool *pool,
                             const struct pool_verdict *verdict, const struct pool_facts *facts, uint32_t first_stack)
{
    struct detection *detection = search->detection;
    struct arena *arena = detection_arena(detection);
    finding_add_count(detection, finding, "waiters", verdict->waiters);
    finding_add_count(detection, finding, "nested", verdict->nested);
    finding_add_count(detection, finding, "victims", verdict->waiters - verdict->nested);
    finding_add_count(detection, finding, "holders", verdict->holders);
    detection_add_key(detection, finding, "pool", pool->name);
    const char *share = share_text(arena, verdict->waiters, snapshot_population(search->snapshot));
    detection_add_key(detection, finding, "share", text_from_string(share));
    if (facts != NULL && facts->size_known)
        finding_add_count(detection, finding, "size", facts->size);
    if (facts != NULL && facts->in_use_known)
        finding_add_count(detection, finding, "in-use", facts->in_use);
    const char *outcome = arena_printf(arena, ", %s of which %s what the others wait for",
                                       detection_count_text(detection, verdict->nested),
                                       verdict->is_certain ? for_count(verdict->nested, "holds", "hold") : "may hold");
    detection_add_key(detection, finding, "verdict", text_from_string(outcome));
    size_t count;
    const struct capture *captures = detection_captures(detection, search->rule, first_stack, &count);
    for (size_t i = 0; i < count; i++)
        detection_add_key(detection, finding, captures[i].name, captures[i].value);
}

/* Whether the pool's counters agree with the stacks: each that is in use is held by one who waits for another. */
static bool verdict_is_certain(const struct pool_verdict *verdict, const struct pool_facts *facts)
{
    return facts != NULL && facts->size_known && facts->in_use_known && verdict->suspected == 0 &&
           verdict->ordered == 0 && verdict->holders == 0 && verdict->nested == facts->in_use &&
           facts->in_use == facts->size;
}

/* More are counted than the pool has, and none of those who wait for another keeps anything of this pool: they hold one
 * of another pool of the same kind. */
static bool verdict_is_refuted(struct pool_search *search, const struct pool *pool, const struct pool_verdict *verdict,
                               const struct pool_facts *facts, const struct pool_member *members, size_t count)
{
    size_t asked = 0;
    if (facts == NULL || !facts->in_use_known || verdict->nested + verdict->holders <= facts->in_use)
        return false;
    for (size_t i = 0; i < count && asked < limit_pool_samples; i++) {
        const struct pool_entry *entry = &pool->entries[members[i].entry];
        if (entry->nesting == NESTING_NONE)
            continue;
        asked++;
        if (frame_knows_pool(search, facts, members[i].member, entry->frames[entry->holder].step))
            return false;
    }
    return asked != 0;
}

static enum confidence verdict_confidence(const struct pool_verdict *verdict)
{
    if (verdict->suspected != 0)
        return CONFIDENCE_SUSPECTED;
    return verdict->is_certain ? CONFIDENCE_READ : CONFIDENCE_INFERRED;
}

static void finding_add_waiters(struct pool_search *search, struct finding *finding, const struct pool *pool,
                                const struct pool_member *members, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool nested = pool->entries[members[i].entry].nesting != NESTING_NONE;
        claims_add(search->detection, members[i].member);
        detection_add_member(search->detection, finding, members[i].member, nested ? "holds and waits" : "waits");
    }
}

static void finding_add_evidence(struct pool_search *search, struct finding *finding, const struct pool *pool,
                                 struct pool_verdict *verdict, const struct pool_facts *facts,
                                 const struct pool_member *members, size_t count)
{
    evidence_of_waiters(search, finding, pool, verdict, facts);
    evidence_of_nesting(search, finding, verdict);
    evidence_of_names(search, finding, pool, members, count);
    evidence_of_accessors(search, finding, pool);
    circumstances_tell(&verdict->circumstances, finding);
}

static bool is_worth_telling(const struct pool_search *search, uint64_t waiters)
{
    const struct rule *rule = compiled_rule_source(search->rule);
    return waiters >= (rule->at_least != 0 ? rule->at_least : waiters_least) &&
           waiters * 1000 >= (uint64_t)rule->share_permille * snapshot_population(search->snapshot);
}

/* Whether a rule that ran before has spoken of them. */
static bool waiters_are_told(const struct pool_search *search, const struct pool_member *members, size_t count)
{
    size_t told = 0;
    for (size_t i = 0; i < count; i++)
        told += claims_has(search->detection, members[i].member);
    return told * 2 > count;
}

/* Names alone do not tell a function that keeps its connection from one that takes and returns several in turn. While
 * others work with theirs the pool moves, and a busy pool looks like this. */
static void severity_limit(struct finding *finding, enum severity most)
{
    if (finding->severity > most)
        finding->severity = most;
}

/* What the pool counts, against the stacks. False: nothing is counted. */
static bool verdict_doubt_by_counters(const struct pool_verdict *verdict, const struct pool_facts *facts,
                                      struct detection *detection, struct finding *finding)
{
    if (facts == NULL || !facts->in_use_known || !facts->size_known ||
        (verdict->suspected == verdict->nested && verdict->holders != 0))
        return false;
    if (facts->in_use < facts->size) {
        severity_limit(finding, SEVERITY_INFO);
        detection_add_evidence(detection, finding, "One could be had at this instant: the pool is not used up.");
    } else if (verdict->nested < facts->in_use) {
        uint64_t others = facts->in_use - verdict->nested;
        bool most = verdict->holders == 0 && verdict->suspected == 0 && verdict->nested >= others;
        severity_limit(finding, most ? SEVERITY_WARNING : SEVERITY_INFO);
        detection_add_evidence(detection, finding, "%s of those in use %s held by others, who may give %s back.",
                               detection_count_text(detection, others), for_count(others, "is", "are"),
                               for_count(others, "it", "theirs"));
    } else if ((verdict->nested > facts->in_use && (verdict->holders != 0 || verdict->suspected != 0)) ||
               (verdict->nested + verdict->holders > facts->in_use && verdict->ordered != 0)) {
        severity_limit(finding, SEVERITY_INFO);
        detection_add_evidence(detection, finding,
                               "They cannot all hold one: that is more than are in use. The pool may merely be busy.");
    }
    return true;
}

static void verdict_doubt(const struct pool_verdict *verdict, const struct pool_facts *facts,
                          struct detection *detection, struct finding *finding)
{
    bool has_code = facts != NULL && facts->acquires_before != NULL;
    if (has_code && verdict->suspected == verdict->nested)
        severity_limit(finding, SEVERITY_WARNING);
    /* A function that takes one, gives it back and takes another is seen at two places too. */
    bool by_places = verdict->holders != 0 && verdict->suspected + verdict->ordered == verdict->nested;
    if (verdict_doubt_by_counters(verdict, facts, detection, finding) ||
        (verdict->suspected < verdict->nested && !by_places))
        return;
    if (verdict->holders == 0) {
        if (!has_code)
            return;
        detection_add_evidence(detection, finding,
                               "Their code shows no direct call that takes one and keeps it; calls through interfaces "
                               "and closures cannot be seen.");
        return;
    }
    severity_limit(finding, SEVERITY_INFO);
    detection_add_evidence(
        detection, finding,
        "The pool may merely be busy: those that do something else give theirs back, unless they are "
        "stuck themselves.");
}

/* `members` are the pool's own. */
static void pool_report(struct pool_search *search, struct pool *pool, const struct pool_member *members, size_t count,
                        const struct pool_facts *facts, bool is_only)
{
    struct detection *detection = search->detection;
    struct pool_verdict verdict = {.waiters = 0};
    tally_init(&verdict.nested_places, detection);
    tally_init(&verdict.victim_places, detection);
    tally_init(&verdict.holder_places, detection);
    tally_init(&verdict.proofs, detection);
    circumstances_init(&verdict.circumstances, detection);
    for (size_t i = 0; i < count; i++)
        circumstances_add(&verdict.circumstances, &search->snapshot->members[members[i].member]);
    pool_judge(pool, search->functions, facts);
    verdict_count_waiters(search, pool, &verdict);
    if (verdict.nested == 0 || waiters_are_told(search, members, count))
        return;

    struct finding *finding = detection_add(detection, search->rule);
    finding->members = verdict.waiters;
    finding_add_waiters(search, finding, pool, members, count);
    verdict_count_holders(search, pool, &verdict, facts, finding, is_only);
    verdict.is_certain = verdict_is_certain(&verdict, facts);
    finding->confidence = verdict_confidence(&verdict);
    finding_add_evidence(search, finding, pool, &verdict, facts, members, count);
    if (verdict_is_refuted(search, pool, &verdict, facts, members, count)) {
        severity_limit(finding, SEVERITY_INFO);
        detection_add_evidence(detection, finding,
                               "What they hold is not of this pool, as far as their frames' memory tells: the pool may "
                               "merely be busy.");
    }
    verdict_doubt(&verdict, facts, detection, finding);
    finding_add_keys(search, finding, pool, &verdict, facts, search->snapshot->members[members->member].stack);
    detection_set_title(detection, finding, search->rule, "{waiters} {kind} wait for {pool}{verdict}");
}

static int member_compare(const void *a, const void *b)
{
    const struct pool_member *first = a, *second = b;
    if (first->layer != second->layer)
        return first->layer < second->layer ? -1 : 1;
    if (first->resource != second->resource)
        return first->resource < second->resource ? -1 : 1;
    if (first->object != second->object)
        return first->object < second->object ? -1 : 1;
    return first->member < second->member ? -1 : first->member > second->member;
}

/* A pool's waiters: a run of pool_search.members. */
struct pool_run {
    size_t first, count;
    uint64_t members;
};

static int run_compare(const void *a, const void *b)
{
    const struct pool_run *first = a, *second = b;
    if (first->members != second->members)
        return first->members < second->members ? 1 : -1;
    return first->first < second->first ? -1 : first->first > second->first;
}

/* The runs that have enough members, the largest first. */
static struct pool_run *runs_find(struct pool_search *search, size_t *ret_count)
{
    struct pool_run *runs = NULL;
    size_t count = 0, capacity = 0;
    for (size_t first = 0, next = 0; first < search->member_count; first = next) {
        const struct pool_member *members = &search->members[first];
        struct pool_run run = {.first = first};
        for (; next < search->member_count && search->members[next].layer == members->layer &&
               search->members[next].resource == members->resource && search->members[next].object == members->object;
             next++)
            run.members += search->snapshot->members[search->members[next].member].count;
        run.count = next - first;
        if (!is_worth_telling(search, run.members))
            continue;
        runs = arena_grow(detection_scratch(search->detection), runs, count, &capacity, sizeof *runs);
        runs[count++] = run;
    }
    if (count != 0)
        qsort(runs, count, sizeof *runs, run_compare);
    *ret_count = count;
    return runs;
}

/* A channel that all of them wait on tells how many there are: empty, when what is lent comes out of it, or full, when
 * a place in it is what is lent. */
static void facts_from_channel(struct pool_search *search, const struct pool_member *members, size_t count,
                               struct pool_facts *facts)
{
    uint32_t number = members->channel;
    for (size_t i = 1; i < count; i++)
        if (members[i].channel != number)
            return;
    if (number == index_none)
        return;
    const struct resource *channel = &search->snapshot->resources[number];
    bool is_full = channel->fill == channel->capacity;
    if ((channel->fill != 0 && !is_full) || (channel->kind == WAIT_CHANNEL_SEND && !is_full) ||
        (channel->kind == WAIT_CHANNEL_RECEIVE && channel->fill != 0))
        return;
    facts->size = facts->in_use = channel->capacity;
    facts->size_known = facts->in_use_known = true;
    facts->address = channel->address;
    facts->pool_text =
        arena_printf(detection_scratch(search->detection), "the room of channel 0x%" PRIx64 ", which is %s",
                     channel->address, is_full ? "full" : "empty");
}

static struct pool_facts facts_make(struct pool_search *search, const struct pool_member *members, size_t count)
{
    struct pool_facts facts = {.context = search->program, .acquires_before = pool_program_acquires_before};
    if (members->object == index_none) {
        facts_from_channel(search, members, count, &facts);
        return facts;
    }
    const struct program_pool *object = &search->program->objects[members->object];
    facts.size = object->size;
    facts.in_use = object->in_use;
    facts.size_known = facts.in_use_known = true;
    facts.address = object->address;
    facts.pool_text = arena_printf(detection_scratch(search->detection), "its counters at 0x%" PRIx64 "%s",
                                   object->address, object->is_late ? ", after the stop" : "");
    return facts;
}

void pools_find(struct detection *detection, const struct compiled_rule *rule, const struct pool_facts *facts)
{
    struct pool_search search = {.detection = detection, .rule = rule, .snapshot = detection_snapshot(detection)};
    search.program = facts == NULL ? pool_program_new(detection, rule) : NULL;
    if (!search_stacks(&search))
        return;
    search_members(&search);
    if (search.member_count != 0)
        qsort(search.members, search.member_count, sizeof *search.members, member_compare);
    size_t count;
    struct pool_run *runs = runs_find(&search, &count);
    for (size_t i = 0; i < count && i < limit_masses_of_rule; i++) {
        struct pool_member *members = &search.members[runs[i].first];
        struct pool *pool = pool_gather(&search, members, runs[i].count);
        struct pool_facts own;
        if (search.program != NULL)
            own = facts_make(&search, members, runs[i].count);
        pool_report(&search, pool, members, runs[i].count, search.program != NULL ? &own : facts,
                    runs[i].count == search.member_count);
    }
}

static void pools_run(struct detection *detection, const struct compiled_rule *rule)
{
    pools_find(detection, rule, NULL);
}

const struct detector detector_pool = {RULE_POOL, "pool", pools_run, NULL};
