/* SPDX-License-Identifier: Apache-2.0 */
/* debug=1 text, the form of Go's goroutine profile: `go tool pprof` loads it (formats.md, "Text, debug=1"). All that
 * Go does not write rides in "#" lines, which its reader passes over. */
#include "report/report_facts.h"
#include "report/report_findings.h"
#include "report/report_terminal.h"
#include "report/report_waits.h"

#include "base/limits.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    line_columns = 200, /* where lists of members and findings are wrapped */
    resource_waits_shown = 8,
    /* Ids in one line of waits with --members; a resource with more waiters has more lines, which add up. */
    waiters_in_line = 1000,
};

static void write_comment(struct text_writer *writer)
{
    text_writer_string(writer, "# ");
}

/* What the process holds open; nothing of it is known of most cores. */
static void write_process(const struct descriptors *descriptors, struct text_writer *writer)
{
    if (descriptors == NULL)
        return;
    write_comment(writer);
    report_write_descriptors(writer, descriptors);
    text_writer_string(writer, "\n");
    size_t index = 0;
    const struct descriptor_class *class;
    for (size_t i = 0; i < report_sockets_shown && (class = report_next_sockets(descriptors, &index)) != NULL; i++) {
        write_comment(writer);
        report_write_sockets(writer, class);
        text_writer_string(writer, "\n");
    }
    struct text_writer more;
    text_writer_init_memory(&more);
    if (report_write_sockets_more(&more, descriptors))
        text_writer_printf(writer, "# %.*s\n", (int)more.length, more.buffer);
    text_writer_deinit(&more);
}

static void write_verdict_line(void *context, enum verdict_part part, enum severity severity, struct text line)
{
    struct text_writer *writer = context;
    (void)part;
    (void)severity;
    write_comment(writer);
    text_writer_text(writer, line);
    text_writer_string(writer, "\n");
}

/* The line that a reader knows the profile by. Go doubles the sampling rate in its heap profiles' and pprof halves it. */
static void write_profile_header(const struct report_input *input, struct text_writer *writer)
{
    static const char *const words[] = {[PROFILE_THREADS] = "thread", [PROFILE_GOROUTINES] = "goroutine"};
    const struct snapshot *snapshot = input->snapshot;
    if (snapshot->kind != PROFILE_HEAP) {
        text_writer_printf(writer, "%s profile: total %" PRIu64 "\n", words[snapshot->kind], snapshot->total);
        if (snapshot->go_module.length != 0) {
            write_comment(writer);
            report_write_totals(writer, input);
            text_writer_string(writer, "\n");
        }
        return;
    }
    text_writer_string(writer, "heap profile: ");
    report_write_heap_usage(writer, &input->grouping->heap);
    text_writer_string(writer, " @ ");
    text_writer_safe(writer, snapshot->heap_unit);
    text_writer_string(writer, "\n");
}

/* pprof's heap parser is asked before the one for this format and looks anywhere in the first line; so that line must
 * hold no text of the target. The signal's does not. A heap profile's own first line must be the first. */
static void write_head(const struct report_input *input, struct text_writer *writer)
{
    if (input->snapshot->kind == PROFILE_HEAP)
        write_profile_header(input, writer);
    const struct snapshot *process = report_process_snapshot(input);
    write_comment(writer);
    report_write_signal(writer, input);
    text_writer_string(writer, "\n");
    report_write_verdict(input, &(struct verdict_form){.columns = line_columns - sizeof "# " + 1,
                                                       .write_line = write_verdict_line,
                                                       .context = writer});
    write_comment(writer);
    report_write_process(writer, process);
    text_writer_string(writer, "\n# ");
    report_write_source(writer, process);
    for (const struct report_input *profile = input; profile != NULL; profile = profile->next) {
        text_writer_string(writer, "\n# ");
        report_write_totals(writer, profile);
    }
    text_writer_string(writer, "\n");
    if (input->snapshot->pcs_are_numbers)
        text_writer_string(writer, "# addresses: the dump tells none; the numbers behind @ only tell places apart\n");
    write_process(input->snapshot->descriptors, writer);
}

