/* SPDX-License-Identifier: Apache-2.0 */
/* Walking where calls leave the return address in a register (AArch64). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "literal_elf.h"
#include "unwind/walk.h"

#include <dwarf.h>
#include <elf.h>
#include <string.h>

/* A module with unwind tables, code without any, and a stack. Each function calls at + 0x10.
 *   0x401000 leaf: no frame                       0x401100 framed: 32 bytes, x29 and x30 at the bottom
 *   0x401200 outermost: no caller                 0x500000 code without tables
 *   0x501000 the kernel's trampoline, first in its mapping */
enum {
    module_start = 0x400000,
    leaf = 0x401000,
    leaf_return = 0x401014,
    framed = 0x401100,
    framed_return = 0x401114,
    outermost = 0x401200,
    outermost_return = 0x401214,
    bare = 0x500000,
    bare_return = 0x500014,
    trampoline = 0x501000,
    stack_words = 1024,
    fp = 29,
    link = 30,
    sp = 31,
    pc = 32,
    context_words = 39, /* of struct rt_sigframe before x0 */
};
static const uint64_t stack_start = 0x7ffd00000000, signature = 0x5b00000000000000;

static struct arena arena;
static struct diagnostics diagnostics;
static struct image image;
static struct mapping mappings[4];
static struct module module;
static struct literal_elf elf;
static uint32_t bare_code[16], trampoline_code[] = {0xd2801168, 0xd4000001};
static uint64_t stack[stack_words], raw[34];
static struct module_files *files;
static struct walker *walker;

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof(const uint8_t[]){__VA_ARGS__}

static bool find_start(void *context, uint64_t address, uint64_t *ret_start)
{
    (void)context;
    *ret_start = address & ~(uint64_t)0xff;
    return true;
}

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0, NULL);
    diagnostics_init(&diagnostics, &arena);
    memset(stack, 0, sizeof stack);
    memset(raw, 0, sizeof raw);
    literal_elf_init_of(&elf, EM_AARCH64, link);
    literal_elf_cie(&elf, "zR", BYTES(DW_CFA_def_cfa, sp, 0));
    literal_elf_fde(&elf, 0x1000, 0x20, BYTES(DW_CFA_nop));
    literal_elf_fde(&elf, 0x1100, 0x20, BYTES(DW_CFA_def_cfa_offset, 32, DW_CFA_offset + fp, 4, DW_CFA_offset + link, 3));
    literal_elf_fde(&elf, 0x1200, 0x20, BYTES(DW_CFA_undefined, link));
    const uint32_t call = 0x94000000;
    for (size_t at = 0x1010; at < 0x1300; at += 0x100)
        memcpy(elf.bytes + at, &call, sizeof call);
    memset(bare_code, 0, sizeof bare_code);
    bare_code[4] = call;

    image = (struct image){.arch = &arch_aarch64, .memory.arena = &arena, .mappings = mappings, .mapping_count = 4,
                           .modules = &module, .module_count = 1};
    module = (struct module){.path = TEXT("[vdso]"), .start = module_start, .end = module_start + literal_elf_bytes,
                             .bias = module_start, .bias_known = true, .is_vdso = true, .is_elf = true};
    mappings[0] = (struct mapping){module_start, module_start + literal_elf_bytes, 0, TEXT("[vdso]"), 0,
                                   MAPPING_READ | MAPPING_EXECUTE};
    mappings[1] = (struct mapping){bare, bare + sizeof bare_code, 0, TEXT("/jit"), index_none,
                                   MAPPING_READ | MAPPING_EXECUTE};
    mappings[2] = (struct mapping){trampoline, trampoline + sizeof trampoline_code, 0, TEXT(""), index_none,
                                   MAPPING_READ | MAPPING_EXECUTE};
    mappings[3] = (struct mapping){stack_start, stack_start + sizeof stack, 0, TEXT("[stack]"), index_none,
                                   MAPPING_READ | MAPPING_WRITE};
    const void *bytes[] = {elf.bytes, bare_code, trampoline_code, stack};
    for (int i = 0; i < 4; i++)
        memory_layer_append(&image.memory, &image.memory.core,
                            (struct memory_range){mappings[i].start, mappings[i].end, bytes[i]});
    files = module_files_new(&image, &(struct module_file_options){0}, &arena, &diagnostics);
    walker = walker_new(&image, files, (struct function_starts){find_start, NULL}, &arena);
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
    enum frame_trust trust;
};

static uint32_t walk(uint64_t at, uint64_t stack_pointer, uint64_t return_address, uint64_t frame_pointer)
{
    raw[pc] = at;
    raw[sp] = stack_pointer;
    raw[link] = return_address;
    raw[fp] = frame_pointer;
    return walk_thread(walker, &(struct thread){.tid = 1, .registers = (const uint8_t *)raw});
}

