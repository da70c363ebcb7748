/* SPDX-License-Identifier: Apache-2.0 */
#include "format/proc_net.h"

#include <arpa/inet.h>
#include <stdio.h>

static void skip_blanks(struct text *line)
{
    while (line->length != 0 && line->data[0] == ' ') {
        line->data++;
        line->length--;
    }
}

/* The next word of the line; "" at its end. */
static struct text take_word(struct text *line)
{
    skip_blanks(line);
    struct text word = {line->data, 0};
    while (word.length < line->length && line->data[word.length] != ' ')
        word.length++;
    line->data += word.length;
    line->length -= word.length;
    return word;
}

/* All of the word as a number. */
static bool number_parse(struct text word, unsigned base, uint64_t max, uint64_t *ret_value)
{
    uint64_t value = 0;
    if (word.length == 0)
        return false;
    for (size_t i = 0; i < word.length; i++) {
        char c = word.data[i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                                : 99;
        if (digit >= base || value > (UINT64_MAX - digit) / base)
            return false;
        value = value * base + digit;
    }
    if (value > max)
        return false;
    *ret_value = value;
    return true;
}

/* "12AB:34" in two numbers. */
static bool pair_parse(struct text word, uint64_t max, uint64_t *ret_first, uint64_t *ret_second)
{
    const char *colon = word.length == 0 ? NULL : memchr(word.data, ':', word.length);
    if (colon == NULL)
        return false;
    size_t length = (size_t)(colon - word.data);
    return number_parse((struct text){word.data, length}, 16, max, ret_first) &&
           number_parse((struct text){colon + 1, word.length - length - 1}, 16, max, ret_second);
}

/* "0100007F:1F90": the address as 32-bit numbers of this machine's byte order, the port as a number. */
static bool address_parse(struct text word, bool is_ipv6, struct net_address *ret_address)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct net_address address = {.version = is_ipv6 ? 6 : 4};
    size_t words = is_ipv6 ? 4 : 1;
    uint64_t value, port;
    if (word.length <= words * 8 + 1 || word.data[words * 8] != ':' ||
        !number_parse((struct text){word.data + words * 8 + 1, word.length - words * 8 - 1}, 16, UINT16_MAX, &port))
        return false;
    for (size_t i = 0; i < words; i++) {
        if (!number_parse((struct text){word.data + i * 8, 8}, 16, UINT32_MAX, &value))
            return false;
        uint32_t part = (uint32_t)value;
        memcpy(address.bytes + i * 4, &part, sizeof part);
    }
    address.port = (uint16_t)port;
    if (is_ipv6 && memcmp(address.bytes, mapped, sizeof mapped) == 0) {
        address.version = 4;
        memmove(address.bytes, address.bytes + 12, 4);
        memset(address.bytes + 4, 0, 12);
    }
    *ret_address = address;
    return true;
}

static bool address_is_empty(const struct net_address *address)
{
    static const uint8_t zero[16];
    return address->port == 0 && memcmp(address->bytes, zero, sizeof zero) == 0;
}

/* sl: local remote st tx:rx tr:when retrnsmt uid timeout inode … */
static bool inet_parse(struct text line, enum net_protocol protocol, struct net_socket *ret_socket)
{
    bool is_ipv6 = protocol == NET_TCP6 || protocol == NET_UDP6;
    struct net_socket parsed = {.protocol = protocol, .path = {"", 0}};
    uint64_t state;
    struct text slot = take_word(&line);
    if (slot.length < 2 || slot.data[slot.length - 1] != ':' || !address_parse(take_word(&line), is_ipv6, &parsed.local) ||
        !address_parse(take_word(&line), is_ipv6, &parsed.peer) || !number_parse(take_word(&line), 16, 255, &state) ||
        !pair_parse(take_word(&line), UINT32_MAX, &parsed.send_queue, &parsed.receive_queue))
        return false;
    for (int i = 0; i < 4; i++)
        take_word(&line);
    if (!number_parse(take_word(&line), 10, UINT64_MAX, &parsed.inode))
        return false;
    if (address_is_empty(&parsed.peer))
        parsed.peer = (struct net_address){0};
    parsed.state = (uint8_t)state;
    *ret_socket = parsed;
    return true;
}

/* Num: RefCount Protocol Flags Type St Inode [Path]; unix(7). */
static bool unix_parse(struct text line, struct net_socket *ret_socket)
{
    enum { accepts_connections = 1 << 16 }; /* __SO_ACCEPTCON */
    /* enum socket_state of linux/net.h: free, unconnected, connecting, connected, disconnecting. */
    static const uint8_t states[] = {0, NET_STATE_CLOSE, NET_STATE_SYN_SENT, NET_STATE_ESTABLISHED, NET_STATE_CLOSE};
    struct net_socket parsed = {.protocol = NET_UNIX};
    uint64_t flags, state, ignored;
    struct text slot = take_word(&line);
    if (slot.length < 2 || slot.data[slot.length - 1] != ':' || !number_parse(take_word(&line), 16, UINT64_MAX, &ignored) ||
        !number_parse(take_word(&line), 16, UINT64_MAX, &ignored) || !number_parse(take_word(&line), 16, UINT32_MAX, &flags) ||
        !number_parse(take_word(&line), 16, UINT64_MAX, &ignored) || !number_parse(take_word(&line), 16, 255, &state) ||
        !number_parse(take_word(&line), 10, UINT64_MAX, &parsed.inode))
        return false;
    if (state < sizeof states)
        parsed.state = states[state];
    if ((flags & accepts_connections) != 0)
        parsed.state = NET_STATE_LISTEN;
    if (line.length > 1)
        parsed.path = (struct text){line.data + 1, line.length - 1};
    else
        parsed.path = (struct text){"", 0};
    *ret_socket = parsed;
    return true;
}

bool net_socket_parse(struct text line, enum net_protocol protocol, struct net_socket *ret_socket)
{
    return protocol == NET_UNIX ? unix_parse(line, ret_socket) : inet_parse(line, protocol, ret_socket);
}

const char *net_protocol_name(enum net_protocol protocol)
{
    static const char *const names[NET_PROTOCOL_COUNT] = {
        [NET_TCP] = "tcp", [NET_TCP6] = "tcp6", [NET_UDP] = "udp", [NET_UDP6] = "udp6", [NET_UNIX] = "unix"};
    return names[protocol];
}

const char *net_state_name(enum net_protocol protocol, uint8_t state)
{
    static const char *const names[NET_STATE_COUNT] = {
        NULL,         "ESTABLISHED", "SYN_SENT", "SYN_RECV",   "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT",
        "CLOSE",      "CLOSE_WAIT",  "LAST_ACK", "LISTEN",     "CLOSING",   "NEW_SYN_RECV", "BOUND_INACTIVE"};
    if (state == NET_STATE_CLOSE && protocol != NET_TCP && protocol != NET_TCP6)
        return "UNCONNECTED";
    return state < NET_STATE_COUNT ? names[state] : NULL;
}

const char *net_address_print(const struct net_address *address, char buffer[net_address_text_bytes])
{
    char host[INET6_ADDRSTRLEN];
    buffer[0] = 0;
    if (address->version == 0 ||
        inet_ntop(address->version == 6 ? AF_INET6 : AF_INET, address->bytes, host, sizeof host) == NULL)
        return buffer;
    if (address->port == 0)
        snprintf(buffer, net_address_text_bytes, "%s", host);
    else
        snprintf(buffer, net_address_text_bytes, address->version == 6 ? "[%s]:%u" : "%s:%u", host, address->port);
    return buffer;
}
