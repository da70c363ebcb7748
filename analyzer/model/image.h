/* SPDX-License-Identifier: Apache-2.0 */
/* A stopped program as a source found it: memory, modules, threads with their registers, and why it died. Built by a
 * source, then const. Its arrays live in the analysis arena; what needs closing (mappings of files) is the source's. */
#ifndef SG_MODEL_IMAGE_H
#define SG_MODEL_IMAGE_H

#include "arch/arch.h"
#include "base/text.h"
#include "model/descriptors.h"
#include "model/memory.h"

/* "No such index" in every table of the model. */
static const uint32_t index_none = UINT32_MAX;

struct build_id {
    uint8_t size_bytes; /* 0: none known */
    uint8_t bytes[64];  /* limit_build_id_bytes */
};

enum mapping_access { MAPPING_READ = 4, MAPPING_WRITE = 2, MAPPING_EXECUTE = 1 }; /* as PF_R, PF_W, PF_X */

struct mapping {
    uint64_t start, end;
    uint64_t file_offset; /* bytes */
    struct text path;     /* the target's name for it, "" for anonymous memory */
    uint32_t module;      /* index_none when no module lies there */
    uint8_t access;       /* enum mapping_access bits */
};

struct module {
    struct text path;        /* the target's path; "[vdso]" */
    uint64_t start, end;     /* span of its segments, addresses */
    uint64_t bias;           /* address = p_vaddr + bias; valid when bias_known */
    struct build_id build_id; /* as the target's memory tells, size 0 when it does not */
    bool bias_known;
    bool is_main;   /* holds AT_ENTRY */
    bool is_vdso;   /* its file is its memory */
    bool is_deleted; /* the kernel marked the path " (deleted)"; path is without the mark */
    bool is_elf;    /* false: mapped data, no code was mapped from it */
    const char *local_paths[3]; /* where this machine finds the very file, tried in order: by mapping, below the
                                 * target's root, the kernel's link to the program; NULL: by `path` */
};

struct thread {
    uint32_t tid;
    const uint8_t *registers; /* arch->registers_size_bytes raw bytes; NULL when lost */
    uint64_t registers_known; /* bits by DWARF number of those that are known, 0: all */
    uint64_t thread_pointer;   /* where no register has it (NT_ARM_TLS), 0: unknown, or a register has; thread_pointer_of */
    uint64_t cpu_microseconds; /* user + system */
    uint64_t started_microseconds; /* when it began, since 1970; 0 unknown */
    bool cpu_known;
    bool cpu_at_most; /* a kernel core's leader: what is left of the process's time, exited threads included */
    struct text name;       /* comm, "" unknown: cores have none */
    uint32_t namespace_tid; /* in the target's own pid namespace, 0: the same as tid */
    bool stood_still;       /* of a live target whose threads were read one after another (STOP_KIND_ROLLING, _NONE): it
                             * waited in this call and did not run from when it was read until all had been read and the
                             * words that threads wait for were copied. What such threads wait for is of one instant */
    const char *state;      /* what it is said to do when there are no registers to tell, NULL: registers tell */
};

/* Why the program died: siginfo_t of NT_SIGINFO, else pr_cursig. */
struct signal_info {
    int32_t number; /* 0: it did not die of a signal (gcore) */
    int32_t code;   /* si_code */
    bool code_known;
    bool address_known; /* SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP raised by the kernel */
    uint64_t address;
    bool sender_known; /* kill, tgkill, sigqueue */
    uint32_t sender_pid, sender_uid;
    uint32_t tid; /* the thread that took it, 0 unknown */
};

/* How a live target was held while it was read; of a core that was saved of one, only how far it is from one instant. */
enum stop_kind {
    STOP_KIND_UNKNOWN, /* no live target: one instant */
    STOP_KIND_ALL,     /* all threads at one instant */
    STOP_KIND_ROLLING, /* one thread after another */
    STOP_KIND_HELD,    /* a debugger holds it still, and told the registers: one instant */
    STOP_KIND_NONE,    /* not at all: what /proc tells of threads that wait */
};

struct image {
    const struct arch *arch;
    const char *source_kind; /* "core", "process" */
    struct text source_path; /* the core's, "" */
    enum stop_kind stop_kind;
    const char *held_by; /* "process 12 (gdb)" of STOP_KIND_HELD */
    uint64_t monotonic_nanoseconds; /* the target's CLOCK_MONOTONIC when it was read; 0: not told, as by cores */
    uint64_t stop_microseconds; /* how long a live target was stopped; of rolling stops the longest; 0: not at all */
    uint64_t stop_microseconds_median; /* of rolling stops */
    uint64_t threads_stopped, threads_read; /* of a live target: that were stopped; that were read where they wait */
    struct memory memory;
    struct mapping *mappings; /* sorted by start, disjoint; every PT_LOAD or line of maps */
    size_t mapping_count;
    struct module *modules; /* sorted by start */
    size_t module_count;
    struct thread *threads; /* in the source's order: a kernel core's first is the one that took the signal */
    size_t thread_count;
    size_t thread_count_claimed; /* threads the source speaks of; larger when some were unreadable */
    struct text auxv; /* the auxiliary vector's bytes, of a live process; "" not kept */
    uint64_t entry; /* AT_ENTRY: where the program began to run; 0 unknown */
    uint32_t pid;
    struct text command; /* pr_fname, at most 15 bytes */
    struct text arguments; /* pr_psargs, at most 79 bytes */
    struct text exe;     /* path of the main module, or AT_EXECFN */
    const char *root;    /* where this machine finds a live target's own root folder, NULL: it is this machine's */
    struct signal_info signal;
    uint64_t ended_microseconds; /* when it died, since 1970, and where: as systemd-coredump wrote it down; 0, "" unknown */
    struct text unit, host;
    const char *written_by; /* "kernel", "gcore", "stackgroup", NULL unknown */
    const struct descriptors *descriptors; /* NULL: not known */
};

/* index_none when no module spans the address. */
uint32_t image_find_module(const struct image *image, uint64_t address);

/* NULL when nothing is mapped there as far as the source knows. */
const struct mapping *image_find_mapping(const struct image *image, uint64_t address);

/* Whether code can run there: a mapping with execute access. */
bool image_is_executable(const struct image *image, uint64_t address);

/* The system call that a thread stands in; of one that was interrupted and restarted (restart_syscall) the first, whose
 * arguments still stand, as far as the code before its pc tells. False when it is in none, or its registers are lost. */
bool thread_system_call(const struct image *image, const struct thread *thread, struct system_call *ret_call);

/* What points at the thread's block, 0 unknown. */
uint64_t thread_pointer_of(const struct image *image, const struct thread *thread);

#endif
