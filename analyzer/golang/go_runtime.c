/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/go_runtime.h"

#include "base/limits.h"

#include <gelf.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct finder {
    const struct image *image;
    struct module_files *files;
    struct arena *arena;
    struct diagnostics *diagnostics;
    struct go_runtime *runtime;
    size_t module_capacity;
    uint64_t copy_bytes_left; /* of tables that do not lie in one piece */
};

static bool read_u64(const struct finder *finder, uint64_t address, uint64_t *ret_value)
{
    bool is_late;
    uint8_t bytes[8];
    if (memory_read_u64(&finder->image->memory, address, ret_value))
        return true;
    if (memory_ask(&finder->image->memory, address, bytes, sizeof bytes, &is_late) != sizeof bytes)
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
static const uint8_t *view_table(struct finder *finder, uint64_t address, size_t size_bytes)
{
    const struct memory *memory = &finder->image->memory;
    const uint8_t *bytes = memory_view(memory, address, size_bytes);
    if (bytes != NULL || size_bytes > finder->copy_bytes_left)
        return bytes;
    bytes = memory_view_across(memory, address, size_bytes);
    finder->copy_bytes_left -= bytes == NULL ? 0 : size_bytes;
    return bytes;
}

/* The address of a section of an open file, 0 when it has none of that name. */
static uint64_t find_section(const struct module_file *file, const char *name, uint64_t *ret_bytes)
{
    size_t names;
    if (elf_getshdrstrndx(file->elf, &names) != 0)
        return 0;
    for (Elf_Scn *scn = elf_nextscn(file->elf, NULL); scn != NULL; scn = elf_nextscn(file->elf, scn)) {
        GElf_Shdr header;
        const char *own = gelf_getshdr(scn, &header) == NULL ? NULL : elf_strptr(file->elf, names, header.sh_name);
        if (own != NULL && strcmp(own, name) == 0 && header.sh_addr != 0) {
            *ret_bytes = header.sh_size;
            return file->bias + header.sh_addr;
        }
    }
    return 0;
}

static bool header_at(const struct finder *finder, uint64_t address, struct pclntab_header *ret_header)
{
    const uint8_t *bytes = memory_view(&finder->image->memory, address, pclntab_header_bytes);
    return bytes != NULL && pclntab_header_parse(bytes, pclntab_header_bytes, ret_header);
}

/* Calls `found` at each 8-aligned word of the module's memory that has the wanted value in the masked bits, until it says
 * true. Code is passed over: what is looked for is data. */
static bool scan_module(const struct finder *finder, uint32_t module, uint64_t mask, uint64_t value,
                        bool (*found)(struct finder *finder, uint32_t module, uint64_t address), struct finder *context)
{
    const struct image *image = finder->image;
    for (size_t i = 0; i < image->mapping_count; i++) {
        const struct mapping *mapping = &image->mappings[i];
        if (mapping->module != module || (mapping->access & MAPPING_EXECUTE) != 0)
            continue;
        for (uint64_t at = mapping->start; at < mapping->end;) {
            const struct memory_range *range = memory_find(&image->memory, at);
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

static bool view_slice(struct finder *finder, uint64_t moduledata, int offset, size_t element_bytes,
                       struct pclntab_table *ret_table)
{
    uint64_t address, count;
    if (offset < 0 || !read_u64(finder, moduledata + (uint64_t)offset, &address) ||
        !read_u64(finder, moduledata + (uint64_t)offset + 8, &count) || count > limit_go_table_bytes / element_bytes)
        return false;
    size_t size_bytes = (size_t)count * element_bytes;
    const uint8_t *bytes = view_table(finder, address, size_bytes);
    if (bytes == NULL)
        return false;
    *ret_table = (struct pclntab_table){address, bytes, size_bytes};
    return true;
}

static bool read_range(const struct finder *finder, uint64_t moduledata, int offset, struct go_range *ret_range)
{
    return read_u64(finder, moduledata + (uint64_t)offset, &ret_range->start) &&
           read_u64(finder, moduledata + (uint64_t)offset + 8, &ret_range->end) && ret_range->start <= ret_range->end;
}

static void read_sections(struct finder *finder, uint64_t slice, struct pclntab *table)
{
    uint64_t address, count;
    if (!read_u64(finder, slice, &address) || !read_u64(finder, slice + 8, &count) || count < 2 ||
        count > limit_go_text_sections)
        return;
    const uint8_t *bytes = view_table(finder, address, (size_t)count * 24);
    if (bytes == NULL)
        return;
    struct pclntab_section *sections = arena_array(finder->arena, struct pclntab_section, count);
    for (size_t i = 0; i < count; i++)
        sections[i] = (struct pclntab_section){load_u64(bytes + 24 * i), load_u64(bytes + 24 * i + 8),
                                               load_u64(bytes + 24 * i + 16)};
    table->sections = sections;
    table->section_count = (size_t)count;
}

/* A moduledata at that address, by the layout of a release: every slice is readable, and the ranges are in order. */
static bool read_moduledata(struct finder *finder, uint32_t number, uint64_t address,
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
                              .function_count = header->function_count,
                              .view = view_memory,
                              .context = (void *)&finder->image->memory};
    uint64_t rows, min_pc, max_pc;
    if (!read_u64(finder, address + (uint64_t)layout->functions + 8, &rows) || rows != header->function_count + 1 ||
        !read_u64(finder, address + (uint64_t)layout->min_pc, &min_pc) ||
        !read_u64(finder, address + (uint64_t)layout->min_pc + 8, &max_pc) || min_pc >= max_pc ||
        !read_range(finder, address, layout->text, &module.text))
        return false;
    const int ranges[] = {layout->noptr_data, layout->data, layout->bss, layout->noptr_bss};
    for (size_t i = 0; i < 4; i++)
        if (!read_range(finder, address, ranges[i], &module.data[i]))
            return false;
    /* The last row is a pc alone. */
    uint64_t rows_address;
    size_t row_bytes = wide ? 16 : 8;
    if (rows > limit_go_table_bytes / row_bytes ||
        !read_u64(finder, address + (uint64_t)layout->functions, &rows_address))
        return false;
    size_t rows_bytes = ((size_t)rows - 1) * row_bytes + row_bytes / 2;
    const uint8_t *rows_view = view_table(finder, rows_address, rows_bytes);
    if (rows_view == NULL)
        return false;
    table->functions = (struct pclntab_table){rows_address, rows_view, rows_bytes};
    if (!view_slice(finder, address, layout->records, 1, &table->records))
        return false;
    if (header->layout == PCLNTAB_GO_1_13) {
        table->pc_values = table->records;
        if (!view_slice(finder, address, layout->files, 4, &table->files))
            return false;
    } else {
        if (!view_slice(finder, address, layout->pc_values, 1, &table->pc_values) ||
            !view_slice(finder, address, layout->names, 1, &table->names) ||
            !view_slice(finder, address, layout->files, 1, &table->files))
            return false;
        /* Its length was given four times too large before 1.26: as far as the next table then. */
        uint64_t units;
        if (read_u64(finder, address + (uint64_t)layout->unit_files, &units) && units < table->files.address) {
            size_t size_bytes = (size_t)(table->files.address - units);
            const uint8_t *bytes =
                size_bytes > limit_go_table_bytes ? NULL : view_table(finder, units, size_bytes);
            if (bytes != NULL)
                table->unit_files = (struct pclntab_table){units, bytes, size_bytes};
        }
    }
    table->text = module.text.start;
    if (layout->function_data >= 0)
        read_u64(finder, address + (uint64_t)layout->function_data, &table->function_data);
    if (layout->text_sections >= 0 && !wide)
        read_sections(finder, address + (uint64_t)layout->text_sections, table);
    read_u64(finder, address + (uint64_t)layout->types, &module.types);
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
static bool take_moduledata(struct finder *finder, uint32_t module, uint64_t address)
{
    uint64_t table;
    struct pclntab_header header;
    if (!read_u64(finder, address, &table) || !header_at(finder, table, &header))
        return false;
    for (size_t i = 0; i < sizeof layout_minors / sizeof layout_minors[0]; i++) {
        struct go_module found;
        if (layout_of_minor(layout_minors[i]) != header.layout ||
            !read_moduledata(finder, module, address, &header, layout_minors[i], &found))
            continue;
        struct go_runtime *runtime = finder->runtime;
        runtime->modules = arena_grow(finder->arena, runtime->modules, runtime->module_count, &finder->module_capacity,
                                      sizeof *runtime->modules);
        runtime->modules[runtime->module_count++] = found;
        return true;
    }
    return false;
}

/* The header of a pclntab: does a moduledata point at it? */
static bool take_table(struct finder *finder, uint32_t module, uint64_t address)
{
    struct pclntab_header header;
    return header_at(finder, address, &header) &&
           scan_module(finder, module, UINT64_MAX, address, take_moduledata, finder);
}

/* Go's linker leaves sections that nothing else has. */
static bool has_go_section(const struct module_file *file)
{
    static const char *const names[] = {".gopclntab", ".data.rel.ro.gopclntab", ".go.buildinfo", ".note.go.buildid"};
    uint64_t size_bytes;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (find_section(file, names[i], &size_bytes) != 0)
            return true;
    return false;
}

bool go_runtime_is_likely(struct module_files *files, uint32_t module)
{
    const struct module_file *file = module_files_opened(files, module);
    size_t sections;
    return file != NULL && elf_getshdrnum(file->elf, &sections) == 0 && (sections == 0 || has_go_section(file));
}

static void find_module(struct finder *finder, uint32_t number)
{
    static const char *const names[] = {".gopclntab", ".data.rel.ro.gopclntab"};
    const struct module_file *file = module_files_opened(finder->files, number);
    if (file == NULL)
        return;
    uint64_t size_bytes, address = find_section(file, ".go.module", &size_bytes);
    if (address != 0 && take_moduledata(finder, number, address))
        return;
    for (size_t i = 0; i < 2; i++) {
        address = find_section(file, names[i], &size_bytes);
        if (address != 0 && take_table(finder, number, address))
            return;
    }
    /* By the header's bytes: fx ff ff ff 00 00 quantum 08. Without section headers, and where another linker put the table
     * into a section with others (-buildmode=c-shared). Other programs are spared that. */
    if (go_runtime_is_likely(finder->files, number))
        for (uint64_t quantum = 1; quantum <= 4; quantum += 3)
            if (scan_module(finder, number, 0xfffffffffffffff0, 0x08000000fffffff0 | quantum << 48, take_table, finder))
                return;
}

/* "go1.19.8" at the start of a text; the minor version, 0 when it is none. */
static unsigned parse_version(struct text text, size_t *ret_length)
{
    if (!text_starts_with(text, TEXT("go1.")))
        return 0;
    size_t at = 4;
    unsigned minor = 0;
    while (at < text.length && text.data[at] >= '0' && text.data[at] <= '9' && at < 8)
        minor = minor * 10 + (unsigned)(text.data[at++] - '0');
    while (at < text.length && at < 64 && (text.data[at] == '.' || (text.data[at] >= '0' && text.data[at] <= '9') ||
                                           (text.data[at] >= 'a' && text.data[at] <= 'z')))
        at++;
    *ret_length = at;
    return minor;
}

static bool take_version(struct finder *finder, struct text text)
{
    size_t length;
    for (size_t i = 0; i + 5 < text.length; i++) {
        unsigned minor = parse_version((struct text){text.data + i, text.length - i}, &length);
        if (minor == 0)
            continue;
        finder->runtime->version = text_copy(finder->arena, (struct text){text.data + i, length});
        finder->runtime->minor = minor;
        return true;
    }
    return false;
}

/* What a string header in the target points at, of a plausible length. */
static struct text string_at(const struct finder *finder, uint64_t header, size_t length_max)
{
    uint64_t address, length;
    if (!read_u64(finder, header, &address) || !read_u64(finder, header + 8, &length) || length == 0 || length > length_max)
        return TEXT("");
    const uint8_t *bytes = memory_view(&finder->image->memory, address, (size_t)length);
    return bytes == NULL ? TEXT("") : (struct text){(const char *)bytes, (size_t)length};
}

/* cmd/go's build information (debug/buildinfo): the version stands in it, or a pointer to runtime.buildVersion. */
static bool read_build_info(struct finder *finder, const struct go_module *module)
{
    static const uint8_t magic[14] = "\xff Go buildinf:";
    const struct module_file *file = module_files_opened(finder->files, module->module);
    uint64_t size_bytes, address = find_section(file, ".go.buildinfo", &size_bytes);
    const uint8_t *bytes = address == 0 ? NULL : memory_view(&finder->image->memory, address, 32);
    if (bytes == NULL || memcmp(bytes, magic, sizeof magic) != 0)
        return false;
    if ((bytes[15] & 2) == 0) {
        uint64_t header;
        return read_u64(finder, address + 16, &header) && take_version(finder, string_at(finder, header, 256));
    }
    const uint8_t *length = memory_view(&finder->image->memory, address + 32, 1);
    const uint8_t *text = length == NULL || *length > 127 ? NULL : memory_view(&finder->image->memory, address + 33, *length);
    return text != NULL && take_version(finder, (struct text){(const char *)text, *length});
}

/* Without build information: a string header in the module's data whose text is a version, as runtime.buildVersion. */
static bool scan_version(struct finder *finder, const struct go_module *module)
{
    for (size_t i = 0; i < 4; i++)
        for (uint64_t at = (module->data[i].start + 7) & ~(uint64_t)7; at + 16 <= module->data[i].end; at += 8) {
            uint64_t length;
            if (!read_u64(finder, at + 8, &length) || length < 6 || length > 64)
                continue;
            struct text text = string_at(finder, at, 64);
            size_t version_bytes;
            if (text.length != 0 && parse_version(text, &version_bytes) != 0 && take_version(finder, text))
                return true;
        }
    return false;
}

/* The candidate for runtime.allgs at an address: how many slots, 0 when it is none. g.sched.g is the g's own address in
 * every release. */
static uint64_t goroutine_slots(const struct finder *finder, uint64_t address)
{
    uint64_t array, count, capacity;
    if (!read_u64(finder, address, &array) || array == 0 || (array & 7) != 0 || !read_u64(finder, address + 8, &count) ||
        !read_u64(finder, address + 16, &capacity) || count == 0 || count > capacity || capacity >= limit_goroutines)
        return 0;
    for (uint64_t i = 0; i < count && i < 16; i++) {
        uint64_t g, self;
        if (!read_u64(finder, array + 8 * i, &g) || (g & 7) != 0 || !read_u64(finder, g + go_g_self, &self) || self != g)
            return 0;
    }
    return count;
}

static bool find_goroutines(struct finder *finder)
{
    struct go_runtime *runtime = finder->runtime;
    for (size_t i = 0; i < runtime->module_count; i++) {
        const struct go_module *module = &runtime->modules[i];
        uint64_t best = 0;
        for (size_t j = 0; j < 4; j++)
            for (uint64_t at = (module->data[j].start + 7) & ~(uint64_t)7; at + 24 <= module->data[j].end; at += 8) {
                uint64_t count = goroutine_slots(finder, at);
                if (count <= best)
                    continue;
                best = count;
                runtime->goroutines_slice = at;
                read_u64(finder, at, &runtime->goroutines);
                runtime->goroutine_count = count;
            }
        if (best == 0)
            continue;
        struct go_module first = runtime->modules[0];
        runtime->modules[0] = *module;
        runtime->modules[i] = first;
        return true;
    }
    return false;
}

/* runtime.waitReasonStrings: "" and "GC assist marking" begin it in every release. */
static void find_reasons(struct finder *finder)
{
    struct go_runtime *runtime = finder->runtime;
    for (size_t i = 0; i < 2; i++) { /* noptrdata, data */
        struct go_range range = runtime->modules[0].data[i];
        for (uint64_t at = (range.start + 7) & ~(uint64_t)7; at + 64 <= range.end; at += 8) {
            uint64_t length;
            if (!read_u64(finder, at + 24, &length) || length != 17 ||
                !text_equals(string_at(finder, at + 16, 17), TEXT("GC assist marking")) ||
                !read_u64(finder, at + 8, &length) || length != 0)
                continue;
            runtime->reasons = arena_array(finder->arena, struct text, UINT8_MAX + 1);
            runtime->reasons[0] = TEXT("");
            for (runtime->reason_count = 1; runtime->reason_count <= UINT8_MAX; runtime->reason_count++) {
                struct text text = string_at(finder, at + 16 * runtime->reason_count, 64);
                if (text.length == 0 || ((text.data[0] | 0x20) < 'a' || (text.data[0] | 0x20) > 'z'))
                    break;
                runtime->reasons[runtime->reason_count] = text_copy(finder->arena, text);
            }
            return;
        }
    }
}

/* Go programs whose tables are of no known form say so by their sections. */
static void tell_unknown(struct finder *finder)
{
    const struct image *image = finder->image;
    for (size_t i = 0; i < image->module_count; i++) {
        const struct module_file *file = module_files_opened(finder->files, (uint32_t)i);
        if (file != NULL && has_go_section(file))
            diagnostics_add(finder->diagnostics, DIAGNOSTIC_LOST, "go-runtime", image->modules[i].path,
                            "a Go program, but its runtime's tables are not found or of no known form (damaged, obfuscated, "
                            "or of a release newer than 1.%d): goroutines cannot be told",
                            go_minor_newest)
                ->count = 1;
    }
}

bool go_runtime_find(const struct image *image, struct module_files *files, struct arena *arena,
                     struct diagnostics *diagnostics, struct go_runtime *ret_runtime)
{
    *ret_runtime = (struct go_runtime){.image = image};
    struct finder finder = {image, files, arena, diagnostics, ret_runtime, 0, limit_go_table_bytes};
    for (size_t i = 0; i < image->module_count; i++)
        find_module(&finder, (uint32_t)i);
    if (ret_runtime->module_count == 0) {
        tell_unknown(&finder);
        return false;
    }
    bool found = find_goroutines(&finder);
    struct go_module *first = &ret_runtime->modules[0];
    if (!read_build_info(&finder, first) && !scan_version(&finder, first)) {
        ret_runtime->minor = first->table.go_minor;
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "go-version", TEXT(""),
                        "the program does not tell its Go version: read as go1.%u", ret_runtime->minor);
    }
    ret_runtime->layout = go_layout_of(ret_runtime->minor);
    for (size_t i = 0; i < ret_runtime->module_count; i++) {
        struct go_module *module = &ret_runtime->modules[i], exact;
        struct pclntab_header header = {module->table.layout, module->table.quantum, module->table.function_count};
        if (read_moduledata(&finder, module->module, module->moduledata, &header, ret_runtime->minor, &exact))
            *module = exact;
    }
    if (!found) {
        diagnostics_add(diagnostics, DIAGNOSTIC_LOST, "go-goroutines", TEXT(""),
                        "a Go program (%s), but its list of goroutines is not to be found: the data of the program is "
                        "missing, or it has not begun to run",
                        ret_runtime->version.length != 0 ? ret_runtime->version.data : "of unknown version");
        return true;
    }
    find_reasons(&finder);
    return true;
}

const struct pclntab *go_runtime_find_function(const struct go_runtime *runtime, uint64_t pc,
                                               struct pclntab_function *ret_function)
{
    for (size_t i = 0; i < runtime->module_count; i++)
        if (pclntab_find(&runtime->modules[i].table, pc, ret_function))
            return &runtime->modules[i].table;
    return NULL;
}

struct text go_runtime_wait_reason(const struct go_runtime *runtime, uint8_t reason)
{
    if (reason < runtime->reason_count)
        return runtime->reasons[reason];
    return runtime->reason_count != 0 ? TEXT("") : text_from_string(go_wait_reason(runtime->minor, reason));
}
