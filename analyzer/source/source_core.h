/* SPDX-License-Identifier: Apache-2.0 */
/* Reads an ELF core, written by the kernel or by gdb's gcore, into an image. One mapping of the file; nothing is copied
 * but tables. A core cut at any byte gives what its bytes hold, and diagnostics that say what is missing. */
#ifndef SG_SOURCE_SOURCE_CORE_H
#define SG_SOURCE_SOURCE_CORE_H

#include "base/diagnostics.h"
#include "base/error.h"
#include "base/file.h"
#include "model/image.h"

struct core_source {
    struct file_mapping file; /* must stay mapped while the image's memory is read; fd -1: not open */
};

/* A source whose file is open already, as packed ones are, is not opened again: the path is for messages then. The image's
 * tables live in `arena`, its memory in the mapping. Errors: the file cannot be opened, is no core, is of
 * another architecture, or holds no thread. */
const struct error *source_core_open(const char *path, struct arena *arena, struct diagnostics *diagnostics,
                                     struct core_source *ret_source, struct image *ret_image);
void source_core_close(struct core_source *source);

/* Whether the path looks like an ELF core, an ELF program, or neither, by its first bytes; for `stackgroup EXE CORE` in
 * either order; a packed file counts as a core. */
enum core_probe { CORE_PROBE_UNREADABLE, CORE_PROBE_OTHER, CORE_PROBE_PROGRAM, CORE_PROBE_CORE };
enum core_probe source_core_probe(const char *path);

#endif
