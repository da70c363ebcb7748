/* SPDX-License-Identifier: Apache-2.0 */
/* One way to write the results. A report formats only: it looks nothing up in the target and sorts nothing. Same input,
 * same bytes. Every report prints every diagnostic. */
#ifndef SG_REPORT_REPORT_H
#define SG_REPORT_REPORT_H

#include "base/diagnostics.h"
#include "base/text_writer.h"
#include "model/finding.h"

struct report_stats {
    uint64_t frames; /* walked, of all threads */
    double seconds_open, seconds_unwind, seconds_symbol, seconds_group, seconds_detect;
    uint64_t plans, path_hits, path_misses; /* compiled rows; frames that followed the path taken last, or not */
    uint64_t distinct_pcs;
    uint64_t arena_bytes;
};

struct report_options {
    bool members;       /* every member with its details, not only the first ids */
    bool show_stats;    /* --stats */
    bool all_findings;  /* every finding whole, not only a screen of them */
    bool terminal;      /* for a person's screen: aligned, cut to width */
    bool color;         /* ANSI colours; only with terminal */
    unsigned width;     /* columns of the terminal */
    unsigned lines_max; /* "#" frame lines of one stack before its middle is left out; 0: all */
};

struct report_input {
    const struct snapshot *snapshot;
    const struct grouping *grouping;
    const struct diagnostics *diagnostics;
    const struct findings *findings; /* NULL: no rules ran */
    size_t rule_count;               /* rules that ran */
    const struct report_input *next; /* the same process's other profile, for a Go program its threads; NULL: none */
    size_t groups_before; /* of the profiles before it: groups are numbered through */
    const struct report_stats *stats;
    struct report_options options;
};

/* What is known of the process as a whole, its signal and its threads, stands in the last profile. */
static inline const struct snapshot *report_process_snapshot(const struct report_input *input)
{
    while (input->next != NULL)
        input = input->next;
    return input->snapshot;
}

struct report {
    const char *name;   /* --format=NAME */
    const char *help;   /* one line */
    /* Why it cannot be written, one line; NULL: it can. The field may be NULL: it always can. */
    const char *(*refusal)(const struct report_input *input);
    void (*write)(const struct report_input *input, struct text_writer *writer);
};

extern const struct report report_text, report_debug2, report_json;

#endif
