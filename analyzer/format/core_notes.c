/* SPDX-License-Identifier: Apache-2.0 */
#include "format/core_notes.h"

bool core_note_next(struct byte_reader *reader, struct core_note *ret_note)
{
    if (reader->failed || byte_reader_left(reader) == 0)
        return false;
    size_t offset = reader->position;
    uint32_t name_bytes = byte_reader_u32(reader);
    uint32_t size_bytes = byte_reader_u32(reader);
    uint32_t type = byte_reader_u32(reader);
    const uint8_t *name = byte_reader_take(reader, name_bytes);
    byte_reader_take(reader, -(size_t)name_bytes & 3);
    const uint8_t *bytes = byte_reader_take(reader, size_bytes);
    if (reader->failed)
        return false;
    /* The last note's padding may be missing. */
    size_t padding = -(size_t)size_bytes & 3;
    reader->position += padding <= byte_reader_left(reader) ? padding : byte_reader_left(reader);
    while (name_bytes > 0 && name[name_bytes - 1] == 0)
        name_bytes--;
    *ret_note = (struct core_note){{(const char *)name, name_bytes}, type, bytes, size_bytes, offset};
    return true;
}

static uint64_t timeval_microseconds(const uint8_t *bytes)
{
    return load_u64(bytes) * 1000000 + load_u64(bytes + 8);
}

bool core_prstatus_parse(const struct core_note *note, const struct arch *arch, struct core_prstatus *ret_status)
{
    if (note->size_bytes < arch->prstatus_size_bytes)
        return false;
    *ret_status = (struct core_prstatus){
        .tid = load_u32(note->bytes + arch->prstatus_pid),
        .cursig = load_u16(note->bytes + arch->prstatus_cursig),
        .cpu_microseconds = timeval_microseconds(note->bytes + arch->prstatus_utime) +
                            timeval_microseconds(note->bytes + arch->prstatus_stime),
        .registers = note->bytes + arch->prstatus_registers,
    };
    return true;
}

bool core_thread_facts_parse(const struct core_note *note, struct core_thread_facts *ret_facts)
{
    struct byte_reader reader = byte_reader_new(note->bytes, note->size_bytes);
    struct core_thread_facts facts = {.tid = byte_reader_u32(&reader), .namespace_tid = byte_reader_u32(&reader)};
    uint32_t flags = byte_reader_u32(&reader);
    facts.registers_missing = (flags & 1) != 0;
    facts.cpu_known = (flags & 2) != 0;
    facts.stop = flags >> 2 & 3;
    facts.stood_still = (flags & 16) != 0;
    facts.registers_known = byte_reader_u64(&reader);
    facts.name = byte_reader_string(&reader);
    facts.state = byte_reader_string(&reader);
    if (byte_reader_left(&reader) >= 8) /* cores written before it was known end here */
        facts.started_microseconds = byte_reader_u64(&reader);
    if (reader.failed)
        return false;
    *ret_facts = facts;
    return true;
}

static struct text fixed_string(const uint8_t *bytes, size_t size_bytes)
{
    size_t length = strnlen((const char *)bytes, size_bytes);
    while (length > 0 && bytes[length - 1] == ' ')
        length--;
    return (struct text){(const char *)bytes, length};
}

bool core_psinfo_parse(const struct core_note *note, struct core_psinfo *ret_psinfo)
{
    /* struct elf_prpsinfo of 64-bit targets: pr_pid at 24, pr_fname[16] at 40, pr_psargs[80] at 56. */
    if (note->size_bytes < 136)
        return false;
    *ret_psinfo = (struct core_psinfo){load_u32(note->bytes + 24), fixed_string(note->bytes + 40, 16),
                                       fixed_string(note->bytes + 56, 80)};
    return true;
}

bool core_siginfo_parse(const struct core_note *note, struct core_siginfo *ret_siginfo)
{
    /* siginfo_t of 64-bit targets: si_signo 0, si_errno 4, si_code 8, the union at 16. */
    if (note->size_bytes < 32)
        return false;
    *ret_siginfo = (struct core_siginfo){
        .number = (int32_t)load_u32(note->bytes),
        .code = (int32_t)load_u32(note->bytes + 8),
        .address = load_u64(note->bytes + 16),
        .sender_pid = load_u32(note->bytes + 16),
        .sender_uid = load_u32(note->bytes + 20),
    };
    return true;
}

bool core_file_table_parse(const struct core_note *note, struct core_file_table *ret_table)
{
    struct byte_reader reader = byte_reader_new(note->bytes, note->size_bytes);
    struct core_file_table table = {0};
    table.count_claimed = byte_reader_u64(&reader);
    table.page_size_bytes = byte_reader_u64(&reader);
    if (reader.failed)
        return false;
    size_t left = byte_reader_left(&reader);
    table.count = table.count_claimed <= left / 24 ? table.count_claimed : left / 24;
    size_t entries_bytes = (size_t)table.count * 24;
    table.entries = byte_reader_new(reader.bytes + reader.position, entries_bytes);
    /* The names stand behind all the entries that are claimed: where those do not fit, no name is there. */
    table.names = byte_reader_new(reader.bytes + reader.position + entries_bytes,
                                  table.count == table.count_claimed ? left - entries_bytes : 0);
    *ret_table = table;
    return true;
}

bool core_file_table_next(struct core_file_table *table, struct core_file_entry *ret_entry)
{
    if (byte_reader_left(&table->entries) == 0)
        return false;
    ret_entry->start = byte_reader_u64(&table->entries);
    ret_entry->end = byte_reader_u64(&table->entries);
    if (__builtin_mul_overflow(byte_reader_u64(&table->entries), table->page_size_bytes, &ret_entry->file_offset))
        ret_entry->file_offset = UINT64_MAX;
    ret_entry->path = byte_reader_string(&table->names);
    return !table->names.failed;
}

bool core_auxv_find(const struct core_note *note, uint64_t type, uint64_t *ret_value)
{
    struct byte_reader reader = byte_reader_new(note->bytes, note->size_bytes);
    while (byte_reader_left(&reader) >= 16) {
        uint64_t entry_type = byte_reader_u64(&reader);
        uint64_t value = byte_reader_u64(&reader);
        if (entry_type == type) {
            *ret_value = value;
            return true;
        }
        if (entry_type == 0) /* AT_NULL */
            return false;
    }
    return false;
}
