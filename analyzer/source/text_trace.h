/* SPDX-License-Identifier: Apache-2.0 */
/* Goroutine by goroutine: debug=2, SIGQUIT and crash traces into the snapshot under construction. */
#ifndef SG_SOURCE_TEXT_TRACE_H
#define SG_SOURCE_TEXT_TRACE_H

#include "source/text_build.h"

void text_trace_read(struct text_build *build, struct text text);

#endif
