/* SPDX-License-Identifier: Apache-2.0 */
/* Opening files whose names come from a stranger: regular files only, never blocking, mapped read-only. */
#ifndef SG_BASE_FILE_H
#define SG_BASE_FILE_H

#include "base/worker.h"

#include <stddef.h>
#include <stdint.h>

struct file_mapping {
    int fd;               /* -1: not open */
    const uint8_t *bytes; /* NULL when the file is empty */
    size_t size_bytes;
};

/* Returns an fd, or -1 with errno set: EISDIR for a folder, EINVAL for what else is no regular file (a FIFO or a device
 * would hang or act). */
int file_open_regular(const char *path, uint64_t *ret_size_bytes);

/* 0, or the errno of what failed. */
int file_map(const char *path, struct file_mapping *ret_mapping);
/* Takes the descriptor, unless it fails. */
int file_map_descriptor(int fd, uint64_t size_bytes, struct file_mapping *ret_mapping);
void file_unmap(struct file_mapping *mapping);
/* Unmaps nothing, but gives back the pages that were touched, a half by the worker: of gigabytes that takes a tenth of a
 * second, which file_unmap is then spared. */
void file_drop_pages(const struct file_mapping *mapping, struct worker *worker);

#endif
