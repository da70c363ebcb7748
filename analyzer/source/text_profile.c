/* SPDX-License-Identifier: Apache-2.0 */
#include "source/text_profile.h"

#include "base/limits.h"
#include "format/heap_text.h"
#include "format/proc_maps.h"
#include "format/thread_text.h"

#include <inttypes.h>

/* A "#" line with the strings of its names. */
struct told_frame {
    uint64_t address, offset;
    struct text function_text;
    struct frame frame;
    uint32_t module; /* that its place names, "(libc.so.6)"; index_none */
    bool has_place;
};

struct told_trust {
    enum frame_trust trust;
    uint64_t address, count; /* of the first frame; frames left of the run */
    bool is_open;
};

struct profile {
    struct text_build *build;
    /* The group under way. */
    bool open;
    uint64_t count;
    uint64_t *addresses;
    size_t address_count, address_capacity;
    struct told_frame *frames;
    size_t frame_count, frame_capacity;
    uint32_t labels;
    bool is_placeholder; /* its only address fills a place: it has no frames */
    bool is_shortened;   /* its line of addresses was */
    enum stack_end end;
    uint64_t end_address;
    struct told_trust *trusts;
    size_t trust_count, trust_next, trust_capacity;
    uint64_t *ids;
    size_t id_count, id_capacity;
    struct text state, creator;
    struct thread_comment *details; /* the group's "# member" lines */
    size_t detail_count, detail_capacity;
    size_t told_first; /* of its lines in told->waits */
    uint64_t waited_seconds;
    /* Of the whole text. */
    uint64_t total_claimed;        /* that stackgroup's head tells */
    uint64_t line_distance;        /* from the address of a "#" line to that of the list */
    struct intern_table outermost; /* last addresses of stacks that no limit of Go's cut */
    size_t unattached;             /* frame lines whose address the group does not have */
    uint64_t looks;                /* addresses passed over for them */
    uint64_t hidden, addresses_in_all;
    uint64_t largest_count, largest_hidden, largest_addresses; /* of the largest group */
    uint64_t profiles, further_groups;
    struct intern_table module_paths; /* number - 1 is the module */
    struct module *modules;
    size_t module_count, module_capacity;
    struct mapping *mappings;
    size_t mapping_count, mapping_capacity;
};

/* Depths at which Go's profiles of goroutines end: 32 frames, from 1.23 on 128. */
static bool is_depth_limit(size_t address_count)
{
    return address_count == 32 || address_count == 128;
}

static uint32_t module_find(struct profile *profile, struct text path)
{
    uint32_t number = intern_table_add(&profile->module_paths, path);
    if (number == profile->module_count + 1) { /* 0 is the empty text */
        profile->modules = arena_grow(profile->build->keep, profile->modules, profile->module_count,
                                      &profile->module_capacity, sizeof *profile->modules);
        profile->modules[profile->module_count++] =
            (struct module){.path = text_copy(profile->build->keep, path), .is_elf = true};
    }
    return number == 0 ? index_none : number - 1;
}

/* The mappings that stackgroup's own text ends in. */
static void read_mappings(struct profile *profile, struct text text)
{
    static const struct text head = {"\n--- Memory map: ---", sizeof "\n--- Memory map: ---" - 1};
    const char *found = text.length == 0 ? NULL : memmem(text.data, text.length, head.data, head.length);
    if (found == NULL)
        return;
    struct text rest = {found, text.length - (size_t)(found - text.data)};
    struct proc_map map;
    uint64_t end = 0;
    while (profile->mapping_count < limit_segments && proc_map_next(&rest, &map)) {
        if (map.start < end) /* the kernel's come in order */
            continue;
        end = map.end;
        profile->mappings = arena_grow(profile->build->keep, profile->mappings, profile->mapping_count,
                                       &profile->mapping_capacity, sizeof *profile->mappings);
        profile->mappings[profile->mapping_count++] = (struct mapping){
            .start = map.start,
            .end = map.end,
            .file_offset = map.file_offset,
            .path = text_copy(profile->build->keep, map.path),
            .module = module_find(profile, map.path),
            .access = map.access,
        };
    }
}

