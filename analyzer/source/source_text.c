/* SPDX-License-Identifier: Apache-2.0 */
#include "source/source_text.h"

#include "base/limits.h"
#include "base/text_writer.h"
#include "format/goroutine_text.h"
#include "format/heap_text.h"
#include "format/stack_text.h"
#include "source/text_build.h"
#include "source/text_profile.h"
#include "source/text_stacks.h"
#include "source/text_trace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct error *open_failed(const struct text_options *options, struct arena *arena, int reason)
{
    return error_new(arena, ERROR_OPEN, "%s: cannot be read: %s", options->path, strerror(reason));
}

static const struct error *too_long(const struct text_options *options, struct arena *arena)
{
    return error_new(arena, ERROR_LIMIT, "%s: a text of more than %" PRIu64 " bytes is not read", options->path,
                     limit_text_bytes);
}

/* Reads a pipe to its end. */
static const struct error *read_pipe(const struct text_options *options, int fd, struct arena *arena,
                                     struct text_source *ret_source)
{
    size_t capacity = (size_t)1 << 20, length = 0;
    char *bytes = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED)
        return open_failed(options, arena, errno);
    int failed = 0;
    for (ssize_t count; failed == 0; length += count > 0 ? (size_t)count : 0) {
        if (length == capacity) {
            if (capacity >= limit_text_bytes) {
                munmap(bytes, capacity);
                return too_long(options, arena);
            }
            void *grown = mremap(bytes, capacity, capacity * 2, MREMAP_MAYMOVE);
            if (grown == MAP_FAILED) {
                failed = errno;
                break;
            }
            bytes = grown;
            capacity *= 2;
        }
        count = read(fd, bytes + length, capacity - length);
        if (count == 0)
            break;
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (count < 0 && errno == EAGAIN)
            failed = poll(&ready, 1, -1) < 0 && errno != EINTR ? errno : 0;
        else if (count < 0 && errno != EINTR)
            failed = errno;
    }
    if (failed != 0) {
        munmap(bytes, capacity);
        return open_failed(options, arena, failed);
    }
    *ret_source = (struct text_source){bytes, length, bytes, capacity};
    return NULL;
}

static const struct error *read_descriptor(const struct text_options *options, int fd, struct arena *arena,
                                           struct text_source *ret_source)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return open_failed(options, arena, errno);
    if (S_ISDIR(status.st_mode))
        return open_failed(options, arena, EISDIR);
    if (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode) || isatty(fd))
        return read_pipe(options, fd, arena, ret_source);
    if (!S_ISREG(status.st_mode))
        return error_new(arena, ERROR_OPEN, "%s: cannot be read: not a file and not a pipe", options->path);
    if ((uint64_t)status.st_size > limit_text_bytes)
        return too_long(options, arena);
    if (status.st_size == 0)
        return NULL;
    size_t length = (size_t)status.st_size;
    void *bytes = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return open_failed(options, arena, errno);
    *ret_source = (struct text_source){bytes, length, bytes, length};
    return NULL;
}

