/* SPDX-License-Identifier: Apache-2.0 */
#include "detect/detection.h"

#include "base/name.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

void detection_init(struct detection *detection)
{
    const struct snapshot *snapshot = detection->snapshot;
    struct arena *scratch = detection->scratch;
    detection->matches = arena_array(scratch, struct name_matches, detection->set->pattern_count);
    detection->stacks = arena_array(scratch, struct stack_facts, snapshot->stack_count);
    detection->results = arena_array(scratch, struct match_results, detection->set->rule_count);
    detection->head_results = arena_array(scratch, struct match_results, detection->set->rule_count);
    detection->captures = arena_array(scratch, struct capture_list *, detection->set->rule_count);
    detection->group_entries = arena_array(scratch, uint32_t, detection->grouping->group_count_all);
    detection->group_stamps = arena_array(scratch, uint32_t, detection->grouping->group_count_all);
}

const struct program *detection_program(const struct detection *detection)
{
    return detection->program;
}

const struct snapshot *detection_snapshot(const struct detection *detection)
{
    return detection->snapshot;
}

const struct grouping *detection_grouping(const struct detection *detection)
{
    return detection->grouping;
}

struct arena *detection_arena(struct detection *detection)
{
    return detection->arena;
}

struct arena *detection_scratch(struct detection *detection)
{
    return detection->scratch;
}

void detection_note(struct detection *detection, const char *code, const char *text)
{
    diagnostics_add(detection->diagnostics, DIAGNOSTIC_NOTE, code, TEXT(""), "%s", text)->count = 1;
}

const struct rule *compiled_rule_source(const struct compiled_rule *rule)
{
    return rule->source;
}

void **detection_slot(struct detection *detection, enum rule_detector kind)
{
    return &detection->slots[kind];
}

const struct name_matches *detection_name_matches(struct detection *detection, uint32_t number)
{
    struct name_matches *matches = &detection->matches[number];
    const struct compiled_pattern *compiled = &detection->set->patterns[number];
    struct name_table *table = &detection->names[compiled->kind];
    if (!matches->is_made) {
        if (!table->is_made)
            name_table_make(table, detection->snapshot, compiled->kind, detection->scratch);
        name_matches_make(matches, table, compiled->pattern, compiled->literals, compiled->literal_count,
                          detection->scratch);
    }
    return matches;
}

bool detection_pattern_matches(struct detection *detection, uint32_t number, const struct stack_frame *stack_frame)
{
    const struct name_matches *matches = detection_name_matches(detection, number);
    if (matches->names == NULL)
        return false;
    const struct frame *frame = &detection->snapshot->frames[stack_frame->frame];
    enum name_kind kind = detection->set->patterns[number].kind;
    uint32_t string = kind == NAME_FUNCTION ? frame->function
                      : kind == NAME_FILE   ? frame->file
                                            : detection->snapshot->locations[stack_frame->location].module;
    return string != index_none && name_matches_has(matches, &detection->names[kind], string);
}

bool detection_pattern_matches_string(struct detection *detection, uint32_t number, uint32_t string)
{
    const struct name_matches *matches = detection_name_matches(detection, number);
    return name_matches_has(matches, &detection->names[detection->set->patterns[number].kind], string);
}

const struct stack_frame *detection_frames(struct detection *detection, uint32_t stack, size_t *ret_count)
{
    struct stack_facts *facts = &detection->stacks[stack];
    if (!facts->has_frames) {
        facts->has_frames = true;
        facts->frames = snapshot_stack_frames(detection->snapshot, &detection->snapshot->stacks[stack],
                                              detection->scratch, &facts->frame_count);
    }
    *ret_count = facts->frame_count;
    return facts->frames;
}

/* One set of bits for the functions of all plugins; those by file or module are asked one by one. */
static void make_machinery(struct detection *detection)
{
    struct rule_set *set = detection->set;
    detection->has_machinery = true;
    for (size_t i = 0; i < set->machinery_count; i++) {
        const struct compiled_patterns *patterns = &set->machinery[i].patterns;
        for (size_t j = 0; j < patterns->count; j++) {
            if (patterns->source[j].field != RULE_FIELD_FUNCTION)
                continue;
            const struct name_matches *matches = detection_name_matches(detection, patterns->numbers[j]);
            size_t words = detection->names[NAME_FUNCTION].count / 64 + 1;
            if (matches->names == NULL)
                continue;
            if (detection->machinery_functions == NULL)
                detection->machinery_functions = arena_array(detection->scratch, uint64_t, words);
            for (size_t word = 0; word < words; word++)
                detection->machinery_functions[word] |= matches->names[word];
        }
    }
}

