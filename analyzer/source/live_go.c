/* SPDX-License-Identifier: Apache-2.0 */
#include "source/live_go.h"

#include "base/limits.h"
#include "golang/bubbles.h"
#include "golang/case_chain.h"
#include "golang/labels.h"
#include "golang/semaphores.h"
#include "source/live_pieces.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { page_bytes = 4096, record_bytes_max = 512, lock_half_bytes = 16 };

/* Stacks that lie closer than this are copied with what is between them: that costs less than a range of its own. A
 * core's segments are worth more; more than a page could bridge what is not mapped. */
enum { stack_gap_bytes = 512, saved_gap_bytes = page_bytes - 1, record_gap_bytes = 1024 };

/* Rounds of sudogs that are planned, one for each case of a select; more are read one by one in the stop. */
enum { chain_rounds = 16 };

/* What a g asks for, as it stands in its record. */
struct needs {
    uint64_t low, high; /* of the stack, both 0: none */
    uint64_t waiting;   /* its first sudog, 0 none */
    uint64_t machine;   /* its m, 0 none */
    bool is_alive, is_running;
};

struct known {
    uint64_t address;     /* of the g */
    uint8_t *record;      /* NULL: not to be copied */
    uint64_t low, high;   /* of the stack that is planned */
    const uint8_t *sudog; /* where the first is copied to, NULL: none is planned */
    uint64_t waiting, channel, link;
    bool has_moved;
};

struct live_go {
    struct live_go_target target;
    struct arena *arena;
    struct diagnostics found; /* of the search, told when its finds are used */
    struct live_copier copier;
    struct image before, during; /* what the runtime is sought in, and what is chased in the stop */
    struct memory_target before_target, during_target;
    struct go_runtime runtime; /* of `before`, later of the image that took the copies */
    struct go_runtime runtime_during;
    uint8_t *slots; /* the array of pointers to g */
    uint64_t slot_count, slots_max;
    struct known *known; /* by address */
    size_t known_count;
    struct live_pieces records, stacks, data, machines, sudogs[chain_rounds], channels, semaphores;
    struct live_pieces late_records, late_stacks; /* made in the stop */
    struct known *late_known;
    size_t late_count;
    bool is_cut;
    bool is_other; /* not the first */
    struct live_go *next; /* another runtime of the process */
};

static size_t read_target(void *context, uint64_t address, void *ret_bytes, size_t size_bytes)
{
    const struct live_go *go = context;
    ssize_t got = pread(go->target.memory_fd, ret_bytes, size_bytes, (off_t)address);
    return got < 0 ? 0 : (size_t)got;
}

static bool target_u64(const struct live_go *go, uint64_t address, uint64_t *ret_value)
{
    uint8_t bytes[8];
    if (read_target((void *)go, address, bytes, sizeof bytes) != sizeof bytes)
        return false;
    *ret_value = load_u64(bytes);
    return true;
}

/* All that a module has mapped and its file does not tell: its data, what was relocated, and the anonymous memory right
 * behind it, which is its bss. */
static void copy_module(struct live_go *go, uint32_t number, uint64_t *left)
{
    const struct image *image = &go->before;
    struct live_pieces pieces = {0};
    uint64_t module_end = 0; /* of its mappings so far */
    for (size_t i = 0; i < image->mapping_count; i++) {
        const struct mapping *mapping = &image->mappings[i];
        bool is_of_file = memory_find(&image->memory, mapping->start + page_bytes - 1) != NULL &&
                          (mapping->access & MAPPING_WRITE) == 0;
        uint64_t size_bytes = mapping->end - mapping->start;
        bool is_bss = mapping->module == index_none && mapping->path.length == 0 && mapping->start == module_end;
        if (mapping->module == number || is_bss)
            module_end = mapping->end;
        if ((mapping->module != number && !is_bss) || (mapping->access & MAPPING_EXECUTE) != 0 ||
            (mapping->access & MAPPING_READ) == 0 || is_of_file || *left == 0)
            continue;
        if (size_bytes > *left)
            size_bytes = *left;
        *left -= size_bytes;
        live_pieces_add(&pieces, go->arena, mapping->start, size_bytes);
    }
    live_pieces_place(&pieces, &go->copier, 0);
    live_pieces_copy(&pieces, &go->copier);
    live_pieces_append(&pieces, &go->before.memory, &go->before.memory.core);
}

