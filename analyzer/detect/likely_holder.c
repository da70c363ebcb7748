/* SPDX-License-Identifier: Apache-2.0 */
#include "detect/likely_holder.h"

#include "base/limits.h"
#include "detect/wait_graph.h"

#include <stdlib.h>

/* Where in a function; either may be unknown (0). */
struct place {
    uint32_t function, file, line;
    uint64_t offset;
};

struct place_entry {
    struct place place;
    uint32_t resource;
    bool is_shared;
};

struct guessing {
    struct detection *detection;
    const struct snapshot *snapshot;
    struct arena *scratch;
    struct lock_guesses result;
    struct place_entry *entries; /* by function, then place, then resource */
    size_t entry_count, entry_capacity;
    uint32_t *entry_first;                 /* per string: first entry of the function + 1 */
    bool *waits_for_lock;                  /* per stack: somebody in it does */
    uint32_t *last_lock;                   /* per stack: for which the last of them does; number + 1 */
    uint32_t resource_count;               /* up to the last lock */
    uint32_t *stack_first, *stack_members; /* members by stack */
    uint32_t *found_in;                    /* per resource: the function in which the last candidate stands; string */
    uint64_t steps;
};

static bool is_asked(const struct resource *resource)
{
    return (resource->kind == WAIT_MUTEX || resource->kind == WAIT_RWLOCK) && resource->holder == HOLDER_UNKNOWN &&
           resource->hold_count == 0;
}

static struct place frame_place(const struct snapshot *snapshot, const struct stack_frame *call)
{
    const struct frame *frame = &snapshot->frames[call->frame];
    const struct location *location = &snapshot->locations[call->location];
    struct place place = {.function = frame->function, .file = frame->file, .line = frame->line};
    /* The offset counts from the start of the real function, which is the last of the location's frames. */
    if (call->frame + 1 == location->frame_first + location->frame_count)
        place.offset = location->offset;
    return place;
}

/* Negative, 0, positive; `ret_known` false: nothing tells which comes first. */
static int place_compare(const struct place *left, const struct place *right, bool *ret_known)
{
    *ret_known = true;
    if (left->offset != 0 && right->offset != 0)
        return left->offset == right->offset ? 0 : left->offset < right->offset ? -1 : 1;
    *ret_known = left->line != 0 && right->line != 0 && left->file == right->file;
    return left->line == right->line ? 0 : left->line < right->line ? -1 : 1;
}

/* The waiting machinery ends before the call of Lock where it knows only the runtime's part of it. */
static bool is_lock_function(const struct snapshot *snapshot, uint32_t function)
{
    struct text name = snapshot_string(snapshot, function);
    return text_starts_with(name, TEXT("sync.")) || text_starts_with(name, TEXT("internal/sync."));
}

/* The frame that called Lock; false: the stack has none. */
static bool stack_lock_site(struct guessing *guessing, uint32_t stack, size_t *ret_frame)
{
    size_t count = 0, frame = detection_machinery(guessing->detection, stack);
    const struct stack_frame *frames = detection_frames(guessing->detection, stack, &count);
    while (frame < count &&
           is_lock_function(guessing->snapshot, guessing->snapshot->frames[frames[frame].frame].function))
        frame++;
    /* A leaf that is none of the machinery's was not waiting in a call. */
    if (frame == 0 || frame >= count)
        return false;
    *ret_frame = frame;
    return true;
}

static int entry_compare(const void *left, const void *right)
{
    const struct place_entry *a = left, *b = right;
    const uint64_t a_key[] = {a->place.function, a->place.offset, a->place.file, a->place.line, a->resource};
    const uint64_t b_key[] = {b->place.function, b->place.offset, b->place.file, b->place.line, b->resource};
    for (size_t i = 0; i < sizeof a_key / sizeof *a_key; i++)
        if (a_key[i] != b_key[i])
            return a_key[i] < b_key[i] ? -1 : 1;
    return 0;
}

static bool is_same_place(const struct place *left, const struct place *right)
{
    bool is_known = false;
    return left->function == right->function && place_compare(left, right, &is_known) == 0;
}

static void note_function(const struct snapshot *snapshot, struct lock_guess *guess, uint32_t function)
{
    guess->has_more_functions |= guess->is_asked && guess->function != function;
    if (!guess->is_asked ||
        strcmp(snapshot_string(snapshot, function).data, snapshot_string(snapshot, guess->function).data) < 0)
        guess->function = function;
    guess->is_asked = true;
}

