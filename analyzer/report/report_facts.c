/* SPDX-License-Identifier: Apache-2.0 */
#include "report/report_facts.h"

#include "base/limits.h"

#include <inttypes.h>
#include <time.h>

const char *member_noun(const struct snapshot *snapshot)
{
    static const char *const nouns[] = {
        [PROFILE_THREADS] = "thread", [PROFILE_GOROUTINES] = "goroutine", [PROFILE_HEAP] = "allocation site"};
    return nouns[snapshot->kind];
}

enum {
    states_shown = 8,
    creators_shown = 4,
    waits_shown = 4, /* classes of descriptors of one state */
    /* Bytes of a path within a phrase that holds many: the whole line must stay below 64 KiB. */
    path_bytes_shown = 200,
};

void report_write_text(struct text_writer *writer, struct text text)
{
    if (text.length <= limit_name_bytes) {
        text_writer_safe(writer, text);
        return;
    }
    size_t length = limit_name_bytes;
    while (length > limit_name_bytes - 4 && ((unsigned char)text.data[length] & 0xc0) == 0x80)
        length--;
    text_writer_safe(writer, (struct text){text.data, length});
    text_writer_string(writer, "…");
}

void report_write_seconds(struct text_writer *writer, uint64_t microseconds)
{
    /* Integers only: printf's %f would follow the locale's decimal comma. */
    if (microseconds < 10000000)
        text_writer_printf(writer, "%" PRIu64 ".%03" PRIu64 " s", microseconds / 1000000, microseconds / 1000 % 1000);
    else
        text_writer_printf(writer, "%" PRIu64 ".%" PRIu64 " s", microseconds / 1000000, microseconds / 100000 % 10);
}

void report_write_cpu(struct text_writer *writer, uint64_t microseconds, bool at_most)
{
    text_writer_string(writer, at_most ? "<= " : "");
    report_write_seconds(writer, microseconds);
}

static bool is_live(const struct snapshot *snapshot)
{
    return snapshot->source_kind != NULL && strcmp(snapshot->source_kind, "process") == 0;
}

static bool is_text(const struct snapshot *snapshot)
{
    return snapshot->source_kind != NULL && strcmp(snapshot->source_kind, "text") == 0;
}

static void write_counted(struct text_writer *writer, uint64_t count, const char *noun)
{
    text_writer_count(writer, count);
    text_writer_printf(writer, " %s%s", noun, count == 1 ? "" : "s");
}

/* "stopped 0.52 ms for 12 threads and 311 goroutines": a live target did not die; what the look at it cost comes in the
 * place of the signal. */
static void write_stop(struct text_writer *writer, const struct report_input *input)
{
    const struct snapshot *snapshot = report_process_snapshot(input);
    uint64_t goroutines = 0;
    for (const struct report_input *profile = input; profile != NULL; profile = profile->next)
        if (profile->snapshot->kind == PROFILE_GOROUTINES)
            goroutines += profile->snapshot->total;
    text_writer_printf(writer, "stopped %" PRIu64 ".%02" PRIu64 " ms for ", snapshot->stop_microseconds / 1000,
                       snapshot->stop_microseconds / 10 % 100);
    if (snapshot->kind == PROFILE_THREADS)
        write_counted(writer, snapshot->total, "thread");
    if (goroutines != 0) {
        text_writer_string(writer, snapshot->kind == PROFILE_THREADS ? " and " : "");
        write_counted(writer, goroutines, "goroutine");
    }
    if (snapshot->sample_count > 1)
        text_writer_printf(writer, ", the last of %" PRIu64 " samples", snapshot->sample_count);
}

/* Threads that wait stand still by themselves, the others have been stopped. */
static void write_rolling(struct text_writer *writer, const struct snapshot *snapshot)
{
    text_writer_string(writer, "rolling: ");
    if (snapshot->threads_read != 0) {
        write_counted(writer, snapshot->threads_read, "thread");
        text_writer_string(writer, " read as they wait, ");
    }
    if (snapshot->threads_stopped == 0)
        text_writer_string(writer, "none stopped");
    if (snapshot->threads_stopped != 0) {
        write_counted(writer, snapshot->threads_stopped, "thread");
        text_writer_printf(writer, " stopped for %" PRIu64 " µs (median), %" PRIu64 " µs at most",
                           snapshot->stop_microseconds_median, snapshot->stop_microseconds);
    }
    text_writer_string(writer, "; no single instant");
}

