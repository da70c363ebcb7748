/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/goroutines.h"

/* Whether a goroutine with this start function is the runtime's own, as isSystemGoroutine of each release has it. The
 * finalizer's and the cleanups' count as the user's while they run his code; a waiting one says so by its reason. */
static bool is_system(const struct go_runtime *runtime, const struct goroutine *goroutine)
{
    static const struct {
        const char *name;
        unsigned minor; /* the first release in which it is the user's */
        const char *reason; /* … unless it waits for this */
    } users[] = {
        {"runtime.main", 0, NULL},
        {"runtime.handleAsyncEvent", 16, NULL},
        {"runtime.corostart", 22, NULL},
        {"runtime.runfinq", 0, "finalizer wait"},
        {"runtime.runFinalizers", 0, "finalizer wait"},
        {"runtime.runCleanups", 0, "cleanup wait"},
    };
    struct pclntab_function function;
    const struct pclntab *table = go_runtime_find_function(runtime, goroutine->start_pc, &function);
    if (table == NULL)
        return false;
    struct text name = pclntab_name(table, function.name);
    for (size_t i = 0; i < sizeof users / sizeof users[0]; i++)
        if (text_equals(name, text_from_string(users[i].name)) && runtime->minor >= users[i].minor)
            return users[i].reason != NULL && text_equals(goroutine->state, text_from_string(users[i].reason));
    return text_starts_with(name, TEXT("runtime."));
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

enum goroutine_outcome goroutine_read(const struct go_runtime *runtime, uint64_t slot, struct goroutine *ret_goroutine)
{
    const struct memory *memory = &runtime->image->memory;
    const struct go_g_layout *layout = &runtime->layout.g;
    uint64_t address;
    if (!memory_read_u64(memory, runtime->goroutines + 8 * slot, &address))
        return GOROUTINE_UNREADABLE;
    const uint8_t *g = memory_view(memory, address, (size_t)layout->size_bytes);
    if (g == NULL || load_u64(g + go_g_self) != address)
        return GOROUTINE_UNREADABLE;
    uint32_t raw = load_u32(g + layout->status), status = raw & ~(uint32_t)go_status_scan;
    if (status == GO_IDLE || status == GO_DEAD || status == GO_DEAD_EXTRA)
        return GOROUTINE_NONE;
    if (go_status_name(status) == NULL)
        return GOROUTINE_UNREADABLE;
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
        .labels = load_u64(g + layout->labels),
        .is_locked = load_u64(g + layout->locked_m) != 0,
    };
    if (goroutine.id == 0)
        return GOROUTINE_UNREADABLE;
    uint64_t syscall_sp = load_u64(g + layout->syscall_sp);
    bool in_call = syscall_sp != 0;
    goroutine.pc = in_call ? load_u64(g + layout->syscall_pc) : load_u64(g + go_g_pc);
    goroutine.sp = in_call ? syscall_sp : load_u64(g + go_g_sp);
    goroutine.bp = in_call ? 0 : load_u64(g + layout->bp);
    goroutine.tid = machine_tid(runtime, goroutine.machine, address);
    struct pclntab_function function;
    goroutine.pc_is_exact =
        go_runtime_find_function(runtime, goroutine.pc, &function) != NULL && function.entry == goroutine.pc;
    goroutine.is_system = is_system(runtime, &goroutine);
    *ret_goroutine = goroutine;
    return GOROUTINE_READ;
}
