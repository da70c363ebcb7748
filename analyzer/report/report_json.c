/* SPDX-License-Identifier: Apache-2.0 */
/* One JSON document, "stackgroup/1": the names are those of formats.md and stackgroup.schema.json, where each is
 * described. What is unknown is absent. */
#include "format/goroutine_text.h"
#include "report/json_writer.h"
#include "report/report_facts.h"
#include "report/report_waits.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Absent when empty: the snapshot's empty text means unknown. */
static void write_known_text(struct json_writer *json, const char *key, struct text text)
{
    if (text.length != 0)
        json_writer_text(json, key, text);
}

static void write_known_string(struct json_writer *json, const char *key, const char *string)
{
    write_known_text(json, key, text_from_string(string));
}

static void write_signal(struct json_writer *json, const struct signal_info *signal)
{
    if (signal->number == 0)
        return;
    json_writer_open_object(json, "signal", JSON_LINE);
    json_writer_signed(json, "number", signal->number);
    write_known_string(json, "name", signal_name(signal->number));
    if (signal->code_known) {
        json_writer_signed(json, "code", signal->code);
        write_known_string(json, "code_name", signal_code_name(signal->number, signal->code));
    }
    if (signal->address_known)
        json_writer_hex(json, "address", signal->address);
    if (signal->sender_known) {
        json_writer_open_object(json, "sender", JSON_LINE);
        json_writer_number(json, "pid", signal->sender_pid);
        json_writer_number(json, "uid", signal->sender_uid);
        json_writer_close(json);
    }
    if (signal->tid != 0)
        json_writer_id(json, "tid", signal->tid);
    json_writer_close(json);
}

static void write_source(struct json_writer *json, const struct snapshot *snapshot)
{
    json_writer_open_object(json, "source", JSON_BLOCK);
    write_known_string(json, "kind", snapshot->source_kind);
    write_known_text(json, "path", snapshot->source_path);
    if (snapshot->pid != 0)
        json_writer_number(json, "pid", snapshot->pid);
    write_known_text(json, "exe", snapshot->exe);
    write_known_text(json, "command", snapshot->command);
    write_known_text(json, "arguments", snapshot->arguments);
    write_known_string(json, "written_by", snapshot->written_by);
    char time[report_time_bytes];
    if (snapshot->ended_microseconds != 0)
        json_writer_text(json, "time", report_time_text(snapshot->ended_microseconds, time));
    write_known_text(json, "unit", snapshot->unit);
    write_known_text(json, "host", snapshot->host);
    write_known_text(json, "go_version", snapshot->go_version);
    static const char *const stops[] = {
        [STOP_KIND_ALL] = "all", [STOP_KIND_ROLLING] = "rolling", [STOP_KIND_HELD] = "held", [STOP_KIND_NONE] = "none"};
    write_known_string(json, "stop", stops[snapshot->stop_kind]);
    write_signal(json, &snapshot->signal);
    if (snapshot->sample_count > 1) {
        json_writer_open_object(json, "samples", JSON_LINE);
        json_writer_number(json, "count", snapshot->sample_count);
        json_writer_seconds(json, "seconds", snapshot->sample_microseconds);
        json_writer_close(json);
    }
    json_writer_close(json);
}

static void write_address(struct json_writer *json, const char *key, const struct net_address *address)
{
    char buffer[net_address_text_bytes];
    write_known_string(json, key, net_address_print(address, buffer));
}

/* "tcp", or as the kernel calls protocols that stand in no table: "NETLINK". */
static void write_family(struct json_writer *json, const struct descriptor_class *class)
{
    if (class->protocol != NET_UNKNOWN)
        json_writer_string(json, "family", net_protocol_name(class->protocol));
    else
        write_known_text(json, "family", class->name);
}

static void write_sockets(struct json_writer *json, const struct descriptors *descriptors)
{
    json_writer_open_array(json, "sockets", JSON_BLOCK);
    for (size_t i = 0; i < descriptors->class_count; i++) {
        const struct descriptor_class *class = &descriptors->classes[i];
        if (class->kind != DESCRIPTOR_SOCKET)
            continue;
        json_writer_open_object(json, NULL, JSON_LINE);
        write_family(json, class);
        write_address(json, "local", &class->local);
        if (class->protocol == NET_UNIX)
            write_known_text(json, "local", class->name);
        write_address(json, "peer", &class->peer);
        write_known_string(json, "state", net_state_name(class->protocol, class->state));
        json_writer_number(json, "count", class->count);
        json_writer_close(json);
    }
    json_writer_close(json);
}

