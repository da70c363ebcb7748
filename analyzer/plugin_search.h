/* SPDX-License-Identifier: Apache-2.0 */
/* Where rules come from: files and folders that the user names, his and the machine's configuration folders, and those
 * that are built in. Of plugins with one name the first in that order is used. */
#ifndef SG_PLUGIN_SEARCH_H
#define SG_PLUGIN_SEARCH_H

#include "base/error.h"
#include "detect/detect.h"

struct plugin_options {
    const char *const *paths; /* files, or folders of *.yaml */
    size_t path_count;
    bool no_search;  /* of $XDG_CONFIG_HOME/stackgroup/plugins and /etc/stackgroup/plugins */
    bool no_builtin;
};

/* One that is not used; its errors. */
struct plugin_fault {
    const char *path;
    const char **errors; /* "file.yaml:12:17: …"; below it the line and a caret */
    size_t error_count;
};

struct plugin_faults {
    struct plugin_fault *entries;
    size_t count, capacity;
};

/* Adds what is found to `set`. A path of the options that cannot be opened is an error; a plugin with errors is left out,
 * each of them a diagnostic; `ret_faults` may be NULL. */
const struct error *plugin_search_load(const struct plugin_options *options, struct rule_set *set, struct arena *arena,
                                       struct diagnostics *diagnostics, struct plugin_faults *ret_faults);

/* The text of a built-in page; "" when there is none such. */
struct text plugin_search_builtin_page(struct text name);
/* The same by number from 0, with its name; "" past the last. */
struct text plugin_search_builtin_page_at(size_t number, const char **ret_name);

/* The bytes of a small regular file; `max` at most. 0, or the errno of what failed; EFBIG: it has more. */
int plugin_search_read_file(const char *path, size_t max, struct arena *arena, struct text *ret_bytes);

#endif
