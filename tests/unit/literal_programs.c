/* SPDX-License-Identifier: Apache-2.0 */
#include "literal_programs.h"

#include "group/group.h"

static uint32_t location_simple(struct literal *literal, uint64_t pc, bool exact, uint32_t module, uint64_t offset,
                                const char *function, const char *file, uint32_t line)
{
    uint32_t location = literal_location(literal, pc, exact, module, offset);
    literal_frame(literal, function, file, line, false);
    return location;
}

void literal_server(struct literal *literal)
{
    struct snapshot *snapshot = &literal->snapshot;
    snapshot->source_kind = "core";
    snapshot->source_path = TEXT("/var/crash/core.4700");
    snapshot->exe = TEXT("/opt/shop/order-service");
    snapshot->command = TEXT("order-service");
    snapshot->arguments = TEXT("order-service --port 8080");
    snapshot->pid = 4700;
    snapshot->written_by = "kernel";
    snapshot->signal = (struct signal_info){
        .number = 11, .code = 1, .code_known = true, .address_known = true, .address = 0x18, .tid = 4711};

    uint32_t exe = literal_module(literal, "/opt/shop/order-service", 0x400000, 0x420000);
    uint32_t libc = literal_module(literal, "/usr/lib/x86_64-linux-gnu/libc.so.6", 0x7f1200000000, 0x7f1200200000);
    uint32_t plugin = literal_module(literal, "/opt/shop/plugins/tax.so", 0x7f1300000000, 0x7f1300010000);
    literal->modules[exe].build_id = (struct build_id){4, {0xde, 0xad, 0xbe, 0xef}};
    literal_mapping(literal, 0x400000, 0x401000, 0, MAPPING_READ, "/opt/shop/order-service");
    literal_mapping(literal, 0x401000, 0x41a000, 0x1000, MAPPING_READ | MAPPING_EXECUTE, "/opt/shop/order-service");
    literal_mapping(literal, 0x600000, 0x601000, 0, MAPPING_READ | MAPPING_WRITE | MAPPING_EXECUTE, "");
    literal_mapping(literal, 0x7f1200028000, 0x7f1200195000, 0x28000, MAPPING_READ | MAPPING_EXECUTE,
                    "/usr/lib/x86_64-linux-gnu/libc.so.6");

    uint32_t price = literal_location(literal, 0x401236, true, exe, 0x16);
    literal_frame(literal, "std::vector<Line>::operator[](unsigned long)", "/usr/include/c++/12/bits/stl_vector.h",
                  1123, true);
    literal_frame(literal, "price(Order const&)", "/src/shop/price.cc", 41, false);
    uint32_t handle =
        location_simple(literal, 0x401300, false, exe, 0x3f, "handle(Request&)", "/src/shop/server.cc", 212);
    uint32_t worker = location_simple(literal, 0x4014a0, false, exe, 0x5f, "worker(int)", "/src/shop/server.cc", 87);
    uint32_t start = location_simple(literal, 0x7f1200088fd4, false, libc, 0x2d3, "start_thread",
                                     "/build/glibc/nptl/pthread_create.c", 442);
    uint32_t clone = location_simple(literal, 0x7f120010866c, false, libc, 0x2b, "clone3", NULL, 0);
    uint32_t lock_wait = location_simple(literal, 0x7f12000854e0, true, libc, 0x90, "__lll_lock_wait",
                                         "/build/glibc/nptl/lowlevellock.c", 49);
    uint32_t lock = location_simple(literal, 0x7f120008bfd1, false, libc, 0x110, "pthread_mutex_lock", NULL, 0);
    uint32_t tax_leaf = location_simple(literal, 0x7f1300001234, true, plugin, 0x1234, NULL, NULL, 0);
    uint32_t tax_caller = location_simple(literal, 0x7f1300002345, false, plugin, 0x2344, NULL, NULL, 0);
    uint32_t jit = location_simple(literal, 0x600123, false, index_none, 0, NULL, NULL, 0);

    uint32_t crashed = literal_stack(literal, STACK_END_OUTERMOST, 0);
    literal_step(literal, price, TRUST_REGISTERS);
    literal_step(literal, handle, TRUST_CFI);
    literal_step(literal, worker, TRUST_CFI);
    literal_step(literal, start, TRUST_CFI);
    literal_step(literal, clone, TRUST_CFI);
    uint32_t waiting = literal_stack(literal, STACK_END_OUTERMOST, 0);
    literal_step(literal, lock_wait, TRUST_REGISTERS);
    literal_step(literal, lock, TRUST_CFI);
    literal_step(literal, worker, TRUST_CFI);
    literal_step(literal, start, TRUST_CFI);
    literal_step(literal, clone, TRUST_CFI);
    uint32_t cut = literal_stack(literal, STACK_END_MEMORY_MISSING, 0x7f1400ff0008);
    literal_step(literal, tax_leaf, TRUST_REGISTERS);
    literal_step(literal, tax_caller, TRUST_FRAME_POINTER);
    literal_step(literal, jit, TRUST_FRAME_POINTER);
    literal_step(literal, worker, TRUST_LIBUNWIND);
    uint32_t lost = literal_stack(literal, STACK_END_NO_REGISTERS, 0);

    for (uint64_t id = 4701; id <= 4740; id++) {
        if (id == 4711) {
            literal_member(literal, id, crashed, "running", -1);
            *literal_thread(literal) = (struct member_thread){.cpu_microseconds = 12345678, .cpu_known = true};
            continue;
        }
        literal_member(literal, id, waiting, id < 4736 ? "futex wait" : "read", id < 4736 ? -1 : 7);
        *literal_thread(literal) = (struct member_thread){.cpu_microseconds = 1500, .cpu_known = true};
    }
    literal_member(literal, 4700, cut, NULL, -1);
    *literal_thread(literal) =
        (struct member_thread){.cpu_microseconds = 250000, .cpu_known = true, .cpu_at_most = true};
    literal_member(literal, 4741, lost, NULL, -1);
    uint32_t hidden = literal_stack(literal, STACK_END_OUTERMOST, 0);
    literal_step(literal, clone, TRUST_REGISTERS);
    literal_member(literal, 4742, hidden, NULL, -1);
    literal_member(literal, 4743, hidden, NULL, -1);
    snapshot->total_claimed = 46;

    literal_group(literal, crashed, "00112233aabbccdd")->signalled = true;
    literal_group(literal, waiting, "0123456789abcdef")->variants = 3;
    literal_group(literal, cut, "fedcba9876543210");
    literal_group(literal, lost, "e3b0c44298fc1c14");
    literal->grouping.hidden_groups = 1;
    literal->grouping.hidden_members = 2;

    struct diagnostics *diagnostics = &literal->diagnostics;
    diagnostics_add(diagnostics, DIAGNOSTIC_NOTE, "file-unverified", TEXT("/opt/shop/plugins/tax.so"),
                    "nothing to compare the file with, used as it is");
    diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "unwind-data-missing", TEXT("/opt/shop/plugins/tax.so"),
                    "/opt/shop/plugins/tax.so: no .eh_frame, frame pointers used");
    diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "unwind-data-missing", TEXT("/opt/shop/plugins/tax.so"), "%s", "");
    diagnostics_add(diagnostics, DIAGNOSTIC_LOST, "note-cut", TEXT("/var/crash/core.4700"),
                    "prstatus note at offset 0x1f4 has 100 bytes, needs 336; its thread and those after it left out");
}