static void write_process(struct json_writer *json, const struct descriptors *descriptors)
{
    if (descriptors == NULL)
        return;
    json_writer_open_object(json, "process", JSON_BLOCK);
    json_writer_number(json, "descriptors", descriptors->count_open);
    if (descriptors->count_is_least)
        json_writer_bool(json, "descriptors_at_least", true);
    if (descriptors->count_max != 0)
        json_writer_number(json, "descriptors_max", descriptors->count_max);
    json_writer_open_array(json, "kinds", JSON_LINE);
    for (unsigned kind = 0; kind < DESCRIPTOR_KIND_COUNT; kind++) {
        if (descriptors->kind_counts[kind] == 0)
            continue;
        json_writer_open_object(json, NULL, JSON_LINE);
        json_writer_string(json, "kind", descriptor_kind_name(kind));
        json_writer_number(json, "count", descriptors->kind_counts[kind]);
        if (kind == DESCRIPTOR_EPOLL)
            json_writer_number(json, "watched", descriptors->watched);
        json_writer_close(json);
    }
    json_writer_close(json);
    write_sockets(json, descriptors);
    json_writer_close(json);
}

static void write_build_id(struct json_writer *json, const struct build_id *build_id)
{
    if (build_id->size_bytes == 0)
        return;
    char digits[2 * sizeof build_id->bytes];
    for (size_t i = 0; i < build_id->size_bytes; i++) {
        digits[2 * i] = "0123456789abcdef"[build_id->bytes[i] >> 4];
        digits[2 * i + 1] = "0123456789abcdef"[build_id->bytes[i] & 15];
    }
    json_writer_text(json, "build_id", (struct text){digits, 2u * build_id->size_bytes});
}

static void write_frame(struct json_writer *json, const struct snapshot *snapshot, const struct location *location,
                        const struct frame *frame, enum frame_trust trust)
{
    json_writer_open_object(json, NULL, JSON_LINE);
    json_writer_hex(json, "pc", location->pc);
    write_known_text(json, "function", snapshot_string(snapshot, frame->function));
    if (frame->function != 0 || location->module != index_none)
        json_writer_number(json, "offset", location->offset);
    write_known_text(json, "file", snapshot_string(snapshot, frame->file));
    if (frame->line != 0)
        json_writer_number(json, "line", frame->line);
    if (location->module != index_none) {
        const struct module *module = &snapshot->modules[location->module];
        write_known_text(json, "module", module->path);
        write_build_id(json, &module->build_id);
    }
    json_writer_bool(json, "inlined", frame->inlined);
    if (location->is_hidden)
        json_writer_bool(json, "hidden", true);
    json_writer_string(json, "trust", frame_trust_name(trust));
    json_writer_close(json);
}

static void write_frames(struct json_writer *json, const struct snapshot *snapshot, const struct stack *stack)
{
    json_writer_open_array(json, "frames", JSON_BLOCK);
    for (uint32_t i = 0; i < stack->step_count; i++) {
        const struct step *step = &snapshot->steps[stack->step_first + i];
        const struct location *location = &snapshot->locations[step->location];
        for (uint32_t j = 0; j < location->frame_count; j++)
            write_frame(json, snapshot, location, &snapshot->frames[location->frame_first + j], step->trust);
    }
    json_writer_close(json);
}

static void write_cpu(struct json_writer *json, bool known, uint64_t microseconds, bool at_most)
{
    if (!known)
        return;
    json_writer_seconds(json, "cpu_seconds", microseconds);
    if (at_most)
        json_writer_bool(json, "cpu_at_most", true);
}

static void write_states(struct json_writer *json, const struct snapshot *snapshot, const struct state_count *states,
                         uint32_t count)
{
    uint32_t first = 0; /* the most frequent that is known */
    while (first < count && states[first].state == 0)
        first++;
    if (first == count)
        return;
    json_writer_text(json, "state", snapshot_string(snapshot, states[first].state));
    json_writer_open_array(json, "states", JSON_LINE);
    for (uint32_t i = 0; i < count; i++) {
        json_writer_open_object(json, NULL, JSON_LINE);
        write_known_text(json, "state", snapshot_string(snapshot, states[i].state));
        if (states[i].fd >= 0)
            json_writer_signed(json, "fd", states[i].fd);
        json_writer_number(json, "count", states[i].count);
        json_writer_close(json);
    }
    json_writer_close(json);
}

