/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/pattern.h"
#include "base/pattern_literals.h"

static const struct row {
    const char *expression, *literals; /* joined by blanks; "": none known */
} rows[] = {
    {"pthread_mutex_lock", "pthread_mutex_lock"},
    {"^(__GI_)?pthread_(mutex|rwlock)_lock$", "pthread_"},
    {"^(futex_wait|lll_lock_wait)$", "futex_wait lll_lock_wait"},
    {"^(futex_wait|ab)$", ""},
    {"a|pthread", ""},
    {"^github\\.com/x\\.\\(\\*Pool\\)\\.(?<op>[gG]et)", "github.com/x.(*Pool)."},
    {"abcd?ef", "abc"},
    {"abcd?efgh", "efgh"},
    {"abcd*efgh", "efgh"},
    {"abcd+ef", "abcd"},
    {"abc{0,3}xyz", "xyz"},
    {"abc{2}xyz", "abc"},
    {"abc{,3}xyz", ""}, /* a letter before PCRE2 10.43, a quantifier after */
    {"(abc)*", ""},
    {"(abc)?xyzw", "xyzw"},
    {"(?:abcdef)+x", "abcdef"},
    {"[abc]defg", "defg"},
    {"[]abc]defg", "defg"},
    {"[^]abc]defg", "defg"},
    {"[[:alpha:]]defg", "defg"},
    {"[\\]abc]defg", "defg"},
    {"\\w+::lock", "::lock"},
    {"\\bfoo\\b", "foo"},
    {"a\\.b\\.c", "a.b.c"},
    {"(?i)pthread", ""},
    {"(?x) pth read", ""},
    {"(?i:pthread)", ""},
    {"(?=pthread)x", ""},
    {"(?!pthread)main", "main"},
    {"(?<!pthread)main", "main"},
    {"\\Qa.b\\Efoo", ""},
    {"\\x41bcd", ""},
    {"(abc)\\1", ""},
    {"(?#comment)abc", ""},
    {"(*UCP)abc", ""},
    {"(?(?=a)bcd|efg)", ""},
    {"\xc3\xa4\xc3\xb6?\xc3\xbc\xc3\xa4", "\xc3\xbc\xc3\xa4"},
    {"abc\\d{2}(x|y)(longest|longer_)", "longest longer_"},
    {"", ""},
    {"(", ""},
    {"a)bcd", ""},
};

static void test_literals(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t count;
        const struct text *literals = pattern_literals(text_from_string(rows[i].expression), &arena, &count);
        const char *joined = "";
        for (size_t j = 0; j < count; j++)
            joined = arena_printf(&arena, "%s%s%.*s", joined, j == 0 ? "" : " ", (int)literals[j].length, literals[j].data);
        if (strcmp(joined, rows[i].literals) != 0)
            fail_msg("%s: '%s'", rows[i].expression, joined);
    }
    arena_deinit(&arena);
}

/* What it says must be true: a text that matches has one of the literals. */
static void test_true(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "pthread_mutex_lock", "__GI_pthread_rwlock_lock", "futex_wait", "ab", "a", "github.com/x.(*Pool).get", "abcef", "abef",
        "abcefgh", "abefgh", "abcccxyz", "abxyz", "abccxyz", "abc", "xyzw", "abcdefabcdefx", "adefg", "]defg", "xdefg",
        "std::lock", "foo", "a foo b", "a.b.c", "PTHREAD", "pthread", "main", "x", "abc12ylongest", "Abcd", "abcabc", "bcd",
        "efg", "\xc3\xa4\xc3\xbc\xc3\xa4", "",
    };
    struct arena arena;
    arena_init(&arena, 0, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pattern *pattern;
        if (pattern_compile(&arena, "row", rows[i].expression, &pattern) != NULL)
            continue;
        size_t count;
        const struct text *literals = pattern_literals(text_from_string(rows[i].expression), &arena, &count);
        for (size_t j = 0; j < sizeof texts / sizeof texts[0]; j++) {
            bool has_one = count == 0;
            for (size_t k = 0; k < count && !has_one; k++)
                has_one = strstr(texts[j], literals[k].data) != NULL;
            if (!has_one && pattern_matches(pattern, text_from_string(texts[j])))
                fail_msg("%s matches %s", rows[i].expression, texts[j]);
        }
        pattern_release(pattern);
    }
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_literals), cmocka_unit_test(test_true)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