void literal_hostile(struct literal *literal)
{
    struct snapshot *snapshot = &literal->snapshot;
    snapshot->source_kind = "core";
    snapshot->source_path = TEXT("core\n1 @ 0x1");
    snapshot->exe = TEXT("/tmp/heap profile: 1: 2 [3: 4] @ heap/\033[2J\xff");
    snapshot->arguments = TEXT("x \"y\\ \xc2\x9b 31m \xe2\x80\xae"
                               "gnp.exe\t\x7f");
    snapshot->signal = (struct signal_info){.number = 6,
                                            .code = -6,
                                            .code_known = true,
                                            .sender_known = true,
                                            .sender_pid = 12,
                                            .sender_uid = 1000,
                                            .tid = 5};
    uint32_t module = literal_module(literal, "/tmp/a\nb\xf0\x28.so", 0x1000, 0x9000);
    literal_mapping(literal, 0x1000, 0x9000, 0, MAPPING_READ | MAPPING_EXECUTE, "/tmp/a\nb\xf0\x28.so");
    uint32_t stack = literal_stack(literal, STACK_END_OUTERMOST, 0);
    uint32_t location = literal_location(literal, 0x2000, true, module, 0x10);
    literal_frame(literal, "line\nbreak\033]0;title\007 ünï \xc3(", "/src/\r\n--- \x80.c", 3, true);
    literal_frame(literal, "計算<日本語>(wide)", "/src/日本/語.c", 4, false);
    literal_step(literal, location, TRUST_REGISTERS);
    location = literal_location(literal, 0x3000, false, module, 0x1fff);
    literal_frame(literal, NULL, NULL, 0, false);
    literal_step(literal, location, TRUST_CFI);
    literal_member(literal, 5, stack, "wait\ning", -1);
    literal_group(literal, stack, "0000000000000000")->signalled = true;
    diagnostics_add(&literal->diagnostics, DIAGNOSTIC_LOSS, "module-missing", TEXT("/tmp/a\nb\xf0\x28.so"),
                    "not found\n2 @ 0x2, no names");
}

