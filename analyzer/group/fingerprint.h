/* SPDX-License-Identifier: Apache-2.0 */
/* A name for a stack that survives rebuilds and is the same from every kind of input: the first 16 hex digits of
 * SHA-256 over the normalised function names, leaf first, joined by newlines. Before hashing, inlined frames and the C
 * library's wait machinery at the leaf are dropped (if nothing would remain, the machinery stays); names lose what a
 * rebuild changes (base/name.h); a frame without a name counts as module+0xoff.
 *
 * Goroutines: which frames of the runtime show depends on who printed them, so all of them are dropped (package runtime,
 * internal/runtime, panic, what the compiler generated); inlined calls stay, as every form of Go's dumps shows them;
 * type arguments count as "[...]". If nothing would remain, all but runtime.goexit stays. */
#ifndef SG_GROUP_FINGERPRINT_H
#define SG_GROUP_FINGERPRINT_H

#include "model/snapshot.h"

void fingerprint_stack(const struct snapshot *snapshot, const struct stack *stack, char ret_digits[static 17]);

#endif
