/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/go_modules.h"

#include "base/limits.h"
#include "format/core_notes.h"
#include "format/elf_segments.h"

#include <gelf.h>

bool go_modules_read_u64(const struct go_modules *modules, uint64_t address, uint64_t *ret_value)
{
    bool is_late;
    uint8_t bytes[8];
    if (memory_read_u64(&modules->image->memory, address, ret_value))
        return true;
    if (memory_ask(&modules->image->memory, address, bytes, sizeof bytes, &is_late) != sizeof bytes)
        return false;
    *ret_value = load_u64(bytes);
    return true;
}

static const uint8_t *view_memory(void *context, uint64_t address, size_t size_bytes)
{
    return memory_view_across(context, address, size_bytes);
}

/* A table need not lie in one piece: the loader makes a PIE's pclntab read-only but for the part page at its end, so that
 * two mappings have it. */
static const uint8_t *view_table(struct go_modules *modules, uint64_t address, size_t size_bytes)
{
    const struct memory *memory = &modules->image->memory;
    const uint8_t *bytes = memory_view(memory, address, size_bytes);
    if (bytes != NULL || size_bytes > modules->copy_bytes_left)
        return bytes;
    bytes = memory_view_across(memory, address, size_bytes);
    modules->copy_bytes_left -= bytes == NULL ? 0 : size_bytes;
    return bytes;
}

/* The address of a section of an open file, 0: it has none of that name. */
static uint64_t find_section(const struct module_file *file, const char *name)
{
    size_t names;
    if (elf_getshdrstrndx(file->elf, &names) != 0)
        return 0;
    for (Elf_Scn *scn = elf_nextscn(file->elf, NULL); scn != NULL; scn = elf_nextscn(file->elf, scn)) {
        GElf_Shdr header;
        const char *own = gelf_getshdr(scn, &header) == NULL ? NULL : elf_strptr(file->elf, names, header.sh_name);
        if (own != NULL && strcmp(own, name) == 0 && header.sh_addr != 0)
            return file->bias + header.sh_addr;
    }
    return 0;
}

static bool header_at(const struct go_modules *modules, uint64_t address, struct pclntab_header *ret_header)
{
    const uint8_t *bytes = memory_view(&modules->image->memory, address, pclntab_header_bytes);
    return bytes != NULL && pclntab_header_parse(bytes, pclntab_header_bytes, ret_header);
}

/* Calls `found` at each 8-aligned word of the module's memory that has the wanted value in the masked bits, until it says
 * true. Code is passed over: what is looked for is data. */
static bool scan_module(const struct go_modules *modules, uint32_t module, uint64_t mask, uint64_t value,
                        bool (*found)(struct go_modules *modules, uint32_t module, uint64_t address), struct go_modules *context)
{
    const struct image *image = modules->image;
    uint64_t pages_left = limit_go_missing_pages;
    for (size_t i = 0; i < image->mapping_count; i++) {
        const struct mapping *mapping = &image->mappings[i];
        if (mapping->module != module || (mapping->access & MAPPING_EXECUTE) != 0)
            continue;
        for (uint64_t at = mapping->start; at < mapping->end;) {
            const struct memory_range *range = memory_find(&image->memory, at);
            if (range == NULL && pages_left-- == 0)
                return false;
            if (range == NULL) { /* nothing here: on to the next page */
                at = (at | 0xfff) + 1;
                continue;
            }
            uint64_t end = range->end < mapping->end ? range->end : mapping->end;
            for (at = (at + 7) & ~(uint64_t)7; at < end && end - at >= 8; at += 8)
                if ((load_u64(range->bytes + (at - range->start)) & mask) == value && found(context, module, at))
                    return true;
            at = end;
        }
    }
    return false;
}

static bool view_slice(struct go_modules *modules, uint64_t moduledata, int offset, size_t element_bytes,
                       struct pclntab_table *ret_table)
{
    uint64_t address, count;
    if (offset < 0 || !go_modules_read_u64(modules, moduledata + (uint64_t)offset, &address) ||
        !go_modules_read_u64(modules, moduledata + (uint64_t)offset + 8, &count) || count > limit_go_table_bytes / element_bytes)
        return false;
    size_t size_bytes = (size_t)count * element_bytes;
    const uint8_t *bytes = view_table(modules, address, size_bytes);
    if (bytes == NULL)
        return false;
    *ret_table = (struct pclntab_table){address, bytes, size_bytes};
    return true;
}

