/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the descriptors of a running process from /proc/PID/fd, fdinfo, limits, and the sockets' tables of its own
 * network namespace (/proc/PID/net). Nothing is stopped. Descriptors that vanish meanwhile are left out. */
#ifndef SG_SOURCE_PROC_DESCRIPTORS_H
#define SG_SOURCE_PROC_DESCRIPTORS_H

#include "base/diagnostics.h"
#include "model/descriptors.h"

/* `tid` is a thread of the process that has not ended. NULL, with a diagnostic, when they cannot be read. */
const struct descriptors *proc_descriptors_read(uint32_t tid, struct arena *arena, struct diagnostics *diagnostics);

#endif
