/* SPDX-License-Identifier: Apache-2.0 */
#include "report/report_terminal.h"
#include "report/columns.h"
#include "report/report_facts.h"
#include "report/report_findings.h"
#include "report/report_waits.h"

#include <inttypes.h>

enum {
    width_default = 80,
    width_min = 20,
    frame_indent = 4,
    fact_indent = 2,
    column_gap = 2,
    place_columns_min = 12, /* kept for the place when names are long */
    resource_waits_shown = 4,
};

enum style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_ALARM, STYLE_WARN, STYLE_COUNT };

static const char *const style_codes[STYLE_COUNT] = {
    [STYLE_BOLD] = "\033[1m", [STYLE_DIM] = "\033[2m", [STYLE_ALARM] = "\033[1;31m", [STYLE_WARN] = "\033[1;33m"};

/* Lines of at most `width` columns. What is put must be safe text (text_writer_safe); it is cut, never wrapped by the
 * terminal itself. */
struct screen {
    struct text_writer *writer;
    struct text_writer phrase; /* where a phrase is built before it is measured */
    size_t width, column;
    bool color;
};

static void screen_style(struct screen *screen, enum style style)
{
    if (screen->color && style != STYLE_PLAIN)
        text_writer_string(screen->writer, style_codes[style]);
}

static void screen_style_end(struct screen *screen, enum style style)
{
    if (screen->color && style != STYLE_PLAIN)
        text_writer_string(screen->writer, "\033[0m");
}

static void screen_newline(struct screen *screen)
{
    text_writer_string(screen->writer, "\n");
    screen->column = 0;
}

static void screen_indent(struct screen *screen, size_t column)
{
    for (; screen->column < column && screen->column < screen->width; screen->column++)
        text_writer_string(screen->writer, " ");
}

enum cut { CUT_END, CUT_START };

/* The text within `columns_max` columns and what is left of the line, "…" for what does not fit. */
static void screen_put(struct screen *screen, enum style style, enum cut cut, size_t columns_max, struct text text)
{
    size_t left = screen->width - screen->column;
    if (columns_max > left)
        columns_max = left;
    if (columns_max == 0 || text.length == 0)
        return;
    screen_style(screen, style);
    size_t columns = text_columns(text);
    if (columns <= columns_max) {
        text_writer_text(screen->writer, text);
        screen->column += columns;
    } else {
        struct text part = cut == CUT_END ? text_start(text, columns_max - 1) : text_end(text, columns_max - 1);
        if (cut == CUT_START)
            text_writer_string(screen->writer, "…");
        text_writer_text(screen->writer, part);
        if (cut == CUT_END)
            text_writer_string(screen->writer, "…");
        screen->column += text_columns(part) + 1;
    }
    screen_style_end(screen, style);
}

static struct text screen_phrase(const struct screen *screen)
{
    return (struct text){screen->phrase.buffer, screen->phrase.length};
}

/* An empty phrase to write into. */
static struct text_writer *screen_phrase_new(struct screen *screen)
{
    screen->phrase.length = 0;
    return &screen->phrase;
}

/* The phrase as a paragraph, broken at spaces, further lines indented two more; words that fit no line are broken. */
static void screen_paragraph(struct screen *screen, enum style style, size_t indent)
{
    struct text rest = screen_phrase(screen);
    size_t at = indent;
    while (rest.length != 0) {
        screen_indent(screen, at);
        screen_put(screen, style, CUT_END, SIZE_MAX, text_take_line(&rest, screen->width - screen->column));
        screen_newline(screen);
        at = indent + 2;
    }
}

