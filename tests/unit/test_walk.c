/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "literal_elf.h"
#include "unwind/walk.h"

#include <dwarf.h>
#include <string.h>

/* The image: a module with unwind tables, code without any, and a stack.
 *   0x401000 function: return address on top       0x401100 outermost: no caller, calls at + 0x10
 *   0x401200 signal trampoline                     0x401300 CFA = rbp + 16
 *   0x401400 a CFA that does not advance           0x500000 code without tables, jumps to itself */
enum {
    module_start = 0x400000,
    function = 0x401000,
    outermost = 0x401100,
    outermost_return = 0x401115,
    trampoline = 0x401200,
    by_frame_pointer = 0x401300,
    by_frame_pointer_return = 0x401315,
    stuck = 0x401400,
    stuck_return = 0x401415,
    bare = 0x500000,
    bare_return = 0x500022,
    function_return = 0x401015,
    stack_words = 4096,
};
static const uint64_t stack_start = 0x7ffd00000000, stack_end = 0x7ffd00000000 + 8 * stack_words;

static struct arena arena;
static struct diagnostics diagnostics;
static struct image image;
static struct mapping mappings[3];
static struct module module;
static struct literal_elf elf;
static uint8_t bare_code[64];
static uint64_t stack[stack_words];
static uint64_t raw[27];
static struct module_files *files;
static struct walker *walker;

enum { raw_rbp = 4, raw_rip = 16, raw_rsp = 19 }; /* struct user_regs_struct */

#define ENTRY_ROW DW_CFA_def_cfa, 7, 8, DW_CFA_offset + 16, 1
#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof(const uint8_t[]){__VA_ARGS__}

static void put_call(uint8_t *code)
{
    memcpy(code, "\xe8\0\0\0", 5);
}

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0, NULL);
    diagnostics_init(&diagnostics, &arena);
    memset(stack, 0, sizeof stack);
    memset(raw, 0, sizeof raw);
    literal_elf_init(&elf);
    literal_elf_cie(&elf, "zR", BYTES(ENTRY_ROW));
    literal_elf_fde(&elf, 0x1000, 0x20, BYTES(DW_CFA_nop));
    literal_elf_fde(&elf, 0x1100, 0x20, BYTES(DW_CFA_undefined, 16));
    literal_elf_fde(&elf, 0x1300, 0x20, BYTES(DW_CFA_def_cfa, 6, 16, DW_CFA_offset + 6, 2));
    literal_elf_fde(&elf, 0x1400, 0x20, BYTES(DW_CFA_def_cfa, 7, 0, DW_CFA_offset + 16, 0));
    literal_elf_cie(&elf, "zRS", BYTES(ENTRY_ROW));
    literal_elf_fde(&elf, 0x11ff, 0x21, BYTES(DW_CFA_nop)); /* from one byte before, as in glibc */
    for (size_t at = 0x1010; at < 0x1500; at += 0x100)
        put_call(elf.bytes + at);
    memset(bare_code, 0x90, sizeof bare_code);
    memcpy(bare_code, "\xeb\xfe", 2);        /* jmp . */
    memcpy(bare_code + 0x20, "\xff\xd0", 2); /* call *%rax */
    memcpy(bare_code + 0x22, "\xeb\xfe", 2);

    image = (struct image){.arch = &arch_x86_64, .memory.arena = &arena, .mappings = mappings, .mapping_count = 3,
                           .modules = &module, .module_count = 1};
    /* The kind of module whose file is its memory. */
    module = (struct module){.path = TEXT("[vdso]"), .start = module_start, .end = module_start + literal_elf_bytes,
                             .bias = module_start, .bias_known = true, .is_vdso = true, .is_elf = true};
    mappings[0] = (struct mapping){module_start, module_start + literal_elf_bytes, 0, TEXT("[vdso]"), 0,
                                   MAPPING_READ | MAPPING_EXECUTE};
    mappings[1] = (struct mapping){bare, bare + sizeof bare_code, 0, TEXT("/jit"), index_none,
                                   MAPPING_READ | MAPPING_EXECUTE};
    mappings[2] = (struct mapping){stack_start, stack_end, 0, TEXT("[stack]"), index_none,
                                   MAPPING_READ | MAPPING_WRITE};
    const uint8_t *bytes[] = {elf.bytes, bare_code, (const uint8_t *)stack};
    for (int i = 0; i < 3; i++)
        memory_layer_append(&image.memory, &image.memory.core,
                            (struct memory_range){mappings[i].start, mappings[i].end, bytes[i]});
    files = module_files_new(&image, &(struct module_file_options){0}, &arena, &diagnostics);
    walker = walker_new(&image, files, (struct function_starts){0}, &arena);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    module_files_close(files);
    arena_deinit(&arena);
    return 0;
}

