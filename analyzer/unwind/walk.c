/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/walk.h"

#include "base/limits.h"
#include "debuginfo/debug_search.h"
#include "unwind/step.h"
#include "unwind/unwind_code.h"

struct walker {
    struct stepper stepper;
    struct code_plans code_plans;
    struct stack_trie trie;
    struct unwind_plan *plans; /* by number; 0 is none yet */
    size_t plan_count, plan_capacity;
    struct plan_slot {
        uint64_t pc;
        uint32_t plan; /* 0: free */
        bool exact;
    } * slots;
    size_t slot_count;
    uint64_t frames;
};

struct walker *walker_new(const struct image *image, struct module_files *files, struct function_starts starts,
                          struct arena *arena)
{
    struct walker *walker = arena_new(arena, struct walker);
    walker->stepper = (struct stepper){
        .image = image,
        .memory = &image->memory,
        .arch = image->arch,
        .files = files,
        .starts = starts,
        .arena = arena,
        .code_questions_left = limit_code_questions,
    };
    stack_trie_init(&walker->trie, arena);
    walker->plans = arena_grow(arena, NULL, 0, &walker->plan_capacity, sizeof *walker->plans);
    walker->plan_count = 1;
    walker->slot_count = 1024;
    walker->slots = arena_array(arena, struct plan_slot, walker->slot_count);
    return walker;
}

void walker_set_code_plans(struct walker *walker, struct code_plans plans)
{
    walker->code_plans = plans;
}

void *walker_code_context(const struct walker *walker)
{
    return walker->code_plans.context;
}

struct stack_trie *walker_trie(struct walker *walker)
{
    return &walker->trie;
}

struct walker_counts walker_counts(const struct walker *walker)
{
    return (struct walker_counts){
        .plans = walker->plan_count - 1,
        .code_limit_reached = walker->stepper.code_questions_left == 0,
    };
}

static bool compile_by_cfi(struct stepper *stepper, uint64_t lookup, struct unwind_plan *ret_plan)
{
    uint32_t index = image_find_module(stepper->image, lookup);
    struct module_file *file = module_files_open(stepper->files, index);
    if (file == NULL)
        return false;
    Dwarf_CFI *cfi = module_file_eh_frame(file);
    if (cfi != NULL && unwind_cfi_compile(cfi, lookup - file->bias, stepper->arch, stepper->arena, ret_plan))
        return true;
    cfi = module_file_debug_frame(stepper->files, file);
    return cfi != NULL && unwind_cfi_compile(cfi, lookup - file->bias, stepper->arch, stepper->arena, ret_plan);
}

enum { entry_bytes_max = 64 }; /* of the code at AT_ENTRY before its call; 22 to 46 in glibc and musl */

static struct unwind_plan compile_plan(struct stepper *stepper, uint64_t pc, bool exact)
{
    const struct unwind_plan signal_return = {.kind = PLAN_SIGNAL_RETURN, .signal_frame = true};
    struct unwind_plan plan = {0};
    /* Before Linux 5.9 the arm64 vdso's trampoline had CFI that passes over the frame that was interrupted. */
    if (arch_has_link_register(stepper->arch) && image_is_executable(stepper->image, pc) &&
        stepper_is_signal_trampoline(stepper, pc))
        return signal_return;
    if (compile_by_cfi(stepper, exact ? pc : pc - 1, &plan))
        return plan;
    bool is_code = image_is_executable(stepper->image, exact ? pc : pc - 1);
    if (is_code && stepper_is_signal_trampoline(stepper, pc))
        return signal_return;
    if (!is_code)
        return (struct unwind_plan){.kind = exact ? PLAN_CALL : PLAN_UNKNOWN};
    /* psABI: the program's first instruction has no caller; what it calls (musl's _start_c) never returns. */
    if (stepper->image->entry != 0 && pc - stepper->image->entry < entry_bytes_max && !exact)
        return (struct unwind_plan){.kind = PLAN_OUTERMOST};
    if (!exact && unwind_code_is_thread_exit(stepper->memory, stepper->arch, pc))
        return (struct unwind_plan){.kind = PLAN_OUTERMOST};
    /* The first instruction of a function that nothing called: makecontext and its likes lay such a return address at the
     * bottom of a coroutine's stack. What lies above it are not frames, and the frame pointer is its creator's. */
    uint8_t before[8];
    if (!exact && memory_read(stepper->memory, pc - sizeof before, before, sizeof before) == sizeof before &&
        !stepper->arch->call_precedes(before + sizeof before, sizeof before) && compile_by_cfi(stepper, pc, &plan))
        return (struct unwind_plan){.kind = PLAN_OUTERMOST, .is_entry = true};
    return (struct unwind_plan){.kind = PLAN_NO_TABLE, .code = code_plan_new(stepper, pc, exact)};
}

