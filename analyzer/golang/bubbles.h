/* SPDX-License-Identifier: Apache-2.0 */
/* The bubbles of testing/synctest (Go 1.24 on), as headers of goroutines name them. */
#ifndef SG_GOLANG_BUBBLES_H
#define SG_GOLANG_BUBBLES_H

#include "golang/go_runtime.h"

/* The number that Go prints for the bubble at an address: its own, in 1.24 the id of the goroutine that runs it. 0: it is
 * none. A live target is asked. */
uint32_t go_bubble_number(const struct go_runtime *runtime, uint64_t address);

/* Whether Go counts one that waits so as blocked for good within its bubble (waitReason.isIdleInSynctest, 1.25). */
bool go_bubble_blocks(const struct go_runtime *runtime, struct text state);

#endif
