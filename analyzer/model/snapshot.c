/* SPDX-License-Identifier: Apache-2.0 */
#include "model/snapshot.h"

#include <signal.h>
#include <string.h>

const char *frame_trust_name(enum frame_trust trust)
{
    static const char *const names[TRUST_COUNT] = {
        [TRUST_UNKNOWN] = "unknown",         [TRUST_REGISTERS] = "registers",
        [TRUST_CFI] = "cfi",                 [TRUST_CALL] = "call",
        [TRUST_CODE] = "code",               [TRUST_FRAME_POINTER] = "frame pointer",
        [TRUST_SIGNAL_FRAME] = "signal frame", [TRUST_TOLD] = "told by the dump",
        [TRUST_LIBUNWIND] = "libunwind",
    };
    return names[trust];
}

const char *stack_end_name(enum stack_end end)
{
    static const char *const names[STACK_END_COUNT] = {
        [STACK_END_UNKNOWN] = "unknown",
        [STACK_END_OUTERMOST] = "outermost",
        [STACK_END_ZERO] = "return address is 0",
        [STACK_END_NO_CODE] = "return address is not code",
        [STACK_END_NO_UNWIND_DATA] = "no unwind data",
        [STACK_END_MEMORY_MISSING] = "memory missing",
        [STACK_END_NO_PROGRESS] = "did not advance",
        [STACK_END_FRAME_LIMIT] = "frame limit",
        [STACK_END_NO_REGISTERS] = "registers missing",
        [STACK_END_NOT_TOLD] = "not told by the dump",
    };
    return names[end];
}

const char *signal_name(int32_t number)
{
    static _Thread_local char name[32];
    const char *abbreviation = sigabbrev_np(number);
    if (abbreviation == NULL)
        return NULL;
    strcpy(name, "SIG");
    strncat(name, abbreviation, sizeof name - 4);
    return name;
}

const char *signal_code_name(int32_t number, int32_t code)
{
    static const struct {
        int32_t number; /* 0: any signal */
        int32_t code;
        const char *name;
    } codes[] = {
        /* siginfo.h, sigaction(2) */
        {0, SI_USER, "SI_USER"},           {0, SI_KERNEL, "SI_KERNEL"},     {0, SI_QUEUE, "SI_QUEUE"},
        {0, SI_TIMER, "SI_TIMER"},         {0, SI_MESGQ, "SI_MESGQ"},       {0, SI_ASYNCIO, "SI_ASYNCIO"},
        {0, SI_SIGIO, "SI_SIGIO"},         {0, SI_TKILL, "SI_TKILL"},       {SIGSEGV, SEGV_MAPERR, "SEGV_MAPERR"},
        {SIGSEGV, SEGV_ACCERR, "SEGV_ACCERR"}, {SIGSEGV, SEGV_BNDERR, "SEGV_BNDERR"},
        {SIGSEGV, SEGV_PKUERR, "SEGV_PKUERR"}, {SIGBUS, BUS_ADRALN, "BUS_ADRALN"},
        {SIGBUS, BUS_ADRERR, "BUS_ADRERR"},    {SIGBUS, BUS_OBJERR, "BUS_OBJERR"},
        {SIGBUS, BUS_MCEERR_AR, "BUS_MCEERR_AR"}, {SIGBUS, BUS_MCEERR_AO, "BUS_MCEERR_AO"},
        {SIGILL, ILL_ILLOPC, "ILL_ILLOPC"},    {SIGILL, ILL_ILLOPN, "ILL_ILLOPN"},
        {SIGILL, ILL_ILLADR, "ILL_ILLADR"},    {SIGILL, ILL_ILLTRP, "ILL_ILLTRP"},
        {SIGILL, ILL_PRVOPC, "ILL_PRVOPC"},    {SIGILL, ILL_BADSTK, "ILL_BADSTK"},
        {SIGFPE, FPE_INTDIV, "FPE_INTDIV"},    {SIGFPE, FPE_INTOVF, "FPE_INTOVF"},
        {SIGFPE, FPE_FLTDIV, "FPE_FLTDIV"},    {SIGFPE, FPE_FLTOVF, "FPE_FLTOVF"},
        {SIGFPE, FPE_FLTUND, "FPE_FLTUND"},    {SIGFPE, FPE_FLTRES, "FPE_FLTRES"},
        {SIGFPE, FPE_FLTINV, "FPE_FLTINV"},    {SIGFPE, FPE_FLTSUB, "FPE_FLTSUB"},
        {SIGTRAP, TRAP_BRKPT, "TRAP_BRKPT"},   {SIGTRAP, TRAP_TRACE, "TRAP_TRACE"},
        {SIGTRAP, TRAP_HWBKPT, "TRAP_HWBKPT"}, {SIGSYS, 1, "SYS_SECCOMP"},
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if ((codes[i].number == 0 || codes[i].number == number) && codes[i].code == code)
            return codes[i].name;
    return NULL;
}

struct stack_frame *snapshot_stack_frames(const struct snapshot *snapshot, const struct stack *stack,
                                          struct arena *arena, size_t *ret_count)
{
    size_t count = 0;
    for (uint32_t i = 0; i < stack->step_count; i++)
        count += snapshot->locations[snapshot->steps[stack->step_first + i].location].frame_count;
    struct stack_frame *frames = arena_array(arena, struct stack_frame, count + 1);
    count = 0;
    for (uint32_t i = 0; i < stack->step_count; i++) {
        uint32_t number = snapshot->steps[stack->step_first + i].location;
        const struct location *location = &snapshot->locations[number];
        for (uint32_t j = 0; j < location->frame_count; j++)
            frames[count++] = (struct stack_frame){number, location->frame_first + j, i};
    }
    *ret_count = count;
    return frames;
}

void snapshot_split_by_creator(struct snapshot *snapshot, struct arena *scratch)
{
    struct intern_table keys;
    uint32_t *stack_of_key = NULL;
    size_t capacity = 0;
    intern_table_init(&keys, scratch);
    for (size_t i = 0; i < snapshot->member_count; i++) {
        struct member *member = &snapshot->members[i];
        const uint32_t pair[2] = {member->stack, member->creator};
        uint32_t number = intern_table_add(&keys, (struct text){(const char *)pair, sizeof pair});
        while (capacity <= number)
            stack_of_key = arena_grow(scratch, stack_of_key, capacity, &capacity, sizeof *stack_of_key);
        if (stack_of_key[number] == 0) {
            snapshot->stacks = arena_grow(snapshot->arena, snapshot->stacks, snapshot->stack_count,
                                          &snapshot->stack_capacity, sizeof *snapshot->stacks);
            struct stack stack = snapshot->stacks[member->stack];
            stack.creator = member->creator;
            snapshot->stacks[snapshot->stack_count] = stack;
            stack_of_key[number] = (uint32_t)snapshot->stack_count++;
        }
        member->stack = stack_of_key[number];
    }
}

uint32_t snapshot_find_resource(const struct snapshot *snapshot, enum wait_kind kind, uint64_t address)
{
    size_t low = 0, high = snapshot->resource_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct resource *resource = &snapshot->resources[middle];
        if (resource->kind < kind || (resource->kind == kind && resource->address < address))
            low = middle + 1;
        else
            high = middle;
    }
    bool is_it = low < snapshot->resource_count && snapshot->resources[low].kind == kind &&
                 snapshot->resources[low].address == address;
    return is_it ? (uint32_t)low : index_none;
}
