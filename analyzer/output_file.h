/* SPDX-License-Identifier: Apache-2.0 */
/* A file that appears whole or not at all: written beside its path under another name and renamed at the end. A device
 * or a pipe is written to as it stands. */
#ifndef SG_OUTPUT_FILE_H
#define SG_OUTPUT_FILE_H

#include <stdbool.h>
#include <stddef.h>

struct output_file {
    const char *path; /* as given; NULL: standard output */
    int fd;
    char *temporary; /* its name until it is whole, one of a few static ones; NULL: none */
};

/* `mode` is what open(2) would take, cut by the umask. Returns 0 or the errno of what failed. */
int output_file_open(struct output_file *file, const char *path, unsigned mode);

/* Puts the finished file in its place, or removes it. Returns 0 or an errno; the old file stays then. */
int output_file_close(struct output_file *file, bool good);

/* Removes what is not whole yet; for signal handlers. */
void output_file_remove_all(void);

#endif
