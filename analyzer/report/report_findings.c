/* SPDX-License-Identifier: Apache-2.0 */
#include "report/report_findings.h"

#include "report/columns.h"
#include "report/report_facts.h"
#include "report/report_waits.h"

#include <inttypes.h>

enum {
    body_indent = 2,
    hanging_indent = 2, /* of further lines of a paragraph */
    advice_indent = 6,  /* of its further paragraphs, below the first one's text */
    /* Lines that a part takes at most while lines are short. */
    title_lines = 3,
    groups_lines = 2,
    advice_lines = 6,
    confidence_lines = 2,
    /* A finding with fewer lines than these is shown by its title alone. */
    finding_lines_min = 5,
    info_lines = 3,
    titles_kept = 3,
    groups_shown = 8,
    groups_joined = 64, /* groups looked through for several roles of one */
};

struct verdict {
    const struct report_input *input;
    const struct verdict_form *form;
    struct text_writer phrase, line;
    size_t lines_left; /* SIZE_MAX: no end */
};

static struct text written(const struct text_writer *writer)
{
    return (struct text){writer->buffer, writer->length};
}

static struct text_writer *phrase_new(struct verdict *verdict)
{
    verdict->phrase.length = 0;
    return &verdict->phrase;
}

static size_t line_columns(const struct verdict *verdict, size_t indent)
{
    return verdict->form->columns > indent ? verdict->form->columns - indent : 1;
}

static void put_line(struct verdict *verdict, enum verdict_part part, enum severity severity, size_t indent,
                     struct text text, bool is_cut)
{
    verdict->line.length = 0;
    for (size_t i = 0; i < indent; i++)
        text_writer_string(&verdict->line, " ");
    size_t columns = line_columns(verdict, indent);
    if (is_cut && text_columns(text) >= columns)
        text = text_start(text, columns - 1);
    text_writer_text(&verdict->line, text);
    if (is_cut)
        text_writer_string(&verdict->line, "…");
    verdict->form->write_line(verdict->form->context, part, severity, written(&verdict->line));
    if (verdict->lines_left != SIZE_MAX && verdict->lines_left != 0)
        verdict->lines_left--;
}

/* How many lines the phrase takes; counting ends past `lines_max`. */
static size_t phrase_lines(const struct verdict *verdict, size_t indent, size_t lines_max)
{
    struct text rest = written(&verdict->phrase);
    size_t lines = 0;
    for (size_t at = indent; rest.length != 0 && lines <= lines_max; at = indent + hanging_indent, lines++)
        text_take_line(&rest, line_columns(verdict, at));
    return lines;
}

/* The phrase as a paragraph of at most so many lines; "…" where it was cut. */
static void put_phrase(struct verdict *verdict, enum verdict_part part, enum severity severity, size_t indent,
                       size_t lines_max)
{
    struct text rest = written(&verdict->phrase);
    for (size_t at = indent; rest.length != 0 && lines_max != 0; at = indent + hanging_indent, lines_max--) {
        struct text all = rest, line = text_take_line(&rest, line_columns(verdict, at));
        bool is_cut = rest.length != 0 && lines_max == 1;
        put_line(verdict, part, severity, at, is_cut ? text_start(all, line_columns(verdict, at)) : line, is_cut);
    }
}

/* Cuts the phrase after the last whole sentence that fits, if one does. */
static void cut_phrase_at_sentence(struct verdict *verdict, size_t indent, size_t lines_max)
{
    size_t all = verdict->phrase.length, best = 0;
    if (phrase_lines(verdict, indent, lines_max) <= lines_max)
        return;
    for (size_t i = 1; i + 1 < all; i++) {
        if (verdict->phrase.buffer[i] != ' ' || verdict->phrase.buffer[i - 1] != '.')
            continue;
        verdict->phrase.length = i;
        if (phrase_lines(verdict, indent, lines_max) > lines_max)
            break;
        best = i;
    }
    verdict->phrase.length = best > sizeof "do: " ? best : all;
    if (best > sizeof "do: ")
        text_writer_string(&verdict->phrase, " …");
}

