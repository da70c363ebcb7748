/* SPDX-License-Identifier: Apache-2.0 */
#include "debuginfo/module_file.h"

#include "base/byte_reader.h"
#include "base/limits.h"
#include "format/elf_segments.h"

#include <errno.h>
#include <gelf.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct module_files {
    struct image *image;
    struct module_file_options options;
    struct arena *arena;
    struct diagnostics *diagnostics;
    struct module_file *files; /* one per module, same index */
    size_t opened;
    uint64_t rebuilt_bytes; /* of images made from memory */
    struct module_file pending; /* a candidate while it is looked at: closed with the rest if control leaves by exhaustion */
};

struct module_files *module_files_new(struct image *image, const struct module_file_options *options,
                                      struct arena *arena, struct diagnostics *diagnostics)
{
    elf_version(EV_CURRENT);
    struct module_files *files = arena_new(arena, struct module_files);
    *files = (struct module_files){image, *options, arena, diagnostics, NULL, 0, 0, {.mapping.fd = -1}};
    files->files = arena_array(arena, struct module_file, image->module_count + 1);
    return files;
}

const struct module_file_options *module_files_options(const struct module_files *files)
{
    return &files->options;
}

const struct module *module_files_module(const struct module_files *files, const struct module_file *file)
{
    return &files->image->modules[file->module];
}

const char *module_files_root(const struct module_files *files)
{
    return files->image->root;
}

struct arena *module_files_arena(const struct module_files *files)
{
    return files->arena;
}

struct diagnostics *module_files_diagnostics(const struct module_files *files)
{
    return files->diagnostics;
}

static void module_file_release(struct module_file *file)
{
    if (file->eh_frame != NULL)
        dwarf_cfi_end(file->eh_frame);
    file->eh_frame = NULL;
    if (file->elf != NULL)
        elf_end(file->elf);
    file->elf = NULL;
    if (file->from_memory)
        free((void *)file->bytes);
    else
        file_unmap(&file->mapping);
    file->bytes = NULL;
}

void module_files_close(struct module_files *files)
{
    for (size_t i = 0; i < files->image->module_count; i++)
        if (files->files[i].state == MODULE_FILE_OPEN) {
            if (files->files[i].release_debug != NULL)
                files->files[i].release_debug(&files->files[i]);
            module_file_release(&files->files[i]);
        }
    module_file_release(&files->pending);
}

struct build_id elf_build_id(Elf *elf)
{
    struct build_id result = {0};
    size_t count;
    if (elf_getphdrnum(elf, &count) != 0)
        return result;
    for (size_t i = 0; i < count && result.size_bytes == 0; i++) {
        GElf_Phdr header;
        if (gelf_getphdr(elf, (int)i, &header) == NULL || header.p_type != PT_NOTE)
            continue;
        Elf_Data *data = elf_getdata_rawchunk(elf, (int64_t)header.p_offset, header.p_filesz,
                                              header.p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
        GElf_Nhdr note;
        size_t next = 0, name, bytes;
        while (data != NULL && (next = gelf_getnote(data, next, &note, &name, &bytes)) > 0)
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
                memcmp((char *)data->d_buf + name, "GNU", 4) == 0 && note.n_descsz != 0 &&
                note.n_descsz <= limit_build_id_bytes) {
                result.size_bytes = (uint8_t)note.n_descsz;
                memcpy(result.bytes, (char *)data->d_buf + bytes, note.n_descsz);
                break;
            }
    }
    return result;
}

static const char *build_id_text(struct arena *arena, const struct build_id *id)
{
    char *text = arena_alloc(arena, (size_t)id->size_bytes * 2 + 1, 1);
    for (size_t i = 0; i < id->size_bytes; i++)
        snprintf(text + 2 * i, 3, "%02x", id->bytes[i]);
    return text;
}

/* Whether the file and the target's memory show the same bytes wherever the core holds read-only parts of the module.
 * Writable segments are skipped: relocation and the program change them. */
enum comparison { COMPARISON_NOTHING, COMPARISON_EQUAL, COMPARISON_DIFFERENT };

