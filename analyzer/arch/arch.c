/* SPDX-License-Identifier: Apache-2.0 */
#include "arch/arch.h"

const struct arch *arch_find(uint16_t elf_machine)
{
    static const struct arch *const table[] = {&arch_x86_64, &arch_aarch64};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i]->elf_machine == elf_machine)
            return table[i];
    return NULL;
}

const char *arch_machine_name(uint16_t elf_machine)
{
    /* elf.h, EM_* */
    switch (elf_machine) {
    case 3:
        return "i386";
    case 8:
        return "MIPS";
    case 20:
        return "PowerPC";
    case 21:
        return "PowerPC64";
    case 22:
        return "S390";
    case 40:
        return "ARM";
    case 62:
        return "x86-64";
    case 183:
        return "AArch64";
    case 243:
        return "RISC-V";
    case 258:
        return "LoongArch";
    default:
        return NULL;
    }
}
