/* SPDX-License-Identifier: Apache-2.0 */
/* One small program's tables, written here in each layout that Go has had: two functions that call nothing, and one
 * with two calls inlined into each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/limits.h"
#include "format/pclntab.h"

#include <stdlib.h>
#include <string.h>

/* runtime/symtab.go of each release, the _func and inlinedCall structs. -1: it has no such field. */
struct release {
    const char *name;
    enum pclntab_layout layout;
    unsigned minor;
    int address_bytes; /* of a function's entry, and of a pointer to function data */
    int name_at, args, sp, file, line, pc_data, unit, id, flags, function_data, record_bytes;
    int inline_number, element_bytes, element_id, element_name, element_pc;
};
static const struct release releases[] = {
    {"1.13", PCLNTAB_GO_1_13, 13, 8, 8, 12, 20, 24, 28, 32, -1, 36, -1, 39, 40, 4, 20, 2, 12, 16},
    {"1.15", PCLNTAB_GO_1_13, 15, 8, 8, 12, 20, 24, 28, 32, -1, 36, -1, 39, 40, 4, 20, 2, 12, 16},
    {"1.16", PCLNTAB_GO_1_16, 16, 8, 8, 12, 20, 24, 28, 32, 36, 40, -1, 43, 44, 3, 20, 2, 12, 16},
    {"1.17", PCLNTAB_GO_1_16, 17, 8, 8, 12, 20, 24, 28, 32, 36, 40, 41, 43, 44, 3, 20, 2, 12, 16},
    {"1.18", PCLNTAB_GO_1_18, 18, 4, 4, 8, 16, 20, 24, 28, 32, 36, 37, 39, 40, 3, 20, 2, 12, 16},
    {"1.20", PCLNTAB_GO_1_20, 20, 4, 4, 8, 16, 20, 24, 28, 32, 40, 41, 43, 44, 3, 16, 0, 4, 8},
    {"1.27", PCLNTAB_GO_1_20, 27, 4, 4, 8, 16, 20, 24, 28, 32, 40, 41, 43, 44, 3, 16, 0, 4, 8},
};
enum { release_count = sizeof releases / sizeof releases[0] };

enum { buffer_bytes = 1024 };
struct buffer {
    uint8_t bytes[buffer_bytes];
    size_t size;
};

static size_t put(struct buffer *buffer, const void *bytes, size_t size)
{
    size_t at = buffer->size;
    assert_true(size <= buffer_bytes - at);
    memcpy(buffer->bytes + at, bytes, size);
    buffer->size += size;
    return at;
}

static size_t put_word(struct buffer *buffer, uint64_t value, int size)
{
    return put(buffer, &value, (size_t)size);
}

static uint32_t put_string(struct buffer *buffer, const char *string)
{
    return (uint32_t)put(buffer, string, strlen(string) + 1);
}

static void put_varint(struct buffer *buffer, uint32_t value)
{
    for (; value >= 0x80; value >>= 7)
        put_word(buffer, value | 0x80, 1);
    put_word(buffer, value, 1);
}

/* A pc-value table: each value and up to which byte of the function it holds; ends with end 0. */
struct run {
    int32_t value;
    uint32_t end;
};
static uint32_t put_values(struct buffer *buffer, const struct run *runs, unsigned quantum)
{
    uint32_t at = (uint32_t)buffer->size, pc = 0;
    int32_t value = -1;
    for (; runs->end != 0; runs++) {
        int32_t delta = runs->value - value;
        put_varint(buffer, delta < 0 ? ~((uint32_t)delta << 1) : (uint32_t)delta << 1);
        put_varint(buffer, (runs->end - pc) / quantum);
        value = runs->value;
        pc = runs->end;
    }
    put_word(buffer, 0, 1);
    return at;
}

enum {
    text_start = 0x401000,
    functions_start = 0x600000,
    records_start = 0x610000,
    data_start = 0x700000, /* go:func.* */
    element_start = 0x40,  /* of the inline tree, in there */
    first_start = 0,
    outer_start = 0x40,
    wrapper_start = 0xa0,
    text_end = 0xc0,
    unit = 2,
    wrapper = 99,
};

