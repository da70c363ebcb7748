/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds everybody up: for each lock the chain of holders is followed to its head, which waits for no lock itself;
 * all that wait behind one head are one queue.
 *
 *   waiters ──► lock ──► holder ──► lock ──► head: a member that does something else, a thread that has ended, readers
 *                                            without a name, nobody known
 *
 * Chains that end in a circle belong to lock-cycle; one that ends in a lock which is free at this instant is a convoy
 * that moves on. One that may be moving on, as its head runs, is no more than info, whatever the rule says: at any
 * instant a busy lock has a queue; nor is one of workers who take turns at waiting for work. A rule's conditions select
 * the waiters that are counted; its head block the member at the head. */
#include "base/limits.h"
#include "detect/lock_view.h"

#include <inttypes.h>
#include <stdlib.h>

enum { at_least_default = 10 };

struct queue {
    uint32_t head; /* member; index_none: no member is known */
    uint32_t resource_first,
        resource_count; /* into queues.resources: those at the chains' ends first, then by waiters */
    uint64_t members;   /* that it blocks */
    bool has_lock;      /* besides joins, which are everyday */
    bool is_told;
};

struct queues {
    struct detection *detection;
    const struct wait_graph *graph;
    const struct lock_guesses *guesses;
    const struct snapshot *snapshot;
    uint32_t *holder_of;     /* per resource: the member that its chain goes on with; index_none: none is known */
    uint32_t *root_of;       /* per resource: the chain's last lock; index_none: it has no waiters or is stuck */
    uint64_t *waiter_counts; /* per resource, those that one stands for counted */
    uint32_t *resources;
    bool *is_holder; /* per member: others wait for a lock of it */
    struct queue *entries;
    size_t count, capacity;
    struct intern_table sites;              /* places where members wait */
    uint32_t *site_of;                      /* per stack: the place's number in `sites`; 0: not looked at, or unknown */
    uint64_t *site_counts;                  /* per site, zero between uses */
    const struct compiled_rule **few_rules; /* those with info-from, in the order of the rules */
    size_t few_rule_count, few_rule_capacity;
};

/* Of several holders (readers) the one that does something else than wait, then the one with the lowest id. */
static uint32_t main_holder(const struct wait_graph *graph, uint32_t resource)
{
    const struct lock_node *lock = &graph->locks[resource];
    uint32_t best = index_none;
    bool best_waits = false;
    for (uint32_t i = 0; i < lock->hold_count; i++) {
        uint32_t member = graph->holds[lock->hold_first + i].member;
        bool waits = wait_graph_wait(graph, member) != NULL;
        if (best == index_none || (best_waits && !waits) ||
            (best_waits == waits && wait_graph_compare_members(graph->snapshot, member, best) < 0)) {
            best = member;
            best_waits = waits;
        }
    }
    return best;
}

/* The lock that the resource's holder waits for; index_none: the chain ends here. */
static uint32_t next_lock(const struct queues *queues, uint32_t resource)
{
    uint32_t holder = queues->holder_of[resource];
    const struct wait *wait = holder == index_none ? NULL : wait_graph_wait(queues->graph, holder);
    return wait == NULL ? index_none : wait->resource;
}

/* What is not stuck has no circles: each chain ends. */
static void find_root(struct queues *queues, uint32_t resource)
{
    uint32_t root = resource, next;
    while (queues->root_of[root] == index_none && (next = next_lock(queues, root)) != index_none)
        root = next;
    if (queues->root_of[root] != index_none)
        root = queues->root_of[root];
    for (uint32_t at = resource; at != index_none && queues->root_of[at] == index_none; at = next_lock(queues, at))
        queues->root_of[at] = root;
}

/* A member that waits for any of several things is held up by none of them alone. */
static const struct wait *waiter_at(const struct queues *queues, uint32_t resource, uint32_t number)
{
    uint32_t wait = queues->graph->waiters[queues->graph->locks[resource].waiter_first + number];
    uint32_t member = queues->snapshot->waits[wait].member;
    return wait_graph_wait_count(queues->graph, member) == 1 ? &queues->snapshot->waits[wait] : NULL;
}

