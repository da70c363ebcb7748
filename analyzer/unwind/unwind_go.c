/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/unwind_go.h"

#include "unwind/go_switch.h"

struct go_unwinder {
    const struct go_runtime *runtime;
    struct go_stacks stacks; /* of the walk at hand */
};

static bool name_is_one_of(struct text name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (text_equals(name, text_from_string(names[i])))
            return true;
    return false;
}
#define NAME_IS_ONE_OF(name, names) name_is_one_of((name), (names), sizeof(names) / sizeof(names)[0])

/* Where the runtime's own traceback ends: nothing called these. 1.17 flags them. */
static bool is_outermost(const struct go_runtime *runtime, const struct pclntab_function *function, struct text name)
{
    static const char *const tops[] = {"runtime.goexit",   "runtime.mstart",  "runtime.mcall",
                                       "runtime.morestack", "runtime.rt0_go", "runtime.externalthreadhandler"};
    /* The runtime ends its traceback at the signal handler; what the signal interrupted is known all the same. */
    if (text_equals(name, TEXT("runtime.sigtramp")) || text_equals(name, TEXT("runtime.cgoSigtramp")))
        return false;
    if (runtime->minor >= 17)
        return (function->flags & GO_FUNCTION_TOP_FRAME) != 0;
    return NAME_IS_ONE_OF(name, tops);
}

/* Code that sets the stack pointer: the table does not tell where to. 1.17 flags it; before, and for what was assembly in
 * other releases than these, names alone tell. */
static enum go_switch find_switch(const struct go_runtime *runtime, const struct pclntab_function *function,
                                  struct text name)
{
    enum go_switch move = go_switch_of(name);
    if (move == GO_SWITCH_LOOP)
        return move;
    if (runtime->minor >= 17) {
        bool sets_sp = (function->flags & GO_FUNCTION_SP_WRITE) != 0;
        return !sets_sp ? GO_SWITCH_NONE : move == GO_SWITCH_NONE ? GO_SWITCH_OTHER : move;
    }
    bool is_go = text_equals(name, TEXT("time.now")) ? runtime->minor < 16
                 : text_equals(name, TEXT("runtime.nanotime")) || text_equals(name, TEXT("runtime.walltime"))
                     ? runtime->minor >= 14
                     : false;
    return is_go ? GO_SWITCH_NONE : move;
}

/* A plan for code whose frame has `delta` bytes: on amd64 without the return address, which a call pushed; on arm64 with it,
 * at the lowest address, and the caller's frame pointer below that. */
static struct unwind_plan frame_plan(const struct arch *arch, bool keeps_frame_pointer, int32_t delta, bool is_trap)
{
    struct unwind_plan plan = {.kind = PLAN_SIMPLE, .cfa_register = arch->sp};
    bool is_linked = arch_has_link_register(arch);
    plan.cfa_offset = is_linked ? delta : delta + 8;
    plan.return_address_offset = is_linked ? -delta : -8;
    /* Before a function has made its frame, and in one without, which calls nothing. */
    if (is_linked && delta == 0)
        plan.return_place = RETURN_IN_REGISTER_OR_SAVED;
    /* A function with a frame keeps its caller's frame pointer; assembly need not. */
    int32_t kept = plan.return_address_offset - 8;
    if (delta >= 8 && keeps_frame_pointer && kept == (int16_t)kept) {
        plan.saved[plan.saved_count].register_number = arch->fp;
        plan.saved[plan.saved_count++].offset = (int16_t)kept;
    }
    /* On arm64 what was interrupted had the register in use: the made-up call saved it in two words of its own
     * (preparePanic, pushCall). */
    if (is_linked && is_trap && kept - 16 == (int16_t)(kept - 16)) {
        plan.cfa_offset += 16;
        plan.return_address_offset -= 16;
        if (plan.saved_count != 0)
            plan.saved[0].offset = (int16_t)(kept - 16);
        plan.saved[plan.saved_count].register_number = arch->return_address;
        plan.saved[plan.saved_count++].offset = -16;
    }
    return plan;
}