static struct {
    const struct release *release;
    struct buffer functions, records, values, names, files, units, data;
    struct pclntab table;
} target;

static const uint8_t *view_data(void *context, uint64_t address, size_t size)
{
    (void)context;
    return address < data_start || address - data_start > target.data.size ||
                   target.data.size - (address - data_start) < size
               ? NULL
               : target.data.bytes + (address - data_start);
}

struct function {
    uint32_t start, name, sp, file, line, inline_index;
    uint8_t id, flags;
    bool has_tree;
};

/* Returns where the record lies. */
static size_t put_function(const struct function *function)
{
    const struct release *release = target.release;
    struct buffer *records = &target.records;
    bool wide = release->address_bytes == 8;
    while (records->size % 8 != 0)
        put_word(records, 0, 1);
    uint8_t record[64];
    memset(record, 0xee, sizeof record); /* what this release does not have is not looked at */
    uint32_t args = 0x30, count = 3;
    uint64_t entry = function->start + (wide ? text_start : 0);
    memcpy(record, &entry, (size_t)release->address_bytes);
    memcpy(record + release->name_at, &function->name, 4);
    memcpy(record + release->args, &args, 4);
    memcpy(record + release->sp, &function->sp, 4);
    memcpy(record + release->file, &function->file, 4);
    memcpy(record + release->line, &function->line, 4);
    memcpy(record + release->pc_data, &count, 4);
    if (release->unit >= 0)
        memcpy(record + release->unit, &(uint32_t){unit}, 4);
    record[release->id] = function->id;
    if (release->flags >= 0)
        record[release->flags] = function->flags;
    record[release->function_data] = 5;
    size_t at = put(records, record, (size_t)release->record_bytes);
    const uint32_t pc_data[] = {0, 0, function->inline_index};
    put(records, pc_data, sizeof pc_data);
    while (wide && (records_start + records->size) % 8 != 0)
        put_word(records, 0, 1);
    for (int i = 0; i < 5; i++) {
        bool is_tree = function->has_tree && i == release->inline_number;
        uint64_t none = wide ? 0 : UINT32_MAX;
        put_word(records, is_tree ? element_start + (wide ? data_start : 0) : none, release->address_bytes);
    }
    return at;
}

static void put_element(uint32_t name, uint32_t parent_pc, uint8_t id)
{
    const struct release *release = target.release;
    uint8_t element[20] = {0};
    element[release->element_id] = id;
    memcpy(element + release->element_name, &name, 4);
    memcpy(element + release->element_pc, &parent_pc, 4);
    put(&target.data, element, (size_t)release->element_bytes);
}

static struct pclntab_table table_of(const struct buffer *buffer, uint64_t address)
{
    return (struct pclntab_table){address, buffer->bytes, buffer->size};
}

