/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pattern_literals.h"

enum { literals_max = 64, depth_max = 64, literal_bytes_min = 3, expression_bytes_max = 2000 };

/* Of these at least one stands in what matches. */
struct literal_set {
    struct text *items;
    size_t count; /* 0: not known */
    size_t shortest; /* bytes */
};

struct scan {
    struct arena *arena;
    const char *at, *end;
    bool gave_up;
};

enum atom { ATOM_LITERAL, ATOM_GROUP, ATOM_EMPTY, ATOM_OTHER };

static struct literal_set scan_alternatives(struct scan *scan, unsigned depth);

static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void skip_class(struct scan *scan)
{
    const char *at = scan->at + 1;
    at += at < scan->end && *at == '^';
    at += at < scan->end && *at == ']';
    for (; at < scan->end && *at != ']'; at++) {
        if (*at == '\\' && at + 1 < scan->end) {
            scan->gave_up |= at[1] == 'Q';
            at++;
        } else if (*at == '[' && at + 1 < scan->end && (at[1] == ':' || at[1] == '.' || at[1] == '=')) {
            char mark = at[1];
            for (at += 2; at + 1 < scan->end && !(at[0] == mark && at[1] == ']'); at++)
                continue;
            at++;
        }
    }
    scan->gave_up |= at >= scan->end;
    scan->at = at + 1;
}

static enum atom scan_escape(struct scan *scan, struct text *ret_literal)
{
    if (scan->at + 1 >= scan->end) {
        scan->gave_up = true;
        return ATOM_OTHER;
    }
    char c = scan->at[1];
    *ret_literal = (struct text){scan->at + 1, 1};
    scan->at += 2;
    if (!is_alphanumeric(c)) {
        scan->gave_up |= (unsigned char)c >= 0x80;
        return ATOM_LITERAL;
    }
    if (strchr("bBAzZG", c) != NULL)
        return ATOM_EMPTY;
    /* \N{…} is a character, \N alone any. */
    scan->gave_up |= strchr("dDwWsShHvVRXntrfeaN", c) == NULL || (c == 'N' && scan->at < scan->end && *scan->at == '{');
    return ATOM_OTHER;
}

/* At '('. False: an assertion, or something that was given up on. */
static bool open_group(struct scan *scan)
{
    static const char *const assertions[] = {"(?=", "(?!", "(?<=", "(?<!"};
    static const char *const plain[] = {"(?:", "(?>", "(?|"};
    struct text rest = {scan->at, (size_t)(scan->end - scan->at)};
    for (size_t i = 0; i < sizeof assertions / sizeof assertions[0]; i++)
        if (text_starts_with(rest, text_from_string(assertions[i]))) {
            scan->at += strlen(assertions[i]);
            return false;
        }
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (text_starts_with(rest, text_from_string(plain[i]))) {
            scan->at += strlen(plain[i]);
            return true;
        }
    if (text_starts_with(rest, TEXT("(?<")) || text_starts_with(rest, TEXT("(?P<"))) {
        const char *close = memchr(scan->at, '>', rest.length);
        scan->gave_up |= close == NULL;
        scan->at = close == NULL ? scan->end : close + 1;
        return true;
    }
    /* Options, comments, verbs, conditions: (?i) changes what a letter means. */
    scan->gave_up |= text_starts_with(rest, TEXT("(?")) || text_starts_with(rest, TEXT("(*"));
    scan->at++;
    return true;
}

static enum atom scan_atom(struct scan *scan, unsigned depth, struct text *ret_literal, struct literal_set *ret_set)
{
    switch (*scan->at) {
    case '\\':
        return scan_escape(scan, ret_literal);
    case '[':
        skip_class(scan);
        return ATOM_OTHER;
    case '.':
        scan->at++;
        return ATOM_OTHER;
    case '^':
    case '$':
        scan->at++;
        return ATOM_EMPTY;
    case '(': {
        bool is_group = open_group(scan);
        *ret_set = scan_alternatives(scan, depth + 1);
        scan->gave_up |= scan->at >= scan->end || *scan->at != ')';
        scan->at++;
        return is_group ? ATOM_GROUP : ATOM_OTHER;
    }
    }
    /* A character of several bytes is one to a quantifier. */
    const char *start = scan->at++;
    while (scan->at < scan->end && ((unsigned char)*scan->at & 0xc0) == 0x80)
        scan->at++;
    *ret_literal = (struct text){start, (size_t)(scan->at - start)};
    return ATOM_LITERAL;
}

