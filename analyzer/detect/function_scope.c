/* SPDX-License-Identifier: Apache-2.0 */
#include "detect/function_scope.h"

#include "base/name.h"

#include <stdint.h>

static bool text_contains(struct text text, struct text wanted)
{
    return text_find(text, wanted) != SIZE_MAX;
}

static struct text text_between(struct text text, size_t start, size_t end)
{
    return (struct text){text.data + start, end - start};
}

static bool character_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Go. Names are "import/path.Function", "import/path.(*Type[...]).Method", closures have ".func1", ".func1.2",
 * ".gowrap1", ".deferwrap1", "-fm" (method values) or "-range1" behind them: cmd/compile, typecheck.ClosureName. A dot
 * in the last element of the import path is written %2e, so that the first dot behind the last slash ends the path;
 * type arguments, in brackets, have slashes and dots of their own. */

static bool is_numbered(struct text part, struct text word)
{
    if (part.length <= word.length || !text_starts_with(part, word))
        return false;
    for (size_t i = word.length; i < part.length; i++)
        if (!character_is_digit(part.data[i]))
            return false;
    return true;
}

static bool is_go_closure(struct text part, struct text before)
{
    if (is_numbered(part, TEXT("func")) || is_numbered(part, TEXT("gowrap")) || is_numbered(part, TEXT("deferwrap")))
        return true;
    /* "init.0" is a function of its own. */
    return is_numbered(part, TEXT("")) && !text_equals(before, TEXT("init"));
}

/* Where the first dash of "-fm" or "-range1" stands, or the length. */
static size_t go_dash(struct text part)
{
    for (size_t at = 0; at < part.length; at++)
        if (part.data[at] == '-')
            return at;
    return part.length;
}

static size_t go_package_length(struct text name)
{
    size_t end = 0, start = 0;
    while (end < name.length && name.data[end] != '[')
        end++;
    for (size_t at = 0; at < end; at++)
        if (name.data[at] == '/')
            start = at + 1;
    while (start < end && name.data[start] != '.')
        start++;
    return start;
}

static struct function_scope scope_of_go(struct text name)
{
    size_t package = go_package_length(name);
    struct function_scope scope = {SCOPE_GO, name, text_between(name, 0, package)};
    struct text before = {"", 0};
    int depth = 0;
    size_t start = package + 1;
    for (size_t at = start; at <= name.length && start <= name.length; at++) {
        char c = at < name.length ? name.data[at] : '.';
        if (at < name.length)
            depth += (c == '[' || c == '(') - (c == ']' || c == ')');
        if (c != '.' || (depth > 0 && at < name.length))
            continue;
        struct text part = text_between(name, start, at);
        /* The first part is the function or its receiver. */
        if (start > package + 1 && is_go_closure(part, before)) {
            scope.function = text_between(name, 0, start - 1);
            return scope;
        }
        if (depth == 0 && go_dash(part) < part.length) {
            scope.function = text_between(name, 0, start + go_dash(part));
            return scope;
        }
        before = part;
        start = at + 1;
    }
    return scope;
}

/* C++ and Rust. */

enum { parts_max = 64 };

struct path {
    struct text parts[parts_max];
    size_t count;
};

/* Where the bracket that opens at `at` is closed, past it; the length when it is not. An arrow's '>' closes nothing. */
static size_t bracket_end(struct text name, size_t at)
{
    int depth = 0;
    for (; at < name.length; at++) {
        char c = name.data[at];
        if (c == '<' || c == '(' || c == '{' || c == '[')
            depth++;
        else if (c == ')' || c == '}' || c == ']' || (c == '>' && name.data[at - 1] != '-'))
            depth--;
        if (depth == 0)
            return at + 1;
    }
    return name.length;
}

static void path_add(struct path *path, struct text part)
{
    if (part.length != 0 && path->count < parts_max)
        path->parts[path->count++] = part;
}

/* "operator<<", "operator()", "operator->": its end, or `at` when none stands there. */
static size_t operator_end(struct text name, size_t at, size_t part_start)
{
    struct text word = TEXT("operator");
    if (at - part_start != word.length || memcmp(name.data + part_start, word.data, word.length) != 0)
        return at;
    if (text_starts_with(text_between(name, at, name.length), TEXT("()")))
        return at + 2;
    while (at < name.length && strchr("<>=-", name.data[at]) != NULL)
        at++;
    return at;
}

