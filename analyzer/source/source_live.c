/* SPDX-License-Identifier: Apache-2.0 */
#include "source/source_live.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "format/elf_segments.h"
#include "format/proc_maps.h"
#include "source/core_modules.h"
#include "source/live_core.h"
#include "source/live_held.h"
#include "source/live_read.h"
#include "source/live_rolling.h"
#include "source/live_stop_all.h"
#include "source/proc_descriptors.h"
#include "source/proc_files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { page_bytes = 4096, path_bytes = 4096 };

struct live_reader {
    uint32_t pid;
    uint32_t tid; /* a thread that has memory: the leader, unless it ended before the others */
    struct arena *arena;
    struct diagnostics *diagnostics;
    struct live_source *source;
    struct image *image;
    size_t mapping_capacity;
    uint64_t main_stack_start, main_stack_end;
    struct text status;
};

static bool read_of_thread(struct live_reader *reader, uint32_t tid, const char *name, struct text *ret_content)
{
    char path[96];
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/task/%" PRIu32 "/%s", reader->pid, tid, name);
    return proc_read(reader->arena, path, ret_content);
}

/* For one of many threads: into the caller's buffer. */
static bool read_short(const struct live_reader *reader, uint32_t tid, const char *name, char *buffer,
                       size_t size_bytes, struct text *ret_content)
{
    char path[96];
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/task/%" PRIu32 "/%s", reader->pid, tid, name);
    return proc_read_short(path, buffer, size_bytes, ret_content);
}

static const struct error *no_process(struct live_reader *reader)
{
    return error_new(reader->arena, ERROR_OPEN, "process %" PRIu32 ": there is none such", reader->pid);
}

/* /proc/TID is there for every thread: one that leads no process stands for the process that it belongs to. */
static void find_process(struct live_reader *reader)
{
    char path[64], buffer[4096];
    struct text status;
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/status", reader->pid);
    if (!proc_read_short(path, buffer, sizeof buffer, &status))
        return;
    struct text leader = proc_status_value(status, "Tgid");
    uint32_t pid = leader.length == 0 ? 0 : (uint32_t)strtoul(leader.data, NULL, 10);
    if (pid == 0 || pid == reader->pid)
        return;
    diagnostics_add(reader->diagnostics, DIAGNOSTIC_NOTE, "pid-of-thread", (struct text){"", 0},
                    "%" PRIu32 " is a thread of process %" PRIu32 ", all of whose threads are shown", reader->pid, pid);
    reader->pid = pid;
}

/* Finds a thread that is alive; says what the process is when there is none. */
static const struct error *find_living_thread(struct live_reader *reader)
{
    uint32_t *tids;
    size_t count;
    if (!proc_tasks(reader->arena, reader->pid, &tids, &count))
        return no_process(reader);
    for (size_t i = 0; i < count; i++) {
        struct text line;
        char buffer[4096];
        struct proc_stat stat;
        if (!read_short(reader, tids[i], "stat", buffer, sizeof buffer, &line) || !proc_stat_parse(line, &stat) ||
            stat.state == 'Z' || stat.state == 'X')
            continue;
        reader->tid = tids[i];
        return read_of_thread(reader, tids[i], "status", &reader->status) ? NULL : no_process(reader);
    }
    char path[64];
    struct text status = {"", 0};
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/status", reader->pid);
    proc_read(reader->arena, path, &status);
    struct text parent = proc_status_value(status, "PPid");
    return error_new(reader->arena, ERROR_OPEN,
                     "process %" PRIu32 ": a zombie: it has ended, and its parent %.*s has not waited for it",
                     reader->pid, (int)parent.length, parent.data);
}

/* "process 12 (gdb)", from a thread's status; NULL when none traces it. */
static const char *describe_tracer(struct live_reader *reader, struct text status)
{
    struct text tracer = proc_status_value(status, "TracerPid");
    if (tracer.length == 0 || text_equals(tracer, TEXT("0")))
        return NULL;
    char path[64];
    struct text name = {"?", 1};
    snprintf(path, sizeof path, "/proc/%.*s/comm", (int)(tracer.length < 12 ? tracer.length : 12), tracer.data);
    if (proc_read(reader->arena, path, &name) && name.length != 0 && name.data[name.length - 1] == '\n')
        name.length--;
    return arena_printf(reader->arena, "process %.*s (%.*s)", (int)tracer.length, tracer.data, (int)name.length,
                        name.data);
}