static void write_unix_peer(struct json_writer *json, const struct descriptor *descriptor)
{
    char name[32];
    if (descriptor->peer_inode == 0)
        return;
    snprintf(name, sizeof name, "socket:[%" PRIu64 "]", descriptor->peer_inode);
    json_writer_text(json, "peer", descriptor->peer_path.length != 0 ? descriptor->peer_path : text_from_string(name));
    if (descriptor->peer_is_own)
        json_writer_signed(json, "peer_fd", descriptor->peer_fd);
}

static void write_wait(struct json_writer *json, const struct snapshot *snapshot, const struct descriptor_wait *wait)
{
    const struct descriptor *first = wait->first;
    const struct descriptor_class *class = &snapshot->descriptors->classes[wait->class_number];
    bool is_one = wait->fd_count == 1; /* else only what all have in common is told */
    bool is_socket = class->kind == DESCRIPTOR_SOCKET;
    json_writer_open_object(json, NULL, JSON_LINE);
    json_writer_number(json, "members", wait->count);
    write_known_text(json, "state", snapshot_string(snapshot, wait->state));
    json_writer_string(json, "kind", descriptor_kind_name(class->kind));
    if (is_one)
        json_writer_signed(json, "fd", first->fd);
    json_writer_number(json, "descriptors", wait->fd_count);
    if (is_socket) {
        write_family(json, class);
        write_address(json, "local", is_one ? &first->local : &class->local);
        if (class->protocol == NET_UNIX)
            write_known_text(json, "local", class->name);
        write_address(json, "peer", is_one ? &first->peer : &class->peer);
        if (class->protocol == NET_TCP || class->protocol == NET_TCP6)
            write_known_string(json, "tcp_state", net_state_name(class->protocol, class->state));
        if (is_one)
            write_unix_peer(json, first);
        if (wait->receive_queue_known)
            json_writer_number(json, "receive_queue", wait->receive_queue);
        if (wait->receive_queue_known && class->state != NET_STATE_LISTEN)
            json_writer_number(json, "send_queue", wait->send_queue);
    } else if (class->name.length != 0 || (is_one && class->kind == DESCRIPTOR_PIPE)) {
        json_writer_open_object(json, "resource", JSON_LINE);
        json_writer_string(json, "kind", descriptor_kind_name(class->kind));
        if (class->name.length != 0) {
            json_writer_text(json, "name", class->name);
        } else {
            char name[32];
            snprintf(name, sizeof name, "pipe:[%" PRIu64 "]", first->inode);
            json_writer_string(json, "name", name);
        }
        json_writer_close(json);
    }
    if (is_one && class->kind == DESCRIPTOR_EPOLL)
        json_writer_number(json, "watched", first->watched);
    json_writer_string(json, "learnt", "read");
    json_writer_close(json);
}

/* {"kind": "thread", "id": "4711"}; without id where the source tells none. */
static void write_party(struct json_writer *json, const char *key, const struct snapshot *snapshot, uint32_t member)
{
    json_writer_open_object(json, key, JSON_LINE);
    json_writer_string(json, "kind", member_noun(snapshot));
    if (snapshot->members[member].id != 0)
        json_writer_id(json, "id", snapshot->members[member].id);
    json_writer_close(json);
}

static void write_resource(struct json_writer *json, const struct snapshot *snapshot, const struct resource *resource)
{
    json_writer_open_object(json, "resource", JSON_LINE);
    json_writer_string(json, "kind", wait_kind_name(resource->kind));
    if (resource->address != 0 && resource->kind != WAIT_JOIN) /* which has a thread's id there */
        json_writer_hex(json, "address", resource->address);
    write_known_text(json, "name", snapshot_string(snapshot, resource->name));
    json_writer_close(json);
}

