/* SPDX-License-Identifier: Apache-2.0 */
/* The verdict: the findings as lines, the same for files and screens. By default it leaves room for the groups: about a
 * screen, the most severe first, what does not fit is counted.
 *
 *   critical: 2 threads wait for each other's mutexes
 *     thread 4711 waits in transfer at bank.c:38 for mutex account_b, held by thread 4712 (read)
 *     groups: g3 (holds and waits: 1), g4 (holds and waits: 1)
 *     do: take both locks in one order everywhere
 *     confidence: read; runbook: stackgroup runbook pthread/lock-cycle
 */
#ifndef SG_REPORT_REPORT_FINDINGS_H
#define SG_REPORT_REPORT_FINDINGS_H

#include "report/report.h"

enum {
    /* Lines of all findings together without --all-findings: with a head line a screen of 24. */
    verdict_lines = 20,
};

enum verdict_part {
    VERDICT_TITLE,
    VERDICT_SENTENCE, /* evidence, advice */
    VERDICT_DETAIL,   /* where to look, how sure, what was left out */
};

struct verdict_form {
    size_t columns;           /* no line is wider */
    bool groups_have_numbers; /* the reader sees "g3"; else a group is known by its fingerprint's first digits */
    /* One line, indented, without a line break, safe for terminals. */
    void (*write_line)(void *context, enum verdict_part part, enum severity severity, struct text line);
    void *context;
};

/* Nothing when no rules ran; one line when they found nothing. */
void report_write_verdict(const struct report_input *input, const struct verdict_form *form);

#endif