/* An image of its own, of the target as it runs. */
static bool find_runtime(struct live_go *go, struct image *image, struct module_files *files)
{
    uint64_t left = limit_go_data_bytes;
    bool is_likely = false;
    go_modules_open(image, files);
    go->before = *image;
    go->before_target = (struct memory_target){.read = read_target, .context = go, .bytes_left = limit_go_search_bytes};
    go->before.memory.target = &go->before_target;
    go->before.memory.core = (struct memory_layer){0};
    for (size_t i = 0; i < image->module_count; i++)
        if (go_module_is_likely(files, (uint32_t)i)) {
            is_likely = true;
            copy_module(go, (uint32_t)i, &left);
        }
    memory_layer_freeze(&go->before.memory, &go->before.memory.core);
    return is_likely && go_runtime_find(&go->before, files, go->arena, &go->found, &go->runtime) &&
           go->runtime.goroutine_count != 0 && (size_t)go->runtime.layout.g.size_bytes <= record_bytes_max &&
           (size_t)go->runtime.layout.sudog.size_bytes <= record_bytes_max;
}

static struct needs read_needs(const struct live_go *go, const uint8_t *record, uint64_t address)
{
    const struct go_g_layout *layout = &go->runtime.layout.g;
    struct needs needs = {0};
    uint32_t status = load_u32(record + layout->status) & ~(uint32_t)go_status_scan;
    if (load_u64(record + go_g_self) != address || status == GO_IDLE || status == GO_DEAD || status == GO_DEAD_EXTRA)
        return needs;
    uint64_t low = load_u64(record + go_g_stack_low), high = load_u64(record + go_g_stack_high);
    uint64_t sp = load_u64(record + layout->syscall_sp);
    needs.waiting = status == GO_WAITING || status == GO_LEAKED ? load_u64(record + layout->waiting) : 0;
    needs.machine = load_u64(record + go_g_m);
    /* One that waits in Go that C called has given its m up. */
    if (needs.machine == 0)
        needs.machine = load_u64(record + layout->locked_m);
    needs.is_alive = true;
    needs.is_running = status == GO_RUNNING;
    if (sp == 0)
        sp = load_u64(record + go_g_sp);
    /* Of one that runs only its thread knows: all of the stack then. */
    if (needs.is_running)
        sp = high - low < limit_stack_copy_bytes ? low : high - limit_stack_copy_bytes;
    if (low >= high || sp < low || sp >= high)
        return needs;
    needs.low = sp & ~(uint64_t)7;
    needs.high = high - needs.low < limit_stack_copy_bytes ? high : needs.low + limit_stack_copy_bytes;
    return needs;
}

static int compare_known(const void *left, const void *right)
{
    const struct known *a = left, *b = right;
    return a->address < b->address ? -1 : a->address > b->address;
}

/* The slots from `first` on as a sorted table, and pieces for their records. */
static struct known *list_known(struct live_go *go, uint64_t first, struct live_pieces *records, struct arena *arena,
                                size_t *ret_count)
{
    struct known *known = arena_array(arena, struct known, go->slot_count - first + 1);
    size_t count = 0, kept = 0;
    for (uint64_t i = first; i < go->slot_count; i++) {
        uint64_t address = load_u64(go->slots + 8 * i);
        if (address != 0 && (address & 7) == 0)
            known[count++].address = address;
    }
    qsort(known, count, sizeof *known, compare_known);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || known[i].address != known[kept - 1].address)
            known[kept++] = known[i];
    for (size_t i = 0; i < kept; i++)
        live_pieces_add(records, arena, known[i].address, (uint64_t)go->runtime.layout.g.size_bytes);
    live_pieces_place(records, &go->copier, record_gap_bytes);
    *ret_count = kept;
    return known;
}

