/* SPDX-License-Identifier: Apache-2.0 */
#include "waits/wait_go.h"

#include "golang/case_chain.h"
#include "waits/goroutine_wait.h"
#include "waits/wait_build.h"

enum { record_bytes_max = 256 }; /* sudogs and channels have up to 112 */
enum { prefetch_distance = 16 };

struct reader {
    const struct go_runtime *runtime;
    struct snapshot *snapshot;
    const struct data_names *names;
    struct memory_range near; /* as memory_view_near wants it */
    struct arena *scratch;
    struct goroutine_waits goroutines;
    struct wait_build build;
};

/* Whether the first that is not below the goroutine is the one at that place. */
static bool is_place_of(const struct go_semaphores *semaphores, size_t at, uint64_t goroutine)
{
    return at <= semaphores->count && (at == 0 || semaphores->waits[at - 1].goroutine < goroutine) &&
           (at == semaphores->count || semaphores->waits[at].goroutine >= goroutine);
}

struct go_park go_park_new(const struct goroutine *goroutine)
{
    return (struct go_park){.address = goroutine->waiting, .has_defers = goroutine->has_defers};
}

void go_park_settle(struct go_park *park, uint64_t goroutine, struct go_semaphores *semaphores)
{
    size_t low = semaphores->last, high = semaphores->count;
    if (!is_place_of(semaphores, low, goroutine) && !is_place_of(semaphores, ++low, goroutine))
        for (low = 0; low < high;) {
            size_t middle = low + (high - low) / 2;
            if (semaphores->waits[middle].goroutine < goroutine)
                low = middle + 1;
            else
                high = middle;
        }
    semaphores->last = low;
    if (low == semaphores->count || semaphores->waits[low].goroutine != goroutine)
        return;
    park->address = semaphores->waits[low].address;
    park->is_semaphore = true;
}

/* Where sync's structs begin, from the semaphore word in them (sync/mutex.go, rwmutex.go, waitgroup.go; the layouts are
 * those of Go 1.18 and later, and of the locks in all). 0: not told. */
static uint64_t object_address(const struct reader *reader, const struct goroutine_wait *wait, uint64_t semaphore)
{
    enum { mutex_sema = 4, rwmutex_writer_sema = 8, rwmutex_reader_sema = 12, wait_group_sema = 8 };
    struct text function = snapshot_string(reader->snapshot, wait->function);
    if (semaphore == 0 || !(text_starts_with(function, TEXT("sync.")) || text_starts_with(function, TEXT("internal/sync."))))
        return 0;
    if (wait->kind == WAIT_MUTEX || (wait->kind == WAIT_RWLOCK && wait->is_inner_mutex) || wait->kind == WAIT_ONCE)
        return semaphore - mutex_sema;
    if (wait->kind == WAIT_RWLOCK)
        return semaphore - (wait->exclusive ? rwmutex_writer_sema : rwmutex_reader_sema);
    if (wait->kind == WAIT_WAITGROUP && reader->runtime->minor >= 18)
        return semaphore - wait_group_sema;
    return 0;
}

static const uint8_t *view(struct reader *reader, uint64_t address, size_t size_bytes)
{
    return memory_view_near(&reader->runtime->image->memory, &reader->near, address, size_bytes);
}

/* In place, or copied where it lies in two pieces of memory; NULL: not at hand. */
static const uint8_t *read_record(struct reader *reader, uint64_t address, size_t size_bytes, uint8_t *copy)
{
    const struct memory *memory = &reader->runtime->image->memory;
    const uint8_t *bytes = view(reader, address, size_bytes);
    if (bytes != NULL || size_bytes > record_bytes_max)
        return bytes;
    return memory_read(memory, address, copy, size_bytes) == size_bytes ? copy : NULL;
}

/* What is in a channel and how much fits; false when it is none. */
static bool read_channel(struct reader *reader, uint64_t address, struct resource *resource)
{
    const struct go_channel_layout *layout = &reader->runtime->layout.channel;
    uint8_t copy[record_bytes_max];
    const uint8_t *channel = read_record(reader, address, (size_t)layout->size_bytes, copy);
    if (channel == NULL)
        return false;
    resource->fill = load_u64(channel + layout->count);
    resource->capacity = load_u64(channel + layout->capacity);
    resource->capacity_known = resource->fill <= resource->capacity;
    return resource->capacity_known;
}

/* How many calls of Done a wait group waits for; its words are like that from Go 1.18 on. A live target is asked. */
static void read_wait_group(struct reader *reader, uint64_t address, struct resource *resource)
{
    enum { state_bytes = 8, counter_at = 4 };
    uint8_t state[state_bytes];
    bool is_late;
    if (memory_ask(&reader->runtime->image->memory, address, state, sizeof state, &is_late) != sizeof state)
        return;
    int32_t counter = (int32_t)load_u32(state + counter_at);
    resource->counter_known = counter > 0;
    resource->fill = counter > 0 ? (uint64_t)counter : 0;
}

