/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/walk.h"

#include "base/byte_reader.h"
#include "base/limits.h"
#include "debuginfo/debug_search.h"
#include "unwind/unwind_code.h"

/* What is known of a pc without unwind data. */
struct code_plan {
    struct unwind_plan candidates[code_candidates_max]; /* by its paths to a return */
    size_t candidate_count;
    struct unwind_plan proven; /* kind PLAN_UNKNOWN: none yet */
    bool weak_refused;         /* a caller's call that may never return: only a proof counts */
    uint8_t failures;          /* frames that no proof was found for; code_failures_max end the search at this pc */
};

enum { code_failures_max = 16 };

struct walker {
    const struct image *image;
    const struct memory *memory;
    const struct arch *arch;
    struct module_files *files;
    struct function_starts starts;
    struct arena *arena;
    struct stack_trie trie;
    struct unwind_plan *plans; /* by number; 0 is none yet */
    size_t plan_count, plan_capacity;
    struct plan_slot {
        uint64_t pc;
        uint32_t plan; /* 0: free */
        bool exact;
    } * slots;
    size_t slot_count;
    struct memory_range window; /* the range of the last read: stacks are read from one */
    uint64_t frames;
    uint32_t code_questions_left; /* to the instruction decoder */
};

struct walker *walker_new(const struct image *image, struct module_files *files, struct function_starts starts,
                          struct arena *arena)
{
    struct walker *walker = arena_new(arena, struct walker);
    walker->image = image;
    walker->memory = &image->memory;
    walker->arch = image->arch;
    walker->files = files;
    walker->starts = starts;
    walker->arena = arena;
    stack_trie_init(&walker->trie, arena);
    walker->plans = arena_grow(arena, NULL, 0, &walker->plan_capacity, sizeof *walker->plans);
    walker->plan_count = 1;
    walker->code_questions_left = limit_code_questions;
    walker->slot_count = 1024;
    walker->slots = arena_array(arena, struct plan_slot, walker->slot_count);
    return walker;
}

struct stack_trie *walker_trie(struct walker *walker)
{
    return &walker->trie;
}

struct walker_counts walker_counts(const struct walker *walker)
{
    return (struct walker_counts){walker->frames, walker->plan_count - 1};
}

static inline bool walker_read_u64(struct walker *walker, uint64_t address, uint64_t *ret_value)
{
    const struct memory_range *window = &walker->window;
    if (address < window->start || window->end - window->start < 8 || address > window->end - 8) {
        const struct memory_range *range = memory_find(walker->memory, address);
        if (range == NULL || range->end - address < 8)
            return memory_read_u64(walker->memory, address, ret_value);
        walker->window = *range;
    }
    *ret_value = load_u64(window->bytes + (address - window->start));
    return true;
}

/* A signal handler's return address: the kernel put it there, nothing called. */
static bool is_signal_trampoline(const struct walker *walker, uint64_t pc)
{
    uint8_t code[16];
    size_t count = memory_read(walker->memory, pc, code, sizeof code);
    return walker->arch->signal_context_offset(code, count) != 0;
}

bool walker_follows_call(struct walker *walker, uint64_t return_address)
{
    if (!image_is_executable(walker->image, return_address - 1))
        return false;
    module_files_open(walker->files, image_find_module(walker->image, return_address - 1));
    uint8_t code[8];
    for (size_t count = sizeof code; count >= 2; count--) {
        /* A call may be the first instruction of a mapping: fewer bytes before it then. */
        if (memory_read(walker->memory, return_address - count, code, count) == count)
            return walker->arch->call_precedes(code + count, count) || is_signal_trampoline(walker, return_address);
    }
    return true; /* no code at hand: nothing speaks against it */
}

