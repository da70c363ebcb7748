/* SPDX-License-Identifier: Apache-2.0 */
/* Phrases and walks that the text for files and the text for screens share: one fact, one wording. Everything written
 * here is safe for terminals and holds no line break, no tab and no colour. */
#ifndef SG_REPORT_REPORT_FACTS_H
#define SG_REPORT_REPORT_FACTS_H

#include "report/report.h"

enum {
    /* Ids shown of a group without --members. */
    report_members_shown = 16,
    /* Losses told before the groups; the others follow after them, so that the first screen holds the answer. */
    report_losses_in_head = 5,
    /* Classes of sockets told in the head. */
    report_sockets_shown = 6,
};

/* "thread", "goroutine", "allocation site". */
const char *member_noun(const struct snapshot *snapshot);

/* At most limit_name_bytes of the text, escaped, and "…" where it was cut: lines over 64 KiB kill pprof's reader. */
void report_write_text(struct text_writer *writer, struct text text);

/* "12.3 s", or "0.042 s" below ten seconds. */
void report_write_seconds(struct text_writer *writer, uint64_t microseconds);

/* "12.3 s", or "<= 12.3 s" when it is only a ceiling. */
void report_write_cpu(struct text_writer *writer, uint64_t microseconds, bool at_most);

/* "signal: SIGSEGV (11), SEGV_MAPERR, at address 0x0, thread 4711", "no fatal signal: written by gcore". */
void report_write_signal(struct text_writer *writer, const struct report_input *input);

/* "process: EXE, pid N, arguments: …"; the parts that are known. */
void report_write_process(struct text_writer *writer, const struct snapshot *snapshot);

/* "source: PATH (core, written by kernel)" */
/* "2026-11-21T15:59:59Z", from microseconds since 1970, in the buffer. */
enum { report_time_bytes = 32 };
struct text report_time_text(uint64_t microseconds, char buffer[report_time_bytes]);

void report_write_source(struct text_writer *writer, const struct snapshot *snapshot);

/* "threads: 1000 in 12 groups by line, 3 groups of 40 threads hidden by filters or limits" */
void report_write_totals(struct text_writer *writer, const struct report_input *input);

/* "descriptors: 214 of at most 1,024: 201 sockets, 3 files, 1 epoll set watching 200". Only when they are known. */
void report_write_descriptors(struct text_writer *writer, const struct descriptors *descriptors);

/* Moves on to the next class of sockets; the first at *index 0. NULL at the end. */
const struct descriptor_class *report_next_sockets(const struct descriptors *descriptors, size_t *index);

/* "sockets: 1,204 CLOSE_WAIT to 10.0.0.5:6379", "sockets: 200 CLOSE_WAIT on 10.0.0.4:80 from 10.0.0.7" */
void report_write_sockets(struct text_writer *writer, const struct descriptor_class *class);

/* "sockets: 34 more of 12 kinds"; false, and nothing written, when all were shown. */
bool report_write_sockets_more(struct text_writer *writer, const struct descriptors *descriptors);

/* "lost: SUBJECT: MESSAGE (N times) [CODE]" */
void report_write_diagnostic(struct text_writer *writer, const struct diagnostic *diagnostic);

/* "note: 7 further diagnostics were counted, not kept" */
void report_write_diagnostics_suppressed(struct text_writer *writer, const struct diagnostics *diagnostics);

/* Losses that do not stand in the head. */
size_t diagnostics_losses_later(const struct diagnostics *diagnostics);

/* "stats: 250000 frames, …" and "stats: open 0.001 s, …" */
void report_write_stats_counts(struct text_writer *writer, const struct report_stats *stats);
void report_write_stats_times(struct text_writer *writer, const struct report_stats *stats);

/* "moved: 3 of 40 in 5 samples over 4.000 s; 37 never moved"; for snapshots of several samples. */
void report_write_movement(struct text_writer *writer, const struct snapshot *snapshot, const struct group *group);

/* False when the group's states are not known. */
bool group_has_states(const struct report_input *input, const struct group *group);

