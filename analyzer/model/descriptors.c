/* SPDX-License-Identifier: Apache-2.0 */
#include "model/descriptors.h"

const struct descriptor *descriptors_find(const struct descriptors *descriptors, int32_t fd)
{
    size_t low = 0, high = descriptors == NULL ? 0 : descriptors->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (descriptors->entries[middle].fd < fd)
            low = middle + 1;
        else
            high = middle;
    }
    if (descriptors == NULL || low == descriptors->count || descriptors->entries[low].fd != fd)
        return NULL;
    return &descriptors->entries[low];
}