static bool compile_plan(void *context, uint64_t pc, struct unwind_plan *ret_plan)
{
    const struct go_runtime *runtime = ((const struct go_unwinder *)context)->runtime;
    static const char *const traps[] = {"runtime.sigpanic", "runtime.asyncPreempt", "runtime.debugCallV1",
                                        "runtime.debugCallV2"};
    const struct arch *arch = runtime->image->arch;
    struct pclntab_function function;
    const struct pclntab *table = go_runtime_find_function(runtime, pc, &function);
    if (table == NULL)
        return false;
    struct text name = pclntab_name(table, function.name);
    if (text_starts_with(name, TEXT("runtime.sigreturn"))) {
        *ret_plan = (struct unwind_plan){.kind = PLAN_SIGNAL_RETURN, .signal_frame = true};
        return true;
    }
    int32_t delta = pclntab_sp_delta(table, &function, pc);
    /* Code of another language's that lies between Go's has no table. */
    if (function.sp_values == 0 || delta < 0)
        return false;
    enum go_switch move = find_switch(runtime, &function, name);
    bool is_trap = NAME_IS_ONE_OF(name, traps);
    /* crosscall2 keeps C's frame pointer where Go keeps its own. */
    bool is_crosscall = runtime->minor >= 17 && !arch_has_link_register(arch) && text_equals(name, TEXT("crosscall2"));
    *ret_plan = frame_plan(arch, (function.flags & GO_FUNCTION_ASM) == 0 || is_crosscall, delta, is_trap);
    if (move == GO_SWITCH_NONE && is_outermost(runtime, &function, name)) {
        /* There is no caller, but its arguments lie where they always do. */
        ret_plan->kind = PLAN_OUTERMOST;
        return true;
    }
    /* Up to 1.20 the runtime's traceback takes only a panic's pc for exact. */
    ret_plan->is_trap = is_trap && (runtime->minor >= 21 || text_equals(name, TEXT("runtime.sigpanic")));
    /* Go's traceback takes it so too; cgocallback lays systemstack_switch's entry where nothing called it. */
    ret_plan->is_entry = pc == function.entry;
    if (move != GO_SWITCH_NONE) {
        ret_plan->kind = PLAN_SWITCH;
        ret_plan->switch_kind = move;
    }
    return true;
}

static struct step_result step_switch(void *context, struct stepper *stepper, const struct unwind_plan *plan,
                                      struct registers *registers, bool exact)
{
    return go_switch_step(&((struct go_unwinder *)context)->stacks, stepper, plan, registers, exact);
}

static void enter_thread(void *context, const struct thread *thread)
{
    go_stacks_enter_thread(&((struct go_unwinder *)context)->stacks, thread);
}

/* C's frames, and those of Go that runs on g0's stack. */
static bool is_elsewhere(void *context, uint64_t sp)
{
    return !go_stacks_is_own(&((struct go_unwinder *)context)->stacks, sp);
}

struct code_plans unwind_go_plans(const struct go_runtime *runtime, struct arena *arena)
{
    struct go_unwinder *unwinder = arena_new(arena, struct go_unwinder);
    *unwinder = (struct go_unwinder){.runtime = runtime, .stacks = {.runtime = runtime}};
    return (struct code_plans){compile_plan, step_switch, enter_thread, is_elsewhere, unwinder};
}

static bool leave_signal_stack(struct walker *walker, const struct go_runtime *runtime, uint64_t machine,
                               struct registers *registers, bool *exact)
{
    const struct memory *memory = &runtime->image->memory;
    uint64_t signal_g, low, high, sp = registers->values[runtime->image->arch->sp];
    if (!memory_read_u64(memory, machine + (uint64_t)runtime->layout.m.signal_g, &signal_g) ||
        !memory_read_u64(memory, signal_g + go_g_stack_low, &low) ||
        !memory_read_u64(memory, signal_g + go_g_stack_high, &high) || sp < low || sp >= high)
        return true;
    return walker_leave(walker, registers, exact, low, high);
}

/* The frame of a running goroutine on its own stack, from its thread's registers. */
static bool find_running(struct walker *walker, const struct go_runtime *runtime, const struct goroutine *goroutine,
                         const struct thread *thread, struct registers *ret_registers, bool *ret_exact)
{
    const struct arch *arch = runtime->image->arch;
    const struct memory *memory = &runtime->image->memory;
    arch->registers_decode(thread->registers, ret_registers);
    *ret_exact = true;
    /* In a signal handler, on the stack for those: what was interrupted may be the goroutine. */
    bool has_left = leave_signal_stack(walker, runtime, goroutine->machine, ret_registers, ret_exact);
    uint64_t sp = ret_registers->values[arch->sp];
    if (has_left && sp >= goroutine->stack_low && sp < goroutine->stack_high)
        return true;
    /* In the kernel's clock code, which runs on the thread's own stack: m.vdsoSP and vdsoPC are the caller's. */
    uint64_t vdso_sp, vdso_pc;
    if (memory_read_u64(memory, goroutine->machine + (uint64_t)runtime->layout.m.vdso_sp, &vdso_sp) &&
        memory_read_u64(memory, goroutine->machine + (uint64_t)runtime->layout.m.vdso_sp + 8, &vdso_pc) &&
        vdso_sp >= goroutine->stack_low && vdso_sp < goroutine->stack_high) {
        *ret_registers = (struct registers){.pc = vdso_pc};
        ret_registers->values[arch->sp] = vdso_sp;
        ret_registers->known = (uint64_t)1 << arch->sp;
        *ret_exact = false;
        return true;
    }
    return false;
}

/* Whether it is in a call of C, which runs on its thread's own stack. */
static bool is_in_c(const struct go_runtime *runtime, const struct goroutine *goroutine, const struct thread *thread)
{
    struct pclntab_function function;
    if (goroutine->call_sp == 0 || thread == NULL || thread->registers == NULL)
        return false;
    const struct pclntab *table = go_runtime_find_function(runtime, goroutine->pc, &function);
    return table != NULL && text_equals(pclntab_name(table, function.name), TEXT("runtime.cgocall"));
}

