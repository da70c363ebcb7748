/* SPDX-License-Identifier: Apache-2.0 */
#include "source/core_modules.h"

#include "base/limits.h"
#include "format/elf_segments.h"

#include <stdlib.h>
#include <string.h>

enum { page_bytes = 4096 };

struct module_search {
    struct image *image;
    struct arena *arena;
    const struct core_note *auxv;
    size_t capacity; /* of image->modules */
};

/* The ELF header of a loaded module and the span of its segments, from memory. */
static bool module_read_header(const struct image *image, uint64_t start, struct module *module)
{
    const uint8_t *bytes = memory_view(&image->memory, start, elf_header_bytes);
    struct elf_header header;
    if (bytes == NULL || elf_header_parse(bytes, elf_header_bytes, &header) != NULL ||
        header.segment_count > limit_module_segments)
        return false;
    size_t table_bytes = (size_t)header.segment_count * elf_segment_bytes;
    if (header.segments_offset > UINT32_MAX)
        return false;
    const uint8_t *table = memory_view(&image->memory, start + header.segments_offset, table_bytes);
    if (table == NULL)
        return false;
    uint64_t low = UINT64_MAX, high = 0, first_offset = 0;
    for (size_t i = 0; i < header.segment_count; i++) {
        struct elf_segment segment = elf_segment_parse(table + i * elf_segment_bytes);
        uint64_t end;
        if (segment.type != ELF_SEGMENT_LOAD || __builtin_add_overflow(segment.address, segment.memory_bytes, &end) ||
            end > UINT64_MAX - page_bytes)
            continue;
        if (segment.address < low) {
            low = segment.address;
            first_offset = segment.offset;
        }
        if (end > high)
            high = end;
    }
    if (low >= high)
        return false;
    /* `start` holds file offset 0, which the lowest segment covers once it is rounded down to its page. */
    uint64_t base = (low & -(uint64_t)page_bytes) - (first_offset & -(uint64_t)page_bytes);
    module->bias = start - base;
    module->bias_known = true;
    module->is_elf = true;
    module->start = start;
    uint64_t span = ((high + page_bytes - 1) & -(uint64_t)page_bytes) - (low & -(uint64_t)page_bytes);
    if (__builtin_add_overflow(start, span, &module->end))
        module->end = UINT64_MAX;

    for (size_t i = 0; i < header.segment_count && module->build_id.size_bytes == 0; i++) {
        struct elf_segment segment = elf_segment_parse(table + i * elf_segment_bytes);
        if (segment.type != ELF_SEGMENT_NOTE || segment.file_bytes > 1u << 20)
            continue;
        const uint8_t *note_bytes = memory_view(&image->memory, module->bias + segment.address, segment.file_bytes);
        if (note_bytes == NULL)
            continue;
        struct byte_reader notes = byte_reader_new(note_bytes, segment.file_bytes);
        struct core_note note;
        while (core_note_next(&notes, &note))
            if (note.type == 3 && text_equals(note.name, TEXT("GNU")) && note.size_bytes != 0 &&
                note.size_bytes <= limit_build_id_bytes) { /* NT_GNU_BUILD_ID */
                module->build_id.size_bytes = (uint8_t)note.size_bytes;
                memcpy(module->build_id.bytes, note.bytes, note.size_bytes);
                break;
            }
    }
    return true;
}

static struct module *add_module(struct module_search *search, struct module module)
{
    struct image *image = search->image;
    image->modules = arena_grow(search->arena, image->modules, image->module_count, &search->capacity,
                                sizeof *image->modules);
    image->modules[image->module_count] = module;
    return &image->modules[image->module_count++];
}

static struct text strip_deleted(struct text path, bool *ret_deleted)
{
    static const char mark[] = " (deleted)"; /* kernel fs/d_path.c */
    *ret_deleted = text_ends_with(path, TEXT(" (deleted)"));
    if (*ret_deleted)
        path.length -= sizeof mark - 1;
    return path;
}

/* A file of which only a part is mapped (as data, say) does not own what lies behind: code made at run time. */
static void trim_module(struct module *module, uint64_t mapped_end)
{
    if (module->bias_known && module->end > mapped_end)
        module->end = mapped_end;
}

/* One module per loaded file: mappings of one path that its header spans, or, where the header is not in the core,
 * that follow each other with rising offsets. */
