/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "unwind/unwind_code.h"

#include <string.h>

enum { rbx = 3, rbp = 6, rsp = 7, r12 = 12 };

static struct arena arena;
static struct memory memory;
static const uint64_t code_base = 0x401000;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0, NULL);
    memory = (struct memory){.arena = &arena};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static void load(const uint8_t *code, size_t count)
{
    memory.core = (struct memory_layer){0};
    memory_layer_append(&memory, &memory.core, (struct memory_range){code_base, code_base + count, code});
}

#define CODE(...)                                                                                                      \
    do {                                                                                                               \
        static const uint8_t code[] = {__VA_ARGS__};                                                                   \
        load(code, sizeof code);                                                                                       \
    } while (0)

static struct unwind_plan only_to_return(uint64_t offset)
{
    struct unwind_plan plans[code_candidates_max];
    assert_int_equal(unwind_code_to_return(&memory, &arch_x86_64, code_base + offset, plans), 1);
    assert_int_equal(plans[0].kind, PLAN_SIMPLE);
    assert_int_equal(plans[0].return_address_offset, -8);
    return plans[0];
}

static struct unwind_plan from_entry(uint64_t offset)
{
    struct unwind_plan plan;
    assert_true(unwind_code_from_entry(&memory, &arch_x86_64, code_base, code_base + offset, &plan));
    assert_int_equal(plan.kind, PLAN_SIMPLE);
    assert_int_equal(plan.return_address_offset, -8);
    return plan;
}

enum { not_saved = 1 };

/* Where the caller's value lies, from the CFA; not_saved: it is still in the register. */
static int saved_at(const struct unwind_plan *plan, unsigned number)
{
    assert_false(plan->undefined >> number & 1);
    for (unsigned i = 0; i < plan->saved_count; i++)
        if (plan->saved[i].register_number == number)
            return plan->saved[i].offset;
    return not_saved;
}

static void assert_cfa(struct unwind_plan plan, unsigned number, int offset)
{
    assert_int_equal(plan.cfa_register, number);
    assert_int_equal(plan.cfa_offset, offset);
}

static void test_leaf(void **state)
{
    (void)state;
    CODE(0x0f, 0x05, /* syscall */
         0xc3);      /* ret */
    assert_cfa(only_to_return(0), rsp, 8);
    assert_cfa(only_to_return(2), rsp, 8);
    assert_cfa(from_entry(0), rsp, 8);
    assert_cfa(from_entry(2), rsp, 8);
    assert_int_equal(only_to_return(0).saved_count, 0);
    assert_int_equal(only_to_return(0).undefined, 0);
}

/* The stack at each instruction of one function, both ways. */
static void test_push_and_sub(void **state)
{
    (void)state;
    CODE(0x41, 0x54,             /* 0 push %r12 */
         0x53,                   /* 2 push %rbx */
         0x48, 0x83, 0xec, 0x28, /* 3 sub $40,%rsp */
         0x48, 0x89, 0xfb,       /* 7 mov %rdi,%rbx */
         0x45, 0x31, 0xe4,       /* 10 xor %r12d,%r12d */
         0x0f, 0x05,             /* 13 syscall */
         0x48, 0x83, 0xc4, 0x28, /* 15 add $40,%rsp */
         0x5b,                   /* 19 pop %rbx */
         0x41, 0x5c,             /* 20 pop %r12 */
         0xc3);                  /* 22 ret */
    static const struct {
        uint64_t at;
        int cfa, r12_saved, rbx_saved; /* on the way to the return: what will be popped */
    } rows[] = {{0, 8, not_saved, not_saved},  {2, 16, -16, not_saved}, {3, 24, -16, -24}, {7, 64, -16, -24},
                {15, 64, -16, -24},            {19, 24, -16, -24},      {20, 16, -16, not_saved},
                {22, 8, not_saved, not_saved}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct unwind_plan plan = only_to_return(rows[i].at);
        assert_cfa(plan, rsp, rows[i].cfa);
        assert_int_equal(saved_at(&plan, r12), rows[i].r12_saved);
        assert_int_equal(saved_at(&plan, rbx), rows[i].rbx_saved);
        assert_int_equal(saved_at(&plan, rbp), not_saved);
        assert_cfa(from_entry(rows[i].at), rsp, rows[i].cfa);
    }
    struct unwind_plan plan = from_entry(13);
    assert_int_equal(saved_at(&plan, r12), -16);
    assert_int_equal(saved_at(&plan, rbx), -24);
    plan = from_entry(22);
    assert_int_equal(saved_at(&plan, r12), not_saved);
    assert_int_equal(saved_at(&plan, rbx), not_saved);
}

