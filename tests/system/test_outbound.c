/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_outbound.c - from the sandbox to the world: TCP, UDP, echo, both families
 */
#include "config.h"

#include <errno.h>
#include <glib.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "lab_helper.h"
#include "lab_test.h"

#define MIB (1024 * 1024)

/* ---- what the guest's side looks like ---- */

static void guest_shows(Lab *lab, const char *command, const char *wanted, bool there)
{
    LabOutput output = {NULL, NULL};

    LAB_ASSERT_EQ(lab_exec(lab, LAB_GUEST, &output, "sh", "-c", command, NULL), 0);
    LAB_CHECK((strstr(output.out, wanted) != NULL) == there, "'%s' %s in the output of %s:\n%s",
              wanted, there ? "is not" : "is", command, output.out);
    lab_output_clear(&output);
}

LAB_TEST(outbound, guest_has_interface_addresses_and_routes_when_ready)
{
    (void)lab_helper(lab, NULL);
    guest_shows(lab, "ip -o link show tap0", "mtu 65520", true);
    guest_shows(lab, "ip -o link show lo", "LOWER_UP", true);
    guest_shows(lab, "ip -o -4 address show dev tap0", "10.0.2.100/24", true);
    guest_shows(lab, "ip -o -6 address show dev tap0", "fd00::64/64", true);
    guest_shows(lab, "ip -o -6 address show dev tap0 scope global", "tentative", false);
    guest_shows(lab, "ip -4 route", "default via 10.0.2.2 dev tap0", true);
    guest_shows(lab, "ip -6 route", "default via fd00::2 dev tap0", true);
}

/* ---- TCP ---- */

/* A connection from the guest: its two ends. */
typedef struct Ends {
    int guest, far;
} Ends;

static Ends connection(Lab *lab, const char *address)
{
    int listener = lab_listen(lab, LAB_FAR, address, 0);
    Ends ends = {.guest = lab_connected(lab, LAB_GUEST, address, lab_port(listener))};

    ends.far = lab_accepted(listener);
    close(listener);
    return ends;
}

static void tcp_reaches(Lab *lab, const char *address, const char *seen_as)
{
    Ends ends = connection(lab, address);

    LAB_CHECK(strncmp(lab_peer_text(ends.far), seen_as, strlen(seen_as)) == 0,
              "%s sees the client as %s, wanted %s", address, lab_peer_text(ends.far), seen_as);
    lab_say(ends.guest, ends.far, "there");
    lab_say(ends.far, ends.guest, "and back");
    close(ends.guest);
    LAB_ASSERT_EQ(lab_wait_end(ends.far, LAB_MS(LAB_WAIT_MS)), LAB_END_EOF);
    close(ends.far);
}

LAB_TEST(outbound, tcp_reaches_far_and_routed_addresses_by_both_families)
{
    (void)lab_helper(lab, NULL);
    tcp_reaches(lab, LAB_FAR_V4, LAB_HOST_V4 ":");
    tcp_reaches(lab, LAB_FAR_V6, "[" LAB_HOST_V6 "]:");
    tcp_reaches(lab, LAB_ROUTED_V4, LAB_HOST_V4 ":");
    tcp_reaches(lab, LAB_ROUTED_V6, "[" LAB_HOST_V6 "]:");
    tcp_reaches(lab, LAB_FAR_V4_3, LAB_HOST_V4_3 ":");
    tcp_reaches(lab, LAB_FAR_V6_3, "[" LAB_HOST_V6_3 "]:");
}

LAB_TEST(outbound, options_change_name_mtu_mac_and_networks)
{
    (void)lab_helper(lab, "--ifname=net7", "--mtu=1500", "--mac=02:00:5e:10:00:01",
                     "--cidr=10.9.0.0/16", "--cidr6=fd07:1::/64", NULL);
    guest_shows(lab, "ip -o link show net7", "mtu 1500", true);
    guest_shows(lab, "ip -o link show net7", "02:00:5e:10:00:01", true);
    guest_shows(lab, "ip -o -4 address show dev net7", "10.9.0.100/16", true);
    guest_shows(lab, "ip -o -6 address show dev net7", "fd07:1::64/64", true);
    guest_shows(lab, "ip -4 route", "default via 10.9.0.2 dev net7", true);
    guest_shows(lab, "ip -6 route", "default via fd07:1::2 dev net7", true);

    tcp_reaches(lab, LAB_FAR_V4, LAB_HOST_V4 ":");
    tcp_reaches(lab, LAB_FAR_V6, "[" LAB_HOST_V6 "]:");
}