static void write_holder(struct json_writer *json, const struct snapshot *snapshot, const struct resource *resource)
{
    static const char *const states[] = {
        [HOLDER_UNKNOWN] = "unknown",     [HOLDER_HELD] = "held", [HOLDER_ANONYMOUS] = "anonymous",
        [HOLDER_ENDED] = "ended",         [HOLDER_ELSEWHERE] = "elsewhere",
        [HOLDER_FREE] = "free",           [HOLDER_NEVER] = "none",
    };
    const struct hold *holds = resource->hold_count == 0 ? NULL : snapshot->holds + resource->hold_first;
    if (resource->hold_count == 1)
        write_party(json, "holder", snapshot, holds[0].member);
    if (resource->hold_count > 1) {
        json_writer_open_array(json, "holders", JSON_LINE);
        for (uint32_t i = 0; i < resource->hold_count; i++)
            write_party(json, NULL, snapshot, holds[i].member);
        json_writer_close(json);
    }
    json_writer_string(json, "holder_state", states[resource->holder]);
    if (resource->owner_id != 0)
        json_writer_id(json, "owner", resource->owner_id);
    if (resource->holder == HOLDER_ANONYMOUS)
        json_writer_number(json, "readers", resource->anonymous_count);
}

static void write_resource_wait(struct json_writer *json, const struct report_input *input,
                                const struct resource_wait *row)
{
    const struct snapshot *snapshot = input->snapshot;
    const struct resource *resource = &snapshot->resources[row->resource];
    json_writer_open_object(json, NULL, JSON_LINE);
    json_writer_number(json, "members", row->count);
    json_writer_string(json, "kind", wait_kind_name(resource->kind));
    if (!row->is_several)
        write_resource(json, snapshot, resource);
    if (resource->kind == WAIT_RWLOCK)
        json_writer_string(json, "to", row->exclusive ? "write" : "read");
    write_holder(json, snapshot, resource);
    if (resource->capacity_known) {
        json_writer_number(json, "fill", resource->fill);
        json_writer_number(json, "capacity", resource->capacity);
    }
    if (resource->counter_known)
        json_writer_number(json, "counter", resource->fill);
    json_writer_open_array(json, "waiters", JSON_LINE);
    for (uint32_t i = 0; i < row->waiter_count; i++) {
        uint64_t id = snapshot->members[input->grouping->resource_waiters[row->waiter_first + i]].id;
        if (id != 0)
            json_writer_id(json, NULL, id);
    }
    json_writer_close(json);
    json_writer_string(json, "learnt", learnt_name(resource_wait_learnt(snapshot, row)));
    json_writer_close(json);
}

static void write_waits(struct json_writer *json, const struct report_input *input, const struct group *group)
{
    if (group->wait_count == 0 && group->resource_wait_count == 0)
        return;
    json_writer_open_array(json, "waits", JSON_BLOCK);
    for (uint32_t i = 0; i < group->wait_count; i++)
        write_wait(json, input->snapshot, &input->grouping->waits[group->wait_first + i]);
    for (uint32_t i = 0; i < group->resource_wait_count; i++) {
        const struct resource_wait *row = &input->grouping->resource_waits[group->resource_wait_first + i];
        /* Descriptors are told better above. */
        if (!row->is_plain || group->wait_count == 0)
            write_resource_wait(json, input, row);
    }
    json_writer_close(json);
}

static void write_members(struct json_writer *json, const struct report_input *input, const struct group *group)
{
    const struct snapshot *snapshot = input->snapshot;
    const uint32_t *members = input->grouping->members + group->member_first;
    json_writer_open_array(json, "members", JSON_LINE);
    for (uint32_t i = 0; i < group->member_count; i++)
        if (snapshot->members[members[i]].id != 0)
            json_writer_id(json, NULL, snapshot->members[members[i]].id);
    json_writer_close(json);
    if (!input->options.members)
        return;
    json_writer_open_array(json, "members_detail", JSON_BLOCK);
    for (uint32_t i = 0; i < group->member_count; i++) {
        const struct member *member = &snapshot->members[members[i]];
        if (member->id == 0)
            continue;
        struct member_thread thread = snapshot_thread(snapshot, member);
        json_writer_open_object(json, NULL, JSON_LINE);
        json_writer_id(json, "id", member->id);
        if (thread.namespace_id != 0)
            json_writer_id(json, "ns_id", thread.namespace_id);
        write_known_text(json, "name", snapshot_string(snapshot, thread.name));
        write_known_text(json, "state", snapshot_string(snapshot, member->state));
        if (member->fd >= 0)
            json_writer_signed(json, "fd", member->fd);
        if (member->waited_known)
            json_writer_number(json, "wait_seconds", member->waited_seconds);
        write_known_text(json, "created_by", snapshot_string(snapshot, member->creator));
        if (member->creator_id != 0)
            json_writer_id(json, "created_by_id", member->creator_id);
        write_cpu(json, thread.cpu_known, thread.cpu_microseconds, thread.cpu_at_most);
        if (thread.started_microseconds != 0)
            json_writer_seconds(json, "since", thread.started_microseconds);
        if (snapshot->stop_kind == STOP_KIND_ROLLING || snapshot->stop_kind == STOP_KIND_NONE)
            json_writer_bool(json, "stood_still", member->stood_still);
        if (member->movement != MOVEMENT_UNKNOWN)
            json_writer_bool(json, "moved", member->movement == MOVEMENT_MOVED);
        json_writer_close(json);
    }
    json_writer_close(json);
}

