/* SPDX-License-Identifier: Apache-2.0 */
#include "debuginfo/debug_search.h"

#include "base/byte_reader.h"
#include "base/cleanup.h"
#include "base/limits.h"

#include <elfutils/libdwelf.h>
#include <errno.h>
#include <gelf.h>
#include <inttypes.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static const char debug_path_default[] = "/usr/lib/debug";

/* What a candidate must prove, and what it was asked for. */
struct debug_search {
    struct module_files *files;
    struct module_file *file;
    struct build_id build_id; /* size 0: nothing to compare */
    bool crc_known;
    uint32_t crc;
};

static Elf_Scn *elf_section_find(Elf *elf, const char *wanted, GElf_Shdr *ret_section)
{
    size_t names;
    if (elf == NULL || elf_getshdrstrndx(elf, &names) != 0)
        return NULL;
    for (Elf_Scn *scn = elf_nextscn(elf, NULL); scn != NULL; scn = elf_nextscn(elf, scn)) {
        if (gelf_getshdr(scn, ret_section) == NULL)
            continue;
        const char *name = elf_strptr(elf, names, ret_section->sh_name);
        if (name != NULL && strcmp(name, wanted) == 0)
            return scn;
    }
    return NULL;
}

/* The section's bytes as they stand in the file; NULL when there are none. */
static const Elf_Data *elf_section_bytes(Elf *elf, const char *wanted)
{
    GElf_Shdr section;
    Elf_Scn *scn = elf_section_find(elf, wanted, &section);
    Elf_Data *data = scn == NULL || section.sh_type == SHT_NOBITS ? NULL : elf_rawdata(scn, NULL);
    return data == NULL || data->d_buf == NULL || data->d_size == 0 ? NULL : data;
}

static bool build_id_equals(const struct build_id *a, const struct build_id *b)
{
    return a->size_bytes == b->size_bytes && memcmp(a->bytes, b->bytes, a->size_bytes) == 0;
}

/* A separate file's notes are there, its segments may be empty: by section, else by segment. */
static struct build_id debug_file_build_id(Elf *elf)
{
    struct build_id result = {0};
    const void *bytes;
    ssize_t size_bytes = dwelf_elf_gnu_build_id(elf, &bytes);
    if (size_bytes > 0 && size_bytes <= limit_build_id_bytes) {
        result.size_bytes = (uint8_t)size_bytes;
        memcpy(result.bytes, bytes, (size_t)size_bytes);
    }
    return result;
}

/* NULL, or why the candidate is none. */
static const char *debug_file_check(const struct debug_search *search, Elf *elf)
{
    GElf_Ehdr header, module_header;
    if (elf_kind(elf) != ELF_K_ELF || gelf_getehdr(elf, &header) == NULL ||
        gelf_getehdr(search->file->elf, &module_header) == NULL || header.e_machine != module_header.e_machine ||
        gelf_getclass(elf) != gelf_getclass(search->file->elf))
        return "it is no ELF file of the module's architecture";
    struct build_id build_id = debug_file_build_id(elf);
    if (search->build_id.size_bytes != 0 && build_id.size_bytes != 0)
        return build_id_equals(&build_id, &search->build_id) ? NULL : "its build-id is another one";
    if (!search->crc_known)
        return "it has no build-id";
    size_t size_bytes;
    const char *bytes = elf_rawfile(elf, &size_bytes);
    if (bytes == NULL || crc32_z(0, (const unsigned char *)bytes, size_bytes) != search->crc)
        return "its CRC is not the one in .gnu_debuglink";
    return NULL;
}

