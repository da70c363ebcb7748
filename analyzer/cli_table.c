/* SPDX-License-Identifier: Apache-2.0 */
#include "cli_table.h"
#include "cli_options.h"

#define FIELD(name) offsetof(struct cli_options, name)

const struct option_row option_rows[] = {
    {"Input", "core", 'c', "FILE", "the core; the argument is then the program",
     "The core file. The argument, if there is one, is then the program.", OPTION_STRING, FIELD(core)},
    {NULL, "pid", 'p', "PID", "a running process; epoll_wait may see EINTR",
     "A running process. It is stopped for 15 to 20 microseconds a thread, its registers and stacks are copied, and it "
     "goes on before they are looked at. As under any debugger, a call of epoll_wait(2) and some others may return EINTR "
     "once.",
     OPTION_COUNT, FIELD(pid)},
    {NULL, "max-stop", 0, "MS", "break it off; or stop --rolling, --no-stop",
     "Longest stop in milliseconds. A longer one is broken off; what was read by then is kept, and the loss is told.",
     OPTION_COUNT, FIELD(stop_milliseconds_max)},
    {NULL, "rolling", 0, NULL, NULL,
     "Take one thread after another. Threads that wait are read as they stand, those that run or whose frames need more "
     "registers are stopped for some microseconds each; the stacks are then not of one instant, and --samples tells which "
     "threads stood still meanwhile. With --save all are stopped.",
     OPTION_FLAG, FIELD(rolling)},
    {NULL, "no-stop", 0, NULL, NULL,
     "Stop no thread. What /proc tells of waiting threads is read: system call, stack pointer, stack. Running threads have "
     "no stack then.",
     OPTION_FLAG, FIELD(no_stop)},
    {NULL, "samples", 0, "N", "N looks, --interval=T [1s] apart: who moved",
     "Look N times at the process. Each group then says how many of its threads never moved.", OPTION_COUNT,
     FIELD(analysis.samples)},
    {NULL, "interval", 0, "T", NULL,
     "Time from one look to the next. A number with us, ms, s or m, such as 500ms; 1s if it is not given.",
     OPTION_DURATION, FIELD(interval_microseconds)},
    {NULL, "save", 0, "CORE", "a core of what was read; --registers: gdb's",
     "Keep what was read of the process as a core. It is small, and stackgroup, gdb and eu-stack open it. Only its owner may "
     "read it, for it holds the memory of the process.",
     OPTION_STRING, FIELD(save)},
    {NULL, "registers", 0, "FILE", NULL,
     "Registers of a process that a debugger holds still. It is then not stopped, which the kernel would not allow; the "
     "debugger writes a thread a line, 4711 rip=0x7f2c8a1b2c3d rsp=0x7ffd00112233 and so on, with gdb's names. - is "
     "standard input. Threads that are left out are read as with --no-stop. gdb's command stackgroup does this by itself.",
     OPTION_STRING, FIELD(analysis.registers)},
    {NULL, "memory-fd", 0, "N", NULL,
     "Descriptor of /proc/PID/mem. With --registers, for a process whose memory only the debugger may open.", OPTION_COUNT,
     FIELD(memory_fd)},
    {NULL, "exe", 'e', "FILE", "the program, if not where the core says",
     "The program. Needed where it does not lie where the core says.", OPTION_STRING, FIELD(analysis.exe)},
    {NULL, "sysroot", 0, "DIR", "the target's files lie below DIR",
     "Folder with the files of the core's machine. Each path that the core names is tried below it first.", OPTION_STRING,
     FIELD(analysis.sysroot)},
    {NULL, "debug-path", 0, "DIR:DIR", "debug files [/usr/lib/debug]; --journal=DIR",
     "Folders of separate debug files. /usr/lib/debug if not given.", OPTION_STRING, FIELD(analysis.debug_path)},
    {NULL, "journal", 0, "DIR", NULL,
     "Folder of systemd journals from another machine. For a core that systemd-coredump kept there, they tell when and "
     "where the program ended and of which unit it was; this machine's own journal is asked by itself.",
     OPTION_STRING, FIELD(analysis.journal)},
    {"Stacks", "unwinder", 0, "auto|dwarf|libunwind", "auto: libunwind second; --cross-check",
     "How stacks are unwound. auto: by stackgroup itself, with libunwind for what the unwind tables leave open; dwarf: "
     "by stackgroup alone; libunwind: by libunwind alone.",
     OPTION_CHOICE, FIELD(unwinder)},
    {NULL, "cross-check", 0, NULL, NULL, "Unwind every thread by both unwinders. Each difference is told.", OPTION_FLAG,
     FIELD(analysis.cross_check)},
    {NULL, "lines", 0, "on|off", "off: no debug info; --demangle=off: as is",
     "Source lines and inlined calls. off is faster: debug info stays closed.", OPTION_CHOICE, FIELD(lines)},
    {NULL, "demangle", 0, "on|off", NULL,
     "Readable names of C++ and Rust functions. off shows them as the symbol tables have them.", OPTION_CHOICE,
     FIELD(demangle)},
    {NULL, "goroutines", 0, NULL, "alone; --threads, --system, --no-c-frames",
     "Only the goroutines of a Go program. Its threads are left out.", OPTION_FLAG, FIELD(goroutines)},
    {NULL, "threads", 0, NULL, NULL, "Only the threads of a Go program. Its goroutines are left out.", OPTION_FLAG,
     FIELD(threads)},
    {NULL, "system", 0, NULL, NULL,
     "The Go runtime's own goroutines too. Go's profiles leave them out, and so does stackgroup.", OPTION_FLAG,
     FIELD(analysis.system_goroutines)},
    {NULL, "no-c-frames", 0, NULL, NULL,
     "Goroutines as their runtime tells them: without the calls of C that they are in, and those that called them.",
     OPTION_FLAG, FIELD(analysis.no_c_frames)},
    {"Groups", "by", 0, "line|pc|function|creator|start", "equal in a group [line; Go: pc]",
     "What the stacks of a group agree in. If not given: line for threads, pc for goroutines, as Go's own profiles have it. "
     "creator and start look at where goroutines and threads come from alone: who started them, what they began with.",
     OPTION_CHOICE, FIELD(by)},
    {NULL, "top", 0, "N", "the N largest groups; --min-count=N: of N up",
     "Only the N largest groups. The group of the thread that got the fatal signal is shown whatever its size.",
     OPTION_COUNT, FIELD(analysis.top)},
    {NULL, "min-count", 0, "N", NULL, "Only groups of N members and more. How many are hidden is told.", OPTION_COUNT,
     FIELD(analysis.count_min)},
    {NULL, "filter", 0, "RE", "name, file:line or module; --exclude=RE: not",
     "Only stacks that match. The Perl-compatible regular expression is searched for in the function names, in file:line "
     "and in the module names of a stack's frames.",
     OPTION_STRING, FIELD(analysis.filter)},
    {NULL, "exclude", 0, "RE", NULL, "Only stacks that do not match. The expression is searched for as that of --filter.", OPTION_STRING, FIELD(analysis.exclude)},
    {"Verdict", "fail-on", 0, "none|info|warning|critical", "exit 1 if found; --all-findings",
     "Exit with 1 if there is such a finding. One of this severity or of a graver one counts, whether or not anything was lost.",
     OPTION_CHOICE, FIELD(fail_on)},
    {NULL, "all-findings", 0, NULL, NULL,
     "Every finding with all its evidence. Without it, text holds about a screen of them; JSON always has all.",
     OPTION_FLAG, FIELD(write.all_findings)},
    {NULL, "plugin", 0, "FILE|DIR", "more rules; --rule=ID: it alone; --no-rules",
     "Further rules. A rule file, or a folder with some (*.yaml). May be given several times.", OPTION_PLUGIN,
     FIELD(plugins)},
    {NULL, "rule", 0, "ID", NULL, "Apply this rule alone. Or all of a plugin, by its name.", OPTION_STRING,
     FIELD(analysis.rule)},
    {NULL, "no-rules", 0, NULL, NULL, "Apply no rules. There is no verdict then.", OPTION_FLAG, FIELD(analysis.no_rules)},
    {"Output", "format", 'f', "text|debug2|json", "as Go's debug=1, for pprof [text]",
     "Form of the output. text: on a terminal for reading, else the text form of Go's goroutine profiles (debug=1), which "
     "go tool pprof reads; debug2: goroutines one by one, as a Go program's crash prints them; json: one document.",
     OPTION_STRING, FIELD(format)},
    {NULL, "output", 'o', "FILE", "replace FILE once all is written",
     "Write to a file. An old one stays until all is written.", OPTION_STRING, FIELD(output)},
    {NULL, "members", 0, NULL, "every thread; --frames=N [256], 0: all",
     "Every thread of each group. With its name, state and CPU time.", OPTION_FLAG, FIELD(write.members)},
    {NULL, "frames", 0, "N", NULL,
     "Frames shown of one stack. The middle of a longer one is left out; 256 if not given, 0: all are shown.",
     OPTION_COUNT, FIELD(frames)},
    {NULL, "color", 0, "auto|always|never", "auto: on terminals, unless NO_COLOR",
     "Colours. auto: on a terminal, unless NO_COLOR is set; always: also elsewhere, and in the form for reading.",
     OPTION_CHOICE, FIELD(color)},
    {NULL, "strict", 0, NULL, "exit 4 for any loss; --stats; --timeout=T",
     "Exit with 4 for any loss. Without it only lost threads and rule files count, not missing names or stacks that end "
     "early.",
     OPTION_FLAG, FIELD(strict)},
    {NULL, "stats", 0, NULL, NULL, "What the analysis cost. Times, memory and cache hits of each step.", OPTION_FLAG,
     FIELD(write.stats)},
    {NULL, "timeout", 0, "T", NULL,
     "End after so long, with exit code 3. A number with us, ms, s or m, such as 10s. The message says "
     "which stage was not done; files are whole or as they were, and a process that is stopped goes on.",
     OPTION_DURATION, FIELD(timeout_microseconds)},
    {NULL, "help", 'h', NULL, "this text; -V, --version: the version", "All options on one screen.", OPTION_FLAG,
     FIELD(help)},
    {NULL, "version", 'V', NULL, NULL, "The version.", OPTION_FLAG, FIELD(version)},
};

