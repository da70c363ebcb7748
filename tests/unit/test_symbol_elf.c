/* SPDX-License-Identifier: Apache-2.0 */
/* Tie rules on literal symbol tables: one section of code at 0x1000 … 0x2000, another at 0x2000 … 0x3000. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "symbol/symbol_elf.h"

#include <elf.h>

struct row {
    const char *name;
    uint64_t start, size_bytes;
    int type, binding;
    uint16_t section; /* 0: defined, in section 1 */
};

static struct arena arena;
static const struct code_range code[] = {{0x1000, 0x2000}, {0x2000, 0x3000}};

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static struct symbol_source source_from_rows(const struct row *rows, size_t count)
{
    Elf64_Sym *symbols = arena_array(&arena, Elf64_Sym, count);
    char *strings = arena_alloc(&arena, 4096, 1);
    size_t used = 1;
    for (size_t i = 0; i < count; i++) {
        symbols[i] = (Elf64_Sym){
            .st_name = (uint32_t)used,
            .st_info = ELF64_ST_INFO(rows[i].binding, rows[i].type),
            .st_shndx = rows[i].section == 0 ? 1 : rows[i].section,
            .st_value = rows[i].start,
            .st_size = rows[i].size_bytes,
        };
        strcpy(strings + used, rows[i].name);
        used += strlen(rows[i].name) + 1;
    }
    return (struct symbol_source){
        .symbols = (const uint8_t *)symbols, .symbol_count = count, .strings = strings, .strings_size_bytes = used};
}

static struct symbol_table *table_from_rows(const struct row *rows, size_t count)
{
    struct symbol_source source = source_from_rows(rows, count);
    return symbol_table_new(&arena, &source, 1, code, 2);
}

/* `expected` NULL: no name. */
static void assert_found(const struct symbol_table *table, uint64_t address, const char *expected, uint64_t start)
{
    struct text name = {NULL, 0};
    uint64_t found_start = 0;
    bool found = symbol_table_find(table, address, &name, &found_start);
    assert_int_equal(found, expected != NULL);
    if (expected == NULL)
        return;
    assert_int_equal(name.length, strlen(expected));
    assert_memory_equal(name.data, expected, name.length);
    assert_int_equal(found_start, start);
}

#define ROWS(...)                                                                                                      \
    static const struct row rows[] = {__VA_ARGS__};                                                                    \
    (void)state;                                                                                                       \
    struct symbol_table *table = table_from_rows(rows, sizeof rows / sizeof rows[0])

static void test_extent(void **state)
{
    ROWS({"b", 0x1100, 0x10, STT_FUNC, STB_GLOBAL}, {"a", 0x1000, 0x20, STT_FUNC, STB_GLOBAL});
    assert_found(table, 0xfff, NULL, 0);
    assert_found(table, 0x1000, "a", 0x1000);
    assert_found(table, 0x101f, "a", 0x1000);
    assert_found(table, 0x1020, NULL, 0);
    assert_found(table, 0x110f, "b", 0x1100);
    assert_found(table, 0x1110, NULL, 0);
    assert_found(table, UINT64_MAX, NULL, 0);
    assert_found(table, 0, NULL, 0);
}

static void test_global_beats_nearer_local(void **state)
{
    ROWS({"local", 0x1010, 0x10, STT_FUNC, STB_LOCAL}, {"global", 0x1000, 0x40, STT_FUNC, STB_GLOBAL});
    assert_found(table, 0x1015, "global", 0x1000);
}

static void test_nearest_global(void **state)
{
    ROWS({"outer", 0x1000, 0x100, STT_FUNC, STB_GLOBAL}, {"inner", 0x1010, 0x10, STT_FUNC, STB_WEAK});
    assert_found(table, 0x1015, "inner", 0x1010);
    assert_found(table, 0x1020, "outer", 0x1000);
}

static void test_ties_at_one_start(void **state)
{
    ROWS({"local", 0x1000, 0x10, STT_FUNC, STB_LOCAL}, {"weak", 0x1000, 0x10, STT_FUNC, STB_WEAK},
         {"large", 0x1000, 0x20, STT_FUNC, STB_GLOBAL}, {"first", 0x1000, 0x10, STT_FUNC, STB_GLOBAL},
         {"second", 0x1000, 0x10, STT_FUNC, STB_GLOBAL});
    assert_found(table, 0x1001, "first", 0x1000);
    assert_found(table, 0x1010, "large", 0x1000);
}

static void test_label_without_size(void **state)
{
    ROWS({"label", 0x1100, 0, STT_NOTYPE, STB_LOCAL}, {"before", 0x1000, 0x20, STT_FUNC, STB_LOCAL},
         {"after", 0x1200, 0x10, STT_FUNC, STB_GLOBAL});
    assert_found(table, 0x1101, "label", 0x1100);
    assert_found(table, 0x1205, "after", 0x1200);
    /* An extent ended between the label and the address. */
    assert_found(table, 0x1210, NULL, 0);
    assert_found(table, 0x1020, NULL, 0);
}

static void test_label_below_an_extent_that_spans_it(void **state)
{
    ROWS({"label", 0x1010, 0, STT_NOTYPE, STB_GLOBAL}, {"f", 0x1000, 0x20, STT_FUNC, STB_LOCAL});
    assert_found(table, 0x1015, "f", 0x1000);
    assert_found(table, 0x1025, NULL, 0);
}

