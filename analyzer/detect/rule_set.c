/* SPDX-License-Identifier: Apache-2.0 */
#include "detect/rule_set.h"
#include "base/limits.h"

struct compiling {
    struct rule_set *set;
    struct rule_file *file;
    struct compiled_rule *rule; /* NULL: of no rule */
};

struct rule_set *rule_set_new(struct arena *arena)
{
    struct rule_set *set = arena_new(arena, struct rule_set);
    set->arena = arena;
    intern_table_init(&set->expressions, arena); /* its number 0 is the empty text, no expression */
    set->patterns = arena_grow(arena, NULL, 0, &set->pattern_capacity, sizeof *set->patterns);
    set->pattern_count = 1;
    /* Last: part of it is not the arena's, and lost if that is exhausted before the set is the caller's. */
    set->matcher = pattern_matcher_new(arena);
    return set;
}

void rule_set_release(struct rule_set *set)
{
    if (set == NULL)
        return;
    for (size_t i = 0; i < set->pattern_count; i++)
        pattern_release(set->patterns[i].pattern);
    set->pattern_count = 0;
    pattern_matcher_release(set->matcher);
}

static void add_capture_names(struct compiling *compiling, const struct pattern *pattern)
{
    struct compiled_rule *rule = compiling->rule;
    for (size_t i = 0; i < pattern_name_count(pattern) && rule != NULL; i++) {
        const char *name = pattern_name(pattern, i);
        bool is_known = false;
        for (size_t j = 0; j < rule->capture_count && !is_known; j++)
            is_known = strcmp(rule->capture_names[j], name) == 0;
        if (is_known)
            continue;
        const char **names = arena_array(compiling->set->arena, const char *, rule->capture_count + 1);
        for (size_t j = 0; j < rule->capture_count; j++)
            names[j] = rule->capture_names[j];
        names[rule->capture_count++] = name;
        rule->capture_names = names;
    }
}

/* The pattern's number; one that does not compile is told where it stands, as often as it does. */
static uint32_t compile_pattern(struct compiling *compiling, const struct rule_pattern *source, enum name_kind kind)
{
    struct rule_set *set = compiling->set;
    size_t length = source->expression.length;
    char *key = arena_alloc(set->arena, length + 1, 1);
    key[0] = (char)('0' + kind);
    memcpy(key + 1, source->expression.data, length);
    uint32_t number = intern_table_add(&set->expressions, (struct text){key, length + 1});
    if (number == set->pattern_count) {
        set->patterns =
            arena_grow(set->arena, set->patterns, set->pattern_count, &set->pattern_capacity, sizeof *set->patterns);
        set->patterns[set->pattern_count++] = (struct compiled_pattern){.kind = kind};
    }
    struct compiled_pattern *compiled = &set->patterns[number];
    struct pattern_fault fault;
    if (compiled->pattern == NULL &&
        pattern_compile_shared(set->arena, set->matcher, source->expression, &compiled->pattern, &fault))
        compiled->literals = pattern_literals(source->expression, set->arena, &compiled->literal_count);
    if (compiled->pattern != NULL)
        add_capture_names(compiling, compiled->pattern);
    else
        rule_file_add_error(compiling->file, set->arena, rule_pattern_place(source, fault.offset), "%s, in '%s'",
                            fault.reason, source->expression.data);
    return number;
}

static struct compiled_patterns compile_patterns(struct compiling *compiling, const struct rule_patterns *source,
                                                 enum name_kind of_names)
{
    static const enum name_kind kinds[] = {
        [RULE_FIELD_FUNCTION] = NAME_FUNCTION, [RULE_FIELD_FILE] = NAME_FILE, [RULE_FIELD_MODULE] = NAME_MODULE};
    struct compiled_patterns compiled = {
        .source = source->items,
        .numbers = arena_array(compiling->set->arena, uint32_t, source->count),
        .count = source->count,
    };
    for (size_t i = 0; i < source->count; i++)
        compiled.numbers[i] = compile_pattern(compiling, &source->items[i],
                                              of_names == NAME_FUNCTION ? kinds[source->items[i].field] : of_names);
    return compiled;
}

static void compile_waits_on(struct compiling *compiling, struct rule_match *match)
{
    const char *names[WAIT_KIND_COUNT];
    for (int kind = WAIT_UNKNOWN; kind < WAIT_KIND_COUNT; kind++)
        names[kind] = wait_kind_name((enum wait_kind)kind);
    match->waits_on = 0;
    for (size_t i = 0; i < match->waits_on_word_count; i++) {
        const struct rule_word *word = &match->waits_on_words[i];
        enum wait_kind kind = wait_kind_find(word->text.data, word->text.length);
        if (kind != WAIT_KIND_COUNT) {
            match->waits_on |= (uint32_t)1 << kind;
            continue;
        }
        const char *nearest = rule_word_nearest(word->text, names + 1, WAIT_KIND_COUNT - 1);
        if (nearest != NULL)
            rule_file_add_error(compiling->file, compiling->set->arena, word->place,
                                "nothing waits on '%.64s'; did you mean '%s'?", word->text.data, nearest);
        else
            rule_file_add_error(compiling->file, compiling->set->arena, word->place,
                                "nothing waits on '%.64s'; 'waits-on' knows mutex, rwlock, cond, join, socket …",
                                word->text.data);
    }
}

