/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "format/proc_net.h"

static struct net_socket parsed(const char *line, enum net_protocol protocol)
{
    struct net_socket socket;
    /* An exact copy, so that a read past its end is found. */
    size_t length = strlen(line);
    char *exact = test_malloc(length + 1);
    memcpy(exact + 1, line, length);
    assert_true(net_socket_parse((struct text){exact + 1, length}, protocol, &socket));
    if (socket.path.length != 0)
        socket.path.data = line + (socket.path.data - (exact + 1));
    test_free(exact);
    return socket;
}

static void assert_address(const struct net_address *address, const char *wanted)
{
    char buffer[net_address_text_bytes];
    assert_string_equal(net_address_print(address, buffer), wanted);
}

static void test_tcp(void **state)
{
    (void)state;
    struct net_socket socket = parsed("   1: 0400000A:18EB 0500000A:A112 08 00000001:0000002A 00:00000000 00000000  1000 "
                                      "       0 1559426 1 00000000964f607a 20 4 30 10 -1                ",
                                      NET_TCP);
    assert_address(&socket.local, "10.0.0.4:6379");
    assert_address(&socket.peer, "10.0.0.5:41234");
    assert_int_equal(socket.state, NET_STATE_CLOSE_WAIT);
    assert_string_equal(net_state_name(socket.protocol, socket.state), "CLOSE_WAIT");
    assert_int_equal(socket.send_queue, 1);
    assert_int_equal(socket.receive_queue, 42);
    assert_int_equal(socket.inode, 1559426);
}

static void test_listening(void **state)
{
    (void)state;
    struct net_socket socket = parsed("   0: 00000000:07E8 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0 "
                                      "       0 1581 1 0 100 0 0 10 0",
                                      NET_TCP);
    assert_address(&socket.local, "0.0.0.0:2024");
    assert_int_equal(socket.peer.version, 0);
    assert_int_equal(socket.state, NET_STATE_LISTEN);
    assert_int_equal(socket.receive_queue, 3);
}

static void test_ipv6(void **state)
{
    (void)state;
    struct net_socket socket = parsed("   0: B80D0120000000000000000001000000:1F90 "
                                      "000080FE00000000FF005450563412FE:01BB 01 00000000:00000000 00:00000000 00000000 0 "
                                      "0 77 1",
                                      NET_TCP6);
    assert_address(&socket.local, "[2001:db8::1]:8080");
    assert_address(&socket.peer, "[fe80::5054:ff:fe12:3456]:443");
    assert_int_equal(socket.inode, 77);
    socket.peer.port = 0;
    assert_address(&socket.peer, "fe80::5054:ff:fe12:3456");
}

/* A dual-stack server's IPv4 connections stand in the IPv6 table. */
static void test_mapped(void **state)
{
    (void)state;
    struct net_socket socket = parsed("   2: 0000000000000000FFFF00000100007F:1F90 "
                                      "0000000000000000FFFF00000100007F:C001 01 00000000:00000000 00:00000000 00000000 0 "
                                      "0 78",
                                      NET_TCP6);
    assert_address(&socket.local, "127.0.0.1:8080");
    assert_address(&socket.peer, "127.0.0.1:49153");
    assert_int_equal(socket.protocol, NET_TCP6);
    assert_int_equal(socket.local.version, 4);
}

static void test_udp(void **state)
{
    (void)state;
    struct net_socket socket = parsed("  123: 00000000:0035 00000000:0000 07 00000000:00000200 00:00000000 00000000 0 0 9 2 "
                                      "00000000d3a2b1c0 0",
                                      NET_UDP);
    assert_address(&socket.local, "0.0.0.0:53");
    assert_string_equal(net_state_name(socket.protocol, socket.state), "UNCONNECTED");
    assert_int_equal(socket.receive_queue, 512);
}

static void test_unix(void **state)
{
    (void)state;
    struct net_socket socket =
        parsed("000000009b98c197: 00000002 00000000 00010000 0001 01 12345 /run/a b.sock", NET_UNIX);
    assert_int_equal(socket.state, NET_STATE_LISTEN);
    assert_int_equal(socket.inode, 12345);
    assert_true(text_equals(socket.path, TEXT("/run/a b.sock")));
    socket = parsed("0000000000000000: 00000003 00000000 00000000 0001 03  1578", NET_UNIX);
    assert_int_equal(socket.state, NET_STATE_ESTABLISHED);
    assert_int_equal(socket.path.length, 0);
    socket = parsed("0000000000000000: 00000003 00000000 00000000 0002 01  1579 @abstract", NET_UNIX);
    assert_string_equal(net_state_name(socket.protocol, socket.state), "UNCONNECTED");
    assert_true(text_equals(socket.path, TEXT("@abstract")));
    socket = parsed("0000000000000000: 00000003 00000000 00000000 0002 09  1580", NET_UNIX);
    assert_int_equal(socket.state, 0);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(net_state_name(NET_TCP, 1), "ESTABLISHED");
    assert_string_equal(net_state_name(NET_TCP6, 7), "CLOSE");
    assert_string_equal(net_state_name(NET_TCP, 13), "BOUND_INACTIVE");
    assert_null(net_state_name(NET_TCP, 0));
    assert_null(net_state_name(NET_TCP, 14));
    assert_null(net_state_name(NET_TCP, 255));
    assert_string_equal(net_protocol_name(NET_UDP6), "udp6");
    assert_null(net_protocol_name(NET_UNKNOWN));
    assert_address(&(struct net_address){0}, "");
}

/* Headings, lines cut at every length, numbers that are none or too large. */
static void test_no_line(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "",
        " ",
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
        "0: 0100007F1F90 00000000:0000 0A 0:0 00:0 0 0 0 1",
        "0: 0100007F:1F90 00000000:10000 0A 0:0 00:0 0 0 0 1",
        "0: 0100007G:1F90 00000000:0000 0A 0:0 00:0 0 0 0 1",
        "0: 0100007F:1F90 00000000:0000 100 0:0 00:0 0 0 0 1",
        "0: 0100007F:1F90 00000000:0000 0A 00 00:0 0 0 0 1",
        "0: 0100007F:1F90 00000000:0000 0A 0:100000000 00:0 0 0 0 1",
        "0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 18446744073709551616",
        "0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 x",
    };
    struct net_socket socket;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_false(net_socket_parse(text_from_string(lines[i]), NET_TCP, &socket));
        assert_false(net_socket_parse(text_from_string(lines[i]), NET_TCP6, &socket));
        assert_false(net_socket_parse(text_from_string(lines[i]), NET_UNIX, &socket));
    }
    const char *whole = "0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 7";
    for (size_t length = 0; length < strlen(whole); length++)
        assert_false(net_socket_parse((struct text){whole, length}, NET_TCP, &socket));
    assert_true(net_socket_parse(text_from_string(whole), NET_TCP, &socket));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp),  cmocka_unit_test(test_listening), cmocka_unit_test(test_ipv6),
        cmocka_unit_test(test_mapped), cmocka_unit_test(test_udp),     cmocka_unit_test(test_unix),
        cmocka_unit_test(test_names), cmocka_unit_test(test_no_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
