/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/unwind_threads.h"

#include "base/limits.h"
#include "unwind/unwind_libunwind.h"

#include <inttypes.h>
#include <stdio.h>

/* A stack that the own walker could not finish. */
static bool ends_early(enum stack_end end)
{
    return end == STACK_END_NO_UNWIND_DATA || end == STACK_END_MEMORY_MISSING || end == STACK_END_NO_PROGRESS;
}

/* The pcs of a stack, leaf first, in scratch. */
static uint64_t *stack_pcs(struct walker *walker, uint32_t stack, struct arena *scratch, size_t *ret_count)
{
    const struct stack_trie *trie = walker_trie(walker);
    uint32_t node = trie->stacks[stack].node;
    size_t count = trie->nodes[node].depth;
    uint64_t *pcs = arena_array(scratch, uint64_t, count + 1);
    for (size_t i = count; i-- > 0; node = trie->nodes[node].parent)
        pcs[i] = trie->nodes[node].pc;
    *ret_count = count;
    return pcs;
}

/* How many frames from the leaf on are of code that CFI is for. */
static size_t count_native(const struct walker *walker, const struct stack_trie *trie, uint32_t stack)
{
    uint32_t node = trie->stacks[stack].node;
    size_t count = trie->nodes[node].depth;
    for (; node != 0; node = trie->nodes[node].parent)
        if (walker_node_is_of_language(walker, node))
            count = trie->nodes[node].depth - 1;
    return count;
}

/* How many frames both have in common from the leaf on. */
static size_t common_prefix(const uint64_t *pcs, size_t count, const struct libunwind_stack *other)
{
    size_t same = 0;
    while (same < count && same < other->frame_count && pcs[same] == other->frames[same].pc)
        same++;
    return same;
}

static const struct walker_frame *frames_from(const struct libunwind_stack *stack, size_t first, struct arena *scratch)
{
    struct walker_frame *frames = arena_array(scratch, struct walker_frame, stack->frame_count - first + 1);
    for (size_t i = first; i < stack->frame_count; i++)
        frames[i - first] = (struct walker_frame){stack->frames[i].pc, stack->frames[i].exact};
    return frames;
}

/* Deeper is not truer: all of formats.md's conditions must hold. */
static bool is_acceptable(struct walker *walker, const uint64_t *pcs, size_t count, const struct libunwind_stack *other)
{
    if (!other->done || !other->outermost || other->frame_count <= count ||
        common_prefix(pcs, count, other) != count)
        return false;
    for (size_t i = count; i < other->frame_count; i++)
        if (!other->frames[i].exact && !walker_follows_call(walker, other->frames[i].pc))
            return false;
    return true;
}

/* The distinct ends of early stacks: (pc of the outermost frame found, reason). */
struct early_end {
    uint64_t pc;
    enum stack_end end;
    bool promising; /* libunwind completed the first thread that ended so */
};

static size_t find_end(const struct stack_trie *trie, uint32_t stack, const struct early_end *ends, size_t count)
{
    const struct trie_stack *it = &trie->stacks[stack];
    size_t i = 0;
    while (i < count && (ends[i].pc != trie->nodes[it->node].pc || ends[i].end != it->end))
        i++;
    return i;
}

static size_t extend_threads(const struct image *image, struct module_files *files, struct walker *walker,
                             const uint32_t *indices, size_t count, uint32_t *stacks, struct early_end *ends,
                             size_t end_count, struct arena *scratch, struct diagnostics *diagnostics)
{
    struct libunwind_stack *results = arena_array(scratch, struct libunwind_stack, count + 1);
    if (count == 0 || !unwind_libunwind_run(image, files, indices, count, scratch, diagnostics, results))
        return 0;
    size_t extended = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t *stack = &stacks[indices[i]];
        size_t depth;
        uint64_t *pcs = stack_pcs(walker, *stack, scratch, &depth);
        if (!is_acceptable(walker, pcs, depth, &results[i]))
            continue;
        ends[find_end(walker_trie(walker), *stack, ends, end_count)].promising = true;
        *stack = walker_extend(walker, *stack, frames_from(&results[i], depth, scratch),
                               results[i].frame_count - depth, STACK_END_OUTERMOST);
        extended++;
    }
    return extended;
}

/* Asks libunwind about one thread of each distinct early end; where it completes that one, about the others too: each
 * thread is completed from its own memory, never from another's. */
