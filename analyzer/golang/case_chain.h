/* SPDX-License-Identifier: Apache-2.0 */
/* Follows the sudogs of one select, which waitlink links in a row: to its end, to limit_go_cases, or to where a damaged one
 * leads back to what came before. That is noticed after twice as many steps as the circle is away and long (Brent). */
#ifndef SG_GOLANG_CASE_CHAIN_H
#define SG_GOLANG_CASE_CHAIN_H

#include "base/limits.h"

#include <stdbool.h>

struct case_chain {
    uint64_t kept; /* one of those before */
    uint32_t steps;
};

/* Whether the sudog is one more of the chain, which begins as zeros. */
static inline bool case_chain_take(struct case_chain *chain, uint64_t sudog)
{
    if (sudog == 0 || sudog == chain->kept || chain->steps == limit_go_cases)
        return false;
    if ((chain->steps & (chain->steps + 1)) == 0)
        chain->kept = sudog;
    chain->steps++;
    return true;
}

#endif