static const struct error *check_tracer(struct live_reader *reader, enum stop_kind stop_kind)
{
    const char *tracer = describe_tracer(reader, reader->status);
    if (stop_kind == STOP_KIND_HELD) {
        reader->image->held_by = tracer;
        return tracer != NULL ? NULL
                              : error_new(reader->arena, ERROR_OPEN,
                                          "process %" PRIu32 ": no debugger holds it, who could tell its registers?",
                                          reader->pid);
    }
    if (tracer == NULL)
        return NULL;
    return error_new(reader->arena, ERROR_OPEN,
                     "process %" PRIu32 ": already traced by %s; only one may (--no-stop traces not)", reader->pid,
                     tracer);
}

/* Threads that were refused and are there: those that another traces. The others have ended. */
static void take_refused(struct live_reader *reader)
{
    const struct live_stop *stop = &reader->source->stop;
    for (size_t i = 0; i < stop->refused_count; i++) {
        char buffer[4096];
        struct text status;
        const char *tracer = read_short(reader, stop->refused_tids[i], "status", buffer, sizeof buffer, &status)
                                 ? describe_tracer(reader, status)
                                 : NULL;
        if (tracer != NULL)
            diagnostics_add(reader->diagnostics, DIAGNOSTIC_LOST, "thread-refused", (struct text){"", 0},
                            "threads already traced by %s are not shown", tracer);
    }
}

static const struct error *read_architecture(struct live_reader *reader)
{
    char path[64];
    uint8_t bytes[elf_header_bytes];
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/exe", reader->tid);
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && (errno == EACCES || errno == EPERM))
        return error_new(reader->arena, ERROR_OPEN,
                         "process %" PRIu32 ": not permitted to read it: run as root, or as its user", reader->pid);
    if (fd < 0)
        return error_new(reader->arena, ERROR_SUPPORT, "process %" PRIu32 ": a kernel thread, it has no stack to show",
                         reader->pid);
    ssize_t got = pread(fd, bytes, sizeof bytes, 0);
    struct elf_header header;
    if (got == (ssize_t)sizeof bytes && bytes[4] == 1)
        return error_new(reader->arena, ERROR_SUPPORT,
                         "process %" PRIu32 ": a 32-bit program, only 64-bit ones are read", reader->pid);
    const char *expected = elf_header_parse(bytes, got < 0 ? 0 : (size_t)got, &header);
    if (expected != NULL)
        return error_new(reader->arena, ERROR_SUPPORT, "process %" PRIu32 ": its program is not %s", reader->pid,
                         expected);
    reader->image->arch = arch_find(header.machine);
    if (reader->image->arch == NULL)
        return error_new(reader->arena, ERROR_SUPPORT,
                         "process %" PRIu32 ": a program of another architecture (e_machine %u)", reader->pid,
                         header.machine);
    return NULL;
}

static size_t read_target(void *context, uint64_t address, void *ret_bytes, size_t size_bytes)
{
    const struct live_source *source = context;
    ssize_t got = source->memory_fd < 0 ? -1 : pread(source->memory_fd, ret_bytes, size_bytes, (off_t)address);
    return got < 0 ? 0 : (size_t)got;
}

/* Copies target memory into the image, as far as it is there. */
static void copy_memory(struct live_reader *reader, uint64_t start, size_t size_bytes)
{
    uint8_t *bytes = arena_alloc(reader->arena, size_bytes, 1);
    ssize_t got = pread(reader->source->memory_fd, bytes, size_bytes, (off_t)start);
    if (got > 0)
        memory_layer_append(&reader->image->memory, &reader->image->memory.core,
                            (struct memory_range){start, start + (uint64_t)got, bytes});
}