LAB_TEST(outbound, no_ipv6_leaves_ipv4_alone)
{
    (void)lab_helper(lab, "--no-ipv6", NULL);
    guest_shows(lab, "ip -o -6 address show dev tap0 scope global", "inet6", false);
    guest_shows(lab, "ip -6 route", "default", false);
    tcp_reaches(lab, LAB_FAR_V4, LAB_HOST_V4 ":");
}

LAB_TEST(outbound, outbound_address_is_the_source_the_far_machine_sees)
{
    char byte;
    struct sockaddr_storage from;
    int datagrams = lab_udp(lab, LAB_FAR, LAB_FAR_V4, 5000);

    (void)lab_helper(lab, "--outbound-addr=" LAB_HOST_V4_2, "--outbound-addr=" LAB_HOST_V6_2, NULL);
    tcp_reaches(lab, LAB_FAR_V4, LAB_HOST_V4_2 ":");
    tcp_reaches(lab, LAB_FAR_V6, "[" LAB_HOST_V6_2 "]:");
    LAB_ASSERT_EQ(send(lab_udp_connected(lab, LAB_GUEST, LAB_FAR_V4, 5000), "x", 1, 0), 1);
    LAB_ASSERT_EQ(lab_recv_datagram(datagrams, &byte, 1, &from, LAB_MS(LAB_WAIT_MS)), 1);
    LAB_CHECK(strncmp(lab_address_text(&from), LAB_HOST_V4_2 ":", strlen(LAB_HOST_V4_2) + 1) == 0,
              "source of a datagram: %s", lab_address_text(&from));
}

static void carries_64_mib(Lab *lab, const char *address)
{
    Ends ends = connection(lab, address);

    lab_transfer(ends.guest, ends.far, 64 * MIB, 0, 0);
    close(ends.guest);
    close(ends.far);
    ends = connection(lab, address);
    lab_transfer(ends.guest, ends.far, 0, 64 * MIB, 0);
    close(ends.guest);
    close(ends.far);
    ends = connection(lab, address);
    lab_transfer(ends.guest, ends.far, 8 * MIB, 8 * MIB, 0);
    close(ends.guest);
    close(ends.far);
}

LAB_TEST(outbound, tcp_over_ipv4_carries_64_mib_each_way_unchanged, .limit_ms = 60000)
{
    (void)lab_helper(lab, NULL);
    carries_64_mib(lab, LAB_FAR_V4);
}

LAB_TEST(outbound, tcp_over_ipv6_carries_64_mib_each_way_unchanged, .limit_ms = 60000)
{
    (void)lab_helper(lab, NULL);
    carries_64_mib(lab, LAB_FAR_V6);
}

LAB_TEST(outbound, tcp_carries_64_mib_with_an_mtu_of_1500, .limit_ms = 60000)
{
    (void)lab_helper(lab, "--mtu=1500", NULL);
    carries_64_mib(lab, LAB_FAR_V4);
    carries_64_mib(lab, LAB_FAR_V6);
}

LAB_TEST(outbound, tcp_by_single_bytes_arrives_unchanged)
{
    (void)lab_helper(lab, NULL);
    Ends ends = connection(lab, LAB_FAR_V4);
    lab_transfer(ends.guest, ends.far, 3000, 3000, 1);
    ends = connection(lab, LAB_FAR_V6);
    lab_transfer(ends.guest, ends.far, 3000, 3000, 1);
}

static void half_closes(Lab *lab, const char *address)
{
    Ends ends = connection(lab, address);

    LAB_ASSERT_CALL(shutdown(ends.guest, SHUT_WR));
    LAB_ASSERT_EQ(lab_wait_end(ends.far, LAB_MS(LAB_WAIT_MS)), LAB_END_EOF);
    lab_say(ends.far, ends.guest, "still open this way");
    close(ends.far);
    LAB_ASSERT_EQ(lab_wait_end(ends.guest, LAB_MS(LAB_WAIT_MS)), LAB_END_EOF);
    close(ends.guest);

    ends = connection(lab, address);
    LAB_ASSERT_CALL(shutdown(ends.far, SHUT_WR));
    LAB_ASSERT_EQ(lab_wait_end(ends.guest, LAB_MS(LAB_WAIT_MS)), LAB_END_EOF);
    lab_say(ends.guest, ends.far, "still open that way");
    close(ends.guest);
    LAB_ASSERT_EQ(lab_wait_end(ends.far, LAB_MS(LAB_WAIT_MS)), LAB_END_EOF);
    close(ends.far);
}

LAB_TEST(outbound, half_close_keeps_the_other_direction_open)
{
    (void)lab_helper(lab, NULL);
    half_closes(lab, LAB_FAR_V4);
    half_closes(lab, LAB_FAR_V6);
}

