/* SPDX-License-Identifier: Apache-2.0 */
#include "detect/pool_program.h"

#include "base/limits.h"
#include "base/name.h"

#include <ctype.h>
#include <stdlib.h>

_Static_assert(sizeof((struct pool_program *)0)->objects / sizeof(struct program_pool) == limit_pool_objects,
               "limits.h says how many");
_Static_assert(limit_pool_objects <= 64, "frames_have tells them by bits");

struct pool_program *pool_program_new(struct detection *detection, const struct compiled_rule *rule)
{
    const struct program *program = detection_program(detection);
    if (program == NULL)
        return NULL;
    struct pool_program *pool = arena_new(detection_scratch(detection), struct pool_program);
    *pool = (struct pool_program){.detection = detection, .rule = rule, .program = program};
    intern_table_init(&pool->names, detection_scratch(detection));
    intern_table_init(&pool->callees, detection_scratch(detection));
    intern_table_init(&pool->packages, detection_scratch(detection));
    return pool;
}

/* Names. */

static size_t find_last(struct text text, char wanted)
{
    for (size_t i = text.length; i-- > 0;)
        if (text.data[i] == wanted)
            return i;
    return text.length;
}

/* "github.com/x/redis" of "github.com/x/redis.(*Pool).Get": up to the first dot of the last part. */
static struct text package_of(struct text name)
{
    size_t slash = find_last(
        (struct text){name.data, find_last(name, '(') < name.length ? find_last(name, '(') : name.length}, '/');
    size_t at = slash < name.length ? slash : 0;
    while (at < name.length && name.data[at] != '.')
        at++;
    return (struct text){name.data, at};
}

/* "Close" of "lend.(*Loan[...]).Close-fm". */
static struct text method_of(struct text name)
{
    size_t dot = find_last(name, '.');
    struct text method = dot < name.length ? (struct text){name.data + dot + 1, name.length - dot - 1} : name;
    if (text_ends_with(method, TEXT("-fm")))
        method.length -= 3;
    return method;
}

/* Whether a function of that name gives back what was taken, as far as names tell. */
static bool is_release(struct text name)
{
    static const char *const verbs[] = {"close", "release", "put",      "return",  "giveback", "give",
                                        "free",  "commit",  "rollback", "recycle", "checkin",  "restore"};
    struct text method = method_of(name);
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        size_t length = strlen(verbs[i]);
        if (method.length >= length && strncasecmp(method.data, verbs[i], length) == 0 &&
            (method.length == length || !islower((unsigned char)method.data[length])))
            return true;
    }
    return false;
}

/* Calls. */

enum call_role { CALL_OTHER, CALL_TAKES, CALL_ENDS, CALL_GIVES };

struct call_context {
    struct pool_program *pool;
    const struct pool_entry *entry;
    struct text holder; /* the package of the function whose code it is */
};

static bool same_package(struct text name, struct text package)
{
    return package.length != 0 && text_equals(package_of(name), package);
}

/* Of a generic pool each instance has functions of its own, which are printed alike: a call of another instance takes
 * from another pool. */
static bool is_same_instance(const struct call_context *context, const struct program_call *call)
{
    const struct pool_entry *entry = context->entry;
    const struct program *program = context->pool->program;
    const struct snapshot *snapshot = detection_snapshot(context->pool->detection);
    struct text name = call->names[call->name_count - 1];
    if (entry == NULL || memchr(name.data, '[', name.length) == NULL)
        return true;
    for (size_t i = 0; i <= entry->outer && i < entry->frame_count; i++) {
        const struct frame *frame = &snapshot->frames[entry->frames[i].frame];
        if (!frame->inlined && text_equals(snapshot_string(snapshot, frame->function), name))
            return program->function_of(program->context, entry->frames[i].location) == call->target;
    }
    return true;
}

/* Functions of other packages take from other pools, whatever they are called. */
static bool is_of_acquire(const struct call_context *context, struct text name)
{
    const struct snapshot *snapshot = detection_snapshot(context->pool->detection);
    const struct pool_entry *entry = context->entry;
    struct text package = package_of(name);
    for (size_t i = 0; entry != NULL && i <= entry->outer && i < entry->frame_count; i++)
        if (same_package(snapshot_string(snapshot, snapshot->frames[entry->frames[i].frame].function), package))
            return true;
    return entry == NULL;
}

