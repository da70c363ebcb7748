/* SPDX-License-Identifier: Apache-2.0 */
#include "group/start_function.h"

/* What calls it: the C library's and the compilers' own first functions (glibc 2.17 to 2.41, musl, libstdc++), and
 * Go's. */
static bool is_trampoline(struct text name)
{
    static const char *const names[] = {
        "_start",
        "start",
        "start_thread",
        "__clone",
        "clone",
        "__clone3",
        "clone3",
        "thread_start",
        "runtime.goexit",
        "runtime.mstart",
        "runtime.mstart0",
        "runtime.mstart1",
        "runtime.rt0_go",
        "execute_native_thread_routine",
        "_rt0_amd64_linux",
        "_rt0_arm64_linux",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (text_equals(name, text_from_string(names[i])))
            return true;
    return text_starts_with(name, TEXT("__libc_start_")) || text_starts_with(name, TEXT("_start_c"));
}

uint32_t start_function(const struct snapshot *snapshot, const struct stack *stack)
{
    if (stack->end != STACK_END_OUTERMOST)
        return 0;
    for (uint32_t i = stack->step_count; i-- > 0;) {
        const struct location *location = &snapshot->locations[snapshot->steps[stack->step_first + i].location];
        for (uint32_t j = location->frame_count; j-- > 0;) {
            uint32_t function = snapshot->frames[location->frame_first + j].function;
            /* libc without its debug file has no name for what calls it. */
            if (function != 0 && !is_trampoline(snapshot_string(snapshot, function)))
                return function;
        }
    }
    return 0;
}