static void test_frame_pointer_and_leave(void **state)
{
    (void)state;
    CODE(0x55,                   /* 0 push %rbp */
         0x48, 0x89, 0xe5,       /* 1 mov %rsp,%rbp */
         0x48, 0x83, 0xec, 0x10, /* 4 sub $16,%rsp */
         0x90,                   /* 8 nop */
         0xc9,                   /* 9 leave */
         0xc3);                  /* 10 ret */
    struct unwind_plan plan = only_to_return(8);
    assert_cfa(plan, rbp, 16);
    assert_int_equal(saved_at(&plan, rbp), -16);
    assert_cfa(only_to_return(0), rsp, 8);
    /* Nothing is saved yet: the register itself has the caller's value. */
    plan = only_to_return(0);
    assert_int_equal(saved_at(&plan, rbp), not_saved);
    plan = only_to_return(1);
    assert_cfa(plan, rsp, 16);
    assert_int_equal(saved_at(&plan, rbp), -16);
    plan = from_entry(8);
    assert_cfa(plan, rsp, 32);
    assert_int_equal(saved_at(&plan, rbp), -16);
    plan = from_entry(10);
    assert_cfa(plan, rsp, 8);
    assert_int_equal(saved_at(&plan, rbp), not_saved);
}

/* The stack pointer by an amount that only run time knows; rbp leads back. */
static void test_alloca(void **state)
{
    (void)state;
    CODE(0x55,                               /* 0 push %rbp */
         0x48, 0x89, 0xe5,                   /* 1 mov %rsp,%rbp */
         0x53,                               /* 4 push %rbx */
         0x48, 0x29, 0xfc,                   /* 5 sub %rdi,%rsp */
         0x48, 0x83, 0xe4, 0xf0,             /* 8 and $-16,%rsp */
         0xe8, 0x00, 0x00, 0x00, 0x00,       /* 12 call */
         0x48, 0x8b, 0x5d, 0xf8,             /* 17 mov -8(%rbp),%rbx */
         0xc9,                               /* 21 leave */
         0xc3);                              /* 22 ret */
    struct unwind_plan plan = only_to_return(17);
    assert_cfa(plan, rbp, 16);
    assert_int_equal(saved_at(&plan, rbp), -16);
    assert_int_equal(saved_at(&plan, rbx), -24);
    plan = from_entry(17);
    assert_cfa(plan, rbp, 16);
    assert_int_equal(saved_at(&plan, rbp), -16);
    assert_int_equal(saved_at(&plan, rbx), not_saved); /* pushed, but not changed yet */
}

/* Two exits that leave the stack differently deep: one of them must be wrong, both are candidates. */
static void test_two_exits(void **state)
{
    (void)state;
    CODE(0x85, 0xc0,             /* 0 test %eax,%eax */
         0x74, 0x05,             /* 2 je 9 */
         0x48, 0x83, 0xc4, 0x18, /* 4 add $24,%rsp */
         0xc3,                   /* 8 ret */
         0x48, 0x83, 0xc4, 0x28, /* 9 add $40,%rsp */
         0xc3);                  /* 13 ret */
    struct unwind_plan plans[code_candidates_max];
    assert_int_equal(unwind_code_to_return(&memory, &arch_x86_64, code_base, plans), 2);
    assert_cfa(plans[0], rsp, 32); /* the straightest first */
    assert_cfa(plans[1], rsp, 48);
    /* Equal exits are one candidate. */
    CODE(0x85, 0xc0, 0x74, 0x01, 0xc3, 0xc3);
    assert_cfa(only_to_return(0), rsp, 8);
}

