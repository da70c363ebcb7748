/* SPDX-License-Identifier: Apache-2.0 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/pattern.h"

#include <pcre2.h>

enum {
    /* PCRE2's own default is 10,000,000, a minute of backtracking; names are short. */
    match_limit = 200000,
};

struct pattern {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
    bool limit_hit;
};

static void *arena_malloc(size_t size_bytes, void *arena)
{
    return arena_alloc(arena, size_bytes, 1);
}

static void arena_free(void *pointer, void *arena)
{
    (void)pointer, (void)arena;
}

const struct error *pattern_compile(struct arena *arena, const char *what, const char *expression,
                                    struct pattern **ret_pattern)
{
    pcre2_general_context *general = pcre2_general_context_create(arena_malloc, arena_free, arena);
    pcre2_compile_context *compile = pcre2_compile_context_create(general);
    int code;
    size_t offset;
    struct pattern *pattern = arena_new(arena, struct pattern);
    pattern->code = pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_MATCH_INVALID_UTF,
                                  &code, &offset, compile);
    if (pattern->code == NULL) {
        char reason[256];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
        return error_new(arena, ERROR_USAGE, "%s: column %zu of '%s': %s", what, offset + 1, expression, reason);
    }
    pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE); /* without it, matching is slower, not different */
    pattern->match = pcre2_match_data_create_from_pattern(pattern->code, general);
    pattern->context = pcre2_match_context_create(general);
    pcre2_set_match_limit(pattern->context, match_limit);
    *ret_pattern = pattern;
    return NULL;
}

bool pattern_matches(struct pattern *pattern, struct text text)
{
    int result = pcre2_match(pattern->code, (PCRE2_SPTR)(text.data == NULL ? "" : text.data), text.length, 0, 0,
                             pattern->match, pattern->context);
    if (result < 0 && result != PCRE2_ERROR_NOMATCH)
        pattern->limit_hit = true;
    return result >= 0;
}

bool pattern_limit_hit(const struct pattern *pattern)
{
    return pattern->limit_hit;
}

void pattern_release(struct pattern *pattern)
{
    if (pattern != NULL)
        pcre2_code_free(pattern->code);
}