/* The most frequent state that is one of waiting. */
static struct text group_reason(const struct report_input *input, const struct group *group)
{
    static const struct text running[] = {{"running", 7}, {"runnable", 8}, {"syscall", 7}, {"idle", 4}};
    for (uint32_t i = 0; i < group->state_count; i++) {
        struct text state =
            snapshot_string(input->snapshot, input->grouping->states[group->state_first + i].state);
        bool waits = state.length != 0;
        for (size_t j = 0; j < sizeof running / sizeof running[0]; j++)
            waits &= !text_equals(state, running[j]);
        if (waits)
            return state;
    }
    return TEXT("");
}

static void write_creators(struct json_writer *json, const struct report_input *input, const struct group *group)
{
    if (group->creator_count == 0)
        return;
    const struct creator_count *creators = input->grouping->creators + group->creator_first;
    json_writer_text(json, "created_by", snapshot_string(input->snapshot, creators[0].creator));
    if (group->creator_count == 1 && creators[0].count == group->count)
        return;
    json_writer_open_array(json, "creators", JSON_LINE);
    for (uint32_t i = 0; i < group->creator_count; i++) {
        json_writer_open_object(json, NULL, JSON_LINE);
        json_writer_text(json, "function", snapshot_string(input->snapshot, creators[i].creator));
        json_writer_number(json, "count", creators[i].count);
        json_writer_close(json);
    }
    json_writer_close(json);
}

/* Go prints labels as {"k":"v", "k2":"v2"}; a key that comes twice is told once. */
static void write_labels(struct json_writer *json, struct text labels)
{
    struct text rest = labels, key, value;
    if (labels.length == 0)
        return;
    json_writer_open_object(json, "labels", JSON_LINE);
    for (size_t i = 0; goroutine_label_next(&rest, &key, &value); i++) {
        struct text seen = labels, other, ignored;
        bool is_new = true;
        for (size_t j = 0; j < i && goroutine_label_next(&seen, &other, &ignored); j++)
            is_new &= !text_equals(other, key);
        if (is_new)
            json_writer_named_text(json, key, value);
    }
    json_writer_close(json);
}

static void write_heap(struct json_writer *json, const char *key, const struct heap_usage *usage)
{
    json_writer_open_object(json, key, JSON_LINE);
    json_writer_number(json, "objects", usage->objects);
    json_writer_number(json, "bytes", usage->bytes);
    json_writer_number(json, "objects_allocated", usage->objects_allocated);
    json_writer_number(json, "bytes_allocated", usage->bytes_allocated);
    json_writer_close(json);
}

static void write_group(struct json_writer *json, const struct report_input *input, size_t index)
{
    const struct snapshot *snapshot = input->snapshot;
    const struct group *group = &input->grouping->groups[index];
    const struct stack *stack = &snapshot->stacks[group->stack];
    char id[24];
    snprintf(id, sizeof id, "g%zu", input->groups_before + index + 1);
    json_writer_open_object(json, NULL, JSON_BLOCK);
    json_writer_string(json, "id", id);
    json_writer_string(json, "fingerprint", group->fingerprint);
    json_writer_number(json, "count", group->count);
    if (group->signalled)
        json_writer_bool(json, "signalled", true);
    write_states(json, snapshot, input->grouping->states + group->state_first, group->state_count);
    if (snapshot->kind == PROFILE_GOROUTINES)
        write_known_text(json, "wait_reason", group_reason(input, group));
    if (group->waited_count != 0) {
        json_writer_open_object(json, "wait_seconds", JSON_LINE);
        json_writer_number(json, "min", group->waited_seconds_min);
        json_writer_number(json, "max", group->waited_seconds_max);
        json_writer_number(json, "members", group->waited_count);
        json_writer_close(json);
    }
    write_creators(json, input, group);
    write_labels(json, snapshot_string(snapshot, stack->labels));
    if (snapshot->kind == PROFILE_HEAP)
        write_heap(json, "heap", &group->heap);
    write_cpu(json, group->cpu_known, group->cpu_microseconds, group->cpu_at_most);
    if (snapshot->sample_count > 1) {
        json_writer_number(json, "moved", group->moved);
        json_writer_number(json, "never_moved", group->never_moved);
    }
    write_frames(json, snapshot, stack);
    write_members(json, input, group);
    write_waits(json, input, group);
    json_writer_number(json, "variants", group->variants);
    json_writer_bool(json, "partial", group->partial);
    json_writer_open_object(json, "end", JSON_LINE);
    json_writer_string(json, "reason", stack_end_name(stack->end));
    if (stack->end_address != 0)
        json_writer_hex(json, "address", stack->end_address);
    json_writer_close(json);
    json_writer_close(json);
}

