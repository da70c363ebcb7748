/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of stopped threads as a debugger hands them over, a thread a line, names as gdb's and lldb's:
 *
 *   4711 rip=0x7f2c8a1b2c3d rsp=0x7ffd00112233 orig_rax=0xca …
 *
 * Lines that begin with '#' and empty ones are passed over. */
#ifndef SG_FORMAT_REGISTER_TEXT_H
#define SG_FORMAT_REGISTER_TEXT_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

struct register_line {
    uint32_t tid;
    struct text fields; /* for register_field_next */
};

enum register_text_result { REGISTER_TEXT_END, REGISTER_TEXT_LINE, REGISTER_TEXT_GARBAGE };

/* Takes the next line off `rest`; *line_number counts those taken, from 0 before the first. */
enum register_text_result register_line_next(struct text *rest, uint32_t *line_number, struct register_line *ret_line);

/* Takes the next register off the fields. False at their end, and at what is no "NAME=0xVALUE": some are left then. */
bool register_field_next(struct text *fields, struct text *ret_name, uint64_t *ret_value);

#endif
