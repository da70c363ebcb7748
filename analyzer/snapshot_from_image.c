/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot_from_image.h"

#include "waits/thread_state.h"
#include "waits/wait_facts.h"

#include <inttypes.h>
#include <stdio.h>

struct build {
    const struct image *image;
    const struct image_stacks *stacks;
    struct snapshot *snapshot;
    struct arena *keep, *scratch;
    struct diagnostics *diagnostics;
};

static void snapshot_init(struct build *build)
{
    const struct image *image = build->image;
    struct snapshot *snapshot = build->snapshot;
    *snapshot = (struct snapshot){
        .arena = build->keep,
        .kind = PROFILE_THREADS,
        .total = image->thread_count,
        .total_claimed = image->thread_count_claimed,
        .modules = image->modules,
        .module_count = image->module_count,
        .mappings = image->mappings,
        .mapping_count = image->mapping_count,
        .source_kind = image->source_kind,
        .stop_kind = image->stop_kind,
        .stop_microseconds = image->stop_microseconds,
        .stop_microseconds_median = image->stop_microseconds_median,
        .sample_count = build->stacks->samples->count,
        .sample_microseconds = build->stacks->sample_microseconds,
        .source_path = image->source_path,
        .exe = image->exe,
        .command = image->command,
        .arguments = image->arguments,
        .pid = image->pid,
        .signal = image->signal,
        .written_by = image->written_by,
        .descriptors = image->descriptors,
    };
    intern_table_init(&snapshot->strings, build->keep);
}

/* Locations by (pc, exact): a table over the snapshot's own array. */
struct location_table {
    uint32_t *slots; /* number + 1, 0 is free */
    size_t slot_count;
};

static uint32_t find_location(struct build *build, struct location_table *table, uint64_t pc, bool exact)
{
    struct snapshot *snapshot = build->snapshot;
    size_t mask = table->slot_count - 1;
    size_t slot = (size_t)((pc * 0x9e3779b97f4a7c15u) >> 20) & mask;
    for (; table->slots[slot] != 0; slot = (slot + 1) & mask) {
        const struct location *location = &snapshot->locations[table->slots[slot] - 1];
        if (location->pc == pc && location->exact == exact)
            return table->slots[slot] - 1;
    }
    struct location location = {.pc = pc, .exact = exact, .module = index_none};
    symbolize_location(build->stacks->symbolizer, snapshot, &location);
    snapshot->locations = arena_grow(build->keep, snapshot->locations, snapshot->location_count,
                                     &snapshot->location_capacity, sizeof *snapshot->locations);
    snapshot->locations[snapshot->location_count++] = location;
    table->slots[slot] = (uint32_t)snapshot->location_count;
    return (uint32_t)snapshot->location_count - 1;
}

/* Copies the stacks that threads stand in from the trie, naming each distinct pc once. */
static void add_stacks(struct build *build)
{
    struct walker *walker = build->stacks->walker;
    uint32_t *thread_stacks = build->stacks->thread_stacks;
    struct snapshot *snapshot = build->snapshot;
    const struct stack_trie *trie = walker_trie(walker);
    uint32_t *numbers = arena_array(build->scratch, uint32_t, trie->stack_count + 1); /* + 1, 0: not yet copied */
    struct location_table table = {.slot_count = 64};
    while (table.slot_count < trie->node_count * 2)
        table.slot_count *= 2;
    table.slots = arena_array(build->scratch, uint32_t, table.slot_count);
    for (size_t i = 0; i < build->image->thread_count; i++) {
        uint32_t source = thread_stacks[i];
        if (numbers[source] == 0) {
            const struct trie_stack *from = &trie->stacks[source];
            uint32_t depth = trie->nodes[from->node].depth;
            snapshot->stacks = arena_grow(build->keep, snapshot->stacks, snapshot->stack_count,
                                          &snapshot->stack_capacity, sizeof *snapshot->stacks);
            snapshot->stacks[snapshot->stack_count++] = (struct stack){
                .step_first = (uint32_t)snapshot->step_count,
                .step_count = depth,
                .end = from->end,
                .end_address = from->end_address,
            };
            numbers[source] = (uint32_t)snapshot->stack_count;
            while (snapshot->step_capacity < snapshot->step_count + depth)
                snapshot->steps = arena_grow(build->keep, snapshot->steps, snapshot->step_capacity,
                                             &snapshot->step_capacity, sizeof *snapshot->steps);
            struct step *steps = snapshot->steps + snapshot->step_count;
            snapshot->step_count += depth;
            uint32_t node = from->node;
            for (uint32_t at = depth; at-- > 0; node = trie->nodes[node].parent)
                steps[at] = (struct step){
                    .location = find_location(build, &table, trie->nodes[node].pc,
                                              walker_node_is_exact(walker, node)),
                    .trust = trie->nodes[node].trust,
                };
            if (build->stacks->progress != NULL)
                build->stacks->progress(build->stacks->progress_context, "naming", i, build->image->thread_count);
        }
        thread_stacks[i] = numbers[source] - 1;
    }
}