/* The variable's name; most things are on the heap and have none. 0 unknown. */
static uint32_t variable_name(const struct reader *reader, uint64_t address)
{
    struct text name;
    for (size_t i = 0; i < 4; i++) {
        struct go_range range = reader->runtime->modules[0].data[i];
        if (address >= range.start && address < range.end &&
            reader->names->find(reader->names->context, address, reader->scratch, &name))
            return intern_table_add(&reader->snapshot->strings, name);
    }
    return 0;
}

static void add_wait(struct reader *reader, uint32_t member, const struct goroutine_wait *wait, uint64_t address)
{
    bool is_new, is_read = address != 0;
    uint32_t number = wait_build_resource(&reader->build, wait->kind, address, wait->name, &is_new);
    struct resource *resource = &reader->build.resources[number];
    bool is_channel =
        wait->kind == WAIT_CHANNEL_SEND || wait->kind == WAIT_CHANNEL_RECEIVE || wait->kind == WAIT_SELECT;
    if (is_new) {
        resource->holder = goroutine_holder_state(wait->kind);
        resource->is_any = address == 0 && wait->name == 0;
        resource->learnt = is_read ? LEARNT_READ : wait->learnt;
        if (is_read && resource->name == 0)
            resource->name = variable_name(reader, address);
        if (is_channel && is_read)
            read_channel(reader, address, resource);
        if (wait->kind == WAIT_WAITGROUP && is_read)
            read_wait_group(reader, address, resource);
    }
    wait_build_wait(&reader->build, (struct wait){.member = member,
                                                  .resource = number,
                                                  .exclusive = wait->exclusive,
                                                  .learnt = is_read ? LEARNT_READ : wait->learnt});
}

/* Each case of a select has a sudog, linked by waitlink; a wait on one channel has one. False when there is none. */
static bool read_channels(struct reader *reader, uint32_t member, const struct goroutine_wait *wait, uint64_t sudog)
{
    const struct go_sudog_layout *layout = &reader->runtime->layout.sudog;
    bool found = false;
    for (struct case_chain chain = {0}; case_chain_take(&chain, sudog);) {
        uint8_t copy[record_bytes_max];
        const uint8_t *bytes = read_record(reader, sudog, (size_t)layout->size_bytes, copy);
        uint64_t channel = bytes == NULL ? 0 : load_u64(bytes + layout->channel);
        if (channel == 0)
            break;
        add_wait(reader, member, wait, channel);
        found = true;
        if (wait->kind != WAIT_SELECT)
            break;
        sudog = load_u64(bytes + layout->wait_link);
    }
    return found;
}

static uint64_t park_sudog(const struct go_park *park)
{
    return park->is_semaphore ? 0 : park->address;
}

/* Sudogs and channels lie anywhere: the processor is asked for them some members ahead, first for the one, then for what it
 * points to. */
static void prefetch_sudog(struct reader *reader, const struct go_park *park)
{
    const uint8_t *bytes =
        park_sudog(park) == 0 ? NULL : view(reader, park_sudog(park), (size_t)reader->runtime->layout.sudog.size_bytes);
    if (bytes != NULL) {
        __builtin_prefetch(bytes + reader->runtime->layout.sudog.channel);
        __builtin_prefetch(bytes + reader->runtime->layout.sudog.wait_link);
    }
}

static void prefetch_channel(struct reader *reader, const struct go_park *park)
{
    const struct go_sudog_layout *layout = &reader->runtime->layout.sudog;
    const uint8_t *sudog = park_sudog(park) == 0 ? NULL : view(reader, park_sudog(park), (size_t)layout->size_bytes);
    const uint8_t *channel = sudog == NULL ? NULL : view(reader, load_u64(sudog + layout->channel), 1);
    if (channel != NULL)
        __builtin_prefetch(channel);
}

static void read_member(struct reader *reader, uint32_t member, const struct go_park *park)
{
    struct goroutine_wait wait;
    if (!goroutine_wait_find(&reader->goroutines, member, &wait))
        return;
    bool is_channel = wait.kind == WAIT_CHANNEL_SEND || wait.kind == WAIT_CHANNEL_RECEIVE || wait.kind == WAIT_SELECT;
    if (is_channel && read_channels(reader, member, &wait, park_sudog(park)))
        return;
    add_wait(reader, member, &wait, is_channel ? 0 : object_address(reader, &wait, park->is_semaphore ? park->address : 0));
}

void wait_go_read(const struct go_runtime *runtime, const struct go_park *parks, const struct data_names *names,
                  struct snapshot *snapshot, struct arena *scratch)
{
    struct reader reader = {.runtime = runtime, .snapshot = snapshot, .names = names, .scratch = scratch};
    goroutine_waits_init(&reader.goroutines, snapshot, scratch);
    wait_build_init(&reader.build, snapshot, scratch);
    for (size_t i = 0; i < snapshot->member_count; i++) {
        if (i + prefetch_distance < snapshot->member_count) {
            prefetch_sudog(&reader, &parks[i + prefetch_distance]);
            prefetch_channel(&reader, &parks[i + prefetch_distance / 2]);
        }
        read_member(&reader, (uint32_t)i, &parks[i]);
    }
    wait_go_infer_holders(runtime, parks, snapshot, &reader.build, scratch);
    wait_build_finish(&reader.build);
}