static void test_label_of_another_section(void **state)
{
    ROWS({"label", 0x1100, 0, STT_NOTYPE, STB_LOCAL});
    assert_found(table, 0x1fff, "label", 0x1100);
    assert_found(table, 0x2000, NULL, 0);
}

static void test_what_is_no_code(void **state)
{
    ROWS({"undefined", 0x1000, 0x10, STT_FUNC, STB_GLOBAL}, {"object", 0x1000, 0x10, STT_OBJECT, STB_GLOBAL},
         {"", 0x1000, 0x10, STT_FUNC, STB_GLOBAL}, {"_end", 0x3000, 0, STT_NOTYPE, STB_GLOBAL},
         {"$x", 0x1000, 0, STT_NOTYPE, STB_LOCAL}, {"below", 0x10, 0x10, STT_FUNC, STB_GLOBAL},
         {"beyond", 0x200001000, 0x10, STT_FUNC, STB_GLOBAL}, {"ifunc", 0x1800, 0x10, STT_GNU_IFUNC, STB_GLOBAL});
    assert_found(table, 0x1005, "undefined", 0x1000); /* made so below */
    assert_found(table, 0x1805, "ifunc", 0x1800);
    assert_found(table, 0x15, NULL, 0);
    assert_found(table, 0x3000, NULL, 0);
    assert_found(table, 0x200001005, NULL, 0);

    struct symbol_source source = source_from_rows(rows, 1);
    Elf64_Sym undefined;
    memcpy(&undefined, source.symbols, sizeof undefined);
    undefined.st_shndx = SHN_UNDEF;
    source.symbols = (const uint8_t *)&undefined;
    assert_found(symbol_table_new(&arena, &source, 1, code, 2), 0x1000, NULL, 0);
}

static void test_sources_are_merged(void **state)
{
    (void)state;
    static const struct row mini[] = {{"hidden", 0x1000, 0x10, STT_FUNC, STB_LOCAL}};
    static const struct row dynamic[] = {{"exported", 0x1100, 0x10, STT_FUNC, STB_GLOBAL},
                                         {"twin", 0x1000, 0x10, STT_FUNC, STB_LOCAL}};
    struct symbol_source sources[] = {source_from_rows(mini, 1), source_from_rows(dynamic, 2)};
    struct symbol_table *table = symbol_table_new(&arena, sources, 2, code, 2);
    assert_found(table, 0x1001, "hidden", 0x1000);
    assert_found(table, 0x1101, "exported", 0x1100);
}

static void test_damaged_rows(void **state)
{
    (void)state;
    static const struct row row = {"f", 0x1000, UINT64_MAX, STT_FUNC, STB_GLOBAL};
    struct symbol_source source = source_from_rows(&row, 1);
    assert_found(symbol_table_new(&arena, &source, 1, code, 2), 0x2fff, "f", 0x1000);
    /* A name that the string table cuts off ends there; one beyond it is none. */
    source.strings_size_bytes = 2;
    assert_found(symbol_table_new(&arena, &source, 1, code, 2), 0x1000, "f", 0x1000);
    source.strings_size_bytes = 1;
    assert_found(symbol_table_new(&arena, &source, 1, code, 2), 0x1000, NULL, 0);
    source.symbol_count = 0;
    assert_found(symbol_table_new(&arena, &source, 1, code, 2), 0x1000, NULL, 0);
    assert_found(symbol_table_new(&arena, NULL, 0, NULL, 0), 0x1000, NULL, 0);
}

/* Against a linear reading of the same rules, over a table with many overlaps. */
static void test_sorting(void **state)
{
    (void)state;
    enum { count = 3000 };
    struct row *rows = arena_array(&arena, struct row, count);
    uint32_t random = 1;
    for (size_t i = 0; i < count; i++) {
        random = random * 1664525u + 1013904223u;
        rows[i] = (struct row){"f", 0x1000 + (random >> 8) % 0x2000, 1 + (random >> 4) % 16, STT_FUNC, STB_GLOBAL, 0};
    }
    struct symbol_source source = source_from_rows(rows, 1);
    Elf64_Sym *symbols = arena_array(&arena, Elf64_Sym, count);
    for (size_t i = 0; i < count; i++) {
        memcpy(&symbols[i], source.symbols, sizeof symbols[i]);
        symbols[i].st_value = rows[i].start;
        symbols[i].st_size = rows[i].size_bytes;
    }
    source.symbols = (const uint8_t *)symbols;
    source.symbol_count = count;
    struct symbol_table *table = symbol_table_new(&arena, &source, 1, code, 2);
    for (uint64_t address = 0x1000; address < 0x3000; address++) {
        uint64_t nearest = 0;
        for (size_t i = 0; i < count; i++)
            if (address >= rows[i].start && address - rows[i].start < rows[i].size_bytes && rows[i].start > nearest)
                nearest = rows[i].start;
        assert_found(table, address, nearest == 0 ? NULL : "f", nearest);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_extent),
        cmocka_unit_test(test_global_beats_nearer_local),
        cmocka_unit_test(test_nearest_global),
        cmocka_unit_test(test_ties_at_one_start),
        cmocka_unit_test(test_label_without_size),
        cmocka_unit_test(test_label_below_an_extent_that_spans_it),
        cmocka_unit_test(test_label_of_another_section),
        cmocka_unit_test(test_what_is_no_code),
        cmocka_unit_test(test_sources_are_merged),
        cmocka_unit_test(test_damaged_rows),
        cmocka_unit_test(test_sorting),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