static bool compile_by_cfi(struct walker *walker, uint64_t lookup, struct unwind_plan *ret_plan)
{
    uint32_t index = image_find_module(walker->image, lookup);
    struct module_file *file = module_files_open(walker->files, index);
    if (file == NULL)
        return false;
    Dwarf_CFI *cfi = module_file_eh_frame(file);
    if (cfi != NULL && unwind_cfi_compile(cfi, lookup - file->bias, walker->arch, walker->arena, ret_plan))
        return true;
    cfi = module_file_debug_frame(walker->files, file);
    return cfi != NULL && unwind_cfi_compile(cfi, lookup - file->bias, walker->arch, walker->arena, ret_plan);
}

enum { entry_bytes_max = 64 }; /* of the code at AT_ENTRY before its call; 22 to 46 in glibc and musl */

/* Counts one question to the instruction decoder; false when they are used up. */
static bool walker_may_ask(struct walker *walker)
{
    if (walker->code_questions_left == 0)
        return false;
    walker->code_questions_left--;
    return true;
}

static struct unwind_plan compile_plan(struct walker *walker, uint64_t pc, bool exact)
{
    struct unwind_plan plan = {0};
    if (compile_by_cfi(walker, exact ? pc : pc - 1, &plan))
        return plan;
    bool is_code = image_is_executable(walker->image, exact ? pc : pc - 1);
    if (is_code && is_signal_trampoline(walker, pc))
        return (struct unwind_plan){.kind = PLAN_SIGNAL_RETURN, .signal_frame = true};
    if (!is_code)
        return (struct unwind_plan){.kind = exact ? PLAN_CALL : PLAN_UNKNOWN};
    /* psABI: the program's first instruction has no caller; what it calls (musl's _start_c) never returns. */
    if (walker->image->entry != 0 && pc - walker->image->entry < entry_bytes_max && !exact)
        return (struct unwind_plan){.kind = PLAN_OUTERMOST};
    if (!exact && unwind_code_is_thread_exit(walker->memory, walker->arch, pc))
        return (struct unwind_plan){.kind = PLAN_OUTERMOST};
    /* The first instruction of a function that nothing called: makecontext and its likes lay such a return address at the
     * bottom of a coroutine's stack. What lies above it are not frames, and the frame pointer is its creator's. */
    uint8_t before[8];
    if (!exact && memory_read(walker->memory, pc - sizeof before, before, sizeof before) == sizeof before &&
        !walker->arch->call_precedes(before + sizeof before, sizeof before) && compile_by_cfi(walker, pc, &plan))
        return (struct unwind_plan){.kind = PLAN_OUTERMOST, .is_entry = true};
    struct code_plan *code_plan = arena_new(walker->arena, struct code_plan);
    if (!walker_may_ask(walker)) {
        code_plan->failures = code_failures_max;
        return (struct unwind_plan){.kind = PLAN_NO_TABLE, .code = code_plan};
    }
    code_plan->candidate_count =
        unwind_code_to_return(walker->memory, walker->arch, pc, code_plan->candidates);
    code_plan->weak_refused = !exact && unwind_code_is_padding(walker->memory, walker->arch, pc);
    return (struct unwind_plan){.kind = PLAN_NO_TABLE, .code = code_plan};
}

