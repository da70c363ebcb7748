/* SPDX-License-Identifier: Apache-2.0 */
#include "waits/wait_futex.h"

#include "base/byte_reader.h"
#include "waits/wait_musl.h"
#include "waits/wait_pthread.h"
#include "waits/wait_words.h"

enum {
    /* linux/futex.h */
    operation_wait = 0,
    operation_lock_pi = 6,
    operation_wait_bitset = 9,
    operation_wait_requeue_pi = 11,
    operation_lock_pi2 = 13,
    operation_mask = 0x7f,
    flag_private = 128,
    word_tid = 0x3fffffff,
    waitv_bytes = 24,      /* struct futex_waitv: u64 val, uaddr; u32 flags, reserved */
    waitv_count_max = 128, /* FUTEX_WAITV_MAX */
    waitv_private = 128,
    slot_count_first = 1024,
    any_call = UINT8_MAX, /* beside enum wait_call: of any that has a name */
};

/* What was found for a word under a call; the expected value is in it for what has it as its name: a join. */
struct futex_memo {
    uint64_t word;
    uint32_t call, expected;
    struct futex_object object;
    bool used;
};

void wait_futex_init(struct wait_futex *futex, struct arena *arena)
{
    *futex = (struct wait_futex){.slot_count = slot_count_first};
    futex->memos = arena_array(arena, struct futex_memo, futex->slot_count);
}

static struct futex_memo *find_memo(const struct wait_futex *futex, uint64_t word, uint32_t call, uint32_t expected)
{
    const uint64_t key[] = {word, call, expected};
    size_t slot = (size_t)hash_bytes(key, sizeof key, 0) & (futex->slot_count - 1);
    while (futex->memos[slot].used && (futex->memos[slot].word != word || futex->memos[slot].call != call ||
                                       futex->memos[slot].expected != expected))
        slot = (slot + 1) & (futex->slot_count - 1);
    return &futex->memos[slot];
}

static void grow_memos(struct wait_futex *futex, struct arena *arena)
{
    struct wait_futex larger = {.slot_count = futex->slot_count * 2, .memo_count = futex->memo_count};
    larger.memos = arena_array(arena, struct futex_memo, larger.slot_count);
    for (size_t i = 0; i < futex->slot_count; i++) {
        const struct futex_memo *memo = &futex->memos[i];
        if (memo->used)
            *find_memo(&larger, memo->word, memo->call, memo->expected) = *memo;
    }
    *futex = larger;
}

/* The kernel itself keeps the owner's tid in the word of these calls. */
static bool is_kernel_lock(const struct futex_wait *wait)
{
    return wait->operation == operation_lock_pi || wait->operation == operation_lock_pi2;
}

static struct futex_object read_bare(struct wait_context *context, const struct futex_wait *wait)
{
    uint32_t value;
    bool is_new;
    struct futex_object object = {0, is_kernel_lock(wait)};
    object.resource = wait_context_object(context, WAIT_FUTEX, wait->word, LEARNT_READ, &is_new);
    wait_context_resource(context, object.resource)->is_shared = !wait->is_private;
    if (is_new && is_kernel_lock(wait)) {
        if (!wait_context_words(context, wait->word, &value, 1))
            wait_context_unreadable(context, object.resource);
        else if ((value & word_tid) == 0)
            wait_context_resource(context, object.resource)->holder = HOLDER_FREE;
        else
            wait_context_own(context, object.resource, value & word_tid, !wait->is_private);
    }
    return object;
}

/* musl's mutexes have their lock word at 4, glibc's at 0: of static programs whose thread blocks are not at hand this
 * tells the two apart. */
static bool is_musl(const struct wait_context *context, const struct futex_wait *wait)
{
    if (context->threads.libc != LIBC_UNKNOWN)
        return context->threads.libc == LIBC_MUSL;
    return context->calls.has_musl || (wait->call == CALL_MUTEX && wait->word % 8 == 4);
}

static struct futex_object read_named(struct wait_context *context, const struct futex_wait *wait,
                                      const struct registers *registers)
{
    struct futex_object object;
    if (wait_words_read(context, wait, &object) ||
        (is_musl(context, wait) ? wait_musl_read(context, wait, registers, &object)
                                : wait_pthread_read(context, wait, &object)))
        return object;
    return read_bare(context, wait);
}