static void complete_early_stacks(const struct image *image, struct module_files *files, struct walker *walker,
                                  uint32_t *stacks, struct arena *scratch, struct diagnostics *diagnostics)
{
    const struct stack_trie *trie = walker_trie(walker);
    size_t end_count = 0, end_capacity = 0, probe_count = 0;
    struct early_end *ends = NULL;
    uint32_t *probes = arena_array(scratch, uint32_t, image->thread_count + 1);
    uint32_t *others = arena_array(scratch, uint32_t, image->thread_count + 1);
    size_t other_count = 0;
    for (size_t i = 0; i < image->thread_count; i++) {
        const struct trie_stack *stack = &trie->stacks[stacks[i]];
        /* With registers missing it would find nothing more, or guess. */
        if (!ends_early(stack->end) || trie->nodes[stack->node].depth == 0 || image->threads[i].registers_known != 0)
            continue;
        size_t at = find_end(trie, stacks[i], ends, end_count);
        if (at < end_count) {
            others[other_count++] = (uint32_t)i;
            continue;
        }
        if (end_count == limit_early_ends)
            continue;
        ends = arena_grow(scratch, ends, end_count, &end_capacity, sizeof *ends);
        ends[end_count++] = (struct early_end){trie->nodes[stack->node].pc, stack->end, false};
        probes[probe_count++] = (uint32_t)i;
    }
    size_t extended = extend_threads(image, files, walker, probes, probe_count, stacks, ends, end_count, scratch,
                                     diagnostics);
    size_t kept = 0;
    for (size_t i = 0; i < other_count; i++)
        if (ends[find_end(trie, stacks[others[i]], ends, end_count)].promising)
            others[kept++] = others[i];
    extended += extend_threads(image, files, walker, others, kept, stacks, ends, end_count, scratch, diagnostics);
    if (extended != 0)
        diagnostics_add(diagnostics, DIAGNOSTIC_NOTE, "completed-by-libunwind", TEXT(""),
                        "%zu stack%s that ended early were completed by libunwind; those frames are marked", extended,
                        extended == 1 ? "" : "s")
            ->count = extended;
}

static void unwind_all_by_libunwind(const struct image *image, struct module_files *files, struct arena *scratch,
                                    struct diagnostics *diagnostics, struct libunwind_stack *results)
{
    uint32_t *indices = arena_array(scratch, uint32_t, image->thread_count + 1);
    for (size_t i = 0; i < image->thread_count; i++)
        indices[i] = (uint32_t)i;
    if (!unwind_libunwind_run(image, files, indices, image->thread_count, scratch, diagnostics, results))
        diagnostics_add(diagnostics, DIAGNOSTIC_LOST, "libunwind-failed", TEXT(""),
                        "libunwind could not be run; no thread was unwound by it");
}

/* One entry a distinct stack that libunwind sees differently, named by its first thread and counting all. */
static void cross_check(const struct image *image, struct walker *walker, const uint32_t *stacks,
                        const struct libunwind_stack *results, struct arena *scratch, struct diagnostics *diagnostics)
{
    const struct stack_trie *trie = walker_trie(walker);
    size_t equal = 0, unfinished = 0, partly = 0;
    uint32_t *first = arena_array(scratch, uint32_t, trie->stack_count + 1); /* thread + 1, 0: none differs yet */
    for (size_t i = 0; i < image->thread_count; i++) {
        const struct libunwind_stack *other = &results[i];
        size_t count;
        uint64_t *pcs = stack_pcs(walker, stacks[i], scratch, &count);
        if (!other->done) {
            unfinished++;
            continue;
        }
        size_t same = common_prefix(pcs, count, other);
        if (same == count && same == other->frame_count) {
            equal++;
            continue;
        }
        /* Go's own code has tables of its own, which libunwind does not know. */
        size_t native = count_native(walker, trie, stacks[i]);
        if (native < count && same >= native) {
            partly++;
            continue;
        }
        if (first[stacks[i]] == 0)
            first[stacks[i]] = (uint32_t)i + 1;
        char thread[24];
        snprintf(thread, sizeof thread, "thread %" PRIu32, image->threads[first[stacks[i]] - 1].tid);
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "unwinders-differ", text_from_string(thread),
                        "%s: dwarf finds %zu frames (end: %s), libunwind %zu (end: %s); frame %zu is %s0x%" PRIx64
                        " and %s0x%" PRIx64,
                        thread, count, stack_end_name(trie->stacks[stacks[i]].end), other->frame_count,
                        other->outermost ? "outermost" : "early", same, same < count ? "" : "missing, ",
                        same < count ? pcs[same] : 0, same < other->frame_count ? "" : "missing, ",
                        same < other->frame_count ? other->frames[same].pc : 0);
    }
    char until[64] = "";
    if (partly != 0)
        snprintf(until, sizeof until, ", on %zu more up to Go's code", partly);
    diagnostics_add(diagnostics, DIAGNOSTIC_NOTE, "cross-check", TEXT(""),
                    "cross-check: dwarf and libunwind agree on %zu of %zu threads%s%s", equal, image->thread_count, until,
                    unfinished == 0 ? "" : "; libunwind did not finish all");
}