static void look_at_resource(struct queues *queues, uint32_t resource)
{
    const struct lock_node *lock = &queues->graph->locks[resource];
    queues->holder_of[resource] = main_holder(queues->graph, resource);
    for (uint32_t i = 0; i < lock->waiter_count; i++) {
        const struct wait *wait = waiter_at(queues, resource, i);
        if (wait != NULL)
            queues->waiter_counts[resource] += queues->snapshot->members[wait->member].count;
    }
    if (queues->waiter_counts[resource] != 0 && queues->holder_of[resource] != index_none)
        queues->is_holder[queues->holder_of[resource]] = true;
}

/* Whether anything is wrong with a chain that ends so, without a member at its head. */
static bool end_is_queue(const struct queues *queues, uint32_t root)
{
    if (queues->snapshot->resources[root].kind == WAIT_JOIN)
        return false;
    switch (queues->graph->locks[root].holder) {
    case HOLDER_UNKNOWN:
    case HOLDER_ANONYMOUS:
    case HOLDER_ENDED:
    case HOLDER_ELSEWHERE:
        return true;
    case HOLDER_HELD: /* by readers that readers do not wait for */
    case HOLDER_FREE:
    case HOLDER_NEVER:
        break;
    }
    return false;
}

static int compare_in_queue(const void *left, const void *right, void *context)
{
    const struct queues *queues = context;
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    bool a_ends = queues->root_of[a] == a, b_ends = queues->root_of[b] == b;
    if (a_ends != b_ends)
        return a_ends ? -1 : 1;
    if (queues->waiter_counts[a] != queues->waiter_counts[b])
        return queues->waiter_counts[a] > queues->waiter_counts[b] ? -1 : 1;
    return wait_graph_compare_resources(queues->snapshot, a, b);
}

/* Puts each resource to its chain's head: a member with all that it holds, or else the chain's last lock. */
static void sort_into_queues(struct queues *queues, struct arena *scratch)
{
    const struct snapshot *snapshot = queues->snapshot;
    uint32_t resource_count = queues->graph->resource_count;
    uint32_t *of_member = arena_array(scratch, uint32_t, snapshot->member_count); /* queue + 1 */
    uint32_t *of_root = arena_array(scratch, uint32_t, resource_count);           /* queue + 1 */
    uint32_t *queue_of = arena_array(scratch, uint32_t, resource_count);          /* queue + 1 */
    for (uint32_t i = 0; i < resource_count; i++) {
        uint32_t root = queues->root_of[i], head = root == index_none ? index_none : queues->holder_of[root];
        if (root == index_none || (head == index_none && !end_is_queue(queues, root)))
            continue;
        uint32_t *known = head == index_none ? &of_root[root] : &of_member[head];
        if (*known == 0) {
            queues->entries =
                arena_grow(scratch, queues->entries, queues->count, &queues->capacity, sizeof *queues->entries);
            queues->entries[queues->count++] = (struct queue){.head = head};
            *known = (uint32_t)queues->count;
        }
        queue_of[i] = *known;
        struct queue *queue = &queues->entries[*known - 1];
        queue->resource_count++;
        queue->members += queues->waiter_counts[i];
        queue->has_lock |= snapshot->resources[i].kind != WAIT_JOIN;
    }
    uint32_t first = 0;
    for (size_t i = 0; i < queues->count; i++) {
        queues->entries[i].resource_first = first;
        first += queues->entries[i].resource_count;
        queues->entries[i].resource_count = 0;
    }
    queues->resources = arena_array(scratch, uint32_t, first);
    for (uint32_t i = 0; i < resource_count; i++) {
        struct queue *queue = queue_of[i] == 0 ? NULL : &queues->entries[queue_of[i] - 1];
        if (queue != NULL)
            queues->resources[queue->resource_first + queue->resource_count++] = i;
    }
    for (size_t i = 0; i < queues->count; i++)
        qsort_r(&queues->resources[queues->entries[i].resource_first], queues->entries[i].resource_count,
                sizeof *queues->resources, compare_in_queue, queues);
}