static void write_title(struct verdict *verdict, const struct finding *finding)
{
    struct text_writer *phrase = phrase_new(verdict);
    text_writer_string(phrase, severity_name(finding->severity));
    if (finding->confidence != CONFIDENCE_READ && finding->confidence != CONFIDENCE_UNKNOWN)
        text_writer_printf(phrase, ", %s", confidence_name(finding->confidence));
    text_writer_string(phrase, ": ");
    report_write_text(phrase, finding->title);
}

static void write_role(struct text_writer *phrase, const char *before, const struct finding_group *group)
{
    text_writer_string(phrase, before);
    if (group->role != NULL && group->role[0] != 0)
        text_writer_printf(phrase, "%s: ", group->role);
    text_writer_count(phrase, group->members);
}

/* Whether a group stands among those before it too: then its roles were told there. */
static bool group_is_told(const struct finding *finding, size_t index)
{
    if (index >= groups_joined)
        return false;
    for (size_t i = 0; i < index; i++)
        if (finding->groups[i].group == finding->groups[index].group)
            return true;
    return false;
}

/* "groups: g2 (holds and waits: 2, waits: 50), g3 (holds: 1)" */
static void write_groups(struct verdict *verdict, const struct finding *finding)
{
    const struct grouping *grouping = verdict->input->grouping;
    struct text_writer *phrase = phrase_new(verdict);
    size_t shown = 0, others = 0;
    for (size_t i = 0; i < finding->group_count; i++) {
        const struct finding_group *group = &finding->groups[i];
        if (group_is_told(finding, i))
            continue;
        if (shown == groups_shown && verdict->lines_left != SIZE_MAX) {
            others++;
            continue;
        }
        text_writer_string(phrase, shown++ != 0 ? ", " : finding->group_count == 1 ? "group: " : "groups: ");
        if (verdict->form->groups_have_numbers)
            report_write_group_name(phrase, verdict->input, group->group);
        else
            text_writer_printf(phrase, "%.8s", grouping->groups[group->group].fingerprint);
        write_role(phrase, " (", group);
        for (size_t j = i + 1; j < finding->group_count && j < groups_joined; j++)
            if (finding->groups[j].group == group->group)
                write_role(phrase, ", ", &finding->groups[j]);
        text_writer_string(phrase, ")");
    }
    if (others != 0)
        text_writer_printf(phrase, " … (+%zu)", others);
}

/* The next paragraph of the advice, its lines joined: blank lines and items of lists part them. False at the end. */
static bool write_advice(struct verdict *verdict, struct text *rest, const char *before)
{
    struct text_writer *phrase = phrase_new(verdict);
    while (rest->length != 0) {
        const char *end = memchr(rest->data, '\n', rest->length);
        size_t length = end == NULL ? rest->length : (size_t)(end - rest->data);
        struct text line = {rest->data, length};
        while (line.length != 0 && line.data[0] == ' ') {
            line.data++;
            line.length--;
        }
        bool is_item = text_starts_with(line, TEXT("- ")) || text_starts_with(line, TEXT("* ")) ||
                       (line.length > 2 && line.data[0] >= '0' && line.data[0] <= '9' && line.data[1] == '.');
        if (phrase->length != 0 && (is_item || line.length == 0))
            break;
        if (line.length != 0) {
            text_writer_string(phrase, phrase->length == 0 ? before : " ");
            report_write_text(phrase, line);
        }
        size_t step = length + (end != NULL);
        *rest = (struct text){rest->data + step, rest->length - step};
    }
    return phrase->length != 0;
}

/* The first paragraph, and "…" when more follow that are not shown. */
static bool write_advice_first(struct verdict *verdict, struct text *rest, bool more_follow)
{
    if (!write_advice(verdict, rest, "do: "))
        return false;
    while (rest->length != 0 && (rest->data[0] == ' ' || rest->data[0] == '\n'))
        *rest = (struct text){rest->data + 1, rest->length - 1};
    if (rest->length != 0 && !more_follow)
        text_writer_string(&verdict->phrase, " …");
    return true;
}