/* The diagnostics of one weight that stand in the head, or those that do not. */
static void write_diagnostics(const struct diagnostics *diagnostics, struct text_writer *writer,
                              enum diagnostic_weight weight, bool in_head)
{
    for (size_t i = 0; i < diagnostics->count; i++) {
        if (diagnostics->entries[i].weight != weight || diagnostic_is_in_head(diagnostics, i) != in_head)
            continue;
        write_comment(writer);
        report_write_diagnostic(writer, &diagnostics->entries[i]);
        text_writer_string(writer, "\n");
    }
}

static void write_losses_in_head(const struct diagnostics *diagnostics, struct text_writer *writer)
{
    write_diagnostics(diagnostics, writer, DIAGNOSTIC_LOST, true);
    write_diagnostics(diagnostics, writer, DIAGNOSTIC_LOSS, true);
    size_t later = diagnostics_losses_later(diagnostics);
    if (later != 0)
        text_writer_printf(writer, "# %zu more losses: after the groups\n", later);
}

static void write_diagnostics_rest(const struct diagnostics *diagnostics, struct text_writer *writer)
{
    write_diagnostics(diagnostics, writer, DIAGNOSTIC_LOST, false);
    write_diagnostics(diagnostics, writer, DIAGNOSTIC_LOSS, false);
    write_diagnostics(diagnostics, writer, DIAGNOSTIC_NOTE, false);
    if (diagnostics->suppressed != 0) {
        write_comment(writer);
        report_write_diagnostics_suppressed(writer, diagnostics);
        text_writer_string(writer, "\n");
    }
}

/* "# waits: 40 on mutex 0x55d0c0 (orders_lock), held by thread 4711 (read): 4712 4713 … (+38)": source_text reads it
 * back. */
static void write_resource_wait(const struct report_input *input, const struct resource_wait *row,
                                struct text_writer *writer)
{
    const struct snapshot *snapshot = input->snapshot;
    const uint32_t *waiters = input->grouping->resource_waiters + row->waiter_first;
    bool all = input->options.members;
    uint32_t next = 0;
    struct text_writer ids;
    text_writer_init_memory(&ids);
    do {
        uint32_t in_line = 0;
        uint64_t count = 0;
        ids.length = 0;
        for (; next < row->waiter_count && in_line < (all ? waiters_in_line : report_members_shown); next++) {
            const struct member *member = &snapshot->members[waiters[next]];
            count += member->count;
            if (member->id != 0)
                text_writer_printf(&ids, "%s%" PRIu64, in_line++ == 0 ? ": " : " ", member->id);
        }
        text_writer_string(writer, "# waits: ");
        report_write_resource_wait(writer, snapshot, row, all ? count : row->count);
        text_writer_bytes(writer, ids.buffer, ids.length);
        if (!all && in_line != 0 && in_line < row->count)
            text_writer_printf(writer, " … (+%" PRIu64 ")", row->count - in_line);
        text_writer_string(writer, "\n");
    } while (all && next < row->waiter_count);
    text_writer_deinit(&ids);
}

static void write_resource_waits(const struct report_input *input, const struct group *group,
                                 struct text_writer *writer)
{
    uint32_t shown = 0, others = 0;
    for (uint32_t i = 0; i < group->resource_wait_count; i++) {
        const struct resource_wait *row = &input->grouping->resource_waits[group->resource_wait_first + i];
        if (resource_wait_is_in_state(input, group, row))
            continue;
        if (!input->options.members && shown == resource_waits_shown) {
            others++;
            continue;
        }
        write_resource_wait(input, row, writer);
        shown++;
    }
    if (others != 0)
        text_writer_printf(writer, "# waits: … (+%" PRIu32 " resource%s)\n", others, others == 1 ? "" : "s");
}