/* The record's bytes, or NULL when the last copy did not get all of them. *at goes on with ascending addresses. */
static uint8_t *find_record(const struct live_pieces *records, uint64_t address, size_t size_bytes, size_t *at)
{
    while (*at < records->count && records->items[*at].end <= address)
        (*at)++;
    const struct live_piece *piece = *at < records->count ? &records->items[*at] : NULL;
    if (piece == NULL || piece->bytes == NULL || piece->start > address || piece->copied < address - piece->start ||
        piece->copied - (address - piece->start) < size_bytes)
        return NULL;
    return piece->bytes + (address - piece->start);
}

static void find_records(const struct live_go *go, const struct live_pieces *records, struct known *known, size_t count)
{
    size_t at = 0;
    for (size_t i = 0; i < count; i++)
        known[i].record = find_record(records, known[i].address, (size_t)go->runtime.layout.g.size_bytes, &at);
}

/* What m's are read for: the thread, the g that runs on it, the stacks of the runtime's own. */
static size_t machine_bytes(const struct live_go *go)
{
    const struct go_m_layout *layout = &go->runtime.layout.m;
    const int16_t offsets[] = {layout->g0,
                               layout->process_id,
                               layout->signal_g,
                               layout->current_g,
                               layout->id,
                               layout->processor,
                               (int16_t)(layout->vdso_sp + 8)};
    int16_t last = 0;
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++)
        last = offsets[i] > last ? offsets[i] : last;
    return (size_t)last + 8;
}

/* A field of a sudog that was copied, 0 when it was not. */
static uint64_t sudog_field(const uint8_t *sudog, int16_t offset)
{
    return sudog == NULL || offset < 0 ? 0 : load_u64(sudog + offset);
}

static const uint8_t *piece_bytes(const struct live_pieces *pieces, uint64_t address, size_t size_bytes)
{
    const struct live_piece *piece = live_pieces_find(pieces, address, size_bytes);
    return piece == NULL || piece->bytes == NULL || piece->copied < address - piece->start + size_bytes
               ? NULL
               : piece->bytes + (address - piece->start);
}

/* Sudogs round by round: the first of each goroutine, then those of the further cases of its select. */
static void plan_sudogs(struct live_go *go)
{
    const struct go_sudog_layout *layout = &go->runtime.layout.sudog;
    size_t size_bytes = (size_t)layout->size_bytes, count = 0, next_count = 0, next_capacity = 0;
    uint64_t *sudogs = arena_array(go->arena, uint64_t, go->known_count + 1);
    for (size_t i = 0; i < go->known_count; i++)
        if (go->known[i].waiting != 0)
            sudogs[count++] = go->known[i].waiting;
    for (size_t round = 0; round < chain_rounds && count != 0; round++) {
        struct live_pieces *pieces = &go->sudogs[round];
        for (size_t i = 0; i < count; i++)
            live_pieces_add(pieces, go->arena, sudogs[i], size_bytes);
        live_pieces_place(pieces, &go->copier, record_gap_bytes);
        live_pieces_copy(pieces, &go->copier);
        uint64_t *next = NULL;
        next_count = next_capacity = 0;
        for (size_t i = 0; i < count; i++) {
            const uint8_t *sudog = piece_bytes(pieces, sudogs[i], size_bytes);
            uint64_t channel = sudog_field(sudog, layout->channel), link = sudog_field(sudog, layout->wait_link);
            if (channel == 0)
                continue; /* a semaphore's: its link leads to other goroutines */
            live_pieces_add(&go->channels, go->arena, channel, (uint64_t)go->runtime.layout.channel.size_bytes);
            if (link == 0)
                continue;
            next = arena_grow(go->arena, next, next_count, &next_capacity, sizeof *next);
            next[next_count++] = link;
        }
        sudogs = next;
        count = next_count;
    }
    live_pieces_place(&go->channels, &go->copier, record_gap_bytes);
    live_pieces_copy(&go->channels, &go->copier);
    for (size_t i = 0; i < go->known_count; i++) {
        struct known *known = &go->known[i];
        known->sudog = known->waiting == 0 ? NULL : piece_bytes(&go->sudogs[0], known->waiting, size_bytes);
        known->channel = sudog_field(known->sudog, layout->channel);
        known->link = sudog_field(known->sudog, layout->wait_link);
    }
}

