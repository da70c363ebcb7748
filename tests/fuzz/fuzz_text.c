/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a dump of stacks: the line readers alone, each whatever the text begins with, then the whole reader with
 * the facts about waits. As fuzz_core.c. */
#include "base/limits.h"
#include "format/heap_text.h"
#include "format/stack_text.h"
#include "format/thread_text.h"
#include "source/source_text.h"
#include "waits/wait_dump.h"

#include <setjmp.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void read_comment(struct text text)
{
    struct thread_waits waits;
    struct thread_comment comment = thread_comment_parse(text);
    uint64_t id;
    int32_t fd;
    while (thread_id_next(&comment.text, &id))
        continue;
    thread_state_split(comment.text, &fd);
    thread_waits_parse(text, &waits);
}

static void read_lines(struct text text)
{
    struct profile_text profile;
    struct profile_item item;
    profile_text_init(&profile, text);
    for (profile_text_next(&profile, &item); item.kind != PROFILE_ITEM_END; profile_text_next(&profile, &item)) {
        uint64_t address, count = 0;
        if (item.kind == PROFILE_ITEM_COMMENT)
            read_comment(item.text);
        while (item.kind == PROFILE_ITEM_GROUP && profile_address_next(&item.text, &address))
            count++;
        check(item.kind != PROFILE_ITEM_GROUP || (count != 0 && item.text.length == 0));
    }
    struct heap_text heap;
    struct heap_item record;
    heap_text_init(&heap, text);
    do
        heap_text_next(&heap, &record);
    while (record.kind != HEAP_ITEM_END);
    struct stack_text stacks;
    struct stack_item line;
    stack_text_init(&stacks, text);
    for (stack_text_next(&stacks, &line); line.kind != STACK_ITEM_END; stack_text_next(&stacks, &line)) {
        uint64_t value;
        struct text symbol;
        check(line.offset < text.length);
        stack_argument_find(line.arguments, TEXT("mutex"), &value, &symbol);
    }
    struct goroutine_text trace;
    struct goroutine_item call;
    goroutine_text_init(&trace, text);
    for (goroutine_text_next(&trace, &call); call.kind != GOROUTINE_ITEM_END; goroutine_text_next(&trace, &call)) {
        struct goroutine_place place;
        struct text key, value;
        uint64_t argument;
        bool uncertain;
        goroutine_place_parse(call.place, &place);
        while (goroutine_argument_next(&call.arguments, &argument, &uncertain))
            continue;
        while (goroutine_label_next(&call.header.labels, &key, &value))
            continue;
    }
}

/* Every index of the model leads somewhere. */
static void check_snapshot(const struct snapshot *snapshot)
{
    uint64_t total = 0;
    for (size_t i = 0; i < snapshot->member_count; i++) {
        const struct member *member = &snapshot->members[i];
        total += member->count;
        check(member->stack < snapshot->stack_count && member->state < snapshot->strings.count);
        check(member->wait_first + (size_t)member->wait_count <= snapshot->wait_count);
    }
    check(total == snapshot->total && total <= UINT32_MAX && snapshot->total_claimed >= total);
    for (size_t i = 0; i < snapshot->stack_count; i++)
        check(snapshot->stacks[i].step_first + (size_t)snapshot->stacks[i].step_count <= snapshot->step_count);
    for (size_t i = 0; i < snapshot->step_count; i++)
        check(snapshot->steps[i].location < snapshot->location_count);
    for (size_t i = 0; i < snapshot->location_count; i++) {
        const struct location *location = &snapshot->locations[i];
        check(location->frame_count != 0 &&
              location->frame_first + (size_t)location->frame_count <= snapshot->frame_count);
        check(location->module == index_none || location->module < snapshot->module_count);
    }
    for (size_t i = 0; i < snapshot->wait_count; i++)
        check(snapshot->waits[i].member < snapshot->member_count &&
              snapshot->waits[i].resource < snapshot->resource_count);
    for (size_t i = 0; i < snapshot->hold_count; i++)
        check(snapshot->holds[i].member < snapshot->member_count &&
              snapshot->holds[i].resource < snapshot->resource_count);
}

static void read_text(struct text text)
{
    jmp_buf exhausted;
    struct arena keep, scratch;
    struct diagnostics diagnostics;
    struct snapshot snapshot;
    struct text_source source = {0};
    struct text_options options = {.path = "text", .bytes = text.data, .length = text.length};
    arena_init(&keep, (size_t)256 << 20, &exhausted);
    arena_init(&scratch, (size_t)256 << 20, &exhausted);
    if (setjmp(exhausted) == 0) {
        diagnostics_init(&diagnostics, &keep);
        if (source_text_read(&options, &source, &snapshot, &keep, &scratch, &diagnostics) == NULL) {
            wait_dump_read(&snapshot, &scratch, &diagnostics);
            check_snapshot(&snapshot);
        }
    }
    arena_deinit(&keep);
    arena_deinit(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    struct text text = {(const char *)bytes, size_bytes};
    read_lines(text);
    read_text(text);
    return 0;
}
