/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin_search.h"
#include "base/file.h"
#include "base/limits.h"
#include "plugins_builtin.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct loading {
    struct rule_set *set;
    struct arena *arena;
    struct diagnostics *diagnostics;
    struct plugin_faults *faults;
};

int plugin_search_read_file(const char *path, size_t max, struct arena *arena, struct text *ret_bytes)
{
    uint64_t size_bytes;
    int fd = file_open_regular(path, &size_bytes);
    if (fd < 0)
        return errno;
    if (size_bytes > max) {
        close(fd);
        return EFBIG;
    }
    char *bytes = arena_alloc(arena, (size_t)size_bytes + 1, 1);
    size_t length = 0;
    int failed = 0;
    while (length < size_bytes) {
        ssize_t got = read(fd, bytes + length, (size_t)size_bytes - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            failed = got < 0 ? errno : 0;
            break;
        }
        length += (size_t)got;
    }
    close(fd);
    *ret_bytes = (struct text){bytes, length};
    return failed;
}

/* "file.yaml:12:17: message", the line, and a caret below the column. */
static const char *error_with_line(const struct loading *loading, const struct rule_file *file, size_t number,
                                   struct text bytes)
{
    const struct rule_place place = file->errors[number].place;
    const char *message = rule_file_error_text(file, number, loading->arena);
    const char *at = bytes.data, *end = bytes.data + bytes.length;
    for (uint32_t line = 1; line < place.line && at != NULL && at < end; line++) {
        at = memchr(at, '\n', (size_t)(end - at));
        at = at == NULL ? NULL : at + 1;
    }
    if (at == NULL || at >= end)
        return message;
    const char *line_end = memchr(at, '\n', (size_t)(end - at));
    size_t length = (size_t)((line_end == NULL ? end : line_end) - at);
    /* Tabs stay, so that the caret stands below its column. */
    char *pad = arena_alloc(loading->arena, length + 1, 1);
    size_t padded = 0;
    for (size_t i = 0, column = 1; i < length && column < place.column; i++) {
        bool starts_character = ((unsigned char)at[i] & 0xc0) != 0x80;
        if (starts_character)
            pad[padded++] = at[i] == '\t' ? '\t' : ' ';
        column += starts_character;
    }
    return arena_printf(loading->arena, "%s\n    %.*s\n    %s^", message, (int)(length > 200 ? 200 : length), at, pad);
}

static void tell_errors(struct loading *loading, const struct rule_file *file, struct text bytes)
{
    struct plugin_fault fault = {
        .path = file->path.data,
        .errors = arena_array(loading->arena, const char *, file->error_count),
        .error_count = file->error_count,
    };
    for (size_t i = 0; i < file->error_count; i++) {
        const struct rule_place place = file->errors[i].place;
        const char *subject = arena_printf(loading->arena, "%s:%u:%u", file->path.data, place.line, place.column);
        fault.errors[i] = error_with_line(loading, file, i, bytes);
        diagnostics_add(loading->diagnostics, DIAGNOSTIC_LOST, "plugin-error", text_from_string(subject),
                        "%s; the plugin is not used", rule_file_error_text(file, i, loading->arena));
    }
    if (loading->faults != NULL) {
        loading->faults->entries = arena_grow(loading->arena, loading->faults->entries, loading->faults->count,
                                              &loading->faults->capacity, sizeof *loading->faults->entries);
        loading->faults->entries[loading->faults->count++] = fault;
    }
}

static void load_bytes(struct loading *loading, struct text path, struct text bytes, struct text folder)
{
    struct rule_file *file = arena_new(loading->arena, struct rule_file);
    *file = rule_file_parse(path, bytes, loading->arena);
    if (file->error_count == 0 && rule_set_has_plugin(loading->set, file->plugin)) {
        diagnostics_add(loading->diagnostics, DIAGNOSTIC_NOTE, "plugin-replaced", path,
                        "%.*s: not used, another plugin of the name '%.*s' comes before it", (int)path.length, path.data,
                        (int)file->plugin.length, file->plugin.data);
        return;
    }
    /* With errors already: those of the expressions are wanted too. */
    if (!rule_set_add(loading->set, file, folder))
        tell_errors(loading, file, bytes);
}