static bool is_machinery(struct detection *detection, const struct stack_frame *frame)
{
    struct rule_set *set = detection->set;
    struct name_matches functions = {.names = detection->machinery_functions};
    uint32_t function = detection->snapshot->frames[frame->frame].function;
    /* Go's text form names no function of the runtime (formats.md). */
    if (function == 0 && detection->snapshot->kind == PROFILE_GOROUTINES)
        return true;
    if (name_matches_has(&functions, &detection->names[NAME_FUNCTION], function))
        return true;
    for (size_t i = 0; i < set->machinery_count; i++) {
        const struct compiled_patterns *patterns = &set->machinery[i].patterns;
        for (size_t j = 0; j < patterns->count; j++)
            if (patterns->source[j].field != RULE_FIELD_FUNCTION &&
                detection_pattern_matches(detection, patterns->numbers[j], frame))
                return true;
    }
    return false;
}

static uint32_t module_of(const struct detection *detection, const struct stack_frame *frame)
{
    return detection->snapshot->locations[frame->location].module;
}

/* How many frames from `at` on are machinery: that one; or, of a library whose own functions have no names (libc without
 * its debug file), those that one of its machinery called. 0: it is none. */
static size_t machinery_run(struct detection *detection, const struct stack_frame *frames, size_t count, size_t at)
{
    if (is_machinery(detection, &frames[at]))
        return 1;
    uint32_t module = module_of(detection, &frames[at]);
    size_t end = at;
    while (end < count && detection->snapshot->frames[frames[end].frame].function == 0 && module != index_none &&
           module_of(detection, &frames[end]) == module)
        end++;
    return end != at && end < count && module_of(detection, &frames[end]) == module &&
                   is_machinery(detection, &frames[end])
               ? end - at + 1
               : 0;
}

/* A stack of nothing else is not passed over whole: then none of it is. */
size_t detection_machinery(struct detection *detection, uint32_t stack)
{
    struct stack_facts *facts = &detection->stacks[stack];
    if (!facts->has_machinery) {
        size_t frame_count;
        const struct stack_frame *frames = detection_frames(detection, stack, &frame_count);
        if (!detection->has_machinery)
            make_machinery(detection);
        facts->has_machinery = true;
        for (size_t run; facts->machinery < frame_count &&
                         (run = machinery_run(detection, frames, frame_count, facts->machinery)) != 0;)
            facts->machinery += run;
        facts->root = frame_count;
        while (facts->root > facts->machinery && is_machinery(detection, &frames[facts->root - 1]))
            facts->root--;
        if (facts->machinery == frame_count) {
            facts->machinery = 0;
            facts->root = frame_count;
        }
    }
    return facts->machinery;
}

size_t detection_root(struct detection *detection, uint32_t stack)
{
    detection_machinery(detection, stack);
    return detection->stacks[stack].root;
}

struct text detection_call_site(struct detection *detection, uint32_t stack)
{
    struct stack_facts *facts = &detection->stacks[stack];
    if (facts->has_call_site)
        return facts->call_site;
    facts->has_call_site = true;
    size_t frame_count, first = detection_machinery(detection, stack);
    const struct stack_frame *frames = detection_frames(detection, stack, &frame_count);
    const struct snapshot *snapshot = detection->snapshot;
    if (first >= frame_count)
        return facts->call_site;
    const struct frame *frame = &snapshot->frames[frames[first].frame];
    const struct location *location = &snapshot->locations[frames[first].location];
    struct text function = snapshot_string(snapshot, frame->function);
    struct text file = text_basename(snapshot_string(snapshot, frame->file));
    function.length = name_version_start(function);
    const char *site = "";
    if (frame->function != 0 && frame->file != 0 && frame->line != 0)
        site = arena_printf(detection->arena, "%.*s at %.*s:%" PRIu32, (int)function.length, function.data,
                            (int)file.length, file.data, frame->line);
    else if (frame->function != 0)
        site = arena_printf(detection->arena, "%.*s", (int)function.length, function.data);
    else if (location->module != index_none) {
        struct text module = text_basename(snapshot->modules[location->module].path);
        site = arena_printf(detection->arena, "%.*s+0x%" PRIx64, (int)module.length, module.data, location->offset);
    } else if (location->pc != 0)
        site = arena_printf(detection->arena, "0x%" PRIx64, location->pc);
    facts->call_site = text_from_string(site);
    return facts->call_site;
}