static uint64_t slot(size_t word)
{
    return stack_start + 8 * word;
}

struct expected {
    uint64_t pc;
    bool exact;
    enum frame_trust trust;
};

static uint32_t walk(uint64_t pc, uint64_t sp, uint64_t fp)
{
    raw[raw_rip] = pc;
    raw[raw_rsp] = sp;
    raw[raw_rbp] = fp;
    return walk_thread(walker, &(struct thread){.tid = 1, .registers = (const uint8_t *)raw});
}

#define assert_stack(number, end, address, ...)                                                                       \
    assert_stack_is(number, end, address, (const struct expected[]){__VA_ARGS__},                                      \
                    sizeof(const struct expected[]){__VA_ARGS__} / sizeof(struct expected))

static void assert_stack_is(uint32_t number, enum stack_end end, uint64_t end_address,
                            const struct expected *expected, size_t count)
{
    const struct stack_trie *trie = walker_trie(walker);
    const struct trie_stack *found = &trie->stacks[number];
    assert_string_equal(stack_end_name(found->end), stack_end_name(end));
    assert_int_equal(found->end_address, end_address);
    assert_int_equal(trie->nodes[found->node].depth, count);
    uint32_t node = found->node;
    for (size_t i = count; i-- > 0; node = trie->nodes[node].parent) {
        assert_int_equal(trie->nodes[node].pc, expected[i].pc);
        assert_int_equal(walker_node_is_exact(walker, node), expected[i].exact);
        assert_string_equal(frame_trust_name(trie->nodes[node].trust), frame_trust_name(expected[i].trust));
    }
    assert_int_equal(node, 0);
}

static void test_one_frame(void **state)
{
    (void)state;
    assert_stack(walk(outermost + 4, slot(100), 0), STACK_END_OUTERMOST, 0, {outermost + 4, true, TRUST_REGISTERS});
}

static void test_two_frames(void **state)
{
    (void)state;
    stack[100] = outermost_return;
    uint32_t number = walk(function, slot(100), 0);
    assert_stack(number, STACK_END_OUTERMOST, 0, {function, true, TRUST_REGISTERS},
                 {outermost_return, false, TRUST_CFI});
    /* Another thread in the same place is the same stack; one pc further it is another. */
    stack[200] = outermost_return;
    assert_int_equal(walk(function, slot(200), 0), number);
    assert_int_not_equal(walk(function + 1, slot(200), 0), number);
    struct walker_counts counts = walker_counts(walker);
    assert_int_equal(counts.plans, 3);
}

/* Frames that are known are stepped through in one go: the same stacks and counts as frame by frame. */
static void test_known_frames(void **state)
{
    (void)state;
    for (size_t i = 0; i < 20; i++)
        stack[100 + i] = i == 19 ? outermost_return : function_return;
    uint32_t number = walk(function, slot(100), 0);
    uint64_t hits = walker_trie(walker)->hits;
    assert_int_equal(walk(function, slot(100), 0), number);
    assert_int_equal(walker_trie(walker)->hits, hits + 21);
    /* They end where the first does that is not: at another end, in memory that is missing. */
    stack[110] = outermost_return;
    uint32_t shorter = walk(function, slot(100), 0);
    assert_int_not_equal(shorter, number);
    assert_int_equal(walker_trie(walker)->nodes[walker_trie(walker)->stacks[shorter].node].depth, 12);
    stack[110] = 0;
    assert_int_equal(walker_trie(walker)->stacks[walk(function, slot(100), 0)].end, STACK_END_ZERO);
    stack[stack_words - 1] = function_return;
    assert_int_equal(walker_trie(walker)->stacks[walk(function, slot(stack_words - 1), 0)].end,
                     STACK_END_MEMORY_MISSING);
}

