/* SPDX-License-Identifier: Apache-2.0 */
#include "source/core_writer.h"

#include "format/core_layout.h"

enum { page_bytes = 4096 };

/* Part of a mapping that becomes one segment: bytes first, then what was not copied. */
struct piece {
    uint64_t start, end;
    const uint8_t *bytes;
    uint64_t byte_count;
    const struct mapping *mapping; /* NULL: copied from where maps showed nothing, a stack made after it was read */
};

struct core_writer {
    const struct image *image;
    struct arena *arena;
    struct piece *pieces; /* ascending */
    size_t count, capacity;
};

static void add_piece(struct core_writer *writer, struct piece piece)
{
    writer->pieces = arena_grow(writer->arena, writer->pieces, writer->count, &writer->capacity, sizeof *writer->pieces);
    writer->pieces[writer->count++] = piece;
}

/* The part of a copied range between two addresses. */
static void add_copied(struct core_writer *writer, const struct memory_range *range, uint64_t start, uint64_t end,
                       const struct mapping *mapping)
{
    add_piece(writer, (struct piece){start, end, range->bytes + (start - range->start), end - start, mapping});
}

/* Mappings and copied ranges are both ascending and disjoint: one walk over both. A mapping is cut only where copied
 * bytes begin, because a segment's bytes stand at its start. */
static void find_pieces(struct core_writer *writer)
{
    const struct image *image = writer->image;
    const struct memory_layer *copied = &image->memory.core;
    size_t next = 0;
    uint64_t done = 0; /* copied bytes below are in pieces */
    for (size_t i = 0; i <= image->mapping_count; i++) {
        const struct mapping *mapping = i < image->mapping_count ? &image->mappings[i] : NULL;
        uint64_t mapping_start = mapping != NULL ? mapping->start : UINT64_MAX;
        uint64_t mapping_end = mapping != NULL ? mapping->end : UINT64_MAX;
        uint64_t at = mapping_start;
        while (next < copied->count && copied->ranges[next].start < mapping_end) {
            const struct memory_range *range = &copied->ranges[next];
            uint64_t start = range->start > done ? range->start : done;
            if (start < mapping_start) {
                uint64_t end = range->end < mapping_start ? range->end : mapping_start;
                add_copied(writer, range, start, end, NULL);
                start = done = end;
            }
            if (range->end > mapping_start) {
                uint64_t end = range->end < mapping_end ? range->end : mapping_end;
                if (start > at && writer->count != 0 && writer->pieces[writer->count - 1].mapping == mapping)
                    writer->pieces[writer->count - 1].end = start;
                else if (start > at)
                    add_piece(writer, (struct piece){.start = at, .end = start, .mapping = mapping});
                add_copied(writer, range, start, end, mapping);
                at = done = end;
            }
            if (range->end > mapping_end)
                break;
            next++;
        }
        if (mapping == NULL || at >= mapping->end)
            continue;
        if (at > mapping->start)
            writer->pieces[writer->count - 1].end = mapping->end;
        else
            add_piece(writer, (struct piece){.start = at, .end = mapping->end, .mapping = mapping});
    }
}

static void write_threads(const struct image *image, size_t first, size_t end, struct text_writer *notes)
{
    for (size_t i = first; i < end; i++) {
        const struct thread *thread = &image->threads[i];
        core_layout_prstatus(notes, image->arch,
                             &(struct core_prstatus){.tid = thread->tid,
                                                     .cpu_microseconds = thread->cpu_microseconds,
                                                     .registers = thread->registers});
        core_layout_thread_facts(notes, &(struct core_thread_facts){
                                            .tid = thread->tid,
                                            .namespace_tid = thread->namespace_tid,
                                            .registers_missing = thread->registers == NULL,
                                            .registers_known = thread->registers_known,
                                            .cpu_known = thread->cpu_known,
                                            .stop = image->stop_kind == STOP_KIND_ROLLING ? 1
                                                    : image->stop_kind == STOP_KIND_NONE  ? 2
                                                                                          : 0,
                                            .stood_still = thread->stood_still,
                                            .started_microseconds = thread->started_microseconds,
                                            .name = thread->name,
                                            .state = thread->state == NULL ? (struct text){"", 0}
                                                                           : text_from_string(thread->state),
                                        });
    }
}

/* In the kernel's order: the first thread, the process, the other threads. */
static void write_notes(const struct core_writer *writer, struct text_writer *notes)
{
    const struct image *image = writer->image;
    struct core_file_entry *entries = arena_array(writer->arena, struct core_file_entry, writer->count + 1);
    size_t entry_count = 0;
    for (size_t i = 0; i < writer->count; i++) {
        const struct piece *piece = &writer->pieces[i];
        if (piece->mapping == NULL || piece->mapping->path.length == 0)
            continue;
        uint64_t offset = piece->mapping->file_offset + (piece->start - piece->mapping->start);
        if (offset % page_bytes != 0 || piece->mapping->path.data[0] != '/')
            continue; /* no whole number of pages: a stack in a mapped file; or the vdso, which is in none */
        entries[entry_count++] = (struct core_file_entry){piece->start, piece->end, offset, piece->mapping->path};
    }
    size_t first = image->thread_count != 0;
    write_threads(image, 0, first, notes);
    core_layout_psinfo(notes, &(struct core_psinfo){image->pid, image->command, image->arguments});
    if (image->auxv.length != 0)
        core_layout_note(notes, "CORE", CORE_NOTE_AUXV, image->auxv.data, image->auxv.length);
    core_layout_file_table(notes, entries, entry_count, page_bytes);
    write_threads(image, first, image->thread_count, notes);
}

int core_writer_write(const struct image *image, int fd, struct arena *scratch)
{
    struct core_writer writer = {.image = image, .arena = scratch};
    struct text_writer notes, output;
    find_pieces(&writer);
    text_writer_init_memory(&notes);
    write_notes(&writer, &notes);
    int failed = text_writer_finish(&notes);
    if (failed != 0) {
        text_writer_deinit(&notes);
        return failed;
    }
    text_writer_init_fd(&output, fd);
    uint64_t segment_count = writer.count + 1;
    uint64_t offset = core_layout_head_bytes(segment_count);
    core_layout_header(&output, image->arch, segment_count);
    core_layout_segment(&output, &(struct elf_segment){
                                     .type = ELF_SEGMENT_NOTE, .offset = offset, .file_bytes = notes.length});
    offset += notes.length;
    for (size_t i = 0; i < writer.count; i++) {
        const struct piece *piece = &writer.pieces[i];
        core_layout_segment(&output, &(struct elf_segment){
                                         .type = ELF_SEGMENT_LOAD,
                                         .flags = piece->mapping != NULL ? piece->mapping->access
                                                                         : MAPPING_READ | MAPPING_WRITE,
                                         .offset = offset,
                                         .address = piece->start,
                                         .file_bytes = piece->byte_count,
                                         .memory_bytes = piece->end - piece->start,
                                     });
        offset += piece->byte_count;
    }
    text_writer_bytes(&output, notes.buffer, notes.length);
    for (size_t i = 0; i < writer.count; i++)
        text_writer_bytes(&output, writer.pieces[i].bytes, writer.pieces[i].byte_count);
    failed = text_writer_finish(&output);
    text_writer_deinit(&output);
    text_writer_deinit(&notes);
    return failed;
}