static enum comparison compare_with_memory(const struct image *image, const struct module *module,
                                           const struct module_file *file)
{
    enum comparison result = COMPARISON_NOTHING;
    size_t count, budget = 1 << 20; /* bytes looked at: enough to tell two builds apart */
    if (elf_getphdrnum(file->elf, &count) != 0)
        return result;
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr header;
        if (gelf_getphdr(file->elf, (int)i, &header) == NULL || header.p_type != PT_LOAD || header.p_flags & PF_W ||
            header.p_offset > file->size_bytes || header.p_filesz > file->size_bytes - header.p_offset)
            continue;
        for (uint64_t at = 0; at < header.p_filesz && budget != 0;) {
            uint64_t address = file->bias + header.p_vaddr + at;
            if (address < module->start || address >= module->end)
                break;
            const struct memory_range *range = memory_find(&image->memory, address);
            if (range == NULL) {
                at += 4096 - (address & 4095);
                continue;
            }
            uint64_t bytes = range->end - address;
            if (bytes > header.p_filesz - at)
                bytes = header.p_filesz - at;
            if (bytes > budget)
                bytes = budget;
            if (memcmp(range->bytes + (address - range->start), file->bytes + header.p_offset + at, bytes) != 0)
                return COMPARISON_DIFFERENT;
            result = COMPARISON_EQUAL;
            budget -= bytes;
            at += bytes;
        }
    }
    return result;
}

/* address = p_vaddr + bias, from one mapping and the file's own program headers; for modules whose header is not in
 * the core. */
static bool find_bias(const struct image *image, uint32_t module, Elf *elf, uint64_t *ret_bias)
{
    for (size_t i = 0; i < image->mapping_count; i++) {
        const struct mapping *mapping = &image->mappings[i];
        if (mapping->module != module || mapping->path.length == 0)
            continue;
        size_t count;
        if (elf_getphdrnum(elf, &count) != 0)
            return false;
        for (size_t j = 0; j < count; j++) {
            GElf_Phdr header;
            if (gelf_getphdr(elf, (int)j, &header) == NULL || header.p_type != PT_LOAD)
                continue;
            uint64_t page_offset = header.p_offset & ~(uint64_t)4095, page_address = header.p_vaddr & ~(uint64_t)4095;
            if (mapping->file_offset < page_offset || mapping->file_offset >= header.p_offset + header.p_filesz)
                continue;
            *ret_bias = mapping->start - (page_address + (mapping->file_offset - page_offset));
            return true;
        }
    }
    return false;
}

/* Tries one path: opens, checks, and on success fills `file`. */
static bool open_candidate(struct module_files *files, struct module_file *file, const char *path, bool must_verify)
{
    struct module *module = &files->image->modules[file->module];
    struct module_file *candidate = &files->pending;
    *candidate = (struct module_file){.module = file->module, .path = path, .mapping.fd = -1, .debug_fd = -1};
    int failed = file_map(path, &candidate->mapping);
    if (failed != 0) {
        /* What the core names may be gone; what the user names is expected to be there. map_files is root's alone, and
         * what follows it is as good. */
        if (((failed != ENOENT && failed != ENOTDIR) || path == files->options.exe) && path != module->local_paths[0] &&
            (path != module->local_paths[1] || module->local_paths[2] == NULL))
            diagnostics_add(files->diagnostics, DIAGNOSTIC_LOSS, "module-unreadable", text_from_string(path),
                            "%s: cannot be opened: %s; not used", path,
                            failed == EINVAL ? "not a regular file" : strerror(failed));
        return false;
    }
    candidate->bytes = candidate->mapping.bytes;
    candidate->size_bytes = candidate->mapping.size_bytes;
    if (candidate->bytes != NULL)
        candidate->elf = elf_memory((char *)candidate->bytes, candidate->size_bytes);
    const char *why = NULL;
    GElf_Ehdr header;
    if (candidate->elf == NULL || elf_kind(candidate->elf) != ELF_K_ELF ||
        gelf_getehdr(candidate->elf, &header) == NULL || header.e_machine != files->image->arch->elf_machine)
        why = "it is no ELF file of the core's architecture";
    /* A core, say: its segments can hold the very bytes, but no sections. */
    else if (header.e_type != ET_EXEC && header.e_type != ET_DYN)
        why = "it is neither an executable nor a shared library";
    if (why == NULL) {
        candidate->build_id = elf_build_id(candidate->elf);
        candidate->bias = module->bias;
        if (!module->bias_known && !find_bias(files->image, file->module, candidate->elf, &candidate->bias))
            why = "its segments are not those that were mapped";
    }
    if (why == NULL && module->build_id.size_bytes != 0 && candidate->build_id.size_bytes != 0) {
        candidate->verified = module->build_id.size_bytes == candidate->build_id.size_bytes &&
                             memcmp(module->build_id.bytes, candidate->build_id.bytes, module->build_id.size_bytes) == 0;
        if (!candidate->verified)
            why = arena_printf(files->arena, "its build-id is %s, the core has %s",
                               build_id_text(files->arena, &candidate->build_id),
                               build_id_text(files->arena, &module->build_id));
    } else if (why == NULL) {
        enum comparison comparison = compare_with_memory(files->image, module, candidate);
        candidate->verified = comparison == COMPARISON_EQUAL;
        if (comparison == COMPARISON_DIFFERENT)
            why = "its bytes differ from those in the core";
        else if (comparison == COMPARISON_NOTHING && must_verify)
            why = "the core holds nothing to compare it with";
    }
    if (why != NULL) {
        diagnostics_add(files->diagnostics, DIAGNOSTIC_LOSS, "module-differs", text_from_string(path),
                        "%s: not the file that was mapped: %s; not used", path, why);
        module_file_release(candidate);
        return false;
    }
    if (!candidate->verified)
        diagnostics_add(files->diagnostics, DIAGNOSTIC_NOTE, "module-unverified", text_from_string(path),
                        "%s: used without a check: neither a build-id nor a page of it is in the core", path);
    candidate->state = MODULE_FILE_OPEN;
    *file = *candidate;
    *candidate = (struct module_file){.mapping.fd = -1};
    return true;
}

