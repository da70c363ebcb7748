/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot_from_goroutines.h"

#include "base/limits.h"
#include "golang/bubbles.h"
#include "golang/goroutine_set.h"
#include "golang/labels.h"
#include "golang/processors.h"
#include "goroutines_ahead.h"
#include "symbol/symbol_go.h"
#include "unwind/go_frame_pointers.h"
#include "waits/wait_go.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { prefetch_distance = 8 }; /* goroutines ahead: their records are touched twice, once to find the stack */

struct tid_index {
    uint32_t tid, thread;
};

struct build {
    const struct go_runtime *runtime;
    struct walker *walker;
    struct snapshot *snapshot;
    struct tid_index *threads; /* by tid */
    size_t thread_count;
    bool lines, with_c;
    /* Places by pc: goroutines have few creators. */
    struct {
        uint64_t pc;
        uint32_t location; /* number + 1 */
    } creators[64];
    struct go_labels_reader labels;
    uint64_t *stack_pointers; /* by member, at its leaf; NULL: not wanted */
    struct text state; /* the last goroutine's and its string: runs of equal ones are long */
    uint32_t state_string;
    struct go_park *parks;  /* by member */
    uint64_t *member_slots; /* bits, by slot of the runtime's list: it has a member */
    struct go_chain_check chain;
    struct {
        uint64_t equal, without;
        struct diagnostics *diagnostics; /* NULL: nothing is compared */
    } check;
    uint64_t signalled; /* id of the goroutine whose thread took the signal, 0 none */
    uint64_t now; /* the latest instant that the target's memory tells of, its monotonic clock */
};

static int compare_tids(const void *left, const void *right)
{
    const struct tid_index *a = left, *b = right;
    return a->tid < b->tid ? -1 : a->tid > b->tid;
}

static void index_threads(struct build *build, const struct image *image, struct arena *scratch)
{
    build->threads = arena_array(scratch, struct tid_index, image->thread_count + 1);
    build->thread_count = image->thread_count;
    for (size_t i = 0; i < image->thread_count; i++) {
        const struct thread *thread = &image->threads[i];
        /* The runtime knows its threads by their ids in its own pid namespace. */
        build->threads[i] = (struct tid_index){thread->namespace_tid != 0 ? thread->namespace_tid : thread->tid, (uint32_t)i};
    }
    qsort(build->threads, build->thread_count, sizeof *build->threads, compare_tids);
}

static const struct thread *find_thread(const struct build *build, uint32_t tid)
{
    struct tid_index key = {tid, 0};
    const struct tid_index *found =
        tid == 0 ? NULL : bsearch(&key, build->threads, build->thread_count, sizeof key, compare_tids);
    return found == NULL ? NULL : &build->runtime->image->threads[found->thread];
}

static uint32_t creator_location(struct build *build, uint64_t pc)
{
    size_t slot = (size_t)((pc * 0x9e3779b97f4a7c15u) >> 58);
    if (pc == 0)
        return 0;
    if (build->creators[slot].pc != pc) {
        build->creators[slot].pc = pc;
        build->creators[slot].location =
            symbol_go_function_location(build->runtime, build->lines, build->snapshot, pc) + 1; /* index_none: 0 */
    }
    return build->creators[slot].location;
}

static uint32_t state_string(struct build *build, struct text state)
{
    if (!text_equals(state, build->state)) {
        build->state = state;
        build->state_string = intern_table_add(&build->snapshot->strings, state);
    }
    return build->state_string;
}