void literal_recursion(struct literal *literal, uint32_t depth)
{
    literal->snapshot.source_kind = "core";
    literal->snapshot.source_path = TEXT("core");
    uint32_t location = literal_location(literal, 0x401136, false, index_none, 0x9);
    literal_frame(literal, "descend", "/src/deep.c", 7, false);
    uint32_t stack = literal_stack(literal, STACK_END_OUTERMOST, 0);
    for (uint32_t i = 0; i < depth; i++)
        literal_step(literal, location, TRUST_CFI);
    literal_member(literal, 1, stack, NULL, -1);
    literal_group(literal, stack, "1111111111111111");
}

static struct net_address ipv4(uint8_t last, uint16_t port)
{
    return (struct net_address){.version = 4, .bytes = {10, 0, 0, last}, .port = port};
}

void literal_connections(struct literal *literal)
{
    enum { CLOSING, REDIS, ACCEPTED_6, LOG, PAIRS, PIPES, DNS, LISTENING, NAMED, NETLINK, QUEUE, EPOLL, CLASSES };
    static const struct net_address local_6 = {.version = 6, .bytes = {[15] = 1}, .port = 443};
    static const struct net_address peer_6 = {.version = 6, .bytes = {0xfe, 0x80, [15] = 7}};
    static struct descriptor_class classes[CLASSES];
    static struct descriptor entries[] = {
        {.fd = 3, .class_number = LISTENING, .receive_queue = 1, .receive_queue_known = true},
        {.fd = 4, .class_number = PIPES, .inode = 4004},
        {.fd = 5, .class_number = LOG},
        {.fd = 6, .class_number = EPOLL, .watched = 1201},
        {.fd = 7, .class_number = NAMED, .inode = 4007},
        {.fd = 10, .class_number = CLOSING, .receive_queue = 40, .receive_queue_known = true},
        {.fd = 11, .class_number = CLOSING, .receive_queue_known = true},
        {.fd = 12, .class_number = CLOSING, .receive_queue = 1200, .receive_queue_known = true},
        {.fd = 13, .class_number = PIPES, .inode = 4013},
        {.fd = 14, .class_number = PIPES, .inode = 4014},
        {.fd = 15, .class_number = REDIS, .receive_queue_known = true},
        {.fd = 16, .class_number = QUEUE},
    };
    static struct descriptors descriptors = {
        .entries = entries,
        .count = sizeof entries / sizeof entries[0],
        .classes = classes,
        .class_count = CLASSES,
        .count_open = 1240,
        .count_max = 1400,
        .kind_counts = {[DESCRIPTOR_SOCKET] = 1230,
                        [DESCRIPTOR_PIPE] = 3,
                        [DESCRIPTOR_FILE] = 5,
                        [DESCRIPTOR_EPOLL] = 1,
                        [DESCRIPTOR_OTHER] = 1},
        .watched = 1201,
    };
    classes[CLOSING] = (struct descriptor_class){.kind = DESCRIPTOR_SOCKET, .protocol = NET_TCP, .is_accepted = true,
                                                 .state = NET_STATE_CLOSE_WAIT, .local = ipv4(4, 8080),
                                                 .peer = ipv4(5, 0), .count = 1204};
    classes[LISTENING] = (struct descriptor_class){.kind = DESCRIPTOR_SOCKET, .protocol = NET_TCP, .count = 1,
                                                   .state = NET_STATE_LISTEN, .local = ipv4(4, 8080)};
    classes[REDIS] = (struct descriptor_class){.kind = DESCRIPTOR_SOCKET, .protocol = NET_TCP, .count = 12,
                                               .state = NET_STATE_ESTABLISHED, .peer = ipv4(9, 6379)};
    classes[ACCEPTED_6] = (struct descriptor_class){.kind = DESCRIPTOR_SOCKET, .protocol = NET_TCP6, .count = 5,
                                                    .is_accepted = true, .state = NET_STATE_ESTABLISHED,
                                                    .local = local_6, .peer = peer_6};
    classes[DNS] = (struct descriptor_class){.kind = DESCRIPTOR_SOCKET, .protocol = NET_UDP, .count = 2,
                                             .state = NET_STATE_CLOSE, .local = ipv4(4, 53)};
    classes[NAMED] = (struct descriptor_class){.kind = DESCRIPTOR_SOCKET, .protocol = NET_UNIX, .count = 1,
                                               .state = NET_STATE_ESTABLISHED, .name = TEXT("/run/a\n\033[2J.sock")};
    classes[PAIRS] = (struct descriptor_class){.kind = DESCRIPTOR_SOCKET, .protocol = NET_UNIX, .count = 4,
                                               .state = NET_STATE_ESTABLISHED};
    classes[NETLINK] = (struct descriptor_class){.kind = DESCRIPTOR_SOCKET, .count = 1, .name = TEXT("NETLINK")};
    classes[PIPES] = (struct descriptor_class){.kind = DESCRIPTOR_PIPE, .count = 3};
    classes[LOG] = (struct descriptor_class){.kind = DESCRIPTOR_FILE, .count = 5, .name = TEXT("/var/log/\033shop.log")};
    classes[QUEUE] = (struct descriptor_class){.kind = DESCRIPTOR_OTHER, .count = 1, .name = TEXT("[io_uring]")};
    classes[EPOLL] = (struct descriptor_class){.kind = DESCRIPTOR_EPOLL, .count = 1};
    for (size_t i = 0; i < descriptors.count; i++) {
        const struct descriptor_class *class = &classes[entries[i].class_number];
        entries[i].local = class->local;
        entries[i].peer = class->peer;
        if (class->is_accepted)
            entries[i].peer.port = (uint16_t)(41000 + entries[i].fd);
        if (entries[i].class_number == REDIS)
            entries[i].local = ipv4(4, 50111);
    }

    struct snapshot *snapshot = &literal->snapshot;
    snapshot->source_kind = "process";
    snapshot->exe = TEXT("/opt/shop/order-service");
    snapshot->pid = 4700;
    snapshot->stop_microseconds = 1810;
    snapshot->descriptors = &descriptors;
    uint32_t exe = literal_module(literal, "/opt/shop/order-service", 0x400000, 0x420000);
    const struct {
        const char *function, *state;
        int32_t fds[5];
    } threads[] = {
        {"serve", "read", {10, 11, 12, 4, 13}},
        {"log_write", "write", {5, 5, 5}},
        {"mixed", "receive", {15, 7, 999}}, /* 999 was closed meanwhile */
        {"loop", "epoll wait", {6}},
        {"listen_loop", "accept", {3}},
        {"submit", "io_uring wait", {16}},
        {"idle", "sleep", {-1, -1}},
    };
    uint64_t id = 4700;
    for (uint32_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        uint32_t location = location_simple(literal, 0x401000 + 0x100 * i, true, exe, 0, threads[i].function, NULL, 0);
        uint32_t stack = literal_stack(literal, STACK_END_OUTERMOST, 0);
        literal_step(literal, location, TRUST_REGISTERS);
        for (uint32_t j = 0; j < 5 && threads[i].fds[j] != 0; j++)
            literal_member(literal, id++, stack, threads[i].state, threads[i].fds[j]);
    }
    literal->grouping = group_snapshot(snapshot, &(struct group_options){0}, &literal->arena, &literal->arena);
}

