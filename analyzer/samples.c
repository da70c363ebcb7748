/* SPDX-License-Identifier: Apache-2.0 */
#include "samples.h"

#include "base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A stop takes a blocked thread out of its call, through the tracer's stop, and back: it waits twice (Linux 6.18). */
enum { switches_of_a_stop = 2 };

static uint64_t hash_add(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

static uint64_t stack_hash(const struct stack_trie *trie, uint32_t stack)
{
    uint64_t hash = trie->stacks[stack].end;
    for (uint32_t node = trie->stacks[stack].node; node != 0; node = trie->nodes[node].parent)
        hash = hash_add(hash_add(hash, trie->nodes[node].pc), trie->nodes[node].exact);
    return hash;
}

static int compare_tid(const void *left, const void *right)
{
    const struct sampled_thread *const *a = left, *const *b = right;
    return (*a)->first.tid < (*b)->first.tid ? -1 : (*a)->first.tid > (*b)->first.tid;
}

static const struct sampled_thread *find_before(const struct samples *before, const struct thread_activity *now)
{
    struct sampled_thread key = {.first.tid = now->tid};
    const struct sampled_thread *wanted = &key;
    struct sampled_thread **found = before->thread_count == 0 ? NULL
                                                              : bsearch(&wanted, before->by_tid, before->thread_count,
                                                                        sizeof *before->by_tid, compare_tid);
    return found != NULL && (*found)->first.start_ticks == now->start_ticks ? *found : NULL;
}

/* Counts since the first look, so that a thread that was late to wait again after one stop is not taken to have moved
 * at the next. */
static bool has_run(const struct sampled_thread *before, const struct thread_activity *now)
{
    return now->switches - before->first.switches > (uint64_t)switches_of_a_stop * before->looks ||
           now->cpu_nanoseconds - before->first.cpu_nanoseconds >
               (uint64_t)limit_stop_cpu_microseconds * 1000 * before->looks;
}

void samples_add(struct samples *samples, struct image *image, struct walker *walker, const uint32_t *thread_stacks,
                 const struct thread_activity *activity, size_t activity_count, struct arena *arena)
{
    const struct samples before = *samples;
    size_t gone = before.thread_count;
    samples->count++;
    samples->thread_count = image->thread_count;
    samples->threads = arena_array(arena, struct sampled_thread, image->thread_count + 1);
    samples->by_tid = arena_array(arena, struct sampled_thread *, image->thread_count + 1);
    for (size_t i = 0; i < image->thread_count; i++) {
        struct sampled_thread *thread = &samples->threads[i];
        const struct thread_activity *now = thread_activity_find(activity, activity_count, image->threads[i].tid);
        samples->by_tid[i] = thread;
        *thread = (struct sampled_thread){.first.tid = image->threads[i].tid, .looks = 1};
        thread->stack_hash = stack_hash(walker_trie(walker), thread_stacks[i]);
        struct thread_state state = thread_state_read(image, &image->threads[i]);
        memcpy(thread->state, state.name, sizeof thread->state);
        if (now == NULL)
            continue; /* it began between the reading and the look */
        thread->first = *now;
        const struct sampled_thread *earlier = find_before(&before, now);
        if (earlier == NULL)
            continue;
        gone--;
        bool same_stack = earlier->stack_hash == thread->stack_hash;
        thread->first = earlier->first;
        thread->looks = earlier->looks + 1;
        thread->moved = earlier->moved || !same_stack || has_run(earlier, now);
        if (same_stack && strcmp(state.name, "restarted call") == 0) {
            memcpy(thread->state, earlier->state, sizeof thread->state);
            image->threads[i].state = thread->state;
        }
    }
    samples->ended += gone;
    if (samples->thread_count != 0)
        qsort(samples->by_tid, samples->thread_count, sizeof *samples->by_tid, compare_tid);
}
