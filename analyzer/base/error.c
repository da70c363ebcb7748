/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct error *error_new(struct arena *arena, enum error_code code, const char *format, ...)
{
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    struct error *error = arena_new(arena, struct error);
    error->code = code;
    error->message = arena_printf(arena, "%s", line);
    return error;
}
