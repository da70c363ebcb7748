/* SPDX-License-Identifier: Apache-2.0 */
#include "source/text_trace.h"

#include "base/text_writer.h"
#include "format/goroutine_text.h"

#include <inttypes.h>

/* A call and its place, as two runs of the text, read once: dumps repeat few thousands of them. */
struct call_record {
    struct text function_text, place_text;
    uint64_t hash;
    uint32_t function; /* string */
    struct frame frame;
    uint64_t offset;
    bool has_offset;
    bool is_waiting_call; /* its arguments are kept: they name what is waited for */
    bool is_runtime;      /* of package runtime, save the main goroutine's first function */
    bool is_goexit;       /* what every goroutine returns to */
    uint32_t location;    /* alone and without a pc; index_none: not yet made */
};

/* Open addressing; 0 is free and no goroutine's number, so that each 0 counts as new. */
struct id_set {
    uint64_t *slots;
    size_t slot_count, count;
};

/* Few distinct statuses come again and again: the last string of each hash is kept. */
enum { status_slots = 64 };

struct trace {
    struct text_build *build;
    struct call_record *records;
    size_t record_count, record_capacity;
    uint32_t *slots; /* number + 1, 0 is free */
    size_t slot_count;
    struct id_set ids; /* of goroutines that were read */
    /* The goroutine under way. */
    bool takes_signal; /* the next one is the one that a signal ended */
    bool open, is_duplicate, is_unavailable, is_elided;
    struct goroutine_header header;
    uint32_t creator, creator_location; /* as in struct member */
    uint64_t creator_id;
    uint32_t inlined[64]; /* records of inlined calls that wait for the call that holds them */
    uint32_t inlined_count;
    uint32_t outermost; /* record of the first function; index_none */
    size_t told_first;  /* of its calls in told->calls */
    bool told_closed;   /* a call that is no waiting machinery was seen */
    struct {
        struct text text;
        uint32_t string;
    } statuses[status_slots];
    /* Labels repeat: those of the goroutine before, and their string. */
    struct text labels_text;
    uint32_t labels;
    uint64_t runtime_goroutines, duplicates;
};

/* Functions whose arguments tell what is waited for. */
static bool is_waiting_call(struct text function)
{
    static const struct text starts[] = {
        {"sync.", 5},         {"internal/sync.", 14},   {"internal/poll.", 14},
        {"runtime.chan", 12}, {"runtime.selectgo", 16}, {"runtime.semacquire", 18},
    };
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
        if (text_starts_with(function, starts[i]))
            return true;
    return false;
}

static bool is_runtime_call(struct text function)
{
    return (text_starts_with(function, TEXT("runtime.")) && !text_equals(function, TEXT("runtime.main"))) ||
           text_starts_with(function, TEXT("internal/runtime/"));
}

static void grow_slots(struct trace *trace)
{
    trace->slot_count = trace->slot_count == 0 ? 1024 : trace->slot_count * 2;
    trace->slots = arena_array(trace->build->scratch, uint32_t, trace->slot_count);
    for (size_t i = 0; i < trace->record_count; i++) {
        size_t slot = trace->records[i].hash & (trace->slot_count - 1);
        while (trace->slots[slot] != 0)
            slot = (slot + 1) & (trace->slot_count - 1);
        trace->slots[slot] = (uint32_t)i + 1;
    }
}

static uint32_t record_add(struct trace *trace, const struct call_record *key)
{
    struct text_build *build = trace->build;
    struct goroutine_place place;
    struct call_record record = *key;
    record.location = index_none;
    record.frame.function = text_build_string(build, key->function_text);
    record.is_waiting_call = is_waiting_call(key->function_text);
    record.is_runtime = is_runtime_call(key->function_text);
    record.is_goexit = text_equals(key->function_text, TEXT("runtime.goexit"));
    if (goroutine_place_parse(key->place_text, &place)) {
        record.frame.file = text_build_string(build, place.file);
        record.frame.line = place.line;
        record.has_offset = place.has_offset;
        /* Told of the return address; shown, as everywhere, of the address in the call. */
        record.offset = place.has_offset && place.offset != 0 ? place.offset - 1 : 0;
    } else {
        record.frame.file = text_build_string(build, key->place_text);
    }
    trace->records = arena_grow(build->scratch, trace->records, trace->record_count, &trace->record_capacity,
                                sizeof *trace->records);
    trace->records[trace->record_count++] = record;
    return (uint32_t)trace->record_count - 1;
}