static void write_profile(struct json_writer *json, const struct report_input *input)
{
    static const char *const kinds[] = {
        [PROFILE_THREADS] = "thread", [PROFILE_GOROUTINES] = "goroutine", [PROFILE_HEAP] = "heap"};
    const struct snapshot *snapshot = input->snapshot;
    const struct grouping *grouping = input->grouping;
    json_writer_open_object(json, NULL, JSON_BLOCK);
    json_writer_string(json, "kind", kinds[snapshot->kind]);
    if (snapshot->go_module.length != 0) {
        write_known_text(json, "go_module", snapshot->go_module);
        write_known_text(json, "go_version", snapshot->go_version);
    }
    json_writer_number(json, "total", snapshot->total);
    if (snapshot->total_claimed > snapshot->total)
        json_writer_number(json, "total_claimed", snapshot->total_claimed);
    if (snapshot->kind == PROFILE_HEAP)
        write_heap(json, "heap", &grouping->heap);
    if (snapshot->pcs_are_numbers)
        json_writer_bool(json, "pcs_are_numbers", true);
    json_writer_string(json, "by", group_by_name(grouping->by));
    if (grouping->hidden_groups != 0) {
        json_writer_open_object(json, "hidden", JSON_LINE);
        json_writer_number(json, "groups", grouping->hidden_groups);
        json_writer_number(json, "members", grouping->hidden_members);
        json_writer_close(json);
    }
    json_writer_open_array(json, "groups", JSON_BLOCK);
    for (size_t i = 0; i < grouping->group_count; i++)
        write_group(json, input, i);
    json_writer_close(json);
    json_writer_close(json);
}

/* Groups that were written of a finding: a group stands in it once for each role. NULL, when memory is short: all are
 * written. */
static bool mark_group(unsigned char *seen, uint32_t group)
{
    bool is_new = seen == NULL || !seen[group];
    if (seen != NULL)
        seen[group] = true;
    return is_new;
}

static void write_finding_groups(struct json_writer *json, const struct report_input *input,
                                 const struct finding *finding, unsigned char *seen)
{
    const struct grouping *grouping = input->grouping;
    const struct finding_group *groups = finding->groups;
    char id[24];
    if (finding->group_count == 0)
        return;
    json_writer_open_array(json, "group_ids", JSON_LINE);
    for (size_t i = 0; i < finding->group_count; i++) {
        /* Hidden ones are not in the document. */
        if (groups[i].group >= grouping->group_count || !mark_group(seen, groups[i].group))
            continue;
        snprintf(id, sizeof id, "g%zu", input->groups_before + groups[i].group + 1);
        json_writer_string(json, NULL, id);
    }
    json_writer_close(json);
    for (size_t i = 0; seen != NULL && i < finding->group_count; i++)
        seen[groups[i].group] = false;
    json_writer_open_array(json, "fingerprints", JSON_LINE);
    for (size_t i = 0; i < finding->group_count; i++)
        if (mark_group(seen, groups[i].group))
            json_writer_string(json, NULL, grouping->groups[groups[i].group].fingerprint);
    json_writer_close(json);
    for (size_t i = 0; seen != NULL && i < finding->group_count; i++)
        seen[groups[i].group] = false;
    json_writer_open_array(json, "groups", JSON_LINE);
    for (size_t i = 0; i < finding->group_count; i++) {
        json_writer_open_object(json, NULL, JSON_LINE);
        json_writer_string(json, "fingerprint", grouping->groups[groups[i].group].fingerprint);
        json_writer_number(json, "members", groups[i].members);
        write_known_string(json, "role", groups[i].role);
        json_writer_close(json);
    }
    json_writer_close(json);
}

