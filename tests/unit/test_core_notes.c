/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "format/core_notes.h"

#include <stdlib.h>

/* Notes as a kernel writes them. */
struct bytes {
    uint8_t data[4096];
    size_t count;
};

static void put(struct bytes *bytes, const void *data, size_t count)
{
    assert_true(count <= sizeof bytes->data - bytes->count);
    memcpy(bytes->data + bytes->count, data, count);
    bytes->count += count;
}

static void put_u32(struct bytes *bytes, uint32_t value)
{
    put(bytes, &value, sizeof value);
}

static void put_u64(struct bytes *bytes, uint64_t value)
{
    put(bytes, &value, sizeof value);
}

static void put_padding(struct bytes *bytes)
{
    while (bytes->count % 4 != 0)
        put(bytes, "", 1);
}

static void put_note(struct bytes *bytes, const char *name, size_t name_bytes, uint32_t type, const void *data,
                     size_t count)
{
    put_u32(bytes, (uint32_t)name_bytes);
    put_u32(bytes, (uint32_t)count);
    put_u32(bytes, type);
    put(bytes, name, name_bytes);
    put_padding(bytes);
    put(bytes, data, count);
    put_padding(bytes);
}

/* Names and descriptors of each remainder modulo 4. */
static void test_notes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t name_bytes;
        const char *data;
    } rows[] = {{"CORE", 5, "a"},     {"LINUX", 6, "ab"},  {"GNU", 4, "abc"}, {"", 0, "abcd"},
                {"", 1, "abcde"},     {"unended", 7, ""},  {"CORE\0\0\0", 8, "x"}};
    enum { row_count = sizeof rows / sizeof rows[0] };
    struct bytes bytes = {0};
    size_t offsets[row_count];
    for (size_t i = 0; i < row_count; i++) {
        offsets[i] = bytes.count;
        put_note(&bytes, rows[i].name, rows[i].name_bytes, (uint32_t)i + 100, rows[i].data, strlen(rows[i].data));
    }
    struct byte_reader reader = byte_reader_new(bytes.data, bytes.count);
    struct core_note note;
    for (size_t i = 0; i < row_count; i++) {
        assert_true(core_note_next(&reader, &note));
        assert_int_equal(note.offset, offsets[i]);
        assert_int_equal(note.type, i + 100);
        assert_true(text_equals(note.name, text_from_string(rows[i].name)));
        assert_int_equal(note.size_bytes, strlen(rows[i].data));
        assert_memory_equal(note.bytes, rows[i].data, note.size_bytes);
    }
    assert_false(core_note_next(&reader, &note));
    assert_false(reader.failed);
}

/* A cut gives the notes before it, and is told; only the padding of the last may be missing. */
static void test_every_cut(void **state)
{
    (void)state;
    struct bytes bytes = {0};
    put_note(&bytes, "CORE", 5, 1, "abcde", 5); /* 12 + 8 + 8 bytes, of which 3 pad */
    put_note(&bytes, "CORE", 5, 2, "fghij", 5);
    assert_int_equal(bytes.count, 56);
    for (size_t size = 0; size <= 56; size++) {
        uint8_t *exact = test_malloc(size + 1);
        uint8_t *start = exact + 1; /* ends with the allocation */
        memcpy(start, bytes.data, size);
        struct byte_reader reader = byte_reader_new(start, size);
        struct core_note note;
        size_t count = 0;
        while (core_note_next(&reader, &note))
            count++;
        assert_int_equal(count, size < 25 ? 0 : size < 53 ? 1 : 2);
        bool whole = size == 0 || (size >= 25 && size <= 28) || size >= 53;
        assert_int_equal(reader.failed, !whole);
        test_free(exact);
    }
}

static void test_absurd_sizes(void **state)
{
    (void)state;
    static const uint32_t sizes[][2] = {{0xffffffff, 1}, {5, 0xffffffff}, {0xffffffff, 0xffffffff}, {0xfffffffd, 8}};
    for (size_t i = 0; i < 4; i++) {
        struct bytes bytes = {0};
        put_u32(&bytes, sizes[i][0]);
        put_u32(&bytes, sizes[i][1]);
        put_u32(&bytes, 1);
        put(&bytes, "CORE\0\0\0\0abcdefgh", 16);
        struct byte_reader reader = byte_reader_new(bytes.data, bytes.count);
        struct core_note note;
        assert_false(core_note_next(&reader, &note));
        assert_true(reader.failed);
    }
}

static void test_prstatus(void **state)
{
    (void)state;
    struct bytes bytes = {.count = 336};
    memcpy(bytes.data + 12, &(uint16_t){11}, 2);
    memcpy(bytes.data + 32, &(uint32_t){4711}, 4);
    memcpy(bytes.data + 48, (uint64_t[]){2, 500000}, 16); /* utime 2.5 s */
    memcpy(bytes.data + 64, (uint64_t[]){1, 7}, 16);      /* stime 1.000007 s */
    memset(bytes.data + 112, 0x5a, 27 * 8);
    struct core_note note = {.bytes = bytes.data, .size_bytes = 336};
    struct core_prstatus status;
    assert_true(core_prstatus_parse(&note, &arch_x86_64, &status));
    assert_int_equal(status.tid, 4711);
    assert_int_equal(status.cursig, 11);
    assert_int_equal(status.cpu_microseconds, 3500007);
    assert_ptr_equal(status.registers, bytes.data + 112);
    assert_int_equal(arch_x86_64.registers_size_bytes, 27 * 8);
    note.size_bytes = 335;
    assert_false(core_prstatus_parse(&note, &arch_x86_64, &status));
}