static uint32_t record_find(struct trace *trace, struct text function, struct text place)
{
    struct call_record key = {.function_text = function, .place_text = place};
    key.hash = hash_bytes(place.data, place.length, hash_bytes(function.data, function.length, 0));
    if (trace->record_count * 2 >= trace->slot_count)
        grow_slots(trace);
    size_t slot = key.hash & (trace->slot_count - 1);
    for (; trace->slots[slot] != 0; slot = (slot + 1) & (trace->slot_count - 1)) {
        const struct call_record *record = &trace->records[trace->slots[slot] - 1];
        if (record->hash == key.hash && text_equals(record->place_text, place) &&
            text_equals(record->function_text, function))
            return trace->slots[slot] - 1;
    }
    trace->slots[slot] = (uint32_t)trace->record_count + 1;
    return record_add(trace, &key);
}

/* A call with those inlined into it becomes one step. */
static void add_step(struct trace *trace, uint32_t number, uint64_t pc)
{
    struct call_record *record = &trace->records[number];
    uint32_t location = record->location;
    if (trace->inlined_count != 0 || pc != 0 || location == index_none) {
        struct frame frames[sizeof trace->inlined / sizeof trace->inlined[0] + 1];
        for (uint32_t i = 0; i < trace->inlined_count; i++)
            frames[i] = trace->records[trace->inlined[i]].frame;
        frames[trace->inlined_count] = record->frame;
        struct text_location told = {
            .pc = pc, .offset = record->offset, .module = index_none, .frame_count = trace->inlined_count + 1};
        location = text_build_location(trace->build, &told, frames);
        if (trace->inlined_count == 0 && pc == 0)
            record->location = location;
    }
    trace->inlined_count = 0;
    text_build_step(trace->build, location, TRUST_TOLD);
}

/* Inlined calls at the end, whose holder the text does not show. */
static void flush_inlined(struct trace *trace)
{
    if (trace->inlined_count != 0)
        add_step(trace, trace->inlined[--trace->inlined_count], 0);
}

static void keep_arguments(struct trace *trace, const struct goroutine_item *item, const struct call_record *record)
{
    struct told_call call = {.member = (uint32_t)trace->build->snapshot->member_count,
                             .function = record->frame.function};
    struct text arguments = item->arguments;
    bool uncertain;
    while (call.argument_count < told_arguments_max &&
           goroutine_argument_next(&arguments, &call.arguments[call.argument_count], &uncertain))
        call.uncertain |= (uint8_t)(uncertain << call.argument_count++);
    text_build_told_call(trace->build, call);
}

static void add_call(struct trace *trace, const struct goroutine_item *item)
{
    uint32_t number = record_find(trace, item->function, item->place);
    const struct call_record *record = &trace->records[number];
    if (!record->is_goexit)
        trace->outermost = number;
    trace->told_closed |= !record->is_waiting_call && !record->is_runtime;
    if (record->is_waiting_call && !trace->told_closed && !trace->is_duplicate)
        keep_arguments(trace, item, record);
    bool inlined = !record->has_offset && !item->has_pc && text_equals(item->arguments, TEXT("..."));
    if (!inlined) {
        add_step(trace, number, item->has_pc ? item->pc : 0);
        return;
    }
    if (trace->inlined_count == sizeof trace->inlined / sizeof trace->inlined[0])
        flush_inlined(trace);
    trace->inlined[trace->inlined_count++] = number;
}

static void set_creator(struct trace *trace, const struct goroutine_item *item)
{
    uint32_t number = record_find(trace, item->function, item->place); /* which may move the records */
    const struct call_record *record = &trace->records[number];
    struct text_location told = {.offset = record->offset, .module = index_none, .frame_count = 1};
    trace->creator = record->frame.function;
    trace->creator_id = item->count;
    trace->creator_location = text_build_location(trace->build, &told, &record->frame) + 1;
}

/* As debug=1 prints them: {"k":"v", "k2":"v 2"}. */
static uint32_t labels_string(struct trace *trace, struct text labels)
{
    if (labels.length == 0)
        return 0;
    if (text_equals(labels, trace->labels_text))
        return trace->labels;
    struct text_writer writer;
    struct text rest = labels, key, value;
    text_writer_init_memory(&writer);
    text_writer_string(&writer, "{");
    for (bool first = true; goroutine_label_next(&rest, &key, &value); first = false) {
        text_writer_string(&writer, first ? "\"" : ", \"");
        text_writer_text(&writer, key);
        text_writer_string(&writer, "\":\"");
        text_writer_text(&writer, value);
        text_writer_string(&writer, "\"");
    }
    text_writer_string(&writer, "}");
    trace->labels_text = labels;
    trace->labels = text_build_string(trace->build, (struct text){writer.buffer, writer.length});
    text_writer_deinit(&writer);
    return trace->labels;
}

