/* SPDX-License-Identifier: Apache-2.0 */
/* Goroutines one by one, as Go's runtime prints them: the text of /debug/pprof/goroutine?debug=2, of
 * runtime.Stack(all = true) and of a fatal panic with GOTRACEBACK=all (runtime/traceback.go: goroutineheader,
 * traceback, showframe, printArgs, printcreatedby). What Go does not write stands before and after, in "#" lines. */
#include "report/report_facts.h"
#include "report/report_findings.h"

#include "format/goroutine_text.h"

#include <inttypes.h>

enum {
    line_columns = 200,
    frames_max = 100, /* runtime.tracebackInnerFrames and tracebackOuterFrames; _TracebackMaxFrames up to 1.20 */
    minor_elides_middle = 21,
    minor_parses_receivers = 21, /* isExportedRuntime */
    minor_shows_finalizers = 26,
    minor_numbers_bubbles = 25,
    minor_prints_labels = 27,
};

struct writing {
    const struct snapshot *snapshot;
    struct text_writer *writer;
    /* The member under way: its stack, and where its next value is. */
    const struct stack *stack;
    const uint64_t *values, *values_end;
    bool shows_runtime; /* nothing else is there to be shown */
    uint64_t shown;     /* calls of the stack that are printed, if there are no limits */
};

static bool is_upper(char letter)
{
    return letter >= 'A' && letter <= 'Z';
}

/* "runtime.GC", "runtime.(*Func).Name": functions of the runtime that a program may call itself. */
static bool is_exported_runtime(unsigned minor, struct text name)
{
    name.data += sizeof "runtime." - 1;
    name.length -= sizeof "runtime." - 1;
    const char *dot = name.length == 0 ? NULL : memrchr(name.data, '.', name.length);
    if (dot == NULL || (minor != 0 && minor < minor_parses_receivers))
        return name.length != 0 && is_upper(name.data[0]);
    const char *receiver = name.data;
    size_t length = (size_t)(dot - receiver);
    if (length >= 3 && receiver[0] == '(' && receiver[1] == '*' && receiver[length - 1] == ')') {
        receiver += 2;
        length -= 3;
    }
    bool function_is = dot + 1 != name.data + name.length && is_upper(dot[1]);
    return function_is && (length == 0 || is_upper(receiver[0]));
}

/* Whether a call is shown; wrappers are left out of stacks already. */
static bool is_shown(const struct snapshot *snapshot, const struct location *location, const struct frame *frame,
                     bool is_first)
{
    struct text name = snapshot_string(snapshot, frame->function);
    if (!text_starts_with(name, TEXT("runtime."))) {
        /* Names without a dot are entry code of the runtime's, save those of other languages' code. */
        bool is_foreign = !frame->inlined && !location->arguments_known;
        return is_foreign || memchr(name.data, '.', name.length) != NULL;
    }
    if (text_equals(name, TEXT("runtime.gopanic")))
        return !is_first;
    if (snapshot->go_minor >= minor_shows_finalizers &&
        (text_equals(name, TEXT("runtime.runFinalizers")) || text_equals(name, TEXT("runtime.runCleanups"))))
        return true;
    return is_exported_runtime(snapshot->go_minor, name);
}

/* "0x1, {0x2, ...}, 0x3?", from the template and the member's values; "..." when they are not known. */
static void write_arguments(struct writing *writing, const struct location *location, bool is_printed)
{
    static const struct text unknown = {"...", 3};
    struct text template =
        location->arguments_known ? snapshot_string(writing->snapshot, location->arguments) : unknown;
    size_t wanted = 0;
    for (size_t i = 0; i < template.length; i++)
        wanted += template.data[i] == '%';
    if (wanted > (size_t)(writing->values_end - writing->values)) {
        template = unknown;
        writing->values = writing->values_end;
    }
    for (size_t i = 0; i < template.length; i++) {
        if (template.data[i] != '%') {
            if (is_printed)
                text_writer_bytes(writing->writer, &template.data[i], 1);
            continue;
        }
        if (is_printed)
            text_writer_hex(writing->writer, *writing->values);
        writing->values++;
    }
}