static void build(const struct release *release, unsigned quantum)
{
    memset(&target, 0, sizeof target);
    target.release = release;
    /* 1.13 to 1.15 keep everything in one table, and files as numbers into it. */
    bool single = release->layout == PCLNTAB_GO_1_13;
    struct buffer *values = single ? &target.records : &target.values;
    struct buffer *names = single ? &target.records : &target.names;
    struct buffer *files = single ? &target.records : &target.files;
    put_word(&target.records, 0, 8); /* the header's place: offset 0 means none */
    put_word(&target.values, 0, 8);
    put_word(&target.names, 0, 1);

    static const struct run sp[] = {{0, 4}, {24, 0x30}, {0, 0x38}, {0, 0}}; /* the last bytes have none */
    static const struct run outer_sp[] = {{0, 4}, {0x120, 0x60}, {0, 0}};
    static const struct run line[] = {{11, 0x10}, {7, 0x40}, {0, 0}};
    static const struct run outer_line[] = {{71, 0x10}, {61, 0x18}, {51, 0x60}, {0, 0}};
    static const struct run file[] = {{2, 0x40}, {0, 0}}; /* that the table has no name for */
    static const struct run outer_file[] = {{1, 0x10}, {0, 0x60}, {0, 0}};
    static const struct run outer_inline[] = {{-1, 8}, {1, 0x10}, {0, 0x18}, {-1, 0x60}, {0, 0}};
    uint32_t file_values = put_values(values, file, quantum);
    struct function first = {
        .start = first_start,
        .name = put_string(names, "runtime.first"),
        .sp = put_values(values, sp, quantum),
        .file = file_values,
        .line = put_values(values, line, quantum),
        .id = 9,
        .flags = GO_FUNCTION_TOP_FRAME | GO_FUNCTION_ASM,
    };
    struct function outer = {
        .start = outer_start,
        .name = put_string(names, "main.outer"),
        .sp = put_values(values, outer_sp, quantum),
        .file = put_values(values, outer_file, quantum),
        .line = put_values(values, outer_line, quantum),
        .inline_index = put_values(values, outer_inline, quantum),
        .has_tree = true,
    };
    struct function last = {.start = wrapper_start, .name = put_string(names, "main.T.wrapper"), .id = wrapper};

    while (target.data.size < element_start)
        put_word(&target.data, 0xee, 1);
    put_element(put_string(names, "main.inner"), 0x20, 0);
    put_element(put_string(names, "main.(*T).innermost"), 0x14, 7);

    uint32_t a = put_string(files, "/src/a.go"), b = put_string(files, "/src/b.go");
    if (single) {
        put_word(&target.files, a, 4);
        put_word(&target.files, b, 4);
    } else {
        const uint32_t units[] = {9999, 9999, a, b, UINT32_MAX};
        put(&target.units, units, sizeof units);
    }
    const struct function *functions[] = {&first, &outer, &last};
    for (int i = 0; i < 3; i++) {
        uint64_t record = put_function(functions[i]);
        put_word(&target.functions, functions[i]->start + (release->address_bytes == 8 ? text_start : 0),
                 release->address_bytes);
        put_word(&target.functions, record, release->address_bytes);
    }
    put_word(&target.functions, text_end + (release->address_bytes == 8 ? text_start : 0), release->address_bytes);

    target.table = (struct pclntab){
        .layout = release->layout,
        .quantum = (uint8_t)quantum,
        .go_minor = (uint8_t)release->minor,
        .function_count = 3,
        .text = text_start,
        .functions = table_of(&target.functions, functions_start),
        .records = table_of(&target.records, records_start),
        .pc_values = single ? table_of(&target.records, records_start) : table_of(&target.values, 0),
        .names = table_of(&target.names, 0),
        .files = table_of(&target.files, 0),
        .unit_files = table_of(&target.units, 0),
        .function_data = release->address_bytes == 4 ? data_start : 0,
        .view = view_data,
    };
}

static struct pclntab_function function_at(uint64_t pc)
{
    struct pclntab_function function;
    assert_true(pclntab_find(&target.table, pc, &function));
    return function;
}

static void assert_text(struct text text, const char *expected)
{
    assert_int_equal(text.length, strlen(expected));
    assert_memory_equal(text.data, expected, text.length);
}

