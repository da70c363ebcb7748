/* SPDX-License-Identifier: Apache-2.0 */
/* The files behind an image's modules: found, checked against what the target's memory holds, opened once and lazily.
 * Where no file can be used, the ELF image is rebuilt from memory when the core holds it (vdso, gcore with all
 * mappings). Opening what a core names is hostile: only regular files, never blocking; a file that differs from the
 * core is refused and named in a diagnostic. Not thread-safe; one per analysis. */
#ifndef SG_DEBUGINFO_MODULE_FILE_H
#define SG_DEBUGINFO_MODULE_FILE_H

#include "base/diagnostics.h"
#include "base/file.h"
#include "model/image.h"

#include <elfutils/libdw.h>
#include <libelf.h>

struct module_file_options {
    const char *exe;        /* the main module's file, NULL: as the core names it */
    const char *sysroot;    /* prefix tried first for every path the core names, NULL: none */
    const char *debug_path; /* ':'-separated folders of separate debug files, NULL: /usr/lib/debug */
};

enum module_file_state {
    MODULE_FILE_UNTRIED,
    MODULE_FILE_OPEN,    /* elf is usable */
    MODULE_FILE_MISSING, /* no file, and memory does not hold it */
};

struct module_file {
    enum module_file_state state;
    uint32_t module;
    const char *path;     /* of the file that was opened; NULL when rebuilt from memory */
    struct file_mapping mapping; /* fd -1 when rebuilt from memory */
    const uint8_t *bytes; /* the ELF file, mapped or rebuilt */
    size_t size_bytes;
    Elf *elf;
    uint64_t bias;     /* address = p_vaddr + bias */
    bool from_memory;
    bool verified;     /* compared equal with the core; false: nothing to compare */
    struct build_id build_id; /* the file's own */

    bool eh_frame_tried;
    Dwarf_CFI *eh_frame;

    /* Filled on first use by debug_search.c. */
    void (*release_debug)(struct module_file *file); /* closes what follows; NULL while nothing is open */
    bool debug_frame_tried, debug_tried, dwarf_tried;
    Dwarf_CFI *debug_frame;
    int debug_fd; /* valid with debug_elf */
    Elf *debug_elf;
    const char *debug_file_path;
    Elf *dwarf_elf; /* the file that the DWARF is in, opened again for libdw */
    Dwarf *dwarf;
    int alternate_fd; /* valid with alternate_elf: the file that dwz moved common entries to */
    Elf *alternate_elf;
    Dwarf *alternate_dwarf;
    bool mini_debug_tried;
    uint8_t *mini_debug_bytes;
    Elf *mini_debug_elf;
};

struct module_files;

struct module_files *module_files_new(struct image *image, const struct module_file_options *options,
                                      struct arena *arena, struct diagnostics *diagnostics);
/* Unmaps and closes everything that was opened. */
void module_files_close(struct module_files *files);

/* NULL when there is neither a usable file nor memory for it (said once as a diagnostic). Adds the file's read-only
 * segments to the image's memory where the core has nothing. */
struct module_file *module_files_open(struct module_files *files, uint32_t module);

/* The same when it was opened before; opens nothing. */
struct module_file *module_files_opened(struct module_files *files, uint32_t module);

/* GNU build-id of an ELF image; size_bytes 0 when it has none. */
struct build_id elf_build_id(Elf *elf);

/* .eh_frame by libdw; NULL when the module has none. */
Dwarf_CFI *module_file_eh_frame(struct module_file *file);

/* For debug_search.c. */
const struct module_file_options *module_files_options(const struct module_files *files);
const char *module_files_root(const struct module_files *files); /* image.root */
struct arena *module_files_arena(const struct module_files *files);
struct diagnostics *module_files_diagnostics(const struct module_files *files);
const struct module *module_files_module(const struct module_files *files, const struct module_file *file);

#endif
