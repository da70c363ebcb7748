/* SPDX-License-Identifier: Apache-2.0 */
/* Symbol names as their authors wrote them: C++ (Itanium ABI, with parameters) and Rust (legacy and v0, without the
 * hash), by libiberty. Names come from hostile files: time, memory and recursion are bounded. */
#ifndef SG_SYMBOL_DEMANGLE_H
#define SG_SYMBOL_DEMANGLE_H

#include "base/limits.h"
#include "base/text.h"

enum { demangle_buffer_bytes = limit_name_bytes + 1 };

/* The demangled name in the buffer of demangle_buffer_bytes, with a NUL behind it; or the argument itself when it is
 * not mangled or cannot be read. What follows an '@' ("@@GLIBCXX_3.4", "@plt") stays behind the name. What would be
 * longer than limit_name_bytes is cut there and ends in "...". */
struct text demangle(struct text name, char *buffer);

#endif
