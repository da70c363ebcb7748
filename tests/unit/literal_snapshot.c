/* SPDX-License-Identifier: Apache-2.0 */
#include "literal_snapshot.h"

#include <stdio.h>
#include <stdlib.h>

void literal_init(struct literal *literal)
{
    *literal = (struct literal){0};
    arena_init(&literal->arena, 0, NULL);
    intern_table_init(&literal->snapshot.strings, &literal->arena);
    intern_table_add(&literal->snapshot.strings, TEXT(""));
    literal->snapshot.arena = &literal->arena;
    diagnostics_init(&literal->diagnostics, &literal->arena);
}

void literal_deinit(struct literal *literal)
{
    arena_deinit(&literal->arena);
}

static void *grow(struct literal *literal, void *array, size_t count, size_t *capacity, size_t size)
{
    return arena_grow(&literal->arena, array, count, capacity, size);
}

uint32_t literal_string(struct literal *literal, const char *string)
{
    return string == NULL ? 0 : intern_table_add(&literal->snapshot.strings, text_from_string(string));
}

uint32_t literal_module(struct literal *literal, const char *path, uint64_t start, uint64_t end)
{
    struct snapshot *snapshot = &literal->snapshot;
    literal->modules =
        grow(literal, literal->modules, snapshot->module_count, &literal->module_capacity, sizeof *literal->modules);
    literal->modules[snapshot->module_count] =
        (struct module){.path = text_from_string(path), .start = start, .end = end, .is_elf = true};
    snapshot->modules = literal->modules;
    return (uint32_t)snapshot->module_count++;
}

void literal_mapping(struct literal *literal, uint64_t start, uint64_t end, uint64_t file_offset, uint8_t access,
                     const char *path)
{
    struct snapshot *snapshot = &literal->snapshot;
    literal->mappings = grow(literal, literal->mappings, snapshot->mapping_count, &literal->mapping_capacity,
                             sizeof *literal->mappings);
    literal->mappings[snapshot->mapping_count++] = (struct mapping){
        .start = start,
        .end = end,
        .file_offset = file_offset,
        .path = text_from_string(path),
        .module = index_none,
        .access = access,
    };
    snapshot->mappings = literal->mappings;
}

uint32_t literal_location(struct literal *literal, uint64_t pc, bool exact, uint32_t module, uint64_t offset)
{
    struct snapshot *snapshot = &literal->snapshot;
    snapshot->locations = grow(literal, snapshot->locations, snapshot->location_count, &snapshot->location_capacity,
                               sizeof *snapshot->locations);
    snapshot->locations[snapshot->location_count] = (struct location){
        .pc = pc, .exact = exact, .module = module, .offset = offset, .frame_first = (uint32_t)snapshot->frame_count};
    return (uint32_t)snapshot->location_count++;
}

void literal_frame(struct literal *literal, const char *function, const char *file, uint32_t line, bool inlined)
{
    struct snapshot *snapshot = &literal->snapshot;
    snapshot->frames =
        grow(literal, snapshot->frames, snapshot->frame_count, &snapshot->frame_capacity, sizeof *snapshot->frames);
    snapshot->frames[snapshot->frame_count++] = (struct frame){
        .function = literal_string(literal, function),
        .file = literal_string(literal, file),
        .line = line,
        .inlined = inlined,
    };
    snapshot->locations[snapshot->location_count - 1].frame_count++;
}

uint32_t literal_stack(struct literal *literal, enum stack_end end, uint64_t end_address)
{
    struct snapshot *snapshot = &literal->snapshot;
    snapshot->stacks =
        grow(literal, snapshot->stacks, snapshot->stack_count, &snapshot->stack_capacity, sizeof *snapshot->stacks);
    snapshot->stacks[snapshot->stack_count] =
        (struct stack){.step_first = (uint32_t)snapshot->step_count, .end = end, .end_address = end_address};
    return (uint32_t)snapshot->stack_count++;
}

void literal_step(struct literal *literal, uint32_t location, enum frame_trust trust)
{
    struct snapshot *snapshot = &literal->snapshot;
    snapshot->steps =
        grow(literal, snapshot->steps, snapshot->step_count, &snapshot->step_capacity, sizeof *snapshot->steps);
    snapshot->steps[snapshot->step_count++] = (struct step){location, trust};
    snapshot->stacks[snapshot->stack_count - 1].step_count++;
}

