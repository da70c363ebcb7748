/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/unwind_libunwind.h"

#include "base/byte_reader.h"
#include "base/limits.h"
#include "unwind/libunwind_child.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/procfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Threads that one child is given: keeps its mini core below 6 MB. */
enum { threads_per_child = 1 << 14 };

struct answers {
    uint8_t *bytes;
    size_t size_bytes, capacity;
    size_t complete_bytes; /* of whole answers */
    size_t count;          /* of whole answers */
};

enum child_end {
    CHILD_END_EXIT,  /* finished, crashed or gave up: its status says which */
    CHILD_END_SLOW,  /* one thread took too long */
    CHILD_END_TIME,  /* all together took too long */
    CHILD_END_LIMIT, /* its answers are more than what is kept, or no answers at all */
};

static int64_t clock_milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Counts the answers that have arrived whole. False when a count is past the limit. */
static bool answers_advance(struct answers *answers)
{
    for (;;) {
        struct byte_reader reader = byte_reader_new(answers->bytes, answers->size_bytes);
        byte_reader_seek(&reader, answers->complete_bytes);
        uint32_t frame_count = byte_reader_u32(&reader);
        byte_reader_u32(&reader);
        if (frame_count > limit_frames)
            return false;
        byte_reader_take(&reader, (size_t)frame_count * libunwind_answer_frame_bytes);
        if (reader.failed)
            return true;
        answers->complete_bytes = reader.position;
        answers->count++;
    }
}

static enum child_end answers_collect(struct answers *answers, int fd, size_t count_max, int64_t deadline)
{
    int64_t thread_deadline = clock_milliseconds() + limit_libunwind_thread_seconds * 1000;
    for (;;) {
        int64_t now = clock_milliseconds();
        if (now >= deadline)
            return CHILD_END_TIME;
        if (now >= thread_deadline)
            return CHILD_END_SLOW;
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int ready = poll(&wait, 1, (int)((deadline < thread_deadline ? deadline : thread_deadline) - now));
        if (ready == 0 || (ready < 0 && errno == EINTR))
            continue;
        if (answers->capacity - answers->size_bytes < 65536) {
            size_t capacity = 2 * answers->capacity + 65536;
            uint8_t *grown = capacity > limit_libunwind_answer_bytes ? NULL : realloc(answers->bytes, capacity);
            if (grown == NULL)
                return CHILD_END_LIMIT;
            answers->bytes = grown;
            answers->capacity = capacity;
        }
        ssize_t got = read(fd, answers->bytes + answers->size_bytes, answers->capacity - answers->size_bytes);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return CHILD_END_EXIT;
        size_t count_before = answers->count;
        answers->size_bytes += (size_t)got;
        if (!answers_advance(answers) || answers->count > count_max)
            return CHILD_END_LIMIT;
        if (answers->count != count_before)
            thread_deadline = clock_milliseconds() + limit_libunwind_thread_seconds * 1000;
    }
}

/* Copies whole answers into stacks; only here an arena is used, so that a full one leaves neither child nor pipe. */
static void answers_decode(const struct answers *answers, struct arena *arena, struct libunwind_stack *ret_stacks)
{
    struct byte_reader reader = byte_reader_new(answers->bytes, answers->complete_bytes);
    for (size_t i = 0; i < answers->count; i++) {
        struct libunwind_stack stack = {.frame_count = byte_reader_u32(&reader), .done = true};
        stack.outermost = byte_reader_u32(&reader) != 0;
        stack.frames = arena_array(arena, struct libunwind_frame, stack.frame_count);
        for (size_t frame = 0; frame < stack.frame_count; frame++) {
            stack.frames[frame].pc = byte_reader_u64(&reader);
            const uint8_t *exact = byte_reader_take(&reader, 1);
            stack.frames[frame].exact = exact != NULL && *exact != 0;
        }
        ret_stacks[i] = stack;
    }
}

static void answers_decode_and_free(struct answers *answers, struct arena *arena, struct libunwind_stack *ret_stacks)
{
    jmp_buf exhausted, *outer = arena->exhausted;
    if (outer != NULL) {
        if (setjmp(exhausted) != 0) {
            arena->exhausted = outer;
            free(answers->bytes);
            longjmp(*outer, 1);
        }
        arena->exhausted = &exhausted;
    }
    answers_decode(answers, arena, ret_stacks);
    arena->exhausted = outer;
    free(answers->bytes);
}