static void write_members(const struct report_input *input, const struct group *group, struct text_writer *writer)
{
    uint32_t first = group_ids_first(input, group), shown = group->member_count - first;
    if (!input->options.members && shown > report_members_shown)
        shown = report_members_shown;
    int column = 0;
    for (uint32_t i = first; i < first + shown; i++) {
        char id[24];
        int length = snprintf(id, sizeof id, " %" PRIu64, group_member(input, group, i)->id);
        if (column == 0 || column + length > line_columns) {
            text_writer_string(writer, column == 0 ? "# members:" : "\n# members:");
            column = (int)sizeof "# members:" - 1;
        }
        text_writer_bytes(writer, id, (size_t)length);
        column += length;
    }
    if (shown != 0 && shown < group->count)
        text_writer_printf(writer, " … (+%" PRIu32 ")", group->count - shown);
    if (column != 0)
        text_writer_string(writer, "\n");
    for (uint32_t i = first; input->options.members && i < first + shown; i++) {
        text_writer_string(writer, "# member ");
        report_write_member(writer, input->snapshot, group_member(input, group, i));
        text_writer_string(writer, "\n");
    }
}

/* "5 @ 0x… 0x…": return addresses. The reader subtracts 1 from each, so 1 is added to those that are exact. */
static void write_addresses(const struct report_input *input, const struct group *group, struct text_writer *writer)
{
    const struct snapshot *snapshot = input->snapshot;
    const struct stack *stack = &snapshot->stacks[group->stack];
    if (snapshot->kind == PROFILE_HEAP)
        report_write_heap_usage(writer, &group->heap);
    else
        text_writer_printf(writer, "%" PRIu32, group->count);
    text_writer_string(writer, " @");
    uint32_t shown = stack->step_count < limit_addresses_in_line ? stack->step_count : limit_addresses_in_line;
    for (uint32_t i = 0; i < shown; i++) {
        const struct location *location = &snapshot->locations[snapshot->steps[stack->step_first + i].location];
        text_writer_string(writer, " ");
        text_writer_hex(writer, location_lookup(location) + 1);
    }
    /* The grammar wants one address; without one the group, and its count, would be lost to the reader. */
    if (shown == 0)
        text_writer_string(writer, " 0x1\n# no frames: the address above only fills its place");
    text_writer_string(writer, "\n");
    if (shown < stack->step_count)
        text_writer_printf(writer, "# addresses: the first %" PRIu32 " of %" PRIu32 "\n", shown, stack->step_count);
}

/* Cells that end in a tab, as Go writes them: "#", the address, the name. */
enum { column_address = 1, column_name = 2, cell_count_full = 4 };

static unsigned frame_line_cell_count(const struct frame_line *line)
{
    if (line->elided != 0)
        return 0;
    if (frame_line_has_place(line))
        return cell_count_full;
    return frame_line_is_named(line) ? 3 : 2;
}

static void frame_line_cell(const struct snapshot *snapshot, const struct frame_line *line, unsigned column,
                            struct text_writer *scratch)
{
    scratch->length = 0;
    if (column == column_address)
        text_writer_hex(scratch, location_lookup(line->location) + snapshot->lines_tell_returns);
    else
        report_write_name(scratch, snapshot, line, true);
}

/* Characters, as Go's text/tabwriter counts them. */
static size_t scratch_width(const struct text_writer *scratch)
{
    size_t width = 0;
    for (size_t i = 0; i < scratch->length; i++)
        width += ((unsigned char)scratch->buffer[i] & 0xc0) != 0x80;
    return width;
}

/* The widest cell of the column in the run of lines that starts at the cursor. A line without a tab after that cell
 * ends the run: tabwriter aligns only neighbouring lines. */
static size_t column_width(struct frame_cursor cursor, unsigned column, struct text_writer *scratch)
{
    size_t width = 0;
    struct frame_line line;
    while (frame_cursor_next(&cursor, &line)) {
        if (frame_line_cell_count(&line) <= column + 1)
            break;
        frame_line_cell(cursor.snapshot, &line, column, scratch);
        size_t own = scratch_width(scratch);
        width = own > width ? own : width;
    }
    return width;
}