static void collect_places(struct guessing *guessing)
{
    const struct snapshot *snapshot = guessing->snapshot;
    for (size_t i = 0; i < snapshot->wait_count; i++) {
        const struct wait *wait = &snapshot->waits[i];
        if (wait->member >= snapshot->member_count || wait->resource >= snapshot->resource_count)
            continue;
        const struct resource *resource = &snapshot->resources[wait->resource];
        uint32_t stack = snapshot->members[wait->member].stack;
        size_t count = 0, site = 0;
        if (!wait_kind_is_lock(resource->kind))
            continue;
        guessing->waits_for_lock[stack] = true;
        /* Stack and lock decide all that follows; thousands wait in one stack for one lock. */
        if (guessing->last_lock[stack] == wait->resource + 1)
            continue;
        guessing->last_lock[stack] = wait->resource + 1;
        if (!stack_lock_site(guessing, stack, &site))
            continue;
        const struct stack_frame *frames = detection_frames(guessing->detection, stack, &count);
        struct place place = frame_place(snapshot, &frames[site]);
        struct lock_guess *guess = &guessing->result.entries[wait->resource];
        if (place.function == 0)
            continue;
        if (is_asked(resource))
            note_function(snapshot, guess, place.function);
        /* Waiters of locks whose holder is known count too: their place is then one of several locks. */
        struct place_entry entry = {place, wait->resource, false};
        if (guessing->entry_count != 0 && entry_compare(&entry, &guessing->entries[guessing->entry_count - 1]) == 0)
            continue;
        guessing->entries = arena_grow(guessing->scratch, guessing->entries, guessing->entry_count,
                                       &guessing->entry_capacity, sizeof *guessing->entries);
        guessing->entries[guessing->entry_count++] = entry;
    }
    if (guessing->entry_count > 1)
        qsort(guessing->entries, guessing->entry_count, sizeof *guessing->entries, entry_compare);
}

/* Leaves the places of one lock each, and marks the locks of the others. */
static void sort_out_places(struct guessing *guessing)
{
    struct place_entry *entries = guessing->entries;
    size_t kept = 0;
    for (size_t first = 0, end; first < guessing->entry_count; first = end) {
        bool is_shared = false;
        for (end = first + 1; end < guessing->entry_count && is_same_place(&entries[first].place, &entries[end].place);
             end++)
            is_shared |= entries[end].resource != entries[first].resource;
        for (size_t i = first; i < end && is_shared; i++)
            guessing->result.entries[entries[i].resource].is_shared_place = true;
        if (!is_shared)
            entries[kept++] = entries[first];
    }
    guessing->entry_count = 0;
    for (size_t i = 0; i < kept; i++) {
        const struct lock_guess *guess = &guessing->result.entries[entries[i].resource];
        if (!guess->is_asked || guess->is_shared_place)
            continue;
        entries[guessing->entry_count++] = entries[i];
        uint32_t *first = &guessing->entry_first[entries[i].place.function];
        if (*first == 0)
            *first = (uint32_t)guessing->entry_count;
    }
}

static void collect_members(struct guessing *guessing)
{
    const struct snapshot *snapshot = guessing->snapshot;
    guessing->stack_first = arena_array(guessing->scratch, uint32_t, snapshot->stack_count + 2);
    guessing->stack_members = arena_array(guessing->scratch, uint32_t, snapshot->member_count + 1);
    for (size_t i = 0; i < snapshot->member_count; i++)
        guessing->stack_first[snapshot->members[i].stack + 2]++;
    for (size_t i = 2; i < snapshot->stack_count + 2; i++)
        guessing->stack_first[i] += guessing->stack_first[i - 1];
    for (uint32_t i = 0; i < snapshot->member_count; i++)
        guessing->stack_members[guessing->stack_first[snapshot->members[i].stack + 1]++] = i;
}

static bool member_waits_for(const struct snapshot *snapshot, uint32_t number, uint32_t resource)
{
    const struct member *member = &snapshot->members[number];
    for (size_t i = 0; i < member->wait_count && member->wait_first + i < snapshot->wait_count; i++)
        if (snapshot->waits[member->wait_first + i].resource == resource)
            return true;
    return false;
}

static void add_candidates(struct guessing *guessing, uint32_t stack, uint32_t resource, uint32_t function,
                           bool is_poor)
{
    struct lock_guess *guess = &guessing->result.entries[resource];
    uint64_t *candidates = is_poor ? &guess->poor_candidates : &guess->candidates;
    uint32_t *only = is_poor ? &guess->poor_member : &guess->member;
    for (uint32_t i = guessing->stack_first[stack]; i < guessing->stack_first[stack + 1]; i++) {
        uint32_t member = guessing->stack_members[i];
        guessing->steps++;
        if (member_waits_for(guessing->snapshot, member, resource))
            continue;
        *only = member;
        *candidates += guessing->snapshot->members[member].count;
        if (!is_poor)
            guessing->found_in[resource] = function;
    }
}

/* The members of one stack, for each lock that was asked for in one of its functions before the place where they are.
 */
