/* SPDX-License-Identifier: Apache-2.0 */
#include "format/elf_segments.h"

const char *elf_header_parse(const uint8_t *bytes, size_t size_bytes, struct elf_header *ret_header)
{
    if (size_bytes < 4 || memcmp(bytes, "\177ELF", 4) != 0)
        return "the ELF magic 7f 45 4c 46 at offset 0";
    if (size_bytes < elf_header_bytes)
        return "an ELF header of 64 bytes";
    if (bytes[4] != 2)
        return "a 64-bit ELF file (byte 2 at offset 4)";
    if (bytes[5] != 1)
        return "a little-endian ELF file (byte 1 at offset 5)";
    if (bytes[6] != 1)
        return "ELF version 1 (byte 1 at offset 6)";
    *ret_header = (struct elf_header){
        .type = load_u16(bytes + 16),
        .machine = load_u16(bytes + 18),
        .entry = load_u64(bytes + 24),
        .segments_offset = load_u64(bytes + 32),
        .sections_offset = load_u64(bytes + 40),
        .segment_size = load_u16(bytes + 54),
        .segment_count = load_u16(bytes + 56),
    };
    if (ret_header->segment_count != 0 && ret_header->segment_size != elf_segment_bytes)
        return "program headers of 56 bytes (at offset 54)";
    return NULL;
}

struct elf_segment elf_segment_parse(const uint8_t *bytes)
{
    return (struct elf_segment){
        .type = load_u32(bytes),
        .flags = load_u32(bytes + 4),
        .offset = load_u64(bytes + 8),
        .address = load_u64(bytes + 16),
        .file_bytes = load_u64(bytes + 32),
        .memory_bytes = load_u64(bytes + 40),
    };
}
