/* SPDX-License-Identifier: Apache-2.0 */
/* Detector `pool` for a caller who knows more of the pool than the stacks tell. */
#ifndef SG_DETECT_DETECT_POOLS_H
#define SG_DETECT_DETECT_POOLS_H

#include "detect/pool_callers.h"

/* Adds a finding for each pool that the rule's `acquire` names. `facts` may be NULL: names alone. */
void pools_find(struct detection *detection, const struct compiled_rule *rule, const struct pool_facts *facts);

#endif
