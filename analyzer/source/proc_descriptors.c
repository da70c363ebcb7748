/* SPDX-License-Identifier: Apache-2.0 */
#include "source/proc_descriptors.h"

#include "base/cleanup.h"
#include "base/intern_table.h"
#include "base/limits.h"
#include "source/proc_files.h"
#include "source/unix_peers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>

enum {
    /* Sockets in no table that the kernel is asked about one by one. */
    protocol_questions_max = 1000,
    /* Local ports below come from a listening socket, those from here on are the kernel's choice for connections that
     * go out: the default of /proc/sys/net/ipv4/ip_local_port_range. */
    ephemeral_port_first = 32768,
};

struct found_descriptor {
    struct descriptor descriptor;
    enum descriptor_kind kind;
    struct text name;
    struct net_socket socket; /* protocol NET_UNKNOWN until a table told it */
    uint32_t next_same;       /* + 1, the next descriptor with the same inode; 0 none */
    bool is_first;            /* of those with its inode */
};

struct descriptor_reader {
    uint32_t tid;
    struct arena *arena;
    struct diagnostics *diagnostics;
    struct descriptors *result;
    struct found_descriptor *found;
    size_t found_count, found_capacity;
    uint32_t *slots; /* of sockets, by inode: number + 1, 0 is free */
    size_t slot_count;
    size_t sockets_left; /* distinct ones that no table has told yet */
    uint8_t listening[1 << 16]; /* by port: somebody in the namespace accepts TCP connections there */
};

static void path_of(const struct descriptor_reader *reader, char path[64], const char *name)
{
    snprintf(path, 64, "/proc/%" PRIu32 "/%s", reader->tid, name);
}

/* Calls `take` for each line of the file until it returns false, reading at most `bytes_max`; without its newline, lines
 * longer than the buffer are left out. The file is read piece by piece: tables of a busy namespace have 100 MB. */
static bool read_lines(const char *path, uint64_t bytes_max, bool (*take)(void *context, struct text line), void *context,
                       bool *ret_is_cut)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    char buffer[1 << 16];
    size_t held = 0;
    uint64_t total = 0;
    *ret_is_cut = false;
    if (fd < 0)
        return false;
    for (;;) {
        ssize_t got = read(fd, buffer + held, sizeof buffer - held);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got == 0;
        held += (size_t)got;
        total += (uint64_t)got;
        size_t start = 0;
        for (char *newline; (newline = memchr(buffer + start, '\n', held - start)) != NULL;) {
            size_t length = (size_t)(newline - buffer) - start;
            if (!take(context, (struct text){buffer + start, length}))
                return true;
            start += length + 1;
        }
        if (start == 0 && held == sizeof buffer)
            start = held;
        memmove(buffer, buffer + start, held - start);
        held -= start;
        if (total >= bytes_max) {
            *ret_is_cut = true;
            return true;
        }
    }
}

/* Since Linux 6.2 the folder's size is the number of descriptors, with those that are only reserved: a thread in accept
 * holds one. */
static void count_open(struct descriptor_reader *reader, DIR *folder)
{
    struct stat status;
    if (fstat(dirfd(folder), &status) != 0 || status.st_size <= 0)
        return;
    reader->result->count_open = (uint64_t)status.st_size;
    size_t expected = status.st_size < limit_descriptors ? (size_t)status.st_size : limit_descriptors;
    reader->found = arena_array(reader->arena, struct found_descriptor, expected);
    reader->found_capacity = expected;
}

static bool count_watch(void *context, struct text line)
{
    *(uint32_t *)context += fdinfo_line_is_watch(line);
    return true;
}

static void add_descriptor(struct descriptor_reader *reader, int32_t fd, struct text link)
{
    reader->found = arena_grow(reader->arena, reader->found, reader->found_count, &reader->found_capacity,
                               sizeof *reader->found);
    struct found_descriptor *found = &reader->found[reader->found_count++];
    struct fd_link parsed = fd_link_parse(link);
    *found = (struct found_descriptor){
        .descriptor = {.fd = fd, .inode = parsed.inode},
        .kind = parsed.kind,
        .name = text_copy(reader->arena, parsed.name),
        .is_first = true,
    };
    reader->result->kind_counts[parsed.kind]++;
    if (parsed.kind == DESCRIPTOR_EPOLL) {
        char path[64];
        bool is_cut;
        snprintf(path, sizeof path, "/proc/%" PRIu32 "/fdinfo/%" PRId32, reader->tid, fd);
        read_lines(path, limit_proc_table_bytes, count_watch, &found->descriptor.watched, &is_cut);
        reader->result->watched += found->descriptor.watched;
    }
}