static void test_psinfo(void **state)
{
    (void)state;
    struct bytes bytes = {.count = 136};
    memcpy(bytes.data + 24, &(uint32_t){4711}, 4);
    memcpy(bytes.data + 40, "sixteen-bytes-xy", 16); /* no NUL: it must not run into the arguments */
    memset(bytes.data + 56, 'a', 80);
    struct core_note note = {.bytes = bytes.data, .size_bytes = 136};
    struct core_psinfo psinfo;
    assert_true(core_psinfo_parse(&note, &psinfo));
    assert_int_equal(psinfo.pid, 4711);
    assert_true(text_equals(psinfo.command, TEXT("sixteen-bytes-xy")));
    assert_int_equal(psinfo.arguments.length, 80);
    strcpy((char *)bytes.data + 56, "server -v  ");
    assert_true(core_psinfo_parse(&note, &psinfo));
    assert_true(text_equals(psinfo.arguments, TEXT("server -v")));
    note.size_bytes = 135;
    assert_false(core_psinfo_parse(&note, &psinfo));
}

static void test_siginfo(void **state)
{
    (void)state;
    struct bytes bytes = {0};
    put_u32(&bytes, 11);
    put_u32(&bytes, 0);
    put_u32(&bytes, (uint32_t)-6);
    put_u32(&bytes, 0);
    put_u32(&bytes, 100); /* si_pid */
    put_u32(&bytes, 200); /* si_uid */
    put_u64(&bytes, 0);
    struct core_note note = {.bytes = bytes.data, .size_bytes = bytes.count};
    struct core_siginfo siginfo;
    assert_true(core_siginfo_parse(&note, &siginfo));
    assert_int_equal(siginfo.number, 11);
    assert_int_equal(siginfo.code, -6);
    assert_int_equal(siginfo.sender_pid, 100);
    assert_int_equal(siginfo.sender_uid, 200);
    assert_int_equal(siginfo.address, 100 + ((uint64_t)200 << 32));
    note.size_bytes = 31;
    assert_false(core_siginfo_parse(&note, &siginfo));
}

static void put_file(struct bytes *bytes, uint64_t start, uint64_t end, uint64_t page)
{
    put_u64(bytes, start);
    put_u64(bytes, end);
    put_u64(bytes, page);
}

/* Two files; the header claims `count`. */
static struct bytes file_table(uint64_t count, uint64_t page_size_bytes)
{
    struct bytes bytes = {0};
    put_u64(&bytes, count);
    put_u64(&bytes, page_size_bytes);
    put_file(&bytes, 0x1000, 0x2000, 0);
    put_file(&bytes, 0x2000, 0x4000, 3);
    put(&bytes, "/bin/a\0/lib/b", 14);
    return bytes;
}

static void test_file_table(void **state)
{
    (void)state;
    struct bytes bytes = file_table(2, 4096);
    struct core_note note = {.bytes = bytes.data, .size_bytes = bytes.count};
    struct core_file_table table;
    struct core_file_entry entry;
    assert_true(core_file_table_parse(&note, &table));
    assert_int_equal(table.count, 2);
    assert_true(core_file_table_next(&table, &entry));
    assert_int_equal(entry.start, 0x1000);
    assert_int_equal(entry.end, 0x2000);
    assert_int_equal(entry.file_offset, 0);
    assert_true(text_equals(entry.path, TEXT("/bin/a")));
    assert_true(core_file_table_next(&table, &entry));
    assert_int_equal(entry.end, 0x4000);
    assert_int_equal(entry.file_offset, 3 * 4096);
    assert_true(text_equals(entry.path, TEXT("/lib/b")));
    assert_false(core_file_table_next(&table, &entry));
    assert_false(table.names.failed);
}

/* 78 bytes: 16 of header, 48 of entries, 14 of names. */
static void test_file_table_every_cut(void **state)
{
    (void)state;
    struct bytes bytes = file_table(2, 4096);
    for (size_t size = 0; size < bytes.count; size++) {
        uint8_t *exact = test_malloc(size + 1);
        memcpy(exact + 1, bytes.data, size);
        struct core_note note = {.bytes = exact + 1, .size_bytes = size};
        struct core_file_table table;
        struct core_file_entry entry;
        bool parsed = core_file_table_parse(&note, &table);
        assert_int_equal(parsed, size >= 16);
        size_t count = 0;
        while (parsed && core_file_table_next(&table, &entry)) {
            assert_true(text_equals(entry.path, TEXT("/bin/a")));
            count++;
        }
        assert_int_equal(count, size >= 71);
        assert_true(!parsed || table.count < 2 || table.names.failed); /* the loss is told */
        if (parsed)
            assert_int_equal(table.count, size >= 64 ? 2 : size >= 40 ? 1 : 0);
        test_free(exact);
    }
}

