/* SPDX-License-Identifier: Apache-2.0 */
#include "waits/wait_threads.h"

#include "base/byte_reader.h"
#include "base/limits.h"

#include <stdlib.h>

enum {
    /* Fields of a thread block on 64-bit machines, found by a program that looked for its own tid: glibc 2.36 (struct
     * pthread behind tcbhead_t, whose `self` is at 0x10) and musl 1.2.3 (struct pthread, `self` at 0). */
    glibc_self = 0x10,
    glibc_tid = 0x2d0,
    musl_self = 0,
    musl_tid = 0x30,
    /* A field waited on lies at most that far into its block. */
    block_bytes = 0x1000,
    blocks_sampled = 64,
    thread_id_max = 4 << 20, /* the kernel's PID_MAX_LIMIT */
};

static const struct block_layout {
    enum libc_kind libc;
    uint16_t self, tid;
} layouts[] = {{LIBC_GLIBC, glibc_self, glibc_tid}, {LIBC_MUSL, musl_self, musl_tid}};

/* The id in the thread's block; 0 when the block is not there or is none of this layout. */
static uint32_t block_id(const struct image *image, uint64_t block, const struct block_layout *layout)
{
    uint64_t first, self;
    uint8_t id[4];
    if (block == 0 || !memory_read_u64(&image->memory, block, &first) || first != block ||
        !memory_read_u64(&image->memory, block + layout->self, &self) || self != block ||
        memory_read(&image->memory, block + layout->tid, id, sizeof id) != sizeof id)
        return 0;
    uint32_t value = load_u32(id);
    return value <= thread_id_max ? value : 0;
}

/* The block of a thread that was read without its registers: it lies above its stack and knows the thread's id. Takes
 * what it looks through from *bytes_left: a forged core may have one stack for thousands of threads. */
static uint64_t search_block(const struct image *image, const struct thread *thread, uint32_t id, uint64_t *bytes_left)
{
    struct registers registers;
    image->arch->registers_decode(thread->registers, &registers);
    uint64_t sp = registers.values[image->arch->sp];
    const struct memory_range *range = memory_find(&image->memory, sp);
    if (id == 0 || range == NULL || range->end - sp > limit_stack_copy_bytes || range->end - sp < musl_tid + 4)
        return 0;
    for (uint64_t at = (range->end - (musl_tid + 4)) & -(uint64_t)8; at > sp && *bytes_left >= 8; at -= 8) {
        *bytes_left -= 8;
        if (load_u64(range->bytes + (at - range->start)) != at)
            continue;
        for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++)
            if (block_id(image, at, &layouts[i]) == id)
                return at;
    }
    return 0;
}

static void find_pointers(struct wait_threads *threads, const struct image *image)
{
    uint64_t bytes_left = limit_block_search_bytes;
    for (size_t i = 0; i < image->thread_count; i++) {
        const struct thread *thread = &image->threads[i];
        threads->pointers[i] = thread_pointer_of(image, thread);
        if (threads->pointers[i] == 0 && thread->registers != NULL && thread->registers_known != 0)
            threads->pointers[i] = search_block(image, thread, threads->ids[i], &bytes_left);
    }
}

static int compare_ids(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

static bool are_distinct(const uint32_t *ids, size_t count, struct arena *arena)
{
    uint32_t *sorted = arena_array(arena, uint32_t, count + 1);
    size_t used = 0;
    for (size_t i = 0; i < count; i++)
        if (ids[i] != 0)
            sorted[used++] = ids[i];
    qsort(sorted, used, sizeof *sorted, compare_ids);
    for (size_t i = 1; i < used; i++)
        if (sorted[i] == sorted[i - 1])
            return false;
    return true;
}

/* How well a layout fits: threads whose block has an id, and those of them where it is the one known already. */
struct layout_fit {
    uint32_t *ids; /* by member */
    size_t found, equal;
};

/* Of every `stride`th thread: each block is a page of its own to be read. */
static struct layout_fit fit_layout(const struct wait_threads *threads, const struct image *image,
                                    const struct block_layout *layout, size_t stride, struct arena *arena)
{
    struct layout_fit fit = {.ids = arena_array(arena, uint32_t, image->thread_count + 1)};
    for (size_t i = 0; i < image->thread_count; i += stride) {
        fit.ids[i] = block_id(image, threads->pointers[i], layout);
        fit.found += fit.ids[i] != 0;
        fit.equal += fit.ids[i] != 0 && fit.ids[i] == threads->ids[i];
    }
    return fit;
}

/* Ids as the source has them, unless every block says otherwise: gdb's gcore from outside of a pid namespace writes the
 * ids of its own. Blocks are believed when all of them that can be read have an id and no two the same. */
static void read_ids(struct wait_threads *threads, const struct image *image, struct arena *arena)
{
    bool is_told = false;
    for (size_t i = 0; i < image->thread_count; i++) {
        const struct thread *thread = &image->threads[i];
        threads->ids[i] = thread->namespace_tid != 0 ? thread->namespace_tid : thread->tid;
        is_told |= thread->namespace_tid != 0;
    }
    threads->ids_known = true;
    find_pointers(threads, image);
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        struct layout_fit fit =
            fit_layout(threads, image, &layouts[i], 1 + image->thread_count / blocks_sampled, arena);
        if (fit.found == 0)
            continue;
        /* A thread that is just being made has its parent's id or none: most must agree, not all. */
        if (fit.equal * 2 > fit.found) {
            threads->libc = layouts[i].libc;
            return;
        }
        if (is_told || fit.equal != 0)
            continue;
        fit = fit_layout(threads, image, &layouts[i], 1, arena);
        if (fit.found < 2 || !are_distinct(fit.ids, image->thread_count, arena))
            continue;
        threads->libc = layouts[i].libc;
        threads->ids = fit.ids;
        threads->ids_known = fit.found == image->thread_count;
        return;
    }
}

