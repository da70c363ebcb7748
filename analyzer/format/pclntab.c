/* SPDX-License-Identifier: Apache-2.0 */
#include "format/pclntab.h"

#include "base/limits.h"

/* Where the fields of a _func record stand. -1: this release has none. */
struct record_layout {
    int8_t entry_bytes; /* 8: an address; 4: an offset in the text */
    int8_t name, args, sp_values, file_values, line_values, pc_data_count, unit, id, flags, function_data_count, size_bytes;
};

static const struct record_layout record_layouts[] = {
    [PCLNTAB_GO_1_13] = {8, 8, 12, 20, 24, 28, 32, -1, 36, -1, 39, 40},
    [PCLNTAB_GO_1_16] = {8, 8, 12, 20, 24, 28, 32, 36, 40, -1, 43, 44},
    [PCLNTAB_GO_1_18] = {4, 4, 8, 16, 20, 24, 28, 32, 36, 37, 39, 40},
    [PCLNTAB_GO_1_20] = {4, 4, 8, 16, 20, 24, 28, 32, 40, 41, 43, 44},
};
enum { flags_go_1_17 = 41 }; /* the one field that 1.17 has and 1.16 has not */

/* runtime/funcdata.h of each release. */
enum { pc_data_inline = 2, function_data_inline_1_13 = 4, function_data_inline = 3 };
enum { inline_element_bytes_1_13 = 20, inline_element_bytes = 16 };

bool pclntab_header_parse(const uint8_t *bytes, size_t size_bytes, struct pclntab_header *ret_header)
{
    static const struct {
        uint32_t magic;
        enum pclntab_layout layout;
    } magics[] = {
        {0xfffffffb, PCLNTAB_GO_1_13},
        {0xfffffffa, PCLNTAB_GO_1_16},
        {0xfffffff0, PCLNTAB_GO_1_18},
        {0xfffffff1, PCLNTAB_GO_1_20},
    };
    struct byte_reader reader = byte_reader_new(bytes, size_bytes);
    uint32_t magic = byte_reader_u32(&reader);
    const uint8_t *rest = byte_reader_take(&reader, 4);
    uint64_t count = byte_reader_u64(&reader);
    if (reader.failed || rest[0] != 0 || rest[1] != 0 || (rest[2] != 1 && rest[2] != 4) || rest[3] != 8)
        return false;
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++)
        if (magics[i].magic == magic) {
            *ret_header = (struct pclntab_header){magics[i].layout, rest[2], count};
            return true;
        }
    return false;
}

/* Unsigned LEB128, at most 32 bits of value, as runtime.readvarint reads it. */
static uint32_t read_varint(struct byte_reader *reader)
{
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        const uint8_t *byte = byte_reader_take(reader, 1);
        if (byte == NULL)
            return 0;
        value |= shift < 32 ? (uint32_t)(*byte & 0x7f) << shift : 0;
        if ((*byte & 0x80) == 0)
            return value;
    }
    reader->failed = true;
    return 0;
}

static uint64_t text_address(const struct pclntab *table, uint32_t offset)
{
    for (size_t i = 0; table->section_count > 1 && i < table->section_count; i++) {
        const struct pclntab_section *section = &table->sections[i];
        bool is_last = i + 1 == table->section_count;
        if (offset >= section->start && (offset < section->end || (is_last && offset == section->end)))
            return section->address + (offset - section->start);
    }
    return table->text + offset;
}

/* The pc and the record's offset at a place of the function table; the one past the last has a pc alone. */
static bool function_row(const struct pclntab *table, uint64_t number, uint64_t *ret_pc, uint64_t *ret_offset)
{
    bool wide = table->layout <= PCLNTAB_GO_1_16;
    size_t row_bytes = wide ? 16 : 8, pc_bytes = row_bytes / 2;
    if (number > table->function_count || number >= table->functions.size_bytes / row_bytes + 1)
        return false;
    size_t at = (size_t)number * row_bytes, left = table->functions.size_bytes - at;
    const uint8_t *row = table->functions.bytes + at;
    if (left < pc_bytes)
        return false;
    *ret_pc = wide ? load_u64(row) : text_address(table, load_u32(row));
    *ret_offset = left < row_bytes ? 0 : wide ? load_u64(row + 8) : load_u32(row + 4);
    return true;
}