static int compare_found(const void *left, const void *right)
{
    const struct found_descriptor *a = left, *b = right;
    return a->descriptor.fd < b->descriptor.fd ? -1 : a->descriptor.fd > b->descriptor.fd;
}

static bool read_links(struct descriptor_reader *reader)
{
    char path[64];
    path_of(reader, path, "fd");
    DIR *folder = opendir(path);
    if (folder == NULL) {
        diagnostics_add(reader->diagnostics, DIAGNOSTIC_LOSS, "descriptors-unreadable", text_from_string(path),
                        "%s cannot be read: %s; descriptors are told by number alone", path, strerror(errno));
        return false;
    }
    count_open(reader, folder);
    struct descriptors *result = reader->result;
    uint64_t seen = 0;
    char link[PATH_MAX];
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char *end;
        unsigned long number = strtoul(entry->d_name, &end, 10);
        if (end == entry->d_name || *end != 0 || number > INT32_MAX)
            continue;
        if (++seen > limit_descriptors)
            break;
        ssize_t length = readlinkat(dirfd(folder), entry->d_name, link, sizeof link);
        if (length >= 0)
            add_descriptor(reader, (int32_t)number, (struct text){link, (size_t)length});
        else if (errno != ENOENT)
            diagnostics_add(reader->diagnostics, DIAGNOSTIC_LOSS, "descriptors-unreadable", text_from_string(path),
                            "%s: a descriptor cannot be read: %s; it is told by its number alone", path, strerror(errno));
    }
    closedir(folder);
    if (seen <= limit_descriptors) {
        result->count_open = seen;
    } else {
        result->count_is_least = result->count_open <= limit_descriptors;
        if (result->count_is_least)
            result->count_open = limit_descriptors;
        diagnostics_add(reader->diagnostics, DIAGNOSTIC_LOSS, "descriptors-limit", text_from_string(path),
                        "%s holds more than %d descriptors; those after them were not looked at", path,
                        limit_descriptors);
    }
    if (reader->found_count != 0)
        qsort(reader->found, reader->found_count, sizeof *reader->found, compare_found);
    return true;
}

/* The slot that holds the socket's first descriptor, or a free one. */
static uint32_t *find_slot(const struct descriptor_reader *reader, uint64_t inode)
{
    size_t mask = reader->slot_count - 1;
    size_t slot = (size_t)((inode * 0x9e3779b97f4a7c15u) >> 20) & mask;
    while (reader->slots[slot] != 0 && reader->found[reader->slots[slot] - 1].descriptor.inode != inode)
        slot = (slot + 1) & mask;
    return &reader->slots[slot];
}

static void index_sockets(struct descriptor_reader *reader)
{
    reader->slot_count = 64;
    while (reader->slot_count < (size_t)reader->result->kind_counts[DESCRIPTOR_SOCKET] * 2)
        reader->slot_count *= 2;
    reader->slots = arena_array(reader->arena, uint32_t, reader->slot_count);
    for (size_t i = 0; i < reader->found_count; i++) {
        struct found_descriptor *found = &reader->found[i];
        if (found->kind != DESCRIPTOR_SOCKET)
            continue;
        uint32_t *slot = find_slot(reader, found->descriptor.inode);
        if (*slot == 0) {
            *slot = (uint32_t)i + 1;
            reader->sockets_left++;
            continue;
        }
        found->is_first = false;
        found->next_same = reader->found[*slot - 1].next_same;
        reader->found[*slot - 1].next_same = (uint32_t)i + 1;
    }
}

struct table_reader {
    struct descriptor_reader *reader;
    enum net_protocol protocol;
};

static bool take_socket(void *context, struct text line)
{
    const struct table_reader *table = context;
    struct descriptor_reader *reader = table->reader;
    struct net_socket socket;
    if (!net_socket_parse(line, table->protocol, &socket))
        return true;
    bool is_listening = socket.state == NET_STATE_LISTEN;
    if (is_listening && table->protocol != NET_UNIX)
        reader->listening[socket.local.port] = 1;
    uint32_t *slot = socket.inode == 0 ? NULL : find_slot(reader, socket.inode);
    if (slot != NULL && *slot != 0 && reader->found[*slot - 1].socket.protocol == NET_UNKNOWN) {
        socket.path = text_copy(reader->arena, socket.path);
        for (uint32_t number = *slot; number != 0; number = reader->found[number - 1].next_same)
            reader->found[number - 1].socket = socket;
        reader->sockets_left--;
    }
    /* Listening sockets come first in the tables of TCP. */
    return reader->sockets_left != 0 || is_listening;
}

