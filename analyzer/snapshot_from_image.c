/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot_from_image.h"

#include "stack_naming.h"
#include "waits/thread_state.h"
#include "waits/wait_facts.h"

struct build {
    const struct image *image;
    const struct image_stacks *stacks;
    struct snapshot *snapshot;
    struct arena *keep, *scratch;
    struct diagnostics *diagnostics;
};

static enum movement thread_movement(const struct samples *samples, size_t thread)
{
    if (samples->count < 2 || samples->threads[thread].looks < 2)
        return MOVEMENT_UNKNOWN;
    return samples->threads[thread].moved ? MOVEMENT_MOVED : MOVEMENT_NONE;
}

static void add_members(struct build *build)
{
    const uint32_t *thread_stacks = build->stacks->thread_stacks;
    const struct image *image = build->image;
    struct snapshot *snapshot = build->snapshot;
    snapshot->members = arena_array(build->keep, struct member, image->thread_count);
    snapshot->threads = arena_array(build->keep, struct member_thread, image->thread_count);
    snapshot->member_count = image->thread_count;
    for (size_t i = 0; i < image->thread_count; i++) {
        const struct thread *thread = &image->threads[i];
        struct thread_state state = thread_state_read(image, thread);
        const char *state_name = thread->state != NULL ? thread->state : state.name;
        snapshot->members[i] = (struct member){
            .id = thread->tid,
            .count = 1,
            .stack = thread_stacks[i],
            .state = intern_table_add(&snapshot->strings, text_from_string(state_name)),
            .fd = state.fd,
            .stood_still = thread->stood_still,
            .movement = thread_movement(build->stacks->samples, i),
        };
        snapshot->threads[i] = (struct member_thread){
            .name = intern_table_add(&snapshot->strings, thread->name),
            .namespace_id = thread->namespace_tid,
            .cpu_microseconds = thread->cpu_microseconds,
            .cpu_known = thread->cpu_known,
            .cpu_at_most = thread->cpu_at_most,
            .started_microseconds = thread->started_microseconds,
        };
    }
}

static void add_waits(struct build *build)
{
    struct data_names names = {stack_naming_data, build->stacks->symbolizer};
    wait_facts_read(build->image, build->snapshot, &names, build->scratch, build->diagnostics);
}

/* Copies the stacks that threads stand in. */
static void add_stacks(struct build *build)
{
    const struct image_stacks *stacks = build->stacks;
    struct stack_naming naming =
        stack_naming_new(build->snapshot, stacks->walker, stacks->symbolizer, NULL, build->scratch);
    for (size_t i = 0; i < build->image->thread_count; i++) {
        stacks->thread_stacks[i] = stack_naming_stack(&naming, stacks->thread_stacks[i], 0);
        if (stacks->progress != NULL && (i & 0xff) == 0)
            stacks->progress(stacks->progress_context, "naming", i, build->image->thread_count);
    }
}

void snapshot_from_image(const struct image *image, const struct image_stacks *stacks, struct snapshot *ret_snapshot,
                         struct arena *arena, struct arena *scratch, struct diagnostics *diagnostics)
{
    struct build build = {image, stacks, ret_snapshot, arena, scratch, diagnostics};
    snapshot_begin(ret_snapshot, image, PROFILE_THREADS, arena);
    ret_snapshot->total = image->thread_count;
    ret_snapshot->total_claimed = image->thread_count_claimed;
    ret_snapshot->sample_count = stacks->samples->count;
    ret_snapshot->sample_microseconds = stacks->sample_microseconds;
    add_stacks(&build);
    add_members(&build);
    add_waits(&build);
    snapshot_diagnose_ends(ret_snapshot, diagnostics);
}
