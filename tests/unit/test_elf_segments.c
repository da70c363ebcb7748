/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "format/elf_segments.h"

#include <elf.h>

static Elf64_Ehdr header(void)
{
    return (Elf64_Ehdr){
        .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_CORE,
        .e_machine = EM_X86_64,
        .e_version = 1,
        .e_entry = 0x401000,
        .e_phoff = 0x40,
        .e_shoff = 0x123456789,
        .e_ehsize = 64,
        .e_phentsize = 56,
        .e_phnum = 0xffff,
    };
}

static void assert_expects(const Elf64_Ehdr *elf, size_t size_bytes, const char *part)
{
    uint8_t *exact = test_malloc(size_bytes + 1);
    memcpy(exact + 1, elf, size_bytes);
    struct elf_header result;
    const char *expected = elf_header_parse(exact + 1, size_bytes, &result);
    assert_non_null(expected);
    if (strstr(expected, part) == NULL)
        fail_msg("'%s' does not hold '%s'", expected, part);
    test_free(exact);
}

static void test_header(void **state)
{
    (void)state;
    Elf64_Ehdr elf = header();
    struct elf_header result;
    assert_null(elf_header_parse((const uint8_t *)&elf, sizeof elf, &result));
    assert_int_equal(result.type, ELF_TYPE_CORE);
    assert_int_equal(result.machine, EM_X86_64);
    assert_int_equal(result.entry, 0x401000);
    assert_int_equal(result.segments_offset, 0x40);
    assert_int_equal(result.sections_offset, 0x123456789);
    assert_int_equal(result.segment_size, 56);
    assert_int_equal(result.segment_count, 0xffff);
}

static void test_every_cut(void **state)
{
    (void)state;
    Elf64_Ehdr elf = header();
    for (size_t size = 0; size < sizeof elf; size++)
        assert_expects(&elf, size, size < 4 ? "magic" : "64 bytes");
}

static void test_what_was_expected(void **state)
{
    (void)state;
    static const struct {
        size_t offset;
        uint8_t value;
        const char *part;
    } rows[] = {{0, 0x7e, "magic"},           {3, 'f', "magic"},         {EI_CLASS, ELFCLASS32, "64-bit"},
                {EI_DATA, ELFDATA2MSB, "little-endian"}, {EI_VERSION, 0, "version"}, {54, 32, "56 bytes"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        Elf64_Ehdr elf = header();
        ((uint8_t *)&elf)[rows[i].offset] = rows[i].value;
        assert_expects(&elf, sizeof elf, rows[i].part);
    }
    /* Without program headers their size says nothing (an object file has 0). */
    Elf64_Ehdr elf = header();
    elf.e_phentsize = elf.e_phnum = 0;
    struct elf_header result;
    assert_null(elf_header_parse((const uint8_t *)&elf, sizeof elf, &result));
}

static void test_segment(void **state)
{
    (void)state;
    Elf64_Phdr elf = {PT_LOAD, PF_R | PF_X, 0x1111222233334444, 0x2222333344445555, 9, 0x3333444455556666,
                      0x4444555566667777, 0x1000};
    struct elf_segment segment = elf_segment_parse((const uint8_t *)&elf);
    assert_int_equal(segment.type, ELF_SEGMENT_LOAD);
    assert_int_equal(segment.flags, PF_R | PF_X);
    assert_int_equal(segment.offset, 0x1111222233334444);
    assert_int_equal(segment.address, 0x2222333344445555);
    assert_int_equal(segment.file_bytes, 0x3333444455556666);
    assert_int_equal(segment.memory_bytes, 0x4444555566667777);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_what_was_expected),
        cmocka_unit_test(test_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