/* The words that tell what changes: data and bss of the module with the runtime. Whole pages, so that a saved core can
 * say where the rest of the mapping is. */
static void plan_data(struct live_go *go)
{
    uint64_t left = limit_go_stopped_data_bytes;
    for (size_t i = 1; i <= 2; i++) {
        struct go_range range = go->runtime.modules[0].data[i];
        uint64_t start = range.start & -(uint64_t)page_bytes;
        uint64_t size_bytes = ((range.end + page_bytes - 1) & -(uint64_t)page_bytes) - start;
        if (size_bytes > left)
            size_bytes = left;
        left -= size_bytes;
        live_pieces_add(&go->data, go->arena, start, size_bytes);
    }
    /* Where the limit left them out. */
    live_pieces_add(&go->data, go->arena, go->runtime.goroutines_slice & -(uint64_t)page_bytes, 2 * page_bytes);
    live_pieces_place(&go->data, &go->copier, 0);
    live_pieces_copy(&go->data, &go->copier);
}

static void plan_goroutines(struct live_go *go)
{
    size_t machine_size = machine_bytes(go);
    go->known = list_known(go, 0, &go->records, go->arena, &go->known_count);
    live_pieces_copy(&go->records, &go->copier);
    find_records(go, &go->records, go->known, go->known_count);
    for (size_t i = 0; i < go->known_count; i++) {
        struct known *known = &go->known[i];
        if (known->record == NULL)
            continue;
        struct needs needs = read_needs(go, known->record, known->address);
        known->low = needs.low;
        known->high = needs.high;
        known->waiting = needs.waiting;
        live_pieces_add(&go->stacks, go->arena, needs.low, needs.high - needs.low);
        if (needs.machine != 0)
            live_pieces_add(&go->machines, go->arena, needs.machine, machine_size);
    }
    /* Where a stack is compared with itself, it has a piece of its own. */
    live_pieces_place(&go->stacks, &go->copier,
                      !go->target.is_stopped   ? 0
                      : go->target.to_be_saved ? saved_gap_bytes
                                               : stack_gap_bytes);
    live_pieces_copy(&go->stacks, &go->copier);
    live_pieces_place(&go->machines, &go->copier, 0);
    live_pieces_copy(&go->machines, &go->copier);
}

/* What is chased in the stop is looked for in these first. */
static void make_during(struct live_go *go)
{
    struct memory *memory = &go->during.memory;
    const struct live_pieces *pieces[] = {&go->records, &go->machines, &go->data, &go->channels, &go->semaphores};
    go->during = go->before;
    *memory = (struct memory){.arena = go->arena, .target = &go->during_target};
    go->during_target = (struct memory_target){.read = read_target, .context = go, .bytes_left = limit_go_chased_bytes};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
        live_pieces_append(pieces[i], memory, &memory->core);
    for (size_t i = 0; i < chain_rounds; i++)
        live_pieces_append(&go->sudogs[i], memory, &memory->core);
    memory_layer_freeze(memory, &memory->core);
    uint64_t semaphores = go->runtime_during.semaphores;
    go->runtime_during = go->runtime;
    go->runtime_during.image = &go->during;
    go->runtime_during.semaphores = semaphores;
}

/* What its waiters need is asked for here page by page, and in the stop all at once. Without a waiter now the table is
 * not to be found: what those that come until the stop wait for stays unknown. */
static void plan_semaphores(struct live_go *go)
{
    size_t count;
    go->runtime_during.semaphores = go_semaphores_find(&go->runtime_during);
    if (go->runtime_during.semaphores == 0)
        return;
    go->during_target.pages = (struct memory_layer){0};
    const struct go_semaphore_wait *waits = go_semaphores_read(&go->runtime_during, go->arena, &count);
    /* The locks themselves: a sync.RWMutex has its semaphores in the middle. */
    for (size_t i = 0; i < count; i++) {
        uint8_t lock[2 * lock_half_bytes];
        bool is_late;
        if ((i == 0 || waits[i].address != waits[i - 1].address) && waits[i].address > lock_half_bytes)
            memory_ask(&go->during.memory, waits[i].address - lock_half_bytes, lock, sizeof lock, &is_late);
    }
    const struct memory_layer *pages = &go->during_target.pages;
    for (size_t i = 0; i < pages->count; i++)
        live_pieces_add(&go->semaphores, go->arena, pages->ranges[i].start,
                        pages->ranges[i].end - pages->ranges[i].start);
    live_pieces_place(&go->semaphores, &go->copier, 0);
    live_pieces_copy(&go->semaphores, &go->copier);
}

