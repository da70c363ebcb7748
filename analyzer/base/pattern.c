/* SPDX-License-Identifier: Apache-2.0 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/pattern.h"

#include <pcre2.h>

enum {
    /* PCRE2's own default is 10,000,000, a minute of backtracking; names are short. */
    match_limit = 200000,
    /* KiB that the interpreter may take for backtracking; its default is 20 GB. */
    heap_limit_kib = 16 << 10,
    /* Bytes for the JIT's own stack; 32 KiB of ours are too few for some expressions over a name of 4 KB. */
    jit_stack_bytes_first = 32 << 10,
    jit_stack_bytes_max = 512 << 10,
    /* Matches before the JIT compiles: it takes as long as about a hundred matches of a name by the interpreter. */
    jit_after = 64,
    /* Groups whose text can be asked for, and the whole match. */
    groups_max = 64,
};

struct pattern_matcher {
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

struct pattern {
    pcre2_code *code;
    struct pattern_matcher *matcher;
    bool owns_matcher;
    uint32_t matches; /* up to jit_after */
    size_t limit_hits;
    const uint8_t *names; /* entries of name_bytes: group number, high byte first, and name */
    uint32_t name_count, name_bytes;
};

static void *arena_malloc(size_t size_bytes, void *arena)
{
    return arena_alloc(arena, size_bytes, 1);
}

static void arena_free(void *pointer, void *arena)
{
    (void)pointer, (void)arena;
}

/* Not in the arena: the interpreter grows what it needs by copies. */
struct pattern_matcher *pattern_matcher_new(struct arena *arena)
{
    struct pattern_matcher *matcher = arena_new(arena, struct pattern_matcher);
    matcher->match = pcre2_match_data_create(groups_max, NULL);
    matcher->context = pcre2_match_context_create(NULL);
    matcher->stack = pcre2_jit_stack_create(jit_stack_bytes_first, jit_stack_bytes_max, NULL);
    if (matcher->context != NULL) {
        pcre2_set_match_limit(matcher->context, match_limit);
        pcre2_set_heap_limit(matcher->context, heap_limit_kib);
        pcre2_jit_stack_assign(matcher->context, NULL, matcher->stack); /* NULL: 32 KiB of ours */
    }
    return matcher;
}

void pattern_matcher_release(struct pattern_matcher *matcher)
{
    if (matcher == NULL)
        return;
    pcre2_match_data_free(matcher->match);
    pcre2_match_context_free(matcher->context);
    pcre2_jit_stack_free(matcher->stack);
    *matcher = (struct pattern_matcher){0};
}

bool pattern_compile_shared(struct arena *arena, struct pattern_matcher *matcher, struct text expression,
                            struct pattern **ret_pattern, struct pattern_fault *ret_fault)
{
    pcre2_general_context *general = pcre2_general_context_create(arena_malloc, arena_free, arena);
    pcre2_compile_context *compile = pcre2_compile_context_create(general);
    int code;
    struct pattern *pattern = arena_new(arena, struct pattern);
    pattern->matcher = matcher;
    pattern->code = pcre2_compile((PCRE2_SPTR)expression.data, expression.length, PCRE2_UTF | PCRE2_MATCH_INVALID_UTF, &code,
                                  &ret_fault->offset, compile);
    if (pattern->code == NULL) {
        char reason[256];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
        ret_fault->reason = arena_printf(arena, "%s", reason);
        return false;
    }
    pcre2_pattern_info(pattern->code, PCRE2_INFO_NAMECOUNT, &pattern->name_count);
    pcre2_pattern_info(pattern->code, PCRE2_INFO_NAMEENTRYSIZE, &pattern->name_bytes);
    pcre2_pattern_info(pattern->code, PCRE2_INFO_NAMETABLE, &pattern->names);
    *ret_pattern = pattern;
    return true;
}

const struct error *pattern_compile(struct arena *arena, const char *what, const char *expression,
                                    struct pattern **ret_pattern)
{
    struct pattern_matcher *matcher = pattern_matcher_new(arena);
    struct pattern_fault fault;
    struct pattern *pattern;
    if (!pattern_compile_shared(arena, matcher, text_from_string(expression), &pattern, &fault)) {
        pattern_matcher_release(matcher);
        return error_new(arena, ERROR_USAGE, "%s: column %zu of '%s': %s", what, fault.offset + 1, expression, fault.reason);
    }
    pattern->owns_matcher = true;
    *ret_pattern = pattern;
    return NULL;
}

bool pattern_matches(struct pattern *pattern, struct text text)
{
    const struct pattern_matcher *matcher = pattern->matcher;
    PCRE2_SPTR subject = (PCRE2_SPTR)(text.data == NULL ? "" : text.data);
    if (matcher->match == NULL || matcher->context == NULL) {
        pattern->limit_hits++;
        return false;
    }
    if (pattern->matches < jit_after && ++pattern->matches == jit_after)
        pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE); /* without it, matching is slower, not different */
    int result = pcre2_match(pattern->code, subject, text.length, 0, 0, matcher->match, matcher->context);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT)
        result = pcre2_match(pattern->code, subject, text.length, 0, PCRE2_NO_JIT, matcher->match, matcher->context);
    if (result < 0 && result != PCRE2_ERROR_NOMATCH)
        pattern->limit_hits++;
    return result >= 0;
}

bool pattern_limit_hit(const struct pattern *pattern)
{
    return pattern->limit_hits != 0;
}

size_t pattern_limit_hits(const struct pattern *pattern)
{
    return pattern->limit_hits;
}

size_t pattern_name_count(const struct pattern *pattern)
{
    return pattern->name_count;
}

const char *pattern_name(const struct pattern *pattern, size_t number)
{
    return (const char *)pattern->names + number * pattern->name_bytes + 2;
}

bool pattern_captures(struct pattern *pattern, struct text text, struct text *ret_values)
{
    if (!pattern_matches(pattern, text))
        return false;
    const PCRE2_SIZE *offsets = pcre2_get_ovector_pointer(pattern->matcher->match);
    for (uint32_t i = 0; i < pattern->name_count; i++) {
        const uint8_t *entry = pattern->names + (size_t)i * pattern->name_bytes;
        size_t group = (size_t)entry[0] << 8 | entry[1];
        bool took_part = group < groups_max && offsets[2 * group] != PCRE2_UNSET && offsets[2 * group] <= offsets[2 * group + 1];
        ret_values[i] = took_part ? (struct text){text.data + offsets[2 * group], offsets[2 * group + 1] - offsets[2 * group]}
                                  : (struct text){0};
    }
    return true;
}

void pattern_release(struct pattern *pattern)
{
    if (pattern == NULL)
        return;
    pcre2_code_free(pattern->code);
    pattern->code = NULL;
    if (pattern->owns_matcher)
        pattern_matcher_release(pattern->matcher);
}