LAB_TEST(outbound, reset_of_one_end_is_a_reset_at_the_other)
{
    LabEnd end;

    (void)lab_helper(lab, NULL);
    Ends ends = connection(lab, LAB_FAR_V4);
    lab_say(ends.guest, ends.far, "hello");
    lab_reset(ends.far);
    end = lab_wait_end(ends.guest, LAB_MS(LAB_WAIT_MS));
    LAB_CHECK(end == LAB_END_RESET, "guest sees %s", lab_end_text(end));

    ends = connection(lab, LAB_FAR_V6);
    lab_say(ends.guest, ends.far, "hello");
    lab_reset(ends.guest);
    end = lab_wait_end(ends.far, LAB_MS(LAB_WAIT_MS));
    LAB_CHECK(end == LAB_END_RESET, "far machine sees %s", lab_end_text(end));

    ends = connection(lab, LAB_FAR_V4);
    lab_say(ends.guest, ends.far, "hello");
    lab_reset(ends.guest);
    end = lab_wait_end(ends.far, LAB_MS(LAB_WAIT_MS));
    LAB_CHECK(end == LAB_END_RESET, "far machine sees %s over IPv4", lab_end_text(end));
}

LAB_TEST(outbound, closed_port_refuses_at_once)
{
    (void)lab_helper(lab, NULL);
    LAB_ASSERT_EQ(lab_connect(lab, LAB_GUEST, LAB_FAR_V4, 81, LAB_MS(1000)), -1);
    LAB_ASSERT_EQ(errno, ECONNREFUSED);
    LAB_ASSERT_EQ(lab_connect(lab, LAB_GUEST, LAB_FAR_V6, 81, LAB_MS(1000)), -1);
    LAB_ASSERT_EQ(errno, ECONNREFUSED);
}

LAB_TEST(outbound, three_hundred_connections_at_once_all_echo)
{
    enum { COUNT = 300 };
    int fds[COUNT];

    (void)lab_serve_tcp(lab, lab_listen(lab, LAB_FAR, LAB_FAR_V4, 7), LAB_ECHO);
    (void)lab_helper(lab, NULL);
    for (int i = 0; i < COUNT; i++)
        fds[i] = lab_connected(lab, LAB_GUEST, LAB_FAR_V4, 7);
    for (int i = 0; i < COUNT; i++)
        lab_send(fds[i], &i, sizeof i);
    for (int i = 0; i < COUNT; i++) {
        int got = -1;

        lab_recv(fds[i], &got, sizeof got);
        LAB_ASSERT_EQ(got, i);
        close(fds[i]);
    }
}

/* ---- UDP ---- */

static void udp_echoes(Lab *lab, const char *address, uint16_t port, size_t length)
{
    static uint8_t sent[65536], got[65536];
    int fd = lab_udp_connected(lab, LAB_GUEST, address, port);

    for (size_t i = 0; i < length; i++)
        sent[i] = (uint8_t)(i * 31 + length);
    LAB_CHECK(send(fd, sent, length, 0) == (ssize_t)length, "%zu bytes: %s", length,
              strerror(errno));
    ssize_t came = lab_recv_datagram(fd, got, sizeof got, NULL, LAB_MS(LAB_WAIT_MS));
    LAB_CHECK(came == (ssize_t)length, "%zu bytes to %s, %zd came back (%s)", length, address, came,
              came < 0 ? strerror(errno) : "");
    LAB_ASSERT(memcmp(sent, got, length) == 0);
    close(fd);
}

LAB_TEST(outbound, udp_datagrams_of_all_sizes_come_back_by_both_families)
{
    static const size_t lengths[] = {0, 1, 2, 511, 1400, 1472, 1473, 9000, 60000};

    (void)lab_serve_udp(lab, lab_udp(lab, LAB_FAR, LAB_FAR_V4, 7), LAB_ECHO);
    (void)lab_serve_udp(lab, lab_udp(lab, LAB_FAR, LAB_FAR_V6, 7), LAB_ECHO);
    (void)lab_helper(lab, NULL);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        udp_echoes(lab, LAB_FAR_V4, 7, lengths[i]);
        udp_echoes(lab, LAB_FAR_V6, 7, lengths[i]);
    }
}

