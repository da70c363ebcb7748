/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/symbol_elf.h"
#include "base/byte_reader.h"
#include "base/limits.h"

#include <gelf.h>
#include <stdlib.h>

/* Rows are sorted by start alone, and stably: rows of equal start keep the order of their tables. */
struct symbol {
    uint32_t start; /* from the table's base */
    uint32_t size_bytes;
    uint32_t reach; /* largest end of this and all symbols before it */
    uint32_t name;  /* offset in its source's strings */
    uint8_t source;
    uint8_t rank; /* enum symbol_rank */
};

enum symbol_rank { RANK_LOCAL, RANK_WEAK, RANK_GLOBAL };

struct symbol_table {
    uint64_t base;
    struct symbol *symbols;
    size_t count;
    struct symbol_source sources[symbol_sources_max];
    const struct code_range *ranges;
    size_t range_count;
};

static int code_range_compare(const void *left, const void *right)
{
    const struct code_range *a = left, *b = right;
    return a->start < b->start ? -1 : a->start > b->start;
}

struct code_range *elf_code_ranges(Elf *elf, struct arena *arena, size_t *ret_count)
{
    size_t section_count = 0, segment_count = 0, count = 0;
    if (elf_getshdrnum(elf, &section_count) != 0)
        section_count = 0;
    if (elf_getphdrnum(elf, &segment_count) != 0)
        segment_count = 0;
    for (int pass = 0; pass < 2; pass++) {
        /* A hostile section table can hold 2^32 headers only if the file is as large: each is checked by libelf. */
        size_t total = pass == 0 ? section_count : segment_count, capacity = 0;
        struct code_range *ranges = NULL;
        for (size_t i = 0; i < total; i++) {
            struct code_range range;
            GElf_Shdr section;
            GElf_Phdr segment;
            if (pass == 0) {
                Elf_Scn *scn = elf_getscn(elf, i);
                if (scn == NULL || gelf_getshdr(scn, &section) == NULL ||
                    (section.sh_flags & (SHF_ALLOC | SHF_EXECINSTR)) != (SHF_ALLOC | SHF_EXECINSTR))
                    continue;
                range = (struct code_range){section.sh_addr, section.sh_addr + section.sh_size};
            } else {
                if (gelf_getphdr(elf, (int)i, &segment) == NULL || segment.p_type != PT_LOAD ||
                    (segment.p_flags & PF_X) == 0)
                    continue;
                range = (struct code_range){segment.p_vaddr, segment.p_vaddr + segment.p_memsz};
            }
            if (range.start >= range.end)
                continue;
            ranges = arena_grow(arena, ranges, count, &capacity, sizeof *ranges);
            ranges[count++] = range;
        }
        if (count != 0) {
            qsort(ranges, count, sizeof *ranges, code_range_compare);
            *ret_count = count;
            return ranges;
        }
    }
    *ret_count = 0;
    return NULL;
}

/* File bytes of a run of addresses, by the loaded segments; NULL when they are not all in the file. */
static const uint8_t *elf_address_bytes(Elf *elf, uint64_t address, size_t *ret_size_bytes)
{
    size_t file_bytes, segment_count;
    const char *file = elf_rawfile(elf, &file_bytes);
    if (file == NULL || elf_getphdrnum(elf, &segment_count) != 0)
        return NULL;
    for (size_t i = 0; i < segment_count; i++) {
        GElf_Phdr segment;
        if (gelf_getphdr(elf, (int)i, &segment) == NULL || segment.p_type != PT_LOAD || address < segment.p_vaddr ||
            address - segment.p_vaddr >= segment.p_filesz || segment.p_offset > file_bytes ||
            segment.p_filesz > file_bytes - segment.p_offset)
            continue;
        uint64_t skipped = address - segment.p_vaddr;
        *ret_size_bytes = segment.p_filesz - skipped;
        return (const uint8_t *)file + segment.p_offset + skipped;
    }
    return NULL;
}

/* Symbols in a DT_GNU_HASH table: the last chain's end (the table itself holds no count). */
static size_t gnu_hash_symbol_count(const uint8_t *bytes, size_t size_bytes)
{
    struct byte_reader reader = byte_reader_new(bytes, size_bytes);
    uint32_t bucket_count = byte_reader_u32(&reader), first = byte_reader_u32(&reader);
    uint32_t bloom_words = byte_reader_u32(&reader);
    byte_reader_u32(&reader);
    byte_reader_take(&reader, (size_t)bloom_words * 8);
    uint32_t last = 0;
    for (uint32_t i = 0; i < bucket_count && !reader.failed; i++) {
        uint32_t bucket = byte_reader_u32(&reader);
        last = bucket > last ? bucket : last;
    }
    if (reader.failed || last < first)
        return 0;
    byte_reader_take(&reader, (size_t)(last - first) * 4);
    while (!reader.failed && (byte_reader_u32(&reader) & 1) == 0)
        last++;
    return reader.failed ? 0 : (size_t)last + 1;
}

