/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/demangle.h"
#include "base/limits.h"

#include <libiberty/demangle.h>
#include <setjmp.h>

struct demangle_output {
    char text[limit_name_bytes];
    size_t length;
    jmp_buf full;
};

/* Substitutions let 100 mangled bytes stand for gigabytes of text, and the demangler would print them all: leaving it
 * by a jump bounds its time too. Its C++ part allocates nothing on this path; its Rust part at most the letters of one
 * punycode identifier, which are lost then. */
static void demangle_append(const char *text, size_t length, void *context)
{
    struct demangle_output *output = context;
    size_t left = sizeof output->text - output->length;
    size_t taken = length < left ? length : left;
    memcpy(output->text + output->length, text, taken);
    output->length += taken;
    if (taken < length)
        longjmp(output->full, 1);
}

/* Not inlined: a setjmp's function must keep no changed locals in registers. */
static __attribute__((noinline)) bool demangle_run(const char *mangled, struct demangle_output *output, bool *ret_cut)
{
    *ret_cut = false;
    if (setjmp(output->full) != 0) {
        *ret_cut = true;
        return true;
    }
    /* Rust's legacy names are C++ names too, with a hash and $-escapes: Rust is asked first. */
    int options = DMGL_PARAMS | DMGL_ANSI;
    if (rust_demangle_callback(mangled, options, demangle_append, output) != 0)
        return true;
    output->length = 0;
    return cplus_demangle_v3_callback(mangled, options, demangle_append, output) != 0;
}

static struct text text_join(struct arena *arena, struct text first, struct text second)
{
    char *joined = arena_alloc(arena, first.length + second.length + 1, 1);
    memcpy(joined, first.data, first.length);
    if (second.length != 0)
        memcpy(joined + first.length, second.data, second.length);
    return (struct text){joined, first.length + second.length};
}

struct text demangle(struct arena *arena, struct text name)
{
    struct text cut_mark = TEXT("...");
    if (!text_starts_with(name, TEXT("_Z")) && !text_starts_with(name, TEXT("_R")))
        return name;
    const char *at = memchr(name.data, '@', name.length);
    size_t base_length = at == NULL ? name.length : (size_t)(at - name.data);
    struct text version = (struct text){name.data + base_length, name.length - base_length};

    /* The demangler takes 64 bytes of stack for each mangled byte, and recursion besides. */
    if (base_length > limit_name_bytes)
        return text_join(arena, (struct text){name.data, limit_name_bytes - cut_mark.length}, cut_mark);
    char mangled[limit_name_bytes + 1];
    memcpy(mangled, name.data, base_length);
    mangled[base_length] = '\0';

    struct demangle_output output;
    output.length = 0;
    bool cut;
    if (!demangle_run(mangled, &output, &cut) || output.length == 0)
        return name;
    struct text result = {output.text, output.length};
    if (cut || version.length > sizeof output.text - output.length) {
        size_t kept = limit_name_bytes - cut_mark.length;
        result.length = result.length < kept ? result.length : kept;
        return text_join(arena, result, cut_mark);
    }
    return text_join(arena, result, version);
}
