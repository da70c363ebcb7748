/* SPDX-License-Identifier: Apache-2.0 */
#include "source/live_held.h"

#include "base/byte_reader.h"
#include "format/register_text.h"
#include "source/live_read.h"
#include "source/proc_files.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const struct arch_raw_register *find_register(const struct arch *arch, struct text name, size_t *ret_word)
{
    for (size_t i = 0; i < arch->raw_register_count; i++)
        if (text_equals(name, text_from_string(arch->raw_registers[i].name))) {
            *ret_word = i;
            return &arch->raw_registers[i];
        }
    return NULL;
}

/* The registers of one line at the next place for them; NULL or what is wrong with the line. */
static const struct error *take_line(struct live_stop *stop, struct live_thread *thread, struct text fields,
                                     const char *where, struct arena *arena)
{
    const struct arch *arch = stop->image->arch;
    uint8_t *raw = live_stop_registers(stop);
    uint64_t told = 0;
    if (raw == NULL)
        return error_new(arena, ERROR_LIMIT, "process %" PRIu32 ": too little memory for its threads", stop->pid);
    memset(raw, 0, arch->registers_size_bytes);
    struct text name;
    for (uint64_t value; register_field_next(&fields, &name, &value);) {
        size_t word;
        if (find_register(arch, name, &word) == NULL)
            continue;
        memcpy(raw + 8 * word, &value, sizeof value);
        told |= (uint64_t)1 << word;
    }
    if (fields.length != 0)
        return error_new(arena, ERROR_FORMAT, "%s: expected NAME=0xVALUE, found '%.*s'", where,
                         (int)(fields.length < 40 ? fields.length : 40), fields.data);
    for (size_t i = 0; i < arch->raw_register_count; i++)
        if (arch->raw_registers[i].needed && (told >> i & 1) == 0)
            return error_new(arena, ERROR_FORMAT, "%s: thread %" PRIu32 ": register %s is not told", where, thread->tid,
                             arch->raw_registers[i].name);
    struct registers decoded;
    arch->registers_decode(raw, &decoded);
    thread->outcome = LIVE_THREAD_STOPPED;
    thread->runs_known = proc_runs(stop->pid, thread->tid, &thread->runs);
    live_stop_copy_memory(stop, thread, decoded.values[arch->sp], arch->thread_pointer(raw));
    return NULL;
}

static const struct error *take_lines(struct live_stop *stop, struct text rest, const char *name, struct arena *arena)
{
    struct register_line line;
    uint32_t number = 0;
    for (enum register_text_result result; (result = register_line_next(&rest, &number, &line)) != REGISTER_TEXT_END;) {
        const char *where = arena_printf(arena, "%s: line %" PRIu32, name, number);
        if (result == REGISTER_TEXT_GARBAGE)
            return error_new(arena, ERROR_FORMAT, "%s: expected a thread id and its registers", where);
        struct live_thread *thread = live_stop_find(stop, line.tid);
        if (thread == NULL)
            return error_new(arena, ERROR_FORMAT, "%s: %" PRIu32 " is no thread of process %" PRIu32, where, line.tid,
                             stop->pid);
        if (thread->outcome != LIVE_THREAD_UNKNOWN)
            return error_new(arena, ERROR_FORMAT, "%s: thread %" PRIu32 " is told twice", where, line.tid);
        const struct error *error = take_line(stop, thread, line.fields, where, arena);
        if (error != NULL)
            return error;
    }
    return NULL;
}

const struct error *live_held_run(struct live_stop *stop, struct text registers, const char *registers_name,
                                  struct arena *arena)
{
    uint32_t *tids;
    size_t count;
    arena_init(&stop->arena, limit_arena_bytes, arena->exhausted);
    if (!proc_tasks(&stop->arena, stop->pid, &tids, &count))
        return error_new(arena, ERROR_OPEN, "process %" PRIu32 ": cannot be read: %s", stop->pid, strerror(errno));
    for (size_t i = 0; i < count; i++)
        if (live_stop_find(stop, tids[i]) == NULL)
            live_stop_add(stop, tids[i]);
    if (!live_stop_reserve(stop))
        return error_new(arena, ERROR_LIMIT, "process %" PRIu32 ": no memory for its stacks: %s", stop->pid,
                         strerror(errno));
    const struct error *error = take_lines(stop, registers, registers_name, arena);
    if (error != NULL)
        return error;
    for (size_t i = 0; i < stop->thread_count; i++) {
        if (stop->threads[i].outcome != LIVE_THREAD_UNKNOWN)
            continue;
        int ignored = 0;
        live_read_thread(stop, &stop->threads[i], limit_live_tries, &ignored);
        stop->kind = STOP_KIND_NONE;
    }
    stop->arena.exhausted = NULL;
    return NULL;
}
