/* SPDX-License-Identifier: Apache-2.0 */
/* Stacks as plain data: what every input ends in and every grouping, detector and report starts from. Strings are
 * numbers in one intern table; stacks are runs of steps; a step is a location (a distinct pc) and how it was found.
 * Nothing here points into the image or a library. Const after building.
 *
 *   member ──► stack ──► step, step, …  leaf first
 *                          └─► location ──► frame, frame, …  innermost inlined call first, the real function last
 */
#ifndef SG_MODEL_SNAPSHOT_H
#define SG_MODEL_SNAPSHOT_H

#include "base/intern_table.h"
#include "model/image.h"
#include "model/told.h"
#include "model/wait.h"

enum frame_trust {
    TRUST_UNKNOWN,
    TRUST_REGISTERS,     /* the pc itself */
    TRUST_CFI,           /* .eh_frame or .debug_frame of the callee */
    TRUST_CALL,          /* return address at the top of the stack: the callee was a call to no code (NULL) */
    TRUST_CODE,          /* the callee's own instructions, followed to its return */
    TRUST_FRAME_POINTER, /* the chain through the frame pointer */
    TRUST_SIGNAL_FRAME,  /* the registers that the kernel saved when it delivered a signal */
    TRUST_LIBUNWIND,     /* the second unwinder, accepted under formats.md's conditions */
    TRUST_TOLD,          /* the dump that was read says so */
    TRUST_COUNT,
};

enum stack_end {
    STACK_END_UNKNOWN,
    STACK_END_OUTERMOST,      /* unwind data, the program's entry or a thread's exit says that there is no caller */
    STACK_END_ZERO,           /* the return address is 0: the bottom of a hand-made stack, or it was overwritten */
    STACK_END_NO_CODE,        /* the return address, end_address, lies where no code can run */
    STACK_END_NO_UNWIND_DATA, /* nothing tells the caller of the code at end_address */
    STACK_END_MEMORY_MISSING, /* the bytes at end_address are not in the core */
    STACK_END_NO_PROGRESS,    /* the caller's frame would not lie above: a loop or a broken stack */
    STACK_END_FRAME_LIMIT,
    STACK_END_NO_REGISTERS, /* the thread's record was unreadable */
    STACK_END_NOT_TOLD,     /* the text that was read holds no more of it: cut, or its writer could not see it */
    STACK_END_COUNT,
};

/* Texts for reports: "cfi", "frame pointer", "outermost", "memory missing" … */
const char *frame_trust_name(enum frame_trust trust);
const char *stack_end_name(enum stack_end end);

/* One function call, real or inlined. */
struct frame {
    uint32_t function; /* string; 0 unknown */
    uint32_t file;     /* string, full path; 0 unknown */
    uint32_t line;     /* 0 unknown */
    bool inlined;      /* into the next frame of the same location */
    bool is_wrapper;   /* made by Go's compiler, not by its author: left out of Go's dumps */
};

/* A distinct program counter. */
struct location {
    uint64_t pc;
    bool exact;      /* the leaf's pc, or one that a signal interrupted; else a return address */
    uint32_t module; /* into snapshot.modules; index_none */
    uint64_t offset; /* of the looked-up address from the start of the real function, or of the module when it has no
                        name */
    uint64_t pc_offset; /* of goroutines' real calls: how far the pc itself, also where it is another call's that was inlined
                           there, is from the function's start; 0: that start, or not known */
    bool arguments_known;
    uint32_t arguments; /* string, when known: how Go prints the real call's arguments, "%, {%, ...}, %?", with '%' for each
                           value (snapshot.call_values) */
    uint32_t frame_first, frame_count; /* into snapshot.frames; at least one */
    bool is_hidden; /* a text names it nowhere: Go leaves the runtime's frames at a stack's ends out */
};

/* The address that names and lines are looked up by: inside the call instruction, not after it. */
static inline uint64_t location_lookup(const struct location *location)
{
    return location->exact ? location->pc : location->pc - 1;
}

struct step {
    uint32_t location;
    enum frame_trust trust : 16;
    uint32_t wrappers : 16; /* calls of Go's wrappers between this and the step before, which are left out; at most so many */
};

struct stack {
    uint32_t step_first, step_count; /* into snapshot.steps, leaf first; may be 0 */
    enum stack_end end;
    uint64_t end_address; /* what could not be read or unwound, by `end`: the address without unwind data or bytes, the
                           * stack pointer that did not advance, the pc at the frame limit; 0 when it does not apply or
                           * threads of the stack differ in it */
    uint32_t labels; /* string: goroutines of other labels stand in another stack, as in Go's profiles; 0 none */
    uint32_t creator; /* string: once snapshot_split_by_creator told them apart, who started its members; 0 unknown */
};

/* Between several looks at a live process. */
enum movement {
    MOVEMENT_UNKNOWN, /* one look, or it was seen in one only */
    MOVEMENT_MOVED,
    MOVEMENT_NONE, /* same stack and no run of its own: stuck */
};