struct text detection_member_text(struct detection *detection, uint32_t number)
{
    const struct snapshot *snapshot = detection->snapshot;
    const struct member *member = &snapshot->members[number];
    const char *word = snapshot->kind == PROFILE_GOROUTINES ? "goroutine" : "thread";
    struct text name = snapshot_string(snapshot, snapshot_thread(snapshot, member).name);
    if (member->id == 0)
        return text_from_string(arena_printf(detection->arena, "a %s", word));
    if (name.length == 0)
        return text_from_string(arena_printf(detection->arena, "%s %" PRIu64, word, member->id));
    return text_from_string(
        arena_printf(detection->arena, "%s %" PRIu64 " (%.*s)", word, member->id, (int)name.length, name.data));
}

struct text detection_resource_text(struct detection *detection, uint32_t number)
{
    const struct snapshot *snapshot = detection->snapshot;
    const struct resource *resource = &snapshot->resources[number];
    struct text name = snapshot_string(snapshot, resource->name);
    struct arena *arena = detection->arena;
    const char *kind = resource->kind == WAIT_CHANNEL_SEND || resource->kind == WAIT_CHANNEL_RECEIVE
                           ? "channel"
                           : wait_kind_name(resource->kind);
    if (resource->kind == WAIT_JOIN && resource->address != 0)
        return text_from_string(arena_printf(arena, "the end of thread %" PRIu64, resource->address));
    if (resource->kind == WAIT_CONDITION)
        kind = "condition variable";
    if (resource->address != 0 && name.length != 0)
        return text_from_string(
            arena_printf(arena, "%s 0x%" PRIx64 " (%.*s)", kind, resource->address, (int)name.length, name.data));
    if (resource->address != 0)
        return text_from_string(arena_printf(arena, "%s 0x%" PRIx64, kind, resource->address));
    if (name.length != 0)
        return text_from_string(arena_printf(arena, "%s %.*s", kind, (int)name.length, name.data));
    return text_from_string(arena_printf(arena, "a %s", kind));
}

const char *detection_count_text(struct detection *detection, uint64_t count)
{
    char digits[32], grouped[48];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, count), at = 0;
    for (int i = 0; i < length; i++) {
        if (i != 0 && (length - i) % 3 == 0)
            grouped[at++] = ',';
        grouped[at++] = digits[i];
    }
    return text_copy(detection->arena, (struct text){grouped, (size_t)at}).data;
}

const char *detection_members_word(const struct detection *detection, uint64_t count)
{
    if (detection->snapshot->kind == PROFILE_GOROUTINES)
        return count == 1 ? "goroutine" : "goroutines";
    return count == 1 ? "thread" : "threads";
}

struct finding *detection_add(struct detection *detection, const struct compiled_rule *rule)
{
    static const enum severity severities[] = {
        [RULE_SEVERITY_UNKNOWN] = SEVERITY_UNKNOWN,
        [RULE_INFO] = SEVERITY_INFO,
        [RULE_WARNING] = SEVERITY_WARNING,
        [RULE_CRITICAL] = SEVERITY_CRITICAL,
    };
    struct findings *findings = &detection->findings;
    findings->entries = arena_grow(detection->arena, findings->entries, findings->count, &findings->capacity,
                                   sizeof *findings->entries);
    struct finding *finding = &findings->entries[findings->count++];
    *finding = (struct finding){
        .rule = rule->id,
        .severity = severities[rule->source->severity],
        .advice = rule->source->advice,
        .runbook = rule->source->runbook,
        .runbook_path = rule->runbook_path,
    };
    detection->evidence_capacity = detection->group_capacity = detection->edge_capacity = detection->key_capacity = 0;
    return finding;
}

