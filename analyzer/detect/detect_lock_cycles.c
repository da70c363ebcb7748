/* SPDX-License-Identifier: Apache-2.0 */
/* Deadlocks: members that wait for each other's locks, each circle once, and those that wait behind them. A rule's
 * conditions must hold for one member of the circle at least. */
#include "base/limits.h"
#include "detect/lock_view.h"

#include <inttypes.h>

struct telling {
    struct detection *detection;
    const struct wait_graph *graph;
    const struct snapshot *snapshot;
    const struct wait_component *component;
    struct graph_cycles cycles;
    struct finding *finding;
};

static uint64_t count_members(const struct snapshot *snapshot, const uint32_t *members, uint32_t count)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++)
        total += snapshot->members[members[i]].count;
    return total;
}

/* Objects that a dump knows by their class alone are several of one name. */
static bool has_namesake(const struct telling *telling, uint32_t resource)
{
    const uint32_t *resources = &telling->graph->component_resources[telling->component->resource_first];
    for (uint32_t i = 0; i < telling->component->resource_count; i++)
        if (resources[i] != resource &&
            telling->snapshot->resources[resources[i]].name == telling->snapshot->resources[resource].name)
            return true;
    return false;
}

/* "mutexes a, b, 0x40 and 3 more, rwlock c": the component's resources, which are sorted by kind. */
static const char *resources_text(struct telling *telling)
{
    enum { named_max = 4 };
    struct arena *arena = detection_arena(telling->detection);
    const uint32_t *resources = &telling->graph->component_resources[telling->component->resource_first];
    uint32_t count = telling->component->resource_count;
    const char *all = "";
    for (uint32_t first = 0, end; first < count; first = end) {
        enum wait_kind kind = telling->snapshot->resources[resources[first]].kind;
        for (end = first; end < count && telling->snapshot->resources[resources[end]].kind == kind; end++)
            ;
        const char *word = kind == WAIT_JOIN ? "join of thread" : wait_kind_name(kind);
        const char *plural = end - first == 1 ? "" : kind == WAIT_MUTEX ? "es" : "s";
        all = arena_printf(arena, "%s%s%s%s", all, first == 0 ? "" : ", ", word, plural);
        for (uint32_t i = first; i < end && i < first + named_max; i++) {
            const struct resource *resource = &telling->snapshot->resources[resources[i]];
            struct text name = snapshot_string(telling->snapshot, resource->name);
            const char *comma = i == first ? " " : ", ";
            if (kind == WAIT_JOIN && resource->address != 0)
                all = arena_printf(arena, "%s%s%" PRIu64, all, comma, resource->address);
            else if (name.length != 0 && resource->address != 0 && has_namesake(telling, resources[i]))
                all = arena_printf(arena, "%s%s%.*s 0x%" PRIx64, all, comma, (int)name.length, name.data,
                                   resource->address);
            else if (name.length != 0)
                all = arena_printf(arena, "%s%s%.*s", all, comma, (int)name.length, name.data);
            else if (resource->address != 0)
                all = arena_printf(arena, "%s%s0x%" PRIx64, all, comma, resource->address);
        }
        if (end - first > named_max)
            all = arena_printf(arena, "%s and %" PRIu32 " more", all, end - first - named_max);
    }
    return all;
}

/* Its learnt is that of the weaker fact: an alternative of several is taken for no more than inferred. */
static struct finding_edge edge_at(const struct telling *telling, const struct graph_cycle *cycle, size_t at,
                                   const struct wait **ret_wait, const struct hold **ret_hold)
{
    const uint32_t *nodes = &telling->cycles.nodes[cycle->first];
    uint32_t holder = nodes[(at + 2) % cycle->count];
    *ret_wait = wait_graph_find_wait(telling->graph, nodes[at], nodes[at + 1]);
    *ret_hold = wait_graph_find_hold(telling->graph, nodes[at + 1], holder);
    enum learnt learnt = learnt_weaker((*ret_wait)->learnt, (*ret_hold)->learnt);
    if (wait_graph_wait_count(telling->graph, nodes[at]) > 1)
        learnt = learnt_weaker(learnt, LEARNT_INFERRED);
    return (struct finding_edge){.waiter = nodes[at], .resource = nodes[at + 1], .holder = holder, .learnt = learnt};
}

