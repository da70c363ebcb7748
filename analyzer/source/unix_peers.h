/* SPDX-License-Identifier: Apache-2.0 */
/* Which unix sockets a process's unix sockets are connected to. No file of /proc tells; the kernel does when it is asked
 * by netlink (sock_diag(7), UNIX_DIAG_PEER), in the network namespace of the sockets. */
#ifndef SG_SOURCE_UNIX_PEERS_H
#define SG_SOURCE_UNIX_PEERS_H

#include "base/text.h"

#include <stdint.h>

struct unix_peer {
    uint64_t inode;      /* asked for */
    uint64_t peer_inode; /* 0: not connected, or not known */
    struct text path;    /* that the peer is bound to, "@name" for an abstract one; "" none */
};

/* Fills what the kernel tells; `tid` is a thread of the process. */
void unix_peers_find(uint32_t tid, struct unix_peer *peers, size_t count, struct arena *arena);

#endif