static struct queues *queues_get(struct detection *detection)
{
    void **slot = detection_slot(detection, RULE_LOCK_QUEUE);
    if (*slot != NULL)
        return *slot;
    struct arena *scratch = detection_scratch(detection);
    const struct lock_view *view = lock_view_get(detection);
    const struct snapshot *snapshot = detection_snapshot(detection);
    uint32_t resource_count = view->graph.resource_count;
    struct queues *queues = arena_new(scratch, struct queues);
    *queues = (struct queues){
        .detection = detection,
        .graph = &view->graph,
        .guesses = &view->guesses,
        .snapshot = snapshot,
        .holder_of = arena_array(scratch, uint32_t, resource_count),
        .root_of = arena_array(scratch, uint32_t, resource_count),
        .waiter_counts = arena_array(scratch, uint64_t, resource_count),
        .is_holder = arena_array(scratch, bool, snapshot->member_count),
        .site_of = arena_array(scratch, uint32_t, snapshot->stack_count),
        .site_counts = arena_array(scratch, uint64_t, snapshot->stack_count + 1),
    };
    intern_table_init(&queues->sites, scratch);
    intern_table_add(&queues->sites, TEXT("")); /* number 0 */
    for (uint32_t i = 0; i < resource_count; i++) {
        queues->root_of[i] = index_none;
        look_at_resource(queues, i);
    }
    for (uint32_t i = 0; i < resource_count; i++)
        if (queues->waiter_counts[i] != 0 && !queues->graph->locks[i].is_stuck)
            find_root(queues, i);
    sort_into_queues(queues, scratch);
    *slot = queues;
    return queues;
}

/* One queue, while a rule's finding of it is made. */
struct telling {
    struct detection *detection;
    struct queues *queues;
    const struct snapshot *snapshot;
    const struct queue *queue;
    const uint32_t *resources;
    struct finding *finding;
    uint32_t lock_function; /* in which most of the first lock's waiters call it; string */
    uint64_t matched;
};

static uint32_t site_of(const struct telling *telling, uint32_t member)
{
    struct queues *queues = telling->queues;
    uint32_t stack = telling->snapshot->members[member].stack;
    if (queues->site_of[stack] == 0)
        queues->site_of[stack] = intern_table_add(&queues->sites, detection_call_site(telling->detection, stack));
    return queues->site_of[stack];
}

/* Where most of the waiters wait, of equals the first by name: one that does, and how many. NULL: nobody waits. */
static const struct wait *most_waiters(const struct telling *telling, uint32_t resource, uint64_t *ret_count)
{
    const struct queues *queues = telling->queues;
    uint32_t count = queues->graph->locks[resource].waiter_count, best_site = 0;
    const struct wait *best = NULL;
    for (uint32_t i = 0; i < count; i++) {
        const struct wait *wait = waiter_at(queues, resource, i);
        if (wait != NULL)
            queues->site_counts[site_of(telling, wait->member)] += telling->snapshot->members[wait->member].count;
    }
    *ret_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct wait *wait = waiter_at(queues, resource, i);
        uint32_t site = wait == NULL ? 0 : site_of(telling, wait->member);
        uint64_t here = wait == NULL ? 0 : queues->site_counts[site];
        if (here > *ret_count || (here != 0 && here == *ret_count &&
                                  strcmp(queues->sites.texts[site].data, queues->sites.texts[best_site].data) < 0)) {
            best = wait;
            best_site = site;
            *ret_count = here;
        }
        if (wait != NULL)
            queues->site_counts[site] = 0;
    }
    return best;
}

static const char *resource_text(const struct telling *telling, uint32_t resource)
{
    return detection_resource_text(telling->detection, resource).data;
}

static const char *member_text(const struct telling *telling, uint32_t member)
{
    return detection_member_text(telling->detection, member).data;
}

static const char *rwlock_hold_text(const struct telling *telling, uint32_t resource, const struct hold *hold)
{
    if (telling->snapshot->resources[resource].kind != WAIT_RWLOCK)
        return "";
    return hold->exclusive ? " to write" : " to read";
}

static bool is_guessed(const struct telling *telling, uint32_t resource)
{
    const struct lock_guesses *guesses = telling->queues->guesses;
    return guesses->entries != NULL && guesses->entries[resource].member != index_none;
}

