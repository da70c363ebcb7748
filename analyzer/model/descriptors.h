/* SPDX-License-Identifier: Apache-2.0 */
/* The open descriptors of a process: what each is, and how many there are of each class. Read after the target ran
 * again, so that one can have been closed or used anew since the stacks were taken. Plain data, const after building. */
#ifndef SG_MODEL_DESCRIPTORS_H
#define SG_MODEL_DESCRIPTORS_H

#include "format/proc_fd.h"
#include "format/proc_net.h"

struct descriptor {
    int32_t fd;
    uint32_t class_number;  /* into descriptors.classes */
    uint64_t inode;         /* of sockets and pipes, else 0 */
    struct net_address local, peer; /* of sockets, whole, with their ports; version 0: none */
    uint64_t receive_queue; /* bytes not yet read; of a listening socket, connections to accept */
    uint64_t send_queue;    /* bytes that the peer has not acknowledged, those not yet sent counted */
    bool receive_queue_known; /* and send_queue */
    uint64_t peer_inode;    /* of a unix socket: of the socket that it is connected to, 0 unknown */
    bool peer_is_own;       /* … this process has that too, as peer_fd */
    int32_t peer_fd;
    struct text peer_path;  /* … that it is bound to, "@name" for an abstract one; "" none */
    uint32_t watched;       /* of an epoll set: descriptors that it watches */
};

/* What descriptors have in common. A socket that was accepted has its local address and port and the peer's address,
 * without the peer's port: that is another for each connection. One that connected has the peer's address and port. */
struct descriptor_class {
    enum descriptor_kind kind;
    enum net_protocol protocol; /* of sockets; NET_UNKNOWN: in none of the kernel's tables that are read */
    uint8_t state;              /* of sockets, NET_STATE_*; 0 unknown */
    bool is_accepted;
    struct net_address local, peer; /* version 0: not told apart by it */
    struct text name; /* file: its path; unix socket: the path it is bound to; socket of no table: its protocol as the
                         kernel calls it, "NETLINK"; other kinds: what the kernel calls them; "" unknown */
    uint32_t count;   /* distinct ones: a socket with two descriptors is one */
};

struct descriptors {
    struct descriptor *entries; /* by ascending fd */
    size_t count;
    struct descriptor_class *classes; /* by count, descending */
    size_t class_count;
    uint64_t count_open; /* open descriptors; more than `count` when not all were looked at */
    bool count_is_least; /* there are more than count_open */
    uint64_t count_max;  /* RLIMIT_NOFILE, soft; 0 unknown */
    uint64_t count_hard; /* what it can be raised to; 0 unknown */
    uint32_t kind_counts[DESCRIPTOR_KIND_COUNT]; /* of entries */
    uint64_t watched;    /* descriptors watched by all epoll sets */
};

/* NULL when it is not known; `descriptors` may be NULL. */
const struct descriptor *descriptors_find(const struct descriptors *descriptors, int32_t fd);

#endif
