/* SPDX-License-Identifier: Apache-2.0 */
#include "cli_options.h"
#include "cli_table.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { long_option_base = 256, help_column = 24 };

void cli_options_print_help(FILE *stream)
{
    fputs("Usage: stackgroup [OPTIONS] CORE [EXE]|TEXT|EXE -c CORE|-p PID|rules|runbook\n", stream);
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        char letter[8] = "", left[48];
        if (row->help == NULL)
            continue;
        if (row->letter != 0)
            snprintf(letter, sizeof letter, "-%c,", row->letter);
        snprintf(left, sizeof left, "--%s%s%s", row->name, row->argument != NULL ? "=" : "",
                 row->argument != NULL ? row->argument : "");
        fprintf(stream, "%-7s%-3s %s%*s %s\n", row->heading != NULL ? row->heading : "", letter, left,
                (int)(strlen(left) < help_column ? help_column - strlen(left) : 0), "", row->help);
    }
    fputs("Exit codes: 0 done, 1 --fail-on, 2 usage, 3 no result, 4 threads lost\n", stream);
}

/* The value of a choice's word, -1 when there is none such. */
static int choice_value(const char *words, const char *word)
{
    size_t length = strlen(word);
    for (int value = 0;; value++) {
        size_t step = strcspn(words, "|");
        if (step == length && memcmp(words, word, length) == 0)
            return value;
        if (words[step] == 0)
            return -1;
        words += step + 1;
    }
}

/* "10ms", "0.5s", "2s" in microseconds; false for all else, and for nothing or more than a day. */
static bool parse_duration(const char *text, uint64_t *ret_microseconds)
{
    static const struct {
        const char *name;
        uint64_t microseconds;
    } units[] = {{"us", 1}, {"ms", 1000}, {"s", 1000000}, {"m", 60000000}};
    const uint64_t day = (uint64_t)24 * 60 * 60 * 1000000;
    size_t whole = strspn(text, "0123456789"), fraction = 0;
    if (whole == 0 || whole > 12)
        return false;
    if (text[whole] == '.') {
        fraction = strspn(text + whole + 1, "0123456789");
        if (fraction == 0 || fraction > 6)
            return false;
    }
    const char *unit = text + whole + (fraction == 0 ? 0 : fraction + 1);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(units[i].name, unit) != 0)
            continue;
        uint64_t value = strtoull(text, NULL, 10), scale = 1;
        if (value > day / units[i].microseconds)
            return false;
        value *= units[i].microseconds;
        /* By digits: strtod would follow the locale's decimal comma. */
        for (size_t j = 0; j < fraction; j++) {
            scale *= 10;
            value += (uint64_t)(text[whole + 1 + j] - '0') * units[i].microseconds / scale;
        }
        *ret_microseconds = value;
        return value != 0 && value <= day;
    }
    return false;
}

static bool row_apply(const struct option_row *row, const char *argument, struct cli_options *options, char *ret_error,
                      size_t error_bytes)
{
    void *field = (char *)options + row->offset;
    switch (row->kind) {
    case OPTION_FLAG:
        *(bool *)field = true;
        return true;
    case OPTION_STRING:
        *(const char **)field = argument;
        return true;
    case OPTION_COUNT: {
        char *end;
        errno = 0;
        unsigned long long value = strtoull(argument, &end, 10);
        if (errno != 0 || end == argument || *end != 0 || strchr(argument, '-') != NULL) {
            snprintf(ret_error, error_bytes, "--%s: '%s' is not a whole number", row->name, argument);
            return false;
        }
        *(uint64_t *)field = value;
        return true;
    }
    case OPTION_DURATION:
        if (!parse_duration(argument, field)) {
            snprintf(ret_error, error_bytes, "--%s: '%s' is no time such as 10ms, 0.5s or 2s", row->name, argument);
            return false;
        }
        return true;
    case OPTION_PLUGIN:
        if (options->analysis.plugin_count == cli_plugins_max) {
            snprintf(ret_error, error_bytes, "--%s: '%s' is one too many; name their folder", row->name, argument);
            return false;
        }
        options->plugins[options->analysis.plugin_count++] = argument;
        return true;
    case OPTION_CHOICE: {
        int value = choice_value(row->argument, argument);
        if (value < 0) {
            snprintf(ret_error, error_bytes, "--%s: '%s' is not one of %s", row->name, argument, row->argument);
            return false;
        }
        *(int *)field = value;
        return true;
    }
    }
    return false;
}

