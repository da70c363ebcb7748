/* SPDX-License-Identifier: Apache-2.0 */
/* Profiles of counts (debug=1, Go's and stackgroup's own) and heap profiles into the snapshot under construction. */
#ifndef SG_SOURCE_TEXT_PROFILE_H
#define SG_SOURCE_TEXT_PROFILE_H

#include "source/text_build.h"

void text_profile_read(struct text_build *build, struct text text);
void text_heap_read(struct text_build *build, struct text text);

#endif