/* A loop without an exit, and one that has one. */
static void test_loops(void **state)
{
    (void)state;
    struct unwind_plan plans[code_candidates_max];
    CODE(0xeb, 0xfe); /* jmp . */
    assert_int_equal(unwind_code_to_return(&memory, &arch_x86_64, code_base, plans), 0);
    CODE(0x50,       /* 0 push %rax: each round deeper, on one visit */
         0x75, 0xfd, /* 1 jne 0 */
         0x58,       /* 3 pop %rax */
         0xc3);      /* 4 ret */
    assert_cfa(only_to_return(1), rsp, 16);
}

static void test_tail_jump(void **state)
{
    (void)state;
    CODE(0x48, 0x83, 0xc4, 0x08, /* 0 add $8,%rsp */
         0xeb, 0x02,             /* 4 jmp 8 */
         0x0f, 0x0b,             /* 6 ud2 */
         0x53,                   /* 8 push %rbx */
         0x31, 0xdb,             /* 9 xor %ebx,%ebx */
         0x5b,                   /* 11 pop %rbx */
         0xc3);                  /* 12 ret */
    struct unwind_plan plan = only_to_return(0);
    assert_cfa(plan, rsp, 16);
    assert_int_equal(saved_at(&plan, rbx), not_saved);
}

/* A PLT stub: the pointer beside the code is read from memory. */
static void test_jump_through_pointer(void **state)
{
    (void)state;
    CODE(0xff, 0x25, 0x0a, 0x00, 0x00, 0x00,             /* 0 jmp *10(%rip), at 16 */
         0x0f, 0x0b,                                     /* 6 ud2 */
         0x48, 0x83, 0xc4, 0x10,                         /* 8 add $16,%rsp */
         0xc3,                                           /* 12 ret */
         0xcc, 0xcc, 0xcc,                               /* 13 */
         0x08, 0x10, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00, /* 16: 0x401008 */
         0xff, 0x25, 0x00, 0x10, 0x00, 0x00);            /* 24 jmp through a pointer that is missing */
    assert_cfa(only_to_return(0), rsp, 24);
    struct unwind_plan plans[code_candidates_max];
    assert_int_equal(unwind_code_to_return(&memory, &arch_x86_64, code_base + 24, plans), 0);
}

/* A call keeps rsp and the registers that the ABI names; the stepped-over callee is not entered. */
static void test_call_then_return(void **state)
{
    (void)state;
    CODE(0x53,                         /* 0 push %rbx */
         0xe8, 0x02, 0x00, 0x00, 0x00, /* 1 call 8 */
         0x5b,                         /* 6 pop %rbx */
         0xc3,                         /* 7 ret */
         0x48, 0x83, 0xc4, 0x40,       /* 8 add $64,%rsp */
         0xc3);                        /* 12 ret */
    struct unwind_plan plan = only_to_return(1);
    assert_cfa(plan, rsp, 16);
    assert_int_equal(saved_at(&plan, rbx), -16);
    plan = from_entry(6);
    assert_cfa(plan, rsp, 16);
    assert_int_equal(saved_at(&plan, rbx), not_saved); /* pushed only to align: it still has its value */
    /* rsp through a register that calls may change is lost: no candidate. */
    CODE(0x48, 0x89, 0xe1,             /* mov %rsp,%rcx */
         0xe8, 0x00, 0x00, 0x00, 0x00, /* call */
         0x48, 0x89, 0xcc,             /* mov %rcx,%rsp */
         0xc3);
    struct unwind_plan plans[code_candidates_max];
    assert_int_equal(unwind_code_to_return(&memory, &arch_x86_64, code_base, plans), 0);
}