/* Rebuilds the ELF image from the target's memory. Worth it only when the unwind tables are there. */
static bool open_memory(struct module_files *files, struct module_file *file)
{
    const struct image *image = files->image;
    const struct module *module = &image->modules[file->module];
    const uint8_t *bytes = memory_view(&image->memory, module->start, elf_header_bytes);
    struct elf_header header;
    if (!module->bias_known || bytes == NULL || elf_header_parse(bytes, elf_header_bytes, &header) != NULL)
        return false;
    size_t table_bytes = (size_t)header.segment_count * elf_segment_bytes;
    const uint8_t *table = header.segments_offset > UINT32_MAX
                               ? NULL
                               : memory_view(&image->memory, module->start + header.segments_offset, table_bytes);
    if (table == NULL)
        return false;
    uint64_t size_bytes = header.segments_offset + table_bytes, load_bytes = 0;
    bool unwind_tables = false;
    for (size_t i = 0; i < header.segment_count; i++) {
        struct elf_segment segment = elf_segment_parse(table + i * elf_segment_bytes);
        uint64_t end;
        if (__builtin_add_overflow(segment.offset, segment.file_bytes, &end) || end > limit_memory_image_bytes)
            return false;
        if (segment.type == ELF_SEGMENT_LOAD) {
            load_bytes += segment.file_bytes;
            if (end > size_bytes)
                size_bytes = end;
        }
        if (segment.type == PT_GNU_EH_FRAME)
            unwind_tables = memory_find(&image->memory, module->bias + segment.address) != NULL;
    }
    /* Segments that overlap, or many modules, must not add up. */
    if (!unwind_tables || load_bytes > 2 * size_bytes || size_bytes > limit_memory_image_bytes - files->rebuilt_bytes)
        return false;
    files->rebuilt_bytes += size_bytes;
    uint8_t *copy = calloc(1, size_bytes);
    if (copy == NULL)
        return false;
    uint64_t missing = 0;
    for (size_t i = 0; i < header.segment_count; i++) {
        struct elf_segment segment = elf_segment_parse(table + i * elf_segment_bytes);
        if (segment.type == ELF_SEGMENT_LOAD)
            missing += segment.file_bytes - memory_read(&image->memory, module->bias + segment.address,
                                                        copy + segment.offset, segment.file_bytes);
    }
    memcpy(copy, bytes, elf_header_bytes);
    memcpy(copy + header.segments_offset, table, table_bytes);
    if (!module->is_vdso)
        /* Section headers are not loaded: e_shoff, e_shnum, e_shstrndx would point at nothing. */
        memset(copy + 40, 0, 8), memset(copy + 60, 0, 4);
    Elf *elf = elf_memory((char *)copy, size_bytes);
    if (elf == NULL) {
        free(copy);
        return false;
    }
    *file = (struct module_file){
        .state = MODULE_FILE_OPEN,
        .module = file->module,
        .bytes = copy,
        .size_bytes = size_bytes,
        .mapping.fd = -1,
        .elf = elf,
        .bias = module->bias,
        .from_memory = true,
        .verified = true,
        .build_id = module->build_id,
        .debug_fd = -1,
    };
    if (!module->is_vdso)
        diagnostics_add(files->diagnostics, DIAGNOSTIC_NOTE, "module-from-memory", module->path,
                        "%s: no usable file; read from the core's memory, %" PRIu64 " bytes of it missing",
                        module->path.data, missing);
    return true;
}