static uint32_t plan_for(struct walker *walker, uint64_t pc, bool exact)
{
    size_t mask = walker->slot_count - 1;
    size_t slot = (size_t)((pc * 0x9e3779b97f4a7c15u) >> 20) & mask;
    for (; walker->slots[slot].plan != 0; slot = (slot + 1) & mask)
        if (walker->slots[slot].pc == pc && walker->slots[slot].exact == exact)
            return walker->slots[slot].plan;
    struct unwind_plan plan = compile_plan(walker, pc, exact);
    walker->plans =
        arena_grow(walker->arena, walker->plans, walker->plan_count, &walker->plan_capacity, sizeof *walker->plans);
    uint32_t number = (uint32_t)walker->plan_count++;
    walker->plans[number] = plan;
    walker->slots[slot] = (struct plan_slot){pc, number, exact};
    if (walker->plan_count * 2 > walker->slot_count) {
        struct plan_slot *old = walker->slots;
        size_t old_count = walker->slot_count;
        walker->slot_count *= 2;
        walker->slots = arena_array(walker->arena, struct plan_slot, walker->slot_count);
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

/* One step's result: the caller's registers, or why there are none. */
struct step_result {
    enum stack_end end; /* STACK_END_UNKNOWN: stepped */
    uint64_t end_address;
    enum frame_trust trust;
    bool stack_may_switch; /* a signal frame may lie on another stack */
};

static inline bool is_known(const struct registers *registers, unsigned number)
{
    return (registers->known >> number & 1) != 0;
}

static struct step_result ended(enum stack_end end, uint64_t address)
{
    return (struct step_result){.end = end, .end_address = address};
}

static inline struct step_result step_simple(struct walker *walker, const struct unwind_plan *plan,
                                             struct registers *registers)
{
    if (!is_known(registers, plan->cfa_register))
        return ended(STACK_END_NO_UNWIND_DATA, registers->pc);
    uint64_t cfa = registers->values[plan->cfa_register];
    if (plan->cfa_is_loaded && !walker_read_u64(walker, cfa + (uint64_t)(int64_t)plan->cfa_load_offset, &cfa))
        return ended(STACK_END_MEMORY_MISSING, cfa + (uint64_t)(int64_t)plan->cfa_load_offset);
    cfa += (uint64_t)(int64_t)plan->cfa_offset;
    uint64_t place = cfa + (uint64_t)(int64_t)plan->return_address_offset, pc;
    if (!walker_read_u64(walker, place, &pc))
        return ended(STACK_END_MEMORY_MISSING, place);
    /* What a call may change is unknown in the caller; callee-saved registers keep their value unless saved. */
    registers->known &= walker->arch->callee_saved & ~(uint64_t)plan->undefined;
    for (unsigned i = 0; i < plan->saved_count; i++) {
        unsigned number = plan->saved[i].register_number;
        if (walker_read_u64(walker, cfa + (uint64_t)(int64_t)plan->saved[i].offset, &registers->values[number]))
            registers->known |= (uint64_t)1 << number;
        else
            registers->known &= ~((uint64_t)1 << number);
    }
    registers->values[walker->arch->sp] = cfa;
    registers->values[walker->arch->return_address] = pc;
    registers->known |= (uint64_t)1 << walker->arch->sp | (uint64_t)1 << walker->arch->return_address;
    registers->pc = pc;
    return (struct step_result){.trust = TRUST_CFI, .stack_may_switch = plan->signal_frame};
}

static struct step_result step_general(struct walker *walker, const struct unwind_plan *plan,
                                       struct registers *registers, bool exact)
{
    uint32_t module = image_find_module(walker->image, exact ? registers->pc : registers->pc - 1);
    uint64_t bias = module == index_none ? 0 : walker->image->modules[module].bias;
    struct registers caller;
    uint64_t cfa, missing;
    if (!unwind_general_execute(plan->general, walker->arch, registers, walker->memory, bias, &caller, &cfa, &missing))
        return missing != 0 ? ended(STACK_END_MEMORY_MISSING, missing)
                            : ended(STACK_END_NO_UNWIND_DATA, registers->pc);
    caller.values[walker->arch->return_address] = caller.pc;
    *registers = caller;
    return (struct step_result){.trust = TRUST_CFI, .stack_may_switch = plan->signal_frame};
}

static struct step_result step_signal_return(struct walker *walker, struct registers *registers)
{
    uint8_t code[16], raw[arch_registers_max * 8];
    size_t count = memory_read(walker->memory, registers->pc, code, sizeof code);
    uint64_t place = registers->values[walker->arch->sp] + walker->arch->signal_context_offset(code, count);
    size_t got = memory_read(walker->memory, place, raw, walker->arch->signal_context_bytes);
    if (!is_known(registers, walker->arch->sp) || got != walker->arch->signal_context_bytes)
        return ended(STACK_END_MEMORY_MISSING, place + got);
    walker->arch->signal_context_decode(raw, registers);
    return (struct step_result){.trust = TRUST_SIGNAL_FRAME, .stack_may_switch = true};
}

static struct step_result step_call(struct walker *walker, struct registers *registers)
{
    unsigned sp = walker->arch->sp;
    uint64_t place = registers->values[sp], pc;
    if (!is_known(registers, sp) || !walker_read_u64(walker, place, &pc))
        return ended(STACK_END_MEMORY_MISSING, place);
    if (!walker_follows_call(walker, pc))
        return ended(STACK_END_NO_UNWIND_DATA, registers->pc);
    registers->values[sp] = place + 8;
    registers->values[walker->arch->return_address] = pc;
    registers->known &= walker->arch->callee_saved;
    registers->known |= (uint64_t)1 << sp | (uint64_t)1 << walker->arch->return_address;
    registers->pc = pc;
    return (struct step_result){.trust = TRUST_CALL};
}

/* Where a simple plan expects the return address. */
static bool return_address_place(struct walker *walker, const struct unwind_plan *plan,
                                 const struct registers *registers, uint64_t *ret_place)
{
    uint64_t cfa = registers->values[plan->cfa_register];
    if (!is_known(registers, plan->cfa_register) ||
        (plan->cfa_is_loaded && !walker_read_u64(walker, cfa + (uint64_t)(int64_t)plan->cfa_load_offset, &cfa)))
        return false;
    *ret_place = cfa + (uint64_t)(int64_t)plan->cfa_offset + (uint64_t)(int64_t)plan->return_address_offset;
    return true;
}

/* Whether the value at `place` is a return address whose call leads into the code at `pc` with exactly this stack: the
 * callee's own instructions, followed from the call's target, put its return address there. */
static bool prove_return_address(struct walker *walker, const struct registers *registers, uint64_t place,
                                 struct unwind_plan *ret_plan)
{
    uint64_t return_address, target, expected;
    if (!walker_read_u64(walker, place, &return_address) || !walker_follows_call(walker, return_address) ||
        !unwind_code_call_target(walker->memory, walker->arch, return_address, &target) ||
        !image_is_executable(walker->image, target))
        return false;
    if (!walker_may_ask(walker))
        return false;
    module_files_open(walker->files, image_find_module(walker->image, target));
    return unwind_code_from_entry(walker->memory, walker->arch, target, registers->pc, ret_plan) &&
           return_address_place(walker, ret_plan, registers, &expected) && expected == place;
}

static struct step_result take_code_plan(struct walker *walker, const struct unwind_plan *plan,
                                         struct registers *registers)
{
    struct step_result result = step_simple(walker, plan, registers);
    result.trust = TRUST_CODE;
    return result;
}

/* Called through a register, as threads' start routines are: the paths to the return alone must do. */
static struct step_result step_unproven(struct walker *walker, const struct code_plan *code,
                                        struct registers *registers)
{
    uint64_t place, return_address;
    for (size_t i = 0; !code->weak_refused && i < code->candidate_count; i++)
        if (return_address_place(walker, &code->candidates[i], registers, &place) &&
            walker_read_u64(walker, place, &return_address) && walker_follows_call(walker, return_address))
            return take_code_plan(walker, &code->candidates[i], registers);
    return ended(STACK_END_NO_UNWIND_DATA, registers->pc);
}

enum { scanned_slots = 512 }; /* of 8 bytes above the stack pointer; blocking leaves have small frames */

static struct step_result step_code(struct walker *walker, struct code_plan *code, struct registers *registers,
                                    bool exact, enum frame_trust trust)
{
    uint64_t place, return_address;
    /* A frame that the frame pointer led to knows its stack pointer only if the callee's frame was of the usual shape. */
    if (trust == TRUST_FRAME_POINTER)
        return ended(STACK_END_NO_UNWIND_DATA, registers->pc);
    /* Proven once, the stack's shape at this pc holds for every thread; the return address is still looked at. */
    if (code->proven.kind == PLAN_SIMPLE && return_address_place(walker, &code->proven, registers, &place) &&
        walker_read_u64(walker, place, &return_address) && walker_follows_call(walker, return_address))
        return take_code_plan(walker, &code->proven, registers);
    if (code->failures == code_failures_max)
        return step_unproven(walker, code, registers);
    for (size_t i = 0; i < code->candidate_count; i++)
        if (return_address_place(walker, &code->candidates[i], registers, &place) &&
            prove_return_address(walker, registers, place, &code->proven))
            return take_code_plan(walker, &code->proven, registers);
    uint64_t start, lookup = exact ? registers->pc : registers->pc - 1;
    if (walker->starts.find != NULL && walker->starts.find(walker->starts.context, lookup, &start) &&
        walker_may_ask(walker) && unwind_code_from_entry(walker->memory, walker->arch, start, registers->pc, &code->proven) &&
        return_address_place(walker, &code->proven, registers, &place) &&
        walker_read_u64(walker, place, &return_address) && walker_follows_call(walker, return_address))
        return take_code_plan(walker, &code->proven, registers);
    uint64_t sp = registers->values[walker->arch->sp];
    for (size_t i = 0; is_known(registers, walker->arch->sp) && i < scanned_slots; i++)
        if (prove_return_address(walker, registers, sp + 8 * i, &code->proven))
            return take_code_plan(walker, &code->proven, registers);
    code->proven.kind = PLAN_UNKNOWN;
    code->failures++;
    return step_unproven(walker, code, registers);
}

/* Both in one executable mapping of no file. Interpreters that are made at run time push the address to go on at and
 * jump (HotSpot's invoke_return_entry): no call precedes it. */
static bool is_made_at_run_time(const struct walker *walker, uint64_t pc, uint64_t return_address)
{
    const struct mapping *mapping = image_find_mapping(walker->image, return_address);
    return mapping != NULL && mapping->module == index_none && mapping->path.length == 0 &&
           (mapping->access & MAPPING_EXECUTE) != 0 && pc >= mapping->start && pc < mapping->end;
}

static struct step_result step_frame_pointer(struct walker *walker, struct registers *registers)
{
    unsigned sp = walker->arch->sp, fp = walker->arch->fp;
    uint64_t frame = registers->values[fp], saved, pc;
    /* The chain holds only while the register does point at a saved pair above the stack pointer. */
    if (!is_known(registers, fp) || (frame & 7) != 0 || !is_known(registers, sp) || frame < registers->values[sp] ||
        frame > UINT64_MAX - 16 || !walker_read_u64(walker, frame, &saved) ||
        !walker_read_u64(walker, frame + 8, &pc))
        return ended(STACK_END_NO_UNWIND_DATA, registers->pc);
    if (pc == 0 && saved == 0) /* psABI 3.4.1: the outermost frame is marked by zero */
        return ended(STACK_END_OUTERMOST, 0);
    if (!walker_follows_call(walker, pc) && !is_made_at_run_time(walker, registers->pc, pc))
        return ended(STACK_END_NO_UNWIND_DATA, registers->pc);
    registers->values[fp] = saved;
    registers->values[sp] = frame + 16;
    registers->values[walker->arch->return_address] = pc;
    registers->known =
        (uint64_t)1 << fp | (uint64_t)1 << sp | (uint64_t)1 << walker->arch->return_address;
    registers->pc = pc;
    return (struct step_result){.trust = TRUST_FRAME_POINTER};
}

static struct step_result step(struct walker *walker, const struct unwind_plan *plan, struct registers *registers,
                               bool exact, enum frame_trust trust)
{
    switch ((enum unwind_plan_kind)plan->kind) {
    case PLAN_SIMPLE:
        return step_simple(walker, plan, registers);
    case PLAN_GENERAL:
        return step_general(walker, plan, registers, exact);
    case PLAN_OUTERMOST:
        return ended(STACK_END_OUTERMOST, 0);
    case PLAN_SIGNAL_RETURN:
        return step_signal_return(walker, registers);
    case PLAN_CALL:
        return step_call(walker, registers);
    case PLAN_NO_TABLE: {
        struct step_result result = step_code(walker, plan->code, registers, exact, trust);
        return result.end == STACK_END_UNKNOWN ? result : step_frame_pointer(walker, registers);
    }
    case PLAN_UNKNOWN:
        break;
    }
    return ended(STACK_END_NO_UNWIND_DATA, registers->pc);
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

/* Whether unwind data led to a lower address in another mapping. Code that runs a function on a stack of its own making
 * (split stacks' __morestack, Rust's stacker) has rows that lead back, and that stack may lie above the thread's. */
static bool is_other_stack(struct walker *walker, const struct step_result *result, const struct registers *registers,
                           uint64_t old_sp)
{
    uint64_t new_sp = registers->values[walker->arch->sp];
    const struct mapping *mapping = image_find_mapping(walker->image, new_sp - 1);
    return result->trust == TRUST_CFI && mapping != NULL &&
           mapping != image_find_mapping(walker->image, old_sp - 1) && walker_follows_call(walker, registers->pc);
}

uint32_t walk_thread(struct walker *walker, const struct thread *thread)
{
    if (thread->registers == NULL)
        return stack_trie_stack(&walker->trie, 0, STACK_END_NO_REGISTERS, 0);
    struct registers registers;
    unsigned sp = walker->arch->sp;
    walker->arch->registers_decode(thread->registers, &registers);
    bool exact = true;
    enum frame_trust trust = TRUST_REGISTERS; /* of the frame at hand */
    uint64_t kept_pc = 0, kept_sp = 0;
    size_t switches = 0;
    uint32_t node = enter_frame(walker, 0, registers.pc, true, TRUST_REGISTERS);
    for (size_t depth = 1;; depth++) {
        walker->frames++;
        if (depth == limit_frames)
            return stack_trie_stack(&walker->trie, node, STACK_END_FRAME_LIMIT, registers.pc);
        const struct unwind_plan *plan = &walker->plans[walker->trie.nodes[node].plan];
        uint64_t old_sp = registers.values[sp];
        struct step_result result = step(walker, plan, &registers, exact, trust);
        if (result.end != STACK_END_UNKNOWN)
            return stack_trie_stack(&walker->trie, node, result.end, result.end_address);
        /* Zero ends a chain of calls; where a signal interrupted, it is a call through NULL. */
        if (registers.pc == 0 && !result.stack_may_switch)
            return stack_trie_stack(&walker->trie, node, STACK_END_OUTERMOST, 0);
        /* Where a thread stands its caller may have the same stack pointer: vfork keeps the return address in a register. */
        bool is_popped = exact && result.trust == TRUST_CFI && registers.values[sp] == old_sp &&
                         walker_follows_call(walker, registers.pc);
        if (registers.values[sp] <= old_sp && !is_popped) {
            if (!result.stack_may_switch && !is_other_stack(walker, &result, &registers, old_sp))
                return stack_trie_stack(&walker->trie, node, STACK_END_NO_PROGRESS, old_sp);
            /* Another stack, or a signal frame that leads back. A loop must pass here in the same state again; the
             * state is kept at every power of two (Brent). */
            if (registers.pc == kept_pc && registers.values[sp] == kept_sp)
                return stack_trie_stack(&walker->trie, node, STACK_END_NO_PROGRESS, old_sp);
            switches++;
            if ((switches & (switches - 1)) == 0) {
                kept_pc = registers.pc;
                kept_sp = registers.values[sp];
            }
        }
        exact = result.stack_may_switch;
        trust = result.trust;
        node = enter_frame(walker, node, registers.pc, exact, result.trust);
    }
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
    return stack_trie_stack(&walker->trie, node, count == 0 ? STACK_END_NO_REGISTERS : end, count == 0 ? 0 : frames[count - 1].pc);
}

bool walker_node_is_exact(const struct walker *walker, uint32_t node)
{
    const struct trie_node *it = &walker->trie.nodes[node];
    const struct unwind_plan *plan = &walker->plans[it->plan];
    return it->exact || plan->signal_frame || plan->is_entry;
}