/* Saved, restored and then a second call: the slot is below the stack by then, the register has the value. */
static void test_restored_before_pc(void **state)
{
    (void)state;
    CODE(0x55,                         /* 0 push %rbp */
         0x31, 0xed,                   /* 1 xor %ebp,%ebp */
         0x5d,                         /* 3 pop %rbp */
         0xe8, 0x00, 0x00, 0x00, 0x00, /* 4 call */
         0xc3);                        /* 9 ret */
    struct unwind_plan plan = from_entry(9);
    assert_cfa(plan, rsp, 8);
    assert_int_equal(saved_at(&plan, rbp), not_saved);
}

/* Changed without being saved: its value is lost, not invented. */
static void test_clobbered(void **state)
{
    (void)state;
    CODE(0x31, 0xdb,  /* 0 xor %ebx,%ebx */
         0x90,        /* 2 nop */
         0xc3);       /* 3 ret */
    struct unwind_plan plan = from_entry(2);
    assert_int_equal(plan.undefined, 1u << rbx);
    plan = only_to_return(0);
    assert_int_equal(plan.undefined, 1u << rbx);
}

static void test_from_entry_refuses(void **state)
{
    (void)state;
    struct unwind_plan plan;
    CODE(0xeb, 0x01, 0x90, 0xc3); /* jmp 3; nop; ret: no path leads to the nop */
    assert_false(unwind_code_from_entry(&memory, &arch_x86_64, code_base, code_base + 2, &plan));
    assert_true(unwind_code_from_entry(&memory, &arch_x86_64, code_base, code_base + 3, &plan));
    assert_false(unwind_code_from_entry(&memory, &arch_x86_64, 0x500000, code_base, &plan)); /* not at hand */
    CODE(0x48, 0x89, 0xfc, 0x90, 0xc3); /* mov %rdi,%rsp: where is the return address? */
    assert_false(unwind_code_from_entry(&memory, &arch_x86_64, code_base, code_base + 3, &plan));
    CODE(0x48, 0x83, 0xc4, 0x08, 0x90); /* add $8,%rsp: above its own return address */
    assert_false(unwind_code_from_entry(&memory, &arch_x86_64, code_base, code_base + 4, &plan));
}

static void test_damaged_code(void **state)
{
    (void)state;
    struct unwind_plan plans[code_candidates_max];
    CODE(0x06, 0xc3); /* no instruction in 64-bit mode */
    assert_int_equal(unwind_code_to_return(&memory, &arch_x86_64, code_base, plans), 0);
    CODE(0x90, 0x48, 0x83); /* cut */
    assert_int_equal(unwind_code_to_return(&memory, &arch_x86_64, code_base, plans), 0);
    assert_int_equal(unwind_code_to_return(&memory, &arch_x86_64, 0x12345, plans), 0);
    CODE(0xf4, 0xc3); /* hlt */
    assert_int_equal(unwind_code_to_return(&memory, &arch_x86_64, code_base, plans), 0);
}

