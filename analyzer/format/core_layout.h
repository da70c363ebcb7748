/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of an ELF core as bytes, the reverse of elf_segments and core_notes: structs in, bytes out, in the order in
 * which they stand in the file. Layouts: gABI chapters 4 and 5, core(5); kernel fs/binfmt_elf.c.
 *
 *   file header · section header 0 (only with many segments) · program headers · notes · bytes of the segments
 */
#ifndef SG_FORMAT_CORE_LAYOUT_H
#define SG_FORMAT_CORE_LAYOUT_H

#include "base/text_writer.h"
#include "format/core_notes.h"
#include "format/elf_segments.h"

/* Bytes before the notes, for so many program headers. */
uint64_t core_layout_head_bytes(uint64_t segment_count);

/* The file header, and the section header that carries the number of segments where e_phnum cannot (PN_XNUM). */
void core_layout_header(struct text_writer *writer, const struct arch *arch, uint64_t segment_count);
void core_layout_segment(struct text_writer *writer, const struct elf_segment *segment);

void core_layout_note(struct text_writer *writer, const char *name, uint32_t type, const void *bytes,
                      size_t size_bytes);
/* registers NULL: written as zeros. */
void core_layout_prstatus(struct text_writer *writer, const struct arch *arch, const struct core_prstatus *status);
void core_layout_psinfo(struct text_writer *writer, const struct core_psinfo *psinfo);
/* What other writers of cores leave out, for the thread of the NT_PRSTATUS before it. */
void core_layout_thread_facts(struct text_writer *writer, const struct core_thread_facts *facts);
/* NT_FILE; offsets are whole pages. */
void core_layout_file_table(struct text_writer *writer, const struct core_file_entry *entries, size_t count,
                            uint64_t page_bytes);

#endif