static void write_keys(struct json_writer *json, const struct finding *finding)
{
    if (finding->key_count == 0)
        return;
    json_writer_open_object(json, "keys", JSON_LINE);
    for (size_t i = 0; i < finding->key_count; i++) {
        size_t same = 0;
        while (strcmp(finding->keys[same].name, finding->keys[i].name) != 0)
            same++;
        if (same == i)
            json_writer_named_text(json, text_from_string(finding->keys[i].name), finding->keys[i].value);
    }
    json_writer_close(json);
}

static void write_edges(struct json_writer *json, const struct snapshot *snapshot, const struct finding *finding)
{
    if (finding->edge_count == 0)
        return;
    json_writer_open_array(json, "edges", JSON_BLOCK);
    for (size_t i = 0; i < finding->edge_count; i++) {
        const struct finding_edge *edge = &finding->edges[i];
        json_writer_open_object(json, NULL, JSON_LINE);
        write_party(json, "waiter", snapshot, edge->waiter);
        write_resource(json, snapshot, &snapshot->resources[edge->resource]);
        if (edge->holder != index_none)
            write_party(json, "holder", snapshot, edge->holder);
        json_writer_string(json, "learnt", learnt_name(edge->learnt));
        write_known_text(json, "call_site", edge->call_site);
        json_writer_close(json);
    }
    json_writer_close(json);
}

/* A cycle with a member without id is told by its edges alone. */
static bool cycle_has_ids(const struct snapshot *snapshot, const struct finding *finding,
                          const struct finding_cycle *cycle)
{
    for (uint32_t i = 0; i < cycle->edge_count; i++)
        if (snapshot->members[finding->edges[cycle->edge_first + i].waiter].id == 0)
            return false;
    return true;
}

static void write_cycles(struct json_writer *json, const struct snapshot *snapshot, const struct finding *finding)
{
    if (finding->cycle_count == 0)
        return;
    json_writer_open_array(json, "cycles", JSON_BLOCK);
    for (size_t i = 0; i < finding->cycle_count; i++) {
        const struct finding_cycle *cycle = &finding->cycles[i];
        if (!cycle_has_ids(snapshot, finding, cycle))
            continue;
        json_writer_open_array(json, NULL, JSON_LINE);
        for (uint32_t j = 0; j < cycle->edge_count; j++)
            json_writer_id(json, NULL, snapshot->members[finding->edges[cycle->edge_first + j].waiter].id);
        json_writer_close(json);
    }
    json_writer_close(json);
}

static void write_finding(struct json_writer *json, const struct report_input *input, const struct finding *finding,
                          unsigned char *seen)
{
    json_writer_open_object(json, NULL, JSON_BLOCK);
    json_writer_text(json, "id", finding->rule);
    json_writer_string(json, "severity", severity_name(finding->severity));
    json_writer_string(json, "confidence", confidence_name(finding->confidence));
    json_writer_text(json, "title", finding->title);
    json_writer_number(json, "members", finding->members);
    write_finding_groups(json, input, finding, seen);
    write_keys(json, finding);
    if (finding->evidence_count != 0) {
        json_writer_open_array(json, "evidence", JSON_BLOCK);
        for (size_t i = 0; i < finding->evidence_count; i++)
            json_writer_text(json, NULL, finding->evidence[i]);
        json_writer_close(json);
    }
    write_edges(json, input->snapshot, finding);
    write_cycles(json, input->snapshot, finding);
    write_known_text(json, "advice", finding->advice);
    write_known_text(json, "runbook", finding->runbook);
    write_known_text(json, "runbook_path", finding->runbook_path);
    if (finding->runbook.length != 0) {
        struct text_writer command;
        text_writer_init_memory(&command);
        text_writer_printf(&command, "stackgroup runbook %.*s", (int)finding->rule.length, finding->rule.data);
        json_writer_text(json, "runbook_command", (struct text){command.buffer, command.length});
        text_writer_deinit(&command);
    }
    json_writer_close(json);
}

static void write_findings(struct json_writer *json, const struct report_input *input)
{
    json_writer_open_array(json, "findings", JSON_BLOCK);
    for (const struct report_input *profile = input; profile != NULL; profile = profile->next) {
        unsigned char *seen = calloc(profile->grouping->group_count_all + 1, 1);
        for (size_t i = 0; profile->findings != NULL && i < profile->findings->count; i++)
            write_finding(json, profile, &profile->findings->entries[i], seen);
        free(seen);
    }
    json_writer_close(json);
    if (input->findings != NULL)
        json_writer_number(json, "rules", input->rule_count);
}

