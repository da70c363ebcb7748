/* SPDX-License-Identifier: Apache-2.0 */
#include "source/live_core.h"

#include "base/limits.h"
#include "format/elf_segments.h"

#include <unistd.h>

enum { page_bytes = 4096, list_entries_max = 100000, dynamic_bytes_max = 1 << 16, name_bytes_max = 4096 };

struct core_copier {
    struct image *image;
    int memory_fd;
    struct arena *arena;
};

/* Makes the bytes readable in the image, by whole pages. */
static bool copy_pages(struct core_copier *copier, uint64_t address, uint64_t size_bytes)
{
    struct memory *memory = &copier->image->memory;
    uint64_t end = address + size_bytes;
    if (end < address)
        return false;
    for (uint64_t page = address & -(uint64_t)page_bytes; page < end; page += page_bytes) {
        if (memory_view(memory, page, page_bytes) != NULL)
            continue;
        uint8_t *bytes = arena_alloc(copier->arena, page_bytes, 1);
        if (pread(copier->memory_fd, bytes, page_bytes, (off_t)page) != page_bytes)
            return false;
        memory_layer_insert(memory, &memory->core, (struct memory_range){page, page + page_bytes, bytes});
    }
    return true;
}

/* Many pages by one read, as far as they are there. */
static void copy_range(struct core_copier *copier, uint64_t start, uint64_t size_bytes)
{
    uint8_t *bytes = arena_alloc(copier->arena, size_bytes, 1);
    ssize_t got = pread(copier->memory_fd, bytes, size_bytes, (off_t)start);
    if (got > 0)
        memory_layer_insert(&copier->image->memory, &copier->image->memory.core,
                            (struct memory_range){start, start + (uint64_t)got, bytes});
}

static bool copy_u64(struct core_copier *copier, uint64_t address, uint64_t *ret_value)
{
    return copy_pages(copier, address, 8) && memory_read_u64(&copier->image->memory, address, ret_value);
}

static void copy_string(struct core_copier *copier, uint64_t address)
{
    for (uint64_t at = address; at - address < name_bytes_max && copy_pages(copier, at, 1);) {
        uint64_t left = page_bytes - at % page_bytes;
        const uint8_t *bytes = memory_view(&copier->image->memory, at, left);
        if (bytes == NULL || memchr(bytes, 0, left) != NULL)
            return;
        at += left;
    }
}

/* The value of DT_DEBUG in the main program, which the loader has set to its struct r_debug; 0 none. */
static uint64_t find_debug(struct core_copier *copier, const struct module *module)
{
    uint8_t bytes[elf_header_bytes];
    struct elf_header header;
    const struct memory *memory = &copier->image->memory;
    if (memory_read(memory, module->start, bytes, sizeof bytes) != sizeof bytes ||
        elf_header_parse(bytes, sizeof bytes, &header) != NULL)
        return 0;
    for (size_t i = 0; i < header.segment_count; i++) {
        uint8_t segment_bytes[elf_segment_bytes];
        if (memory_read(memory, module->start + header.segments_offset + i * elf_segment_bytes, segment_bytes,
                        sizeof segment_bytes) != sizeof segment_bytes)
            return 0;
        struct elf_segment segment = elf_segment_parse(segment_bytes);
        if (segment.type != ELF_SEGMENT_DYNAMIC)
            continue;
        for (uint64_t at = 0; at + 16 <= segment.memory_bytes && at < dynamic_bytes_max; at += 16) {
            uint64_t tag, value, address = module->bias + segment.address + at;
            if (!copy_u64(copier, address, &tag) || tag == 0 || !copy_u64(copier, address + 8, &value))
                return 0;
            if (tag == 21) /* DT_DEBUG */
                return value;
        }
    }
    return 0;
}

static void copy_loader_list(struct core_copier *copier)
{
    const struct image *image = copier->image;
    uint64_t debug = 0, entry = 0;
    for (size_t i = 0; i < image->module_count && debug == 0; i++)
        if (image->modules[i].is_main && image->modules[i].bias_known)
            debug = find_debug(copier, &image->modules[i]);
    /* <link.h>: struct r_debug {int version; link_map *map; brk; state; ldbase}, struct link_map {l_addr, l_name, l_ld,
     * l_next, l_prev}. */
    if (debug == 0 || !copy_pages(copier, debug, 40) || !copy_u64(copier, debug + 8, &entry))
        return;
    for (size_t i = 0; entry != 0 && i < list_entries_max; i++) {
        uint64_t name, next;
        if (!copy_pages(copier, entry, 40) || !copy_u64(copier, entry + 8, &name) ||
            !copy_u64(copier, entry + 24, &next))
            return;
        copy_string(copier, name);
        entry = next;
    }
}

/* What is mapped from deleted files and cannot have been changed. */
static void copy_deleted_files(struct core_copier *copier, struct diagnostics *diagnostics)
{
    struct image *image = copier->image;
    uint64_t left = limit_saved_code_bytes;
    for (size_t i = 0; i < image->mapping_count; i++) {
        const struct mapping *mapping = &image->mappings[i];
        uint64_t size_bytes = mapping->end - mapping->start;
        if (mapping->module == index_none || !image->modules[mapping->module].is_deleted ||
            (mapping->access & MAPPING_WRITE) != 0 || (mapping->access & MAPPING_READ) == 0)
            continue;
        if (size_bytes > left) {
            diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "save-incomplete", mapping->path,
                            "%.*s: deleted, and too large for the saved core to hold its code", (int)mapping->path.length,
                            mapping->path.data);
            continue;
        }
        left -= size_bytes;
        copy_range(copier, mapping->start, size_bytes);
    }
}

void live_core_copy(struct image *image, int memory_fd, struct arena *arena, struct diagnostics *diagnostics)
{
    struct core_copier copier = {image, memory_fd, arena};
    copy_deleted_files(&copier, diagnostics);
    copy_loader_list(&copier);
}
