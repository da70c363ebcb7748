/* SPDX-License-Identifier: Apache-2.0 */
#include "waits/wait_facts.h"

#include "waits/wait_context.h"
#include "waits/wait_descriptor.h"
#include "waits/wait_futex.h"
#include "waits/wait_infer.h"

#include <inttypes.h>

/* A stopped and restarted call whose code does not tell its number (musl): the frames do. Only a few calls are
 * restarted so (kernel, restart_block). */
static const char *restarted_name(struct wait_context *context, uint32_t member)
{
    enum { steps_looked_at = 6 };
    static const char *const names[] = {"nanosleep", "clock_nanosleep", "poll"};
    const struct snapshot *snapshot = context->snapshot;
    const struct stack *stack = &snapshot->stacks[snapshot->members[member].stack];
    if (wait_calls_of_stack(&context->calls, snapshot->members[member].stack) != CALL_UNKNOWN)
        return "futex";
    for (uint32_t i = 0; i < stack->step_count && i < steps_looked_at; i++) {
        const struct location *location = &snapshot->locations[snapshot->steps[stack->step_first + i].location];
        struct text name = wait_call_plain_name(
            snapshot_string(snapshot, snapshot->frames[location->frame_first + location->frame_count - 1].function));
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
            if (text_equals(name, text_from_string(names[k])))
                return names[k];
    }
    return NULL;
}

static void read_member(struct wait_context *context, struct wait_futex *futex, uint32_t member)
{
    const struct arch *arch = context->image->arch;
    const struct thread *thread = &context->image->threads[member];
    struct system_call call;
    /* A call that has its result waits for nothing any more. */
    if (!thread_system_call(context->image, thread, &call) || !call.blocked)
        return;
    struct registers registers;
    arch->registers_decode(thread->registers, &registers);
    const char *name = arch->system_call_name(call.number);
    if (name != NULL && strcmp(name, "restart_syscall") == 0)
        name = restarted_name(context, member);
    if (name == NULL)
        return;
    if (strcmp(name, "futex") == 0)
        wait_futex_read(futex, context, member, &call, &registers);
    else if (strcmp(name, "futex_waitv") == 0)
        wait_futex_read_several(futex, context, member, &call, &registers);
    else
        wait_descriptor_read(context, member, name, &call);
}

void wait_facts_read(const struct image *image, struct snapshot *snapshot, const struct data_names *names,
                     struct arena *scratch, struct diagnostics *diagnostics)
{
    struct wait_context context = {.image = image, .snapshot = snapshot, .names = names, .scratch = scratch};
    struct wait_futex futex;
    wait_threads_init(&context.threads, image, scratch);
    wait_calls_init(&context.calls, snapshot, scratch);
    wait_build_init(&context.build, snapshot, scratch);
    wait_futex_init(&futex, scratch);
    for (size_t i = 0; i < snapshot->member_count; i++)
        read_member(&context, &futex, (uint32_t)i);
    wait_futex_finish(&futex, &context);
    wait_infer_holders(&context);
    wait_build_finish(&context.build);
    if (context.unreadable != 0)
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "owner-unreadable", TEXT(""),
                        "%" PRIu64
                        " locks that threads wait for have no bytes in the memory at hand: their holders stay "
                        "unknown",
                        context.unreadable)
            ->count = context.unreadable;
}
