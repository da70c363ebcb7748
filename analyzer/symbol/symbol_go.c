/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/symbol_go.h"

#include "base/limits.h"

/* "pkg.F[go.shape.int]" is printed as "pkg.F[...]": runtime.printFuncName, from the first bracket to the last. */
static uint32_t add_name(struct snapshot *snapshot, struct text name)
{
    char buffer[limit_name_bytes];
    if (name.length == 0)
        return 0;
    const char *open = memchr(name.data, '[', name.length), *close = memrchr(name.data, ']', name.length);
    if (open == NULL || close == NULL || close < open || name.length > sizeof buffer - 8)
        return intern_table_add(&snapshot->strings, name);
    size_t before = (size_t)(open - name.data), after = name.length - (size_t)(close - name.data) - 1;
    memcpy(buffer, name.data, before);
    memcpy(buffer + before, "[...]", 5);
    memcpy(buffer + before + 5, close + 1, after);
    return intern_table_add(&snapshot->strings, (struct text){buffer, before + 5 + after});
}

bool symbol_go_location(const struct go_runtime *runtime, bool lines, struct snapshot *snapshot,
                        struct location *location)
{
    uint64_t lookup = location_lookup(location);
    struct pclntab_function function;
    const struct pclntab *table = go_runtime_find_function(runtime, lookup, &function);
    if (table == NULL)
        return false;
    location->module = image_find_module(runtime->image, lookup);
    location->offset = lookup - function.entry;
    location->frame_first = (uint32_t)snapshot->frame_count;
    uint8_t wrapper = pclntab_wrapper_id(runtime->minor);
    struct pclntab_cursor cursor = pclntab_cursor_new(table, &function, lookup);
    struct pclntab_call call;
    while (pclntab_cursor_next(&cursor, &call)) {
        struct frame frame = {
            .function = add_name(snapshot, call.name),
            .file = !lines || call.file.length == 0 ? 0 : intern_table_add(&snapshot->strings, call.file),
            .line = lines ? call.line : 0,
            .inlined = call.inlined,
            .is_wrapper = call.id == wrapper,
            .pc = call.pc,
        };
        snapshot->frames = arena_grow(snapshot->arena, snapshot->frames, snapshot->frame_count, &snapshot->frame_capacity,
                                      sizeof *snapshot->frames);
        snapshot->frames[snapshot->frame_count++] = frame;
    }
    location->frame_count = (uint32_t)snapshot->frame_count - location->frame_first;
    return true;
}

uint32_t symbol_go_name(const struct go_runtime *runtime, struct snapshot *snapshot, uint64_t pc)
{
    struct pclntab_function function;
    const struct pclntab *table = go_runtime_find_function(runtime, pc, &function);
    return table == NULL ? 0 : add_name(snapshot, pclntab_name(table, function.name));
}