/* 0, or the errno of what failed. */
static int load_file(struct loading *loading, const char *path)
{
    struct text bytes;
    int failed = plugin_search_read_file(path, limit_rule_file_bytes, loading->arena, &bytes);
    if (failed != 0)
        return failed;
    struct text name = text_from_string(path), base = text_basename(name);
    struct text folder = {path, name.length - base.length};
    while (folder.length > 1 && folder.data[folder.length - 1] == '/')
        folder.length--;
    load_bytes(loading, name, bytes, folder.length == 0 ? TEXT(".") : folder);
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* All *.yaml of a folder, by name. 0, or the errno of what failed. */
static int load_folder(struct loading *loading, const char *folder)
{
    const char **names = NULL;
    size_t count = 0, capacity = 0;
    DIR *stream = opendir(folder);
    if (stream == NULL)
        return errno;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        struct text name = text_from_string(entry->d_name);
        if (name.data[0] == '.' || !text_ends_with(name, TEXT(".yaml")))
            continue;
        if (count == limit_plugin_files) {
            diagnostics_add(loading->diagnostics, DIAGNOSTIC_LOST, "plugin-limit", text_from_string(folder),
                            "%s: more than %d plugins, the others are not used", folder, limit_plugin_files);
            break;
        }
        names = arena_grow(loading->arena, names, count, &capacity, sizeof *names);
        names[count++] = arena_printf(loading->arena, "%s/%s", folder, entry->d_name);
    }
    closedir(stream);
    if (count != 0)
        qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < count; i++) {
        int failed = load_file(loading, names[i]);
        if (failed != 0)
            diagnostics_add(loading->diagnostics, DIAGNOSTIC_LOST, "plugin-unreadable", text_from_string(names[i]),
                            "%s: cannot be read: %s; the plugin is not used", names[i],
                            failed == EINVAL ? "not a regular file" : strerror(failed));
    }
    return 0;
}

static const struct error *load_named(struct loading *loading, const char *path)
{
    struct stat status;
    int failed;
    if (stat(path, &status) != 0)
        failed = errno;
    else
        failed = S_ISDIR(status.st_mode) ? load_folder(loading, path) : load_file(loading, path);
    if (failed == 0)
        return NULL;
    return error_new(loading->arena, ERROR_OPEN, "%s: the plugin cannot be opened: %s", path,
                     failed == EINVAL ? "not a regular file" : strerror(failed));
}

/* A folder that is not there is the usual case. */
static void load_configured(struct loading *loading, const char *folder)
{
    int failed = load_folder(loading, folder);
    if (failed != 0 && failed != ENOENT && failed != ENOTDIR)
        diagnostics_add(loading->diagnostics, DIAGNOSTIC_LOSS, "plugin-folder-unreadable", text_from_string(folder),
                        "%s: cannot be read: %s; its plugins are not used", folder, strerror(failed));
}

/* XDG base directory specification: only absolute paths count. */
static const char *user_folder(struct arena *arena)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (config != NULL && config[0] == '/')
        return arena_printf(arena, "%s/stackgroup/plugins", config);
    if (home != NULL && home[0] == '/')
        return arena_printf(arena, "%s/.config/stackgroup/plugins", home);
    return NULL;
}

const struct error *plugin_search_load(const struct plugin_options *options, struct rule_set *set, struct arena *arena,
                                       struct diagnostics *diagnostics, struct plugin_faults *ret_faults)
{
    struct loading loading = {set, arena, diagnostics, ret_faults};
    for (size_t i = 0; i < options->path_count; i++) {
        const struct error *error = load_named(&loading, options->paths[i]);
        if (error != NULL)
            return error;
    }
    if (!options->no_search) {
        const char *folder = user_folder(arena);
        if (folder != NULL)
            load_configured(&loading, folder);
        load_configured(&loading, "/etc/stackgroup/plugins");
    }
    for (size_t i = 0; i < plugins_builtin_count && !options->no_builtin; i++) {
        struct text name = text_from_string(plugins_builtin[i].name);
        struct text bytes = {plugins_builtin[i].bytes, plugins_builtin[i].length};
        if (text_ends_with(name, TEXT(".yaml")))
            load_bytes(&loading, text_from_string(arena_printf(arena, "built-in %s", name.data)), bytes, TEXT(""));
    }
    return NULL;
}

struct text plugin_search_builtin_page(struct text name)
{
    for (size_t i = 0; i < plugins_builtin_count; i++)
        if (text_equals(text_from_string(plugins_builtin[i].name), name))
            return (struct text){plugins_builtin[i].bytes, plugins_builtin[i].length};
    return TEXT("");
}

struct text plugin_search_builtin_page_at(size_t number, const char **ret_name)
{
    for (size_t i = 0; i < plugins_builtin_count; i++) {
        if (!text_ends_with(text_from_string(plugins_builtin[i].name), TEXT(".md")) || number-- != 0)
            continue;
        *ret_name = plugins_builtin[i].name;
        return (struct text){plugins_builtin[i].bytes, plugins_builtin[i].length};
    }
    return TEXT("");
}
