/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "literal_snapshot.h"
#include "waits/wait_call.h"
#include "waits/wait_facts.h"
#include "waits/wait_threads.h"

#include <stdio.h>
#include <stdlib.h>

/* The target: a few threads, data that locks lie in, a stack and a block for each thread. */
enum {
    thread_count_max = 8,
    data_start = 0x10000,
    data_words = 256,
    stack_start = 0x700000,
    stack_bytes = 0x1000,
    sp_bytes = 0x800, /* where the stack pointers are in the stacks */
    block_start = 0x900000,
    block_bytes = 0x400,
    raw_words = 27,
    raw_fs_base = 21,
    raw_rax = 10,
    raw_rsp = 19,
    first_tid = 101,

    futex = 202,
    private_wait = 128,
    private_wait_bitset = 137,
    shared_wait_bitset = 9,
    private_lock_pi = 134,
};

struct target {
    struct literal literal;
    struct image image;
    struct thread threads[thread_count_max];
    uint64_t raw[thread_count_max][raw_words];
    uint32_t data[data_words];
    uint64_t stacks[thread_count_max][stack_bytes / 8];
    uint64_t blocks[thread_count_max][block_bytes / 8];
    uint32_t block_ids[thread_count_max];
};

static struct target target;

static void add_range(uint64_t start, const void *bytes, size_t size_bytes)
{
    memory_layer_append(&target.image.memory, &target.image.memory.core,
                        (struct memory_range){start, start + size_bytes, bytes});
}

static int setup(void **state)
{
    (void)state;
    memset(&target, 0, sizeof target);
    literal_init(&target.literal);
    target.image = (struct image){
        .arch = &arch_x86_64,
        .memory.arena = &target.literal.arena,
        .threads = target.threads,
    };
    add_range(data_start, target.data, sizeof target.data);
    memory_layer_freeze(&target.image.memory, &target.image.memory.core);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    literal_deinit(&target.literal);
    return 0;
}

/* A target of its own for each row of a table. */
static void restart(void)
{
    teardown(NULL);
    setup(NULL);
}

/* A stack of these functions, leaf first, separated by spaces; "-" has no name. */
static uint32_t stack_of(const char *functions)
{
    uint32_t locations[16], count = 0;
    while (*functions != 0) {
        size_t length = strcspn(functions, " ");
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)length, functions);
        locations[count] = literal_location(&target.literal, 0x400000 + count, false, index_none, 0);
        literal_frame(&target.literal, strcmp(name, "-") == 0 ? NULL : name, NULL, 0, false);
        count++;
        functions += length + (functions[length] == ' ');
    }
    uint32_t stack = literal_stack(&target.literal, STACK_END_OUTERMOST, 0);
    for (uint32_t i = 0; i < count; i++)
        literal_step(&target.literal, locations[i], TRUST_CFI);
    return stack;
}

/* The next thread, in that call; its place is returned. */
static uint32_t add_thread(int64_t number, uint64_t first, uint64_t second, uint64_t third, const char *functions)
{
    uint32_t i = (uint32_t)target.image.thread_count++;
    struct system_call call = {.number = number, .arguments = {first, second, third}};
    arch_x86_64.registers_encode(&call, stack_start + i * stack_bytes + sp_bytes, 0x400000, (uint8_t *)target.raw[i]);
    target.raw[i][raw_fs_base] = block_start + i * block_bytes;
    target.blocks[i][0] = target.blocks[i][2] = block_start + i * block_bytes;
    target.threads[i] = (struct thread){.tid = first_tid + i, .registers = (const uint8_t *)target.raw[i]};
    target.block_ids[i] = first_tid + i;
    literal_member(&target.literal, first_tid + i, stack_of(functions), "futex wait", -1);
    target.image.thread_count_claimed = target.image.thread_count;
    return i;
}

static uint32_t add_waiter(uint32_t operation, uint64_t word, uint32_t expected, const char *functions)
{
    return add_thread(futex, word, operation, expected, functions);
}

static uint32_t add_runner(void)
{
    return add_thread(-1, 0, 0, 0, "work");
}

static void read_facts(void)
{
    for (uint32_t i = 0; i < target.image.thread_count; i++) {
        memcpy((uint8_t *)target.blocks[i] + 0x2d0, &target.block_ids[i], 4);
        add_range(stack_start + i * stack_bytes, target.stacks[i], stack_bytes);
        add_range(block_start + i * block_bytes, target.blocks[i], block_bytes);
    }
    memory_layer_freeze(&target.image.memory, &target.image.memory.core);
    struct arena scratch;
    arena_init(&scratch, 0, NULL);
    wait_facts_read(&target.image, &target.literal.snapshot, NULL, &scratch, &target.literal.diagnostics);
    arena_deinit(&scratch);
}

/* What the only wait of a thread is for. */
static const struct resource *resource_of(uint32_t thread)
{
    const struct snapshot *snapshot = &target.literal.snapshot;
    assert_int_equal(snapshot->members[thread].wait_count, 1);
    const struct wait *wait = &snapshot->waits[snapshot->members[thread].wait_first];
    assert_int_equal(wait->member, thread);
    assert_int_equal(wait->learnt, LEARNT_READ);
    return &snapshot->resources[wait->resource];
}

static void assert_resource(const struct resource *resource, enum wait_kind kind, uint64_t address,
                            enum holder_state holder)
{
    assert_int_equal(resource->kind, kind);
    assert_int_equal(resource->address, address);
    assert_int_equal(resource->holder, holder);
    assert_int_equal(resource->hold_count != 0, holder == HOLDER_HELD);
}