/* Labels and bubbles do not change once a goroutine has them: what is read of them now holds in the stop. */
static void copy_labels(struct live_go *go)
{
    struct intern_table strings;
    intern_table_init(&strings, go->arena);
    struct go_labels_reader reader = go_labels_reader_new(&go->runtime, &strings, go->arena);
    go->before_target.pages = (struct memory_layer){0};
    for (size_t i = 0; i < go->known_count; i++)
        if (go->known[i].high != 0) {
            go_labels_read(&reader, load_u64(go->known[i].record + go->runtime.layout.g.labels));
            if (go->runtime.layout.g.bubble >= 0)
                go_bubble_number(&go->runtime, load_u64(go->known[i].record + go->runtime.layout.g.bubble));
        }
    go_labels_reader_close(&reader);
}

/* Plans and copies once what is copied again in the stop. */
static void plan(struct live_go *go)
{
    go->slot_count = go->runtime.goroutine_count;
    go->slots_max = go->slot_count + go->slot_count / 4 + 4096;
    if (go->slots_max * 8 > go->copier.places_bytes - go->copier.places_used)
        go->slots_max = go->slot_count = 0;
    go->slots = go->copier.places + go->copier.places_used;
    go->copier.places_used += go->slots_max * 8;
    go->slot_count = read_target(go, go->runtime.goroutines, go->slots, go->slot_count * 8) / 8;
    plan_goroutines(go);
    copy_labels(go);
    plan_sudogs(go);
    plan_data(go);
    make_during(go);
    plan_semaphores(go);
    make_during(go);
}

static struct live_go *open_one(const struct live_go_target *target, struct arena *arena)
{
    struct live_go *go = arena_new(arena, struct live_go);
    *go = (struct live_go){.target = *target, .arena = arena};
    diagnostics_init(&go->found, arena);
    return live_copier_open(&go->copier, target->tid, target->memory_fd, limit_go_copied_bytes) ? go : NULL;
}

/* Those that the process has beside the first. */
static void open_others(struct live_go *first)
{
    struct live_go *last = first;
    for (const struct go_runtime *runtime = first->runtime.next; runtime != NULL; runtime = runtime->next) {
        struct live_go *go = open_one(&first->target, first->arena);
        if (go == NULL)
            return;
        go->before = first->before;
        go->before_target = (struct memory_target){.read = read_target, .context = go, .bytes_left = limit_go_search_bytes};
        go->before.memory.target = &go->before_target;
        go->runtime = *runtime;
        go->runtime.image = &go->before;
        go->is_other = true;
        plan(go);
        last->next = go;
        last = go;
    }
}

struct live_go *live_go_find(const struct live_go_target *target, struct image *image, struct module_files *files,
                             struct arena *arena)
{
    struct live_go *go = open_one(target, arena);
    if (go == NULL)
        return NULL;
    if (!find_runtime(go, image, files)) {
        live_go_close(go);
        return NULL;
    }
    plan(go);
    open_others(go);
    return go;
}

void live_go_close(struct live_go *go)
{
    for (; go != NULL; go = go->next)
        live_copier_close(&go->copier);
}

/* The list as it is now: only its end can be new. */
static void copy_slots(struct live_go *go)
{
    uint64_t array, count, before = go->slot_count;
    go->slot_count = 0;
    if (!target_u64(go, go->runtime.goroutines_slice, &array) ||
        !target_u64(go, go->runtime.goroutines_slice + 8, &count))
        return;
    if (count > go->slots_max)
        count = go->slots_max;
    if (count < before)
        before = count;
    go->runtime.goroutines = array;
    go->slot_count =
        before + read_target(go, array + 8 * before, go->slots + 8 * before, (size_t)(count - before) * 8) / 8;
}

