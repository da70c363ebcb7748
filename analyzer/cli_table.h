/* SPDX-License-Identifier: Apache-2.0 */
/* The options and commands of the program, one row each. Parsing and --help come from the rows, and so do the man page and
 * the shells' completions, by cli_table_list.c and scripts/fill-template. */
#ifndef SG_CLI_TABLE_H
#define SG_CLI_TABLE_H

#include <stddef.h>

enum option_kind { OPTION_FLAG, OPTION_STRING, OPTION_COUNT, OPTION_DURATION, OPTION_CHOICE, OPTION_PLUGIN };

struct option_row {
    const char *heading; /* starts a group in --help; stands in its margin */
    const char *name;
    char letter;          /* 0: none */
    /* NULL: takes none. Words between '|' are all that may be given: of a choice, by value from 0. Else FILE, DIR, PID and
     * their like tell the completions what to offer. */
    const char *argument;
    const char *help;     /* of --help, which is one screen; NULL: the row before speaks for both */
    const char *about;    /* of the man page; its first sentence is what completions show, so it is short */
    enum option_kind kind;
    /* Into struct cli_options: bool, const char *, uint64_t, uint64_t (microseconds), int, const char *[]. */
    size_t offset;
};

enum { option_rows_max = 64 };

extern const struct option_row option_rows[];
extern const size_t option_row_count; /* at most option_rows_max */

/* Of one argument "…" may follow more. */
enum command_id { COMMAND_RULES_LIST, COMMAND_RULES_SHOW, COMMAND_RULES_TEST, COMMAND_RULES_EXPLAIN, COMMAND_RUNBOOK };

struct command_row {
    enum command_id id;
    const char *group, *name; /* "rules", "list": as the arguments are typed; name "": the group is the command */
    const char *operands;     /* "" none; as above for the completions, in [] when it may be left out */
    const char *help;
    const char *about;        /* of the man page */
    int operands_min, operands_max;
};

extern const struct command_row command_rows[];
extern const size_t command_row_count;

#endif
