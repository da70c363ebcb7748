/* SPDX-License-Identifier: Apache-2.0 */
#include "group/group.h"

#include "base/number_sort.h"
#include "group/descriptor_waits.h"
#include "group/fingerprint.h"
#include "group/resource_waits.h"
#include "group/start_function.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* States told apart by descriptor in one group; more than that says only that many descriptors are waited on. */
enum { states_by_fd_max = 4 };

/* What a location counts as under the chosen equality: numbers of one intern table, so that comparing is exact. */
static uint32_t location_key(const struct snapshot *snapshot, const struct location *location, enum group_by by,
                             struct intern_table *keys)
{
    struct {
        uint32_t function, file, line;
    } frames[64];
    struct {
        uint64_t kind, value, function;
    } address = {0};
    uint32_t count = location->frame_count < 64 ? location->frame_count : 64;
    const struct frame *real = &snapshot->frames[location->frame_first + location->frame_count - 1];
    bool lines = false;
    for (uint32_t i = 0; i < count; i++) {
        const struct frame *frame = &snapshot->frames[location->frame_first + i];
        frames[i].function = frame->function;
        frames[i].file = by == GROUP_BY_LINE ? frame->file : 0;
        frames[i].line = by == GROUP_BY_LINE ? frame->line : 0;
        lines |= frame->line != 0;
    }
    bool by_name = (by == GROUP_BY_FUNCTION && real->function != 0) || (by == GROUP_BY_LINE && lines);
    if (by_name)
        return intern_table_add(keys, (struct text){(const char *)frames, count * sizeof frames[0]});
    address.kind = by == GROUP_BY_PC ? 1 : real->function != 0 ? 2 : location->module == index_none ? 3 : 4;
    address.function = by == GROUP_BY_PC ? location->exact : real->function != 0 ? real->function : location->module;
    address.value = by == GROUP_BY_PC || location->module == index_none ? location->pc : location->offset;
    return intern_table_add(keys, (struct text){(const char *)&address, sizeof address});
}

/* What stacks are equal by that differ else, a string; 0: their frames decide. */
static uint32_t begun_by(const struct snapshot *snapshot, const struct stack *stack, enum group_by by)
{
    if (by == GROUP_BY_CREATOR && stack->creator != 0)
        return stack->creator;
    return by == GROUP_BY_CREATOR || by == GROUP_BY_START ? start_function(snapshot, stack) : 0;
}

/* Compares the texts "@ 0x… 0x…" of two stacks without making them. */
static int compare_addresses(const struct snapshot *snapshot, uint32_t left, uint32_t right)
{
    const struct stack *a = &snapshot->stacks[left], *b = &snapshot->stacks[right];
    for (uint32_t i = 0; i < a->step_count && i < b->step_count; i++) {
        uint64_t pc_a = location_lookup(&snapshot->locations[snapshot->steps[a->step_first + i].location]) + 1;
        uint64_t pc_b = location_lookup(&snapshot->locations[snapshot->steps[b->step_first + i].location]) + 1;
        if (pc_a == pc_b)
            continue;
        char text_a[24], text_b[24];
        snprintf(text_a, sizeof text_a, "0x%" PRIx64 " ", pc_a);
        snprintf(text_b, sizeof text_b, "0x%" PRIx64 " ", pc_b);
        return strcmp(text_a, text_b);
    }
    if (a->step_count != b->step_count)
        return a->step_count < b->step_count ? -1 : 1;
    return a->end < b->end ? -1 : a->end > b->end;
}

static int compare_labels(const struct snapshot *snapshot, uint32_t left, uint32_t right)
{
    struct text a = snapshot_string(snapshot, snapshot->stacks[left].labels);
    struct text b = snapshot_string(snapshot, snapshot->stacks[right].labels);
    int order = memcmp(a.data, b.data, a.length < b.length ? a.length : b.length);
    return order != 0 ? order : a.length < b.length ? -1 : a.length > b.length;
}

static int compare_group(const void *left, const void *right, void *context)
{
    const struct group *a = left, *b = right;
    if (a->signalled != b->signalled)
        return a->signalled ? -1 : 1;
    if (a->heap.bytes != b->heap.bytes)
        return a->heap.bytes > b->heap.bytes ? -1 : 1;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    int order = compare_addresses(context, a->stack, b->stack);
    if (order == 0)
        order = compare_labels(context, a->stack, b->stack);
    return order != 0 ? order : (a->stack > b->stack) - (a->stack < b->stack);
}

