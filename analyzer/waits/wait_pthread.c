/* SPDX-License-Identifier: Apache-2.0 */
#include "waits/wait_pthread.h"

#include "base/byte_reader.h"

enum {
    thread_id_max = 4 << 20, /* the kernel's PID_MAX_LIMIT */

    /* pthread_mutex_t as 32-bit words */
    mutex_lock = 0,
    mutex_count = 1,
    mutex_owner = 2,
    mutex_users = 3,
    mutex_kind = 4,
    mutex_words = 5,
    /* __kind: 0 to 3 normal, recursive, error-checking, adaptive */
    kind_robust = 16,
    kind_inherit = 32,
    kind_protect = 64,
    kind_shared = 128, /* also set in every robust mutex, private ones too (seen in 2.36) */
    kind_known = 3 | kind_robust | kind_inherit | kind_protect | kind_shared | 256 | 512, /* elision, no elision */
    recursive = 1,
    ceiling_shift = 19, /* of a priority-protected mutex's lock word */
    /* The lock word of robust and PI mutexes, as the kernel knows it (linux/futex.h). */
    word_owner_died = 0x40000000,
    word_tid = 0x3fffffff,

    /* pthread_rwlock_t */
    rwlock_readers = 0,
    rwlock_write_phase_futex = 2,
    rwlock_writers_futex = 3,
    rwlock_pad = 4, /* two words, always 0 */
    rwlock_writer = 6,
    rwlock_shared = 7,
    rwlock_words = 14,
    readers_write_phase = 1,
    readers_write_locked = 2,
    readers_shift = 3,

    /* futex operations (linux/futex.h) */
    operation_wait = 0,
    operation_wait_bitset = 9,
};

/* Who has a lock, as its bytes say. */
struct lock_state {
    enum holder_state holder; /* HOLDER_HELD: by `owner`, which is not 0 */
    uint32_t owner, readers;
    bool is_shared;       /* between processes, as far as the bytes tell */
    bool owner_elsewhere; /* an owner that is no thread here can be another process's */
};

/* False when these are no mutex's bytes. */
static bool mutex_parse(const uint32_t words[mutex_words], struct lock_state *ret_state)
{
    uint32_t kind = words[mutex_kind], lock = words[mutex_lock], owner = words[mutex_owner];
    bool is_word_owner = (kind & (kind_robust | kind_inherit)) != 0;
    if ((kind & ~(uint32_t)kind_known) != 0)
        return false;
    *ret_state = (struct lock_state){
        .is_shared = (kind & kind_shared) != 0 && (kind & kind_robust) == 0,
        .owner_elsewhere = (kind & kind_shared) != 0,
    };
    if (kind & kind_protect)
        lock &= (1u << ceiling_shift) - 1;
    if (is_word_owner)
        owner = lock & word_tid;
    else if (lock > 2)
        return false;
    if (owner > thread_id_max)
        return false;
    /* The next owner of a robust mutex whose owner died is told so when it wakes. */
    if (lock == 0 || (is_word_owner && owner == 0))
        ret_state->holder = HOLDER_FREE;
    /* Locked, but the owner not yet written or taken back already: an instant of lock and unlock. */
    else if (owner == 0)
        ret_state->holder = HOLDER_UNKNOWN;
    else
        ret_state->holder = HOLDER_HELD;
    ret_state->owner = owner;
    return true;
}