static uint32_t find(struct walker *copy, uint64_t pc, uint64_t sp)
{
    struct registers registers = {.pc = pc, .known = (uint64_t)1 << arch_x86_64.sp};
    registers.values[arch_x86_64.sp] = sp;
    return walker_find(copy, &registers, true);
}

/* A copy finds what its walker knew, and makes nothing of what it did not. */
static void test_copy(void **state)
{
    (void)state;
    stack[100] = stack[200] = function_return;
    stack[101] = stack[201] = outermost_return;
    uint32_t number = walk(function, slot(100), 0);
    stack[300] = 0;
    walk(function, slot(300), 0);
    struct walker *copy = walker_copy(walker, &image.memory, &arena);
    stack[400] = outermost_return;
    uint32_t later = walk(function, slot(400), 0);
    size_t nodes = walker_trie(copy)->node_count;
    assert_int_equal(find(copy, function, slot(200)), number);
    assert_int_equal(find(copy, function, slot(300)), index_none); /* does not end outermost */
    assert_int_equal(find(copy, function, slot(400)), index_none);
    assert_int_equal(find(copy, function + 1, slot(200)), index_none);
    assert_int_equal(find(copy, function, stack_end), index_none);
    assert_int_equal(walker_trie(copy)->node_count, nodes);
    assert_int_equal(walk(function, slot(400), 0), later);
    uint64_t hits = walker_trie(walker)->hits;
    walker_count(walker, number);
    assert_int_equal(walker_trie(walker)->hits, hits + 3);
}

static void test_return_to_zero(void **state)
{
    (void)state;
    stack[100] = 0;
    assert_stack(walk(function, slot(100), 0), STACK_END_ZERO, 0, {function, true, TRUST_REGISTERS});
}

static void test_recursion(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3000; i++)
        stack[100 + i] = function_return;
    stack[3100] = outermost_return;
    uint32_t number = walk(function, slot(100), 0);
    const struct stack_trie *trie = walker_trie(walker);
    assert_int_equal(trie->stacks[number].end, STACK_END_OUTERMOST);
    assert_int_equal(trie->nodes[trie->stacks[number].node].depth, 3002);
}

/* rbp is followed through a frame that uses it, and restored for the one above. */
static void test_saved_register(void **state)
{
    (void)state;
    stack[100] = slot(300); /* saved rbp */
    stack[101] = by_frame_pointer_return;
    stack[300] = 0x1234;
    stack[301] = outermost_return;
    assert_stack(walk(by_frame_pointer, slot(90), slot(100)), STACK_END_OUTERMOST, 0,
                 {by_frame_pointer, true, TRUST_REGISTERS}, {by_frame_pointer_return, false, TRUST_CFI},
                 {outermost_return, false, TRUST_CFI});
}

static void test_missing_memory(void **state)
{
    (void)state;
    assert_stack(walk(function, 0x1000, 0), STACK_END_MEMORY_MISSING, 0x1000, {function, true, TRUST_REGISTERS});
    stack[stack_words - 1] = function_return; /* the last word; what would follow is not there */
    assert_stack(walk(function, slot(stack_words - 1), 0), STACK_END_MEMORY_MISSING, stack_end,
                 {function, true, TRUST_REGISTERS}, {function_return, false, TRUST_CFI});
    /* The last word cut to 4 bytes. */
    assert_stack(walk(function + 1, stack_end - 4, 0), STACK_END_MEMORY_MISSING, stack_end - 4,
                 {function + 1, true, TRUST_REGISTERS});
}

static void test_no_progress(void **state)
{
    (void)state;
    stack[100] = stuck_return;
    assert_stack(walk(stuck, slot(100), 0), STACK_END_NO_PROGRESS, slot(100), {stuck, true, TRUST_REGISTERS});
    /* A frame pointer that leads below the stack pointer. */
    stack[50] = slot(60);
    stack[51] = by_frame_pointer_return;
    assert_stack(walk(by_frame_pointer, slot(100), slot(50)), STACK_END_NO_PROGRESS, slot(100),
                 {by_frame_pointer, true, TRUST_REGISTERS});
    /* A chain that leads back to itself. */
    stack[100] = slot(100);
    stack[101] = by_frame_pointer_return;
    assert_stack(walk(by_frame_pointer, slot(90), slot(100)), STACK_END_NO_PROGRESS, slot(102),
                 {by_frame_pointer, true, TRUST_REGISTERS}, {by_frame_pointer_return, false, TRUST_CFI});
}