#define assert_stack(number, end, ...)                                                                                \
    assert_stack_is(number, end, (const struct expected[]){__VA_ARGS__},                                               \
                    sizeof(const struct expected[]){__VA_ARGS__} / sizeof(struct expected))

static void assert_stack_is(uint32_t number, enum stack_end end, const struct expected *expected, size_t count)
{
    const struct stack_trie *trie = walker_trie(walker);
    const struct trie_stack *found = &trie->stacks[number];
    assert_string_equal(stack_end_name(found->end), stack_end_name(end));
    assert_int_equal(trie->nodes[found->node].depth, count);
    uint32_t node = found->node;
    for (size_t i = count; i-- > 0; node = trie->nodes[node].parent) {
        assert_int_equal(trie->nodes[node].pc, expected[i].pc);
        assert_string_equal(frame_trust_name(trie->nodes[node].trust), frame_trust_name(expected[i].trust));
    }
}

static void save_frame(size_t word, uint64_t frame_pointer, uint64_t return_address)
{
    stack[word] = frame_pointer;
    stack[word + 1] = return_address;
}

static void test_leaf(void **state)
{
    (void)state;
    save_frame(100, 0, outermost_return);
    assert_stack(walk(leaf, slot(100), framed_return, 0), STACK_END_OUTERMOST, {leaf, TRUST_REGISTERS},
                 {framed_return, TRUST_CFI}, {outermost_return, TRUST_CFI});
}

static void test_signed_addresses(void **state)
{
    (void)state;
    save_frame(100, 0, outermost_return | signature);
    assert_stack(walk(leaf, slot(100), framed_return | signature, 0), STACK_END_OUTERMOST, {leaf, TRUST_REGISTERS},
                 {framed_return, TRUST_CFI}, {outermost_return, TRUST_CFI});
}

/* A caller's return address is never the register's: the call under way has overwritten it. */
static void test_register_counts_once(void **state)
{
    (void)state;
    save_frame(100, 0, leaf_return);
    assert_stack(walk(framed, slot(100), outermost_return, 0), STACK_END_NO_UNWIND_DATA, {framed, TRUST_REGISTERS},
                 {leaf_return, TRUST_CFI});
}

static void test_call_through_null(void **state)
{
    (void)state;
    save_frame(100, 0, outermost_return);
    assert_stack(walk(0, slot(100), framed_return, 0), STACK_END_OUTERMOST, {0, TRUST_REGISTERS},
                 {framed_return, TRUST_CALL}, {outermost_return, TRUST_CFI});
}

/* The frame record says nothing of the caller's stack pointer: frames above go by the chain too. */
static void test_frame_pointer(void **state)
{
    (void)state;
    save_frame(110, slot(140), framed_return);
    save_frame(140, 0, outermost_return);
    assert_stack(walk(bare + 8, slot(100), bare_return, slot(110)), STACK_END_OUTERMOST, {bare + 8, TRUST_REGISTERS},
                 {framed_return, TRUST_FRAME_POINTER}, {outermost_return, TRUST_FRAME_POINTER});
    stack[111] |= signature;
    assert_stack(walk(bare + 12, slot(100), bare_return, slot(110)), STACK_END_OUTERMOST, {bare + 12, TRUST_REGISTERS},
                 {framed_return, TRUST_FRAME_POINTER}, {outermost_return, TRUST_FRAME_POINTER});
}

/* Code without tables that has called nothing yet: its frame is not made, the register leads to the caller. */
static void test_leaf_without_table(void **state)
{
    (void)state;
    save_frame(140, 0, outermost_return);
    assert_stack(walk(bare + 8, slot(100), framed_return, slot(140)), STACK_END_OUTERMOST, {bare + 8, TRUST_REGISTERS},
                 {framed_return, TRUST_CODE}, {outermost_return, TRUST_FRAME_POINTER});
}

static void test_signal(void **state)
{
    (void)state;
    size_t frame = 200; /* the handler's caller finds struct rt_sigframe there */
    save_frame(196, 0, trampoline);
    uint64_t *registers = &stack[frame + context_words];
    registers[pc] = leaf + 4;
    registers[sp] = slot(100);
    registers[link] = framed_return;
    save_frame(100, 0, outermost_return);
    assert_stack(walk(framed, slot(196), 0, 0), STACK_END_OUTERMOST, {framed, TRUST_REGISTERS}, {trampoline, TRUST_CFI},
                 {leaf + 4, TRUST_SIGNAL_FRAME}, {framed_return, TRUST_CFI}, {outermost_return, TRUST_CFI});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_leaf, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signed_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_register_counts_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_call_through_null, setup, teardown),
        cmocka_unit_test_setup_teardown(test_frame_pointer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leaf_without_table, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signal, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