static void find_modules(struct module_search *search)
{
    struct image *image = search->image;
    struct module *current = NULL;
    struct text current_path = {0};
    uint64_t last_offset = 0, mapped_end = 0;
    for (size_t i = 0; i < image->mapping_count; i++) {
        struct mapping *mapping = &image->mappings[i];
        if (mapping->path.length == 0)
            continue;
        bool same = current != NULL && text_equals(current_path, mapping->path);
        if (same && current->bias_known && mapping->start < current->end) {
            mapped_end = mapping->end;
            continue;
        }
        if (same && !current->bias_known && mapping->file_offset > last_offset) {
            current->end = mapping->end;
            current->is_elf |= (mapping->access & MAPPING_EXECUTE) != 0;
            last_offset = mapping->file_offset;
            continue;
        }
        if (current != NULL)
            trim_module(current, mapped_end);
        mapped_end = mapping->end;
        struct module module = {.start = mapping->start, .end = mapping->end};
        bool deleted;
        module.path = text_copy(search->arena, strip_deleted(mapping->path, &deleted));
        module.is_deleted = deleted;
        module.is_elf = (mapping->access & MAPPING_EXECUTE) != 0;
        if (mapping->file_offset == 0)
            module_read_header(image, mapping->start, &module);
        current = add_module(search, module);
        current_path = mapping->path;
        last_offset = mapping->file_offset;
    }
    if (current != NULL)
        trim_module(current, mapped_end);
}

static void find_vdso(struct module_search *search)
{
    uint64_t address;
    struct image *image = search->image;
    struct module module = {.path = TEXT("[vdso]"), .is_vdso = true};
    if (search->auxv != NULL && core_auxv_find(search->auxv, 33, &address)) { /* AT_SYSINFO_EHDR */
        if (module_read_header(image, address, &module))
            add_module(search, module);
        return;
    }
    /* Without it: the only ELF image that is mapped from no file. */
    for (size_t i = 0; i < image->mapping_count; i++) {
        const struct mapping *mapping = &image->mappings[i];
        if (mapping->path.length == 0 && (mapping->access & MAPPING_EXECUTE) != 0 &&
            module_read_header(image, mapping->start, &module)) {
            add_module(search, module);
            return;
        }
    }
}

static struct text read_target_string(struct module_search *search, uint64_t address)
{
    char bytes[4096];
    size_t count = memory_read(&search->image->memory, address, bytes, sizeof bytes);
    size_t length = strnlen(bytes, count);
    return length == count ? (struct text){"", 0} : text_copy(search->arena, (struct text){bytes, length});
}

/* A module of which the core has no header (emulators leave code out, and where it begins a file's header stands in it): what is
 * mapped in one go from there. The module's own file tells more, once it is opened. */
static void span_mappings(const struct image *image, const struct mapping *first, struct module *module)
{
    const struct mapping *end = image->mappings + image->mapping_count;
    module->start = first->start;
    module->end = first->end;
    module->is_elf = true;
    for (const struct mapping *next = first + 1; next < end && next->start == module->end; next++)
        module->end = next->end;
}

/* DT_DEBUG's value in a program whose headers are not at hand: by the list that it leads to, whose first entry is the program
 * itself and has the address of the section that is searched. */
static uint64_t find_loader_list(const struct image *image, const struct module *module)
{
    uint64_t at_most = limit_loader_search_bytes;
    for (size_t i = 0; i < image->mapping_count; i++) {
        const struct mapping *mapping = &image->mappings[i];
        if (mapping->start < module->start || mapping->end > module->end || (mapping->access & MAPPING_EXECUTE) != 0)
            continue;
        for (uint64_t at = mapping->start; at + 16 <= mapping->end && at_most > 0; at += 8, at_most -= 8) {
            uint64_t tag, value, list, dynamic, previous;
            if (!memory_read_u64(&image->memory, at, &tag))
                at |= page_bytes - 8;
            else if (tag == 21 && memory_read_u64(&image->memory, at + 8, &value) &&
                     memory_read_u64(&image->memory, value + 8, &list) &&
                     memory_read_u64(&image->memory, list + 16, &dynamic) && dynamic <= at && at - dynamic < 1u << 16 &&
                     dynamic >= mapping->start && memory_read_u64(&image->memory, list + 32, &previous) && previous == 0)
                return list;
        }
    }
    return 0;
}

/* Without NT_FILE: the loader's list, found through the main program's DT_DEBUG (glibc's and musl's struct link_map
 * begin alike: l_addr, l_name, l_ld, l_next, l_prev; gABI "Program Loading", <link.h>). */