bool pclntab_function_at(const struct pclntab *table, uint64_t number, struct pclntab_function *ret_function)
{
    uint64_t offset, unused, entry, end;
    if (table->layout == PCLNTAB_UNKNOWN || number >= table->function_count ||
        !function_row(table, number, &entry, &offset) || !function_row(table, number + 1, &end, &unused))
        return false;
    const struct record_layout *layout = &record_layouts[table->layout];
    const struct pclntab_table *records = &table->records;
    size_t size = (size_t)layout->size_bytes;
    if (offset > records->size_bytes || records->size_bytes - offset < size)
        return false;
    const uint8_t *record = records->bytes + offset;
    int flags = table->layout == PCLNTAB_GO_1_16 && table->go_minor >= 17 ? flags_go_1_17 : layout->flags;
    *ret_function = (struct pclntab_function){
        .entry = entry,
        .end = end,
        .name = load_u32(record + layout->name),
        .args_bytes = load_u32(record + layout->args),
        .sp_values = load_u32(record + layout->sp_values),
        .file_values = load_u32(record + layout->file_values),
        .line_values = load_u32(record + layout->line_values),
        .unit = layout->unit < 0 ? 0 : load_u32(record + layout->unit),
        .pc_data_count = load_u32(record + layout->pc_data_count),
        .function_data_count = record[layout->function_data_count],
        .id = record[layout->id],
        .flags = flags < 0 ? 0 : record[flags],
        .pc_data = record + size,
        .pc_data_bytes = records->size_bytes - (size_t)offset - size,
        .pc_data_address = records->address + offset + size,
    };
    return true;
}

bool pclntab_find(const struct pclntab *table, uint64_t pc, struct pclntab_function *ret_function)
{
    uint64_t low = 0, high = table->function_count, at, unused;
    if (table->layout == PCLNTAB_UNKNOWN || high == 0 || !function_row(table, 0, &at, &unused) || pc < at ||
        !function_row(table, high, &at, &unused) || pc >= at)
        return false;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (!function_row(table, middle, &at, &unused))
            return false;
        if (at <= pc)
            low = middle;
        else
            high = middle;
    }
    return pclntab_function_at(table, low, ret_function);
}

int32_t pclntab_value(const struct pclntab *table, const struct pclntab_function *function, uint32_t offset, uint64_t pc,
                      int32_t none)
{
    if (offset == 0 || offset >= table->pc_values.size_bytes)
        return none;
    struct byte_reader reader = byte_reader_new(table->pc_values.bytes, table->pc_values.size_bytes);
    byte_reader_seek(&reader, offset);
    uint64_t at = function->entry;
    uint32_t value = UINT32_MAX; /* -1, wraps as the runtime's int32 does */
    for (bool first = true;; first = false) {
        uint32_t delta = read_varint(&reader);
        if (delta == 0 && !first)
            return none;
        value += (delta & 1) != 0 ? ~(delta >> 1) : delta >> 1;
        at += (uint64_t)read_varint(&reader) * table->quantum;
        if (reader.failed)
            return none;
        if (pc < at)
            return (int32_t)value;
    }
}

int32_t pclntab_pc_data(const struct pclntab *table, const struct pclntab_function *function, unsigned index, uint64_t pc)
{
    if (index >= function->pc_data_count || function->pc_data_bytes / 4 <= index)
        return -1;
    return pclntab_value(table, function, load_u32(function->pc_data + 4 * (size_t)index), pc, -1);
}

uint64_t pclntab_function_data(const struct pclntab *table, const struct pclntab_function *function, unsigned index)
{
    if (index >= function->function_data_count)
        return 0;
    uint64_t at = (uint64_t)function->pc_data_count * 4;
    bool wide = table->layout <= PCLNTAB_GO_1_16;
    if (wide) /* pointers, aligned in the target */
        at += -(function->pc_data_address + at) & 7;
    at += (uint64_t)index * (wide ? 8 : 4);
    if (at > function->pc_data_bytes || function->pc_data_bytes - at < (wide ? 8u : 4u))
        return 0;
    if (wide)
        return load_u64(function->pc_data + at);
    uint32_t offset = load_u32(function->pc_data + at);
    return offset == UINT32_MAX || table->function_data == 0 ? 0 : table->function_data + offset;
}

static struct text string_at(const struct pclntab_table *table, uint64_t offset)
{
    if (offset >= table->size_bytes)
        return TEXT("");
    size_t left = table->size_bytes - (size_t)offset;
    const char *start = (const char *)table->bytes + offset;
    size_t length = strnlen(start, left < limit_name_bytes ? left : limit_name_bytes);
    return (struct text){start, length};
}

