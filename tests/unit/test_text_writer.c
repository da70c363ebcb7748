/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/text_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static void assert_written(struct text_writer *writer, const char *expected)
{
    assert_int_equal(text_writer_finish(writer), 0);
    assert_int_equal(writer->length, strlen(expected));
    if (writer->length != 0)
        assert_memory_equal(writer->buffer, expected, writer->length);
    writer->length = 0;
}

/* RFC 3629's table of well-formed sequences, written anew: the length of the character, 0 for none. */
static size_t reference_length(const unsigned char *byte, size_t count)
{
    static const struct {
        unsigned char first_low, first_high, second_low, second_high;
        size_t length;
    } rows[] = {{0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
                {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (byte[0] < rows[i].first_low || byte[0] > rows[i].first_high)
            continue;
        if (rows[i].length > count)
            return 0;
        if (rows[i].length > 1 && (byte[1] < rows[i].second_low || byte[1] > rows[i].second_high))
            return 0;
        for (size_t j = 2; j < rows[i].length; j++)
            if (byte[j] < 0x80 || byte[j] > 0xbf)
                return 0;
        return rows[i].length;
    }
    return 0;
}

static bool is_refused(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
           (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

/* All first and second bytes, with edges of the third and fourth, at each length. */
static void test_utf8(void **state)
{
    (void)state;
    static const unsigned char edges[] = {0x00, 0x7f, 0x80, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xae, 0xaf, 0xbf, 0xc0, 0xff};
    for (unsigned first = 0; first < 256; first++)
        for (unsigned second = 0; second < 256; second++)
            for (size_t third = 0; third < sizeof edges; third++)
                for (size_t fourth = 0; fourth < sizeof edges; fourth++)
                    for (size_t count = 0; count <= 4; count++) {
                        unsigned char bytes[] = {(unsigned char)first, (unsigned char)second, edges[third],
                                                 edges[fourth]};
                        size_t expected = count == 0 ? 0 : reference_length(bytes, count);
                        uint32_t code = bytes[0];
                        if (expected > 1)
                            code &= 0x7fu >> expected;
                        for (size_t i = 1; i < expected; i++)
                            code = code << 6 | (bytes[i] & 0x3f);
                        if (is_refused(code))
                            expected = 0;
                        if (text_utf8_character((struct text){(const char *)bytes, count}) != expected)
                            fail_msg("%02x %02x %02x %02x, %zu bytes of it", bytes[0], bytes[1], bytes[2], bytes[3],
                                     count);
                    }
}

static void test_safe(void **state)
{
    (void)state;
    const struct {
        struct text text;
        const char *expected;
    } rows[] = {
        {TEXT(""), ""},
        {TEXT("main"), "main"},
        {TEXT("a\nb\tc\033[31m\177"), "a\\x0ab\\x09c\\x1b[31m\\x7f"},
        {TEXT("nul\0byte"), "nul\\x00byte"},
        {TEXT("\xc3\xa9t\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x9b"), "\xc3\xa9t\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x9b"},
        {TEXT("\xc2\x9b"), "\\xc2\\x9b"},                 /* C1: CSI */
        {TEXT("\xc2\xa0"), "\xc2\xa0"},                   /* the first behind C1 */
        {TEXT("\xc0\xaf"), "\\xc0\\xaf"},                 /* '/' in two bytes */
        {TEXT("\xe0\x80\xaf"), "\\xe0\\x80\\xaf"},        /* … in three */
        {TEXT("\xf0\x80\x80\xaf"), "\\xf0\\x80\\x80\\xaf"}, /* … in four */
        {TEXT("\xed\xa0\x80"), "\\xed\\xa0\\x80"},        /* surrogate */
        {TEXT("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80"}, /* above U+10FFFF */
        {TEXT("\xe2\x80\xae"), "\\xe2\\x80\\xae"},        /* right-to-left override */
        {TEXT("\xe2\x81\xa6"), "\\xe2\\x81\\xa6"},        /* left-to-right isolate */
        {TEXT("\xe2\x80\xa8"), "\\xe2\\x80\\xa8"},        /* line separator */
        {TEXT("\xe2\x82"), "\\xe2\\x82"},                 /* cut */
        {TEXT("\xe2" "a\xc3\xa9"), "\\xe2" "a\xc3\xa9"},  /* goes on behind what is broken */
    };
    struct text_writer writer;
    text_writer_init_memory(&writer);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        text_writer_safe(&writer, rows[i].text);
        assert_written(&writer, rows[i].expected);
    }
    text_writer_deinit(&writer);
}

static void test_count(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        const char *expected;
    } rows[] = {{0, "0"},         {7, "7"},         {999, "999"},         {1000, "1,000"},
                {10000, "10,000"}, {100000, "100,000"}, {1234567, "1,234,567"},
                {UINT64_MAX, "18,446,744,073,709,551,615"}};
    struct text_writer writer;
    text_writer_init_memory(&writer);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        text_writer_count(&writer, rows[i].value);
        assert_written(&writer, rows[i].expected);
    }
    text_writer_deinit(&writer);
}

static void test_hex(void **state)
{
    (void)state;
    struct text_writer writer;
    text_writer_init_memory(&writer);
    text_writer_hex(&writer, 0);
    assert_written(&writer, "0x0");
    text_writer_hex(&writer, 0x10);
    assert_written(&writer, "0x10");
    text_writer_hex(&writer, 0x7ffdeadbeefc0000);
    assert_written(&writer, "0x7ffdeadbeefc0000");
    text_writer_hex(&writer, UINT64_MAX);
    assert_written(&writer, "0xffffffffffffffff");
    text_writer_deinit(&writer);
}

/* Lines around the sizes of the writer's buffers. */
static void test_printf(void **state)
{
    (void)state;
    static const int widths[] = {1, 510, 511, 512, 513, 65535, 65536, 65537, 200000};
    struct text_writer writer;
    text_writer_init_memory(&writer);
    size_t length = 0;
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        text_writer_printf(&writer, "%*d", widths[i], 1);
        length += (size_t)widths[i];
        assert_int_equal(writer.length, length);
        assert_int_equal(writer.buffer[length - 1], '1');
        assert_int_equal(writer.buffer[length - (size_t)widths[i]], widths[i] == 1 ? '1' : ' ');
    }
    text_writer_deinit(&writer);
}

static void test_file_descriptor(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    assert_non_null(file);
    struct text_writer writer;
    text_writer_init_fd(&writer, fileno(file));
    for (int i = 0; i < 50000; i++)
        text_writer_printf(&writer, "%08d\n", i);
    text_writer_printf(&writer, "%*d\n", 150000, 9);
    assert_int_equal(text_writer_finish(&writer), 0);
    text_writer_deinit(&writer);
    rewind(file);
    char line[16];
    for (int i = 0; i < 50000; i++) {
        char expected[16];
        snprintf(expected, sizeof expected, "%08d\n", i);
        assert_non_null(fgets(line, sizeof line, file));
        assert_string_equal(line, expected);
    }
    fseek(file, 0, SEEK_END);
    assert_int_equal(ftell(file), 50000 * 9 + 150001);
    fclose(file);
}

static void test_full_disk_sticks(void **state)
{
    (void)state;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        skip();
    struct text_writer writer;
    text_writer_init_fd(&writer, fd);
    text_writer_string(&writer, "small");
    assert_int_equal(writer.failed_errno, 0); /* in the buffer still */
    for (int i = 0; i < 30; i++)
        text_writer_printf(&writer, "%*d", 10000, 1);
    assert_int_equal(writer.failed_errno, ENOSPC);
    close(fd);
    text_writer_string(&writer, "after"); /* dropped: a write to the closed descriptor would say EBADF */
    assert_int_equal(text_writer_finish(&writer), ENOSPC);
    assert_int_equal(text_writer_finish(&writer), ENOSPC);
    text_writer_deinit(&writer);
}

static void test_last_flush_fails(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    struct text_writer writer;
    text_writer_init_fd(&writer, ends[0]); /* the reading end */
    text_writer_string(&writer, "x");
    assert_int_equal(text_writer_finish(&writer), EBADF);
    text_writer_deinit(&writer);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8),   cmocka_unit_test(test_safe),
        cmocka_unit_test(test_count),  cmocka_unit_test(test_hex),
        cmocka_unit_test(test_printf), cmocka_unit_test(test_file_descriptor),
        cmocka_unit_test(test_full_disk_sticks), cmocka_unit_test(test_last_flush_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
