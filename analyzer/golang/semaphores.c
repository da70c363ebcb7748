/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/semaphores.h"

#include "base/limits.h"
#include "base/number_sort.h"

/* runtime/sema.go: semTabSize entries, each padded to a cache line; a lock, the tree's root, the number of waiters. */
enum { table_entries = 251, entry_root = 8, entry_waiters = 16, bases_max = 256, sudog_bytes_max = 128 };

/* internal/cpu's CacheLinePadSize; the smallest instruction tells arm64. */
static uint64_t entry_bytes(const struct go_runtime *runtime)
{
    return runtime->modules[0].table.quantum == 4 ? 128 : 64;
}

struct sudog {
    uint64_t goroutine, next, previous, element, wait_link, channel;
};

static bool read_bytes(const struct go_runtime *runtime, uint64_t address, void *ret_bytes, size_t size_bytes)
{
    bool is_late;
    return memory_ask(&runtime->image->memory, address, ret_bytes, size_bytes, &is_late) == size_bytes;
}

/* Whether a g stands there. */
static bool is_goroutine(const struct go_runtime *runtime, uint64_t address)
{
    uint8_t self[8];
    return read_bytes(runtime, address + go_g_self, self, sizeof self) && load_u64(self) == address;
}

/* False when there is no sudog that waits for a semaphore. What it says to be its goroutine may be none. */
static bool sudog_read(const struct go_runtime *runtime, struct memory_range *near, uint64_t address,
                       struct sudog *ret_sudog)
{
    const struct go_sudog_layout *layout = &runtime->layout.sudog;
    uint8_t copy[sudog_bytes_max];
    if (address == 0 || (address & 7) != 0)
        return false;
    const uint8_t *bytes = memory_view_near(&runtime->image->memory, near, address, (size_t)layout->size_bytes);
    if (bytes == NULL) {
        if (!read_bytes(runtime, address, copy, (size_t)layout->size_bytes))
            return false;
        bytes = copy;
    }
    *ret_sudog = (struct sudog){
        .goroutine = load_u64(bytes + layout->g),
        .next = load_u64(bytes + layout->next),
        .previous = load_u64(bytes + layout->previous),
        .element = load_u64(bytes + layout->element),
        .wait_link = load_u64(bytes + layout->wait_link),
        .channel = load_u64(bytes + layout->channel),
    };
    return ret_sudog->channel == 0 && ret_sudog->element != 0 && (ret_sudog->goroutine & 7) == 0;
}

static uint64_t bucket_of(uint64_t address)
{
    return (address >> 3) % table_entries;
}

/* Whether a table can begin there: entries have a root where they count waiters. A word elsewhere that leads to a waiter's
 * sudog (a cache of them, a stack's) says where a table would begin too. */
static bool is_table(const struct go_runtime *runtime, uint64_t base)
{
    for (uint64_t i = 0; i < table_entries; i++) {
        uint8_t entry[entry_waiters + 4];
        if (!read_bytes(runtime, base + i * entry_bytes(runtime), entry, sizeof entry) ||
            (load_u64(entry + entry_root) != 0 && load_u32(entry + entry_waiters) == 0))
            return false;
    }
    return true;
}

/* Every root in the table says where the table begins; what most of them say is right. */
uint64_t go_semaphores_find(const struct go_runtime *runtime)
{
    struct {
        uint64_t base;
        size_t votes;
    } bases[bases_max];
    struct memory_range near = {0};
    size_t count = 0, best = 0;
    for (size_t i = 0; i < 4; i++) {
        struct go_range range = runtime->modules[0].data[i];
        for (uint64_t at = (range.start + 7) & ~(uint64_t)7; at + 8 <= range.end; at += 8) {
            uint64_t word;
            struct sudog sudog;
            if (!memory_read_u64(&runtime->image->memory, at, &word) || word == 0 || !sudog_read(runtime, &near, word, &sudog) ||
                !is_goroutine(runtime, sudog.goroutine))
                continue;
            uint64_t base = at - entry_root - entry_bytes(runtime) * bucket_of(sudog.element);
            size_t found = 0;
            while (found < count && bases[found].base != base)
                found++;
            if (found == bases_max || (found == count && !is_table(runtime, base)))
                continue;
            if (found == count) {
                bases[count].base = base;
                bases[count++].votes = 0;
            }
            bases[found].votes++;
            if (bases[found].votes > bases[best].votes)
                best = found;
        }
    }
    return count == 0 ? 0 : bases[best].base;
}

