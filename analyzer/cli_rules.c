/* SPDX-License-Identifier: Apache-2.0 */
#include "cli_rules.h"
#include "base/text_writer.h"
#include "base/word.h"
#include "cli_options.h"
#include "cli_table.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CODE_DONE = 0, CODE_FAILED = 1, CODE_USAGE = 2, CODE_NO_RESULT = 3, CODE_INCOMPLETE = 4 };
enum { help_width = 12 };

struct command {
    struct sg_options options; /* plugins, rule */
    const char *plugins[cli_plugins_max];
    char **operands;
    int operand_count;
    struct sg_rules *rules;
    struct text_writer out;
};

/* Errors of the plugins, each with its line. They stand on standard error, as a compiler's do. */
static int print_faults(const struct command *command)
{
    struct text_writer errors;
    const char *fault = sg_rules_fault(command->rules, 0);
    int code = fault == NULL ? CODE_DONE : CODE_INCOMPLETE;
    text_writer_init_fd(&errors, STDERR_FILENO);
    for (size_t i = 0; (fault = sg_rules_fault(command->rules, i)) != NULL; i++) {
        for (const char *line = fault; *line != 0;) {
            size_t length = strcspn(line, "\n");
            text_writer_safe(&errors, (struct text){line, length});
            text_writer_string(&errors, "\n");
            line += length + (line[length] != 0);
        }
    }
    text_writer_finish(&errors);
    text_writer_deinit(&errors);
    return code;
}

static int load(struct command *command, bool alone)
{
    command->rules = sg_rules_new();
    if (command->rules == NULL) {
        fputs("stackgroup: out of memory\n", stderr);
        return CODE_NO_RESULT;
    }
    if (sg_rules_load(command->rules, &command->options, alone) != SG_OK) {
        fprintf(stderr, "stackgroup: %s\n", sg_rules_error(command->rules));
        return CODE_NO_RESULT;
    }
    return CODE_DONE;
}

/* Lines of a text, each behind `indent`. Tabs are kept: pages show what commands print. */
static void write_lines(struct text_writer *out, const char *text, const char *indent)
{
    bool starts = true;
    while (*text != 0) {
        size_t length = strcspn(text, "\t\n");
        if (starts && text[0] != '\n')
            text_writer_string(out, indent);
        text_writer_safe(out, (struct text){text, length});
        starts = text[length] != '\t';
        text_writer_string(out, starts ? "\n" : "\t");
        text += length + (text[length] != 0);
    }
}

static int run_list(struct command *command)
{
    struct sg_rule rule;
    int code = load(command, false);
    if (code != CODE_DONE)
        return code;
    for (size_t i = 0; sg_rules_rule(command->rules, i, &rule); i++) {
        text_writer_printf(&command->out, "%-32s %-8s %-11s ", rule.id, rule.severity, rule.detector);
        text_writer_safe(&command->out, text_from_string(rule.title));
        text_writer_string(&command->out, "\n");
    }
    return print_faults(command);
}

static void show_rule(struct command *command, size_t number, const struct sg_rule *rule)
{
    struct text_writer *out = &command->out;
    text_writer_printf(out, "%s: %s, detector %s, for %s\n", rule->id, rule->severity, rule->detector, rule->members);
    write_lines(out, rule->title, "  ");
    text_writer_string(out, "  ");
    text_writer_safe(out, text_from_string(rule->path));
    text_writer_printf(out, ":%" PRIu64 "\n", rule->line);
    if (*rule->advice != 0) {
        text_writer_string(out, "\n");
        write_lines(out, rule->advice, "  ");
    }
    const char *page = sg_rules_page(command->rules, number);
    if (page != NULL) {
        text_writer_printf(out, "\n%s\n\n", rule->runbook);
        write_lines(out, page, "");
    } else if (*rule->runbook != 0) {
        text_writer_printf(out, "\n%s cannot be read\n", rule->runbook);
    }
}

static int run_show(struct command *command)
{
    struct sg_rule rule;
    size_t shown = 0;
    int code = load(command, false);
    if (code != CODE_DONE)
        return code;
    for (size_t i = 0; sg_rules_rule(command->rules, i, &rule); i++) {
        if (!sg_rules_selects(command->rules, i, command->operands[0]))
            continue;
        if (shown++ != 0)
            text_writer_string(&command->out, "\n");
        show_rule(command, i, &rule);
    }
    if (shown == 0) {
        fprintf(stderr, "stackgroup: no rule and no plugin is called '%s'; see stackgroup rules list\n",
                command->operands[0]);
        return CODE_USAGE;
    }
    return print_faults(command);
}