static bool read_range(const struct go_modules *modules, uint64_t moduledata, int offset, struct go_range *ret_range)
{
    return go_modules_read_u64(modules, moduledata + (uint64_t)offset, &ret_range->start) &&
           go_modules_read_u64(modules, moduledata + (uint64_t)offset + 8, &ret_range->end) && ret_range->start <= ret_range->end;
}

/* A damaged end would have all the address space looked through, word by word: it is as far as what is mapped goes. What is
 * not mapped at all is empty, and at 0, where no sum overflows. */
static void clamp_range(const struct image *image, struct go_range *range)
{
    const struct mapping *mapping = image_find_mapping(image, range->start), *last = image->mappings + image->mapping_count;
    if (mapping == NULL) {
        *range = (struct go_range){0};
        return;
    }
    uint64_t end = mapping->end;
    while (end < range->end && ++mapping < last && mapping->start <= end)
        end = mapping->end;
    range->end = range->end < end ? range->end : end;
    if (range->end - range->start > limit_go_range_bytes)
        range->end = range->start + limit_go_range_bytes;
}

/* runtime.textsect of each: start and end as the function table counts, and where that is. They follow one another, and the
 * first is the text's start. What is none is left out: a release that is not known yet may have other things there. */
static void read_sections(struct go_modules *modules, uint64_t slice, struct go_range text, struct pclntab *table)
{
    uint64_t address, count;
    if (!go_modules_read_u64(modules, slice, &address) || !go_modules_read_u64(modules, slice + 8, &count) || count < 2 ||
        count > limit_go_text_sections)
        return;
    const uint8_t *bytes = view_table(modules, address, (size_t)count * 24);
    if (bytes == NULL)
        return;
    struct pclntab_section *sections = arena_array(modules->arena, struct pclntab_section, count);
    for (size_t i = 0; i < count; i++) {
        sections[i] = (struct pclntab_section){load_u64(bytes + 24 * i), load_u64(bytes + 24 * i + 8),
                                               load_u64(bytes + 24 * i + 16)};
        if (sections[i].start > sections[i].end || sections[i].start < (i == 0 ? 0 : sections[i - 1].end) ||
            sections[i].address < text.start || sections[i].address > text.end ||
            (i == 0 && (sections[0].start != 0 || sections[0].address != text.start)))
            return;
    }
    table->sections = sections;
    table->section_count = (size_t)count;
}

