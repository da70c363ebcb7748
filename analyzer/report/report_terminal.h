/* SPDX-License-Identifier: Apache-2.0 */
/* The text report for a person's screen: function names first, places shortened to the width, counts and shares in
 * front. Not meant to be read by programs; the same facts in the same order as in report_text.c. */
#ifndef SG_REPORT_REPORT_TERMINAL_H
#define SG_REPORT_REPORT_TERMINAL_H

#include "report/report.h"

void report_write_terminal(const struct report_input *input, struct text_writer *writer);

#endif