static void test_call_target(void **state)
{
    (void)state;
    uint64_t target = 0;
    CODE(0xe8, 0x10, 0x00, 0x00, 0x00,                    /* 0 call 0x401015 */
         0xff, 0x15, 0x03, 0x00, 0x00, 0x00,              /* 5 call *3(%rip), at 14 */
         0xff, 0xd0, 0x90,                                /* 11 call *%rax */
         0x78, 0x56, 0x34, 0x12, 0x00, 0x00, 0x00, 0x00); /* 14 */
    assert_true(unwind_code_call_target(&memory, &arch_x86_64, code_base + 5, &target));
    assert_int_equal(target, code_base + 0x15);
    assert_true(unwind_code_call_target(&memory, &arch_x86_64, code_base + 11, &target));
    assert_int_equal(target, 0x12345678);
    assert_false(unwind_code_call_target(&memory, &arch_x86_64, code_base + 13, &target));
    assert_false(unwind_code_call_target(&memory, &arch_x86_64, code_base, &target));
    assert_false(unwind_code_call_target(&memory, &arch_x86_64, 0, &target));
    CODE(0xe8, 0xf0, 0xff, 0xff, 0xff); /* backwards */
    assert_true(unwind_code_call_target(&memory, &arch_x86_64, code_base + 5, &target));
    assert_int_equal(target, code_base + 5 - 16);
}

/* A call that never returns, and nothing but padding up to the next function. */
static void test_padding(void **state)
{
    (void)state;
    CODE(0xe8, 0x00, 0x00, 0x00, 0x00,                               /* 0 call abort */
         0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00, /* 5 nopw */
         0x90,                                                       /* 15 nop */
         0xe8, 0x00, 0x00, 0x00, 0x00,                               /* 16 call */
         0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, /* 21 int3 */
         0xe8, 0x00, 0x00, 0x00, 0x00,                               /* 32 call */
         0x90, 0xc3);                                                /* 37 nop; ret */
    assert_true(unwind_code_is_padding(&memory, &arch_x86_64, code_base + 5));
    assert_true(unwind_code_is_padding(&memory, &arch_x86_64, code_base + 15));
    assert_true(unwind_code_is_padding(&memory, &arch_x86_64, code_base + 16)); /* none is needed */
    assert_true(unwind_code_is_padding(&memory, &arch_x86_64, code_base + 21));
    assert_false(unwind_code_is_padding(&memory, &arch_x86_64, code_base + 37));
    assert_false(unwind_code_is_padding(&memory, &arch_x86_64, code_base + 39)); /* not at hand */
}

static void test_thread_exit(void **state)
{
    (void)state;
    CODE(0x89, 0xc7,                   /* 0 mov %eax,%edi */
         0x31, 0xc0,                   /* 2 xor %eax,%eax */
         0xb0, 0x3c,                   /* 4 mov $60,%al */
         0x0f, 0x05,                   /* 6 syscall */
         0xf4,                         /* 8 hlt */
         0x0f, 0x05, 0xc3,             /* 9 syscall; ret */
         0xe8, 0x00, 0x00, 0x00, 0x00, /* 12 call */
         0x0f, 0x05, 0xf4);            /* 17 syscall; hlt */
    assert_true(unwind_code_is_thread_exit(&memory, &arch_x86_64, code_base));
    assert_true(unwind_code_is_thread_exit(&memory, &arch_x86_64, code_base + 17));
    assert_false(unwind_code_is_thread_exit(&memory, &arch_x86_64, code_base + 8));
    assert_false(unwind_code_is_thread_exit(&memory, &arch_x86_64, code_base + 9));
    assert_false(unwind_code_is_thread_exit(&memory, &arch_x86_64, code_base + 12));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaf),
        cmocka_unit_test(test_push_and_sub),
        cmocka_unit_test(test_frame_pointer_and_leave),
        cmocka_unit_test(test_alloca),
        cmocka_unit_test(test_two_exits),
        cmocka_unit_test(test_loops),
        cmocka_unit_test(test_tail_jump),
        cmocka_unit_test(test_jump_through_pointer),
        cmocka_unit_test(test_call_then_return),
        cmocka_unit_test(test_restored_before_pc),
        cmocka_unit_test(test_clobbered),
        cmocka_unit_test(test_from_entry_refuses),
        cmocka_unit_test(test_damaged_code),
        cmocka_unit_test(test_call_target),
        cmocka_unit_test(test_padding),
        cmocka_unit_test(test_thread_exit),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