/* One cell and its tabs: tab stops every 8 columns, at least one column of padding. */
static void write_cell(struct text_writer *writer, const struct text_writer *scratch, size_t column_width)
{
    static const size_t tab = 8;
    size_t stop = (column_width + 1 + tab - 1) / tab * tab;
    text_writer_bytes(writer, scratch->buffer, scratch->length);
    for (size_t at = scratch_width(scratch); at < stop; at = at / tab * tab + tab)
        text_writer_string(writer, "\t");
}

/* The "#" lines of a stack. Widths are found by looking ahead, not by keeping the lines: an overflowed stack has
 * hundreds of thousands. */
static void write_frames(const struct report_input *input, const struct stack *stack, struct text_writer *writer)
{
    const struct snapshot *snapshot = input->snapshot;
    struct text_writer scratch;
    text_writer_init_memory(&scratch);
    struct frame_cursor cursor = frame_cursor_new(snapshot, stack, input->options.lines_max);
    size_t widths[cell_count_full] = {0}; /* of the runs under way; 0: none */
    struct frame_line line;
    for (struct frame_cursor here = cursor; frame_cursor_next(&cursor, &line); here = cursor) {
        if (line.elided != 0) {
            text_writer_printf(writer, "# ... %" PRIu64 " frame%s left out ...\n", line.elided,
                               line.elided == 1 ? "" : "s");
            widths[column_address] = widths[column_name] = 0;
            continue;
        }
        unsigned cells = frame_line_cell_count(&line);
        text_writer_string(writer, "#\t");
        for (unsigned column = column_address; column <= column_name; column++) {
            bool aligned = column + 1 < cells;
            if (!aligned)
                widths[column] = 0;
            else if (widths[column] == 0)
                widths[column] = column_width(here, column, &scratch);
            if (column >= cells)
                break;
            frame_line_cell(snapshot, &line, column, &scratch);
            if (aligned)
                write_cell(writer, &scratch, widths[column]);
            else
                text_writer_bytes(writer, scratch.buffer, scratch.length);
        }
        if (cells == cell_count_full)
            report_write_place(writer, snapshot, &line);
        text_writer_string(writer, "\n");
    }
    text_writer_deinit(&scratch);
}

/* Runs of frames that rest on less than CFI: "# trust: frame pointer 0x4011a0 to 0x401250 (7 frames)". */
static void write_trust(const struct snapshot *snapshot, const struct stack *stack, struct text_writer *writer)
{
    const struct step *steps = snapshot->steps + stack->step_first;
    for (uint32_t first = 0, next; first < stack->step_count; first = next) {
        for (next = first + 1; next < stack->step_count && steps[next].trust == steps[first].trust;)
            next++;
        if (frame_trust_is_plain(steps[first].trust))
            continue;
        text_writer_printf(writer, "# trust: %s 0x%" PRIx64, frame_trust_name(steps[first].trust),
                           location_lookup(&snapshot->locations[steps[first].location]));
        if (next - first > 1)
            text_writer_printf(writer, " to 0x%" PRIx64 " (%" PRIu32 " frames)",
                               location_lookup(&snapshot->locations[steps[next - 1].location]), next - first);
        text_writer_string(writer, "\n");
    }
}

