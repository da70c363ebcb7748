/* SPDX-License-Identifier: Apache-2.0 */
#include "stackgroup.h"

#include "base/limits.h"
#include "pipeline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct sg_analysis {
    struct pipeline pipeline;
    jmp_buf exhausted;
    struct live_hold hold;
    char error[1200];
    bool has_run, is_done;
};

static const struct report *const reports[] = {&report_text, &report_debug2, &report_json};

const char *sg_version(void)
{
    return SG_VERSION;
}

struct sg_analysis *sg_analysis_new(void)
{
    struct sg_analysis *analysis = calloc(1, sizeof *analysis);
    if (analysis != NULL)
    {
        analysis->pipeline.core.file.fd = -1;
        analysis->pipeline.live.memory_fd = analysis->pipeline.previous.live.memory_fd = -1;
    }
    return analysis;
}

void sg_analysis_free(struct sg_analysis *analysis)
{
    if (analysis == NULL)
        return;
    pipeline_close(&analysis->pipeline);
    arena_deinit(&analysis->pipeline.keep);
    arena_deinit(&analysis->pipeline.scratch);
    arena_deinit(&analysis->pipeline.looks[0]);
    arena_deinit(&analysis->pipeline.looks[1]);
    free(analysis);
}

__attribute__((format(printf, 3, 4))) static enum sg_status fail(struct sg_analysis *analysis, enum sg_status status,
                                                                 const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(analysis->error, sizeof analysis->error, format, arguments);
    va_end(arguments);
    return status;
}

static enum sg_status status_of(enum error_code code)
{
    switch (code) {
    case ERROR_USAGE:
        return SG_USAGE;
    case ERROR_LIMIT:
        return SG_LIMIT;
    case ERROR_WRITE:
        return SG_WRITE;
    case ERROR_UNKNOWN:
    case ERROR_OPEN:
    case ERROR_FORMAT:
    case ERROR_SUPPORT:
        break;
    }
    return SG_INPUT;
}