static bool rwlock_parse(const uint32_t words[rwlock_words], struct lock_state *ret_state)
{
    uint32_t readers = words[rwlock_readers], writer = words[rwlock_writer];
    if (words[rwlock_pad] != 0 || words[rwlock_pad + 1] != 0 || words[rwlock_shared] > 1 || writer > thread_id_max ||
        words[rwlock_write_phase_futex] > 3 || words[rwlock_writers_futex] > 3)
        return false;
    *ret_state = (struct lock_state){
        .is_shared = words[rwlock_shared] != 0,
        .owner_elsewhere = words[rwlock_shared] != 0,
        .owner = writer,
        .readers = readers >> readers_shift,
    };
    /* In a write phase the count is that of readers that wait. */
    if ((readers & readers_write_phase) == 0)
        ret_state->holder = ret_state->readers != 0 ? HOLDER_ANONYMOUS : HOLDER_FREE;
    else if ((readers & readers_write_locked) == 0)
        ret_state->holder = HOLDER_FREE;
    else
        ret_state->holder = writer != 0 ? HOLDER_HELD : HOLDER_UNKNOWN;
    if (ret_state->holder == HOLDER_ANONYMOUS && ret_state->readers > thread_id_max)
        return false;
    return true;
}

static void apply_state(struct wait_context *context, uint32_t number, const struct lock_state *state)
{
    struct resource *resource = wait_context_resource(context, number);
    resource->is_shared = state->is_shared;
    resource->holder = state->holder;
    if (state->holder == HOLDER_ANONYMOUS)
        resource->anonymous_count = state->readers;
    if (state->holder == HOLDER_HELD)
        wait_context_own(context, number, state->owner, state->owner_elsewhere);
}

/* A lock whose bytes, `count` words, `parse` understands. Nonsense in them leaves the holder unknown. */
static uint32_t read_lock(struct wait_context *context, enum wait_kind kind, uint64_t address, size_t count,
                          bool (*parse)(const uint32_t *, struct lock_state *))
{
    uint32_t words[rwlock_words];
    bool is_new;
    uint32_t number = wait_context_object(context, kind, address, LEARNT_READ, &is_new);
    struct lock_state state;
    if (!is_new)
        return number;
    if (!wait_context_words(context, address, words, count))
        wait_context_unreadable(context, number);
    else if (parse(words, &state))
        apply_state(context, number, &state);
    else
        wait_context_resource(context, number)->learnt = LEARNT_INFERRED;
    return number;
}

static bool is_loader_data(const struct wait_context *context, uint64_t address)
{
    uint32_t module = image_find_module(context->image, address);
    if (module == index_none)
        return false;
    struct text name = text_basename(context->image->modules[module].path);
    return text_starts_with(name, TEXT("ld-linux")) || text_starts_with(name, TEXT("ld-2.")) ||
           text_equals(name, TEXT("ld.so")) || text_starts_with(name, TEXT("ld64.so"));
}

static uint32_t read_mutex(struct wait_context *context, const struct futex_wait *wait)
{
    bool is_loader = wait->call == CALL_LOADER || is_loader_data(context, wait->word);
    return read_lock(context, is_loader ? WAIT_LOADER : WAIT_MUTEX, wait->word, mutex_words, mutex_parse);
}

/* Where the kernel refuses a PI mutex to a thread that has it (EDEADLK) or whose owner ended (ESRCH), glibc waits for
 * ever: on a word of its own that is 0. No wait for a mutex expects 0. */
static bool is_endless(const struct futex_wait *wait)
{
    return wait->call == CALL_MUTEX && wait->expected == 0 &&
           (wait->operation == operation_wait || wait->operation == operation_wait_bitset);
}

/* Of a live target the bytes may be those of now: who waits for ever still waits then. */
static bool is_refused_mutex(const struct wait_context *context, uint64_t address, uint32_t member,
                             struct lock_state *ret_state)
{
    uint8_t bytes[4 * mutex_words];
    uint32_t words[mutex_words];
    bool is_late;
    if (address == 0 || address % 8 != 0 ||
        memory_ask(&context->image->memory, address, bytes, sizeof bytes, &is_late) != sizeof bytes)
        return false;
    for (size_t i = 0; i < mutex_words; i++)
        words[i] = load_u32(bytes + 4 * i);
    return (words[mutex_kind] & kind_inherit) != 0 && mutex_parse(words, ret_state) &&
           ret_state->holder == HOLDER_HELD &&
           (ret_state->owner == context->threads.ids[member] ||
            wait_threads_find(&context->threads, ret_state->owner) == index_none);
}