/* Three ways to hold a process still, of which a run takes one. */
static bool take_stop(struct cli_options *options, char *ret_error, size_t error_bytes)
{
    const char *named = options->rolling ? "--rolling" : "--no-stop";
    if (options->rolling && options->no_stop)
        snprintf(ret_error, error_bytes, "--rolling and --no-stop: only one of them");
    else if ((options->rolling || options->no_stop) && options->pid == 0)
        snprintf(ret_error, error_bytes, "%s: only with --pid", named);
    else if ((options->rolling || options->no_stop) && options->stop_milliseconds_max != 0)
        snprintf(ret_error, error_bytes, "%s: has no long stop that --max-stop could break off", named);
    else {
        options->analysis.stop = options->rolling ? SG_STOP_ROLLING : options->no_stop ? SG_STOP_NONE : SG_STOP_ALL;
        return true;
    }
    return false;
}

/* CORE, CORE EXE, EXE CORE, or EXE with -c CORE. */
static bool take_paths(int count, char **paths, struct cli_options *options, char *ret_error, size_t error_bytes)
{
    int paths_max = options->core != NULL ? 1 : 2;
    if (count > paths_max) {
        snprintf(ret_error, error_bytes, "'%s': one argument too many", paths[paths_max]);
        return false;
    }
    const char *exe = NULL;
    options->analysis.core = options->core;
    if (options->core != NULL) {
        exe = count == 1 ? paths[0] : NULL;
    } else if (options->pid != 0) {
        if (count != 0) {
            snprintf(ret_error, error_bytes, "'%s': with --pid there is no core", paths[0]);
            return false;
        }
    } else if (count == 0) {
        snprintf(ret_error, error_bytes, "no core and no process given");
        return false;
    } else {
        bool swapped = count == 2 && !sg_is_core(paths[0]) && sg_is_core(paths[1]);
        options->analysis.core = paths[swapped];
        exe = count == 2 ? paths[!swapped] : NULL;
    }
    if (exe != NULL && options->analysis.exe != NULL) {
        snprintf(ret_error, error_bytes, "the program is given twice: '%s' and --exe=%s", exe, options->analysis.exe);
        return false;
    }
    /* As coredumpctl calls its debugger, whatever became of the program since. */
    if (exe != NULL && options->core != NULL && access(exe, F_OK) != 0 && errno == ENOENT)
        options->missing_exe = exe;
    else if (exe != NULL)
        options->analysis.exe = exe;
    return true;
}

/* Why getopt_long refused: it has moved on from a long option, but not from letters in one argument. */
static void describe_refusal(int found, char **arguments, char *ret_error, size_t error_bytes)
{
    const char *argument = arguments[optind - 1];
    if (found == ':') {
        snprintf(ret_error, error_bytes, "%s: needs an argument", argument);
    } else if (optopt >= long_option_base) {
        snprintf(ret_error, error_bytes, "--%s: takes no argument", option_rows[optopt - long_option_base].name);
    } else if (optopt != 0) {
        snprintf(ret_error, error_bytes, "-%c: unknown option", optopt);
    } else {
        int matches = 0;
        for (size_t i = 0; i < option_row_count; i++)
            matches += strncmp(option_rows[i].name, argument + 2, strcspn(argument + 2, "=")) == 0;
        snprintf(ret_error, error_bytes, matches > 1 ? "%s: could be several options" : "%s: unknown option", argument);
    }
}

