/* SPDX-License-Identifier: Apache-2.0 */
/* Goroutine dumps as Go prints them, in two forms, read line by line; nothing is copied, texts are runs of the input.
 *
 * debug=1 (runtime/pprof, printCountProfile and printStackRecord): "goroutine profile: total 9", then groups:
 *
 *   5 @ 0x437556 0x40619b 0x461121
 *   # labels: {"req":"x y"}
 *   #<TAB>0x4b4b7a<TAB>main.blocked+0x1a<TAB>/src/m.go:4
 *
 * The same grammar serves other profiles of counts ("thread profile: total 5", which stackgroup itself writes) and,
 * with other heads, heap profiles (format/heap_text.h).
 *
 * debug=2, SIGQUIT, panics and fatal errors (runtime, goroutineheader, gentraceback and traceback2, printcreatedby),
 * from Go 1.0 to 1.27:
 *
 *   goroutine 18 gp=0xc000007c00 m=4 mp=0xc000100008 [chan receive, 11 minutes, locked to thread] {k: v}:
 *   main.(*T).m(0xc000044720, {0x2, ...}, 0x3?)
 *   <TAB>/src/m.go:12 +0x1f fp=0xc000052f40 sp=0xc000052ed0 pc=0x4b4b7a
 *   main.inlined(...)
 *   <TAB>/src/m.go:8
 *   created by main.start in goroutine 1
 *   <TAB>/src/m.go:3 +0x1d
 *
 * What is neither is passed over and counted. */
#ifndef SG_FORMAT_GOROUTINE_TEXT_H
#define SG_FORMAT_GOROUTINE_TEXT_H

#include "base/text.h"

#include <stdint.h>

/* Lines of a text, without their "\n" or "\r\n". */
struct text_lines {
    const char *bytes;
    size_t length, position; /* of the next line */
};

bool text_lines_next(struct text_lines *lines, struct text *ret_line);

/* Lines that were passed over. */
struct text_junk {
    uint64_t lines;
    size_t first_offset; /* of the first of them; valid when there is any */
};

/* "0x1f" and "12" at the start of a text, which is moved past them. False: there is none, or it does not fit 64 bits.
 */
bool text_take_hex(struct text *text, uint64_t *ret_value);
bool text_take_decimal(struct text *text, uint64_t *ret_value);
bool text_take_prefix(struct text *text, struct text prefix);

/* One "#\t" line. */
struct profile_frame {
    uint64_t address;     /* as printed: inside the call instruction */
    struct text function; /* "" not told */
    uint64_t offset;      /* from the function's start; valid with a function and has_offset */
    bool has_offset;
    struct text place; /* file or "(module)", "" not told */
    uint32_t line;     /* 0 none */
    bool has_line;
};

bool profile_frame_parse(struct text line, struct profile_frame *ret_frame);

/* The next of "0x437556 0x40619b", separated by spaces. False at the end; what is left then is "", or malformed. */
bool profile_address_next(struct text *addresses, uint64_t *ret_address);

/* "goroutine profile: total 9": the word before " profile" and the number. */
bool profile_header_parse(struct text line, struct text *ret_word, uint64_t *ret_total);

enum profile_item_kind {
    PROFILE_ITEM_END,
    PROFILE_ITEM_HEADER,
    PROFILE_ITEM_GROUP,
    PROFILE_ITEM_FRAME,   /* of the group before */
    PROFILE_ITEM_LABELS,  /* of the group before */
    PROFILE_ITEM_COMMENT, /* any other "# " line */
    PROFILE_ITEM_SECTION, /* "--- …": what follows is no group of this profile */
};

struct profile_item {
    enum profile_item_kind kind;
    size_t offset;    /* of its line */
    struct text text; /* header: its word; group: its addresses, well-formed, at least one; labels: "{…}"; comment:
                         what follows "# "; section: the line */
    uint64_t count;   /* header: the total; group: its count */
    struct profile_frame frame;
};

struct profile_text {
    struct text_lines lines;
    struct text_junk junk;
    bool in_profile; /* a header was seen */
};

void profile_text_init(struct profile_text *reader, struct text text);
void profile_text_next(struct profile_text *reader, struct profile_item *ret_item);

/* The first line of a goroutine. */
struct goroutine_header {
    uint64_t id;
    struct text status; /* "chan receive", "select (no cases)": without what is told apart below */
    uint64_t minutes;   /* it waits for; 0: under one, or not known */
    struct text labels; /* "{k: v, k2: \"v 2\"}", "" none */
    bool locked_to_thread, leaked;
};

bool goroutine_header_parse(struct text line, struct goroutine_header *ret_header);

enum goroutine_item_kind {
    GOROUTINE_ITEM_END,
    GOROUTINE_ITEM_GOROUTINE,
    GOROUTINE_ITEM_CALL,        /* leaf first */
    GOROUTINE_ITEM_CREATED,     /* `function` by goroutine `count`, 0 not told */
    GOROUTINE_ITEM_ELIDED,      /* `count` frames are left out here, 0: it is not told how many */
    GOROUTINE_ITEM_UNAVAILABLE, /* it runs on another thread: the dump has no stack of it */
    GOROUTINE_ITEM_CAUSE, /* before the goroutines: "panic: …", "fatal error: …", "SIGQUIT: …", "[signal …" */
};

struct goroutine_item {
    enum goroutine_item_kind kind;
    size_t offset; /* of its line */
    struct goroutine_header header;
    struct text function;  /* "main.(*T).m" */
    struct text arguments; /* "0xc000044720, {0x2, ...}, 0x3?", "..." of inlined calls */
    struct text place;     /* "/src/m.go:12 +0x1f", for goroutine_place_parse; "" not told */
    uint64_t pc;           /* valid when has_pc */
    bool has_pc;
    uint64_t count;
    struct text text; /* of causes: the line */
};

struct goroutine_text {
    struct text_lines lines;
    struct text_junk junk;
    size_t prefix_bytes; /* that a logger wrote before each line, as the last goroutine's first line had it */
    uint64_t goroutines;
    bool in_goroutine;
    bool is_cut; /* at the end: the text breaks off within a goroutine */
};

void goroutine_text_init(struct goroutine_text *reader, struct text text);
void goroutine_text_next(struct goroutine_text *reader, struct goroutine_item *ret_item);

struct goroutine_place {
    struct text file;
    uint32_t line;
    uint64_t offset; /* of the return address from the function's start; valid when has_offset */
    bool has_offset; /* inlined calls have none */
};

bool goroutine_place_parse(struct text place, struct goroutine_place *ret_place);

/* The next argument of a call's list, flattened: braces are passed over. False at the end and at "...".
 * is_uncertain: "0x3?", the register that held it may have been used for something else since (Go 1.18). "_" (not told)
 * counts as uncertain 0. */
bool goroutine_argument_next(struct text *arguments, uint64_t *ret_value, bool *ret_is_uncertain);

/* The next of "{k: v, k2: \"v 2\"}" or of debug=1's {"k":"v"}. Values that were quoted are still escaped. The text
 * given first is the whole of it. False at the end. */
bool goroutine_label_next(struct text *labels, struct text *ret_key, struct text *ret_value);

#endif
