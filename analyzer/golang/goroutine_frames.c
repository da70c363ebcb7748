/* SPDX-License-Identifier: Apache-2.0 */
#include "golang/goroutine_frames.h"

size_t goroutine_frames_read(const struct go_runtime *runtime, uint64_t pc, uint64_t sp, uint64_t stack_high,
                             struct goroutine_frame *ret_frames, size_t count_max)
{
    /* amd64 leaves return addresses above the frame, arm64 at its start. */
    bool pushes = runtime->image->arch->call_return_offset != 0;
    size_t count = 0;
    if (stack_high > UINT64_MAX - 4096) /* who goes through a frame's words may add to its end */
        return 0;
    while (count < count_max && sp != 0 && sp < stack_high) {
        struct pclntab_function function;
        /* As the runtime does, by the return address itself, which lies in the caller after a call that may not return
         * too: asmcgocall leaves the entry of systemstack_switch as one. */
        const struct pclntab *table = go_runtime_find_function(runtime, pc, &function);
        int32_t delta = table == NULL ? -1 : pclntab_sp_delta(table, &function, pc);
        if (delta < 0 || (uint64_t)delta > stack_high - sp)
            break;
        uint64_t end = sp + (uint64_t)delta + (pushes ? 8 : 0), next;
        ret_frames[count++] = (struct goroutine_frame){pc, sp, end};
        if ((function.flags & GO_FUNCTION_TOP_FRAME) != 0 || end <= sp ||
            !memory_read_u64(&runtime->image->memory, pushes ? end - 8 : sp, &next))
            break;
        pc = next;
        sp = end;
    }
    return count;
}