/* As elf_address_bytes, for a pointer in .dynamic: glibc's loader adds the load address to most of them in place, which
 * an image from memory shows (elf/get-dynamic-info.h; the vdso's stay as linked). */
static const uint8_t *elf_dynamic_bytes(Elf *elf, uint64_t pointer, uint64_t bias, size_t *ret_size_bytes)
{
    const uint8_t *bytes = elf_address_bytes(elf, pointer, ret_size_bytes);
    return bytes != NULL ? bytes : elf_address_bytes(elf, pointer - bias, ret_size_bytes);
}

/* .dynsym by PT_DYNAMIC: an image rebuilt from memory has no section headers. */
static bool symbol_source_dynamic(Elf *elf, uint64_t bias, struct symbol_source *ret_source)
{
    size_t segment_count;
    if (elf_getphdrnum(elf, &segment_count) != 0)
        return false;
    uint64_t dynamic_address = 0;
    for (size_t i = 0; i < segment_count; i++) {
        GElf_Phdr segment;
        if (gelf_getphdr(elf, (int)i, &segment) != NULL && segment.p_type == PT_DYNAMIC)
            dynamic_address = segment.p_vaddr;
    }
    size_t dynamic_bytes;
    const uint8_t *dynamic = elf_address_bytes(elf, dynamic_address, &dynamic_bytes);
    if (dynamic == NULL)
        return false;
    uint64_t symtab = 0, strtab = 0, strings_size = 0, gnu_hash = 0, hash = 0;
    struct byte_reader reader = byte_reader_new(dynamic, dynamic_bytes);
    while (!reader.failed) {
        uint64_t tag = byte_reader_u64(&reader), value = byte_reader_u64(&reader);
        if (tag == DT_NULL)
            break;
        uint64_t *field = tag == DT_SYMTAB     ? &symtab
                          : tag == DT_STRTAB   ? &strtab
                          : tag == DT_STRSZ    ? &strings_size
                          : tag == DT_GNU_HASH ? &gnu_hash
                          : tag == DT_HASH     ? &hash
                                               : NULL;
        if (field != NULL)
            *field = value;
    }
    size_t symbols_bytes, strings_bytes, hash_bytes_left, symbol_count = 0;
    const uint8_t *symbols = elf_dynamic_bytes(elf, symtab, bias, &symbols_bytes);
    const uint8_t *strings = elf_dynamic_bytes(elf, strtab, bias, &strings_bytes);
    const uint8_t *table;
    if (symbols == NULL || strings == NULL || strings_size == 0)
        return false;
    if (gnu_hash != 0 && (table = elf_dynamic_bytes(elf, gnu_hash, bias, &hash_bytes_left)) != NULL)
        symbol_count = gnu_hash_symbol_count(table, hash_bytes_left);
    else if (hash != 0 && (table = elf_dynamic_bytes(elf, hash, bias, &hash_bytes_left)) != NULL &&
             hash_bytes_left >= 8)
        symbol_count = load_u32(table + 4);
    if (symbol_count > symbols_bytes / sizeof(Elf64_Sym))
        symbol_count = symbols_bytes / sizeof(Elf64_Sym);
    *ret_source = (struct symbol_source){
        .symbols = symbols,
        .symbol_count = symbol_count,
        .strings = (const char *)strings,
        .strings_size_bytes = strings_size < strings_bytes ? strings_size : strings_bytes,
    };
    return symbol_count != 0;
}

bool symbol_source_open(Elf *elf, uint64_t bias, uint32_t section_type, struct symbol_source *ret_source)
{
    const char *identification = elf_getident(elf, NULL);
    if (identification == NULL || identification[EI_CLASS] != ELFCLASS64 || identification[EI_DATA] != ELFDATA2LSB)
        return false;
    Elf_Scn *scn = NULL;
    while ((scn = elf_nextscn(elf, scn)) != NULL) {
        GElf_Shdr section;
        if (gelf_getshdr(scn, &section) == NULL || section.sh_type != section_type)
            continue;
        Elf_Scn *strings_scn = elf_getscn(elf, section.sh_link);
        GElf_Shdr strings_section;
        if (strings_scn == NULL || gelf_getshdr(strings_scn, &strings_section) == NULL ||
            strings_section.sh_type != SHT_STRTAB)
            continue;
        Elf_Data *symbols = elf_getdata(scn, NULL), *strings = elf_getdata(strings_scn, NULL);
        if (symbols == NULL || symbols->d_buf == NULL || strings == NULL || strings->d_buf == NULL)
            continue;
        *ret_source = (struct symbol_source){
            .elf = elf,
            .symbols = symbols->d_buf,
            .symbol_count = symbols->d_size / sizeof(Elf64_Sym),
            .strings = strings->d_buf,
            .strings_size_bytes = strings->d_size,
        };
        if (ret_source->symbol_count != 0)
            return true;
    }
    return section_type == SHT_DYNSYM && symbol_source_dynamic(elf, bias, ret_source);
}

