/* SPDX-License-Identifier: Apache-2.0 */
/* Function names as text: what of a symbol's name tells the function, and what only this build or this file of it. */
#ifndef SG_BASE_NAME_H
#define SG_BASE_NAME_H

#include "base/text.h"

/* The part of a name that a rebuild keeps, as fingerprints hash it (formats.md, Fingerprint): without a symbol version
 * (`@VERSION`, `@@VERSION`), without what compilers append to parts and copies of a function (`.constprop.N`,
 * `.isra.N`, `.part.N`, `.cold`, the demangler's ` [clone …]`), without Rust's `::h` + 16 hex digits. `@plt` stays: a
 * stub is not the function. A run of the argument's bytes, never empty unless the argument is. */
struct text name_normalise(struct text name);

/* The length of a name without its symbol version; the whole length when it has none. */
size_t name_version_start(struct text name);

#endif