/* "held by thread 12, which waits for mutex 0x40 itself (read from memory)" */
static const char *holder_text(const struct telling *telling, uint32_t resource)
{
    struct arena *arena = detection_arena(telling->detection);
    const struct wait_graph *graph = telling->queues->graph;
    const struct lock_node *lock = &graph->locks[resource];
    uint32_t holder = telling->queues->holder_of[resource];
    const struct resource *facts = &telling->snapshot->resources[resource];
    if (facts->kind == WAIT_JOIN)
        return "";
    if (holder != index_none) {
        const struct hold *hold = wait_graph_find_hold(graph, resource, holder);
        const struct wait *wait = wait_graph_wait(graph, holder);
        const char *others =
            lock->hold_count < 2
                ? ""
                : arena_printf(arena, " and %s more", detection_count_text(telling->detection, lock->hold_count - 1));
        const char *itself =
            wait == NULL ? ""
                         : arena_printf(arena, ", which itself waits %s", lock_wait_text(telling->detection, wait));
        return arena_printf(arena, "%sheld%s by %s%s%s (%s)", is_guessed(telling, resource) ? "likely " : "",
                            rwlock_hold_text(telling, resource, hold), member_text(telling, holder), others, itself,
                            learnt_phrase(hold->learnt));
    }
    switch (lock->holder) {
    case HOLDER_ENDED:
        return arena_printf(arena, "held by thread %" PRIu64 ", which has ended", facts->owner_id);
    case HOLDER_ELSEWHERE:
        return arena_printf(arena, "held by %" PRIu64 " of another process", facts->owner_id);
    case HOLDER_ANONYMOUS:
        return facts->anonymous_count == 0
                   ? "held by readers, not known by whom"
                   : arena_printf(arena, "held by %s reader%s, not known by whom",
                                  detection_count_text(telling->detection, facts->anonymous_count),
                                  facts->anonymous_count == 1 ? "" : "s");
    case HOLDER_UNKNOWN:
    case HOLDER_HELD:
    case HOLDER_FREE:
    case HOLDER_NEVER:
        break;
    }
    return "its holder is unknown";
}

/* How the holder was looked for where only stacks tell. */
static void tell_guess(struct telling *telling, uint32_t resource)
{
    struct detection *detection = telling->detection;
    const struct lock_guesses *guesses = telling->queues->guesses;
    const struct lock_guess *guess = guesses->entries == NULL ? NULL : &guesses->entries[resource];
    if (guess == NULL || !guess->is_asked)
        return;
    const char *more = guess->has_more_functions && guess->member == index_none ? " and other functions" : "";
    struct text name = snapshot_string(telling->snapshot, guess->function);
    const char *function = arena_printf(detection_arena(detection), "%.*s%s", (int)name.length, name.data, more);
    const char *word = detection_members_word(detection, guess->is_shared_place ? 1 : guess->candidates);
    if (guess->is_shared_place)
        detection_add_evidence(detection, telling->finding,
                               "%s locks several things in one place: a %s past it may hold another one", function,
                               word);
    else if (guess->member != index_none)
        detection_add_evidence(detection, telling->finding,
                               "%s is the only %s that stands in %s past the others' call of Lock",
                               member_text(telling, guess->member), word, function);
    else if (guess->candidates == 0)
        detection_add_evidence(detection, telling->finding, "no %s stands in %s past their call of Lock%s",
                               detection_members_word(detection, 1), function,
                               guess->poor_candidates != 0 ? ", except in a later call of Lock" : "");
    else
        detection_add_evidence(detection, telling->finding,
                               "%s %s stand in %s past their call of Lock: which of them holds it is not known",
                               detection_count_text(detection, guess->candidates), word, function);
}

static void tell_head(struct telling *telling)
{
    struct detection *detection = telling->detection;
    uint32_t head = telling->queue->head;
    if (head == index_none)
        return;
    const struct member *member = &telling->snapshot->members[head];
    const struct hold *hold = wait_graph_find_hold(telling->queues->graph, telling->resources[0], head);
    struct text state = snapshot_string(telling->snapshot, member->state);
    const char *place = lock_holder_place(detection, head, telling->lock_function);
    const char *waits = wait_graph_wait_count(telling->queues->graph, head) == 0 ? "waits for no lock itself"
                                                                                 : "waits for any of several locks";
    const char *holds =
        telling->snapshot->resources[telling->resources[0]].kind == WAIT_JOIN
            ? "is waited for"
            : arena_printf(detection_arena(detection), "%s %s%s (%s)",
                           is_guessed(telling, telling->resources[0]) ? "likely holds" : "holds",
                           resource_text(telling, telling->resources[0]),
                           rwlock_hold_text(telling, telling->resources[0], hold), learnt_phrase(hold->learnt));
    detection_add_evidence(detection, telling->finding, "%s %s and %s%s%s%s%.*s", member_text(telling, head), holds,
                           waits, place[0] == '\0' ? "" : ": it is in ", place,
                           state.length == 0 ? "" : "; its state is ", (int)state.length, state.data);
}