static void tell_edge(struct telling *telling, const struct finding_edge *edge, const struct wait *wait,
                      const struct hold *hold)
{
    struct detection *detection = telling->detection;
    const struct resource *resource = &telling->snapshot->resources[edge->resource];
    struct text waiter = detection_member_text(detection, edge->waiter);
    struct text holder = detection_member_text(detection, edge->holder);
    struct text site = detection_call_site(detection, telling->snapshot->members[edge->waiter].stack);
    const char *wanted = lock_wait_text(detection, wait);
    const char *in = site.length == 0 ? "" : " in ";
    if (resource->kind == WAIT_JOIN) {
        detection_add_evidence(detection, telling->finding, "%.*s waits %s%s%.*s (%s)", (int)waiter.length, waiter.data,
                               wanted, in, (int)site.length, site.data, learnt_phrase(edge->learnt));
        return;
    }
    const char *to_read = resource->kind == WAIT_RWLOCK && !hold->exclusive ? " to read" : "";
    const char *to_write = resource->kind == WAIT_RWLOCK && hold->exclusive ? " to write" : "";
    if (edge->waiter == edge->holder)
        detection_add_evidence(detection, telling->finding, "%.*s waits %s%s%.*s, and holds it already%s%s (%s)",
                               (int)waiter.length, waiter.data, wanted, in, (int)site.length, site.data, to_read,
                               to_write, learnt_phrase(hold->learnt));
    else
        detection_add_evidence(detection, telling->finding, "%.*s waits %s%s%.*s, held%s%s by %.*s (%s)",
                               (int)waiter.length, waiter.data, wanted, in, (int)site.length, site.data, to_read,
                               to_write, (int)holder.length, holder.data, learnt_phrase(hold->learnt));
}

/* How many of a cycle's waits are told: a long one from its start, further ones only whole. */
static size_t told_count(size_t number, size_t length, size_t told)
{
    if (told + length <= limit_finding_sentences)
        return length;
    return number == 0 ? limit_finding_sentences : 0;
}

static void tell_cycle(struct telling *telling, const struct graph_cycle *cycle, size_t told, bool is_kept)
{
    for (size_t at = 0; at < cycle->count; at += 2) {
        const struct wait *wait;
        const struct hold *hold;
        struct finding_edge edge = edge_at(telling, cycle, at, &wait, &hold);
        enum learnt kind_learnt = telling->snapshot->resources[edge.resource].learnt;
        enum learnt weakest = kind_learnt == LEARNT_UNKNOWN ? edge.learnt : learnt_weaker(edge.learnt, kind_learnt);
        telling->finding->confidence = confidence_weaker(telling->finding->confidence, confidence_from_learnt(weakest));
        if (is_kept)
            lock_add_edge(telling->detection, telling->finding, wait, edge.holder, edge.learnt);
        if (at / 2 < told)
            tell_edge(telling, &edge, wait, hold);
    }
}

/* Edges of all cycles that are kept, sentences for a screen of them; the confidence is that of the weakest. */
static void tell_cycles(struct telling *telling)
{
    struct detection *detection = telling->detection;
    struct finding *finding = telling->finding;
    const struct graph_cycles *cycles = &telling->cycles;
    size_t told = 0, untold = 0;
    finding->confidence = CONFIDENCE_READ;
    finding->cycles = arena_array(detection_arena(detection), struct finding_cycle, cycles->count);
    for (size_t i = 0; i < cycles->count; i++) {
        size_t length = cycles->cycles[i].count / 2, tell = told_count(i, length, told);
        bool is_kept = i == 0 || finding->edge_count + length <= limit_finding_edges;
        if (is_kept)
            finding->cycles[finding->cycle_count++] =
                (struct finding_cycle){(uint32_t)finding->edge_count, (uint32_t)length};
        if (cycles->at_least > 1 && tell != 0)
            detection_add_evidence(detection, finding, "circle %zu of %s%zu, %s:", i + 1,
                                   cycles->is_complete ? "" : "at least ", cycles->at_least,
                                   lock_count_text(detection, length));
        tell_cycle(telling, &cycles->cycles[i], tell, is_kept);
        told += tell;
        untold += length - tell;
    }
    if (untold != 0)
        detection_add_evidence(detection, finding, "%s more such waits are part of it",
                               detection_count_text(detection, untold));
}

/* Threads that were read one after another may each have told the truth of their own instant. None of the circle ran
 * between two looks at all of them: then none took or gave up a lock. */
static bool has_stood_still(const struct wait_graph *graph, const struct wait_component *component)
{
    const struct snapshot *snapshot = graph->snapshot;
    const uint32_t *members = &graph->component_members[component->member_first];
    bool between_looks = snapshot->sample_count > 1, while_read = true;
    for (uint32_t i = 0; i < component->member_count; i++) {
        between_looks &= snapshot->members[members[i]].movement == MOVEMENT_NONE;
        while_read &= snapshot->members[members[i]].stood_still;
    }
    return between_looks || while_read;
}

static void tell_instants(struct telling *telling)
{
    if (!snapshot_is_consistent(telling->snapshot))
        detection_add_evidence(telling->detection, telling->finding,
                               "the %s were not read at one instant, but none of them ran between two looks",
                               detection_members_word(telling->detection, telling->component->member_count));
}