static void assert_held(const struct resource *resource, enum wait_kind kind, uint64_t address, uint32_t holder)
{
    assert_resource(resource, kind, address, HOLDER_HELD);
    assert_int_equal(resource->hold_count, 1);
    const struct hold *hold = &target.literal.snapshot.holds[resource->hold_first];
    assert_int_equal(hold->member, holder);
    assert_int_equal(hold->learnt, LEARNT_READ);
}

enum { mutex = data_start + 64 };

/* glibc 2.36: lock, count, owner, users, kind. */
static void put_mutex(uint32_t lock, uint32_t count, uint32_t owner, uint32_t users, uint32_t kind)
{
    const uint32_t words[] = {lock, count, owner, users, kind};
    memcpy(target.data + (mutex - data_start) / 4, words, sizeof words);
}

#define MUTEX_FRAMES "futex_wait __GI___lll_lock_wait lll_mutex_lock_optimized ___pthread_mutex_lock work"

static void test_mutex(void **state)
{
    (void)state;
    uint32_t owner = add_runner(), first = add_waiter(private_wait, mutex, 2, MUTEX_FRAMES);
    uint32_t second = add_waiter(private_wait, mutex, 2, "- __pthread_mutex_lock@GLIBC_2.2.5 other");
    put_mutex(2, 0, first_tid + owner, 1, 0);
    read_facts();
    assert_held(resource_of(first), WAIT_MUTEX, mutex, owner);
    assert_ptr_equal(resource_of(first), resource_of(second));
    assert_int_equal(resource_of(first)->waiters, 2);
    assert_int_equal(resource_of(first)->owner_id, first_tid + owner);
    assert_int_equal(resource_of(first)->learnt, LEARNT_READ);
    assert_true(target.literal.snapshot.waits[0].exclusive);
    assert_int_equal(target.literal.diagnostics.count, 0);
}

static void test_self_deadlock(void **state)
{
    (void)state;
    uint32_t self = add_waiter(private_wait, mutex, 2, MUTEX_FRAMES);
    put_mutex(2, 0, first_tid + self, 1, 0);
    read_facts();
    assert_held(resource_of(self), WAIT_MUTEX, mutex, self);
}

/* glibc waits for ever on a word of its own, of a PI mutex that the thread has; the lock call's frame keeps its
 * address. */
static void test_refused_mutex(void **state)
{
    (void)state;
    for (uint32_t owner = 0; owner < 3; owner++) {
        restart();
        uint32_t self = add_waiter(private_wait, stack_start + sp_bytes + 4, 0,
                                   "__futex_abstimed_wait_common __pthread_mutex_lock_full work");
        uint32_t other = add_runner();
        const uint32_t owners[] = {first_tid + self, first_tid + other, 999};
        uint64_t address = mutex;
        memcpy((uint8_t *)target.stacks[self] + sp_bytes + 24, &address, 8);
        put_mutex(owners[owner], 0, owners[owner], 1, 0x20);
        read_facts();
        if (owner == 0)
            assert_int_equal(resource_of(self)->hold_count, 1);
        if (owner == 1) /* it is refused to nobody */
            assert_resource(resource_of(self), WAIT_FUTEX, stack_start + sp_bytes + 4, HOLDER_NEVER);
        else
            assert_resource(resource_of(self), WAIT_MUTEX, mutex, owner == 0 ? HOLDER_HELD : HOLDER_ENDED);
        assert_int_equal(resource_of(self)->learnt, owner == 1 ? LEARNT_READ : LEARNT_INFERRED);
    }
}

/* The lock's bytes, what becomes of it and how sure its kind is. */
static void test_mutex_states(void **state)
{
    (void)state;
    static const struct {
        uint32_t lock, owner, kind;
        enum holder_state holder;
        enum learnt learnt;
    } rows[] = {
        {0, 0, 0, HOLDER_FREE, LEARNT_READ},
        {0, first_tid, 0, HOLDER_FREE, LEARNT_READ}, /* a stale owner */
        {2, 0, 0, HOLDER_UNKNOWN, LEARNT_READ},      /* between lock and owner */
        {2, 999, 0, HOLDER_ENDED, LEARNT_READ},
        {2, 999, 0x80, HOLDER_ELSEWHERE, LEARNT_READ},
        {2, 999, 0x201, HOLDER_ENDED, LEARNT_READ},
        {2, 0x7fffffff, 0, HOLDER_UNKNOWN, LEARNT_INFERRED}, /* no id */
        {3, first_tid, 0, HOLDER_UNKNOWN, LEARNT_INFERRED},
        {0xdeadbeef, 0xdeadbeef, 0xdeadbeef, HOLDER_UNKNOWN, LEARNT_INFERRED},
        {2, first_tid, 4, HOLDER_UNKNOWN, LEARNT_INFERRED},                  /* no kind */
        {0x80000000 | first_tid, first_tid, 0x90, HOLDER_HELD, LEARNT_READ}, /* robust */
        {0x40000000, 999, 0x90, HOLDER_FREE, LEARNT_READ},                   /* its owner died */
        {0x80000000 | 999, 999, 0x90, HOLDER_ELSEWHERE, LEARNT_READ},
        {0x80000000 | first_tid, first_tid, 0x20, HOLDER_HELD, LEARNT_READ}, /* PI */
        {7u << 19 | 2, first_tid, 0x40, HOLDER_HELD, LEARNT_READ},           /* with a ceiling */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        restart();
        add_runner();
        uint32_t waiter = add_waiter(private_wait, mutex, 2, MUTEX_FRAMES);
        put_mutex(rows[i].lock, 0, rows[i].owner, 1, rows[i].kind);
        read_facts();
        assert_resource(resource_of(waiter), WAIT_MUTEX, mutex, rows[i].holder);
        assert_int_equal(resource_of(waiter)->learnt, rows[i].learnt);
    }
}