static void read_tables(struct descriptor_reader *reader)
{
    static const struct {
        const char *name;
        enum net_protocol protocol;
    } tables[] = {
        {"net/tcp", NET_TCP}, {"net/tcp6", NET_TCP6}, {"net/unix", NET_UNIX}, {"net/udp", NET_UDP}, {"net/udp6", NET_UDP6},
    };
    for (size_t i = 0; i < sizeof tables / sizeof tables[0] && reader->sockets_left != 0; i++) {
        char path[64];
        bool is_cut;
        struct table_reader table = {reader, tables[i].protocol};
        path_of(reader, path, tables[i].name);
        /* Kernels without IPv6 have no tcp6 and udp6. */
        if (!read_lines(path, limit_proc_table_bytes, take_socket, &table, &is_cut) && errno != ENOENT)
            diagnostics_add(reader->diagnostics, DIAGNOSTIC_LOSS, "sockets-unreadable", text_from_string(path),
                            "%s cannot be read: %s; its sockets are told without addresses and states", path,
                            strerror(errno));
        else if (is_cut)
            diagnostics_add(reader->diagnostics, DIAGNOSTIC_LOSS, "sockets-limit", text_from_string(path),
                            "%s has more than %" PRIu64 " bytes; sockets after them are told without addresses and states",
                            path, limit_proc_table_bytes);
    }
}

/* Sockets that stand in no table: of other families, of another network namespace, or TCP that is not connected. The
 * kernel tells the protocol's name by an attribute of the link (net/socket.c, sockfs_xattr_get). */
static void name_protocols(struct descriptor_reader *reader)
{
    unsigned asked = 0;
    for (size_t i = 0; i < reader->found_count && asked < protocol_questions_max; i++) {
        struct found_descriptor *found = &reader->found[i];
        if (found->kind != DESCRIPTOR_SOCKET || found->socket.protocol != NET_UNKNOWN)
            continue;
        char path[64], name[64];
        snprintf(path, sizeof path, "/proc/%" PRIu32 "/fd/%" PRId32, reader->tid, found->descriptor.fd);
        ssize_t length = getxattr(path, "system.sockprotoname", name, sizeof name - 1);
        asked++;
        if (length > 0)
            found->name = text_copy(reader->arena, (struct text){name, strnlen(name, (size_t)length)});
    }
}

static void find_unix_peers(struct descriptor_reader *reader)
{
    struct unix_peer *peers = arena_array(reader->arena, struct unix_peer, protocol_questions_max);
    size_t count = 0;
    for (size_t i = 0; i < reader->found_count && count < protocol_questions_max; i++) {
        const struct found_descriptor *found = &reader->found[i];
        if (found->is_first && found->socket.protocol == NET_UNIX && found->socket.state == NET_STATE_ESTABLISHED)
            peers[count++].inode = found->descriptor.inode;
    }
    unix_peers_find(reader->tid, peers, count, reader->arena);
    for (size_t i = 0; i < count; i++) {
        if (peers[i].peer_inode == 0)
            continue;
        uint32_t own = *find_slot(reader, peers[i].peer_inode);
        for (uint32_t number = *find_slot(reader, peers[i].inode); number != 0;
             number = reader->found[number - 1].next_same) {
            struct descriptor *descriptor = &reader->found[number - 1].descriptor;
            descriptor->peer_inode = peers[i].peer_inode;
            descriptor->peer_path = peers[i].path;
            descriptor->peer_is_own = own != 0;
            descriptor->peer_fd = own != 0 ? reader->found[own - 1].descriptor.fd : -1;
        }
    }
}

/* Whether the connection came in: who connects is given a port by the kernel, who accepts listens on its own. */
static bool is_accepted(const struct descriptor_reader *reader, const struct net_socket *socket)
{
    if (socket->protocol == NET_UNIX || socket->peer.version == 0)
        return false;
    if (socket->protocol != NET_UDP && socket->protocol != NET_UDP6 && reader->listening[socket->local.port])
        return true;
    return socket->local.port < ephemeral_port_first && socket->peer.port >= ephemeral_port_first;
}

static struct descriptor_class class_of(const struct descriptor_reader *reader, const struct found_descriptor *found)
{
    struct descriptor_class class = {.kind = found->kind, .name = found->name};
    const struct net_socket *socket = &found->socket;
    if (socket->protocol == NET_UNKNOWN)
        return class;
    class.protocol = socket->protocol;
    class.state = socket->state;
    class.is_accepted = is_accepted(reader, socket);
    class.name = socket->path;
    class.peer = socket->peer;
    if (class.is_accepted)
        class.peer.port = 0;
    if (class.is_accepted || socket->peer.version == 0)
        class.local = socket->local;
    return class;
}

