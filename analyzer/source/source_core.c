/* SPDX-License-Identifier: Apache-2.0 */
#include "source/source_core.h"

#include "base/limits.h"
#include "format/elf_segments.h"
#include "source/core_modules.h"
#include "source/packed_file.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* What is gathered while the file is read; the image takes the results. */
struct core_reader {
    const char *path;
    const uint8_t *bytes;
    size_t size_bytes;
    struct arena *arena;
    struct diagnostics *diagnostics;
    struct image *image;
    struct text path_text;
    size_t mapping_capacity, thread_capacity;
    struct core_note auxv, file_table; /* bytes == NULL: not seen */
    bool seen_siginfo, seen_own;
    uint32_t note_types[2]; /* of the first two CORE notes: tell who wrote the core; 0 none */
};

enum core_probe source_core_probe(const char *path)
{
    struct file_mapping file;
    if (file_map(path, &file) != 0)
        return CORE_PROBE_UNREADABLE;
    enum core_probe probe = CORE_PROBE_OTHER;
    struct elf_header header;
    if (file.bytes != NULL && elf_header_parse(file.bytes, file.size_bytes, &header) == NULL)
        probe = header.type == ELF_TYPE_CORE ? CORE_PROBE_CORE : CORE_PROBE_PROGRAM;
    else if (packed_file_kind(file.bytes, file.size_bytes) != NULL)
        probe = CORE_PROBE_CORE;
    file_unmap(&file);
    return probe;
}

static const struct error *header_check(struct core_reader *reader, struct elf_header *ret_header)
{
    if (reader->size_bytes == 0)
        return error_new(reader->arena, ERROR_FORMAT, "%s: the file is empty, expected an ELF core", reader->path);
    const char *expected = elf_header_parse(reader->bytes, reader->size_bytes, ret_header);
    if (expected != NULL) {
        return error_new(reader->arena, ERROR_FORMAT, "%s: not an ELF core: expected %s", reader->path, expected);
    }
    if (ret_header->type != ELF_TYPE_CORE) {
        const char *kind = ret_header->type == ELF_TYPE_EXECUTABLE || ret_header->type == ELF_TYPE_SHARED
                               ? "a program or a library"
                           : ret_header->type == ELF_TYPE_RELOCATABLE ? "an object file"
                                                                      : "an ELF file of another kind";
        return error_new(reader->arena, ERROR_FORMAT,
                         "%s: %s, not a core: expected e_type 4 (ET_CORE) at offset 16, found %u", reader->path, kind,
                         ret_header->type);
    }
    reader->image->arch = arch_find(ret_header->machine);
    if (reader->image->arch == NULL) {
        const char *name = arch_machine_name(ret_header->machine);
        return error_new(reader->arena, ERROR_SUPPORT,
                         "%s: core of another architecture: e_machine %u%s%s%s at offset 18, expected 62 (x86-64) or 183 "
                         "(AArch64)",
                         reader->path, ret_header->machine, name ? " (" : "", name ? name : "", name ? ")" : "");
    }
    return NULL;
}

/* How many program headers there are, extended numbering included. */
static uint64_t segment_count(struct core_reader *reader, const struct elf_header *header)
{
    if (header->segment_count != 0xffff) /* PN_XNUM */
        return header->segment_count;
    if (header->sections_offset != 0 && header->sections_offset <= reader->size_bytes &&
        reader->size_bytes - header->sections_offset >= 64)
        return load_u32(reader->bytes + header->sections_offset + 44); /* sh_info of section 0 */
    /* The kernel writes section 0 at the end of the file: a cut core has lost it. The first segment is the notes, and
     * their bytes follow the program headers at once. */
    uint64_t count = 0xffff;
    if (header->segments_offset < reader->size_bytes &&
        reader->size_bytes - header->segments_offset >= elf_segment_bytes) {
        struct elf_segment first = elf_segment_parse(reader->bytes + header->segments_offset);
        if (first.type == ELF_SEGMENT_NOTE && first.offset > header->segments_offset)
            count = (first.offset - header->segments_offset) / elf_segment_bytes;
    }
    diagnostics_add(reader->diagnostics, DIAGNOSTIC_LOSS, "segment-count-missing", reader->path_text,
                    "%s: section header 0 at offset 0x%" PRIx64 " (it holds the number of segments) is not in the "
                    "file; %" PRIu64 " taken from where the notes begin",
                    reader->path, header->sections_offset, count);
    return count;
}

