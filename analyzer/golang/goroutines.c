/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/goroutines.h"

/* Whose a goroutine is, by its start function, as isSystemGoroutine of each release has it. The finalizer's and the
 * cleanups' count as the user's while they run his code; a waiting one says so by its reason. */
enum goroutine_owner { OWNER_USER, OWNER_RUNTIME, OWNER_FINALIZER, OWNER_CLEANUP };

static enum goroutine_owner find_owner(const struct go_runtime *runtime, uint64_t start_pc)
{
    static const struct {
        const char *name;
        unsigned minor; /* the first release in which it is so */
        enum goroutine_owner owner;
    } rows[] = {
        {"runtime.main", 0, OWNER_USER},
        {"runtime.handleAsyncEvent", 16, OWNER_USER},
        {"runtime.corostart", 22, OWNER_USER},
        {"runtime.runfinq", 0, OWNER_FINALIZER},
        {"runtime.runFinalizers", 0, OWNER_FINALIZER},
        {"runtime.runCleanups", 0, OWNER_CLEANUP},
    };
    struct pclntab_function function;
    const struct pclntab *table = go_runtime_find_function(runtime, start_pc, &function);
    struct text name = table == NULL ? TEXT("") : pclntab_name(table, function.name);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (text_equals(name, text_from_string(rows[i].name)) && runtime->minor >= rows[i].minor)
            return rows[i].owner;
    return text_starts_with(name, TEXT("runtime.")) ? OWNER_RUNTIME : OWNER_USER;
}

static size_t cache_slot(uint64_t pc)
{
    return (size_t)((pc * 0x9e3779b97f4a7c15u) >> 56);
}

static bool is_system(struct goroutine_reader *reader, const struct goroutine *goroutine)
{
    size_t slot = cache_slot(goroutine->start_pc);
    if (reader->owners[slot].pc != goroutine->start_pc || goroutine->start_pc == 0) {
        reader->owners[slot].pc = goroutine->start_pc;
        reader->owners[slot].owner = find_owner(reader->runtime, goroutine->start_pc);
    }
    switch ((enum goroutine_owner)reader->owners[slot].owner) {
    case OWNER_USER:
        return false;
    case OWNER_RUNTIME:
        return true;
    case OWNER_FINALIZER:
        return text_equals(goroutine->state, TEXT("finalizer wait"));
    case OWNER_CLEANUP:
        return text_equals(goroutine->state, TEXT("cleanup wait"));
    }
    return false;
}

static bool is_entry(struct goroutine_reader *reader, uint64_t pc)
{
    size_t slot = cache_slot(pc);
    if (reader->entries[slot].pc != pc) {
        struct pclntab_function function;
        reader->entries[slot].pc = pc;
        reader->entries[slot].is_entry =
            go_runtime_find_function(reader->runtime, pc, &function) != NULL && function.entry == pc;
    }
    return reader->entries[slot].is_entry;
}

struct goroutine_reader goroutine_reader_new(const struct go_runtime *runtime)
{
    struct memory_range near = {0};
    return (struct goroutine_reader){
        .runtime = runtime,
        .slots = memory_view_near(&runtime->image->memory, &near, runtime->goroutines,
                                  (size_t)runtime->goroutine_count * 8),
    };
}

uint64_t goroutine_slot_address(const struct goroutine_reader *reader, uint64_t slot)
{
    uint64_t address = 0;
    if (reader->slots != NULL)
        return load_u64(reader->slots + 8 * slot);
    memory_read_u64(&reader->runtime->image->memory, reader->runtime->goroutines + 8 * slot, &address);
    return address;
}

static const uint8_t *view(struct goroutine_reader *reader, uint64_t address, size_t size_bytes)
{
    return memory_view_near(&reader->runtime->image->memory, &reader->near, address, size_bytes);
}

static const uint8_t *view_slot(struct goroutine_reader *reader, uint64_t slot)
{
    if (slot >= reader->runtime->goroutine_count)
        return NULL;
    return view(reader, goroutine_slot_address(reader, slot), (size_t)reader->runtime->layout.g.size_bytes);
}

void goroutine_prefetch(struct goroutine_reader *reader, uint64_t slot)
{
    const uint8_t *g = view_slot(reader, slot);
    for (size_t i = 0; g != NULL && i < (size_t)reader->runtime->layout.g.size_bytes; i += 64)
        __builtin_prefetch(g + i);
}

void goroutine_prefetch_head(struct goroutine_reader *reader, uint64_t slot)
{
    enum { head_bytes = 192 }; /* up to id: 168 at the most */
    const uint8_t *g = view_slot(reader, slot);
    for (size_t i = 0; g != NULL && i < head_bytes; i += 64)
        __builtin_prefetch(g + i);
}

void goroutine_prefetch_stack(struct goroutine_reader *reader, uint64_t slot)
{
    enum { lines = 6 }; /* of 64 bytes: what the frames of a parked goroutine next to its top take */
    const uint8_t *g = view_slot(reader, slot);
    const uint8_t *stack = g == NULL ? NULL : view(reader, load_u64(g + go_g_sp), 8);
    for (size_t i = 0; stack != NULL && i < lines; i++)
        __builtin_prefetch(stack + 64 * i);
}

static uint64_t field(const uint8_t *g, int16_t offset)
{
    return offset < 0 ? 0 : load_u64(g + offset);
}

static struct text state_of(const struct go_runtime *runtime, enum go_status status, uint8_t reason)
{
    if (status == GO_WAITING || status == GO_LEAKED) {
        struct text text = go_runtime_wait_reason(runtime, reason);
        if (text.length != 0)
            return text;
    }
    return text_from_string(go_status_name(status));
}