static void tell_resource(struct telling *telling, uint32_t resource)
{
    struct detection *detection = telling->detection;
    uint64_t count = telling->queues->waiter_counts[resource], there = 0;
    const struct wait *wait = most_waiters(telling, resource, &there);
    if (wait == NULL)
        return;
    struct text site = detection_call_site(detection, telling->snapshot->members[wait->member].stack);
    const char *share = there == count || site.length == 0 ? ""
                                                           : arena_printf(detection_arena(detection), " (%s of them)",
                                                                          detection_count_text(detection, there));
    const char *holder = holder_text(telling, resource);
    detection_add_evidence(detection, telling->finding, "%s %s %s%s%.*s%s%s%s", lock_count_text(detection, count),
                           count == 1 ? "waits" : "wait", lock_wait_text(detection, wait),
                           site.length == 0 ? "" : " in ", (int)site.length, site.data, share,
                           holder[0] == '\0' ? "" : ": ", holder);
    if (telling->queues->root_of[resource] == resource)
        tell_guess(telling, resource);
}

/* Several looks tell a queue that moves from one that stands. */
static void tell_movement(struct telling *telling)
{
    uint64_t moved = 0;
    if (telling->snapshot->sample_count < 2)
        return;
    for (uint32_t i = 0; i < telling->queue->resource_count; i++)
        for (uint32_t k = 0; k < telling->queues->graph->locks[telling->resources[i]].waiter_count; k++) {
            const struct wait *wait = waiter_at(telling->queues, telling->resources[i], k);
            if (wait != NULL && telling->snapshot->members[wait->member].movement == MOVEMENT_MOVED)
                moved += telling->snapshot->members[wait->member].count;
        }
    if (moved != 0)
        detection_add_evidence(telling->detection, telling->finding,
                               "the queue moves: %s of them ran between the looks",
                               detection_count_text(telling->detection, moved));
}

/* On a processor, or about to be: what it holds it can give back at the next instant. */
static bool member_runs(const struct snapshot *snapshot, const struct member *member)
{
    static const struct text prefixes[] = {
        {"running", 7}, {"runnable", 8}, {"returning from", 14}, {"not stopped (state R", 20}};
    struct text state = snapshot_string(snapshot, member->state);
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (text_starts_with(state, prefixes[i]))
            return true;
    return text_equals(state, TEXT("futex")) || text_equals(state, TEXT("sched_yield"));
}

/* Condition variables have short waits of their own: for those that were woken before and have not yet gone, for the
 * lock inside. */
static bool member_signals(struct detection *detection, const struct member *member)
{
    size_t count;
    const struct snapshot *snapshot = detection_snapshot(detection);
    const struct stack_frame *frames = detection_frames(detection, member->stack, &count);
    for (size_t i = 0; i < count; i++) {
        struct text name = snapshot_string(snapshot, snapshot->frames[frames[i].frame].function);
        if (text_starts_with(name, TEXT("__condvar_")) || text_starts_with(name, TEXT("pthread_cond_signal")) ||
            text_starts_with(name, TEXT("pthread_cond_broadcast")))
            return true;
    }
    return false;
}

static bool any_waiter(const struct telling *telling, bool (*is_so)(const struct member *))
{
    for (uint32_t i = 0; i < telling->queue->resource_count; i++)
        for (uint32_t k = 0; k < telling->queues->graph->locks[telling->resources[i]].waiter_count; k++) {
            const struct wait *wait = waiter_at(telling->queues, telling->resources[i], k);
            if (wait != NULL && is_so(&telling->snapshot->members[wait->member]))
                return true;
        }
    return false;
}

static bool has_moved(const struct member *member)
{
    return member->movement == MOVEMENT_MOVED;
}

static bool has_not_stood_still(const struct member *member)
{
    return !member->stood_still;
}

/* Texts of debuggers tell none: whether anybody moves is not known then. */
static bool has_state(const struct member *member)
{
    return member->state != 0;
}

/* Whether the queue may be that of a busy lock, which at any instant has a holder and waiters: a look at one instant
 * tells it from one that stands only by what the holder does. */