/* The frames of the lock call keep the mutex's address: in a register, or where they saved it. One that the thread has
 * itself is meant rather than one that nobody has. 0: none. */
static uint64_t find_refused_mutex(const struct wait_context *context, uint32_t member, struct lock_state *ret_state)
{
    enum { slot_count = 48 };
    const struct image *image = context->image;
    struct registers registers;
    struct lock_state state;
    uint64_t found = 0;
    if (image->threads[member].registers == NULL)
        return 0;
    image->arch->registers_decode(image->threads[member].registers, &registers);
    uint64_t sp = registers.values[image->arch->sp];
    for (unsigned i = 0; i < arch_registers_max + slot_count; i++) {
        uint64_t address = 0;
        if (i >= arch_registers_max)
            memory_read_u64(&image->memory, sp + 8 * (uint64_t)(i - arch_registers_max), &address);
        else if ((image->arch->callee_saved >> i & 1) != 0)
            address = registers.values[i];
        if (!is_refused_mutex(context, address, member, &state))
            continue;
        bool is_own = state.owner == context->threads.ids[member];
        if (!is_own && found != 0)
            continue;
        found = address;
        *ret_state = state;
        if (is_own)
            break;
    }
    return found;
}

static struct futex_object read_endless(struct wait_context *context, const struct futex_wait *wait)
{
    bool is_new;
    struct lock_state state;
    uint64_t address = find_refused_mutex(context, wait->member, &state);
    if (address != 0) {
        uint32_t number = wait_context_object(context, WAIT_MUTEX, address, LEARNT_INFERRED, &is_new);
        if (is_new)
            apply_state(context, number, &state);
        return (struct futex_object){number, true};
    }
    uint32_t number = wait_context_object(context, WAIT_FUTEX, wait->word, LEARNT_READ, &is_new);
    wait_context_resource(context, number)->holder = HOLDER_NEVER;
    return (struct futex_object){number, false};
}

/* Writers wait on the words at 8 and 12, readers on that at 8; where writers are preferred, readers also on the count
 * at 0, which is 8 and more then: the word at 8 holds a flag or two. */
static uint64_t rwlock_address(const struct futex_wait *wait)
{
    if (wait->word % 8 == 4)
        return wait->word - 12;
    return wait->expected <= 3 ? wait->word - 8 : wait->word;
}

/* Whether a condition variable can lie there, one of whose waiters stands on the word of that group (0 or 1). Sequence
 * and group start, then in the old layout references of both groups; waiters, counted in both layouts behind flags of
 * three bits; the words that the new one does without are kept as zeros. A waiter has a reference to its group. */
static bool condition_is_plausible(const struct wait_context *context, uint64_t address, unsigned group,
                                   bool is_new_layout)
{
    uint32_t words[12];
    if (!wait_context_words(context, address, words, 12))
        return false;
    uint64_t sequence = words[0] | (uint64_t)words[1] << 32, start = words[2] | (uint64_t)words[3] << 32;
    uint32_t waiters = words[is_new_layout ? 7 : 9] >> 3;
    if (waiters == 0 || waiters > thread_id_max || sequence >> 1 < waiters || start >> 1 > sequence >> 1)
        return false;
    if (is_new_layout)
        return words[10] == 0 && words[11] == 0;
    return words[4 + group] >> 1 != 0 && (words[4] >> 1) + (uint64_t)(words[5] >> 1) <= waiters;
}

