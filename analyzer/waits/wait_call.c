/* SPDX-License-Identifier: Apache-2.0 */
#include "waits/wait_call.h"

#include "base/limits.h"
#include "base/name.h"

enum {
    /* A wait has at most this many frames of libraries between the system call and the function that tells. */
    frames_looked_at = 24,
    /* Meanings beside enum wait_call. */
    NAME_PASSED = 64,   /* between the system call and what tells */
    NAME_PASSED_MUSL,   /* the same, and there only in musl */
    NAME_LOADER_CALLER, /* takes the loader's mutex through pthread_mutex_lock */
};

enum how { WHOLE, START };

/* Names as wait_call_plain_name leaves them, for libc's own functions: seen in glibc 2.36 and musl 1.2.3; starts of
 * names leave room for other releases' suffixes. */
static const struct {
    const char *name;
    uint8_t how, meaning;
} c_names[] = {
    {"syscall", WHOLE, NAME_PASSED},
    {"syscall_cancel", START, NAME_PASSED}, /* glibc from 2.41 on */
    {"internal_syscall_cancel", START, NAME_PASSED},
    {"syscall_cp", START, NAME_PASSED_MUSL},
    {"cp_begin", WHOLE, NAME_PASSED_MUSL},
    {"cp_end", WHOLE, NAME_PASSED_MUSL},
    {"futex", START, NAME_PASSED},
    {"do_futex_wait", START, NAME_PASSED},
    {"lll_", START, NAME_PASSED},
    {"atomic_wait_timed", START, NAME_PASSED},
    {"timedwait", WHOLE, NAME_PASSED_MUSL},
    {"timedwait_cp", WHOLE, NAME_PASSED_MUSL},
    {"wait", WHOLE, NAME_PASSED}, /* musl's __wait; wait(2) blocks in another call */
    {"lock", WHOLE, NAME_PASSED}, /* musl's internal lock */
    {"pthread_mutex_lock", START, CALL_MUTEX},
    {"pthread_mutex_timedlock", START, CALL_MUTEX},
    {"pthread_mutex_clocklock", START, CALL_MUTEX},
    {"pthread_mutex_cond_lock", START, CALL_MUTEX},
    {"pthread_mutex_trylock_pi", START, CALL_MUTEX}, /* musl */
    {"mtx_lock", WHOLE, CALL_MUTEX},
    {"mtx_timedlock", START, CALL_MUTEX},
    {"pthread_rwlock_rdlock", START, CALL_RWLOCK_READ},
    {"pthread_rwlock_timedrdlock", START, CALL_RWLOCK_READ},
    {"pthread_rwlock_clockrdlock", START, CALL_RWLOCK_READ},
    {"pthread_rwlock_wrlock", START, CALL_RWLOCK_WRITE},
    {"pthread_rwlock_timedwrlock", START, CALL_RWLOCK_WRITE},
    {"pthread_rwlock_clockwrlock", START, CALL_RWLOCK_WRITE},
    {"pthread_cond_wait", START, CALL_CONDITION},
    {"pthread_cond_timedwait", START, CALL_CONDITION},
    {"pthread_cond_clockwait", START, CALL_CONDITION},
    {"private_cond_wait", WHOLE, CALL_CONDITION}, /* musl 1.0 */
    {"cnd_wait", WHOLE, CALL_CONDITION},
    {"cnd_timedwait", START, CALL_CONDITION},
    {"sem_wait", START, CALL_SEMAPHORE},
    {"sem_timedwait", START, CALL_SEMAPHORE},
    {"sem_clockwait", START, CALL_SEMAPHORE},
    {"pthread_join", START, CALL_JOIN},
    {"pthread_timedjoin", START, CALL_JOIN},
    {"pthread_clockjoin", START, CALL_JOIN},
    {"thrd_join", WHOLE, CALL_JOIN},
    {"pthread_barrier_wait", START, CALL_BARRIER},
    {"pthread_once", START, CALL_ONCE},
    {"call_once", WHOLE, CALL_ONCE},
    {"cxa_guard_acquire", WHOLE, CALL_ONCE},
    {"dl_iterate_phdr", WHOLE, NAME_LOADER_CALLER},
    {"dl_", START, NAME_LOADER_CALLER}, /* _dl_open, _dl_close, _dl_addr, _dl_sym … */
    {"dlopen", START, NAME_LOADER_CALLER},
    {"dlsym", START, NAME_LOADER_CALLER},
    {"dlvsym", START, NAME_LOADER_CALLER},
    {"dlclose", START, NAME_LOADER_CALLER},
    {"dladdr", START, NAME_LOADER_CALLER},
    {"dlinfo", START, NAME_LOADER_CALLER},
    {"do_dlsym", START, NAME_LOADER_CALLER},
    {"rtld_", START, NAME_LOADER_CALLER},
    {"tls_get_addr", START, NAME_LOADER_CALLER},
    {"IO_", START, CALL_STDIO},
    {"lockfile", WHOLE, CALL_STDIO}, /* musl */
    {"flockfile", WHOLE, CALL_STDIO},
    {"clearerr", WHOLE, CALL_STDIO},
    {"fclose", WHOLE, CALL_STDIO},
    {"feof", WHOLE, CALL_STDIO},
    {"ferror", WHOLE, CALL_STDIO},
    {"fflush", WHOLE, CALL_STDIO},
    {"fgetc", WHOLE, CALL_STDIO},
    {"fgets", WHOLE, CALL_STDIO},
    {"fgetws", WHOLE, CALL_STDIO},
    {"fputc", WHOLE, CALL_STDIO},
    {"fputs", WHOLE, CALL_STDIO},
    {"fputws", WHOLE, CALL_STDIO},
    {"fprintf", WHOLE, CALL_STDIO},
    {"fread", WHOLE, CALL_STDIO},
    {"fseek", START, CALL_STDIO},
    {"fsetpos", START, CALL_STDIO},
    {"ftell", START, CALL_STDIO},
    {"fwide", WHOLE, CALL_STDIO},
    {"fwrite", WHOLE, CALL_STDIO},
    {"getc", WHOLE, CALL_STDIO},
    {"getchar", WHOLE, CALL_STDIO},
    {"getdelim", WHOLE, CALL_STDIO},
    {"getline", WHOLE, CALL_STDIO},
    {"perror", WHOLE, CALL_STDIO},
    {"perror_internal", WHOLE, CALL_STDIO},
    {"printf", WHOLE, CALL_STDIO},
    {"putc", WHOLE, CALL_STDIO},
    {"putchar", WHOLE, CALL_STDIO},
    {"puts", WHOLE, CALL_STDIO},
    {"rewind", WHOLE, CALL_STDIO},
    {"setvbuf", WHOLE, CALL_STDIO},
    {"ungetc", WHOLE, CALL_STDIO},
    {"vfprintf", START, CALL_STDIO},
    {"vfwprintf", START, CALL_STDIO},
    {"vfscanf", START, CALL_STDIO},
    {"vfxprintf", START, CALL_STDIO},
    {"g_mutex_lock", START, CALL_WORD_MUTEX},
    {"g_cond_wait", START, CALL_WORD_CONDITION},
    {"gomp_mutex_lock", START, CALL_WORD_MUTEX},
    {"malloc", START, CALL_ALLOCATOR},
    {"libc_malloc", START, CALL_ALLOCATOR},
    {"libc_calloc", START, CALL_ALLOCATOR},
    {"libc_realloc", START, CALL_ALLOCATOR},
    {"libc_free", START, CALL_ALLOCATOR},
    {"libc_memalign", START, CALL_ALLOCATOR},
    {"mid_memalign", START, CALL_ALLOCATOR},
    {"calloc", WHOLE, CALL_ALLOCATOR},
    {"realloc", WHOLE, CALL_ALLOCATOR},
    {"free", WHOLE, CALL_ALLOCATOR},
    {"cfree", WHOLE, CALL_ALLOCATOR},
    {"memalign", WHOLE, CALL_ALLOCATOR},
    {"posix_memalign", WHOLE, CALL_ALLOCATOR},
    {"aligned_alloc", WHOLE, CALL_ALLOCATOR},
    {"valloc", WHOLE, CALL_ALLOCATOR},
    {"pvalloc", WHOLE, CALL_ALLOCATOR},
    {"int_malloc", START, CALL_ALLOCATOR},
    {"int_free", START, CALL_ALLOCATOR},
    {"int_realloc", START, CALL_ALLOCATOR},
    {"int_memalign", START, CALL_ALLOCATOR},
    {"arena_get", START, CALL_ALLOCATOR},
    {"reused_arena", START, CALL_ALLOCATOR},
    {"sysmalloc", START, CALL_ALLOCATOR},
    {"heap_trim", START, CALL_ALLOCATOR},
    {"tcache_", START, CALL_ALLOCATOR},
    {"mallinfo", START, CALL_ALLOCATOR},
};

