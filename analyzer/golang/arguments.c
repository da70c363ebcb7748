/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/arguments.h"

#include "base/text_writer.h"

/* internal/abi and runtime/funcdata.h */
enum { function_data_arguments = 5, function_data_liveness = 6, pc_data_liveness = 3 };
/* cmd/compile emits at most 10 values in at most 5 levels of braces, 171 bytes. */
enum { map_bytes_max = 256, words_max = 10 };

/* Bytes of the map of arguments; all others are offsets, each with a size after it. */
enum { map_end = 0xff, map_open = 0xfe, map_close = 0xfd, map_dots = 0xfc, map_too_large = 0xfb };

struct printer {
    struct text_writer writer;
    struct go_argument places[map_bytes_max];
    size_t place_count;
    bool needs_comma;
};

static void print_item(struct printer *printer, const char *item)
{
    if (printer->needs_comma)
        text_writer_string(&printer->writer, ", ");
    text_writer_string(&printer->writer, item);
    printer->needs_comma = true;
}

static void print_value(struct printer *printer, uint16_t offset, uint8_t size_bytes, bool is_live)
{
    printer->places[printer->place_count++] = (struct go_argument){offset, size_bytes > 8 ? 8 : size_bytes};
    print_item(printer, is_live ? "%" : "%?"); /* go_argument_mark */
}

/* To 1.16: the words of the argument area. */
static void print_words(struct printer *printer, const struct pclntab_function *function)
{
    if (function->args_bytes == UINT32_C(0x80000000))
        return;
    for (uint32_t i = 0; i < function->args_bytes / 8; i++) {
        if (i == words_max) {
            print_item(printer, "...");
            break;
        }
        print_value(printer, (uint16_t)(8 * i), 8, true);
    }
}

struct liveness {
    const struct pclntab *table;
    uint64_t bits; /* address; 0: all arguments are alive */
    uint8_t first; /* offset: what lies below is always alive */
};

/* From 1.18 on: whether the slot that a register's argument is spilled to holds it at that pc. */
static struct liveness find_liveness(const struct go_runtime *runtime, const struct pclntab *table,
                                     const struct pclntab_function *function, uint64_t pc)
{
    struct liveness liveness = {.table = table, .first = 0xff};
    uint64_t address = runtime->minor < 18 ? 0 : pclntab_function_data(table, function, function_data_liveness);
    const uint8_t *first = address == 0 ? NULL : table->view(table->context, address, 1);
    if (first == NULL)
        return liveness;
    liveness.first = *first;
    int32_t index = pclntab_pc_data(table, function, pc_data_liveness, pc);
    if (index > 0)
        liveness.bits = address + (uint64_t)index;
    return liveness;
}

static bool is_live(const struct liveness *liveness, uint8_t offset, uint8_t slot)
{
    if (liveness->bits == 0 || offset < liveness->first)
        return true;
    const uint8_t *bits = liveness->table->view(liveness->table->context, liveness->bits + slot / 8, 1);
    return bits == NULL || (*bits >> slot % 8 & 1) != 0;
}

static bool print_map(struct printer *printer, const struct pclntab *table, uint64_t map,
                      const struct liveness *liveness)
{
    uint8_t slot = 0;
    for (size_t at = 0; at < map_bytes_max; at++) {
        const uint8_t *byte = table->view(table->context, map + at, 1), *size;
        if (byte == NULL)
            return false;
        switch (*byte) {
        case map_end:
            return true;
        case map_open:
            print_item(printer, "{");
            printer->needs_comma = false;
            break;
        case map_close:
            text_writer_string(&printer->writer, "}");
            printer->needs_comma = true;
            break;
        case map_dots:
            print_item(printer, "...");
            break;
        case map_too_large:
            print_item(printer, "_");
            break;
        default:
            size = table->view(table->context, map + ++at, 1);
            if (size == NULL)
                return false;
            print_value(printer, *byte, *size, is_live(liveness, *byte, slot));
            slot = (uint8_t)(slot + (*byte >= liveness->first));
        }
    }
    return false;
}

/* The pc that liveness is looked up by: up to 1.20 that of the call into which all others were inlined. */
static uint64_t liveness_pc(const struct go_runtime *runtime, const struct pclntab *table,
                            const struct pclntab_function *function, uint64_t lookup)
{
    if (runtime->minor > 20)
        return lookup;
    struct pclntab_cursor cursor = pclntab_cursor_new(table, function, lookup);
    struct pclntab_call call = {.pc = lookup};
    while (pclntab_cursor_next(&cursor, &call))
        continue;
    return call.pc;
}

bool go_arguments_read(const struct go_runtime *runtime, uint64_t pc, bool exact, struct arena *arena,
                       struct go_arguments *ret_arguments)
{
    struct pclntab_function function;
    uint64_t lookup = exact ? pc : pc - 1;
    const struct pclntab *table = go_runtime_find_function(runtime, lookup, &function);
    if (table == NULL)
        return false;
    struct printer printer = {.place_count = 0};
    text_writer_init_memory(&printer.writer);
    uint64_t map = pclntab_function_data(table, &function, function_data_arguments);
    bool done = true;
    if (runtime->minor < 17) {
        print_words(&printer, &function);
    } else if (map != 0) { /* without a map, as most assembly is, nothing is printed */
        uint64_t at = liveness_pc(runtime, table, &function, lookup);
        struct liveness liveness = find_liveness(runtime, table, &function, at);
        done = print_map(&printer, table, map, &liveness);
    }
    if (done) {
        struct go_argument *places = arena_array(arena, struct go_argument, printer.place_count + 1);
        memcpy(places, printer.places, printer.place_count * sizeof *places);
        *ret_arguments = (struct go_arguments){
            .text = text_copy(arena, (struct text){printer.writer.buffer, printer.writer.length}),
            .places = places,
            .place_count = printer.place_count,
        };
    }
    text_writer_deinit(&printer.writer);
    return done;
}