static void chase_sudogs(struct live_go *go, uint64_t sudog)
{
    const struct go_sudog_layout *layout = &go->runtime.layout.sudog;
    for (struct case_chain chain = {0}; case_chain_take(&chain, sudog);) {
        uint8_t bytes[record_bytes_max], channel_bytes[record_bytes_max];
        bool is_late;
        if (memory_ask(&go->during.memory, sudog, bytes, (size_t)layout->size_bytes, &is_late) !=
            (size_t)layout->size_bytes)
            return;
        uint64_t channel = load_u64(bytes + layout->channel);
        if (channel == 0)
            return;
        memory_ask(&go->during.memory, channel, channel_bytes, (size_t)go->runtime.layout.channel.size_bytes, &is_late);
        sudog = load_u64(bytes + layout->wait_link);
    }
}

static void chase_machine(struct live_go *go, uint64_t machine)
{
    uint8_t bytes[4096], stack[go_g_self + 8];
    size_t size_bytes = machine_bytes(go);
    bool is_late;
    if (size_bytes > sizeof bytes || memory_ask(&go->during.memory, machine, bytes, size_bytes, &is_late) != size_bytes)
        return;
    memory_ask(&go->during.memory, load_u64(bytes + go->runtime.layout.m.g0), stack, sizeof stack, &is_late);
    memory_ask(&go->during.memory, load_u64(bytes + go->runtime.layout.m.signal_g), stack, sizeof stack, &is_late);
    /* Of its p what tells of time. */
    memory_ask(&go->during.memory, load_u64(bytes + go->runtime.layout.m.processor), stack, sizeof stack, &is_late);
}

/* What changed since it was planned. */
static void copy_changes(struct live_go *go, struct known *table, size_t count, struct arena *arena)
{
    const struct go_sudog_layout *layout = &go->runtime.layout.sudog;
    for (size_t i = 0; i < count; i++) {
        struct known *known = &table[i];
        if (known->record == NULL)
            continue;
        struct needs needs = read_needs(go, known->record, known->address);
        if (needs.high != 0 && (needs.low < known->low || needs.high > known->high)) {
            live_pieces_add(&go->late_stacks, arena, needs.low, needs.high - needs.low);
            known->low = needs.low;
            known->high = needs.high;
        }
        if (needs.waiting != 0 && (needs.waiting != known->waiting || known->sudog == NULL ||
                                   load_u64(known->sudog + layout->channel) != known->channel ||
                                   load_u64(known->sudog + layout->wait_link) != known->link))
            chase_sudogs(go, needs.waiting);
        if (needs.machine != 0)
            chase_machine(go, needs.machine);
        if ((i & 1023) == 0 && live_copier_time_is_up(&go->copier)) {
            go->is_cut = true;
            return;
        }
    }
}

static void copy_all(struct live_go *go, struct arena *arena)
{
    struct live_pieces *pieces[] = {&go->data, &go->machines, &go->stacks, &go->channels, &go->semaphores};
    size_t before_slots = go->slot_count, count;
    copy_slots(go);
    go->is_cut |= !live_pieces_copy(&go->records, &go->copier);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
        go->is_cut |= !live_pieces_copy(pieces[i], &go->copier);
    for (size_t i = 0; i < chain_rounds; i++)
        go->is_cut |= !live_pieces_copy(&go->sudogs[i], &go->copier);
    if (go->slot_count > before_slots)
        go->late_known = list_known(go, before_slots, &go->late_records, arena, &go->late_count);
    go->is_cut |= !live_pieces_copy(&go->late_records, &go->copier);
    find_records(go, &go->records, go->known, go->known_count);
    find_records(go, &go->late_records, go->late_known, go->late_count);
    if (go->is_cut)
        return;
    go->during.memory.arena = arena;
    copy_changes(go, go->known, go->known_count, arena);
    copy_changes(go, go->late_known, go->late_count, arena);
    live_pieces_place(&go->late_stacks, &go->copier, 0);
    go->is_cut |= !live_pieces_copy(&go->late_stacks, &go->copier);
    if (go->runtime_during.semaphores != 0 && !go->is_cut)
        go_semaphores_read(&go->runtime_during, arena, &count);
}

