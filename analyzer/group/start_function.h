/* SPDX-License-Identifier: Apache-2.0 */
/* The function that a thread or goroutine began with: what was passed to pthread_create, or stands behind a go statement. */
#ifndef SG_GROUP_START_FUNCTION_H
#define SG_GROUP_START_FUNCTION_H

#include "model/snapshot.h"

/* A string; 0: the stack ends before it, or it has no name. */
uint32_t start_function(const struct snapshot *snapshot, const struct stack *stack);

#endif