struct member *literal_member(struct literal *literal, uint64_t id, uint32_t stack, const char *state, int32_t fd)
{
    struct snapshot *snapshot = &literal->snapshot;
    snapshot->members =
        grow(literal, snapshot->members, snapshot->member_count, &literal->member_capacity, sizeof *snapshot->members);
    snapshot->threads =
        grow(literal, snapshot->threads, snapshot->member_count, &literal->thread_capacity, sizeof *snapshot->threads);
    struct member *member = &snapshot->members[snapshot->member_count++];
    *member = (struct member){.id = id, .count = 1, .stack = stack, .state = literal_string(literal, state), .fd = fd};
    snapshot->total = snapshot->total_claimed = snapshot->member_count;
    return member;
}

struct member_thread *literal_thread(struct literal *literal)
{
    return &literal->snapshot.threads[literal->snapshot.member_count - 1];
}

struct resource *literal_resource(struct literal *literal, enum wait_kind kind, uint64_t address, const char *name)
{
    struct snapshot *snapshot = &literal->snapshot;
    snapshot->resources = grow(literal, snapshot->resources, snapshot->resource_count, &literal->resource_capacity,
                               sizeof *snapshot->resources);
    struct resource *resource = &snapshot->resources[snapshot->resource_count++];
    bool has_holder = kind < WAIT_CONDITION || kind == WAIT_JOIN || (kind >= WAIT_ONCE && kind <= WAIT_ALLOCATOR);
    *resource = (struct resource){
        .kind = kind,
        .address = address,
        .name = literal_string(literal, name),
        .learnt = LEARNT_READ,
        .holder = has_holder ? HOLDER_UNKNOWN : HOLDER_NEVER,
    };
    return resource;
}

struct hold *literal_hold(struct literal *literal, uint32_t resource, uint32_t member, enum learnt learnt)
{
    struct snapshot *snapshot = &literal->snapshot;
    snapshot->holds =
        grow(literal, snapshot->holds, snapshot->hold_count, &literal->hold_capacity, sizeof *snapshot->holds);
    if (resource < snapshot->resource_count) {
        if (snapshot->resources[resource].hold_count++ == 0)
            snapshot->resources[resource].hold_first = (uint32_t)snapshot->hold_count;
        snapshot->resources[resource].holder = HOLDER_HELD;
    }
    snapshot->holds[snapshot->hold_count] = (struct hold){resource, member, true, learnt};
    return &snapshot->holds[snapshot->hold_count++];
}

struct wait *literal_wait(struct literal *literal, uint32_t member, uint32_t resource, bool exclusive,
                          enum learnt learnt)
{
    struct snapshot *snapshot = &literal->snapshot;
    snapshot->waits =
        grow(literal, snapshot->waits, snapshot->wait_count, &literal->wait_capacity, sizeof *snapshot->waits);
    bool is_member = member < snapshot->member_count;
    if (is_member && snapshot->members[member].wait_count++ == 0)
        snapshot->members[member].wait_first = (uint32_t)snapshot->wait_count;
    if (is_member && resource < snapshot->resource_count)
        snapshot->resources[resource].waiters += snapshot->members[member].count;
    snapshot->waits[snapshot->wait_count] = (struct wait){member, resource, exclusive, learnt};
    return &snapshot->waits[snapshot->wait_count++];
}

static int wait_compare(const void *left, const void *right)
{
    const struct wait *a = left, *b = right;
    return a->member != b->member ? (a->member > b->member) - (a->member < b->member)
                                  : (a->resource > b->resource) - (a->resource < b->resource);
}

static int hold_compare(const void *left, const void *right)
{
    const struct hold *a = left, *b = right;
    return a->resource != b->resource ? (a->resource > b->resource) - (a->resource < b->resource)
                                      : (a->member > b->member) - (a->member < b->member);
}

void literal_sort_waits(struct literal *literal)
{
    struct snapshot *snapshot = &literal->snapshot;
    if (snapshot->wait_count > 1)
        qsort(snapshot->waits, snapshot->wait_count, sizeof *snapshot->waits, wait_compare);
    if (snapshot->hold_count > 1)
        qsort(snapshot->holds, snapshot->hold_count, sizeof *snapshot->holds, hold_compare);
    for (uint32_t i = (uint32_t)snapshot->wait_count; i-- > 0;)
        if (snapshot->waits[i].member < snapshot->member_count)
            snapshot->members[snapshot->waits[i].member].wait_first = i;
    for (uint32_t i = (uint32_t)snapshot->hold_count; i-- > 0;)
        if (snapshot->holds[i].resource < snapshot->resource_count)
            snapshot->resources[snapshot->holds[i].resource].hold_first = i;
}