/* Differences are told once a stack, of its first goroutine, and count all. */
static void check_member(struct build *build, const struct goroutine *goroutine, uint32_t stack)
{
    const struct stack_trie *trie = walker_trie(build->walker);
    struct go_chain_difference difference;
    char name[32];
    switch (go_frame_pointers_check(&build->chain, build->runtime, goroutine, trie, stack, &difference)) {
    case GO_CHAIN_NONE:
        build->check.without++;
        break;
    case GO_CHAIN_EQUAL:
        build->check.equal++;
        break;
    case GO_CHAIN_DIFFERS:
        snprintf(name, sizeof name, "goroutine stack %" PRIu32, stack);
        diagnostics_add(build->check.diagnostics, DIAGNOSTIC_LOSS, "unwinders-differ", text_from_string(name),
                        "goroutine %" PRIu64 ": pclntab finds %" PRIu32 " frames (end: %s); frame %" PRIu32
                        " is 0x%" PRIx64 ", by frame pointers 0x%" PRIx64,
                        goroutine->id, trie->nodes[trie->stacks[stack].node].depth,
                        stack_end_name(trie->stacks[stack].end), difference.frame, difference.pc, difference.other);
        break;
    }
}

static void tell_check(const struct build *build, struct diagnostics *diagnostics)
{
    char without[64] = "";
    if (build->check.without != 0)
        snprintf(without, sizeof without, "; %" PRIu64 " more run or have no such chain", build->check.without);
    diagnostics_add(diagnostics, DIAGNOSTIC_NOTE, "cross-check", TEXT("goroutines"),
                    "cross-check: pclntab and frame pointers agree on %" PRIu64 " of %" PRIu64 " goroutines%s",
                    build->check.equal, build->snapshot->member_count - build->check.without, without);
}

/* The stack's number is the trie's until it is moved. `known_stack`: it was walked ahead; index_none: it is to be walked. */
static void add_member(struct build *build, const struct goroutine *goroutine, uint32_t known_stack)
{
    struct snapshot *snapshot = build->snapshot;
    const struct thread *thread = find_thread(build, goroutine->tid);
    /* The runtime starts main; what a creator's location was made of has moved by then. */
    uint32_t creator = goroutine->id == 1 ? 0 : creator_location(build, goroutine->go_pc);
    /* Left over from its last wait while it runs: the runtime tells it of those that wait or are in system calls. */
    bool waits = goroutine->status == GO_WAITING || goroutine->status == GO_LEAKED || goroutine->status == GO_SYSCALL;
    uint32_t bubble = goroutine->bubble == 0 ? 0 : go_bubble_number(build->runtime, goroutine->bubble);
    uint64_t stack_pointer = goroutine->sp;
    uint32_t stack = known_stack;
    if (stack == index_none)
        stack = unwind_goroutine(build->walker, build->runtime, goroutine, thread, build->with_c, &stack_pointer);
    else
        walker_count(build->walker, stack);
    if (build->check.diagnostics != NULL)
        check_member(build, goroutine, stack);
    if (build->stack_pointers != NULL)
        build->stack_pointers[snapshot->member_count] = stack_pointer;
    build->parks[snapshot->member_count] = go_park_new(goroutine);
    snapshot->members[snapshot->member_count++] = (struct member){
        .id = goroutine->id,
        .count = 1,
        .stack = stack,
        .state = state_string(build, goroutine->state),
        .fd = -1,
        .waited_known = go_is_instant(goroutine->wait_since) && waits,
        .waited_seconds = goroutine->wait_since,
        .creator = creator == 0 ? 0 : snapshot->frames[snapshot->locations[creator - 1].frame_first].function,
        .creator_id = goroutine->parent_id,
        .creator_location = creator,
        .locked_to_thread = goroutine->locked_machine != 0,
        .is_scanned = goroutine->is_scanned,
        .is_leaked = goroutine->status == GO_LEAKED,
        .bubble = bubble & 0xffffff,
        .is_durable = bubble != 0 && goroutine->status == GO_WAITING && go_bubble_blocks(build->runtime, goroutine->state),
        .labels = go_labels_read(&build->labels, goroutine->labels),
    };
    /* Whom the signal met, if it was a goroutine's thread. */
    if (thread != NULL && thread->tid == snapshot->signal.tid)
        build->signalled = goroutine->id;
}