static void test_header(void **state)
{
    (void)state;
    static const struct {
        uint8_t first;
        enum pclntab_layout layout;
    } rows[] = {
        {0xfb, PCLNTAB_GO_1_13},
        {0xfa, PCLNTAB_GO_1_16},
        {0xf0, PCLNTAB_GO_1_18},
        {0xf1, PCLNTAB_GO_1_20},
    };
    struct pclntab_header header;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t bytes[] = {rows[i].first, 0xff, 0xff, 0xff, 0, 0, 4, 8, 0x39, 0x30, 0, 0, 0, 0, 0, 0};
        assert_true(pclntab_header_parse(bytes, sizeof bytes, &header));
        assert_int_equal(header.layout, rows[i].layout);
        assert_int_equal(header.quantum, 4);
        assert_int_equal(header.function_count, 12345);
        assert_false(pclntab_header_parse(bytes, sizeof bytes - 1, &header));
        static const struct {
            int at;
            uint8_t value;
        } wrong[] = {{0, 0xf2}, {0, 0x77}, {3, 0}, {4, 1}, {5, 1}, {6, 0}, {6, 2}, {7, 4}, {7, 0}};
        for (size_t j = 0; j < sizeof wrong / sizeof wrong[0]; j++) {
            uint8_t kept = bytes[wrong[j].at];
            bytes[wrong[j].at] = wrong[j].value;
            assert_false(pclntab_header_parse(bytes, sizeof bytes, &header));
            bytes[wrong[j].at] = kept;
        }
    }
}

static void test_find(void **state)
{
    (void)state;
    struct pclntab_function function;
    for (int i = 0; i < release_count; i++) {
        build(&releases[i], 1);
        assert_false(pclntab_find(&target.table, text_start - 1, &function));
        assert_false(pclntab_find(&target.table, text_start + text_end, &function));
        assert_false(pclntab_find(&target.table, 0, &function));
        assert_false(pclntab_find(&target.table, UINT64_MAX, &function));
        function = function_at(text_start);
        assert_int_equal(function.entry, text_start);
        assert_int_equal(function.end, text_start + outer_start);
        assert_text(pclntab_name(&target.table, function.name), "runtime.first");
        assert_int_equal(function.args_bytes, 0x30);
        assert_int_equal(function.id, 9);
        assert_int_equal(function.flags, releases[i].minor >= 17 ? GO_FUNCTION_TOP_FRAME | GO_FUNCTION_ASM : 0);
        function = function_at(text_start + outer_start - 1);
        assert_int_equal(function.entry, text_start);
        function = function_at(text_start + outer_start);
        assert_text(pclntab_name(&target.table, function.name), "main.outer");
        function = function_at(text_start + text_end - 1);
        assert_text(pclntab_name(&target.table, function.name), "main.T.wrapper");
        assert_int_equal(function.id, wrapper);
        assert_true(pclntab_function_at(&target.table, 2, &function));
        assert_false(pclntab_function_at(&target.table, 3, &function));
        assert_false(pclntab_function_at(&target.table, UINT64_MAX, &function));
    }
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        uint32_t at;
        int32_t delta;
    } rows[] = {{0, 0}, {3, 0}, {4, 24}, {0x2f, 24}, {0x30, 0}, {0x37, 0}, {0x38, -1}, {0x3f, -1}};
    for (int i = 0; i < release_count; i++)
        for (unsigned quantum = 1; quantum <= 4; quantum += 3) {
            build(&releases[i], quantum);
            struct pclntab_function function = function_at(text_start);
            for (size_t j = 0; j < sizeof rows / sizeof rows[0]; j++)
                assert_int_equal(pclntab_sp_delta(&target.table, &function, text_start + rows[j].at), rows[j].delta);
            function = function_at(text_start + outer_start);
            /* A value of two bytes. */
            assert_int_equal(pclntab_sp_delta(&target.table, &function, text_start + outer_start + 0x40), 0x120);
            assert_int_equal(pclntab_pc_data(&target.table, &function, 2, text_start + outer_start + 9), 1);
            assert_int_equal(pclntab_pc_data(&target.table, &function, 0, text_start + outer_start + 9), -1);
            assert_int_equal(pclntab_pc_data(&target.table, &function, 3, text_start + outer_start + 9), -1);
            assert_int_equal(pclntab_pc_data(&target.table, &function, UINT32_MAX, text_start + outer_start), -1);
            function = function_at(text_start + wrapper_start); /* has no tables */
            assert_int_equal(pclntab_sp_delta(&target.table, &function, text_start + wrapper_start), -1);
            assert_int_equal(pclntab_value(&target.table, &function, UINT32_MAX, text_start + wrapper_start, -7), -7);
        }
}

