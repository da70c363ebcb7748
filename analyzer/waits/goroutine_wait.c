/* SPDX-License-Identifier: Apache-2.0 */
#include "waits/goroutine_wait.h"

/* Go's wait reasons (runtime/runtime2.go, waitReasonStrings) and statuses, from 1.0 to 1.27. */
enum reason_kind {
    REASON_NO_WAIT, /* it runs, or could */
    REASON_WAIT,    /* for `kind` and nothing else */
    REASON_FRAMES,  /* the functions at the leaf tell for what; `kind` where they do not */
};

struct reason_row {
    const char *reason;
    enum reason_kind reason_kind;
    enum wait_kind kind;
    const char *name; /* of the thing, NULL: none */
};

static const struct reason_row reason_rows[] = {
    {"running", REASON_NO_WAIT, WAIT_UNKNOWN, NULL},
    {"runnable", REASON_NO_WAIT, WAIT_UNKNOWN, NULL},
    {"idle", REASON_NO_WAIT, WAIT_UNKNOWN, NULL},
    {"dead", REASON_NO_WAIT, WAIT_UNKNOWN, NULL},
    {"copystack", REASON_NO_WAIT, WAIT_UNKNOWN, NULL},
    {"preempted", REASON_NO_WAIT, WAIT_UNKNOWN, NULL},
    {"chan receive", REASON_WAIT, WAIT_CHANNEL_RECEIVE, NULL},
    {"chan receive (nil chan)", REASON_WAIT, WAIT_CHANNEL_RECEIVE, "nil channel"},
    {"chan receive (synctest)", REASON_WAIT, WAIT_CHANNEL_RECEIVE, NULL},
    {"chan send", REASON_WAIT, WAIT_CHANNEL_SEND, NULL},
    {"chan send (nil chan)", REASON_WAIT, WAIT_CHANNEL_SEND, "nil channel"},
    {"chan send (synctest)", REASON_WAIT, WAIT_CHANNEL_SEND, NULL},
    {"select", REASON_WAIT, WAIT_SELECT, NULL},
    {"select (synctest)", REASON_WAIT, WAIT_SELECT, NULL},
    {"select (no cases)", REASON_WAIT, WAIT_SELECT, "no cases"},
    {"sleep", REASON_WAIT, WAIT_SLEEP, NULL},
    {"sync.Mutex.Lock", REASON_FRAMES, WAIT_MUTEX, NULL},
    {"sync.RWMutex.RLock", REASON_FRAMES, WAIT_RWLOCK, NULL},
    {"sync.RWMutex.Lock", REASON_FRAMES, WAIT_RWLOCK, NULL},
    {"sync.WaitGroup.Wait", REASON_FRAMES, WAIT_WAITGROUP, NULL},
    {"sync.Cond.Wait", REASON_FRAMES, WAIT_CONDITION, NULL},
    {"semacquire", REASON_FRAMES, WAIT_SEMAPHORE, NULL},
    {"IO wait", REASON_FRAMES, WAIT_POLL, NULL},
    {"syscall", REASON_FRAMES, WAIT_UNKNOWN, NULL},
    {"waiting", REASON_FRAMES, WAIT_UNKNOWN, NULL}, /* before 1.1, and where the reason is not set */
};

enum call_role {
    ROLE_NONE,
    ROLE_PARKED, /* where goroutines park: a leaf here waits, whatever the reason */
    ROLE_THING,  /* its first argument is what is waited for */
    ROLE_PLACE,  /* tells the kind only */
};

/* Functions between a goroutine's own code and the runtime. Rows match as prefixes when they end in '.' or '*'. */
struct call_row {
    const char *function;
    enum call_role role;
    enum wait_kind kind;
    bool shared;     /* a reader's */
    bool over_mutex; /* a thing that has the mutex in it which the calls before are about */
};

