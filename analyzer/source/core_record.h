/* SPDX-License-Identifier: Apache-2.0 */
/* What systemd-coredump wrote down beside a core: extended attributes of its file (user.coredump.*), and an entry of the
 * journal (COREDUMP_* fields, systemd.journal-fields(7); systemd's src/coredump/coredump.c). A core says neither when nor
 * where the program ended, nor which service it was. */
#ifndef SG_SOURCE_CORE_RECORD_H
#define SG_SOURCE_CORE_RECORD_H

#include "base/diagnostics.h"
#include "base/text.h"

#include <stdint.h>

struct core_record {
    uint64_t microseconds; /* when it ended, since 1970; 0 unknown, as all others */
    uint32_t pid;
    int32_t signal;
    struct text exe, command, unit, host;
};

/* Asks the journal only of cores that systemd-coredump kept (by attribute, folder, or coredumpctl's name for a copy), or
 * when `journal` names a folder of journals, which is noted where it tells nothing. `pid` is the core's own. Strings live
 * in the arena. */
void core_record_read(const char *path, const char *journal, uint32_t pid, struct arena *arena,
                      struct diagnostics *diagnostics, struct core_record *ret_record);

#endif