/* The m's thread, when the m is one: it has this g, or is in a system call for it. */
static uint32_t machine_tid(const struct go_runtime *runtime, uint64_t machine, uint64_t g)
{
    const struct memory *memory = &runtime->image->memory;
    uint64_t tid, current;
    if (machine == 0 || !memory_read_u64(memory, machine + (uint64_t)runtime->layout.m.process_id, &tid) ||
        !memory_read_u64(memory, machine + (uint64_t)runtime->layout.m.current_g, &current))
        return 0;
    return current == g && tid <= UINT32_MAX ? (uint32_t)tid : 0;
}

/* The g of a slot, where it is a goroutine's. */
static enum goroutine_outcome find_g(struct goroutine_reader *reader, uint64_t slot, uint64_t *ret_address,
                                     const uint8_t **ret_g)
{
    const struct memory *memory = &reader->runtime->image->memory;
    const struct go_g_layout *layout = &reader->runtime->layout.g;
    uint64_t address = goroutine_slot_address(reader, slot);
    const uint8_t *g = view(reader, address, (size_t)layout->size_bytes);
    if (g == NULL &&
        memory_read(memory, address, reader->copy, (size_t)layout->size_bytes) == (size_t)layout->size_bytes)
        g = reader->copy;
    if (g == NULL)
        return GOROUTINE_UNREADABLE;
    uint32_t status = load_u32(g + layout->status) & ~(uint32_t)go_status_scan;
    /* Being made (newproc1): in the list, and its own address or id not yet in it. */
    if ((status == GO_DEAD && load_u64(g + go_g_self) == 0) || (status == GO_RUNNABLE && load_u64(g + layout->id) == 0))
        return GOROUTINE_NONE;
    if (load_u64(g + go_g_self) != address)
        return GOROUTINE_UNREADABLE;
    if (status == GO_IDLE || status == GO_DEAD || status == GO_DEAD_EXTRA)
        return GOROUTINE_NONE;
    if (go_status_name(status) == NULL || load_u64(g + layout->id) == 0)
        return GOROUTINE_UNREADABLE;
    *ret_address = address;
    *ret_g = g;
    return GOROUTINE_READ;
}

bool goroutine_read_stack(struct goroutine_reader *reader, uint64_t slot, struct goroutine_stack *ret_stack)
{
    const struct go_g_layout *layout = &reader->runtime->layout.g;
    uint64_t address;
    const uint8_t *g;
    if (find_g(reader, slot, &address, &g) != GOROUTINE_READ)
        return false;
    uint64_t low = load_u64(g + go_g_stack_low), high = load_u64(g + go_g_stack_high);
    uint64_t call_sp = load_u64(g + layout->syscall_sp), sp = call_sp != 0 ? call_sp : load_u64(g + go_g_sp);
    bool is_parked = (load_u32(g + layout->status) & ~(uint32_t)go_status_scan) != GO_RUNNING && sp > low && sp <= high;
    *ret_stack = (struct goroutine_stack){load_u64(g + layout->id), low, high, is_parked ? sp : low};
    return true;
}

enum goroutine_outcome goroutine_read(struct goroutine_reader *reader, uint64_t slot, struct goroutine *ret_goroutine)
{
    const struct go_runtime *runtime = reader->runtime;
    const struct go_g_layout *layout = &runtime->layout.g;
    uint64_t address;
    const uint8_t *g;
    enum goroutine_outcome outcome = find_g(reader, slot, &address, &g);
    if (outcome != GOROUTINE_READ)
        return outcome;
    uint32_t raw = load_u32(g + layout->status), status = raw & ~(uint32_t)go_status_scan;
    struct goroutine goroutine = {
        .address = address,
        .id = load_u64(g + layout->id),
        .status = (enum go_status)status,
        .is_scanned = (raw & go_status_scan) != 0,
        .state = state_of(runtime, (enum go_status)status, g[layout->wait_reason]),
        .stack_low = load_u64(g + go_g_stack_low),
        .stack_high = load_u64(g + go_g_stack_high),
        .machine = load_u64(g + go_g_m),
        .start_pc = load_u64(g + layout->start_pc),
        .go_pc = load_u64(g + layout->go_pc),
        .parent_id = field(g, layout->parent_id),
        .wait_since = load_u64(g + layout->wait_since),
        .waiting = load_u64(g + layout->waiting),
        .has_defers = load_u64(g + go_g_defer) != 0,
        .labels = load_u64(g + layout->labels),
        .bubble = field(g, layout->bubble),
        .locked_machine = load_u64(g + layout->locked_m),
    };
    uint64_t syscall_sp = load_u64(g + layout->syscall_sp);
    bool in_call = syscall_sp != 0;
    goroutine.pc = in_call ? load_u64(g + layout->syscall_pc) : load_u64(g + go_g_pc);
    goroutine.sp = in_call ? syscall_sp : load_u64(g + go_g_sp);
    goroutine.call_sp = syscall_sp;
    goroutine.bp = in_call ? 0 : load_u64(g + layout->bp);
    goroutine.lr = in_call ? 0 : load_u64(g + layout->lr);
    goroutine.tid = machine_tid(runtime, goroutine.machine, address);
    goroutine.pc_is_exact = is_entry(reader, goroutine.pc);
    goroutine.is_system = is_system(reader, &goroutine);
    *ret_goroutine = goroutine;
    return GOROUTINE_READ;
}
