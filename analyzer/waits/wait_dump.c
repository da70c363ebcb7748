/* SPDX-License-Identifier: Apache-2.0 */
#include "waits/wait_dump.h"

#include "base/limits.h"
#include "format/thread_text.h"
#include "waits/wait_build.h"

#include <inttypes.h>

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
    enum wait_kind kind; /* WAIT_UNKNOWN: they tell nothing */
};

struct dump {
    struct snapshot *snapshot;
    struct arena *scratch;
    struct wait_build build;
    uint8_t *rows;                     /* by string: number of its row + 1, 0 none */
    struct stack_wait *stacks;         /* by stack */
    const struct reason_row **reasons; /* by string; NULL: no reason of Go's */
    struct intern_table ids;           /* of members, number - 1 is into id_members */
    uint32_t *id_members;
    /* Of the group whose lines come: its first member, and how many its members stand for. */
    uint32_t counted_first;
    uint64_t counted_members;
    uint64_t lines_lost;
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

static const struct call_row *string_row(const struct dump *dump, uint32_t string)
{
    return dump->rows[string] == 0 ? NULL : &call_rows[dump->rows[string] - 1];
}

/* Code of the runtime and of what a system call passes through. */
static bool is_between(struct text function)
{
    static const struct text starts[] = {
        {"runtime.", 8}, {"sync.", 5},    {"internal/", 9},          {"syscall.", 8}, {"time.", 5},
        {"os.", 3},      {"os/exec.", 8}, {"golang.org/x/sys/", 17}, {"net.", 4},
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

static const struct stack_wait *stack_wait(struct dump *dump, uint32_t number)
{
    struct stack_wait *result = &dump->stacks[number];
    if (result->is_made)
        return result;
    result->is_made = true;
    const struct snapshot *snapshot = dump->snapshot;
    size_t count;
    struct stack_frame *frames = snapshot_stack_frames(snapshot, &snapshot->stacks[number], dump->scratch, &count);
    bool first = true;
    for (size_t i = 0; i < count; i++) {
        uint32_t function = snapshot->frames[frames[i].frame].function;
        const struct call_row *row = string_row(dump, function);
        if (function == 0)
            continue;
        if (row == NULL && !is_between(snapshot_string(snapshot, function)))
            break;
        result->is_parked |= first && row != NULL && row->role == ROLE_PARKED;
        first &= row == NULL && text_starts_with(snapshot_string(snapshot, function), TEXT("runtime."));
        if (row == NULL || !row_supersedes(row, result->kind))
            continue;
        result->kind = row->kind;
        result->shared = row->shared;
    }
    return result;
}

/* The thing's address from the arguments of the calls about it; 0 when none is certain. Further from the leaf is
 * better: an RWMutex's Lock names the whole, its inner Mutex's Lock the same address (w comes first in it). */
static uint64_t told_address(const struct dump *dump, const struct told_call *calls, size_t count, enum wait_kind kind)
{
    uint64_t address = 0;
    for (size_t i = 0; i < count; i++) {
        const struct call_row *row = string_row(dump, calls[i].function);
        if (row == NULL || row->role != ROLE_THING || calls[i].argument_count == 0 || (calls[i].uncertain & 1) != 0)
            continue;
        bool is_inside = kind == WAIT_RWLOCK && row->kind == WAIT_MUTEX;
        bool is_descriptor = row->kind == WAIT_POLL && (kind == WAIT_SOCKET || kind == WAIT_FILE);
        if (row->kind == kind || (is_inside && address == 0) || is_descriptor)
            address = calls[i].arguments[0];
        if (kind == WAIT_MUTEX && address != 0 && row->kind != WAIT_MUTEX)
            break;
    }
    return address;
}

static enum holder_state holder_of_kind(enum wait_kind kind)
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

static void add_wait(struct dump *dump, uint32_t member, enum wait_kind kind, uint64_t address, uint32_t name,
                     bool exclusive, enum learnt learnt)
{
    bool is_new;
    uint32_t number = wait_build_resource(&dump->build, kind, address, name, &is_new);
    struct resource *resource = &dump->build.resources[number];
    if (is_new) {
        resource->holder = holder_of_kind(kind);
        resource->is_any = address == 0;
    }
    if (resource->learnt < learnt)
        resource->learnt = learnt;
    wait_build_wait(&dump->build,
                    (struct wait){.member = member, .resource = number, .exclusive = exclusive, .learnt = learnt});
}

/* One goroutine of Go's dumps. */
static void read_goroutine(struct dump *dump, uint32_t number, const struct told_call *calls, size_t call_count)
{
    const struct member *member = &dump->snapshot->members[number];
    const struct reason_row *reason = dump->reasons[member->state];
    if (reason != NULL && reason->reason_kind == REASON_NO_WAIT)
        return;
    const struct stack_wait *stack = stack_wait(dump, member->stack);
    enum wait_kind kind = stack->kind;
    enum learnt learnt = LEARNT_TOLD;
    if (member->state == 0) { /* debug=1 tells no reasons: the leaf must be a place where goroutines park */
        if (!stack->is_parked || kind == WAIT_UNKNOWN)
            return;
        learnt = LEARNT_INFERRED;
    } else if (reason == NULL) {
        return;
    } else if (reason->reason_kind == REASON_WAIT || kind == WAIT_UNKNOWN) {
        kind = reason->kind;
    }
    if (kind == WAIT_UNKNOWN)
        return;
    uint32_t name = 0;
    if (reason != NULL && reason->name != NULL)
        name = intern_table_add(&dump->snapshot->strings, text_from_string(reason->name));
    bool is_lock = kind == WAIT_MUTEX || kind == WAIT_RWLOCK;
    add_wait(dump, number, kind, told_address(dump, calls, call_count, kind), name, is_lock && !stack->shared, learnt);
}

/* Those of whom no line of stackgroup's tells. */
static void read_goroutines(struct dump *dump)
{
    const struct snapshot *snapshot = dump->snapshot;
    bool *has_line = arena_array(dump->scratch, bool, snapshot->member_count + 1);
    for (size_t i = 0; i < dump->build.wait_count; i++)
        has_line[dump->build.waits[i].member] = true;
    size_t string_count = snapshot->strings.count;
    dump->rows = arena_array(dump->scratch, uint8_t, string_count);
    dump->reasons = arena_array(dump->scratch, const struct reason_row *, string_count);
    dump->stacks = arena_array(dump->scratch, struct stack_wait, snapshot->stack_count + 1);
    for (size_t i = 1; i < string_count; i++) {
        struct text text = snapshot_string(snapshot, (uint32_t)i);
        dump->rows[i] = find_row(text);
        dump->reasons[i] = find_reason(text);
    }
    const struct told *told = snapshot->told;
    size_t next = 0;
    for (size_t i = 0; i < snapshot->member_count; i++) {
        size_t first = next;
        while (next < told->call_count && told->calls[next].member == i)
            next++;
        if (!has_line[i])
            read_goroutine(dump, (uint32_t)i, next == first ? NULL : told->calls + first, next - first);
    }
}

/* index_none when no member has the id. */
static uint32_t find_member(const struct dump *dump, uint64_t id)
{
    uint32_t number;
    bool found = intern_table_find(&dump->ids, (struct text){(const char *)&id, sizeof id}, &number);
    return found ? dump->id_members[number - 1] : index_none;
}

static void learn_ids(struct dump *dump)
{
    const struct snapshot *snapshot = dump->snapshot;
    intern_table_init(&dump->ids, dump->scratch);
    dump->id_members = arena_array(dump->scratch, uint32_t, snapshot->member_count + 1);
    for (size_t i = 0; i < snapshot->member_count; i++) {
        const uint64_t *id = &snapshot->members[i].id;
        size_t known = dump->ids.count;
        if (*id != 0 && intern_table_add(&dump->ids, (struct text){(const char *)id, sizeof *id}) == known)
            dump->id_members[known - 1] = (uint32_t)i;
    }
}

static enum learnt find_learnt(struct text word)
{
    for (enum learnt learnt = LEARNT_SUSPECTED; learnt <= LEARNT_READ; learnt++)
        if (text_equals(word, text_from_string(learnt_name(learnt))))
            return learnt;
    return LEARNT_TOLD;
}

static void read_holder(struct dump *dump, uint32_t number, const struct thread_waits *line, enum learnt learnt)
{
    struct resource *resource = &dump->build.resources[number];
    struct text holders = line->holders;
    uint64_t id;
    switch (line->holder) {
    case THREAD_HOLDER_NONE:
        resource->holder = HOLDER_NEVER;
        break;
    case THREAD_HOLDER_UNKNOWN:
        resource->holder = HOLDER_UNKNOWN;
        break;
    case THREAD_HOLDER_MEMBERS:
        resource->holder = HOLDER_HELD;
        for (uint64_t held = 0; thread_id_next(&holders, &id); held++) {
            uint32_t holder = find_member(dump, id);
            resource->owner_id = held == 0 ? id : 0;
            /* Readers wait for a writer; whether a writer waits for another or for a reader is not told. */
            bool exclusive = resource->kind != WAIT_RWLOCK || line->to_read;
            if (holder == index_none)
                dump->lines_lost++;
            else
                wait_build_hold(&dump->build, (struct hold){number, holder, exclusive, learnt});
        }
        break;
    case THREAD_HOLDER_READERS:
        resource->holder = HOLDER_ANONYMOUS;
        resource->anonymous_count = line->holder_count > UINT32_MAX ? UINT32_MAX : (uint32_t)line->holder_count;
        break;
    case THREAD_HOLDER_ENDED:
        resource->holder = HOLDER_ENDED;
        resource->owner_id = line->holder_id;
        break;
    case THREAD_HOLDER_ELSEWHERE:
        resource->holder = HOLDER_ELSEWHERE;
        resource->owner_id = line->holder_id;
        break;
    case THREAD_HOLDER_FREE:
        resource->holder = HOLDER_FREE;
        break;
    }
}

/* A group's lines follow one another, and there can be as many as it has members. */
static uint64_t count_members(struct dump *dump, const struct told_wait *told)
{
    if (dump->counted_members != 0 && dump->counted_first == told->member_first)
        return dump->counted_members;
    dump->counted_first = told->member_first;
    dump->counted_members = 0;
    for (uint32_t i = 0; i < told->member_count; i++)
        dump->counted_members += dump->snapshot->members[told->member_first + i].count;
    return dump->counted_members;
}

/* Which of a group's members wait: those listed; where ids are missing, the one that stands for the rest if it fits. */
static void read_waiters(struct dump *dump, const struct told_wait *told, const struct thread_waits *line,
                         uint32_t resource, enum learnt learnt)
{
    struct text ids = line->ids;
    uint64_t id, left = line->count;
    bool exclusive = line->to_write || (dump->build.resources[resource].kind == WAIT_MUTEX && !line->to_read);
    struct wait wait = {.resource = resource, .exclusive = exclusive, .learnt = learnt};
    if (told->member_count == 0)
        return;
    if (count_members(dump, told) == line->count) {
        for (uint32_t i = 0; i < told->member_count; i++) {
            wait.member = told->member_first + i;
            wait_build_wait(&dump->build, wait);
        }
        return;
    }
    while (thread_id_next(&ids, &id)) {
        wait.member = find_member(dump, id);
        if (wait.member != index_none)
            wait_build_wait(&dump->build, wait);
        left -= left != 0;
    }
    wait.member = told->member_first + told->member_count - 1;
    const struct member *rest = &dump->snapshot->members[wait.member];
    if (rest->id == 0 && rest->count <= left)
        wait_build_wait(&dump->build, wait);
}

static void read_lines(struct dump *dump)
{
    struct snapshot *snapshot = dump->snapshot;
    size_t waits_max = limit_told_waits_free + limit_told_waits_each * snapshot->member_count;
    if (snapshot->told->wait_count != 0)
        learn_ids(dump);
    for (size_t i = 0; i < snapshot->told->wait_count; i++) {
        const struct told_wait *told = &snapshot->told->waits[i];
        struct thread_waits line;
        bool is_new;
        if (text_starts_with(told->text, TEXT("…"))) /* "… (+3 resources)" */
            continue;
        enum wait_kind kind = WAIT_KIND_COUNT;
        if (thread_waits_parse(told->text, &line))
            kind = wait_kind_find(line.kind.data, line.kind.length);
        if (kind == WAIT_KIND_COUNT || dump->build.wait_count >= waits_max) {
            dump->lines_lost++;
            continue;
        }
        uint32_t name = intern_table_add(&snapshot->strings, line.name);
        enum learnt learnt = find_learnt(line.learnt);
        uint32_t number = wait_build_resource(&dump->build, kind, line.address, name, &is_new);
        if (is_new) {
            dump->build.resources[number].learnt = learnt;
            dump->build.resources[number].name = name;
            dump->build.resources[number].is_any = line.address == 0 && name == 0;
            read_holder(dump, number, &line, learnt);
        }
        read_waiters(dump, told, &line, number, learnt);
    }
}

void wait_dump_read(struct snapshot *snapshot, struct arena *scratch, struct diagnostics *diagnostics)
{
    struct dump dump = {.snapshot = snapshot, .scratch = scratch};
    if (snapshot->told == NULL || snapshot->kind == PROFILE_HEAP)
        return;
    wait_build_init(&dump.build, snapshot, scratch);
    read_lines(&dump);
    if (snapshot->kind == PROFILE_GOROUTINES)
        read_goroutines(&dump);
    wait_build_finish(&dump.build);
    if (dump.lines_lost != 0)
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "waits-lost", TEXT(""),
                        "%" PRIu64 " things that lines of the text say of waits could not be understood, or speak of "
                        "members that it does not list",
                        dump.lines_lost);
}
