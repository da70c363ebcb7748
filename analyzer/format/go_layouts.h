/* SPDX-License-Identifier: Apache-2.0 */
/* Where the Go runtime of each release keeps what a reader needs: byte offsets in its structs, for 64-bit targets (amd64
 * and arm64 do not differ). Source: the runtime's own types of Go 1.13 to 1.27, laid out by the compiler's rules. A
 * negative offset: that release has no such field. Releases that are not known yet are given the newest column; whoever
 * uses it checks what it finds. */
#ifndef SG_FORMAT_GO_LAYOUTS_H
#define SG_FORMAT_GO_LAYOUTS_H

#include <stdbool.h>
#include <stdint.h>

enum { go_minor_oldest = 13, go_minor_newest = 27 };

/* runtime.g. The same in all releases: stack.lo 0, stack.hi 8, _panic 32, m 48, sched.sp 56, sched.pc 64, sched.g 72. */
enum {
    go_g_stack_low = 0,
    go_g_stack_high = 8,
    go_g_panic = 32,
    go_g_defer = 40,
    go_g_m = 48,
    go_g_sp = 56,
    go_g_pc = 64,
    go_g_self = 72,
};
struct go_g_layout {
    int16_t lr, bp; /* of sched */
    int16_t syscall_sp, syscall_pc;
    int16_t status, id, wait_since, wait_reason, locked_m, parent_id, go_pc, start_pc, waiting, labels;
    int16_t bubble; /* of testing/synctest */
    int16_t size_bytes; /* up to the last field above */
};

/* runtime.m */
struct go_m_layout {
    int16_t g0, process_id, signal_g, current_g, id, vdso_sp; /* vdso_pc follows vdso_sp */
    int16_t processor; /* p, 0: it runs no Go code */
};

struct go_sudog_layout {
    int16_t g, next, previous, element, is_select, wait_link, channel;
    int16_t size_bytes;
};

struct go_channel_layout {
    int16_t count, capacity, element_size, closed, element_type, receivers, senders;
    int16_t size_bytes;
};

/* runtime.moduledata; slices are pointer, length, capacity. */
struct go_module_layout {
    int16_t names, unit_files, files, pc_values, records, functions; /* slices */
    int16_t min_pc, text, noptr_data, data, bss, noptr_bss, types, function_data, text_sections, next;
    int16_t size_bytes;
};

struct go_layout {
    unsigned minor; /* of the first release that it is of */
    struct go_g_layout g;
    struct go_m_layout m;
    struct go_sudog_layout sudog;
    struct go_channel_layout channel;
    struct go_module_layout module;
};

/* By value: minor past the newest is taken as the newest, before the oldest as the oldest. */
struct go_layout go_layout_of(unsigned minor);

enum go_status {
    GO_IDLE,
    GO_RUNNABLE,
    GO_RUNNING,
    GO_SYSCALL,
    GO_WAITING,
    GO_DEAD = 6,
    GO_COPYSTACK = 8,
    GO_PREEMPTED, /* 1.14 */
    GO_LEAKED,    /* 1.26 */
    GO_DEAD_EXTRA, /* 1.26: a thread of C's that is not in Go */
    GO_STATUS_COUNT,
};
enum { go_status_scan = 0x1000 };

/* "runnable"; NULL for numbers that are none. */
const char *go_status_name(uint32_t status);
/* "chan receive"; the releases' own tables, for when the program's cannot be found. NULL past the end. */
const char *go_wait_reason(unsigned minor, uint8_t reason);

#endif