/* "futex wait (40), read fd 7 (2: socket 10.0.0.4:80 -> 10.0.0.7:41234, CLOSE_WAIT, 0 bytes queued)", "read (200: sockets
 * on 10.0.0.4:80, CLOSE_WAIT, peers 10.0.0.7, 0 bytes queued)" */
void report_write_states(struct text_writer *writer, const struct report_input *input, const struct group *group);

/* "waiting: 2 to 3 minutes (23 of 32)"; of groups with waited_count. */
void report_write_waited(struct text_writer *writer, const struct group *group);

/* "stacks: 12, the most frequent is shown"; of groups whose stacks differ in more than lines. */
bool report_shows_variants(const struct report_input *input, const struct group *group);
void report_write_variants(struct text_writer *writer, const struct group *group);

/* "created by main.start (23), main.main (9)"; of groups with creator_count. */
void report_write_creators(struct text_writer *writer, const struct report_input *input, const struct group *group);

/* "12: 1024 [20: 2048]", as in Go's heap profiles: objects and bytes in use, and allocated in all. */
void report_write_heap_usage(struct text_writer *writer, const struct heap_usage *usage);

/* "4711: futex wait, cpu 12.3 s" */
void report_write_member(struct text_writer *writer, const struct snapshot *snapshot, const struct member *member);

/* "memory missing at 0x7f00" */
void report_write_end(struct text_writer *writer, const struct stack *stack);

/* Whether this diagnostic stands in the head; `index` is its place among those with weight. */
bool diagnostic_is_in_head(const struct diagnostics *diagnostics, size_t index);

/* How many of the group's members, which come first, have no id: a text may give numbers alone. */
uint32_t group_ids_first(const struct report_input *input, const struct group *group);

/* The member at a place of the group, 0 … count - 1. */
const struct member *group_member(const struct report_input *input, const struct group *group, uint32_t place);

/* One line of a stack: a call, real or inlined, or the place where the middle is left out. */
struct frame_line {
    uint64_t elided; /* how many lines are left out here; 0: this is a frame */
    const struct location *location;
    const struct frame *frame;
    enum frame_trust trust;
};

/* Walks the lines of a stack, leaf first. A value: copy it to look ahead. Of goroutines only those lines are shown that
 * Go shows (runtime/pprof, printStackRecord): not runtime.goexit, not the runtime's own calls at the leaf unless there is
 * nothing else. */
struct frame_cursor {
    const struct snapshot *snapshot;
    const struct stack *stack;
    bool shows_runtime; /* from here on */
    uint32_t step, frame; /* next one; frame counts within the step's location */
    uint64_t line;        /* of all lines of the stack */
    uint64_t elided_first, elided_count;
};

/* lines_max 0: all. */
struct frame_cursor frame_cursor_new(const struct snapshot *snapshot, const struct stack *stack, unsigned lines_max);
bool frame_cursor_next(struct frame_cursor *cursor, struct frame_line *ret_line);

/* Whether anything but the address can be said of the frame. */
bool frame_line_is_named(const struct frame_line *line);

/* "name", or "module" for code without a name; with offset: "name+0x1f". The offset counts from the function that holds
 * the code, for its inlined calls too, as in Go's profiles. */
void report_write_name(struct text_writer *writer, const struct snapshot *snapshot, const struct frame_line *line,
                       bool with_offset);

/* Whether a file or, of a named frame, a module can be told. */
bool frame_line_has_place(const struct frame_line *line);

/* "/src/a.c:12", or "(libc.so.6)" when the line is not known. Only for lines that have a place. */
void report_write_place(struct text_writer *writer, const struct snapshot *snapshot, const struct frame_line *line);

/* Frames that rest on registers and CFI; or, where a text was read, on its word as all of it does. */
static inline bool frame_trust_is_plain(enum frame_trust trust)
{
    return trust == TRUST_REGISTERS || trust == TRUST_CFI || trust == TRUST_TOLD;
}

#endif