/* Its waiters stand on one of two words, by turns: at 40 and 44, from glibc 2.41 on at 32 and 36. */
static uint32_t read_condition(struct wait_context *context, const struct futex_wait *wait)
{
    uint64_t word = wait->word & ~(uint64_t)7;
    unsigned group = wait->word % 8 / 4;
    bool is_old = condition_is_plausible(context, word - 40, group, false);
    bool is_new = !is_old && condition_is_plausible(context, word - 32, group, true);
    uint64_t address = is_old ? word - 40 : is_new ? word - 32 : word;
    bool is_first;
    uint32_t number = wait_context_object(context, WAIT_CONDITION, address,
                                          is_old || is_new ? LEARNT_READ : LEARNT_INFERRED, &is_first);
    wait_context_resource(context, number)->holder = HOLDER_NEVER;
    wait_context_resource(context, number)->is_shared = !wait->is_private;
    return number;
}

static uint32_t read_semaphore(struct wait_context *context, const struct futex_wait *wait)
{
    bool is_new;
    uint32_t value, number = wait_context_object(context, WAIT_SEMAPHORE, wait->word, LEARNT_READ, &is_new);
    struct resource *resource = wait_context_resource(context, number);
    resource->holder = HOLDER_NEVER;
    resource->is_shared = !wait->is_private;
    if (is_new && wait_context_words(context, wait->word, &value, 1))
        resource->fill = value;
    return number;
}

/* The word is the joined thread's own tid, which the kernel clears when that thread ends. */
static uint32_t read_join(struct wait_context *context, const struct futex_wait *wait)
{
    uint32_t member = wait_threads_find(&context->threads, wait->expected);
    if (member == index_none)
        member = wait_threads_around(&context->threads, wait->word);
    bool is_new;
    uint64_t id = member != index_none ? context->snapshot->members[member].id : wait->expected;
    uint32_t number = wait_build_resource(&context->build, WAIT_JOIN, id, 0, &is_new);
    if (!is_new)
        return number;
    wait_context_resource(context, number)->learnt = LEARNT_READ;
    wait_context_resource(context, number)->owner_id = wait->expected;
    if (member != index_none)
        wait_build_hold(&context->build, (struct hold){number, member, true, LEARNT_READ});
    return number;
}

/* {int lock; int count; void *owner}: the owner is a pthread_t, the address of the thread's block. */
static uint32_t read_stdio(struct wait_context *context, const struct futex_wait *wait)
{
    uint32_t words[4];
    bool is_new;
    uint32_t number = wait_context_object(context, WAIT_STDIO, wait->word, LEARNT_READ, &is_new);
    struct resource *resource = wait_context_resource(context, number);
    if (!is_new)
        return number;
    if (!wait_context_words(context, wait->word, words, 4)) {
        wait_context_unreadable(context, number);
        return number;
    }
    if (words[0] == 0) {
        resource->holder = HOLDER_FREE;
        return number;
    }
    uint32_t member = wait_threads_find_block(&context->threads, words[2] | (uint64_t)words[3] << 32);
    if (member == index_none)
        return number;
    resource->owner_id = context->threads.ids[member];
    wait_build_hold(&context->build, (struct hold){number, member, true, LEARNT_READ});
    return number;
}

static uint32_t read_plain(struct wait_context *context, const struct futex_wait *wait, enum wait_kind kind,
                           uint64_t address, enum holder_state holder)
{
    bool is_new;
    uint32_t number = wait_context_object(context, kind, address, LEARNT_READ, &is_new);
    wait_context_resource(context, number)->holder = holder;
    wait_context_resource(context, number)->is_shared = !wait->is_private;
    return number;
}