static bool plan_is_plain(const struct arch *arch, const struct unwind_plan *plan)
{
    return plan->kind == PLAN_SIMPLE && plan->cfa_register == arch->sp && !plan->cfa_is_loaded &&
           plan->return_place == RETURN_SAVED && !plan->signal_frame && !plan->is_trap && plan->undefined == 0 &&
           (plan->saved_count == 0 || (plan->saved_count == 1 && plan->saved[0].register_number == arch->fp));
}

static uint32_t plan_for(struct walker *walker, uint64_t pc, bool exact)
{
    size_t mask = walker->slot_count - 1;
    size_t slot = (size_t)((pc * 0x9e3779b97f4a7c15u) >> 20) & mask;
    for (; walker->slots[slot].plan != 0; slot = (slot + 1) & mask)
        if (walker->slots[slot].pc == pc && walker->slots[slot].exact == exact)
            return walker->slots[slot].plan;
    struct unwind_plan plan;
    if (walker->code_plans.compile != NULL && walker->code_plans.compile(walker->code_plans.context, pc, &plan))
        plan.is_of_language = true;
    else
        plan = compile_plan(&walker->stepper, pc, exact);
    plan.is_plain = plan_is_plain(walker->stepper.arch, &plan);
    walker->plans =
        arena_grow(walker->stepper.arena, walker->plans, walker->plan_count, &walker->plan_capacity, sizeof *walker->plans);
    uint32_t number = (uint32_t)walker->plan_count++;
    walker->plans[number] = plan;
    walker->slots[slot] = (struct plan_slot){pc, number, exact};
    if (walker->plan_count * 2 > walker->slot_count) {
        struct plan_slot *old = walker->slots;
        size_t old_count = walker->slot_count;
        walker->slot_count *= 2;
        walker->slots = arena_array(walker->stepper.arena, struct plan_slot, walker->slot_count);
        for (size_t i = 0; i < old_count; i++) {
            if (old[i].plan == 0)
                continue;
            size_t at = (size_t)((old[i].pc * 0x9e3779b97f4a7c15u) >> 20) & (walker->slot_count - 1);
            while (walker->slots[at].plan != 0)
                at = (at + 1) & (walker->slot_count - 1);
            walker->slots[at] = old[i];
        }
    }
    return number;
}

/* The child node for a pc, with its plan. A signal trampoline's own pc was never called: it is exact. */
static uint32_t enter_frame(struct walker *walker, uint32_t parent, uint64_t pc, bool exact, enum frame_trust trust)
{
    bool is_new;
    uint32_t node = stack_trie_child(&walker->trie, parent, pc, exact, trust, &is_new);
    if (is_new)
        walker->trie.nodes[node].plan = plan_for(walker, pc, exact);
    return node;
}

/* The same, of registers that say which stack it lies on. */
static uint32_t enter_registers(struct walker *walker, uint32_t parent, const struct registers *registers, bool exact,
                                enum frame_trust trust)
{
    size_t count = walker->trie.node_count;
    uint32_t node = enter_frame(walker, parent, registers->pc, exact, trust);
    if (walker->trie.node_count != count && walker->code_plans.is_elsewhere != NULL)
        walker->trie.nodes[node].is_elsewhere = walker->code_plans.is_elsewhere(
            walker->code_plans.context, registers->values[walker->stepper.arch->sp]);
    return node;
}

static struct step_result step_to_caller(struct walker *walker, const struct unwind_plan *plan,
                                         struct registers *registers, bool exact, enum frame_trust trust)
{
    struct stepper *stepper = &walker->stepper;
    /* Above a step by the frame pointer that left the stack pointer open, it goes on so. */
    bool has_no_stack_pointer = arch_has_link_register(stepper->arch) && !register_is_known(registers, stepper->arch->sp);
    switch ((enum unwind_plan_kind)plan->kind) {
    case PLAN_SIMPLE:
        if (has_no_stack_pointer && plan->cfa_register == stepper->arch->sp)
            return step_frame_pointer(stepper, registers);
        return step_simple(stepper, plan, registers);
    case PLAN_GENERAL:
        if (has_no_stack_pointer)
            return step_frame_pointer(stepper, registers);
        return step_general(stepper, plan, registers, exact);
    case PLAN_OUTERMOST:
        return step_ended(STACK_END_OUTERMOST, 0);
    case PLAN_SIGNAL_RETURN:
        return step_signal_return(stepper, registers);
    case PLAN_CALL:
        return step_call(stepper, registers);
    case PLAN_NO_TABLE: {
        struct step_result result = step_code(stepper, plan->code, registers, exact, trust);
        if (result.end != STACK_END_UNKNOWN && exact)
            result = step_link_register(stepper, registers);
        return result.end == STACK_END_UNKNOWN ? result : step_frame_pointer(stepper, registers);
    }
    case PLAN_SWITCH:
        return walker->code_plans.step(walker->code_plans.context, stepper, plan, registers, exact);
    case PLAN_UNKNOWN:
        break;
    }
    return step_ended(STACK_END_NO_UNWIND_DATA, registers->pc);
}

