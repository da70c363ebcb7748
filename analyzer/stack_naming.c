/* SPDX-License-Identifier: Apache-2.0 */
#include "stack_naming.h"

#include "base/limits.h"
#include "symbol/symbol_go.h"

#include <inttypes.h>
#include <stdio.h>

/* The locations of one pc: one, or in a Go profile one for each call there. */
struct location_run {
    uint64_t pc;
    uint32_t first, count; /* count 0: free */
    bool exact;
};

void snapshot_begin(struct snapshot *ret_snapshot, const struct image *image, enum profile_kind kind, struct arena *arena)
{
    *ret_snapshot = (struct snapshot){
        .arena = arena,
        .kind = kind,
        .modules = image->modules,
        .module_count = image->module_count,
        .mappings = image->mappings,
        .mapping_count = image->mapping_count,
        .source_kind = image->source_kind,
        .stop_kind = image->stop_kind,
        .held_by = image->held_by,
        .stop_microseconds = image->stop_microseconds,
        .stop_microseconds_median = image->stop_microseconds_median,
        .threads_stopped = image->threads_stopped,
        .threads_read = image->threads_read,
        .source_path = image->source_path,
        .exe = image->exe,
        .command = image->command,
        .arguments = image->arguments,
        .pid = image->pid,
        .signal = image->signal,
        .ended_microseconds = image->ended_microseconds,
        .unit = image->unit,
        .host = image->host,
        .written_by = image->written_by,
        .descriptors = image->descriptors,
    };
    intern_table_init(&ret_snapshot->strings, arena);
}

struct stack_naming stack_naming_new(struct snapshot *snapshot, struct walker *walker, struct symbolizer *symbolizer,
                                     const struct go_runtime *go, struct arena *scratch)
{
    const struct stack_trie *trie = walker_trie(walker);
    struct stack_naming naming = {
        .snapshot = snapshot,
        .walker = walker,
        .symbolizer = symbolizer,
        .go = go,
        .scratch = scratch,
        .numbers = arena_array(scratch, uint32_t, trie->stack_count + 1),
        .run_slots = 64,
    };
    while (naming.run_slots < trie->node_count * 2)
        naming.run_slots *= 2;
    naming.runs = arena_array(scratch, struct location_run, naming.run_slots);
    intern_table_init(&naming.labelled, scratch);
    return naming;
}

void stack_naming_want_arguments(struct stack_naming *naming)
{
    naming->arguments = arena_new(naming->scratch, struct stack_arguments);
}

/* What the real call of a run, its last location, was called with. */
static void find_arguments(struct stack_naming *naming, const struct location_run *run)
{
    struct stack_arguments *arguments = naming->arguments;
    struct snapshot *snapshot = naming->snapshot;
    struct go_arguments found;
    uint32_t number = run->first + run->count - 1;
    while (arguments->location_capacity <= number)
        arguments->locations = arena_grow(naming->scratch, arguments->locations, arguments->location_capacity,
                                          &arguments->location_capacity, sizeof *arguments->locations);
    if (!go_arguments_read(naming->go, run->pc, run->exact, naming->scratch, &found))
        return;
    arguments->locations[number] = found;
    snapshot->locations[number].arguments_known = true;
    snapshot->locations[number].arguments = intern_table_add(&snapshot->strings, found.text);
}

/* The places of a call's arguments, whose area is `base` above the stack pointer at the leaf. */
static void add_places(struct stack_naming *naming, uint32_t location, uint64_t base)
{
    struct stack_arguments *arguments = naming->arguments;
    const struct go_arguments *own = location < arguments->location_capacity ? &arguments->locations[location] : NULL;
    /* Where calls leave the return address in a register, the word below the arguments is the callee's, to save it in. */
    uint64_t before = arch_has_link_register(naming->go->image->arch) ? 8 : 0;
    for (size_t i = 0; own != NULL && i < own->place_count; i++) {
        arguments->places = arena_grow(naming->scratch, arguments->places, arguments->place_count,
                                       &arguments->place_capacity, sizeof *arguments->places);
        arguments->places[arguments->place_count++] =
            (struct stack_argument){base + before + own->places[i].offset, own->places[i].size_bytes};
    }
}

static struct location_run find_locations(struct stack_naming *naming, uint64_t pc, bool exact)
{
    struct snapshot *snapshot = naming->snapshot;
    size_t mask = naming->run_slots - 1;
    size_t slot = (size_t)((pc * 0x9e3779b97f4a7c15u) >> 20) & mask;
    for (; naming->runs[slot].count != 0; slot = (slot + 1) & mask)
        if (naming->runs[slot].pc == pc && naming->runs[slot].exact == exact)
            return naming->runs[slot];
    struct location_run *run = &naming->runs[slot];
    *run = (struct location_run){.pc = pc, .first = (uint32_t)snapshot->location_count, .exact = exact};
    if (naming->go != NULL)
        run->count = symbol_go_locations(naming->go, symbolizer_has_lines(naming->symbolizer), snapshot, pc, exact);
    if (run->count == 0) {
        struct location location = {.pc = pc, .exact = exact, .module = index_none};
        symbolize_location(naming->symbolizer, snapshot, &location);
        snapshot->locations = arena_grow(snapshot->arena, snapshot->locations, snapshot->location_count,
                                         &snapshot->location_capacity, sizeof *snapshot->locations);
        snapshot->locations[snapshot->location_count++] = location;
        run->count = 1;
    } else if (naming->arguments != NULL) {
        find_arguments(naming, run);
    }
    return *run;
}

