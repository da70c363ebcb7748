/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, by the rows of cli_table.h. */
#ifndef SG_CLI_OPTIONS_H
#define SG_CLI_OPTIONS_H

#include "stackgroup.h"

#include <stdio.h>

enum cli_color { CLI_COLOR_AUTO, CLI_COLOR_ALWAYS, CLI_COLOR_NEVER };

enum { cli_plugins_max = 64 };

struct cli_options {
    struct sg_options analysis;
    struct sg_write_options write;
    const char *core;   /* -c */
    const char *missing_exe; /* the program of EXE -c CORE, where there is no such file (any more); NULL: there is */
    uint64_t pid;       /* -p, 0: none */
    uint64_t stop_milliseconds_max;
    uint64_t interval_microseconds; /* --interval, 0: not given */
    uint64_t timeout_microseconds;  /* of the whole run, 0: none */
    uint64_t memory_fd; /* --memory-fd, 0: none */
    const char *plugins[cli_plugins_max]; /* --plugin, analysis.plugin_count of them */
    const char *save;   /* --save, NULL: not */
    const char *format; /* "text" */
    const char *output; /* -o, NULL: standard output */
    int color;          /* enum cli_color */
    bool rolling, no_stop; /* how a process is read */
    bool goroutines, threads; /* only that profile */
    int by, unwinder;   /* enum sg_by - 1, enum sg_unwinder */
    int lines, demangle; /* 0 on, 1 off */
    uint64_t frames;    /* --frames */
    int fail_on;        /* enum sg_severity */
    bool strict, help, version;
};

/* True when the arguments can be run with. False: one line about what is wrong is in `ret_error`. */
bool cli_options_parse(int count, char **arguments, struct cli_options *ret_options, char *ret_error,
                       size_t error_bytes);

/* 24 lines of 80 columns: a screen holds every option. */
void cli_options_print_help(FILE *stream);

#endif