/* From its thread's registers through C back to the call. False: what C stands in does not lead there. */
static bool walk_from_c(struct walker *walker, struct go_unwinder *unwinder, const struct goroutine *goroutine,
                        const struct thread *thread, uint32_t *ret_stack)
{
    const struct arch *arch = unwinder->runtime->image->arch;
    struct registers registers;
    bool exact = true;
    arch->registers_decode(thread->registers, &registers);
    if (thread->registers_known != 0)
        registers.known &= thread->registers_known;
    if (!leave_signal_stack(walker, unwinder->runtime, goroutine->machine, &registers, &exact) ||
        go_stacks_is_own(&unwinder->stacks, registers.values[arch->sp]))
        return false;
    go_stacks_enter_goroutine(&unwinder->stacks, goroutine, true);
    *ret_stack = walk_registers(walker, &registers, exact);
    return unwinder->stacks.is_back;
}

/* What the runtime keeps of one that does not run on its own stack. */
static void registers_of_parked(const struct arch *arch, const struct goroutine *goroutine, struct registers *ret_registers)
{
    *ret_registers = (struct registers){.pc = goroutine->pc};
    ret_registers->values[arch->sp] = goroutine->sp;
    ret_registers->values[arch->fp] = goroutine->bp;
    /* A stack pointer elsewhere is none: what lies there are not this goroutine's frames. */
    if (goroutine->sp > goroutine->stack_low && goroutine->sp <= goroutine->stack_high)
        ret_registers->known = (uint64_t)1 << arch->sp | (goroutine->bp != 0 ? (uint64_t)1 << arch->fp : 0);
    if (arch_has_link_register(arch) && goroutine->lr != 0) {
        ret_registers->values[arch->return_address] = goroutine->lr;
        ret_registers->known |= (uint64_t)1 << arch->return_address;
    }
}

static uint32_t walk_parked(struct walker *walker, struct go_unwinder *unwinder, const struct goroutine *goroutine,
                            bool with_c)
{
    struct registers registers;
    registers_of_parked(unwinder->runtime->image->arch, goroutine, &registers);
    go_stacks_enter_goroutine(&unwinder->stacks, goroutine, with_c);
    return walk_registers(walker, &registers, goroutine->pc_is_exact);
}

uint32_t unwind_goroutine_find(struct walker *copy, const struct go_runtime *runtime, const struct goroutine *goroutine)
{
    struct registers registers;
    if (goroutine->status == GO_RUNNING || goroutine->call_sp != 0 || goroutine->sp == 0)
        return index_none;
    registers_of_parked(runtime->image->arch, goroutine, &registers);
    return walker_find(copy, &registers, goroutine->pc_is_exact);
}

uint32_t unwind_goroutine(struct walker *walker, const struct go_runtime *runtime, const struct goroutine *goroutine,
                          const struct thread *thread, bool with_c, uint64_t *ret_sp)
{
    struct go_unwinder *unwinder = walker_code_context(walker);
    const struct stack_trie *trie = walker_trie(walker);
    const struct arch *arch = runtime->image->arch;
    struct registers registers;
    bool exact;
    uint32_t stack;
    go_stacks_enter_goroutine(&unwinder->stacks, goroutine, with_c);
    if (goroutine->status == GO_RUNNING && thread != NULL && thread->registers != NULL &&
        find_running(walker, runtime, goroutine, thread, &registers, &exact)) {
        *ret_sp = registers.values[arch->sp];
        go_stacks_enter_goroutine(&unwinder->stacks, goroutine, with_c);
        stack = walk_registers(walker, &registers, exact);
        if (trie->stacks[stack].end == STACK_END_OUTERMOST || unwinder->stacks.callback_sp == 0)
            return stack;
        go_stacks_enter_goroutine(&unwinder->stacks, goroutine, false);
        return walk_registers(walker, &registers, exact);
    }
    /* The runtime clears sched.sp of a goroutine that runs (gogo): its pc is an old one then. */
    *ret_sp = goroutine->sp;
    if (goroutine->sp == 0)
        return walker_adopt(walker, NULL, 0, STACK_END_NO_REGISTERS);
    if (with_c && is_in_c(runtime, goroutine, thread) && walk_from_c(walker, unwinder, goroutine, thread, &stack) &&
        trie->stacks[stack].end == STACK_END_OUTERMOST) {
        /* asmcgocall's return address lies below the call's frame, and C's frames elsewhere. */
        *ret_sp = goroutine->sp - 8;
        return stack;
    }
    stack = walk_parked(walker, unwinder, goroutine, with_c);
    if (trie->stacks[stack].end == STACK_END_OUTERMOST || unwinder->stacks.callback_sp == 0)
        return stack;
    /* What called from C cannot be followed: as the runtime tells it, without. */
    return walk_parked(walker, unwinder, goroutine, false);
}