static void write_function(struct writing *writing, const struct location *location, const struct frame *frame)
{
    struct text name = snapshot_string(writing->snapshot, frame->function);
    struct frame_line line = {.location = location, .frame = frame};
    if (text_equals(name, TEXT("runtime.gopanic")))
        text_writer_string(writing->writer, "panic");
    else
        report_write_name(writing->writer, writing->snapshot, &line, false);
}

/* "\t/src/m.go:12 +0x1f" */
static void write_place(struct writing *writing, const struct location *location, const struct frame *frame)
{
    struct frame_line line = {.location = location, .frame = frame};
    text_writer_string(writing->writer, "\t");
    if (frame_line_has_place(&line))
        report_write_place(writing->writer, writing->snapshot, &line);
    else
        text_writer_string(writing->writer, "?:0");
    uint64_t offset = location->pc_offset;
    /* Of other languages' code, and where a dump tells the offset of the address in the call. */
    if (offset == 0 && location->offset != 0 && !location->arguments_known)
        offset = location->offset + !location->exact;
    if (offset != 0 && !frame->inlined)
        text_writer_printf(writing->writer, " +0x%" PRIx64, offset);
    text_writer_string(writing->writer, "\n");
}

static void write_elision(struct writing *writing, uint64_t count)
{
    if (count != 0)
        text_writer_printf(writing->writer, "...%" PRIu64 " frames elided...\n", count);
    else
        text_writer_string(writing->writer, "...additional frames elided...\n");
}

/* Counts the calls that are shown, and with `is_printed` prints them: the first and the last of too many. Up to 1.20
 * a dump ends after so many real calls instead, shown or not. */
static uint64_t write_calls(struct writing *writing, bool is_printed)
{
    const struct snapshot *snapshot = writing->snapshot;
    bool cuts_tail = snapshot->go_minor != 0 && snapshot->go_minor < minor_elides_middle;
    uint64_t shown = 0, real = 0, elided = 0;
    /* A dump that was read is cut already. */
    if (snapshot->go_minor >= minor_elides_middle && writing->shown > frames_max)
        elided = writing->shown - frames_max;
    for (uint32_t i = 0; i < writing->stack->step_count; i++) {
        const struct step *step = &snapshot->steps[writing->stack->step_first + i];
        const struct location *location = &snapshot->locations[step->location];
        real += step->wrappers;
        if (cuts_tail && real >= frames_max)
            break;
        for (uint32_t j = 0; j < location->frame_count; j++) {
            const struct frame *frame = &snapshot->frames[location->frame_first + j];
            bool is_here =
                !location->is_hidden && (writing->shows_runtime || is_shown(snapshot, location, frame, shown == 0));
            bool is_left_out = elided != 0 && shown >= frames_max / 2 && shown < frames_max / 2 + elided;
            bool prints = is_printed && is_here && !is_left_out;
            if (is_printed && is_here && elided != 0 && shown == frames_max / 2)
                write_elision(writing, elided);
            if (prints) {
                write_function(writing, location, frame);
                text_writer_string(writing->writer, frame->inlined ? "(...)\n" : "(");
            }
            if (is_printed && !frame->inlined) {
                write_arguments(writing, location, prints);
                real++;
            }
            if (prints && !frame->inlined)
                text_writer_string(writing->writer, ")\n");
            if (prints)
                write_place(writing, location, frame);
            shown += is_here;
        }
    }
    if (is_printed && cuts_tail && shown == frames_max)
        write_elision(writing, 0);
    return shown;
}

