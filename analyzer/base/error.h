/* SPDX-License-Identifier: Apache-2.0 */
/* Why a call could not do its work: what was being done, to what, where. NULL means success. Errors live in an arena;
 * they are made where the place is known and passed up unchanged. */
#ifndef SG_BASE_ERROR_H
#define SG_BASE_ERROR_H

#include "base/arena.h"

#include <stdint.h>

enum error_code {
    ERROR_UNKNOWN,
    ERROR_USAGE,   /* the caller's arguments contradict each other */
    ERROR_OPEN,    /* the OS refused a file; the message ends in its reason */
    ERROR_FORMAT,  /* the input is not what it should be; the message says what was expected, and the offset */
    ERROR_SUPPORT, /* well-formed, but of a kind that is not read (another architecture …) */
    ERROR_LIMIT,   /* a ceiling of limits.h was reached */
    ERROR_WRITE,   /* the output could not be written */
};

struct error {
    enum error_code code;
    const char *message; /* one line, "PATH: …", no newline at its end */
};

const struct error *error_new(struct arena *arena, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