const size_t option_row_count = sizeof option_rows / sizeof option_rows[0];
_Static_assert(sizeof option_rows / sizeof option_rows[0] <= option_rows_max, "option_rows_max is too small");

const struct command_row command_rows[] = {
    {COMMAND_RULES_LIST, "rules", "list", "", "every rule: id, severity, detector, title",
     "Every rule with its id, severity, detector and title.", 0, 0},
    {COMMAND_RULES_SHOW, "rules", "show", "ID", "a rule, or a plugin's: advice and runbook page",
     "A rule, or all of a plugin: what it says, its advice, and the page on how to confirm and mend what it finds.", 1, 1},
    {COMMAND_RULES_TEST, "rules", "test", "FILE|DIR…", "run the rules' examples, both ways; exit 1 if one fails",
     "Runs the examples of the rules in the files: each must be found where it should be, and nowhere else. The exit code is "
     "1 if one fails.",
     1, cli_plugins_max},
    {COMMAND_RULES_EXPLAIN, "rules", "explain", "DUMP", "what of each rule matched in a core or text, and not",
     "What of each rule matched in a core or text, and what did not.", 1, 1},
    {COMMAND_RUNBOOK, "runbook", "", "[ID]", "the page of a rule; alone: from symptom to command",
     "The page on what a rule finds: how to confirm it, what to do now, how to fix it for good. ID is a rule, a plugin or the "
     "name of a page, such as lock-cycle. Without it the index: from symptom to command and page.",
     0, 1},
};

const size_t command_row_count = sizeof command_rows / sizeof command_rows[0];
