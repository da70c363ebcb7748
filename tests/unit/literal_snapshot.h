/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots and groupings written down in a test's code, so that its reader sees why the answer is right. Also the
 * comparison of whole outputs with goldens. */
#ifndef SG_TESTS_LITERAL_SNAPSHOT_H
#define SG_TESTS_LITERAL_SNAPSHOT_H

#include "report/report.h"

struct literal {
    struct arena arena;
    struct snapshot snapshot;
    struct grouping grouping;
    struct diagnostics diagnostics;
    struct module *modules;
    struct mapping *mappings;
    struct findings findings;
    size_t rule_count; /* 0: rules did not run */
    size_t resource_capacity, wait_capacity, hold_capacity;
    size_t module_capacity, mapping_capacity, member_capacity, thread_capacity, group_capacity, member_index_capacity, state_capacity;
    size_t member_index_count;
};

void literal_init(struct literal *literal);
void literal_deinit(struct literal *literal);

/* The number of a string, 0 for NULL. */
uint32_t literal_string(struct literal *literal, const char *string);

/* Indices of what was added. Strings may be NULL: unknown. */
uint32_t literal_module(struct literal *literal, const char *path, uint64_t start, uint64_t end);
void literal_mapping(struct literal *literal, uint64_t start, uint64_t end, uint64_t file_offset, uint8_t access,
                     const char *path);
/* Frames follow, innermost first. */
uint32_t literal_location(struct literal *literal, uint64_t pc, bool exact, uint32_t module, uint64_t offset);
void literal_frame(struct literal *literal, const char *function, const char *file, uint32_t line, bool inlined);
/* Steps follow, leaf first. */
uint32_t literal_stack(struct literal *literal, enum stack_end end, uint64_t end_address);
void literal_step(struct literal *literal, uint32_t location, enum frame_trust trust);
/* CPU time unknown until the test sets it. */
struct member *literal_member(struct literal *literal, uint64_t id, uint32_t stack, const char *state, int32_t fd);
/* Of the member that was added last. */
struct member_thread *literal_thread(struct literal *literal);
/* Who waits for what. A resource's holder is unknown, or for kinds that nobody holds never, until a hold or the test
 * says otherwise. The snapshot wants resources by kind and address, holds by resource, then waits by member: added so, or
 * the last two sorted afterwards. Numbers may point nowhere. Pointers hold until the next is added. */
struct resource *literal_resource(struct literal *literal, enum wait_kind kind, uint64_t address, const char *name);
/* Exclusive, until the test says otherwise. */
struct hold *literal_hold(struct literal *literal, uint32_t resource, uint32_t member, enum learnt learnt);
struct wait *literal_wait(struct literal *literal, uint32_t member, uint32_t resource, bool exclusive,
                          enum learnt learnt);
void literal_sort_waits(struct literal *literal);
/* A group of all members with that stack; states counted in order of appearance, CPU times summed. The pointer holds
 * until the next group. */
struct group *literal_group(struct literal *literal, uint32_t stack, const char *fingerprint);

/* What the report writes, in the literal's arena, NUL-terminated. */
const char *literal_report(struct literal *literal, const struct report *report, struct report_options options,
                           const struct report_stats *stats);

/* Compares with the file in GOLDEN_DIR; with UPDATE_GOLDENS=1 writes it instead. False: they differ, and the output
 * stands in NAME.actual in the current directory. */
bool golden_matches(const char *name, const char *output);

#endif