/* How sure, and the page to follow. */
static void write_confidence(struct verdict *verdict, const struct finding *finding)
{
    struct text_writer *phrase = phrase_new(verdict);
    text_writer_printf(phrase, "confidence: %s; ", confidence_name(finding->confidence));
    bool is_built_in = finding->runbook.length != 0 && finding->runbook_path.length == 0;
    text_writer_string(phrase, is_built_in ? "runbook: stackgroup runbook " : "rule: ");
    report_write_text(phrase, finding->rule);
    if (finding->runbook_path.length != 0) {
        text_writer_string(phrase, "; runbook: ");
        report_write_text(phrase, finding->runbook_path);
    }
}

/* Sentences within so many lines; when not all fit, the last line says how many follow. */
static void put_evidence(struct verdict *verdict, const struct finding *finding, size_t lines_max)
{
    size_t used = 0, shown = 0;
    for (; shown < finding->evidence_count; shown++) {
        report_write_text(phrase_new(verdict), finding->evidence[shown]);
        size_t lines = phrase_lines(verdict, body_indent, lines_max);
        bool is_last = shown + 1 == finding->evidence_count;
        if (lines_max != SIZE_MAX && used + lines + !is_last > lines_max)
            break;
        put_phrase(verdict, VERDICT_SENTENCE, finding->severity, body_indent, SIZE_MAX);
        used += lines;
    }
    if (shown == finding->evidence_count)
        return;
    /* The start of the next sentence where there is room; of the strongest one always. */
    size_t left = lines_max - used, others = finding->evidence_count - shown - 1;
    if (shown == 0 || left > 1) {
        put_phrase(verdict, VERDICT_SENTENCE, finding->severity, body_indent, left - (others != 0 && left > 1));
        if (others == 0 || left == 1)
            return;
    } else {
        others++;
    }
    text_writer_printf(phrase_new(verdict), "… %zu more, --all-findings", others);
    put_phrase(verdict, VERDICT_DETAIL, finding->severity, body_indent, 1);
}

static size_t least(size_t left, size_t right)
{
    return left < right ? left : right;
}

/* How many lines the evidence takes; counting ends past `lines_max`. */
static size_t evidence_lines(struct verdict *verdict, const struct finding *finding, size_t lines_max)
{
    size_t lines = 0;
    for (size_t i = 0; i < finding->evidence_count && lines <= lines_max; i++) {
        report_write_text(phrase_new(verdict), finding->evidence[i]);
        lines += phrase_lines(verdict, body_indent, lines_max);
    }
    return lines;
}

/* Lines of each part of a finding. */
struct heights {
    size_t title, evidence, groups, advice, confidence;
};

/* Takes of the spare lines what the part wants beyond what it has. */
static void grow(size_t *part, size_t wanted, size_t *spare)
{
    size_t more = wanted > *part ? least(wanted - *part, *spare) : 0;
    *part += more;
    *spare -= more;
}

/* What each part gets of `lines_max` lines: one each that it cannot do without, then more in order of weight.
 * `says_again`: the finding before was of the same rule, whose advice and page stand there. */