void detection_add_evidence(struct detection *detection, struct finding *finding, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *sentence = arena_alloc(detection->arena, (size_t)(length < 0 ? 0 : length) + 1, 1);
    va_start(arguments, format);
    vsnprintf(sentence, (size_t)(length < 0 ? 0 : length) + 1, format, arguments);
    va_end(arguments);
    finding->evidence = arena_grow(detection->arena, finding->evidence, finding->evidence_count,
                                   &detection->evidence_capacity, sizeof *finding->evidence);
    finding->evidence[finding->evidence_count++] = text_from_string(sentence);
}

void detection_add_key(struct detection *detection, struct finding *finding, const char *name, struct text value)
{
    finding->keys =
        arena_grow(detection->arena, finding->keys, finding->key_count, &detection->key_capacity, sizeof *finding->keys);
    finding->keys[finding->key_count++] =
        (struct finding_key){text_copy(detection->arena, text_from_string(name)).data, text_copy(detection->arena, value)};
}

void detection_add_member(struct detection *detection, struct finding *finding, uint32_t number, const char *role)
{
    const struct member *member = &detection->snapshot->members[number];
    const struct grouping *grouping = detection->grouping;
    uint32_t group = grouping->group_of_stack == NULL ? index_none : grouping->group_of_stack[member->stack];
    uint32_t stamp = (uint32_t)detection->findings.count;
    if (group == index_none)
        return;
    if (detection->group_stamps[group] == stamp) {
        struct finding_group *entry = &finding->groups[detection->group_entries[group] - 1];
        for (size_t i = finding->group_count; strcmp(entry->role, role) != 0 && i > 0; i--)
            if (finding->groups[i - 1].group == group && strcmp(finding->groups[i - 1].role, role) == 0)
                entry = &finding->groups[i - 1];
        if (strcmp(entry->role, role) == 0) {
            entry->members += member->count;
            return;
        }
    }
    finding->groups = arena_grow(detection->arena, finding->groups, finding->group_count, &detection->group_capacity,
                                 sizeof *finding->groups);
    finding->groups[finding->group_count++] = (struct finding_group){group, member->count, role};
    detection->group_stamps[group] = stamp;
    detection->group_entries[group] = (uint32_t)finding->group_count;
}

void detection_add_edge(struct detection *detection, struct finding *finding, struct finding_edge edge)
{
    finding->edges = arena_grow(detection->arena, finding->edges, finding->edge_count, &detection->edge_capacity,
                                sizeof *finding->edges);
    finding->edges[finding->edge_count++] = edge;
}

/* The value of "{name}"; data NULL when there is none such. */
static struct text placeholder_value(struct detection *detection, const struct finding *finding, struct text name)
{
    for (size_t i = 0; i < finding->key_count; i++)
        if (text_equals(name, text_from_string(finding->keys[i].name)))
            return finding->keys[i].value;
    if (text_equals(name, TEXT("members")))
        return text_from_string(detection_count_text(detection, finding->members));
    if (text_equals(name, TEXT("kind")))
        return text_from_string(detection_members_word(detection, finding->members));
    return (struct text){0};
}

void detection_set_title(struct detection *detection, struct finding *finding, const struct compiled_rule *rule,
                         const char *otherwise)
{
    struct text form = rule->source->title.length != 0 ? rule->source->title : text_from_string(otherwise);
    /* A title is short; names of a target can be any length. */
    enum { value_bytes_max = 200 };
    size_t size_bytes_max = form.length + 1;
    for (size_t i = 0; i < form.length; i++)
        size_bytes_max += form.data[i] == '{' ? value_bytes_max : 0;
    char *title = arena_alloc(detection->arena, size_bytes_max, 1), *at = title;
    for (size_t i = 0; i < form.length; i++) {
        const char *close = form.data[i] == '{' ? memchr(form.data + i, '}', form.length - i) : NULL;
        struct text name = {form.data + i + 1, close == NULL ? 0 : (size_t)(close - form.data) - i - 1};
        struct text value = close == NULL ? (struct text){0} : placeholder_value(detection, finding, name);
        if (value.data == NULL) {
            *at++ = form.data[i];
            continue;
        }
        if (value.length > value_bytes_max)
            value.length = value_bytes_max;
        at = (char *)memcpy(at, value.data, value.length) + value.length;
        i += name.length + 1;
    }
    finding->title = (struct text){title, (size_t)(at - title)};
}
