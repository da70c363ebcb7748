/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the Go modules of an image: programs, libraries with a runtime of their own (c-shared), plugins, each with its
 * pclntab and moduledata, which are what the runtime itself works with: symbols and debug info are not needed. Each find is
 * checked before it is believed. */
#ifndef SG_GOLANG_GO_MODULES_H
#define SG_GOLANG_GO_MODULES_H

#include "debuginfo/module_file.h"
#include "format/go_layouts.h"
#include "format/pclntab.h"

struct go_range {
    uint64_t start, end;
};

struct go_module {
    uint32_t module;     /* into image.modules */
    uint64_t moduledata; /* address */
    struct pclntab table;
    struct go_range text;
    struct go_range data[4]; /* noptrdata, data, bss, noptrbss */
    uint64_t types;
};

struct go_modules {
    const struct image *image;
    struct module_files *files;
    struct arena *arena;
    struct go_module *items;
    size_t count, capacity;
    uint64_t copy_bytes_left; /* of tables that do not lie in one piece */
    size_t headers_left;      /* what looks like a pclntab's start and is to be tried */
};

/* Opens the files of modules that may be Go's: the program, and those with a note of Go's linker. */
void go_modules_open(const struct image *image, struct module_files *files);
/* Whether the file of a module that is open may be Go's: by its sections, or it has none. */
bool go_module_is_likely(struct module_files *files, uint32_t module);
/* By the note of Go's linker, in the target's memory: its file need not be open, or there. */
bool go_module_has_note(const struct image *image, uint32_t module);
/* By its sections alone: Go's linker leaves some that nothing else has. */
bool go_module_has_sections(struct module_files *files, uint32_t module);

/* Looks at modules whose files are open. A running target is asked for what is not copied: for a look before it is
 * stopped. */
struct go_modules go_modules_find(const struct image *image, struct module_files *files, struct arena *arena);

/* Reads a module by the layout of a release; false when it is none by that, which leaves it as it is. Of a release that is
 * not known yet what can be found otherwise is; where inlined calls are told of may stay unknown (function_data 0). */
bool go_module_read_again(struct go_modules *modules, struct go_module *module, unsigned minor);

/* The address of a section of a module's file, 0 when it has none of that name. */
uint64_t go_modules_section(const struct go_modules *modules, uint32_t module, const char *name);
bool go_modules_read_u64(const struct go_modules *modules, uint64_t address, uint64_t *ret_value);

#endif
