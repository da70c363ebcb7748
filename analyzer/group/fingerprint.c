/* SPDX-License-Identifier: Apache-2.0 */
#include "group/fingerprint.h"

#include "base/name.h"

#include <inttypes.h>
#include <sha256.h>
#include <stdio.h>

/* Internal functions of glibc and musl between a public call (pthread_cond_wait, sem_wait, read) and the kernel. Which
 * of them show depends on the build and on debug info, so they say nothing about the stack. Compared without leading
 * underscores and GI_. */
static const char *const machinery_prefixes[] = {
    "futex_", "lll_", "syscall_cancel", "internal_syscall_cancel", "syscall_cp", "timedwait", "do_futex_wait",
    "pthread_cond_wait_common", "new_sem_wait_slow",
};

static bool is_wait_machinery(struct text name)
{
    while (name.length != 0 && name.data[0] == '_')
        name.data++, name.length--;
    if (text_starts_with(name, TEXT("GI_")))
        name.data += 3, name.length -= 3;
    while (name.length != 0 && name.data[0] == '_')
        name.data++, name.length--;
    for (size_t i = 0; i < sizeof machinery_prefixes / sizeof machinery_prefixes[0]; i++)
        if (text_starts_with(name, text_from_string(machinery_prefixes[i])))
            return true;
    return false;
}

/* The real function of a step; false when it has no name. */
static bool step_name(const struct snapshot *snapshot, const struct step *step, struct text *ret_name)
{
    const struct location *location = &snapshot->locations[step->location];
    const struct frame *frame = &snapshot->frames[location->frame_first + location->frame_count - 1];
    *ret_name = name_normalise(snapshot_string(snapshot, frame->function));
    return frame->function != 0;
}

void fingerprint_stack(const struct snapshot *snapshot, const struct stack *stack, char ret_digits[static 17])
{
    const struct step *steps = snapshot->steps + stack->step_first;
    uint32_t first = 0;
    struct text name;
    while (first < stack->step_count && step_name(snapshot, &steps[first], &name) && is_wait_machinery(name))
        first++;
    if (first == stack->step_count)
        first = 0;
    SHA2_CTX context;
    SHA256Init(&context);
    for (uint32_t i = first; i < stack->step_count; i++) {
        if (i != first)
            SHA256Update(&context, (const uint8_t *)"\n", 1);
        if (step_name(snapshot, &steps[i], &name)) {
            SHA256Update(&context, (const uint8_t *)name.data, name.length);
            continue;
        }
        const struct location *location = &snapshot->locations[steps[i].location];
        if (location->module != index_none) {
            name = text_basename(snapshot->modules[location->module].path);
            SHA256Update(&context, (const uint8_t *)name.data, name.length);
        }
        char offset[32];
        int length = snprintf(offset, sizeof offset, "+0x%" PRIx64, location->offset);
        SHA256Update(&context, (const uint8_t *)offset, (size_t)length);
    }
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256Final(digest, &context);
    for (size_t i = 0; i < 8; i++)
        snprintf(ret_digits + 2 * i, 3, "%02x", digest[i]);
}
