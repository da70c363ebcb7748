/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/bubbles.h"

enum { words_before_root = 32, minor_numbers_bubbles = 25, bubble_bits = 24 /* as struct member has */ };

static bool ask_u64(const struct go_runtime *runtime, uint64_t address, uint64_t *ret_value)
{
    uint8_t bytes[8];
    bool is_late;
    if (memory_ask(&runtime->image->memory, address, bytes, sizeof bytes, &is_late) != sizeof bytes)
        return false;
    *ret_value = load_u64(bytes);
    return true;
}

uint32_t go_bubble_number(const struct go_runtime *runtime, uint64_t address)
{
    const struct go_g_layout *layout = &runtime->layout.g;
    uint64_t before[2] = {0};
    if (address == 0 || layout->bubble < 0)
        return 0;
    /* What stands before its root (a lock, a heap of timers) differs from release to release. The first g in it is the
     * root, and that one names the bubble; id and time stand before it, in 1.24 the time alone. */
    for (uint64_t i = 0; i < words_before_root; i++) {
        uint64_t root, self, bubble, number;
        if (!ask_u64(runtime, address + 8 * i, &root))
            return 0;
        if ((root & 7) == 0 && root != 0 && ask_u64(runtime, root + go_g_self, &self) && self == root &&
            ask_u64(runtime, root + (uint64_t)layout->bubble, &bubble) && bubble == address) {
            if (runtime->minor >= minor_numbers_bubbles)
                number = before[0];
            else if (!ask_u64(runtime, root + (uint64_t)layout->id, &number))
                return 0;
            return number < 1 << bubble_bits ? (uint32_t)number : 0;
        }
        before[0] = before[1];
        before[1] = root;
    }
    return 0;
}

bool go_bubble_blocks(const struct go_runtime *runtime, struct text state)
{
    /* Those that only bubbles have say "(durable)" themselves. */
    static const char *const states[] = {"chan receive (nil chan)", "chan send (nil chan)", "select (no cases)", "sleep",
                                         "sync.Cond.Wait", "coroutine", "synctest.Run", "synctest.Wait"};
    for (size_t i = 0; runtime->minor >= minor_numbers_bubbles && i < sizeof states / sizeof states[0]; i++)
        if (text_equals(state, text_from_string(states[i])))
            return true;
    return false;
}
