/* SPDX-License-Identifier: Apache-2.0 */
#include "source/live_stop.h"

#include "base/limits.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct live_thread *live_stop_find(struct live_stop *stop, uint32_t tid)
{
    /* Ids come back in the order in which they were listed, nearly always. */
    size_t low = 0, high = stop->thread_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (stop->threads[middle].tid < tid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < stop->thread_count && stop->threads[low].tid == tid ? &stop->threads[low] : NULL;
}

void live_stop_add(struct live_stop *stop, uint32_t tid)
{
    stop->threads = arena_grow(&stop->arena, stop->threads, stop->thread_count, &stop->thread_capacity,
                               sizeof *stop->threads);
    size_t at = stop->thread_count++;
    for (; at > 0 && stop->threads[at - 1].tid > tid; at--)
        stop->threads[at] = stop->threads[at - 1];
    stop->threads[at] = (struct live_thread){.tid = tid};
}

/* Copies begin at the page that sp lies in: the red zone is below it, and eu-stack reads a saved core by whole pages. */
static const uint64_t page_bytes = 4096;

/* What is copied of a thread's block: its id and the list of robust mutexes that it holds, for all of which glibc uses
 * the first 0x310 bytes (2.36, x86-64). */
enum { block_bytes = 0x400 };

/* What is copied around a futex word. It is the first word of a mutex, but stands up to 44 bytes behind the start of
 * glibc's other objects, of which the largest has 56. */
enum { bytes_before_word = 64, bytes_from_word = 128 };

/* The bytes of the stack in use: from sp to the end of its mapping, no further than the thread's own block where that
 * lies just above, and never more than the ceiling. */
static size_t used_stack(const struct live_stop *stop, uint64_t sp, uint64_t thread_pointer)
{
    const struct mapping *mapping = image_find_mapping(stop->image, sp);
    uint64_t end = mapping != NULL ? mapping->end : sp + limit_stack_guess_bytes;
    bool is_main = sp >= stop->main_stack_start && sp < stop->main_stack_end;
    if (thread_pointer > sp && thread_pointer < end) {
        end = end - thread_pointer < block_bytes ? end : thread_pointer + block_bytes;
    } else if (stop->go != NULL && !is_main) {
        /* Go's own stacks lie in its heap: the mapping's end is far behind theirs. */
        uint64_t go_end = live_go_stack_end(stop->go, sp, thread_pointer);
        if (go_end == 0 && thread_pointer == 0 && end - sp > limit_go_stack_guess_bytes)
            go_end = sp + limit_stack_guess_bytes;
        if (go_end != 0 && go_end < end)
            end = go_end;
    }
    uint64_t bytes = end > sp ? end - sp : 0;
    return bytes < limit_stack_copy_bytes ? (size_t)bytes : (size_t)limit_stack_copy_bytes;
}

/* As many of the bytes as are there and fit; NULL: none. */
static uint8_t *copy_bytes(struct live_stop *stop, uint64_t start, size_t wanted, size_t *ret_bytes)
{
    uint8_t *bytes = stop->stacks + stop->stacks_used;
    size_t room = stop->stacks_bytes - stop->stacks_used;
    if (wanted > room)
        wanted = room;
    /* pread of /proc/PID/mem, not process_vm_readv: the latter makes the kernel copy shared pages of forked servers. */
    ssize_t got = pread(stop->memory_fd, bytes, wanted, (off_t)start);
    *ret_bytes = got < 0 ? 0 : (size_t)got;
    stop->stacks_used += (*ret_bytes + 15) & ~(size_t)15;
    return *ret_bytes == 0 ? NULL : bytes;
}

/* A handler on a signal stack (sigaltstack) interrupted code on the thread's own stack. Where that was is the lowest
 * address in the own stack that the bytes above sp hold: the saved sp, or an older value below it, which only makes the
 * copy longer. */
static void copy_interrupted_stack(struct live_stop *stop, struct live_thread *thread, uint64_t sp,
                                   uint64_t thread_pointer)
{
    uint64_t own_start = stop->main_stack_start, own_end = stop->main_stack_end;
    if (thread->tid != stop->pid) {
        const struct mapping *own = thread_pointer == 0 ? NULL : image_find_mapping(stop->image, thread_pointer - 1);
        if (own == NULL)
            return;
        own_start = own->start;
        own_end = thread_pointer;
        if (image_find_mapping(stop->image, sp) == own)
            return;
    }
    if (own_start >= own_end || (sp >= own_start && sp < own_end))
        return;
    size_t scanned = thread->stack_bytes < limit_stack_guess_bytes ? thread->stack_bytes : limit_stack_guess_bytes;
    uint64_t lowest = own_end;
    for (size_t i = ((size_t)(sp - thread->stack_start) + 7) & ~(size_t)7; i + 8 <= scanned; i += 8) {
        uint64_t word;
        memcpy(&word, thread->stack + i, sizeof word);
        if (word >= own_start && word < lowest)
            lowest = word;
    }
    if (lowest == own_end)
        return;
    lowest &= -page_bytes;
    uint64_t bytes = own_end - lowest;
    if (bytes > limit_stack_copy_bytes)
        bytes = limit_stack_copy_bytes;
    thread->interrupted_stack = copy_bytes(stop, lowest, (size_t)bytes, &thread->interrupted_stack_bytes);
    thread->interrupted_stack_start = lowest;
}

uint8_t *live_stop_registers(struct live_stop *stop)
{
    return stop->stacks_bytes - stop->stacks_used < stop->image->arch->registers_size_bytes + 16
               ? NULL
               : stop->stacks + stop->stacks_used;
}

static uint64_t *word_slot(struct live_stop *stop, uint64_t start)
{
    return &stop->words_copied[(start * 0x9e3779b97f4a7c15u) >> 32 & (limit_live_words - 1)];
}

/* The address of the word that the thread waits for; 0: it does not. */
static uint64_t find_futex_word(const struct live_stop *stop, const struct live_thread *thread)
{
    struct system_call call;
    const struct arch *arch = stop->image->arch;
    if (!arch->system_call_decode(thread->registers, &call) || !call.blocked)
        return 0;
    /* A restarted call may be a futex's: then the arguments are its own (native-waits.md). */
    const char *name = arch->system_call_name(call.number);
    if (name == NULL || (strcmp(name, "futex") != 0 && strcmp(name, "restart_syscall") != 0))
        return 0;
    return call.arguments[0] % 4 == 0 ? call.arguments[0] : 0;
}

/* Of the same instant as the stacks, so that the owner of a lock is the one that had it while they stood so. Thousands
 * that wait for one lock cost one copy. */
static void copy_futex_word(struct live_stop *stop, struct live_thread *thread)
{
    uint64_t word = find_futex_word(stop, thread);
    if (word < page_bytes || word >= -2 * page_bytes)
        return;
    const struct mapping *mapping = image_find_mapping(stop->image, word);
    uint64_t known_start = mapping != NULL ? mapping->start : word & -page_bytes;
    uint64_t start = word - bytes_before_word > known_start ? word - bytes_before_word : known_start;
    uint64_t end = word + bytes_from_word;
    if (mapping != NULL && mapping->path.length != 0) {
        /* Of a mapped file whole pages: what a saved core says of the rest of the mapping has to begin at one. */
        start &= -page_bytes;
        end = (end + page_bytes - 1) & -page_bytes;
    }
    uint64_t *slot = word_slot(stop, start);
    if (*slot == start)
        return;
    thread->word_start = *slot = start;
    if (stop->kind != STOP_KIND_ROLLING) {
        thread->word = copy_bytes(stop, start, (size_t)(end - start), &thread->word_bytes);
        return;
    }
    /* live_read_again copies it when all have been stopped: there is no instant yet that it could be of. */
    thread->word = stop->stacks + stop->stacks_used;
    thread->word_bytes = (size_t)(end - start);
    if (thread->word_bytes > stop->stacks_bytes - stop->stacks_used)
        thread->word_bytes = 0;
    stop->stacks_used += (thread->word_bytes + 15) & ~(size_t)15;
}

void live_stop_forget_memory(struct live_stop *stop, struct live_thread *thread, size_t stacks_used)
{
    if (thread->word_start != 0)
        *word_slot(stop, thread->word_start) = 0;
    stop->stacks_used = stacks_used;
    *thread = (struct live_thread){.tid = thread->tid, .outcome = LIVE_THREAD_MOVING};
}

void live_stop_copy_memory(struct live_stop *stop, struct live_thread *thread, uint64_t sp, uint64_t thread_pointer)
{
    thread->registers = stop->stacks + stop->stacks_used;
    stop->stacks_used += (stop->image->arch->registers_size_bytes + 15) & ~(size_t)15;
    uint64_t start = sp & -page_bytes;
    size_t wanted = used_stack(stop, sp, thread_pointer) + (size_t)(sp - start);
    thread->stack = copy_bytes(stop, start, wanted, &thread->stack_bytes);
    thread->stack_start = start;
    thread->interrupted_stack_bytes = 0;
    copy_interrupted_stack(stop, thread, sp, thread_pointer);
    if (thread_pointer != 0 && thread_pointer - start >= thread->stack_bytes)
        thread->block = copy_bytes(stop, thread_pointer, block_bytes, &thread->block_bytes);
    thread->block_start = thread_pointer;
    copy_futex_word(stop, thread);
}

bool live_stop_reserve(struct live_stop *stop)
{
    size_t prefault = (stop->thread_count + 64) * (size_t)limit_stack_prefault_bytes;
    stop->stacks_bytes = (stop->thread_count + 64) * (size_t)limit_stack_copy_bytes;
    if (stop->stacks_bytes > limit_stacks_bytes)
        stop->stacks_bytes = limit_stacks_bytes;
    void *stacks = mmap(NULL, stop->stacks_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == MAP_FAILED)
        return false;
    stop->stacks = stacks;
    /* Page faults of ours would lengthen the stop. Failure (before Linux 5.14) costs only that. */
    madvise(stacks, prefault < stop->stacks_bytes ? prefault : stop->stacks_bytes, MADV_POPULATE_WRITE);
    return true;
}

void live_stop_release(struct live_stop *stop)
{
    if (stop->stacks != NULL)
        munmap(stop->stacks, stop->stacks_bytes);
    arena_deinit(&stop->arena);
    stop->stacks = NULL;
    stop->threads = NULL;
    stop->thread_count = 0;
}