static void look_at_stack(struct guessing *guessing, uint32_t stack, uint32_t *seen_in)
{
    const struct snapshot *snapshot = guessing->snapshot;
    size_t count = 0, site = SIZE_MAX;
    const struct stack_frame *frames = detection_frames(guessing->detection, stack, &count);
    if (guessing->waits_for_lock[stack] && !stack_lock_site(guessing, stack, &site))
        return;
    for (size_t i = 0; i < count && guessing->steps < limit_guess_steps; i++) {
        struct place place = frame_place(snapshot, &frames[i]);
        uint32_t first = guessing->entry_first[place.function];
        guessing->steps++;
        if (first == 0)
            continue;
        for (size_t k = first - 1; k < guessing->entry_count && guessing->entries[k].place.function == place.function;
             k++) {
            const struct place_entry *entry = &guessing->entries[k];
            bool is_known = false;
            guessing->steps++;
            if (place_compare(&place, &entry->place, &is_known) <= 0 || !is_known ||
                seen_in[entry->resource] == stack + 1)
                continue;
            seen_in[entry->resource] = stack + 1;
            add_candidates(guessing, stack, entry->resource, place.function, i == site);
        }
    }
}

static enum learnt guess_learnt(const struct snapshot *snapshot, const struct resource *resource)
{
    /* Go's heap begins here on 64-bit systems (runtime/malloc.go, arena hints). A lock on the heap belongs to one of
     * maybe many objects, and who is past it may have another object's. */
    static const uint64_t go_heap = UINT64_C(0xc000000000);
    return snapshot->kind == PROFILE_GOROUTINES && resource->address >= go_heap ? LEARNT_SUSPECTED : LEARNT_INFERRED;
}

/* Whoever has stood in its call of Lock for a minute was not merely met between two short holds. */
static enum learnt poor_learnt(const struct snapshot *snapshot, const struct resource *resource, uint32_t member)
{
    enum { long_seconds = 60 };
    const struct member *facts = &snapshot->members[member];
    bool is_long = facts->waited_known && facts->waited_seconds >= long_seconds;
    return is_long ? guess_learnt(snapshot, resource) : LEARNT_SUSPECTED;
}

static void make_holds(struct guessing *guessing)
{
    const struct snapshot *snapshot = guessing->snapshot;
    struct lock_guesses *result = &guessing->result;
    size_t capacity = 0, poor_capacity = 0;
    for (uint32_t i = 0; i < guessing->resource_count; i++) {
        struct lock_guess *guess = &result->entries[i];
        const struct resource *resource = &snapshot->resources[i];
        if (guess->candidates != 1)
            guess->member = index_none;
        if (guess->candidates != 0 || guess->poor_candidates != 1)
            guess->poor_member = index_none;
        if (guess->member != index_none) {
            guess->function = guessing->found_in[i];
            result->holds =
                arena_grow(guessing->scratch, result->holds, result->hold_count, &capacity, sizeof *result->holds);
            result->holds[result->hold_count++] =
                (struct hold){i, guess->member, true, guess_learnt(snapshot, resource)};
        }
        if (guess->poor_member != index_none) {
            result->poor_holds = arena_grow(guessing->scratch, result->poor_holds, result->poor_hold_count,
                                            &poor_capacity, sizeof *result->poor_holds);
            result->poor_holds[result->poor_hold_count++] =
                (struct hold){i, guess->poor_member, true, poor_learnt(snapshot, resource, guess->poor_member)};
        }
    }
}

struct lock_guesses lock_guesses_make(struct detection *detection)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    struct guessing guessing = {
        .detection = detection,
        .snapshot = snapshot,
        .scratch = detection_scratch(detection),
        .resource_count = wait_graph_lock_limit(snapshot),
    };
    bool has_memory = snapshot->source_kind == NULL || strcmp(snapshot->source_kind, "text") != 0;
    if (has_memory && snapshot->kind != PROFILE_GOROUTINES)
        return guessing.result;
    guessing.result.entries = arena_array(guessing.scratch, struct lock_guess, guessing.resource_count);
    guessing.entry_first = arena_array(guessing.scratch, uint32_t, snapshot->strings.count);
    guessing.waits_for_lock = arena_array(guessing.scratch, bool, snapshot->stack_count);
    guessing.last_lock = arena_array(guessing.scratch, uint32_t, snapshot->stack_count);
    for (size_t i = 0; i < guessing.resource_count; i++)
        guessing.result.entries[i].member = guessing.result.entries[i].poor_member = index_none;
    collect_places(&guessing);
    sort_out_places(&guessing);
    if (guessing.entry_count == 0)
        return guessing.result;
    collect_members(&guessing);
    uint32_t *seen_in = arena_array(guessing.scratch, uint32_t, guessing.resource_count); /* stack + 1 */
    guessing.found_in = arena_array(guessing.scratch, uint32_t, guessing.resource_count);
    for (uint32_t stack = 0; stack < snapshot->stack_count && guessing.steps < limit_guess_steps; stack++)
        if (guessing.stack_first[stack] != guessing.stack_first[stack + 1])
            look_at_stack(&guessing, stack, seen_in);
    /* Half a search could take one of several for the only one. */
    if (guessing.steps < limit_guess_steps)
        make_holds(&guessing);
    else
        guessing.result.entries = NULL;
    return guessing.result;
}