/* Opens one candidate. False when it is not there or refused (with a diagnostic). */
static bool debug_file_open(const struct debug_search *search, const char *path, int *ret_fd, Elf **ret_elf)
{
    struct diagnostics *diagnostics = module_files_diagnostics(search->files);
    uint64_t size_bytes;
    int fd = file_open_regular(path, &size_bytes);
    if (fd < 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "debug-file-unreadable", text_from_string(path),
                            "%s: cannot be opened: %s; not used", path,
                            errno == EINVAL ? "not a regular file" : strerror(errno));
        return false;
    }
    /* A link that names the module's own file would pass every check and say nothing new. */
    struct stat candidate, module;
    bool is_module = search->file->mapping.fd >= 0 && fstat(fd, &candidate) == 0 &&
                     fstat(search->file->mapping.fd, &module) == 0 && candidate.st_dev == module.st_dev &&
                     candidate.st_ino == module.st_ino;
    Elf *elf = is_module ? NULL : elf_begin(fd, ELF_C_READ_MMAP, NULL);
    const char *why = is_module ? NULL : elf == NULL ? elf_errmsg(-1) : debug_file_check(search, elf);
    if (why != NULL)
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "debug-file-differs", text_from_string(path),
                        "%s: not the debug file of %s: %s; not used", path,
                        search->file->path == NULL ? "the module" : search->file->path, why);
    if (is_module || why != NULL) {
        elf_end(elf);
        close(fd);
        return false;
    }
    *ret_fd = fd;
    *ret_elf = elf;
    return true;
}

/* Tries a path below --sysroot, then below the target's own root, then as it is. Returns the path that was opened, or
 * NULL. */
static const char *debug_file_try(const struct debug_search *search, const char *path, int *ret_fd, Elf **ret_elf)
{
    const char *roots[] = {module_files_options(search->files)->sysroot, module_files_root(search->files)};
    for (size_t i = 0; i < sizeof roots / sizeof roots[0]; i++) {
        if (roots[i] == NULL)
            continue;
        const char *below = arena_printf(module_files_arena(search->files), "%s%s", roots[i], path);
        if (debug_file_open(search, below, ret_fd, ret_elf))
            return below;
    }
    return debug_file_open(search, path, ret_fd, ret_elf) ? path : NULL;
}

/* The next folder of --debug-path; "" at its end. */
static struct text debug_path_next(const char **position)
{
    for (;;) {
        size_t length = strcspn(*position, ":");
        struct text folder = {*position, length};
        *position += length;
        if (**position == ':')
            (*position)++;
        else if (length == 0)
            return folder;
        while (folder.length > 1 && folder.data[folder.length - 1] == '/')
            folder.length--;
        if (folder.length != 0)
            return folder;
    }
}

static const char *debug_path_start(const struct debug_search *search)
{
    const char *path = module_files_options(search->files)->debug_path;
    return path == NULL ? debug_path_default : path;
}

static const char *debug_file_by_build_id(const struct debug_search *search, int *ret_fd, Elf **ret_elf)
{
    if (search->build_id.size_bytes < 2)
        return NULL;
    char digits[2 * limit_build_id_bytes + 1];
    for (size_t i = 0; i < search->build_id.size_bytes; i++)
        snprintf(digits + 2 * i, 3, "%02x", search->build_id.bytes[i]);
    struct text folder;
    for (const char *position = debug_path_start(search); (folder = debug_path_next(&position)).length != 0;) {
        const char *path = arena_printf(module_files_arena(search->files), "%.*s/.build-id/%.2s/%s.debug",
                                        (int)folder.length, folder.data, digits, digits + 2);
        const char *opened = debug_file_try(search, path, ret_fd, ret_elf);
        if (opened != NULL)
            return opened;
    }
    return NULL;
}

/* The name and checksum in .gnu_debuglink: a string, padded to 4 bytes, a CRC-32 of the whole file. */
static bool debug_link_read(Elf *elf, const char **ret_name, uint32_t *ret_crc)
{
    const Elf_Data *data = elf_section_bytes(elf, ".gnu_debuglink");
    if (data == NULL)
        return false;
    struct byte_reader reader = byte_reader_new(data->d_buf, data->d_size);
    struct text name = byte_reader_string(&reader);
    byte_reader_seek(&reader, (reader.position + 3) & ~(size_t)3);
    *ret_crc = byte_reader_u32(&reader);
    *ret_name = name.data;
    /* A file name, no path: it comes from the target. */
    return !reader.failed && name.length != 0 && memchr(name.data, '/', name.length) == NULL &&
           !text_equals(name, TEXT("..")) && !text_equals(name, TEXT("."));
}

