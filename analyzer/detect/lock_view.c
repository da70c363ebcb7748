/* SPDX-License-Identifier: Apache-2.0 */
#include "detect/lock_view.h"

#include "base/name.h"

#include <stdlib.h>

/* Poor guesses are taken for holds only where they close circles: a first graph shows which do. */
static void add_poor_holds(struct lock_view *view, const struct snapshot *snapshot, struct arena *scratch)
{
    const struct lock_guesses *guesses = &view->guesses;
    size_t count = guesses->hold_count;
    struct hold *holds = arena_array(scratch, struct hold, count + guesses->poor_hold_count);
    for (size_t i = 0; i < count + guesses->poor_hold_count; i++)
        holds[i] = i < count ? guesses->holds[i] : guesses->poor_holds[i - count];
    struct wait_graph all = wait_graph_make(snapshot, holds, count + guesses->poor_hold_count, scratch, scratch);
    for (size_t i = 0; i < guesses->poor_hold_count && all.component_count != 0; i++) {
        const struct hold *hold = &guesses->poor_holds[i];
        uint32_t component = all.component_of[hold->member];
        if (component != index_none && component == all.component_of[snapshot->member_count + hold->resource])
            holds[count++] = *hold;
    }
    if (count != guesses->hold_count)
        view->graph = wait_graph_make(snapshot, holds, count, scratch, scratch);
}

struct lock_view *lock_view_get(struct detection *detection)
{
    void **slot = detection_slot(detection, RULE_LOCK_CYCLE);
    if (*slot != NULL)
        return *slot;
    struct arena *scratch = detection_scratch(detection);
    const struct snapshot *snapshot = detection_snapshot(detection);
    struct lock_view *view = arena_new(scratch, struct lock_view);
    view->guesses = lock_guesses_make(detection);
    view->graph = wait_graph_make(snapshot, view->guesses.holds, view->guesses.hold_count, scratch, scratch);
    if (view->guesses.poor_hold_count != 0)
        add_poor_holds(view, snapshot, scratch);
    view->is_told = arena_array(scratch, bool, view->graph.component_count);
    *slot = view;
    return view;
}

enum learnt learnt_weaker(enum learnt left, enum learnt right)
{
    return left < right ? left : right;
}

enum confidence confidence_weaker(enum confidence left, enum confidence right)
{
    return left < right ? left : right;
}

enum confidence confidence_from_learnt(enum learnt learnt)
{
    switch (learnt) {
    case LEARNT_READ:
    case LEARNT_TOLD:
        return CONFIDENCE_READ;
    case LEARNT_INFERRED:
        return CONFIDENCE_INFERRED;
    case LEARNT_SUSPECTED:
    case LEARNT_UNKNOWN:
        break;
    }
    return CONFIDENCE_SUSPECTED;
}

bool snapshot_is_consistent(const struct snapshot *snapshot)
{
    return snapshot->stop_kind != STOP_KIND_ROLLING && snapshot->stop_kind != STOP_KIND_NONE;
}

const char *learnt_phrase(enum learnt learnt)
{
    static const char *const phrases[] = {
        [LEARNT_UNKNOWN] = "not known how",         [LEARNT_SUSPECTED] = "suspected",
        [LEARNT_INFERRED] = "inferred from stacks", [LEARNT_TOLD] = "told by the dump",
        [LEARNT_READ] = "read from memory",
    };
    return phrases[learnt];
}

const char *lock_count_text(struct detection *detection, uint64_t count)
{
    return arena_printf(detection_arena(detection), "%s %s", detection_count_text(detection, count),
                        detection_members_word(detection, count));
}

const char *lock_wait_text(struct detection *detection, const struct wait *wait)
{
    const struct wait_graph *graph = &lock_view_get(detection)->graph;
    const struct resource *resource = &graph->snapshot->resources[wait->resource];
    const struct lock_node *lock = wait->resource < graph->resource_count ? &graph->locks[wait->resource] : NULL;
    if (resource->kind == WAIT_JOIN && lock != NULL && lock->hold_count != 0) {
        struct text member = detection_member_text(detection, graph->holds[lock->hold_first].member);
        return arena_printf(detection_arena(detection), "for %.*s to end", (int)member.length, member.data);
    }
    struct text text = detection_resource_text(detection, wait->resource);
    const char *how = resource->kind != WAIT_RWLOCK ? "for" : wait->exclusive ? "to write" : "to read";
    return arena_printf(detection_arena(detection), "%s %.*s", how, (int)text.length, text.data);
}

