/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/symbolize.h"

#include "base/limits.h"
#include "base/name.h"
#include "debuginfo/debug_search.h"
#include "symbol/demangle.h"
#include "symbol/symbol_data.h"
#include "symbol/symbol_dwarf.h"
#include "symbol/symbol_elf.h"
#include "symbol/symbol_go.h"
#include "symbol/symbol_plt.h"

#include <inttypes.h>

struct symbolizer_module {
    bool tried, lines_tried, exhausted_told;
    struct module_file *file; /* NULL: no names from a file */
    struct symbol_table *symbols;
    struct data_table *data;    /* NULL: not yet read */
    struct symbol_dwarf *dwarf; /* NULL: no lines */
};

struct symbolizer {
    const struct image *image;
    struct module_files *files;
    struct symbolize_options options;
    struct arena *arena;
    struct diagnostics *diagnostics;
    struct symbolizer_module *modules; /* as image->modules */
    const struct go_runtime *go; /* NULL: no Go program */
};

struct symbolizer *symbolizer_new(const struct image *image, struct module_files *files,
                                  const struct symbolize_options *options, struct arena *arena,
                                  struct diagnostics *diagnostics)
{
    struct symbolizer *symbolizer = arena_new(arena, struct symbolizer);
    *symbolizer = (struct symbolizer){image, files, *options, arena, diagnostics, NULL, NULL};
    symbolizer->modules = arena_array(arena, struct symbolizer_module, image->module_count + 1);
    return symbolizer;
}

static size_t symbol_source_size(Elf *elf, uint32_t section_type, uint64_t bias, struct symbol_source *ret_source)
{
    return elf != NULL && symbol_source_open(elf, bias, section_type, ret_source) ? ret_source->symbol_count : 0;
}

/* The fullest table wins: a module stripped of its local symbols has a debug file with all of them, and one with
 * nothing but .dynsym may carry the others in .gnu_debugdata. Fills symbol_sources_max at most, returns how many. */
static size_t symbolizer_find_sources(struct symbolizer *symbolizer, struct module_file *file,
                                      struct symbol_source *sources)
{
    struct symbol_source dynamic, other;
    size_t count = 0;
    size_t dynamic_size = symbol_source_size(file->elf, SHT_DYNSYM, file->bias, &dynamic);
    size_t full_size = symbol_source_size(file->elf, SHT_SYMTAB, file->bias, &sources[0]);
    size_t other_size = 0;
    /* A module with its own .symtab and debug information was never stripped: nothing is searched for. */
    if (full_size == 0 || !module_file_has_dwarf(file)) {
        other_size = symbol_source_size(module_file_debug_elf(symbolizer->files, file), SHT_SYMTAB, file->bias, &other);
        if (other_size == 0 && full_size == 0)
            other_size =
                symbol_source_size(module_file_mini_debug_elf(symbolizer->files, file), SHT_SYMTAB, file->bias, &other);
    }
    if (other_size > full_size) {
        sources[0] = other;
        full_size = other_size;
    }
    count += full_size != 0;
    /* A full table holds what .dynsym does. */
    if (dynamic_size > full_size || (count != 0 && sources[0].elf == file->mini_debug_elf)) {
        dynamic.sized_only = full_size == 0;
        sources[count++] = dynamic;
    }
    return count;
}

static struct symbol_table *symbolizer_read_symbols(struct symbolizer *symbolizer, struct module_file *file)
{
    struct symbol_source sources[symbol_sources_max];
    size_t range_count, count = symbolizer_find_sources(symbolizer, file, sources);
    struct code_range *ranges = elf_code_ranges(file->elf, symbolizer->arena, &range_count);
    return symbol_table_new(symbolizer->arena, sources, count, ranges, range_count);
}

static struct symbolizer_module *symbolizer_open_symbols(struct symbolizer *symbolizer, uint32_t index)
{
    struct symbolizer_module *module = &symbolizer->modules[index];
    if (!module->tried) {
        module->tried = true;
        module->file = module_files_open(symbolizer->files, index);
        if (module->file != NULL)
            module->symbols = symbolizer_read_symbols(symbolizer, module->file);
    }
    return module;
}

static struct symbolizer_module *symbolizer_open(struct symbolizer *symbolizer, uint32_t index)
{
    struct symbolizer_module *module = symbolizer_open_symbols(symbolizer, index);
    if (module->file != NULL && symbolizer->options.lines && !module->lines_tried) {
        module->lines_tried = true;
        Dwarf *dwarf = module_file_dwarf(symbolizer->files, module->file);
        if (dwarf != NULL)
            module->dwarf = symbol_dwarf_new(
                dwarf, module_file_has_dwarf(module->file) ? module->file->path : module->file->debug_file_path,
                symbolizer->arena);
    }
    return module;
}

