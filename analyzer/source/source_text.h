/* SPDX-License-Identifier: Apache-2.0 */
/* Reads stacks that somebody printed into a snapshot; there is no image. What is read: Go's goroutine dumps (debug=1,
 * debug=2, SIGQUIT, panics), Go's heap profile (debug=1), and the text that stackgroup itself writes. Files, pipes and
 * memory. Facts about waits are kept as told (model/told.h). */
#ifndef SG_SOURCE_SOURCE_TEXT_H
#define SG_SOURCE_SOURCE_TEXT_H

#include "base/diagnostics.h"
#include "base/error.h"
#include "model/snapshot.h"

struct text_options {
    const char *path;  /* "-": standard input; of a text in memory, its name in messages */
    const char *bytes; /* NULL: the path is opened */
    size_t length;
};

struct text_source {
    const char *bytes; /* the text */
    size_t length;
    void *mapped; /* NULL: nothing to unmap */
    size_t mapped_bytes;
};

/* Whether a path is to be read as text: standard input, a pipe, or a file that is not ELF. */
bool source_text_probe(const char *path);

/* The snapshot lives in `arena` and points at nothing of the input. Errors: it cannot be opened, or is no dump. */
const struct error *source_text_read(const struct text_options *options, struct text_source *ret_source,
                                     struct snapshot *ret_snapshot, struct arena *arena, struct arena *scratch,
                                     struct diagnostics *diagnostics);
/* May be called again. */
void source_text_close(struct text_source *source);

#endif