/* What the process holds open; nothing of it is known of most cores. */
static void show_process(const struct descriptors *descriptors, struct screen *screen)
{
    if (descriptors == NULL)
        return;
    report_write_descriptors(screen_phrase_new(screen), descriptors);
    screen_paragraph(screen, STYLE_PLAIN, 0);
    size_t index = 0;
    const struct descriptor_class *class;
    for (size_t i = 0; i < report_sockets_shown && (class = report_next_sockets(descriptors, &index)) != NULL; i++) {
        report_write_sockets(screen_phrase_new(screen), class);
        screen_paragraph(screen, STYLE_PLAIN, 0);
    }
    if (report_write_sockets_more(screen_phrase_new(screen), descriptors))
        screen_paragraph(screen, STYLE_PLAIN, 0);
}

static void show_verdict_line(void *context, enum verdict_part part, enum severity severity, struct text line)
{
    static const enum style titles[] = {[SEVERITY_UNKNOWN] = STYLE_PLAIN,
                                        [SEVERITY_INFO] = STYLE_BOLD,
                                        [SEVERITY_WARNING] = STYLE_WARN,
                                        [SEVERITY_CRITICAL] = STYLE_ALARM};
    static const enum style others[] = {[VERDICT_SENTENCE] = STYLE_PLAIN, [VERDICT_DETAIL] = STYLE_DIM};
    struct screen *screen = context;
    screen_put(screen, part == VERDICT_TITLE ? titles[severity] : others[part], CUT_END, SIZE_MAX, line);
    screen_newline(screen);
}

/* Set apart by empty lines when there is something to read. */
static void show_verdict(const struct report_input *input, struct screen *screen)
{
    bool has_findings = input->findings != NULL && input->findings->count != 0;
    if (has_findings)
        screen_newline(screen);
    report_write_verdict(input, &(struct verdict_form){.columns = screen->width,
                                                       .groups_have_numbers = true,
                                                       .write_line = show_verdict_line,
                                                       .context = screen});
    if (has_findings)
        screen_newline(screen);
}

static void show_head(const struct report_input *input, struct screen *screen)
{
    const struct snapshot *snapshot = report_process_snapshot(input);
    report_write_signal(screen_phrase_new(screen), input);
    screen_paragraph(screen, snapshot->signal.number != 0 ? STYLE_ALARM : STYLE_BOLD, 0);
    show_verdict(input, screen);
    report_write_process(screen_phrase_new(screen), snapshot);
    screen_paragraph(screen, STYLE_PLAIN, 0);
    report_write_source(screen_phrase_new(screen), snapshot);
    screen_paragraph(screen, STYLE_PLAIN, 0);
    for (const struct report_input *profile = input; profile != NULL; profile = profile->next) {
        report_write_totals(screen_phrase_new(screen), profile);
        screen_paragraph(screen, STYLE_BOLD, 0);
    }
    show_process(snapshot->descriptors, screen);
}

static void show_diagnostics(const struct diagnostics *diagnostics, struct screen *screen,
                             enum diagnostic_weight weight, bool in_head)
{
    for (size_t i = 0; i < diagnostics->count; i++) {
        if (diagnostics->entries[i].weight != weight || diagnostic_is_in_head(diagnostics, i) != in_head)
            continue;
        report_write_diagnostic(screen_phrase_new(screen), &diagnostics->entries[i]);
        screen_paragraph(screen, weight == DIAGNOSTIC_LOST ? STYLE_ALARM : STYLE_PLAIN, 0);
    }
}

static void show_diagnostics_rest(const struct diagnostics *diagnostics, struct screen *screen)
{
    show_diagnostics(diagnostics, screen, DIAGNOSTIC_LOST, false);
    show_diagnostics(diagnostics, screen, DIAGNOSTIC_LOSS, false);
    show_diagnostics(diagnostics, screen, DIAGNOSTIC_NOTE, false);
    if (diagnostics->suppressed == 0)
        return;
    report_write_diagnostics_suppressed(screen_phrase_new(screen), diagnostics);
    screen_paragraph(screen, STYLE_PLAIN, 0);
}