static const struct error *read_maps(struct live_reader *reader)
{
    struct text maps;
    struct image *image = reader->image;
    if (!read_of_thread(reader, reader->tid, "maps", &maps))
        return error_new(reader->arena, ERROR_OPEN, "process %" PRIu32 ": its maps cannot be read: %s", reader->pid,
                         strerror(errno));
    struct proc_map map;
    while (image->mapping_count < limit_segments && proc_map_next(&maps, &map)) {
        image->mappings = arena_grow(reader->arena, image->mappings, image->mapping_count, &reader->mapping_capacity,
                                     sizeof *image->mappings);
        bool is_file = map.inode != 0 && map.path.length != 0;
        image->mappings[image->mapping_count++] = (struct mapping){
            .start = map.start,
            .end = map.end,
            .file_offset = map.file_offset,
            .path = is_file ? text_copy(reader->arena, map.path) : (struct text){"", 0},
            .module = index_none,
            .access = map.access,
        };
        if (text_equals(map.path, TEXT("[stack]"))) {
            reader->main_stack_start = map.start;
            reader->main_stack_end = map.end;
        }
        /* ELF headers and build-ids, for the modules; the vdso is small and in no file. */
        if (is_file && map.file_offset == 0 && (map.access & MAPPING_READ) != 0)
            copy_memory(reader, map.start, page_bytes);
        else if (text_equals(map.path, TEXT("[vdso]")))
            copy_memory(reader, map.start, (size_t)(map.end - map.start));
    }
    if (image->mapping_count == 0)
        return error_new(reader->arena, ERROR_SUPPORT,
                         "process %" PRIu32 ": a kernel thread, or it is ending: no memory", reader->pid);
    memory_layer_freeze(&image->memory, &image->memory.core);
    return NULL;
}

/* Where this machine finds the very files that are mapped: by mapping, which holds deleted ones too, then below the
 * process's own root. Never by its path alone: a container's file of the same path is another. */
static void locate_files(struct live_reader *reader)
{
    struct image *image = reader->image;
    for (size_t i = 0; i < image->module_count; i++) {
        struct module *module = &image->modules[i];
        const struct mapping *mapping = image_find_mapping(image, module->start);
        if (module->is_vdso || mapping == NULL)
            continue;
        module->local_paths[0] = arena_printf(reader->arena, "/proc/%" PRIu32 "/map_files/%" PRIx64 "-%" PRIx64,
                                              reader->tid, mapping->start, mapping->end);
        module->local_paths[1] =
            arena_printf(reader->arena, "/proc/%" PRIu32 "/root%s", reader->tid, module->path.data);
        /* For a user whom map_files is closed to, in a folder that he may not enter. */
        if (module->is_main)
            module->local_paths[2] = arena_printf(reader->arena, "/proc/%" PRIu32 "/exe", reader->tid);
    }
}

/* A root of its own: by chroot, or by a mount namespace. */
static void find_root(struct live_reader *reader)
{
    static const char *const names[] = {"root/.", "ns/mnt"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char own[64], theirs[64];
        struct stat own_status, their_status;
        snprintf(own, sizeof own, "/proc/self/%s", names[i]);
        snprintf(theirs, sizeof theirs, "/proc/%" PRIu32 "/%s", reader->tid, names[i]);
        if (stat(own, &own_status) == 0 && stat(theirs, &their_status) == 0 &&
            (own_status.st_dev != their_status.st_dev || own_status.st_ino != their_status.st_ino))
            reader->image->root = arena_printf(reader->arena, "/proc/%" PRIu32 "/root", reader->tid);
    }
}

static void read_identity(struct live_reader *reader)
{
    struct image *image = reader->image;
    struct text content;
    image->pid = reader->pid;
    if (read_of_thread(reader, reader->tid, "cmdline", &content)) {
        for (size_t i = 0; i + 1 < content.length; i++)
            if (content.data[i] == 0)
                ((char *)content.data)[i] = ' ';
        while (content.length != 0 && content.data[content.length - 1] == 0)
            content.length--;
        image->arguments = content;
    }
    if (read_of_thread(reader, reader->tid, "comm", &content)) {
        if (content.length != 0 && content.data[content.length - 1] == '\n')
            content.length--;
        image->command = content;
    }
}

static void find_modules(struct live_reader *reader)
{
    struct text auxv;
    struct core_note note = {0};
    if (read_of_thread(reader, reader->tid, "auxv", &auxv)) {
        note.bytes = (const uint8_t *)auxv.data;
        note.size_bytes = auxv.length;
        reader->image->auxv = auxv;
    }
    core_modules_find(reader->image, reader->arena, note.bytes == NULL ? NULL : &note, true);
}

