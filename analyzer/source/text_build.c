/* SPDX-License-Identifier: Apache-2.0 */
#include "source/text_build.h"

#include "base/limits.h"

#include <inttypes.h>

void text_build_init(struct text_build *build, struct snapshot *snapshot, struct arena *keep, struct arena *scratch,
                     struct diagnostics *diagnostics)
{
    *build = (struct text_build){.snapshot = snapshot, .keep = keep, .scratch = scratch, .diagnostics = diagnostics};
    *snapshot = (struct snapshot){.arena = keep, .source_kind = "text"};
    intern_table_init(&snapshot->strings, keep);
    intern_table_init(&build->location_keys, scratch);
    intern_table_init(&build->stack_keys, scratch);
    build->told = arena_new(keep, struct told);
    snapshot->told = build->told;
}

uint32_t text_build_string(struct text_build *build, struct text text)
{
    if (text.length > limit_name_bytes)
        text.length = limit_name_bytes;
    return intern_table_add(&build->snapshot->strings, text);
}

uint32_t text_build_location(struct text_build *build, const struct text_location *told, const struct frame *frames)
{
    enum { key_frames = limit_inline_depth + 1 }; /* of the calls inlined into one, and that one */
    struct {
        struct text_location location;
        uint32_t frames[key_frames][3];
    } key;
    struct snapshot *snapshot = build->snapshot;
    uint32_t count = told->frame_count < key_frames ? told->frame_count : key_frames;
    memset(&key.location, 0, sizeof key.location); /* padding too: the key is compared as bytes */
    key.location.pc = told->pc;
    key.location.offset = told->offset;
    key.location.module = told->module;
    key.location.frame_count = count;
    key.location.is_hidden = told->is_hidden;
    for (uint32_t i = 0; i < count; i++) {
        key.frames[i][0] = frames[i].function;
        key.frames[i][1] = frames[i].file;
        key.frames[i][2] = frames[i].line;
    }
    struct text bytes = {(const char *)&key, sizeof key.location + count * sizeof key.frames[0]};
    uint32_t number = intern_table_add(&build->location_keys, bytes) - 1;
    if (number < snapshot->location_count)
        return number;
    snapshot->locations = arena_grow(build->keep, snapshot->locations, snapshot->location_count,
                                     &snapshot->location_capacity, sizeof *snapshot->locations);
    snapshot->pcs_are_numbers |= told->pc == 0;
    snapshot->locations[snapshot->location_count++] = (struct location){
        /* Looked up one below, as every return address: numbers begin at 1 there. */
        .pc = told->pc != 0 ? told->pc : (uint64_t)number + 2,
        .module = told->module,
        .pc_offset = told->offset != 0 ? told->offset + 1 : 0,
        .offset = told->offset,
        .frame_first = (uint32_t)snapshot->frame_count,
        .frame_count = count == 0 ? 1 : count,
        .is_hidden = told->is_hidden,
    };
    for (uint32_t i = 0; i < count || i == 0; i++) {
        snapshot->frames = arena_grow(build->keep, snapshot->frames, snapshot->frame_count, &snapshot->frame_capacity,
                                      sizeof *snapshot->frames);
        struct frame *frame = &snapshot->frames[snapshot->frame_count++];
        *frame = count == 0 ? (struct frame){0} : frames[i];
        frame->inlined = i + 1 < count;
    }
    return number;
}

void text_build_step(struct text_build *build, uint32_t location, enum frame_trust trust)
{
    if (build->step_count >= limit_frames) {
        build->frames_over++;
        return;
    }
    build->steps =
        arena_grow(build->scratch, build->steps, build->step_count, &build->step_capacity, 2 * sizeof *build->steps);
    build->steps[2 * build->step_count] = location;
    build->steps[2 * build->step_count + 1] = trust;
    build->step_count++;
}

uint32_t text_build_stack(struct text_build *build, enum stack_end end, uint64_t end_address, uint32_t labels)
{
    struct snapshot *snapshot = build->snapshot;
    size_t count = build->step_count;
    /* What tells stacks apart beside their steps goes as two more pairs into the key. */
    for (size_t i = 0; i < 2; i++)
        build->steps =
            arena_grow(build->scratch, build->steps, count + i, &build->step_capacity, 2 * sizeof *build->steps);
    uint32_t *tail = build->steps + 2 * count;
    tail[0] = labels;
    tail[1] = end;
    tail[2] = (uint32_t)end_address;
    tail[3] = (uint32_t)(end_address >> 32);
    struct text key = {(const char *)build->steps, 2 * (count + 2) * sizeof *build->steps};
    uint32_t number = intern_table_add(&build->stack_keys, key) - 1;
    build->step_count = 0;
    if (number < snapshot->stack_count)
        return number;
    snapshot->stacks = arena_grow(build->keep, snapshot->stacks, snapshot->stack_count, &snapshot->stack_capacity,
                                  sizeof *snapshot->stacks);
    snapshot->stacks[snapshot->stack_count++] = (struct stack){
        .step_first = (uint32_t)snapshot->step_count,
        .step_count = (uint32_t)count,
        .end = end,
        .end_address = end_address,
        .labels = labels,
    };
    while (snapshot->step_capacity < snapshot->step_count + count)
        snapshot->steps = arena_grow(build->keep, snapshot->steps, snapshot->step_capacity, &snapshot->step_capacity,
                                     sizeof *snapshot->steps);
    for (size_t i = 0; i < count; i++)
        snapshot->steps[snapshot->step_count++] =
            (struct step){build->steps[2 * i], (enum frame_trust)build->steps[2 * i + 1]};
    return number;
}