struct expected {
    const char *name, *file;
    uint32_t line, at;
    uint8_t id;
    bool inlined;
};

static void assert_calls(uint32_t at, const struct expected *expected, size_t count)
{
    struct pclntab_function function = function_at(text_start + at);
    struct pclntab_cursor cursor = pclntab_cursor_new(&target.table, &function, text_start + at);
    struct pclntab_call call;
    for (size_t i = 0; i < count; i++) {
        assert_true(pclntab_cursor_next(&cursor, &call));
        assert_text(call.name, expected[i].name);
        assert_text(call.file, expected[i].file);
        assert_int_equal(call.line, expected[i].line);
        assert_int_equal(call.pc, text_start + expected[i].at);
        assert_int_equal(call.id, expected[i].id);
        assert_int_equal(call.inlined, expected[i].inlined);
    }
    assert_false(pclntab_cursor_next(&cursor, &call));
    assert_false(pclntab_cursor_next(&cursor, &call));
}

static void test_calls(void **state)
{
    (void)state;
    for (int i = 0; i < release_count; i++) {
        build(&releases[i], 1);
        /* The innermost call's line is the pc's; each other one's is that of the place it was inlined at. */
        static const struct expected twice[] = {
            {"main.(*T).innermost", "/src/b.go", 71, outer_start + 0xa, 7, true},
            {"main.inner", "/src/a.go", 61, outer_start + 0x14, 0, true},
            {"main.outer", "/src/a.go", 51, outer_start + 0x20, 0, false},
        };
        static const struct expected once[] = {
            {"main.inner", "/src/a.go", 61, outer_start + 0x17, 0, true},
            {"main.outer", "/src/a.go", 51, outer_start + 0x20, 0, false},
        };
        static const struct expected plain[] = {{"main.outer", "/src/a.go", 51, outer_start + 0x18, 0, false}};
        static const struct expected start[] = {{"main.outer", "/src/b.go", 71, outer_start, 0, false}};
        static const struct expected bare[] = {{"main.T.wrapper", "", 0, wrapper_start + 1, wrapper, false}};
        assert_calls(outer_start + 0xa, twice, 3);
        assert_calls(outer_start + 0x17, once, 2);
        assert_calls(outer_start + 0x18, plain, 1);
        assert_calls(outer_start, start, 1);
        assert_calls(wrapper_start + 1, bare, 1);
        /* A file that the linker left out. */
        struct expected left_out = {"runtime.first", releases[i].minor < 16 ? "" : "?", 7, 0x20, 9, false};
        assert_calls(0x20, &left_out, 1);
    }
}

static void test_no_function_data(void **state)
{
    (void)state;
    static const struct expected plain[] = {{"main.outer", "/src/b.go", 71, outer_start + 0xa, 0, false}};
    for (int i = 0; i < release_count; i++) {
        build(&releases[i], 1);
        target.data.size = 0; /* the tree is not in the image: what is known is the function */
        assert_calls(outer_start + 0xa, plain, 1);
    }
    build(&releases[5], 1);
    target.table.function_data = 0;
    assert_calls(outer_start + 0xa, plain, 1);
}

/* A call that was inlined at its own place: an end is made of it. */
static void test_endless_inlining(void **state)
{
    (void)state;
    for (int i = 0; i < release_count; i++) {
        build(&releases[i], 1);
        uint32_t same = 0xa;
        memcpy(target.data.bytes + element_start + releases[i].element_bytes + releases[i].element_pc, &same, 4);
        struct pclntab_function function = function_at(text_start + outer_start);
        struct pclntab_cursor cursor = pclntab_cursor_new(&target.table, &function, text_start + outer_start + 0xa);
        struct pclntab_call call;
        size_t count = 0;
        while (pclntab_cursor_next(&cursor, &call))
            count++;
        assert_int_equal(count, limit_inline_depth + 1);
    }
}

