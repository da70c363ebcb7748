/* SPDX-License-Identifier: Apache-2.0 */
/* A tiny ELF image with an .eh_frame, written down in a test's code. It has no sections: PT_GNU_EH_FRAME leads to the
 * table, as in a module that is read from a core's memory. File offsets and p_vaddr are the same. */
#ifndef SG_TESTS_LITERAL_ELF_H
#define SG_TESTS_LITERAL_ELF_H

#include <stddef.h>
#include <stdint.h>

enum { literal_elf_text = 0x1000, literal_elf_bytes = 0x2000 };

struct literal_elf {
    uint8_t bytes[literal_elf_bytes]; /* code goes to literal_elf_text and above */
    size_t frame_next;                /* where the next CIE or FDE goes */
    size_t cie;                       /* the last one */
    uint8_t return_column;
};

/* Of x86-64, whose return address is in column 16. */
void literal_elf_init(struct literal_elf *elf);
void literal_elf_init_of(struct literal_elf *elf, uint16_t machine, uint8_t return_column);

/* Augmentation "zR" or "zRS"; code alignment 1, data alignment -8. */
void literal_elf_cie(struct literal_elf *elf, const char *augmentation, const void *instructions, size_t count);

/* For code at [start, start + length), under the last CIE. */
void literal_elf_fde(struct literal_elf *elf, uint64_t start, uint32_t length, const void *instructions, size_t count);

#endif