static void write_diagnostics(struct json_writer *json, const struct diagnostics *diagnostics)
{
    static const char *const weights[] = {
        [DIAGNOSTIC_NOTE] = "note", [DIAGNOSTIC_LOSS] = "loss", [DIAGNOSTIC_LOST] = "lost"};
    json_writer_open_array(json, "diagnostics", JSON_BLOCK);
    for (size_t i = 0; i < diagnostics->count; i++) {
        const struct diagnostic *entry = &diagnostics->entries[i];
        json_writer_open_object(json, NULL, JSON_LINE);
        json_writer_string(json, "code", entry->code);
        write_known_string(json, "subject", entry->subject);
        json_writer_string(json, "message", entry->message);
        json_writer_number(json, "count", entry->count);
        json_writer_string(json, "weight", weights[entry->weight]);
        json_writer_close(json);
    }
    if (diagnostics->suppressed != 0) {
        json_writer_open_object(json, NULL, JSON_LINE);
        json_writer_string(json, "code", "diagnostics-suppressed");
        json_writer_string(json, "message", "further diagnostics were counted, not kept");
        json_writer_number(json, "count", diagnostics->suppressed);
        json_writer_string(json, "weight", weights[DIAGNOSTIC_NOTE]);
        json_writer_close(json);
    }
    json_writer_close(json);
}

static void write_stats(struct json_writer *json, const struct snapshot *snapshot, const struct report_stats *stats)
{
    json_writer_open_object(json, "stats", JSON_BLOCK);
    json_writer_number(json, "frames", stats->frames);
    if (snapshot->stop_microseconds != 0)
        json_writer_number(json, "stop_microseconds", snapshot->stop_microseconds);
    if (snapshot->stop_microseconds_median != 0)
        json_writer_number(json, "stop_microseconds_median", snapshot->stop_microseconds_median);
    if (snapshot->stop_kind == STOP_KIND_ROLLING && snapshot->threads_stopped + snapshot->threads_read != 0) {
        json_writer_number(json, "threads_stopped", snapshot->threads_stopped);
        json_writer_number(json, "threads_read", snapshot->threads_read);
    }
    json_writer_number(json, "distinct_pcs", stats->distinct_pcs);
    json_writer_number(json, "arena_bytes", stats->arena_bytes);
    json_writer_open_object(json, "seconds", JSON_LINE);
    json_writer_seconds(json, "open", (uint64_t)(stats->seconds_open * 1e6));
    json_writer_seconds(json, "unwind", (uint64_t)(stats->seconds_unwind * 1e6));
    json_writer_seconds(json, "symbol", (uint64_t)(stats->seconds_symbol * 1e6));
    json_writer_seconds(json, "group", (uint64_t)(stats->seconds_group * 1e6));
    json_writer_seconds(json, "detect", (uint64_t)(stats->seconds_detect * 1e6));
    json_writer_close(json);
    json_writer_open_object(json, "caches", JSON_LINE);
    json_writer_number(json, "plans", stats->plans);
    json_writer_number(json, "path_hits", stats->path_hits);
    json_writer_number(json, "path_misses", stats->path_misses);
    json_writer_close(json);
    json_writer_close(json);
}

static void report_json_write(const struct report_input *input, struct text_writer *writer)
{
    struct json_writer json;
    json_writer_init(&json, writer);
    json_writer_open_object(&json, NULL, JSON_BLOCK);
    json_writer_string(&json, "schema", "stackgroup/1");
    write_source(&json, report_process_snapshot(input));
    write_process(&json, input->snapshot->descriptors);
    json_writer_open_array(&json, "profiles", JSON_BLOCK);
    for (const struct report_input *profile = input; profile != NULL; profile = profile->next)
        write_profile(&json, profile);
    json_writer_close(&json);
    write_findings(&json, input);
    write_diagnostics(&json, input->diagnostics);
    if (input->options.show_stats && input->stats != NULL)
        write_stats(&json, input->snapshot, input->stats);
    json_writer_close(&json);
}

const struct report report_json = {
    .name = "json",
    .help = "one document for programs; stackgroup.schema.json describes it",
    .write = report_json_write,
};
