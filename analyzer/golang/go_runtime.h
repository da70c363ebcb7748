/* SPDX-License-Identifier: Apache-2.0 */
/* The Go runtimes of an image: version, the array of all goroutines, wait reasons. A program has one; a process has more
 * where a library was built with its own (-buildmode=c-shared). Reads the target's memory alone; each find is checked
 * before it is believed. */
#ifndef SG_GOLANG_GO_RUNTIME_H
#define SG_GOLANG_GO_RUNTIME_H

#include "golang/go_modules.h"

struct go_runtime {
    const struct image *image;
    struct text version; /* "go1.19.8", as the program says it */
    unsigned minor;      /* 19 */
    struct go_layout layout;
    struct go_module *modules; /* of all runtimes, as code of one calls into another; its own, with its variables, first */
    size_t module_count;
    uint64_t goroutines_slice; /* address of runtime.allgs */
    uint64_t goroutines;       /* address of the array of pointers to g */
    uint64_t goroutine_count;  /* slots of it */
    uint64_t semaphores;       /* address of runtime.semtable, 0: semaphores.c is to find it */
    struct text *reasons;      /* wait reasons, as the program has them */
    size_t reason_count;       /* 0: not found, the release's own table answers */
    struct go_runtime *next;   /* another one of this process, NULL: no more */
};

/* False when the image is no Go program; true also when only parts of it could be read, which `diagnostics` tells. Looks
 * at modules whose files are open (go_modules_open). A running target is asked for what is not copied: for a look before
 * it is stopped. */
bool go_runtime_find(const struct image *image, struct module_files *files, struct arena *arena,
                     struct diagnostics *diagnostics, struct go_runtime *ret_runtime);

/* The function that holds a pc, in any of the modules; NULL: no Go code. */
const struct pclntab *go_runtime_find_function(const struct go_runtime *runtime, uint64_t pc,
                                               struct pclntab_function *ret_function);

/* Whether a variable of the program's or the runtime's lies there. */
bool go_runtime_has_variable(const struct go_runtime *runtime, uint64_t address);

/* "chan receive"; "" for a number that is none. */
struct text go_runtime_wait_reason(const struct go_runtime *runtime, uint8_t reason);

#endif