/* Takes libunwind's stacks. A thread that it gave nothing for keeps its pc alone. */
static void adopt_all(const struct image *image, struct walker *walker, const struct libunwind_stack *results,
                      uint32_t *ret_stacks, struct arena *scratch, struct diagnostics *diagnostics)
{
    uint64_t unfinished = 0;
    for (size_t i = 0; i < image->thread_count; i++) {
        const struct libunwind_stack *result = &results[i];
        if (result->frame_count != 0) {
            ret_stacks[i] = walker_adopt(walker, frames_from(result, 0, scratch), result->frame_count,
                                         result->outermost ? STACK_END_OUTERMOST : STACK_END_NO_UNWIND_DATA);
            continue;
        }
        struct registers registers;
        unfinished++;
        if (image->threads[i].registers == NULL) {
            ret_stacks[i] = walker_adopt(walker, NULL, 0, STACK_END_NO_REGISTERS);
            continue;
        }
        image->arch->registers_decode(image->threads[i].registers, &registers);
        ret_stacks[i] =
            walker_adopt(walker, &(struct walker_frame){registers.pc, true}, 1, STACK_END_NO_UNWIND_DATA);
    }
    if (unfinished != 0)
        diagnostics_add(diagnostics, DIAGNOSTIC_LOST, "libunwind-unfinished", TEXT(""),
                        "libunwind gave no stack for %" PRIu64 " of %zu threads; their program counters alone are shown",
                        unfinished, image->thread_count)
            ->count = unfinished;
}

uint32_t *unwind_threads(const struct image *image, struct module_files *files, struct walker *walker,
                         const struct unwind_options *options, struct arena *arena, struct arena *scratch,
                         struct diagnostics *diagnostics)
{
    uint32_t *stacks = arena_array(arena, uint32_t, image->thread_count + 1);
    struct libunwind_stack *results = NULL;
    if (options->unwinder == UNWINDER_LIBUNWIND || options->cross_check) {
        results = arena_array(scratch, struct libunwind_stack, image->thread_count + 1);
        unwind_all_by_libunwind(image, files, scratch, diagnostics, results);
    }
    if (options->unwinder == UNWINDER_LIBUNWIND && !options->cross_check) {
        adopt_all(image, walker, results, stacks, scratch, diagnostics);
        return stacks;
    }
    for (size_t i = 0; i < image->thread_count; i++) {
        stacks[i] = walk_thread(walker, &image->threads[i]);
        if (options->progress != NULL && (i & 1023) == 0)
            options->progress(options->progress_context, "unwinding", i, image->thread_count);
    }
    if (walker_counts(walker).code_limit_reached)
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "code-limit", TEXT(""),
                        "more than %d functions without unwind tables; stacks that reach further ones end there",
                        limit_code_questions);
    if (options->cross_check)
        cross_check(image, walker, stacks, results, scratch, diagnostics);
    if (options->unwinder == UNWINDER_LIBUNWIND)
        adopt_all(image, walker, results, stacks, scratch, diagnostics);
    if (options->unwinder == UNWINDER_AUTO && unwind_libunwind_knows(image->arch))
        complete_early_stacks(image, files, walker, stacks, scratch, diagnostics);
    return stacks;
}

uint32_t *unwind_threads_in_want(const struct image *image, struct walker *walker, const uint32_t *stacks,
                                 struct arena *arena, size_t *ret_count)
{
    uint32_t *tids = arena_array(arena, uint32_t, image->thread_count + 1);
    size_t count = 0;
    for (size_t i = 0; i < image->thread_count; i++)
        if (image->threads[i].registers_known != 0 &&
            walker_trie(walker)->stacks[stacks[i]].end != STACK_END_OUTERMOST)
            tids[count++] = image->threads[i].tid;
    *ret_count = count;
    return tids;
}