/* "g2  1,000 threads  99.9 %  futex wait" */
static void show_group_line(const struct report_input *input, const struct group *group, struct screen *screen)
{
    struct text_writer *name = screen_phrase_new(screen);
    report_write_group_name(name, input, (uint32_t)(group - input->grouping->groups));
    text_writer_string(name, "  ");
    screen_put(screen, STYLE_DIM, CUT_END, SIZE_MAX, screen_phrase(screen));
    bool is_heap = input->snapshot->kind == PROFILE_HEAP;
    uint64_t count = is_heap ? group->heap.bytes : group->count;
    uint64_t total = is_heap ? input->grouping->heap.bytes : input->snapshot->total;
    text_writer_count(screen_phrase_new(screen), count);
    screen_put(screen, STYLE_BOLD, CUT_END, SIZE_MAX, screen_phrase(screen));
    uint64_t permille = total == 0 ? 0 : (uint64_t)((double)count * 1000 / (double)total + 0.5);
    struct text_writer *phrase = screen_phrase_new(screen);
    text_writer_printf(phrase, " %s%s", is_heap ? "byte" : member_noun(input->snapshot), count == 1 ? "" : "s");
    if (is_heap)
        text_writer_printf(phrase, " in %" PRIu64 " object%s", group->heap.objects,
                           group->heap.objects == 1 ? "" : "s");
    text_writer_string(phrase, "  ");
    if (permille == 0)
        text_writer_string(phrase, "<0.1 %");
    else
        text_writer_printf(phrase, "%" PRIu64 ".%" PRIu64 " %%", permille / 10, permille % 10);
    screen_put(screen, STYLE_PLAIN, CUT_END, SIZE_MAX, screen_phrase(screen));
    if (group->signalled)
        screen_put(screen, STYLE_ALARM, CUT_END, SIZE_MAX, TEXT("  signalled"));
    if (group_has_states(input, group)) {
        phrase = screen_phrase_new(screen);
        text_writer_string(phrase, "  ");
        report_write_states(phrase, input, group);
        screen_put(screen, STYLE_PLAIN, CUT_END, SIZE_MAX, screen_phrase(screen));
    }
    screen_newline(screen);
}

/* "waits: 40 on mutex orders_lock, held by thread 4711 (fsync, g3)" */
static void show_resource_waits(const struct report_input *input, const struct group *group, struct screen *screen)
{
    uint32_t shown = 0, others = 0;
    for (uint32_t i = 0; i < group->resource_wait_count; i++) {
        const struct resource_wait *row = &input->grouping->resource_waits[group->resource_wait_first + i];
        if (row->is_plain && group_has_states(input, group))
            continue;
        if (!input->options.members && shown == resource_waits_shown) {
            others++;
            continue;
        }
        shown++;
        struct text_writer *phrase = screen_phrase_new(screen);
        text_writer_string(phrase, "waits: ");
        report_write_resource_wait_short(phrase, input, row);
        screen_paragraph(screen, STYLE_PLAIN, fact_indent);
    }
    if (others == 0)
        return;
    text_writer_printf(screen_phrase_new(screen), "waits: … (+%" PRIu32 " resource%s)", others,
                       others == 1 ? "" : "s");
    screen_paragraph(screen, STYLE_PLAIN, fact_indent);
}

static void show_members(const struct report_input *input, const struct group *group, struct screen *screen)
{
    uint32_t first = group_ids_first(input, group), known = group->member_count - first;
    if (known == 0)
        return;
    if (input->options.members) {
        for (uint32_t i = first; i < group->member_count; i++) {
            struct text_writer *phrase = screen_phrase_new(screen);
            text_writer_printf(phrase, "%s ", member_noun(input->snapshot));
            report_write_member(phrase, input->snapshot, group_member(input, group, i));
            screen_paragraph(screen, STYLE_DIM, fact_indent);
        }
        return;
    }
    struct text_writer *phrase = screen_phrase_new(screen);
    text_writer_string(phrase, "members:");
    uint32_t shown = known < report_members_shown ? known : report_members_shown;
    for (uint32_t i = 0; i < shown; i++)
        text_writer_printf(phrase, " %" PRIu64, group_member(input, group, first + i)->id);
    if (shown < group->count)
        text_writer_printf(phrase, " … (+%" PRIu32 ")", group->count - shown);
    screen_paragraph(screen, STYLE_DIM, fact_indent);
}