static void literal_count_state(struct literal *literal, struct group *group, const struct member *member)
{
    struct grouping *grouping = &literal->grouping;
    for (uint32_t i = 0; i < group->state_count; i++) {
        struct state_count *known = &grouping->states[group->state_first + i];
        if (known->state == member->state && known->fd == member->fd) {
            known->count++;
            return;
        }
    }
    grouping->states =
        grow(literal, grouping->states, grouping->state_count, &literal->state_capacity, sizeof *grouping->states);
    grouping->states[grouping->state_count++] = (struct state_count){member->state, member->fd, 1};
    group->state_count++;
}

struct group *literal_group(struct literal *literal, uint32_t stack, const char *fingerprint)
{
    struct grouping *grouping = &literal->grouping;
    grouping->groups =
        grow(literal, grouping->groups, grouping->group_count, &literal->group_capacity, sizeof *grouping->groups);
    struct group *group = &grouping->groups[grouping->group_count++];
    *group = (struct group){
        .stack = stack,
        .variants = 1,
        .member_first = (uint32_t)literal->member_index_count,
        .state_first = (uint32_t)grouping->state_count,
        .partial = literal->snapshot.stacks[stack].end != STACK_END_OUTERMOST,
    };
    snprintf(group->fingerprint, sizeof group->fingerprint, "%s", fingerprint);
    for (size_t i = 0; i < literal->snapshot.member_count; i++) {
        const struct member *member = &literal->snapshot.members[i];
        if (member->stack != stack)
            continue;
        grouping->members = grow(literal, grouping->members, literal->member_index_count,
                                 &literal->member_index_capacity, sizeof *grouping->members);
        grouping->members[literal->member_index_count++] = (uint32_t)i;
        group->count++;
        group->member_count++;
        group->cpu_microseconds += literal->snapshot.threads[i].cpu_microseconds;
        group->cpu_known |= literal->snapshot.threads[i].cpu_known;
        group->cpu_at_most |= literal->snapshot.threads[i].cpu_at_most;
        literal_count_state(literal, group, member);
    }
    return group;
}

const char *literal_report(struct literal *literal, const struct report *report, struct report_options options,
                           const struct report_stats *stats)
{
    struct report_input input = {
        .snapshot = &literal->snapshot,
        .grouping = &literal->grouping,
        .diagnostics = &literal->diagnostics,
        .findings = literal->rule_count == 0 ? NULL : &literal->findings,
        .rule_count = literal->rule_count,
        .stats = stats,
        .options = options,
    };
    struct text_writer writer;
    text_writer_init_memory(&writer);
    report->write(&input, &writer);
    const char *output = text_copy(&literal->arena, (struct text){writer.buffer, writer.length}).data;
    text_writer_deinit(&writer);
    return output;
}

static char *file_read(const char *path, size_t *ret_length)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return NULL;
    char *content = NULL;
    size_t capacity = 0;
    ssize_t length = getdelim(&content, &capacity, '\0', file);
    fclose(file);
    *ret_length = length < 0 ? 0 : (size_t)length;
    return content;
}

static void file_write(const char *path, const char *content)
{
    FILE *file = fopen(path, "w");
    if (file == NULL || fputs(content, file) < 0 || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

bool golden_matches(const char *name, const char *output)
{
    const char *directory = getenv("GOLDEN_DIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory == NULL ? "." : directory, name);
    if (getenv("UPDATE_GOLDENS") != NULL) {
        file_write(path, output);
        return true;
    }
    size_t length = 0;
    char *golden = file_read(path, &length);
    bool matches = golden != NULL && length == strlen(output) && memcmp(golden, output, length) == 0;
    free(golden);
    if (!matches) {
        snprintf(path, sizeof path, "%s.actual", name);
        file_write(path, output);
        fprintf(stderr, "%s: differs, see %s; UPDATE_GOLDENS=1 accepts\n", name, path);
    }
    return matches;
}