/* Skips what follows an atom; whether it must occur, and whether it occurs exactly once. */
static void scan_quantifier(struct scan *scan, bool *ret_must, bool *ret_once)
{
    *ret_must = *ret_once = true;
    if (scan->at >= scan->end)
        return;
    char c = *scan->at;
    if (c == '{') {
        /* "{" that starts no quantifier is a letter; so is "{,5}" before PCRE2 10.43. */
        const char *at = scan->at + 1;
        while (at < scan->end && ((*at >= '0' && *at <= '9') || *at == ','))
            at++;
        if (at >= scan->end || *at != '}' || scan->at[1] < '0' || scan->at[1] > '9') {
            scan->gave_up = true;
            return;
        }
        const char *digit = scan->at + 1;
        while (*digit == '0')
            digit++;
        *ret_must = *digit >= '1' && *digit <= '9';
        scan->at = at + 1;
    } else if (c == '*' || c == '+' || c == '?') {
        *ret_must = c == '+';
        scan->at++;
    } else {
        return;
    }
    *ret_once = false;
    if (scan->at < scan->end && (*scan->at == '?' || *scan->at == '+'))
        scan->at++;
}

static void take_better(struct literal_set *best, struct literal_set other)
{
    if (other.count != 0 && other.shortest >= literal_bytes_min &&
        (best->count == 0 || other.shortest > best->shortest ||
         (other.shortest == best->shortest && other.count < best->count)))
        *best = other;
}

static void end_run(struct scan *scan, struct text *run, struct literal_set *best)
{
    if (run->length >= literal_bytes_min) {
        struct text *item = arena_new(scan->arena, struct text);
        *item = text_copy(scan->arena, *run);
        take_better(best, (struct literal_set){item, 1, run->length});
    }
    run->length = 0;
}

static struct literal_set scan_sequence(struct scan *scan, unsigned depth)
{
    struct literal_set best = {0};
    char *bytes = arena_alloc(scan->arena, (size_t)(scan->end - scan->at) + 1, 1);
    struct text run = {bytes, 0};
    while (scan->at < scan->end && *scan->at != '|' && *scan->at != ')' && !scan->gave_up) {
        struct text literal = {0};
        struct literal_set set = {0};
        bool must, once;
        enum atom atom = scan_atom(scan, depth, &literal, &set);
        scan_quantifier(scan, &must, &once);
        switch (atom) {
        case ATOM_LITERAL:
            if (must) {
                memcpy(bytes + run.length, literal.data, literal.length);
                run.length += literal.length;
            }
            if (!once)
                end_run(scan, &run, &best);
            break;
        case ATOM_GROUP:
            end_run(scan, &run, &best);
            if (must)
                take_better(&best, set);
            break;
        case ATOM_EMPTY:
            break;
        case ATOM_OTHER:
            end_run(scan, &run, &best);
            break;
        }
    }
    end_run(scan, &run, &best);
    return best;
}

static struct literal_set scan_alternatives(struct scan *scan, unsigned depth)
{
    struct literal_set all = {0};
    bool is_known = true;
    if (depth > depth_max)
        scan->gave_up = true;
    while (!scan->gave_up) {
        struct literal_set one = scan_sequence(scan, depth);
        is_known &= one.count != 0 && all.count + one.count <= literals_max;
        if (is_known) {
            struct text *items = arena_array(scan->arena, struct text, all.count + one.count);
            for (size_t i = 0; i < all.count; i++)
                items[i] = all.items[i];
            for (size_t i = 0; i < one.count; i++)
                items[all.count + i] = one.items[i];
            size_t shortest = all.count == 0 || one.shortest < all.shortest ? one.shortest : all.shortest;
            all = (struct literal_set){items, all.count + one.count, shortest};
        }
        if (scan->at >= scan->end || *scan->at != '|')
            break;
        scan->at++;
    }
    return is_known && !scan->gave_up ? all : (struct literal_set){0};
}

const struct text *pattern_literals(struct text expression, struct arena *arena, size_t *ret_count)
{
    struct scan scan = {.arena = arena, .at = expression.data, .end = expression.data + expression.length};
    if (expression.length > expression_bytes_max) {
        *ret_count = 0;
        return NULL;
    }
    struct literal_set set = scan_alternatives(&scan, 0);
    bool is_whole = !scan.gave_up && scan.at == scan.end;
    *ret_count = is_whole ? set.count : 0;
    return set.items;
}
