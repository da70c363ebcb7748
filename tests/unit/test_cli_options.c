/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli_options.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[] = "/tmp/test_cli_options.XXXXXX";
static char core_path[64], exe_path[64];

static void write_elf(const char *path, uint16_t type)
{
    Elf64_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT}, .e_type = type};
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(&header, sizeof header, 1, file), 1);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
    (void)state;
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(core_path, sizeof core_path, "%s/core", directory);
    snprintf(exe_path, sizeof exe_path, "%s/exe", directory);
    write_elf(core_path, ET_CORE);
    write_elf(exe_path, ET_DYN);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(core_path);
    unlink(exe_path);
    return rmdir(directory);
}

static struct cli_options options;
static char message[256];

static bool parse(size_t count, const char *const *words)
{
    static char storage[16][128]; /* options keep pointers to the arguments */
    char *arguments[17] = {storage[0]};
    strcpy(storage[0], "stackgroup");
    for (size_t i = 0; i < count; i++) {
        snprintf(storage[i + 1], sizeof storage[i + 1], "%s", words[i]);
        arguments[i + 1] = storage[i + 1];
    }
    options = (struct cli_options){.format = "untouched"};
    message[0] = 0;
    return cli_options_parse((int)count + 1, arguments, &options, message, sizeof message);
}
#define PARSE(...) parse(sizeof(const char *const[]){__VA_ARGS__} / sizeof(char *), (const char *const[]){__VA_ARGS__})

static void assert_paths(const char *core, const char *exe)
{
    assert_string_equal(options.analysis.core, core);
    if (exe == NULL)
        assert_null(options.analysis.exe);
    else
        assert_string_equal(options.analysis.exe, exe);
}

static void test_paths(void **state)
{
    (void)state;
    assert_true(PARSE(core_path));
    assert_paths(core_path, NULL);
    assert_true(PARSE(core_path, exe_path));
    assert_paths(core_path, exe_path);
    assert_true(PARSE(exe_path, core_path)); /* as gdb takes them */
    assert_paths(core_path, exe_path);
    assert_true(PARSE(exe_path, "-c", core_path)); /* as coredumpctl debug gives them */
    assert_paths(core_path, exe_path);
    assert_true(PARSE("-c", core_path, exe_path));
    assert_paths(core_path, exe_path);
    assert_true(PARSE("-c", core_path));
    assert_paths(core_path, NULL);
    assert_true(PARSE("--exe", exe_path, core_path));
    assert_paths(core_path, exe_path);
    /* What does not exist or is no core is the analysis's to refuse: the first is taken for the core. */
    assert_true(PARSE("/missing/a", "/missing/b"));
    assert_paths("/missing/a", "/missing/b");
    assert_true(PARSE(core_path, core_path));
    assert_paths(core_path, core_path);
    assert_true(PARSE("--", "--strange"));
    assert_paths("--strange", NULL);
}

static void test_defaults(void **state)
{
    (void)state;
    assert_true(PARSE(core_path));
    assert_string_equal(options.format, "text");
    assert_null(options.output);
    assert_int_equal(options.color, CLI_COLOR_AUTO);
    assert_int_equal(options.analysis.by, SG_BY_DEFAULT);
    assert_int_equal(options.analysis.unwinder, SG_UNWINDER_AUTO);
    assert_int_equal(options.analysis.top, 0);
    assert_int_equal(options.analysis.count_min, 0);
    assert_int_equal(options.write.lines_max, 256);
    assert_int_equal(options.fail_on, SG_SEVERITY_NONE);
    assert_false(options.write.all_findings);
    assert_false(options.analysis.no_lines || options.analysis.no_demangle || options.analysis.cross_check);
    assert_false(options.strict || options.help || options.version || options.write.members || options.write.stats);
}

