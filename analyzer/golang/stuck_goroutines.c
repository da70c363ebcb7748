/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/stuck_goroutines.h"

#include "base/intern_table.h"
#include "base/limits.h"
#include "base/number_sort.h"
#include "golang/case_chain.h"
#include "golang/live_words.h"
#include "golang/semaphores.h"

#include <stdlib.h>
#include <string.h>

/* An object that is still to be gone through. */
struct pending_object {
    uint32_t span, index;
};

/* Of a goroutine that runs or is in a system call: others have no thread on theirs. */
struct stack {
    uint64_t low, high;
    uint64_t used; /* where a thread stands on it; UINT64_MAX: none does */
};

enum fate { FATE_NONE, FATE_STUCK, FATE_CAN_RUN }; /* none: no goroutine */

struct search {
    const struct go_runtime *runtime;
    const struct memory *memory;
    struct arena *arena;
    struct go_heap heap;
    struct memory_range near;                     /* as memory_view_near wants it */
    uint64_t low, high;                           /* of the heap */
    uint64_t *marked, *is_goroutine, *is_awaited; /* a bit an object */
    struct pending_object *pending;
    size_t pending_count, pending_capacity;
    struct goroutine_reader reader;
    struct go_live_reader *live;
    const uint8_t *list; /* the runtime's, of goroutines */
    const struct go_semaphore_wait *semaphores;
    size_t semaphore_count;
    uint64_t semaphore_table; /* address, 0: none waits */
    uint8_t *fates;           /* by slot */
    struct numbered *awaited; /* slots by the object in which what they wait for is; sorted once all are in it */
    size_t awaited_count, awaited_capacity;
    uint32_t *woken; /* slots */
    size_t woken_count;
    struct stack *stacks; /* by low */
    size_t stack_count;
    uint64_t goroutine_bytes; /* what a g takes; 0 not known */
    bool is_elsewhere;        /* a thread is on no stack of Go's */
    uint64_t bytes_left;
    struct {
        uint64_t address;
        uint64_t *goroutines; /* sorted */
        size_t count, capacity;
        uint64_t steps_left;
    } condition;
    uint64_t *passed_over; /* objects whose words are not followed; few */
    size_t passed_over_count;
    bool is_broken; /* something could not be read or took too long */
};

static int number_compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

static bool bit_test(const uint64_t *bits, uint64_t number)
{
    return (bits[number / 64] >> number % 64 & 1) != 0;
}

static void bit_set(uint64_t *bits, uint64_t number)
{
    bits[number / 64] |= (uint64_t)1 << number % 64;
}

static const uint8_t *view(struct search *search, uint64_t address, size_t size_bytes)
{
    return memory_view_near(search->memory, &search->near, address, size_bytes);
}

static uint64_t object_of(struct search *search, uint64_t address)
{
    if (address - search->low >= search->high - search->low)
        return UINT64_MAX;
    const struct go_span *span = go_heap_find(&search->heap, address);
    return span == NULL ? UINT64_MAX : go_span_object(span, address);
}

static bool is_goroutine(struct search *search, uint64_t address)
{
    uint64_t object = object_of(search, address);
    return object != UINT64_MAX && bit_test(search->is_goroutine, object);
}

static bool take_bytes(struct search *search, uint64_t size_bytes)
{
    search->is_broken |= size_bytes > search->bytes_left;
    search->bytes_left -= search->is_broken ? 0 : size_bytes;
    return !search->is_broken;
}

/* Stacks. */

static int compare_stacks(const void *left, const void *right)
{
    const struct stack *a = left, *b = right;
    return a->low < b->low ? -1 : a->low > b->low;
}