/* One byte a section: whether it holds code. */
static uint8_t *symbol_source_code_sections(const struct symbol_source *source, struct arena *arena, size_t *ret_count)
{
    *ret_count = 0;
    size_t count;
    if (source->elf == NULL || elf_getshdrnum(source->elf, &count) != 0 || count == 0)
        return NULL;
    uint8_t *is_code = arena_array(arena, uint8_t, count);
    for (size_t i = 0; i < count; i++) {
        GElf_Shdr section;
        Elf_Scn *scn = elf_getscn(source->elf, i);
        is_code[i] = scn != NULL && gelf_getshdr(scn, &section) != NULL && (section.sh_flags & SHF_EXECINSTR) != 0;
    }
    *ret_count = count;
    return is_code;
}

static const struct code_range *symbol_table_code(const struct symbol_table *table, uint64_t address)
{
    size_t low = 0, high = table->range_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->ranges[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && address < table->ranges[low - 1].end ? &table->ranges[low - 1] : NULL;
}

static enum symbol_rank symbol_rank(uint8_t info)
{
    static const uint8_t ranks[16] = {
        [STB_LOCAL] = RANK_LOCAL, [STB_WEAK] = RANK_WEAK, [STB_GLOBAL] = RANK_GLOBAL, [STB_GNU_UNIQUE] = RANK_GLOBAL};
    return ranks[ELF64_ST_BIND(info)];
}

/* Whether a symbol names code, and its row. */
static bool symbol_read(const struct symbol_table *table, size_t source_index, size_t i, const uint8_t *is_code,
                        size_t section_count, struct symbol *ret_symbol)
{
    const struct symbol_source *source = &table->sources[source_index];
    Elf64_Sym raw;
    memcpy(&raw, source->symbols + i * sizeof raw, sizeof raw);
    unsigned type = ELF64_ST_TYPE(raw.st_info);
    if (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE)
        return false;
    if (raw.st_shndx == SHN_UNDEF || raw.st_value < table->base || raw.st_value - table->base > UINT32_MAX ||
        raw.st_name >= source->strings_size_bytes || source->strings[raw.st_name] == '\0')
        return false;
    if (source->sized_only && raw.st_size == 0)
        return false;
    if (type == STT_NOTYPE) {
        /* Linkers put markers such as _end here, and "$x" and "$d" tell AArch64 code from data in it. */
        if (source->strings[raw.st_name] == '$' || symbol_table_code(table, raw.st_value) == NULL ||
            (raw.st_shndx < section_count && !is_code[raw.st_shndx]))
            return false;
    }
    uint32_t start = (uint32_t)(raw.st_value - table->base);
    *ret_symbol = (struct symbol){
        .start = start,
        .size_bytes = raw.st_size < UINT32_MAX - start ? (uint32_t)raw.st_size : UINT32_MAX - start,
        .name = raw.st_name,
        .source = (uint8_t)source_index,
        .rank = symbol_rank(raw.st_info),
    };
    return true;
}

/* Least significant digit first: three stable passes over 11 bits each; `spare` is as large as `symbols`. Returns the
 * array that holds the result. */
static struct symbol *symbols_sort(struct symbol *symbols, struct symbol *spare, size_t count)
{
    enum { digit_bits = 11, digit_values = 1 << digit_bits };
    for (unsigned shift = 0; shift < 32; shift += digit_bits) {
        uint32_t places[digit_values] = {0};
        for (size_t i = 0; i < count; i++)
            places[symbols[i].start >> shift & (digit_values - 1)]++;
        uint32_t next = 0;
        for (size_t digit = 0; digit < digit_values; digit++) {
            uint32_t here = places[digit];
            places[digit] = next;
            next += here;
        }
        for (size_t i = 0; i < count; i++)
            spare[places[symbols[i].start >> shift & (digit_values - 1)]++] = symbols[i];
        struct symbol *sorted = spare;
        spare = symbols;
        symbols = sorted;
    }
    return symbols;
}

struct symbol_table *symbol_table_new(struct arena *arena, const struct symbol_source *sources, size_t source_count,
                                      const struct code_range *ranges, size_t range_count)
{
    struct symbol_table *table = arena_new(arena, struct symbol_table);
    table->ranges = ranges;
    table->range_count = range_count;
    table->base = range_count == 0 ? 0 : ranges[0].start;

    uint8_t *is_code[symbol_sources_max] = {NULL};
    size_t section_counts[symbol_sources_max] = {0}, count = 0;
    for (size_t s = 0; s < source_count; s++) {
        table->sources[s] = sources[s];
        is_code[s] = symbol_source_code_sections(&sources[s], arena, &section_counts[s]);
        struct symbol ignored;
        for (size_t i = 0; i < sources[s].symbol_count; i++)
            count += symbol_read(table, s, i, is_code[s], section_counts[s], &ignored);
    }
    if (count == 0 || count > UINT32_MAX)
        return table;
    struct symbol *symbols = arena_array(arena, struct symbol, count);
    /* Last, so that an arena that is full leaves nothing behind when it jumps away. */
    struct arena scratch;
    arena_init(&scratch, 0, arena->exhausted);
    struct symbol *unsorted = arena_array(&scratch, struct symbol, count);
    size_t filled = 0;
    /* A file that changes meanwhile must not give more than was counted. */
    for (size_t s = 0; s < source_count; s++)
        for (size_t i = 0; i < sources[s].symbol_count && filled < count; i++)
            filled += symbol_read(table, s, i, is_code[s], section_counts[s], &unsorted[filled]);
    count = filled;
    table->symbols = symbols_sort(unsorted, symbols, count);
    table->count = count;
    arena_deinit(&scratch);

    uint32_t reach = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t end = symbols[i].start + symbols[i].size_bytes;
        if (symbols[i].size_bytes != 0 && end > reach)
            reach = end;
        symbols[i].reach = reach;
    }
    return table;
}

