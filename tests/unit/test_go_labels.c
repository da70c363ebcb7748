/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/limits.h"
#include "golang/labels.h"

#include <stdlib.h>

/* Memory of a target at 0x1000, put together word by word. */
enum { base = 0x1000 };

static struct {
    struct arena arena;
    struct image image;
    struct go_runtime runtime;
    struct intern_table strings;
    uint8_t bytes[1 << 16];
    size_t length;
} test;

static int setup(void **state)
{
    (void)state;
    memset(&test, 0, sizeof test);
    arena_init(&test.arena, 0, NULL);
    test.image.memory.arena = &test.arena;
    test.runtime = (struct go_runtime){.image = &test.image, .minor = 24};
    intern_table_init(&test.strings, &test.arena);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&test.arena);
    return 0;
}

static uint64_t put_bytes(const void *bytes, size_t size_bytes)
{
    uint64_t address = base + test.length;
    memcpy(test.bytes + test.length, bytes, size_bytes);
    test.length += (size_bytes + 7) & ~(size_t)7;
    return address;
}

static uint64_t put_words(size_t count, const uint64_t *words)
{
    return put_bytes(words, count * sizeof *words);
}
#define WORDS(...) put_words(sizeof((uint64_t[]){__VA_ARGS__}) / 8, (uint64_t[]){__VA_ARGS__})

static uint64_t put_text(const char *text)
{
    return put_bytes(text, strlen(text) + 1);
}

/* What is read at the address, or NULL for no labels. */
static const char *read_at(uint64_t address)
{
    if (test.image.memory.core.count == 0) {
        memory_layer_append(&test.image.memory, &test.image.memory.core,
                            (struct memory_range){base, base + test.length, test.bytes});
        memory_layer_freeze(&test.image.memory, &test.image.memory.core);
    }
    struct go_labels_reader reader = go_labels_reader_new(&test.runtime, &test.strings, &test.arena);
    uint32_t first = go_labels_read(&reader, address), again = go_labels_read(&reader, address);
    go_labels_reader_close(&reader);
    assert_int_equal(first, again);
    return first == 0 ? NULL : intern_table_text(&test.strings, first).data;
}

/* Go 1.24 and later. */
static void test_slice(void **state)
{
    (void)state;
    uint64_t pairs = WORDS(put_text("tenant"), 6, put_text("x\n"), 2, put_text("a\"b"), 3, put_text("\xc3\xbc\xff"), 3);
    uint64_t labels = WORDS(pairs, 2, 4), none = WORDS(0, 0, 0);
    assert_string_equal(read_at(labels), "{\"a\\\"b\":\"\xc3\xbc\\xff\", \"tenant\":\"x\\n\"}");
    assert_string_equal(read_at(none), "{}");
    assert_null(read_at(0));
}

/* A map of Go's up to 1.23: pairs of the old buckets, which have not moved yet, count too. */
static void test_map(void **state)
{
    (void)state;
    test.runtime.minor = 19;
    uint8_t bucket[272] = {5, 0, 200, 2}; /* hashes of two pairs, one slot empty, one pair moved elsewhere */
    uint8_t old[272] = {4, 77};
    uint64_t key = put_text("k0k1k2"), value = put_text("v0v1v2");
    const uint64_t headers[][2] = {{key, 2}, {key + 2, 2}, {key + 4, 2}, {value, 2}, {value + 2, 2}, {value + 4, 2}};
    memcpy(bucket + 8, headers[0], 16);
    memcpy(bucket + 8 + 2 * 16, headers[1], 16);
    memcpy(bucket + 136, headers[3], 16);
    memcpy(bucket + 136 + 2 * 16, headers[4], 16);
    memcpy(old + 8 + 16, headers[2], 16);
    memcpy(old + 136 + 16, headers[5], 16);
    uint64_t map = WORDS(3, 8 /* same size */, put_bytes(bucket, sizeof bucket), put_bytes(old, sizeof old));
    uint64_t other_count = WORDS(4, 0, put_bytes(bucket, sizeof bucket), 0);
    uint64_t labels = WORDS(map), wrong = WORDS(other_count), nil = WORDS(0);
    assert_string_equal(read_at(labels), "{\"k0\":\"v0\", \"k1\":\"v1\", \"k2\":\"v2\"}");
    assert_string_equal(read_at(nil), "{}");
    assert_null(read_at(wrong)); /* it has fewer pairs than it says */
}

/* Programs keep other things in the word. */
static void test_nonsense(void **state)
{
    (void)state;
    uint64_t text = put_text("k");
    uint64_t pair = WORDS(text, 1, text, 1), far = WORDS(text, 1, 0xdead0000, 1),
             long_key = WORDS(text, 1u << 30, text, 1);
    const uint64_t slices[] = {WORDS(pair, 2, 1), WORDS(pair, limit_labels + 1, ~0u), WORDS(far, 1, 1),
                               WORDS(long_key, 1, 1), WORDS(0xdead0000, 1, 1)};
    for (size_t i = 0; i < sizeof slices / sizeof slices[0]; i++)
        assert_null(read_at(slices[i]));
    assert_null(read_at(0xdead0000));
    assert_null(read_at(base + test.length - 8)); /* ends at the memory's end */
}

/* A chain of buckets that leads back to itself. */
static void test_endless_map(void **state)
{
    (void)state;
    test.runtime.minor = 19;
    uint8_t bucket[272] = {0};
    uint64_t address = base + test.length;
    memcpy(bucket + 264, &address, 8);
    put_bytes(bucket, sizeof bucket);
    uint64_t labels = WORDS(WORDS(1, (uint64_t)10 << 8, address, 0));
    struct go_labels_reader reader = go_labels_reader_new(&test.runtime, &test.strings, &test.arena);
    assert_null(read_at(labels));
    /* However many goroutines point to such things, what they cost has an end. */
    for (uint64_t i = 0; reader.bytes_left != 0 && i < 20000; i++) {
        assert_int_equal(go_labels_read(&reader, labels), 0);
        reader.cache[0].address = 0;
        memset(reader.cache, 0, sizeof reader.cache);
    }
    assert_int_equal(reader.bytes_left, 0);
    go_labels_reader_close(&reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_slice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_map, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nonsense, setup, teardown),
        cmocka_unit_test_setup_teardown(test_endless_map, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
