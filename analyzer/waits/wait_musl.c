/* SPDX-License-Identifier: Apache-2.0 */
#include "waits/wait_musl.h"

#include "base/byte_reader.h"

enum {
    thread_id_max = 4 << 20, /* the kernel's PID_MAX_LIMIT */
    word_id = 0x3fffffff,    /* of a lock word: its upper bits say that somebody waits, and that the owner died */

    /* pthread_mutex_t: type, lock, waiters */
    mutex_lock_bytes = 4,
    mutex_type_known = 0x8f, /* 3 normal, recursive, error-checking; 4 robust, 8 PI, 128 between processes */
    mutex_type_inherit = 8,
    mutex_type_shared = 0x80,
    normal_locked = 16, /* EBUSY: a normal mutex does not say by whom */

    block_join_bytes = 0x38, /* in a thread's block: the word that who joins it waits on */

    rwlock_count = 0x7fffffff,
    rwlock_write_locked = 0x7fffffff,

    /* A waiter of a condition variable stands on a word of its own stack, in a list:
     * {struct waiter *prev, *next; int state, barrier; int *notify}. */
    waiter_state_bytes = 4, /* before the word */
    /* pthread_cond_t: the newest and the oldest waiter. */
    condition_newest_bytes = 8,
    condition_oldest_bytes = 40,
    condition_sequence_bytes = 8, /* of one between processes, whose waiters stand on it */
    /* Bytes of stack above the stack pointer that hold the frame of the call and its arguments. */
    frame_bytes = 1024,
};

static uint32_t read_mutex(struct wait_context *context, const struct futex_wait *wait)
{
    uint64_t address = wait->word - mutex_lock_bytes;
    uint32_t words[3];
    bool is_new;
    uint32_t number = wait_context_object(context, WAIT_MUTEX, address, LEARNT_READ, &is_new);
    if (!is_new)
        return number;
    if (!wait_context_words(context, address, words, 3)) {
        wait_context_unreadable(context, number);
        return number;
    }
    struct resource *resource = wait_context_resource(context, number);
    uint32_t type = words[0], owner = words[1] & word_id;
    if ((type & ~(uint32_t)mutex_type_known) != 0 || owner > thread_id_max) {
        resource->learnt = LEARNT_INFERRED;
        return number;
    }
    resource->is_shared = (type & mutex_type_shared) != 0;
    if (words[1] == 0)
        resource->holder = HOLDER_FREE;
    else if ((type & 15) != 0 && owner != 0)
        wait_context_own(context, number, owner, resource->is_shared);
    return number;
}

static uint32_t read_rwlock(struct wait_context *context, const struct futex_wait *wait)
{
    uint32_t word;
    bool is_new;
    uint32_t number = wait_context_object(context, WAIT_RWLOCK, wait->word, LEARNT_READ, &is_new);
    if (!is_new)
        return number;
    if (!wait_context_words(context, wait->word, &word, 1)) {
        wait_context_unreadable(context, number);
        return number;
    }
    struct resource *resource = wait_context_resource(context, number);
    resource->is_shared = !wait->is_private;
    uint32_t count = word & rwlock_count;
    if (count == 0)
        resource->holder = HOLDER_FREE;
    else if (count <= thread_id_max) {
        resource->holder = HOLDER_ANONYMOUS;
        resource->anonymous_count = count;
    } else if (count != rwlock_write_locked)
        resource->learnt = LEARNT_INFERRED;
    return number;
}

/* 0 when it is not there. Of a live target it is asked for: what a waiting thread stands in does not move. */
static uint64_t read_pointer(const struct wait_context *context, uint64_t address)
{
    uint8_t bytes[8];
    bool is_late;
    size_t got = memory_ask(&context->image->memory, address, bytes, sizeof bytes, &is_late);
    return got == sizeof bytes ? load_u64(bytes) : 0;
}

