/* SPDX-License-Identifier: Apache-2.0 */
/* libstackgroup: groups the stacks of a program's threads or goroutines, from its core, from the running process or from
 * a dump that somebody printed, and tells what is wrong by rules.
 *
 *   struct sg_options options = SG_OPTIONS_DEFAULT;
 *   struct sg_analysis *analysis = sg_analysis_new();
 *   options.core = "core.1234";
 *   if (sg_analysis_run(analysis, &options) == SG_OK)
 *       sg_analysis_write(analysis, "text", STDOUT_FILENO, NULL);
 *   else
 *       fprintf(stderr, "%s\n", sg_analysis_error(analysis));
 *   sg_analysis_free(analysis);
 *
 * Analyses are independent of each other; one is used by one thread at a time. A part of very many goroutines is read by a
 * thread that sg_analysis_run begins and ends. Nothing is printed. The ABI is free to change while the major version is 0. */
#ifndef STACKGROUP_H
#define STACKGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SG_PUBLIC __attribute__((visibility("default")))

enum sg_status {
    SG_OK,
    SG_USAGE, /* options that contradict each other, a regular expression that does not compile */
    SG_INPUT, /* the input cannot be read, or is not what it should be */
    SG_LIMIT, /* the memory ceiling was reached */
    SG_WRITE, /* the output could not be written */
};

/* Default: threads by line; goroutines and allocation sites by pc, as Go's own profiles do. */
/* CREATOR: members that the same function started, where that is known (goroutines); else as START: members that began with the
 * same function, wherever they stand. */
enum sg_by { SG_BY_DEFAULT, SG_BY_LINE, SG_BY_PC, SG_BY_FUNCTION, SG_BY_CREATOR, SG_BY_START };
/* How a process is read: all threads at one instant; each thread stopped alone; without any stop, from /proc alone. */
enum sg_stop { SG_STOP_ALL, SG_STOP_ROLLING, SG_STOP_NONE };
/* Of a Go program: its goroutines, then its threads; or only one of the two. */
enum sg_profiles { SG_PROFILES_ALL, SG_PROFILES_GOROUTINES, SG_PROFILES_THREADS };
enum sg_unwinder { SG_UNWINDER_AUTO, SG_UNWINDER_DWARF, SG_UNWINDER_LIBUNWIND };

struct sg_options {
    const char *core;       /* path of an ELF core, or of a text: a goroutine dump (debug=1, debug=2, SIGQUIT, panic), a Go
                             * heap profile, stackgroup's own text; "-" reads a text from standard input. One of core,
                             * pid and text_bytes must be set */
    const char *journal;    /* with core: a folder of systemd journals that tell when and where it was written, NULL: this
                             * machine's, for cores that systemd-coredump kept */
    const char *text_bytes; /* a text in memory, borrowed until the analysis has run; its name in messages is core's,
                             * if that is set */
    size_t text_length;
    uint32_t pid;           /* a running process, which is stopped for about 15 microseconds a thread */
    enum sg_stop stop;      /* of that process */
    uint64_t stop_microseconds_max; /* a longer stop is broken off, what was read is kept; 0: no limit */
    const char *registers;  /* with pid: a debugger holds the process still, and this file tells the registers of its threads,
                             * a thread a line: "4711 rip=0x7f2c8a1b2c3d rsp=0x7ffd00112233 …", names as gdb's; "-" is
                             * standard input. Threads that it leaves out are read as with SG_STOP_NONE */
    int memory_fd;          /* with registers: /proc/PID/mem as the debugger opened it; 0: it is opened here */
    int save_fd;            /* with pid: what was read is written here as a small ELF core, 0: nowhere */
    uint64_t samples;       /* with pid: looks at it, to tell what moved between them; 0: one */
    uint64_t interval_microseconds; /* from the start of one look to the next */
    const char *exe;        /* path of the program, NULL: as the core names it */
    const char *sysroot;    /* prefix tried first for every path that the core names, NULL: none */
    const char *debug_path; /* ':'-separated folders of separate debug files, NULL: /usr/lib/debug */
    enum sg_profiles profiles;
    bool system_goroutines; /* the Go runtime's own too, which its profiles leave out */
    bool no_c_frames;       /* goroutines as their runtime tells them: without what C called and was called by */
    bool arguments;         /* of goroutines' calls are read too: format debug2 prints them */
    enum sg_by by;
    enum sg_unwinder unwinder;
    bool cross_check;  /* unwind every thread by both unwinders, follow goroutines by frame pointers too, and report
                        * differences */
    bool no_lines;     /* function names only: debug info is not opened */
    bool no_demangle;
    uint64_t top;       /* groups shown at most, 0: all */
    uint64_t count_min; /* groups with fewer threads are hidden */
    const char *filter, *exclude; /* PCRE2 over function names, file:line and modules of a stack; NULL: none */
    bool no_rules;      /* nothing is looked for */
    const char *rule;   /* "plugin/rule", "plugin" or "rule" that is looked for alone; NULL: all */
    const char *const *plugins; /* further rules: files, or folders of *.yaml; a plugin of theirs replaces one of its name in
                                 * the configuration folders ($XDG_CONFIG_HOME or ~/.config, then /etc, of each
                                 * stackgroup/plugins), and that one a built-in one */
    size_t plugin_count;
    bool no_plugin_search; /* of the configuration folders */
    bool explain;       /* why rules found nothing, for sg_analysis_explanation */
    uint64_t memory_max; /* bytes of memory an analysis may take, 0: the library's own ceiling */
    /* Called from within sg_analysis_run at the start of each stage, with a `total` of 0, and now and then; NULL: never. */
    void (*progress)(void *context, const char *stage, uint64_t done, uint64_t total);
    void *progress_context;
};