static uint32_t address_module(const struct profile *profile, uint64_t address)
{
    size_t low = 0, high = profile->mapping_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (profile->mappings[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    bool inside = low < profile->mapping_count && address >= profile->mappings[low].start;
    return inside ? profile->mappings[low].module : index_none;
}

static void add_frame(struct profile *profile, const struct profile_frame *told)
{
    struct text_build *build = profile->build;
    struct told_frame frame = {
        .address = told->address,
        .offset = told->offset,
        .function_text = told->function,
        .frame = {.function = text_build_string(build, told->function), .line = told->line},
        .module = index_none,
        .has_place = told->place.length != 0,
    };
    struct text place = told->place;
    if (!told->has_line && place.length > 2 && place.data[0] == '(' && text_ends_with(place, TEXT(")")))
        frame.module = module_find(profile, (struct text){place.data + 1, place.length - 2});
    else
        frame.frame.file = text_build_string(build, place);
    profile->frames = arena_grow(build->scratch, profile->frames, profile->frame_count, &profile->frame_capacity,
                                 sizeof *profile->frames);
    profile->frames[profile->frame_count++] = frame;
}

/* How the frame at this address was found: the runs that a group tells come in its order. */
static enum frame_trust next_trust(struct profile *profile, uint64_t address)
{
    if (profile->trust_next == profile->trust_count)
        return TRUST_TOLD;
    struct told_trust *run = &profile->trusts[profile->trust_next];
    if (!run->is_open && run->address != address)
        return TRUST_TOLD;
    run->is_open = true;
    if (run->count <= 1)
        profile->trust_next++;
    else
        run->count--;
    return run->trust;
}

static void add_location(struct profile *profile, uint64_t address, const struct told_frame *told, size_t count)
{
    enum { frames_max = limit_inline_depth };
    struct frame frames[frames_max];
    struct text_build *build = profile->build;
    struct text_location location = {.pc = address, .module = address_module(profile, address - 1)};
    if (count > frames_max)
        count = frames_max;
    for (size_t i = 0; i < count; i++) {
        frames[i] = told[i].frame;
        location.offset = told[i].offset;
        if (told[i].module != index_none && location.module == index_none)
            location.module = told[i].module;
    }
    /* "tax.so+0x1234": code without a name, and how far into its module. */
    if (count == 1 && !told[0].has_place && location.module != index_none &&
        text_equals(told[0].function_text, text_basename(profile->modules[location.module].path)))
        frames[0].function = 0;
    location.frame_count = (uint32_t)count;
    location.is_hidden = count == 0;
    text_build_step(build, text_build_location(build, &location, frames), next_trust(profile, address - 1));
}

/* Puts the names to the addresses. Both stand in one order. A run of equal addresses with as many names is a recursion;
 * with more, calls are inlined: each address has several. */
static void add_steps(struct profile *profile)
{
    size_t next = 0; /* address */
    uint64_t hidden = 0;
    for (size_t i = 0, run; i < profile->frame_count; i += run) {
        uint64_t address = profile->frames[i].address + profile->line_distance;
        for (run = 1; i + run < profile->frame_count && profile->frames[i + run].address == profile->frames[i].address;)
            run++;
        size_t at = next, end = profile->looks < limit_text_looks ? profile->address_count : next;
        while (at < end && profile->addresses[at] != address)
            at++;
        if (at == end) {
            profile->unattached += run;
            profile->looks += end - next;
            continue;
        }
        for (; next < at; next++, hidden++)
            add_location(profile, profile->addresses[next], NULL, 0);
        size_t repeated = 1;
        while (at + repeated < profile->address_count && profile->addresses[at + repeated] == address)
            repeated++;
        if (repeated > run)
            repeated = run;
        for (size_t j = 0; j < repeated; j++, next++) {
            size_t first = run * j / repeated, last = run * (j + 1) / repeated;
            add_location(profile, address, profile->frames + i + first, last - first);
        }
    }
    for (; next < profile->address_count; next++, hidden++)
        add_location(profile, profile->addresses[next], NULL, 0);
    profile->hidden += hidden * profile->count;
    profile->addresses_in_all += profile->address_count * profile->count;
    if (profile->count > profile->largest_count) {
        profile->largest_count = profile->count;
        profile->largest_hidden = hidden;
        profile->largest_addresses = profile->address_count;
    }
}

static uint32_t add_stack(struct profile *profile)
{
    if (!profile->is_placeholder)
        add_steps(profile);
    const uint64_t *last = profile->address_count == 0 ? NULL : &profile->addresses[profile->address_count - 1];
    uint32_t number;
    if (profile->build->snapshot->kind == PROFILE_GOROUTINES && profile->end == STACK_END_OUTERMOST && last != NULL &&
        is_depth_limit(profile->address_count) &&
        !intern_table_find(&profile->outermost, (struct text){(const char *)last, sizeof *last}, &number))
        profile->end = STACK_END_FRAME_LIMIT;
    return text_build_stack(profile->build, profile->end, profile->end_address, profile->labels);
}

static void set_state(struct profile *profile, struct member *member, struct text state)
{
    struct text name = thread_state_split(state, &member->fd);
    member->state = text_equals(name, TEXT("unknown")) ? 0 : text_build_string(profile->build, name);
}

/* What a group says of all its members; several states of one group stay one text, as no line tells whose is which. */
static struct member *add_member(struct profile *profile, uint32_t stack, uint64_t id, uint64_t count)
{
    struct member *member = text_build_member(profile->build, stack, count);
    member->id = id;
    member->labels = profile->labels;
    member->waited_seconds = profile->waited_seconds;
    member->waited_known = profile->waited_seconds != 0;
    if (profile->state.length != 0)
        set_state(profile, member, profile->state);
    if (profile->creator.length != 0)
        member->creator = text_build_string(profile->build, profile->creator);
    return member;
}

static const struct thread_comment *find_detail(const struct profile *profile, uint64_t id, size_t place)
{
    if (place < profile->detail_count && profile->details[place].id == id)
        return &profile->details[place];
    return NULL;
}

static void close_group(struct profile *profile)
{
    if (!profile->open)
        return;
    profile->open = false;
    struct snapshot *snapshot = profile->build->snapshot;
    uint32_t stack = add_stack(profile);
    size_t first = snapshot->member_count;
    uint64_t left = profile->count;
    for (size_t i = 0; i < profile->id_count && left > 0; i++, left--) {
        struct member *member = add_member(profile, stack, profile->ids[i], 1);
        const struct thread_comment *detail = find_detail(profile, profile->ids[i], i);
        if (detail != NULL) {
            set_state(profile, member, detail->text);
            text_build_thread(profile->build)->name = text_build_string(profile->build, detail->name);
        }
    }
    if (left != 0)
        add_member(profile, stack, 0, left);
    struct told *told = profile->build->told;
    for (size_t i = profile->told_first; i < told->wait_count; i++) {
        told->waits[i].member_first = (uint32_t)first;
        told->waits[i].member_count = (uint32_t)(snapshot->member_count - first);
    }
}

static void open_group(struct profile *profile, uint64_t count, struct text addresses)
{
    profile->open = true;
    profile->count = count;
    profile->address_count = profile->frame_count = profile->trust_count = profile->trust_next = 0;
    profile->id_count = profile->detail_count = 0;
    profile->labels = 0;
    profile->is_placeholder = false;
    profile->end = STACK_END_OUTERMOST;
    profile->end_address = profile->waited_seconds = 0;
    profile->state = profile->creator = TEXT("");
    profile->told_first = profile->build->told->wait_count;
    uint64_t address;
    while (profile_address_next(&addresses, &address)) {
        profile->addresses = arena_grow(profile->build->scratch, profile->addresses, profile->address_count,
                                        &profile->address_capacity, sizeof *profile->addresses);
        profile->addresses[profile->address_count++] = address;
    }
}

static enum stack_end find_end(struct text name)
{
    for (int end = 0; end < STACK_END_COUNT; end++)
        if (text_equals(name, text_from_string(stack_end_name((enum stack_end)end))))
            return (enum stack_end)end;
    return STACK_END_UNKNOWN;
}

static void add_trust(struct profile *profile, const struct thread_comment *comment)
{
    for (int trust = 0; trust < TRUST_COUNT; trust++) {
        if (!text_equals(comment->text, text_from_string(frame_trust_name((enum frame_trust)trust))))
            continue;
        profile->trusts = arena_grow(profile->build->scratch, profile->trusts, profile->trust_count,
                                     &profile->trust_capacity, sizeof *profile->trusts);
        profile->trusts[profile->trust_count++] =
            (struct told_trust){(enum frame_trust)trust, comment->address, comment->count, false};
    }
}

static void add_ids(struct profile *profile, struct text ids)
{
    uint64_t id;
    while (thread_id_next(&ids, &id)) {
        if (id == 0) /* nobody's */
            continue;
        profile->ids = arena_grow(profile->build->scratch, profile->ids, profile->id_count, &profile->id_capacity,
                                  sizeof *profile->ids);
        profile->ids[profile->id_count++] = id;
    }
}

static void group_comment(struct profile *profile, struct text text)
{
    struct text_build *build = profile->build;
    struct thread_comment comment = thread_comment_parse(text);
    struct told *told = build->told;
    switch (comment.kind) {
    case THREAD_COMMENT_STATE:
        profile->state = comment.text;
        break;
    case THREAD_COMMENT_MEMBERS:
        add_ids(profile, comment.text);
        break;
    case THREAD_COMMENT_MEMBER:
        profile->details = arena_grow(build->scratch, profile->details, profile->detail_count,
                                      &profile->detail_capacity, sizeof *profile->details);
        profile->details[profile->detail_count++] = comment;
        break;
    case THREAD_COMMENT_WAITS:
        told->waits = arena_grow(build->keep, told->waits, told->wait_count, &told->wait_capacity, sizeof *told->waits);
        told->waits[told->wait_count++] = (struct told_wait){.text = text_copy(build->keep, comment.text)};
        break;
    case THREAD_COMMENT_WAITING:
        profile->waited_seconds = comment.count;
        break;
    case THREAD_COMMENT_CREATED:
        profile->creator = comment.text;
        break;
    case THREAD_COMMENT_END:
        profile->end = find_end(comment.text);
        profile->end_address = comment.address;
        break;
    case THREAD_COMMENT_TRUST:
        add_trust(profile, &comment);
        break;
    case THREAD_COMMENT_SIGNALLED:
    case THREAD_COMMENT_SIGNAL:
    case THREAD_COMMENT_PROCESS:
    case THREAD_COMMENT_TOTALS:
    case THREAD_COMMENT_NUMBERS:
    case THREAD_COMMENT_LOST:
    case THREAD_COMMENT_LOSS:
    case THREAD_COMMENT_NOTE:
    case THREAD_COMMENT_OTHER:
        profile->is_placeholder |= text_starts_with(text, TEXT("no frames: "));
        break;
    }
}

/* "SIGSEGV (11), SEGV_MAPERR, at address 0x18, thread 4711" */
static void read_signal(struct snapshot *snapshot, struct text text)
{
    static const char address[] = ", at address ", thread[] = ", thread ";
    const char *open = text.length == 0 ? NULL : memchr(text.data, '(', text.length);
    struct text number = open == NULL ? text : (struct text){open + 1, text.length - (size_t)(open + 1 - text.data)};
    uint64_t value;
    if (!text_take_decimal(&number, &value) || value > 128)
        return;
    snapshot->signal.number = (int32_t)value;
    const char *found = memmem(text.data, text.length, address, sizeof address - 1);
    if (found != NULL) {
        size_t at = (size_t)(found - text.data) + sizeof address - 1;
        struct text rest = {text.data + at, text.length - at};
        snapshot->signal.address_known = text_take_hex(&rest, &snapshot->signal.address);
    }
    found = memmem(text.data, text.length, thread, sizeof thread - 1);
    if (found != NULL) {
        size_t at = (size_t)(found - text.data) + sizeof thread - 1;
        struct text rest = {text.data + at, text.length - at};
        if (text_take_decimal(&rest, &value) && value <= UINT32_MAX)
            snapshot->signal.tid = (uint32_t)value;
    }
}

/* "/opt/shop/order-service, pid 4700, arguments: order-service --port 8080" */
static void read_process(struct text_build *build, struct text text)
{
    static const char pid[] = ", pid ", arguments[] = ", arguments: ";
    struct snapshot *snapshot = build->snapshot;
    const char *found = memmem(text.data, text.length, arguments, sizeof arguments - 1);
    if (found != NULL) {
        size_t at = (size_t)(found - text.data) + sizeof arguments - 1;
        snapshot->arguments = text_copy(build->keep, (struct text){text.data + at, text.length - at});
        text.length = (size_t)(found - text.data);
    }
    found = memmem(text.data, text.length, pid, sizeof pid - 1);
    if (found != NULL) {
        size_t at = (size_t)(found - text.data) + sizeof pid - 1;
        struct text rest = {text.data + at, text.length - at};
        uint64_t value;
        if (text_take_decimal(&rest, &value) && value <= UINT32_MAX)
            snapshot->pid = (uint32_t)value;
        text.length = (size_t)(found - text.data);
    }
    if (!text_equals(text, TEXT("unknown")))
        snapshot->exe = text_copy(build->keep, text);
}

/* Notes that reading the text makes anew. */
static bool is_said_again(struct text code)
{
    return text_equals(code, TEXT("frames-hidden")) || text_equals(code, TEXT("excerpt")) ||
           text_equals(code, TEXT("head-count")) || text_equals(code, TEXT("stack-incomplete"));
}

static void head_comment(struct profile *profile, struct text text)
{
    static const enum diagnostic_weight weights[] = {[THREAD_COMMENT_LOST] = DIAGNOSTIC_LOST,
                                                     [THREAD_COMMENT_LOSS] = DIAGNOSTIC_LOSS,
                                                     [THREAD_COMMENT_NOTE] = DIAGNOSTIC_NOTE};
    struct text_build *build = profile->build;
    struct thread_comment comment = thread_comment_parse(text);
    switch (comment.kind) {
    case THREAD_COMMENT_SIGNAL:
        read_signal(build->snapshot, comment.text);
        break;
    case THREAD_COMMENT_PROCESS:
        read_process(build, comment.text);
        break;
    case THREAD_COMMENT_TOTALS:
        profile->total_claimed = comment.count;
        break;
    case THREAD_COMMENT_NUMBERS:
        build->snapshot->pcs_are_numbers = true;
        break;
    case THREAD_COMMENT_LOST:
    case THREAD_COMMENT_LOSS:
    case THREAD_COMMENT_NOTE:
        if (is_said_again(comment.name))
            break;
        diagnostics_add(build->diagnostics, weights[comment.kind], text_copy(build->keep, comment.name).data, TEXT(""),
                        "%.*s", (int)(comment.text.length < 4096 ? comment.text.length : 4096), comment.text.data);
        break;
    case THREAD_COMMENT_OTHER:
    case THREAD_COMMENT_SIGNALLED:
    case THREAD_COMMENT_STATE:
    case THREAD_COMMENT_MEMBERS:
    case THREAD_COMMENT_MEMBER:
    case THREAD_COMMENT_WAITS:
    case THREAD_COMMENT_WAITING:
    case THREAD_COMMENT_CREATED:
    case THREAD_COMMENT_END:
    case THREAD_COMMENT_TRUST:
        break;
    }
}

static void diagnose(struct profile *profile, const struct text_junk *junk)
{
    struct text_build *build = profile->build;
    text_build_junk(build, junk->lines, junk->first_offset);
    if (profile->unattached != 0)
        diagnostics_add(build->diagnostics, DIAGNOSTIC_LOSS, "frames-unattached", TEXT(""),
                        "%zu lines of frames have an address that their group does not list; they are left out",
                        profile->unattached);
    if (profile->profiles > 1)
        diagnostics_add(build->diagnostics, DIAGNOSTIC_NOTE, "further-profile", TEXT(""),
                        "the text holds %" PRIu64 " profiles; the first is read, %" PRIu64 " groups are not",
                        profile->profiles, profile->further_groups);
    if (profile->hidden != 0 && build->snapshot->kind == PROFILE_GOROUTINES)
        diagnostics_add(build->diagnostics, DIAGNOSTIC_NOTE, "frames-hidden", TEXT(""),
                        "the dump's writer names no function for %" PRIu64 " of %" PRIu64
                        " addresses (in the largest group %" PRIu64 " of %" PRIu64
                        "): Go leaves out the runtime's own frames, so that what a goroutine waits for is hidden",
                        profile->hidden, profile->addresses_in_all, profile->largest_hidden,
                        profile->largest_addresses);
}

static void close_profile(struct profile *profile)
{
    struct snapshot *snapshot = profile->build->snapshot;
    snapshot->modules = profile->modules;
    snapshot->module_count = profile->module_count;
    snapshot->mappings = profile->mappings;
    snapshot->mapping_count = profile->mapping_count;
}

/* Whether a "#" line holds an address of the list itself: today's Go shows what lies one before it. */
static bool line_tells_return(struct text addresses, uint64_t shown)
{
    uint64_t address;
    bool found = false;
    while (profile_address_next(&addresses, &address)) {
        if (address == shown + 1)
            return false;
        found |= address == shown;
    }
    return found;
}

/* What the whole text tells, before its groups are read: last addresses of the stacks that are whole, goexit's mostly,
 * and how "#" lines are to be taken. */
static void look_ahead(struct profile *profile, struct text text)
{
    struct profile_text reader;
    struct profile_item item;
    struct text addresses = TEXT("");
    enum { lines_tried = 256, addresses_bytes_tried = 1 << 16 };
    uint64_t before = 0, after = 0;
    intern_table_init(&profile->outermost, profile->build->scratch);
    profile_text_init(&reader, text);
    for (profile_text_next(&reader, &item); item.kind != PROFILE_ITEM_END; profile_text_next(&reader, &item)) {
        if (item.kind == PROFILE_ITEM_FRAME && before + after < lines_tried) {
            bool tells_return = line_tells_return(addresses, item.frame.address);
            before += !tells_return;
            after += tells_return;
        }
        if (item.kind != PROFILE_ITEM_GROUP)
            continue;
        addresses = item.text;
        if (addresses.length > addresses_bytes_tried)
            addresses.length = addresses_bytes_tried;
        uint64_t address = 0;
        size_t count = 0;
        while (profile_address_next(&item.text, &address))
            count++;
        if (!is_depth_limit(count))
            intern_table_add(&profile->outermost, (struct text){(const char *)&address, sizeof address});
    }
    profile->build->snapshot->lines_tell_returns = after > before;
    profile->line_distance = after > before ? 0 : 1;
}

void text_profile_read(struct text_build *build, struct text text)
{
    struct profile profile = {.build = build};
    struct profile_text reader;
    intern_table_init(&profile.module_paths, build->scratch);
    struct profile_item item;
    look_ahead(&profile, text);
    read_mappings(&profile, text);
    profile_text_init(&reader, text);
    bool past_groups = false;
    for (profile_text_next(&reader, &item); item.kind != PROFILE_ITEM_END; profile_text_next(&reader, &item)) {
        if (item.kind == PROFILE_ITEM_HEADER && profile.profiles++ != 0)
            past_groups = true;
        if (item.kind == PROFILE_ITEM_SECTION && text_starts_with(item.text, TEXT("--- Memory map:")))
            break; /* read above */
        if (item.kind == PROFILE_ITEM_SECTION)
            past_groups = true;
        profile.further_groups += past_groups && item.kind == PROFILE_ITEM_GROUP;
        if (past_groups)
            continue;
        switch (item.kind) {
        case PROFILE_ITEM_HEADER:
            build->snapshot->total_claimed = item.count > profile.total_claimed ? item.count : profile.total_claimed;
            break;
        case PROFILE_ITEM_GROUP:
            close_group(&profile);
            open_group(&profile, item.count, item.text);
            break;
        case PROFILE_ITEM_FRAME:
            if (profile.open)
                add_frame(&profile, &item.frame);
            break;
        case PROFILE_ITEM_LABELS:
            profile.labels = text_build_string(build, item.text);
            break;
        case PROFILE_ITEM_COMMENT:
            if (profile.open && !text_starts_with(item.text, TEXT("note: ")))
                group_comment(&profile, item.text);
            else
                head_comment(&profile, item.text);
            break;
        case PROFILE_ITEM_SECTION:
        case PROFILE_ITEM_END:
            break;
        }
    }
    close_group(&profile);
    close_profile(&profile);
    diagnose(&profile, &reader.junk);
}

static uint64_t sum(uint64_t a, uint64_t b)
{
    uint64_t result;
    return __builtin_add_overflow(a, b, &result) ? UINT64_MAX : result;
}

/* One member a record: a place, with what it has. */
static void close_record(struct profile *profile, const struct heap_numbers *numbers, struct heap_usage **usages,
                         size_t *capacity)
{
    if (!profile->open)
        return;
    profile->open = false;
    struct text_build *build = profile->build;
    uint32_t stack = add_stack(profile);
    *usages = arena_grow(build->keep, *usages, build->snapshot->member_count, capacity, sizeof **usages);
    (*usages)[build->snapshot->member_count] =
        (struct heap_usage){numbers->objects, numbers->bytes, numbers->objects_allocated, numbers->bytes_allocated};
    text_build_member(build, stack, 1);
}

void text_heap_read(struct text_build *build, struct text text)
{
    struct profile profile = {.build = build, .line_distance = 1};
    intern_table_init(&profile.module_paths, build->scratch);
    intern_table_init(&profile.outermost, build->scratch);
    struct heap_text reader;
    struct heap_item item;
    struct heap_numbers numbers = {0}, total = {0};
    struct heap_usage *usages = NULL, found = {0};
    size_t capacity = 0, heads = 0;
    heap_text_init(&reader, text);
    for (heap_text_next(&reader, &item); item.kind != HEAP_ITEM_END; heap_text_next(&reader, &item)) {
        heads += item.kind == HEAP_ITEM_HEADER;
        if (heads > 1) { /* a second dump follows */
            diagnostics_add(build->diagnostics, DIAGNOSTIC_NOTE, "further-profile", TEXT(""),
                            "another profile begins at offset %zu and is not read", item.offset);
            break;
        }
        switch (item.kind) {
        case HEAP_ITEM_HEADER:
            total = item.numbers;
            if (item.text.length > limit_name_bytes)
                item.text.length = limit_name_bytes;
            build->snapshot->heap_unit = text_copy(build->keep, item.text);
            break;
        case HEAP_ITEM_RECORD:
            close_record(&profile, &numbers, &usages, &capacity);
            open_group(&profile, 1, item.text);
            numbers = item.numbers;
            found.bytes = sum(found.bytes, numbers.bytes);
            found.objects = sum(found.objects, numbers.objects);
            break;
        case HEAP_ITEM_FRAME:
            if (profile.open)
                add_frame(&profile, &item.frame);
            break;
        case HEAP_ITEM_COMMENT:
        case HEAP_ITEM_END:
            break;
        }
    }
    close_record(&profile, &numbers, &usages, &capacity);
    close_profile(&profile);
    build->snapshot->heap = usages == NULL ? arena_new(build->keep, struct heap_usage) : usages;
    text_build_junk(build, reader.junk.lines, reader.junk.first_offset);
    if (total.bytes > found.bytes)
        diagnostics_add(build->diagnostics, DIAGNOSTIC_NOTE, "excerpt", TEXT(""),
                        "the text's head counts %" PRIu64 " bytes in %" PRIu64 " objects, its records sum to %" PRIu64
                        " bytes in %" PRIu64 ": an excerpt",
                        total.bytes, total.objects, found.bytes, found.objects);
}
