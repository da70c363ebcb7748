/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the rows of cli_table.h for scripts/fill-template while stackgroup is built; it is not installed. A row is a line
 * of fields between tabs. */
#include "cli_table.h"

#include <stdio.h>

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

int main(void)
{
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        printf("option\t%s\t%s\t%.1s\t%s\t%s\n", or_empty(row->heading), row->name, &row->letter, or_empty(row->argument),
               row->about);
    }
    for (size_t i = 0; i < command_row_count; i++) {
        const struct command_row *row = &command_rows[i];
        printf("command\t%s\t%s\t%s\t%s\t%s\n", row->group, row->name, row->operands, row->help, row->about);
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