/* Whether unwind data led to a lower address in another mapping. Code that runs a function on a stack of its own making
 * (split stacks' __morestack, Rust's stacker) has rows that lead back, and that stack may lie above the thread's. */
static bool is_other_stack(struct walker *walker, const struct step_result *result, const struct registers *registers,
                           uint64_t old_sp)
{
    uint64_t new_sp = registers->values[walker->stepper.arch->sp];
    const struct mapping *mapping = image_find_mapping(walker->stepper.image, new_sp - 1);
    return result->trust == TRUST_CFI && mapping != NULL &&
           mapping != image_find_mapping(walker->stepper.image, old_sp - 1) && walker_follows_call(walker, registers->pc);
}

/* A walk where it stands. */
struct walk {
    struct registers registers;
    uint32_t node; /* the frame's */
    bool exact;
    enum frame_trust trust;
    size_t depth;
};

/* Where a register was saved; the return address where the plan saves none. */
static uint64_t saved_place(const struct unwind_plan *plan, uint64_t cfa)
{
    int64_t offset = plan->saved_count == 0 ? plan->return_address_offset : plan->saved[0].offset;
    return cfa + (uint64_t)offset;
}

/* Goes on as long as steps are plain, lead upwards through memory that the last ones came from, and to frames that are
 * known: what is left to decide about others, walk_registers does. Nearly all frames of parked goroutines are such. */
static void walk_plain(struct walker *walker, struct walk *walk)
{
    struct stepper *stepper = &walker->stepper;
    struct stack_trie *trie = &walker->trie;
    const struct arch *arch = stepper->arch;
    const struct memory_range *window = &stepper->window;
    struct registers *registers = &walk->registers;
    uint64_t sp = registers->values[arch->sp], fp = registers->values[arch->fp], pc = 0;
    uint64_t size_bytes = window->end - window->start, known = registers->known;
    uint32_t node = walk->node;
    size_t depth = walk->depth, misses = 0;
    if (size_bytes < 8 || !register_is_known(registers, arch->sp))
        return;
    for (; depth < limit_frames_crowded; depth++) {
        const struct unwind_plan *plan = &walker->plans[trie->nodes[node].plan];
        uint64_t cfa = sp + (uint64_t)(int64_t)plan->cfa_offset;
        uint64_t place = cfa + (uint64_t)(int64_t)plan->return_address_offset - window->start;
        uint64_t saved = saved_place(plan, cfa) - window->start;
        if (!plan->is_plain || cfa <= sp || place > size_bytes - 8 || saved > size_bytes - 8)
            break;
        pc = stepper_plain_address(stepper, load_u64(window->bytes + place));
        uint32_t caller = trie->nodes[node].last_child;
        const struct trie_node *likely = &trie->nodes[caller];
        bool is_likely = caller != 0 && likely->pc == pc && !likely->exact && likely->trust == TRUST_CFI;
        if (!is_likely)
            caller = stack_trie_known_child(trie, node, pc, false, TRUST_CFI);
        if (pc == 0 || caller == 0 || walker->plans[trie->nodes[caller].plan].kind == PLAN_UNKNOWN)
            break;
        if (plan->saved_count != 0) {
            fp = load_u64(window->bytes + saved);
            known |= (uint64_t)1 << arch->fp;
        }
        sp = cfa;
        registers->pc = pc;
        node = caller;
        misses += !is_likely;
    }
    if (depth == walk->depth)
        return;
    trie->hits += depth - walk->depth - misses;
    trie->misses += misses;
    walker->frames += depth - walk->depth;
    walk->depth = depth;
    walk->node = node;
    walk->exact = false;
    walk->trust = TRUST_CFI;
    registers->values[arch->sp] = sp;
    registers->values[arch->fp] = fp;
    registers->known = (known & arch->callee_saved) | (uint64_t)1 << arch->sp;
    step_set_return_address(stepper, registers, registers->pc);
}

