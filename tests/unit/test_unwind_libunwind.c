/* SPDX-License-Identifier: Apache-2.0 */
/* The libunwind child on literal stacks. None of them has a module: what is held here is the child, its answers and
 * its end, and the steps that need no unwind data. The rest is held by the comparisons on real cores. */
#include "unwind/unwind_libunwind.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/user.h>

#include <cmocka.h>

enum { code = 0x401000, stack = 0x7ff000, bad = 0x900000 };

static const struct arch *const arch = &arch_x86_64;

struct literal {
    struct arena arena;
    struct diagnostics diagnostics;
    struct image image;
    uint8_t code[64];
    uint64_t stack[16];
    struct mapping mappings[1];
    struct user_regs_struct registers[3];
    struct thread threads[3];
};

static struct literal *literal_new(void)
{
    static struct literal literal;
    memset(&literal, 0, sizeof literal);
    arena_init(&literal.arena, 0, NULL);
    diagnostics_init(&literal.diagnostics, &literal.arena);
    struct image *image = &literal.image;
    image->arch = arch;
    image->memory.arena = &literal.arena;
    image->mappings = literal.mappings;
    image->mapping_count = 1;
    literal.mappings[0] = (struct mapping){.start = code,
                                           .end = code + sizeof literal.code,
                                           .module = index_none,
                                           .access = MAPPING_READ | MAPPING_EXECUTE};
    memset(literal.code, 0xe8, sizeof literal.code); /* five bytes of it are a call, wherever one looks */
    memory_layer_append(&image->memory, &image->memory.core,
                        (struct memory_range){code, code + sizeof literal.code, literal.code});
    memory_layer_append(&image->memory, &image->memory.core,
                        (struct memory_range){stack, stack + sizeof literal.stack, (uint8_t *)literal.stack});
    image->threads = literal.threads;
    return &literal;
}

static void literal_thread(struct literal *literal, uint64_t pc, uint64_t sp, uint64_t fp)
{
    size_t i = literal->image.thread_count++;
    literal->registers[i] = (struct user_regs_struct){.rip = pc, .rsp = sp, .rbp = fp};
    literal->threads[i] = (struct thread){.tid = 100 + (uint32_t)i, .registers = (uint8_t *)&literal->registers[i]};
}

static void literal_unwind(struct literal *literal, struct libunwind_stack *ret_stacks)
{
    static const uint32_t indices[] = {0, 1, 2};
    assert_true(unwind_libunwind_run(&literal->image, NULL, indices, literal->image.thread_count, &literal->arena,
                                     &literal->diagnostics, ret_stacks));
}

static void assert_frame(const struct libunwind_stack *got, size_t at, uint64_t pc, bool exact)
{
    assert_true(got->frame_count > at);
    assert_int_equal(got->frames[at].pc, pc);
    assert_int_equal(got->frames[at].exact, exact);
}

static void test_frame_pointers_without_unwind_data(void **state)
{
    (void)state;
    struct literal *literal = literal_new();
    literal->stack[4] = stack + 8 * 8; /* a frame: the caller's frame pointer, the return address */
    literal->stack[5] = code + 16;
    literal_thread(literal, code + 8, stack, stack + 4 * 8);
    struct libunwind_stack got;
    literal_unwind(literal, &got);
    assert_true(got.done);
    assert_int_equal(got.frame_count, 2);
    assert_frame(&got, 0, code + 8, true);
    assert_frame(&got, 1, code + 16, false);
    assert_false(got.outermost);
    arena_deinit(&literal->arena);
}

static void test_call_through_null_steps_to_its_caller(void **state)
{
    (void)state;
    struct literal *literal = literal_new();
    literal->stack[0] = code + 24;
    literal->stack[4] = stack + 8 * 8;
    literal->stack[5] = code + 16;
    literal_thread(literal, 0, stack, stack + 4 * 8);
    struct libunwind_stack got;
    literal_unwind(literal, &got);
    assert_int_equal(got.frame_count, 3);
    assert_frame(&got, 0, 0, true);
    assert_frame(&got, 1, code + 24, false);
    /* The frame pointer was the caller's all along. */
    assert_frame(&got, 2, code + 16, false);
    arena_deinit(&literal->arena);
}

static void test_return_address_after_no_call_is_not_taken(void **state)
{
    (void)state;
    struct literal *literal = literal_new();
    memset(literal->code, 0x90, sizeof literal->code);
    literal->stack[0] = code + 24;
    literal_thread(literal, 0, stack, 0);
    struct libunwind_stack got;
    literal_unwind(literal, &got);
    assert_int_equal(got.frame_count, 1);
    assert_false(got.outermost);
    arena_deinit(&literal->arena);
}

static void test_crash_costs_one_thread(void **state)
{
    (void)state;
    struct literal *literal = literal_new();
    uint8_t *trap = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(trap != MAP_FAILED);
    memory_layer_append(&literal->image.memory, &literal->image.memory.core,
                        (struct memory_range){bad, bad + 4096, trap});
    literal_thread(literal, code + 8, stack, 0);
    literal_thread(literal, 0, bad, 0);
    literal_thread(literal, code + 9, stack, 0);
    struct libunwind_stack got[3];
    literal_unwind(literal, got);
    assert_true(got[0].done);
    assert_false(got[1].done);
    assert_int_equal(got[1].frame_count, 0);
    assert_true(got[2].done);
    assert_frame(&got[2], 0, code + 9, true);
    assert_int_equal(literal->diagnostics.count, 1);
    assert_string_equal(literal->diagnostics.entries[0].code, "libunwind-ended");
    assert_non_null(strstr(literal->diagnostics.entries[0].message, "signal 11 at thread 101"));
    munmap(trap, 4096);
    arena_deinit(&literal->arena);
}

static void test_thread_without_registers_has_no_frames(void **state)
{
    (void)state;
    struct literal *literal = literal_new();
    literal_thread(literal, code + 8, stack, 0);
    literal->threads[0].registers = NULL;
    struct libunwind_stack got;
    literal_unwind(literal, &got);
    assert_true(got.done);
    assert_int_equal(got.frame_count, 0);
    assert_int_equal(literal->diagnostics.count, 0);
    arena_deinit(&literal->arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_pointers_without_unwind_data),
        cmocka_unit_test(test_call_through_null_steps_to_its_caller),
        cmocka_unit_test(test_return_address_after_no_call_is_not_taken),
        cmocka_unit_test(test_crash_costs_one_thread),
        cmocka_unit_test(test_thread_without_registers_has_no_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
