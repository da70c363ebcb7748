/* SPDX-License-Identifier: Apache-2.0 */
/* What the rest must know of a processor architecture under Linux. Adding one means one const struct arch in
 * arch_NAME.c and a row in arch_find(); this header is the checklist:
 *   - the layout of struct elf_prstatus in NT_PRSTATUS (core(5); kernel include/linux/elfcore.h, struct elf_prstatus);
 *   - DWARF register numbers (the psABI's "DWARF Register Number Mapping");
 *   - which registers a call preserves;
 *   - how a call instruction ends, to tell return addresses from chance, and where it leaves the return address;
 *   - where a blocked system call's number and arguments stand.
 * What no row tells is not done for an architecture: following code without unwind data (unwind/unwind_code.c), names of PLT
 * entries (symbol/symbol_plt.c), libunwind's help, libc's thread blocks (waits/wait_threads.c) know x86-64 alone. */
#ifndef SG_ARCH_ARCH_H
#define SG_ARCH_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { arch_registers_max = 33 };

/* Registers of one frame by DWARF number. A register whose bit in `known` is clear is unknown, not zero. */
struct registers {
    uint64_t values[arch_registers_max];
    uint64_t pc;
    uint64_t known; /* bit n: values[n] is known */
};

/* The system call that a stopped thread stands in. */
struct system_call {
    int64_t number;
    uint64_t arguments[6];
    bool blocked; /* the result register says that it was interrupted while it waited (-ERESTART…, -EINTR) */
    bool may_be_over; /* not blocked, as far as can be seen, but nothing says that it has returned either */
};

struct arch {
    const char *name;     /* as in uname -m */
    uint16_t elf_machine; /* e_machine */
    uint8_t register_count;
    uint8_t sp, fp;               /* DWARF numbers */
    uint8_t return_address;       /* DWARF column */
    uint64_t callee_saved;        /* bits by DWARF number: kept across a call when CFI is silent */
    int8_t call_return_offset;    /* where a call left the return address, relative to the CFA; 0: in `return_address` */
    uint64_t return_address_mask; /* the bits of a return address; in the others a signature may stand */
    size_t prstatus_size_bytes;   /* of the whole note */
    size_t prstatus_cursig;       /* offsets in it: u16 */
    size_t prstatus_pid;          /* u32 */
    size_t prstatus_utime;        /* struct timeval, u64 seconds, u64 microseconds */
    size_t prstatus_stime;
    size_t prstatus_registers;    /* struct user_regs_struct or the like */
    size_t registers_size_bytes;
    /* The 64-bit words of the registers in their order, by the names that debuggers give them. */
    const struct arch_raw_register {
        const char *name;
        bool needed; /* for unwinding and waits */
    } * raw_registers;
    size_t raw_register_count;

    /* `raw` is registers_size_bytes long, as in NT_PRSTATUS and PTRACE_GETREGSET. */
    void (*registers_decode)(const uint8_t *raw, struct registers *ret_registers);
    /* False when the thread is not inside a system call. image.h's thread_system_call asks this and what follows. */
    bool (*system_call_decode)(const uint8_t *raw, struct system_call *ret_call);
    /* Where the registers do not tell, NULL elsewhere: by the instruction before the pc and the one at it (0: not at hand),
     * whether the thread is inside of what was decoded; sets call->blocked. */
    bool (*system_call_confirm)(uint32_t before, uint32_t at, struct system_call *call);
    /* The raw registers of a thread of which only this is known: it waits in the call (number -1: outside of any) with
     * this stack pointer and pc. What is not known is zero; returns the bits of what is, as in `known`. */
    uint64_t (*registers_encode)(const struct system_call *call, uint64_t sp, uint64_t pc, uint8_t *ret_raw);
    /* Whether the bytes before a return address end in a call instruction; `count` of them are at hand (up to 8 are
     * looked at), `bytes` points just past the last. */
    bool (*call_precedes)(const uint8_t *bytes, size_t count);
    /* How many bytes above the stack pointer the kernel left the interrupted registers, when the code at the pc is the
     * trampoline that ends a signal handler; 0 when it is not. `count` bytes are at hand (16 are enough). */
    size_t (*signal_context_offset)(const uint8_t *code, size_t count);
    /* Decodes those registers: signal_context_bytes of them. */
    void (*signal_context_decode)(const uint8_t *raw, struct registers *ret_registers);
    size_t signal_context_bytes;
    /* The segment base that points at the thread's block (glibc's struct pthread), 0 if unknown or not among these registers
     * (struct thread has it then). */
    uint64_t (*thread_pointer)(const uint8_t *raw);
    /* The call that restart_syscall goes on with, by the `count` bytes of code before the pc (32 are enough): one of those
     * that the kernel restarts that way, which are futex, nanosleep, clock_nanosleep and poll (kernel, uses of
     * set_restart_fn). False when the code does not tell. */
    bool (*restarted_call)(const uint8_t *code, size_t count, int64_t *ret_number);
    /* "futex", "read"; NULL for a number that is not in the table. */
    const char *(*system_call_name)(int64_t number);
};

extern const struct arch arch_x86_64, arch_aarch64;

/* Whether calls leave the return address in a register, and functions without calls leave it there. */
static inline bool arch_has_link_register(const struct arch *arch)
{
    return arch->call_return_offset == 0;
}

/* NULL when the machine is not supported. */
const struct arch *arch_find(uint16_t elf_machine);

/* "AArch64" for a message; "machine N" style names are the caller's when this is NULL. */
const char *arch_machine_name(uint16_t elf_machine);

#endif