uint32_t walk_registers(struct walker *walker, const struct registers *start, bool exact)
{
    unsigned sp = walker->stepper.arch->sp;
    struct walk walk = {.registers = *start, .exact = exact, .trust = TRUST_REGISTERS, .depth = 1};
    struct registers *registers = &walk.registers;
    uint64_t kept_pc = 0, kept_sp = 0;
    size_t switches = 0;
    walk.node = enter_registers(walker, 0, registers, exact, TRUST_REGISTERS);
    for (;; walk.depth++) {
        walk_plain(walker, &walk);
        walker->frames++;
        if (walk.depth == limit_frames || (walk.depth >= limit_frames_crowded && walker->frames > limit_frames_total))
            return stack_trie_stack(&walker->trie, walk.node, STACK_END_FRAME_LIMIT, registers->pc);
        const struct unwind_plan *plan = &walker->plans[walker->trie.nodes[walk.node].plan];
        uint64_t old_sp = registers->values[sp];
        struct step_result result = step_to_caller(walker, plan, registers, walk.exact, walk.trust);
        if (result.end != STACK_END_UNKNOWN)
            return stack_trie_stack(&walker->trie, walk.node, result.end, result.end_address);
        /* Where a signal interrupted, zero is a call through NULL; else hand-made stacks end so, and overwritten ones. */
        if (registers->pc == 0 && !result.stack_may_switch)
            return stack_trie_stack(&walker->trie, walk.node, STACK_END_ZERO, 0);
        /* Where a thread stands its caller may have the same stack pointer: vfork keeps the return address in a register.
         * What is in a link register is so used once: no caller has it again. */
        bool is_popped = registers->values[sp] == old_sp &&
                         (result.from_register || (walk.exact && plan->kind == PLAN_GENERAL && !result.stack_may_switch &&
                                                   walker_follows_call(walker, registers->pc)));
        if (registers->values[sp] <= old_sp && !is_popped) {
            if (!result.stack_may_switch && !is_other_stack(walker, &result, registers, old_sp))
                return stack_trie_stack(&walker->trie, walk.node, STACK_END_NO_PROGRESS, old_sp);
            /* Another stack, or a signal frame that leads back. A loop must pass here in the same state again; the
             * state is kept at every power of two (Brent). */
            if (registers->pc == kept_pc && registers->values[sp] == kept_sp)
                return stack_trie_stack(&walker->trie, walk.node, STACK_END_NO_PROGRESS, old_sp);
            switches++;
            if ((switches & (switches - 1)) == 0) {
                kept_pc = registers->pc;
                kept_sp = registers->values[sp];
            }
        }
        walk.exact = result.is_exact;
        walk.trust = result.trust;
        uint32_t callee = walk.node;
        walk.node = enter_registers(walker, callee, registers, walk.exact, walk.trust);
        /* Garbage differs from thread to thread: as a frame it would part equal stacks. */
        if (!walk.exact && walker->plans[walker->trie.nodes[walk.node].plan].kind == PLAN_UNKNOWN)
            return stack_trie_stack(&walker->trie, callee, STACK_END_NO_CODE, registers->pc);
    }
}

static void *copy_array(struct arena *arena, const void *array, size_t count, size_t size)
{
    void *copy = arena_alloc(arena, count, size);
    return count == 0 ? copy : memcpy(copy, array, count * size);
}

struct walker *walker_copy(const struct walker *walker, const struct memory *memory, struct arena *arena)
{
    const struct stack_trie *trie = &walker->trie;
    struct walker *copy = arena_new(arena, struct walker);
    copy->stepper = (struct stepper){.memory = memory, .arch = walker->stepper.arch};
    copy->plans = copy_array(arena, walker->plans, walker->plan_count, sizeof *walker->plans);
    copy->plan_count = walker->plan_count;
    copy->trie = (struct stack_trie){
        .nodes = copy_array(arena, trie->nodes, trie->node_count, sizeof *trie->nodes),
        .node_count = trie->node_count,
        .stacks = copy_array(arena, trie->stacks, trie->stack_count, sizeof *trie->stacks),
        .stack_count = trie->stack_count,
        .slots = copy_array(arena, trie->slots, trie->slot_count, sizeof *trie->slots),
        .slot_count = trie->slot_count,
    };
    return copy;
}

