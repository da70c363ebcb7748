/* SPDX-License-Identifier: Apache-2.0 */
/* Copies from a live process what debuggers find its libraries by: the main program's dynamic section, the loader's
 * struct r_debug and its list. Own reports do not need it; gdb has no libraries without. */
#ifndef SG_SOURCE_LOADER_LIST_H
#define SG_SOURCE_LOADER_LIST_H

#include "model/image.h"

/* Adds the pages to the image's frozen memory; static programs and unreadable pages add none. */
void loader_list_copy(struct image *image, int memory_fd, struct arena *arena);

#endif
