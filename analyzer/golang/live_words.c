/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/live_words.h"

enum { data_arguments = 0, data_locals = 1, data_objects = 2, pc_data_map = 1, minor_objects = 17 };
enum {
    map_header_bytes = 8,
    object_bytes = 16,
    objects_max = 4096,
    map_words_max = 1 << 20,
    frames_max = 256,
    spilled_bytes_max = 256
};

/* The bits for one index of a map: how many there are, words each, then bits; false: there are none for it. */
static bool read_map(const struct pclntab *table, uint64_t address, int32_t index, const uint8_t **ret_bits,
                     uint32_t *ret_words)
{
    const uint8_t *header = table->view(table->context, address, map_header_bytes);
    if (header == NULL)
        return false;
    int32_t count = (int32_t)load_u32(header), words = (int32_t)load_u32(header + 4);
    if (words == 0)
        return true;
    if (index < 0 || index >= count || words < 0 || words > map_words_max)
        return false;
    uint64_t size_bytes = ((uint64_t)words + 7) / 8;
    *ret_bits =
        table->view(table->context, address + map_header_bytes + (uint64_t)index * size_bytes, (size_t)size_bytes);
    *ret_words = (uint32_t)words;
    return *ret_bits != NULL;
}

/* Calls that a stub makes for package reflect have arguments of which only the call tells; where a goroutine was
 * interrupted any word may be alive. */
static bool is_odd(struct text name)
{
    static const char *const odd[] = {"reflect.makeFuncStub", "reflect.methodValueCall", "runtime.sigpanic",
                                      "runtime.asyncPreempt", "runtime.asyncPreempt2"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        if (text_equals(name, text_from_string(odd[i])))
            return true;
    return text_starts_with(name, TEXT("runtime.debugCall")) || text_starts_with(name, TEXT("runtime.cgocallback"));
}

static void make(const struct go_runtime *runtime, struct go_live_words *words)
{
    struct pclntab_function function;
    const struct pclntab *table = go_runtime_find_function(runtime, words->pc, &function);
    words->is_odd = table == NULL || is_odd(pclntab_name(table, function.name));
    if (words->is_odd)
        return;
    uint64_t lookup = words->pc == function.entry ? words->pc : words->pc - 1;
    int32_t delta = pclntab_sp_delta(table, &function, words->pc);
    int32_t index = pclntab_pc_data(table, &function, pc_data_map, lookup);
    uint64_t locals = pclntab_function_data(table, &function, data_locals);
    uint64_t arguments = pclntab_function_data(table, &function, data_arguments);
    index = index < 0 ? 0 : index; /* at its entry */
    words->has_frame = delta > 0;
    if (delta < 0 || (delta > 8 && locals == 0) ||
        (locals != 0 && !read_map(table, locals, index, &words->locals, &words->local_count)) ||
        (function.args_bytes != 0 && arguments == 0) ||
        (arguments != 0 && !read_map(table, arguments, index, &words->arguments, &words->argument_count)))
        return;
    uint64_t objects = pclntab_function_data(table, &function, runtime->minor >= 16 ? data_objects : 3);
    if (objects != 0) {
        const uint8_t *count = table->view(table->context, objects, 8);
        if (runtime->minor < minor_objects || count == NULL || load_u64(count) > objects_max)
            return;
        words->object_count = (uint32_t)load_u64(count);
        words->objects = table->view(table->context, objects + 8, words->object_count * (size_t)object_bytes);
        if (words->object_count != 0 && words->objects == NULL)
            return;
    }
    words->is_known = true;
}

static const struct go_live_words *words_of(struct go_live_reader *reader, uint64_t pc)
{
    struct go_live_words *words = &reader->slots[(pc * 0x9e3779b97f4a7c15u) >> 54];
    if (!words->is_made || words->pc != pc) {
        *words = (struct go_live_words){.pc = pc, .is_made = true};
        make(reader->runtime, words);
    }
    return words;
}

static void visit_bits(uint64_t start, const uint8_t *bits, uint32_t count, go_live_visitor *visit, void *context)
{
    for (uint32_t i = 0; bits != NULL && i < count; i++)
        if ((bits[i / 8] >> i % 8 & 1) != 0)
            visit(context, start + 8 * (uint64_t)i, start + 8 * (uint64_t)i + 8);
}

bool go_live_words_visit(struct go_live_reader *reader, uint64_t pc, uint64_t sp, uint64_t stack_high,
                         go_live_visitor *visit, void *context)
{
    /* amd64 leaves the return address between a frame and its arguments, arm64 a word for its caller's. */
    bool pushes = reader->runtime->image->arch->call_return_offset != 0;
    struct goroutine_frame frames[frames_max];
    struct pclntab_function top;
    size_t count = goroutine_frames_read(reader->runtime, pc, sp, stack_high, frames, frames_max);
    const struct pclntab *table = count == 0 || count == frames_max
                                      ? NULL
                                      : go_runtime_find_function(reader->runtime, frames[count - 1].pc, &top);
    if (table == NULL || !text_equals(pclntab_name(table, top.name), TEXT("runtime.goexit")))
        return false;
    for (size_t i = 0; i < count; i++)
        if (words_of(reader, frames[i].pc)->is_odd)
            return false;
    for (size_t i = 0; i < count; i++) {
        const struct go_live_words *words = words_of(reader, frames[i].pc);
        uint64_t end = frames[i].end, variables = end - (pushes ? 8 : 0) - (words->has_frame ? 8 : 0);
        uint64_t arguments = end + (pushes ? 0 : 8);
        if (!words->is_known) {
            visit(context, frames[i].sp, end + spilled_bytes_max < stack_high ? end + spilled_bytes_max : stack_high);
            continue;
        }
        visit_bits(variables - 8 * (uint64_t)words->local_count, words->locals, words->local_count, visit, context);
        visit_bits(arguments, words->arguments, words->argument_count, visit, context);
        for (uint32_t j = 0; j < words->object_count; j++) {
            int32_t offset = (int32_t)load_u32(words->objects + (size_t)j * object_bytes);
            int32_t size = (int32_t)load_u32(words->objects + (size_t)j * object_bytes + 4);
            uint64_t start = (offset < 0 ? variables : arguments) + (uint64_t)(int64_t)offset;
            if (size > 0)
                visit(context, start, start + (uint64_t)size);
        }
    }
    return true;
}