static bool may_move_on(const struct telling *telling)
{
    const struct snapshot *snapshot = telling->snapshot;
    uint32_t head = telling->queue->head;
    if (snapshot->sample_count > 1)
        return any_waiter(telling, has_moved);
    if (!snapshot_is_consistent(snapshot) && any_waiter(telling, has_not_stood_still))
        return true;
    if (head != index_none)
        return member_runs(snapshot, &snapshot->members[head]) ||
               member_signals(telling->detection, &snapshot->members[head]) ||
               (!snapshot_is_consistent(snapshot) && !snapshot->members[head].stood_still);
    enum holder_state holder = telling->queues->graph->locks[telling->resources[0]].holder;
    if (holder != HOLDER_UNKNOWN && holder != HOLDER_ANONYMOUS)
        return false;
    /* Whoever runs may be the one that has it; of goroutines the one that writes the dump always does. */
    if (snapshot->kind == PROFILE_GOROUTINES)
        return false;
    for (size_t i = 0; i < snapshot->member_count; i++)
        if (member_runs(snapshot, &snapshot->members[i]))
            return true;
    return false;
}

static bool waits_to_be_woken(const struct snapshot *snapshot, const struct member *member)
{
    for (uint32_t i = 0; i < member->wait_count; i++) {
        enum wait_kind kind = snapshot->resources[snapshot->waits[member->wait_first + i].resource].kind;
        if (kind != WAIT_CONDITION && kind != WAIT_SEMAPHORE)
            return false;
    }
    return member->wait_count != 0;
}

/* Workers that take their jobs from one queue, which they lock to wait for the next: one of them waits inside, to be
 * woken when there is work, the others behind it for their turn. Seen by the head having come, from its first function
 * on, through the calls that brought the waiters to the lock. */
static bool takes_turns(const struct telling *telling)
{
    const struct snapshot *snapshot = telling->snapshot;
    uint32_t head = telling->queue->head;
    uint64_t there;
    const struct wait *wait = most_waiters(telling, telling->resources[0], &there);
    if (snapshot->kind != PROFILE_THREADS || head == index_none || wait == NULL ||
        telling->queue->resource_count != 1 || there != telling->queue->members ||
        !waits_to_be_woken(snapshot, &snapshot->members[head]))
        return false;
    size_t head_count, count;
    uint32_t stack = snapshot->members[wait->member].stack;
    const struct stack_frame *frames = detection_frames(telling->detection, stack, &count),
                             *head_frames =
                                 detection_frames(telling->detection, snapshot->members[head].stack, &head_count);
    size_t common = 0, outside = count - detection_machinery(telling->detection, stack);
    while (common < outside && common < head_count &&
           snapshot->frames[frames[count - 1 - common].frame].function ==
               snapshot->frames[head_frames[head_count - 1 - common].frame].function)
        common++;
    return common != 0 && common == outside;
}

static void tell_doubt(struct telling *telling)
{
    struct detection *detection = telling->detection;
    uint32_t head = telling->queue->head;
    bool turns = takes_turns(telling);
    if (!turns && !may_move_on(telling))
        return;
    if (telling->finding->severity > SEVERITY_INFO)
        telling->finding->severity = SEVERITY_INFO;
    if (turns)
        detection_add_evidence(detection, telling->finding,
                               "workers that take turns at waiting for work look the same: %s came here as the others "
                               "did, and waits to be woken",
                               member_text(telling, head));
    if (turns || telling->snapshot->sample_count > 1)
        return;
    const char *who =
        head != index_none
            ? arena_printf(detection_arena(detection), "%s was not seen to stand still", member_text(telling, head))
            : arena_printf(detection_arena(detection), "other %s run", detection_members_word(detection, 2));
    detection_add_evidence(detection, telling->finding,
                           "the lock may merely be busy: %s, and one look does not tell whether the queue moves", who);
}

/* Groups, edges and the confidence of the weakest fact. */
static void add_members(struct telling *telling)
{
    const struct queues *queues = telling->queues;
    const struct queue *queue = telling->queue;
    enum confidence confidence = CONFIDENCE_READ;
    for (uint32_t i = 0; i < queue->resource_count; i++) {
        uint32_t resource = telling->resources[i], holder = queues->holder_of[resource];
        const struct hold *hold = holder == index_none ? NULL : wait_graph_find_hold(queues->graph, resource, holder);
        for (uint32_t k = 0; k < queues->graph->locks[resource].waiter_count; k++) {
            const struct wait *wait = waiter_at(queues, resource, k);
            if (wait == NULL)
                continue;
            enum learnt learnt = hold == NULL ? wait->learnt : learnt_weaker(wait->learnt, hold->learnt);
            confidence = confidence_weaker(confidence, confidence_from_learnt(learnt));
            detection_add_member(telling->detection, telling->finding, wait->member,
                                 queues->is_holder[wait->member] ? "holds and waits" : "waits");
            if (telling->finding->edge_count < limit_finding_edges)
                lock_add_edge(telling->detection, telling->finding, wait, holder, learnt);
        }
    }
    if (queue->head != index_none)
        detection_add_member(telling->detection, telling->finding, queue->head, "holds");
    lock_sort_groups(telling->finding);
    bool stood_still = queue->head != index_none && telling->snapshot->sample_count > 1 &&
                       telling->snapshot->members[queue->head].movement == MOVEMENT_NONE;
    if (!snapshot_is_consistent(telling->snapshot) && !stood_still)
        confidence = CONFIDENCE_SUSPECTED;
    telling->finding->confidence = confidence;
}

