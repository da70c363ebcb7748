/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/symbol_plt.h"
#include "base/byte_reader.h"

#include <gelf.h>

/* The section with code that holds the address, if it is one of stubs. */
static Elf_Scn *plt_section(Elf *elf, uint64_t address, GElf_Shdr *ret_section)
{
    size_t names;
    if (elf_getshdrstrndx(elf, &names) != 0)
        return NULL;
    for (Elf_Scn *scn = elf_nextscn(elf, NULL); scn != NULL; scn = elf_nextscn(elf, scn)) {
        if (gelf_getshdr(scn, ret_section) == NULL || ret_section->sh_type != SHT_PROGBITS ||
            address < ret_section->sh_addr || address - ret_section->sh_addr >= ret_section->sh_size)
            continue;
        const char *name = elf_strptr(elf, names, ret_section->sh_name);
        return name != NULL && strncmp(name, ".plt", 4) == 0 ? scn : NULL;
    }
    return NULL;
}

/* The name that the relocation of a GOT slot asks the loader for. */
static bool plt_slot_name(Elf *elf, const struct symbol_table *symbols, uint64_t slot, struct text *ret_name)
{
    for (Elf_Scn *scn = elf_nextscn(elf, NULL); scn != NULL; scn = elf_nextscn(elf, scn)) {
        GElf_Shdr section, symbols_section;
        if (gelf_getshdr(scn, &section) == NULL || section.sh_type != SHT_RELA)
            continue;
        Elf_Data *relocations = elf_getdata(scn, NULL);
        if (relocations == NULL || relocations->d_buf == NULL)
            continue;
        const uint8_t *rows = relocations->d_buf;
        for (size_t i = 0; i < relocations->d_size / sizeof(Elf64_Rela); i++) {
            Elf64_Rela row;
            memcpy(&row, rows + i * sizeof row, sizeof row);
            if (row.r_offset != slot)
                continue;
            uint64_t ignored_start;
            if (ELF64_R_TYPE(row.r_info) == R_X86_64_IRELATIVE)
                return symbol_table_find(symbols, (uint64_t)row.r_addend, ret_name, &ignored_start);
            Elf_Scn *symbols_scn = elf_getscn(elf, section.sh_link);
            Elf_Data *table = symbols_scn == NULL ? NULL : elf_getdata(symbols_scn, NULL);
            GElf_Sym symbol;
            if (table == NULL || gelf_getshdr(symbols_scn, &symbols_section) == NULL ||
                gelf_getsym(table, (int)ELF64_R_SYM(row.r_info), &symbol) == NULL)
                return false;
            *ret_name = text_from_string(elf_strptr(elf, symbols_section.sh_link, symbol.st_name));
            return ret_name->length != 0;
        }
    }
    return false;
}

bool symbol_plt_find(Elf *elf, const struct symbol_table *symbols, uint64_t address, struct arena *arena,
                     struct text *ret_name, uint64_t *ret_start)
{
    /* endbr64 and bnd come before the jump in some; a stub without a jump through memory pushes its number instead. */
    enum { stub_bytes_max = 16, jump_bytes = 6 };
    GElf_Ehdr header;
    GElf_Shdr section;
    if (gelf_getehdr(elf, &header) == NULL || header.e_machine != EM_X86_64)
        return false;
    Elf_Scn *scn = plt_section(elf, address, &section);
    Elf_Data *data = scn == NULL ? NULL : elf_rawdata(scn, NULL);
    if (data == NULL || data->d_buf == NULL)
        return false;
    uint64_t stub_bytes = section.sh_entsize == 8 ? 8 : stub_bytes_max;
    uint64_t stub = (address - section.sh_addr) / stub_bytes * stub_bytes;
    const uint8_t *bytes = data->d_buf;
    for (uint64_t at = stub; at < stub + stub_bytes && at < data->d_size && data->d_size - at >= jump_bytes; at++) {
        if (bytes[at] != 0xff || bytes[at + 1] != 0x25) /* jmp *disp32(%rip) */
            continue;
        uint64_t slot = section.sh_addr + at + jump_bytes + (uint64_t)(int32_t)load_u32(bytes + at + 2);
        struct text name;
        if (!plt_slot_name(elf, symbols, slot, &name))
            return false;
        *ret_name = text_from_string(arena_printf(arena, "%.*s@plt", (int)name.length, name.data));
        *ret_start = section.sh_addr + stub;
        return true;
    }
    return false;
}
