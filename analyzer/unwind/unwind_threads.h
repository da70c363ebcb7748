/* SPDX-License-Identifier: Apache-2.0 */
/* Unwinds every thread by the unwinders that were asked for, and lets the second unwinder complete or check the first:
 * a stack that ends early is shown to libunwind once per distinct end, and its extra frames are taken only when they
 * extend the own prefix, each return address follows a call, and the stack ends outermost (formats.md). */
#ifndef SG_UNWIND_UNWIND_THREADS_H
#define SG_UNWIND_UNWIND_THREADS_H

#include "unwind/walk.h"

enum unwinder_choice {
    UNWINDER_AUTO,      /* own walker; libunwind where a stack ends early */
    UNWINDER_DWARF,     /* own walker alone */
    UNWINDER_LIBUNWIND, /* libunwind alone */
};

struct unwind_options {
    enum unwinder_choice unwinder;
    bool cross_check; /* compare both on every thread; differences are diagnostics */
    /* Called now and then; may be NULL. */
    void (*progress)(void *context, const char *stage, uint64_t done, uint64_t total);
    void *progress_context;
};

/* Returns, per thread of the image, the number of its stack in the walker's trie. */
uint32_t *unwind_threads(const struct image *image, struct module_files *files, struct walker *walker,
                         const struct unwind_options *options, struct arena *arena, struct arena *scratch,
                         struct diagnostics *diagnostics);

/* The ids of threads whose registers are not all known and whose stacks end early, as those may for want of one. */
uint32_t *unwind_threads_in_want(const struct image *image, struct walker *walker, const uint32_t *stacks,
                                 struct arena *arena, size_t *ret_count);

#endif
