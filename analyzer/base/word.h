/* SPDX-License-Identifier: Apache-2.0 */
/* How far a mistyped word is from one that was meant. */
#ifndef SG_BASE_WORD_H
#define SG_BASE_WORD_H

#include "base/text.h"

/* Letters inserted, left out or changed, and neighbours exchanged, between two words; `max` when more, or when a word has
 * more letters than are compared (48). */
size_t word_distance(struct text a, struct text b, size_t max);

#endif