/* A moduledata at that address, by the layout of a release: every slice is readable, and the ranges are in order. */
static bool read_moduledata(struct go_modules *modules, uint32_t number, uint64_t address,
                            const struct pclntab_header *header, unsigned minor, struct go_module *ret_module)
{
    struct go_layout full = go_layout_of(minor);
    const struct go_module_layout *layout = &full.module;
    struct go_module module = {.module = number, .moduledata = address};
    struct pclntab *table = &module.table;
    bool wide = header->layout <= PCLNTAB_GO_1_16;
    *table = (struct pclntab){.layout = header->layout,
                              .quantum = header->quantum,
                              .go_minor = (uint8_t)minor,
                              .wrapper_id = pclntab_wrapper_id(minor),
                              .function_count = header->function_count,
                              .view = view_memory,
                              .context = (void *)&modules->image->memory};
    uint64_t rows, min_pc, max_pc;
    if (!go_modules_read_u64(modules, address + (uint64_t)layout->functions + 8, &rows) || rows != header->function_count + 1 ||
        !go_modules_read_u64(modules, address + (uint64_t)layout->min_pc, &min_pc) ||
        !go_modules_read_u64(modules, address + (uint64_t)layout->min_pc + 8, &max_pc) || min_pc >= max_pc ||
        !read_range(modules, address, layout->text, &module.text))
        return false;
    const int ranges[] = {layout->noptr_data, layout->data, layout->bss, layout->noptr_bss};
    for (size_t i = 0; i < 4; i++) {
        if (!read_range(modules, address, ranges[i], &module.data[i]))
            return false;
        clamp_range(modules->image, &module.data[i]);
    }
    /* The last row is a pc alone. */
    uint64_t rows_address;
    size_t row_bytes = wide ? 16 : 8;
    if (rows > limit_go_table_bytes / row_bytes ||
        !go_modules_read_u64(modules, address + (uint64_t)layout->functions, &rows_address))
        return false;
    size_t rows_bytes = ((size_t)rows - 1) * row_bytes + row_bytes / 2;
    const uint8_t *rows_view = view_table(modules, rows_address, rows_bytes);
    if (rows_view == NULL)
        return false;
    table->functions = (struct pclntab_table){rows_address, rows_view, rows_bytes};
    if (!view_slice(modules, address, layout->records, 1, &table->records))
        return false;
    if (header->layout == PCLNTAB_GO_1_13) {
        table->pc_values = table->records;
        if (!view_slice(modules, address, layout->files, 4, &table->files))
            return false;
    } else {
        if (!view_slice(modules, address, layout->pc_values, 1, &table->pc_values) ||
            !view_slice(modules, address, layout->names, 1, &table->names) ||
            !view_slice(modules, address, layout->files, 1, &table->files))
            return false;
        /* Its length was given four times too large before 1.26: as far as the next table then. */
        uint64_t units;
        if (go_modules_read_u64(modules, address + (uint64_t)layout->unit_files, &units) && units < table->files.address) {
            size_t size_bytes = (size_t)(table->files.address - units);
            const uint8_t *bytes =
                size_bytes > limit_go_table_bytes ? NULL : view_table(modules, units, size_bytes);
            if (bytes != NULL)
                table->unit_files = (struct pclntab_table){units, bytes, size_bytes};
        }
    }
    table->text = module.text.start;
    if (layout->function_data >= 0)
        go_modules_read_u64(modules, address + (uint64_t)layout->function_data, &table->function_data);
    if (layout->text_sections >= 0 && !wide)
        read_sections(modules, address + (uint64_t)layout->text_sections, module.text, table);
    go_modules_read_u64(modules, address + (uint64_t)layout->types, &module.types);
    *ret_module = module;
    return true;
}

/* Releases whose moduledata differs, the newest of each first: which one it is shows by what is readable; the version
 * text decides later where two fit. */
static const unsigned layout_minors[] = {27, 26, 25, 22, 20, 19, 17, 15};

static enum pclntab_layout layout_of_minor(unsigned minor)
{
    return minor >= 20 ? PCLNTAB_GO_1_20 : minor >= 18 ? PCLNTAB_GO_1_18 : minor >= 16 ? PCLNTAB_GO_1_16 : PCLNTAB_GO_1_13;
}

/* A word that points at a pclntab: is it a moduledata's first field? */
static bool take_moduledata(struct go_modules *modules, uint32_t module, uint64_t address)
{
    uint64_t table;
    struct pclntab_header header;
    if (!go_modules_read_u64(modules, address, &table) || !header_at(modules, table, &header))
        return false;
    for (size_t i = 0; i < sizeof layout_minors / sizeof layout_minors[0]; i++) {
        struct go_module found;
        if (layout_of_minor(layout_minors[i]) != header.layout ||
            !read_moduledata(modules, module, address, &header, layout_minors[i], &found))
            continue;
        modules->items =
            arena_grow(modules->arena, modules->items, modules->count, &modules->capacity, sizeof *modules->items);
        modules->items[modules->count++] = found;
        return true;
    }
    return false;
}

/* The header of a pclntab: does a moduledata point at it? */
static bool take_table(struct go_modules *modules, uint32_t module, uint64_t address)
{
    struct pclntab_header header;
    if (modules->headers_left == 0 || !header_at(modules, address, &header))
        return false;
    modules->headers_left--;
    return scan_module(modules, module, UINT64_MAX, address, take_moduledata, modules);
}

bool go_module_has_sections(struct module_files *files, uint32_t module)
{
    static const char *const names[] = {".gopclntab", ".data.rel.ro.gopclntab", ".go.buildinfo", ".note.go.buildid"};
    const struct module_file *file = module_files_opened(files, module);
    for (size_t i = 0; file != NULL && i < sizeof names / sizeof names[0]; i++)
        if (find_section(file, names[i]) != 0)
            return true;
    return false;
}

bool go_module_is_likely(struct module_files *files, uint32_t module)
{
    const struct module_file *file = module_files_opened(files, module);
    size_t sections;
    return file != NULL && elf_getshdrnum(file->elf, &sections) == 0 &&
           (sections == 0 || go_module_has_sections(files, module));
}