static void add_mapping(struct core_reader *reader, struct mapping mapping)
{
    struct image *image = reader->image;
    image->mappings = arena_grow(reader->arena, image->mappings, image->mapping_count, &reader->mapping_capacity,
                                 sizeof *image->mappings);
    mapping.module = index_none;
    image->mappings[image->mapping_count++] = mapping;
}

static int compare_mapping(const void *left, const void *right)
{
    const struct mapping *a = left, *b = right;
    return a->start < b->start ? -1 : a->start > b->start;
}

/* Sorts, and trims what overlaps so that an address lies in at most one. */
static void settle_mappings(struct image *image)
{
    bool sorted = true;
    for (size_t i = 1; i < image->mapping_count && sorted; i++)
        sorted = image->mappings[i - 1].end <= image->mappings[i].start;
    if (sorted)
        return;
    qsort(image->mappings, image->mapping_count, sizeof *image->mappings, compare_mapping);
    size_t kept = 0;
    uint64_t end = 0;
    for (size_t i = 0; i < image->mapping_count; i++) {
        struct mapping mapping = image->mappings[i];
        if (mapping.start < end) {
            mapping.file_offset += end - mapping.start;
            mapping.start = end;
        }
        if (mapping.start >= mapping.end)
            continue;
        end = mapping.end;
        image->mappings[kept++] = mapping;
    }
    image->mapping_count = kept;
}

static void read_prstatus(struct core_reader *reader, const struct core_note *note)
{
    struct image *image = reader->image;
    image->thread_count_claimed++;
    struct core_prstatus status;
    if (!core_prstatus_parse(note, image->arch, &status)) {
        diagnostics_add(reader->diagnostics, DIAGNOSTIC_LOST, "thread-lost", reader->path_text,
                        "%s: NT_PRSTATUS note at offset 0x%zx has %zu bytes, needs %zu; that thread is left out",
                        reader->path, note->offset, note->size_bytes, image->arch->prstatus_size_bytes);
        return;
    }
    if (image->thread_count == limit_threads)
        return;
    image->threads = arena_grow(reader->arena, image->threads, image->thread_count, &reader->thread_capacity,
                                sizeof *image->threads);
    image->threads[image->thread_count++] = (struct thread){
        .tid = status.tid,
        .registers = status.registers,
        .cpu_microseconds = status.cpu_microseconds,
    };
    if (image->thread_count == 1 && status.cursig != 0)
        image->signal = (struct signal_info){.number = status.cursig, .tid = status.tid};
}

static void read_siginfo(struct core_reader *reader, const struct core_note *note)
{
    struct core_siginfo info;
    struct image *image = reader->image;
    /* gcore writes one per thread, after its NT_PRSTATUS; the first thread is the one that gdb had selected. */
    if (reader->seen_siginfo || image->thread_count > 1 || !core_siginfo_parse(note, &info) || info.number == 0)
        return;
    reader->seen_siginfo = true;
    struct signal_info *signal = &image->signal;
    if (signal->number != 0 && signal->number != info.number)
        return;
    signal->number = info.number;
    signal->code = info.code;
    signal->code_known = true;
    if (signal->tid == 0 && image->thread_count == 1)
        signal->tid = image->threads[0].tid;
    /* sigaction(2): si_addr is set by the kernel for faults, si_pid and si_uid by those who send. */
    bool fault = info.number == SIGSEGV || info.number == SIGBUS || info.number == SIGILL || info.number == SIGFPE ||
                 info.number == SIGTRAP;
    /* SI_KERNEL on a fault (a non-canonical address, for one) carries no address. */
    if (fault && info.code > 0 && info.code != SI_KERNEL) {
        signal->address_known = true;
        signal->address = info.address;
    }
    if (info.code == SI_USER || info.code == SI_TKILL || info.code == SI_QUEUE) {
        signal->sender_known = true;
        signal->sender_pid = info.sender_pid;
        signal->sender_uid = info.sender_uid;
    }
}