struct go_semaphore_search {
    const struct go_runtime *runtime;
    struct memory_range near; /* as memory_view_near wants it */
    struct numbered *waits;   /* address of the semaphore by that of the goroutine */
    struct numbered *spare;
    size_t count, capacity; /* a goroutine waits for one: more than there are come out of a damaged tree */
    uint64_t bucket;
    uint64_t steps_left; /* a damaged tree may be endless */
};

/* One address of the tree and all that wait for it. */
static void collect_chain(struct go_semaphore_search *search, uint64_t address, const struct sudog *node)
{
    struct sudog sudog = *node;
    for (uint64_t at = address; search->steps_left > 0 && search->count < search->capacity; search->steps_left--) {
        search->waits[search->count++] = (struct numbered){sudog.goroutine, node->element};
        at = sudog.wait_link;
        if (!sudog_read(search->runtime, &search->near, at, &sudog))
            return;
    }
}

/* The tree without recursion: its nodes still to be visited, at most one a level and branch. */
static void collect_tree(struct go_semaphore_search *search, uint64_t root)
{
    uint64_t pending[128];
    size_t count = 0;
    pending[count++] = root;
    while (count > 0 && search->steps_left > 0) {
        uint64_t at = pending[--count];
        struct sudog sudog;
        search->steps_left--;
        if (!sudog_read(search->runtime, &search->near, at, &sudog) || bucket_of(sudog.element) != search->bucket)
            continue;
        collect_chain(search, at, &sudog);
        if (sudog.previous != 0 && count < 128)
            pending[count++] = sudog.previous;
        if (sudog.next != 0 && count < 128)
            pending[count++] = sudog.next;
    }
}

struct go_semaphore_search *go_semaphore_search_new(const struct go_runtime *runtime, struct arena *arena)
{
    struct go_semaphore_search *search = arena_new(arena, struct go_semaphore_search);
    size_t capacity = (size_t)runtime->goroutine_count + 1;
    *search = (struct go_semaphore_search){
        .waits = arena_array(arena, struct numbered, capacity),
        .spare = arena_array(arena, struct numbered, capacity),
        .capacity = capacity,
        .steps_left = 4 * runtime->goroutine_count + 1024,
    };
    return search;
}

void go_semaphore_search_run(struct go_semaphore_search *search, const struct go_runtime *runtime)
{
    search->runtime = runtime;
    uint64_t table = runtime->semaphores != 0 ? runtime->semaphores : go_semaphores_find(runtime);
    uint8_t root[8];
    for (search->bucket = 0; table != 0 && search->bucket < table_entries; search->bucket++)
        if (read_bytes(runtime, table + search->bucket * entry_bytes(runtime) + entry_root, root, sizeof root))
            collect_tree(search, load_u64(root));
    number_sort(search->waits, search->count, search->spare);
}

const struct go_semaphore_wait *go_semaphore_search_take(struct go_semaphore_search *search, size_t *ret_count)
{
    /* What the sort is done with becomes the result: a million of each are 16 MB. */
    _Static_assert(sizeof(struct go_semaphore_wait) == sizeof *search->spare, "one in the place of the other");
    struct go_semaphore_wait *waits = (void *)search->spare;
    for (size_t i = 0; i < search->count; i++)
        waits[i] = (struct go_semaphore_wait){search->waits[i].key, search->waits[i].value};
    *ret_count = search->count;
    return waits;
}

const struct go_semaphore_wait *go_semaphores_read(const struct go_runtime *runtime, struct arena *arena,
                                                   size_t *ret_count)
{
    struct go_semaphore_search *search = go_semaphore_search_new(runtime, arena);
    go_semaphore_search_run(search, runtime);
    return go_semaphore_search_take(search, ret_count);
}
