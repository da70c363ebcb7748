/* SPDX-License-Identifier: Apache-2.0 */
/* Losses that were lived with: each says what was lost, of what, how often, and what was done instead. Every report
 * prints them all. One (code, subject) pair is one entry with a count. */
#ifndef SG_BASE_DIAGNOSTICS_H
#define SG_BASE_DIAGNOSTICS_H

#include "base/arena.h"
#include "base/text.h"

#include <stdint.h>

/* How an entry bears on the exit code (formats.md): everyday losses leave it 0, lost threads make it 4. */
enum diagnostic_weight {
    DIAGNOSTIC_NOTE, /* worth knowing, nothing was lost */
    DIAGNOSTIC_LOSS, /* stacks or names are poorer for it; exit 4 only with --strict */
    DIAGNOSTIC_LOST, /* whole threads or groups are missing, or a limit ended the run: exit 4 */
};

struct diagnostic {
    const char *code;    /* stable, kebab-case: "module-missing" */
    const char *subject; /* path, address or "" */
    const char *message; /* of the first occurrence, one line */
    uint64_t count;
    enum diagnostic_weight weight;
};

struct diagnostics {
    struct arena *arena;
    struct diagnostic *entries; /* in order of first occurrence */
    size_t count, capacity;
    uint64_t suppressed; /* occurrences of kinds past limits.h's ceiling; the heaviest kinds are kept */
    struct diagnostic unkept; /* what diagnostics_add returns for those */
};

void diagnostics_init(struct diagnostics *diagnostics, struct arena *arena);

/* The entry, whose count may be raised; valid until the next call. */
struct diagnostic *diagnostics_add(struct diagnostics *diagnostics, enum diagnostic_weight weight, const char *code,
                                   struct text subject, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Adds what the other has, with its counts. */
void diagnostics_merge(struct diagnostics *diagnostics, const struct diagnostics *other);

#endif
