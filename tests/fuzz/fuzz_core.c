/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a core: the note parsers alone, then the reader of whole cores. libFuzzer drives it where it is linked
 * (-fsanitize=fuzzer); otherwise fuzz_replay.c runs it over files. */
#include "base/limits.h"
#include "format/core_notes.h"
#include "source/source_core.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);

static void parse_notes(const uint8_t *bytes, size_t size_bytes)
{
    struct byte_reader reader = byte_reader_new(bytes, size_bytes);
    struct core_note note;
    while (core_note_next(&reader, &note)) {
        struct core_prstatus status;
        struct core_psinfo psinfo;
        struct core_siginfo siginfo;
        struct core_file_table table;
        struct core_file_entry entry;
        uint64_t value;
        core_prstatus_parse(&note, arch_find(62), &status);
        core_psinfo_parse(&note, &psinfo);
        core_siginfo_parse(&note, &siginfo);
        core_auxv_find(&note, 33, &value);
        if (core_file_table_parse(&note, &table))
            while (core_file_table_next(&table, &entry))
                continue;
    }
}

static void read_core(const char *path)
{
    jmp_buf exhausted;
    struct arena arena;
    struct diagnostics diagnostics;
    struct core_source source = {.file.fd = -1};
    struct image image;
    arena_init(&arena, (size_t)256 << 20, &exhausted);
    if (setjmp(exhausted) == 0) {
        diagnostics_init(&diagnostics, &arena);
        if (source_core_open(path, &arena, &diagnostics, &source, &image) == NULL)
            for (size_t i = 0; i < image.thread_count; i++) {
                uint64_t value;
                memory_read_u64(&image.memory, image.threads[i].tid, &value);
                image_find_module(&image, value);
            }
    }
    source_core_close(&source);
    arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    parse_notes(bytes, size_bytes);
    int fd = memfd_create("core", MFD_CLOEXEC);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd >= 0 && write(fd, bytes, size_bytes) == (ssize_t)size_bytes)
        read_core(path);
    if (fd >= 0)
        close(fd);
    return 0;
}