/* A path without "//", "/./" and "/x/../": compilers join what they were given. A leading "./" stays. */
static size_t path_normalise(const char *path, size_t length, char *ret_path)
{
    size_t written = 0, at = 0;
    while (at < length) {
        size_t slash = at;
        while (slash < length && path[slash] != '/')
            slash++;
        struct text part = {path + at, slash - at};
        bool is_last = slash == length;
        bool is_dropped = at != 0 && (part.length == 0 || text_equals(part, TEXT(".")));
        if (text_equals(part, TEXT("..")) && written > 1) {
            /* Back over the folder before, unless that is "..", "." or the root. */
            size_t folder = written - 1;
            while (folder > 0 && ret_path[folder - 1] != '/')
                folder--;
            struct text before = {ret_path + folder, written - 1 - folder};
            if (before.length != 0 && !text_equals(before, TEXT("..")) && !text_equals(before, TEXT("."))) {
                written = folder;
                is_dropped = true;
            }
        }
        if (!is_dropped) {
            memcpy(ret_path + written, part.data, part.length);
            written += part.length;
            if (!is_last)
                ret_path[written++] = '/';
        }
        at = slash + 1;
    }
    return written;
}

static uint32_t symbolizer_add_path(struct snapshot *snapshot, const struct dwarf_frame *call)
{
    struct text file = text_from_string(call->file), directory = text_from_string(call->directory);
    if (file.length == 0)
        return 0;
    char joined[2 * limit_name_bytes + 1], normal[sizeof joined];
    size_t length = 0;
    /* -ffile-prefix-map makes the directory relative too (Debian's glibc: "./nptl"). Joining is right for its
     * "../sysdeps/x.c" then, and wrong for the unit's own "./nptl/y.c", which the same option rewrote. */
    bool is_joined = file.data[0] != '/' && directory.length != 0 && directory.length < limit_name_bytes &&
                     (directory.data[0] == '/' || text_starts_with(file, TEXT("../")));
    if (is_joined) {
        memcpy(joined, directory.data, directory.length);
        joined[directory.length] = '/';
        length = directory.length + 1;
    }
    size_t taken = file.length < limit_name_bytes ? file.length : limit_name_bytes;
    memcpy(joined + length, file.data, taken);
    return intern_table_add(&snapshot->strings, (struct text){normal, path_normalise(joined, length + taken, normal)});
}

static uint32_t symbolizer_add_name(const struct symbolizer *symbolizer, struct snapshot *snapshot, struct text name)
{
    if (name.length == 0)
        return 0;
    char buffer[demangle_buffer_bytes];
    name.length = name_version_start(name);
    if (symbolizer->options.demangle)
        name = demangle(name, buffer);
    if (name.length > limit_name_bytes)
        name.length = limit_name_bytes;
    return intern_table_add(&snapshot->strings, name);
}

static void snapshot_append_frame(struct snapshot *snapshot, struct frame frame)
{
    snapshot->frames = arena_grow(snapshot->arena, snapshot->frames, snapshot->frame_count, &snapshot->frame_capacity,
                                  sizeof *snapshot->frames);
    snapshot->frames[snapshot->frame_count++] = frame;
}