/* What --save adds for the thread whose NT_PRSTATUS came last. */
static void read_thread_facts(struct core_reader *reader, const struct core_note *note)
{
    struct image *image = reader->image;
    struct core_thread_facts facts;
    reader->seen_own = true;
    struct thread *thread = image->thread_count == 0 ? NULL : &image->threads[image->thread_count - 1];
    if (thread == NULL || !core_thread_facts_parse(note, &facts) || facts.tid != thread->tid)
        return;
    thread->name = text_copy(reader->arena, facts.name);
    thread->namespace_tid = facts.namespace_tid;
    thread->cpu_known = facts.cpu_known;
    thread->stood_still = facts.stood_still;
    thread->started_microseconds = facts.started_microseconds;
    static const enum stop_kind stops[4] = {[1] = STOP_KIND_ROLLING, [2] = STOP_KIND_NONE};
    if (stops[facts.stop] != STOP_KIND_UNKNOWN)
        image->stop_kind = stops[facts.stop];
    thread->registers_known = facts.registers_known;
    if (facts.state.length != 0)
        thread->state = text_copy(reader->arena, facts.state).data;
    if (facts.registers_missing)
        thread->registers = NULL;
}

enum { padding_bytes_max = 4096 }; /* zeros behind the last note that are no loss: up to a page */

static void read_notes(struct core_reader *reader, uint64_t offset, uint64_t size_bytes)
{
    struct image *image = reader->image;
    if (offset >= reader->size_bytes) {
        diagnostics_add(reader->diagnostics, DIAGNOSTIC_LOST, "notes-cut", reader->path_text,
                        "%s: the notes at offset 0x%" PRIx64 " lie behind the end of the file (0x%zx)", reader->path,
                        offset, reader->size_bytes);
        return;
    }
    bool cut = size_bytes > reader->size_bytes - offset;
    if (cut)
        size_bytes = reader->size_bytes - offset;
    struct byte_reader notes = byte_reader_new(reader->bytes + offset, (size_t)size_bytes);
    struct core_note note;
    while (core_note_next(&notes, &note)) {
        bool core = text_equals(note.name, TEXT("CORE"));
        if (note.type == 0 && note.size_bytes == 0 && note.name.length == 0) {
            /* Zeros: padding, or a hole of a copy that was not finished, which may span terabytes. */
            cut |= byte_reader_left(&notes) >= padding_bytes_max;
            notes.position = note.offset;
            break;
        }
        note.offset += offset;
        if (text_equals(note.name, TEXT(CORE_NOTE_OWN_NAME)) && note.type == CORE_NOTE_OWN_THREAD)
            read_thread_facts(reader, &note);
        /* tpidr_el0 and, from newer kernels, tpidr2_el0, of the thread whose NT_PRSTATUS came last. */
        if (note.type == CORE_NOTE_ARM_TLS && text_equals(note.name, TEXT("LINUX")) && note.size_bytes >= 8 &&
            image->thread_count != 0)
            image->threads[image->thread_count - 1].thread_pointer = load_u64(note.bytes);
        if (!core)
            continue;
        if (reader->note_types[0] == 0)
            reader->note_types[0] = note.type;
        else if (reader->note_types[1] == 0)
            reader->note_types[1] = note.type;
        switch (note.type) {
        case CORE_NOTE_PRSTATUS:
            read_prstatus(reader, &note);
            break;
        case CORE_NOTE_PRPSINFO: {
            struct core_psinfo psinfo;
            if (core_psinfo_parse(&note, &psinfo)) {
                image->pid = psinfo.pid;
                image->command = text_copy(reader->arena, psinfo.command);
                image->arguments = text_copy(reader->arena, psinfo.arguments);
            }
            break;
        }
        case CORE_NOTE_SIGINFO:
            read_siginfo(reader, &note);
            break;
        case CORE_NOTE_AUXV:
            reader->auxv = note;
            break;
        case CORE_NOTE_FILE:
            reader->file_table = note;
            break;
        default:
            break;
        }
    }
    if (cut || notes.failed)
        diagnostics_add(reader->diagnostics, DIAGNOSTIC_LOST, "notes-cut", reader->path_text,
                        "%s: the notes end in the middle of one at offset 0x%" PRIx64
                        "; threads after it are unknown",
                        reader->path, offset + notes.position);
}