static struct compiled_match compile_match(struct compiling *compiling, struct rule_match *match)
{
    compile_waits_on(compiling, match);
    return (struct compiled_match){
        .leaf = compile_patterns(compiling, &match->leaf, NAME_FUNCTION),
        .stack = compile_patterns(compiling, &match->stack, NAME_FUNCTION),
        .any = compile_patterns(compiling, &match->any, NAME_FUNCTION),
        .none = compile_patterns(compiling, &match->none, NAME_FUNCTION),
        .root = compile_patterns(compiling, &match->root, NAME_FUNCTION),
        .state = compile_patterns(compiling, &match->state, NAME_STATE),
        .creator = compile_patterns(compiling, &match->creator, NAME_CREATOR),
        .waits_on = match->waits_on,
        .waited_seconds = match->waited_seconds,
    };
}

static void check_by(struct compiling *compiling, const struct compiled_rule *rule)
{
    static const char *const words[] = {"resource", "function", "creator", "group"};
    enum { word_count = sizeof words / sizeof words[0] };
    if (rule->source->by_count > limit_rule_by)
        rule_file_add_error(compiling->file, compiling->set->arena, rule->source->by_places[limit_rule_by],
                            "'by' has more than %d keys", limit_rule_by);
    /* A named group can stand in an expression that was refused. */
    for (size_t i = 0; i < rule->source->by_count && compiling->file->error_count == 0; i++) {
        struct text by = rule->source->by[i];
        bool is_known = false;
        for (size_t j = 0; j < word_count && !is_known; j++)
            is_known = text_equals(by, text_from_string(words[j]));
        for (size_t j = 0; j < rule->capture_count && !is_known; j++)
            is_known = text_equals(by, text_from_string(rule->capture_names[j]));
        if (!is_known)
            rule_file_add_error(compiling->file, compiling->set->arena, rule->source->by_places[i],
                                "'by' splits by resource, function, creator, group or a named group '(?<name>…)' of the"
                                " rule's expressions; there is no '%.64s'",
                                by.data);
    }
}

static struct compiled_rule *compile_rule(struct compiling *compiling, struct rule *source, struct text runbook_folder)
{
    struct arena *arena = compiling->set->arena;
    struct compiled_rule *rule = arena_new(arena, struct compiled_rule);
    const struct rule_file *file = compiling->file;
    compiling->rule = rule;
    rule->source = source;
    rule->plugin = file->plugin;
    rule->path = file->path;
    rule->id = text_from_string(arena_printf(arena, "%.*s/%.*s", (int)file->plugin.length, file->plugin.data,
                                             (int)source->id.length, source->id.data));
    if (runbook_folder.length != 0 && source->runbook.length != 0)
        rule->runbook_path = text_from_string(arena_printf(arena, "%.*s/%s", (int)runbook_folder.length,
                                                           runbook_folder.data, source->runbook.data));
    rule->match = compile_match(compiling, &source->match);
    rule->acquire = compile_patterns(compiling, &source->acquire, NAME_FUNCTION);
    rule->keeps = compile_patterns(compiling, &source->keeps, NAME_FUNCTION);
    rule->hold = compile_patterns(compiling, &source->hold, NAME_FUNCTION);
    rule->creates = compile_patterns(compiling, &source->creates, NAME_FUNCTION);
    rule->less = compile_patterns(compiling, &source->less, NAME_FUNCTION);
    check_by(compiling, rule);
    rule->head = compile_match(compiling, &source->head);
    compiling->rule = NULL;
    return rule;
}

bool rule_set_add(struct rule_set *set, struct rule_file *file, struct text runbook_folder)
{
    struct compiling compiling = {.set = set, .file = file};
    struct compiled_rule **rules = arena_array(set->arena, struct compiled_rule *, file->rule_count);
    for (size_t i = 0; i < file->rule_count; i++)
        rules[i] = compile_rule(&compiling, &file->rules[i], runbook_folder);
    struct compiled_patterns machinery = compile_patterns(&compiling, &file->machinery, NAME_FUNCTION);
    if (file->error_count != 0)
        return false;
    for (size_t i = 0; i < file->rule_count; i++) {
        rules[i]->number = (uint32_t)set->rule_count;
        set->rules = arena_grow(set->arena, set->rules, set->rule_count, &set->rule_capacity, sizeof *set->rules);
        set->rules[set->rule_count++] = rules[i];
    }
    if (machinery.count != 0) {
        set->machinery = arena_grow(set->arena, set->machinery, set->machinery_count, &set->machinery_capacity,
                                    sizeof *set->machinery);
        set->machinery[set->machinery_count++] = (struct machinery){machinery, file->plugin};
    }
    set->plugins = arena_grow(set->arena, set->plugins, set->plugin_count, &set->plugin_capacity, sizeof *set->plugins);
    set->plugins[set->plugin_count++] = file->plugin;
    return true;
}

size_t rule_set_count(const struct rule_set *set)
{
    return set->rule_count;
}

struct text rule_set_id(const struct rule_set *set, size_t number)
{
    return set->rules[number]->id;
}

const struct rule *rule_set_rule(const struct rule_set *set, size_t number)
{
    return set->rules[number]->source;
}

struct text rule_set_path(const struct rule_set *set, size_t number)
{
    return set->rules[number]->path;
}

struct text rule_set_runbook_path(const struct rule_set *set, size_t number)
{
    return set->rules[number]->runbook_path;
}

bool rule_set_has_plugin(const struct rule_set *set, struct text plugin)
{
    for (size_t i = 0; i < set->plugin_count; i++)
        if (text_equals(set->plugins[i], plugin))
            return true;
    return false;
}

bool rule_set_selects(const struct rule_set *set, size_t number, const char *only)
{
    const struct compiled_rule *rule = set->rules[number];
    struct text wanted = text_from_string(only);
    return only == NULL || text_equals(wanted, rule->id) || text_equals(wanted, rule->plugin) ||
           text_equals(wanted, rule->source->id);
}