/* Names with "::" in them, demangled: both parts stand in the name, in any order; the first row that fits tells. Rust's
 * legacy mangling gives `std::…::Mutex::lock_contended`, v0 `<std::…::Mutex>::lock_contended`. Seen in the Rust
 * and libstdc++ that the tests build with; Rust's older `std::sys::unix::locks::futex_mutex` fits too. */
static const struct {
    const char *first, *second;
    uint8_t meaning;
} path_names[] = {
    {"std::sys::", "lock_contended", CALL_RUST_MUTEX},
    {"std::sys::", "read_contended", CALL_RUST_READ},
    {"std::sys::", "write_contended", CALL_RUST_WRITE},
    {"std::sys::", "futex_wait", NAME_PASSED},
    {"std::sys::", "::futex::Once", CALL_RUST_ONCE},
    {"std::sys::", "ondvar", CALL_RUST_CONDITION},
    {"std::sys", "arker", CALL_PARK}, /* std::sys_common::thread_parker in Rust 1.63 */
    {"std::thread::", "::park", CALL_PARK},
    {"std::__atomic_semaphore", "", CALL_WORD_SEMAPHORE},
    {"std::counting_semaphore", "", CALL_WORD_SEMAPHORE},
    {"std::latch::", "", CALL_WORD_BARRIER},
    {"std::__tree_barrier", "", CALL_WORD_BARRIER},
    {"std::barrier<", "", CALL_WORD_BARRIER},
    {"std::__detail::__waiter", "", NAME_PASSED},
    {"std::__detail::__platform_wait", "", NAME_PASSED},
    {"std::__atomic_wait", "", CALL_WORD},
    {"std::__atomic_base", "::wait", CALL_WORD},
    {"std::__atomic_futex_unsigned", "", CALL_WORD}, /* std::future */
};

