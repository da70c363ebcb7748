/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the process that unwind_libunwind.c forks: libunwind with accessors over our image. It may crash or
 * hang; it answers thread by thread, so that what it did before stays. */
#ifndef SG_UNWIND_LIBUNWIND_CHILD_H
#define SG_UNWIND_LIBUNWIND_CHILD_H

#include "unwind/unwind_libunwind.h"

/* One answer on the pipe: u32 count of frames, u32 whether the stack ended outermost; then per frame u64 pc and u8
 * exact. Answers come in the order of the threads asked for. */
enum { libunwind_answer_frame_bytes = 9 };

/* Exit status of a child that could not begin. */
enum { libunwind_child_not_ready = 3 };

/* Answers for the threads of image->threads[thread_indices[0 … count)] on the pipe and exits. `arena` is the caller's:
 * none of its owners is returned to, so that a full one ends the child. */
void libunwind_child_run(const struct image *image, struct module_files *files, const uint32_t *thread_indices,
                         size_t count, struct arena *arena, struct diagnostics *diagnostics, int result_fd)
    __attribute__((noreturn));

#endif