/* What /proc tells of a thread whose registers do not: its kernel function, if it may be read. */
static const char *describe_thread(struct live_reader *reader, uint32_t tid, const char *words, char state)
{
    struct text channel;
    bool known = read_of_thread(reader, tid, "wchan", &channel) && channel.length != 0 && channel.data[0] != '0';
    return arena_printf(reader->arena, "%s (state %c%s%.*s)", words, state, known ? ", in " : "",
                        known ? (int)channel.length : 0, known ? channel.data : "");
}

static bool is_in_call(const struct arch *arch, const uint8_t *registers)
{
    struct system_call call;
    return arch->system_call_decode(registers, &call);
}

static void note_instants(struct live_reader *reader)
{
    if (reader->image->stop_kind == STOP_KIND_ROLLING)
        diagnostics_add(reader->diagnostics, DIAGNOSTIC_NOTE, "no-single-instant", (struct text){"", 0},
                        "threads were read one after another: their stacks are of different instants");
    if (reader->image->stop_kind == STOP_KIND_NONE)
        diagnostics_add(reader->diagnostics, DIAGNOSTIC_NOTE, "not-stopped-at-all", (struct text){"", 0},
                        "threads were read one after another while they could run: their stacks are of different "
                        "instants, running threads have none, and where frames need more registers than sp and pc "
                        "a stack ends");
}

static void take_copy(struct image *image, uint64_t start, const uint8_t *bytes, size_t size_bytes)
{
    if (size_bytes != 0)
        memory_layer_append(&image->memory, &image->memory.core,
                            (struct memory_range){start, start + size_bytes, bytes});
}

/* Stacks first: those keep their bytes in one piece where the other copies overlap them. Before them what is copied of
 * goroutines: where threads are not stopped at one instant, theirs is the later and the checked one. */
static void take_memory(struct live_reader *reader)
{
    struct image *image = reader->image;
    const struct live_stop *stop = &reader->source->stop;
    if (stop->go != NULL)
        live_go_take(stop->go, image, reader->diagnostics);
    for (size_t i = 0; i < stop->thread_count; i++) {
        const struct live_thread *from = &stop->threads[i];
        take_copy(image, from->stack_start, from->stack, from->stack_bytes);
        take_copy(image, from->interrupted_stack_start, from->interrupted_stack, from->interrupted_stack_bytes);
    }
    for (size_t i = 0; i < stop->thread_count; i++) {
        const struct live_thread *from = &stop->threads[i];
        take_copy(image, from->block_start, from->block, from->block_bytes);
        take_copy(image, from->word_start, from->word, from->word_bytes);
    }
    memory_layer_freeze(&image->memory, &image->memory.core);
}

/* When the clock that threads' starts are counted by began, since 1970; by hundredths of a second, as they are. */
static uint64_t boot_microseconds(void)
{
    struct timespec now, since_boot;
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &since_boot);
    int64_t hundredths =
        (int64_t)(now.tv_sec - since_boot.tv_sec) * 100 + (now.tv_nsec - since_boot.tv_nsec) / 10000000;
    return hundredths < 0 ? 0 : (uint64_t)hundredths * 10000;
}

