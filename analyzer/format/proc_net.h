/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of /proc/PID/net/{tcp,tcp6,udp,udp6,unix}: proc_pid_net(5), kernel net/ipv4/tcp_ipv4.c, get_tcp4_sock;
 * net/ipv4/udp.c, udp4_format_sock; net/unix/af_unix.c, unix_seq_show. Numbers are read from this machine's kernel, so
 * addresses are in its byte order. */
#ifndef SG_FORMAT_PROC_NET_H
#define SG_FORMAT_PROC_NET_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

enum net_protocol { NET_UNKNOWN, NET_TCP, NET_TCP6, NET_UDP, NET_UDP6, NET_UNIX, NET_PROTOCOL_COUNT };

/* As linux/tcp_states.h numbers them; UDP and unix sockets use three of them. 0 is unknown. */
enum {
    NET_STATE_ESTABLISHED = 1,
    NET_STATE_SYN_SENT = 2,
    NET_STATE_CLOSE = 7,
    NET_STATE_CLOSE_WAIT = 8,
    NET_STATE_LISTEN = 10,
    NET_STATE_COUNT = 14,
};

/* An address that was mapped into IPv6 (::ffff:10.0.0.1) is held as the IPv4 address it stands for. */
struct net_address {
    uint8_t version; /* 4, 6; 0: none */
    uint8_t bytes[16]; /* network order, the first 4 of IPv4 */
    uint16_t port;   /* 0: none */
};

enum { net_address_text_bytes = 64 };

struct net_socket {
    enum net_protocol protocol;
    uint8_t state;
    struct net_address local, peer; /* peer.version 0: not connected */
    uint64_t send_queue, receive_queue; /* bytes; of a listening TCP socket receive_queue counts connections to accept;
                                           unix sockets do not tell */
    uint64_t inode;
    struct text path; /* of a bound unix socket, "@name" for an abstract one; else "" */
};

/* One line without its newline. False for headings and whatever is no such line. A unix socket's path may hold a
 * newline, so that a program can forge a line about a socket of its own network namespace. */
bool net_socket_parse(struct text line, enum net_protocol protocol, struct net_socket *ret_socket);

/* "tcp", "tcp6" …; NULL for unknown. */
const char *net_protocol_name(enum net_protocol protocol);

/* "CLOSE_WAIT"; "UNCONNECTED" instead of "CLOSE" where there are no connections to close; NULL for numbers without a
 * name. */
const char *net_state_name(enum net_protocol protocol, uint8_t state);

/* "10.0.0.1:80", "[fe80::1]:80", without a port "10.0.0.1" and "fe80::1", "" for none. Returns the buffer. */
const char *net_address_print(const struct net_address *address, char buffer[net_address_text_bytes]);

#endif