/* Columns for names, at most what leaves room for places. */
static size_t name_columns(struct frame_cursor cursor, struct screen *screen)
{
    size_t widest = 0;
    struct frame_line line;
    while (frame_cursor_next(&cursor, &line)) {
        if (line.elided != 0)
            continue;
        report_write_name(screen_phrase_new(screen), cursor.snapshot, &line, line.frame->file == 0);
        size_t columns = text_columns(screen_phrase(screen));
        widest = columns > widest ? columns : widest;
    }
    size_t room = screen->width - frame_indent - column_gap;
    size_t places = room / 3 > place_columns_min ? room / 3 : place_columns_min;
    size_t limit = room > places ? room - places : room;
    return widest < limit ? widest : limit;
}

static void show_frames(const struct report_input *input, const struct stack *stack, struct screen *screen)
{
    struct frame_cursor cursor = frame_cursor_new(input->snapshot, stack, input->options.lines_max);
    size_t columns = name_columns(cursor, screen);
    struct frame_line line;
    while (frame_cursor_next(&cursor, &line)) {
        if (line.elided != 0) {
            screen_indent(screen, frame_indent);
            text_writer_printf(screen_phrase_new(screen), "… %" PRIu64 " frame%s left out …", line.elided,
                               line.elided == 1 ? "" : "s");
            screen_put(screen, STYLE_DIM, CUT_END, SIZE_MAX, screen_phrase(screen));
            screen_newline(screen);
            continue;
        }
        bool plain = frame_trust_is_plain(line.trust);
        screen_put(screen, STYLE_DIM, CUT_END, SIZE_MAX, plain ? TEXT("") : TEXT("  ~"));
        screen_indent(screen, frame_indent);
        report_write_name(screen_phrase_new(screen), input->snapshot, &line, line.frame->file == 0);
        bool has_place = frame_line_has_place(&line);
        screen_put(screen, STYLE_BOLD, CUT_END, has_place ? columns : SIZE_MAX, screen_phrase(screen));
        if (has_place) {
            screen_indent(screen, frame_indent + columns + column_gap);
            report_write_place(screen_phrase_new(screen), input->snapshot, &line);
            screen_put(screen, STYLE_DIM, CUT_START, SIZE_MAX, screen_phrase(screen));
        }
        screen_newline(screen);
    }
}

/* What "~" before a frame means, in one line. */
static void show_trust(const struct snapshot *snapshot, const struct stack *stack, struct screen *screen)
{
    uint32_t counts[TRUST_COUNT] = {0};
    for (uint32_t i = 0; i < stack->step_count; i++)
        counts[snapshot->steps[stack->step_first + i].trust]++;
    struct text_writer *phrase = screen_phrase_new(screen);
    for (unsigned trust = 0; trust < TRUST_COUNT; trust++)
        if (counts[trust] != 0 && !frame_trust_is_plain(trust))
            text_writer_printf(phrase, "%s %s (%" PRIu32 ")", phrase->length == 0 ? "~ found by" : ",",
                               frame_trust_name(trust), counts[trust]);
    screen_paragraph(screen, STYLE_DIM, fact_indent);
}

