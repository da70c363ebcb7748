/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/labels.h"

#include "base/byte_reader.h"
#include "base/limits.h"

#include <stdlib.h>

/* runtime/map.go, to 1.23: hmap, and a bucket of eight pairs of strings. */
enum {
    map_count = 0,
    map_flags = 8,
    map_bucket_bits = 9,
    map_buckets = 16,
    map_old_buckets = 24,
    map_bytes = 32,
    map_flag_same_size_grow = 8,
    bucket_pairs = 8,
    bucket_keys = 8,
    bucket_values = bucket_keys + bucket_pairs * 16,
    bucket_overflow = bucket_values + bucket_pairs * 16,
    bucket_bytes = bucket_overflow + 8,
    top_hash_min = 5, /* smaller: the slot is empty, or its pair moved to the new buckets */
};

struct go_labels_reader go_labels_reader_new(const struct go_runtime *runtime, struct intern_table *strings,
                                             struct arena *scratch)
{
    struct go_labels_reader reader = {
        .runtime = runtime,
        .strings = strings,
        .bytes_left = limit_labels_bytes,
        .text = arena_array(scratch, char, limit_label_bytes),
        .labels = arena_array(scratch, struct go_label, limit_labels),
    };
    text_writer_init_memory(&reader.pairs);
    text_writer_init_memory(&reader.sorted);
    return reader;
}

void go_labels_reader_close(struct go_labels_reader *reader)
{
    text_writer_deinit(&reader->pairs);
    text_writer_deinit(&reader->sorted);
}

/* Labels do not change once a goroutine has them: of a running target those of now will do. */
static bool read_bytes(struct go_labels_reader *reader, uint64_t address, void *ret_bytes, size_t size_bytes)
{
    enum { call_bytes = 64 }; /* what a call costs, whatever it reads */
    bool late;
    if (reader->bytes_left < size_bytes + call_bytes) {
        reader->bytes_left = 0;
        return false;
    }
    reader->bytes_left -= size_bytes + call_bytes;
    return memory_ask(&reader->runtime->image->memory, address, ret_bytes, size_bytes, &late) == size_bytes;
}

/* Whether strconv.Quote leaves a character as it is. Its tables know every assigned one; here those blocks that hold no
 * printable character at all are left out. */
