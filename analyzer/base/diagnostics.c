/* SPDX-License-Identifier: Apache-2.0 */
#include "base/diagnostics.h"
#include "base/limits.h"

#include <stdarg.h>
#include <stdio.h>

void diagnostics_init(struct diagnostics *diagnostics, struct arena *arena)
{
    *diagnostics = (struct diagnostics){.arena = arena};
}

struct diagnostic *diagnostics_add(struct diagnostics *diagnostics, enum diagnostic_weight weight, const char *code,
                                   struct text subject, const char *format, ...)
{
    for (size_t i = 0; i < diagnostics->count; i++) {
        struct diagnostic *entry = &diagnostics->entries[i];
        if (strcmp(entry->code, code) == 0 && text_equals(text_from_string(entry->subject), subject)) {
            entry->count++;
            if (weight > entry->weight)
                entry->weight = weight;
            return entry;
        }
    }
    struct diagnostic *place;
    size_t same_code = 0;
    for (size_t i = 0; i < diagnostics->count; i++)
        same_code += strcmp(diagnostics->entries[i].code, code) == 0;
    if (same_code == limit_diagnostics_of_code) {
        diagnostics->suppressed++;
        return &diagnostics->unkept;
    }
    if (diagnostics->count == limit_diagnostics) {
        /* Whether threads were lost decides the exit code: a heavier kind takes the place of a lighter one. */
        diagnostics->suppressed++;
        size_t at = diagnostics->count;
        while (at != 0 && diagnostics->entries[at - 1].weight >= weight)
            at--;
        if (at == 0)
            return &diagnostics->unkept;
        place = &diagnostics->entries[at - 1];
    } else {
        diagnostics->entries = arena_grow(diagnostics->arena, diagnostics->entries, diagnostics->count,
                                          &diagnostics->capacity, sizeof *diagnostics->entries);
        place = &diagnostics->entries[diagnostics->count++];
    }
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    *place = (struct diagnostic){
        .code = code,
        .subject = text_copy(diagnostics->arena, subject).data,
        .message = arena_printf(diagnostics->arena, "%s", line),
        .count = 1,
        .weight = weight,
    };
    return place;
}

void diagnostics_merge(struct diagnostics *diagnostics, const struct diagnostics *other)
{
    for (size_t i = 0; i < other->count; i++) {
        const struct diagnostic *entry = &other->entries[i];
        diagnostics_add(diagnostics, entry->weight, entry->code, text_from_string(entry->subject), "%s", entry->message)
            ->count += entry->count - 1;
    }
    diagnostics->suppressed += other->suppressed;
}
