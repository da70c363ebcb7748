/* SPDX-License-Identifier: Apache-2.0 */
/* The notes of an ELF core: bytes in, structs out. Layouts: core(5); kernel fs/binfmt_elf.c, include/linux/elfcore.h;
 * gABI "Note Section". Names and descriptors are padded to 4 bytes. */
#ifndef SG_FORMAT_CORE_NOTES_H
#define SG_FORMAT_CORE_NOTES_H

#include "arch/arch.h"
#include "base/byte_reader.h"

enum core_note_type {
    CORE_NOTE_PRSTATUS = 1,
    CORE_NOTE_PRPSINFO = 3,
    CORE_NOTE_AUXV = 6,
    CORE_NOTE_SIGINFO = 0x53494749,
    CORE_NOTE_FILE = 0x46494c45,
    CORE_NOTE_ARM_TLS = 0x401, /* of the name "LINUX" */
    CORE_NOTE_OWN_THREAD = 0x53475448, /* of the name below; readelf goes by the number alone */
};

/* Notes that only our own cores (--save) have; other readers pass over them. */
#define CORE_NOTE_OWN_NAME "STACKGROUP"

struct core_note {
    struct text name; /* without its NUL: "CORE", "LINUX", "GNU" */
    uint32_t type;
    const uint8_t *bytes; /* the descriptor, borrowed */
    size_t size_bytes;
    size_t offset; /* of the note, from the reader's first byte */
};

/* The next note. False at the end and when the rest is no whole note: then reader->failed says which. */
bool core_note_next(struct byte_reader *reader, struct core_note *ret_note);

struct core_prstatus {
    uint32_t tid;
    uint16_t cursig;
    uint64_t cpu_microseconds;  /* user + system */
    const uint8_t *registers;   /* arch->registers_size_bytes, borrowed */
};

/* False when the descriptor is smaller than the architecture's. */
bool core_prstatus_parse(const struct core_note *note, const struct arch *arch, struct core_prstatus *ret_status);

/* Our own note, after the NT_PRSTATUS of its thread: u32 tid, u32 tid in its pid namespace (0: the same), u32 flags
 * (1 registers missing, 2 CPU time known), u64 known registers, name NUL, state NUL. */
struct core_thread_facts {
    uint32_t tid, namespace_tid;
    bool registers_missing; /* those of its NT_PRSTATUS are zeros that mean nothing */
    bool cpu_known;
    uint8_t stop;     /* 0: all threads are of one instant, 1: each was stopped in its turn, 2: none was stopped */
    bool stood_still; /* of the latter two: it was seen not to have run in between */
    uint64_t started_microseconds; /* since 1970, 0 unknown */
    uint64_t registers_known; /* bits by DWARF number of those that mean something, 0: all */
    struct text name;  /* "" unknown; borrowed */
    struct text state; /* what it is said to do where registers do not tell, "" they do; borrowed */
};

bool core_thread_facts_parse(const struct core_note *note, struct core_thread_facts *ret_facts);

struct core_psinfo {
    uint32_t pid;
    struct text command;   /* pr_fname, at most 15 bytes */
    struct text arguments; /* pr_psargs, at most 79 bytes, trailing spaces cut */
};

bool core_psinfo_parse(const struct core_note *note, struct core_psinfo *ret_psinfo);

struct core_siginfo {
    int32_t number, code;
    uint64_t address;             /* si_addr; means something only for faults */
    uint32_t sender_pid, sender_uid; /* si_pid, si_uid; mean something only for codes of senders */
};

bool core_siginfo_parse(const struct core_note *note, struct core_siginfo *ret_siginfo);

/* NT_FILE: a table of mapped files. */
struct core_file_entry {
    uint64_t start, end;
    uint64_t file_offset; /* bytes */
    struct text path;     /* borrowed */
};

struct core_file_table {
    uint64_t count; /* what the note claims, cut to what its size can hold */
    uint64_t count_claimed;
    uint64_t page_size_bytes;
    struct byte_reader entries, names;
};

/* False when the header is cut. */
bool core_file_table_parse(const struct core_note *note, struct core_file_table *ret_table);
/* Entries in order; false at the end, or when one is cut (table->names.failed). */
bool core_file_table_next(struct core_file_table *table, struct core_file_entry *ret_entry);

/* The value of an auxiliary vector entry (getauxval(3)); false when it is not there. */
bool core_auxv_find(const struct core_note *note, uint64_t type, uint64_t *ret_value);

#endif
