/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/byte_reader.h"

/* Bytes that end where the allocation ends, so that a sanitizer sees a read past them. */
static uint8_t *exact_copy(const void *bytes, size_t count)
{
    uint8_t *copy = test_malloc(count + (count == 0));
    memcpy(copy, bytes, count);
    return copy;
}

static const uint8_t bytes[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x88, /* u64 */
                                0x11, 0x12, 0x13, 0x94,                         /* u32 */
                                0x21, 0xa2,                                     /* u16 */
                                'a',  'b',  0,                                  /* string */
                                0,                                              /* empty string */
                                0x31, 0x32, 0x33};                              /* taken */

/* Ends of the fields above. */
static const size_t ends[] = {8, 12, 14, 17, 18, 21};

static void read_all(struct byte_reader *reader, size_t whole_fields)
{
    assert_int_equal(byte_reader_u64(reader), whole_fields > 0 ? 0x8807060504030201 : 0);
    assert_int_equal(byte_reader_u32(reader), whole_fields > 1 ? 0x94131211 : 0);
    assert_int_equal(byte_reader_u16(reader), whole_fields > 2 ? 0xa221 : 0);
    struct text string = byte_reader_string(reader);
    assert_true(text_equals(string, whole_fields > 3 ? TEXT("ab") : TEXT("")));
    assert_non_null(string.data);
    assert_int_equal(byte_reader_string(reader).length, 0);
    const uint8_t *taken = byte_reader_take(reader, 3);
    if (whole_fields > 5)
        assert_memory_equal(taken, "123", 3);
    else
        assert_null(taken);
}

/* The first field that is cut fails, and so does all after it, also what would fit. */
static void test_every_cut(void **state)
{
    (void)state;
    for (size_t size = 0; size <= sizeof bytes; size++) {
        uint8_t *exact = exact_copy(bytes, size);
        struct byte_reader reader = byte_reader_new(exact, size);
        size_t whole_fields = 0;
        while (whole_fields < sizeof ends / sizeof ends[0] && ends[whole_fields] <= size)
            whole_fields++;
        read_all(&reader, whole_fields);
        assert_int_equal(reader.failed, size != sizeof bytes);
        assert_int_equal(reader.position, whole_fields == 0 ? 0 : ends[whole_fields - 1]);
        assert_int_equal(byte_reader_left(&reader), size - reader.position);
        test_free(exact);
    }
}

static void test_failure_sticks(void **state)
{
    (void)state;
    struct byte_reader reader = byte_reader_new(bytes, sizeof bytes);
    assert_null(byte_reader_take(&reader, SIZE_MAX));
    assert_true(reader.failed);
    assert_int_equal(byte_reader_u16(&reader), 0);
    assert_null(byte_reader_take(&reader, 0));
    assert_int_equal(byte_reader_string(&reader).length, 0);
    assert_int_equal(reader.position, 0);
}

static void test_seek(void **state)
{
    (void)state;
    struct byte_reader reader = byte_reader_new(bytes, sizeof bytes);
    byte_reader_seek(&reader, 12);
    assert_int_equal(byte_reader_u16(&reader), 0xa221);
    byte_reader_seek(&reader, sizeof bytes);
    assert_false(reader.failed);
    assert_int_equal(byte_reader_left(&reader), 0);
    byte_reader_seek(&reader, sizeof bytes + 1);
    assert_true(reader.failed);
    byte_reader_seek(&reader, 0);
    assert_true(reader.failed);
}

static void test_nothing(void **state)
{
    (void)state;
    struct byte_reader reader = byte_reader_new(NULL, 0);
    assert_int_equal(byte_reader_string(&reader).length, 0);
    assert_true(reader.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_failure_sticks),
        cmocka_unit_test(test_seek),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