void report_write_signal(struct text_writer *writer, const struct report_input *input)
{
    const struct snapshot *snapshot = report_process_snapshot(input);
    const struct signal_info *signal = &snapshot->signal;
    if (is_live(snapshot) && snapshot->stop_kind == STOP_KIND_NONE) {
        text_writer_string(writer, "not stopped: threads were read one after another");
        return;
    }
    if (is_live(snapshot) && snapshot->stop_kind == STOP_KIND_ROLLING) {
        write_rolling(writer, snapshot);
        return;
    }
    if (is_live(snapshot) && snapshot->stop_kind == STOP_KIND_HELD) {
        text_writer_printf(writer, "held still by %s", snapshot->held_by);
        return;
    }
    if (is_live(snapshot)) {
        write_stop(writer, input);
        return;
    }
    if (signal->number == 0) {
        text_writer_string(writer, is_text(snapshot) ? "a text dump, no signal told" : "no fatal signal");
        if (snapshot->written_by != NULL)
            text_writer_printf(writer, ": written by %s", snapshot->written_by);
        if (snapshot->stop_kind == STOP_KIND_ROLLING || snapshot->stop_kind == STOP_KIND_NONE)
            text_writer_string(writer, ", its threads read one after another");
        return;
    }
    const char *name = signal_name(signal->number);
    if (name != NULL)
        text_writer_printf(writer, "signal: %s (%" PRId32 ")", name, signal->number);
    else
        text_writer_printf(writer, "signal: %" PRId32, signal->number);
    if (signal->code_known) {
        const char *code = signal_code_name(signal->number, signal->code);
        if (code != NULL)
            text_writer_printf(writer, ", %s", code);
        else
            text_writer_printf(writer, ", code %" PRId32, signal->code);
    }
    if (signal->address_known)
        text_writer_printf(writer, ", at address 0x%" PRIx64, signal->address);
    if (signal->sender_known)
        text_writer_printf(writer, ", sent by pid %" PRIu32 "%s uid %" PRIu32, signal->sender_pid,
                           snapshot->pid != 0 && signal->sender_pid == snapshot->pid ? " (itself)" : "",
                           signal->sender_uid);
    if (signal->tid != 0)
        text_writer_printf(writer, ", %s %" PRIu32, member_noun(snapshot), signal->tid);
}

void report_write_process(struct text_writer *writer, const struct snapshot *snapshot)
{
    text_writer_string(writer, "process: ");
    struct text program = snapshot->exe.length != 0 ? snapshot->exe : snapshot->command;
    if (program.length != 0)
        report_write_text(writer, program);
    else
        text_writer_string(writer, "unknown");
    if (snapshot->pid != 0)
        text_writer_printf(writer, ", pid %" PRIu32, snapshot->pid);
    if (snapshot->arguments.length != 0) {
        text_writer_string(writer, ", arguments: ");
        report_write_text(writer, snapshot->arguments);
    }
}

