/* SPDX-License-Identifier: Apache-2.0 */
#include "model/image.h"

#include "base/byte_reader.h"

#include <string.h>

uint32_t image_find_module(const struct image *image, uint64_t address)
{
    size_t low = 0, high = image->module_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (image->modules[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < image->module_count && image->modules[low].start <= address ? (uint32_t)low : index_none;
}

const struct mapping *image_find_mapping(const struct image *image, uint64_t address)
{
    size_t low = 0, high = image->mapping_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (image->mappings[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < image->mapping_count && image->mappings[low].start <= address ? &image->mappings[low] : NULL;
}

bool image_is_executable(const struct image *image, uint64_t address)
{
    const struct mapping *mapping = image_find_mapping(image, address);
    return mapping != NULL && (mapping->access & MAPPING_EXECUTE) != 0;
}

/* 0 when it is not at hand. */
static uint32_t read_instruction(const struct image *image, uint64_t address)
{
    uint8_t bytes[4];
    bool is_late; /* code does not change */
    return memory_ask(&image->memory, address, bytes, sizeof bytes, &is_late) == sizeof bytes ? load_u32(bytes) : 0;
}

uint64_t thread_pointer_of(const struct image *image, const struct thread *thread)
{
    if (thread->thread_pointer != 0 || thread->registers == NULL)
        return thread->thread_pointer;
    return image->arch->thread_pointer(thread->registers);
}

bool thread_system_call(const struct image *image, const struct thread *thread, struct system_call *ret_call)
{
    const struct arch *arch = image->arch;
    struct registers registers;
    bool is_late; /* code does not change */
    if (thread->registers == NULL || !arch->system_call_decode(thread->registers, ret_call))
        return false;
    arch->registers_decode(thread->registers, &registers);
    if (arch->system_call_confirm != NULL) {
        uint32_t before = read_instruction(image, registers.pc - 4), at = read_instruction(image, registers.pc);
        if (!arch->system_call_confirm(before, at, ret_call))
            return false;
    }
    const char *name = arch->system_call_name(ret_call->number);
    if (name == NULL || strcmp(name, "restart_syscall") != 0)
        return true;
    uint8_t code[32];
    if (memory_ask(&image->memory, registers.pc - sizeof code, code, sizeof code, &is_late) == sizeof code)
        arch->restarted_call(code, sizeof code, &ret_call->number);
    return true;
}