static void take_threads(struct live_reader *reader)
{
    struct image *image = reader->image;
    struct live_stop *stop = &reader->source->stop;
    image->threads = arena_array(reader->arena, struct thread, stop->thread_count);
    uint64_t booted = boot_microseconds();
    bool own_namespace = memchr(proc_status_value(reader->status, "NSpid").data, '\t',
                                proc_status_value(reader->status, "NSpid").length) != NULL;
    for (size_t i = 0; i < stop->thread_count; i++) {
        const struct live_thread *from = &stop->threads[i];
        if (from->outcome == LIVE_THREAD_GONE)
            continue;
        struct thread *thread = &image->threads[image->thread_count++];
        *thread = (struct thread){.tid = from->tid,
                                  .registers = from->registers,
                                  .registers_known = from->registers_known,
                                  .stood_still = from->stood_still};
        image->threads_stopped += from->outcome == LIVE_THREAD_STOPPED;
        image->threads_read += from->outcome == LIVE_THREAD_READ;
        struct text content;
        char buffer[4096];
        struct proc_stat stat = {.state = '?'};
        if (read_short(reader, from->tid, "stat", buffer, sizeof buffer, &content) && proc_stat_parse(content, &stat)) {
            thread->name = text_copy(reader->arena, stat.comm);
            thread->cpu_microseconds = stat.cpu_microseconds;
            thread->cpu_known = true;
            thread->started_microseconds = booted + proc_ticks_microseconds(stat.start_ticks);
        }
        if (own_namespace && read_short(reader, from->tid, "status", buffer, sizeof buffer, &content)) {
            struct text ids = proc_status_value(content, "NSpid");
            const char *last = memrchr(ids.data, '\t', ids.length);
            thread->namespace_tid = last == NULL ? 0 : (uint32_t)strtoul(last + 1, NULL, 10);
        }
        if (from->outcome == LIVE_THREAD_NOT_STOPPED) {
            thread->state = describe_thread(reader, from->tid, "not stopped", stat.state);
            diagnostics_add(reader->diagnostics, stop->cut_short ? DIAGNOSTIC_LOST : DIAGNOSTIC_LOSS, "not-stopped",
                            (struct text){"", 0},
                            stop->cut_short ? "threads were let go unread when the stop took longer than --max-stop"
                                            : "threads in calls that cannot be interrupted have no stack here");
        }
        if (from->outcome == LIVE_THREAD_MOVING)
            thread->state = "running";
        else if (from->outcome == LIVE_THREAD_READ && !is_in_call(image->arch, from->registers))
            thread->state = describe_thread(reader, from->tid, "in no system call", stat.state);
    }
    image->thread_count_claimed = image->thread_count;
    take_memory(reader);
    image->stop_kind = stop->kind;
    image->monotonic_nanoseconds = proc_monotonic_nanoseconds(stop->pid);
    image->stop_microseconds = stop->stop_microseconds;
    if (stop->duration_count != 0) {
        image->stop_microseconds = stop->durations[stop->duration_count - 1] / 1000;
        image->stop_microseconds_median = stop->durations[stop->duration_count / 2] / 1000;
    }
    note_instants(reader);
    take_refused(reader);
    if (stop->rounds_exhausted)
        diagnostics_add(reader->diagnostics, DIAGNOSTIC_LOSS, "threads-begin", (struct text){"", 0},
                        "threads went on to begin while they were read: those that began after the list had been read "
                        "%d times are not shown",
                        limit_live_rounds);
}

static const struct error *read_registers(struct live_reader *reader, const char *path)
{
    bool is_input = strcmp(path, "-") == 0;
    reader->source->registers_name = is_input ? "registers on standard input" : path;
    if (proc_read(reader->arena, is_input ? "/dev/stdin" : path, &reader->source->registers))
        return NULL;
    return error_new(reader->arena, ERROR_OPEN, "%s: cannot be read: %s", reader->source->registers_name,
                     strerror(errno));
}