void symbolize_location(struct symbolizer *symbolizer, struct snapshot *snapshot, struct location *location)
{
    if (symbolizer->go != NULL &&
        symbol_go_location(symbolizer->go, symbolizer->options.lines, snapshot, location))
        return;
    uint64_t lookup = location_lookup(location);
    location->module = image_find_module(symbolizer->image, lookup);
    location->frame_first = (uint32_t)snapshot->frame_count;
    location->frame_count = 1;
    location->offset = lookup;
    if (location->module == index_none) {
        snapshot_append_frame(snapshot, (struct frame){0});
        return;
    }
    location->offset = lookup - symbolizer->image->modules[location->module].start;
    struct symbolizer_module *module = symbolizer_open(symbolizer, location->module);
    if (module->file == NULL) {
        snapshot_append_frame(snapshot, (struct frame){0});
        return;
    }

    uint64_t address = lookup - module->file->bias, start = 0;
    struct text name = {NULL, 0};
    bool is_named = symbol_plt_find(module->file->elf, module->symbols, address, symbolizer->arena, &name, &start) ||
                    symbol_table_find(module->symbols, address, &name, &start);

    struct dwarf_frame calls[limit_inline_depth] = {{0}};
    size_t count = module->dwarf == NULL ? 0 : symbol_dwarf_find(module->dwarf, address, calls, limit_inline_depth);
    if (module->dwarf != NULL && !module->exhausted_told && symbol_dwarf_is_exhausted(module->dwarf)) {
        module->exhausted_told = true;
        diagnostics_add(
            symbolizer->diagnostics, DIAGNOSTIC_LOSS, "debug-info-limit",
            symbolizer->image->modules[location->module].path,
            "%s: debug information asks for more than %d steps; frames have names without lines from there on",
            symbolizer->image->modules[location->module].path.data, limit_dwarf_steps);
    }
    struct dwarf_frame *function = &calls[count == 0 ? 0 : count - 1];
    if (!is_named && function->name != NULL && function->start != 0) {
        name = text_from_string(function->name);
        start = function->start;
        is_named = true;
    }
    if (is_named)
        location->offset = address - start;
    location->frame_count = (uint32_t)(count == 0 ? 1 : count);
    for (size_t i = 0; i < location->frame_count; i++) {
        bool is_inlined = i + 1 < location->frame_count;
        snapshot_append_frame(snapshot,
                              (struct frame){
                                  .function = symbolizer_add_name(symbolizer, snapshot,
                                                                  is_inlined ? text_from_string(calls[i].name) : name),
                                  .file = symbolizer_add_path(snapshot, &calls[i]),
                                  .line = calls[i].line,
                                  .inlined = is_inlined,
                              });
    }
}

void symbolizer_set_go(struct symbolizer *symbolizer, const struct go_runtime *runtime)
{
    symbolizer->go = runtime;
}

bool symbolizer_has_lines(const struct symbolizer *symbolizer)
{
    return symbolizer->options.lines;
}

bool symbolizer_function_start(struct symbolizer *symbolizer, uint64_t address, uint64_t *ret_start)
{
    uint32_t index = image_find_module(symbolizer->image, address);
    if (index == index_none)
        return false;
    struct symbolizer_module *module = symbolizer_open_symbols(symbolizer, index);
    struct text name;
    uint64_t start;
    if (module->file == NULL || !symbol_table_find(module->symbols, address - module->file->bias, &name, &start))
        return false;
    *ret_start = start + module->file->bias;
    return true;
}

/* The module whose data lies there. Zeroed data (.bss) that does not fit behind the file's last page is in a mapping of its
 * own, without a path, right behind the module's; in a core that was saved of a process it is in several, cut at each
 * copy that was made of it. */
static uint32_t find_data_module(const struct image *image, uint64_t address)
{
    uint32_t index = image_find_module(image, address);
    if (index != index_none)
        return index;
    enum { cuts_max = 4096 };
    const struct mapping *mapping = image_find_mapping(image, address);
    for (int i = 0; i < cuts_max && mapping != NULL && mapping->path.length == 0; i++) {
        if (mapping == image->mappings || mapping[-1].end != mapping->start)
            return index_none;
        index = image_find_module(image, mapping->start - 1);
        if (index != index_none || mapping[-1].access != mapping->access)
            return index;
        mapping--;
    }
    return index_none;
}

bool symbolizer_data_name(struct symbolizer *symbolizer, uint64_t address, struct arena *arena, struct text *ret_name)
{
    uint32_t index = find_data_module(symbolizer->image, address);
    if (index == index_none)
        return false;
    struct symbolizer_module *module = symbolizer_open_symbols(symbolizer, index);
    if (module->file == NULL)
        return false;
    if (module->data == NULL) {
        struct symbol_source sources[symbol_sources_max];
        size_t count = symbolizer_find_sources(symbolizer, module->file, sources);
        module->data = data_table_new(symbolizer->arena, sources, count);
    }
    struct text name;
    uint64_t start, target = address - module->file->bias;
    if (!data_table_find(module->data, target, &name, &start))
        return false;
    char buffer[demangle_buffer_bytes];
    name.length = name_version_start(name);
    if (symbolizer->options.demangle)
        name = demangle(name, buffer);
    if (name.length > limit_name_bytes)
        name.length = limit_name_bytes;
    *ret_name = target == start ? text_copy(arena, name)
                                : text_from_string(arena_printf(arena, "%.*s+0x%" PRIx64, (int)name.length, name.data,
                                                                target - start));
    return true;
}

void symbolizer_close(struct symbolizer *symbolizer)
{
    /* Files belong to module_files, tables to the arena. */
    for (size_t i = 0; i < symbolizer->image->module_count; i++)
        symbolizer->modules[i] = (struct symbolizer_module){.tried = true, .lines_tried = true};
}