static void test_rules(void **state)
{
    (void)state;
    assert_true(PARSE(core_path));
    assert_int_equal(options.analysis.plugin_count, 0);
    assert_null(options.analysis.rule);
    assert_false(options.analysis.no_rules || options.analysis.no_plugin_search || options.analysis.explain);
    assert_true(PARSE("--plugin=a.yaml", core_path, "--plugin", "folder", "--rule=pthread/deadlock"));
    assert_int_equal(options.analysis.plugin_count, 2);
    assert_ptr_equal(options.analysis.plugins, options.plugins);
    assert_string_equal(options.analysis.plugins[0], "a.yaml");
    assert_string_equal(options.analysis.plugins[1], "folder");
    assert_string_equal(options.analysis.rule, "pthread/deadlock");
    assert_true(PARSE("--no-rules", core_path));
    assert_true(options.analysis.no_rules);
    assert_false(PARSE("--no-rules", "--rule=x", core_path));
    assert_string_equal(message, "--no-rules and --rule: only one of them");
    assert_false(PARSE("--no-rules", "--plugin=x", core_path));
    assert_string_equal(message, "--no-rules and --plugin: only one of them");
    static char name[] = "stackgroup", plugin[] = "--plugin=x";
    char *arguments[cli_plugins_max + 4] = {name, core_path};
    for (int i = 0; i <= cli_plugins_max; i++)
        arguments[2 + i] = plugin;
    assert_true(cli_options_parse(2 + cli_plugins_max, arguments, &options, message, sizeof message));
    assert_int_equal(options.analysis.plugin_count, cli_plugins_max);
    assert_false(cli_options_parse(3 + cli_plugins_max, arguments, &options, message, sizeof message));
    assert_string_equal(message, "--plugin: 'x' is one too many; name their folder");
}

static void test_every_option(void **state)
{
    (void)state;
    assert_true(PARSE("--by=function", "--top=5", "--min-count", "7", "--filter=a", "--exclude=b", "--unwinder=dwarf",
                      "--lines=off", "--demangle=off", "-fjson", "-o", "out", "--members", "--stats", core_path));
    assert_int_equal(options.analysis.by, SG_BY_FUNCTION);
    assert_int_equal(options.analysis.top, 5);
    assert_int_equal(options.analysis.count_min, 7);
    assert_string_equal(options.analysis.filter, "a");
    assert_string_equal(options.analysis.exclude, "b");
    assert_int_equal(options.analysis.unwinder, SG_UNWINDER_DWARF);
    assert_true(options.analysis.no_lines && options.analysis.no_demangle);
    assert_string_equal(options.format, "json");
    assert_string_equal(options.output, "out");
    assert_true(options.write.members && options.write.stats);
    assert_true(PARSE("--sysroot=/s", "--debug-path=/d:/e", "--cross-check", "--by=pc", "--unwinder=libunwind",
                      "--color=never", "--strict", "--frames=3", core_path));
    assert_string_equal(options.analysis.sysroot, "/s");
    assert_string_equal(options.analysis.debug_path, "/d:/e");
    assert_true(options.analysis.cross_check && options.strict);
    assert_int_equal(options.analysis.by, SG_BY_PC);
    assert_int_equal(options.analysis.unwinder, SG_UNWINDER_LIBUNWIND);
    assert_int_equal(options.color, CLI_COLOR_NEVER);
    assert_int_equal(options.write.lines_max, 3);
    assert_true(PARSE("--fail-on=warning", "--all-findings", core_path));
    assert_int_equal(options.fail_on, SG_SEVERITY_WARNING);
    assert_true(options.write.all_findings);
    assert_true(PARSE("--fail-on=critical", "--fail-on=none", core_path));
    assert_int_equal(options.fail_on, SG_SEVERITY_NONE);
    assert_true(PARSE("--frames=0", core_path));
    assert_int_equal(options.write.lines_max, 0);
    assert_true(PARSE("--goroutines", "--system", core_path));
    assert_int_equal(options.analysis.profiles, SG_PROFILES_GOROUTINES);
    assert_true(options.analysis.system_goroutines && !options.analysis.arguments);
    assert_true(PARSE("--threads", "--format=debug2", core_path));
    assert_int_equal(options.analysis.profiles, SG_PROFILES_THREADS);
    assert_true(options.analysis.arguments);
    assert_true(PARSE("--top=1", "--top=2", core_path)); /* the last one counts */
    assert_int_equal(options.analysis.top, 2);
    /* No core is needed to ask for help. */
    assert_true(PARSE("-p", "7", "--no-stop"));
    assert_int_equal(options.analysis.stop, SG_STOP_NONE);
    assert_true(PARSE("-p", "7", "--rolling"));
    assert_int_equal(options.analysis.stop, SG_STOP_ROLLING);
    assert_true(PARSE("-p", "7", "--max-stop=3"));
    assert_int_equal(options.analysis.stop, SG_STOP_ALL);
    assert_true(PARSE("--help"));
    assert_true(options.help);
    assert_true(PARSE("-V"));
    assert_true(options.version);
}