const struct error *source_live_open(const struct live_options *options, struct arena *arena,
                                     struct diagnostics *diagnostics, struct live_source *ret_source,
                                     struct image *ret_image)
{
    *ret_source = (struct live_source){.memory_fd = -1};
    *ret_image = (struct image){.source_kind = "process"};
    ret_image->memory.arena = arena;
    struct live_reader reader = {
        .pid = options->pid, .arena = arena, .diagnostics = diagnostics, .source = ret_source, .image = ret_image};
    find_process(&reader);
    if (reader.pid == (uint32_t)getpid())
        return error_new(arena, ERROR_OPEN, "process %" PRIu32 ": that is stackgroup itself", reader.pid);
    const struct error *error = find_living_thread(&reader);
    if (error == NULL && options->stop_kind != STOP_KIND_NONE)
        error = check_tracer(&reader, options->stop_kind);
    if (error == NULL)
        error = read_architecture(&reader);
    if (error != NULL)
        return error;
    if (options->stop_kind == STOP_KIND_HELD)
        error = read_registers(&reader, options->registers);
    if (error != NULL)
        return error;
    char path[64];
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/mem", reader.tid);
    ret_source->memory_fd =
        options->memory_fd != 0 ? fcntl(options->memory_fd, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
    if (ret_source->memory_fd < 0)
        return error_new(arena, ERROR_OPEN,
                         "process %" PRIu32 ": not permitted to read its memory: run as root, or as its user",
                         reader.pid);
    error = read_maps(&reader);
    if (error != NULL)
        return error;
    find_modules(&reader);
    if (options->to_be_saved)
        live_core_copy(ret_image, ret_source->memory_fd, arena, diagnostics);
    locate_files(&reader);
    find_root(&reader);
    read_identity(&reader);
    ret_source->stop = (struct live_stop){.pid = reader.pid,
                                          .image = ret_image,
                                          .memory_fd = ret_source->memory_fd,
                                          .main_stack_start = reader.main_stack_start,
                                          .main_stack_end = reader.main_stack_end,
                                          .kind = options->stop_kind,
                                          .needs_registers = options->to_be_saved,
                                          .hold = options->hold,
                                          .stop_microseconds_max = options->stop_microseconds_max};
    ret_source->tid = reader.tid;
    ret_source->status = reader.status;
    ret_source->to_be_saved = options->to_be_saved;
    return NULL;
}

/* What the threads' outcomes are known for: the image. */
static const struct error *take_image(struct live_reader *reader)
{
    struct live_source *source = reader->source;
    struct image *image = reader->image;
    if (source->stop.kind == STOP_KIND_ROLLING || source->stop.kind == STOP_KIND_NONE)
        live_read_again(&source->stop);
    take_threads(reader);
    image->memory.target = arena_new(reader->arena, struct memory_target);
    *image->memory.target =
        (struct memory_target){.read = read_target, .context = source, .bytes_left = limit_asked_bytes};
    if (image->thread_count == 0)
        return error_new(reader->arena, ERROR_OPEN, "process %" PRIu32 ": it ended while it was read",
                         source->stop.pid);
    return NULL;
}

const struct error *source_live_read(struct live_source *source, struct module_files *files, struct arena *arena,
                                     struct diagnostics *diagnostics, struct image *image)
{
    struct live_stop *stop = &source->stop;
    struct live_reader reader = {.pid = stop->pid,
                                 .tid = source->tid,
                                 .arena = arena,
                                 .diagnostics = diagnostics,
                                 .source = source,
                                 .image = image,
                                 .status = source->status};
    stop->go = live_go_find(&(struct live_go_target){.tid = source->tid,
                                                     .memory_fd = source->memory_fd,
                                                     .is_stopped = stop->kind == STOP_KIND_ALL || stop->kind == STOP_KIND_HELD,
                                                     .to_be_saved = source->to_be_saved},
                            image, files, arena);
    const struct error *error =
        stop->kind == STOP_KIND_NONE      ? live_read_run(stop, arena)
        : stop->kind == STOP_KIND_HELD    ? live_held_run(stop, source->registers, source->registers_name, arena)
        : stop->kind == STOP_KIND_ROLLING ? live_rolling_run(stop, arena)
                                          : live_stop_all_run(stop, arena);
    if (error != NULL)
        return error;
    if (stop->kind != STOP_KIND_ALL && stop->go != NULL)
        live_go_copy(stop->go, 0, NULL, arena);
    source->headers = memory_layer_copy(&image->memory, &image->memory.core);
    return take_image(&reader);
}

const struct error *source_live_stop_rest(struct live_source *source, const uint32_t *tids, size_t count,
                                          struct arena *arena, struct diagnostics *diagnostics, struct image *image)
{
    struct live_stop *stop = &source->stop;
    for (size_t i = 0; i < count; i++) {
        struct live_thread *thread = live_stop_find(stop, tids[i]);
        if (thread != NULL)
            thread->to_be_stopped = thread->outcome == LIVE_THREAD_READ;
    }
    const struct error *error = live_rolling_stop(stop, arena);
    if (error != NULL)
        return error;
    image->thread_count = image->threads_stopped = image->threads_read = 0;
    image->memory.core = source->headers;
    return take_image(&(struct live_reader){.pid = stop->pid,
                                            .tid = source->tid,
                                            .arena = arena,
                                            .diagnostics = diagnostics,
                                            .source = source,
                                            .image = image,
                                            .status = source->status});
}

const struct go_runtime *source_live_go(const struct live_source *source)
{
    return source->stop.go == NULL ? NULL : live_go_runtime(source->stop.go);
}

void source_live_read_descriptors(const struct live_source *source, struct arena *arena,
                                  struct diagnostics *diagnostics, struct image *image)
{
    image->descriptors = proc_descriptors_read(source->tid, arena, diagnostics);
}

void source_live_close(struct live_source *source)
{
    if (source->memory_fd >= 0)
        close(source->memory_fd);
    source->memory_fd = -1;
    if (source->stop.go != NULL)
        live_go_close(source->stop.go);
    source->stop.go = NULL;
    live_stop_release(&source->stop);
}