/* Of two symbols with one start, both extents hold the address or both have none: `other` stands earlier. */
static bool symbol_is_better(const struct symbol *symbol, const struct symbol *other)
{
    return symbol->rank != other->rank ? symbol->rank > other->rank : symbol->size_bytes < other->size_bytes;
}

static const struct symbol *symbol_table_search(const struct symbol_table *table, uint64_t address)
{
    if (address < table->base || address - table->base > UINT32_MAX)
        return NULL;
    uint32_t offset = (uint32_t)(address - table->base);
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->symbols[middle].start <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return NULL;

    /* Leftwards, as far as an extent can reach the address. The walk ends at the first start with a non-local symbol;
     * a file that lays thousands of extents over each other gets the best of the nearest ones. */
    const struct symbol *global = NULL, *local = NULL;
    size_t steps = 0;
    for (size_t i = low; i-- > 0 && table->symbols[i].reach > offset && steps < limit_symbol_overlap; steps++) {
        const struct symbol *symbol = &table->symbols[i];
        if (global != NULL && symbol->start != global->start)
            break;
        if (symbol->size_bytes <= offset - symbol->start)
            continue;
        const struct symbol **best = symbol->rank == RANK_LOCAL ? &local : &global;
        /* Walking left, an equal one stands earlier in its table, and is taken. */
        if (*best == NULL || (symbol->start == (*best)->start && !symbol_is_better(*best, symbol)))
            *best = symbol;
    }
    if (global != NULL)
        return global;
    if (local != NULL)
        return local;

    const struct code_range *code = symbol_table_code(table, address);
    uint32_t ended = table->symbols[low - 1].reach;
    const struct symbol *label = NULL;
    for (size_t i = low; i-- > 0 && table->symbols[i].start >= ended;) {
        const struct symbol *symbol = &table->symbols[i];
        if (code == NULL || table->base + symbol->start < code->start ||
            (label != NULL && symbol->start != label->start))
            break;
        if (symbol->size_bytes == 0 && (label == NULL || !symbol_is_better(label, symbol)))
            label = symbol;
    }
    return label;
}

bool symbol_table_find(const struct symbol_table *table, uint64_t address, struct text *ret_name, uint64_t *ret_start)
{
    const struct symbol *symbol = symbol_table_search(table, address);
    if (symbol == NULL)
        return false;
    const struct symbol_source *source = &table->sources[symbol->source];
    const char *name = source->strings + symbol->name;
    *ret_name = (struct text){name, strnlen(name, source->strings_size_bytes - symbol->name)};
    *ret_start = table->base + symbol->start;
    return true;
}
