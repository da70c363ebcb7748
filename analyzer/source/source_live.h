/* SPDX-License-Identifier: Apache-2.0 */
/* Takes an image of a running process: its maps and ELF headers are read first, then all threads are stopped at one
 * instant for as long as their registers and used stacks take to copy, and what can wait is read after they run again.
 * Unwinding and naming then go the same way as for a core. */
#ifndef SG_SOURCE_SOURCE_LIVE_H
#define SG_SOURCE_SOURCE_LIVE_H

#include "debuginfo/module_file.h"
#include "source/live_stop.h"

struct live_source {
    uint32_t tid;          /* a thread that had not ended */
    int memory_fd;         /* /proc/PID/mem, -1 when closed */
    struct live_stop stop; /* owns the copied stacks */
    struct text status;    /* that thread's, before the stop */
    struct memory_layer headers; /* of the image's memory what was copied before threads were read */
    bool to_be_saved;
    struct text registers; /* of STOP_KIND_HELD; their name */
    const char *registers_name;
};

struct live_options {
    uint32_t pid;
    enum stop_kind stop_kind;
    const char *registers; /* of STOP_KIND_HELD: the file that tells them, "-" standard input */
    int memory_fd;         /* /proc/PID/mem as that debugger opened it, for where only it may; 0: none */
    uint64_t stop_microseconds_max; /* of STOP_KIND_ALL, 0: no limit */
    struct live_hold *hold; /* NULL: nobody breaks a stop off */
    bool to_be_saved; /* by core_writer: live_core_copy adds what only a core needs */
};

/* What is known before the target is stopped: mappings, modules, what it is. The image's tables live in `arena`. Errors:
 * there is no such process, it is a zombie or a kernel thread, of another architecture, traced by somebody else or, STOP_KIND_HELD, by nobody. */
const struct error *source_live_open(const struct live_options *options, struct arena *arena,
                                     struct diagnostics *diagnostics, struct live_source *ret_source,
                                     struct image *ret_image);
/* Stops it: all but the descriptors is known then. The image's memory is in `arena` and in the source, which it asks for
 * what was not copied: until it is closed, and where it lies now. `files` are the image's. Errors: attaching is not
 * permitted, or it has ended. */
const struct error *source_live_read(struct live_source *source, struct module_files *files, struct arena *arena,
                                     struct diagnostics *diagnostics, struct image *image);
/* After a rolling look, which reads what waits without a stop and so without most of its registers: stops the threads of
 * these ids after all, one after another, and takes the image anew. What was made of its threads and their memory is of
 * no use then. Errors as above. */
const struct error *source_live_stop_rest(struct live_source *source, const uint32_t *tids, size_t count,
                                          struct arena *arena, struct diagnostics *diagnostics, struct image *image);
/* The Go runtime that was found before the stop, NULL none. In `arena` of source_live_open. */
const struct go_runtime *source_live_go(const struct live_source *source);
/* What its descriptors are; of several looks only the last needs it. */
void source_live_read_descriptors(const struct live_source *source, struct arena *arena, struct diagnostics *diagnostics,
                                  struct image *image);
void source_live_close(struct live_source *source);

#endif