/* Of those on semaphores, from the runtime's table, which was read meanwhile. */
static void settle_parks(struct build *build, const struct goroutine_reader *reader, struct go_semaphore_search *search)
{
    struct go_semaphores semaphores = {0};
    semaphores.waits = go_semaphore_search_take(search, &semaphores.count);
    size_t member = 0;
    for (uint64_t slot = 0; slot < build->runtime->goroutine_count; slot++)
        if ((build->member_slots[slot / 64] >> slot % 64 & 1) != 0)
            go_park_settle(&build->parks[member++], goroutine_slot_address(reader, slot), &semaphores);
}

/* Reads what stands where the members' stacks keep their arguments. */
static void read_arguments(struct build *build, const struct stack_arguments *arguments, struct arena *arena,
                           struct diagnostics *diagnostics)
{
    struct snapshot *snapshot = build->snapshot;
    const struct memory *memory = &build->runtime->image->memory;
    uint64_t total = 0, without = 0, count = 0;
    for (size_t i = 0; i < snapshot->member_count; i++)
        total += arguments->stacks[snapshot->members[i].stack].count;
    uint64_t kept = total < limit_argument_values ? total : limit_argument_values;
    uint64_t *values = arena_array(arena, uint64_t, kept + 1);
    uint64_t *first = arena_array(arena, uint64_t, snapshot->member_count + 1);
    for (size_t i = 0; i < snapshot->member_count; i++) {
        const struct stack_run *run = &arguments->stacks[snapshot->members[i].stack];
        without += run->count > kept - count;
        for (size_t j = 0; j < run->count && run->count <= kept - first[i]; j++) {
            const struct stack_argument *place = &arguments->places[run->first + j];
            uint8_t bytes[8] = {0};
            if (memory_read(memory, build->stack_pointers[i] + place->offset, bytes, place->size_bytes) !=
                place->size_bytes)
                break;
            values[count++] = load_u64(bytes);
        }
        first[i + 1] = count;
    }
    snapshot->call_values = values;
    snapshot->call_value_first = first;
    if (without != 0)
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "arguments-limit", TEXT(""),
                        "%" PRIu64 " goroutines are shown without their calls' arguments: there are more than %" PRIu64
                        " values in all", without, limit_argument_values)
            ->count = without;
}

