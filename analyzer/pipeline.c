/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline.h"

#include "source/core_record.h"
#include "go_program.h"
#include "waits/wait_dump.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Adds the time since *at to *total, and moves *at on. */
static void lap(double *at, double *total)
{
    double now = seconds_now();
    *total += now - *at;
    *at = now;
}

static void seconds_sleep_until(double until)
{
    double left = until - seconds_now();
    struct timespec pause = {(time_t)left, (long)((left - (double)(time_t)left) * 1e9)};
    if (left > 0)
        nanosleep(&pause, NULL);
}

static void diagnose_limits(struct pipeline *pipeline)
{
    const struct {
        const char *option;
        const struct pattern *pattern;
    } patterns[] = {{"--filter", pipeline->filter}, {"--exclude", pipeline->exclude}};
    for (size_t i = 0; i < 2; i++)
        if (patterns[i].pattern != NULL && pattern_limit_hit(patterns[i].pattern))
            diagnostics_add(&pipeline->diagnostics, DIAGNOSTIC_LOST, "match-limit",
                            text_from_string(patterns[i].option),
                            "%s: matching a name took too long and counts as no match: simplify the expression",
                            patterns[i].option);
}

static bool find_function_start(void *context, uint64_t address, uint64_t *ret_start)
{
    return symbolizer_function_start(context, address, ret_start);
}

/* What the user named must be there; what the core names may not be. */
static const struct error *check_paths(const struct pipeline_options *options, struct arena *arena,
                                       struct diagnostics *diagnostics)
{
    const struct module_file_options *files = &options->files;
    uint64_t size_bytes;
    int fd = files->exe == NULL ? -1 : file_open_regular(files->exe, &size_bytes);
    if (files->exe != NULL && fd < 0)
        return error_new(arena, ERROR_OPEN, "%s: the program cannot be opened: %s", files->exe,
                         errno == EINVAL ? "not a regular file" : strerror(errno));
    if (fd >= 0)
        close(fd);
    struct stat status;
    if (files->sysroot != NULL && (stat(files->sysroot, &status) != 0 || !S_ISDIR(status.st_mode)))
        return error_new(arena, ERROR_OPEN, "%s: --sysroot is no folder", files->sysroot);
    for (const char *path = files->debug_path; path != NULL && *path != 0;) {
        size_t length = strcspn(path, ":");
        struct text folder = text_copy(arena, (struct text){path, length});
        if (length != 0 && (stat(folder.data, &status) != 0 || !S_ISDIR(status.st_mode)))
            diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "debug-path-missing", folder, "%s: in --debug-path, but no folder",
                            folder.data);
        path += length + (path[length] == ':');
    }
    return NULL;
}

static void enter(const struct pipeline_options *options, const char *stage)
{
    if (options->unwind.progress != NULL)
        options->unwind.progress(options->unwind.progress_context, stage, 0, 0);
}

/* Go code is walked and named by its own tables. The runtime is in the program; where it is in a library of a C program,
 * that file is open once a thread of the runtime's was walked through it, and the threads are walked again. */
static void find_go(struct pipeline *pipeline, const struct pipeline_options *options, struct arena *arena)
{
    go_modules_open(&pipeline->image, pipeline->files);
    const struct go_runtime *live = options->live.pid == 0 ? NULL : source_live_go(&pipeline->live);
    pipeline->has_go = live != NULL;
    if (live != NULL)
        pipeline->go = *live;
    else
        pipeline->has_go =
            go_runtime_find(&pipeline->image, pipeline->files, arena, &pipeline->diagnostics, &pipeline->go);
    if (!pipeline->has_go)
        return;
    walker_set_code_plans(pipeline->walker, unwind_go_plans(&pipeline->go, arena));
    symbolizer_set_go(pipeline->symbolizer, &pipeline->go);
}

