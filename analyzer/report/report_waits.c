/* SPDX-License-Identifier: Apache-2.0 */
#include "report/report_waits.h"

#include "report/report_facts.h"

#include <inttypes.h>

enum { holders_shown = 16, fingerprint_digits_shown = 8 };

static const struct member *holder_at(const struct snapshot *snapshot, const struct resource *resource, uint32_t place)
{
    return &snapshot->members[snapshot->holds[resource->hold_first + place].member];
}

enum learnt resource_wait_learnt(const struct snapshot *snapshot, const struct resource_wait *row)
{
    const struct resource *resource = &snapshot->resources[row->resource];
    enum learnt learnt = row->learnt;
    for (uint32_t i = 0; i < resource->hold_count; i++) {
        enum learnt held = snapshot->holds[resource->hold_first + i].learnt;
        learnt = held < learnt ? held : learnt;
    }
    return learnt;
}

/* Holders whose id is known: one that stands for many has none. */
static uint32_t count_holders(const struct snapshot *snapshot, const struct resource *resource)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < resource->hold_count; i++)
        count += holder_at(snapshot, resource, i)->id != 0;
    return count;
}

static void write_holders(struct text_writer *writer, const struct snapshot *snapshot, const struct resource *resource)
{
    uint32_t count = count_holders(snapshot, resource), shown = 0;
    if (count == 0) {
        text_writer_string(writer, ", holder unknown");
        return;
    }
    text_writer_printf(writer, ", held by %s%s", member_noun(snapshot), count == 1 ? "" : "s");
    for (uint32_t i = 0; i < resource->hold_count && shown < holders_shown; i++) {
        uint64_t id = holder_at(snapshot, resource, i)->id;
        if (id == 0)
            continue;
        text_writer_printf(writer, " %" PRIu64, id);
        shown++;
    }
    if (shown < count)
        text_writer_printf(writer, " … (+%" PRIu32 ")", count - shown);
}

/* With its comma; nothing where things of the kind are held by none. */
static void write_holder(struct text_writer *writer, const struct snapshot *snapshot, const struct resource *resource)
{
    switch (resource->holder) {
    case HOLDER_HELD:
        write_holders(writer, snapshot, resource);
        return;
    case HOLDER_ANONYMOUS:
        text_writer_printf(writer, ", held by %" PRIu32 " reader%s, not known by whom", resource->anonymous_count,
                           resource->anonymous_count == 1 ? "" : "s");
        return;
    case HOLDER_ENDED:
        text_writer_printf(writer, ", held by %s %" PRIu64 ", which has ended", member_noun(snapshot),
                           resource->owner_id);
        return;
    case HOLDER_ELSEWHERE:
        text_writer_printf(writer, ", held by %" PRIu64 " of another process", resource->owner_id);
        return;
    case HOLDER_FREE:
        text_writer_string(writer, ", free");
        return;
    case HOLDER_UNKNOWN:
        text_writer_string(writer, ", holder unknown");
        return;
    case HOLDER_NEVER:
        return;
    }
}

static void write_purpose(struct text_writer *writer, const struct resource *resource, const struct resource_wait *row)
{
    if (resource->kind == WAIT_RWLOCK)
        text_writer_string(writer, row->exclusive ? " to write" : " to read");
}

void report_write_resource_wait(struct text_writer *writer, const struct snapshot *snapshot,
                                const struct resource_wait *row, uint64_t count)
{
    const struct resource *resource = &snapshot->resources[row->resource];
    enum learnt learnt = resource_wait_learnt(snapshot, row);
    text_writer_printf(writer, "%" PRIu64 " on %s", count, wait_kind_name(resource->kind));
    /* A join's address is the thread's id, which is told as its holder. */
    if (!row->is_several && resource->address != 0 && resource->kind != WAIT_JOIN)
        text_writer_printf(writer, " 0x%" PRIx64, resource->address);
    if (!row->is_several && resource->name != 0) {
        text_writer_string(writer, " (");
        report_write_text(writer, snapshot_string(snapshot, resource->name));
        text_writer_string(writer, ")");
    }
    write_purpose(writer, resource, row);
    write_holder(writer, snapshot, resource);
    /* Without a holder before it, the word would be taken for the name. */
    if (resource->holder != HOLDER_NEVER && learnt != LEARNT_UNKNOWN)
        text_writer_printf(writer, " (%s)", learnt_name(learnt));
}

bool resource_wait_is_in_state(const struct report_input *input, const struct group *group,
                               const struct resource_wait *row)
{
    return input->snapshot->kind == PROFILE_GOROUTINES && input->snapshot->resources[row->resource].is_any &&
           group->state_count == 1 && input->grouping->states[group->state_first].state != 0;
}

void report_write_group_name(struct text_writer *writer, const struct report_input *input, uint32_t group)
{
    const struct grouping *grouping = input->grouping;
    if (group < grouping->group_count)
        text_writer_printf(writer, "g%zu", input->groups_before + group + 1);
    else
        text_writer_printf(writer, "%.*s (hidden)", fingerprint_digits_shown, grouping->groups[group].fingerprint);
}

/* " (fsync, g3)" of a holder that is the only one. */
static void write_holder_place(struct text_writer *writer, const struct report_input *input,
                               const struct resource *resource)
{
    const struct snapshot *snapshot = input->snapshot;
    if (resource->holder != HOLDER_HELD || count_holders(snapshot, resource) != 1)
        return;
    const struct member *holder = holder_at(snapshot, resource, 0);
    for (uint32_t i = 1; holder->id == 0; i++)
        holder = holder_at(snapshot, resource, i);
    uint32_t group = input->grouping->group_of_stack == NULL ? index_none : input->grouping->group_of_stack[holder->stack];
    const char *before = " (";
    if (holder->state != 0) {
        text_writer_string(writer, before);
        report_write_text(writer, snapshot_string(snapshot, holder->state));
        before = ", ";
    }
    if (group != index_none) {
        text_writer_string(writer, before);
        report_write_group_name(writer, input, group);
        before = ", ";
    }
    if (before[0] == ',')
        text_writer_string(writer, ")");
}

void report_write_resource_wait_short(struct text_writer *writer, const struct report_input *input,
                                      const struct resource_wait *row)
{
    const struct snapshot *snapshot = input->snapshot;
    const struct resource *resource = &snapshot->resources[row->resource];
    enum learnt learnt = resource_wait_learnt(snapshot, row);
    text_writer_count(writer, row->count);
    text_writer_printf(writer, " on %s", wait_kind_name(resource->kind));
    if (resource->name != 0) {
        text_writer_string(writer, " ");
        report_write_text(writer, snapshot_string(snapshot, resource->name));
    } else if (resource->address != 0 && resource->kind != WAIT_JOIN) {
        text_writer_printf(writer, " 0x%" PRIx64, resource->address);
    }
    write_purpose(writer, resource, row);
    write_holder(writer, snapshot, resource);
    write_holder_place(writer, input, resource);
    if (learnt != LEARNT_READ && learnt != LEARNT_UNKNOWN)
        text_writer_printf(writer, " [%s]", learnt_name(learnt));
}