/* A group's members are strewn among all the others: memory is asked for them ahead. */
static void prefetch_member(const struct snapshot *snapshot, const uint32_t *members, uint32_t count, uint32_t at)
{
    enum { distance = 16 };
    if (at + distance < count)
        __builtin_prefetch(&snapshot->members[members[at + distance]]);
}

static bool text_of_frame_matches(const struct snapshot *snapshot, const struct location *location,
                                  const struct frame *frame, struct pattern *pattern, struct arena *scratch)
{
    if (frame->function != 0 && pattern_matches(pattern, snapshot_string(snapshot, frame->function)))
        return true;
    if (frame->file != 0 &&
        pattern_matches(pattern, text_from_string(arena_printf(scratch, "%s:%u",
                                                               snapshot_string(snapshot, frame->file).data,
                                                               frame->line))))
        return true;
    return location->module != index_none && pattern_matches(pattern, snapshot->modules[location->module].path);
}

/* Whether each location matches: the pattern runs once per distinct frame, not per group. */
static bool *match_locations(const struct snapshot *snapshot, struct pattern *pattern, struct arena *scratch)
{
    if (pattern == NULL)
        return NULL;
    bool *matches = arena_array(scratch, bool, snapshot->location_count + 1);
    for (size_t i = 0; i < snapshot->location_count; i++) {
        const struct location *location = &snapshot->locations[i];
        for (uint32_t j = 0; j < location->frame_count && !matches[i]; j++)
            matches[i] = text_of_frame_matches(snapshot, location, &snapshot->frames[location->frame_first + j],
                                               pattern, scratch);
    }
    return matches;
}

static bool stack_matches(const struct snapshot *snapshot, uint32_t stack_number, const bool *matches)
{
    const struct stack *stack = &snapshot->stacks[stack_number];
    for (uint32_t i = 0; i < stack->step_count; i++)
        if (matches[snapshot->steps[stack->step_first + i].location])
            return true;
    return false;
}

/* Whether each group has a stack that matches; by the groups' first numbers. NULL without a pattern. */
static bool *match_groups(const struct snapshot *snapshot, struct pattern *pattern, const uint32_t *group_of_stack,
                          size_t group_count, struct arena *scratch)
{
    const bool *locations = match_locations(snapshot, pattern, scratch);
    if (locations == NULL)
        return NULL;
    bool *matches = arena_array(scratch, bool, group_count + 1);
    for (size_t i = 0; i < snapshot->stack_count; i++)
        if (!matches[group_of_stack[i]])
            matches[group_of_stack[i]] = stack_matches(snapshot, (uint32_t)i, locations);
    return matches;
}

/* Counts the states of a group's members; `states` has room for all of the group's. */
static uint32_t count_states(const struct snapshot *snapshot, const uint32_t *members, uint32_t count,
                             struct state_count *states, bool by_fd)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct member *member = &snapshot->members[members[i]];
        prefetch_member(snapshot, members, count, i);
        int32_t fd = by_fd ? member->fd : -1;
        uint32_t at = 0;
        while (at < used && (states[at].state != member->state || states[at].fd != fd))
            at++;
        if (at == used) {
            if (by_fd && used == states_by_fd_max)
                return UINT32_MAX;
            states[used++] = (struct state_count){member->state, fd, 0};
        }
        states[at].count += member->count;
    }
    /* Most frequent first; few, so by insertion. */
    for (uint32_t i = 1; i < used; i++)
        for (uint32_t j = i; j > 0 && states[j].count > states[j - 1].count; j--) {
            struct state_count swap = states[j];
            states[j] = states[j - 1];
            states[j - 1] = swap;
        }
    return used;
}

static int compare_creator(const void *left, const void *right)
{
    const struct creator_count *a = left, *b = right;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return a->creator < b->creator ? -1 : a->creator > b->creator;
}

static int compare_number(const void *left, const void *right)
{
    const uint32_t *a = left, *b = right;
    return *a < *b ? -1 : *a > *b;
}

