/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/processors.h"

/* runtime2.go of Go 1.13 to 1.27; what the monitor saw last begins at 24. */
enum { p_id = 0, p_status = 4, p_ticks = 16, p_monitored_ticks = 24, p_monitored_when = 32, p_bytes = 40, p_dead = 4 };
enum { processors_max = 1 << 14 };

bool go_is_instant(uint64_t nanoseconds)
{
    static const uint64_t century = (uint64_t)100 * 365 * 86400 * 1000000000;
    return nanoseconds != 0 && nanoseconds < century;
}

/* Whether it is the processor of that number, and when it was seen; a processor that never worked was not. */
static bool read_processor(const struct memory *memory, uint64_t address, uint64_t number, uint64_t *ret_when)
{
    const uint8_t *p = (address & 7) == 0 ? memory_view(memory, address, p_bytes) : NULL;
    if (p == NULL || load_u32(p + p_id) != number || load_u32(p + p_status) > p_dead)
        return false;
    uint32_t ticks = load_u32(p + p_ticks), monitored = load_u32(p + p_monitored_ticks);
    uint64_t when = load_u64(p + p_monitored_when);
    if (monitored > ticks || (when != 0 && !go_is_instant(when)) || (when == 0) != (monitored == 0))
        return false;
    *ret_when = when;
    return true;
}

/* The candidate for runtime.allp at an address: how many processors, 0 when it is none. */
static uint64_t read_list(const struct memory *memory, uint64_t address, uint64_t *ret_when)
{
    const uint8_t *slice = memory_view(memory, address, 24);
    if (slice == NULL)
        return 0;
    uint64_t array = load_u64(slice), count = load_u64(slice + 8), latest = 0;
    if (count == 0 || count > load_u64(slice + 16) || count > processors_max || array == 0)
        return 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t p, when;
        if (!memory_read_u64(memory, array + 8 * i, &p) || !read_processor(memory, p, i, &when))
            return 0;
        latest = when > latest ? when : latest;
    }
    *ret_when = latest;
    return latest == 0 ? 0 : count;
}

uint64_t go_processors_latest(const struct go_runtime *runtime)
{
    const struct memory *memory = &runtime->image->memory;
    uint64_t best = 0, latest = 0, when = 0;
    for (size_t i = 0; i < 4; i++) {
        struct go_range range = runtime->modules[0].data[i];
        for (uint64_t at = (range.start + 7) & ~(uint64_t)7; at + 24 <= range.end; at += 8) {
            uint64_t count = read_list(memory, at, &when);
            if (count > best) {
                best = count;
                latest = when;
            }
        }
    }
    return latest;
}