static const struct call_row call_rows[] = {
    {"sync.runtime_Semacquire", ROLE_PARKED, WAIT_UNKNOWN, false, false},
    {"sync.runtime_SemacquireMutex", ROLE_PARKED, WAIT_UNKNOWN, false, false},
    {"sync.runtime_SemacquireRWMutex", ROLE_PARKED, WAIT_UNKNOWN, false, false},
    {"sync.runtime_SemacquireRWMutexR", ROLE_PARKED, WAIT_UNKNOWN, false, false},
    {"sync.runtime_SemacquireRWMutexRLock", ROLE_PARKED, WAIT_UNKNOWN, false, false},
    {"sync.runtime_SemacquireWaitGroup", ROLE_PARKED, WAIT_UNKNOWN, false, false},
    {"sync.runtime_notifyListWait", ROLE_PARKED, WAIT_UNKNOWN, false, false},
    {"sync.runtime_Syncsemacquire", ROLE_PARKED, WAIT_UNKNOWN, false, false},
    {"internal/sync.runtime_SemacquireMutex", ROLE_PARKED, WAIT_UNKNOWN, false, false},
    {"internal/poll.runtime_Semacquire", ROLE_PARKED, WAIT_UNKNOWN, false, false},
    {"internal/poll.runtime_pollWait", ROLE_PARKED, WAIT_POLL, false, false},
    {"net.runtime_pollWait", ROLE_PARKED, WAIT_SOCKET, false, false}, /* before 1.9 */
    {"time.Sleep", ROLE_PARKED, WAIT_SLEEP, false, false},
    {"sync.(*Mutex).lockSlow", ROLE_THING, WAIT_MUTEX, false, false},
    {"sync.(*Mutex).Lock", ROLE_THING, WAIT_MUTEX, false, false},
    {"internal/sync.(*Mutex).lockSlow", ROLE_THING, WAIT_MUTEX, false, false},
    {"internal/sync.(*Mutex).Lock", ROLE_THING, WAIT_MUTEX, false, false},
    {"sync.(*RWMutex).Lock", ROLE_THING, WAIT_RWLOCK, false, true},
    {"sync.(*RWMutex).RLock", ROLE_THING, WAIT_RWLOCK, true, false},
    {"sync.(*rlocker).Lock", ROLE_THING, WAIT_RWLOCK, true, false},
    {"sync.(*Once).doSlow", ROLE_THING, WAIT_ONCE, false, true},
    {"sync.(*Once).Do", ROLE_THING, WAIT_ONCE, false, true},
    {"sync.(*WaitGroup).Wait", ROLE_THING, WAIT_WAITGROUP, false, false},
    {"sync.(*Cond).Wait", ROLE_THING, WAIT_CONDITION, false, false},
    {"internal/poll.(*fdMutex).rwlock", ROLE_THING, WAIT_MUTEX, false, false},
    {"internal/poll.(*FD).", ROLE_THING, WAIT_POLL, false, false},
    {"runtime.chanrecv", ROLE_THING, WAIT_CHANNEL_RECEIVE, false, false},
    {"runtime.chanrecv1", ROLE_THING, WAIT_CHANNEL_RECEIVE, false, false},
    {"runtime.chanrecv2", ROLE_THING, WAIT_CHANNEL_RECEIVE, false, false},
    {"runtime.chansend", ROLE_THING, WAIT_CHANNEL_SEND, false, false},
    {"runtime.chansend1", ROLE_THING, WAIT_CHANNEL_SEND, false, false},
    {"net.(*", ROLE_PLACE, WAIT_SOCKET, false, false},
    {"os.(*File).", ROLE_PLACE, WAIT_FILE, false, false},
    {"os.(*Process).wait", ROLE_PLACE, WAIT_CHILD, false, false},
    {"os.(*Process).Wait", ROLE_PLACE, WAIT_CHILD, false, false},
    {"os.(*Process).blockUntilWaitable", ROLE_PLACE, WAIT_CHILD, false, false},
    {"os.(*Process).pidfdWait", ROLE_PLACE, WAIT_CHILD, false, false},
};

/* What the functions at the leaf of a stack say; made once a stack. */
struct stack_wait {
    bool is_made;
    bool is_parked; /* the leaf is a place where goroutines park */
    bool shared;
    bool is_inner_mutex;
    uint32_t function;   /* string: the call that decided */
    enum wait_kind kind; /* WAIT_UNKNOWN: they tell nothing */
};

static bool row_matches(const char *pattern, struct text function)
{
    struct text text = text_from_string(pattern);
    bool is_prefix = text.data[text.length - 1] == '.' || text.data[text.length - 1] == '*';
    return is_prefix ? text_starts_with(function, text) : text_equals(function, text);
}

static uint8_t find_row(struct text function)
{
    for (size_t i = 0; i < sizeof call_rows / sizeof call_rows[0]; i++)
        if (row_matches(call_rows[i].function, function))
            return (uint8_t)(i + 1);
    return 0;
}

static const struct reason_row *find_reason(struct text state)
{
    for (size_t i = 0; i < sizeof reason_rows / sizeof reason_rows[0]; i++)
        if (text_equals(state, text_from_string(reason_rows[i].reason)))
            return &reason_rows[i];
    return NULL;
}

static const struct call_row *string_row(const struct goroutine_waits *waits, uint32_t string)
{
    return waits->rows[string] == 0 ? NULL : &call_rows[waits->rows[string] - 1];
}

/* Code of the runtime and of what a system call passes through. */
static bool is_between(struct text function)
{
    static const struct text starts[] = {
        {"runtime.", 8}, {"sync.", 5},     {"internal/", 9},           {"syscall.", 8}, {"time.", 5},
        {"os.", 3},      {"os/exec.", 8},  {"golang.org/x/sys/", 17},  {"net.", 4},
    };
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
        if (text_starts_with(function, starts[i]))
            return true;
    return false;
}