/* The core's own facts come first; the record has those that a core does not hold. */
static void take_record(struct image *image, const char *path, const char *journal, struct arena *arena,
                        struct diagnostics *diagnostics)
{
    struct core_record record;
    core_record_read(path, journal, image->pid, arena, diagnostics, &record);
    image->ended_microseconds = record.microseconds;
    image->unit = record.unit;
    image->host = record.host;
    if (image->exe.length == 0)
        image->exe = record.exe;
    if (image->command.length == 0)
        image->command = record.command;
    if (image->signal.number == 0 && image->written_by != NULL && strcmp(image->written_by, "kernel") == 0)
        image->signal.number = record.signal;
}

static void unwind_image(struct pipeline *pipeline, const struct pipeline_options *options, struct arena *arena,
                         struct diagnostics *diagnostics)
{
    struct function_starts starts = {find_function_start, pipeline->symbolizer};
    pipeline->walker = walker_new(&pipeline->image, pipeline->files, starts, arena);
    find_go(pipeline, options, arena);
    pipeline->thread_stacks = unwind_threads(&pipeline->image, pipeline->files, pipeline->walker, &options->unwind,
                                             arena, &pipeline->scratch, diagnostics);
    arena_reset(&pipeline->scratch);
    if (!pipeline->has_go) {
        struct walker *native = pipeline->walker;
        pipeline->walker = walker_new(&pipeline->image, pipeline->files, starts, arena);
        find_go(pipeline, options, arena);
        if (pipeline->has_go)
            pipeline->thread_stacks = unwind_threads(&pipeline->image, pipeline->files, pipeline->walker,
                                                     &options->unwind, arena, &pipeline->scratch,
                                                     diagnostics);
        else
            pipeline->walker = native;
        arena_reset(&pipeline->scratch);
    }
}

/* Opens the target and unwinds its threads. What stays is in `arena`. */
static const struct error *look(struct pipeline *pipeline, const struct pipeline_options *options, struct arena *arena,
                                double *at)
{
    const struct error *error;
    bool is_rolling = options->live.pid != 0 && options->live.stop_kind == STOP_KIND_ROLLING;
    /* Of a rolling look, which may be taken in two goes: the second one's count. */
    struct diagnostics found, *told = is_rolling ? &found : &pipeline->diagnostics;
    diagnostics_init(&found, arena);
    pipeline->live.memory_fd = -1;
    enter(options, options->live.pid != 0 ? "reading the process" : "opening the core");
    diagnostics_init(&pipeline->diagnostics, arena);
    if (options->live.pid != 0)
        error = source_live_open(&options->live, arena, &pipeline->diagnostics, &pipeline->live, &pipeline->image);
    else
        error = source_core_open(options->core, arena, &pipeline->diagnostics, &pipeline->core, &pipeline->image);
    if (error != NULL)
        return error;
    if (options->live.pid == 0)
        take_record(&pipeline->image, options->core, options->journal, arena, &pipeline->diagnostics);
    pipeline->files = module_files_new(&pipeline->image, &options->files, arena, &pipeline->diagnostics);
    if (options->live.pid != 0)
        error = source_live_read(&pipeline->live, pipeline->files, arena, told, &pipeline->image);
    if (error != NULL)
        return error;
    pipeline->symbolizer = symbolizer_new(&pipeline->image, pipeline->files, &options->symbolize, arena,
                                          &pipeline->diagnostics);
    lap(at, &pipeline->stats.seconds_open);

    enter(options, "unwinding");
    unwind_image(pipeline, options, arena, told);
    if (is_rolling) {
        size_t count;
        const uint32_t *tids = unwind_threads_in_want(&pipeline->image, pipeline->walker, pipeline->thread_stacks, arena,
                                                      &count);
        if (count != 0) {
            diagnostics_init(&found, arena);
            error = source_live_stop_rest(&pipeline->live, tids, count, arena, told, &pipeline->image);
            if (error != NULL)
                return error;
            unwind_image(pipeline, options, arena, told);
        }
        diagnostics_merge(&pipeline->diagnostics, &found);
    }
    lap(at, &pipeline->stats.seconds_unwind);
    return NULL;
}