static bool is_there(const struct wait_context *context, uint64_t address)
{
    uint8_t bytes[16];
    bool is_late;
    return memory_ask(&context->image->memory, address, bytes, sizeof bytes, &is_late) == sizeof bytes;
}

/* Whether a condition variable lies there: its newest waiter has none before it, its oldest none behind. */
static bool is_condition(const struct wait_context *context, uint64_t address)
{
    uint64_t newest = read_pointer(context, address + condition_newest_bytes);
    uint64_t oldest = read_pointer(context, address + condition_oldest_bytes);
    if (newest == 0 || oldest == 0 || newest % 8 != 0 || oldest % 8 != 0 || !is_there(context, newest) ||
        !is_there(context, oldest) || read_pointer(context, newest) != 0 || read_pointer(context, oldest + 8) != 0)
        return false;
    return newest == oldest || (read_pointer(context, newest + 8) != 0 && read_pointer(context, oldest) != 0);
}

/* The word is on the waiter's stack; the condition variable is an argument that its frame or a register still holds. 0
 * when it is not found. */
static uint64_t find_condition(const struct wait_context *context, const struct registers *registers)
{
    const struct arch *arch = context->image->arch;
    for (int i = 0; i < arch->register_count; i++)
        if ((arch->callee_saved >> i & 1) != 0 && registers->values[i] != 0 && registers->values[i] % 8 == 0 &&
            is_condition(context, registers->values[i]))
            return registers->values[i];
    uint64_t sp = registers->values[arch->sp];
    for (uint64_t at = (sp + 7) & ~(uint64_t)7; at - sp < frame_bytes; at += 8) {
        uint64_t candidate = read_pointer(context, at);
        if (candidate != 0 && candidate % 8 == 0 && is_condition(context, candidate))
            return candidate;
    }
    return 0;
}

/* A waiter that was signalled is moved over to the mutex that it must take again (FUTEX_REQUEUE): its registers still
 * name its own word. */
static bool is_signalled(const struct wait_context *context, const struct futex_wait *wait)
{
    uint32_t state;
    return wait_context_words(context, wait->word - waiter_state_bytes, &state, 1) && state != 0;
}

static uint32_t read_plain(struct wait_context *context, const struct futex_wait *wait, enum wait_kind kind,
                           uint64_t address, enum learnt learnt, enum holder_state holder)
{
    bool is_new;
    uint32_t number = wait_context_object(context, kind, address, learnt, &is_new);
    wait_context_resource(context, number)->holder = holder;
    wait_context_resource(context, number)->is_shared = !wait->is_private;
    return number;
}

/* The word is a field of the joined thread's block. */
static bool read_join(struct wait_context *context, const struct futex_wait *wait, uint32_t *ret_number)
{
    uint32_t member = wait_threads_around(&context->threads, wait->word);
    if (member == index_none)
        return false;
    bool is_new;
    *ret_number = wait_build_resource(&context->build, WAIT_JOIN, context->snapshot->members[member].id, 0, &is_new);
    if (is_new) {
        struct resource *resource = wait_context_resource(context, *ret_number);
        resource->learnt = LEARNT_READ;
        resource->owner_id = context->threads.ids[member];
        wait_build_hold(&context->build, (struct hold){*ret_number, member, true, LEARNT_READ});
    }
    return true;
}

/* The lock of a FILE is its owner's tid. */
static uint32_t read_stdio(struct wait_context *context, const struct futex_wait *wait)
{
    uint32_t word;
    bool is_new;
    uint32_t number = wait_context_object(context, WAIT_STDIO, wait->word, LEARNT_READ, &is_new);
    if (!is_new)
        return number;
    if (!wait_context_words(context, wait->word, &word, 1))
        wait_context_unreadable(context, number);
    else if ((word & word_id) == 0)
        wait_context_resource(context, number)->holder = HOLDER_FREE;
    else if ((word & word_id) <= thread_id_max)
        wait_context_own(context, number, word & word_id, false);
    return number;
}

