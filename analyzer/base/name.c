/* SPDX-License-Identifier: Apache-2.0 */
#include "base/name.h"

static bool character_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool character_is_version(char c)
{
    return character_is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' ||
           c == '-';
}

size_t name_version_start(struct text name)
{
    size_t at = name.length;
    while (at > 0 && character_is_version(name.data[at - 1]))
        at--;
    if (at == 0 || at == name.length || name.data[at - 1] != '@')
        return name.length;
    if (text_equals((struct text){name.data + at, name.length - at}, TEXT("plt")))
        return name.length;
    while (at > 0 && name.data[at - 1] == '@')
        at--;
    return at == 0 ? name.length : at;
}

/* The length without one suffix that a compiler gave to a part or copy of the function, or the whole length. */
static size_t name_clone_start(struct text name)
{
    static const struct text marks[] = {
        {".constprop", 10},
        {".isra", 5},
        {".part", 5},
        {".cold", 5},
    };
    if (name.length > 0 && name.data[name.length - 1] == ']') {
        size_t bracket = name.length - 1;
        while (bracket > 0 && name.data[bracket] != '[')
            bracket--;
        struct text mark = {name.data + bracket, name.length - bracket};
        bool is_clone = bracket > 0 && name.data[bracket - 1] == ' ' && text_starts_with(mark, TEXT("[clone "));
        return is_clone ? bracket - 1 : name.length;
    }
    size_t end = name.length;
    while (end > 0 && character_is_digit(name.data[end - 1]))
        end--;
    if (end == 0 || (end != name.length && name.data[--end] != '.'))
        return name.length;
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (text_ends_with((struct text){name.data, end}, marks[i]))
            return end - marks[i].length;
    return name.length;
}

/* Rust's legacy mangling ends a path in a hash of the crate and its types. */
static size_t name_hash_start(struct text name)
{
    enum { hash_length = 19 };
    if (name.length < hash_length)
        return name.length;
    const char *hash = name.data + name.length - hash_length;
    if (memcmp(hash, "::h", 3) != 0)
        return name.length;
    for (size_t i = 3; i < hash_length; i++)
        if (!character_is_digit(hash[i]) && !(hash[i] >= 'a' && hash[i] <= 'f'))
            return name.length;
    return name.length - hash_length;
}

struct text name_normalise(struct text name)
{
    static size_t (*const starts[])(struct text) = {name_version_start, name_clone_start, name_hash_start};
    for (;;) {
        size_t length = name.length;
        for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
            size_t start = starts[i](name);
            if (start != 0)
                name.length = start;
        }
        if (name.length == length)
            return name;
    }
}