enum sg_status sg_analysis_run(struct sg_analysis *analysis, const struct sg_options *options)
{
    if (analysis->has_run)
        return fail(analysis, SG_USAGE, "an analysis runs once");
    if (options->text_bytes != NULL && options->pid != 0)
        return fail(analysis, SG_USAGE, "a text and a process given");
    if (options->text_bytes == NULL && (options->core == NULL) == (options->pid == 0))
        return fail(analysis, SG_USAGE, options->core == NULL ? "no core, no text and no process given"
                                                                    : "a core or text and a process given");
    if ((unsigned)options->by > SG_BY_START || (unsigned)options->unwinder > SG_UNWINDER_LIBUNWIND ||
        (unsigned)options->stop > SG_STOP_NONE)
        return fail(analysis, SG_USAGE, "no such grouping, unwinder or stop");
    if ((unsigned)options->profiles > SG_PROFILES_THREADS)
        return fail(analysis, SG_USAGE, "no such profile");
    if (options->stop != SG_STOP_ALL && (options->pid == 0 || options->stop_microseconds_max != 0))
        return fail(analysis, SG_USAGE, options->pid == 0 ? "a core has no threads to stop one by one"
                                                          : "only a stop of all threads has a length to limit");
    if (options->registers != NULL && (options->pid == 0 || options->stop != SG_STOP_ALL ||
                                       options->stop_microseconds_max != 0 || options->samples > 1))
        return fail(analysis, SG_USAGE, "registers are told of a process that a debugger holds, for one look at it");
    if (options->pid == 0 && (options->save_fd != 0 || options->samples > 1))
        return fail(analysis, SG_USAGE, "a core can neither be saved nor sampled");
    analysis->has_run = true;
    analysis->error[0] = 0;
    static const enum group_by by[] = {
        [SG_BY_DEFAULT] = GROUP_BY_LINE, [SG_BY_LINE] = GROUP_BY_LINE, [SG_BY_PC] = GROUP_BY_PC, [SG_BY_FUNCTION] = GROUP_BY_FUNCTION, [SG_BY_CREATOR] = GROUP_BY_CREATOR, [SG_BY_START] = GROUP_BY_START};
    static const enum profile_choice profiles[] = {[SG_PROFILES_ALL] = PROFILES_ALL,
                                                   [SG_PROFILES_GOROUTINES] = PROFILES_GOROUTINES,
                                                   [SG_PROFILES_THREADS] = PROFILES_THREADS};
    static const enum stop_kind stops[] = {
        [SG_STOP_ALL] = STOP_KIND_ALL, [SG_STOP_ROLLING] = STOP_KIND_ROLLING, [SG_STOP_NONE] = STOP_KIND_NONE};
    static const enum unwinder_choice unwinder[] = {[SG_UNWINDER_AUTO] = UNWINDER_AUTO,
                                                    [SG_UNWINDER_DWARF] = UNWINDER_DWARF,
                                                    [SG_UNWINDER_LIBUNWIND] = UNWINDER_LIBUNWIND};
    struct pipeline_options pipeline_options = {
        .core = options->core,
        .journal = options->journal,
        .text = {options->text_bytes, options->text_length},
        .live = {.pid = options->pid,
                 .hold = &analysis->hold,
                 .stop_kind = options->registers != NULL ? STOP_KIND_HELD : stops[options->stop],
                 .registers = options->registers,
                 .memory_fd = options->memory_fd,
                 .stop_microseconds_max = options->stop_microseconds_max,
                 .to_be_saved = options->save_fd != 0},
        .samples = options->samples,
        .interval_microseconds = options->interval_microseconds,
        .save_fd = options->save_fd,
        .files = {.exe = options->exe, .sysroot = options->sysroot, .debug_path = options->debug_path},
        .unwind = {.unwinder = unwinder[options->unwinder],
                   .cross_check = options->cross_check,
                   .progress = options->progress,
                   .progress_context = options->progress_context},
        .symbolize = {.lines = !options->no_lines, .demangle = !options->no_demangle},
        .group = {.by = by[options->by], .top = options->top, .count_min = options->count_min},
        .plugins = {.paths = options->plugins,
                    .path_count = options->plugin_count,
                    .no_search = options->no_plugin_search},
        .rule = options->rule,
        .no_rules = options->no_rules,
        .explain = options->explain,
        .by_kind = options->by == SG_BY_DEFAULT,
        .profiles = profiles[options->profiles],
        .goroutines = {.with_system = options->system_goroutines,
                       .with_arguments = options->arguments,
                       .without_c = options->no_c_frames,
                       .cross_check = options->cross_check},
        .filter = options->filter,
        .exclude = options->exclude,
    };
    uint64_t memory_max = options->memory_max != 0 ? options->memory_max : limit_arena_bytes;
    arena_init(&analysis->pipeline.keep, memory_max, &analysis->exhausted);
    arena_init(&analysis->pipeline.scratch, memory_max, &analysis->exhausted);
    arena_init(&analysis->pipeline.looks[0], memory_max, &analysis->exhausted);
    arena_init(&analysis->pipeline.looks[1], memory_max, &analysis->exhausted);
    if (setjmp(analysis->exhausted) != 0) {
        pipeline_close(&analysis->pipeline);
        return fail(analysis, SG_LIMIT, "%s: its analysis needs more than %llu bytes of memory",
                    options->core != NULL         ? options->core
                    : options->text_bytes != NULL ? "text in memory"
                                                  : "the process",
                    (unsigned long long)memory_max);
    }
    const struct error *error = pipeline_run(&analysis->pipeline, &pipeline_options);
    pipeline_close(&analysis->pipeline);
    if (error != NULL)
        return fail(analysis, status_of(error->code), "%s", error->message);
    analysis->is_done = true;
    return SG_OK;
}

void sg_analysis_let_go(struct sg_analysis *analysis)
{
    atomic_store(&analysis->hold.is_let_go, true);
    for (int i = 0; i < 1000 && atomic_load(&analysis->hold.is_held); i++)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
}