static void test_file_table_absurd_counts(void **state)
{
    (void)state;
    static const uint64_t counts[] = {3, 1000, (uint64_t)1 << 61, UINT64_MAX / 24 + 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct bytes bytes = file_table(counts[i], 4096);
        struct core_note note = {.bytes = bytes.data, .size_bytes = bytes.count};
        struct core_file_table table;
        struct core_file_entry entry;
        assert_true(core_file_table_parse(&note, &table));
        assert_int_equal(table.count_claimed, counts[i]);
        assert_int_equal(table.count, 2); /* 62 bytes behind the header */
        /* Where the names begin is unknown: bytes of entries or parts of names must not pass for one. */
        assert_false(core_file_table_next(&table, &entry));
        assert_true(table.names.failed);
    }
    struct bytes bytes = file_table(0, 4096);
    struct core_note note = {.bytes = bytes.data, .size_bytes = bytes.count};
    struct core_file_table table;
    struct core_file_entry entry;
    assert_true(core_file_table_parse(&note, &table));
    assert_false(core_file_table_next(&table, &entry));
}

static void test_file_offset_overflow(void **state)
{
    (void)state;
    struct bytes bytes = file_table(2, (uint64_t)1 << 63);
    struct core_note note = {.bytes = bytes.data, .size_bytes = bytes.count};
    struct core_file_table table;
    struct core_file_entry entry;
    assert_true(core_file_table_parse(&note, &table));
    assert_true(core_file_table_next(&table, &entry));
    assert_int_equal(entry.file_offset, 0);
    assert_true(core_file_table_next(&table, &entry));
    assert_int_equal(entry.file_offset, UINT64_MAX);
}

static void test_auxv(void **state)
{
    (void)state;
    struct bytes bytes = {0};
    static const uint64_t pairs[][2] = {{33, 0x7000}, {9, 0x401000}, {0, 0}, {7, 5}};
    for (size_t i = 0; i < 4; i++)
        put_u64(&bytes, pairs[i][0]), put_u64(&bytes, pairs[i][1]);
    struct core_note note = {.bytes = bytes.data, .size_bytes = bytes.count};
    uint64_t value = 1;
    assert_true(core_auxv_find(&note, 33, &value));
    assert_int_equal(value, 0x7000);
    assert_true(core_auxv_find(&note, 9, &value));
    assert_int_equal(value, 0x401000);
    assert_false(core_auxv_find(&note, 7, &value)); /* behind AT_NULL */
    assert_int_equal(value, 0x401000);
    note.size_bytes = 31; /* the second pair is cut */
    assert_false(core_auxv_find(&note, 9, &value));
    note.size_bytes = 0;
    assert_false(core_auxv_find(&note, 33, &value));
}

static void test_thread_facts(void **state)
{
    (void)state;
    static const uint8_t bytes[] = "\x05\0\0\0\x07\0\0\0\x03\0\0\0\x80\0\x01\0\0\0\0\0name\0state";
    struct core_thread_facts facts;
    struct core_note note = {.bytes = bytes, .size_bytes = sizeof bytes};
    assert_true(core_thread_facts_parse(&note, &facts));
    assert_int_equal(facts.tid, 5);
    assert_int_equal(facts.namespace_tid, 7);
    assert_int_equal(facts.registers_known, 1 << 7 | 1 << 16);
    assert_true(facts.registers_missing && facts.cpu_known);
    assert_true(text_equals(facts.name, TEXT("name")) && text_equals(facts.state, TEXT("state")));
    for (note.size_bytes = 0; note.size_bytes < sizeof bytes; note.size_bytes++)
        assert_false(core_thread_facts_parse(&note, &facts));
    /* Each thread stopped in its turn, stood still; when it began. */
    static const uint8_t later[] = "\x05\0\0\0\0\0\0\0\x14\0\0\0\0\0\0\0\0\0\0\0name\0\0\x88\x77\x66\x55\x44\x33\x22\x11";
    note = (struct core_note){.bytes = later, .size_bytes = sizeof later - 1};
    assert_true(core_thread_facts_parse(&note, &facts));
    assert_true(facts.stop == 1 && facts.stood_still && !facts.cpu_known);
    assert_int_equal(facts.started_microseconds, 0x1122334455667788);
    note.size_bytes--;
    assert_true(core_thread_facts_parse(&note, &facts));
    assert_int_equal(facts.started_microseconds, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_absurd_sizes),
        cmocka_unit_test(test_prstatus),
        cmocka_unit_test(test_psinfo),
        cmocka_unit_test(test_siginfo),
        cmocka_unit_test(test_file_table),
        cmocka_unit_test(test_file_table_every_cut),
        cmocka_unit_test(test_file_table_absurd_counts),
        cmocka_unit_test(test_file_offset_overflow),
        cmocka_unit_test(test_auxv),
        cmocka_unit_test(test_thread_facts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