struct text report_time_text(uint64_t microseconds, char buffer[report_time_bytes])
{
    time_t seconds = (time_t)(microseconds / 1000000);
    struct tm parts;
    if (gmtime_r(&seconds, &parts) == NULL)
        return (struct text){"", 0};
    return (struct text){buffer, strftime(buffer, report_time_bytes, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

void report_write_source(struct text_writer *writer, const struct snapshot *snapshot)
{
    const char *kind = snapshot->source_kind == NULL ? "unknown" : snapshot->source_kind;
    text_writer_string(writer, "source: ");
    if (is_live(snapshot)) {
        text_writer_string(writer, kind);
        return;
    }
    report_write_text(writer, snapshot->source_path);
    text_writer_printf(writer, "%s(%s", snapshot->source_path.length == 0 ? "" : " ", kind);
    if (snapshot->written_by != NULL)
        text_writer_printf(writer, ", written by %s", snapshot->written_by);
    if (snapshot->ended_microseconds != 0) {
        text_writer_string(writer, ", ended ");
        char time[report_time_bytes];
        report_write_text(writer, report_time_text(snapshot->ended_microseconds, time));
    }
    if (snapshot->unit.length != 0) {
        text_writer_string(writer, ", unit ");
        report_write_text(writer, snapshot->unit);
    }
    if (snapshot->host.length != 0) {
        text_writer_string(writer, ", host ");
        report_write_text(writer, snapshot->host);
    }
    text_writer_string(writer, ")");
}

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

void report_write_totals(struct text_writer *writer, const struct report_input *input)
{
    const struct snapshot *snapshot = input->snapshot;
    const struct grouping *grouping = input->grouping;
    const char *noun = member_noun(snapshot);
    text_writer_printf(writer, "%ss", noun);
    if (snapshot->go_module.length != 0) {
        text_writer_string(writer, " of ");
        report_write_text(writer, snapshot->go_module);
    }
    text_writer_printf(writer, ": %" PRIu64, snapshot->total);
    if (snapshot->total_claimed > snapshot->total)
        text_writer_printf(writer, " of %" PRIu64, snapshot->total_claimed);
    uint64_t groups = grouping->group_count + grouping->hidden_groups;
    bool by_number = grouping->by == GROUP_BY_PC && snapshot->pcs_are_numbers;
    text_writer_printf(writer, " in %" PRIu64 " group%s by %s", groups, plural(groups),
                       by_number ? "call sites" : group_by_name(grouping->by));
    if (grouping->hidden_groups != 0)
        text_writer_printf(writer, ", %" PRIu64 " group%s of %" PRIu64 " %s%s hidden by filters or limits",
                           grouping->hidden_groups, plural(grouping->hidden_groups), grouping->hidden_members, noun,
                           plural(grouping->hidden_members));
}

void report_write_diagnostic(struct text_writer *writer, const struct diagnostic *diagnostic)
{
    static const char *const weights[] = {
        [DIAGNOSTIC_NOTE] = "note", [DIAGNOSTIC_LOSS] = "loss", [DIAGNOSTIC_LOST] = "lost"};
    text_writer_printf(writer, "%s: ", weights[diagnostic->weight]);
    /* Many messages begin with the path that is their subject. */
    if (strstr(diagnostic->message, diagnostic->subject) == NULL) {
        report_write_text(writer, text_from_string(diagnostic->subject));
        text_writer_string(writer, ": ");
    }
    report_write_text(writer, text_from_string(diagnostic->message));
    if (diagnostic->count > 1)
        text_writer_printf(writer, " (%" PRIu64 " times)", diagnostic->count);
    text_writer_printf(writer, " [%s]", diagnostic->code);
}

void report_write_diagnostics_suppressed(struct text_writer *writer, const struct diagnostics *diagnostics)
{
    text_writer_printf(writer, "note: %" PRIu64 " further diagnostics were counted, not kept", diagnostics->suppressed);
}

void report_write_stats_counts(struct text_writer *writer, const struct report_stats *stats)
{
    text_writer_printf(writer,
                       "stats: %" PRIu64 " frames, %" PRIu64 " distinct pcs, %" PRIu64 " plans, %" PRIu64
                       " hits, %" PRIu64 " misses, %" PRIu64 " bytes of arenas",
                       stats->frames, stats->distinct_pcs, stats->plans, stats->path_hits, stats->path_misses,
                       stats->arena_bytes);
}

void report_write_stats_times(struct text_writer *writer, const struct report_stats *stats)
{
    static const char *const names[] = {"open", "unwind", "symbol", "group", "detect"};
    const double seconds[] = {stats->seconds_open, stats->seconds_unwind, stats->seconds_symbol, stats->seconds_group,
                              stats->seconds_detect};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        text_writer_printf(writer, "%s %s ", i == 0 ? "stats:" : ",", names[i]);
        report_write_seconds(writer, (uint64_t)(seconds[i] * 1e6));
    }
}

static void report_write_state(struct text_writer *writer, const struct snapshot *snapshot, uint32_t state, int32_t fd)
{
    if (state == 0)
        text_writer_string(writer, "unknown");
    else
        report_write_text(writer, snapshot_string(snapshot, state));
    if (fd >= 0)
        text_writer_printf(writer, " fd %" PRId32, fd);
}

void report_write_movement(struct text_writer *writer, const struct snapshot *snapshot, const struct group *group)
{
    uint32_t unknown = group->count - group->moved - group->never_moved;
    text_writer_printf(writer, "moved: %" PRIu32 " of %" PRIu32 " in %" PRIu64 " samples over ", group->moved,
                       group->count, snapshot->sample_count);
    report_write_seconds(writer, snapshot->sample_microseconds);
    text_writer_printf(writer, "; %" PRIu32 " never moved", group->never_moved);
    if (unknown != 0)
        text_writer_printf(writer, ", %" PRIu32 " in the last sample only", unknown);
}

/* The end of a long path, which tells more than its start. */
static void write_path(struct text_writer *writer, struct text path)
{
    if (path.length > path_bytes_shown) {
        path.data += path.length - path_bytes_shown;
        path.length = path_bytes_shown;
        while (path.length != 0 && ((unsigned char)path.data[0] & 0xc0) == 0x80) {
            path.data++;
            path.length--;
        }
        text_writer_string(writer, "…");
    }
    report_write_text(writer, path);
}

static void write_address(struct text_writer *writer, const char *before, const struct net_address *address)
{
    char buffer[net_address_text_bytes];
    if (address->version != 0)
        text_writer_printf(writer, "%s%s", before, net_address_print(address, buffer));
}

/* "socket", "udp socket", "netlink sockets", "pipes", "epoll set", "file". */
static void write_kind(struct text_writer *writer, const struct descriptor_class *class, bool is_plural)
{
    static const char *const kinds[DESCRIPTOR_KIND_COUNT] = {[DESCRIPTOR_EPOLL] = "epoll set",
                                                             [DESCRIPTOR_OTHER] = "other descriptor"};
    const char *name = kinds[class->kind] != NULL ? kinds[class->kind] : descriptor_kind_name(class->kind);
    if (class->kind == DESCRIPTOR_SOCKET && class->protocol == NET_UNKNOWN && class->name.length != 0) {
        write_path(writer, class->name);
        text_writer_string(writer, " ");
    } else if (class->kind == DESCRIPTOR_SOCKET && class->protocol > NET_TCP6) {
        text_writer_printf(writer, "%s ", net_protocol_name(class->protocol));
    }
    text_writer_printf(writer, "%s%s", name, is_plural ? "s" : "");
}

static void write_socket_state(struct text_writer *writer, const char *before, const struct descriptor_class *class)
{
    const char *name = net_state_name(class->protocol, class->state);
    if (name != NULL)
        text_writer_printf(writer, "%s%s", before, name);
}

static void write_queues(struct text_writer *writer, const struct descriptor_class *class, uint64_t received,
                         uint64_t sent)
{
    text_writer_string(writer, ", ");
    text_writer_count(writer, received);
    if (class->state == NET_STATE_LISTEN)
        text_writer_printf(writer, " connection%s to accept", plural(received));
    else
        text_writer_printf(writer, " byte%s queued", plural(received));
    if (sent == 0)
        return;
    text_writer_string(writer, ", ");
    text_writer_count(writer, sent);
    text_writer_string(writer, " not taken by the peer");
}

static void write_unix_peer(struct text_writer *writer, const struct descriptor *descriptor)
{
    if (descriptor->peer_inode == 0)
        return;
    text_writer_string(writer, " -> ");
    if (descriptor->peer_is_own)
        text_writer_printf(writer, "fd %" PRId32 " of this process", descriptor->peer_fd);
    else if (descriptor->peer_path.length != 0)
        write_path(writer, descriptor->peer_path);
    else
        text_writer_printf(writer, "socket:[%" PRIu64 "]", descriptor->peer_inode);
}

static void write_descriptor(struct text_writer *writer, const struct descriptors *descriptors,
                             const struct descriptor *descriptor)
{
    const struct descriptor_class *class = &descriptors->classes[descriptor->class_number];
    write_kind(writer, class, false);
    write_address(writer, " ", &descriptor->local);
    write_address(writer, " -> ", &descriptor->peer);
    bool has_path = class->kind != DESCRIPTOR_SOCKET || class->protocol == NET_UNIX;
    if (has_path && class->name.length != 0) {
        text_writer_string(writer, " ");
        write_path(writer, class->name);
    }
    write_unix_peer(writer, descriptor);
    if (class->kind == DESCRIPTOR_PIPE)
        text_writer_printf(writer, " %" PRIu64, descriptor->inode);
    if (class->kind == DESCRIPTOR_EPOLL) {
        text_writer_string(writer, " watching ");
        text_writer_count(writer, descriptor->watched);
    }
    write_socket_state(writer, ", ", class);
    if (descriptor->receive_queue_known)
        write_queues(writer, class, descriptor->receive_queue, descriptor->send_queue);
}

static void write_wait(struct text_writer *writer, const struct descriptors *descriptors,
                       const struct descriptor_wait *wait)
{
    if (wait->fd_count == 1) {
        text_writer_printf(writer, "fd %" PRId32 ", ", wait->first->fd);
        write_descriptor(writer, descriptors, wait->first);
        return;
    }
    const struct descriptor_class *class = &descriptors->classes[wait->class_number];
    write_kind(writer, class, true);
    write_address(writer, " on ", &class->local);
    bool has_path = class->kind != DESCRIPTOR_SOCKET || class->protocol == NET_UNIX;
    if (has_path && class->name.length != 0) {
        text_writer_string(writer, " ");
        write_path(writer, class->name);
    }
    write_socket_state(writer, ", ", class);
    write_address(writer, class->is_accepted ? ", peers " : ", peer ", &class->peer);
    if (wait->receive_queue_known)
        write_queues(writer, class, wait->receive_queue, wait->send_queue);
}

/* The rows that belong to one state: "200: sockets …" or "200: 150 on sockets …; 50 on pipes". False, and nothing
 * written, when there are none. */
static bool write_waits(struct text_writer *writer, const struct report_input *input, const struct group *group,
                        const struct state_count *state)
{
    const struct descriptor_wait *waits = group->wait_count == 0 ? NULL : input->grouping->waits + group->wait_first;
    uint32_t shown = 0, others = 0;
    for (uint32_t i = 0; i < group->wait_count; i++) {
        if (waits[i].state != state->state)
            continue;
        if (shown == waits_shown) {
            others += waits[i].count;
            continue;
        }
        if (shown++ == 0)
            text_writer_printf(writer, " (%" PRIu32 ": ", state->count);
        else
            text_writer_string(writer, "; ");
        if (waits[i].count != state->count)
            text_writer_printf(writer, "%" PRIu32 " on ", waits[i].count);
        write_wait(writer, input->snapshot->descriptors, &waits[i]);
    }
    if (others != 0)
        text_writer_printf(writer, "; %" PRIu32 " on others", others);
    if (shown != 0)
        text_writer_string(writer, ")");
    return shown != 0;
}

bool group_has_states(const struct report_input *input, const struct group *group)
{
    return group->state_count > 1 ||
           (group->state_count == 1 && input->grouping->states[group->state_first].state != 0);
}

void report_write_states(struct text_writer *writer, const struct report_input *input, const struct group *group)
{
    const struct state_count *states = input->grouping->states + group->state_first;
    bool told_by_fd = false; /* then waits are told there, each beside its descriptor */
    for (uint32_t i = 0; i < group->state_count; i++)
        told_by_fd |= states[i].fd >= 0;
    uint64_t others = 0;
    for (uint32_t i = 0; i < group->state_count; i++) {
        if (i >= states_shown) {
            others += states[i].count;
            continue;
        }
        text_writer_string(writer, i == 0 ? "" : ", ");
        report_write_state(writer, input->snapshot, states[i].state, states[i].fd);
        if (!told_by_fd && write_waits(writer, input, group, &states[i]))
            continue;
        const struct descriptor *descriptor = descriptors_find(input->snapshot->descriptors, states[i].fd);
        if (group->state_count > 1)
            text_writer_printf(writer, " (%" PRIu32 "%s", states[i].count, descriptor == NULL ? "" : ": ");
        else if (descriptor != NULL)
            text_writer_string(writer, " (");
        if (descriptor != NULL)
            write_descriptor(writer, input->snapshot->descriptors, descriptor);
        if (group->state_count > 1 || descriptor != NULL)
            text_writer_string(writer, ")");
    }
    if (others != 0)
        text_writer_printf(writer, ", %" PRIu32 " other states (%" PRIu64 ")", group->state_count - states_shown,
                           others);
}

void report_write_descriptors(struct text_writer *writer, const struct descriptors *descriptors)
{
    uint64_t open = descriptors->count_open, max = descriptors->count_max;
    text_writer_string(writer, descriptors->count_is_least ? "descriptors: at least " : "descriptors: ");
    text_writer_count(writer, open);
    if (max != 0) {
        text_writer_string(writer, " of at most ");
        text_writer_count(writer, max);
        if (open > max / 5 * 4)
            text_writer_printf(writer, ", close to the limit (%" PRIu64 " %%)", open * 100 / max);
    }
    const char *before = ": ";
    for (unsigned kind = 0; kind < DESCRIPTOR_KIND_COUNT; kind++) {
        uint32_t count = descriptors->kind_counts[kind];
        if (count == 0)
            continue;
        struct descriptor_class class = {.kind = kind};
        text_writer_string(writer, before);
        text_writer_count(writer, count);
        text_writer_string(writer, " ");
        write_kind(writer, &class, count != 1);
        if (kind == DESCRIPTOR_EPOLL) {
            text_writer_string(writer, " watching ");
            text_writer_count(writer, descriptors->watched);
        }
        before = ", ";
    }
}

const struct descriptor_class *report_next_sockets(const struct descriptors *descriptors, size_t *index)
{
    while (descriptors != NULL && *index < descriptors->class_count) {
        const struct descriptor_class *class = &descriptors->classes[(*index)++];
        if (class->kind == DESCRIPTOR_SOCKET)
            return class;
    }
    return NULL;
}

void report_write_sockets(struct text_writer *writer, const struct descriptor_class *class)
{
    text_writer_string(writer, "sockets: ");
    text_writer_count(writer, class->count);
    if (class->protocol == NET_UNKNOWN) {
        text_writer_string(writer, " ");
        if (class->name.length != 0)
            write_path(writer, class->name);
        text_writer_string(writer, class->name.length == 0 ? "of unknown state" : ", state unknown");
        return;
    }
    if (class->protocol > NET_TCP6)
        text_writer_printf(writer, " %s", net_protocol_name(class->protocol));
    write_socket_state(writer, " ", class);
    write_address(writer, " on ", &class->local);
    write_address(writer, class->is_accepted ? " from " : " to ", &class->peer);
    if (class->name.length != 0) {
        text_writer_string(writer, " on ");
        write_path(writer, class->name);
    }
}

bool report_write_sockets_more(struct text_writer *writer, const struct descriptors *descriptors)
{
    uint64_t count = 0, kinds = 0;
    size_t index = 0;
    const struct descriptor_class *class;
    for (size_t shown = 0; (class = report_next_sockets(descriptors, &index)) != NULL; shown++) {
        if (shown < report_sockets_shown)
            continue;
        count += class->count;
        kinds++;
    }
    if (kinds == 0)
        return false;
    text_writer_string(writer, "sockets: ");
    text_writer_count(writer, count);
    text_writer_printf(writer, " more of %" PRIu64 " kind%s", kinds, plural(kinds));
    return true;
}

/* "3", "45 seconds", "3 minutes": the unit is told once, behind the larger of two. */
static void write_waited_number(struct text_writer *writer, uint64_t seconds, bool in_minutes)
{
    text_writer_count(writer, in_minutes ? seconds / 60 : seconds);
}

void report_write_waited(struct text_writer *writer, const struct group *group)
{
    bool in_minutes = group->waited_seconds_min >= 60;
    uint64_t unit = in_minutes ? 60 : 1;
    text_writer_string(writer, "waiting: ");
    if (group->waited_seconds_min / unit != group->waited_seconds_max / unit) {
        write_waited_number(writer, group->waited_seconds_min, in_minutes);
        text_writer_string(writer, " to ");
    }
    write_waited_number(writer, group->waited_seconds_max, in_minutes);
    text_writer_printf(writer, " %s%s", in_minutes ? "minute" : "second",
                       plural(group->waited_seconds_max / unit));
    if (group->waited_count != group->count)
        text_writer_printf(writer, " (%" PRIu32 " of %" PRIu32 ")", group->waited_count, group->count);
}

bool report_shows_variants(const struct report_input *input, const struct group *group)
{
    return group->variants > 1 && (input->grouping->by == GROUP_BY_CREATOR || input->grouping->by == GROUP_BY_START);
}

void report_write_variants(struct text_writer *writer, const struct group *group)
{
    text_writer_printf(writer, "stacks: %" PRIu32 ", the most frequent is shown", group->variants);
}

void report_write_creators(struct text_writer *writer, const struct report_input *input, const struct group *group)
{
    const struct creator_count *creators = input->grouping->creators + group->creator_first;
    uint64_t others = 0;
    text_writer_string(writer, "created by ");
    for (uint32_t i = 0; i < group->creator_count; i++) {
        if (i >= creators_shown) {
            others += creators[i].count;
            continue;
        }
        text_writer_string(writer, i == 0 ? "" : ", ");
        report_write_text(writer, snapshot_string(input->snapshot, creators[i].creator));
        if (creators[i].count != group->count)
            text_writer_printf(writer, " (%" PRIu32 ")", creators[i].count);
    }
    if (others != 0)
        text_writer_printf(writer, ", %" PRIu32 " others (%" PRIu64 ")", group->creator_count - creators_shown, others);
}

void report_write_heap_usage(struct text_writer *writer, const struct heap_usage *usage)
{
    text_writer_printf(writer, "%" PRIu64 ": %" PRIu64 " [%" PRIu64 ": %" PRIu64 "]", usage->objects, usage->bytes,
                       usage->objects_allocated, usage->bytes_allocated);
}

void report_write_member(struct text_writer *writer, const struct snapshot *snapshot, const struct member *member)
{
    struct member_thread thread = snapshot_thread(snapshot, member);
    text_writer_printf(writer, "%" PRIu64, member->id);
    if (thread.namespace_id != 0 && thread.namespace_id != member->id)
        text_writer_printf(writer, " (%" PRIu32 " in its namespace)", thread.namespace_id);
    if (thread.name != 0) {
        text_writer_string(writer, " ");
        report_write_text(writer, snapshot_string(snapshot, thread.name));
    }
    text_writer_string(writer, ": ");
    report_write_state(writer, snapshot, member->state, member->fd);
    const struct descriptor *descriptor = descriptors_find(snapshot->descriptors, member->fd);
    if (descriptor != NULL) {
        text_writer_string(writer, " (");
        write_descriptor(writer, snapshot->descriptors, descriptor);
        text_writer_string(writer, ")");
    }
    if (thread.cpu_known) {
        text_writer_string(writer, ", cpu ");
        report_write_cpu(writer, thread.cpu_microseconds, thread.cpu_at_most);
    }
    if (member->movement != MOVEMENT_UNKNOWN)
        text_writer_string(writer, member->movement == MOVEMENT_MOVED ? ", moved" : ", never moved");
}

void report_write_end(struct text_writer *writer, const struct stack *stack)
{
    text_writer_string(writer, stack_end_name(stack->end));
    if (stack->end_address != 0)
        text_writer_printf(writer, " at 0x%" PRIx64, stack->end_address);
}

bool diagnostic_is_in_head(const struct diagnostics *diagnostics, size_t index)
{
    const struct diagnostic *entry = &diagnostics->entries[index];
    if (entry->weight == DIAGNOSTIC_NOTE)
        return false;
    size_t before = 0; /* entries that go first: heavier ones, then by first occurrence */
    for (size_t i = 0; i < diagnostics->count; i++) {
        enum diagnostic_weight weight = diagnostics->entries[i].weight;
        before += weight > entry->weight || (weight == entry->weight && i < index);
    }
    return before < report_losses_in_head;
}

size_t diagnostics_losses_later(const struct diagnostics *diagnostics)
{
    size_t later = 0;
    for (size_t i = 0; i < diagnostics->count; i++)
        later += diagnostics->entries[i].weight != DIAGNOSTIC_NOTE && !diagnostic_is_in_head(diagnostics, i);
    return later;
}

uint32_t group_ids_first(const struct report_input *input, const struct group *group)
{
    uint32_t first = 0;
    while (first < group->member_count && group_member(input, group, first)->id == 0)
        first++;
    return first;
}

const struct member *group_member(const struct report_input *input, const struct group *group, uint32_t place)
{
    return &input->snapshot->members[input->grouping->members[group->member_first + place]];
}

/* Whether Go would leave the line out; moves the cursor past the runtime's own calls at the leaf. */
static bool line_is_hidden(struct frame_cursor *cursor, const struct location *location, const struct frame *frame)
{
    if (location->is_hidden)
        return true;
    if (cursor->snapshot->kind == PROFILE_THREADS)
        return false;
    struct text name = snapshot_string(cursor->snapshot, frame->function);
    if (text_equals(name, TEXT("runtime.goexit")))
        return true;
    if (!cursor->shows_runtime && text_starts_with(name, TEXT("runtime.")))
        return true;
    cursor->shows_runtime = true;
    return false;
}

/* The next frame, elided or not. */
static bool frame_cursor_advance(struct frame_cursor *cursor, struct frame_line *ret_line)
{
    const struct snapshot *snapshot = cursor->snapshot;
    while (cursor->step < cursor->stack->step_count) {
        const struct step *step = &snapshot->steps[cursor->stack->step_first + cursor->step];
        const struct location *location = &snapshot->locations[step->location];
        const struct frame *frame = &snapshot->frames[location->frame_first + cursor->frame];
        cursor->frame++;
        if (cursor->frame >= location->frame_count) {
            cursor->frame = 0;
            cursor->step++;
        }
        if (line_is_hidden(cursor, location, frame))
            continue;
        *ret_line = (struct frame_line){.location = location, .frame = frame, .trust = step->trust};
        cursor->line++;
        return true;
    }
    return false;
}

static uint64_t count_lines(struct frame_cursor cursor)
{
    struct frame_line line;
    while (frame_cursor_advance(&cursor, &line))
        continue;
    return cursor.line;
}

struct frame_cursor frame_cursor_new(const struct snapshot *snapshot, const struct stack *stack, unsigned lines_max)
{
    struct frame_cursor cursor = {.snapshot = snapshot, .stack = stack};
    uint64_t lines = count_lines(cursor);
    if (lines == 0) {
        cursor.shows_runtime = true;
        lines = count_lines(cursor);
    }
    if (lines_max != 0 && lines > lines_max) {
        cursor.elided_first = (lines_max + 1) / 2;
        cursor.elided_count = lines - lines_max;
    }
    return cursor;
}

bool frame_cursor_next(struct frame_cursor *cursor, struct frame_line *ret_line)
{
    if (cursor->elided_count == 0 || cursor->line != cursor->elided_first)
        return frame_cursor_advance(cursor, ret_line);
    struct frame_line skipped;
    while (cursor->line < cursor->elided_first + cursor->elided_count && frame_cursor_advance(cursor, &skipped))
        continue;
    *ret_line = (struct frame_line){.elided = cursor->elided_count};
    cursor->elided_count = 0;
    return true;
}

bool frame_line_is_named(const struct frame_line *line)
{
    return line->frame->function != 0 || line->location->module != index_none;
}

void report_write_name(struct text_writer *writer, const struct snapshot *snapshot, const struct frame_line *line,
                       bool with_offset)
{
    const struct location *location = line->location;
    if (line->frame->function != 0)
        report_write_text(writer, snapshot_string(snapshot, line->frame->function));
    else if (location->module != index_none)
        report_write_text(writer, text_basename(snapshot->modules[location->module].path));
    else
        text_writer_hex(writer, location_lookup(location));
    if (with_offset && frame_line_is_named(line))
        text_writer_printf(writer, "+0x%" PRIx64, location->offset);
}

bool frame_line_has_place(const struct frame_line *line)
{
    return line->frame->file != 0 || (line->frame->function != 0 && line->location->module != index_none);
}

void report_write_place(struct text_writer *writer, const struct snapshot *snapshot, const struct frame_line *line)
{
    const struct frame *frame = line->frame;
    if (frame->file != 0) {
        report_write_text(writer, snapshot_string(snapshot, frame->file));
        if (frame->line != 0)
            text_writer_printf(writer, ":%" PRIu32, frame->line);
        return;
    }
    text_writer_string(writer, "(");
    report_write_text(writer, text_basename(snapshot->modules[line->location->module].path));
    text_writer_string(writer, ")");
}
