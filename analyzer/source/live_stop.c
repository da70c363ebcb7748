/* SPDX-License-Identifier: Apache-2.0 */
#include "source/live_stop.h"

#include "base/limits.h"
#include "source/live_processors.h"
#include "source/proc_files.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What the stopping thread works on; it reports by errno. */
struct stopper {
    struct live_stop *stop;
    jmp_buf exhausted;
    int failed_errno;  /* of the first thread that could not be taken, or of the buffer; 0 none */
    bool out_of_memory;
    uint64_t started;  /* nanoseconds, at the first interrupt */
    size_t waiting;    /* threads interrupted and not yet stopped */
    struct live_processors processors; /* of rolling stops */
};

static uint64_t nanoseconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct live_thread *live_stop_find(struct live_stop *stop, uint32_t tid)
{
    /* Ids come back in the order in which they were listed, nearly always. */
    size_t low = 0, high = stop->thread_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (stop->threads[middle].tid < tid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < stop->thread_count && stop->threads[low].tid == tid ? &stop->threads[low] : NULL;
}

void live_stop_add(struct live_stop *stop, uint32_t tid)
{
    stop->threads = arena_grow(&stop->arena, stop->threads, stop->thread_count, &stop->thread_capacity,
                               sizeof *stop->threads);
    size_t at = stop->thread_count++;
    for (; at > 0 && stop->threads[at - 1].tid > tid; at--)
        stop->threads[at] = stop->threads[at - 1];
    stop->threads[at] = (struct live_thread){.tid = tid};
}

static bool contains(const uint32_t *tids, size_t count, uint32_t tid)
{
    for (size_t i = 0; i < count; i++)
        if (tids[i] == tid)
            return true;
    return false;
}

/* Takes every thread of the task list that is not taken yet; returns how many were new. */
static size_t seize_new(struct stopper *stopper)
{
    struct live_stop *stop = stopper->stop;
    uint32_t *tids;
    size_t count, taken = 0;
    if (!proc_tasks(&stop->arena, stop->pid, &tids, &count))
        return 0;
    for (size_t i = 0; i < count; i++) {
        if (live_stop_find(stop, tids[i]) != NULL)
            continue;
        if (ptrace(PTRACE_SEIZE, (pid_t)tids[i], NULL, NULL) != 0) {
            if (errno != ESRCH && stopper->failed_errno == 0)
                stopper->failed_errno = errno;
            if (errno != ESRCH && stop->refused_count < limit_live_refused &&
                !contains(stop->refused_tids, stop->refused_count, tids[i]))
                stop->refused_tids[stop->refused_count++] = tids[i];
            continue;
        }
        live_stop_add(stop, tids[i]);
        taken++;
    }
    return taken;
}

/* Copies begin at the page that sp lies in: the red zone is below it, and eu-stack reads a saved core by whole pages. */
static const uint64_t page_bytes = 4096;

/* What is copied of a thread's block: its id and the list of robust mutexes that it holds, for all of which glibc uses
 * the first 0x310 bytes (2.36, x86-64). */
enum { block_bytes = 0x400 };

/* What is copied around a futex word. It is the first word of a mutex, but stands up to 44 bytes behind the start of
 * glibc's other objects, of which the largest has 56. */
enum { bytes_before_word = 64, bytes_from_word = 128 };

/* The bytes of the stack in use: from sp to the end of its mapping, no further than the thread's own block where that
 * lies just above, and never more than the ceiling. */
static size_t used_stack(const struct live_stop *stop, uint64_t sp, uint64_t thread_pointer)
{
    const struct mapping *mapping = image_find_mapping(stop->image, sp);
    uint64_t end = mapping != NULL ? mapping->end : sp + limit_stack_guess_bytes;
    bool is_main = sp >= stop->main_stack_start && sp < stop->main_stack_end;
    if (thread_pointer > sp && thread_pointer < end) {
        end = end - thread_pointer < block_bytes ? end : thread_pointer + block_bytes;
    } else if (stop->go != NULL && !is_main) {
        /* Go's own stacks lie in its heap: the mapping's end is far behind theirs. */
        uint64_t go_end = live_go_stack_end(stop->go, sp, thread_pointer);
        if (go_end != 0 && go_end < end)
            end = go_end;
    }
    uint64_t bytes = end > sp ? end - sp : 0;
    return bytes < limit_stack_copy_bytes ? (size_t)bytes : (size_t)limit_stack_copy_bytes;
}

/* As many of the bytes as are there and fit; NULL: none. */
static uint8_t *copy_bytes(struct live_stop *stop, uint64_t start, size_t wanted, size_t *ret_bytes)
{
    uint8_t *bytes = stop->stacks + stop->stacks_used;
    size_t room = stop->stacks_bytes - stop->stacks_used;
    if (wanted > room)
        wanted = room;
    /* pread of /proc/PID/mem, not process_vm_readv: the latter makes the kernel copy shared pages of forked servers. */
    ssize_t got = pread(stop->memory_fd, bytes, wanted, (off_t)start);
    *ret_bytes = got < 0 ? 0 : (size_t)got;
    stop->stacks_used += (*ret_bytes + 15) & ~(size_t)15;
    return *ret_bytes == 0 ? NULL : bytes;
}

/* A handler on a signal stack (sigaltstack) interrupted code on the thread's own stack. Where that was is the lowest
 * address in the own stack that the bytes above sp hold: the saved sp, or an older value below it, which only makes the
 * copy longer. */
static void copy_interrupted_stack(struct live_stop *stop, struct live_thread *thread, uint64_t sp,
                                   uint64_t thread_pointer)
{
    uint64_t own_start = stop->main_stack_start, own_end = stop->main_stack_end;
    if (thread->tid != stop->pid) {
        const struct mapping *own = thread_pointer == 0 ? NULL : image_find_mapping(stop->image, thread_pointer - 1);
        if (own == NULL)
            return;
        own_start = own->start;
        own_end = thread_pointer;
        if (image_find_mapping(stop->image, sp) == own)
            return;
    }
    if (own_start >= own_end || (sp >= own_start && sp < own_end))
        return;
    size_t scanned = thread->stack_bytes < limit_stack_guess_bytes ? thread->stack_bytes : limit_stack_guess_bytes;
    uint64_t lowest = own_end;
    for (size_t i = ((size_t)(sp - thread->stack_start) + 7) & ~(size_t)7; i + 8 <= scanned; i += 8) {
        uint64_t word;
        memcpy(&word, thread->stack + i, sizeof word);
        if (word >= own_start && word < lowest)
            lowest = word;
    }
    if (lowest == own_end)
        return;
    lowest &= -page_bytes;
    uint64_t bytes = own_end - lowest;
    if (bytes > limit_stack_copy_bytes)
        bytes = limit_stack_copy_bytes;
    thread->interrupted_stack = copy_bytes(stop, lowest, (size_t)bytes, &thread->interrupted_stack_bytes);
    thread->interrupted_stack_start = lowest;
}

uint8_t *live_stop_registers(struct live_stop *stop)
{
    return stop->stacks_bytes - stop->stacks_used < stop->image->arch->registers_size_bytes + 16
               ? NULL
               : stop->stacks + stop->stacks_used;
}

static uint64_t *word_slot(struct live_stop *stop, uint64_t start)
{
    return &stop->words_copied[(start * 0x9e3779b97f4a7c15u) >> 32 & (limit_live_words - 1)];
}

/* The address of the word that the thread waits for; 0: it does not. */
static uint64_t find_futex_word(const struct live_stop *stop, const struct live_thread *thread)
{
    struct system_call call;
    const struct arch *arch = stop->image->arch;
    if (!arch->system_call_decode(thread->registers, &call) || !call.blocked)
        return 0;
    /* A restarted call may be a futex's: then the arguments are its own (native-waits.md). */
    const char *name = arch->system_call_name(call.number);
    if (name == NULL || (strcmp(name, "futex") != 0 && strcmp(name, "restart_syscall") != 0))
        return 0;
    return call.arguments[0] % 4 == 0 ? call.arguments[0] : 0;
}

/* Of the same instant as the stacks, so that the owner of a lock is the one that had it while they stood so. Thousands
 * that wait for one lock cost one copy. */
static void copy_futex_word(struct live_stop *stop, struct live_thread *thread)
{
    uint64_t word = find_futex_word(stop, thread);
    if (word < page_bytes || word >= -2 * page_bytes)
        return;
    const struct mapping *mapping = image_find_mapping(stop->image, word);
    uint64_t known_start = mapping != NULL ? mapping->start : word & -page_bytes;
    uint64_t start = word - bytes_before_word > known_start ? word - bytes_before_word : known_start;
    uint64_t end = word + bytes_from_word;
    if (mapping != NULL && mapping->path.length != 0) {
        /* Of a mapped file whole pages: what a saved core says of the rest of the mapping has to begin at one. */
        start &= -page_bytes;
        end = (end + page_bytes - 1) & -page_bytes;
    }
    uint64_t *slot = word_slot(stop, start);
    if (*slot == start)
        return;
    thread->word_start = *slot = start;
    if (stop->kind != STOP_KIND_ROLLING) {
        thread->word = copy_bytes(stop, start, (size_t)(end - start), &thread->word_bytes);
        return;
    }
    /* live_read_again copies it when all have been stopped: there is no instant yet that it could be of. */
    thread->word = stop->stacks + stop->stacks_used;
    thread->word_bytes = (size_t)(end - start);
    if (thread->word_bytes > stop->stacks_bytes - stop->stacks_used)
        thread->word_bytes = 0;
    stop->stacks_used += (thread->word_bytes + 15) & ~(size_t)15;
}

void live_stop_forget_memory(struct live_stop *stop, struct live_thread *thread, size_t stacks_used)
{
    if (thread->word_start != 0)
        *word_slot(stop, thread->word_start) = 0;
    stop->stacks_used = stacks_used;
    *thread = (struct live_thread){.tid = thread->tid, .outcome = LIVE_THREAD_MOVING};
}

void live_stop_copy_memory(struct live_stop *stop, struct live_thread *thread, uint64_t sp, uint64_t thread_pointer)
{
    thread->registers = stop->stacks + stop->stacks_used;
    stop->stacks_used += (stop->image->arch->registers_size_bytes + 15) & ~(size_t)15;
    uint64_t start = sp & -page_bytes;
    size_t wanted = used_stack(stop, sp, thread_pointer) + (size_t)(sp - start);
    thread->stack = copy_bytes(stop, start, wanted, &thread->stack_bytes);
    thread->stack_start = start;
    thread->interrupted_stack_bytes = 0;
    copy_interrupted_stack(stop, thread, sp, thread_pointer);
    if (thread_pointer != 0 && thread_pointer - start >= thread->stack_bytes)
        thread->block = copy_bytes(stop, thread_pointer, block_bytes, &thread->block_bytes);
    thread->block_start = thread_pointer;
    copy_futex_word(stop, thread);
}

static void copy_thread(struct live_stop *stop, struct live_thread *thread)
{
    const struct arch *arch = stop->image->arch;
    uint8_t *registers = live_stop_registers(stop);
    if (registers == NULL)
        return;
    struct iovec registers_vector = {registers, arch->registers_size_bytes};
    if (ptrace(PTRACE_GETREGSET, (pid_t)thread->tid, (void *)(uintptr_t)NT_PRSTATUS, &registers_vector) != 0 ||
        registers_vector.iov_len != arch->registers_size_bytes)
        return;
    thread->outcome = LIVE_THREAD_STOPPED;
    struct registers decoded;
    arch->registers_decode(registers, &decoded);
    live_stop_copy_memory(stop, thread, decoded.values[arch->sp], arch->thread_pointer(registers));
}

static bool is_stop(const siginfo_t *report)
{
    return report->si_code == CLD_TRAPPED || report->si_code == CLD_STOPPED;
}

/* As waitpid(tid, ..., __WALL | WNOHANG) of this thread's own tracees, but a stop stays to be waited for: the kernel
 * forgets the signal of a stop that was waited for (kernel/exit.c, wait_task_stopped), and were we killed between that
 * and the detach the target would never get it. */
static pid_t look_for_report(pid_t tid, siginfo_t *ret_report)
{
    idtype_t which = tid < 0 ? P_ALL : P_PID;
    id_t id = tid < 0 ? 0 : (id_t)tid;
    ret_report->si_pid = 0;
    if (waitid(which, id, ret_report, WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL | __WNOTHREAD) != 0)
        return -1;
    if (ret_report->si_pid != 0 && !is_stop(ret_report))
        waitpid(ret_report->si_pid, NULL, WNOHANG | __WALL | __WNOTHREAD);
    return ret_report->si_pid;
}

/* Takes such a report: the thread has stopped, or ended. */
static void take_report(struct stopper *stopper, struct live_thread *thread, const siginfo_t *report)
{
    if (thread->outcome != LIVE_THREAD_UNKNOWN)
        return;
    stopper->waiting--;
    if (!is_stop(report)) {
        thread->outcome = LIVE_THREAD_GONE;
        return;
    }
    /* A signal on its way is given back at the detach. PTRACE_EVENT_STOP (128 << 8) carries none. */
    thread->pending_signal = (report->si_status >> 8) == 0 ? report->si_status : 0;
    copy_thread(stopper->stop, thread);
    if (thread->outcome != LIVE_THREAD_STOPPED)
        thread->outcome = LIVE_THREAD_GONE;
}

static bool is_let_go(const struct live_stop *stop)
{
    return stop->hold != NULL && atomic_load(&stop->hold->is_let_go);
}

static bool time_is_up(const struct stopper *stopper)
{
    uint64_t limit = stopper->stop->stop_microseconds_max;
    if (is_let_go(stopper->stop))
        return true;
    return limit != 0 && nanoseconds_now() - stopper->started > limit * 1000;
}

/* Whether waiting on is of no use: what has not stopped sits in uninterruptible calls. A thread that merely got no
 * processor yet, on a busy machine, will stop. */
static bool are_uninterruptible(const struct live_stop *stop)
{
    for (size_t i = 0; i < stop->thread_count; i++) {
        const struct live_thread *thread = &stop->threads[i];
        char path[96], buffer[4096];
        struct text line;
        struct proc_stat stat;
        if (thread->outcome != LIVE_THREAD_UNKNOWN || !thread->interrupted)
            continue;
        snprintf(path, sizeof path, "/proc/%" PRIu32 "/task/%" PRIu32 "/stat", stop->pid, thread->tid);
        if (proc_read_short(path, buffer, sizeof buffer, &line) && proc_stat_parse(line, &stat) && stat.state != 'D')
            return false;
    }
    return true;
}

/* Whether what has not stopped is to be given up: `since` is when the last of the others did, or the wait began. */
static bool is_given_up(const struct live_stop *stop, uint64_t since)
{
    uint64_t waited = nanoseconds_now() - since;
    return waited > (uint64_t)limit_live_wait_longest_milliseconds * 1000000 ||
           (waited > (uint64_t)limit_live_wait_milliseconds * 1000000 && are_uninterruptible(stop));
}

/* Waits for the interrupted threads, each by its id: waiting for any makes the kernel look through all of them. One that
 * sits in an uninterruptible call is given limit_live_wait_milliseconds after the last other one stopped. */
static void collect_stops(struct stopper *stopper)
{
    struct live_stop *stop = stopper->stop;
    uint64_t last = nanoseconds_now();
    while (stopper->waiting != 0) {
        size_t before = stopper->waiting;
        for (size_t i = 0; i < stop->thread_count; i++) {
            struct live_thread *thread = &stop->threads[i];
            siginfo_t report;
            if ((i & 63) == 0 && time_is_up(stopper)) {
                stop->cut_short = true;
                return;
            }
            if (thread->outcome != LIVE_THREAD_UNKNOWN)
                continue;
            pid_t got = look_for_report((pid_t)thread->tid, &report);
            if (got > 0) {
                take_report(stopper, thread, &report);
            } else if (got < 0 && errno != EINTR) {
                stopper->waiting--;
                thread->outcome = LIVE_THREAD_GONE;
            }
        }
        if (stopper->waiting != before) {
            last = nanoseconds_now();
            continue;
        }
        if (is_given_up(stop, last))
            return;
        struct timespec pause = {0, 20000};
        nanosleep(&pause, NULL);
    }
}

static void interrupt_new(struct stopper *stopper)
{
    struct live_stop *stop = stopper->stop;
    for (size_t i = 0; i < stop->thread_count; i++) {
        struct live_thread *thread = &stop->threads[i];
        if (thread->interrupted)
            continue;
        thread->interrupted = true;
        if (ptrace(PTRACE_INTERRUPT, (pid_t)thread->tid, NULL, NULL) == 0)
            stopper->waiting++;
        else
            thread->outcome = LIVE_THREAD_GONE;
    }
}

static void detach_all(struct stopper *stopper)
{
    struct live_stop *stop = stopper->stop;
    for (size_t i = 0; i < stop->thread_count; i++) {
        struct live_thread *thread = &stop->threads[i];
        if (thread->outcome == LIVE_THREAD_STOPPED)
            ptrace(PTRACE_DETACH, (pid_t)thread->tid, NULL, (void *)(uintptr_t)thread->pending_signal);
        else if (thread->outcome == LIVE_THREAD_UNKNOWN)
            thread->outcome = LIVE_THREAD_NOT_STOPPED; /* let go by the kernel when this thread ends */
    }
}

bool live_stop_reserve(struct live_stop *stop)
{
    size_t prefault = (stop->thread_count + 64) * (size_t)limit_stack_prefault_bytes;
    stop->stacks_bytes = (stop->thread_count + 64) * (size_t)limit_stack_copy_bytes;
    if (stop->stacks_bytes > limit_stacks_bytes)
        stop->stacks_bytes = limit_stacks_bytes;
    void *stacks = mmap(NULL, stop->stacks_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == MAP_FAILED)
        return false;
    stop->stacks = stacks;
    /* Page faults of ours would lengthen the stop. Failure (before Linux 5.14) costs only that. */
    madvise(stacks, prefault < stop->stacks_bytes ? prefault : stop->stacks_bytes, MADV_POPULATE_WRITE);
    return true;
}

static bool reserve(struct stopper *stopper)
{
    bool good = live_stop_reserve(stopper->stop);
    if (!good)
        stopper->failed_errno = errno;
    return good;
}

static void stop_all(struct stopper *stopper)
{
    struct live_stop *stop = stopper->stop;
    /* Those that begin later are taken when the others stand, and begin no more. */
    for (int round = 0; round < limit_live_rounds && !is_let_go(stop) && seize_new(stopper) != 0; round++)
        ;
    if (stop->thread_count == 0 || !reserve(stopper))
        return;
    /* On a busy machine the target would stand while others have the processor. Not everybody may ask for that. Not for
     * rolling stops: the target runs beside them, and wants the processor too. */
    setpriority(PRIO_PROCESS, (id_t)gettid(), -20);
    stopper->started = nanoseconds_now();
    /* Threads may begin between the list and the stop: until a list shows no new one, all are not stopped. */
    do {
        interrupt_new(stopper);
        collect_stops(stopper);
    } while (!stop->cut_short && seize_new(stopper) != 0);
    if (stop->go != NULL)
        live_go_copy(stop->go,
                     stop->stop_microseconds_max == 0 ? 0 : stopper->started + stop->stop_microseconds_max * 1000,
                     stop->hold != NULL ? &stop->hold->is_let_go : NULL, &stop->arena);
    detach_all(stopper);
    stop->stop_microseconds = (nanoseconds_now() - stopper->started) / 1000;
}

/* Copies and lets go what has stopped. Asks for any thread: at most those that do not stop are held at a time. The
 * thread asked for in vain is waited for `limit` nanoseconds; 0: none is waited for. */
static void roll_collect(struct stopper *stopper, const struct live_thread *wanted, uint64_t limit)
{
    struct live_stop *stop = stopper->stop;
    uint64_t started = limit == 0 ? 0 : nanoseconds_now();
    while (stopper->waiting != 0) {
        siginfo_t report;
        pid_t got = look_for_report(-1, &report);
        if (got < 0 && errno != EINTR)
            return;
        struct live_thread *thread = got > 0 ? live_stop_find(stop, (uint32_t)got) : NULL;
        if (thread != NULL) {
            take_report(stopper, thread, &report);
            if (is_stop(&report))
                ptrace(PTRACE_DETACH, got, NULL, (void *)(uintptr_t)thread->pending_signal);
            if (thread == wanted)
                return;
        } else if (got == 0) {
            if (limit == 0 || nanoseconds_now() - started > limit)
                return;
            sched_yield();
        }
    }
}

static int compare_durations(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

/* A thread in an uninterruptible call gets this long before the next has its turn; it is copied when it does stop. */
enum { roll_wait_nanoseconds = 2000000 };

struct turn {
    uint32_t tid;
    int processor; /* where it ran last, -1 unknown */
};

static int compare_turns(const void *left, const void *right)
{
    const struct turn *a = left, *b = right;
    return a->processor != b->processor ? (a->processor > b->processor) - (a->processor < b->processor)
                                        : (a->tid > b->tid) - (a->tid < b->tid);
}

/* The threads that had no turn yet, those of one processor after another. */
static struct turn *list_turns(struct live_stop *stop, size_t *ret_count)
{
    struct turn *turns = arena_array(&stop->arena, struct turn, stop->thread_count + 1);
    size_t count = 0;
    for (size_t i = 0; i < stop->thread_count; i++) {
        char path[64], buffer[1024];
        struct text line;
        struct proc_stat stat;
        if (stop->threads[i].interrupted || stop->threads[i].outcome != LIVE_THREAD_UNKNOWN)
            continue;
        turns[count] = (struct turn){.tid = stop->threads[i].tid, .processor = -1};
        snprintf(path, sizeof path, "/proc/%" PRIu32 "/task/%" PRIu32 "/stat", stop->pid, turns[count].tid);
        if (proc_read_short(path, buffer, sizeof buffer, &line) && proc_stat_parse(line, &stat))
            turns[count].processor = stat.processor;
        count++;
    }
    qsort(turns, count, sizeof *turns, compare_turns);
    *ret_count = count;
    return turns;
}

/* Reads what the stop will read, so that the stop finds page tables, stack and buffer in the cache: half of the time of
 * the copy. A thread that runs, or moves on, only loses that. */
static void warm_stack(const struct live_stop *stop, uint32_t tid)
{
    enum { warm_bytes = 2 * 4096 };
    char path[96], buffer[256];
    struct text line;
    struct system_call call;
    uint64_t sp, pc;
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/task/%" PRIu32 "/syscall", stop->pid, tid);
    if (stop->stacks_bytes - stop->stacks_used < warm_bytes || !proc_read_short(path, buffer, sizeof buffer, &line) ||
        !proc_call_parse(line.data, &call, &sp, &pc))
        return;
    (void)!pread(stop->memory_fd, stop->stacks + stop->stacks_used, warm_bytes, (off_t)(sp & -page_bytes));
}

static void stop_one(struct stopper *stopper, uint32_t tid, uint32_t *durations, size_t *duration_count)
{
    struct live_stop *stop = stopper->stop;
    uint64_t runs;
    bool runs_known = proc_runs(stop->pid, tid, &runs);
    warm_stack(stop, tid);
    if (ptrace(PTRACE_SEIZE, (pid_t)tid, NULL, NULL) != 0) {
        if (errno != ESRCH && stopper->failed_errno == 0)
            stopper->failed_errno = errno;
        return;
    }
    struct live_thread *thread = live_stop_find(stop, tid);
    thread->runs_known = runs_known;
    thread->runs = runs_known ? runs : 0;
    thread->interrupted = true;
    uint64_t started = nanoseconds_now();
    if (ptrace(PTRACE_INTERRUPT, (pid_t)tid, NULL, NULL) != 0) {
        thread->outcome = LIVE_THREAD_GONE;
        return;
    }
    stopper->waiting++;
    roll_collect(stopper, thread, roll_wait_nanoseconds);
    if (thread->outcome == LIVE_THREAD_STOPPED)
        durations[(*duration_count)++] = (uint32_t)(nanoseconds_now() - started);
}

static void stop_rolling(struct stopper *stopper)
{
    struct live_stop *stop = stopper->stop;
    size_t duration_count = 0, done = 0;
    bool is_reached = false;
    uint32_t *durations = NULL;
    live_processors_open(&stopper->processors);
    for (int round = 0;; round++) {
        uint32_t *tids;
        size_t count;
        if (!proc_tasks(&stop->arena, stop->pid, &tids, &count))
            break;
        for (size_t i = 0; i < count; i++)
            if (live_stop_find(stop, tids[i]) == NULL)
                live_stop_add(stop, tids[i]);
        if (stop->thread_count == done || (stop->stacks == NULL && !reserve(stopper)))
            break;
        stop->rounds_exhausted = round == limit_live_rounds;
        if (stop->rounds_exhausted || is_let_go(stop))
            break;
        done = stop->thread_count;
        uint32_t *longer = arena_array(&stop->arena, uint32_t, stop->thread_count);
        if (duration_count != 0)
            memcpy(longer, durations, duration_count * sizeof *durations);
        durations = longer;
        size_t turn_count;
        const struct turn *turns = list_turns(stop, &turn_count);
        for (size_t i = 0; i < turn_count && !is_let_go(stop); i++) {
            live_processors_move(&stopper->processors, turns[i].processor);
            stop_one(stopper, turns[i].tid, durations, &duration_count);
        }
    }
    live_processors_close(&stopper->processors);
    uint64_t started = nanoseconds_now();
    while (stopper->waiting != 0 && !is_let_go(stop) && !is_given_up(stop, started)) {
        struct timespec pause = {0, 50000};
        nanosleep(&pause, NULL);
        roll_collect(stopper, NULL, 0);
    }
    for (size_t i = 0; i < stop->thread_count; i++)
        if (stop->threads[i].outcome == LIVE_THREAD_UNKNOWN)
            stop->threads[i].outcome = stop->threads[i].interrupted ? LIVE_THREAD_NOT_STOPPED : LIVE_THREAD_GONE;
    for (size_t i = 0; i < stop->thread_count && !is_reached; i++)
        is_reached = stop->threads[i].interrupted;
    if (!is_reached)
        stop->thread_count = 0; /* none could be taken: the caller says why */
    if (duration_count == 0)
        return;
    qsort(durations, duration_count, sizeof *durations, compare_durations);
    stop->stop_microseconds = durations[duration_count - 1] / 1000;
    stop->stop_microseconds_median = durations[duration_count / 2] / 1000;
}

static void *stopper_main(void *context)
{
    struct stopper *stopper = context;
    struct live_hold *hold = stopper->stop->hold;
    /* First this, then the look at is_let_go: who sets that sees one of the two. */
    if (hold != NULL)
        atomic_store(&hold->is_held, true);
    stopper->stop->arena.exhausted = &stopper->exhausted;
    if (setjmp(stopper->exhausted) != 0)
        stopper->out_of_memory = true; /* the kernel lets every thread go */
    else if (is_let_go(stopper->stop))
        stopper->failed_errno = ECANCELED;
    else if (stopper->stop->kind == STOP_KIND_ROLLING)
        stop_rolling(stopper);
    else
        stop_all(stopper);
    live_processors_close(&stopper->processors);
    if (hold != NULL)
        atomic_store(&hold->is_held, false);
    return NULL;
}

static const struct error *refusal(const struct live_stop *stop, int failed, struct arena *arena)
{
    char scope[8] = "";
    struct text content;
    if (proc_read(arena, "/proc/sys/kernel/yama/ptrace_scope", &content) && content.length != 0)
        snprintf(scope, sizeof scope, "%c", content.data[0]);
    if (failed == EPERM || failed == EACCES)
        return error_new(arena, ERROR_OPEN,
                         "process %u: not permitted to attach: run as root, or as its user%s%s%s", stop->pid,
                         scope[0] > '0' ? " with kernel.yama.ptrace_scope=0 (it is " : "", scope[0] > '0' ? scope : "",
                         scope[0] > '0' ? ")" : "");
    return error_new(arena, ERROR_OPEN, "process %u: cannot be attached to: %s", stop->pid,
                     failed == 0 ? "it has ended" : strerror(failed));
}

const struct error *live_stop_run(struct live_stop *stop, struct arena *arena)
{
    struct stopper stopper = {.stop = stop};
    pthread_t thread;
    arena_init(&stop->arena, limit_arena_bytes, NULL);
    /* A handler that waits for this thread must not run in it. */
    static const int own_faults[] = {SIGBUS, SIGFPE, SIGILL, SIGSEGV};
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof own_faults / sizeof own_faults[0]; i++)
        sigdelset(&blocked, own_faults[i]);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    int failed = pthread_create(&thread, NULL, stopper_main, &stopper);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0)
        return error_new(arena, ERROR_LIMIT, "process %u: no thread to attach with: %s", stop->pid, strerror(failed));
    pthread_join(thread, NULL);
    stop->arena.exhausted = NULL;
    if (stopper.out_of_memory)
        return error_new(arena, ERROR_LIMIT, "process %u: too little memory for its threads", stop->pid);
    if (stop->thread_count == 0 || stop->stacks == NULL)
        return refusal(stop, stopper.failed_errno, arena);
    return NULL;
}

void live_stop_release(struct live_stop *stop)
{
    if (stop->stacks != NULL)
        munmap(stop->stacks, stop->stacks_bytes);
    arena_deinit(&stop->arena);
    stop->stacks = NULL;
    stop->threads = NULL;
    stop->thread_count = 0;
}
