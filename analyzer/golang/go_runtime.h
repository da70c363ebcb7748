/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the Go runtime in an image: its modules with their pclntabs, its version, the array of all goroutines. Symbols
 * and debug info are not needed: pclntab and moduledata are what the runtime itself works with. Reads the target's
 * memory alone; each find is checked before it is believed. */
#ifndef SG_GOLANG_GO_RUNTIME_H
#define SG_GOLANG_GO_RUNTIME_H

#include "debuginfo/module_file.h"
#include "format/go_layouts.h"
#include "format/pclntab.h"

struct go_range {
    uint64_t start, end;
};

/* One Go module: the program, or a shared object that holds a runtime of its own. */
struct go_module {
    uint32_t module;     /* into image.modules */
    uint64_t moduledata; /* address */
    struct pclntab table;
    struct go_range text;
    struct go_range data[4]; /* noptrdata, data, bss, noptrbss */
    uint64_t types;
};

struct go_runtime {
    const struct image *image;
    struct text version; /* "go1.19.8", as the program says it */
    unsigned minor;      /* 19 */
    struct go_layout layout;
    struct go_module *modules; /* the one with the runtime's variables first */
    size_t module_count;
    uint64_t goroutines_slice; /* address of runtime.allgs */
    uint64_t goroutines;       /* address of the array of pointers to g */
    uint64_t goroutine_count;  /* slots of it */
    uint64_t semaphores;       /* address of runtime.semtable, 0: semaphores.c is to find it */
    struct text *reasons;      /* wait reasons, as the program has them */
    size_t reason_count;       /* 0: not found, the release's own table answers */
};

/* Whether the file of a module that is open may be a Go program's: by its sections, or it has none. */
bool go_runtime_is_likely(struct module_files *files, uint32_t module);

/* False when the image is no Go program; true also when only parts of it could be read, which `diagnostics` tells. Looks
 * at modules whose files are open already: a runtime's threads have been unwound through it. A running target is asked
 * for what is not copied: for a look before it is stopped. */
bool go_runtime_find(const struct image *image, struct module_files *files, struct arena *arena,
                     struct diagnostics *diagnostics, struct go_runtime *ret_runtime);

/* The function that holds a pc, in any of the modules; NULL: no Go code. */
const struct pclntab *go_runtime_find_function(const struct go_runtime *runtime, uint64_t pc,
                                               struct pclntab_function *ret_function);

/* "chan receive"; "" for a number that is none. */
struct text go_runtime_wait_reason(const struct go_runtime *runtime, uint8_t reason);

#endif
