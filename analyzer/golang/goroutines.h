/* SPDX-License-Identifier: Apache-2.0 */
/* The goroutines of a Go runtime, one at a time: a program can have millions, and their records are not kept. */
#ifndef SG_GOLANG_GOROUTINES_H
#define SG_GOLANG_GOROUTINES_H

#include "golang/go_runtime.h"

struct goroutine {
    uint64_t address; /* of its g */
    uint64_t id;
    enum go_status status;
    bool is_scanned;      /* by the garbage collector, at this instant */
    struct text state;    /* as the runtime prints it: "chan receive", "runnable", "waiting (leaked)" */
    uint64_t stack_low, stack_high;
    uint64_t pc, sp, bp;  /* to unwind from */
    uint64_t call_sp;     /* the sp above when it is in a system call or in C, else 0 */
    uint64_t lr;          /* arm64: the return address of a function that has no frame yet, 0 none */
    bool pc_is_exact;     /* it has not run yet: pc is its function's first instruction */
    uint64_t machine;     /* address of its m, 0 none */
    uint64_t locked_machine; /* of the one that it is locked to, 0 none */
    uint32_t tid;         /* of the thread that runs it or that it sits in a system call on; 0 none */
    uint64_t start_pc, go_pc; /* its function; the go statement that started it */
    uint64_t parent_id;   /* 0: not told (before 1.21) */
    uint64_t wait_since;  /* nanoseconds of the target's monotonic clock, 0: not told */
    uint64_t waiting;     /* address of its sudog, 0 none */
    bool has_defers;      /* records of calls that it still has to make */
    uint64_t labels;
    uint64_t bubble;      /* address of its synctest bubble, 0 none */
    bool is_system;       /* one of the runtime's own, which its profiles leave out */
};

enum goroutine_outcome {
    GOROUTINE_READ,
    GOROUTINE_NONE,       /* dead or not yet made: not in the runtime's dumps either */
    GOROUTINE_UNREADABLE, /* its g is not in the image, or holds nonsense */
};

enum { goroutine_cache_slots = 256, goroutine_record_bytes = 512 }; /* g up to its last field: 400 */

/* Answers about code that many goroutines ask for; each cache is by pc. */
struct goroutine_reader {
    const struct go_runtime *runtime;
    const uint8_t *slots; /* the runtime's list, NULL: not in one piece */
    struct memory_range near; /* of gs, of stacks: as memory_view_near wants it */
    struct {
        uint64_t pc;
        bool is_entry; /* of its function */
    } entries[goroutine_cache_slots];
    struct {
        uint64_t pc;
        int owner; /* enum goroutine_owner */
    } owners[goroutine_cache_slots];
    uint8_t copy[goroutine_record_bytes]; /* of a g that lies in two pieces */
};

struct goroutine_reader goroutine_reader_new(const struct go_runtime *runtime);

/* `slot` is below runtime->goroutine_count, here and below. The address of its g, 0: not at hand. */
uint64_t goroutine_slot_address(const struct goroutine_reader *reader, uint64_t slot);

enum goroutine_outcome goroutine_read(struct goroutine_reader *reader, uint64_t slot, struct goroutine *ret_goroutine);

/* The part of a goroutine that says where its stack is. */
struct goroutine_stack {
    uint64_t id;
    uint64_t low, high;
    uint64_t sp; /* where it is parked; `low` of one that runs, all of whose stack may be in use */
};

/* False where goroutine_read reads none. */
bool goroutine_read_stack(struct goroutine_reader *reader, uint64_t slot, struct goroutine_stack *ret_stack);

/* Asks the processor for what reading that slot (of its stack alone: the head), and then walking it, will touch. */
void goroutine_prefetch(struct goroutine_reader *reader, uint64_t slot);
void goroutine_prefetch_head(struct goroutine_reader *reader, uint64_t slot);
void goroutine_prefetch_stack(struct goroutine_reader *reader, uint64_t slot);

#endif
