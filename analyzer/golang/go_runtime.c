/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/go_runtime.h"

#include "base/limits.h"

#include <inttypes.h>
#include <stdlib.h>

struct version {
    struct text text; /* "" unknown */
    unsigned minor;
};

/* runtime.allgs, or what looks like it. */
struct list {
    uint64_t slice, array, count; /* count 0: none */
};

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

/* Also "devel go1.28-0f1c2d3 …", as programs of an unreleased Go have it. */
static bool take_version(struct text text, struct arena *arena, struct version *ret_version)
{
    size_t length;
    for (size_t i = 0; i + 5 < text.length; i++) {
        unsigned minor = parse_version((struct text){text.data + i, text.length - i}, &length);
        if (minor == 0)
            continue;
        ret_version->text = text_copy(arena, (struct text){text.data + i, length});
        ret_version->minor = minor;
        return true;
    }
    return false;
}

/* What a string header in the target points at, of a plausible length. */
static struct text string_at(const struct go_modules *modules, uint64_t header, size_t length_max)
{
    uint64_t address, length;
    if (!go_modules_read_u64(modules, header, &address) || !go_modules_read_u64(modules, header + 8, &length) ||
        length == 0 || length > length_max)
        return TEXT("");
    const uint8_t *bytes = memory_view(&modules->image->memory, address, (size_t)length);
    return bytes == NULL ? TEXT("") : (struct text){(const char *)bytes, (size_t)length};
}

/* cmd/go's build information (debug/buildinfo): the version stands in it, or a pointer to runtime.buildVersion. */
static bool read_build_info(const struct go_modules *modules, const struct go_module *module, struct version *ret_version)
{
    static const uint8_t magic[14] = "\xff Go buildinf:";
    const struct memory *memory = &modules->image->memory;
    uint64_t address = go_modules_section(modules, module->module, ".go.buildinfo");
    const uint8_t *bytes = address == 0 ? NULL : memory_view(memory, address, 32);
    if (bytes == NULL || memcmp(bytes, magic, sizeof magic) != 0)
        return false;
    if ((bytes[15] & 2) == 0) {
        uint64_t header;
        return go_modules_read_u64(modules, address + 16, &header) &&
               take_version(string_at(modules, header, 256), modules->arena, ret_version);
    }
    const uint8_t *length = memory_view(memory, address + 32, 1);
    const uint8_t *text = length == NULL || *length > 127 ? NULL : memory_view(memory, address + 33, *length);
    return text != NULL &&
           take_version((struct text){(const char *)text, *length}, modules->arena, ret_version);
}

/* Without build information: a string header in the module's data whose text is a version, as runtime.buildVersion. */
static bool scan_version(const struct go_modules *modules, const struct go_module *module, struct version *ret_version)
{
    for (size_t i = 0; i < 4; i++)
        for (uint64_t at = (module->data[i].start + 7) & ~(uint64_t)7; at + 16 <= module->data[i].end; at += 8) {
            uint64_t length;
            if (!go_modules_read_u64(modules, at + 8, &length) || length < 6 || length > 128)
                continue;
            struct text text = string_at(modules, at, 128);
            if ((text_starts_with(text, TEXT("go1.")) || text_starts_with(text, TEXT("devel go1."))) &&
                take_version(text, modules->arena, ret_version))
                return true;
        }
    return false;
}

/* The candidate for runtime.allgs at an address: how many slots, 0 when it is none. g.sched.g is the g's own address in
 * every release. */
static uint64_t goroutine_slots(const struct go_modules *modules, uint64_t address)
{
    uint64_t array, count, capacity;
    if (!go_modules_read_u64(modules, address, &array) || array == 0 || (array & 7) != 0 ||
        !go_modules_read_u64(modules, address + 8, &count) || !go_modules_read_u64(modules, address + 16, &capacity) ||
        count == 0 || count > capacity || capacity >= limit_goroutines)
        return 0;
    for (uint64_t i = 0; i < count && i < 16; i++) {
        uint64_t g, self;
        if (!go_modules_read_u64(modules, array + 8 * i, &g) || (g & 7) != 0 ||
            !go_modules_read_u64(modules, g + go_g_self, &self) || self != g)
            return 0;
    }
    return count;
}

/* The longest: the collector's own copy of the slice may be shorter. */
static struct list find_list(const struct go_modules *modules, const struct go_module *module)
{
    struct list list = {0};
    for (size_t i = 0; i < 4; i++)
        for (uint64_t at = (module->data[i].start + 7) & ~(uint64_t)7; at + 24 <= module->data[i].end; at += 8) {
            uint64_t count = goroutine_slots(modules, at);
            if (count > list.count && go_modules_read_u64(modules, at, &list.array)) {
                list.slice = at;
                list.count = count;
            }
        }
    return list;
}

