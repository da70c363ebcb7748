/* SPDX-License-Identifier: Apache-2.0 */
#include "source/unix_peers.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct namespace_entry {
    int namespace_fd; /* -1: ours */
    int socket_fd;    /* -1: none to be had */
};

/* A thread of its own enters the namespace: its socket stays there, and nobody has to come back. */
static void *open_socket(void *context)
{
    struct namespace_entry *entry = context;
    if (entry->namespace_fd < 0 || setns(entry->namespace_fd, CLONE_NEWNET) == 0)
        entry->socket_fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    return NULL;
}

/* -1 when there is none to be had: another namespace asks for CAP_SYS_ADMIN. */
static int open_in_namespace(uint32_t tid)
{
    char path[64];
    struct stat ours, theirs;
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/ns/net", tid);
    if (stat("/proc/self/ns/net", &ours) != 0 || stat(path, &theirs) != 0)
        return -1;
    struct namespace_entry entry = {-1, -1};
    if (ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev) {
        open_socket(&entry);
        return entry.socket_fd;
    }
    AUTO_CLOSE int namespace_fd = open(path, O_RDONLY | O_CLOEXEC);
    pthread_t thread;
    entry.namespace_fd = namespace_fd;
    if (namespace_fd >= 0 && pthread_create(&thread, NULL, open_socket, &entry) == 0)
        pthread_join(thread, NULL);
    return entry.socket_fd;
}

/* Asks for one socket by its inode. Returns the bytes of the attribute that were copied, 0 when there is none. */
static size_t ask(int fd, uint64_t inode, uint32_t show, uint16_t attribute, void *ret_value, size_t size_bytes)
{
    struct {
        struct nlmsghdr header;
        struct unix_diag_req request;
    } question = {
        .header = {.nlmsg_len = sizeof question, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
        .request = {.sdiag_family = AF_UNIX,
                    .udiag_states = UINT32_MAX,
                    .udiag_ino = (uint32_t)inode,
                    .udiag_show = show,
                    .udiag_cookie = {UINT32_MAX, UINT32_MAX}}, /* any */
    };
    union {
        struct nlmsghdr header;
        uint8_t bytes[4096];
    } answer;
    if (inode > UINT32_MAX || send(fd, &question, sizeof question, 0) != (ssize_t)sizeof question)
        return 0;
    ssize_t got = recv(fd, &answer, sizeof answer, 0);
    size_t at = NLMSG_LENGTH(0) + NLMSG_ALIGN(sizeof(struct unix_diag_msg));
    if (got < (ssize_t)at || answer.header.nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return 0;
    size_t end = (size_t)got < answer.header.nlmsg_len ? (size_t)got : answer.header.nlmsg_len;
    struct rtattr head;
    while (end >= at && end - at >= sizeof head) {
        memcpy(&head, answer.bytes + at, sizeof head);
        if (head.rta_len < sizeof head || head.rta_len > end - at)
            return 0;
        size_t value_bytes = head.rta_len - sizeof head;
        if (head.rta_type == attribute) {
            if (value_bytes > size_bytes)
                value_bytes = size_bytes;
            memcpy(ret_value, answer.bytes + at + sizeof head, value_bytes);
            return value_bytes;
        }
        at += RTA_ALIGN(head.rta_len);
    }
    return 0;
}

void unix_peers_find(uint32_t tid, struct unix_peer *peers, size_t count, struct arena *arena)
{
    AUTO_CLOSE int fd = count == 0 ? -1 : open_in_namespace(tid);
    if (fd < 0)
        return;
    struct timeval patience = {1, 0}; /* the kernel answers before send returns */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    for (size_t i = 0; i < count; i++) {
        uint32_t inode;
        char path[128];
        if (ask(fd, peers[i].inode, UDIAG_SHOW_PEER, UNIX_DIAG_PEER, &inode, sizeof inode) != sizeof inode)
            continue;
        peers[i].peer_inode = inode;
        size_t length = ask(fd, inode, UDIAG_SHOW_NAME, UNIX_DIAG_NAME, path, sizeof path);
        if (length != 0 && path[0] == 0)
            path[0] = '@';
        else
            length = strnlen(path, length);
        peers[i].path = text_copy(arena, (struct text){path, length});
    }
}