/* {"k":"v"} of our labels as {k: v} in a header; what has other than letters and digits in it is quoted. */
static void write_labels(struct writing *writing, struct text labels)
{
    struct text key, value, rest = labels;
    bool is_first = true;
    text_writer_string(writing->writer, " {");
    for (; goroutine_label_next(&rest, &key, &value); is_first = false) {
        const struct text parts[] = {key, value};
        text_writer_string(writing->writer, is_first ? "" : ", ");
        for (size_t i = 0; i < 2; i++) {
            bool is_plain = parts[i].length != 0;
            for (size_t j = 0; j < parts[i].length; j++) {
                char letter = parts[i].data[j];
                is_plain = is_plain && (is_upper(letter) || (letter >= 'a' && letter <= 'z') ||
                                        (letter >= '0' && letter <= '9') || strchr("-_./@", letter) != NULL);
            }
            text_writer_string(writing->writer, is_plain ? "" : "\"");
            report_write_text(writing->writer, parts[i]);
            text_writer_string(writing->writer, is_plain ? "" : "\"");
            text_writer_string(writing->writer, i == 0 ? ": " : "");
        }
    }
    text_writer_string(writing->writer, "}");
}

static void write_header(struct writing *writing, const struct member *member)
{
    const struct snapshot *snapshot = writing->snapshot;
    struct text_writer *writer = writing->writer;
    struct text state = snapshot_string(snapshot, member->state);
    text_writer_printf(writer, "goroutine %" PRIu64 " [", member->id);
    report_write_text(writer, state.length != 0 ? state : TEXT("\?\?\?"));
    if (member->is_leaked)
        text_writer_string(writer, " (leaked)");
    if (member->is_scanned)
        text_writer_string(writer, " (scan)");
    if (member->is_durable)
        text_writer_string(writer, " (durable)");
    if (member->waited_known && member->waited_seconds >= 60)
        text_writer_printf(writer, ", %" PRIu64 " minutes", member->waited_seconds / 60);
    if (member->locked_to_thread)
        text_writer_string(writer, ", locked to thread");
    if (member->bubble != 0)
        text_writer_printf(writer, ", synctest %s %" PRIu32,
                           snapshot->go_minor < minor_numbers_bubbles ? "group" : "bubble", member->bubble);
    text_writer_string(writer, "]");
    if (member->labels != 0 && (snapshot->go_minor == 0 || snapshot->go_minor >= minor_prints_labels))
        write_labels(writing, snapshot_string(snapshot, member->labels));
    text_writer_string(writer, ":\n");
}

static void write_creator(struct writing *writing, const struct member *member)
{
    const struct snapshot *snapshot = writing->snapshot;
    if (member->creator_location == 0)
        return;
    const struct location *location = &snapshot->locations[member->creator_location - 1];
    const struct frame *frame = &snapshot->frames[location->frame_first + location->frame_count - 1];
    if (!is_shown(snapshot, location, frame, false))
        return;
    text_writer_string(writing->writer, "created by ");
    write_function(writing, location, frame);
    if (member->creator_id != 0)
        text_writer_printf(writing->writer, " in goroutine %" PRIu64, member->creator_id);
    text_writer_string(writing->writer, "\n");
    write_place(writing, location, frame);
}

static void write_goroutine(struct writing *writing, size_t number)
{
    const struct snapshot *snapshot = writing->snapshot;
    const struct member *member = &snapshot->members[number];
    const struct stack *stack = &snapshot->stacks[member->stack];
    if (snapshot->call_values != NULL) {
        writing->values = snapshot->call_values + snapshot->call_value_first[number];
        writing->values_end = snapshot->call_values + snapshot->call_value_first[number + 1];
    }
    if (stack != writing->stack) {
        writing->stack = stack;
        writing->shows_runtime = false;
        writing->shown = write_calls(writing, false);
        if (writing->shown == 0) {
            writing->shows_runtime = true;
            writing->shown = write_calls(writing, false);
        }
    }
    write_header(writing, member);
    if (stack->step_count == 0 && stack->end == STACK_END_NOT_TOLD)
        text_writer_string(writing->writer, "\tgoroutine running on other thread; stack unavailable\n");
    write_calls(writing, true);
    /* The dump that was read left some out, and where is not known any more. */
    if (snapshot->go_minor == 0 && stack->end == STACK_END_FRAME_LIMIT)
        write_elision(writing, 0);
    write_creator(writing, member);
}

static void write_line(void *context, enum verdict_part part, enum severity severity, struct text line)
{
    struct text_writer *writer = context;
    (void)part;
    (void)severity;
    text_writer_string(writer, "# ");
    text_writer_text(writer, line);
    text_writer_string(writer, "\n");
}