/* runtime.waitReasonStrings: "" and "GC assist marking" begin it in every release. */
static void find_reasons(const struct go_modules *modules, struct go_runtime *runtime)
{
    for (size_t i = 0; i < 2; i++) { /* noptrdata, data */
        struct go_range range = runtime->modules[0].data[i];
        for (uint64_t at = (range.start + 7) & ~(uint64_t)7; at + 64 <= range.end; at += 8) {
            uint64_t length;
            if (!go_modules_read_u64(modules, at + 24, &length) || length != 17 ||
                !text_equals(string_at(modules, at + 16, 17), TEXT("GC assist marking")) ||
                !go_modules_read_u64(modules, at + 8, &length) || length != 0)
                continue;
            runtime->reasons = arena_array(modules->arena, struct text, UINT8_MAX + 1);
            runtime->reasons[0] = TEXT("");
            for (runtime->reason_count = 1; runtime->reason_count <= UINT8_MAX; runtime->reason_count++) {
                struct text text = string_at(modules, at + 16 * runtime->reason_count, 64);
                if (text.length == 0 || ((text.data[0] | 0x20) < 'a' || (text.data[0] | 0x20) > 'z'))
                    break;
                runtime->reasons[runtime->reason_count] = text_copy(modules->arena, text);
            }
            return;
        }
    }
}

/* Go programs of which nothing more is known say so by their sections, or by the note in their memory. */
static void tell_unknown(const struct go_modules *modules, struct diagnostics *diagnostics)
{
    const struct image *image = modules->image;
    for (size_t i = 0; i < image->module_count; i++) {
        uint32_t number = (uint32_t)i;
        bool is_open = module_files_opened(modules->files, number) != NULL;
        if (!is_open && go_module_has_note(image, number))
            diagnostics_add(diagnostics, DIAGNOSTIC_LOST, "go-program", image->modules[i].path,
                            "a Go program whose file is not at hand, and with it the runtime's tables: goroutines cannot be "
                            "told (--exe, --sysroot)")
                ->count = 1;
        else if (go_module_has_sections(modules->files, number) || (is_open && go_module_has_note(image, number)))
            diagnostics_add(diagnostics, DIAGNOSTIC_LOST, "go-runtime", image->modules[i].path,
                            "a Go program, but its runtime's tables are not found or of no known form (damaged, obfuscated, "
                            "of a release newer than 1.%d, or the program's data is not in the core): goroutines cannot be "
                            "told",
                            go_minor_newest)
                ->count = 1;
    }
}

/* A go statement is in a function's middle, and what it starts is a function's beginning. */
static bool is_start(const struct go_runtime *runtime, uint64_t go_pc, uint64_t start_pc)
{
    struct pclntab_function from, function;
    return go_runtime_find_function(runtime, start_pc, &function) != NULL && function.entry == start_pc &&
           go_runtime_find_function(runtime, go_pc, &from) != NULL && from.entry != go_pc;
}

/* Whether the g's of the list look like g's by a layout: of those that live, most have an id of their own, a stack with
 * the place where they stand on it, and a start in code. */
static bool layout_fits(const struct go_modules *modules, const struct go_runtime *runtime, const struct go_layout *layout)
{
    const struct memory *memory = &modules->image->memory;
    uint64_t alive = 0, good = 0, last_id = 0;
    for (uint64_t i = 0; i < runtime->goroutine_count && i < limit_go_checked; i++) {
        uint8_t g[512];
        uint64_t address;
        bool is_late;
        if (!go_modules_read_u64(modules, runtime->goroutines + 8 * i, &address) ||
            memory_ask(memory, address, g, (size_t)layout->g.size_bytes, &is_late) != (size_t)layout->g.size_bytes)
            continue;
        uint32_t status = load_u32(g + layout->g.status) & ~(uint32_t)go_status_scan;
        if (status == GO_IDLE || status == GO_DEAD || status == GO_DEAD_EXTRA)
            continue;
        alive++;
        uint64_t id = load_u64(g + layout->g.id), sp = load_u64(g + go_g_sp), low = load_u64(g + go_g_stack_low),
                 high = load_u64(g + go_g_stack_high);
        bool stands = status == GO_WAITING || status == GO_RUNNABLE || status == GO_PREEMPTED || status == GO_LEAKED;
        good += go_status_name(status) != NULL && id != 0 && id != last_id && id >> 40 == 0 && low < high &&
                (!stands || (sp > low && sp <= high)) &&
                is_start(runtime, load_u64(g + layout->g.go_pc), load_u64(g + layout->g.start_pc));
        last_id = id;
    }
    return alive != 0 && good >= alive - alive / 8;
}