static struct heights share_lines(struct verdict *verdict, const struct finding *finding, size_t lines_max,
                                  bool says_again)
{
    struct heights wanted = {0}, heights = {.title = 1, .evidence = finding->evidence_count != 0};
    struct text rest = finding->advice;
    if (finding->group_count != 0) {
        write_groups(verdict, finding);
        wanted.groups = least(phrase_lines(verdict, body_indent, groups_lines), groups_lines);
    }
    if (!says_again) {
        write_confidence(verdict, finding);
        wanted.confidence = least(phrase_lines(verdict, body_indent, confidence_lines), confidence_lines);
        if (write_advice_first(verdict, &rest, false))
            wanted.advice = least(phrase_lines(verdict, body_indent, advice_lines), advice_lines);
    }
    write_title(verdict, finding);
    wanted.title = least(phrase_lines(verdict, 0, title_lines), title_lines);
    wanted.evidence = evidence_lines(verdict, finding, lines_max);
    heights.groups = wanted.groups != 0;
    heights.advice = wanted.advice != 0;
    heights.confidence = wanted.confidence != 0;
    size_t needed = heights.title + heights.evidence + heights.groups + heights.advice + heights.confidence;
    size_t spare = lines_max > needed ? lines_max - needed : 0;
    grow(&heights.title, wanted.title, &spare);
    grow(&heights.confidence, wanted.confidence, &spare);
    grow(&heights.groups, wanted.groups, &spare);
    grow(&heights.evidence, wanted.evidence, &spare);
    grow(&heights.advice, wanted.advice, &spare);
    return heights;
}

static void put_finding_part(struct verdict *verdict, const struct finding *finding, const struct heights *heights,
                             bool whole)
{
    enum severity severity = finding->severity;
    write_title(verdict, finding);
    put_phrase(verdict, VERDICT_TITLE, severity, 0, heights->title);
    put_evidence(verdict, finding, heights->evidence);
    if (heights->groups != 0 && finding->group_count != 0) {
        write_groups(verdict, finding);
        put_phrase(verdict, VERDICT_DETAIL, severity, body_indent, heights->groups);
    }
    struct text rest = finding->advice;
    if (heights->advice != 0 && write_advice_first(verdict, &rest, whole)) {
        cut_phrase_at_sentence(verdict, body_indent, heights->advice);
        put_phrase(verdict, VERDICT_SENTENCE, severity, body_indent, heights->advice);
        while (whole && write_advice(verdict, &rest, ""))
            put_phrase(verdict, VERDICT_SENTENCE, severity, advice_indent, SIZE_MAX);
    }
    write_confidence(verdict, finding);
    put_phrase(verdict, VERDICT_DETAIL, severity, body_indent, heights->confidence);
}

/* The finding within `lines_max` lines, at least finding_lines_min. */
static void put_finding(struct verdict *verdict, const struct finding *finding, size_t lines_max, bool says_again)
{
    struct heights heights = share_lines(verdict, finding, lines_max, says_again);
    put_finding_part(verdict, finding, &heights, false);
}

static void put_finding_whole(struct verdict *verdict, const struct finding *finding)
{
    static const struct heights all = {SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX};
    put_finding_part(verdict, finding, &all, true);
}

static void put_title_alone(struct verdict *verdict, const struct finding *finding)
{
    write_title(verdict, finding);
    text_writer_string(&verdict->phrase, " [");
    report_write_text(&verdict->phrase, finding->rule);
    text_writer_string(&verdict->phrase, "]");
    put_phrase(verdict, VERDICT_TITLE, finding->severity, 0, 1);
}

/* "… 7 more findings, --all-findings (2 critical, 5 info)" */
static void put_more(struct verdict *verdict, const struct findings *findings, size_t first)
{
    uint64_t counts[SEVERITY_CRITICAL + 1] = {0};
    for (size_t i = first; i < findings->count; i++)
        counts[findings->entries[i].severity]++;
    struct text_writer *phrase = phrase_new(verdict);
    size_t more = findings->count - first;
    text_writer_string(phrase, "… ");
    text_writer_count(phrase, more);
    text_writer_printf(phrase, " more finding%s, --all-findings", more == 1 ? "" : "s");
    const char *before = " (";
    for (int severity = SEVERITY_CRITICAL; severity > SEVERITY_UNKNOWN; severity--) {
        if (counts[severity] == 0)
            continue;
        text_writer_string(phrase, before);
        text_writer_count(phrase, counts[severity]);
        text_writer_printf(phrase, " %s", severity_name((enum severity)severity));
        before = ", ";
    }
    text_writer_string(phrase, before[0] == ',' ? ")" : "");
    put_phrase(verdict, VERDICT_DETAIL, findings->entries[first].severity, 0, 1);
}