/* Everything as described under 0 and NULL. */
#ifdef __cplusplus
#define SG_OPTIONS_DEFAULT {}
#else
#define SG_OPTIONS_DEFAULT {0}
#endif

struct sg_write_options {
    bool members;       /* every thread with its details */
    bool stats;         /* what the analysis cost */
    bool all_findings;  /* every finding whole; else text holds about a screen of them (JSON always has all) */
    bool terminal;      /* text for a person's screen */
    bool color;         /* ANSI colours, with terminal */
    unsigned width;     /* columns, with terminal; 0: 80 */
    unsigned lines_max; /* frames shown of one stack before its middle is left out, 0: all */
};

struct sg_analysis;

SG_PUBLIC const char *sg_version(void);

/* NULL when memory is short. */
SG_PUBLIC struct sg_analysis *sg_analysis_new(void);
SG_PUBLIC void sg_analysis_free(struct sg_analysis *analysis);

/* Reads, unwinds, names, groups and applies the rules. Once per analysis. */
SG_PUBLIC enum sg_status sg_analysis_run(struct sg_analysis *analysis, const struct sg_options *options);

/* For a signal handler that ends the process: lets the process go on that the analysis holds still at this moment, with the
 * signals that were on their way to it, and waits until it does (a second at most). The analysis is not to be used then. */
SG_PUBLIC void sg_analysis_let_go(struct sg_analysis *analysis);

/* Writes the results to a file descriptor; `options` may be NULL. SG_USAGE: no such format. */
SG_PUBLIC enum sg_status sg_analysis_write(struct sg_analysis *analysis, const char *format, int fd,
                                           const struct sg_write_options *options);

/* One line about the last failure, "" when there was none. Borrowed until the next call. */
SG_PUBLIC const char *sg_analysis_error(const struct sg_analysis *analysis);

/* The errno of what kept save_fd from being written whole, 0: nothing did. The analysis itself is not the poorer. */
SG_PUBLIC int sg_analysis_save_errno(const struct sg_analysis *analysis);

/* How much was lost: whole threads or segments of the dump; or, short of that, frames and names. */
enum sg_loss { SG_LOSS_NONE, SG_LOSS_DETAIL, SG_LOSS_THREADS };
SG_PUBLIC enum sg_loss sg_analysis_loss(const struct sg_analysis *analysis);

/* Of the most severe finding. */
enum sg_severity { SG_SEVERITY_NONE, SG_SEVERITY_INFO, SG_SEVERITY_WARNING, SG_SEVERITY_CRITICAL };
SG_PUBLIC enum sg_severity sg_analysis_worst_severity(const struct sg_analysis *analysis);

struct sg_finding {
    const char *rule; /* "plugin/rule" */
    enum sg_severity severity;
    const char *title;
    uint64_t members;
};
/* The most severe first, by number from 0; false past the last. Borrowed from the analysis. */
SG_PUBLIC bool sg_analysis_finding(const struct sg_analysis *analysis, size_t number, struct sg_finding *ret_finding);
/* Lines about one rule that matched at least in part, by number from 0; NULL past the last. */
SG_PUBLIC const char *sg_analysis_explanation(const struct sg_analysis *analysis, size_t number);

/* The rules alone. */
struct sg_rules;
struct sg_rule {
    const char *id;       /* "plugin/rule" */
    const char *path;     /* of its file, "built-in …" */
    const char *severity, *detector, *members; /* "any", "threads", "goroutines" */
    const char *title, *advice, *runbook; /* "" none */
    uint64_t line;        /* of the file */
    size_t example_count;
};
struct sg_example {
    bool is_silent;       /* the rule must not find anything in it; else it must */
    const char *dump;
    size_t length;
    uint64_t line;        /* of the file */
};
/* NULL when memory is short. */
SG_PUBLIC struct sg_rules *sg_rules_new(void);
SG_PUBLIC void sg_rules_free(struct sg_rules *rules);
/* Once: reads the plugins of the options (plugins, no_plugin_search); `alone`: none but options->plugins. A plugin with
 * errors is left out, see sg_rules_fault. */
SG_PUBLIC enum sg_status sg_rules_load(struct sg_rules *rules, const struct sg_options *options, bool alone);
SG_PUBLIC const char *sg_rules_error(const struct sg_rules *rules);
/* By number from 0; false past the last. */
SG_PUBLIC bool sg_rules_rule(const struct sg_rules *rules, size_t number, struct sg_rule *ret_rule);
SG_PUBLIC bool sg_rules_example(const struct sg_rules *rules, size_t rule, size_t number, struct sg_example *ret_example);
/* Whether `name` ("plugin/rule", "plugin" or "rule") names the rule. */
SG_PUBLIC bool sg_rules_selects(const struct sg_rules *rules, size_t number, const char *name);
/* The rule's runbook page; NULL: it has none, or it cannot be read. */
SG_PUBLIC const char *sg_rules_page(struct sg_rules *rules, size_t number);
/* The runbook pages that are built in, by number from 0: "lock-cycle.md" and its text. False past the last. */
SG_PUBLIC bool sg_page(size_t number, const char **ret_name, const char **ret_text);
/* One error of a plugin, by number from 0: "file.yaml:12:17: …", then the line and a caret. NULL past the last. */
SG_PUBLIC const char *sg_rules_fault(const struct sg_rules *rules, size_t number);

/* The formats that can be written, by number from 0; false past the last. */
SG_PUBLIC bool sg_format(size_t number, const char **ret_name, const char **ret_help);

/* Whether a path is an ELF core; for telling `EXE CORE` from `CORE EXE`. */
SG_PUBLIC bool sg_is_core(const char *path);

#ifdef __cplusplus
}
#endif

#endif