/* An id that no thread has can be one of those that could not be read. */
static void test_threads_missing(void **state)
{
    (void)state;
    uint32_t waiter = add_waiter(private_wait, mutex, 2, MUTEX_FRAMES);
    target.image.thread_count_claimed = 2;
    put_mutex(2, 0, 999, 1, 0);
    read_facts();
    assert_resource(resource_of(waiter), WAIT_MUTEX, mutex, HOLDER_UNKNOWN);
}

static void test_unreadable(void **state)
{
    (void)state;
    uint32_t first = add_waiter(private_wait, 0x50000, 2, MUTEX_FRAMES);
    uint32_t second = add_waiter(private_wait, data_start + sizeof target.data - 8, 2, MUTEX_FRAMES);
    add_waiter(private_wait, 0x50000, 2, MUTEX_FRAMES);
    uint32_t last = add_waiter(private_wait, UINT64_MAX - 3, 2, MUTEX_FRAMES);
    read_facts();
    assert_resource(resource_of(first), WAIT_MUTEX, 0x50000, HOLDER_UNKNOWN);
    assert_resource(resource_of(second), WAIT_MUTEX, data_start + sizeof target.data - 8, HOLDER_UNKNOWN);
    assert_int_equal(resource_of(last)->learnt, LEARNT_INFERRED);
    assert_int_equal(target.literal.diagnostics.count, 1);
    assert_string_equal(target.literal.diagnostics.entries[0].code, "owner-unreadable");
    assert_int_equal(target.literal.diagnostics.entries[0].count, 3);
}

/* It has its result already. */
static void test_not_blocked(void **state)
{
    (void)state;
    uint32_t owner = add_runner(), waiter = add_waiter(private_wait, mutex, 2, MUTEX_FRAMES);
    target.raw[waiter][raw_rax] = 0;
    uint32_t waker = add_waiter(1 | 128, mutex, 2, MUTEX_FRAMES);
    put_mutex(2, 0, first_tid + owner, 1, 0);
    read_facts();
    assert_int_equal(target.literal.snapshot.members[waiter].wait_count, 0);
    assert_int_equal(target.literal.snapshot.members[waker].wait_count, 0);
    assert_int_equal(target.literal.snapshot.resource_count, 0);
}

