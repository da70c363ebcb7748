/* SPDX-License-Identifier: Apache-2.0 */
/* The files of plugins/ as they were when the program was built (scripts/embed-plugins): rules without their examples,
 * and runbook pages. */
#ifndef SG_PLUGINS_BUILTIN_H
#define SG_PLUGINS_BUILTIN_H

#include <stddef.h>

struct plugin_builtin {
    const char *name;  /* "go.yaml", "pool-exhaustion.md" */
    const char *bytes; /* NUL-terminated */
    size_t length;
};

extern const struct plugin_builtin plugins_builtin[]; /* by name */
extern const size_t plugins_builtin_count;

#endif