bool cli_options_parse(int count, char **arguments, struct cli_options *ret_options, char *ret_error,
                       size_t error_bytes)
{
    struct cli_options options = {.format = "text", .frames = 256, .by = -1};
    struct option long_options[option_rows_max + 1] = {0};
    char letters[2 * option_rows_max + 2] = ":";
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        long_options[i] = (struct option){row->name, row->argument != NULL ? required_argument : no_argument, NULL,
                                          long_option_base + (int)i};
        if (row->letter != 0) {
            size_t length = strlen(letters);
            letters[length] = row->letter;
            letters[length + 1] = row->argument != NULL ? ':' : 0;
        }
    }
    opterr = 0;
    optind = 0; /* glibc, musl: forget the letters of an earlier call too */
    for (int found; (found = getopt_long(count, arguments, letters, long_options, NULL)) != -1;) {
        if (found == '?' || found == ':') {
            describe_refusal(found, arguments, ret_error, error_bytes);
            return false;
        }
        for (size_t i = 0; i < option_row_count; i++)
            if ((found == long_option_base + (int)i || (option_rows[i].letter != 0 && found == option_rows[i].letter)) &&
                !row_apply(&option_rows[i], optarg, &options, ret_error, error_bytes))
                return false;
    }
    if (!options.help && !options.version &&
        (!take_paths(count - optind, arguments + optind, &options, ret_error, error_bytes) ||
         !take_stop(&options, ret_error, error_bytes)))
        return false;
    if (options.pid > INT32_MAX) {
        snprintf(ret_error, error_bytes, "--pid: %llu is no process id", (unsigned long long)options.pid);
        return false;
    }
    if (options.analysis.no_rules && (options.analysis.rule != NULL || options.analysis.plugin_count != 0)) {
        snprintf(ret_error, error_bytes, "--no-rules and --%s: only one of them",
                 options.analysis.rule != NULL ? "rule" : "plugin");
        return false;
    }
    if (options.goroutines && options.threads) {
        snprintf(ret_error, error_bytes, "--goroutines and --threads: only one of them");
        return false;
    }
    const char *lonely = options.save != NULL                 ? "--save"
                         : options.analysis.samples > 1       ? "--samples"
                         : options.analysis.registers != NULL ? "--registers"
                                                              : NULL;
    if (options.memory_fd != 0 && options.analysis.registers == NULL) {
        snprintf(ret_error, error_bytes, "--memory-fd: needs --registers");
        return false;
    }
    if (options.interval_microseconds != 0 && options.analysis.samples == 0) {
        snprintf(ret_error, error_bytes, "--interval: needs --samples");
        return false;
    }
    if (lonely != NULL && options.pid == 0 && !options.help && !options.version) {
        snprintf(ret_error, error_bytes, "%s: needs --pid", lonely);
        return false;
    }
    options.analysis.interval_microseconds = options.interval_microseconds != 0 ? options.interval_microseconds : 1000000;
    options.analysis.pid = (uint32_t)options.pid;
    options.analysis.memory_fd = options.memory_fd > INT32_MAX ? INT32_MAX : (int)options.memory_fd;
    options.analysis.profiles = options.goroutines ? SG_PROFILES_GOROUTINES
                                : options.threads  ? SG_PROFILES_THREADS
                                                   : SG_PROFILES_ALL;
    options.analysis.arguments = strcmp(options.format, "debug2") == 0;
    options.analysis.stop_microseconds_max = options.stop_milliseconds_max * 1000;
    options.analysis.by = (enum sg_by)(options.by + 1);
    options.analysis.unwinder = (enum sg_unwinder)options.unwinder;
    options.analysis.no_lines = options.lines != 0;
    options.analysis.no_demangle = options.demangle != 0;
    options.write.lines_max = options.frames > 1u << 30 ? 0 : (unsigned)options.frames;
    *ret_options = options;
    ret_options->analysis.plugins = ret_options->plugins;
    return true;
}