void snapshot_from_goroutines(const struct go_runtime *runtime, const struct goroutine_options *options,
                              struct walker *walker, struct symbolizer *symbolizer, struct snapshot *ret_snapshot,
                              struct worker *worker, struct arena *arena, struct arena *scratch,
                              struct diagnostics *diagnostics)
{
    uint64_t now = runtime->image->monotonic_nanoseconds;
    struct build build = {
        .runtime = runtime,
        .walker = walker,
        .snapshot = ret_snapshot,
        .lines = symbolizer_has_lines(symbolizer),
        .with_c = !options->without_c,
        .now = now != 0 ? now : go_processors_latest(runtime),
        .labels = go_labels_reader_new(runtime, &ret_snapshot->strings, scratch),
    };
    build.chain.arena = scratch;
    build.check.diagnostics = options->cross_check ? diagnostics : NULL;
    snapshot_begin(ret_snapshot, runtime->image, PROFILE_GOROUTINES, arena);
    index_threads(&build, runtime->image, scratch);
    ret_snapshot->members = arena_array(arena, struct member, runtime->goroutine_count + 1);
    build.parks = arena_array(scratch, struct go_park, runtime->goroutine_count + 1);
    build.member_slots = arena_array(scratch, uint64_t, runtime->goroutine_count / 64 + 1);
    struct go_semaphore_search *semaphores = go_semaphore_search_new(runtime, scratch);
    bool is_asked = runtime->image->memory.target != NULL; /* a running target, for what is not copied: by one thread alone */
    if (options->with_arguments)
        build.stack_pointers = arena_array(scratch, uint64_t, runtime->goroutine_count + 1);
    uint64_t unreadable = 0, first = 0, repeated = 0;
    struct goroutine_set seen = goroutine_set_new(scratch);
    struct goroutine_reader reader = goroutine_reader_new(runtime);
    struct goroutines_ahead *ahead = NULL;
    for (uint64_t slot = 0; slot < runtime->goroutine_count; slot++) {
        struct goroutine goroutine;
        ahead = goroutines_ahead_at(ahead, runtime, walker, slot, is_asked ? NULL : semaphores, worker, scratch);
        goroutine_prefetch(&reader, slot + prefetch_distance);
        if (goroutines_ahead_stack(ahead, slot + prefetch_distance / 2) == index_none)
            goroutine_prefetch_stack(&reader, slot + prefetch_distance / 2);
        switch (goroutine_read(&reader, slot, &goroutine)) {
        case GOROUTINE_READ:
            if (!goroutine_set_add(&seen, goroutine.address)) {
                repeated++;
                break;
            }
            if (go_is_instant(goroutine.wait_since) && goroutine.wait_since > build.now)
                build.now = goroutine.wait_since;
            if (goroutine.is_system && !options->with_system)
                break;
            build.member_slots[slot / 64] |= (uint64_t)1 << slot % 64;
            add_member(&build, &goroutine, goroutines_ahead_stack(ahead, slot));
            break;
        case GOROUTINE_NONE:
            break;
        case GOROUTINE_UNREADABLE:
            first = unreadable++ == 0 ? slot : first;
            break;
        }
    }
    worker_end(worker);
    if (ahead == NULL || is_asked)
        go_semaphore_search_run(semaphores, runtime);
    settle_parks(&build, &reader, semaphores);
    if (build.labels.bytes_left == 0)
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "labels-limit", TEXT(""),
                        "labels were read up to a limit of %" PRIu64 " bytes: goroutines are shown without theirs",
                        limit_labels_bytes);
    go_labels_reader_close(&build.labels);
    if (options->cross_check)
        tell_check(&build, diagnostics);
    struct stack_naming naming = stack_naming_new(ret_snapshot, walker, symbolizer, runtime, scratch);
    if (options->with_arguments)
        stack_naming_want_arguments(&naming);
    for (size_t i = 0; i < ret_snapshot->member_count; i++) {
        struct member *member = &ret_snapshot->members[i];
        member->stack = stack_naming_stack(&naming, member->stack, member->labels);
        if (member->waited_known)
            member->waited_seconds = (build.now - member->waited_seconds) / 1000000000;
    }
    if (options->with_arguments)
        read_arguments(&build, naming.arguments, arena, diagnostics);
    struct data_names names = {stack_naming_data, symbolizer};
    wait_go_read(runtime, build.parks, &names, ret_snapshot, scratch);
    ret_snapshot->signal.tid = (uint32_t)build.signalled;
    ret_snapshot->total = ret_snapshot->member_count;
    ret_snapshot->total_claimed = ret_snapshot->member_count + unreadable;
    if (unreadable != 0)
        diagnostics_add(diagnostics, DIAGNOSTIC_LOST, "goroutine-unreadable", TEXT(""),
                        "%" PRIu64 " of %" PRIu64 " goroutines are not in the memory at hand, or hold nonsense (slot %" PRIu64
                        " of the runtime's list is the first)", unreadable, runtime->goroutine_count, first)
            ->count = unreadable;
    if (repeated != 0)
        diagnostics_add(diagnostics, DIAGNOSTIC_LOST, "goroutine-repeated", TEXT(""),
                        "the runtime's list of goroutines is damaged: %" PRIu64 " of %" PRIu64 " slots repeat an earlier "
                        "one, each goroutine is told once", repeated, runtime->goroutine_count)
            ->count = repeated;
    snapshot_diagnose_ends(ret_snapshot, diagnostics);
}