bool wait_pthread_read(struct wait_context *context, const struct futex_wait *wait, struct futex_object *ret_object)
{
    struct futex_object object = {index_none, false};
    if (is_endless(wait)) {
        *ret_object = read_endless(context, wait);
        return true;
    }
    switch (wait->call) {
    case CALL_MUTEX:
    case CALL_LOADER:
        object = (struct futex_object){read_mutex(context, wait), true};
        break;
    case CALL_RWLOCK_READ:
    case CALL_RWLOCK_WRITE:
        object.resource = read_lock(context, WAIT_RWLOCK, rwlock_address(wait), rwlock_words, rwlock_parse);
        object.exclusive = wait->call == CALL_RWLOCK_WRITE;
        break;
    case CALL_CONDITION:
        object.resource = read_condition(context, wait);
        break;
    case CALL_SEMAPHORE:
        object.resource = read_semaphore(context, wait);
        break;
    case CALL_JOIN:
        object.resource = read_join(context, wait);
        break;
    case CALL_BARRIER: /* its waiters stand on the word at 4, the round */
        object.resource = read_plain(context, wait, WAIT_BARRIER, wait->word & ~(uint64_t)7, HOLDER_NEVER);
        break;
    case CALL_ONCE:
        object = (struct futex_object){read_plain(context, wait, WAIT_ONCE, wait->word, HOLDER_UNKNOWN), true};
        break;
    case CALL_STDIO:
        object = (struct futex_object){read_stdio(context, wait), true};
        break;
    case CALL_ALLOCATOR:
        object = (struct futex_object){read_plain(context, wait, WAIT_ALLOCATOR, wait->word, HOLDER_UNKNOWN), true};
        break;
    case CALL_UNKNOWN:
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

/* A mutex that a thread of this process has: the waiter found the lock taken with waiters (2), and owner, kind and
 * users agree. Robust ones are waited for with the owner's id in the word. */
static bool guess_mutex(const struct wait_context *context, const struct futex_wait *wait)
{
    uint32_t words[mutex_words];
    struct lock_state state;
    if (wait->word % 8 != 0 || !wait_context_words(context, wait->word, words, mutex_words) ||
        !mutex_parse(words, &state) || state.holder != HOLDER_HELD ||
        wait_threads_find(&context->threads, state.owner) == index_none || words[mutex_owner] != state.owner)
        return false;
    uint32_t kind = words[mutex_kind];
    bool is_word_owner = (kind & (kind_robust | kind_inherit)) != 0;
    if (words[mutex_users] == 0 || words[mutex_users] > thread_id_max ||
        ((kind & 3) == recursive && words[mutex_count] == 0))
        return false;
    if (is_word_owner)
        return (wait->expected & word_tid) == state.owner || (kind & kind_inherit) != 0;
    return words[mutex_lock] == 2 && wait->expected == 2;
}

/* A rwlock that a writer of this process has: sixteen words that agree with each other. */
static bool guess_rwlock(const struct wait_context *context, const struct futex_wait *wait, uint64_t address)
{
    uint32_t words[rwlock_words];
    struct lock_state state;
    if (address % 8 != 0 || !wait_context_words(context, address, words, rwlock_words) ||
        !rwlock_parse(words, &state) || state.holder != HOLDER_HELD ||
        wait_threads_find(&context->threads, state.owner) == index_none)
        return false;
    return words[(wait->word - address) / 4] == wait->expected;
}

static bool guess_join(struct wait_context *context, const struct futex_wait *wait)
{
    uint32_t value, member = wait_threads_find(&context->threads, wait->expected);
    return member != index_none && wait_context_words(context, wait->word, &value, 1) && value == wait->expected &&
           wait_threads_around(&context->threads, wait->word) == member && !wait->is_private;
}

bool wait_pthread_guess(struct wait_context *context, const struct futex_wait *wait, struct futex_object *ret_object)
{
    if (guess_join(context, wait)) {
        *ret_object = (struct futex_object){read_join(context, wait), false};
        return true;
    }
    if (guess_mutex(context, wait)) {
        *ret_object = (struct futex_object){read_mutex(context, wait), true};
        return true;
    }
    bool is_wait = wait->operation == operation_wait || wait->operation == operation_wait_bitset;
    uint64_t address = rwlock_address(wait);
    if (is_wait && guess_rwlock(context, wait, address)) {
        /* The second word is the writers' alone; on the first both can stand. */
        ret_object->exclusive = wait->word == address + 4 * rwlock_writers_futex;
        ret_object->resource = read_lock(context, WAIT_RWLOCK, address, rwlock_words, rwlock_parse);
        return true;
    }
    return false;
}