static void write_head(const struct report_input *input, struct text_writer *writer)
{
    const struct snapshot *process = report_process_snapshot(input);
    text_writer_string(writer, "# ");
    report_write_signal(writer, input);
    text_writer_string(writer, "\n");
    report_write_verdict(
        input,
        &(struct verdict_form){.columns = line_columns - sizeof "# " + 1, .write_line = write_line, .context = writer});
    text_writer_string(writer, "# ");
    report_write_process(writer, process);
    text_writer_string(writer, "\n# ");
    report_write_source(writer, process);
    text_writer_string(writer, "\n# ");
    report_write_totals(writer, input);
    text_writer_string(writer, "\n");
}

static void write_diagnostics(const struct report_input *input, struct text_writer *writer)
{
    const struct diagnostics *diagnostics = input->diagnostics;
    for (size_t i = 0; i < diagnostics->count; i++) {
        text_writer_string(writer, "# ");
        report_write_diagnostic(writer, &diagnostics->entries[i]);
        text_writer_string(writer, "\n");
    }
    if (diagnostics->suppressed != 0) {
        text_writer_string(writer, "# ");
        report_write_diagnostics_suppressed(writer, diagnostics);
        text_writer_string(writer, "\n");
    }
    if (input->options.show_stats && input->stats != NULL) {
        text_writer_string(writer, "# ");
        report_write_stats_counts(writer, input->stats);
        text_writer_string(writer, "\n# ");
        report_write_stats_times(writer, input->stats);
        text_writer_string(writer, "\n");
    }
}

/* Goroutines of groups that filters or limits hide are left out. */
static bool is_hidden(const struct report_input *input, const struct member *member)
{
    uint32_t group = input->grouping->group_of_stack[member->stack];
    return group == index_none || group >= input->grouping->group_count;
}

static void write_goroutines(const struct report_input *input, struct text_writer *writer)
{
    const struct snapshot *snapshot = input->snapshot;
    struct writing writing = {.snapshot = snapshot, .writer = writer};
    /* As the runtime does: the one that dies first, the others as they came to be. */
    size_t first = snapshot->member_count;
    for (size_t i = 0; i < snapshot->member_count && snapshot->signal.tid != 0; i++)
        if (snapshot->members[i].id == snapshot->signal.tid)
            first = i;
    if (first != snapshot->member_count) {
        text_writer_string(writer, "\n");
        write_goroutine(&writing, first);
    }
    for (size_t i = 0; i < snapshot->member_count; i++) {
        if (i == first || is_hidden(input, &snapshot->members[i]))
            continue;
        text_writer_string(writer, "\n");
        write_goroutine(&writing, i);
    }
}

static void report_debug2_write(const struct report_input *input, struct text_writer *writer)
{
    write_head(input, writer);
    for (const struct report_input *profile = input; profile != NULL; profile = profile->next) {
        if (profile->snapshot->kind != PROFILE_GOROUTINES)
            continue;
        /* Of several runtimes in one process the ids are no longer unique: each has its own. */
        if (profile != input) {
            text_writer_string(writer, "\n# ");
            report_write_totals(writer, profile);
            text_writer_string(writer, "\n");
        }
        write_goroutines(profile, writer);
    }
    if (input->diagnostics->count != 0 || input->options.show_stats)
        text_writer_string(writer, "\n");
    write_diagnostics(input, writer);
}

static const char *report_debug2_refusal(const struct report_input *input)
{
    const struct snapshot *snapshot = input->snapshot;
    if (snapshot->kind != PROFILE_GOROUTINES)
        return "debug2 is for goroutines, of which there are none here: take --format=text";
    for (size_t i = 0; i < snapshot->member_count; i++)
        if (snapshot->members[i].id == 0)
            return "debug2 prints goroutines one by one, and this dump tells only how many there are: take "
                   "--format=text";
    return NULL;
}

const struct report report_debug2 = {
    .name = "debug2",
    .help = "goroutines one by one, as Go's debug=2 and its crashes",
    .refusal = report_debug2_refusal,
    .write = report_debug2_write,
};
