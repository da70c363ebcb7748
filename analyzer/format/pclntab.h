/* SPDX-License-Identifier: Apache-2.0 */
/* Go's pclntab: functions by pc, frame sizes, names, files, lines and inlined calls of Go 1.13 to 1.27, as the runtime's
 * symtab.go and the linker's pcln.go of those releases lay them out. The tables are never stripped. The caller finds
 * them in a program's moduledata and hands over their bytes; nothing is trusted: offsets out of a table give "unknown". */
#ifndef SG_FORMAT_PCLNTAB_H
#define SG_FORMAT_PCLNTAB_H

#include "base/byte_reader.h"

enum pclntab_layout {
    PCLNTAB_UNKNOWN,
    PCLNTAB_GO_1_13, /* magic fffffffb, to 1.15 */
    PCLNTAB_GO_1_16, /* fffffffa, to 1.17 */
    PCLNTAB_GO_1_18, /* fffffff0, to 1.19 */
    PCLNTAB_GO_1_20, /* fffffff1, to 1.27 */
};

enum { pclntab_header_bytes = 16 }; /* what pclntab_header_parse needs */

struct pclntab_header {
    enum pclntab_layout layout;
    uint8_t quantum;         /* smallest instruction: 1 amd64, 4 arm64 */
    uint64_t function_count; /* claimed */
};

/* False when the bytes are no such header of a 64-bit little-endian program. */
bool pclntab_header_parse(const uint8_t *bytes, size_t size_bytes, struct pclntab_header *ret_header);

/* A table and where it lies in the target. */
struct pclntab_table {
    uint64_t address;
    const uint8_t *bytes;
    size_t size_bytes;
};

/* A run of the text that the linker moved (moduledata.textsectmap; more than one only in huge programs). */
struct pclntab_section {
    uint64_t start, end; /* offsets in the text as the function table has them */
    uint64_t address;
};

struct pclntab {
    enum pclntab_layout layout;
    uint8_t quantum;
    uint8_t go_minor; /* 13 … 27: 1.16 and 1.17 share a layout but for one field */
    uint8_t wrapper_id; /* funcID of compiler-made wrappers */
    uint64_t function_count;
    uint64_t text; /* address that text offsets count from (1.18 on) */
    struct pclntab_table functions; /* pcs with the offsets of their records in `records`, one more pc at the end */
    struct pclntab_table records;   /* _func structs; 1.13 to 1.15: everything */
    struct pclntab_table pc_values, names, files;
    struct pclntab_table unit_files; /* 1.16 on: u32 offsets into `files`, by compilation unit */
    uint64_t function_data;          /* address of go:func.* (1.18 on) */
    const struct pclntab_section *sections;
    size_t section_count; /* 0 or 1: text is one run */
    /* Bytes of the target for what lies outside of the tables (funcdata); NULL when they are missing. */
    const uint8_t *(*view)(void *context, uint64_t address, size_t size_bytes);
    void *context;
};

enum pclntab_function_flag { GO_FUNCTION_TOP_FRAME = 1, GO_FUNCTION_SP_WRITE = 2, GO_FUNCTION_ASM = 4 };

struct pclntab_function {
    uint64_t entry, end; /* addresses; end is the next function's entry */
    uint32_t name;       /* offset in the table of names */
    uint32_t args_bytes; /* 0x80000000: unknown */
    uint32_t sp_values, file_values, line_values; /* offsets in pc_values, 0: none */
    uint32_t unit;
    uint32_t pc_data_count;
    uint8_t function_data_count;
    uint8_t id;    /* runtime.funcID of that release */
    uint8_t flags; /* enum pclntab_function_flag; 0 before 1.17 */
    const uint8_t *pc_data;       /* pc_data_count u32, then function data, in the table's bytes */
    size_t pc_data_bytes;         /* from there to the table's end */
    uint64_t pc_data_address;
};

/* The function that holds a pc. */
bool pclntab_find(const struct pclntab *table, uint64_t pc, struct pclntab_function *ret_function);
bool pclntab_function_at(const struct pclntab *table, uint64_t number, struct pclntab_function *ret_function);

/* The value of a pc-value table at a pc of the function; `none` when there is none. */
int32_t pclntab_value(const struct pclntab *table, const struct pclntab_function *function, uint32_t offset, uint64_t pc,
                      int32_t none);

/* Bytes pushed since the function's entry (amd64: without the return address); -1 unknown. */
static inline int32_t pclntab_sp_delta(const struct pclntab *table, const struct pclntab_function *function, uint64_t pc)
{
    return pclntab_value(table, function, function->sp_values, pc, -1);
}

/* PCDATA: 0 unsafe points, 1 stack map, 2 inline index, 3 arguments alive; -1 none. */
int32_t pclntab_pc_data(const struct pclntab *table, const struct pclntab_function *function, unsigned index, uint64_t pc);
/* FUNCDATA: its address, 0 none. */
uint64_t pclntab_function_data(const struct pclntab *table, const struct pclntab_function *function, unsigned index);

/* As it stands in the table; "" unknown. Escapes ("%2e") are Go's own and are printed as they are. */
struct text pclntab_name(const struct pclntab *table, uint32_t name);

/* One call at a pc: the function itself or one that was inlined into it. */
struct pclntab_call {
    struct text name, file; /* "" unknown */
    uint32_t line;          /* 0 unknown */
    uint64_t pc;            /* of this call: one less than what Go's profile prints for it */
    uint8_t id;             /* runtime.funcID */
    bool inlined;
};

struct pclntab_cursor {
    const struct pclntab *table;
    const struct pclntab_function *function;
    uint64_t pc, inline_tree;
    unsigned depth;
    bool done;
};

/* Calls at a pc, innermost first, the function itself last. `lookup` lies inside the call instruction, not after it. */
struct pclntab_cursor pclntab_cursor_new(const struct pclntab *table, const struct pclntab_function *function,
                                         uint64_t lookup);
bool pclntab_cursor_next(struct pclntab_cursor *cursor, struct pclntab_call *ret_call);

/* funcID of compiler-made wrappers in that release. */
uint8_t pclntab_wrapper_id(unsigned go_minor);

/* For releases that are not known yet. The funcID of wrappers by the table itself: 1.17 and later have it right behind that
 * of runtime.systemstack_switch; 0: that is not there. */
uint8_t pclntab_find_wrapper_id(const struct pclntab *table);
/* Whether the trees of inlined calls, which lie where function_data says, are such trees; false also when none is there. */
bool pclntab_has_inline_trees(const struct pclntab *table);

#endif