static const char *debug_file_by_link(struct debug_search *search, int *ret_fd, Elf **ret_elf)
{
    const struct module *module = module_files_module(search->files, search->file);
    const char *name, *path = search->file->path;
    /* A live process's mapping has no folder: beside the file below the process's root, then by the target's path. */
    bool is_live = path != NULL && module->local_paths[1] != NULL &&
                   (path == module->local_paths[0] || path == module->local_paths[1] || path == module->local_paths[2]);
    if (is_live)
        path = module->local_paths[1];
    if (path == NULL || !debug_link_read(search->file->elf, &name, &search->crc))
        return NULL;
    search->crc_known = true;
    struct arena *arena = module_files_arena(search->files);
    int folder_length = (int)(text_basename(text_from_string(path)).data - path); /* with its slash, may be 0 */
    const char *beside[] = {
        arena_printf(arena, "%.*s%s", folder_length, path, name),
        arena_printf(arena, "%.*s.debug/%s", folder_length, path, name),
    };
    for (size_t i = 0; i < sizeof beside / sizeof beside[0]; i++)
        if (debug_file_open(search, beside[i], ret_fd, ret_elf))
            return beside[i];
    /* Debug folders mirror the target's paths. */
    const char *sysroot = module_files_options(search->files)->sysroot;
    struct text target = {path, (size_t)folder_length};
    if (is_live) {
        target.data = module->path.data;
        target.length = (size_t)(text_basename(module->path).data - module->path.data);
    }
    if (sysroot != NULL && text_starts_with(target, text_from_string(sysroot))) {
        target.data += strlen(sysroot);
        target.length -= strlen(sysroot);
    }
    struct text folder;
    for (const char *position = debug_path_start(search); (folder = debug_path_next(&position)).length != 0;) {
        const char *opened = debug_file_try(
            search,
            arena_printf(arena, "%.*s/%.*s%s", (int)folder.length, folder.data, (int)target.length, target.data, name),
            ret_fd, ret_elf);
        if (opened != NULL)
            return opened;
    }
    return NULL;
}

static void elf_release(Elf **elf, int *fd)
{
    if (*elf == NULL)
        return;
    elf_end(*elf);
    *elf = NULL;
    if (fd != NULL)
        close(*fd);
}

static void module_file_release_debug(struct module_file *file)
{
    dwarf_end(file->dwarf);
    dwarf_end(file->alternate_dwarf);
    file->dwarf = file->alternate_dwarf = NULL;
    elf_release(&file->alternate_elf, &file->alternate_fd);
    elf_release(&file->dwarf_elf, NULL);
    elf_release(&file->debug_elf, &file->debug_fd);
    elf_release(&file->mini_debug_elf, NULL);
    free(file->mini_debug_bytes);
    file->mini_debug_bytes = NULL;
}

Elf *module_file_debug_elf(struct module_files *files, struct module_file *file)
{
    if (file->debug_tried)
        return file->debug_elf;
    file->debug_tried = true;
    file->release_debug = module_file_release_debug;
    struct debug_search search = {.files = files, .file = file, .build_id = file->build_id};
    file->debug_file_path = debug_file_by_build_id(&search, &file->debug_fd, &file->debug_elf);
    if (file->debug_file_path == NULL)
        file->debug_file_path = debug_file_by_link(&search, &file->debug_fd, &file->debug_elf);
    return file->debug_elf;
}

static bool elf_has_dwarf(Elf *elf)
{
    GElf_Shdr section;
    return (elf_section_find(elf, ".debug_info", &section) != NULL && section.sh_type != SHT_NOBITS) ||
           elf_section_find(elf, ".zdebug_info", &section) != NULL;
}

bool module_file_has_dwarf(const struct module_file *file)
{
    return elf_has_dwarf(file->elf);
}

