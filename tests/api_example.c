/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a program, by libstackgroup: one line a finding, then the stacks if there is any.
 *
 *   cc -o api_example api_example.c $(pkg-config --cflags --libs libstackgroup)
 *   ./api_example core.1234
 *
 * Exit code: 0 nothing is wrong, 1 something is, 2 wrong usage, 3 no result. */
#include <stackgroup.h>

#include <stdio.h>
#include <unistd.h>

int main(int count, char **arguments)
{
    static const char *const severities[] = {"none", "info", "warning", "critical"};
    if (count != 2) {
        fprintf(stderr, "usage: %s CORE|TEXT\n", arguments[0]);
        return 2;
    }
    struct sg_options options = SG_OPTIONS_DEFAULT;
    options.core = arguments[1];
    struct sg_analysis *analysis = sg_analysis_new();
    if (analysis == NULL || sg_analysis_run(analysis, &options) != SG_OK) {
        fprintf(stderr, "%s\n", analysis == NULL ? "out of memory" : sg_analysis_error(analysis));
        sg_analysis_free(analysis);
        return 3;
    }
    struct sg_finding finding;
    for (size_t i = 0; sg_analysis_finding(analysis, i, &finding); i++)
        printf("%s: %s (%s)\n", severities[finding.severity], finding.title, finding.rule);
    int code = sg_analysis_worst_severity(analysis) >= SG_SEVERITY_WARNING;
    /* The report goes to the descriptor, past stdio's buffer. */
    fflush(stdout);
    if (code == 1 && sg_analysis_write(analysis, "text", STDOUT_FILENO, NULL) != SG_OK) {
        fprintf(stderr, "%s\n", sg_analysis_error(analysis));
        code = 3;
    }
    sg_analysis_free(analysis);
    return code;
}