static void test_call_through_null(void **state)
{
    (void)state;
    stack[100] = outermost_return;
    assert_stack(walk(0, slot(100), 0), STACK_END_OUTERMOST, 0, {0, true, TRUST_REGISTERS},
                 {outermost_return, false, TRUST_CALL});
    /* Into the stack, which is not executable. */
    assert_stack(walk(slot(7), slot(100), 0), STACK_END_OUTERMOST, 0, {slot(7), true, TRUST_REGISTERS},
                 {outermost_return, false, TRUST_CALL});
    stack[100] = outermost_return + 1; /* no call ends there */
    assert_stack(walk(0, slot(100), 0), STACK_END_NO_UNWIND_DATA, 0, {0, true, TRUST_REGISTERS});
    assert_stack(walk(1, 0x1000, 0), STACK_END_MEMORY_MISSING, 0x1000, {1, true, TRUST_REGISTERS});
}

/* What a signal interrupted is exact: the first instruction of a function, before which no table has a row. */
static void test_signal_frame(void **state)
{
    (void)state;
    stack[100] = trampoline;
    stack[101] = function;
    stack[102] = outermost_return;
    assert_stack(walk(function + 3, slot(100), 0), STACK_END_OUTERMOST, 0, {function + 3, true, TRUST_REGISTERS},
                 {trampoline, true, TRUST_CFI}, {function, true, TRUST_CFI}, {outermost_return, false, TRUST_CFI});
}

/* A handler that interrupted a call through NULL. */
static void test_signal_frame_over_null(void **state)
{
    (void)state;
    stack[100] = trampoline;
    stack[101] = 0;
    stack[102] = outermost_return;
    assert_stack(walk(function, slot(100), 0), STACK_END_OUTERMOST, 0, {function, true, TRUST_REGISTERS},
                 {trampoline, true, TRUST_CFI}, {0, true, TRUST_CFI}, {outermost_return, false, TRUST_CALL});
}

static void test_frame_pointer_chain(void **state)
{
    (void)state;
    stack[100] = slot(200);
    stack[101] = bare_return;
    stack[200] = slot(300);
    stack[201] = outermost_return;
    assert_stack(walk(bare, slot(90), slot(100)), STACK_END_OUTERMOST, 0, {bare, true, TRUST_REGISTERS},
                 {bare_return, false, TRUST_FRAME_POINTER}, {outermost_return, false, TRUST_FRAME_POINTER});
    /* psABI: zeros mark the outermost frame */
    stack[200] = stack[201] = 0;
    assert_stack(walk(bare, slot(90), slot(100)), STACK_END_OUTERMOST, 0, {bare, true, TRUST_REGISTERS},
                 {bare_return, false, TRUST_FRAME_POINTER});
}

/* Registers of a thread that was not stopped: zeros stand in the places of unknown ones and must lead nowhere. */
static void test_unknown_registers(void **state)
{
    (void)state;
    struct thread thread = {.tid = 1, .registers = (const uint8_t *)raw, .registers_known = 1u << 7 | 1u << 16};
    raw[raw_rsp] = slot(90);
    raw[raw_rbp] = slot(100); /* right, but not known to be */
    stack[100] = slot(200);
    stack[101] = bare_return;
    raw[raw_rip] = bare;
    assert_stack(walk_thread(walker, &thread), STACK_END_NO_UNWIND_DATA, bare, {bare, true, TRUST_REGISTERS});
    raw[raw_rip] = by_frame_pointer;
    assert_stack(walk_thread(walker, &thread), STACK_END_NO_UNWIND_DATA, by_frame_pointer,
                 {by_frame_pointer, true, TRUST_REGISTERS});
    /* sp is enough where the rules say so, and does not make rbp known */
    raw[raw_rip] = function;
    stack[90] = by_frame_pointer_return;
    assert_stack(walk_thread(walker, &thread), STACK_END_NO_UNWIND_DATA, by_frame_pointer_return,
                 {function, true, TRUST_REGISTERS}, {by_frame_pointer_return, false, TRUST_CFI});
    stack[90] = outermost_return;
    assert_stack(walk_thread(walker, &thread), STACK_END_OUTERMOST, 0, {function, true, TRUST_REGISTERS},
                 {outermost_return, false, TRUST_CFI});
}