static void tell_victims(struct telling *telling)
{
    enum { named_max = 3 };
    struct detection *detection = telling->detection;
    const uint32_t *victims = &telling->graph->victims[telling->component->victim_first];
    uint64_t count = count_members(telling->snapshot, victims, telling->component->victim_count);
    for (uint32_t i = 0; i < telling->component->victim_count; i++)
        detection_add_member(detection, telling->finding, victims[i], "waits");
    if (count == 0)
        return;
    const char *names = "";
    for (uint32_t i = 0; i < telling->component->victim_count && count <= named_max; i++) {
        struct text name = detection_member_text(detection, victims[i]);
        names = arena_printf(detection_arena(detection), "%s%s%.*s", names, i == 0 ? ": " : ", ", (int)name.length,
                             name.data);
    }
    detection_add_evidence(detection, telling->finding, "%s more %s %s behind %s%s",
                           detection_count_text(detection, count), detection_members_word(detection, count),
                           count == 1 ? "waits" : "wait", telling->component->member_count == 1 ? "it" : "them", names);
}

static const char *title(struct telling *telling)
{
    const struct graph_cycles *cycles = &telling->cycles;
    const struct wait_component *component = telling->component;
    uint32_t resource = telling->graph->component_resources[component->resource_first];
    const char *already = telling->snapshot->resources[resource].kind == WAIT_RWLOCK ? "a rwlock" : "a lock";
    if (telling->snapshot->resources[resource].kind == WAIT_MUTEX)
        already = "a mutex";
    if (component->member_count == 1)
        return arena_printf(detection_arena(telling->detection),
                            "{circle} waits for %s that it holds already: {resources}", already);
    if (component->resource_count == 1)
        return arena_printf(detection_arena(telling->detection),
                            "{circle} wait for %s that they hold already: {resources}", already);
    if (cycles->at_least == 1)
        return "{circle} wait for each other in a circle: {resources}";
    if (cycles->is_complete)
        return "{circle} wait for each other in {circles} circles: {resources}";
    return "{circle} wait for each other in a tangle of at least {circles} circles: {resources}";
}

static void add_finding(struct telling *telling, const struct compiled_rule *rule, uint64_t blocked)
{
    struct detection *detection = telling->detection;
    const struct wait_component *component = telling->component;
    const uint32_t *members = &telling->graph->component_members[component->member_first];
    struct arena *scratch = detection_scratch(detection);
    telling->cycles = wait_graph_cycles(telling->graph, component, scratch, scratch);
    telling->finding = detection_add(detection, rule);
    telling->finding->members = blocked;
    for (uint32_t i = 0; i < component->member_count; i++)
        detection_add_member(detection, telling->finding, members[i], "holds and waits");
    tell_cycles(telling);
    tell_victims(telling);
    tell_instants(telling);
    lock_sort_groups(telling->finding);
    const char *who = component->member_count == 1 ? detection_member_text(detection, members[0]).data
                                                   : lock_count_text(detection, component->member_count);
    detection_add_key(detection, telling->finding, "circle", text_from_string(who));
    detection_add_key(detection, telling->finding, "circles",
                      text_from_string(detection_count_text(detection, telling->cycles.at_least)));
    detection_add_key(detection, telling->finding, "resources", text_from_string(resources_text(telling)));
    detection_set_title(detection, telling->finding, rule, title(telling));
}

static void run(struct detection *detection, const struct compiled_rule *rule)
{
    struct lock_view *view = lock_view_get(detection);
    const struct wait_graph *graph = &view->graph;
    for (size_t i = 0; i < graph->component_count; i++) {
        const struct wait_component *component = &graph->components[i];
        struct telling telling = {
            .detection = detection, .graph = graph, .snapshot = graph->snapshot, .component = component};
        const uint32_t *members = &graph->component_members[component->member_first];
        uint64_t blocked =
            count_members(graph->snapshot, members, component->member_count) +
            count_members(graph->snapshot, &graph->victims[component->victim_first], component->victim_count);
        bool is_matched = false;
        for (uint32_t k = 0; k < component->member_count && !is_matched; k++)
            is_matched = detection_member_matches(detection, rule, members[k]);
        /* Under load every lock changes hands between the looks at two threads, and circles show that never were. */
        if (!snapshot_is_consistent(graph->snapshot) && !has_stood_still(graph, component))
            continue;
        if (view->is_told[i] || !is_matched || !lock_rule_reached(detection, compiled_rule_source(rule), blocked, 1))
            continue;
        view->is_told[i] = true;
        add_finding(&telling, rule, blocked);
    }
}

const struct detector detector_lock_cycle = {RULE_LOCK_CYCLE, "lock-cycle", run, NULL};