static struct text acquire_package(const struct call_context *context)
{
    const struct snapshot *snapshot = detection_snapshot(context->pool->detection);
    const struct pool_entry *entry = context->entry;
    if (entry == NULL)
        return TEXT("");
    return package_of(snapshot_string(snapshot, snapshot->frames[entry->frames[entry->outer].frame].function));
}

/* Where the answer for a key of a table is kept. */
static uint8_t *answer_slot(const struct pool_program *pool, struct intern_table *table, struct text key,
                            uint8_t **answers, size_t *capacity)
{
    uint32_t number = intern_table_add(table, key);
    while (*capacity <= number)
        *answers = arena_grow(detection_scratch(pool->detection), *answers, *capacity, capacity, sizeof **answers);
    return &(*answers)[number];
}

/* What a call of a function of that name is, as far as its name tells. CALL_ENDS: it takes, and has given back when it
 * returns. */
static enum call_role name_role(struct pool_program *pool, struct text name)
{
    const struct rule *rule = compiled_rule_source(pool->rule);
    enum rule_list keeping = rule->keeps.count != 0 ? RULE_LIST_KEEPS : RULE_LIST_ACQUIRE;
    uint8_t *slot = answer_slot(pool, &pool->names, name, &pool->roles, &pool->role_capacity);
    enum call_role role = CALL_OTHER;
    if (*slot != 0)
        return (enum call_role)(*slot - 1);
    if (detection_name_matches_list(pool->detection, pool->rule, RULE_LIST_NONE, name_normalise(name)))
        role = CALL_OTHER;
    else if (detection_name_matches_list(pool->detection, pool->rule, keeping, name_normalise(name)))
        role = CALL_TAKES;
    else if (detection_name_matches_list(pool->detection, pool->rule, RULE_LIST_ACQUIRE, name_normalise(name)))
        role = CALL_ENDS;
    else if (is_release(name))
        role = CALL_GIVES;
    *slot = (uint8_t)(role + 1);
    return role;
}

static enum call_role call_role(const struct call_context *context, const struct program_call *call)
{
    for (size_t i = 0; i < call->name_count; i++) {
        struct text name = call->names[i];
        switch (name_role(context->pool, name)) {
        case CALL_TAKES:
            return is_of_acquire(context, name) && is_same_instance(context, call) ? CALL_TAKES : CALL_OTHER;
        case CALL_ENDS:
            return CALL_OTHER;
        case CALL_GIVES:
            if (same_package(name, acquire_package(context)) || same_package(name, context->holder))
                return CALL_GIVES;
            break;
        case CALL_OTHER:
            break;
        }
    }
    return CALL_OTHER;
}

/* Whether a function of the program's returns with what it took: it takes, and gives nothing back. */
static bool callee_keeps(const struct call_context *context, const struct program_call *call, unsigned depth)
{
    const struct program *program = context->pool->program;
    struct text name = call->names[call->name_count - 1];
    struct pool_program *pool = context->pool;
    const uint64_t about[] = {call->target, intern_table_add(&pool->packages, acquire_package(context))};
    struct text key = {(const char *)about, sizeof about};
    size_t count;
    if (depth == 0 || text_starts_with(name, TEXT("runtime.")) || text_starts_with(name, TEXT("sync.")))
        return false;
    uint8_t known = *answer_slot(pool, &pool->callees, key, &pool->keeping, &pool->keeping_capacity);
    if (known != 0)
        return known - 1 != 0;
    /* One that calls itself is not asked again meanwhile. */
    *answer_slot(pool, &pool->callees, key, &pool->keeping, &pool->keeping_capacity) = 1;
    const struct program_call *calls = program->calls_of(program->context, call->target, &count);
    struct call_context inner = {pool, context->entry, package_of(name)};
    bool takes = false, gives = false;
    for (size_t i = 0; calls != NULL && i < count && !gives; i++) {
        enum call_role role = call_role(&inner, &calls[i]);
        struct text called = calls[i].names[calls[i].name_count - 1];
        /* A closure of its own is what it defers. */
        bool is_own = text_starts_with(called, name) && called.length > name.length && called.data[name.length] == '.';
        gives = role == CALL_GIVES || is_own;
        takes |= role == CALL_TAKES || (role == CALL_OTHER && callee_keeps(&inner, &calls[i], depth - 1));
    }
    *answer_slot(pool, &pool->callees, key, &pool->keeping, &pool->keeping_capacity) = takes && !gives ? 2 : 1;
    return takes && !gives;
}

