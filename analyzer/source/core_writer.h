/* SPDX-License-Identifier: Apache-2.0 */
/* Writes an image of a live process as a small ELF core that this program, gdb and eu-stack open later: notes, copied
 * stacks, ELF headers of modules, the vdso and the loader's list. All else that was mapped is in it as segments without
 * bytes, whose files a reader maps. Written front to back, so that a pipe will do. */
#ifndef SG_SOURCE_CORE_WRITER_H
#define SG_SOURCE_CORE_WRITER_H

#include "model/image.h"

/* Returns 0 or the errno of the first failed write. Tables are made in `scratch`. */
int core_writer_write(const struct image *image, int fd, struct arena *scratch);

#endif