LAB_TEST(outbound, udp_replies_come_to_the_socket_that_asked)
{
    int server = lab_udp(lab, LAB_FAR, LAB_FAR_V4, 7), one, two;
    struct sockaddr_storage from_one, from_two;
    char byte = 0;

    (void)lab_helper(lab, NULL);
    one = lab_udp_connected(lab, LAB_GUEST, LAB_FAR_V4, 7);
    two = lab_udp_connected(lab, LAB_GUEST, LAB_FAR_V4, 7);
    LAB_ASSERT_EQ(send(one, "1", 1, 0), 1);
    LAB_ASSERT_EQ(lab_recv_datagram(server, &byte, 1, &from_one, LAB_MS(LAB_WAIT_MS)), 1);
    LAB_ASSERT_EQ(send(two, "2", 1, 0), 1);
    LAB_ASSERT_EQ(lab_recv_datagram(server, &byte, 1, &from_two, LAB_MS(LAB_WAIT_MS)), 1);
    LAB_ASSERT_EQ(
        sendto(server, "b", 1, 0, (struct sockaddr *)&from_two, sizeof(struct sockaddr_in)), 1);
    LAB_ASSERT_EQ(
        sendto(server, "a", 1, 0, (struct sockaddr *)&from_one, sizeof(struct sockaddr_in)), 1);
    LAB_ASSERT_EQ(lab_recv_datagram(one, &byte, 1, NULL, LAB_MS(LAB_WAIT_MS)), 1);
    LAB_ASSERT_EQ(byte, 'a');
    LAB_ASSERT_EQ(lab_recv_datagram(two, &byte, 1, NULL, LAB_MS(LAB_WAIT_MS)), 1);
    LAB_ASSERT_EQ(byte, 'b');
}

/* ---- echo ---- */

static void open_guest_ping(Lab *lab)
{
    lab_sysctl(lab, LAB_GUEST, "net/ipv4/ping_group_range", "0 0");
}

LAB_TEST(outbound, ping_reaches_far_and_routed_addresses_by_both_families)
{
    static const char *const addresses[] = {LAB_FAR_V4, LAB_FAR_V6, LAB_ROUTED_V4, LAB_ROUTED_V6};

    open_guest_ping(lab);
    (void)lab_helper(lab, NULL);
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        LAB_CHECK(lab_ping(lab, LAB_GUEST, addresses[i], 56, LAB_MS(LAB_WAIT_MS)),
                  "no echo reply from %s", addresses[i]);
        LAB_CHECK(lab_ping(lab, LAB_GUEST, addresses[i], 0, LAB_MS(LAB_WAIT_MS)),
                  "no echo reply without payload from %s", addresses[i]);
        LAB_CHECK(lab_ping(lab, LAB_GUEST, addresses[i], 8000, LAB_MS(LAB_WAIT_MS)),
                  "no echo reply of 8000 bytes from %s", addresses[i]);
    }
}

LAB_TEST(outbound, ping_reaches_gateway_and_name_server)
{
    static const char *const addresses[] = {LAB_GATEWAY_V4, LAB_GATEWAY_V6, LAB_DNS_V4, LAB_DNS_V6};

    open_guest_ping(lab);
    (void)lab_helper(lab, NULL);
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++)
        LAB_CHECK(lab_ping(lab, LAB_GUEST, addresses[i], 56, LAB_MS(LAB_WAIT_MS)),
                  "no echo reply from %s", addresses[i]);
}

LAB_TEST(outbound, ping_program_of_the_system_gets_every_reply)
{
    LabOutput output = {NULL, NULL};

    if (access("/usr/bin/ping", X_OK) != 0 && access("/bin/ping", X_OK) != 0)
        lab_cannot("ping (iputils) is not installed");
    (void)lab_helper(lab, NULL);
    LAB_ASSERT_EQ(
        lab_exec(lab, LAB_GUEST, &output, "ping", "-n", "-c3", "-i0.2", "-w5", LAB_FAR_V4, NULL),
        0);
    LAB_CHECK(strstr(output.out, "3 received") != NULL, "%s", output.out);
    lab_output_clear(&output);
    LAB_ASSERT_EQ(
        lab_exec(lab, LAB_GUEST, &output, "ping", "-n", "-c3", "-i0.2", "-w5", LAB_FAR_V6, NULL),
        0);
    LAB_CHECK(strstr(output.out, "3 received") != NULL, "%s", output.out);
    lab_output_clear(&output);
}

LAB_TEST(outbound, forbidden_ping_sockets_are_one_warning_that_names_the_sysctl,
         .ping_forbidden = true)
{
    const char *record;
    g_autofree char *message = NULL;

    LabHelper *helper = lab_helper(lab, NULL);
    record = lab_helper_await(helper, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_PING, LAB_MS(1000));
    LAB_ASSERT(record != NULL);
    message = lab_record_value(record, "message");
    LAB_CHECK(message != NULL && strstr(message, "ping_group_range") != NULL, "%s", record);
    LAB_ASSERT_EQ(lab_helper_count(helper, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_PING), 1);
    tcp_reaches(lab, LAB_FAR_V4, LAB_HOST_V4 ":");
}
