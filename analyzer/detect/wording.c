/* SPDX-License-Identifier: Apache-2.0 */
#include "detect/wording.h"

#include <inttypes.h>
#include <stdlib.h>

/* Rows that one sentence names. */
enum { tally_rows_shown = 6 };
/* Go's smallest stack: runtime/stack.go, stackMin; 2 KiB since Go 1.4. */
enum { goroutine_stack_bytes = 2048 };

uint64_t snapshot_population(const struct snapshot *snapshot)
{
    return snapshot->total_claimed > snapshot->total ? snapshot->total_claimed : snapshot->total;
}

const char *share_text(struct arena *arena, uint64_t part, uint64_t whole)
{
    double percent = whole == 0 ? 0.0 : 100.0 * (double)part / (double)whole;
    /* 10,000 of 10,004 are not all. */
    return part < whole && percent > 99.9 ? "over 99.9 %" : arena_printf(arena, "%.1f %%", percent);
}

const char *frame_place(const struct snapshot *snapshot, struct stack_frame frame, struct arena *arena)
{
    const struct frame *known = &snapshot->frames[frame.frame];
    struct text function = snapshot_string(snapshot, known->function);
    struct text file = text_basename(snapshot_string(snapshot, known->file));
    const char *name = function.length == 0 ? "a function without a name" : function.data;
    if (file.length == 0 || known->line == 0)
        return name;
    return arena_printf(arena, "%s at %.*s:%u", name, (int)file.length, file.data, known->line);
}

void tally_init(struct tally *tally, struct detection *detection)
{
    *tally = (struct tally){.detection = detection};
    intern_table_init(&tally->texts, detection_scratch(detection));
}

void tally_add(struct tally *tally, struct text text, uint64_t count)
{
    uint32_t row = intern_table_add(&tally->texts, text);
    while (tally->count <= row) {
        tally->rows = arena_grow(detection_scratch(tally->detection), tally->rows, tally->count, &tally->capacity,
                                 sizeof *tally->rows);
        tally->rows[tally->count++] = (struct tally_row){.text = text};
    }
    tally->rows[row].count += count;
}

static int row_compare(const void *a, const void *b)
{
    const struct tally_row *first = a, *second = b;
    if (first->count != second->count)
        return first->count < second->count ? 1 : -1;
    size_t length = first->text.length < second->text.length ? first->text.length : second->text.length;
    int order = length == 0 ? 0 : memcmp(first->text.data, second->text.data, length);
    if (order != 0)
        return order;
    return first->text.length < second->text.length ? -1 : first->text.length > second->text.length;
}

const char *tally_text(struct tally *tally, const char *before)
{
    struct arena *arena = detection_scratch(tally->detection);
    if (tally->count != 0)
        qsort(tally->rows, tally->count, sizeof *tally->rows, row_compare);
    const char *joined = "";
    uint64_t rest = 0;
    for (size_t i = 0; i < tally->count; i++) {
        const struct tally_row *row = &tally->rows[i];
        if (row->count == 0)
            continue;
        if (i < tally_rows_shown)
            joined = arena_printf(arena, "%s%s%s%s%.*s", joined, joined[0] == '\0' ? "" : "; ",
                                  detection_count_text(tally->detection, row->count), before, (int)row->text.length,
                                  row->text.data);
        else
            rest += row->count;
    }
    return rest == 0
               ? joined
               : arena_printf(arena, "%s; and %s elsewhere", joined, detection_count_text(tally->detection, rest));
}

const char *part_text(struct detection *detection, uint64_t part)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    struct arena *arena = detection_scratch(detection);
    uint64_t whole = snapshot_population(snapshot);
    const char *excerpt = "";
    if (snapshot->total < whole)
        excerpt = arena_printf(arena, "; the dump shows %s", detection_count_text(detection, snapshot->total));
    return arena_printf(arena, "%s of %s %s (%s%s)", detection_count_text(detection, part),
                        detection_count_text(detection, whole), detection_members_word(detection, whole),
                        share_text(arena, part, whole), excerpt);
}

void finding_add_count(struct detection *detection, struct finding *finding, const char *name, uint64_t count)
{
    struct text text = text_from_string(detection_count_text(detection, count));
    detection_add_key(detection, finding, name, text_copy(detection_arena(detection), text));
}

bool stack_place(struct detection *detection, uint32_t stack, struct stack_frame *ret_frame)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    size_t count;
    const struct stack_frame *frames = detection_frames(detection, stack, &count);
    for (size_t i = detection_machinery(detection, stack); i < count; i++)
        if (snapshot->frames[frames[i].frame].function != 0) {
            *ret_frame = frames[i];
            return true;
        }
    return false;
}