struct member *text_build_member(struct text_build *build, uint32_t stack, uint64_t count)
{
    struct snapshot *snapshot = build->snapshot;
    /* Groups count in 32 bits; a process has no more of anything, a forged text can say so. */
    uint64_t left = UINT32_MAX - snapshot->total;
    if (count > left) {
        diagnostics_add(build->diagnostics, DIAGNOSTIC_LOST, "count-limit", TEXT(""),
                        "the text counts more than %" PRIu32 " members; the rest is left out", UINT32_MAX);
        count = left;
    }
    snapshot->members = arena_grow(build->keep, snapshot->members, snapshot->member_count, &build->member_capacity,
                                   sizeof *snapshot->members);
    struct member *member = &snapshot->members[snapshot->member_count++];
    *member = (struct member){.count = (uint32_t)count, .stack = stack, .fd = -1};
    snapshot->total += count;
    if (snapshot->threads != NULL)
        text_build_thread(build);
    return member;
}

struct member_thread *text_build_thread(struct text_build *build)
{
    struct snapshot *snapshot = build->snapshot;
    while (build->thread_capacity < snapshot->member_count)
        snapshot->threads = arena_grow(build->keep, snapshot->threads, build->thread_capacity, &build->thread_capacity,
                                       sizeof *snapshot->threads);
    return &snapshot->threads[snapshot->member_count - 1];
}

void text_build_told_call(struct text_build *build, struct told_call call)
{
    struct told *told = build->told;
    told->calls = arena_grow(build->keep, told->calls, told->call_count, &told->call_capacity, sizeof *told->calls);
    told->calls[told->call_count++] = call;
}

void text_build_junk(struct text_build *build, uint64_t lines, size_t first_offset)
{
    if (lines != 0)
        diagnostics_add(build->diagnostics, DIAGNOSTIC_NOTE, "lines-passed-over", TEXT(""),
                        "%" PRIu64 " line%s of other text %s passed over, the first at offset %zu", lines,
                        lines == 1 ? "" : "s", lines == 1 ? "was" : "were", first_offset);
}

/* One line for each reason why stacks are not whole. */
static void diagnose_ends(struct text_build *build)
{
    const struct snapshot *snapshot = build->snapshot;
    uint64_t counts[STACK_END_COUNT] = {0};
    for (size_t i = 0; i < snapshot->member_count; i++)
        counts[snapshot->stacks[snapshot->members[i].stack].end] += snapshot->members[i].count;
    for (int end = 0; end < STACK_END_COUNT; end++)
        if (end != STACK_END_OUTERMOST && counts[end] != 0)
            diagnostics_add(build->diagnostics, DIAGNOSTIC_LOSS, "stack-incomplete",
                            text_from_string(stack_end_name((enum stack_end)end)),
                            "%" PRIu64 " of %" PRIu64 " stacks end early: %s", counts[end], snapshot->total,
                            stack_end_name((enum stack_end)end))
                ->count = counts[end];
}

void text_build_finish(struct text_build *build)
{
    struct snapshot *snapshot = build->snapshot;
    if (snapshot->total_claimed > snapshot->total)
        diagnostics_add(build->diagnostics, DIAGNOSTIC_NOTE, "excerpt", TEXT(""),
                        "the text's head counts %" PRIu64 ", its groups sum to %" PRIu64 ": an excerpt",
                        snapshot->total_claimed, snapshot->total);
    else if (snapshot->total_claimed != 0 && snapshot->total_claimed < snapshot->total)
        diagnostics_add(build->diagnostics, DIAGNOSTIC_NOTE, "head-count", TEXT(""),
                        "the text's head counts %" PRIu64 ", its groups sum to %" PRIu64 ": the groups are believed",
                        snapshot->total_claimed, snapshot->total);
    if (snapshot->total_claimed < snapshot->total)
        snapshot->total_claimed = snapshot->total;
    if (build->frames_over != 0)
        diagnostics_add(build->diagnostics, DIAGNOSTIC_LOST, "frame-limit", TEXT(""),
                        "%" PRIu64 " frames of stacks with more than %d were left out", build->frames_over,
                        limit_frames);
    diagnose_ends(build);
}
