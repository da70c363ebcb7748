/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/demangle.h"

#include <ctype.h>
#include <libiberty/demangle.h>
#include <setjmp.h>

struct demangle_output {
    char *text; /* demangle_buffer_bytes of room */
    size_t length;
    jmp_buf full;
};

/* Substitutions let 100 mangled bytes stand for gigabytes of text, and the demangler would print them all: leaving it
 * by a jump bounds its time too. Its C++ part allocates nothing on this path; its Rust part at most the letters of one
 * punycode identifier, which are lost then. */
static void demangle_append(const char *text, size_t length, void *context)
{
    struct demangle_output *output = context;
    size_t left = limit_name_bytes - output->length;
    size_t taken = length < left ? length : left;
    if (taken != 0)
        memcpy(output->text + output->length, text, taken);
    output->length += taken;
    if (taken < length)
        longjmp(output->full, 1);
}

/* Rust's legacy mangling writes a letter beyond ASCII as $u65e5$. The demangler undoes only the ASCII ones. The letter's
 * bytes are fewer than the escape's: done in place. */
static void rust_letters_decode(struct demangle_output *output)
{
    char *text = output->text;
    size_t kept = 0;
    for (size_t i = 0; i < output->length;) {
        uint32_t letter = 0;
        size_t end = i + 2;
        if (text[i] == '$' && end < output->length && text[i + 1] == 'u')
            for (; end < output->length && end < i + 8 && isxdigit((unsigned char)text[end]); end++)
                letter = letter << 4 | (uint32_t)(text[end] <= '9' ? text[end] - '0' : (text[end] | 0x20) - 'a' + 10);
        /* Control characters and halves of surrogate pairs stay as they are. */
        if (letter < 0xa0 || letter > 0x10ffff || (letter >= 0xd800 && letter < 0xe000) || end >= output->length ||
            text[end] != '$') {
            text[kept++] = text[i++];
            continue;
        }
        i = end + 1;
        if (letter < 0x800) {
            text[kept++] = (char)(0xc0 | letter >> 6);
        } else if (letter < 0x10000) {
            text[kept++] = (char)(0xe0 | letter >> 12);
            text[kept++] = (char)(0x80 | (letter >> 6 & 0x3f));
        } else {
            text[kept++] = (char)(0xf0 | letter >> 18);
            text[kept++] = (char)(0x80 | (letter >> 12 & 0x3f));
            text[kept++] = (char)(0x80 | (letter >> 6 & 0x3f));
        }
        text[kept++] = (char)(0x80 | (letter & 0x3f));
    }
    output->length = kept;
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
    if (rust_demangle_callback(mangled, options, demangle_append, output) != 0) {
        rust_letters_decode(output);
        return true;
    }
    output->length = 0;
    return cplus_demangle_v3_callback(mangled, options, demangle_append, output) != 0;
}

/* Ends what the buffer holds in "...", in the last bytes there is room for. */
static struct text demangle_cut(char *buffer, size_t length)
{
    static const char mark[] = "...";
    size_t kept = limit_name_bytes - (sizeof mark - 1);
    kept = length < kept ? length : kept;
    memcpy(buffer + kept, mark, sizeof mark);
    return (struct text){buffer, kept + sizeof mark - 1};
}

struct text demangle(struct text name, char *buffer)
{
    if (!text_starts_with(name, TEXT("_Z")) && !text_starts_with(name, TEXT("_R")))
        return name;
    const char *at = memchr(name.data, '@', name.length);
    size_t base_length = at == NULL ? name.length : (size_t)(at - name.data);
    struct text version = {name.data + base_length, name.length - base_length};

    /* The demangler takes 64 bytes of stack for each mangled byte, and recursion besides. */
    if (base_length > limit_name_bytes) {
        memcpy(buffer, name.data, limit_name_bytes);
        return demangle_cut(buffer, limit_name_bytes);
    }
    char mangled[limit_name_bytes + 1];
    memcpy(mangled, name.data, base_length);
    mangled[base_length] = '\0';

    struct demangle_output output = {.text = buffer};
    bool cut;
    if (!demangle_run(mangled, &output, &cut) || output.length == 0)
        return name;
    if (cut || version.length > limit_name_bytes - output.length)
        return demangle_cut(buffer, output.length);
    if (version.length != 0)
        memcpy(buffer + output.length, version.data, version.length);
    buffer[output.length + version.length] = '\0';
    return (struct text){buffer, output.length + version.length};
}