static struct futex_object read_nameless(struct wait_context *context, const struct futex_wait *wait)
{
    struct futex_object object;
    if ((context->threads.libc != LIBC_MUSL && wait_pthread_guess(context, wait, &object)) ||
        (context->threads.libc != LIBC_GLIBC && wait_musl_guess(context, wait, &object)))
        return object;
    return read_bare(context, wait);
}

static void remember(struct wait_futex *futex, struct wait_context *context, uint64_t word, uint32_t call,
                     uint32_t expected, struct futex_object object)
{
    if (futex->memo_count * 2 >= futex->slot_count)
        grow_memos(futex, context->scratch);
    struct futex_memo *memo = find_memo(futex, word, call, expected);
    futex->memo_count += !memo->used;
    *memo = (struct futex_memo){word, call, expected, object, true};
}

static void add_wait(struct wait_context *context, uint32_t member, struct futex_object object)
{
    wait_build_wait(&context->build, (struct wait){member, object.resource, object.exclusive, LEARNT_READ});
}

static void read_wait(struct wait_futex *futex, struct wait_context *context, const struct futex_wait *wait,
                      const struct registers *registers)
{
    if (wait->call == CALL_UNKNOWN) {
        futex->nameless = arena_grow(context->scratch, futex->nameless, futex->nameless_count,
                                     &futex->nameless_capacity, sizeof *futex->nameless);
        futex->nameless[futex->nameless_count++] = *wait;
        return;
    }
    const struct futex_memo *memo = find_memo(futex, wait->word, wait->call, wait->expected);
    struct futex_object object = memo->object;
    if (!memo->used) {
        object = read_named(context, wait, registers);
        remember(futex, context, wait->word, wait->call, wait->expected, object);
        remember(futex, context, wait->word, any_call, 0, object);
    }
    add_wait(context, wait->member, object);
}

void wait_futex_finish(struct wait_futex *futex, struct wait_context *context)
{
    for (size_t i = 0; i < futex->nameless_count; i++) {
        const struct futex_wait *wait = &futex->nameless[i];
        const struct futex_memo *memo = find_memo(futex, wait->word, any_call, 0);
        if (!memo->used)
            memo = find_memo(futex, wait->word, CALL_UNKNOWN, wait->expected);
        struct futex_object object = memo->object;
        if (!memo->used) {
            object = read_nameless(context, wait);
            remember(futex, context, wait->word, CALL_UNKNOWN, wait->expected, object);
        }
        add_wait(context, wait->member, object);
    }
    futex->nameless_count = 0;
}

void wait_futex_read(struct wait_futex *futex, struct wait_context *context, uint32_t member,
                     const struct system_call *call, const struct registers *registers)
{
    struct futex_wait wait = {
        .member = member,
        .call = wait_calls_of_stack(&context->calls, context->snapshot->members[member].stack),
        .word = call->arguments[0],
        .expected = (uint32_t)call->arguments[2],
        .operation = (uint8_t)(call->arguments[1] & operation_mask),
        .is_private = (call->arguments[1] & flag_private) != 0,
    };
    switch (wait.operation) {
    case operation_wait:
    case operation_wait_bitset:
    case operation_wait_requeue_pi:
        break;
    case operation_lock_pi:
    case operation_lock_pi2:
        wait.expected = 0; /* the call has no such argument */
        break;
    default: /* waking and the like do not wait */
        return;
    }
    read_wait(futex, context, &wait, registers);
}

void wait_futex_read_several(struct wait_futex *futex, struct wait_context *context, uint32_t member,
                             const struct system_call *call, const struct registers *registers)
{
    uint64_t count = call->arguments[1] < waitv_count_max ? call->arguments[1] : waitv_count_max;
    for (uint64_t i = 0; i < count; i++) {
        uint8_t row[waitv_bytes];
        uint64_t at = call->arguments[0] + i * waitv_bytes;
        if (memory_read(&context->image->memory, at, row, sizeof row) != sizeof row)
            return;
        struct futex_wait wait = {
            .member = member,
            .word = load_u64(row + 8),
            .expected = (uint32_t)load_u64(row),
            .is_private = (load_u32(row + 16) & waitv_private) != 0,
        };
        read_wait(futex, context, &wait, registers);
    }
}