/* Whether the finding before is of the same rule. */
static bool finding_says_again(const struct findings *findings, size_t index)
{
    return index != 0 && text_equals(findings->entries[index].rule, findings->entries[index - 1].rule);
}

/* Lines that the findings from `first` on would like to have; counting ends past `lines_max`. */
static size_t lines_wanted(struct verdict *verdict, const struct findings *findings, size_t first, size_t end,
                           size_t lines_max)
{
    size_t lines = 0;
    for (size_t i = first; i < end && lines <= lines_max; i++) {
        struct heights heights =
            share_lines(verdict, &findings->entries[i], verdict_lines, finding_says_again(findings, i));
        lines += heights.title + heights.evidence + heights.groups + heights.advice + heights.confidence;
    }
    return lines;
}

/* Each finding gets half of the lines that are left, so that the most severe is told best, and what those after it have
 * no use for. Some of those that come late are named at least. */
static void put_a_screen(struct verdict *verdict, const struct findings *findings)
{
    size_t count = findings->count, grave = 0, next = 0, infos = 0;
    while (grave < count && findings->entries[grave].severity > SEVERITY_INFO)
        grave++;
    size_t infos_kept = least(count - grave, info_lines);
    verdict->lines_left = verdict_lines - infos_kept - (infos_kept < count - grave);
    for (; next < grave; next++) {
        size_t others = grave - next - 1, kept = least(others, titles_kept + 1);
        size_t own_wanted = lines_wanted(verdict, findings, next, next + 1, verdict_lines);
        if (verdict->lines_left < kept + least(own_wanted, finding_lines_min))
            break;
        size_t left = verdict->lines_left - kept, own = (left + 1) / 2;
        size_t wanted = lines_wanted(verdict, findings, next + 1, grave, verdict->lines_left);
        if (wanted < verdict->lines_left && verdict->lines_left - wanted > own)
            own = verdict->lines_left - wanted;
        own = own > finding_lines_min ? own : finding_lines_min;
        put_finding(verdict, &findings->entries[next], own, finding_says_again(findings, next));
    }
    for (; next < grave && (verdict->lines_left > 1 || (verdict->lines_left == 1 && next + 1 == grave)); next++)
        put_title_alone(verdict, &findings->entries[next]);
    if (next == grave)
        for (verdict->lines_left = SIZE_MAX; infos < infos_kept; infos++, next++)
            put_title_alone(verdict, &findings->entries[next]);
    if (next < count)
        put_more(verdict, findings, next);
}

void report_write_verdict(const struct report_input *input, const struct verdict_form *form)
{
    struct verdict verdict = {.input = input, .form = form, .lines_left = SIZE_MAX};
    const struct findings *findings = input->findings;
    if (findings == NULL)
        return;
    /* Of several profiles one without findings says nothing, unless none has any. */
    const struct report_input *next = input->next;
    while (next != NULL && next->next != NULL && next->findings != NULL && next->findings->count == 0)
        next = next->next;
    if (findings->count == 0 && next != NULL) {
        report_write_verdict(next, form);
        return;
    }
    text_writer_init_memory(&verdict.phrase);
    text_writer_init_memory(&verdict.line);
    if (findings->count == 0) {
        text_writer_printf(phrase_new(&verdict), "findings: none (%zu rule%s)", input->rule_count,
                           input->rule_count == 1 ? "" : "s");
        put_phrase(&verdict, VERDICT_DETAIL, SEVERITY_UNKNOWN, 0, SIZE_MAX);
    } else if (input->options.all_findings) {
        for (size_t i = 0; i < findings->count; i++)
            put_finding_whole(&verdict, &findings->entries[i]);
    } else {
        put_a_screen(&verdict, findings);
    }
    text_writer_deinit(&verdict.phrase);
    text_writer_deinit(&verdict.line);
    if (findings->count != 0 && next != NULL && next->findings != NULL && next->findings->count != 0)
        report_write_verdict(next, form);
}