/* Moves the look aside. Its parts point at the pipeline's fields: until it is put back it may only be closed. */
static void set_look_aside(struct pipeline *pipeline)
{
    pipeline->previous = (struct pipeline_look){
        .diagnostics = pipeline->diagnostics,
        .live = pipeline->live,
        .image = pipeline->image,
        .files = pipeline->files,
        .symbolizer = pipeline->symbolizer,
        .walker = pipeline->walker,
        .thread_stacks = pipeline->thread_stacks,
        .go = pipeline->go,
        .has_go = pipeline->has_go,
    };
    pipeline->live = (struct live_source){.memory_fd = -1};
    pipeline->files = NULL;
    pipeline->symbolizer = NULL;
}

static void close_look(struct symbolizer **symbolizer, struct module_files **files, struct live_source *live)
{
    if (*symbolizer != NULL)
        symbolizer_close(*symbolizer);
    if (*files != NULL)
        module_files_close(*files);
    source_live_close(live);
    *symbolizer = NULL;
    *files = NULL;
}

static void close_previous(struct pipeline *pipeline)
{
    close_look(&pipeline->previous.symbolizer, &pipeline->previous.files, &pipeline->previous.live);
}

static void put_look_back(struct pipeline *pipeline)
{
    close_look(&pipeline->symbolizer, &pipeline->files, &pipeline->live);
    pipeline->diagnostics = pipeline->previous.diagnostics;
    pipeline->live = pipeline->previous.live;
    pipeline->image = pipeline->previous.image;
    pipeline->files = pipeline->previous.files;
    pipeline->symbolizer = pipeline->previous.symbolizer;
    pipeline->walker = pipeline->previous.walker;
    pipeline->thread_stacks = pipeline->previous.thread_stacks;
    pipeline->go = pipeline->previous.go;
    pipeline->has_go = pipeline->previous.has_go;
    pipeline->previous = (struct pipeline_look){.live.memory_fd = -1};
}

/* One of several looks: an error is the target's end, or somebody else's process of the same id. */
static const struct error *take_sample(struct pipeline *pipeline, const struct pipeline_options *options,
                                       struct arena *arena, uint64_t *start_ticks, double *at)
{
    struct thread_activity *activity;
    size_t count;
    uint32_t pid = options->live.pid;
    if (!thread_activity_read(pid, arena, &activity, &count))
        return error_new(arena, ERROR_OPEN, "process %" PRIu32 ": there is none such", pid);
    const struct thread_activity *leader = thread_activity_find(activity, count, pid);
    uint64_t ticks = leader != NULL ? leader->start_ticks : 0;
    if (pipeline->samples.count == 0)
        *start_ticks = ticks;
    else if (ticks != *start_ticks)
        return error_new(arena, ERROR_OPEN, "process %" PRIu32 ": it ended, another one has its id", pid);
    double now = seconds_now();
    const struct error *error = look(pipeline, options, arena, at);
    if (error != NULL)
        return error;
    pipeline->last_look = now;
    if (pipeline->samples.count == 0)
        pipeline->first_look = now;
    samples_add(&pipeline->samples, &pipeline->image, pipeline->walker, pipeline->thread_stacks, activity, count, arena);
    return NULL;
}

/* The last look that succeeds is the one reported. Two are held at a time, however many there are. */
static const struct error *take_samples(struct pipeline *pipeline, const struct pipeline_options *options, double *at)
{
    double started = seconds_now();
    uint64_t start_ticks = 0;
    pipeline->live.memory_fd = pipeline->previous.live.memory_fd = -1;
    for (uint64_t i = 0; i < options->samples; i++) {
        seconds_sleep_until(started + (double)i * (double)options->interval_microseconds * 1e-6);
        *at = seconds_now();
        struct arena *arena = &pipeline->looks[i & 1];
        close_previous(pipeline);
        arena_reset(arena);
        set_look_aside(pipeline);
        const struct error *error = take_sample(pipeline, options, arena, &start_ticks, at);
        if (error != NULL && i == 0)
            return error;
        if (error != NULL) {
            put_look_back(pipeline);
            diagnostics_add(&pipeline->diagnostics, DIAGNOSTIC_LOST, "samples-cut", TEXT(""),
                            "%" PRIu64 " of %" PRIu64 " samples were taken: %s", i, options->samples, error->message);
            break;
        }
        if (options->unwind.progress != NULL)
            options->unwind.progress(options->unwind.progress_context, "sampling", i + 1, options->samples);
    }
    if (pipeline->samples.ended != 0)
        diagnostics_add(&pipeline->diagnostics, DIAGNOSTIC_NOTE, "threads-ended", TEXT(""),
                        "%" PRIu64 " threads of earlier samples had ended in later ones", pipeline->samples.ended)
            ->count = pipeline->samples.ended;
    return NULL;
}

