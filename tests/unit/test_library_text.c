/* SPDX-License-Identifier: Apache-2.0 */
/* The public interface over a text in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "stackgroup.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static enum sg_status run(const char *text, const char *name, char *output, size_t output_bytes)
{
    struct sg_options options = SG_OPTIONS_DEFAULT;
    options.text_bytes = text;
    options.text_length = strlen(text);
    options.core = name;
    struct sg_analysis *analysis = sg_analysis_new();
    enum sg_status status = sg_analysis_run(analysis, &options);
    int fd = memfd_create("report", MFD_CLOEXEC);
    if (status == SG_OK)
        assert_int_equal(sg_analysis_write(analysis, "text", fd, NULL), SG_OK);
    ssize_t length = status == SG_OK ? pread(fd, output, output_bytes - 1, 0) : 0;
    output[length] = 0;
    if (status != SG_OK)
        snprintf(output, output_bytes, "%s", sg_analysis_error(analysis));
    close(fd);
    sg_analysis_free(analysis);
    return status;
}

static void dump_in_memory(void **state)
{
    (void)state;
    char output[4096];
    assert_int_equal(
        run("goroutine profile: total 3\n3 @ 0x10 0x20\n#\t0xf\tmain.f+0x1\t/m.go:4\n", NULL, output, sizeof output),
        SG_OK);
    assert_non_null(strstr(output, "goroutine profile: total 3\n3 @ 0x10 0x20\n#\t0xf\tmain.f+0x1\t/m.go:4\n"));
    assert_non_null(strstr(output, "text in memory"));
}

/* All calls that were inlined into one stand in one place; the one that holds them is the last of many. */
static void many_inlined_calls(void **state)
{
    (void)state;
    enum { inlined = 40 };
    char text[8192], output[16384], last[64];
    size_t length = (size_t)sprintf(text, "goroutine 1 [select]:\n");
    for (int i = 0; i < inlined; i++)
        length += (size_t)sprintf(text + length, "main.inlined%d(...)\n\t/m.go:%d\n", i, i + 1);
    sprintf(text + length, "main.holder(0x1)\n\t/m.go:99 +0x1f\n");
    assert_int_equal(run(text, NULL, output, sizeof output), SG_OK);
    snprintf(last, sizeof last, "main.inlined%d", inlined - 1);
    assert_non_null(strstr(output, last));
    assert_non_null(strstr(output, "main.holder"));
}

static void no_dump_in_memory(void **state)
{
    (void)state;
    char output[4096];
    assert_int_equal(run("nothing", "an example", output, sizeof output), SG_INPUT);
    assert_non_null(strstr(output, "an example: neither"));
    assert_int_equal(run("", "an example", output, sizeof output), SG_INPUT);
    assert_non_null(strstr(output, "an example: empty"));
}

static void text_and_process(void **state)
{
    (void)state;
    struct sg_options options = {.text_bytes = "", .pid = 1};
    struct sg_analysis *analysis = sg_analysis_new();
    assert_int_equal(sg_analysis_run(analysis, &options), SG_USAGE);
    sg_analysis_free(analysis);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(dump_in_memory),
        cmocka_unit_test(many_inlined_calls),
        cmocka_unit_test(no_dump_in_memory),
        cmocka_unit_test(text_and_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