struct text wait_call_plain_name(struct text name)
{
    static const struct text prefixes[] = {{"GI_", 3}, {"new_", 4}, {"old_", 4}};
    name = name_normalise(name);
    for (bool again = true; again;) {
        again = false;
        while (name.length > 1 && name.data[0] == '_')
            name = (struct text){name.data + 1, name.length - 1};
        for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
            if (name.length > prefixes[i].length && text_starts_with(name, prefixes[i])) {
                name = (struct text){name.data + prefixes[i].length, name.length - prefixes[i].length};
                again = true;
            }
    }
    return name;
}

static bool text_contains(struct text text, const char *part)
{
    size_t length = strlen(part);
    return length == 0 || memmem(text.data, text.length, part, length) != NULL;
}

static uint8_t name_meaning(struct text name)
{
    if (name.length == 0)
        return CALL_UNKNOWN;
    if (text_contains(name, "::")) {
        for (size_t i = 0; i < sizeof path_names / sizeof path_names[0]; i++)
            if (text_contains(name, path_names[i].first) && text_contains(name, path_names[i].second))
                return path_names[i].meaning;
        return CALL_UNKNOWN;
    }
    name = wait_call_plain_name(name);
    for (size_t i = 0; i < sizeof c_names / sizeof c_names[0]; i++) {
        struct text row = text_from_string(c_names[i].name);
        if (c_names[i].how == WHOLE ? text_equals(name, row) : text_starts_with(name, row))
            return c_names[i].meaning;
    }
    return CALL_UNKNOWN;
}