bool wait_musl_read(struct wait_context *context, const struct futex_wait *wait, const struct registers *registers,
                    struct futex_object *ret_object)
{
    struct futex_object object = {index_none, false};
    uint64_t address;
    switch (wait->call) {
    case CALL_MUTEX:
        object = (struct futex_object){read_mutex(context, wait), true};
        break;
    case CALL_RWLOCK_READ:
    case CALL_RWLOCK_WRITE:
        object = (struct futex_object){read_rwlock(context, wait), wait->call == CALL_RWLOCK_WRITE};
        break;
    case CALL_CONDITION:
        if (wait->is_private && is_signalled(context, wait))
            return false;
        address = wait->is_private ? find_condition(context, registers) : wait->word - condition_sequence_bytes;
        object.resource = read_plain(context, wait, WAIT_CONDITION, address,
                                     address != 0 ? LEARNT_READ : LEARNT_INFERRED, HOLDER_NEVER);
        break;
    case CALL_SEMAPHORE:
        object.resource = read_plain(context, wait, WAIT_SEMAPHORE, wait->word, LEARNT_READ, HOLDER_NEVER);
        break;
    case CALL_JOIN:
        if (!read_join(context, wait, &object.resource))
            object.resource = read_plain(context, wait, WAIT_JOIN, 0, LEARNT_INFERRED, HOLDER_UNKNOWN);
        break;
    case CALL_BARRIER:
        /* The word is on the stack of the thread that came first, and the barrier is not looked at any more. */
        object.resource = read_plain(context, wait, WAIT_BARRIER, 0, LEARNT_INFERRED, HOLDER_NEVER);
        break;
    case CALL_ONCE:
        object =
            (struct futex_object){read_plain(context, wait, WAIT_ONCE, wait->word, LEARNT_READ, HOLDER_UNKNOWN), true};
        break;
    case CALL_STDIO:
        object = (struct futex_object){read_stdio(context, wait), true};
        break;
    case CALL_ALLOCATOR:
        object = (struct futex_object){
            read_plain(context, wait, WAIT_ALLOCATOR, wait->word, LEARNT_READ, HOLDER_UNKNOWN), true};
        break;
    case CALL_UNKNOWN:
    case CALL_LOADER:
    case CALL_RUST_MUTEX:
    case CALL_RUST_READ:
    case CALL_RUST_WRITE:
    case CALL_RUST_CONDITION:
    case CALL_RUST_ONCE:
    case CALL_PARK:
    case CALL_WORD_SEMAPHORE:
    case CALL_WORD_BARRIER:
    case CALL_WORD:
    case CALL_WORD_MUTEX:
    case CALL_WORD_CONDITION:
        return false;
    }
    *ret_object = object;
    return true;
}

/* A mutex of a type that keeps its owner, which is a thread of this process; the waiter saw that owner in the word. */
bool wait_musl_guess(struct wait_context *context, const struct futex_wait *wait, struct futex_object *ret_object)
{
    uint32_t words[3], number;
    uint64_t block = wait->word - block_join_bytes;
    if (context->threads.libc == LIBC_MUSL && wait_threads_find_block(&context->threads, block) != index_none &&
        read_join(context, wait, &number)) {
        *ret_object = (struct futex_object){number, false};
        return true;
    }
    if (wait->word % 8 != mutex_lock_bytes || !wait_context_words(context, wait->word - mutex_lock_bytes, words, 3) ||
        (words[0] & ~(uint32_t)mutex_type_known) != 0 || (words[0] & 15) == 0 || words[2] > thread_id_max)
        return false;
    /* The kernel keeps the word of PI mutexes, and counts no waiters. */
    if (((words[0] & mutex_type_inherit) == 0 && (words[2] == 0 || wait->expected != words[1])) ||
        wait_threads_find(&context->threads, words[1] & word_id) == index_none)
        return false;
    *ret_object = (struct futex_object){read_mutex(context, wait), true};
    return true;
}