static uint32_t class_number(struct descriptor_reader *reader, struct intern_table *keys, size_t *capacity,
                             const struct descriptor_class *class)
{
    struct descriptors *result = reader->result;
    struct {
        uint32_t kind, protocol, state, is_accepted;
        uint8_t local[19], peer[19];
        char name[PATH_MAX];
    } key;
    size_t name_bytes = class->name.length < sizeof key.name ? class->name.length : sizeof key.name;
    key.kind = class->kind;
    key.protocol = class->protocol;
    key.state = class->state;
    key.is_accepted = class->is_accepted;
    const struct net_address *addresses[] = {&class->local, &class->peer};
    uint8_t *parts[] = {key.local, key.peer};
    for (size_t i = 0; i < 2; i++) {
        parts[i][0] = addresses[i]->version;
        memcpy(parts[i] + 1, addresses[i]->bytes, 16);
        memcpy(parts[i] + 17, &addresses[i]->port, 2);
    }
    if (name_bytes != 0)
        memcpy(key.name, class->name.data, name_bytes);
    size_t key_bytes = (size_t)((const char *)key.name - (const char *)&key) + name_bytes;
    /* Number 0 of an intern table is the empty text, which is no key. */
    uint32_t number = intern_table_add(keys, (struct text){(const char *)&key, key_bytes}) - 1;
    if (number == result->class_count) {
        result->classes = arena_grow(reader->arena, result->classes, result->class_count, capacity,
                                     sizeof *result->classes);
        result->classes[result->class_count++] = *class;
    }
    return number;
}

static int compare_classes(const void *left, const void *right, void *context)
{
    const struct descriptor_class *classes = context;
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    if (classes[a].count != classes[b].count)
        return classes[a].count > classes[b].count ? -1 : 1;
    return a < b ? -1 : a > b;
}

/* Puts the classes in order; equal ones stay in that of their first descriptors. */
static void sort_classes(struct descriptor_reader *reader)
{
    struct descriptors *result = reader->result;
    uint32_t *order = arena_array(reader->arena, uint32_t, result->class_count + 1);
    uint32_t *places = arena_array(reader->arena, uint32_t, result->class_count + 1);
    for (size_t i = 0; i < result->class_count; i++)
        order[i] = (uint32_t)i;
    qsort_r(order, result->class_count, sizeof *order, compare_classes, result->classes);
    struct descriptor_class *sorted = arena_array(reader->arena, struct descriptor_class, result->class_count + 1);
    for (size_t i = 0; i < result->class_count; i++) {
        sorted[i] = result->classes[order[i]];
        places[order[i]] = (uint32_t)i;
    }
    result->classes = sorted;
    for (size_t i = 0; i < result->count; i++)
        result->entries[i].class_number = places[result->entries[i].class_number];
}

static void build(struct descriptor_reader *reader)
{
    struct descriptors *result = reader->result;
    struct intern_table keys;
    size_t capacity = 0;
    intern_table_init(&keys, reader->arena);
    result->entries = arena_array(reader->arena, struct descriptor, reader->found_count + 1);
    result->count = reader->found_count;
    for (size_t i = 0; i < reader->found_count; i++) {
        struct found_descriptor *found = &reader->found[i];
        struct descriptor *descriptor = &result->entries[i];
        struct descriptor_class class = class_of(reader, found);
        *descriptor = found->descriptor;
        descriptor->class_number = class_number(reader, &keys, &capacity, &class);
        descriptor->local = found->socket.local;
        descriptor->peer = found->socket.peer;
        descriptor->receive_queue = found->socket.receive_queue;
        /* Of a listening socket it is the length of its queue. */
        descriptor->send_queue = found->socket.state == NET_STATE_LISTEN ? 0 : found->socket.send_queue;
        descriptor->receive_queue_known =
            found->socket.protocol != NET_UNKNOWN && found->socket.protocol != NET_UNIX;
        result->classes[descriptor->class_number].count += found->is_first;
    }
    sort_classes(reader);
}

const struct descriptors *proc_descriptors_read(uint32_t tid, struct arena *arena, struct diagnostics *diagnostics)
{
    struct descriptor_reader *reader = arena_new(arena, struct descriptor_reader);
    *reader = (struct descriptor_reader){.tid = tid, .arena = arena, .diagnostics = diagnostics};
    reader->result = arena_new(arena, struct descriptors);
    if (!read_links(reader))
        return NULL;
    char path[64];
    struct text limits;
    path_of(reader, path, "limits");
    if (proc_read(arena, path, &limits))
        proc_limits_open_files(limits, &reader->result->count_max, &reader->result->count_hard);
    index_sockets(reader);
    read_tables(reader);
    name_protocols(reader);
    find_unix_peers(reader);
    build(reader);
    return reader->result;
}
