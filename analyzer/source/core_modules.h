/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the modules of an image from what its memory says: ELF headers at the start of named mappings, the vdso, and
 * without names the loader's own list. Opens no file. */
#ifndef SG_SOURCE_CORE_MODULES_H
#define SG_SOURCE_CORE_MODULES_H

#include "format/core_notes.h"
#include "model/image.h"

/* Fills image->modules (sorted, disjoint), mapping.module, entry and exe. `auxv` is the NT_AUXV note, NULL without one;
 * `names_known` says that the mappings carry the names of NT_FILE. */
void core_modules_find(struct image *image, struct arena *arena, const struct core_note *auxv, bool names_known);

#endif