/* Goroutines that the runtime keeps for itself, which no profile of Go counts: runtime.isSystemGoroutine tells them by
 * their first function. Number 0 is a thread's own scheduler stack. */
static bool is_runtime_goroutine(const struct trace *trace)
{
    return trace->header.id == 0 || (trace->outermost != index_none && trace->records[trace->outermost].is_runtime);
}

/* False when the id is in the set already. */
static bool id_set_add(struct id_set *set, uint64_t id, struct arena *arena)
{
    if (id == 0)
        return true;
    if (set->count * 2 >= set->slot_count) {
        struct id_set grown = {.slot_count = set->slot_count == 0 ? 1024 : set->slot_count * 4};
        grown.slots = arena_array(arena, uint64_t, grown.slot_count);
        for (size_t i = 0; i < set->slot_count; i++)
            if (set->slots[i] != 0)
                id_set_add(&grown, set->slots[i], arena);
        *set = grown;
    }
    /* Neighbours stay neighbours, for the cache's sake: dumps go nearly by number. */
    uint64_t block = (id >> 9) * 0x9e3779b97f4a7c15u >> 23;
    size_t slot = (size_t)(block << 9 | (id & 511)) & (set->slot_count - 1);
    for (; set->slots[slot] != 0; slot = (slot + 1) & (set->slot_count - 1))
        if (set->slots[slot] == id)
            return false;
    set->slots[slot] = id;
    set->count++;
    return true;
}

static uint32_t status_string(struct trace *trace, struct text status)
{
    size_t slot = status.length == 0 ? 0 : (status.length * 7 + (unsigned char)status.data[0]) % status_slots;
    if (trace->statuses[slot].string == 0 || !text_equals(trace->statuses[slot].text, status)) {
        trace->statuses[slot].text = status;
        trace->statuses[slot].string = text_build_string(trace->build, status);
    }
    return trace->statuses[slot].string;
}

static void close_goroutine(struct trace *trace, bool is_cut)
{
    struct text_build *build = trace->build;
    if (!trace->open)
        return;
    trace->open = false;
    flush_inlined(trace);
    bool is_runtime = is_runtime_goroutine(trace);
    if (is_runtime || trace->is_duplicate) {
        trace->runtime_goroutines += is_runtime && !trace->is_duplicate;
        trace->duplicates += trace->is_duplicate && !is_runtime;
        build->step_count = 0;
        build->told->call_count = trace->told_first;
        return;
    }
    enum stack_end end = STACK_END_OUTERMOST;
    if (trace->is_elided)
        end = STACK_END_FRAME_LIMIT;
    else if (is_cut || trace->is_unavailable || build->step_count == 0)
        end = STACK_END_NOT_TOLD;
    uint32_t labels = labels_string(trace, trace->header.labels);
    struct member *member = text_build_member(build, text_build_stack(build, end, 0, labels), 1);
    member->id = trace->header.id;
    member->state = status_string(trace, trace->header.status);
    member->waited_known = trace->header.minutes != 0;
    member->waited_seconds = trace->header.minutes > UINT64_MAX / 60 ? UINT64_MAX : trace->header.minutes * 60;
    member->creator = trace->creator;
    member->creator_id = trace->creator_id;
    member->creator_location = trace->creator_location;
    member->locked_to_thread = trace->header.locked_to_thread;
    member->is_leaked = trace->header.leaked;
    member->labels = labels;
}

static void open_goroutine(struct trace *trace, const struct goroutine_item *item)
{
    trace->open = true;
    trace->header = item->header;
    if (trace->takes_signal && item->header.id <= UINT32_MAX)
        trace->build->snapshot->signal.tid = (uint32_t)item->header.id;
    trace->takes_signal = false;
    trace->is_unavailable = trace->is_elided = trace->told_closed = false;
    trace->creator = trace->creator_location = 0;
    trace->creator_id = 0;
    trace->inlined_count = 0;
    trace->outermost = index_none;
    trace->told_first = trace->build->told->call_count;
    trace->is_duplicate = !id_set_add(&trace->ids, item->header.id, trace->build->scratch);
}

