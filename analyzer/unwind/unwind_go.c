/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/unwind_go.h"

static bool name_is_one_of(struct text name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (text_equals(name, text_from_string(names[i])))
            return true;
    return false;
}
#define NAME_IS_ONE_OF(name, names) name_is_one_of((name), (names), sizeof(names) / sizeof(names)[0])

/* Where the runtime's own traceback ends: nothing called these. 1.17 flags them. */
static bool is_outermost(const struct go_runtime *runtime, const struct pclntab_function *function, struct text name)
{
    static const char *const tops[] = {"runtime.goexit",   "runtime.mstart",  "runtime.mcall",
                                       "runtime.morestack", "runtime.rt0_go", "runtime.externalthreadhandler"};
    if (runtime->minor >= 17)
        return (function->flags & GO_FUNCTION_TOP_FRAME) != 0;
    return NAME_IS_ONE_OF(name, tops);
}

bool unwind_go_compile(const struct go_runtime *runtime, uint64_t pc, struct unwind_plan *ret_plan)
{
    static const char *const traps[] = {"runtime.sigpanic", "runtime.asyncPreempt", "runtime.debugCallV1",
                                        "runtime.debugCallV2"};
    const struct arch *arch = runtime->image->arch;
    struct pclntab_function function;
    const struct pclntab *table = go_runtime_find_function(runtime, pc, &function);
    if (table == NULL)
        return false;
    struct text name = pclntab_name(table, function.name);
    int32_t delta = pclntab_sp_delta(table, &function, pc);
    /* Code of another language's that lies between Go's has no table. */
    if (function.sp_values == 0 || delta < 0)
        return false;
    /* Code that sets the stack pointer has switched stacks or is about to: the table does not tell where to. */
    bool switches = (function.flags & GO_FUNCTION_SP_WRITE) != 0 && !text_equals(name, TEXT("runtime.cgocallback"));
    if (is_outermost(runtime, &function, name) || switches) {
        *ret_plan = (struct unwind_plan){.kind = PLAN_OUTERMOST};
        return true;
    }
    *ret_plan = (struct unwind_plan){
        .kind = PLAN_SIMPLE,
        .signal_frame = NAME_IS_ONE_OF(name, traps), /* their caller was interrupted, it called nothing */
        .cfa_register = arch->sp,
        .cfa_offset = delta + 8,
        .return_address_offset = -8,
    };
    /* A function with a frame keeps its caller's frame pointer below the return address; assembly need not. */
    if (delta >= 8 && (function.flags & GO_FUNCTION_ASM) == 0) {
        ret_plan->saved_count = 1;
        ret_plan->saved[0].register_number = arch->fp;
        ret_plan->saved[0].offset = -16;
    }
    return true;
}
