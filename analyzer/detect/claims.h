/* SPDX-License-Identifier: Apache-2.0 */
/* Members that a finding has spoken of, so that a more general rule does not tell the same again as something else:
 * those who wait for a pool all stand in one place too. Kept for the detectors pool, channel and leak, which run in
 * this order.
 */
#ifndef SG_DETECT_CLAIMS_H
#define SG_DETECT_CLAIMS_H

#include "detect/detector.h"

void claims_add(struct detection *detection, uint32_t member);
bool claims_has(struct detection *detection, uint32_t member);

#endif
