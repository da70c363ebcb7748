/* SPDX-License-Identifier: Apache-2.0 */
#include "format/core_layout.h"

enum { section_header_bytes = 64, segment_count_extended = 0xffff /* PN_XNUM */ };

static void put_bytes(uint8_t *at, uint64_t value, unsigned size_bytes)
{
    for (unsigned i = 0; i < size_bytes; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static void write_u64(struct text_writer *writer, uint64_t value)
{
    uint8_t bytes[8];
    put_bytes(bytes, value, 8);
    text_writer_bytes(writer, bytes, sizeof bytes);
}

static void write_text_field(uint8_t *at, size_t size_bytes, struct text text)
{
    if (text.length != 0)
        memcpy(at, text.data, text.length < size_bytes ? text.length : size_bytes - 1);
}

static bool is_extended(uint64_t segment_count)
{
    return segment_count >= segment_count_extended;
}

uint64_t core_layout_head_bytes(uint64_t segment_count)
{
    return elf_header_bytes + (is_extended(segment_count) ? section_header_bytes : 0) +
           segment_count * elf_segment_bytes;
}

void core_layout_header(struct text_writer *writer, const struct arch *arch, uint64_t segment_count)
{
    uint8_t header[elf_header_bytes] = {0x7f, 'E', 'L', 'F', 2 /* 64-bit */, 1 /* little-endian */, 1};
    bool extended = is_extended(segment_count);
    put_bytes(header + 16, ELF_TYPE_CORE, 2);
    put_bytes(header + 18, arch->elf_machine, 2);
    put_bytes(header + 20, 1, 4); /* e_version */
    put_bytes(header + 32, elf_header_bytes + (extended ? section_header_bytes : 0), 8);
    put_bytes(header + 40, extended ? elf_header_bytes : 0, 8);
    put_bytes(header + 52, elf_header_bytes, 2);
    put_bytes(header + 54, elf_segment_bytes, 2);
    put_bytes(header + 56, extended ? segment_count_extended : segment_count, 2);
    put_bytes(header + 58, extended ? section_header_bytes : 0, 2);
    put_bytes(header + 60, extended, 2);
    text_writer_bytes(writer, header, sizeof header);
    if (!extended)
        return;
    /* Before the program headers, where a cut file still has it; as the kernel fills it (fill_extnum_info). */
    uint8_t section[section_header_bytes] = {0};
    put_bytes(section + 32, 1, 8);             /* sh_size: e_shnum */
    put_bytes(section + 44, segment_count, 4); /* sh_info: e_phnum */
    text_writer_bytes(writer, section, sizeof section);
}

void core_layout_segment(struct text_writer *writer, const struct elf_segment *segment)
{
    uint8_t bytes[elf_segment_bytes] = {0};
    put_bytes(bytes, segment->type, 4);
    put_bytes(bytes + 4, segment->flags, 4);
    put_bytes(bytes + 8, segment->offset, 8);
    put_bytes(bytes + 16, segment->address, 8);
    put_bytes(bytes + 32, segment->file_bytes, 8);
    put_bytes(bytes + 40, segment->memory_bytes, 8);
    put_bytes(bytes + 48, 1, 8); /* p_align: bytes are packed in the file */
    text_writer_bytes(writer, bytes, sizeof bytes);
}

/* Names and descriptors of notes end on 4 bytes. */
static void write_padding(struct text_writer *writer, size_t size_bytes)
{
    static const uint8_t zeros[4];
    text_writer_bytes(writer, zeros, -size_bytes & 3);
}

static void write_note_header(struct text_writer *writer, const char *name, uint32_t type, size_t size_bytes)
{
    uint8_t header[12];
    put_bytes(header, strlen(name) + 1, 4);
    put_bytes(header + 4, size_bytes, 4);
    put_bytes(header + 8, type, 4);
    text_writer_bytes(writer, header, sizeof header);
    text_writer_bytes(writer, name, strlen(name) + 1);
    write_padding(writer, strlen(name) + 1);
}

void core_layout_note(struct text_writer *writer, const char *name, uint32_t type, const void *bytes,
                      size_t size_bytes)
{
    write_note_header(writer, name, type, size_bytes);
    text_writer_bytes(writer, bytes, size_bytes);
    write_padding(writer, size_bytes);
}

void core_layout_prstatus(struct text_writer *writer, const struct arch *arch, const struct core_prstatus *status)
{
    uint8_t bytes[512] = {0};
    _Static_assert(sizeof bytes >= 400, "the largest elf_prstatus (aarch64) has 392 bytes");
    put_bytes(bytes + arch->prstatus_cursig, status->cursig, 2);
    put_bytes(bytes + arch->prstatus_pid, status->tid, 4);
    put_bytes(bytes + arch->prstatus_utime, status->cpu_microseconds / 1000000, 8);
    put_bytes(bytes + arch->prstatus_utime + 8, status->cpu_microseconds % 1000000, 8);
    if (status->registers != NULL)
        memcpy(bytes + arch->prstatus_registers, status->registers, arch->registers_size_bytes);
    core_layout_note(writer, "CORE", CORE_NOTE_PRSTATUS, bytes, arch->prstatus_size_bytes);
}

void core_layout_psinfo(struct text_writer *writer, const struct core_psinfo *psinfo)
{
    uint8_t bytes[136] = {0}; /* as core_psinfo_parse reads it */
    put_bytes(bytes + 24, psinfo->pid, 4);
    write_text_field(bytes + 40, 16, psinfo->command);
    write_text_field(bytes + 56, 80, psinfo->arguments);
    core_layout_note(writer, "CORE", CORE_NOTE_PRPSINFO, bytes, sizeof bytes);
}

void core_layout_thread_facts(struct text_writer *writer, const struct core_thread_facts *facts)
{
    uint8_t head[20];
    put_bytes(head, facts->tid, 4);
    put_bytes(head + 4, facts->namespace_tid, 4);
    put_bytes(head + 8,
              (facts->registers_missing ? 1u : 0u) | (facts->cpu_known ? 2u : 0u) | (facts->stop & 3u) << 2 |
                  (facts->stood_still ? 16u : 0u),
              4);
    put_bytes(head + 12, facts->registers_known, 8);
    uint8_t tail[8];
    put_bytes(tail, facts->started_microseconds, 8);
    size_t size_bytes = sizeof head + facts->name.length + 1 + facts->state.length + 1 + sizeof tail;
    write_note_header(writer, CORE_NOTE_OWN_NAME, CORE_NOTE_OWN_THREAD, size_bytes);
    text_writer_bytes(writer, head, sizeof head);
    text_writer_text(writer, facts->name);
    text_writer_bytes(writer, "", 1);
    text_writer_text(writer, facts->state);
    text_writer_bytes(writer, "", 1);
    text_writer_bytes(writer, tail, sizeof tail);
    write_padding(writer, size_bytes);
}

void core_layout_file_table(struct text_writer *writer, const struct core_file_entry *entries, size_t count,
                            uint64_t page_bytes)
{
    size_t size_bytes = 16 + count * 24;
    for (size_t i = 0; i < count; i++)
        size_bytes += entries[i].path.length + 1;
    write_note_header(writer, "CORE", CORE_NOTE_FILE, size_bytes);
    write_u64(writer, count);
    write_u64(writer, page_bytes);
    for (size_t i = 0; i < count; i++) {
        write_u64(writer, entries[i].start);
        write_u64(writer, entries[i].end);
        write_u64(writer, entries[i].file_offset / page_bytes);
    }
    for (size_t i = 0; i < count; i++) {
        text_writer_text(writer, entries[i].path);
        text_writer_bytes(writer, "", 1);
    }
    write_padding(writer, size_bytes);
}