uint32_t lock_call_function(struct detection *detection, uint32_t member)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    uint32_t stack = snapshot->members[member].stack;
    size_t count = 0, first = detection_machinery(detection, stack);
    const struct stack_frame *frames = detection_frames(detection, stack, &count);
    return first < count ? snapshot->frames[frames[first].frame].function : 0;
}

static struct text frame_name(const struct snapshot *snapshot, const struct stack_frame *call)
{
    return name_normalise(snapshot_string(snapshot, snapshot->frames[call->frame].function));
}

/* The outermost frame of that function, counted from the leaf outside the machinery; 0: it is the leaf, or not there.
 */
static size_t call_from(struct detection *detection, uint32_t member, uint32_t function)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    uint32_t stack = snapshot->members[member].stack;
    size_t count = 0, first = detection_machinery(detection, stack);
    const struct stack_frame *frames = detection_frames(detection, stack, &count);
    for (size_t i = count; i-- > first + 1 && function != 0;)
        if (snapshot->frames[frames[i].frame].function == function)
            return i - first;
    return 0;
}

static const char *call_text(struct detection *detection, uint32_t member, size_t caller)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    uint32_t stack = snapshot->members[member].stack;
    size_t count = 0, at = detection_machinery(detection, stack) + caller;
    const struct stack_frame *frames = detection_frames(detection, stack, &count);
    struct text callee = frame_name(snapshot, &frames[at - 1]), function = frame_name(snapshot, &frames[at]);
    if (callee.length == 0)
        callee = TEXT("??");
    return arena_printf(detection_arena(detection), "%.*s called by %.*s", (int)callee.length, callee.data,
                        (int)function.length, function.data);
}

static const char *site_text(struct detection *detection, uint32_t member)
{
    struct text site = detection_call_site(detection, detection_snapshot(detection)->members[member].stack);
    return site.length == 0 ? "" : site.data;
}

const char *lock_holder_call(struct detection *detection, uint32_t member, uint32_t lock_function)
{
    size_t caller = call_from(detection, member, lock_function);
    return caller > 1 ? call_text(detection, member, caller) : site_text(detection, member);
}

const char *lock_holder_place(struct detection *detection, uint32_t member, uint32_t lock_function)
{
    const char *site = site_text(detection, member);
    size_t caller = call_from(detection, member, lock_function);
    if (caller == 0)
        return site;
    const char *call = call_text(detection, member, caller);
    return site[0] == '\0' || caller == 1 ? call : arena_printf(detection_arena(detection), "%s, in %s", site, call);
}

void lock_add_edge(struct detection *detection, struct finding *finding, const struct wait *wait, uint32_t holder,
                   enum learnt learnt)
{
    detection_add_edge(
        detection, finding,
        (struct finding_edge){
            .waiter = wait->member,
            .resource = wait->resource,
            .holder = holder,
            .learnt = learnt,
            .call_site = detection_call_site(detection, detection_snapshot(detection)->members[wait->member].stack),
        });
}

static int compare_groups(const void *left, const void *right)
{
    const struct finding_group *a = left, *b = right;
    int by_role = strcmp(a->role, b->role);
    if (by_role != 0)
        return by_role;
    if (a->members != b->members)
        return a->members > b->members ? -1 : 1;
    return a->group < b->group ? -1 : a->group > b->group;
}

void lock_sort_groups(struct finding *finding)
{
    if (finding->group_count > 1)
        qsort(finding->groups, finding->group_count, sizeof *finding->groups, compare_groups);
}

bool lock_rule_reached(struct detection *detection, const struct rule *rule, uint64_t members, uint64_t otherwise)
{
    uint64_t least = rule->at_least != 0 ? rule->at_least : otherwise;
    return members >= least &&
           (double)members * 1000 >= (double)rule->share_permille * (double)detection_snapshot(detection)->total;
}
