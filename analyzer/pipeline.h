/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the stages in order and owns what they share. The only unit that knows all stages. */
#ifndef SG_PIPELINE_H
#define SG_PIPELINE_H

#include "base/error.h"
#include "base/limits.h"
#include "detect/detect.h"
#include "group/group.h"
#include "plugin_search.h"
#include "report/report.h"
#include "samples.h"
#include "snapshot_from_goroutines.h"
#include "snapshot_from_image.h"
#include "source/core_writer.h"
#include "source/packed_file.h"
#include "source/source_core.h"
#include "source/source_live.h"
#include "source/source_text.h"
#include "symbol/symbolize.h"
#include "unwind/unwind_threads.h"

/* Which profiles of a Go program are made. */
enum profile_choice { PROFILES_ALL, PROFILES_GOROUTINES, PROFILES_THREADS };

struct pipeline_options {
    const char *core;         /* one of the three; a core or a text */
    struct live_options live; /* pid 0: none */
    const char *journal;      /* folder of the journals that tell of the core, NULL: this machine's */
    struct text text;         /* a dump in memory; data NULL: none */
    uint64_t samples;         /* looks at a live process, 0: one */
    uint64_t interval_microseconds;
    int save_fd;              /* a live image is written here as a core, 0: nowhere */
    struct module_file_options files;
    struct unwind_options unwind;
    struct symbolize_options symbolize;
    struct group_options group; /* filter and exclude are filled from the expressions below */
    bool by_kind; /* group.by is for threads; all else goes by pc */
    enum profile_choice profiles;
    struct goroutine_options goroutines;
    const char *filter, *exclude;
    struct plugin_options plugins;
    const char *rule; /* as detect_options.only */
    bool no_rules, explain;
};

/* A look at a live process that is kept until the next one has succeeded. */
struct pipeline_look {
    struct diagnostics diagnostics;
    struct live_source live;
    struct image image;
    struct module_files *files;
    struct symbolizer *symbolizer;
    struct walker *walker;
    uint32_t *thread_stacks;
    struct go_runtime go;
    bool has_go;
};

/* The members of one kind, and what was made of them. */
struct profile {
    struct snapshot snapshot;
    struct grouping grouping;
    struct findings findings;
    struct explanations explanations;
    const struct go_runtime *go; /* whose goroutines they are; NULL: of no image */
};

struct pipeline {
    struct arena keep;    /* until the analysis is closed */
    struct arena scratch; /* until a stage ends */
    struct worker worker; /* idle between stages; it reads the image, and what is in the arenas */
    struct diagnostics diagnostics;
    struct core_source core;
    struct live_source live;
    struct text_source text;
    struct image image;
    struct module_files *files;    /* NULL once closed, as symbolizer and patterns */
    struct symbolizer *symbolizer;
    struct walker *walker;
    uint32_t *thread_stacks; /* by thread, into the walker's trie */
    struct arena looks[2];   /* of a sampled process, by turns */
    struct pipeline_look previous;
    struct samples samples;
    double first_look, last_look; /* seconds */
    struct pattern *filter, *exclude;
    struct go_runtime go; /* of the image, when has_go */
    bool has_go;
    struct profile profiles[limit_go_runtimes + 1];
    size_t profile_count;
    size_t rule_count; /* rules that were applied; 0: none was meant to */
    struct rule_set *rules; /* NULL once closed */
    struct diagnostics early_diagnostics; /* of plugins and packed files, until the target is read */
    struct report_stats stats;
    int save_errno; /* of options.save_fd, 0: all went well */
};

/* Fills profiles, diagnostics and stats; of a Go program the goroutines are the first profile, one for each of its runtimes,
 * its threads the last; the image is closed when it returns. Leaves by the arenas' `exhausted` jump when the memory ceiling is reached; pipeline_close releases everything then too. */
const struct error *pipeline_run(struct pipeline *pipeline, const struct pipeline_options *options);

/* Releases what the OS and libraries gave; may be called again. The arenas are the caller's. */
void pipeline_close(struct pipeline *pipeline);

#endif