/* Gives libdw the file that dwz moved shared entries to (.gnu_debugaltlink: a path and a build-id). Left alone, libdw
 * 0.188 opens that path itself, whatever stands there, and takes names from it without comparing the build-id. False
 * when the DWARF must not be used. */
static bool module_file_open_alternate(struct module_files *files, struct module_file *file, const char *from)
{
    const char *name;
    const void *id;
    ssize_t id_bytes = dwelf_dwarf_gnu_debugaltlink(file->dwarf, &name, &id);
    if (id_bytes <= 0)
        return true;
    struct debug_search search = {.files = files, .file = file};
    if (id_bytes <= limit_build_id_bytes) {
        search.build_id.size_bytes = (uint8_t)id_bytes;
        memcpy(search.build_id.bytes, id, (size_t)id_bytes);
    }
    const char *path = name;
    if (name[0] != '/') {
        /* Relative to where the file really is: build-id folders hold links. */
        AUTO_FREE char *real = realpath(from, NULL);
        /* A link out of another root (/proc/PID/root) resolves to a path of ours. */
        const char *root = module_files_root(files);
        bool is_elsewhere = root != NULL && strncmp(from, root, strlen(root)) == 0;
        const char *origin = real == NULL || is_elsewhere ? from : real;
        int folder_length = (int)(text_basename(text_from_string(origin)).data - origin);
        path = arena_printf(module_files_arena(files), "%.*s%s", folder_length, origin, name);
    }
    const char *opened = debug_file_by_build_id(&search, &file->alternate_fd, &file->alternate_elf);
    if (opened == NULL && name[0] == '/')
        opened = debug_file_try(&search, path, &file->alternate_fd, &file->alternate_elf);
    else if (opened == NULL && !debug_file_open(&search, path, &file->alternate_fd, &file->alternate_elf))
        opened = NULL;
    if (file->alternate_elf != NULL)
        file->alternate_dwarf = dwarf_begin_elf(file->alternate_elf, DWARF_C_READ, NULL);
    if (file->alternate_dwarf != NULL) {
        dwarf_setalt(file->dwarf, file->alternate_dwarf);
        return true;
    }
    diagnostics_add(module_files_diagnostics(files), DIAGNOSTIC_LOSS, "debug-file-missing", text_from_string(name),
                    "%s: the common part of %s's debug information is not to be had; names or lines are missing", name,
                    from);
    return access(path, F_OK) != 0;
}

/* dwarf_begin_elf unpacks every section it knows. Where variables live is never asked here, and is a sixth of what
 * unpacking glibc's debug information takes. */
static void elf_drop_locations(Elf *elf)
{
    static const char *const dropped[] = {".debug_loclists", ".debug_loc", ".debug_macro", ".debug_macinfo"};
    for (size_t i = 0; i < sizeof dropped / sizeof dropped[0]; i++) {
        GElf_Shdr section;
        Elf_Scn *scn = elf_section_find(elf, dropped[i], &section);
        if (scn == NULL)
            continue;
        section.sh_type = SHT_NOBITS;
        gelf_update_shdr(scn, &section);
    }
}

Dwarf *module_file_dwarf(struct module_files *files, struct module_file *file)
{
    if (file->dwarf_tried)
        return file->dwarf;
    file->dwarf_tried = true;
    file->release_debug = module_file_release_debug;
    int fd = -1;
    const char *from = file->path;
    if (elf_has_dwarf(file->elf) && file->mapping.fd >= 0) {
        fd = file->mapping.fd;
    } else if (elf_has_dwarf(module_file_debug_elf(files, file))) {
        fd = file->debug_fd;
        from = file->debug_file_path;
    }
    if (fd < 0)
        return NULL;
    /* An Elf of its own: libdw writes the headers of sections that it unpacks, and the module's are mapped read-only.
     */
    file->dwarf_elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
    if (file->dwarf_elf != NULL) {
        elf_drop_locations(file->dwarf_elf);
        file->dwarf = dwarf_begin_elf(file->dwarf_elf, DWARF_C_READ, NULL);
    }
    if (file->dwarf == NULL) {
        diagnostics_add(module_files_diagnostics(files), DIAGNOSTIC_LOSS, "debug-info-unreadable",
                        text_from_string(from), "%s: debug information: %s; its frames have no lines", from,
                        dwarf_errmsg(-1));
        return NULL;
    }
    if (!module_file_open_alternate(files, file, from)) {
        dwarf_end(file->dwarf);
        file->dwarf = NULL;
    }
    return file->dwarf;
}

