/* SPDX-License-Identifier: Apache-2.0 */
#include "literal_elf.h"

#include <elf.h>
#include <string.h>

enum { frame_header = 0x100, frame_table = 0x110 };

static void store_u32(struct literal_elf *elf, size_t at, uint32_t value)
{
    memcpy(elf->bytes + at, &value, sizeof value);
}

void literal_elf_init(struct literal_elf *elf)
{
    literal_elf_init_of(elf, EM_X86_64, 16);
}

void literal_elf_init_of(struct literal_elf *elf, uint16_t machine, uint8_t return_column)
{
    *elf = (struct literal_elf){.frame_next = frame_table, .return_column = return_column};
    Elf64_Ehdr header = {
        .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_DYN,
        .e_machine = machine,
        .e_version = EV_CURRENT,
        .e_phoff = sizeof header,
        .e_ehsize = sizeof header,
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 2,
    };
    Elf64_Phdr segments[2] = {
        {PT_LOAD, PF_R | PF_X, 0, 0, 0, literal_elf_bytes, literal_elf_bytes, 0x1000},
        {PT_GNU_EH_FRAME, PF_R, frame_header, frame_header, frame_header, 8, 8, 4},
    };
    memcpy(elf->bytes, &header, sizeof header);
    memcpy(elf->bytes + sizeof header, segments, sizeof segments);
    /* .eh_frame_hdr: version 1, the table's place as pcrel sdata4, no search table (LSB Core, "Exception Frames"). */
    memcpy(elf->bytes + frame_header, (uint8_t[]){1, 0x1b, 0xff, 0xff}, 4);
    store_u32(elf, frame_header + 4, frame_table - (frame_header + 4));
}

/* The record of what stands at `start + 4 … end`, padded by DW_CFA_nop. */
static void record_end(struct literal_elf *elf, size_t start, size_t end)
{
    end = (end + 7) & ~(size_t)7;
    store_u32(elf, start, (uint32_t)(end - start - 4));
    elf->frame_next = end;
}

void literal_elf_cie(struct literal_elf *elf, const char *augmentation, const void *instructions, size_t count)
{
    size_t start = elf->frame_next, at = start + 8; /* the id is 0 */
    elf->cie = start;
    elf->bytes[at++] = 1;
    memcpy(elf->bytes + at, augmentation, strlen(augmentation) + 1);
    at += strlen(augmentation) + 1;
    /* code alignment 1, data alignment -8, column, one byte of augmentation: pointers are pcrel sdata4 */
    memcpy(elf->bytes + at, (uint8_t[]){1, 0x78, elf->return_column, 1, 0x1b}, 5);
    memcpy(elf->bytes + at + 5, instructions, count);
    record_end(elf, start, at + 5 + count);
}

void literal_elf_fde(struct literal_elf *elf, uint64_t start, uint32_t length, const void *instructions, size_t count)
{
    size_t at = elf->frame_next;
    store_u32(elf, at + 4, (uint32_t)(at + 4 - elf->cie));
    store_u32(elf, at + 8, (uint32_t)(start - (at + 8)));
    store_u32(elf, at + 12, length);
    elf->bytes[at + 16] = 0; /* no augmentation */
    memcpy(elf->bytes + at + 17, instructions, count);
    record_end(elf, at, at + 17 + count);
}