/* 64 bytes, a cache line: goroutines come in millions. */
struct member {
    uint64_t id;    /* tid, or goroutine id; 0: the source does not tell */
    uint32_t count; /* members that it stands for: 1, or more where the source gave a number and no ids */
    uint32_t stack;
    uint32_t state; /* string: "futex wait", "read", "running"; 0 unknown */
    int32_t fd;     /* the descriptor it waits on, -1 none */
    uint32_t wait_first, wait_count; /* into snapshot.waits; a select waits for several things */
    uint64_t waited_seconds;         /* at least that long; with waited_known */
    uint64_t creator_id;             /* the goroutine that started it; 0 unknown */
    uint32_t creator;                /* string: the function that did; 0 unknown */
    uint32_t creator_location;       /* where it did, of the creator alone without what was inlined there: a location's
                                        number + 1; 0 unknown */
    uint32_t labels;                 /* string: its labels as the source prints them; 0 none */
    enum movement movement : 2;
    bool stood_still : 1;            /* as in struct thread: STOP_KIND_ROLLING and _NONE only */
    bool waited_known : 1;
    bool locked_to_thread : 1;       /* a goroutine */
    bool is_scanned : 1, is_leaked : 1; /* by the garbage collector at this instant; found to wait for ever (Go 1.26) */
    bool is_durable : 1;             /* blocked for good within its bubble, which `state` does not tell */
    uint32_t bubble : 24;            /* of testing/synctest, 0 none */
};

/* What is known of a member that is a thread. */
struct member_thread {
    uint32_t name;         /* string: the thread's own, 0 none */
    uint32_t namespace_id; /* tid in the target's own pid namespace, 0: the same */
    uint64_t cpu_microseconds;
    bool cpu_known, cpu_at_most;
    uint64_t started_microseconds; /* as in struct thread */
};

/* Of a heap profile's member, which is a place that allocates: what is in use, and what was allocated in all. */
struct heap_usage {
    uint64_t objects, bytes;
    uint64_t objects_allocated, bytes_allocated;
};

enum profile_kind { PROFILE_THREADS, PROFILE_GOROUTINES, PROFILE_HEAP };

struct snapshot {
    struct arena *arena;
    struct intern_table strings;
    enum profile_kind kind;
    uint64_t total;         /* members, those that one stands for counted */
    uint64_t total_claimed; /* members the source speaks of */

    struct frame *frames;
    size_t frame_count, frame_capacity;
    struct location *locations;
    size_t location_count, location_capacity;
    struct step *steps;
    size_t step_count, step_capacity;
    struct stack *stacks; /* distinct */
    size_t stack_count, stack_capacity;
    struct member *members; /* in the source's order */
    size_t member_count;

    struct member_thread *threads; /* by member; NULL: they are none, or nothing is known of them */
    const struct heap_usage *heap; /* by member; NULL unless kind is PROFILE_HEAP */
    struct text heap_unit;         /* of heap profiles: "heap/1048576", twice the sampling rate */
    const struct told *told;       /* what a text says of waits; NULL: no text, or nothing */
    bool lines_tell_returns;       /* the "#" lines of the text that was read hold return addresses, as Go 1.0's do */
    bool pcs_are_numbers;          /* the text tells no addresses: each pc stands for a place of its own and no more */

    /* Values of the arguments of goroutines' calls, where they were asked for: a member's from argument_first[it] up to
     * call_value_first[it + 1], for each '%' of its calls' location.arguments, leaf first. Fewer where they could not be
     * read. NULL: not asked for. */
    const uint64_t *call_values, *call_value_first;
    struct text go_module;  /* path of the module whose runtime's goroutines these are; "" the process has one runtime */
    struct text go_version; /* of the program, "go1.19.8"; "" none, or not known */
    unsigned go_minor;      /* 19; 0: as go_version */

    /* Who waits for what (waits/). Empty when nothing is known. */
    struct resource *resources; /* by kind, then by address */
    size_t resource_count;
    struct wait *waits; /* by member */
    size_t wait_count;
    struct hold *holds; /* by resource */
    size_t hold_count;

    /* The image's tables, which live as long as the snapshot (the image's memory does not). */
    const struct module *modules;
    size_t module_count;
    const struct mapping *mappings;
    size_t mapping_count;
    const char *source_kind; /* "core", "process", "text" */
    enum stop_kind stop_kind;
    const char *held_by;  /* as in struct image */
    uint64_t stop_microseconds, stop_microseconds_median, threads_stopped, threads_read; /* as in struct image */
    uint64_t sample_count;        /* looks at a live target that were compared; 0 or 1: no comparison */
    uint64_t sample_microseconds; /* from the first to the last */
    struct text source_path, exe, command, arguments;
    uint32_t pid;
    struct signal_info signal;
    uint64_t ended_microseconds; /* as in struct image */
    struct text unit, host;
    const char *written_by;
    const struct descriptors *descriptors; /* NULL: not known */
};

/* index_none: there is none such. */
uint32_t snapshot_find_resource(const struct snapshot *snapshot, enum wait_kind kind, uint64_t address);

/* `member` is one of the snapshot's. All unknown where nothing is known. */
static inline struct member_thread snapshot_thread(const struct snapshot *snapshot, const struct member *member)
{
    return snapshot->threads == NULL ? (struct member_thread){0} : snapshot->threads[member - snapshot->members];
}

static inline struct text snapshot_string(const struct snapshot *snapshot, uint32_t number)
{
    return intern_table_text(&snapshot->strings, number);
}

/* One call of a stack with the location that it is at. */
struct stack_frame {
    uint32_t location; /* into snapshot.locations */
    uint32_t frame;    /* into snapshot.frames */
    uint32_t step;     /* from the leaf, 0 */
};

/* All calls of a stack, inlined ones too, leaf first: `count` of them in the arena, may be 0. */
struct stack_frame *snapshot_stack_frames(const struct snapshot *snapshot, const struct stack *stack,
                                          struct arena *arena, size_t *ret_count);

/* "SIGSEGV" and "SEGV_MAPERR"; NULL for numbers without a name. */
const char *signal_name(int32_t number);
const char *signal_code_name(int32_t number, int32_t code);

/* Members of one stack that were started by different functions stand in different stacks from here on, of the same
 * steps. */
void snapshot_split_by_creator(struct snapshot *snapshot, struct arena *scratch);

#endif