/* Unpacks an xz stream into memory that the caller frees; NULL with the reason. */
static uint8_t *debugdata_unpack(const Elf_Data *packed, size_t *ret_size_bytes, const char **ret_why)
{
    lzma_stream stream = LZMA_STREAM_INIT;
    if (lzma_stream_decoder(&stream, limit_debugdata_decoder_bytes, 0) != LZMA_OK) {
        *ret_why = "out of memory";
        return NULL;
    }
    uint8_t *bytes = NULL;
    size_t capacity = 0;
    lzma_ret status = LZMA_OK;
    stream.next_in = packed->d_buf;
    stream.avail_in = packed->d_size;
    while (status == LZMA_OK && capacity < limit_debugdata_bytes) {
        size_t grown_capacity = capacity == 0 ? 1 << 20 : capacity * 2;
        uint8_t *grown = realloc(bytes, grown_capacity);
        if (grown == NULL)
            break;
        bytes = grown;
        stream.next_out = bytes + capacity;
        stream.avail_out = grown_capacity - capacity;
        capacity = grown_capacity;
        while (status == LZMA_OK && stream.avail_out != 0)
            status = lzma_code(&stream, LZMA_FINISH);
    }
    *ret_size_bytes = stream.total_out;
    lzma_end(&stream);
    if (status == LZMA_STREAM_END && *ret_size_bytes != 0)
        return bytes;
    *ret_why = status == LZMA_OK               ? "it unpacks to too much"
               : status == LZMA_MEMLIMIT_ERROR ? "it needs too much memory to unpack"
                                               : "it is no whole xz stream";
    free(bytes);
    return NULL;
}

Elf *module_file_mini_debug_elf(struct module_files *files, struct module_file *file)
{
    if (file->mini_debug_tried)
        return file->mini_debug_elf;
    file->mini_debug_tried = true;
    file->release_debug = module_file_release_debug;
    const Elf_Data *packed = elf_section_bytes(file->elf, ".gnu_debugdata");
    if (packed == NULL)
        return NULL;
    const char *why = "it holds no ELF file";
    size_t size_bytes;
    file->mini_debug_bytes = debugdata_unpack(packed, &size_bytes, &why);
    if (file->mini_debug_bytes != NULL)
        file->mini_debug_elf = elf_memory((char *)file->mini_debug_bytes, size_bytes);
    if (file->mini_debug_elf == NULL || elf_kind(file->mini_debug_elf) != ELF_K_ELF) {
        const char *path = file->path == NULL ? "" : file->path;
        diagnostics_add(module_files_diagnostics(files), DIAGNOSTIC_LOSS, "debug-data-unreadable",
                        text_from_string(path), "%s: .gnu_debugdata, %zu bytes: %s; not used", path, packed->d_size,
                        why);
        elf_end(file->mini_debug_elf);
        file->mini_debug_elf = NULL;
    }
    return file->mini_debug_elf;
}

static bool has_debug_frame(Elf *elf)
{
    GElf_Shdr section;
    return elf != NULL && elf_section_find(elf, ".debug_frame", &section) != NULL;
}

Dwarf_CFI *module_file_debug_frame(struct module_files *files, struct module_file *file)
{
    if (!file->debug_frame_tried) {
        file->debug_frame_tried = true;
        /* Opening DWARF unpacks every section of it: only when there is a table to win. */
        if (has_debug_frame(file->elf) ||
            has_debug_frame(module_file_debug_elf(files, file))) {
            Dwarf *dwarf = module_file_dwarf(files, file);
            file->debug_frame = dwarf == NULL ? NULL : dwarf_getcfi(dwarf);
        }
    }
    return file->debug_frame;
}