void wait_calls_init(struct wait_calls *calls, const struct snapshot *snapshot, struct arena *arena)
{
    *calls = (struct wait_calls){
        .snapshot = snapshot,
        .of_function = arena_array(arena, uint8_t, snapshot->strings.count + 1),
        .of_stack = arena_array(arena, uint8_t, snapshot->stack_count + 1),
        .function_count = snapshot->strings.count,
    };
}

static uint8_t function_meaning(struct wait_calls *calls, uint32_t function)
{
    if (function >= calls->function_count) /* a string that came later: no function of a stack */
        return CALL_UNKNOWN;
    if (calls->of_function[function] == 0)
        calls->of_function[function] = name_meaning(snapshot_string(calls->snapshot, function)) + 1;
    return calls->of_function[function] - 1;
}

/* GLib's and libgomp's functions that wait for their mutexes are static ones, without names where there is no debug
 * information. Others of these libraries wait so too: the value waited on tells the mutexes (wait_words.c). */
static bool has_word_mutexes(const struct snapshot *snapshot, uint32_t module)
{
    if (module >= snapshot->module_count)
        return false;
    struct text name = text_basename(snapshot->modules[module].path);
    return text_starts_with(name, TEXT("libglib-2.0.so")) || text_starts_with(name, TEXT("libgomp.so"));
}

/* The innermost function that tells. A mutex taken by the loader is told by its caller. */
static enum wait_call read_stack(struct wait_calls *calls, const struct stack *stack)
{
    const struct snapshot *snapshot = calls->snapshot;
    enum wait_call call = CALL_UNKNOWN;
    uint32_t looked_at = 0, leaf_module = index_none;
    for (uint32_t i = 0; i < stack->step_count; i++) {
        const struct location *location = &snapshot->locations[snapshot->steps[stack->step_first + i].location];
        if (i == 0)
            leaf_module = location->module;
        bool is_of_leaf = location->module == leaf_module;
        for (uint32_t f = 0; f < location->frame_count; f++) {
            uint32_t function = snapshot->frames[location->frame_first + f].function;
            uint8_t meaning = function_meaning(calls, function);
            if (++looked_at > frames_looked_at)
                return call;
            if (function == 0 && call == CALL_UNKNOWN && has_word_mutexes(snapshot, location->module))
                return CALL_WORD_MUTEX;
            /* Without debug information libc's own static functions have no name. */
            calls->has_musl |= meaning == NAME_PASSED_MUSL;
            if (meaning == NAME_PASSED || meaning == NAME_PASSED_MUSL || (function == 0 && is_of_leaf))
                continue;
            if (call == CALL_MUTEX && meaning == NAME_LOADER_CALLER)
                return CALL_LOADER;
            if (call == CALL_MUTEX && meaning == CALL_MUTEX)
                continue;
            if (call != CALL_UNKNOWN || meaning == CALL_UNKNOWN || meaning == NAME_LOADER_CALLER)
                return call;
            /* Locks of libc's own: not those of another allocator, say. */
            if ((meaning == CALL_STDIO || meaning == CALL_ALLOCATOR) && !is_of_leaf)
                return CALL_UNKNOWN;
            call = (enum wait_call)meaning;
            if (call != CALL_MUTEX)
                return call;
        }
    }
    return call;
}

enum wait_call wait_calls_of_stack(struct wait_calls *calls, uint32_t stack)
{
    if (calls->of_stack[stack] == 0)
        calls->of_stack[stack] = (uint8_t)(read_stack(calls, &calls->snapshot->stacks[stack]) + 1);
    return (enum wait_call)(calls->of_stack[stack] - 1);
}

bool wait_calls_stack_has(struct wait_calls *calls, uint32_t stack, enum wait_call call)
{
    const struct snapshot *snapshot = calls->snapshot;
    const struct stack *of = &snapshot->stacks[stack];
    for (uint32_t i = 0; i < of->step_count && i < limit_frames_crowded; i++) {
        const struct location *location = &snapshot->locations[snapshot->steps[of->step_first + i].location];
        for (uint32_t f = 0; f < location->frame_count; f++)
            if (function_meaning(calls, snapshot->frames[location->frame_first + f].function) == call)
                return true;
    }
    return false;
}