static bool is_text(const struct pipeline *pipeline, const struct pipeline_options *options)
{
    if (options->text.data != NULL || options->live.pid != 0)
        return options->text.data != NULL;
    const struct file_mapping *unpacked = &pipeline->core.file;
    return unpacked->fd < 0 ? source_text_probe(options->core)
                            : unpacked->size_bytes < 4 || memcmp(unpacked->bytes, "\x7f" "ELF", 4) != 0;
}

/* A text already is stacks: no image, nothing to unwind or to name. */
static const struct error *read_text(struct pipeline *pipeline, const struct pipeline_options *options, double *at)
{
    struct text_options text = {
        .path = options->core != NULL ? options->core : "text in memory",
        .bytes = options->text.data,
        .length = options->text.length,
    };
    if (pipeline->core.file.fd >= 0) {
        text.bytes = (const char *)pipeline->core.file.bytes;
        text.length = pipeline->core.file.size_bytes;
    }
    diagnostics_init(&pipeline->diagnostics, &pipeline->keep);
    const struct error *error = source_text_read(&text, &pipeline->text, &pipeline->profiles[0].snapshot,
                                                 &pipeline->keep,
                                                 &pipeline->scratch, &pipeline->diagnostics);
    arena_reset(&pipeline->scratch);
    if (error == NULL)
        wait_dump_read(&pipeline->profiles[0].snapshot, &pipeline->scratch, &pipeline->diagnostics);
    arena_reset(&pipeline->scratch);
    pipeline->profile_count = 1;
    if (error == NULL && options->profiles != PROFILES_ALL &&
        (options->profiles == PROFILES_GOROUTINES) != (pipeline->profiles[0].snapshot.kind == PROFILE_GOROUTINES))
        error = error_new(&pipeline->keep, ERROR_SUPPORT, "%s: it has no %s", text.path,
                          options->profiles == PROFILES_GOROUTINES ? "goroutines" : "threads");
    lap(at, &pipeline->stats.seconds_open);
    return error;
}

/* A profile for each runtime: goroutines of two may have the same id. */
static void read_goroutines(struct pipeline *pipeline, const struct pipeline_options *options)
{
    for (const struct go_runtime *go = &pipeline->go; go != NULL; go = go->next) {
        if (go->goroutine_count == 0)
            continue;
        struct profile *profile = &pipeline->profiles[pipeline->profile_count++];
        profile->go = go;
        walker_set_code_plans(pipeline->walker, unwind_go_plans(go, &pipeline->keep));
        snapshot_from_goroutines(go, &options->goroutines, pipeline->walker, pipeline->symbolizer, &profile->snapshot,
                                 &pipeline->worker, &pipeline->keep, &pipeline->scratch, &pipeline->diagnostics);
        if (go->next != NULL || go != &pipeline->go)
            profile->snapshot.go_module = pipeline->image.modules[go->modules[0].module].path;
        arena_reset(&pipeline->scratch);
    }
}

