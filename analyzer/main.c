/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments in, exit code out; the only unit that prints on its own account. */
#include "cli_options.h"
#include "cli_rules.h"
#include "output_file.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* formats.md, exit codes */
enum { EXIT_DONE = 0, EXIT_FOUND = 1, EXIT_USAGE = 2, EXIT_NO_RESULT = 3, EXIT_INCOMPLETE = 4 };

/* What a signal handler has to know of the run. */
static struct sg_analysis *volatile running;
static const char *volatile stage = "starting";
static char timeout_message[80];

static void let_go(void)
{
    if (running != NULL)
        sg_analysis_let_go(running);
}

static void tell(const char *text)
{
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
}

static void on_end_signal(int number)
{
    let_go();
    output_file_remove_all();
    signal(number, SIG_DFL);
    raise(number);
}

/* A mapped file was cut by somebody else while it was read: its pages are gone. */
static void on_bus_error(int number)
{
    (void)number;
    output_file_remove_all();
    tell("stackgroup: a file was cut short while it was read (SIGBUS)\n");
    _exit(EXIT_NO_RESULT);
}

static void on_timeout(int number)
{
    (void)number;
    let_go();
    output_file_remove_all();
    tell(timeout_message);
    tell(stage);
    tell("\n");
    _exit(EXIT_NO_RESULT);
}

/* 0 ends it. */
static void set_timeout(uint64_t microseconds)
{
    struct itimerval timer = {.it_value = {(time_t)(microseconds / 1000000), (suseconds_t)(microseconds % 1000000)}};
    sigset_t alarm_only;
    if (microseconds != 0) {
        snprintf(timeout_message, sizeof timeout_message, "stackgroup: not done after %g s (--timeout); it was at: ",
                 (double)microseconds * 1e-6);
        signal(SIGALRM, on_timeout);
        /* Whoever started us may have blocked it. */
        sigemptyset(&alarm_only);
        sigaddset(&alarm_only, SIGALRM);
        sigprocmask(SIG_UNBLOCK, &alarm_only, NULL);
    }
    setitimer(ITIMER_REAL, &timer, NULL);
}

struct progress {
    bool is_shown;
    double started;
    double printed; /* when the line was last drawn, 0 never */
};

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Work over a second shows itself, on a terminal alone. */
static void show_progress(void *context, const char *new_stage, uint64_t done, uint64_t total)
{
    struct progress *progress = context;
    stage = new_stage;
    if (!progress->is_shown)
        return;
    double now = seconds_now();
    if (now - progress->started < 1 || now - progress->printed < 0.2)
        return;
    progress->printed = now;
    fprintf(stderr, "\r\033[Kstackgroup: %s", new_stage);
    if (total != 0)
        fprintf(stderr, ", %llu of %llu", (unsigned long long)done, (unsigned long long)total);
    fflush(stderr);
}

static void choose_screen(struct cli_options *options, int fd)
{
    const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM"), *columns = getenv("COLUMNS");
    bool is_terminal = isatty(fd) != 0;
    struct winsize size;
    options->write.width = columns != NULL && atoi(columns) >= 40 ? (unsigned)atoi(columns) : 80;
    if (is_terminal && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col != 0)
        options->write.width = size.ws_col;
    bool allowed = (no_color == NULL || no_color[0] == 0) && (terminal == NULL || strcmp(terminal, "dumb") != 0);
    options->write.terminal = is_terminal || options->color == CLI_COLOR_ALWAYS;
    options->write.color =
        options->color == CLI_COLOR_ALWAYS || (options->color == CLI_COLOR_AUTO && is_terminal && allowed);
}

static bool format_exists(const char *format)
{
    const char *name, *help;
    for (size_t i = 0; sg_format(i, &name, &help); i++)
        if (strcmp(name, format) == 0)
            return true;
    return false;
}

static int fail_write(const char *path, int failed)
{
    fprintf(stderr, "stackgroup: %s: cannot be written: %s\n", path, strerror(failed));
    return EXIT_NO_RESULT;
}