static uint64_t direct_waiters(const struct telling *telling)
{
    uint64_t direct = 0;
    for (uint32_t i = 0; i < telling->queue->resource_count; i++)
        if (telling->queues->root_of[telling->resources[i]] == telling->resources[i])
            direct += telling->queues->waiter_counts[telling->resources[i]];
    return direct;
}

static void tell_totals(struct telling *telling)
{
    struct detection *detection = telling->detection;
    uint64_t direct = direct_waiters(telling), all = telling->queue->members;
    if (direct != all)
        detection_add_evidence(detection, telling->finding, "%s %s held up in all: %s directly, %s behind others",
                               lock_count_text(detection, all), all == 1 ? "is" : "are",
                               detection_count_text(detection, direct), detection_count_text(detection, all - direct));
    if (telling->matched != all)
        detection_add_evidence(detection, telling->finding, "%s of them are counted here",
                               detection_count_text(detection, telling->matched));
}

static const char *title(struct telling *telling)
{
    struct arena *arena = detection_arena(telling->detection);
    uint32_t head = telling->queue->head;
    bool has_place =
        head != index_none && lock_holder_call(telling->detection, head, telling->lock_function)[0] != '\0';
    const char *verb = telling->matched == 1 ? "waits" : "wait";
    const char *how = direct_waiters(telling) == telling->queue->members ? "for" : "behind";
    if (head == index_none)
        return arena_printf(arena, "{blocked} %s %s {resource}: {holder}", verb, how);
    if (telling->finding->confidence == CONFIDENCE_READ)
        return has_place ? "{head} blocks {blocked} and is in {place}" : "{head} blocks {blocked}";
    return arena_printf(arena, "{blocked} %s %s {resource}, likely held by {head}%s", verb, how,
                        has_place ? ", which is in {place}" : "");
}

static void add_keys(struct telling *telling)
{
    struct detection *detection = telling->detection;
    uint32_t head = telling->queue->head;
    detection_add_key(detection, telling->finding, "blocked",
                      text_from_string(lock_count_text(detection, telling->matched)));
    detection_add_key(detection, telling->finding, "resource",
                      text_from_string(resource_text(telling, telling->resources[0])));
    detection_add_key(detection, telling->finding, "holder",
                      text_from_string(holder_text(telling, telling->resources[0])));
    if (head == index_none)
        return;
    detection_add_key(detection, telling->finding, "head", detection_member_text(detection, head));
    detection_add_key(detection, telling->finding, "place",
                      text_from_string(lock_holder_call(detection, head, telling->lock_function)));
}

static void add_finding(struct telling *telling, const struct compiled_rule *rule)
{
    struct detection *detection = telling->detection;
    const struct queue *queue = telling->queue;
    uint64_t count = 0;
    uint32_t told = 0;
    telling->finding = detection_add(detection, rule);
    telling->finding->members = telling->matched;
    const struct wait *waiter = most_waiters(telling, telling->resources[0], &count);
    telling->lock_function = waiter == NULL ? 0 : lock_call_function(detection, waiter->member);
    add_members(telling);
    tell_head(telling);
    for (; told < queue->resource_count && told < limit_finding_sentences; told++)
        tell_resource(telling, telling->resources[told]);
    if (told != queue->resource_count)
        detection_add_evidence(detection, telling->finding, "%s more locks are waited for behind these",
                               detection_count_text(detection, queue->resource_count - told));
    tell_totals(telling);
    tell_movement(telling);
    tell_doubt(telling);
    add_keys(telling);
    detection_set_title(detection, telling->finding, rule, title(telling));
}

