/* SPDX-License-Identifier: Apache-2.0 */
#include "base/word.h"

size_t word_distance(struct text a, struct text b, size_t max)
{
    enum { length_max = 48 };
    size_t rows[3][length_max + 1];
    if (a.length > length_max || b.length > length_max)
        return max;
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b.length; j++)
        last[j] = j;
    for (size_t i = 1; i <= a.length; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b.length; j++) {
            size_t best = last[j - 1] + (a.data[i - 1] != b.data[j - 1]);
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            best = last[j] + 1 < best ? last[j] + 1 : best;
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] && a.data[i - 2] == b.data[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        size_t *spare = before;
        before = last, last = row, row = spare;
    }
    return last[b.length] < max ? last[b.length] : max;
}