static const struct error *read_segments(struct core_reader *reader, const struct elf_header *header)
{
    struct image *image = reader->image;
    uint64_t count = segment_count(reader, header);
    uint64_t available = header->segments_offset < reader->size_bytes
                             ? (reader->size_bytes - header->segments_offset) / elf_segment_bytes
                             : 0;
    if (available == 0)
        return error_new(reader->arena, ERROR_FORMAT,
                         "%s: expected program headers at offset 0x%" PRIx64 ", the file ends at 0x%zx", reader->path,
                         header->segments_offset, reader->size_bytes);
    uint64_t limit = limit_segments;
    if (count > available || count > limit) {
        uint64_t taken = available < limit ? available : limit;
        diagnostics_add(reader->diagnostics, DIAGNOSTIC_LOST, "segments-cut", reader->path_text,
                        "%s: %" PRIu64 " program headers at offset 0x%" PRIx64 ", only %" PRIu64 " were read",
                        reader->path, count, header->segments_offset, taken);
        count = taken;
    }
    uint64_t cut_segments = 0, cut_bytes = 0, note_segments = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t place = header->segments_offset + i * elf_segment_bytes;
        struct elf_segment segment = elf_segment_parse(reader->bytes + place);
        if (segment.type == ELF_SEGMENT_NOTE) {
            if (note_segments++ < limit_note_segments)
                read_notes(reader, segment.offset, segment.file_bytes);
            continue;
        }
        if (segment.type != ELF_SEGMENT_LOAD || (segment.memory_bytes == 0 && segment.file_bytes == 0))
            continue;
        uint64_t memory_bytes = segment.memory_bytes > segment.file_bytes ? segment.memory_bytes : segment.file_bytes;
        uint64_t end;
        /* No program's memory reaches the last page: sums with what lies there would overflow. */
        if (__builtin_add_overflow(segment.address, memory_bytes, &end) || end > UINT64_MAX - 4096) {
            diagnostics_add(reader->diagnostics, DIAGNOSTIC_LOSS, "segment-invalid", reader->path_text,
                            "%s: program header at offset 0x%" PRIx64 " spans 0x%" PRIx64 " bytes from 0x%" PRIx64
                            ", past the end of the address space; left out",
                            reader->path, place, memory_bytes, segment.address);
            continue;
        }
        add_mapping(reader, (struct mapping){.start = segment.address, .end = end, .access = segment.flags & 7});
        uint64_t left = segment.offset < reader->size_bytes ? reader->size_bytes - segment.offset : 0;
        uint64_t bytes = segment.file_bytes < left ? segment.file_bytes : left;
        if (bytes < segment.file_bytes) {
            cut_segments++;
            cut_bytes += segment.file_bytes - bytes;
        }
        if (bytes != 0)
            memory_layer_append(&image->memory, &image->memory.core,
                                (struct memory_range){segment.address, segment.address + bytes,
                                                      reader->bytes + segment.offset});
    }
    if (note_segments > limit_note_segments)
        diagnostics_add(reader->diagnostics, DIAGNOSTIC_LOST, "note-segments", reader->path_text,
                        "%s: %" PRIu64 " note segments, expected one; the first %d were read", reader->path,
                        note_segments, limit_note_segments);
    if (cut_segments != 0)
        diagnostics_add(reader->diagnostics, DIAGNOSTIC_LOSS, "core-cut", reader->path_text,
                        "%s: the file ends at 0x%zx; %" PRIu64 " segments lack %" PRIu64
                        " bytes: the core was cut while or after it was written",
                        reader->path, reader->size_bytes, cut_segments, cut_bytes);
    size_t overlapping = memory_layer_freeze(&image->memory, &image->memory.core);
    if (overlapping != 0)
        diagnostics_add(reader->diagnostics, DIAGNOSTIC_LOSS, "segments-overlap", reader->path_text,
                        "%s: %zu segments overlap others; the one listed first was used", reader->path, overlapping);
    settle_mappings(image);
    return NULL;
}