static void find_modules_by_loader(struct module_search *search, uint64_t program_headers, struct text exe)
{
    struct image *image = search->image;
    const struct mapping *mapping = image_find_mapping(image, program_headers);
    struct module main_module = {.path = exe};
    if (mapping == NULL)
        return;
    bool has_header = module_read_header(image, mapping->start, &main_module);
    if (!has_header)
        span_mappings(image, mapping, &main_module);
    add_module(search, main_module);
    const uint8_t *header_bytes = memory_view(&image->memory, main_module.start, elf_header_bytes);
    struct elf_header header = {0};
    if (has_header && (header_bytes == NULL || elf_header_parse(header_bytes, elf_header_bytes, &header) != NULL))
        return;
    uint64_t list = has_header ? 0 : find_loader_list(image, &main_module);
    for (size_t i = 0; i < header.segment_count && list == 0; i++) {
        const uint8_t *bytes =
            memory_view(&image->memory, main_module.start + header.segments_offset + i * elf_segment_bytes,
                        elf_segment_bytes);
        if (bytes == NULL)
            break;
        struct elf_segment segment = elf_segment_parse(bytes);
        if (segment.type != ELF_SEGMENT_DYNAMIC)
            continue;
        for (uint64_t at = 0; at + 16 <= segment.memory_bytes && at < 1u << 16; at += 16) {
            uint64_t tag, value;
            uint64_t address = main_module.bias + segment.address + at;
            if (!memory_read_u64(&image->memory, address, &tag) || tag == 0 ||
                !memory_read_u64(&image->memory, address + 8, &value))
                break;
            if (tag == 21) { /* DT_DEBUG: struct r_debug {int version; link_map *map; …} */
                memory_read_u64(&image->memory, value + 8, &list);
                break;
            }
        }
    }
    enum { loader_entries_max = 100000 }; /* a list that loops ends somewhere */
    for (size_t i = 0; list != 0 && i < loader_entries_max; i++) {
        uint64_t bias, name, dynamic, next;
        if (!memory_read_u64(&image->memory, list, &bias) || !memory_read_u64(&image->memory, list + 8, &name) ||
            !memory_read_u64(&image->memory, list + 16, &dynamic) ||
            !memory_read_u64(&image->memory, list + 24, &next))
            break;
        struct module module = {.path = read_target_string(search, name)};
        const struct mapping *first = bias == 0 ? NULL : image_find_mapping(image, bias);
        if (module.path.length != 0 && bias != 0 && module_read_header(image, bias, &module)) {
            if (module.bias != main_module.bias)
                add_module(search, module);
        } else if (!has_header && module.path.length != 0 && first != NULL && first->start == bias) {
            span_mappings(image, first, &module);
            module.bias = bias;
            module.bias_known = true;
            add_module(search, module);
        }
        list = next;
    }
}

static int compare_module(const void *left, const void *right)
{
    const struct module *a = left, *b = right;
    return a->start < b->start ? -1 : a->start > b->start;
}

static void settle_modules(struct image *image)
{
    size_t kept = 0;
    for (size_t i = 0; i < image->module_count; i++)
        if (image->modules[i].is_elf)
            image->modules[kept++] = image->modules[i];
    image->module_count = kept;
    if (image->module_count != 0)
        qsort(image->modules, image->module_count, sizeof *image->modules, compare_module);
    for (size_t i = 1; i < image->module_count; i++)
        if (image->modules[i - 1].end > image->modules[i].start)
            image->modules[i - 1].end = image->modules[i].start;
    for (size_t i = 0; i < image->mapping_count; i++) {
        struct mapping *mapping = &image->mappings[i];
        mapping->module = image_find_module(image, mapping->start);
        if (mapping->module != index_none && mapping->path.length == 0)
            mapping->path = mapping->start == image->modules[mapping->module].start
                                ? image->modules[mapping->module].path
                                : mapping->path;
    }
}

void core_modules_find(struct image *image, struct arena *arena, const struct core_note *auxv, bool names_known)
{
    struct module_search search = {image, arena, auxv, 0};
    uint64_t program_headers = 0, entry = 0, name = 0;
    struct text exe = {"", 0};
    if (auxv != NULL) {
        core_auxv_find(auxv, 3, &program_headers); /* AT_PHDR */
        core_auxv_find(auxv, 9, &entry);           /* AT_ENTRY */
        if (core_auxv_find(auxv, 31, &name))       /* AT_EXECFN */
            exe = read_target_string(&search, name);
    }
    find_modules(&search);
    if (!names_known && program_headers != 0)
        find_modules_by_loader(&search, program_headers, exe);
    find_vdso(&search);
    settle_modules(image);
    image->entry = entry;
    uint32_t main_module = image_find_module(image, entry);
    if (entry == 0 || main_module == index_none)
        main_module = image_find_module(image, program_headers);
    /* Without NT_AUXV: the file that pr_fname, cut to 15 bytes, is the name of. */
    for (size_t i = 0; auxv == NULL && main_module == index_none && i < image->module_count; i++)
        if (image->command.length != 0 && text_starts_with(text_basename(image->modules[i].path), image->command))
            main_module = (uint32_t)i;
    if (main_module != index_none) {
        image->modules[main_module].is_main = true;
        exe = image->modules[main_module].path;
    }
    image->exe = exe;
}
