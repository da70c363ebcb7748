/* SPDX-License-Identifier: Apache-2.0 */
#include "detect/claims.h"

/* By member; made at the first claim. */
static bool **claims_of(struct detection *detection)
{
    return (bool **)detection_slot(detection, RULE_LEAK);
}

void claims_add(struct detection *detection, uint32_t member)
{
    bool **claims = claims_of(detection);
    if (*claims == NULL)
        *claims = arena_array(detection_scratch(detection), bool, detection_snapshot(detection)->member_count);
    (*claims)[member] = true;
}

bool claims_has(struct detection *detection, uint32_t member)
{
    const bool *claims = *claims_of(detection);
    return claims != NULL && claims[member];
}