static const struct error *input_open(const struct text_options *options, struct arena *arena,
                                      struct text_source *ret_source)
{
    *ret_source = (struct text_source){options->bytes, options->length, NULL, 0};
    if (options->bytes != NULL)
        return options->length > limit_text_bytes ? too_long(options, arena) : NULL;
    if (strcmp(options->path, "-") == 0)
        return read_descriptor(options, STDIN_FILENO, arena, ret_source);
    /* A pipe that nobody writes to ends at once instead of hanging. */
    int fd = open(options->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return open_failed(options, arena, errno);
    const struct error *error = read_descriptor(options, fd, arena, ret_source);
    close(fd);
    return error;
}

bool source_text_probe(const char *path)
{
    if (strcmp(path, "-") == 0)
        return true;
    struct stat status;
    if (stat(path, &status) != 0)
        return false;
    if (!S_ISREG(status.st_mode))
        return S_ISFIFO(status.st_mode);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    char magic[4] = "";
    bool is_elf = fd >= 0 && read(fd, magic, sizeof magic) == (ssize_t)sizeof magic &&
                  memcmp(magic,
                         "\x7f"
                         "ELF",
                         sizeof magic) == 0;
    if (fd >= 0)
        close(fd);
    return !is_elf;
}

enum text_form { FORM_NONE, FORM_PROFILE, FORM_HEAP, FORM_TRACE, FORM_STACKS };

static enum text_form line_form(struct text line, struct text *ret_word)
{
    uint64_t total;
    struct heap_numbers numbers;
    struct goroutine_header header;
    if (profile_header_parse(line, ret_word, &total))
        return FORM_PROFILE;
    if (heap_header_parse(line, &numbers, ret_word))
        return FORM_HEAP;
    if (stack_text_begins(line))
        return FORM_STACKS;
    const char *found = line.length == 0 ? NULL : memmem(line.data, line.length, "goroutine ", 10);
    if (found == NULL)
        return FORM_NONE;
    size_t column = (size_t)(found - line.data);
    return goroutine_header_parse((struct text){found, line.length - column}, &header) ? FORM_TRACE : FORM_NONE;
}

/* The first line that begins a dump decides; logs may come before it. */
static enum text_form find_form(struct text text, struct text *ret_word)
{
    struct text_lines lines = {text.data, text.length, text_starts_with(text, TEXT("\xef\xbb\xbf")) ? 3 : 0};
    struct text line;
    while (text_lines_next(&lines, &line)) {
        enum text_form form = line_form(line, ret_word);
        if (form != FORM_NONE)
            return form;
    }
    return FORM_NONE;
}

/* What is no dump, said as well as its first bytes allow. */
static const struct error *refuse(const struct text_options *options, struct text text, struct arena *arena)
{
    static const struct {
        const char *magic, *what;
    } kinds[] = {
        {"\x1f\x8b", "packed with gzip: not read from a pipe or from memory; name a file"},
        {"\x28\xb5\x2f\xfd", "packed with zstd: not read from a pipe or from memory; name a file"},
        {"\xfd"
         "7zXZ",
         "packed with xz: not read from a pipe or from memory; name a file"},
        {"\x04\x22\x4d\x18", "packed with lz4: not read from a pipe or from memory; name a file"},
        {"\xff\xfe", "text in UTF-16: not read; convert it to UTF-8"},
        {"\xfe\xff", "text in UTF-16: not read; convert it to UTF-8"},
        {"\x7f"
         "ELF",
         "an ELF file: not read from a pipe or from memory; name a file"},
    };
    static const char expected[] = "expected \\x7fELF, or a line such as 'goroutine profile: total 9', "
                                   "'goroutine 1 [running]:', 'thread profile: total 9' or 'heap profile: …', or "
                                   "stacks by gdb, eu-stack, systemd, jstack or py-spy";
    if (text.length == 0)
        return error_new(arena, ERROR_FORMAT, "%s: empty: %s", options->path, expected);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (text_starts_with(text, text_from_string(kinds[i].magic)))
            return error_new(arena, ERROR_SUPPORT, "%s: %s", options->path, kinds[i].what);
    enum { shown_bytes = 24 };
    struct text_writer shown;
    text_writer_init_memory(&shown);
    text_writer_safe(&shown, (struct text){text.data, text.length < shown_bytes ? text.length : shown_bytes});
    const struct error *error =
        error_new(arena, ERROR_FORMAT, "%s: neither an ELF core nor a dump of stacks: at offset 0 \"%.*s\"; %s",
                  options->path, (int)shown.length, shown.buffer == NULL ? "" : shown.buffer, expected);
    text_writer_deinit(&shown);
    return error;
}

static const struct error *read_form(const struct text_options *options, struct text text, struct text_build *build)
{
    struct text word = TEXT("");
    switch (find_form(text, &word)) {
    case FORM_PROFILE:
        if (!text_equals(word, TEXT("goroutine")) && !text_equals(word, TEXT("goroutineleak")) &&
            !text_equals(word, TEXT("thread")))
            return error_new(build->keep, ERROR_SUPPORT,
                             "%s: a '%.*s' profile: neither of goroutines nor of threads, and not read", options->path,
                             (int)(word.length < 40 ? word.length : 40), word.data);
        build->snapshot->kind = text_equals(word, TEXT("thread")) ? PROFILE_THREADS : PROFILE_GOROUTINES;
        text_profile_read(build, text);
        return NULL;
    case FORM_HEAP:
        build->snapshot->kind = PROFILE_HEAP;
        text_heap_read(build, text);
        return NULL;
    case FORM_TRACE:
        build->snapshot->kind = PROFILE_GOROUTINES;
        text_trace_read(build, text);
        return NULL;
    case FORM_STACKS:
        build->snapshot->kind = PROFILE_THREADS;
        text_stacks_read(build, text);
        return NULL;
    case FORM_NONE:
        break;
    }
    return refuse(options, text, build->keep);
}

const struct error *source_text_read(const struct text_options *options, struct text_source *ret_source,
                                     struct snapshot *ret_snapshot, struct arena *arena, struct arena *scratch,
                                     struct diagnostics *diagnostics)
{
    const struct error *error = input_open(options, arena, ret_source);
    if (error != NULL)
        return error;
    struct text_build build;
    text_build_init(&build, ret_snapshot, arena, scratch, diagnostics);
    ret_snapshot->source_path = text_copy(arena, text_from_string(options->path));
    struct text text = {ret_source->bytes == NULL ? "" : ret_source->bytes, ret_source->length};
    error = read_form(options, text, &build);
    if (error == NULL)
        text_build_finish(&build);
    source_text_close(ret_source);
    return error;
}

void source_text_close(struct text_source *source)
{
    if (source->mapped != NULL)
        munmap(source->mapped, source->mapped_bytes);
    *source = (struct text_source){0};
}