static enum movement thread_movement(const struct samples *samples, size_t thread)
{
    if (samples->count < 2 || samples->threads[thread].looks < 2)
        return MOVEMENT_UNKNOWN;
    return samples->threads[thread].moved ? MOVEMENT_MOVED : MOVEMENT_NONE;
}

static void add_members(struct build *build)
{
    const uint32_t *thread_stacks = build->stacks->thread_stacks;
    const struct image *image = build->image;
    struct snapshot *snapshot = build->snapshot;
    snapshot->members = arena_array(build->keep, struct member, image->thread_count);
    snapshot->member_count = image->thread_count;
    for (size_t i = 0; i < image->thread_count; i++) {
        const struct thread *thread = &image->threads[i];
        struct thread_state state = thread_state_read(image, thread);
        const char *state_name = thread->state != NULL ? thread->state : state.name;
        snapshot->members[i] = (struct member){
            .id = thread->tid,
            .count = 1,
            .stack = thread_stacks[i],
            .state = intern_table_add(&snapshot->strings, text_from_string(state_name)),
            .fd = state.fd,
            .name = intern_table_add(&snapshot->strings, thread->name),
            .namespace_id = thread->namespace_tid,
            .cpu_microseconds = thread->cpu_microseconds,
            .cpu_known = thread->cpu_known,
            .cpu_at_most = thread->cpu_at_most,
            .started_microseconds = thread->started_microseconds,
            .stood_still = thread->stood_still,
            .movement = thread_movement(build->stacks->samples, i),
        };
    }
}

static bool find_data_name(void *context, uint64_t address, struct arena *arena, struct text *ret_name)
{
    return symbolizer_data_name(context, address, arena, ret_name);
}

static void add_waits(struct build *build)
{
    struct data_names names = {find_data_name, build->stacks->symbolizer};
    wait_facts_read(build->image, build->snapshot, &names, build->scratch, build->diagnostics);
}

/* One line for each reason why stacks ended early: how many threads, and where first. */
static void diagnose_ends(struct build *build)
{
    const struct snapshot *snapshot = build->snapshot;
    uint64_t counts[STACK_END_COUNT] = {0};
    uint32_t first[STACK_END_COUNT] = {0};
    for (size_t i = 0; i < snapshot->member_count; i++) {
        enum stack_end end = snapshot->stacks[snapshot->members[i].stack].end;
        if (counts[end]++ == 0)
            first[end] = snapshot->members[i].stack;
    }
    for (int end = 0; end < STACK_END_COUNT; end++) {
        if (end == STACK_END_OUTERMOST || counts[end] == 0)
            continue;
        const struct stack *stack = &snapshot->stacks[first[end]];
        uint32_t module = index_none;
        if (stack->step_count != 0)
            module = snapshot->locations[snapshot->steps[stack->step_first + stack->step_count - 1].location].module;
        const char *where = module == index_none ? "no module" : snapshot->modules[module].path.data;
        const char *reason = stack_end_name((enum stack_end)end);
        char place[32] = "";
        if (stack->end_address != 0)
            snprintf(place, sizeof place, " at 0x%" PRIx64, stack->end_address);
        diagnostics_add(build->diagnostics, DIAGNOSTIC_LOSS, "stack-incomplete", text_from_string(reason),
                        "%" PRIu64 " of %zu stacks end early: %s%s (the first of them; in %s)", counts[end],
                        snapshot->member_count, reason, place, where)
            ->count = counts[end];
    }
}

void snapshot_from_image(const struct image *image, const struct image_stacks *stacks, struct snapshot *ret_snapshot,
                         struct arena *arena, struct arena *scratch, struct diagnostics *diagnostics)
{
    struct build build = {image, stacks, ret_snapshot, arena, scratch, diagnostics};
    snapshot_init(&build);
    add_stacks(&build);
    add_members(&build);
    add_waits(&build);
    diagnose_ends(&build);
}