/* Without names the bytes must agree with each other, with the call and with a thread that lives. */
static void test_nameless_mutex(void **state)
{
    (void)state;
    static const struct {
        uint32_t lock, count, owner, users, kind, expected;
        bool is_proof;
    } rows[] = {
        {2, 0, first_tid, 1, 0, 2, true},
        {2, 1, first_tid, 1, 1, 2, true},
        {2, 0, first_tid, 1, 3, 2, true},
        {0x80000000 | first_tid, 1, first_tid, 1, 0x90, 0x80000000 | first_tid, true},
        {1, 0, first_tid, 1, 0, 2, false},
        {2, 0, first_tid, 0, 0, 2, false},
        {2, 0, first_tid, 1, 1, 2, false}, /* recursive, and not once taken */
        {2, 0, first_tid, 1, 0, 1, false},
        {2, 0, 999, 1, 0, 2, false},
        {2, 0, first_tid, 1, 0x1000, 2, false},
        {0x80000000 | first_tid, 1, first_tid + 1, 1, 0x90, 0x80000000 | first_tid, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        restart();
        uint32_t owner = add_runner(), waiter = add_waiter(private_wait, mutex, rows[i].expected, "- - -");
        put_mutex(rows[i].lock, rows[i].count, rows[i].owner, rows[i].users, rows[i].kind);
        read_facts();
        if (rows[i].is_proof)
            assert_held(resource_of(waiter), WAIT_MUTEX, mutex, owner);
        else
            assert_resource(resource_of(waiter), WAIT_FUTEX, mutex, HOLDER_UNKNOWN);
    }
}

/* A stack that ended early waits for what others on the same word wait for, whichever came first. */
static void test_one_nameless(void **state)
{
    (void)state;
    uint32_t nameless = add_waiter(private_wait, mutex, 2, "-"),
             named = add_waiter(private_wait, mutex, 2, MUTEX_FRAMES);
    put_mutex(2, 0, 999, 1, 0);
    read_facts();
    assert_resource(resource_of(named), WAIT_MUTEX, mutex, HOLDER_ENDED);
    assert_ptr_equal(resource_of(nameless), resource_of(named));
    assert_int_equal(target.literal.snapshot.resource_count, 1);
}

/* A module's file has what its data began with. */
static void test_bytes_of_file(void **state)
{
    (void)state;
    static const uint32_t initial[16];
    struct memory *memory = &target.image.memory;
    memory_layer_append(memory, &memory->files, (struct memory_range){0x50000, 0x50040, (const uint8_t *)initial});
    memory_layer_freeze(memory, &memory->files);
    uint32_t waiter = add_waiter(private_wait, 0x50000, 2, MUTEX_FRAMES);
    read_facts();
    assert_resource(resource_of(waiter), WAIT_MUTEX, 0x50000, HOLDER_UNKNOWN);
}

/* The kernel keeps the owner in the word of a PI futex, whatever library it is of. */
static void test_kernel_lock(void **state)
{
    (void)state;
    uint32_t owner = add_runner(), waiter = add_waiter(private_lock_pi, mutex + 4, 0, "- -");
    put_mutex(5, 0x80000000 | (first_tid + owner), 0xffffffff, 0, 0xffffffff);
    read_facts();
    assert_held(resource_of(waiter), WAIT_FUTEX, mutex + 4, owner);
}

/* readers, writers, write phase futex, writers futex, …, writer at 24. */
static void put_rwlock(uint32_t readers, uint32_t writers, uint32_t phase, uint32_t writer)
{
    uint32_t *words = target.data + (mutex - data_start) / 4;
    words[0] = readers;
    words[1] = writers;
    words[2] = phase;
    words[3] = 1;
    words[6] = writer;
}

static void test_rwlock(void **state)
{
    (void)state;
    static const struct {
        uint32_t readers, writer;
        enum holder_state holder;
        uint32_t anonymous_count;
    } rows[] = {
        {3, first_tid, HOLDER_HELD, 0},
        {3 << 3 | 3, first_tid, HOLDER_HELD, 0}, /* three readers wait */
        {3, 0, HOLDER_UNKNOWN, 0},
        {3, 999, HOLDER_ENDED, 0},
        {3 << 3, 0, HOLDER_ANONYMOUS, 3},
        {3 << 3 | 2, 0, HOLDER_ANONYMOUS, 3}, /* a writer waits for them */
        {1, 0, HOLDER_FREE, 0},
        {0, 0, HOLDER_FREE, 0},
        {3, 0xffffffff, HOLDER_UNKNOWN, 0}, /* garbage */
        {0xfffffff8, 0, HOLDER_UNKNOWN, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        restart();
        uint32_t owner = add_runner();
        uint32_t first = add_waiter(private_wait_bitset, mutex + 8, 2, "- __pthread_rwlock_rdlock_full64 work");
        uint32_t second = add_waiter(private_wait_bitset, mutex + 12, 3, "- pthread_rwlock_wrlock work");
        uint32_t third = add_waiter(private_wait_bitset, mutex, 3 << 3 | 7, "- pthread_rwlock_rdlock work");
        put_rwlock(rows[i].readers, 1, 2, rows[i].writer);
        read_facts();
        assert_resource(resource_of(first), WAIT_RWLOCK, mutex, rows[i].holder);
        assert_int_equal(resource_of(first)->anonymous_count, rows[i].anonymous_count);
        if (rows[i].holder == HOLDER_HELD)
            assert_held(resource_of(first), WAIT_RWLOCK, mutex, owner);
        assert_ptr_equal(resource_of(second), resource_of(first));
        assert_ptr_equal(resource_of(third), resource_of(first));
        const struct snapshot *snapshot = &target.literal.snapshot;
        assert_false(snapshot->waits[snapshot->members[first].wait_first].exclusive);
        assert_true(snapshot->waits[snapshot->members[second].wait_first].exclusive);
    }
}

/* Readers are told where as many threads have the lock's address in their stacks as there are readers. */
static void test_readers(void **state)
{
    (void)state;
    for (uint32_t with_address = 0; with_address <= 3; with_address++) {
        restart();
        uint32_t writer = add_waiter(private_wait_bitset, mutex + 8, 2, "- pthread_rwlock_wrlock work");
        put_rwlock(2 << 3 | 2, 1, 2, 0);
        target.stacks[writer][sp_bytes / 8 + 4] = mutex;
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t other = add_waiter(private_wait_bitset, data_start + 512, 0, "- pthread_cond_wait work");
            target.stacks[other][sp_bytes / 8 - 1] = mutex; /* below the stack pointer: no frame */
            if (i < with_address)
                target.stacks[other][sp_bytes / 8 + 8 + i] = target.stacks[other][sp_bytes / 8 + 20] = mutex;
        }
        read_facts();
        const struct resource *resource = resource_of(writer);
        if (with_address != 2) {
            assert_resource(resource, WAIT_RWLOCK, mutex, HOLDER_ANONYMOUS);
            assert_int_equal(resource->anonymous_count, 2);
        } else {
            assert_resource(resource, WAIT_RWLOCK, mutex, HOLDER_HELD);
            assert_int_equal(resource->hold_count, 2);
            for (uint32_t i = 0; i < 2; i++) {
                const struct hold *hold = &target.literal.snapshot.holds[resource->hold_first + i];
                assert_int_equal(hold->member, 1 + i);
                assert_int_equal(hold->learnt, LEARNT_INFERRED);
                assert_false(hold->exclusive);
            }
        }
    }
}

/* The routine runs below pthread_once, which keeps the control's address; others may have it by chance. */
static void test_once(void **state)
{
    (void)state;
    uint32_t waiter = add_waiter(private_wait, mutex, 1, "futex_wait __pthread_once_slow work");
    uint32_t runner = add_waiter(private_wait_bitset, mutex + 64, 0, "sem_wait setup __pthread_once_slow work");
    add_waiter(private_wait_bitset, mutex + 64, 0, "sem_wait work");
    for (uint32_t i = 0; i < 3; i++)
        target.stacks[i][sp_bytes / 8 + 6] = mutex;
    read_facts();
    const struct resource *resource = resource_of(waiter);
    assert_resource(resource, WAIT_ONCE, mutex, HOLDER_HELD);
    assert_int_equal(resource->hold_count, 1);
    assert_int_equal(target.literal.snapshot.holds[resource->hold_first].member, runner);
    assert_int_equal(target.literal.snapshot.holds[resource->hold_first].learnt, LEARNT_INFERRED);
}

/* Sequence, group start, references by group, sizes, …, waiters << 3, signals: glibc 2.36, and 2.41 without references.
 */
static void test_condition(void **state)
{
    (void)state;
    enum { old_layout, new_layout, nonsense };
    for (int layout = old_layout; layout <= nonsense; layout++) {
        restart();
        uint64_t words = mutex + (layout == new_layout ? 32 : 40);
        uint32_t first = add_waiter(private_wait_bitset, words, 0, "- __pthread_cond_wait_common work");
        uint32_t second = add_waiter(private_wait_bitset, words + 4, 0, "- pthread_cond_timedwait work");
        uint32_t *fields = target.data + (mutex - data_start) / 4;
        fields[-2] = 0x12345678; /* a pointer before it */
        fields[-1] = 0x7fff;
        fields[0] = 2 << 1 | 1;
        if (layout == old_layout)
            fields[4] = fields[5] = 1 << 1;
        fields[layout == new_layout ? 7 : 9] = layout == nonsense ? 0 : 2 << 3;
        read_facts();
        assert_resource(resource_of(first), WAIT_CONDITION, layout == nonsense ? words : mutex, HOLDER_NEVER);
        assert_int_equal(resource_of(first)->learnt, layout == nonsense ? LEARNT_INFERRED : LEARNT_READ);
        assert_ptr_equal(resource_of(first), resource_of(second));
    }
}

static void test_semaphore(void **state)
{
    (void)state;
    uint32_t waiter = add_waiter(private_wait_bitset, mutex, 0,
                                 "__futex_abstimed_wait_common __new_sem_wait_slow64.constprop.0 work");
    uint32_t shared = add_waiter(shared_wait_bitset, mutex + 64, 0, "do_futex_wait.constprop.1 sem_timedwait");
    read_facts();
    assert_resource(resource_of(waiter), WAIT_SEMAPHORE, mutex, HOLDER_NEVER);
    assert_false(resource_of(waiter)->is_shared);
    assert_true(resource_of(shared)->is_shared);
}

/* The word is the tid in the joined thread's block. */
static void test_join(void **state)
{
    (void)state;
    static const char *const frames[] = {"__futex_abstimed_wait_common64 __pthread_clockjoin_ex work", "- - -"};
    for (size_t i = 0; i < 2; i++) {
        restart();
        uint32_t joined = add_runner();
        uint32_t waiter = add_waiter(shared_wait_bitset, block_start + 0x2d0, first_tid + joined, frames[i]);
        read_facts();
        assert_held(resource_of(waiter), WAIT_JOIN, first_tid + joined, joined);
    }
}

/* {lock, count, owner}: the owner is the address of a thread's block. */
static void test_stdio(void **state)
{
    (void)state;
    uint32_t owner = add_runner();
    uint32_t waiter = add_waiter(private_wait, mutex, 2, "__lll_lock_wait_private _IO_fputs work");
    uint32_t other = add_waiter(private_wait, mutex + 64, 2, "__lll_lock_wait_private _IO_puts work");
    uint32_t *words = target.data + (mutex - data_start) / 4;
    words[0] = words[16] = 2;
    words[1] = 1;
    words[2] = block_start + owner * block_bytes;
    words[18] = 0x1234; /* no thread's */
    read_facts();
    assert_held(resource_of(waiter), WAIT_STDIO, mutex, owner);
    assert_resource(resource_of(other), WAIT_STDIO, mutex + 64, HOLDER_UNKNOWN);
}

static void test_loader_and_allocator(void **state)
{
    (void)state;
    uint32_t owner = add_runner();
    uint32_t loader =
        add_waiter(private_wait, mutex, 2, "futex_wait __lll_lock_wait ___pthread_mutex_lock __GI___dl_iterate_phdr");
    uint32_t allocator = add_waiter(private_wait, mutex + 64, 2, "__lll_lock_wait_private _int_free __libc_free work");
    put_mutex(2, 1, first_tid + owner, 1, 1);
    read_facts();
    assert_held(resource_of(loader), WAIT_LOADER, mutex, owner);
    assert_resource(resource_of(allocator), WAIT_ALLOCATOR, mutex + 64, HOLDER_UNKNOWN);
}

/* gcore from outside of a pid namespace: threads have other ids than the memory. */
static void test_ids_of_blocks(void **state)
{
    (void)state;
    uint32_t owner = add_runner(), waiter = add_waiter(private_wait, mutex, 2, MUTEX_FRAMES);
    uint32_t other = add_waiter(private_wait, mutex + 64, 2, MUTEX_FRAMES);
    for (uint32_t i = 0; i < 3; i++)
        target.block_ids[i] = 1 + i;
    put_mutex(2, 0, 1, 1, 0);
    target.data[(mutex + 64 - data_start) / 4] = 2;
    target.data[(mutex + 64 - data_start) / 4 + 2] = 7;
    read_facts();
    assert_held(resource_of(waiter), WAIT_MUTEX, mutex, owner);
    assert_resource(resource_of(other), WAIT_MUTEX, mutex + 64, HOLDER_ENDED);
}

/* One of the blocks cannot be read: an id that is not found can be its thread's. */
static void test_ids_unmapped(void **state)
{
    (void)state;
    add_runner();
    add_runner();
    uint32_t waiter = add_waiter(private_wait, mutex, 2, MUTEX_FRAMES);
    target.raw[0][raw_fs_base] = 0;
    target.block_ids[1] = 2;
    target.block_ids[2] = 3;
    put_mutex(2, 0, 1, 1, 0);
    read_facts();
    assert_resource(resource_of(waiter), WAIT_MUTEX, mutex, HOLDER_ELSEWHERE);
}

/* The source tells the ids in the namespace (live). */
/* Of threads whose registers are those of their calls alone: a block above the stack pointer that has the thread's id. */
static void test_blocks_in_stacks(void **state)
{
    (void)state;
    enum { block_word = 0xc00 / 8, self_word = block_word + 2, id_word = block_word + 0x2d0 / 8 };
    for (uint32_t i = 0; i < 3; i++) {
        add_runner();
        target.raw[i][raw_fs_base] = 0;
        target.threads[i].registers_known = (uint64_t)1 << arch_x86_64.sp;
        target.stacks[i][block_word] = target.stacks[i][self_word] = stack_start + i * stack_bytes + 0xc00;
        target.stacks[i][id_word] = first_tid + i;
    }
    target.stacks[1][id_word] = first_tid; /* another's */
    target.threads[2].tid = 0;             /* of no known id: what has none either is no block of its */
    target.stacks[2][id_word] = 0;
    read_facts();
    struct wait_threads threads;
    wait_threads_init(&threads, &target.image, &target.literal.arena);
    assert_int_equal(threads.pointers[0], stack_start + 0xc00);
    assert_int_equal(threads.pointers[1], 0);
    assert_int_equal(threads.pointers[2], 0);
}

static void test_ids_of_source(void **state)
{
    (void)state;
    uint32_t owner = add_runner(), waiter = add_waiter(private_wait, mutex, 2, MUTEX_FRAMES);
    target.threads[owner].namespace_tid = 1;
    target.threads[waiter].namespace_tid = first_tid + owner; /* the same number, another thread */
    put_mutex(2, 0, 1, 1, 0);
    read_facts();
    assert_held(resource_of(waiter), WAIT_MUTEX, mutex, owner);
}

/* Type, lock, waiters: musl 1.2.3. Its blocks have the thread's id at 0x30. */
static void test_musl_mutex(void **state)
{
    (void)state;
    static const struct {
        uint32_t type, lock;
        enum holder_state holder;
    } rows[] = {
        {1, 0x80000000 | first_tid, HOLDER_HELD},
        {0, 0x80000010, HOLDER_UNKNOWN},
        {2, 0, HOLDER_FREE},
        {0x81, 0x80000000 | 999, HOLDER_ELSEWHERE},
        {1, 0x80000000 | 999, HOLDER_ENDED},
        {0xffffffff, 0x80000000 | first_tid, HOLDER_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        restart();
        uint32_t owner = add_runner();
        uint32_t waiter =
            add_waiter(private_wait, mutex + 4, rows[i].lock, "__timedwait __pthread_mutex_timedlock work");
        for (uint32_t k = 0; k < 2; k++) {
            target.blocks[k][2] = 0;
            target.blocks[k][6] = first_tid + k;
        }
        uint32_t *words = target.data + (mutex - data_start) / 4;
        words[0] = rows[i].type;
        words[1] = rows[i].lock;
        words[2] = 1;
        read_facts();
        assert_resource(resource_of(waiter), WAIT_MUTEX, mutex, rows[i].holder);
        if (rows[i].holder == HOLDER_HELD)
            assert_held(resource_of(waiter), WAIT_MUTEX, mutex, owner);
    }
}

static void test_rust(void **state)
{
    (void)state;
    uint32_t lock = add_waiter(
        private_wait_bitset, mutex, 2,
        "syscall std::sys::pal::unix::futex::futex_wait <std::sys::sync::mutex::futex::Mutex>::lock_contended");
    uint32_t write = add_waiter(
        private_wait_bitset, mutex + 20, 0,
        "syscall std::sys::unix::futex::futex_wait std::sys::unix::locks::futex_rwlock::RwLock::write_contended");
    uint32_t park = add_waiter(
        private_wait_bitset, mutex + 64, 0,
        "syscall std::sys::pal::unix::futex::futex_wait <std::sys::sync::thread_parking::futex::Parker>::park");
    target.data[(mutex - data_start) / 4] = 2;
    target.data[(mutex + 16 - data_start) / 4] = 0x80000000 | 4;
    read_facts();
    assert_resource(resource_of(lock), WAIT_MUTEX, mutex, HOLDER_UNKNOWN);
    assert_resource(resource_of(write), WAIT_RWLOCK, mutex + 16, HOLDER_ANONYMOUS);
    assert_int_equal(resource_of(write)->anonymous_count, 4);
    assert_resource(resource_of(park), WAIT_FUTEX, mutex + 64, HOLDER_NEVER);
}

/* The frame next to the leaf, which has no name, is in this module. */
static void put_into_module(uint32_t thread, const char *path)
{
    const struct snapshot *snapshot = &target.literal.snapshot;
    uint32_t step = snapshot->stacks[snapshot->members[thread].stack].step_first + 1;
    snapshot->locations[snapshot->steps[step].location].module = literal_module(&target.literal, path, 0, 0);
}

/* Mutexes that are one word, of GLib and libgomp: their waiters stand in static functions. */
static void test_word_mutexes(void **state)
{
    (void)state;
    uint32_t named = add_waiter(private_wait, mutex, 2, "syscall g_mutex_lock_slowpath work");
    uint32_t nameless = add_waiter(private_wait, mutex + 8, 2, "syscall - work");
    uint32_t other = add_waiter(private_wait, mutex + 16, 3, "syscall - work");
    uint32_t gomp = add_waiter(private_wait, mutex + 24, UINT32_MAX, "syscall - work");
    uint32_t elsewhere = add_waiter(private_wait, mutex + 32, 2, "syscall - work");
    put_into_module(nameless, "/usr/lib/libglib-2.0.so.0.7400.6");
    put_into_module(other, "/usr/lib/libglib-2.0.so.0.7400.6");
    put_into_module(gomp, "/usr/lib/libgomp.so.1.0.0");
    put_into_module(elsewhere, "/usr/lib/libother.so.1");
    target.data[(mutex - data_start) / 4] = target.data[(mutex + 8 - data_start) / 4] = 2;
    target.data[(mutex + 24 - data_start) / 4] = UINT32_MAX;
    read_facts();
    assert_resource(resource_of(named), WAIT_MUTEX, mutex, HOLDER_UNKNOWN);
    assert_resource(resource_of(nameless), WAIT_MUTEX, mutex + 8, HOLDER_UNKNOWN);
    assert_int_equal(resource_of(other)->kind, WAIT_FUTEX);
    assert_resource(resource_of(gomp), WAIT_MUTEX, mutex + 24, HOLDER_UNKNOWN);
    assert_int_equal(resource_of(elsewhere)->kind, WAIT_FUTEX);
}

/* Of a function's static variable: who stands in the function past the guard makes it; two such threads, and nobody is
 * told. */
static void test_static_variables(void **state)
{
    for (int makers = 1; makers <= 2; makers++) {
        restart();
        uint32_t waits = add_waiter(private_wait, mutex, 0x10100, "syscall __cxa_guard_acquire instance start_thread");
        uint32_t makes = add_thread(0, 7, 0, 0, "read load instance start_thread");
        add_thread(0, 7, 0, 0, makers == 2 ? "read instance start_thread" : "read load start_thread");
        target.data[(mutex - data_start) / 4] = 0x10100;
        read_facts();
        const struct resource *guard = resource_of(waits);
        assert_int_equal(guard->kind, WAIT_ONCE);
        const struct snapshot *snapshot = &target.literal.snapshot;
        assert_int_equal(snapshot->hold_count, makers == 1);
        if (makers == 1) {
            assert_int_equal(snapshot->holds[0].member, makes);
            assert_int_equal(snapshot->holds[0].learnt, LEARNT_INFERRED);
        }
    }
    (void)state;
}

/* Numbers of kernel arch/x86/entry/syscalls/syscall_64.tbl. */
static void test_kernel_waits(void **state)
{
    (void)state;
    uint32_t receive = add_thread(45, 5, 0, 0, "recv"), again = add_thread(45, 5, 0, 0, "recv");
    uint32_t read = add_thread(0, 7, 0, 0, "read"), sleep = add_thread(230, 0, 0, 0, "clock_nanosleep");
    uint32_t lock = add_thread(73, 9, 2, 0, "flock"), bad = add_thread(45, (uint64_t)-1, 0, 0, "recv");
    read_facts();
    const struct snapshot *snapshot = &target.literal.snapshot;
    assert_resource(resource_of(receive), WAIT_SOCKET, 0, HOLDER_NEVER);
    assert_string_equal(snapshot_string(snapshot, resource_of(receive)->name).data, "descriptor 5");
    assert_ptr_equal(resource_of(receive), resource_of(again));
    assert_int_equal(snapshot->members[read].wait_count, 0); /* of anything */
    assert_resource(resource_of(sleep), WAIT_SLEEP, 0, HOLDER_NEVER);
    assert_resource(resource_of(lock), WAIT_FILE, 0, HOLDER_UNKNOWN);
    assert_int_equal(snapshot->members[bad].wait_count, 0);
}

/* By kind, then by address; holds by resource; waits by member. */
static void test_order(void **state)
{
    (void)state;
    add_waiter(private_wait_bitset, mutex + 128, 0, "sem_wait");
    add_waiter(private_wait, mutex + 64, 2, MUTEX_FRAMES);
    add_waiter(private_wait, mutex, 2, MUTEX_FRAMES);
    put_mutex(2, 0, first_tid, 1, 0);
    target.data[(mutex + 64 - data_start) / 4] = 2;
    target.data[(mutex + 64 - data_start) / 4 + 2] = first_tid + 2;
    read_facts();
    const struct snapshot *snapshot = &target.literal.snapshot;
    assert_int_equal(snapshot->resource_count, 3);
    assert_int_equal(snapshot->resources[0].address, mutex);
    assert_int_equal(snapshot->resources[1].address, mutex + 64);
    assert_int_equal(snapshot->resources[2].kind, WAIT_SEMAPHORE);
    assert_int_equal(snapshot->hold_count, 2);
    assert_int_equal(snapshot->holds[0].member, 0);
    assert_int_equal(snapshot->holds[1].member, 2);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(snapshot->waits[i].member, i);
}

/* Random bytes behind every kind of call: a hold names a thread that the bytes name. */
static void test_nonsense(void **state)
{
    (void)state;
    static const char *const frames[] = {
        MUTEX_FRAMES,
        "pthread_rwlock_wrlock",
        "pthread_rwlock_rdlock",
        "pthread_cond_wait",
        "sem_wait",
        "pthread_join",
        "pthread_barrier_wait",
        "_IO_puts",
        "- -",
        "__timedwait pthread_mutex_lock",
        "__timedwait_cp pthread_cond_wait",
        "__timedwait_cp pthread_join",
        "__lockfile __timedwait puts",
    };
    srand(1);
    for (int round = 0; round < 2000; round++) {
        restart();
        for (size_t i = 0; i < data_words; i++)
            target.data[i] = rand() % 3 == 0 ? (uint32_t)rand() * 2 : (uint32_t)rand() % 256;
        for (uint32_t i = 0; i < 6; i++) {
            const char *functions = frames[(size_t)rand() % (sizeof frames / sizeof frames[0])];
            uint64_t word = rand() % 8 == 0 ? (uint64_t)rand() * (uint64_t)rand()
                                            : data_start + (uint64_t)rand() % (data_words * 4);
            uint32_t thread = add_waiter(rand() % 2 == 0 ? private_wait : shared_wait_bitset, word,
                                         (uint32_t)rand() % 128, functions);
            for (size_t k = 0; k < stack_bytes / 8; k++)
                target.stacks[thread][k] =
                    rand() % 4 == 0 ? data_start + (uint64_t)rand() % (data_words * 4) : (uint64_t)rand();
        }
        read_facts();
        const struct snapshot *snapshot = &target.literal.snapshot;
        for (size_t i = 0; i < snapshot->hold_count; i++) {
            const struct hold *hold = &snapshot->holds[i];
            assert_in_range(hold->member, 0, snapshot->member_count - 1);
            assert_true(hold->learnt == LEARNT_INFERRED || snapshot->resources[hold->resource].kind == WAIT_STDIO ||
                        snapshot->resources[hold->resource].owner_id == first_tid + hold->member);
        }
    }
}

static void test_call_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum wait_call call;
    } rows[] = {
        {"___pthread_mutex_lock", CALL_MUTEX},
        {"__pthread_mutex_lock@GLIBC_2.2.5", CALL_MUTEX},
        {"__GI___pthread_mutex_lock", CALL_MUTEX},
        {"__pthread_mutex_lock_full", CALL_MUTEX},
        {"__pthread_mutex_cond_lock", CALL_MUTEX},
        {"___pthread_rwlock_rdlock", CALL_RWLOCK_READ},
        {"__pthread_rwlock_wrlock_full64", CALL_RWLOCK_WRITE},
        {"___pthread_cond_timedwait64", CALL_CONDITION},
        {"__new_sem_wait_slow64.constprop.0", CALL_SEMAPHORE},
        {"__pthread_clockjoin_ex", CALL_JOIN},
        {"__pthread_once_slow.isra.0", CALL_ONCE},
        {"_IO_new_file_xsputn", CALL_STDIO},
        {"__GI__IO_fwrite", CALL_STDIO},
        {"__libc_malloc", CALL_ALLOCATOR},
        {"futex_wait", CALL_UNKNOWN},
        {"__GI___lll_lock_wait", CALL_UNKNOWN},
        {"pthread_mutex_unlock", CALL_UNKNOWN},
        {"my_pthread_mutex_lock", CALL_UNKNOWN},
        {"std::mutex::lock()", CALL_UNKNOWN},
        {"lock_orders", CALL_UNKNOWN},
        {"free_orders", CALL_UNKNOWN},
        {"_", CALL_UNKNOWN},
        {"", CALL_UNKNOWN},
        {"std::sys::sync::mutex::futex::Mutex::lock_contended", CALL_RUST_MUTEX},
        {"<std::sys::sync::rwlock::futex::RwLock>::read_contended", CALL_RUST_READ},
        {"std::thread::functions::park", CALL_PARK},
        {"std::__atomic_semaphore::_M_acquire()", CALL_WORD_SEMAPHORE},
        {"std::latch::wait() const", CALL_WORD_BARRIER},
        {"g_mutex_lock_slowpath", CALL_WORD_MUTEX},
        {"g_cond_wait_until", CALL_WORD_CONDITION},
        {"gomp_mutex_lock_slow", CALL_WORD_MUTEX},
    };
    enum { row_count = sizeof rows / sizeof rows[0] };
    uint32_t stacks[row_count];
    for (uint32_t i = 0; i < row_count; i++) {
        uint32_t location = literal_location(&target.literal, 0x400000 + i, false, index_none, 0);
        literal_frame(&target.literal, rows[i].name, NULL, 0, false);
        stacks[i] = literal_stack(&target.literal, STACK_END_OUTERMOST, 0);
        literal_step(&target.literal, location, TRUST_CFI);
    }
    struct wait_calls calls;
    wait_calls_init(&calls, &target.literal.snapshot, &target.literal.arena);
    for (uint32_t i = 0; i < row_count; i++)
        assert_int_equal(wait_calls_of_stack(&calls, stacks[i]), rows[i].call);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_mutex),
        TEST(test_self_deadlock),
        TEST(test_refused_mutex),
        TEST(test_mutex_states),
        TEST(test_threads_missing),
        TEST(test_unreadable),
        TEST(test_not_blocked),
        TEST(test_nameless_mutex),
        TEST(test_one_nameless),
        TEST(test_bytes_of_file),
        TEST(test_kernel_lock),
        TEST(test_rwlock),
        TEST(test_readers),
        TEST(test_once),
        TEST(test_condition),
        TEST(test_semaphore),
        TEST(test_join),
        TEST(test_stdio),
        TEST(test_loader_and_allocator),
        TEST(test_ids_of_blocks),
        TEST(test_ids_unmapped),
        TEST(test_blocks_in_stacks),
        TEST(test_ids_of_source),
        TEST(test_musl_mutex),
        TEST(test_rust),
        TEST(test_word_mutexes),
        TEST(test_static_variables),
        TEST(test_kernel_waits),
        TEST(test_order),
        TEST(test_nonsense),
        TEST(test_call_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
