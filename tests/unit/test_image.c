/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "model/image.h"

static struct mapping mappings[] = {
    {.start = 0x1000, .end = 0x2000, .access = MAPPING_READ},
    {.start = 0x2000, .end = 0x3000, .access = MAPPING_READ | MAPPING_EXECUTE},
    {.start = 0x5000, .end = 0x5001, .access = MAPPING_READ | MAPPING_WRITE},
    {.start = 0xffffffffff600000, .end = 0xffffffffff601000, .access = MAPPING_EXECUTE},
};
static struct module modules[] = {{.start = 0x1000, .end = 0x3000}, {.start = 0x3000, .end = 0x4000},
                                  {.start = 0x8000, .end = 0x9000}};
static const struct image image = {
    .mappings = mappings, .mapping_count = 4, .modules = modules, .module_count = 3};

static void test_find_module(void **state)
{
    (void)state;
    static const struct {
        uint64_t address;
        uint32_t module;
    } rows[] = {{0, index_none},  {0xfff, index_none},  {0x1000, 0},          {0x2fff, 0},
                {0x3000, 1},      {0x3fff, 1},          {0x4000, index_none}, {0x7fff, index_none},
                {0x8000, 2},      {0x8fff, 2},          {0x9000, index_none}, {UINT64_MAX, index_none}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(image_find_module(&image, rows[i].address), rows[i].module);
    assert_int_equal(image_find_module(&(struct image){0}, 0x1000), index_none);
}

static void test_find_mapping(void **state)
{
    (void)state;
    assert_null(image_find_mapping(&image, 0xfff));
    assert_ptr_equal(image_find_mapping(&image, 0x1000), &mappings[0]);
    assert_ptr_equal(image_find_mapping(&image, 0x1fff), &mappings[0]);
    assert_ptr_equal(image_find_mapping(&image, 0x2000), &mappings[1]);
    assert_null(image_find_mapping(&image, 0x3000));
    assert_ptr_equal(image_find_mapping(&image, 0x5000), &mappings[2]);
    assert_null(image_find_mapping(&image, 0x5001));
    assert_ptr_equal(image_find_mapping(&image, 0xffffffffff600fff), &mappings[3]);
    assert_null(image_find_mapping(&image, UINT64_MAX));
    assert_null(image_find_mapping(&(struct image){0}, 0));
}

static void test_is_executable(void **state)
{
    (void)state;
    assert_false(image_is_executable(&image, 0x1fff));
    assert_true(image_is_executable(&image, 0x2000));
    assert_false(image_is_executable(&image, 0x3000));
    assert_false(image_is_executable(&image, 0x5000));
    assert_true(image_is_executable(&image, 0xffffffffff600000));
    assert_false(image_is_executable(&image, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find_module),
        cmocka_unit_test(test_find_mapping),
        cmocka_unit_test(test_is_executable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