static int compare_blocks(const void *left, const void *right)
{
    const struct thread_block *a = left, *b = right;
    if (a->address != b->address)
        return a->address < b->address ? -1 : 1;
    return a->member < b->member ? -1 : a->member > b->member;
}

static void read_blocks(struct wait_threads *threads)
{
    const struct image *image = threads->image;
    threads->blocks = arena_array(threads->arena, struct thread_block, image->thread_count + 1);
    for (size_t i = 0; i < image->thread_count; i++) {
        uint64_t address = threads->pointers[i];
        if (address != 0)
            threads->blocks[threads->block_count++] = (struct thread_block){address, (uint32_t)i};
    }
    qsort(threads->blocks, threads->block_count, sizeof *threads->blocks, compare_blocks);
}

/* Names of files tell where blocks were not copied (live processes); a static program has none. */
static enum libc_kind libc_of_modules(const struct image *image)
{
    for (size_t i = 0; i < image->module_count; i++) {
        struct text path = image->modules[i].path, name = text_basename(path);
        if (text_ends_with(path, TEXT("-musl/libc.so")) || text_starts_with(name, TEXT("ld-musl-")) ||
            text_starts_with(name, TEXT("libc.musl-")))
            return LIBC_MUSL;
        if (text_equals(name, TEXT("libc.so.6")) || text_starts_with(name, TEXT("ld-linux")) ||
            (text_starts_with(name, TEXT("libc-2.")) && text_ends_with(name, TEXT(".so"))))
            return LIBC_GLIBC;
    }
    return LIBC_UNKNOWN;
}

static size_t id_slot(const struct wait_threads *threads, uint32_t id)
{
    size_t slot = (size_t)((id * 0x9e3779b97f4a7c15u) >> 32) & (threads->slot_count - 1);
    while (threads->id_slots[slot] != 0 && threads->ids[threads->id_slots[slot] - 1] != id)
        slot = (slot + 1) & (threads->slot_count - 1);
    return slot;
}

void wait_threads_init(struct wait_threads *threads, const struct image *image, struct arena *arena)
{
    *threads = (struct wait_threads){
        .is_complete = image->thread_count == image->thread_count_claimed,
        .ids = arena_array(arena, uint32_t, image->thread_count + 1),
        .pointers = arena_array(arena, uint64_t, image->thread_count + 1),
        .slot_count = 64,
        .image = image,
        .arena = arena,
    };
    read_ids(threads, image, arena);
    enum libc_kind by_name = libc_of_modules(image);
    if (by_name != LIBC_UNKNOWN)
        threads->libc = by_name;
    while (threads->slot_count < image->thread_count * 2)
        threads->slot_count *= 2;
    threads->id_slots = arena_array(arena, uint32_t, threads->slot_count);
    for (size_t i = 0; i < image->thread_count; i++) {
        size_t slot = id_slot(threads, threads->ids[i]);
        if (threads->ids[i] != 0 && threads->id_slots[slot] == 0)
            threads->id_slots[slot] = (uint32_t)i + 1;
    }
}

uint32_t wait_threads_find(const struct wait_threads *threads, uint32_t id)
{
    if (id == 0)
        return index_none;
    uint32_t found = threads->id_slots[id_slot(threads, id)];
    return found == 0 ? index_none : found - 1;
}

/* Blocks at or below the address. */
static size_t blocks_below(struct wait_threads *threads, uint64_t address)
{
    if (threads->blocks == NULL)
        read_blocks(threads);
    size_t low = 0, high = threads->block_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (threads->blocks[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint32_t wait_threads_find_block(struct wait_threads *threads, uint64_t address)
{
    size_t below = blocks_below(threads, address);
    return below == 0 || threads->blocks[below - 1].address != address ? index_none : threads->blocks[below - 1].member;
}

uint32_t wait_threads_around(struct wait_threads *threads, uint64_t address)
{
    size_t below = blocks_below(threads, address);
    if (below == 0 || address - threads->blocks[below - 1].address >= block_bytes)
        return index_none;
    return threads->blocks[below - 1].member;
}
