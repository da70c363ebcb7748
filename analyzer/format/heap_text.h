/* SPDX-License-Identifier: Apache-2.0 */
/* Go's heap profile as debug=1 text (runtime/pprof, writeHeapInternal): what is in use, and what was allocated in all,
 * by the place that allocated it.
 *
 *   heap profile: 718: 76326576 [829493: 1114177328] @ heap/1048576
 *   1: 75759616 [1: 75759616] @ 0x40f2f9 0x410dc9
 *   #<TAB>0x40f2f8<TAB>main.f+0x14d<TAB>/src/m.go:220
 *
 * Texts are runs of the input. Lines with frames are those of format/goroutine_text.h. */
#ifndef SG_FORMAT_HEAP_TEXT_H
#define SG_FORMAT_HEAP_TEXT_H

#include "format/goroutine_text.h"

struct heap_numbers {
    uint64_t objects, bytes;                     /* in use */
    uint64_t objects_allocated, bytes_allocated; /* since the program began */
};

enum heap_item_kind {
    HEAP_ITEM_END,
    HEAP_ITEM_HEADER,
    HEAP_ITEM_RECORD,
    HEAP_ITEM_FRAME,   /* of the record before */
    HEAP_ITEM_COMMENT, /* "# runtime.MemStats" and its values */
};

struct heap_item {
    enum heap_item_kind kind;
    size_t offset; /* of its line */
    struct heap_numbers numbers;
    struct text text; /* record: its addresses; header: what follows "@ "; comment: what follows "# " */
    struct profile_frame frame;
};

struct heap_text {
    struct text_lines lines;
    struct text_junk junk;
    bool in_profile;
};

bool heap_header_parse(struct text line, struct heap_numbers *ret_numbers, struct text *ret_kind);

void heap_text_init(struct heap_text *reader, struct text text);
void heap_text_next(struct heap_text *reader, struct heap_item *ret_item);

#endif