uint64_t go_modules_section(const struct go_modules *modules, uint32_t module, const char *name)
{
    const struct module_file *file = module_files_opened(modules->files, module);
    return file == NULL ? 0 : find_section(file, name);
}

static void find_module(struct go_modules *modules, uint32_t number)
{
    static const char *const names[] = {".gopclntab", ".data.rel.ro.gopclntab"};
    const struct module_file *file = module_files_opened(modules->files, number);
    if (file == NULL)
        return;
    uint64_t address = find_section(file, ".go.module");
    if (address != 0 && take_moduledata(modules, number, address))
        return;
    for (size_t i = 0; i < 2; i++) {
        address = find_section(file, names[i]);
        if (address != 0 && take_table(modules, number, address))
            return;
    }
    /* By the header's bytes: fx ff ff ff 00 00 quantum 08. Without section headers, and where another linker put the table
     * into a section with others (-buildmode=c-shared). Other programs are spared that. */
    if (go_module_is_likely(modules->files, number))
        for (uint64_t quantum = 1; quantum <= 4; quantum += 3)
            if (scan_module(modules, number, 0xfffffffffffffff0, 0x08000000fffffff0 | quantum << 48, take_table, modules))
                return;
}

/* Go's linker leaves a note of its own in libraries too, and notes stand in the first page. */
bool go_module_has_note(const struct image *image, uint32_t number)
{
    const struct module *module = &image->modules[number];
    uint8_t bytes[4096];
    size_t got = memory_read(&image->memory, module->start, bytes, sizeof bytes);
    struct elf_header header;
    if (elf_header_parse(bytes, got, &header) != NULL || header.segments_offset > got)
        return false;
    for (size_t i = 0; i < header.segment_count && header.segments_offset + (i + 1) * elf_segment_bytes <= got; i++) {
        struct elf_segment segment = elf_segment_parse(bytes + header.segments_offset + i * elf_segment_bytes);
        if (segment.type != ELF_SEGMENT_NOTE || segment.offset >= got)
            continue;
        uint64_t left = got - segment.offset;
        struct byte_reader notes =
            byte_reader_new(bytes + segment.offset, segment.file_bytes < left ? segment.file_bytes : left);
        struct core_note note;
        while (core_note_next(&notes, &note))
            if (text_equals(note.name, TEXT("Go")))
                return true;
    }
    return false;
}

void go_modules_open(const struct image *image, struct module_files *files)
{
    for (size_t i = 0; i < image->module_count; i++)
        if (image->modules[i].is_main || go_module_has_note(image, (uint32_t)i))
            module_files_open(files, (uint32_t)i);
}

struct go_modules go_modules_find(const struct image *image, struct module_files *files, struct arena *arena)
{
    struct go_modules modules = {
        .image = image,
        .files = files,
        .arena = arena,
        .copy_bytes_left = limit_go_table_bytes,
    };
    for (size_t i = 0; i < image->module_count; i++) {
        modules.headers_left = limit_go_headers;
        find_module(&modules, (uint32_t)i);
    }
    return modules;
}

/* Fields of moduledata behind the ranges move nearly each release. Where inlined calls are not to be found by the newest
 * layout, the field that tells where they are is known by what it leads to. */
static void find_inline_trees(const struct go_modules *modules, struct go_module *module)
{
    enum { first_field = 256, last_field = 512 };
    struct pclntab *table = &module->table;
    if (pclntab_has_inline_trees(table))
        return;
    for (uint64_t at = first_field; at <= last_field; at += 8)
        if (go_modules_read_u64(modules, module->moduledata + at, &table->function_data) &&
            pclntab_has_inline_trees(table))
            return;
    table->function_data = 0;
}

bool go_module_read_again(struct go_modules *modules, struct go_module *module, unsigned minor)
{
    struct pclntab_header header = {module->table.layout, module->table.quantum, module->table.function_count};
    bool is_read = read_moduledata(modules, module->module, module->moduledata, &header, minor, module);
    if (minor > go_minor_newest) {
        uint8_t wrapper = pclntab_find_wrapper_id(&module->table);
        module->table.wrapper_id = wrapper != 0 ? wrapper : module->table.wrapper_id;
        find_inline_trees(modules, module);
    }
    return is_read;
}