static uint64_t count_matched(struct telling *telling, const struct compiled_rule *rule)
{
    uint64_t matched = 0;
    for (uint32_t i = 0; i < telling->queue->resource_count; i++)
        for (uint32_t k = 0; k < telling->queues->graph->locks[telling->resources[i]].waiter_count; k++) {
            const struct wait *wait = waiter_at(telling->queues, telling->resources[i], k);
            if (wait != NULL && detection_member_matches(telling->detection, rule, wait->member))
                matched += telling->snapshot->members[wait->member].count;
        }
    return matched;
}

/* A lock that nobody will ever give back needs no crowd to be wrong. */
static bool is_enough(const struct telling *telling, const struct rule *rule, uint64_t members)
{
    bool is_lost = telling->queue->head == index_none &&
                   telling->queues->graph->locks[telling->resources[0]].holder == HOLDER_ENDED;
    return lock_rule_reached(telling->detection, rule, members, is_lost ? 1 : at_least_default);
}

static bool holder_is_meant(const struct telling *telling, enum rule_holder meant)
{
    enum holder_state state = telling->queues->graph->locks[telling->resources[0]].holder;
    bool is_member = telling->queue->head != index_none;
    switch (meant) {
    case RULE_HOLDER_ANY:
        return true;
    case RULE_HOLDER_MEMBER:
        return is_member;
    case RULE_HOLDER_ENDED:
        return !is_member && state == HOLDER_ENDED;
    case RULE_HOLDER_READERS:
        return !is_member && state == HOLDER_ANONYMOUS;
    case RULE_HOLDER_UNKNOWN:
        return !is_member && state == HOLDER_UNKNOWN;
    }
    return false;
}

static struct telling telling_of(struct detection *detection, struct queues *queues, size_t number)
{
    const struct queue *queue = &queues->entries[number];
    return (struct telling){
        .detection = detection,
        .queues = queues,
        .snapshot = queues->snapshot,
        .queue = queue,
        .resources = &queues->resources[queue->resource_first],
    };
}

/* Whether the queue is one that the rule speaks of, however long it is. */
static bool rule_fits(struct telling *telling, const struct compiled_rule *rule)
{
    const struct rule *source = compiled_rule_source(rule);
    uint32_t head = telling->queue->head;
    if (source->has_head && (head == index_none || !detection_head_matches(telling->detection, rule, head)))
        return false;
    if (!holder_is_meant(telling, source->holder))
        return false;
    telling->matched = count_matched(telling, rule);
    return true;
}

static void run(struct detection *detection, const struct compiled_rule *rule)
{
    struct queues *queues = queues_get(detection);
    const struct rule *source = compiled_rule_source(rule);
    if (source->info_from != 0) {
        queues->few_rules = arena_grow(detection_scratch(detection), queues->few_rules, queues->few_rule_count,
                                       &queues->few_rule_capacity, sizeof(struct compiled_rule *));
        queues->few_rules[queues->few_rule_count++] = rule;
    }
    for (size_t i = 0; i < queues->count; i++) {
        struct queue *queue = &queues->entries[i];
        struct telling telling = telling_of(detection, queues, i);
        if (queue->is_told || !queue->has_lock || !is_enough(&telling, source, queue->members) ||
            !rule_fits(&telling, rule) || !is_enough(&telling, source, telling.matched))
            continue;
        queue->is_told = true;
        add_finding(&telling, rule);
    }
}

/* Queues too short for every rule, behind a head that stands still, are worth a word. */
static void finish(struct detection *detection)
{
    struct queues *queues = *detection_slot(detection, RULE_LOCK_QUEUE);
    for (size_t k = 0; queues != NULL && k < queues->few_rule_count; k++)
        for (size_t i = 0; i < queues->count; i++) {
            struct queue *queue = &queues->entries[i];
            struct telling telling = telling_of(detection, queues, i);
            if (queue->is_told || !queue->has_lock || !any_waiter(&telling, has_state) || may_move_on(&telling) ||
                !rule_fits(&telling, queues->few_rules[k]) ||
                telling.matched < compiled_rule_source(queues->few_rules[k])->info_from)
                continue;
            queue->is_told = true;
            add_finding(&telling, queues->few_rules[k]);
            if (telling.finding->severity > SEVERITY_INFO)
                telling.finding->severity = SEVERITY_INFO;
        }
}

const struct detector detector_lock_queue = {RULE_LOCK_QUEUE, "lock-queue", run, finish};
