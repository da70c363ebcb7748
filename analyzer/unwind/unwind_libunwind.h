/* SPDX-License-Identifier: Apache-2.0 */
/* The second, independent unwinder: libunwind-coredump over our memory, in a child process, because it can crash or
 * hang on bad files. It opens no file by itself: it is given a core of NT_PRSTATUS notes only, and memory and unwind
 * tables through replaced accessors (formats.md: libunwind-coredump 1.6.2 as found). */
#ifndef SG_UNWIND_UNWIND_LIBUNWIND_H
#define SG_UNWIND_UNWIND_LIBUNWIND_H

#include "base/diagnostics.h"
#include "debuginfo/module_file.h"

struct libunwind_frame {
    uint64_t pc;
    bool exact; /* the leaf, or a frame that a signal interrupted */
};

struct libunwind_stack {
    struct libunwind_frame *frames; /* leaf first */
    size_t frame_count;
    bool outermost; /* unw_step said that there is no caller; false: it failed, or a limit was reached */
    bool done;      /* false: the child ended before this thread's turn */
};

/* Whether the libunwind at hand knows the architecture: there is one for each, and it is that of this machine. */
bool unwind_libunwind_knows(const struct arch *arch);

/* Unwinds the threads of image->threads[thread_indices[0 … count)]; ret_stacks has `count` elements. Frames live in
 * `arena`. False when the child could not be run at all; a child that crashed or ran out of time leaves the rest with
 * done = false and a diagnostic that says so. */
bool unwind_libunwind_run(const struct image *image, struct module_files *files, const uint32_t *thread_indices,
                          size_t count, struct arena *arena, struct diagnostics *diagnostics,
                          struct libunwind_stack *ret_stacks);

#endif