static int run(struct cli_options *options)
{
    struct progress progress = {.is_shown = isatty(STDERR_FILENO) != 0, .started = seconds_now()};
    options->analysis.progress = show_progress;
    options->analysis.progress_context = &progress;
    set_timeout(options->timeout_microseconds);
    struct output_file saved = {0};
    if (options->save != NULL) {
        /* Before a target is stopped for a file that cannot be written. It holds the target's memory: 0600. */
        int failed = output_file_open(&saved, options->save, 0600);
        if (failed != 0)
            return fail_write(options->save, failed);
        options->analysis.save_fd = saved.fd;
    }
    struct sg_analysis *analysis = sg_analysis_new();
    if (analysis == NULL) {
        output_file_close(&saved, false);
        fputs("stackgroup: out of memory\n", stderr);
        return EXIT_NO_RESULT;
    }
    int code = EXIT_DONE;
    running = analysis;
    enum sg_status status = sg_analysis_run(analysis, &options->analysis);
    int save_failed = sg_analysis_save_errno(analysis);
    int close_failed = output_file_close(&saved, status == SG_OK && save_failed == 0);
    if (status == SG_OK && (save_failed != 0 || close_failed != 0))
        code = fail_write(options->save, save_failed != 0 ? save_failed : close_failed);
    if (progress.printed != 0)
        fputs("\r\033[K", stderr);
    if (status == SG_OK) {
        stage = "writing the report";
        struct output_file report;
        int failed = output_file_open(&report, options->output, 0666);
        if (failed == 0) {
            choose_screen(options, report.fd);
            status = sg_analysis_write(analysis, options->format, report.fd, &options->write);
            failed = output_file_close(&report, status == SG_OK);
        }
        if (failed != 0)
            code = fail_write(options->output, failed);
    }
    set_timeout(0);
    if (status != SG_OK) {
        fprintf(stderr, "stackgroup: %s\n", sg_analysis_error(analysis));
        code = status == SG_USAGE ? EXIT_USAGE : EXIT_NO_RESULT;
    } else if (code == EXIT_DONE) {
        enum sg_loss loss = sg_analysis_loss(analysis);
        if (options->fail_on != SG_SEVERITY_NONE &&
            sg_analysis_worst_severity(analysis) >= (enum sg_severity)options->fail_on)
            code = EXIT_FOUND;
        else if (loss == SG_LOSS_THREADS || (loss == SG_LOSS_DETAIL && options->strict))
            code = EXIT_INCOMPLETE;
    }
    running = NULL;
    sg_analysis_free(analysis);
    return code;
}

/* A program of hundreds of libraries keeps two files of each open. */
static void prepare_process(void)
{
    static const int end_signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    for (size_t i = 0; i < sizeof end_signals / sizeof end_signals[0]; i++)
        if (signal(end_signals[i], on_end_signal) == SIG_IGN) /* nohup, background jobs */
            signal(end_signals[i], SIG_IGN);
    signal(SIGBUS, on_bus_error);
    signal(SIGXFSZ, SIG_IGN); /* write says EFBIG then, which is told as a full disk is */
}

int main(int count, char **arguments)
{
    if (count > 1 && (strcmp(arguments[1], "rules") == 0 || strcmp(arguments[1], "runbook") == 0)) {
        prepare_process();
        return cli_rules_run(count - 1, arguments + 1);
    }
    struct cli_options options;
    char error[512];
    if (!cli_options_parse(count, arguments, &options, error, sizeof error)) {
        fprintf(stderr, "stackgroup: %s; see stackgroup --help\n", error);
        return EXIT_USAGE;
    }
    if (options.help || options.version) {
        if (options.help)
            cli_options_print_help(stdout);
        else
            printf("stackgroup %s\n", sg_version());
        return fflush(stdout) == 0 ? EXIT_DONE : EXIT_NO_RESULT;
    }
    if (!format_exists(options.format)) {
        fprintf(stderr, "stackgroup: --format: '%s' is not a format; see stackgroup --help\n", options.format);
        return EXIT_USAGE;
    }
    prepare_process();
    if (options.missing_exe != NULL)
        fprintf(stderr, "stackgroup: %s: no such file; the program is sought where the core says\n", options.missing_exe);
    return run(&options);
}