/* Gives mappings the names of NT_FILE. */
static void read_file_table(struct core_reader *reader)
{
    struct image *image = reader->image;
    struct core_file_table table;
    if (reader->file_table.bytes == NULL) {
        diagnostics_add(reader->diagnostics, DIAGNOSTIC_LOSS, "file-table-missing", reader->path_text,
                        "%s: no NT_FILE note: modules taken from the loader's list in memory", reader->path);
        return;
    }
    if (!core_file_table_parse(&reader->file_table, &table)) {
        diagnostics_add(reader->diagnostics, DIAGNOSTIC_LOSS, "file-table-cut", reader->path_text,
                        "%s: NT_FILE note at offset 0x%zx has %zu bytes, needs 16", reader->path,
                        reader->file_table.offset, reader->file_table.size_bytes);
        return;
    }
    size_t known = image->mapping_count;
    struct core_file_entry entry;
    while (core_file_table_next(&table, &entry)) {
        if (entry.start >= entry.end)
            continue;
        size_t low = 0, high = known;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (image->mappings[middle].end <= entry.start)
                low = middle + 1;
            else
                high = middle;
        }
        struct mapping *mapping = low < known ? &image->mappings[low] : NULL;
        if (mapping != NULL && mapping->start <= entry.start && mapping->end >= entry.end) {
            /* A segment may span several mappings: the part that is named becomes one of its own. */
            struct mapping before = *mapping, after = *mapping;
            mapping->start = entry.start;
            mapping->end = entry.end;
            mapping->path = text_copy(reader->arena, entry.path);
            mapping->file_offset = entry.file_offset;
            before.end = entry.start;
            after.start = entry.end;
            if (before.start < before.end)
                add_mapping(reader, before);
            if (after.start < after.end)
                add_mapping(reader, after);
        } else if (mapping == NULL || mapping->start >= entry.end) {
            /* gcore leaves filtered mappings out of the segments; only code and constants are. */
            add_mapping(reader, (struct mapping){.start = entry.start,
                                                 .end = entry.end,
                                                 .file_offset = entry.file_offset,
                                                 .path = text_copy(reader->arena, entry.path),
                                                 .access = MAPPING_READ | MAPPING_EXECUTE});
        }
    }
    if (table.count != table.count_claimed || table.names.failed)
        diagnostics_add(reader->diagnostics, DIAGNOSTIC_LOSS, "file-table-cut", reader->path_text,
                        "%s: NT_FILE note at offset 0x%zx claims %" PRIu64 " files, its %zu bytes hold fewer",
                        reader->path, reader->file_table.offset, table.count_claimed, reader->file_table.size_bytes);
    settle_mappings(image);
}

static void settle_cpu_times(struct image *image)
{
    uint64_t others = 0;
    bool any = false;
    struct thread *leader = NULL;
    for (size_t i = 0; i < image->thread_count; i++) {
        struct thread *thread = &image->threads[i];
        any |= thread->cpu_microseconds != 0;
        if (thread->tid == image->pid && leader == NULL)
            leader = thread;
        else
            others += thread->cpu_microseconds;
    }
    /* gcore writes zeros: unknown, not idle. */
    if (!any)
        return;
    for (size_t i = 0; i < image->thread_count; i++)
        image->threads[i].cpu_known = true;
    /* The kernel fills the leader's record with the whole process's time, exited threads included
     * (fs/binfmt_elf.c, fill_prstatus). */
    if (leader != NULL && image->written_by != NULL && strcmp(image->written_by, "kernel") == 0) {
        leader->cpu_microseconds = leader->cpu_microseconds > others ? leader->cpu_microseconds - others : 0;
        leader->cpu_at_most = true;
    }
}

