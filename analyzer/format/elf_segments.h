/* SPDX-License-Identifier: Apache-2.0 */
/* The file header and the program headers of a 64-bit little-endian ELF file, bounds-checked; the only part of ELF that
 * is read without libelf, because cores are cut, huge and hostile. Source: gABI chapters 4 and 5, elf(5). */
#ifndef SG_FORMAT_ELF_SEGMENTS_H
#define SG_FORMAT_ELF_SEGMENTS_H

#include "base/byte_reader.h"

enum { elf_header_bytes = 64, elf_segment_bytes = 56 };

enum { ELF_TYPE_RELOCATABLE = 1, ELF_TYPE_EXECUTABLE = 2, ELF_TYPE_SHARED = 3, ELF_TYPE_CORE = 4 };
enum { ELF_SEGMENT_LOAD = 1, ELF_SEGMENT_DYNAMIC = 2, ELF_SEGMENT_NOTE = 4 };

struct elf_header {
    uint16_t type, machine;
    uint64_t entry;
    uint64_t segments_offset; /* e_phoff, bytes from file start */
    uint64_t sections_offset; /* e_shoff */
    uint16_t segment_size;    /* e_phentsize */
    uint16_t segment_count;   /* e_phnum; 0xffff (PN_XNUM): the count stands in section 0's sh_info */
};

struct elf_segment {
    uint32_t type, flags;
    uint64_t offset; /* bytes from file start */
    uint64_t address, file_bytes, memory_bytes;
};

/* NULL, or what was expected and not found ("the magic \177ELF at offset 0"). */
const char *elf_header_parse(const uint8_t *bytes, size_t size_bytes, struct elf_header *ret_header);

/* `bytes` holds at least elf_segment_bytes. */
struct elf_segment elf_segment_parse(const uint8_t *bytes);

#endif
