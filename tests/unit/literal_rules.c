/* SPDX-License-Identifier: Apache-2.0 */
#include "literal_rules.h"

#include "group/group.h"

#include <stdio.h>
#include <stdlib.h>

void rules_test_init(struct rules_test *test)
{
    *test = (struct rules_test){.set = NULL};
    literal_init(&test->literal);
    arena_init(&test->scratch, 0, NULL);
}

void rules_test_deinit(struct rules_test *test)
{
    rule_set_release(test->set);
    arena_deinit(&test->scratch);
    literal_deinit(&test->literal);
}

static uint32_t call_add(struct rules_test *test, const char *call, size_t length)
{
    char *text = arena_printf(&test->literal.arena, "%.*s", (int)length, call);
    char *colon = strrchr(text, ':'), *space = NULL;
    uint32_t line = 0;
    char *end = NULL;
    if (colon != NULL && colon[1] >= '0' && colon[1] <= '9') {
        line = (uint32_t)strtoul(colon + 1, &end, 10);
        space = *end == '\0' ? strrchr(text, ' ') : NULL;
    }
    if (space != NULL)
        *space = *colon = '\0';
    uint64_t pc = 0x1000 + 16 * test->literal.snapshot.location_count;
    uint32_t location = literal_location(&test->literal, pc, false, index_none, 16 * (uint64_t)line);
    literal_frame(&test->literal, text[0] == '?' ? NULL : text, space == NULL ? NULL : space + 1, line, false);
    return location;
}

struct member *rules_test_mass(struct rules_test *test, uint32_t count, const char *state, const char *calls)
{
    uint32_t locations[64];
    size_t call_count = 0;
    for (const char *at = calls; at != NULL && call_count < 64;) {
        const char *next = strstr(at, " < ");
        locations[call_count++] = call_add(test, at, next == NULL ? strlen(at) : (size_t)(next - at));
        at = next == NULL ? NULL : next + 3;
    }
    uint32_t stack = literal_stack(&test->literal, STACK_END_OUTERMOST, 0);
    for (size_t i = 0; i < call_count; i++)
        literal_step(&test->literal, locations[i], TRUST_TOLD);
    struct snapshot *snapshot = &test->literal.snapshot;
    uint64_t total = snapshot->total;
    struct member *member = literal_member(&test->literal, 0, stack, state, -1);
    member->count = count;
    snapshot->total = snapshot->total_claimed = total + count;
    return member;
}

void rules_test_wait(struct rules_test *test, enum wait_kind kind, uint64_t address)
{
    struct snapshot *snapshot = &test->literal.snapshot;
    struct member *member = &snapshot->members[snapshot->member_count - 1];
    uint32_t number = 0;
    while (number < snapshot->resource_count &&
           (snapshot->resources[number].kind != kind || snapshot->resources[number].address != address))
        number++;
    if (number == snapshot->resource_count) {
        struct resource *resources = arena_array(&test->literal.arena, struct resource, number + 1);
        for (uint32_t i = 0; i < number; i++)
            resources[i] = snapshot->resources[i];
        resources[number] =
            (struct resource){.kind = kind, .address = address, .learnt = LEARNT_READ, .holder = HOLDER_NEVER};
        snapshot->resources = resources;
        snapshot->resource_count++;
    }
    struct wait *waits = arena_array(&test->literal.arena, struct wait, snapshot->wait_count + 1);
    for (size_t i = 0; i < snapshot->wait_count; i++)
        waits[i] = snapshot->waits[i];
    waits[snapshot->wait_count] =
        (struct wait){.member = (uint32_t)snapshot->member_count - 1, .resource = number, .learnt = LEARNT_READ};
    snapshot->waits = waits;
    if (member->wait_count++ == 0)
        member->wait_first = (uint32_t)snapshot->wait_count;
    snapshot->wait_count++;
    snapshot->resources[number].waiters += member->count;
}

void rules_test_run(struct rules_test *test, const char *rules)
{
    struct arena *arena = &test->literal.arena;
    test->grouping =
        group_snapshot(&test->literal.snapshot, &(struct group_options){.by = GROUP_BY_LINE}, arena, &test->scratch);
    const char *file = arena_printf(arena,
                                    "plugin: test\nversion: 1\n"
                                    "machinery: ['^(pthread_cond_wait|read)$']\nrules:\n%s",
                                    rules);
    struct rule_file *parsed = arena_new(arena, struct rule_file);
    *parsed = rule_file_parse(TEXT("test.yaml"), text_from_string(file), arena);
    test->set = rule_set_new(arena);
    bool added = rule_set_add(test->set, parsed, TEXT(""));
    for (size_t i = 0; i < parsed->error_count; i++)
        fprintf(stderr, "%s\n", rule_file_error_text(parsed, i, arena));
    if (!added || parsed->error_count != 0)
        abort();
    test->findings = detect_run(test->set, &test->literal.snapshot, &test->grouping, &(struct detect_options){0}, arena,
                                &test->scratch, &test->literal.diagnostics);
}

const char *rules_test_key(const struct rules_test *test, size_t finding, const char *name)
{
    const struct finding *found = &test->findings.entries[finding];
    for (size_t i = 0; i < found->key_count; i++)
        if (strcmp(found->keys[i].name, name) == 0)
            return text_copy((struct arena *)&test->literal.arena, found->keys[i].value).data;
    return "";
}

bool rules_test_says(const struct rules_test *test, size_t finding, const char *words)
{
    const struct finding *found = &test->findings.entries[finding];
    for (size_t i = 0; i < found->evidence_count; i++)
        if (memmem(found->evidence[i].data, found->evidence[i].length, words, strlen(words)) != NULL)
            return true;
    rules_test_print(test);
    return false;
}

uint64_t rules_test_role(const struct rules_test *test, size_t finding, const char *role)
{
    const struct finding *found = &test->findings.entries[finding];
    uint64_t members = 0;
    for (size_t i = 0; i < found->group_count; i++)
        if (strcmp(found->groups[i].role, role) == 0)
            members += found->groups[i].members;
    return members;
}

void rules_test_print(const struct rules_test *test)
{
    for (size_t i = 0; i < test->findings.count; i++) {
        const struct finding *finding = &test->findings.entries[i];
        fprintf(stderr, "%s %s: %.*s\n", severity_name(finding->severity), confidence_name(finding->confidence),
                (int)finding->title.length, finding->title.data);
        for (size_t j = 0; j < finding->evidence_count; j++)
            fprintf(stderr, "  %.*s\n", (int)finding->evidence[j].length, finding->evidence[j].data);
    }
}