static bool find_hex(struct text line, struct text before, uint64_t *ret_value)
{
    const char *found = line.length == 0 ? NULL : memmem(line.data, line.length, before.data, before.length);
    if (found == NULL)
        return false;
    size_t at = (size_t)(found - line.data) + before.length;
    struct text rest = {line.data + at, line.length - at};
    return text_take_hex(&rest, ret_value);
}

/* The signal of "[signal SIGSEGV: segmentation violation code=0x1 addr=0x18 pc=0x48a3c5]" or "SIGQUIT: quit". */
static void read_signal(struct snapshot *snapshot, struct text line)
{
    text_take_prefix(&line, TEXT("[signal "));
    for (int32_t number = 1; number < 32; number++) {
        const char *name = signal_name(number);
        if (name == NULL || !text_starts_with(line, text_from_string(name)) || line.length == strlen(name) ||
            line.data[strlen(name)] != ':')
            continue;
        snapshot->signal.number = number;
        uint64_t value;
        if (find_hex(line, TEXT(" code="), &value) && value <= INT32_MAX) {
            snapshot->signal.code = (int32_t)value;
            snapshot->signal.code_known = true;
        }
        snapshot->signal.address_known = find_hex(line, TEXT(" addr="), &snapshot->signal.address);
    }
}

static void add_cause(struct trace *trace, struct text line)
{
    struct text_build *build = trace->build;
    if (text_starts_with(line, TEXT("[signal ")) || text_starts_with(line, TEXT("SIG"))) {
        read_signal(build->snapshot, line);
        trace->takes_signal = text_starts_with(line, TEXT("[signal "));
        return;
    }
    int length = line.length < 300 ? (int)line.length : 300;
    diagnostics_add(build->diagnostics, DIAGNOSTIC_NOTE, "cause-told", TEXT(""), "the dump says: %.*s", length,
                    line.data);
}

static void diagnose(struct trace *trace, const struct goroutine_text *reader, struct text text)
{
    struct diagnostics *diagnostics = trace->build->diagnostics;
    static const size_t go_bytes_max = 64u << 20; /* net/http/pprof and runtime/pprof stop there */
    text_build_junk(trace->build, reader->junk.lines, reader->junk.first_offset);
    if (reader->is_cut || text.length == go_bytes_max)
        diagnostics_add(diagnostics, DIAGNOSTIC_LOST, "dump-cut", TEXT(""),
                        "the text breaks off within a goroutine at offset %zu; further ones may be missing",
                        text.length);
    if (trace->runtime_goroutines != 0)
        diagnostics_add(diagnostics, DIAGNOSTIC_NOTE, "runtime-goroutines", TEXT(""),
                        "%" PRIu64 " goroutines of Go's runtime are left out, as Go's own profile does",
                        trace->runtime_goroutines);
    if (trace->duplicates != 0)
        diagnostics_add(diagnostics, DIAGNOSTIC_NOTE, "goroutines-twice", TEXT(""),
                        "%" PRIu64 " goroutines stand in the text again, as where a second dump follows; only the "
                        "first of each is counted",
                        trace->duplicates);
}

void text_trace_read(struct text_build *build, struct text text)
{
    struct trace trace = {.build = build};
    struct goroutine_text reader;
    struct goroutine_item item;
    goroutine_text_init(&reader, text);
    for (goroutine_text_next(&reader, &item); item.kind != GOROUTINE_ITEM_END; goroutine_text_next(&reader, &item)) {
        switch (item.kind) {
        case GOROUTINE_ITEM_GOROUTINE:
            close_goroutine(&trace, false);
            open_goroutine(&trace, &item);
            break;
        case GOROUTINE_ITEM_CALL:
            add_call(&trace, &item);
            break;
        case GOROUTINE_ITEM_CREATED:
            set_creator(&trace, &item);
            break;
        case GOROUTINE_ITEM_ELIDED:
            flush_inlined(&trace);
            trace.is_elided = true;
            break;
        case GOROUTINE_ITEM_UNAVAILABLE:
            trace.is_unavailable = true;
            break;
        case GOROUTINE_ITEM_CAUSE:
            add_cause(&trace, item.text);
            break;
        case GOROUTINE_ITEM_END:
            break;
        }
    }
    close_goroutine(&trace, reader.is_cut);
    build->snapshot->total_claimed = build->snapshot->total;
    diagnose(&trace, &reader, text);
}