/* Whether the rule does with the example's dump what it should; else why not. */
static bool run_example(struct command *command, const struct sg_rule *rule, const struct sg_example *example)
{
    struct text_writer *out = &command->out;
    struct sg_options options = command->options;
    struct sg_finding finding;
    options.text_bytes = example->dump;
    options.text_length = example->length;
    options.rule = rule->id;
    options.explain = true;
    struct sg_analysis *analysis = sg_analysis_new();
    enum sg_status status = analysis == NULL ? SG_LIMIT : sg_analysis_run(analysis, &options);
    bool is_found = status == SG_OK && sg_analysis_finding(analysis, 0, &finding);
    bool is_good = status == SG_OK && is_found != example->is_silent;
    if (!is_good) {
        text_writer_string(out, "    ");
        text_writer_safe(out, text_from_string(rule->path));
        text_writer_printf(out, ":%" PRIu64 ": %s: ", example->line, example->is_silent ? "silent" : "finds");
        if (status != SG_OK)
            text_writer_safe(out, text_from_string(analysis == NULL ? "out of memory" : sg_analysis_error(analysis)));
        else if (is_found)
            text_writer_safe(out, text_from_string(finding.title));
        else
            text_writer_string(out, "nothing was found");
        text_writer_string(out, "\n");
        const char *explanation = status == SG_OK ? sg_analysis_explanation(analysis, 0) : NULL;
        if (explanation != NULL)
            write_lines(out, explanation, "        ");
    }
    sg_analysis_free(analysis);
    return is_good;
}

static int run_test(struct command *command)
{
    size_t rules = 0, examples = 0, failed = 0, untested = 0;
    struct sg_rule rule;
    struct sg_example example;
    for (int i = 0; i < command->operand_count; i++) {
        if (command->options.plugin_count == cli_plugins_max) {
            fprintf(stderr, "stackgroup: more than %d plugins; name their folder\n", cli_plugins_max);
            return CODE_USAGE;
        }
        command->plugins[command->options.plugin_count++] = command->operands[i];
    }
    command->options.no_plugin_search = true;
    int code = load(command, true);
    if (code != CODE_DONE)
        return code;
    for (size_t i = 0; sg_rules_rule(command->rules, i, &rule); i++) {
        size_t failed_here = 0;
        if (command->options.rule != NULL && !sg_rules_selects(command->rules, i, command->options.rule))
            continue;
        /* What fails is told below the rule's line, so the line is written first. */
        struct text_writer line = command->out;
        text_writer_init_memory(&command->out);
        for (size_t j = 0; sg_rules_example(command->rules, i, j, &example); j++, examples++)
            failed_here += !run_example(command, &rule, &example);
        struct text_writer details = command->out;
        command->out = line;
        text_writer_printf(&command->out, "%-8s %-32s %zu example%s\n",
                           failed_here != 0          ? "FAILED"
                           : rule.example_count == 0 ? "untested"
                                                     : "ok",
                           rule.id, rule.example_count, rule.example_count == 1 ? "" : "s");
        text_writer_bytes(&command->out, details.buffer, details.length);
        text_writer_deinit(&details);
        rules++;
        failed += failed_here;
        untested += rule.example_count == 0;
    }
    text_writer_printf(&command->out, "%zu rules, %zu examples: %zu failed, %zu rules without examples\n", rules, examples,
                       failed, untested);
    code = print_faults(command);
    return failed != 0 || code != CODE_DONE ? CODE_FAILED : CODE_DONE;
}

static int run_explain(struct command *command)
{
    struct sg_options options = command->options;
    options.core = command->operands[0];
    options.explain = true;
    struct sg_analysis *analysis = sg_analysis_new();
    int code = CODE_DONE;
    if (analysis == NULL) {
        fputs("stackgroup: out of memory\n", stderr);
        return CODE_NO_RESULT;
    }
    enum sg_status status = sg_analysis_run(analysis, &options);
    if (status != SG_OK) {
        fprintf(stderr, "stackgroup: %s\n", sg_analysis_error(analysis));
        code = status == SG_USAGE ? CODE_USAGE : CODE_NO_RESULT;
    } else {
        const char *explanation;
        for (size_t i = 0; (explanation = sg_analysis_explanation(analysis, i)) != NULL; i++)
            write_lines(&command->out, explanation, "");
        if (sg_analysis_explanation(analysis, 0) == NULL)
            text_writer_string(&command->out, "no rule matches even in part\n");
        /* A plugin with errors is left out of the run; what they are stands in its diagnostics. */
        if (sg_analysis_loss(analysis) == SG_LOSS_THREADS)
            code = CODE_INCOMPLETE;
    }
    sg_analysis_free(analysis);
    if (code == CODE_INCOMPLETE && load(command, false) == CODE_DONE)
        print_faults(command);
    return code;
}