bool function_starts_members(struct text name)
{
    static const char *const names[] = {"start_thread",
                                        "thread_start",
                                        "clone",
                                        "clone3",
                                        "__clone",
                                        "__clone3",
                                        "_start",
                                        "__libc_start_main",
                                        "__libc_start_call_main",
                                        "__libc_start_main_impl",
                                        "execute_native_thread_routine",
                                        "runtime.goexit",
                                        "runtime.main"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (text_equals(name, text_from_string(names[i])))
            return true;
    return false;
}

bool stack_start(struct detection *detection, uint32_t stack, struct stack_frame *ret_frame)
{
    const struct snapshot *snapshot = detection_snapshot(detection);
    size_t count;
    const struct stack_frame *frames = detection_frames(detection, stack, &count);
    for (size_t i = count; i-- > 0;) {
        uint32_t function = snapshot->frames[frames[i].frame].function;
        if (function != 0 && !function_starts_members(snapshot_string(snapshot, function))) {
            *ret_frame = frames[i];
            return true;
        }
    }
    return false;
}

void circumstances_init(struct circumstances *circumstances, struct detection *detection)
{
    *circumstances = (struct circumstances){.detection = detection};
    tally_init(&circumstances->states, detection);
    tally_init(&circumstances->creators, detection);
}

/* The go statement where it is known, else the function. */
static struct text creator_text(struct circumstances *circumstances, const struct snapshot *snapshot,
                                const struct member *member)
{
    uint32_t number = member->creator_location;
    if (number == 0)
        return snapshot_string(snapshot, member->creator);
    size_t slot = number % circumstances_creators;
    if (circumstances->creator_texts[slot].location != number) {
        struct stack_frame frame = {.location = number - 1, .frame = snapshot->locations[number - 1].frame_first};
        circumstances->creator_texts[slot].location = number;
        circumstances->creator_texts[slot].text =
            text_from_string(frame_place(snapshot, frame, detection_scratch(circumstances->detection)));
    }
    return circumstances->creator_texts[slot].text;
}

void circumstances_add(struct circumstances *circumstances, const struct member *member)
{
    const struct snapshot *snapshot = detection_snapshot(circumstances->detection);
    circumstances->members += member->count;
    if (member->state != 0)
        tally_add(&circumstances->states, snapshot_string(snapshot, member->state), member->count);
    if (member->creator != 0)
        tally_add(&circumstances->creators, creator_text(circumstances, snapshot, member), member->count);
    if (!member->waited_known)
        return;
    if (circumstances->waited_count == 0 || member->waited_seconds < circumstances->waited_least)
        circumstances->waited_least = member->waited_seconds;
    if (member->waited_seconds > circumstances->waited_most)
        circumstances->waited_most = member->waited_seconds;
    circumstances->waited_count += member->count;
}

static const char *duration_text(struct arena *arena, uint64_t seconds)
{
    if (seconds % 60 != 0 || seconds == 0)
        return arena_printf(arena, "%" PRIu64 " s", seconds);
    return arena_printf(arena, "%" PRIu64 " min", seconds / 60);
}

void circumstances_tell(struct circumstances *circumstances, struct finding *finding)
{
    struct detection *detection = circumstances->detection;
    struct arena *arena = detection_scratch(detection);
    if (circumstances->states.count != 0)
        detection_add_evidence(detection, finding, "Their states: %s.", tally_text(&circumstances->states, " in "));
    if (circumstances->waited_count != 0) {
        const char *least = duration_text(arena, circumstances->waited_least);
        const char *most = duration_text(arena, circumstances->waited_most);
        bool one = circumstances->waited_least == circumstances->waited_most;
        detection_add_evidence(detection, finding, "%s of them %s waited at least %s%s%s.",
                               detection_count_text(detection, circumstances->waited_count),
                               for_count(circumstances->waited_count, "has", "have"), least, one ? "" : ", up to ",
                               one ? "" : most);
    }
    if (circumstances->creators.count != 0)
        detection_add_evidence(detection, finding, "They were started by: %s.",
                               tally_text(&circumstances->creators, " by "));
}

void stack_memory_tell(struct detection *detection, struct finding *finding, uint64_t members)
{
    if (detection_snapshot(detection)->kind != PROFILE_GOROUTINES || members < 1024)
        return;
    detection_add_evidence(
        detection, finding,
        "Their stacks take %.0f MiB at the least, as each has 2 KiB or more; what they refer to comes "
        "on top.",
        (double)members * goroutine_stack_bytes / (1 << 20));
}