/* The first that ends above the address. */
static struct stack *stack_from(const struct search *search, uint64_t address)
{
    size_t low = 0, high = search->stack_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (search->stacks[middle].high <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < search->stack_count ? &search->stacks[low] : NULL;
}

/* What waits. */

static void wake(struct search *search, uint32_t slot)
{
    if (search->fates[slot] != FATE_STUCK)
        return;
    search->fates[slot] = FATE_CAN_RUN;
    search->woken[search->woken_count++] = slot;
}

static size_t awaited_first(const struct search *search, uint64_t object)
{
    size_t low = 0, high = search->awaited_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (search->awaited[middle].key < object)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void object_mark(struct search *search, const struct go_span *span, uint64_t object)
{
    bit_set(search->marked, object);
    if (bit_test(search->is_awaited, object))
        for (size_t i = awaited_first(search, object); i < search->awaited_count && search->awaited[i].key == object;
             i++)
            wake(search, (uint32_t)search->awaited[i].value);
    if (span->has_no_pointers)
        return;
    search->pending = arena_grow(search->arena, search->pending, search->pending_count, &search->pending_capacity,
                                 sizeof *search->pending);
    search->pending[search->pending_count++] =
        (struct pending_object){(uint32_t)(span - search->heap.spans), (uint32_t)(object - span->first_object)};
}

static void word_mark(struct search *search, uint64_t word)
{
    if (word - search->low >= search->high - search->low)
        return;
    const struct go_span *span = go_heap_find(&search->heap, word);
    uint64_t object = span == NULL ? UINT64_MAX : go_span_object(span, word);
    if (object != UINT64_MAX && !bit_test(search->marked, object))
        object_mark(search, span, object);
}

/* Most words of four lead nowhere: one branch for them. */
static void bytes_mark(struct search *search, const uint8_t *bytes, uint64_t size_bytes)
{
    uint64_t low = search->low, span = search->high - search->low, i = 0;
    for (; i + 32 <= size_bytes; i += 32) {
        uint64_t words[] = {load_u64(bytes + i), load_u64(bytes + i + 8), load_u64(bytes + i + 16),
                            load_u64(bytes + i + 24)};
        if ((words[0] - low < span) | (words[1] - low < span) | (words[2] - low < span) | (words[3] - low < span))
            for (size_t j = 0; j < 4; j++)
                word_mark(search, words[j]);
    }
    for (; i + 8 <= size_bytes; i += 8)
        word_mark(search, load_u64(bytes + i));
}

/* The buffer of write barriers in a processor's record has pointers of collections before: runtime.wbBuf begins with
 * two pointers into itself, the second to its end. How many bytes from there on it takes; 0: it does not begin there.
 */
static uint64_t barrier_buffer_bytes(const uint8_t *bytes, uint64_t address, uint64_t left)
{
    enum { entries = 512, entries_old = 256 };
    if (left < 16)
        return 0;
    uint64_t next = load_u64(bytes), end = load_u64(bytes + 8), first = address + 16;
    bool is_buffer = end - first == 8 * entries || end - first == 8 * entries_old;
    return is_buffer && end - address <= left && next - first <= end - first ? end - address : 0;
}

/* In front of a processor's record are counters, and pages that it may give out, which are nobody's. */
static void processor_scan(struct search *search, const uint8_t *bytes, uint64_t address, uint64_t size)
{
    enum { head_bytes = 96 };
    uint64_t buffer = 0, buffer_bytes = 0;
    for (; buffer_bytes == 0 && buffer + 8 <= size; buffer += buffer_bytes == 0 ? 8 : 0)
        buffer_bytes = barrier_buffer_bytes(bytes + buffer, address + buffer, size - buffer);
    if (buffer_bytes == 0) {
        bytes_mark(search, bytes, size);
        return;
    }
    if (buffer > head_bytes)
        bytes_mark(search, bytes + head_bytes, buffer - head_bytes);
    bytes_mark(search, bytes + buffer + buffer_bytes, size - buffer - buffer_bytes);
}

/* It begins with its goroutine, and leads to others in the same queue. */
static bool is_sudog(struct search *search, const struct go_span *span, const uint8_t *bytes)
{
    enum { rounded_up_bytes = 32 }; /* to what the allocator has */
    uint64_t size = (uint64_t)search->runtime->layout.sudog.size_bytes;
    return span->object_bytes >= size && span->object_bytes < size + rounded_up_bytes &&
           is_goroutine(search, load_u64(bytes));
}

/* The g of a thread's own stack, which is in no list: the end of its stack is where the next object begins. */
static bool is_thread_record(struct search *search, const struct go_span *span, const uint8_t *bytes)
{
    uint64_t low = load_u64(bytes + go_g_stack_low), high = load_u64(bytes + go_g_stack_high);
    if (span->object_bytes != search->goroutine_bytes || low >= high)
        return false;
    const struct go_span *stack = go_heap_find(&search->heap, low);
    return stack != NULL && stack->object_bytes == 0 && high <= stack->end;
}

static void object_scan(struct search *search, struct pending_object pending)
{
    enum { processor_bytes_min = 4096, processor_bytes_max = 1 << 16 };
    const struct go_span *span = &search->heap.spans[pending.span];
    uint64_t offset = pending.index * span->object_bytes, size = span->limit - span->start - offset;
    size = size < span->object_bytes ? size : span->object_bytes;
    const uint8_t *bytes = span->bytes + offset;
    for (size_t i = 0; i < search->passed_over_count; i++)
        if (search->passed_over[i] == span->first_object + pending.index)
            return;
    if (size < 8 || !take_bytes(search, size) || is_sudog(search, span, bytes) || is_thread_record(search, span, bytes))
        return;
    if (size < processor_bytes_min || size > processor_bytes_max)
        bytes_mark(search, bytes, size);
    else
        processor_scan(search, bytes, span->start + offset, size);
}

static void memory_mark(struct search *search, uint64_t start, uint64_t end)
{
    start = (start + 7) & ~(uint64_t)7;
    const uint8_t *bytes = start < end ? view(search, start, (size_t)(end - start)) : NULL;
    if (bytes != NULL && take_bytes(search, end - start)) {
        bytes_mark(search, bytes, end - start);
        return;
    }
    while (start + 8 <= end && !search->is_broken) {
        const struct memory_range *range = memory_find(search->memory, start);
        if (range == NULL) {
            search->is_broken = true;
            return;
        }
        uint64_t stop = range->end < end ? range->end : end;
        if (take_bytes(search, stop - start))
            bytes_mark(search, range->bytes + (start - range->start), stop - start);
        start = (stop + 7) & ~(uint64_t)7;
    }
}

static void live_mark(void *context, uint64_t start, uint64_t end)
{
    memory_mark(context, start, end);
}

/* Its stack, and its record: deferred calls, what it was started with, labels. */
static void goroutine_mark(struct search *search, uint64_t slot)
{
    const struct go_g_layout *layout = &search->runtime->layout.g;
    uint64_t address = load_u64(search->list + 8 * slot);
    size_t size_bytes = (size_t)layout->size_bytes;
    size_bytes = search->goroutine_bytes > size_bytes ? (size_t)search->goroutine_bytes : size_bytes;
    const uint8_t *g = view(search, address, size_bytes);
    struct goroutine_stack found;
    if (g == NULL || !goroutine_read_stack(&search->reader, slot, &found)) {
        search->is_broken = true;
        return;
    }
    uint64_t from = found.sp;
    uint32_t status = load_u32(g + layout->status) & ~(uint32_t)go_status_scan;
    if (status == GO_RUNNING) {
        struct stack *stack = stack_from(search, found.low);
        uint64_t used = stack == NULL ? UINT64_MAX : stack->used;
        /* Where it went over to a stack of the runtime's. */
        if (used == UINT64_MAX && !search->is_elsewhere)
            used = load_u64(g + go_g_sp);
        from = used >= found.low && used < found.high ? used : found.low;
    }
    bool waits = status == GO_WAITING && load_u64(g + go_g_panic) == 0;
    if (!waits || !go_live_words_visit(search->live, load_u64(g + go_g_pc), found.sp, found.high, live_mark, search))
        memory_mark(search, from, found.high);
    for (size_t i = 0; i + 8 <= size_bytes; i += 8) {
        uint64_t word = load_u64(g + i);
        if (word - search->low < search->high - search->low && word != found.high) /* where the next object begins */
            word_mark(search, word);
    }
}

static void drain(struct search *search)
{
    enum { prefetch_distance = 8 };
    while (!search->is_broken && (search->pending_count != 0 || search->woken_count != 0)) {
        if (search->pending_count != 0) {
            object_scan(search, search->pending[--search->pending_count]);
            continue;
        }
        uint32_t slot = search->woken[--search->woken_count];
        if (search->woken_count >= prefetch_distance) {
            goroutine_prefetch(&search->reader, search->woken[search->woken_count - prefetch_distance]);
            goroutine_prefetch_stack(&search->reader, search->woken[search->woken_count - prefetch_distance / 2]);
        }
        goroutine_mark(search, slot);
    }
}

/* What a goroutine waits for. */

static void awaited_add(struct search *search, uint32_t slot, uint64_t object)
{
    search->awaited = arena_grow(search->arena, search->awaited, search->awaited_count, &search->awaited_capacity,
                                 sizeof *search->awaited);
    search->awaited[search->awaited_count++] = (struct numbered){object, slot};
}

/* False: it is no object of the heap, and who comes to it is not known. On the goroutine's own stack nobody does. */
static bool await(struct search *search, const struct goroutine *goroutine, uint32_t slot, uint64_t address)
{
    if (address >= goroutine->stack_low && address < goroutine->stack_high)
        return true;
    uint64_t object = object_of(search, address);
    if (object != UINT64_MAX)
        awaited_add(search, slot, object);
    return object != UINT64_MAX;
}

/* A channel that is being closed has let its waiters go, who are not yet told. */
static bool await_channels(struct search *search, const struct goroutine *goroutine, uint32_t slot)
{
    const struct go_sudog_layout *layout = &search->runtime->layout.sudog;
    const struct go_channel_layout *channel_layout = &search->runtime->layout.channel;
    uint64_t sudog = goroutine->waiting;
    struct case_chain chain = {0};
    for (; case_chain_take(&chain, sudog);) {
        const uint8_t *bytes = view(search, sudog, (size_t)layout->size_bytes);
        uint64_t channel = bytes == NULL ? 0 : load_u64(bytes + layout->channel);
        const uint8_t *record = channel == 0 ? NULL : view(search, channel, (size_t)channel_layout->size_bytes);
        if (record == NULL || load_u64(bytes + layout->g) != goroutine->address ||
            load_u32(record + channel_layout->closed) != 0 || !await(search, goroutine, slot, channel))
            return false;
        sudog = load_u64(bytes + layout->wait_link);
    }
    return chain.steps != 0 && sudog == 0;
}

/* Reads all that are in the list of a sync.Cond, which begins with two counters and a lock. False: it is no such list,
 * and the one that was read before is kept: all who wait have the same. */
static bool condition_read(struct search *search, uint64_t address)
{
    enum { list_head = 16, list_tail = 24, list_bytes = 32 };
    const struct go_sudog_layout *layout = &search->runtime->layout.sudog;
    const uint8_t *list = (address & 7) != 0 ? NULL : view(search, address, list_bytes);
    const uint8_t *tail = list == NULL || (load_u64(list + list_tail) & 7) != 0
                              ? NULL
                              : view(search, load_u64(list + list_tail), (size_t)layout->size_bytes);
    bool is_list = false;
    /* A sudog, or what lies a word behind the list's beginning, may lead to one from the same place. */
    if (tail == NULL || !is_goroutine(search, load_u64(tail + layout->g)) || is_goroutine(search, load_u64(list)))
        return false;
    for (uint64_t at = load_u64(list + list_head); at != 0 && search->condition.steps_left > 0;
         search->condition.steps_left--) {
        const uint8_t *bytes = (at & 7) != 0 ? NULL : view(search, at, (size_t)layout->size_bytes);
        if (bytes == NULL || !is_goroutine(search, load_u64(bytes + layout->g)))
            break;
        if (!is_list)
            search->condition.count = 0;
        is_list = true;
        search->condition.goroutines = arena_grow(search->arena, search->condition.goroutines, search->condition.count,
                                                  &search->condition.capacity, sizeof *search->condition.goroutines);
        search->condition.goroutines[search->condition.count++] = load_u64(bytes + layout->g);
        at = load_u64(bytes + layout->next);
    }
    if (!is_list)
        return false;
    search->condition.address = address;
    if (search->condition.count > 1)
        qsort(search->condition.goroutines, search->condition.count, sizeof *search->condition.goroutines,
              number_compare);
    return true;
}

static bool condition_has(const struct search *search, uint64_t goroutine)
{
    return search->condition.count != 0 && bsearch(&goroutine, search->condition.goroutines, search->condition.count,
                                                   sizeof goroutine, number_compare) != NULL;
}

/* Nothing but its frames next to the leaf has the list that it is in. */
static bool await_condition(struct search *search, const struct goroutine *goroutine, uint32_t slot)
{
    enum { frames_bytes = 512 };
    uint64_t end =
        goroutine->stack_high - goroutine->sp < frames_bytes ? goroutine->stack_high : goroutine->sp + frames_bytes;
    for (uint64_t at = goroutine->sp; at + 8 <= end; at += 8) {
        uint64_t word;
        if (!memory_read_u64(search->memory, at, &word) || object_of(search, word) == UINT64_MAX)
            continue;
        bool is_list = word == search->condition.address || condition_read(search, word);
        if (is_list && condition_has(search, goroutine->address))
            return await(search, goroutine, slot, word);
    }
    return false;
}

static uint64_t semaphore_of(const struct search *search, uint64_t goroutine)
{
    size_t low = 0, high = search->semaphore_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (search->semaphores[middle].goroutine < goroutine)
            low = middle + 1;
        else
            high = middle;
    }
    return low < search->semaphore_count && search->semaphores[low].goroutine == goroutine
               ? search->semaphores[low].address
               : 0;
}

/* Whether it is known that only what it waits for can make it run again; false, too, where nothing is known. */
static bool goroutine_waits(struct search *search, const struct goroutine *goroutine, uint32_t slot)
{
    static const char *const for_ever[] = {"select (no cases)", "chan receive (nil chan)", "chan send (nil chan)"};
    if ((goroutine->status != GO_WAITING && goroutine->status != GO_LEAKED) || goroutine->bubble != 0 ||
        goroutine->sp < goroutine->stack_low || goroutine->sp > goroutine->stack_high)
        return false;
    for (size_t i = 0; i < sizeof for_ever / sizeof for_ever[0]; i++)
        if (text_equals(goroutine->state, text_from_string(for_ever[i])))
            return true;
    if (text_equals(goroutine->state, TEXT("select")) || text_equals(goroutine->state, TEXT("chan receive")) ||
        text_equals(goroutine->state, TEXT("chan send")))
        return await_channels(search, goroutine, slot);
    if (text_equals(goroutine->state, TEXT("sync.Cond.Wait")))
        return await_condition(search, goroutine, slot);
    uint64_t semaphore = semaphore_of(search, goroutine->address);
    return semaphore != 0 && await(search, goroutine, slot, semaphore);
}

/* The runtime's lists of them, ended ones too, are no way to come to a goroutine. */
static void goroutines_note(struct search *search)
{
    const struct go_runtime *runtime = search->runtime;
    size_t size_bytes = (size_t)runtime->goroutine_count * 8;
    const uint8_t *list = memory_view_across(search->memory, runtime->goroutines, size_bytes);
    search->list = list;
    search->is_broken |= list == NULL;
    for (uint64_t slot = 0; list != NULL && slot < runtime->goroutine_count; slot++) {
        uint64_t address = load_u64(list + 8 * slot), object = object_of(search, address);
        if (object == UINT64_MAX)
            continue;
        bit_set(search->is_goroutine, object);
        bit_set(search->marked, object);
        search->goroutine_bytes = go_heap_find(&search->heap, address)->object_bytes;
    }
}

/* What goroutines wait for lies anywhere: the processor is asked for it some of them ahead. */
static void prefetch_wait(struct search *search, const uint8_t *list, uint64_t slot, bool with_channel)
{
    const struct go_runtime *runtime = search->runtime;
    if (slot >= runtime->goroutine_count)
        return;
    const uint8_t *g = view(search, load_u64(list + 8 * slot), (size_t)runtime->layout.g.size_bytes);
    uint64_t waiting = g == NULL ? 0 : load_u64(g + runtime->layout.g.waiting);
    const uint8_t *sudog = waiting == 0 ? NULL : view(search, waiting, (size_t)runtime->layout.sudog.size_bytes);
    if (sudog == NULL)
        return;
    __builtin_prefetch(sudog);
    __builtin_prefetch(sudog + runtime->layout.sudog.channel);
    const uint8_t *channel = with_channel ? view(search, load_u64(sudog + runtime->layout.sudog.channel), 1) : NULL;
    if (channel != NULL)
        __builtin_prefetch(channel + runtime->layout.channel.closed);
}

/* What sudogs are is told by goroutines: these have been noted. */
static void goroutines_read(struct search *search, struct go_stuck *result)
{
    enum { prefetch_distance = 16 };
    const struct go_runtime *runtime = search->runtime;
    for (uint32_t slot = 0; slot < runtime->goroutine_count && !search->is_broken; slot++) {
        struct goroutine goroutine;
        goroutine_prefetch(&search->reader, slot + prefetch_distance);
        prefetch_wait(search, search->list, slot + prefetch_distance / 2, false);
        prefetch_wait(search, search->list, slot + prefetch_distance / 4, true);
        enum goroutine_outcome outcome = goroutine_read(&search->reader, slot, &goroutine);
        search->is_broken |=
            outcome == GOROUTINE_UNREADABLE || (outcome == GOROUTINE_READ && goroutine.status == GO_COPYSTACK);
        if (outcome != GOROUTINE_READ)
            continue;
        result->ids[slot] = goroutine.id;
        if (goroutine.status == GO_RUNNING || goroutine.status == GO_SYSCALL)
            search->stacks[search->stack_count++] =
                (struct stack){goroutine.stack_low, goroutine.stack_high, UINT64_MAX};
        /* The runtime's own wait at the top of their loops, with nothing of the program's in hand. */
        if (goroutine.is_system && goroutine.status == GO_WAITING)
            continue;
        size_t first = search->awaited_count;
        search->fates[slot] = FATE_STUCK;
        if (!goroutine_waits(search, &goroutine, slot)) {
            search->awaited_count = first;
            wake(search, slot);
        }
    }
    if (search->stack_count > 1)
        qsort(search->stacks, search->stack_count, sizeof *search->stacks, compare_stacks);
    number_sort(search->awaited, search->awaited_count,
                arena_array(search->arena, struct numbered, search->awaited_count + 1));
    for (size_t i = 0; i < search->awaited_count; i++)
        bit_set(search->is_awaited, search->awaited[i].key);
}

/* Roots. */

/* Where a thread stands: its registers, or those that a signal interrupted. */
struct standing {
    uint64_t words[arch_registers_max];
    size_t word_count;
    uint64_t pc, sp;
};

static struct standing standing_of(const struct arch *arch, const struct registers *registers)
{
    struct standing standing = {.pc = registers->pc, .sp = registers->values[arch->sp]};
    for (size_t i = 0; i < arch_registers_max; i++)
        if ((registers->known >> i & 1) != 0)
            standing.words[standing.word_count++] = registers->values[i];
    return standing;
}

/* The code that ends a signal handler is what the handler returns to: above it lies what was interrupted. */
static bool interrupted_find(const struct search *search, uint64_t sp, uint64_t end, struct standing *ret_standing)
{
    enum { code_bytes = 16, context_bytes_max = 1024 };
    const struct arch *arch = search->runtime->image->arch;
    for (uint64_t at = (sp + 7) & ~(uint64_t)7; at + 8 <= end; at += 8) {
        uint64_t word;
        uint8_t context[context_bytes_max];
        struct registers registers;
        if (!memory_read_u64(search->memory, at, &word) || word - search->low < search->high - search->low)
            continue;
        const uint8_t *code = memory_view(search->memory, word, code_bytes);
        size_t offset = code == NULL ? 0 : arch->signal_context_offset(code, code_bytes);
        if (offset == 0 || arch->signal_context_bytes > sizeof context ||
            memory_read(search->memory, at + 8 + offset, context, arch->signal_context_bytes) !=
                arch->signal_context_bytes)
            continue;
        arch->signal_context_decode(context, &registers);
        *ret_standing = standing_of(arch, &registers);
        return true;
    }
    return false;
}

static bool is_among(struct text name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (text_equals(name, text_from_string(names[i])))
            return true;
    return false;
}

enum runtime_stack { RUNTIME_STACK_UNKNOWN, RUNTIME_STACK_BUSY, RUNTIME_STACK_IDLE };

/* What a thread does on a stack of the runtime's. Idle: it waits for work, or looks for it, with nothing in hand that
 * would wake a goroutine. Unknown: its frames do not lead to where such stacks begin. */
static enum runtime_stack runtime_stack_of(const struct search *search, const struct standing *standing, uint64_t end)
{
    static const char *const idle[] = {"runtime.stopm", "runtime.netpoll", "runtime.sysmon", "runtime.runqgrab",
                                       "runtime.templateThread"};
    static const char *const tops[] = {"runtime.mcall",     "runtime.systemstack", "runtime.mstart",
                                       "runtime.mstart1",   "runtime.morestack",   "runtime.rt0_go",
                                       "runtime.asmcgocall"};
    enum { frames_max = 64 };
    struct goroutine_frame frames[frames_max];
    enum runtime_stack result = RUNTIME_STACK_UNKNOWN;
    bool is_idle = false;
    size_t count = goroutine_frames_read(search->runtime, standing->pc, standing->sp, end, frames, frames_max);
    for (size_t i = 0; i < count; i++) {
        struct pclntab_function function;
        const struct pclntab *table = go_runtime_find_function(search->runtime, frames[i].pc - (i != 0), &function);
        struct text name = table == NULL ? TEXT("") : pclntab_name(table, function.name);
        is_idle |= is_among(name, idle, sizeof idle / sizeof idle[0]);
        if (i + 1 == count && is_among(name, tops, sizeof tops / sizeof tops[0]))
            result = is_idle ? RUNTIME_STACK_IDLE : RUNTIME_STACK_BUSY;
    }
    return result;
}

/* A stack of the runtime's own among those of goroutines. */
static void own_stack_mark(struct search *search, uint64_t from, uint64_t end)
{
    const struct stack *next = stack_from(search, from), *last = search->stacks + search->stack_count;
    for (uint64_t at = (from + 7) & ~(uint64_t)7; at + 8 <= end && take_bytes(search, 8); at += 8) {
        uint64_t word;
        while (next != NULL && next < last && next->high <= at)
            next++;
        if (next != NULL && next < last && at >= next->low)
            at = next->high - 8;
        else if (memory_read_u64(search->memory, at, &word))
            word_mark(search, word);
    }
}

static void thread_mark(struct search *search, const struct thread *thread)
{
    enum { signals_max = 4, stack_bytes_max = 64 << 10 };
    const struct arch *arch = search->runtime->image->arch;
    struct registers registers;
    arch->registers_decode(thread->registers, &registers);
    struct standing standing = standing_of(arch, &registers);
    for (size_t signals = 0;; signals++) {
        const struct go_span *span = go_heap_find(&search->heap, standing.sp);
        const struct memory_range *range = memory_find(search->memory, standing.sp);
        struct stack *stack = stack_from(search, standing.sp);
        uint64_t end = span != NULL ? span->end : range != NULL ? range->end : standing.sp;
        if (stack != NULL && standing.sp >= stack->low) {
            stack->used = standing.sp < stack->used ? standing.sp : stack->used;
            break;
        }
        enum runtime_stack kind = runtime_stack_of(search, &standing, end);
        if (kind == RUNTIME_STACK_IDLE)
            return;
        if (kind == RUNTIME_STACK_UNKNOWN && signals < signals_max && span != NULL &&
            interrupted_find(search, standing.sp, end, &standing))
            continue;
        /* In C, or in a handler on a stack of C's: where it left Go is not known. */
        search->is_elsewhere |= kind == RUNTIME_STACK_UNKNOWN;
        if (end - standing.sp > stack_bytes_max)
            end = standing.sp + stack_bytes_max;
        own_stack_mark(search, standing.sp, end);
        break;
    }
    for (size_t i = 0; i < standing.word_count; i++)
        word_mark(search, standing.words[i]);
}

static void threads_mark(struct search *search)
{
    const struct image *image = search->runtime->image;
    for (size_t i = 0; i < image->thread_count; i++) {
        search->is_broken |= image->threads[i].registers == NULL;
        if (image->threads[i].registers != NULL)
            thread_mark(search, &image->threads[i]);
    }
}

/* Who waits for semaphores stands among the variables. */
static struct go_range semaphore_table(const struct go_runtime *runtime, uint64_t table)
{
    enum { entries = 251, entry_bytes = 64, entry_bytes_arm64 = 128 };
    uint64_t bytes = runtime->modules[0].table.quantum == 4 ? entry_bytes_arm64 : entry_bytes;
    return (struct go_range){table, table == 0 ? 0 : table + entries * bytes};
}

/* Variables that may have pointers: Go's linker keeps them apart. */
static void variables_mark(struct search *search)
{
    const struct go_runtime *runtime = search->runtime;
    struct go_range table = semaphore_table(runtime, search->semaphore_table);
    for (size_t i = 0; i < runtime->module_count; i++)
        for (size_t j = 1; j <= 2; j++) {
            struct go_range range = runtime->modules[i].data[j];
            bool has_table = table.start >= range.start && table.end <= range.end && table.start < table.end;
            memory_mark(search, range.start, has_table ? table.start : range.end);
            if (has_table)
                memory_mark(search, table.end, range.end);
        }
}

static bool is_function_value(const struct search *search, uint64_t word)
{
    struct pclntab_function function;
    uint64_t entry;
    return (word & 7) == 0 && memory_read_u64(search->memory, word, &entry) &&
           go_runtime_find_function(search->runtime, entry, &function) != NULL && entry == function.entry;
}

/* Outside of the heap the runtime keeps finalizers and cleanups that are to run: a function, then what it is given, in
 * blocks that begin with what leads to the next one. */
static void block_mark(struct search *search, uint64_t block)
{
    enum { block_bytes = 4096 };
    const struct memory_range *range = memory_find(search->memory, block);
    uint64_t left = range == NULL ? 0 : range->end - block;
    if (range == NULL || !take_bytes(search, left < block_bytes ? left : block_bytes))
        return;
    const uint8_t *bytes = range->bytes + (block - range->start);
    for (uint64_t i = 8; i + 8 <= left && i < block_bytes; i += 8) {
        uint64_t word = load_u64(bytes + i);
        if (word - search->low < search->high - search->low && is_function_value(search, load_u64(bytes + i - 8))) {
            word_mark(search, load_u64(bytes + i - 8));
            word_mark(search, word);
        }
    }
}

static bool is_block(struct search *search, uint64_t word)
{
    uint64_t end;
    const struct memory_range *range = (word & 7) != 0 || word == 0 ? NULL : memory_find(search->memory, word);
    return range != NULL && memory_is_core(search->memory, range) &&
           go_heap_area_from(&search->heap, word, &end) > word && !go_runtime_has_variable(search->runtime, word);
}

struct blocks {
    uint64_t *items;
    size_t count, capacity;
    struct intern_table seen; /* by address */
    uint32_t seen_count;
};

static void blocks_add(struct search *search, struct blocks *blocks, uint64_t at)
{
    uint64_t word;
    if (!memory_read_u64(search->memory, at, &word) || !is_block(search, word))
        return;
    uint32_t known = blocks->seen_count;
    uint32_t number = intern_table_add(&blocks->seen, (struct text){(const char *)&word, sizeof word});
    if (number < known)
        return;
    blocks->seen_count = number + 1;
    blocks->items = arena_grow(search->arena, blocks->items, blocks->count, &blocks->capacity, sizeof *blocks->items);
    blocks->items[blocks->count++] = word;
}

/* Which of what variables lead to are such blocks is not known: all are looked through. */
static void blocks_mark(struct search *search)
{
    enum { link_finalizers = 0, link_cleanups = 16 };
    const struct go_module *module = &search->runtime->modules[0];
    struct blocks blocks = {.count = 0};
    intern_table_init(&blocks.seen, search->arena);
    for (size_t i = 0; i < 4; i++)
        for (uint64_t at = (module->data[i].start + 7) & ~(uint64_t)7; at + 8 <= module->data[i].end; at += 8)
            blocks_add(search, &blocks, at);
    while (blocks.count > 0 && !search->is_broken) {
        uint64_t block = blocks.items[--blocks.count];
        block_mark(search, block);
        blocks_add(search, &blocks, block + link_finalizers);
        blocks_add(search, &blocks, block + link_cleanups);
    }
}

static void kept_mark(void *context, uint64_t address)
{
    word_mark(context, address);
}

/* Who else of the stuck knows. */

static int compare_links(const void *left, const void *right)
{
    const struct go_stuck_link *a = left, *b = right;
    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    return a->slot < b->slot ? -1 : a->slot > b->slot;
}

static bool awaits(const struct search *search, uint32_t slot, uint64_t object)
{
    for (size_t i = awaited_first(search, object); i < search->awaited_count && search->awaited[i].key == object; i++)
        if (search->awaited[i].value == slot)
            return true;
    return false;
}

struct linking {
    struct search *search;
    struct go_stuck *result;
    size_t capacity;
    uint32_t slot;
    uint64_t last; /* object that was noted for it */
};

/* The word of a stack, or one of the words of what it leads to. */
static void link_word(struct linking *linking, uint64_t word, unsigned steps)
{
    enum { words_max = 32 };
    struct search *search = linking->search;
    struct go_stuck *result = linking->result;
    uint64_t object = object_of(search, word);
    if (object == UINT64_MAX || bit_test(search->marked, object))
        return;
    const struct go_span *span = go_heap_find(&search->heap, word);
    uint64_t offset = (object - span->first_object) * span->object_bytes;
    if (bit_test(search->is_awaited, object) && !awaits(search, linking->slot, object)) {
        if (object == linking->last || result->link_count == limit_go_links)
            return;
        linking->last = object;
        result->links =
            arena_grow(search->arena, result->links, result->link_count, &linking->capacity, sizeof *result->links);
        result->links[result->link_count++] =
            (struct go_stuck_link){linking->slot, span->start + offset, span->start + offset + span->object_bytes};
        return;
    }
    uint64_t size = span->limit - span->start - offset;
    size = size < span->object_bytes ? size : span->object_bytes;
    if (steps == 0 || span->has_no_pointers || size > 8 * words_max || is_sudog(search, span, span->bytes + offset))
        return;
    for (uint64_t i = 0; i + 8 <= size; i += 8)
        link_word(linking, load_u64(span->bytes + offset + i), steps - 1);
}

static void links_make(struct search *search, struct go_stuck *result)
{
    enum { steps = 1, looks_max = 1 << 12 };
    size_t looks = 0;
    struct linking linking = {.search = search, .result = result};
    for (uint32_t slot = 0; slot < search->runtime->goroutine_count && looks < looks_max; slot++) {
        struct goroutine_stack stack;
        if (search->fates[slot] != FATE_STUCK || !goroutine_read_stack(&search->reader, slot, &stack))
            continue;
        looks++;
        linking.slot = slot;
        linking.last = UINT64_MAX;
        for (uint64_t at = stack.sp; at + 8 <= stack.high && search->bytes_left >= 8; at += 8) {
            uint64_t word;
            search->bytes_left -= 8;
            if (memory_read_u64(search->memory, at, &word))
                link_word(&linking, word, steps);
        }
    }
    result->links_are_all = looks < looks_max && result->link_count < limit_go_links;
    if (result->link_count > 1)
        qsort(result->links, result->link_count, sizeof *result->links, compare_links);
}

/* All that is led to, by what can run and by variables. */
static void mark_all(struct search *search)
{
    threads_mark(search);
    variables_mark(search);
    blocks_mark(search);
    for (size_t i = 0; i < search->heap.span_count && !search->is_broken; i++)
        if (search->heap.spans[i].object_bytes != 0)
            go_span_visit_kept(&search->heap, search->runtime, &search->heap.spans[i], kept_mark, search);
    drain(search);
}

/* False when there is nothing to go through, or too much. */
static bool search_begin(struct search *search, const struct go_runtime *runtime, bool is_patient, struct arena *arena,
                         struct go_stuck *result)
{
    enum { condition_steps = 1 << 20 };
    *search = (struct search){
        .runtime = runtime,
        .memory = &runtime->image->memory,
        .arena = arena,
        .reader = goroutine_reader_new(runtime),
        .bytes_left = is_patient ? limit_go_asked_bytes : limit_go_marked_bytes,
    };
    result->is_too_much = runtime->goroutine_count > limit_go_asked_goroutines && !is_patient;
    if (result->is_too_much)
        return false;
    if (!go_heap_read(runtime, search->bytes_left, arena, &search->heap)) {
        result->is_too_much = search->heap.bytes > search->bytes_left && !is_patient;
        return false;
    }
    size_t words = (size_t)(search->heap.object_count / 64 + 1), slots = (size_t)runtime->goroutine_count + 1;
    search->low = search->heap.spans[0].start;
    search->high = search->heap.spans[search->heap.span_count - 1].end;
    search->marked = arena_array(arena, uint64_t, words);
    search->is_goroutine = arena_array(arena, uint64_t, words);
    search->is_awaited = arena_array(arena, uint64_t, words);
    search->live = arena_new(arena, struct go_live_reader);
    search->live->runtime = runtime;
    search->fates = arena_array(arena, uint8_t, slots);
    search->woken = arena_array(arena, uint32_t, slots);
    search->stacks = arena_array(arena, struct stack, slots);
    struct go_runtime found = *runtime; /* the table is looked for once */
    found.semaphores = runtime->semaphores != 0 ? runtime->semaphores : go_semaphores_find(runtime);
    search->semaphore_table = found.semaphores;
    if (found.semaphores != 0)
        search->semaphores = go_semaphores_read(&found, arena, &search->semaphore_count);
    search->condition.steps_left = condition_steps;
    result->slots = arena_array(arena, uint8_t, slots);
    result->ids = arena_array(arena, uint64_t, slots);
    return true;
}

struct go_stuck go_stuck_find(const struct go_runtime *runtime, bool is_patient, struct arena *arena)
{
    struct go_stuck result = {.is_known = false};
    struct search search;
    if (!search_begin(&search, runtime, is_patient, arena, &result))
        return result;
    goroutines_note(&search);
    goroutines_read(&search, &result);
    mark_all(&search);
    if (search.is_broken)
        return result;
    result.is_known = true;
    for (uint64_t slot = 0; slot < runtime->goroutine_count; slot++)
        result.slots[slot] = search.fates[slot] == FATE_STUCK;
    links_make(&search, &result);
    return result;
}

/* Lenders. */

struct lent {
    uint64_t object;
    size_t lender;
};

struct lending {
    struct search *search;
    const struct go_lent_question *question;
    struct go_lender *lenders;
    size_t lender_count, count_max;
    struct lent *lent;
    size_t lent_count, lent_capacity;
};

static void lent_add(struct lending *lending, uint64_t object, uint64_t lender)
{
    size_t at = 0;
    while (at < lending->lender_count && lending->lenders[at].address != lender)
        at++;
    if (at == lending->count_max || lending->lent_count == limit_go_lent ||
        (at == lending->lender_count && !lending->question->is_lender(lending->question->context, lender)))
        return;
    if (at == lending->lender_count)
        lending->lenders[lending->lender_count++] = (struct go_lender){.address = lender};
    lending->lent = arena_grow(lending->search->arena, lending->lent, lending->lent_count, &lending->lent_capacity,
                               sizeof *lending->lent);
    lending->lent[lending->lent_count++] = (struct lent){object, at};
}

/* Objects of the size that the allocator has for such a struct, garbage too. */
static void lent_find(struct lending *lending, const struct go_struct *type, uint64_t offset)
{
    struct search *search = lending->search;
    for (size_t i = 0; i < search->heap.span_count; i++) {
        const struct go_span *span = &search->heap.spans[i];
        if (span->bytes == NULL || span->object_bytes < type->size_bytes ||
            span->object_bytes > type->size_bytes + type->size_bytes / 4 + 16)
            continue;
        for (uint64_t at = 0; at + span->object_bytes <= span->limit - span->start; at += span->object_bytes) {
            uint64_t lender = load_u64(span->bytes + at + offset);
            if (object_of(search, lender) != UINT64_MAX && go_struct_fits(search->runtime, type, span->start + at))
                lent_add(lending, span->first_object + at / span->object_bytes, lender);
        }
    }
}

size_t go_lenders_find(const struct go_runtime *runtime, const struct go_lent_question *question, struct arena *arena,
                       struct go_lender *ret_lenders, size_t count_max)
{
    struct go_stuck unused = {.is_known = false};
    struct search search;
    struct lending lending = {.search = &search, .question = question, .lenders = ret_lenders, .count_max = count_max};
    struct go_field found;
    if (question->type_count == 0 || !search_begin(&search, runtime, question->is_patient, arena, &unused))
        return 0;
    for (size_t i = 0; i < question->type_count; i++)
        if (go_struct_field(runtime, &question->types[i], question->field, &found) && found.size_bytes == 8)
            lent_find(&lending, &question->types[i], found.offset);
    if (lending.lent_count == 0)
        return 0;
    goroutines_note(&search);
    goroutines_read(&search, &unused);
    mark_all(&search);
    for (size_t i = 0; i < lending.lent_count; i++)
        ret_lenders[lending.lent[i].lender].existing += bit_test(search.marked, lending.lent[i].object);
    /* Once more, past the lenders: those who can run are known by now. */
    memset(search.marked, 0, (size_t)(search.heap.object_count / 64 + 1) * sizeof *search.marked);
    memset(search.is_awaited, 0, (size_t)(search.heap.object_count / 64 + 1) * sizeof *search.is_awaited);
    search.passed_over = arena_array(arena, uint64_t, lending.lender_count);
    for (size_t i = 0; i < lending.lender_count; i++)
        search.passed_over[search.passed_over_count++] = object_of(&search, ret_lenders[i].address);
    goroutines_note(&search);
    search.woken_count = 0;
    for (uint32_t slot = 0; slot < runtime->goroutine_count; slot++)
        if (search.fates[slot] == FATE_CAN_RUN)
            search.woken[search.woken_count++] = slot;
    mark_all(&search);
    for (size_t i = 0; i < lending.lent_count; i++)
        ret_lenders[lending.lent[i].lender].held += bit_test(search.marked, lending.lent[i].object);
    return search.is_broken ? 0 : lending.lender_count;
}