static void add_finding(struct literal *literal, const struct finding *finding)
{
    struct findings *findings = &literal->findings;
    findings->entries = arena_grow(&literal->arena, findings->entries, findings->count, &findings->capacity,
                                   sizeof *findings->entries);
    findings->entries[findings->count++] = *finding;
}

void literal_deadlock(struct literal *literal)
{
    enum { ACCOUNT_A, ACCOUNT_B, LOG, TABLE, LOST, SHARED, FREE, COND, JOIN, SEMAPHORE };
    enum { RENT, WAGES, FSYNC, LOGGERS, ODDS, IDLE = ODDS + 9, MEMBERS };
    struct snapshot *snapshot = &literal->snapshot;
    snapshot->source_kind = "core";
    snapshot->source_path = TEXT("core.4700");
    snapshot->exe = TEXT("/opt/bank/bank");
    snapshot->pid = 4700;
    uint32_t exe = literal_module(literal, "/opt/bank/bank", 0x400000, 0x420000);
    uint32_t lock = location_simple(literal, 0x401000, true, exe, 0x10, "pthread_mutex_lock", NULL, 0);
    static const struct {
        const char *function, *state;
        uint32_t line;
        bool in_lock;
    } places[] = {
        {"pay_rent", "futex wait", 47, true}, {"pay_wages", "futex wait", 54, true}, {"log_flush", "fsync", 80, false},
        {"log_line", "futex wait", 71, true}, {"odd", "futex wait", 90, true},       {"idle", "sleep", 99, false},
    };
    uint32_t stacks[6];
    for (uint32_t i = 0; i < 6; i++) {
        uint32_t location = location_simple(literal, 0x402000 + 0x100 * i, !places[i].in_lock, exe, 0x20,
                                            places[i].function, "/src/bank.c", places[i].line);
        stacks[i] = literal_stack(literal, STACK_END_OUTERMOST, 0);
        if (places[i].in_lock)
            literal_step(literal, lock, TRUST_REGISTERS);
        literal_step(literal, location, places[i].in_lock ? TRUST_CFI : TRUST_REGISTERS);
    }
    for (uint32_t i = 0; i < 3; i++)
        literal_member(literal, 4701 + i, stacks[i], places[i].state, -1);
    for (uint32_t i = ODDS; i < IDLE; i++)
        literal_member(literal, 4700 + i, stacks[4], places[4].state, -1);
    literal_member(literal, 4760, stacks[5], places[5].state, -1);
    uint32_t loggers = (uint32_t)snapshot->member_count;
    for (uint32_t i = 0; i < 40; i++)
        literal_member(literal, 4800 + i, stacks[3], places[3].state, -1);
    uint32_t odds = 3;

    literal_resource(literal, WAIT_MUTEX, 0x404040, "account_a");
    literal_resource(literal, WAIT_MUTEX, 0x404068, "account_b");
    literal_resource(literal, WAIT_MUTEX, 0x404090, "(anonymous namespace)::log\033[2J");
    *literal_resource(literal, WAIT_RWLOCK, 0x4040c0, NULL) = (struct resource){
        .kind = WAIT_RWLOCK, .address = 0x4040c0, .learnt = LEARNT_READ, .holder = HOLDER_ANONYMOUS, .anonymous_count = 3};
    literal_resource(literal, WAIT_MUTEX, 0x404100, "lost")->holder = HOLDER_ENDED;
    snapshot->resources[LOST].owner_id = 4699;
    literal_resource(literal, WAIT_MUTEX, 0x7f0000001000, NULL)->holder = HOLDER_ELSEWHERE;
    snapshot->resources[SHARED].owner_id = 812;
    literal_resource(literal, WAIT_MUTEX, 0x404120, NULL)->holder = HOLDER_FREE;
    literal_resource(literal, WAIT_CONDITION, 0x404140, "table+0x28")->holder = HOLDER_NEVER;
    literal_resource(literal, WAIT_JOIN, 4760, NULL);
    *literal_resource(literal, WAIT_SEMAPHORE, 0, NULL) = (struct resource){
        .kind = WAIT_SEMAPHORE, .learnt = LEARNT_READ, .holder = HOLDER_NEVER, .capacity_known = true, .capacity = 8};
    literal_hold(literal, ACCOUNT_A, WAGES, LEARNT_READ);
    literal_hold(literal, ACCOUNT_B, RENT, LEARNT_READ);
    literal_hold(literal, LOG, FSYNC, LEARNT_READ);
    literal_hold(literal, JOIN, odds + 9, LEARNT_INFERRED);
    literal_wait(literal, RENT, ACCOUNT_A, true, LEARNT_READ);
    literal_wait(literal, WAGES, ACCOUNT_B, true, LEARNT_READ);
    for (uint32_t i = 0; i < 8; i++)
        literal_wait(literal, odds + i, TABLE + (i == 0 ? 0 : i - 1), i == 0, LEARNT_READ);
    literal_wait(literal, odds + 8, LOG, true, LEARNT_READ);
    literal_wait(literal, odds + 8, ACCOUNT_A, true, LEARNT_READ);
    for (uint32_t i = 0; i < 40; i++)
        literal_wait(literal, loggers + i, LOG, true, LEARNT_READ);
    literal->grouping = group_snapshot(snapshot, &(struct group_options){.count_min = 1}, &literal->arena,
                                       &literal->arena);

    literal->rule_count = 41;
    const uint32_t *group_of = literal->grouping.group_of_stack;
    static struct finding_edge edges[2];
    static struct finding_cycle cycles[] = {{0, 2}};
    static struct finding_group cycle_groups[2], queue_groups[2];
    static struct finding_key keys[] = {{"resource", {"account_a \"b\"", 13}}};
    edges[0] = (struct finding_edge){RENT, ACCOUNT_A, WAGES, LEARNT_READ, TEXT("pay_rent at /src/bank.c:47")};
    edges[1] = (struct finding_edge){WAGES, ACCOUNT_B, RENT, LEARNT_READ, TEXT("")};
    cycle_groups[0] = (struct finding_group){group_of[stacks[0]], 1, "holds and waits"};
    cycle_groups[1] = (struct finding_group){group_of[stacks[1]], 1, "holds and waits"};
    queue_groups[0] = (struct finding_group){group_of[stacks[3]], 40, "waits"};
    queue_groups[1] = (struct finding_group){group_of[stacks[2]], 1, "holds"};
    static struct text cycle_evidence[] = {
        {"thread 4701 waits in pay_rent at /src/bank.c:47 for mutex 0x404040 (account_a), held by thread 4702 (read)", 106},
        {"thread 4702 waits in pay_wages at /src/bank.c:54 for mutex 0x404068 (account_b), held by thread 4701 (read)", 107},
    };
    static struct text queue_evidence[30];
    for (size_t i = 0; i < 30; i++)
        queue_evidence[i] = text_from_string(arena_printf(&literal->arena, "sentence %zu about the queue\nand its head", i));
    add_finding(literal, &(struct finding){
        .rule = TEXT("pthread/lock-cycle"),
        .severity = SEVERITY_CRITICAL,
        .confidence = CONFIDENCE_READ,
        .title = TEXT("2 threads wait for each other's mutexes"),
        .members = 2,
        .evidence = cycle_evidence,
        .evidence_count = 2,
        .groups = cycle_groups,
        .group_count = 2,
        .edges = edges,
        .edge_count = 2,
        .cycles = cycles,
        .cycle_count = 1,
        .keys = keys,
        .key_count = 1,
        .advice = TEXT("Restart the process: nothing else ends a deadlock.\n\nThen:\n- take both locks in one order\n"
                       "  everywhere\n- or take them at once\n"),
        .runbook = TEXT("lock-cycle.md"),
    });
    add_finding(literal, &(struct finding){
        .rule = TEXT("mine/slow-log"),
        .severity = SEVERITY_WARNING,
        .confidence = CONFIDENCE_INFERRED,
        .title = TEXT("thread 4703 blocks 40 threads and is in fsync\033[2J"),
        .members = 40,
        .evidence = queue_evidence,
        .evidence_count = 30,
        .groups = queue_groups,
        .group_count = 2,
        .advice = TEXT("Do not flush under the lock."),
        .runbook = TEXT("slow.md"),
        .runbook_path = TEXT("/home/me/plugins/slow.md"),
    });
    for (size_t i = 0; i < 5; i++)
        add_finding(literal, &(struct finding){
            .rule = TEXT("threads/idle"),
            .severity = SEVERITY_INFO,
            .confidence = CONFIDENCE_SUSPECTED,
            .title = TEXT("one thread sleeps and has nothing to do, which is a long way to say that all is well with it"),
            .members = 1,
        });
}