/* Whether `name`, with or without its ".md", is that of the page. */
static bool is_page_name(const char *page, const char *name)
{
    struct text wanted = text_from_string(name), stem = text_from_string(page);
    if (text_ends_with(stem, TEXT(".md")))
        stem.length -= 3;
    return stem.length != 0 && (text_equals(wanted, stem) || text_equals(wanted, text_from_string(page)));
}

/* By its own name first: "lock-queue" is the page, not the rules of that name in several plugins. Those of the rules come
 * in their order, so that a user's page hides a built-in one of the same name. */
static const char *find_page(struct command *command, const char *name)
{
    struct sg_rule rule;
    const char *page_name, *page;
    for (size_t i = 0; sg_rules_rule(command->rules, i, &rule); i++)
        if (is_page_name(rule.runbook, name) && (page = sg_rules_page(command->rules, i)) != NULL)
            return page;
    for (size_t i = 0; sg_page(i, &page_name, &page); i++)
        if (is_page_name(page_name, name))
            return page;
    return NULL;
}

enum { near_names_max = 5 };

struct near_names {
    struct text wanted;
    struct text names[near_names_max];
    size_t distances[near_names_max], count;
};

/* Keeps the nearest, the best first. */
static void near_names_try(struct near_names *near, struct text name)
{
    size_t max = 2 + near->wanted.length / 4, at;
    bool is_part = near->wanted.length > 1 &&
                   memmem(name.data, name.length, near->wanted.data, near->wanted.length) != NULL;
    size_t distance = is_part ? 1 : word_distance(near->wanted, name, max);
    if (distance >= max)
        return;
    for (size_t i = 0; i < near->count; i++)
        if (text_equals(near->names[i], name))
            return;
    for (at = near->count; at > 0 && near->distances[at - 1] > distance; at--)
        ;
    if (at == near_names_max)
        return;
    near->count += near->count < near_names_max;
    for (size_t i = near->count - 1; i > at; i--) {
        near->names[i] = near->names[i - 1];
        near->distances[i] = near->distances[i - 1];
    }
    near->names[at] = name;
    near->distances[at] = distance;
}

static int fail_unknown_page(const struct command *command, const char *name)
{
    struct near_names near = {.wanted = text_from_string(name)};
    struct sg_rule rule;
    const char *page_name, *page;
    struct text_writer errors;
    for (size_t i = 0; sg_page(i, &page_name, &page); i++)
        near_names_try(&near, (struct text){page_name, strlen(page_name) - 3});
    for (size_t i = 0; sg_rules_rule(command->rules, i, &rule); i++) {
        near_names_try(&near, (struct text){rule.id, strcspn(rule.id, "/")});
        near_names_try(&near, text_from_string(rule.id));
    }
    text_writer_init_fd(&errors, STDERR_FILENO);
    text_writer_string(&errors, "stackgroup: no page, rule or plugin is called '");
    text_writer_safe(&errors, text_from_string(name));
    text_writer_string(&errors, "'");
    for (size_t i = 0; i < near.count; i++)
        text_writer_printf(&errors, "%s%.*s", i == 0 ? "; near: " : ", ", (int)near.names[i].length, near.names[i].data);
    text_writer_string(&errors, "; see stackgroup runbook\n");
    text_writer_finish(&errors);
    text_writer_deinit(&errors);
    return CODE_USAGE;
}

static int run_runbook(struct command *command)
{
    const char *name = command->operand_count == 0 ? "symptoms" : command->operands[0];
    const char *page, *last = NULL;
    struct sg_rule rule;
    size_t selected = 0;
    int code = load(command, false);
    if (code != CODE_DONE)
        return code;
    if ((page = find_page(command, name)) != NULL) {
        write_lines(&command->out, page, "");
        return print_faults(command);
    }
    for (size_t i = 0; sg_rules_rule(command->rules, i, &rule); i++) {
        if (!sg_rules_selects(command->rules, i, name))
            continue;
        selected++;
        page = sg_rules_page(command->rules, i);
        if (page == NULL) {
            fprintf(stderr, "stackgroup: %s: %s%s; its advice: stackgroup rules show %s\n", rule.id,
                    *rule.runbook != 0 ? rule.runbook : "it has no page", *rule.runbook != 0 ? " cannot be read" : "", rule.id);
            code = CODE_NO_RESULT;
            continue;
        }
        /* Rules of a plugin that share a page stand one after the other. */
        if (last != NULL && strcmp(page, last) == 0)
            continue;
        if (last != NULL)
            text_writer_string(&command->out, "\n");
        write_lines(&command->out, page, "");
        last = page;
    }
    if (selected == 0)
        return fail_unknown_page(command, name);
    int faults = print_faults(command);
    return code != CODE_DONE ? code : faults;
}