enum sg_status sg_analysis_write(struct sg_analysis *analysis, const char *format, int fd,
                                 const struct sg_write_options *options)
{
    static const struct sg_write_options defaults = {0};
    if (!analysis->is_done)
        return fail(analysis, SG_USAGE, "nothing to write: the analysis has not run");
    if (options == NULL)
        options = &defaults;
    for (size_t i = 0; i < sizeof reports / sizeof reports[0]; i++) {
        if (strcmp(reports[i]->name, format) != 0)
            continue;
        const struct pipeline *pipeline = &analysis->pipeline;
        struct report_input inputs[limit_go_runtimes + 1];
        for (size_t j = 0, groups = 0; j < pipeline->profile_count; groups += pipeline->profiles[j++].grouping.group_count)
            inputs[j] = (struct report_input){
                .snapshot = &pipeline->profiles[j].snapshot,
                .grouping = &pipeline->profiles[j].grouping,
                .diagnostics = &pipeline->diagnostics,
                .findings = pipeline->rule_count == 0 ? NULL : &pipeline->profiles[j].findings,
                .rule_count = pipeline->rule_count,
                .groups_before = groups,
                .next = j + 1 < pipeline->profile_count ? &inputs[j + 1] : NULL,
                .stats = &pipeline->stats,
                .options = {.members = options->members,
                            .show_stats = options->stats,
                            .all_findings = options->all_findings,
                            .terminal = options->terminal,
                            .color = options->color,
                            .width = options->width != 0 ? options->width : 80,
                            .lines_max = options->lines_max},
            };
        const char *refusal = reports[i]->refusal != NULL ? reports[i]->refusal(&inputs[0]) : NULL;
        if (refusal != NULL)
            return fail(analysis, SG_USAGE, "--format=%s: %s", format, refusal);
        struct text_writer writer;
        text_writer_init_fd(&writer, fd);
        reports[i]->write(&inputs[0], &writer);
        int failed = text_writer_finish(&writer);
        text_writer_deinit(&writer);
        return failed == 0 ? SG_OK : fail(analysis, SG_WRITE, "the report could not be written: %s", strerror(failed));
    }
    return fail(analysis, SG_USAGE, "no format '%s'", format);
}

const char *sg_analysis_error(const struct sg_analysis *analysis)
{
    return analysis->error;
}

int sg_analysis_save_errno(const struct sg_analysis *analysis)
{
    return analysis->pipeline.save_errno;
}

enum sg_loss sg_analysis_loss(const struct sg_analysis *analysis)
{
    enum sg_loss loss = SG_LOSS_NONE;
    const struct diagnostics *diagnostics = &analysis->pipeline.diagnostics;
    for (size_t i = 0; i < diagnostics->count; i++) {
        if (diagnostics->entries[i].weight == DIAGNOSTIC_LOST)
            return SG_LOSS_THREADS;
        if (diagnostics->entries[i].weight == DIAGNOSTIC_LOSS)
            loss = SG_LOSS_DETAIL;
    }
    return loss;
}

static const enum sg_severity severities[] = {[SEVERITY_UNKNOWN] = SG_SEVERITY_NONE,
                                              [SEVERITY_INFO] = SG_SEVERITY_INFO,
                                              [SEVERITY_WARNING] = SG_SEVERITY_WARNING,
                                              [SEVERITY_CRITICAL] = SG_SEVERITY_CRITICAL};

bool sg_analysis_finding(const struct sg_analysis *analysis, size_t number, struct sg_finding *ret_finding)
{
    const struct pipeline *pipeline = &analysis->pipeline;
    size_t profile = 0;
    while (profile < pipeline->profile_count && number >= pipeline->profiles[profile].findings.count)
        number -= pipeline->profiles[profile++].findings.count;
    if (profile == pipeline->profile_count)
        return false;
    const struct finding *finding = &pipeline->profiles[profile].findings.entries[number];
    *ret_finding = (struct sg_finding){
        .rule = finding->rule.data,
        .severity = severities[finding->severity],
        .title = finding->title.data,
        .members = finding->members,
    };
    return true;
}

const char *sg_analysis_explanation(const struct sg_analysis *analysis, size_t number)
{
    const struct pipeline *pipeline = &analysis->pipeline;
    for (size_t i = 0; i < pipeline->profile_count; i++) {
        const struct explanations *explanations = &pipeline->profiles[i].explanations;
        if (number < explanations->count)
            return explanations->entries[number];
        number -= explanations->count;
    }
    return NULL;
}

enum sg_severity sg_analysis_worst_severity(const struct sg_analysis *analysis)
{
    enum severity worst = SEVERITY_UNKNOWN;
    for (size_t i = 0; i < analysis->pipeline.profile_count; i++) {
        /* The most severe stand first. */
        const struct findings *findings = &analysis->pipeline.profiles[i].findings;
        if (findings->count != 0 && findings->entries[0].severity > worst)
            worst = findings->entries[0].severity;
    }
    return severities[worst];
}

bool sg_format(size_t number, const char **ret_name, const char **ret_help)
{
    if (number >= sizeof reports / sizeof reports[0])
        return false;
    *ret_name = reports[number]->name;
    *ret_help = reports[number]->help;
    return true;
}

bool sg_is_core(const char *path)
{
    return source_core_probe(path) == CORE_PROBE_CORE;
}
