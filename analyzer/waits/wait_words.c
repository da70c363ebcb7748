/* SPDX-License-Identifier: Apache-2.0 */
#include "waits/wait_words.h"

enum {
    /* Rust's RwLock: state, then the word that writers wait on. */
    rust_writer_bytes = 4,
    rust_count = 0x3fffffff,
    rust_write_locked = 0x3fffffff,
    /* What waiters for a mutex expect: GLib's gthread-posix.c, libgomp's config/linux/mutex.h (-1). */
    glib_mutex_waited = 2,
};

static const uint32_t gomp_mutex_waited = UINT32_MAX;

static const struct word_call {
    enum wait_kind kind;
    enum holder_state holder;
    bool exclusive;
} calls[] = {
    [CALL_RUST_MUTEX] = {WAIT_MUTEX, HOLDER_UNKNOWN, true},
    [CALL_RUST_READ] = {WAIT_RWLOCK, HOLDER_UNKNOWN, false},
    [CALL_RUST_WRITE] = {WAIT_RWLOCK, HOLDER_UNKNOWN, true},
    [CALL_RUST_CONDITION] = {WAIT_CONDITION, HOLDER_NEVER, false},
    [CALL_RUST_ONCE] = {WAIT_ONCE, HOLDER_UNKNOWN, true},
    [CALL_PARK] = {WAIT_FUTEX, HOLDER_NEVER, false},
    [CALL_WORD_SEMAPHORE] = {WAIT_SEMAPHORE, HOLDER_NEVER, false},
    [CALL_WORD_BARRIER] = {WAIT_BARRIER, HOLDER_NEVER, false},
    [CALL_WORD] = {WAIT_FUTEX, HOLDER_NEVER, false},
    [CALL_WORD_MUTEX] = {WAIT_MUTEX, HOLDER_UNKNOWN, true},
    [CALL_WORD_CONDITION] = {WAIT_CONDITION, HOLDER_NEVER, false},
};

static void read_state(const struct wait_context *context, enum wait_call call, struct resource *resource)
{
    uint32_t word;
    if (!wait_context_words(context, resource->address, &word, 1))
        return;
    if ((call == CALL_RUST_MUTEX || call == CALL_WORD_MUTEX) && word == 0)
        resource->holder = HOLDER_FREE;
    if (call != CALL_RUST_READ && call != CALL_RUST_WRITE)
        return;
    uint32_t count = word & rust_count;
    if (count == 0)
        resource->holder = HOLDER_FREE;
    else if (count != rust_write_locked) {
        resource->holder = HOLDER_ANONYMOUS;
        resource->anonymous_count = count;
    }
}

bool wait_words_read(struct wait_context *context, const struct futex_wait *wait, struct futex_object *ret_object)
{
    if (wait->call < CALL_RUST_MUTEX ||
        (wait->call == CALL_WORD_MUTEX && wait->expected != glib_mutex_waited && wait->expected != gomp_mutex_waited))
        return false;
    const struct word_call *call = &calls[wait->call];
    bool is_new;
    uint64_t address = wait->call == CALL_RUST_WRITE ? wait->word - rust_writer_bytes : wait->word;
    uint32_t number = wait_context_object(context, call->kind, address, LEARNT_READ, &is_new);
    struct resource *resource = wait_context_resource(context, number);
    if (is_new) {
        resource->holder = call->holder;
        read_state(context, wait->call, resource);
    }
    *ret_object = (struct futex_object){number, call->exclusive};
    return true;
}