static int (*const runs[])(struct command *command) = {
    [COMMAND_RULES_LIST] = run_list,
    [COMMAND_RULES_SHOW] = run_show,
    [COMMAND_RULES_TEST] = run_test,
    [COMMAND_RULES_EXPLAIN] = run_explain,
    [COMMAND_RUNBOOK] = run_runbook,
};

static void print_runbook_help(FILE *stream)
{
    fputs("Usage: stackgroup runbook [ID] [--plugin=FILE|DIR]…\n"
          "  Prints the page of a rule (pthread/deadlock), of a plugin's rules (pthread), or of that\n"
          "  name (lock-cycle); without ID the index: from symptom to command and page\n"
          "  --plugin=FILE|DIR     pages beside these rules too\n"
          "Exit codes: 0 done, 2 usage, 3 no such page, 4 plugin with errors\n",
          stream);
}

static void print_help(FILE *stream, const char *group)
{
    if (strcmp(group, "runbook") == 0) {
        print_runbook_help(stream);
        return;
    }
    fputs("Usage: stackgroup rules COMMAND [--plugin=FILE|DIR]… [--rule=ID]\n", stream);
    for (size_t i = 0; i < command_row_count; i++) {
        const struct command_row *row = &command_rows[i];
        if (strcmp(row->group, "rules") != 0)
            continue;
        /* "…" is one column and three bytes. */
        size_t columns = strlen(row->operands) - (strstr(row->operands, "…") != NULL ? 2 : 0);
        fprintf(stream, "  %-8s %s%*s %s\n", row->name, row->operands,
                (int)(columns < help_width ? help_width - columns : 0), "", row->help);
    }
    fputs("  --plugin=FILE|DIR     rules beside those of ~/.config/stackgroup/plugins,\n"
          "                        /etc/stackgroup/plugins and the built-in ones\n"
          "  --rule=ID             test and explain this one alone\n"
          "Exit codes: 0 done, 1 example failed, 2 usage, 3 no result, 4 plugin with errors\n",
          stream);
}

int cli_rules_run(int count, char **arguments)
{
    static const struct option options[] = {
        {"plugin", required_argument, NULL, 'P'}, {"rule", required_argument, NULL, 'r'}, {"help", no_argument, NULL, 'h'}, {0}};
    const char *group = arguments[0];
    struct command command = {0};
    command.options.plugins = command.plugins;
    opterr = 0;
    optind = 0;
    for (int found; (found = getopt_long(count, arguments, ":h", options, NULL)) != -1;) {
        if (found == 'h') {
            print_help(stdout, group);
            return fflush(stdout) == 0 ? CODE_DONE : CODE_NO_RESULT;
        }
        if (found == 'r') {
            command.options.rule = optarg;
        } else if (found == 'P' && command.options.plugin_count < cli_plugins_max) {
            command.plugins[command.options.plugin_count++] = optarg;
        } else {
            fprintf(stderr, "stackgroup: %s: '%s' %s; see stackgroup %s --help\n", group, arguments[optind - 1],
                    found == ':'   ? "needs an argument"
                    : found == 'P' ? "is one plugin too many; name their folder"
                                   : "is no option", group);
            return CODE_USAGE;
        }
    }
    const struct command_row *row = NULL;
    for (size_t i = 0; i < command_row_count && row == NULL; i++)
        if (strcmp(command_rows[i].group, group) == 0 &&
            (command_rows[i].name[0] == 0 || (optind < count && strcmp(command_rows[i].name, arguments[optind]) == 0)))
            row = &command_rows[i];
    if (row == NULL) {
        if (optind < count)
            fprintf(stderr, "stackgroup: %s: there is no '%s'\n", group, arguments[optind]);
        print_help(stderr, group);
        return CODE_USAGE;
    }
    optind += row->name[0] != 0;
    command.operands = arguments + optind;
    command.operand_count = count - optind;
    if (command.operand_count < row->operands_min || command.operand_count > row->operands_max) {
        fprintf(stderr, "stackgroup: %s%s%s %s; see stackgroup %s --help\n", group, row->name[0] != 0 ? " " : "", row->name,
                row->operands_max == 0 ? "takes no argument" : "has too few or too many arguments", group);
        return CODE_USAGE;
    }
    text_writer_init_fd(&command.out, STDOUT_FILENO);
    int code = runs[row->id](&command);
    if (text_writer_finish(&command.out) != 0) {
        fputs("stackgroup: the output could not be written\n", stderr);
        code = CODE_NO_RESULT;
    }
    text_writer_deinit(&command.out);
    sg_rules_free(command.rules);
    return code;
}