/* moduledata.textsectmap: the second function's text lies elsewhere. */
static void test_sections(void **state)
{
    (void)state;
    enum { elsewhere = 0x8000000 };
    static const struct pclntab_section sections[] = {
        {first_start, outer_start, text_start},
        {outer_start, text_end, elsewhere},
    };
    build(&releases[5], 1);
    target.table.sections = sections;
    target.table.section_count = 2;
    struct pclntab_function function;
    assert_false(pclntab_find(&target.table, elsewhere + text_end - outer_start, &function));
    function = function_at(elsewhere);
    assert_text(pclntab_name(&target.table, function.name), "main.outer");
    function = function_at(elsewhere + wrapper_start - outer_start);
    assert_text(pclntab_name(&target.table, function.name), "main.T.wrapper");
    assert_int_equal(function.end, elsewhere + text_end - outer_start);
    assert_text(pclntab_name(&target.table, function_at(text_start).name), "runtime.first");
}

static void read_all(void)
{
    for (uint64_t pc = text_start - 1; pc <= text_start + text_end; pc++) {
        struct pclntab_function function;
        if (!pclntab_find(&target.table, pc, &function))
            continue;
        pclntab_sp_delta(&target.table, &function, pc);
        for (unsigned i = 0; i < 8; i++)
            pclntab_function_data(&target.table, &function, i);
        struct pclntab_cursor cursor = pclntab_cursor_new(&target.table, &function, pc);
        struct pclntab_call call;
        for (size_t calls = 0; pclntab_cursor_next(&cursor, &call); calls++)
            assert_true(calls <= limit_inline_depth);
    }
}

/* Each table cut at each length, its bytes in a block of that size so that a sanitizer sees a read past its end. */
static void test_cut_tables(void **state)
{
    (void)state;
    for (int i = 0; i < release_count; i++) {
        for (int which = 0; which < 6; which++) {
            build(&releases[i], 1);
            struct pclntab_table *tables[] = {&target.table.functions, &target.table.records, &target.table.pc_values,
                                              &target.table.names,     &target.table.files,   &target.table.unit_files};
            struct pclntab_table whole = *tables[which];
            for (size_t size = 0; size < whole.size_bytes; size++) {
                uint8_t *cut = malloc(size + (size == 0));
                assert_non_null(cut);
                memcpy(cut, whole.bytes, size);
                *tables[which] = (struct pclntab_table){whole.address, cut, size};
                read_all();
                free(cut);
            }
        }
    }
}

static void test_damaged_tables(void **state)
{
    (void)state;
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
    for (int i = 0; i < release_count; i++)
        for (size_t j = 0; j < sizeof values; j++) {
            build(&releases[i], 1);
            struct buffer *buffers[] = {&target.functions, &target.records, &target.values, &target.units,
                                        &target.data};
            for (size_t k = 0; k < sizeof buffers / sizeof buffers[0]; k++)
                for (size_t at = 0; at < buffers[k]->size; at++) {
                    uint8_t kept = buffers[k]->bytes[at];
                    buffers[k]->bytes[at] = values[j];
                    read_all();
                    buffers[k]->bytes[at] = kept;
                }
        }
}

static void test_wrappers(void **state)
{
    (void)state;
    static const uint8_t ids[] = {[13] = 20, 22, 22, 22, 22, 21, 21, 21, 21, 22, 22, 22, 23, 23, 23};
    for (unsigned minor = 13; minor < sizeof ids; minor++)
        assert_int_equal(pclntab_wrapper_id(minor), ids[minor]);
    assert_int_equal(pclntab_wrapper_id(99), 23);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),           cmocka_unit_test(test_find),
        cmocka_unit_test(test_values),           cmocka_unit_test(test_calls),
        cmocka_unit_test(test_no_function_data), cmocka_unit_test(test_endless_inlining),
        cmocka_unit_test(test_sections),         cmocka_unit_test(test_cut_tables),
        cmocka_unit_test(test_damaged_tables),   cmocka_unit_test(test_wrappers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
