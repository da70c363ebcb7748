/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number_sort.h"

#include <stdbool.h>
#include <string.h>

enum { digit_bits = 11, digits = 1 << digit_bits, few = 64 };

/* *ret_bits: those that not all keys have in common. */
static bool is_sorted(const struct numbered *items, size_t count, uint64_t *ret_bits)
{
    bool is_ascending = true;
    *ret_bits = 0;
    for (size_t i = 1; i < count; i++) {
        is_ascending &= items[i - 1].key <= items[i].key;
        *ret_bits |= items[i].key ^ items[0].key;
    }
    return is_ascending;
}

static void sort_few(struct numbered *items, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct numbered item = items[i];
        size_t at = i;
        for (; at > 0 && items[at - 1].key > item.key; at--)
            items[at] = items[at - 1];
        items[at] = item;
    }
}

/* By one digit, from one array to the other; false: all have the same. */
static bool sort_by_digit(const struct numbered *from, struct numbered *to, size_t count, unsigned shift)
{
    size_t places[digits] = {0};
    for (size_t i = 0; i < count; i++)
        places[from[i].key >> shift & (digits - 1)]++;
    if (places[from[0].key >> shift & (digits - 1)] == count)
        return false;
    size_t next = 0;
    for (size_t i = 0; i < digits; i++) {
        size_t of_digit = places[i];
        places[i] = next;
        next += of_digit;
    }
    for (size_t i = 0; i < count; i++)
        to[places[from[i].key >> shift & (digits - 1)]++] = from[i];
    return true;
}

void number_sort(struct numbered *items, size_t count, struct numbered *spare)
{
    uint64_t bits;
    if (is_sorted(items, count, &bits))
        return;
    if (count <= few) {
        sort_few(items, count);
        return;
    }
    struct numbered *from = items, *to = spare;
    /* Addresses have the lowest and the highest in common. */
    for (unsigned shift = (unsigned)__builtin_ctzll(bits); shift < 64 && bits >> shift != 0; shift += digit_bits) {
        if (!sort_by_digit(from, to, count, shift))
            continue;
        struct numbered *swap = from;
        from = to;
        to = swap;
    }
    if (from != items)
        memcpy(items, from, count * sizeof *items);
}
