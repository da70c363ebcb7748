/* SPDX-License-Identifier: Apache-2.0 */
/* Thread by thread: what gdb, eu-stack, systemd, the JVM and py-spy print of stacks, into the snapshot under
 * construction, with what they tell of locks. */
#ifndef SG_SOURCE_TEXT_STACKS_H
#define SG_SOURCE_TEXT_STACKS_H

#include "source/text_build.h"

void text_stacks_read(struct text_build *build, struct text text);

#endif
