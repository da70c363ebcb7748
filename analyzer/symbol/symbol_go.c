/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/symbol_go.h"

#include "base/limits.h"

/* runtime.printFuncName: from the first bracket to the last. */
struct text symbol_go_name(struct text name, char *buffer, size_t size_bytes)
{
    const char *open = name.length == 0 ? NULL : memchr(name.data, '[', name.length);
    const char *close = name.length == 0 ? NULL : memrchr(name.data, ']', name.length);
    if (open == NULL || close == NULL || close < open || name.length + 8 > size_bytes)
        return name;
    size_t before = (size_t)(open - name.data), after = name.length - (size_t)(close - name.data) - 1;
    memcpy(buffer, name.data, before);
    memcpy(buffer + before, "[...]", 5);
    memcpy(buffer + before + 5, close + 1, after);
    return (struct text){buffer, before + 5 + after};
}

static uint32_t add_name(struct snapshot *snapshot, struct text name)
{
    char buffer[limit_name_bytes];
    return name.length == 0 ? 0 : intern_table_add(&snapshot->strings, symbol_go_name(name, buffer, sizeof buffer));
}

struct calls {
    struct pclntab_function function;
    struct pclntab_cursor cursor;
};

static bool calls_open(const struct go_runtime *runtime, uint64_t lookup, struct calls *ret_calls)
{
    const struct pclntab *table = go_runtime_find_function(runtime, lookup, &ret_calls->function);
    if (table == NULL)
        return false;
    ret_calls->cursor = pclntab_cursor_new(table, &ret_calls->function, lookup);
    return true;
}

/* Appends the next call's frame; its address is in *ret_call. */
static bool calls_next(struct calls *calls, bool lines, struct snapshot *snapshot, struct pclntab_call *ret_call)
{
    if (!pclntab_cursor_next(&calls->cursor, ret_call))
        return false;
    snapshot->frames = arena_grow(snapshot->arena, snapshot->frames, snapshot->frame_count, &snapshot->frame_capacity,
                                  sizeof *snapshot->frames);
    snapshot->frames[snapshot->frame_count++] = (struct frame){
        .function = add_name(snapshot, ret_call->name),
        .file = !lines || ret_call->file.length == 0 ? 0 : intern_table_add(&snapshot->strings, ret_call->file),
        .line = lines ? ret_call->line : 0,
        .inlined = ret_call->inlined,
        .is_wrapper = ret_call->id == calls->cursor.table->wrapper_id,
    };
    return true;
}

bool symbol_go_location(const struct go_runtime *runtime, bool lines, struct snapshot *snapshot,
                        struct location *location)
{
    uint64_t lookup = location_lookup(location);
    struct calls calls;
    struct pclntab_call call;
    if (!calls_open(runtime, lookup, &calls))
        return false;
    location->module = image_find_module(runtime->image, lookup);
    location->offset = lookup - calls.function.entry;
    location->frame_first = (uint32_t)snapshot->frame_count;
    while (calls_next(&calls, lines, snapshot, &call))
        continue;
    location->frame_count = (uint32_t)snapshot->frame_count - location->frame_first;
    return true;
}

static struct location *add_location(struct snapshot *snapshot)
{
    snapshot->locations = arena_grow(snapshot->arena, snapshot->locations, snapshot->location_count,
                                     &snapshot->location_capacity, sizeof *snapshot->locations);
    return &snapshot->locations[snapshot->location_count++];
}

uint32_t symbol_go_locations(const struct go_runtime *runtime, bool lines, struct snapshot *snapshot, uint64_t pc,
                             bool exact)
{
    struct calls calls;
    struct pclntab_call call;
    uint32_t count = 0;
    if (!calls_open(runtime, exact ? pc : pc - 1, &calls))
        return 0;
    while (calls_next(&calls, lines, snapshot, &call)) {
        *add_location(snapshot) = (struct location){
            .pc = exact && count == 0 ? call.pc : call.pc + 1,
            .exact = exact && count == 0,
            .module = image_find_module(runtime->image, call.pc),
            .offset = call.pc - calls.function.entry,
            .pc_offset = call.inlined ? 0 : pc - calls.function.entry,
            .frame_first = (uint32_t)snapshot->frame_count - 1,
            .frame_count = 1,
        };
        count++;
    }
    return count;
}

uint32_t symbol_go_function_location(const struct go_runtime *runtime, bool lines, struct snapshot *snapshot,
                                     uint64_t pc)
{
    struct calls calls;
    struct pclntab_call call;
    if (!calls_open(runtime, pc - 1, &calls) || !calls_next(&calls, lines, snapshot, &call))
        return index_none;
    struct frame *frame = &snapshot->frames[snapshot->frame_count - 1];
    frame->function = add_name(snapshot, pclntab_name(calls.cursor.table, calls.function.name));
    frame->inlined = frame->is_wrapper = false;
    *add_location(snapshot) = (struct location){
        .pc = pc,
        .module = image_find_module(runtime->image, pc - 1),
        .offset = pc - 1 - calls.function.entry,
        .pc_offset = pc - calls.function.entry,
        .frame_first = (uint32_t)snapshot->frame_count - 1,
        .frame_count = 1,
    };
    return (uint32_t)snapshot->location_count - 1;
}
