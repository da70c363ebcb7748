/* SPDX-License-Identifier: Apache-2.0 */
#include "waits/wait_dump.h"

#include "base/limits.h"
#include "format/thread_text.h"
#include "waits/goroutine_wait.h"
#include "waits/wait_build.h"

#include <inttypes.h>

struct dump {
    struct snapshot *snapshot;
    struct arena *scratch;
    struct wait_build build;
    struct goroutine_waits goroutines;
    struct intern_table ids; /* of members, number - 1 is into id_members */
    uint32_t *id_members;
    /* Of the group whose lines come: its first member, and how many its members stand for. */
    uint32_t counted_first;
    uint64_t counted_members;
    uint64_t lines_lost;
};

/* The thing's address from the arguments of the calls about it; 0 when none is certain. Further from the leaf is
 * better: an RWMutex's Lock names the whole, its inner Mutex's Lock the same address (w comes first in it). */
static uint64_t told_address(const struct dump *dump, const struct told_call *calls, size_t count, enum wait_kind kind)
{
    uint64_t address = 0;
    for (size_t i = 0; i < count; i++) {
        struct goroutine_call row;
        if (!goroutine_call_find(&dump->goroutines, calls[i].function, &row) || !row.is_of_thing ||
            calls[i].argument_count == 0 || (calls[i].uncertain & 1) != 0)
            continue;
        bool is_inside = kind == WAIT_RWLOCK && row.kind == WAIT_MUTEX;
        bool is_descriptor = row.kind == WAIT_POLL && (kind == WAIT_SOCKET || kind == WAIT_FILE);
        if (row.kind == kind || (is_inside && address == 0) || is_descriptor)
            address = calls[i].arguments[0];
        if (kind == WAIT_MUTEX && address != 0 && row.kind != WAIT_MUTEX)
            break;
    }
    return address;
}

static void add_wait(struct dump *dump, uint32_t member, enum wait_kind kind, uint64_t address, uint32_t name,
                     bool exclusive, enum learnt learnt)
{
    bool is_new;
    uint32_t number = wait_build_resource(&dump->build, kind, address, name, &is_new);
    struct resource *resource = &dump->build.resources[number];
    if (is_new) {
        resource->holder = goroutine_holder_state(kind);
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
    struct goroutine_wait wait;
    if (!goroutine_wait_find(&dump->goroutines, number, &wait))
        return;
    add_wait(dump, number, wait.kind, told_address(dump, calls, call_count, wait.kind), wait.name, wait.exclusive,
             wait.learnt);
}

/* Those of whom no line of stackgroup's tells. */
static void read_goroutines(struct dump *dump)
{
    const struct snapshot *snapshot = dump->snapshot;
    bool *has_line = arena_array(dump->scratch, bool, snapshot->member_count + 1);
    for (size_t i = 0; i < dump->build.wait_count; i++)
        has_line[dump->build.waits[i].member] = true;
    goroutine_waits_init(&dump->goroutines, dump->snapshot, dump->scratch);
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