/* A release that is not known yet is read by the newest layout by which its goroutines make sense. */
static bool choose_layout(const struct go_modules *modules, struct go_runtime *runtime, struct diagnostics *diagnostics)
{
    for (unsigned minor = go_minor_newest; minor >= go_minor_oldest; minor--) {
        struct go_layout layout = go_layout_of(minor);
        if (!layout_fits(modules, runtime, &layout))
            continue;
        runtime->layout = layout;
        diagnostics_add(diagnostics, DIAGNOSTIC_NOTE, "go-newer", TEXT(""),
                        "%s is newer than the releases that are known: read as go1.%u, by which its goroutines make sense",
                        runtime->version.data, minor);
        return true;
    }
    diagnostics_add(diagnostics, DIAGNOSTIC_LOST, "go-layout", TEXT(""),
                    "%s is newer than the releases that are known, the newest of which is 1.%d, and its goroutines make no "
                    "sense by any of them: they cannot be told",
                    runtime->version.data, go_minor_newest);
    return false;
}

/* A module's runtime, which `list` is of. */
static void take_runtime(struct go_modules *modules, size_t number, const struct list *list, const struct version *version,
                         struct diagnostics *diagnostics, struct go_runtime *ret_runtime)
{
    struct go_runtime runtime = {
        .image = modules->image,
        .version = version->text,
        .minor = version->minor,
        .layout = go_layout_of(version->minor),
        .modules = arena_array(modules->arena, struct go_module, modules->count),
        .module_count = modules->count,
        .goroutines_slice = list->slice,
        .goroutines = list->array,
        .goroutine_count = list->count,
    };
    for (size_t i = 0; i < modules->count; i++)
        runtime.modules[i] = modules->items[i];
    runtime.modules[0] = modules->items[number];
    runtime.modules[number] = modules->items[0];
    if (version->minor > go_minor_newest && list->count != 0 && !choose_layout(modules, &runtime, diagnostics))
        runtime.goroutine_count = 0;
    find_reasons(modules, &runtime);
    *ret_runtime = runtime;
}

static struct version find_version(const struct go_modules *modules, const struct go_module *module)
{
    struct version version = {TEXT(""), 0};
    if (!read_build_info(modules, module, &version))
        scan_version(modules, module, &version);
    return version;
}

bool go_runtime_find(const struct image *image, struct module_files *files, struct arena *arena,
                     struct diagnostics *diagnostics, struct go_runtime *ret_runtime)
{
    struct go_modules modules = go_modules_find(image, files, arena);
    *ret_runtime = (struct go_runtime){.image = image};
    if (modules.count == 0) {
        tell_unknown(&modules, diagnostics);
        return false;
    }
    struct list *lists = arena_array(arena, struct list, modules.count);
    struct version *versions = arena_array(arena, struct version, modules.count);
    size_t first = modules.count;
    for (size_t i = 0; i < modules.count; i++) {
        lists[i] = find_list(&modules, &modules.items[i]);
        versions[i] = find_version(&modules, &modules.items[i]);
        if (lists[i].count != 0 && first == modules.count)
            first = i;
    }
    bool is_found = first != modules.count;
    if (!is_found)
        first = 0;
    if (versions[first].minor == 0) {
        versions[first].minor = modules.items[first].table.go_minor;
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "go-version", TEXT(""),
                        "the program does not tell its Go version: read as go1.%u", versions[first].minor);
    }
    for (size_t i = 0; i < modules.count; i++) {
        if (versions[i].minor == 0) /* a plugin, of the same build */
            versions[i].minor = versions[first].minor;
        go_module_read_again(&modules, &modules.items[i], versions[i].minor);
        if (modules.items[i].table.function_data == 0 && versions[i].minor > go_minor_newest)
            diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "go-inlined", image->modules[modules.items[i].module].path,
                            "%s is newer than the releases that are known, and where it tells of inlined calls is not found: "
                            "they are missing, and arguments too", versions[i].text.data);
    }
    take_runtime(&modules, first, &lists[first], &versions[first], diagnostics, ret_runtime);
    struct go_runtime *last = ret_runtime;
    size_t count = 1;
    for (size_t i = first + 1; i < modules.count && count < limit_go_runtimes; i++) {
        if (lists[i].count == 0)
            continue;
        last->next = arena_new(arena, struct go_runtime);
        last = last->next;
        take_runtime(&modules, i, &lists[i], &versions[i], diagnostics, last);
        count++;
    }
    if (!is_found)
        diagnostics_add(diagnostics, DIAGNOSTIC_LOST, "go-goroutines", TEXT(""),
                        "a Go program (%s), but its list of goroutines is not to be found: the data of the program is "
                        "missing, or it has not begun to run",
                        ret_runtime->version.length != 0 ? ret_runtime->version.data : "of unknown version");
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

bool go_runtime_has_variable(const struct go_runtime *runtime, uint64_t address)
{
    for (size_t i = 0; i < runtime->module_count; i++)
        for (size_t j = 0; j < 4; j++)
            if (address >= runtime->modules[i].data[j].start && address < runtime->modules[i].data[j].end)
                return true;
    return false;
}

struct text go_runtime_wait_reason(const struct go_runtime *runtime, uint8_t reason)
{
    if (reason < runtime->reason_count)
        return runtime->reasons[reason];
    return runtime->reason_count != 0 ? TEXT("") : text_from_string(go_wait_reason(runtime->minor, reason));
}