enum pool_answer pool_program_acquires_before(void *context_, const struct pool_entry *entry, struct stack_frame frame)
{
    enum { accessor_depth = 2 };
    struct pool_program *pool = context_;
    const struct snapshot *snapshot = detection_snapshot(pool->detection);
    size_t count, takes = 0, gives = 0;
    const struct program_call *calls = pool->program->calls(pool->program->context, frame.location, &count);
    if (calls == NULL)
        return POOL_UNKNOWN;
    struct text name = snapshot_string(snapshot, snapshot->frames[frame.frame].function);
    struct call_context context = {pool, entry, package_of(name)};
    for (size_t i = 0; i < count; i++) {
        if (!calls[i].is_before)
            continue;
        enum call_role role = call_role(&context, &calls[i]);
        takes += role == CALL_TAKES || (role == CALL_OTHER && callee_keeps(&context, &calls[i], accessor_depth));
        gives += role == CALL_GIVES;
    }
    if (gives != 0 || takes != 0)
        return gives == 0 ? POOL_YES : POOL_DOUBTED;
    /* The one call may be that which takes; with several, another one may give back. */
    size_t unseen;
    return pool->program->unseen_calls(pool->program->context, frame.location, &unseen) && unseen == 1 ? POOL_UNSEEN
                                                                                                       : POOL_DOUBTED;
}

/* Counters. */

/* "redis.Pool" of "github.com/x/redis.(*Pool).Get"; NULL: it is no method. */
static const char *type_of(const struct pool_program *pool, struct text acquire)
{
    struct text package = package_of(acquire);
    size_t slash = find_last(package, '/'), start = slash < package.length ? slash + 1 : 0;
    size_t open = package.length + 1;
    if (open + 2 >= acquire.length || acquire.data[open] != '(')
        return NULL;
    open += acquire.data[open + 1] == '*' ? 2 : 1;
    size_t end = open;
    while (end < acquire.length && acquire.data[end] != ')' && acquire.data[end] != '[')
        end++;
    return arena_printf(detection_scratch(pool->detection), "%.*s.%.*s", (int)(package.length - start),
                        package.data + start, (int)(end - open), acquire.data + open);
}

struct object_votes {
    struct program_pool object;
    size_t votes;
};

static int compare_votes(const void *left, const void *right)
{
    const struct object_votes *a = left, *b = right;
    if (a->votes != b->votes)
        return a->votes > b->votes ? -1 : 1;
    return a->object.address < b->object.address ? -1 : a->object.address > b->object.address;
}

void pool_program_find_objects(struct pool_program *pool, struct text acquire, const struct pool_waiter *waiters,
                               size_t count)
{
    const struct rule *rule = compiled_rule_source(pool->rule);
    const char *type = rule->size.length == 0 || rule->in_use.length == 0 ? NULL : type_of(pool, acquire);
    struct object_votes votes[limit_pool_objects] = {0};
    size_t object_count = 0, sampled = 0, stride = count / limit_pool_samples + 1;
    for (size_t i = 0; type != NULL && i < count; i += stride, sampled++) {
        struct program_pool found[limit_pool_objects];
        struct program_pool_question question = {type, rule->size, rule->in_use, waiters[i].member, waiters[i].step};
        size_t found_count = pool->program->pools(pool->program->context, &question, found, limit_pool_objects);
        for (size_t j = 0; j < found_count; j++) {
            size_t at = 0;
            while (at < object_count && votes[at].object.address != found[j].address)
                at++;
            if (at == limit_pool_objects)
                continue;
            object_count += at == object_count;
            votes[at].object = found[j];
            votes[at].votes++;
        }
    }
    qsort(votes, object_count, sizeof *votes, compare_votes);
    /* One that a single frame of many knows may be a word that was left there. */
    for (size_t i = 0; i < object_count; i++)
        if (votes[i].votes >= 2 || sampled <= 2)
            pool->objects[pool->object_count++] = votes[i].object;
}

uint32_t pool_program_object_of(const struct pool_program *pool, struct pool_waiter waiter)
{
    uint64_t addresses[limit_pool_objects];
    for (size_t i = 0; i < pool->object_count; i++)
        addresses[i] = pool->objects[i].address;
    uint64_t known = pool->program->frames_have(pool->program->context, waiter.member, waiter.step, addresses,
                                                pool->object_count);
    bool is_one = known != 0 && (known & (known - 1)) == 0;
    return is_one ? (uint32_t)__builtin_ctzll(known) : index_none;
}