static void test_live_options(void **state)
{
    (void)state;
    assert_true(PARSE("-p", "5", "--save=c", "--samples=3"));
    assert_string_equal(options.save, "c");
    assert_int_equal(options.analysis.samples, 3);
    assert_int_equal(options.analysis.interval_microseconds, 1000000);
    static const struct {
        const char *text;
        uint64_t microseconds;
    } times[] = {{"10ms", 10000}, {"0.5s", 500000}, {"2s", 2000000}, {"1.25ms", 1250}, {"3us", 3}, {"1m", 60000000},
                 {"86400s", 86400000000}};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        assert_true(PARSE("-p", "5", "--samples=3", "--interval", times[i].text));
        assert_int_equal(options.analysis.interval_microseconds, times[i].microseconds);
    }
}

#define assert_refused(part, ...)                                                                                      \
    do {                                                                                                               \
        assert_false(PARSE(__VA_ARGS__));                                                                              \
        if (strstr(message, part) == NULL)                                                                             \
            fail_msg("'%s' does not hold '%s'", message, part);                                                        \
        assert_string_equal(options.format, "untouched");                                                              \
    } while (0)

static void test_errors(void **state)
{
    (void)state;
    assert_false(parse(0, NULL));
    assert_string_equal(message, "no core and no process given");
    assert_refused("'c': one argument too many", "a", "b", "c");
    assert_refused("--goroutines and --threads", "--threads", "--goroutines", "a");
    assert_refused("--rolling and --no-stop", "-p", "7", "--no-stop", "--rolling");
    assert_refused("--no-stop: only with --pid", "--no-stop", "a");
    assert_refused("--max-stop", "-p", "7", "--rolling", "--max-stop=5");
    assert_refused("'b': one argument too many", "-c", core_path, "a", "b");
    assert_refused("given twice: 'b' and --exe=e", "--exe=e", "a", "b");
    assert_refused("given twice: 'a' and --exe=e", "--exe=e", "-c", core_path, "a");
    assert_refused("--by: 'lin' is not one of line|pc|function", "--by=lin", core_path);
    assert_refused("--by: 'line|pc' is not one of", "--by=line|pc", core_path);
    assert_refused("--by: '' is not one of", "--by=", core_path);
    assert_refused("--fail-on: 'fatal' is not one of none|info|warning|critical", "--fail-on=fatal", core_path);
    assert_refused("--top: '-1' is not a whole number", "--top=-1", core_path);
    assert_refused("--top: '' is not", "--top=", core_path);
    assert_refused("--top: '5x' is not", "--top=5x", core_path);
    assert_refused("--top: '1.5' is not", "--top=1.5", core_path);
    assert_refused("--top: '18446744073709551616' is not", "--top=18446744073709551616", core_path);
    assert_refused("--top: needs an argument", core_path, "--top");
    assert_refused("-o: needs an argument", core_path, "-o");
    assert_refused("--save: needs --pid", "--save=c", core_path);
    assert_refused("--samples: needs --pid", "--samples=2", core_path);
    assert_refused("--interval: needs --samples", "-p", "5", "--interval=1s");
    static const char *const times[] = {"", "1", "s", "0s", "0.0s", "-1s", "1.s", ".5s", "1,5s", "1 s", "1h", "86401s",
                                        "0.0000001s", "1.1234567s", "99999999999999999999s", "1ms "};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        assert_refused("is no time such as", "-p", "5", "--samples=2", "--interval", times[i]);
}

/* The message names the option, wherever getopt has moved on to. */
static void test_unknown_options(void **state)
{
    (void)state;
    assert_refused("--no-such: unknown option", "--no-such", core_path);
    assert_refused("--no-such=5: unknown option", core_path, "--no-such=5");
    assert_refused("-x: unknown option", "-x", core_path);
    assert_refused("-x: unknown option", "-xh", core_path);
    assert_refused("-x: unknown option", core_path, "-hx");
    assert_refused("--members: takes no argument", "--members=5", core_path);
    assert_refused("--f: could be several options", "--f", "x", core_path); /* filter, format, frames */
}

static void test_help_fits_a_screen(void **state)
{
    (void)state;
    char *text = NULL;
    size_t length;
    FILE *stream = open_memstream(&text, &length);
    cli_options_print_help(stream);
    fclose(stream);
    size_t lines = 0, column = 0;
    for (size_t i = 0; i < length; i++) {
        column = text[i] == '\n' ? 0 : column + 1;
        lines += text[i] == '\n';
        assert_true(column <= 80);
    }
    assert_true(lines <= 24);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_every_option), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_unknown_options), cmocka_unit_test(test_help_fits_a_screen),
        cmocka_unit_test(test_live_options),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