/* Counts who started a group's members; `is_one`: the same did all. */
static void count_creators(const struct snapshot *snapshot, struct grouping *grouping, struct group *group, bool is_one,
                           struct arena *arena, struct arena *scratch)
{
    const uint32_t *members = grouping->members + group->member_first;
    struct pair {
        uint32_t creator, count;
    } *pairs = NULL;
    size_t count = 0, capacity = 0;
    uint32_t looked_at = is_one ? 1 : group->member_count;
    for (uint32_t i = 0; i < looked_at; i++) {
        const struct member *member = &snapshot->members[members[i]];
        uint32_t stands_for = is_one ? group->count : member->count;
        prefetch_member(snapshot, members, looked_at, i);
        if (member->creator == 0)
            continue;
        if (count != 0 && pairs[count - 1].creator == member->creator) {
            pairs[count - 1].count += stands_for;
            continue;
        }
        pairs = arena_grow(scratch, pairs, count, &capacity, sizeof *pairs);
        pairs[count++] = (struct pair){member->creator, stands_for};
    }
    if (count > 1)
        qsort(pairs, count, sizeof *pairs, compare_number); /* the creator stands first in a pair */
    group->creator_first = (uint32_t)grouping->creator_count;
    for (size_t i = 0; i < count; i++) {
        struct creator_count *last = grouping->creator_count == group->creator_first
                                         ? NULL
                                         : &grouping->creators[grouping->creator_count - 1];
        if (last != NULL && last->creator == pairs[i].creator) {
            last->count += pairs[i].count;
            continue;
        }
        grouping->creators = arena_grow(arena, grouping->creators, grouping->creator_count, &grouping->creator_capacity,
                                        sizeof *grouping->creators);
        grouping->creators[grouping->creator_count++] = (struct creator_count){pairs[i].creator, pairs[i].count};
    }
    group->creator_count = (uint32_t)grouping->creator_count - group->creator_first;
    if (group->creator_count != 0)
        qsort(grouping->creators + group->creator_first, group->creator_count, sizeof *grouping->creators,
              compare_creator);
}

static void count_waited(struct group *group, const struct member *member)
{
    if (!member->waited_known)
        return;
    if (group->waited_count == 0 || member->waited_seconds < group->waited_seconds_min)
        group->waited_seconds_min = member->waited_seconds;
    if (member->waited_seconds > group->waited_seconds_max)
        group->waited_seconds_max = member->waited_seconds;
    group->waited_count += member->count;
}

/* Room that is used for each group in turn. */
struct filling {
    struct arena *arena, *scratch;
    struct numbered *by_id, *spare; /* members: a million records of their own size would miss the cache at each compare */
    size_t states_capacity;
    struct resource_waits_room waits;
};

/* What is learnt of a group's members in one look at each. */
struct member_sums {
    size_t waits;
    bool is_one_state, is_one_creator;
};

static struct member_sums sum_members(const struct snapshot *snapshot, const uint32_t *members, struct group *group,
                                      struct numbered *ret_by_id)
{
    const struct member *first = &snapshot->members[members[0]];
    struct member_sums sums = {.is_one_state = true, .is_one_creator = true};
    group->cpu_known = true;
    for (uint32_t i = 0; i < group->member_count; i++) {
        const struct member *member = &snapshot->members[members[i]];
        prefetch_member(snapshot, members, group->member_count, i);
        ret_by_id[i] = (struct numbered){member->id, members[i]};
        sums.waits += member->wait_count;
        sums.is_one_state &= member->state == first->state && member->fd == first->fd;
        sums.is_one_creator &= member->creator == first->creator;
        struct member_thread thread = snapshot_thread(snapshot, member);
        group->cpu_known &= thread.cpu_known;
        group->cpu_at_most |= thread.cpu_at_most;
        group->cpu_microseconds += thread.cpu_microseconds;
        count_waited(group, member);
        group->moved += member->movement == MOVEMENT_MOVED ? member->count : 0;
        group->never_moved += member->movement == MOVEMENT_NONE ? member->count : 0;
    }
    return sums;
}