/* The parts between "::" up to the first parameter list, without type arguments. A lambda stands behind the parameters
 * of the function that it is written in, and so goes with them. */
static void path_read_cpp(struct text name, struct path *path)
{
    size_t start = 0, end = SIZE_MAX; /* of the part; its end is known where type arguments follow */
    for (size_t at = 0; at < name.length;) {
        char c = name.data[at];
        struct text rest = text_between(name, at, name.length);
        size_t operator_at = operator_end(name, at, start);
        if (operator_at != at) {
            at = operator_at;
        } else if (at == start && text_starts_with(rest, TEXT("(anonymous namespace)"))) {
            at += TEXT("(anonymous namespace)").length;
            start = at;
        } else if (c == '(') {
            path_add(path, text_between(name, start, end == SIZE_MAX ? at : end));
            return;
        } else if (c == '<' || c == '{' || c == '[') {
            end = end == SIZE_MAX ? at : end;
            at = bracket_end(name, at);
        } else if (c == ' ' && !text_ends_with(text_between(name, start, at), TEXT("operator"))) {
            /* What stood before was the return type. */
            path->count = 0;
            start = ++at;
            end = SIZE_MAX;
        } else if (text_starts_with(rest, TEXT("::"))) {
            path_add(path, text_between(name, start, end == SIZE_MAX ? at : end));
            at += 2;
            start = at;
            end = SIZE_MAX;
        } else {
            at++;
        }
    }
    path_add(path, text_between(name, start, end == SIZE_MAX ? name.length : end));
}

static void path_read_rust(struct text name, struct path *path, int depth);

/* "<dao::Users as Load>", "<dao::Users>": the type's own path. "<impl Load for dao::Users>" stands behind the module
 * that holds it, and "::<T>" are type arguments: both name nothing more. */
static void path_read_rust_type(struct text inner, struct path *path, int depth)
{
    static const struct text marks[] = {{"&", 1}, {"mut ", 4}, {"dyn ", 4}, {"*const ", 7}, {"*mut ", 5}};
    if (path->count != 0 || depth > 4)
        return;
    size_t as = 0;
    while (as < inner.length && !text_starts_with(text_between(inner, as, inner.length), TEXT(" as ")))
        as = inner.data[as] == '<' || inner.data[as] == '(' ? bracket_end(inner, as) : as + 1;
    inner.length = as;
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (text_starts_with(inner, marks[i]))
            inner = text_between(inner, marks[i].length, inner.length);
    path_read_rust(inner, path, depth + 1);
}

static void path_read_rust(struct text name, struct path *path, int depth)
{
    size_t start = 0;
    for (size_t at = 0; at <= name.length;) {
        bool at_end = at == name.length;
        if (!at_end && strchr("<({[", name.data[at]) != NULL) {
            size_t close = bracket_end(name, at);
            if (at == start) {
                if (name.data[at] == '<' && close > at + 1)
                    path_read_rust_type(text_between(name, at + 1, close - 1), path, depth);
            } else {
                path_add(path, text_between(name, start, at));
            }
            at = start = close;
        } else if (at_end || text_starts_with(text_between(name, at, name.length), TEXT("::"))) {
            path_add(path, text_between(name, start, at));
            at += at_end ? 1 : 2;
            start = at;
        } else {
            at++;
        }
    }
}

static struct text path_join(const struct path *path, size_t count, struct arena *arena)
{
    size_t length = 0;
    for (size_t i = 0; i < count; i++)
        length += path->parts[i].length + (i > 0 ? 2 : 0);
    char *joined = arena_alloc(arena, length + 1, 1);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            memcpy(joined + at, "::", 2);
            at += 2;
        }
        memcpy(joined + at, path->parts[i].data, path->parts[i].length);
        at += path->parts[i].length;
    }
    return (struct text){joined, length};
}

static bool part_is_rust_type(struct text part)
{
    return part.data[0] >= 'A' && part.data[0] <= 'Z';
}

static struct function_scope scope_of_path(struct text name, enum scope_language language, struct arena *arena)
{
    struct path path = {.count = 0};
    if (language == SCOPE_RUST)
        path_read_rust(name, &path, 0);
    else
        path_read_cpp(name, &path);
    if (path.count == 0)
        return (struct function_scope){language, name, {"", 0}};
    size_t layer = path.count - 1;
    while (language == SCOPE_RUST && layer > 0 && part_is_rust_type(path.parts[layer - 1]))
        layer--;
    return (struct function_scope){language, path_join(&path, path.count, arena), path_join(&path, layer, arena)};
}

