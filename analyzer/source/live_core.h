/* SPDX-License-Identifier: Apache-2.0 */
/* Copies from a live process what a saved core must hold beyond what the own report needs: what gdb finds libraries by
 * (the main program's dynamic section, the loader's struct r_debug and its list), and the code and unwind tables of
 * deleted files, which nobody can open later. */
#ifndef SG_SOURCE_LIVE_CORE_H
#define SG_SOURCE_LIVE_CORE_H

#include "base/diagnostics.h"
#include "model/image.h"

/* Adds pages to the image's frozen memory. What cannot be read is left out: static programs have no list. */
void live_core_copy(struct image *image, int memory_fd, struct arena *arena, struct diagnostics *diagnostics);

#endif