static bool is_printable(uint32_t character)
{
    static const struct {
        uint32_t first, last;
    } others[] = {
        {0, 0x1f},        {0x7f, 0xa0},     {0xad, 0xad},       {0x600, 0x605},      {0x61c, 0x61c},
        {0x6dd, 0x6dd},   {0x70f, 0x70f},   {0x1680, 0x1680},   {0x180e, 0x180e},    {0x2000, 0x200f},
        {0x2028, 0x202f}, {0x205f, 0x206f}, {0x3000, 0x3000},   {0xd800, 0xf8ff},    {0xfeff, 0xfeff},
        {0xfff0, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0xe00ff}, {0xe01f0, 0x10ffff},
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (character >= others[i].first && character <= others[i].last)
            return false;
    return true;
}

/* The UTF-8 character at the start of a text; 1 byte that is none has *ret_valid false. */
static size_t take_character(struct text text, uint32_t *ret_character, bool *ret_valid)
{
    const unsigned char *bytes = (const unsigned char *)text.data;
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = bytes[0] < 0x80       ? 1
                    : bytes[0] >> 5 == 6  ? 2
                    : bytes[0] >> 4 == 14 ? 3
                    : bytes[0] >> 3 == 30 ? 4
                                          : 0;
    uint32_t character = length == 1 ? bytes[0] : length == 0 ? 0 : bytes[0] & (0x7fu >> length);
    *ret_valid = length != 0 && length <= text.length;
    for (size_t i = 1; *ret_valid && i < length; i++) {
        *ret_valid = bytes[i] >> 6 == 2;
        character = character << 6 | (bytes[i] & 0x3f);
    }
    *ret_valid = *ret_valid && character >= smallest[length] && character <= 0x10ffff &&
                 (character < 0xd800 || character > 0xdfff);
    *ret_character = character;
    return *ret_valid ? length : 1;
}

/* strconv.Quote */
static void write_quoted(struct text_writer *writer, struct text text)
{
    static const char named[] = "\a\b\f\n\r\t\v\\\"", letters[] = "abfnrtv\\\"";
    text_writer_string(writer, "\"");
    for (size_t at = 0; at < text.length;) {
        uint32_t character;
        bool valid;
        struct text rest = {text.data + at, text.length - at};
        size_t length = take_character(rest, &character, &valid);
        const char *found = valid && character != 0 && character < 0x80 ? strchr(named, (int)character) : NULL;
        if (found != NULL)
            text_writer_printf(writer, "\\%c", letters[found - named]);
        else if (!valid || ((character < 0x20 || character == 0x7f) && length == 1))
            text_writer_printf(writer, "\\x%02x", (unsigned char)rest.data[0]);
        else if (is_printable(character))
            text_writer_bytes(writer, rest.data, length);
        else
            text_writer_printf(writer, character < 0x10000 ? "\\u%04x" : "\\U%08x", character);
        at += length;
    }
    text_writer_string(writer, "\"");
}

/* A string header's text, quoted. */
static bool add_string(struct go_labels_reader *reader, const uint8_t *header)
{
    uint64_t length = load_u64(header + 8);
    if (length > limit_label_bytes ||
        (length != 0 && !read_bytes(reader, load_u64(header), reader->text, (size_t)length)))
        return false;
    write_quoted(&reader->pairs, (struct text){reader->text, (size_t)length});
    return true;
}

static bool add_pair(struct go_labels_reader *reader, const uint8_t *key, const uint8_t *value)
{
    size_t start = reader->pairs.length;
    if (reader->count == reader->expected || !add_string(reader, key))
        return false;
    text_writer_string(&reader->pairs, ":");
    if (!add_string(reader, value))
        return false;
    reader->labels[reader->count++] = (struct go_label){start, reader->pairs.length - start};
    return true;
}

/* One bucket and those chained to it. */
static bool read_bucket(struct go_labels_reader *reader, uint64_t address)
{
    /* A chain that comes back to itself ends by the count of pairs, or by its length. */
    for (size_t chained = 0; address != 0; chained++) {
        uint8_t bucket[bucket_bytes];
        if (chained == limit_labels || !read_bytes(reader, address, bucket, sizeof bucket))
            return false;
        for (size_t i = 0; i < bucket_pairs; i++)
            if (bucket[i] >= top_hash_min &&
                !add_pair(reader, bucket + bucket_keys + 16 * i, bucket + bucket_values + 16 * i))
                return false;
        address = load_u64(bucket + bucket_overflow);
    }
    return true;
}

static bool read_buckets(struct go_labels_reader *reader, uint64_t address, unsigned bits)
{
    for (uint64_t i = 0; address != 0 && i < (uint64_t)1 << bits; i++)
        if (!read_bucket(reader, address + i * bucket_bytes))
            return false;
    return true;
}

static bool read_map(struct go_labels_reader *reader, uint64_t address)
{
    enum { bucket_bits_max = 10 }; /* limit_labels at an eighth of what fits */
    uint8_t pointer[8], map[map_bytes];
    if (!read_bytes(reader, address, pointer, sizeof pointer))
        return false;
    if (load_u64(pointer) == 0) /* a nil map */
        return true;
    if (!read_bytes(reader, load_u64(pointer), map, sizeof map))
        return false;
    unsigned bits = map[map_bucket_bits];
    reader->expected = load_u64(map + map_count);
    if (reader->expected > limit_labels || bits > bucket_bits_max)
        return false;
    uint64_t old = load_u64(map + map_old_buckets);
    unsigned old_bits = bits - ((map[map_flags] & map_flag_same_size_grow) == 0 && bits != 0);
    /* While a map grows, pairs that have not moved yet are in the old buckets. */
    return read_buckets(reader, load_u64(map + map_buckets), bits) && read_buckets(reader, old, old_bits) &&
           reader->count == reader->expected;
}

static bool read_slice(struct go_labels_reader *reader, uint64_t address)
{
    uint8_t slice[24], pair[32];
    if (!read_bytes(reader, address, slice, sizeof slice))
        return false;
    reader->expected = load_u64(slice + 8);
    if (reader->expected > limit_labels || reader->expected > load_u64(slice + 16))
        return false;
    while (reader->count < reader->expected)
        if (!read_bytes(reader, load_u64(slice) + reader->count * sizeof pair, pair, sizeof pair) ||
            !add_pair(reader, pair, pair + 16))
            return false;
    return true;
}

static int compare_labels(const void *left, const void *right, void *context)
{
    const struct go_label *a = left, *b = right;
    const char *pairs = context;
    size_t shorter = a->length < b->length ? a->length : b->length;
    int order = memcmp(pairs + a->start, pairs + b->start, shorter);
    return order != 0 ? order : a->length < b->length ? -1 : a->length > b->length;
}

static uint32_t read_labels(struct go_labels_reader *reader, uint64_t address)
{
    reader->count = reader->expected = 0;
    reader->pairs.length = reader->sorted.length = 0;
    if (!(reader->runtime->minor >= 24 ? read_slice(reader, address) : read_map(reader, address)))
        return 0;
    qsort_r(reader->labels, reader->count, sizeof *reader->labels, compare_labels, reader->pairs.buffer);
    text_writer_string(&reader->sorted, "{");
    for (size_t i = 0; i < reader->count; i++) {
        text_writer_string(&reader->sorted, i == 0 ? "" : ", ");
        text_writer_bytes(&reader->sorted, reader->pairs.buffer + reader->labels[i].start, reader->labels[i].length);
    }
    text_writer_string(&reader->sorted, "}");
    return intern_table_add(reader->strings, (struct text){reader->sorted.buffer, reader->sorted.length});
}

uint32_t go_labels_read(struct go_labels_reader *reader, uint64_t address)
{
    if (address == 0)
        return 0;
    size_t slot = (size_t)((address * 0x9e3779b97f4a7c15u) >> 56);
    if (reader->cache[slot].address != address) {
        reader->cache[slot].address = address;
        reader->cache[slot].string = read_labels(reader, address);
    }
    return reader->cache[slot].string;
}