static const uint8_t *find_stack(const struct live_go *go, uint64_t low, uint64_t high)
{
    const uint8_t *late = piece_bytes(&go->late_stacks, low, high - low);
    return late != NULL ? late : piece_bytes(&go->stacks, low, high - low);
}

/* Whether two readings of a record are of a goroutine at one place. What the collector and others write is let be. */
static bool is_same_place(const struct live_go *go, const uint8_t *left, const uint8_t *right)
{
    const struct go_g_layout *layout = &go->runtime.layout.g;
    const int16_t words[] = {go_g_stack_low,     go_g_stack_high,    go_g_sp,    go_g_pc,
                             layout->syscall_sp, layout->syscall_pc, layout->id, layout->waiting};
    uint32_t scan = go_status_scan;
    bool same = (load_u32(left + layout->status) & ~scan) == (load_u32(right + layout->status) & ~scan);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        same &= load_u64(left + words[i]) == load_u64(right + words[i]);
    return same;
}

/* Whether a goroutine stands where it was copied: its record, its stack and its record again are read by one call, so
 * that it has no time to run and come back in between. */
static bool stands_still(struct live_go *go, const struct known *known, uint64_t low, const uint8_t *stack,
                         size_t stack_bytes, uint8_t *scratch)
{
    size_t record_bytes = (size_t)go->runtime.layout.g.size_bytes;
    const struct iovec vector[] = {{(void *)(uintptr_t)known->address, record_bytes},
                                   {(void *)(uintptr_t)low, stack_bytes},
                                   {(void *)(uintptr_t)known->address, record_bytes}};
    return live_copier_read(&go->copier, scratch, vector, 3) == 2 * record_bytes + stack_bytes &&
           memcmp(scratch + record_bytes, stack, stack_bytes) == 0 && is_same_place(go, scratch, known->record) &&
           is_same_place(go, scratch + record_bytes + stack_bytes, known->record);
}

static void check_known(struct live_go *go, struct known *table, size_t count, struct arena *arena)
{
    uint8_t *scratch = arena_alloc(arena, limit_stack_copy_bytes + 2 * record_bytes_max, 1);
    for (size_t i = 0; i < count; i++) {
        struct known *known = &table[i];
        if (known->record == NULL)
            continue;
        struct needs needs = read_needs(go, known->record, known->address);
        if (!needs.is_alive)
            continue;
        const uint8_t *stack = needs.high == 0 ? NULL : find_stack(go, needs.low, needs.high);
        known->has_moved = needs.is_running || stack == NULL ||
                           !stands_still(go, known, needs.low, stack, (size_t)(needs.high - needs.low), scratch);
        if (known->has_moved) {
            memset(known->record + go_g_sp, 0, 8);
            memset(known->record + go->runtime.layout.g.syscall_sp, 0, 8);
        }
    }
}

void live_go_copy(struct live_go *go, uint64_t deadline, const atomic_bool *let_go, struct arena *arena)
{
    for (; go != NULL; go = go->next) {
        go->copier.deadline = deadline;
        go->copier.let_go = let_go;
        copy_all(go, arena);
        if (go->target.is_stopped)
            continue;
        check_known(go, go->known, go->known_count, arena);
        check_known(go, go->late_known, go->late_count, arena);
    }
}

uint64_t live_go_stack_end(const struct live_go *go, uint64_t sp, uint64_t thread_pointer)
{
    uint64_t g, self, low, high;
    /* runtime.tls_g: the g that runs on a thread, the runtime's own ones included, is the word below its pointer. */
    if (thread_pointer == 0 || !target_u64(go, thread_pointer - 8, &g) || !target_u64(go, g + go_g_self, &self) ||
        self != g || !target_u64(go, g + go_g_stack_low, &low) || !target_u64(go, g + go_g_stack_high, &high))
        return 0;
    return sp >= low && sp < high ? high : 0;
}

/* Stacks without those that moved, whose bytes are of no instant. */
static void append_still(const struct live_go *go, const struct known *table, size_t count, struct image *image)
{
    for (size_t i = 0; i < count; i++) {
        const struct known *known = &table[i];
        if (known->record == NULL || known->has_moved)
            continue;
        struct needs needs = read_needs(go, known->record, known->address);
        const uint8_t *stack = needs.high == 0 ? NULL : find_stack(go, needs.low, needs.high);
        if (stack != NULL)
            memory_layer_append(&image->memory, &image->memory.core,
                                (struct memory_range){needs.low, needs.high, stack});
    }
}