static void test_frame_pointer_is_checked(void **state)
{
    (void)state;
    stack[100] = slot(200);
    stack[101] = bare_return;
    static const struct {
        size_t sp_word, fp_word;
        uint64_t fp_add, return_address;
    } rows[] = {
        {90, 100, 4, bare_return},      /* not aligned */
        {101, 100, 0, bare_return},     /* below the stack pointer */
        {90, 100, 0, bare_return + 1},  /* no call ends there */
        {90, 100, 0, stack_words},      /* no code */
        {90, stack_words, 0, bare_return}, /* no memory */
        {90, stack_words - 1, 0, bare_return}, /* half of the pair */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        stack[101] = rows[i].return_address;
        assert_stack(walk(bare, slot(rows[i].sp_word), slot(rows[i].fp_word) + rows[i].fp_add),
                     STACK_END_NO_UNWIND_DATA, bare, {bare, true, TRUST_REGISTERS});
    }
}

static void test_no_registers(void **state)
{
    (void)state;
    uint32_t number = walk_thread(walker, &(struct thread){.tid = 1});
    const struct stack_trie *trie = walker_trie(walker);
    assert_int_equal(trie->stacks[number].end, STACK_END_NO_REGISTERS);
    assert_int_equal(trie->stacks[number].node, 0);
}

static void test_follows_call(void **state)
{
    (void)state;
    assert_true(walker_follows_call(walker, outermost_return));
    assert_false(walker_follows_call(walker, outermost_return - 1));
    assert_true(walker_follows_call(walker, bare_return));
    assert_false(walker_follows_call(walker, bare + 2));
    assert_false(walker_follows_call(walker, slot(8)));
    assert_false(walker_follows_call(walker, 0));
    assert_false(walker_follows_call(walker, 1));
    /* The first instruction of a mapping is a call; a return address may be the mapping's end. */
    memcpy(bare_code, "\xff\xd0", 2);
    assert_true(walker_follows_call(walker, bare + 2));
    memcpy(bare_code + sizeof bare_code - 2, "\xff\xd0", 2);
    assert_true(walker_follows_call(walker, bare + sizeof bare_code));
}

static void test_extend_and_adopt(void **state)
{
    (void)state;
    uint32_t number = walk(bare, slot(100), 0);
    assert_stack(number, STACK_END_NO_UNWIND_DATA, bare, {bare, true, TRUST_REGISTERS});
    const struct walker_frame frames[] = {{bare, true}, {outermost_return, false}};
    assert_stack(walker_extend(walker, number, frames + 1, 1, STACK_END_OUTERMOST), STACK_END_OUTERMOST, 0,
                 {bare, true, TRUST_REGISTERS}, {outermost_return, false, TRUST_LIBUNWIND});
    assert_stack(walker_adopt(walker, frames, 2, STACK_END_NO_UNWIND_DATA), STACK_END_NO_UNWIND_DATA, outermost_return,
                 {bare, true, TRUST_REGISTERS}, {outermost_return, false, TRUST_LIBUNWIND});
    uint32_t none = walker_adopt(walker, NULL, 0, STACK_END_OUTERMOST);
    assert_int_equal(walker_trie(walker)->stacks[none].end, STACK_END_NO_REGISTERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_frame, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(test_known_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_return_to_zero, setup, teardown),
        cmocka_unit_test_setup_teardown(test_recursion, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saved_register, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_progress, setup, teardown),
        cmocka_unit_test_setup_teardown(test_call_through_null, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signal_frame, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signal_frame_over_null, setup, teardown),
        cmocka_unit_test_setup_teardown(test_frame_pointer_chain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_frame_pointer_is_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_registers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_registers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_follows_call, setup, teardown),
        cmocka_unit_test_setup_teardown(test_extend_and_adopt, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