/* Which language. */

static bool is_file_of(struct text file, const char *const *endings)
{
    for (; *endings != NULL; endings++)
        if (text_ends_with(file, text_from_string(*endings)))
            return true;
    return false;
}

static enum scope_language language_of(struct text name, struct text file)
{
    static const char *const go[] = {".go", NULL}, *const rust[] = {".rs", NULL}, *const c[] = {".c", ".h", NULL},
                             *const cpp[] = {".cc", ".cpp", ".cxx", ".hh", ".hpp", ".tcc", NULL};
    if (is_file_of(file, go))
        return SCOPE_GO;
    if (is_file_of(file, rust))
        return SCOPE_RUST;
    if (is_file_of(file, cpp))
        return SCOPE_CPP;
    if (text_contains(name, TEXT("{{closure}}")) || text_contains(name, TEXT("{closure#")) ||
        (text_starts_with(name, TEXT("<")) && text_contains(name, TEXT("::"))))
        return SCOPE_RUST;
    if (text_contains(name, TEXT(".(*")))
        return SCOPE_GO;
    /* A header can hold C++. */
    if (text_contains(name, TEXT("::")) || text_contains(name, TEXT("(")))
        return SCOPE_CPP;
    if (is_file_of(file, c))
        return SCOPE_C;
    /* Other dots than those that name_normalise() took away: "foo.lto_priv.0", "foo.localalias". */
    if (text_contains(name, TEXT(".lto_priv")) || text_contains(name, TEXT(".localalias")))
        return SCOPE_C;
    return text_contains(name, TEXT(".")) ? SCOPE_GO : SCOPE_C;
}

struct function_scope function_scope_read(struct text name, struct text file, struct text module, struct arena *arena)
{
    name = name_normalise(name);
    struct function_scope scope = {SCOPE_UNKNOWN, name, {"", 0}};
    if (name.length == 0)
        return scope;
    enum scope_language language = language_of(name, file);
    switch (language) {
    case SCOPE_GO:
        scope = scope_of_go(name);
        break;
    case SCOPE_CPP:
    case SCOPE_RUST:
        scope = scope_of_path(name, language, arena);
        break;
    case SCOPE_C:
    case SCOPE_UNKNOWN:
        scope.language = SCOPE_C;
        break;
    }
    if (scope.layer.length == 0)
        scope.layer = file.length != 0 ? file : module;
    return scope;
}

/* "github.com/a/b" of "github.com/a/b/c/d": a host has a dot, and hosts of many projects have an owner below. */
static struct text layer_root(struct text layer)
{
    static const struct text with_owner[] = {
        {"github.com/", 11}, {"gitlab.com/", 11}, {"bitbucket.org/", 14}, {"golang.org/x/", 13}};
    size_t slashes = 2, at = 0;
    while (at < layer.length && layer.data[at] != '/')
        at++;
    if (!text_contains(text_between(layer, 0, at), TEXT(".")))
        return layer;
    for (size_t i = 0; i < sizeof with_owner / sizeof with_owner[0]; i++)
        if (text_starts_with(layer, with_owner[i]))
            slashes = 3;
    for (at = 0; at < layer.length; at++)
        if (layer.data[at] == '/' && --slashes == 0)
            break;
    return text_between(layer, 0, at);
}

static bool layer_is_below(struct text layer, struct text above)
{
    if (above.length == 0 || !text_starts_with(layer, above))
        return false;
    if (layer.length == above.length)
        return true;
    char next = layer.data[above.length];
    return next == '/' || next == ':';
}

bool layers_share_root(struct text a, struct text b)
{
    if (a.length == 0 || b.length == 0)
        return false;
    return layer_is_below(a, b) || layer_is_below(b, a) || text_equals(layer_root(a), layer_root(b));
}

struct text function_short_name(struct text name)
{
    size_t start = 0;
    /* Slashes behind a bracket are those of type arguments; one behind a space is a C++ operator's. */
    for (size_t at = 0; at < name.length && strchr("[<( ", name.data[at]) == NULL; at++)
        if (name.data[at] == '/')
            start = at + 1;
    return text_between(name, start, name.length);
}