/* Read-only segments answer for memory that the core leaves out. Writable ones never do: their bytes changed. */
static void add_file_memory(struct module_files *files, const struct module_file *file)
{
    const struct module *module = &files->image->modules[file->module];
    size_t count;
    if (elf_getphdrnum(file->elf, &count) != 0)
        return;
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr header;
        if (gelf_getphdr(file->elf, (int)i, &header) == NULL || header.p_type != PT_LOAD || header.p_flags & PF_W ||
            header.p_offset > file->size_bytes || header.p_filesz > file->size_bytes - header.p_offset)
            continue;
        uint64_t start = file->bias + header.p_vaddr, end;
        if (__builtin_add_overflow(start, header.p_filesz, &end) || start < module->start || end > module->end)
            continue;
        memory_layer_insert(&files->image->memory, &files->image->memory.files,
                            (struct memory_range){start, end, file->bytes + header.p_offset});
    }
}

struct module_file *module_files_open(struct module_files *files, uint32_t index)
{
    if (index == index_none)
        return NULL;
    struct module_file *file = &files->files[index];
    if (file->state != MODULE_FILE_UNTRIED)
        return file->state == MODULE_FILE_OPEN ? file : NULL;
    struct module *module = &files->image->modules[index];
    file->module = index;
    file->state = MODULE_FILE_MISSING;
    if (files->opened++ == limit_module_files)
        diagnostics_add(files->diagnostics, DIAGNOSTIC_LOSS, "module-limit", TEXT(""),
                        "frames lie in more than %d modules; the others' files were not opened", limit_module_files);
    if (files->opened > limit_module_files)
        return NULL;
    bool found = false;
    if (module->is_vdso) {
        found = open_memory(files, file);
    } else {
        if (module->is_main && files->options.exe != NULL)
            found = open_candidate(files, file, files->options.exe, false);
        for (size_t i = 0; !found && i < 3 && module->local_paths[i] != NULL; i++)
            found = open_candidate(files, file, module->local_paths[i], module->is_deleted && i != 0);
        /* A relative name (a loader's list, AT_EXECFN) means nothing here. */
        bool absolute = module->local_paths[0] == NULL && module->path.length != 0 && module->path.data[0] == '/';
        if (!found && absolute && files->options.sysroot != NULL)
            found = open_candidate(files, file,
                                   arena_printf(files->arena, "%s%s", files->options.sysroot, module->path.data),
                                   module->is_deleted);
        /* With a sysroot, this machine's own file of the same name is a guess: only when it proves equal. */
        if (!found && absolute)
            found = open_candidate(files, file, module->path.data,
                                   module->is_deleted || files->options.sysroot != NULL);
        if (!found)
            found = open_memory(files, file);
    }
    if (!found) {
        diagnostics_add(files->diagnostics, DIAGNOSTIC_LOSS, "module-missing", module->path,
                        "%s: neither a usable file nor its tables in the core; its frames have no names, and only "
                        "frame pointers lead through them%s",
                        module->path.data,
                        module->is_main && files->options.exe == NULL ? "; --exe FILE gives it" : "");
        return NULL;
    }
    add_file_memory(files, file);
    module->bias = file->bias;
    module->bias_known = true;
    if (module->build_id.size_bytes == 0 && file->verified)
        module->build_id = file->build_id;
    return file;
}

struct module_file *module_files_opened(struct module_files *files, uint32_t index)
{
    struct module_file *file = index == index_none ? NULL : &files->files[index];
    return file != NULL && file->state == MODULE_FILE_OPEN ? file : NULL;
}

Dwarf_CFI *module_file_eh_frame(struct module_file *file)
{
    if (!file->eh_frame_tried) {
        file->eh_frame_tried = true;
        file->eh_frame = dwarf_getcfi_elf(file->elf);
    }
    return file->eh_frame;
}