struct text pclntab_name(const struct pclntab *table, uint32_t name)
{
    return string_at(table->layout == PCLNTAB_GO_1_13 ? &table->records : &table->names, name);
}

static struct text file_name(const struct pclntab *table, const struct pclntab_function *function, int32_t number)
{
    if (number < 0)
        return TEXT("");
    if (table->layout == PCLNTAB_GO_1_13) { /* u32 offsets into the whole table */
        if ((uint64_t)number >= table->files.size_bytes / 4)
            return TEXT("");
        return string_at(&table->records, load_u32(table->files.bytes + 4 * (size_t)number));
    }
    uint64_t index = (uint64_t)function->unit + (uint64_t)number;
    if (index >= table->unit_files.size_bytes / 4)
        return TEXT("");
    uint32_t offset = load_u32(table->unit_files.bytes + 4 * index);
    return offset == UINT32_MAX ? TEXT("?") : string_at(&table->files, offset);
}

struct pclntab_cursor pclntab_cursor_new(const struct pclntab *table, const struct pclntab_function *function,
                                         uint64_t lookup)
{
    unsigned index = table->layout == PCLNTAB_GO_1_13 ? function_data_inline_1_13 : function_data_inline;
    return (struct pclntab_cursor){.table = table,
                                   .function = function,
                                   .pc = lookup,
                                   .inline_tree = pclntab_function_data(table, function, index)};
}

bool pclntab_cursor_next(struct pclntab_cursor *cursor, struct pclntab_call *ret_call)
{
    const struct pclntab *table = cursor->table;
    const struct pclntab_function *function = cursor->function;
    if (cursor->done)
        return false;
    int32_t line = pclntab_value(table, function, function->line_values, cursor->pc, -1);
    *ret_call = (struct pclntab_call){
        .name = pclntab_name(table, function->name),
        .file = file_name(table, function, pclntab_value(table, function, function->file_values, cursor->pc, -1)),
        .line = line < 0 ? 0 : (uint32_t)line,
        .pc = cursor->pc,
        .id = function->id,
    };
    cursor->done = true;
    int32_t index = cursor->inline_tree == 0 ? -1 : pclntab_pc_data(table, function, pc_data_inline, cursor->pc);
    if (index < 0 || cursor->depth == limit_inline_depth)
        return true;
    bool old = table->layout <= PCLNTAB_GO_1_18;
    size_t element_bytes = old ? inline_element_bytes_1_13 : inline_element_bytes;
    const uint8_t *element = table->view(table->context, cursor->inline_tree + (uint64_t)index * element_bytes,
                                         element_bytes);
    if (element == NULL)
        return true;
    ret_call->inlined = true;
    ret_call->name = pclntab_name(table, load_u32(element + (old ? 12 : 4)));
    ret_call->id = element[old ? 2 : 0];
    cursor->pc = function->entry + load_u32(element + (old ? 16 : 8));
    cursor->done = false;
    cursor->depth++;
    return true;
}

uint8_t pclntab_wrapper_id(unsigned go_minor)
{
    static const struct {
        unsigned minor;
        uint8_t id;
    } rows[] = {{25, 23}, {22, 22}, {18, 21}, {14, 22}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (go_minor >= rows[i].minor)
            return rows[i].id;
    return 20;
}

uint8_t pclntab_find_wrapper_id(const struct pclntab *table)
{
    struct pclntab_function function;
    for (uint64_t i = 0; pclntab_function_at(table, i, &function); i++)
        if (function.id != 0 && text_equals(pclntab_name(table, function.name), TEXT("runtime.systemstack_switch")))
            return function.id + 1;
    return 0;
}

bool pclntab_has_inline_trees(const struct pclntab *table)
{
    enum { functions_tried = 4096 };
    struct pclntab_function function;
    size_t trees = 0, good = 0;
    for (uint64_t i = 0; i < functions_tried && pclntab_function_at(table, i, &function); i++) {
        uint64_t tree = pclntab_function_data(table, &function, function_data_inline);
        if (tree == 0)
            continue;
        const uint8_t *element = table->view(table->context, tree, inline_element_bytes);
        trees++;
        if (element == NULL)
            continue;
        /* A name begins where another ends. */
        uint64_t name = load_u32(element + 4);
        good += name != 0 && name < table->names.size_bytes && table->names.bytes[name - 1] == 0 &&
                load_u32(element + 8) < function.end - function.entry;
    }
    return trees != 0 && good >= trees - trees / 16;
}