static void show_group(const struct report_input *input, const struct group *group, struct screen *screen)
{
    const struct stack *stack = &input->snapshot->stacks[group->stack];
    show_group_line(input, group, screen);
    if (input->snapshot->sample_count > 1) {
        report_write_movement(screen_phrase_new(screen), input->snapshot, group);
        screen_paragraph(screen, STYLE_PLAIN, fact_indent);
    }
    if (stack->labels != 0) {
        struct text_writer *phrase = screen_phrase_new(screen);
        text_writer_string(phrase, "labels: ");
        report_write_text(phrase, snapshot_string(input->snapshot, stack->labels));
        screen_paragraph(screen, STYLE_PLAIN, fact_indent);
    }
    if (group->waited_count != 0) {
        report_write_waited(screen_phrase_new(screen), group);
        screen_paragraph(screen, STYLE_PLAIN, fact_indent);
    }
    show_resource_waits(input, group, screen);
    show_members(input, group, screen);
    if (group->creator_count != 0) {
        report_write_creators(screen_phrase_new(screen), input, group);
        screen_paragraph(screen, STYLE_PLAIN, fact_indent);
    }
    if (report_shows_variants(input, group)) {
        report_write_variants(screen_phrase_new(screen), group);
        screen_paragraph(screen, STYLE_PLAIN, fact_indent);
    }
    if (group->cpu_known && group->cpu_microseconds != 0) {
        struct text_writer *phrase = screen_phrase_new(screen);
        text_writer_string(phrase, "cpu: ");
        report_write_cpu(phrase, group->cpu_microseconds, group->cpu_at_most);
        screen_paragraph(screen, STYLE_PLAIN, fact_indent);
    }
    show_frames(input, stack, screen);
    if (stack->end != STACK_END_OUTERMOST) {
        struct text_writer *phrase = screen_phrase_new(screen);
        text_writer_string(phrase, "end: ");
        report_write_end(phrase, stack);
        screen_paragraph(screen, STYLE_PLAIN, fact_indent);
    }
    show_trust(input->snapshot, stack, screen);
    struct text_writer *phrase = screen_phrase_new(screen);
    text_writer_printf(phrase, "fingerprint: %s", group->fingerprint);
    if (group->variants > 1)
        text_writer_printf(phrase, ", variants: %" PRIu32 " pc stacks", group->variants);
    screen_paragraph(screen, STYLE_DIM, fact_indent);
    screen_newline(screen);
}

/* Between goroutines and threads. */
static void screen_rule(struct screen *screen)
{
    text_writer_string(screen_phrase_new(screen), "---");
    screen_paragraph(screen, STYLE_DIM, 0);
    screen_newline(screen);
}

void report_write_terminal(const struct report_input *input, struct text_writer *writer)
{
    size_t width = input->options.width == 0 ? width_default : input->options.width;
    struct screen screen = {
        .writer = writer,
        .width = width < width_min ? width_min : width,
        .color = input->options.color,
    };
    text_writer_init_memory(&screen.phrase);
    show_head(input, &screen);
    show_diagnostics(input->diagnostics, &screen, DIAGNOSTIC_LOST, true);
    show_diagnostics(input->diagnostics, &screen, DIAGNOSTIC_LOSS, true);
    size_t later = diagnostics_losses_later(input->diagnostics);
    if (later != 0) {
        text_writer_printf(screen_phrase_new(&screen), "%zu more losses: after the groups", later);
        screen_paragraph(&screen, STYLE_PLAIN, 0);
    }
    screen_newline(&screen);
    for (const struct report_input *profile = input; profile != NULL; profile = profile->next) {
        if (profile != input)
            screen_rule(&screen);
        for (size_t i = 0; i < profile->grouping->group_count; i++)
            show_group(profile, &profile->grouping->groups[i], &screen);
    }
    show_diagnostics_rest(input->diagnostics, &screen);
    if (input->options.show_stats && input->stats != NULL) {
        report_write_stats_counts(screen_phrase_new(&screen), input->stats);
        screen_paragraph(&screen, STYLE_DIM, 0);
        report_write_stats_times(screen_phrase_new(&screen), input->stats);
        screen_paragraph(&screen, STYLE_DIM, 0);
    }
    text_writer_deinit(&screen.phrase);
}
