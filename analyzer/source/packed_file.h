/* SPDX-License-Identifier: Apache-2.0 */
/* Cores and dumps that were packed after they were written, as systemd-coredump and logrotate do: zstd, xz, lz4
 * (frames) and gzip, known by their first bytes. They are unpacked into a file without a name ($TMPDIR, else /var/tmp),
 * which is gone when it is closed; runs of zeros take no room in it, and the last of the disk's is left to others. */
#ifndef SG_SOURCE_PACKED_FILE_H
#define SG_SOURCE_PACKED_FILE_H

#include "base/diagnostics.h"
#include "base/error.h"
#include "base/file.h"

/* "zstd", "xz", "lz4", "gzip"; NULL: none of them. */
const char *packed_file_kind(const uint8_t *bytes, size_t size_bytes);

struct packed_progress {
    void (*tell)(void *context, const char *stage, uint64_t done, uint64_t total); /* NULL: nobody listens */
    void *context;
};

/* Unpacks the file at the path; fd is -1 when it is not packed. What a damaged or cut file still gives is kept, and the
 * loss is told. Errors: it gives nothing, or there is no place to unpack it to. The mapping is the caller's to release,
 * after an error too. */
const struct error *packed_file_unpack(const char *path, struct packed_progress progress, struct arena *arena,
                                       struct diagnostics *diagnostics, struct file_mapping *ret_mapping);

#endif