/* Whether this call, further from the leaf, tells better what is waited for. */
static bool row_supersedes(const struct call_row *row, enum wait_kind kind)
{
    if (row->kind == WAIT_UNKNOWN || row->kind == kind)
        return false;
    if (kind == WAIT_UNKNOWN)
        return true;
    if (kind == WAIT_MUTEX)
        return row->over_mutex;
    return row->role == ROLE_PLACE && (kind == WAIT_POLL || kind == WAIT_FILE) && row->kind != WAIT_CHILD;
}

static const struct stack_wait *stack_wait(struct goroutine_waits *waits, uint32_t number)
{
    struct stack_wait *result = &waits->stacks[number];
    if (result->is_made)
        return result;
    result->is_made = true;
    const struct snapshot *snapshot = waits->snapshot;
    size_t count;
    struct stack_frame *frames = snapshot_stack_frames(snapshot, &snapshot->stacks[number], waits->scratch, &count);
    bool first = true;
    for (size_t i = 0; i < count; i++) {
        uint32_t function = snapshot->frames[frames[i].frame].function;
        const struct call_row *row = string_row(waits, function);
        if (function == 0)
            continue;
        if (row == NULL && !is_between(snapshot_string(snapshot, function)))
            break;
        result->is_parked |= first && row != NULL && row->role == ROLE_PARKED;
        first &= row == NULL && text_starts_with(snapshot_string(snapshot, function), TEXT("runtime."));
        if (row == NULL || !row_supersedes(row, result->kind))
            continue;
        result->is_inner_mutex = result->kind == WAIT_MUTEX && row->kind == WAIT_RWLOCK;
        result->kind = row->kind;
        result->shared = row->shared;
        result->function = function;
    }
    return result;
}

void goroutine_waits_init(struct goroutine_waits *waits, struct snapshot *snapshot, struct arena *scratch)
{
    size_t string_count = snapshot->strings.count;
    *waits = (struct goroutine_waits){
        .snapshot = snapshot,
        .scratch = scratch,
        .rows = arena_array(scratch, uint8_t, string_count),
        .reasons = arena_array(scratch, const struct reason_row *, string_count),
        .stacks = arena_array(scratch, struct stack_wait, snapshot->stack_count + 1),
    };
    for (size_t i = 1; i < string_count; i++) {
        struct text text = snapshot_string(snapshot, (uint32_t)i);
        waits->rows[i] = find_row(text);
        waits->reasons[i] = find_reason(text);
    }
}

bool goroutine_wait_find(struct goroutine_waits *waits, uint32_t number, struct goroutine_wait *ret_wait)
{
    const struct member *member = &waits->snapshot->members[number];
    const struct reason_row *reason = waits->reasons[member->state];
    if (reason != NULL && reason->reason_kind == REASON_NO_WAIT)
        return false;
    const struct stack_wait *stack = stack_wait(waits, member->stack);
    struct goroutine_wait wait = {.kind = stack->kind, .learnt = LEARNT_TOLD};
    if (member->state == 0) { /* debug=1 tells no reasons: the leaf must be a place where goroutines park */
        if (!stack->is_parked)
            return false;
        wait.learnt = LEARNT_INFERRED;
    } else if (reason == NULL) {
        return false;
    } else if (reason->reason_kind == REASON_WAIT || wait.kind == WAIT_UNKNOWN) {
        wait.kind = reason->kind;
    }
    if (wait.kind == WAIT_UNKNOWN)
        return false;
    if (reason != NULL && reason->name != NULL)
        wait.name = intern_table_add(&waits->snapshot->strings, text_from_string(reason->name));
    wait.exclusive = (wait.kind == WAIT_MUTEX || wait.kind == WAIT_RWLOCK) && !stack->shared;
    wait.is_inner_mutex = stack->is_inner_mutex;
    wait.function = stack->function;
    *ret_wait = wait;
    return true;
}

bool goroutine_call_find(const struct goroutine_waits *waits, uint32_t function, struct goroutine_call *ret_call)
{
    const struct call_row *row = string_row(waits, function);
    if (row == NULL)
        return false;
    *ret_call = (struct goroutine_call){row->kind, row->role == ROLE_THING};
    return true;
}

enum holder_state goroutine_holder_state(enum wait_kind kind)
{
    switch (kind) {
    case WAIT_MUTEX:
    case WAIT_RWLOCK:
    case WAIT_ONCE:
    case WAIT_LOADER:
    case WAIT_STDIO:
    case WAIT_ALLOCATOR:
    case WAIT_FUTEX:
    case WAIT_UNKNOWN:
    case WAIT_JOIN:
    case WAIT_KIND_COUNT:
        return HOLDER_UNKNOWN;
    case WAIT_CONDITION:
    case WAIT_SEMAPHORE:
    case WAIT_BARRIER:
    case WAIT_WAITGROUP:
    case WAIT_CHANNEL_SEND:
    case WAIT_CHANNEL_RECEIVE:
    case WAIT_SELECT:
    case WAIT_SOCKET:
    case WAIT_PIPE:
    case WAIT_FILE:
    case WAIT_POLL:
    case WAIT_SLEEP:
    case WAIT_CHILD:
        break;
    }
    return HOLDER_NEVER;
}
