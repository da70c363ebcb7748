/* SPDX-License-Identifier: Apache-2.0 */
#include "stackgroup.h"

#include "base/limits.h"
#include "plugin_search.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

struct sg_rules {
    struct arena arena;
    jmp_buf exhausted;
    struct diagnostics diagnostics;
    struct plugin_faults faults;
    struct rule_set *set;
    char error[1200];
};

struct sg_rules *sg_rules_new(void)
{
    struct sg_rules *rules = calloc(1, sizeof *rules);
    if (rules != NULL)
        arena_init(&rules->arena, limit_arena_bytes, &rules->exhausted);
    return rules;
}

void sg_rules_free(struct sg_rules *rules)
{
    if (rules == NULL)
        return;
    rule_set_release(rules->set);
    arena_deinit(&rules->arena);
    free(rules);
}

enum sg_status sg_rules_load(struct sg_rules *rules, const struct sg_options *options, bool alone)
{
    if (rules->set != NULL) {
        snprintf(rules->error, sizeof rules->error, "rules are read once");
        return SG_USAGE;
    }
    if (setjmp(rules->exhausted) != 0) {
        snprintf(rules->error, sizeof rules->error, "the rules need too much memory");
        return SG_LIMIT;
    }
    struct plugin_options plugins = {
        .paths = options->plugins,
        .path_count = options->plugin_count,
        .no_search = alone || options->no_plugin_search,
        .no_builtin = alone,
    };
    diagnostics_init(&rules->diagnostics, &rules->arena);
    rules->set = rule_set_new(&rules->arena);
    const struct error *error =
        plugin_search_load(&plugins, rules->set, &rules->arena, &rules->diagnostics, &rules->faults);
    if (error == NULL)
        return SG_OK;
    snprintf(rules->error, sizeof rules->error, "%s", error->message);
    return SG_INPUT;
}

const char *sg_rules_error(const struct sg_rules *rules)
{
    return rules->error;
}

static size_t count_rules(const struct sg_rules *rules)
{
    return rules->set == NULL ? 0 : rule_set_count(rules->set);
}

static const char *string_of(struct text text)
{
    return text.length == 0 ? "" : text.data;
}

bool sg_rules_rule(const struct sg_rules *rules, size_t number, struct sg_rule *ret_rule)
{
    static const char *const severities[] = {
        [RULE_SEVERITY_UNKNOWN] = "unknown", [RULE_INFO] = "info", [RULE_WARNING] = "warning", [RULE_CRITICAL] = "critical"};
    static const char *const members[] = {
        [RULE_FOR_ANY] = "any", [RULE_FOR_THREADS] = "threads", [RULE_FOR_GOROUTINES] = "goroutines"};
    if (number >= count_rules(rules))
        return false;
    const struct rule *rule = rule_set_rule(rules->set, number);
    *ret_rule = (struct sg_rule){
        .id = string_of(rule_set_id(rules->set, number)),
        .path = string_of(rule_set_path(rules->set, number)),
        .severity = severities[rule->severity],
        .detector = rule_detector_name(rule->detector),
        .members = members[rule->members],
        .title = string_of(rule->title),
        .advice = string_of(rule->advice),
        .runbook = string_of(rule->runbook),
        .line = rule->place.line,
        .example_count = rule->example_count,
    };
    return true;
}

bool sg_rules_example(const struct sg_rules *rules, size_t rule, size_t number, struct sg_example *ret_example)
{
    if (rule >= count_rules(rules) || number >= rule_set_rule(rules->set, rule)->example_count)
        return false;
    const struct rule_example *example = &rule_set_rule(rules->set, rule)->examples[number];
    *ret_example = (struct sg_example){example->is_silent, example->dump.data, example->dump.length, example->place.line};
    return true;
}

bool sg_rules_selects(const struct sg_rules *rules, size_t number, const char *name)
{
    return number < count_rules(rules) && rule_set_selects(rules->set, number, name);
}

const char *sg_rules_page(struct sg_rules *rules, size_t number)
{
    enum { page_bytes_max = 1 << 20 };
    if (number >= count_rules(rules) || setjmp(rules->exhausted) != 0)
        return NULL;
    const struct rule *rule = rule_set_rule(rules->set, number);
    struct text path = rule_set_runbook_path(rules->set, number), page;
    if (rule->runbook.length == 0)
        return NULL;
    if (path.length == 0) {
        page = plugin_search_builtin_page(rule->runbook);
        return page.length == 0 ? NULL : page.data;
    }
    return plugin_search_read_file(path.data, page_bytes_max, &rules->arena, &page) == 0 ? page.data : NULL;
}

bool sg_page(size_t number, const char **ret_name, const char **ret_text)
{
    struct text page = plugin_search_builtin_page_at(number, ret_name);
    *ret_text = page.data;
    return page.length != 0;
}

const char *sg_rules_fault(const struct sg_rules *rules, size_t number)
{
    for (size_t i = 0; i < rules->faults.count; i++) {
        if (number < rules->faults.entries[i].error_count)
            return rules->faults.entries[i].errors[number];
        number -= rules->faults.entries[i].error_count;
    }
    return NULL;
}