static void fill_states(const struct snapshot *snapshot, struct grouping *grouping, struct group *group, bool is_one,
                        struct filling *filling)
{
    const uint32_t *members = grouping->members + group->member_first;
    while (filling->states_capacity < grouping->state_count + group->member_count)
        grouping->states = arena_grow(filling->arena, grouping->states, filling->states_capacity,
                                      &filling->states_capacity, sizeof *grouping->states);
    struct state_count *states = grouping->states + grouping->state_count;
    const struct member *first = &snapshot->members[members[0]];
    uint32_t used = 1;
    if (is_one)
        states[0] = (struct state_count){first->state, first->fd, group->count};
    else
        used = count_states(snapshot, members, group->member_count, states, true);
    if (used == UINT32_MAX)
        used = count_states(snapshot, members, group->member_count, states, false);
    group->state_first = (uint32_t)grouping->state_count;
    group->state_count = used;
    grouping->state_count += used;
}

static void fill_group(const struct snapshot *snapshot, struct grouping *grouping, struct group *group,
                       struct filling *filling)
{
    struct arena *arena = filling->arena;
    uint32_t *members = grouping->members + group->member_first;
    struct member_sums sums = sum_members(snapshot, members, group, filling->by_id);
    number_sort(filling->by_id, group->member_count, filling->spare);
    for (uint32_t i = 0; i < group->member_count; i++)
        members[i] = (uint32_t)filling->by_id[i].value;
    fill_states(snapshot, grouping, group, sums.is_one_state, filling);
    count_creators(snapshot, grouping, group, sums.is_one_creator, arena, filling->scratch);
    descriptor_waits_add(snapshot, grouping, group, arena);
    resource_waits_add(snapshot, grouping, group, sums.waits, &filling->waits, arena, filling->scratch);
    group->partial = snapshot->stacks[group->stack].end != STACK_END_OUTERMOST;
    fingerprint_stack(snapshot, &snapshot->stacks[group->stack], group->fingerprint);
}

static uint64_t sum(uint64_t a, uint64_t b)
{
    uint64_t result;
    return __builtin_add_overflow(a, b, &result) ? UINT64_MAX : result;
}

static void add_heap(struct heap_usage *total, const struct heap_usage *usage)
{
    total->bytes = sum(total->bytes, usage->bytes);
    total->objects = sum(total->objects, usage->objects);
    total->bytes_allocated = sum(total->bytes_allocated, usage->bytes_allocated);
    total->objects_allocated = sum(total->objects_allocated, usage->objects_allocated);
}

struct grouping group_snapshot(const struct snapshot *snapshot, const struct group_options *options,
                               struct arena *arena, struct arena *scratch)
{
    struct grouping grouping = {.by = options->by};
    struct intern_table keys, stack_keys;
    intern_table_init(&keys, scratch);
    intern_table_init(&stack_keys, scratch);

    uint32_t *location_keys = arena_array(scratch, uint32_t, snapshot->location_count + 1);
    for (size_t i = 0; i < snapshot->location_count; i++)
        location_keys[i] = location_key(snapshot, &snapshot->locations[i], options->by, &keys);

    /* Stack to group: number of the interned run of its locations' keys and its end. */
    uint32_t *group_of_stack = arena_array(scratch, uint32_t, snapshot->stack_count + 1);
    for (size_t i = 0; i < snapshot->stack_count; i++) {
        const struct stack *stack = &snapshot->stacks[i];
        uint32_t begun = begun_by(snapshot, stack, options->by);
        if (begun != 0) {
            const uint32_t one[2] = {begun, stack->creator != 0 && options->by == GROUP_BY_CREATOR};
            group_of_stack[i] = intern_table_add(&stack_keys, (struct text){(const char *)one, sizeof one}) - 1;
            continue;
        }
        uint32_t *run = arena_array(scratch, uint32_t, (size_t)stack->step_count + 2);
        for (uint32_t j = 0; j < stack->step_count; j++)
            run[j] = location_keys[snapshot->steps[stack->step_first + j].location];
        run[stack->step_count] = stack->end;
        run[stack->step_count + 1] = stack->labels;
        struct text key = {(const char *)run, ((size_t)stack->step_count + 2) * sizeof *run};
        group_of_stack[i] = intern_table_add(&stack_keys, key) - 1; /* number 0 is the empty text */
    }
    size_t group_count = stack_keys.count - 1;
    struct group *groups = arena_array(arena, struct group, group_count + 1);
    uint32_t *stack_counts = arena_array(scratch, uint32_t, snapshot->stack_count + 1);
    for (size_t i = 0; i < snapshot->member_count; i++) {
        const struct member *member = &snapshot->members[i];
        struct group *group = &groups[group_of_stack[member->stack]];
        group->count += member->count;
        group->member_count++;
        if (snapshot->heap != NULL) {
            add_heap(&group->heap, &snapshot->heap[i]);
            add_heap(&grouping.heap, &snapshot->heap[i]);
        }
        group->signalled |= snapshot->signal.number != 0 && member->id != 0 && snapshot->signal.tid == member->id;
        stack_counts[member->stack] += member->count;
    }
    for (size_t i = 0; i < snapshot->stack_count; i++) {
        struct group *group = &groups[group_of_stack[i]];
        if (stack_counts[i] == 0)
            continue;
        uint32_t best = stack_counts[group->stack];
        if (group->variants++ == 0 || stack_counts[i] > best ||
            (stack_counts[i] == best && compare_addresses(snapshot, (uint32_t)i, group->stack) < 0))
            group->stack = (uint32_t)i;
    }