/* Opens, unwinds and names a core or a process. */
static const struct error *read_image(struct pipeline *pipeline, const struct pipeline_options *options, double *at)
{
    const struct error *error = check_paths(options, &pipeline->keep, &pipeline->diagnostics);
    if (error != NULL)
        return error;
    if (options->samples > 1)
        error = take_samples(pipeline, options, at);
    else
        error = look(pipeline, options, &pipeline->keep, at);
    if (error != NULL)
        return error;
    if (options->live.pid != 0)
        source_live_read_descriptors(&pipeline->live, &pipeline->keep, &pipeline->diagnostics, &pipeline->image);
    if (options->save_fd != 0) {
        enter(options, "saving");
        pipeline->save_errno = core_writer_write(&pipeline->image, options->save_fd, &pipeline->scratch);
        arena_reset(&pipeline->scratch);
    }

    enter(options, "naming");
    struct image_stacks stacks = {
        .walker = pipeline->walker,
        .thread_stacks = pipeline->thread_stacks,
        .symbolizer = pipeline->symbolizer,
        .samples = &pipeline->samples,
        .sample_microseconds = (uint64_t)((pipeline->last_look - pipeline->first_look) * 1e6),
        .progress = options->unwind.progress,
        .progress_context = options->unwind.progress_context,
    };
    bool has_goroutines = false;
    for (const struct go_runtime *go = &pipeline->go; pipeline->has_go && go != NULL; go = go->next)
        has_goroutines |= go->goroutine_count != 0;
    if (!has_goroutines && options->profiles == PROFILES_GOROUTINES)
        return error_new(&pipeline->keep, ERROR_SUPPORT, "%s: no goroutines: %s",
                         options->core != NULL ? options->core : "the process",
                         pipeline->has_go ? "the Go runtime's list of them is not there or empty"
                                          : "it is no Go program, or its runtime was not found");
    if (has_goroutines && options->profiles != PROFILES_THREADS)
        read_goroutines(pipeline, options);
    if (!has_goroutines || options->profiles != PROFILES_GOROUTINES)
        snapshot_from_image(&pipeline->image, &stacks, &pipeline->profiles[pipeline->profile_count++].snapshot,
                            &pipeline->keep, &pipeline->scratch, &pipeline->diagnostics);
    arena_reset(&pipeline->scratch);
    for (size_t i = 0; pipeline->has_go && i < pipeline->profile_count; i++) {
        const struct go_runtime *go = pipeline->profiles[i].go != NULL ? pipeline->profiles[i].go : &pipeline->go;
        pipeline->profiles[i].snapshot.go_version = go->version;
        pipeline->profiles[i].snapshot.go_minor = go->minor;
    }
    lap(at, &pipeline->stats.seconds_symbol);
    struct walker_counts counts = walker_counts(pipeline->walker);
    pipeline->stats.plans = counts.plans;
    pipeline->stats.path_hits = walker_trie(pipeline->walker)->hits;
    pipeline->stats.path_misses = walker_trie(pipeline->walker)->misses;
    return NULL;
}

/* Before a process is stopped: what is wrong with the options is told at once. */
static const struct error *load_rules(struct pipeline *pipeline, const struct pipeline_options *options)
{
    struct arena *keep = &pipeline->keep;
    pipeline->rules = rule_set_new(keep);
    const struct error *error =
        plugin_search_load(&options->plugins, pipeline->rules, keep, &pipeline->early_diagnostics, NULL);
    if (error != NULL)
        return error;
    for (size_t i = 0; i < rule_set_count(pipeline->rules); i++)
        pipeline->rule_count += rule_set_selects(pipeline->rules, i, options->rule);
    if (pipeline->rule_count == 0 && options->rule != NULL)
        return error_new(keep, ERROR_USAGE, "no rule and no plugin is called '%.200s'; see stackgroup rules list",
                         options->rule);
    return NULL;
}

/* What findings may ask of the program: of its goroutines, while the image is open. */
static const struct program *profile_program(struct pipeline *pipeline, const struct pipeline_options *options,
                                             const struct profile *profile)
{
    return profile->go == NULL ? NULL
                               : go_program_new(profile->go, &profile->snapshot, options->rule != NULL,
                                                &pipeline->worker, &pipeline->scratch);
}

static void apply_rules(struct pipeline *pipeline, const struct pipeline_options *options, struct profile *profile)
{
    struct detect_options detect = {.only = options->rule, .program = profile_program(pipeline, options, profile)};
    /* Memory that is allocated, not members that stand somewhere. */
    if (profile->snapshot.kind == PROFILE_HEAP)
        pipeline->rule_count = 0;
    profile->findings = detect_run(pipeline->rules, &profile->snapshot, &profile->grouping, &detect, &pipeline->keep,
                                   &pipeline->scratch, &pipeline->diagnostics);
    arena_reset(&pipeline->scratch);
    detect.program = NULL;
    if (options->explain)
        profile->explanations =
            detect_explain(pipeline->rules, &profile->snapshot, &profile->grouping, &detect, &profile->findings,
                           &pipeline->keep, &pipeline->scratch, &pipeline->diagnostics);
    arena_reset(&pipeline->scratch);
}