uint32_t walker_find(struct walker *copy, const struct registers *registers, bool exact)
{
    const struct stack_trie *trie = &copy->trie;
    struct walk walk = {.registers = *registers, .exact = exact, .trust = TRUST_REGISTERS, .depth = 1};
    uint64_t unused;
    walk.node = stack_trie_known_child(&copy->trie, 0, registers->pc, exact, TRUST_REGISTERS);
    /* The read lets walk_plain begin: it keeps to the memory of the last one. */
    if (walk.node == 0 || !stepper_read_u64(&copy->stepper, registers->values[copy->stepper.arch->sp], &unused))
        return index_none;
    walk_plain(copy, &walk);
    if (copy->plans[trie->nodes[walk.node].plan].kind != PLAN_OUTERMOST || walk.depth == limit_frames_crowded)
        return index_none;
    for (uint32_t i = trie->nodes[walk.node].stack; i != index_none; i = trie->stacks[i].next)
        if (trie->stacks[i].end == STACK_END_OUTERMOST)
            return i;
    return index_none;
}

void walker_count(struct walker *walker, uint32_t stack)
{
    uint32_t depth = walker->trie.nodes[walker->trie.stacks[stack].node].depth;
    walker->frames += depth;
    walker->trie.hits += depth;
}

uint32_t walk_thread(struct walker *walker, const struct thread *thread)
{
    if (thread->registers == NULL)
        return stack_trie_stack(&walker->trie, 0, STACK_END_NO_REGISTERS, 0);
    struct registers registers;
    walker->stepper.arch->registers_decode(thread->registers, &registers);
    if (thread->registers_known != 0)
        registers.known &= thread->registers_known;
    if (walker->code_plans.enter_thread != NULL)
        walker->code_plans.enter_thread(walker->code_plans.context, thread);
    return walk_registers(walker, &registers, true);
}

bool walker_leave(struct walker *walker, struct registers *registers, bool *exact, uint64_t low, uint64_t high)
{
    enum frame_trust trust = TRUST_REGISTERS;
    for (size_t depth = 0; depth < limit_frames_crowded; depth++) {
        uint64_t at = registers->values[walker->stepper.arch->sp];
        if (at < low || at >= high)
            return true;
        const struct unwind_plan *plan = &walker->plans[plan_for(walker, registers->pc, *exact)];
        struct step_result result = step_to_caller(walker, plan, registers, *exact, trust);
        if (result.end != STACK_END_UNKNOWN)
            return false;
        *exact = result.is_exact;
        trust = result.trust;
    }
    return false;
}

uint32_t walker_extend(struct walker *walker, uint32_t stack, const struct walker_frame *frames, size_t count,
                       enum stack_end end)
{
    uint32_t node = walker->trie.stacks[stack].node;
    for (size_t i = 0; i < count; i++)
        node = enter_frame(walker, node, frames[i].pc, frames[i].exact, TRUST_LIBUNWIND);
    return stack_trie_stack(&walker->trie, node, end, 0);
}

uint32_t walker_adopt(struct walker *walker, const struct walker_frame *frames, size_t count, enum stack_end end)
{
    uint32_t node = 0;
    for (size_t i = 0; i < count; i++)
        node = enter_frame(walker, node, frames[i].pc, frames[i].exact, i == 0 ? TRUST_REGISTERS : TRUST_LIBUNWIND);
    if (count == 0)
        return stack_trie_stack(&walker->trie, node, STACK_END_NO_REGISTERS, 0);
    return stack_trie_stack(&walker->trie, node, end, end == STACK_END_OUTERMOST ? 0 : frames[count - 1].pc);
}

bool walker_node_is_exact(const struct walker *walker, uint32_t node)
{
    const struct trie_node *it = &walker->trie.nodes[node];
    const struct unwind_plan *plan = &walker->plans[it->plan];
    return it->exact || plan->signal_frame || plan->is_entry;
}

bool walker_node_is_of_language(const struct walker *walker, uint32_t node)
{
    return walker->plans[walker->trie.nodes[node].plan].is_of_language;
}

bool walker_node_frame_bytes(const struct walker *walker, uint32_t node, uint64_t *ret_bytes)
{
    const struct unwind_plan *plan = &walker->plans[walker->trie.nodes[node].plan];
    if (walker->trie.nodes[node].is_elsewhere && plan->kind != PLAN_SWITCH) {
        *ret_bytes = 0;
        return true;
    }
    if ((plan->kind != PLAN_SIMPLE && plan->kind != PLAN_OUTERMOST && plan->kind != PLAN_SWITCH) ||
        plan->cfa_register != walker->stepper.arch->sp || plan->cfa_is_loaded || plan->cfa_offset < 0)
        return false;
    *ret_bytes = (uint64_t)plan->cfa_offset;
    return true;
}

bool walker_follows_call(struct walker *walker, uint64_t return_address)
{
    return stepper_follows_call(&walker->stepper, return_address);
}