static void append_layer(const struct memory_layer *layer, struct image *image)
{
    for (size_t i = 0; i < layer->count; i++)
        memory_layer_append(&image->memory, &image->memory.core, layer->ranges[i]);
}

/* Goroutines whose record or stack the deadline left out. */
static uint64_t count_cut(const struct live_go *go, const struct known *table, size_t count)
{
    uint64_t cut = 0;
    for (size_t i = 0; i < count; i++) {
        struct needs needs = {0};
        if (table[i].record != NULL)
            needs = read_needs(go, table[i].record, table[i].address);
        cut += table[i].record == NULL || (needs.high != 0 && find_stack(go, needs.low, needs.high) == NULL);
    }
    return cut;
}

static void tell(struct live_go *go, struct diagnostics *diagnostics)
{
    uint64_t moved = 0;
    for (size_t i = 0; i < go->found.count; i++) {
        const struct diagnostic *told = &go->found.entries[i];
        diagnostics_add(diagnostics, told->weight, told->code, text_from_string(told->subject), "%s", told->message);
    }
    if (go->is_cut) {
        uint64_t cut = count_cut(go, go->known, go->known_count) + count_cut(go, go->late_known, go->late_count);
        diagnostics_add(diagnostics, DIAGNOSTIC_LOST, "goroutines-cut", TEXT(""),
                        "%" PRIu64 " goroutines were left unread, or without their stacks, when the stop took longer "
                        "than --max-stop",
                        cut)
            ->count = cut;
    }
    for (size_t i = 0; i < go->known_count; i++)
        moved += go->known[i].has_moved;
    for (size_t i = 0; i < go->late_count; i++)
        moved += go->late_known[i].has_moved;
    if (!go->target.is_stopped)
        diagnostics_add(diagnostics, DIAGNOSTIC_NOTE, "goroutines-not-stopped", TEXT(""),
                        "goroutines were read while they could run: %" PRIu64 " ran meanwhile and have no stack, the "
                        "stacks of the others were the same in two readings",
                        moved);
}

static void take(struct live_go *go, struct image *image, struct diagnostics *diagnostics)
{
    struct memory *memory = &image->memory;
    const struct live_pieces *pieces[] = {&go->late_records, &go->records,  &go->data,
                                          &go->machines,     &go->channels, &go->semaphores};
    if (go->slot_count != 0)
        memory_layer_append(
            memory, &memory->core,
            (struct memory_range){go->runtime.goroutines, go->runtime.goroutines + 8 * go->slot_count, go->slots});
    if (go->target.is_stopped) {
        live_pieces_append(&go->late_stacks, memory, &memory->core);
        live_pieces_append(&go->stacks, memory, &memory->core);
    } else {
        append_still(go, go->late_known, go->late_count, image);
        append_still(go, go->known, go->known_count, image);
    }
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
        live_pieces_append(pieces[i], memory, &memory->core);
    for (size_t i = 0; i < chain_rounds; i++)
        live_pieces_append(&go->sudogs[i], memory, &memory->core);
    append_layer(&go->during_target.pages, image);
    if (!go->is_other)
        append_layer(&go->before.memory.core, image);
    append_layer(&go->before_target.pages, image);
    tell(go, diagnostics);
    go->runtime.image = image;
    go->runtime.goroutine_count = go->slot_count;
    go->runtime.semaphores = go->runtime_during.semaphores;
    for (size_t i = 0; i < go->runtime.module_count; i++)
        go->runtime.modules[i].table.context = memory;
}

void live_go_take(struct live_go *go, struct image *image, struct diagnostics *diagnostics)
{
    for (; go != NULL; go = go->next) {
        take(go, image, diagnostics);
        go->runtime.next = go->next == NULL ? NULL : &go->next->runtime;
    }
}

const struct go_runtime *live_go_runtime(const struct live_go *go)
{
    return &go->runtime;
}
