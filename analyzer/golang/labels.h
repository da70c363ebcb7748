/* SPDX-License-Identifier: Apache-2.0 */
/* The labels that runtime/pprof.Do gives to goroutines: what a g points to is a map of strings up to Go 1.23, a slice of
 * pairs from 1.24 on (runtime/pprof, labelMap). Programs store other things in that word too: what does not look like
 * labels is none. */
#ifndef SG_GOLANG_LABELS_H
#define SG_GOLANG_LABELS_H

#include "base/intern_table.h"
#include "base/text_writer.h"
#include "golang/go_runtime.h"

enum { go_labels_cache_slots = 256 };

/* A goroutine inherits the labels of the one that starts it: many point to the same. */
struct go_labels_reader {
    const struct go_runtime *runtime;
    struct intern_table *strings;
    uint64_t bytes_left; /* of limit_labels_bytes; 0: it was reached, and goroutines after that have no labels */
    char *text;          /* limit_label_bytes */
    struct go_label {
        size_t start, length; /* of "k":"v" in `pairs` */
    } *labels;                /* limit_labels */
    size_t count, expected;
    struct text_writer pairs, sorted;
    struct {
        uint64_t address;
        uint32_t string;
    } cache[go_labels_cache_slots];
};

struct go_labels_reader go_labels_reader_new(const struct go_runtime *runtime, struct intern_table *strings,
                                             struct arena *scratch);
void go_labels_reader_close(struct go_labels_reader *reader);

/* {"k":"v", "k2":"v 2"} as Go's own profile prints them, sorted and quoted: a string of the table. 0: no labels; `address`
 * is the goroutine's word, and may be 0. */
uint32_t go_labels_read(struct go_labels_reader *reader, uint64_t address);

#endif
