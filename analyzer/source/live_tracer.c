/* SPDX-License-Identifier: Apache-2.0 */
#include "source/live_tracer.h"

#include "base/limits.h"
#include "source/proc_files.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

uint64_t live_tracer_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool contains(const uint32_t *tids, size_t count, uint32_t tid)
{
    for (size_t i = 0; i < count; i++)
        if (tids[i] == tid)
            return true;
    return false;
}

bool live_tracer_seize(struct live_tracer *tracer, uint32_t tid)
{
    struct live_stop *stop = tracer->stop;
    if (ptrace(PTRACE_SEIZE, (pid_t)tid, NULL, NULL) == 0)
        return true;
    if (errno == ESRCH)
        return false;
    if (tracer->failed_errno == 0)
        tracer->failed_errno = errno;
    if (stop->refused_count < limit_live_refused && !contains(stop->refused_tids, stop->refused_count, tid))
        stop->refused_tids[stop->refused_count++] = tid;
    return false;
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
    thread->registers_known = 0;
    struct registers decoded;
    arch->registers_decode(registers, &decoded);
    live_stop_copy_memory(stop, thread, decoded.values[arch->sp], arch->thread_pointer(registers));
}

bool live_tracer_is_stop(const siginfo_t *report)
{
    return report->si_code == CLD_TRAPPED || report->si_code == CLD_STOPPED;
}

/* As waitpid(tid, ..., __WALL | WNOHANG) of this thread's own tracees, but a stop stays to be waited for: the kernel
 * forgets the signal of a stop that was waited for (kernel/exit.c, wait_task_stopped), and were we killed between that
 * and the detach the target would never get it. */
pid_t live_tracer_look(pid_t tid, siginfo_t *ret_report)
{
    idtype_t which = tid < 0 ? P_ALL : P_PID;
    id_t id = tid < 0 ? 0 : (id_t)tid;
    ret_report->si_pid = 0;
    if (waitid(which, id, ret_report, WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL | __WNOTHREAD) != 0)
        return -1;
    if (ret_report->si_pid != 0 && !live_tracer_is_stop(ret_report))
        waitpid(ret_report->si_pid, NULL, WNOHANG | __WALL | __WNOTHREAD);
    return ret_report->si_pid;
}

/* Takes such a report: the thread has stopped, or ended. */
void live_tracer_take(struct live_tracer *tracer, struct live_thread *thread, const siginfo_t *report)
{
    if (thread->outcome != LIVE_THREAD_UNKNOWN)
        return;
    tracer->waiting--;
    if (!live_tracer_is_stop(report)) {
        thread->outcome = LIVE_THREAD_GONE;
        return;
    }
    /* A signal on its way is given back at the detach. PTRACE_EVENT_STOP (128 << 8) carries none. */
    thread->pending_signal = (report->si_status >> 8) == 0 ? report->si_status : 0;
    copy_thread(tracer->stop, thread);
    if (thread->outcome != LIVE_THREAD_STOPPED)
        thread->outcome = LIVE_THREAD_GONE;
}

bool live_tracer_is_let_go(const struct live_stop *stop)
{
    return stop->hold != NULL && atomic_load(&stop->hold->is_let_go);
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
bool live_tracer_gives_up(const struct live_stop *stop, uint64_t since)
{
    uint64_t waited = live_tracer_now() - since;
    return waited > (uint64_t)limit_live_wait_longest_milliseconds * 1000000 ||
           (waited > (uint64_t)limit_live_wait_milliseconds * 1000000 && are_uninterruptible(stop));
}

struct tracer_run {
    struct live_tracer tracer;
    void (*work)(struct live_tracer *tracer, void *context);
    void *context;
    jmp_buf exhausted;
    bool out_of_memory;
};

static void *tracer_main(void *context)
{
    struct tracer_run *run = context;
    struct live_stop *stop = run->tracer.stop;
    /* First this, then the look at is_let_go: who sets that sees one of the two. */
    if (stop->hold != NULL)
        atomic_store(&stop->hold->is_held, true);
    stop->arena.exhausted = &run->exhausted;
    if (setjmp(run->exhausted) != 0)
        run->out_of_memory = true; /* the kernel lets every thread go */
    else if (live_tracer_is_let_go(stop))
        run->tracer.failed_errno = ECANCELED;
    else
        run->work(&run->tracer, run->context);
    if (stop->hold != NULL)
        atomic_store(&stop->hold->is_held, false);
    return NULL;
}

/* The kernel permits nobody to attach to a thread that has ended and is still in the list. */
static bool has_ended(uint32_t pid, struct arena *arena)
{
    uint32_t *tids;
    size_t count;
    if (!proc_tasks(arena, pid, &tids, &count))
        return errno == ENOENT || errno == ESRCH;
    for (size_t i = 0; i < count; i++) {
        char path[96], buffer[4096];
        struct text line;
        struct proc_stat stat;
        snprintf(path, sizeof path, "/proc/%" PRIu32 "/task/%" PRIu32 "/stat", pid, tids[i]);
        if (proc_read_short(path, buffer, sizeof buffer, &line) && proc_stat_parse(line, &stat) && stat.state != 'Z' &&
            stat.state != 'X')
            return false;
    }
    return true;
}

static const struct error *refusal(const struct live_stop *stop, int failed, struct arena *arena)
{
    char scope[8] = "";
    struct text content;
    if (proc_read(arena, "/proc/sys/kernel/yama/ptrace_scope", &content) && content.length != 0)
        snprintf(scope, sizeof scope, "%c", content.data[0]);
    if ((failed == EPERM || failed == EACCES) && has_ended(stop->pid, arena))
        failed = 0;
    if (failed == EPERM || failed == EACCES)
        return error_new(arena, ERROR_OPEN,
                         "process %u: not permitted to attach: run as root, or as its user%s%s%s", stop->pid,
                         scope[0] > '0' ? " with kernel.yama.ptrace_scope=0 (it is " : "", scope[0] > '0' ? scope : "",
                         scope[0] > '0' ? ")" : "");
    return error_new(arena, ERROR_OPEN, "process %u: cannot be attached to: %s", stop->pid,
                     failed == 0 ? "it has ended" : strerror(failed));
}

const struct error *live_tracer_run(struct live_stop *stop, void (*work)(struct live_tracer *tracer, void *context),
                                    void *context, struct arena *arena)
{
    struct tracer_run run = {.tracer.stop = stop, .work = work, .context = context};
    pthread_t thread;
    /* A handler that waits for this thread must not run in it. */
    static const int own_faults[] = {SIGBUS, SIGFPE, SIGILL, SIGSEGV};
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof own_faults / sizeof own_faults[0]; i++)
        sigdelset(&blocked, own_faults[i]);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    int failed = pthread_create(&thread, NULL, tracer_main, &run);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0)
        return error_new(arena, ERROR_LIMIT, "process %u: no thread to attach with: %s", stop->pid, strerror(failed));
    pthread_join(thread, NULL);
    stop->arena.exhausted = NULL;
    if (run.out_of_memory)
        return error_new(arena, ERROR_LIMIT, "process %u: too little memory for its threads", stop->pid);
    if (stop->thread_count == 0 || stop->stacks == NULL)
        return refusal(stop, run.tracer.failed_errno, arena);
    return NULL;
}