    grouping.members = arena_array(arena, uint32_t, snapshot->member_count + 1);
    uint32_t next = 0;
    for (size_t i = 0; i < group_count; i++) {
        groups[i].member_first = next;
        next += groups[i].member_count;
    }
    uint32_t *filled = arena_array(scratch, uint32_t, group_count + 1);
    for (size_t i = 0; i < snapshot->member_count; i++) {
        uint32_t number = group_of_stack[snapshot->members[i].stack];
        grouping.members[groups[number].member_first + filled[number]++] = (uint32_t)i;
    }

    bool *wanted = match_groups(snapshot, options->filter, group_of_stack, group_count, scratch);
    bool *unwanted = match_groups(snapshot, options->exclude, group_of_stack, group_count, scratch);
    qsort_r(groups, group_count, sizeof *groups, compare_group, (void *)snapshot);

    struct filling filling = {.arena = arena, .scratch = scratch};
    uint32_t members_most = 0;
    for (size_t i = 0; i < group_count; i++)
        members_most = groups[i].member_count > members_most ? groups[i].member_count : members_most;
    filling.by_id = arena_array(scratch, struct numbered, (size_t)members_most + 1);
    filling.spare = arena_array(scratch, struct numbered, (size_t)members_most + 1);
    grouping.resource_waits = arena_array(arena, struct resource_wait, snapshot->wait_count + 1);
    grouping.resource_wait_capacity = snapshot->wait_count + 1;
    grouping.resource_waiters = arena_array(arena, uint32_t, snapshot->wait_count + 1);
    grouping.resource_waiter_capacity = snapshot->wait_count + 1;
    struct group *hidden = arena_array(scratch, struct group, group_count + 1);
    uint64_t largest_left = options->top == 0 ? UINT64_MAX : options->top; /* the signalled group is extra */
    for (size_t i = 0; i < group_count; i++) {
        struct group group = groups[i];
        if (group.count == 0)
            continue;
        uint32_t number = group_of_stack[group.stack];
        bool shown = group.count >= options->count_min && (wanted == NULL || wanted[number]) &&
                     (unwanted == NULL || !unwanted[number]);
        fill_group(snapshot, &grouping, &group, &filling);
        if (!group.signalled && (!shown || largest_left == 0)) {
            hidden[grouping.hidden_groups++] = group;
            grouping.hidden_members += group.count;
            continue;
        }
        largest_left -= !group.signalled;
        groups[grouping.group_count++] = group;
    }
    if (grouping.hidden_groups != 0)
        memcpy(groups + grouping.group_count, hidden, grouping.hidden_groups * sizeof *groups);
    grouping.group_count_all = grouping.group_count + grouping.hidden_groups;

    /* From the numbers that groups had before they were sorted to their places. */
    uint32_t *places = arena_array(scratch, uint32_t, group_count + 1);
    memset(places, 0xff, (group_count + 1) * sizeof *places);
    for (size_t i = 0; i < grouping.group_count_all; i++)
        places[group_of_stack[groups[i].stack]] = (uint32_t)i;
    grouping.group_of_stack = arena_array(arena, uint32_t, snapshot->stack_count + 1);
    for (size_t i = 0; i < snapshot->stack_count; i++)
        grouping.group_of_stack[i] = places[group_of_stack[i]];
    grouping.groups = groups;
    return grouping;
}
