/* SPDX-License-Identifier: Apache-2.0 */
/* Words that evidence is written in, and sums over the members that it speaks of. */
#ifndef SG_DETECT_WORDING_H
#define SG_DETECT_WORDING_H

#include "detect/detector.h"

/* "is" or "are", "waits" or "wait" … */
static inline const char *for_count(uint64_t count, const char *one, const char *several)
{
    return count == 1 ? one : several;
}

/* Members that shares are of: those that the source speaks of, also where it shows fewer. */
uint64_t snapshot_population(const struct snapshot *snapshot);
/* "82.6 %" */
const char *share_text(struct arena *arena, uint64_t part, uint64_t whole);

/* "foo/tool.MessageShopDel at redis.go:424"; without the place where it is not known. NUL-terminated. */
const char *frame_place(const struct snapshot *snapshot, struct stack_frame frame, struct arena *arena);

/* Things counted by their text: "816,132 in a at b.go:1; 3 in c …". */
struct tally_row {
    struct text text;
    uint64_t count;
};

struct tally {
    struct detection *detection;
    struct tally_row *rows;
    size_t count, capacity;
    struct intern_table texts; /* numbers are rows, [0] is "" */
};

void tally_init(struct tally *tally, struct detection *detection);
void tally_add(struct tally *tally, struct text text, uint64_t count);
/* The rows with the highest counts, then by text; sorts them. `before` stands between count and text. */
const char *tally_text(struct tally *tally, const char *before);

/* The innermost function of a stack outside the waiting machinery whose name is known. False: there is none. */
bool stack_place(struct detection *detection, uint32_t stack, struct stack_frame *ret_frame);
/* The function that a thread or goroutine began with, past what the runtime and libc put below it. False: none known.
 */
bool stack_start(struct detection *detection, uint32_t stack, struct stack_frame *ret_frame);
/* Of threads and goroutines alike: their first frames. */
bool function_starts_members(struct text name);

/* How long they wait, in what states, who made them: for members that are added one by one. */
enum { circumstances_creators = 64 };

struct circumstances {
    struct detection *detection;
    struct tally states, creators;
    /* Texts of the places that start goroutines, by their locations: there are few of them. */
    struct {
        uint32_t location;
        struct text text;
    } creator_texts[circumstances_creators];
    uint64_t waited_count, waited_least, waited_most; /* members whose wait's length is known; seconds */
    uint64_t members;
};

void circumstances_init(struct circumstances *circumstances, struct detection *detection);
void circumstances_add(struct circumstances *circumstances, const struct member *member);
/* A sentence each for what is known. */
void circumstances_tell(struct circumstances *circumstances, struct finding *finding);

/* "1,164,848 of 1,380,684 goroutines": a part of all, and how many the dump shows where it does not show all. */
const char *part_text(struct detection *detection, uint64_t part);
/* Adds a number as a key. */
void finding_add_count(struct detection *detection, struct finding *finding, const char *name, uint64_t count);

/* "Their stacks take 22 MiB at the least …": goroutines only. */
void stack_memory_tell(struct detection *detection, struct finding *finding, uint64_t members);

#endif