static void write_group(const struct report_input *input, const struct group *group, struct text_writer *writer)
{
    const struct snapshot *snapshot = input->snapshot;
    const struct stack *stack = &snapshot->stacks[group->stack];
    write_addresses(input, group, writer);
    if (stack->labels != 0) {
        text_writer_string(writer, "# labels: ");
        report_write_text(writer, snapshot_string(snapshot, stack->labels));
        text_writer_string(writer, "\n");
    }
    if (group->signalled) {
        text_writer_string(writer, "# signalled");
        if (snapshot->signal.tid != 0)
            text_writer_printf(writer, ": %s %" PRIu32, member_noun(snapshot), snapshot->signal.tid);
        text_writer_string(writer, "\n");
    }
    if (group_has_states(input, group)) {
        text_writer_string(writer, "# state: ");
        report_write_states(writer, input, group);
        text_writer_string(writer, "\n");
    }
    if (group->waited_count != 0) {
        text_writer_string(writer, "# ");
        report_write_waited(writer, group);
        text_writer_string(writer, "\n");
    }
    write_resource_waits(input, group, writer);
    if (snapshot->sample_count > 1) {
        text_writer_string(writer, "# ");
        report_write_movement(writer, snapshot, group);
        text_writer_string(writer, "\n");
    }
    write_members(input, group, writer);
    if (group->creator_count != 0) {
        text_writer_string(writer, "# ");
        report_write_creators(writer, input, group);
        text_writer_string(writer, "\n");
    }
    if (report_shows_variants(input, group)) {
        text_writer_string(writer, "# ");
        report_write_variants(writer, group);
        text_writer_string(writer, "\n");
    }
    if (group->cpu_known && group->cpu_microseconds != 0) {
        text_writer_string(writer, "# cpu: ");
        report_write_cpu(writer, group->cpu_microseconds, group->cpu_at_most);
        text_writer_string(writer, "\n");
    }
    write_frames(input, stack, writer);
    if (stack->end != STACK_END_OUTERMOST) {
        text_writer_string(writer, "# end: ");
        report_write_end(writer, stack);
        text_writer_string(writer, "\n");
    }
    write_trust(snapshot, stack, writer);
    if (group->variants > 1)
        text_writer_printf(writer, "# variants: %" PRIu32 " pc stacks\n", group->variants);
    text_writer_printf(writer, "# fingerprint: %s\n\n", group->fingerprint);
}

/* Lines of /proc/PID/maps (proc(5)) for what can be executed, all that pprof keeps. It puts the main binary first by
 * itself. */
static void write_memory_map(const struct snapshot *snapshot, struct text_writer *writer)
{
    if (snapshot->mapping_count == 0)
        return;
    text_writer_string(writer, "--- Memory map: ---\n");
    for (size_t i = 0; i < snapshot->mapping_count; i++) {
        const struct mapping *mapping = &snapshot->mappings[i];
        if ((mapping->access & MAPPING_EXECUTE) == 0)
            continue;
        /* Device and inode are unknown; the reader wants the columns. */
        text_writer_printf(writer, "%08" PRIx64 "-%08" PRIx64 " %c%cxp %08" PRIx64 " 00:00 0", mapping->start,
                           mapping->end, mapping->access & MAPPING_READ ? 'r' : '-',
                           mapping->access & MAPPING_WRITE ? 'w' : '-', mapping->file_offset);
        if (mapping->path.length != 0) {
            text_writer_string(writer, " ");
            report_write_text(writer, mapping->path);
        }
        text_writer_string(writer, "\n");
    }
}

static void report_text_write(const struct report_input *input, struct text_writer *writer)
{
    if (input->options.terminal) {
        report_write_terminal(input, writer);
        return;
    }
    write_head(input, writer);
    write_losses_in_head(input->diagnostics, writer);
    for (const struct report_input *profile = input; profile != NULL; profile = profile->next) {
        /* pprof reads no groups past this line. */
        if (profile != input)
            text_writer_string(writer, "---\n");
        if (profile->snapshot->kind != PROFILE_HEAP)
            write_profile_header(profile, writer);
        for (size_t i = 0; i < profile->grouping->group_count; i++)
            write_group(profile, &profile->grouping->groups[i], writer);
    }
    write_diagnostics_rest(input->diagnostics, writer);
    if (input->options.show_stats && input->stats != NULL) {
        write_comment(writer);
        report_write_stats_counts(writer, input->stats);
        text_writer_string(writer, "\n# ");
        report_write_stats_times(writer, input->stats);
        text_writer_string(writer, "\n");
    }
    write_memory_map(input->snapshot, writer);
}

const struct report report_text = {
    .name = "text",
    .help = "groups as in Go's goroutine debug=1; go tool pprof loads it",
    .write = report_text_write,
};