static void group_profile(struct pipeline *pipeline, const struct pipeline_options *options, struct profile *profile)
{
    struct group_options group = options->group;
    if (options->by_kind && profile->snapshot.kind != PROFILE_THREADS)
        group.by = GROUP_BY_PC;
    if (group.by == GROUP_BY_CREATOR)
        snapshot_split_by_creator(&profile->snapshot, &pipeline->scratch);
    arena_reset(&pipeline->scratch);
    group.filter = pipeline->filter;
    group.exclude = pipeline->exclude;
    profile->grouping = group_snapshot(&profile->snapshot, &group, &pipeline->keep, &pipeline->scratch);
    arena_reset(&pipeline->scratch);
}

const struct error *pipeline_run(struct pipeline *pipeline, const struct pipeline_options *options)
{
    struct arena *keep = &pipeline->keep;
    struct report_stats *stats = &pipeline->stats;
    const struct error *error = NULL;
    double at = seconds_now();
    enter(options, "reading the rules");
    pipeline->core.file.fd = -1;
    diagnostics_init(&pipeline->early_diagnostics, keep);
    if (options->filter != NULL)
        error = pattern_compile(keep, "--filter", options->filter, &pipeline->filter);
    if (error == NULL && options->exclude != NULL)
        error = pattern_compile(keep, "--exclude", options->exclude, &pipeline->exclude);
    if (error == NULL && !options->no_rules)
        error = load_rules(pipeline, options);
    if (error != NULL)
        return error;
    lap(&at, &stats->seconds_detect);

    enter(options, "reading");
    if (options->core != NULL && options->text.data == NULL)
        error = packed_file_unpack(options->core,
                                   (struct packed_progress){options->unwind.progress, options->unwind.progress_context},
                                   keep, &pipeline->early_diagnostics, &pipeline->core.file);
    if (error != NULL)
        return error;
    error = is_text(pipeline, options) ? read_text(pipeline, options, &at) : read_image(pipeline, options, &at);
    if (error != NULL)
        return error;

    enter(options, "grouping");
    for (size_t i = 0; i < pipeline->profile_count; i++)
        group_profile(pipeline, options, &pipeline->profiles[i]);
    diagnose_limits(pipeline);
    lap(&at, &stats->seconds_group);
    /* Of plugins and of packed files, which are read before there is a target to speak of. */
    diagnostics_merge(&pipeline->diagnostics, &pipeline->early_diagnostics);
    enter(options, "applying the rules");
    for (size_t i = 0; !options->no_rules && i < pipeline->profile_count; i++)
        apply_rules(pipeline, options, &pipeline->profiles[i]);
    lap(&at, &stats->seconds_detect);

    for (size_t i = 0; i < pipeline->profile_count; i++) {
        const struct snapshot *snapshot = &pipeline->profiles[i].snapshot;
        for (size_t j = 0; j < snapshot->member_count; j++)
            stats->frames += snapshot->stacks[snapshot->members[j].stack].step_count;
        stats->distinct_pcs += snapshot->location_count;
    }
    pipeline_close(pipeline);
    stats->arena_bytes = keep->size_bytes + pipeline->looks[0].size_bytes + pipeline->looks[1].size_bytes;
    return NULL;
}

void pipeline_close(struct pipeline *pipeline)
{
    worker_end(&pipeline->worker);
    close_look(&pipeline->symbolizer, &pipeline->files, &pipeline->live);
    close_previous(pipeline);
    pattern_release(pipeline->filter);
    pattern_release(pipeline->exclude);
    file_drop_pages(&pipeline->core.file, &pipeline->worker);
    source_core_close(&pipeline->core);
    source_text_close(&pipeline->text);
    rule_set_release(pipeline->rules);
    pipeline->filter = pipeline->exclude = NULL;
    pipeline->rules = NULL;
}
