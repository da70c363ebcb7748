/* SPDX-License-Identifier: Apache-2.0 */
/* How wide a text is on a screen, and where to cut and break it. The text is safe already (text_writer_safe). */
#ifndef SG_REPORT_COLUMNS_H
#define SG_REPORT_COLUMNS_H

#include "base/text.h"

size_t text_columns(struct text text);

/* The longest start, or end, that fits. */
struct text text_start(struct text text, size_t columns_max);
struct text text_end(struct text text, size_t columns_max);

/* Cuts one line off the front, broken at a space where there is one; the spaces after it are gone too. */
struct text text_take_line(struct text *rest, size_t columns_max);

#endif