bool unwind_libunwind_knows(const struct arch *arch)
{
    return arch->elf_machine == EM_X86_64 && arch->prstatus_size_bytes == sizeof(struct elf_prstatus) &&
           arch->prstatus_pid == offsetof(struct elf_prstatus, pr_pid) &&
           arch->prstatus_registers == offsetof(struct elf_prstatus, pr_reg) &&
           arch->registers_size_bytes == sizeof(elf_gregset_t);
}

static bool child_start(const struct image *image, struct module_files *files, const uint32_t *thread_indices,
                        size_t count, struct arena *arena, struct diagnostics *diagnostics, pid_t *ret_pid, int *ret_fd)
{
    int fds[2];
    sigset_t all, before;
    if (pipe2(fds, O_CLOEXEC) != 0)
        return false;
    /* The parent's handlers must not run in the child before child_confine has taken them away. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        libunwind_child_run(image, files, thread_indices, count, arena, diagnostics, fds[1]);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        return false;
    }
    *ret_pid = pid;
    *ret_fd = fds[0];
    return true;
}

/* Once its end of the pipe is closed a child is exiting, and a kill no longer changes its status. */
static int child_end_status(pid_t pid)
{
    int status = 0;
    kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return 0;
    return status;
}

static void report_skipped(struct diagnostics *diagnostics, const struct thread *thread, enum child_end end, int status)
{
    if (end == CHILD_END_SLOW)
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "libunwind-ended", TEXT(""),
                        "libunwind gave no stack of thread %u within %d s and was ended, thread skipped",
                        (unsigned)thread->tid, limit_libunwind_thread_seconds);
    else if (end == CHILD_END_LIMIT)
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "libunwind-ended", TEXT(""),
                        "libunwind's answer for thread %u is past the limits, it was ended, thread skipped",
                        (unsigned)thread->tid);
    else if (WIFSIGNALED(status))
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "libunwind-ended", TEXT(""),
                        "libunwind was ended by signal %d at thread %u, thread skipped", WTERMSIG(status),
                        (unsigned)thread->tid);
    else
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "libunwind-ended", TEXT(""),
                        "libunwind exited with status %d at thread %u, thread skipped", WEXITSTATUS(status),
                        (unsigned)thread->tid);
}

bool unwind_libunwind_run(const struct image *image, struct module_files *files, const uint32_t *thread_indices,
                          size_t count, struct arena *arena, struct diagnostics *diagnostics,
                          struct libunwind_stack *ret_stacks)
{
    memset(ret_stacks, 0, count * sizeof *ret_stacks);
    if (!unwind_libunwind_knows(image->arch)) {
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "libunwind-unsupported", TEXT(""),
                        "this libunwind does not unwind %s, not asked", image->arch->name);
        return false;
    }

    int64_t deadline = clock_milliseconds() + limit_libunwind_seconds * 1000;
    size_t position = 0, failure_count = 0;
    bool in_time = true;
    while (position < count && in_time && failure_count < limit_libunwind_failures) {
        size_t batch_count = count - position < threads_per_child ? count - position : threads_per_child;
        pid_t pid;
        int fd;
        if (!child_start(image, files, thread_indices + position, batch_count, arena, diagnostics, &pid, &fd)) {
            int reason = errno;
            diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "libunwind-not-run", TEXT(""),
                            "no process for libunwind: %s, not asked", strerror(reason));
            return position != 0;
        }
        struct answers answers = {0};
        enum child_end end = answers_collect(&answers, fd, batch_count, deadline);
        close(fd);
        int status = child_end_status(pid);
        if (answers.count > batch_count)
            answers = (struct answers){.bytes = answers.bytes};
        size_t done_count = answers.count;
        answers_decode_and_free(&answers, arena, ret_stacks + position);
        position += done_count;
        if (done_count == batch_count)
            continue;
        in_time = end != CHILD_END_TIME;
        if (end == CHILD_END_EXIT && WIFEXITED(status) && WEXITSTATUS(status) == libunwind_child_not_ready &&
            done_count == 0) {
            diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "libunwind-not-run", TEXT(""),
                            "libunwind could not be set up, not asked");
            return position != 0;
        }
        if (in_time) {
            report_skipped(diagnostics, &image->threads[thread_indices[position]], end, status);
            failure_count++;
            position++;
        }
    }
    if (position < count)
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "libunwind-incomplete", TEXT(""),
                        in_time ? "libunwind failed too often, %zu of %zu threads not asked"
                                : "libunwind's time is over, %zu of %zu threads not asked",
                        count - position, count);
    return true;
}
