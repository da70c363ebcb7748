/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/go_switch.h"

/* Below a thread's pointer, where its thread-local words lie: runtime.tls_g is the word below it, unless C code that is
 * linked in has variables of its own. */
enum { thread_words_max = 512 };

enum { arm64_g = 28 }; /* the register that holds g while Go runs */

enum go_switch go_switch_of(struct text name)
{
    static const struct {
        const char *name;
        enum go_switch kind;
    } rows[] = {
        {"time.now", GO_SWITCH_CLOCK},
        {"runtime.nanotime", GO_SWITCH_CLOCK},
        {"runtime.nanotime1", GO_SWITCH_CLOCK},
        {"runtime.walltime", GO_SWITCH_CLOCK},
        {"runtime.walltime1", GO_SWITCH_CLOCK},
        {"runtime.asmcgocall", GO_SWITCH_C},
        {"runtime.systemstack", GO_SWITCH_SYSTEM},
        {"runtime.mcall", GO_SWITCH_TOP},
        {"runtime.morestack", GO_SWITCH_TOP},
        {"runtime.rt0_go", GO_SWITCH_TOP},
        {"runtime.gogo", GO_SWITCH_TO},
        {"gogo", GO_SWITCH_TO},
        {"runtime.cgocallback", GO_SWITCH_BACK},
        {"runtime.schedule", GO_SWITCH_LOOP},
        {"runtime.execute", GO_SWITCH_LOOP},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (text_equals(name, text_from_string(rows[i].name)))
            return rows[i].kind;
    return GO_SWITCH_NONE;
}

void go_stacks_enter_thread(struct go_stacks *stacks, const struct thread *thread)
{
    *stacks = (struct go_stacks){.runtime = stacks->runtime, .thread = thread, .with_c = true};
}

void go_stacks_enter_goroutine(struct go_stacks *stacks, const struct goroutine *goroutine, bool with_c)
{
    *stacks = (struct go_stacks){
        .runtime = stacks->runtime,
        /* One that waits in Go that C called has given up its m, but is locked to it. */
        .machine = goroutine->machine != 0 ? goroutine->machine : goroutine->locked_machine,
        .goroutine = goroutine->address,
        .low = goroutine->stack_low,
        .high = goroutine->stack_high,
        .with_c = with_c,
    };
}

static bool read_word(const struct go_stacks *stacks, uint64_t record, int offset, uint64_t *ret_value)
{
    return record != 0 && memory_read_u64(&stacks->runtime->image->memory, record + (uint64_t)offset, ret_value);
}

/* Whether a word is the address of the g that a thread runs on; its m says which thread it is, and knows its g's. */
static bool is_g_of(struct go_stacks *stacks, uint64_t g, uint32_t tid)
{
    const struct go_m_layout *layout = &stacks->runtime->layout.m;
    uint64_t machine, number, own[3] = {0};
    if ((g & 7) != 0 || !read_word(stacks, g, go_g_m, &machine) || (machine & 7) != 0 ||
        !read_word(stacks, machine, layout->process_id, &number) || number != tid)
        return false;
    read_word(stacks, machine, layout->g0, &own[0]);
    read_word(stacks, machine, layout->signal_g, &own[1]);
    read_word(stacks, machine, layout->current_g, &own[2]);
    if (g != own[0] && g != own[1] && g != own[2])
        return false;
    stacks->machine = machine;
    stacks->goroutine = own[2];
    if (own[2] == 0 || !read_word(stacks, own[2], go_g_stack_low, &stacks->low) ||
        !read_word(stacks, own[2], go_g_stack_high, &stacks->high))
        stacks->low = stacks->high = 0;
    return true;
}

static void find_machine(struct go_stacks *stacks)
{
    const struct thread *thread = stacks->thread;
    const struct image *image = stacks->runtime->image;
    stacks->thread = NULL;
    if (thread == NULL || thread->registers == NULL)
        return;
    uint32_t tid = thread->namespace_tid != 0 ? thread->namespace_tid : thread->tid;
    uint64_t pointer = thread_pointer_of(image, thread), g;
    struct registers registers;
    image->arch->registers_decode(thread->registers, &registers);
    if (arch_has_link_register(image->arch) && is_g_of(stacks, registers.values[arm64_g], tid))
        return;
    for (uint64_t i = 1; pointer != 0 && i <= thread_words_max && pointer > 8 * i; i++)
        if (memory_read_u64(&image->memory, pointer - 8 * i, &g) && is_g_of(stacks, g, tid))
            return;
}

bool go_stacks_is_own(const struct go_stacks *stacks, uint64_t sp)
{
    return sp > stacks->low && sp <= stacks->high;
}

static struct step_result unknown(const struct registers *registers)
{
    return step_ended(STACK_END_NO_UNWIND_DATA, registers->pc);
}

/* The frame's size is what the table says. */
static struct step_result step_plainly(struct stepper *stepper, const struct unwind_plan *plan,
                                       struct registers *registers)
{
    struct unwind_plan plain = *plan;
    plain.kind = PLAN_SIMPLE;
    uint64_t pc = registers->pc;
    struct step_result result = step_simple(stepper, &plain, registers);
    /* cgocallback lays an address there that nothing called from, so that the runtime's traceback goes on. */
    if (result.end == STACK_END_UNKNOWN && plan->switch_kind != GO_SWITCH_BACK &&
        !stepper_follows_call(stepper, registers->pc))
        return step_ended(STACK_END_NO_UNWIND_DATA, pc);
    return result;
}

/* Goes on at the goroutine's stack, where nothing is known but these. */
static struct step_result step_onto(const struct go_stacks *stacks, struct stepper *stepper, uint64_t pc, uint64_t sp,
                                    struct registers *registers)
{
    const struct arch *arch = stepper->arch;
    struct pclntab_function function;
    uint64_t from = registers->pc;
    const struct pclntab *table = go_runtime_find_function(stacks->runtime, pc, &function);
    bool is_entry = table != NULL && pc == function.entry;
    if (table == NULL || (!is_entry && !stepper_follows_call(stepper, pc)))
        return step_ended(STACK_END_NO_UNWIND_DATA, from);
    *registers = (struct registers){.pc = pc, .known = (uint64_t)1 << arch->sp};
    registers->values[arch->sp] = sp;
    return (struct step_result){.trust = TRUST_CFI, .stack_may_switch = true, .is_exact = is_entry};
}

/* On g0's stack: the caller that the runtime notes before it calls the kernel's code. */
static struct step_result step_clock(const struct go_stacks *stacks, struct stepper *stepper,
                                     const struct unwind_plan *plan, struct registers *registers, bool exact)
{
    const struct go_m_layout *layout = &stacks->runtime->layout.m;
    uint64_t noted_sp, noted_pc, returns, sp = registers->values[stepper->arch->sp];
    bool is_linked = arch_has_link_register(stepper->arch); /* nothing stands below the caller's frame then */
    if (!read_word(stacks, stacks->machine, layout->vdso_sp, &noted_sp) ||
        !read_word(stacks, stacks->machine, layout->vdso_sp + 8, &noted_pc))
        return unknown(registers);
    if (noted_sp == 0 && exact)
        return step_plainly(stepper, plan, registers); /* g0 asks for the time, and it is not noted yet */
    if ((!go_stacks_is_own(stacks, noted_sp) && noted_sp <= sp) ||
        (!is_linked && (!stepper_read_u64(stepper, noted_sp - 8, &returns) || returns != noted_pc)))
        return unknown(registers);
    return step_onto(stacks, stepper, noted_pc, noted_sp, registers);
}

/* How far above the stack pointer that such a function left behind its caller's is. */
static uint64_t caller_offset(const struct stepper *stepper, const struct unwind_plan *plan)
{
    return arch_has_link_register(stepper->arch) ? (uint64_t)plan->cfa_offset : 8;
}

/* Where a function of the runtime left a stack with the stack pointer `place`, its frame was as the plan tells: the caller
 * is behind its return address there. */
static struct step_result step_behind(const struct go_stacks *stacks, struct stepper *stepper,
                                      const struct unwind_plan *plan, uint64_t place, struct registers *registers)
{
    uint64_t returns;
    if (!stepper_read_u64(stepper, place, &returns))
        return unknown(registers);
    return step_onto(stacks, stepper, returns, place + caller_offset(stepper, plan), registers);
}

/* asmcgocall keeps g and how deep its stack was above where C was called with the stack pointer as it is: 48 and 40
 * bytes, or 8 and 0 since registers are no longer spared for Windows there; on arm64 0 and 8. */
static struct step_result step_from_c(struct go_stacks *stacks, struct stepper *stepper, const struct unwind_plan *plan,
                                      struct registers *registers)
{
    static const struct {
        uint8_t g, depth;
    } places[] = {{48, 40}, {8, 0}, {0, 8}};
    uint64_t sp = registers->values[stepper->arch->sp], g, self, depth, low, high, returns;
    uint64_t offset = caller_offset(stepper, plan);
    bool is_linked = arch_has_link_register(stepper->arch);
    for (size_t i = is_linked ? 2 : 0; i < (is_linked ? 3 : 2); i++) {
        if (!stepper_read_u64(stepper, sp + places[i].g, &g) ||
            !stepper_read_u64(stepper, sp + places[i].depth, &depth))
            continue;
        if (!read_word(stacks, g, go_g_self, &self) || self != g || !read_word(stacks, g, go_g_stack_low, &low) ||
            !read_word(stacks, g, go_g_stack_high, &high) || depth < 8 || depth > high - low)
            continue;
        uint64_t place = high - depth, call_sp, call_pc;
        /* The thread has another g of its own, or none, while this one waits in what C called. */
        if (stacks->high == 0) {
            stacks->goroutine = g;
            stacks->low = low;
            stacks->high = high;
        }
        /* The call that the goroutine is in at present: its account begins at an earlier call of the same function. */
        if (read_word(stacks, g, stacks->runtime->layout.g.syscall_sp, &call_sp) && call_sp == place + offset &&
            read_word(stacks, g, stacks->runtime->layout.g.syscall_pc, &call_pc)) {
            stacks->is_back |= g == stacks->goroutine;
            returns = call_pc; /* of a live target's stack only what that account covers was read */
        } else if (!stepper_read_u64(stepper, place, &returns)) {
            continue;
        }
        return step_onto(stacks, stepper, returns, place + offset, registers);
    }
    return unknown(registers);
}

/* Where the goroutine was when it went over to g0's stack: sched, as long as it has not come back. */
static struct step_result step_from_system(const struct go_stacks *stacks, struct stepper *stepper,
                                           const struct unwind_plan *plan, struct registers *registers)
{
    uint64_t sp;
    if (!read_word(stacks, stacks->goroutine, go_g_sp, &sp) || !go_stacks_is_own(stacks, sp))
        return unknown(registers);
    return step_behind(stacks, stepper, plan, sp, registers);
}

static bool is_crosscall(const struct go_stacks *stacks, struct stepper *stepper, uint64_t pc)
{
    struct pclntab_function function;
    const struct pclntab *table = go_runtime_find_function(stacks->runtime, pc, &function);
    return table != NULL && text_equals(pclntab_name(table, function.name), TEXT("crosscall2")) &&
           stepper_follows_call(stepper, pc);
}

/* To the C that called Go. Its frames end in crosscall2, which called cgocallback: that keeps where its frame on g0's
 * stack begins in g0's sched.sp, and the one before it, of an outer call, in the frame. */
static bool step_into_c(struct go_stacks *stacks, struct stepper *stepper, uint64_t frame_bytes,
                        struct registers *registers)
{
    const struct arch *arch = stepper->arch;
    uint64_t g0, frame, returns;
    if (!stacks->with_c || stacks->runtime->minor < 16 || arch_has_link_register(arch)) /* untried there */
        return false;
    if (stacks->callback_sp != 0 ? !stepper_read_u64(stepper, stacks->callback_sp, &frame)
                                 : !read_word(stacks, stacks->machine, stacks->runtime->layout.m.g0, &g0) ||
                                       !read_word(stacks, g0, go_g_sp, &frame))
        return false;
    if ((stacks->callback_sp != 0 && frame <= stacks->callback_sp) || frame > UINT64_MAX - frame_bytes ||
        !stepper_read_u64(stepper, frame + frame_bytes - 8, &returns) || !is_crosscall(stacks, stepper, returns))
        return false;
    stacks->callback_sp = frame;
    *registers = (struct registers){.pc = returns, .known = (uint64_t)1 << arch->sp};
    registers->values[arch->sp] = frame + frame_bytes;
    return true;
}

/* The runtime's own code on g0's stack, called by what never goes on: what interrupted the goroutine, or nothing. */
static struct step_result step_top(struct go_stacks *stacks, struct stepper *stepper, struct registers *registers)
{
    static const uint8_t callback_frames[] = {40, 32}; /* cgocallback's, with the frame pointer and without */
    struct registers caller = *registers;
    uint64_t status, sp, pc;
    if (stacks->goroutine != 0 && !stacks->is_scheduling &&
        read_word(stacks, stacks->goroutine, stacks->runtime->layout.g.status, &status) &&
        ((uint32_t)status & ~(uint32_t)go_status_scan) == GO_RUNNING &&
        read_word(stacks, stacks->goroutine, go_g_sp, &sp) && go_stacks_is_own(stacks, sp) &&
        read_word(stacks, stacks->goroutine, go_g_pc, &pc)) {
        struct step_result result = step_onto(stacks, stepper, pc, sp, &caller);
        if (result.end == STACK_END_UNKNOWN) {
            *registers = caller;
            return result;
        }
    }
    /* A thread of C's keeps its frames while its goroutine waits. */
    for (size_t i = 0; i < sizeof callback_frames && stacks->callback_sp == 0; i++)
        if (step_into_c(stacks, stepper, callback_frames[i], registers))
            return (struct step_result){.trust = TRUST_CFI, .stack_may_switch = true};
    return step_ended(STACK_END_OUTERMOST, 0);
}

/* On a stack that is not the goroutine's. */
static struct step_result step_back(struct go_stacks *stacks, struct stepper *stepper, const struct unwind_plan *plan,
                                    struct registers *registers, bool exact)
{
    uint64_t g0, bottom = 0, sp = registers->values[stepper->arch->sp];
    switch ((enum go_switch)plan->switch_kind) {
    case GO_SWITCH_CLOCK:
        return step_clock(stacks, stepper, plan, registers, exact);
    case GO_SWITCH_C:
        return exact ? step_from_system(stacks, stepper, plan, registers) : step_from_c(stacks, stepper, plan, registers);
    case GO_SWITCH_SYSTEM:
        /* It moves to where g0's stack begins; deeper, it is called by what runs there already. */
        if (read_word(stacks, stacks->machine, stacks->runtime->layout.m.g0, &g0))
            read_word(stacks, g0, go_g_sp, &bottom);
        if (exact && sp != bottom)
            return bottom == 0 ? unknown(registers) : step_plainly(stepper, plan, registers);
        return step_from_system(stacks, stepper, plan, registers);
    case GO_SWITCH_TO:
    case GO_SWITCH_BACK:
        return step_plainly(stepper, plan, registers);
    case GO_SWITCH_TOP:
        return step_top(stacks, stepper, registers);
    case GO_SWITCH_LOOP:
    case GO_SWITCH_NONE:
    case GO_SWITCH_OTHER:
        break;
    }
    return unknown(registers);
}

struct step_result go_switch_step(struct go_stacks *stacks, struct stepper *stepper, const struct unwind_plan *plan,
                                  struct registers *registers, bool exact)
{
    unsigned sp = stepper->arch->sp;
    uint64_t pc;
    if (stacks->thread != NULL)
        find_machine(stacks);
    if (!register_is_known(registers, sp))
        return unknown(registers);
    if (plan->switch_kind == GO_SWITCH_LOOP) {
        stacks->is_scheduling = true;
        return step_plainly(stepper, plan, registers);
    }
    if (!go_stacks_is_own(stacks, registers->values[sp]))
        return step_back(stacks, stepper, plan, registers, exact);
    if (plan->switch_kind == GO_SWITCH_BACK && step_into_c(stacks, stepper, (uint64_t)plan->cfa_offset, registers))
        return (struct step_result){.trust = TRUST_CFI, .stack_may_switch = true};
    if (plan->switch_kind != GO_SWITCH_TO)
        return step_plainly(stepper, plan, registers);
    /* It has the stack pointer of the goroutine that it is about to go on with. */
    if (!read_word(stacks, stacks->goroutine, go_g_pc, &pc))
        return unknown(registers);
    return step_onto(stacks, stepper, pc, registers->values[sp], registers);
}