/* gcore records the signal that its own attach or a prompt stopped the program with; only one that ends a program with
 * a core (signal(7)) says that it was dying. A breakpoint's SIGTRAP is gdb's as well. */
static void drop_debugger_signal(struct image *image)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGSYS, SIGQUIT, SIGXCPU, SIGXFSZ};
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++)
        if (image->signal.number == fatal[i])
            return;
    image->signal = (struct signal_info){0};
}

/* The kernel begins with the first thread's NT_PRSTATUS and goes on with NT_PRPSINFO (fs/binfmt_elf.c, fill_note_info);
 * gdb begins with NT_PRPSINFO (gcore, linux-tdep.c). Others are not told apart. */
static const char *written_by(const struct core_reader *reader)
{
    if (reader->note_types[0] == CORE_NOTE_PRPSINFO)
        return "gcore";
    return reader->note_types[0] == CORE_NOTE_PRSTATUS && reader->note_types[1] == CORE_NOTE_PRPSINFO ? "kernel" : NULL;
}

const struct error *source_core_open(const char *path, struct arena *arena, struct diagnostics *diagnostics,
                                     struct core_source *ret_source, struct image *ret_image)
{
    /* Kept by the caller from here on: control may leave by arena exhaustion. */
    struct file_mapping *file = &ret_source->file;
    int failed = file->fd >= 0 ? 0 : file_map(path, file);
    if (failed == EISDIR)
        return error_new(arena, ERROR_OPEN, "%s: a folder, expected an ELF core", path);
    if (failed == EINVAL)
        return error_new(arena, ERROR_OPEN, "%s: not a regular file (a pipe or a device), expected an ELF core", path);
    if (failed != 0)
        return error_new(arena, ERROR_OPEN, "%s: cannot be opened: %s", path, strerror(failed));

    struct image image = {.source_kind = "core", .source_path = text_copy(arena, text_from_string(path))};
    image.memory.arena = arena;
    struct core_reader reader = {
        .path = path,
        .bytes = file->bytes,
        .size_bytes = file->size_bytes,
        .arena = arena,
        .diagnostics = diagnostics,
        .image = &image,
        .path_text = image.source_path,
    };
    struct elf_header header;
    const struct error *error = header_check(&reader, &header);
    if (error == NULL)
        error = read_segments(&reader, &header);
    if (error == NULL && image.thread_count == 0)
        error = error_new(arena, ERROR_FORMAT,
                          "%s: no thread: expected an NT_PRSTATUS note in a note segment (program headers at offset "
                          "0x%" PRIx64 "; the file ends at 0x%zx)",
                          path, header.segments_offset, file->size_bytes);
    if (error != NULL) {
        source_core_close(ret_source);
        return error;
    }
    image.written_by = reader.seen_own ? "stackgroup" : written_by(&reader);
    if (image.written_by != NULL && strcmp(image.written_by, "gcore") == 0)
        drop_debugger_signal(&image);
    if (image.pid == 0)
        image.pid = image.threads[0].tid;
    read_file_table(&reader);
    if (reader.auxv.bytes == NULL)
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "auxv-missing", image.source_path,
                        "%s: no NT_AUXV note: the main program is the module named like the process, if there is one",
                        path);
    core_modules_find(&image, arena, reader.auxv.bytes == NULL ? NULL : &reader.auxv,
                      reader.file_table.bytes != NULL);
    if (!reader.seen_own)
        settle_cpu_times(&image);
    *ret_image = image;
    return NULL;
}

void source_core_close(struct core_source *source)
{
    file_unmap(&source->file);
}
