/* SPDX-License-Identifier: Apache-2.0 */
/* What a module's debug information tells beyond the module's own file: the separate debug file, DWARF, the symbol table
 * in .gnu_debugdata. Each is opened on first use and closed with the module's file. No network is asked. */
#ifndef SG_DEBUGINFO_DEBUG_SEARCH_H
#define SG_DEBUGINFO_DEBUG_SEARCH_H

#include "debuginfo/module_file.h"

/* The separate debug file, with .symtab and DWARF; NULL when there is none. Found by build-id in the folders of
 * debug_path, then by .gnu_debuglink beside the module's file, in .debug/ there, and in debug_path; below sysroot and
 * below the root of a live target of its own first.
 * Checked by its build-id, else by the link's CRC; what differs is refused with a diagnostic. Opening maps the file and
 * unpacks nothing. */
Elf *module_file_debug_elf(struct module_files *files, struct module_file *file);

/* The module's DWARF, its own or the separate file's, less where variables live; NULL when there is none. Unpacks
 * compressed sections: about 40 ms for glibc's. */
Dwarf *module_file_dwarf(struct module_files *files, struct module_file *file);

/* Whether the module's own file holds DWARF; opens nothing. */
bool module_file_has_dwarf(const struct module_file *file);

/* .debug_frame by libdw, the module's own or the separate file's; NULL when there is none. */
Dwarf_CFI *module_file_debug_frame(struct module_files *files, struct module_file *file);

/* The ELF image inside .gnu_debugdata (xz), NULL when there is none. */
Elf *module_file_mini_debug_elf(struct module_files *files, struct module_file *file);

#endif