/* Whether Go leaves a wrapper's call out of its dumps: always, unless a panic came straight out of it. */
static bool is_elided(const struct snapshot *snapshot, const struct location *location, uint32_t callee)
{
    const struct frame *frame = &snapshot->frames[location->frame_first];
    if (!frame->is_wrapper)
        return false;
    struct text name = snapshot_string(snapshot, callee);
    return !text_equals(name, TEXT("runtime.gopanic")) && !text_equals(name, TEXT("runtime.sigpanic")) &&
           !text_equals(name, TEXT("runtime.panicwrap"));
}

static uint32_t move_stack(struct stack_naming *naming, uint32_t number, uint32_t labels)
{
    struct snapshot *snapshot = naming->snapshot;
    const struct stack_trie *trie = walker_trie(naming->walker);
    const struct trie_stack *from = &trie->stacks[number];
    uint32_t depth = trie->nodes[from->node].depth;
    uint32_t *nodes = arena_array(naming->scratch, uint32_t, (size_t)depth + 1);
    uint32_t node = from->node, callee = 0, wrappers = 0;
    struct stack_arguments *arguments = naming->arguments;
    size_t place_first = arguments == NULL ? 0 : arguments->place_count;
    bool places_known = arguments != NULL;
    uint64_t frame_bytes = 0; /* up to the argument area of the call at hand */
    for (uint32_t at = depth; at-- > 0; node = trie->nodes[node].parent)
        nodes[at] = node;
    struct stack stack = {
        .step_first = (uint32_t)snapshot->step_count,
        .end = from->end,
        .end_address = from->end_address,
        .labels = labels,
    };
    for (uint32_t i = 0; i < depth; i++) {
        const struct trie_node *it = &trie->nodes[nodes[i]];
        struct location_run run = find_locations(naming, it->pc, walker_node_is_exact(naming->walker, nodes[i]));
        uint64_t own_bytes;
        places_known = places_known && arguments->place_count < limit_argument_values &&
                       walker_node_frame_bytes(naming->walker, nodes[i], &own_bytes);
        frame_bytes += places_known ? own_bytes : 0;
        for (uint32_t j = 0; j < run.count; j++) {
            const struct location *location = &snapshot->locations[run.first + j];
            bool is_real = !snapshot->frames[location->frame_first].inlined;
            if (naming->go != NULL && is_elided(snapshot, location, callee)) {
                wrappers += is_real && wrappers < UINT16_MAX;
            } else {
                snapshot->steps = arena_grow(snapshot->arena, snapshot->steps, snapshot->step_count,
                                             &snapshot->step_capacity, sizeof *snapshot->steps);
                snapshot->steps[snapshot->step_count++] =
                    (struct step){.location = run.first + j, .trust = it->trust, .wrappers = (uint16_t)wrappers};
                wrappers = 0;
                if (places_known && is_real)
                    add_places(naming, run.first + j, frame_bytes);
            }
            callee = snapshot->frames[location->frame_first + location->frame_count - 1].function;
        }
    }
    stack.step_count = (uint32_t)snapshot->step_count - stack.step_first;
    snapshot->stacks = arena_grow(snapshot->arena, snapshot->stacks, snapshot->stack_count, &snapshot->stack_capacity,
                                  sizeof *snapshot->stacks);
    if (arguments != NULL) {
        while (arguments->stack_capacity <= snapshot->stack_count)
            arguments->stacks = arena_grow(naming->scratch, arguments->stacks, arguments->stack_capacity,
                                           &arguments->stack_capacity, sizeof *arguments->stacks);
        arguments->stacks[snapshot->stack_count] =
            (struct stack_run){place_first, arguments->place_count - place_first};
    }
    snapshot->stacks[snapshot->stack_count++] = stack;
    return (uint32_t)snapshot->stack_count - 1;
}

uint32_t stack_naming_stack(struct stack_naming *naming, uint32_t stack, uint32_t labels)
{
    if (labels == 0) {
        if (naming->numbers[stack] == 0)
            naming->numbers[stack] = move_stack(naming, stack, 0) + 1;
        return naming->numbers[stack] - 1;
    }
    const uint32_t key[] = {stack, labels};
    size_t before = naming->labelled.count;
    size_t number = intern_table_add(&naming->labelled, (struct text){(const char *)key, sizeof key});
    if (naming->labelled.count != before) {
        while (naming->labelled_capacity <= number)
            naming->labelled_numbers = arena_grow(naming->scratch, naming->labelled_numbers, naming->labelled_capacity,
                                                  &naming->labelled_capacity, sizeof *naming->labelled_numbers);
        naming->labelled_numbers[number] = move_stack(naming, stack, labels);
    }
    return naming->labelled_numbers[number];
}

bool stack_naming_data(void *context, uint64_t address, struct arena *arena, struct text *ret_name)
{
    return symbolizer_data_name(context, address, arena, ret_name);
}

void snapshot_diagnose_ends(const struct snapshot *snapshot, struct diagnostics *diagnostics)
{
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
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "stack-incomplete", text_from_string(reason),
                        "%" PRIu64 " of %zu stacks end early: %s%s (the first of them; in %s)", counts[end],
                        snapshot->member_count, reason, place, where)
            ->count = counts[end];
    }
}
