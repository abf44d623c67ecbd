/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_slirp4netns_net.c - called as slirp4netns: what the guest can reach, and how it may configure itself
 *
 * What went over the TAP tells who carried a connection: one that was taken over leaves one SYN there.
 */
#include "config.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lab_test.h"
#include "slirpfixture.h"

#define MIB 1048576
/* Name resolution of neighbours, SYNs: what a connection taken over may leave on the TAP. */
#define FEW_BYTES 20000
/* So long nothing comes from where nobody is. */
#define SILENT_MS 600

/* ---- host loopback ---- */

static void pings(Lab *lab, const char *address)
{
    LAB_CHECK(lab_ping(lab, LAB_GUEST, address, 56, LAB_MS(LAB_WAIT_MS)), "no echo from %s",
              address);
}

static void open_guest_ping(Lab *lab)
{
    lab_sysctl(lab, LAB_GUEST, "net/ipv4/ping_group_range", "0 0");
}

static void errors(Lab *lab, const char *address, uint16_t port, int wanted)
{
    int got = slirp_connect(lab, address, port, LAB_MS(LAB_WAIT_MS));

    LAB_CHECK(got == wanted, "connect to %s port %u: %s, wanted %s", address, port, g_strerror(got),
              g_strerror(wanted));
}

static void silent(Lab *lab, const char *address, uint16_t port)
{
    int got = slirp_connect(lab, address, port, SILENT_MS);

    LAB_CHECK(got == ETIMEDOUT, "connect to %s port %u: %s", address, port, g_strerror(got));
}

/* Text from GUEST to a listener and back. @ret_peer (optional): whom the server sees. */
static void says(Lab *lab, int listener, const char *address, const char **ret_peer)
{
    int client = lab_connected(lab, LAB_GUEST, address, lab_port(listener));
    char bytes[5];
    int server;

    lab_send(client, "there", 5);
    /* One that was given up while the rules were loaded says nothing: libslirp made another. */
    for (;;) {
        server = lab_accepted(listener);
        if ((lab_wait(server, POLLIN, LAB_MS(LAB_WAIT_MS)) & POLLIN) != 0 &&
            recv(server, bytes, sizeof bytes, MSG_WAITALL) == 5)
            break;
        close(server);
    }
    LAB_ASSERT(memcmp(bytes, "there", 5) == 0);
    lab_say(server, client, "back");
    if (ret_peer != NULL)
        *ret_peer = lab_peer_text(server);
    close(client);
    close(server);
}

LAB_TEST(slirp4netns_net, gateway_is_the_hosts_loopback)
{
    int four = lab_listen(lab, LAB_HOST, "127.0.0.1", 0);
    int six = lab_listen(lab, LAB_HOST, "::1", 0);
    int udp = lab_udp(lab, LAB_HOST, "127.0.0.1", 0);
    char bytes[16];
    int client;

    (void)slirp_guest(lab, "-c --enable-ipv6");
    open_guest_ping(lab);
    says(lab, four, LAB_GATEWAY_V4, NULL);
    errors(lab, LAB_GATEWAY_V4, 1, ECONNREFUSED);
    errors(lab, LAB_DNS_V4, 80, ENETUNREACH);
    silent(lab, "10.0.2.77", 80);
    client = lab_udp_connected(lab, LAB_GUEST, LAB_GATEWAY_V4, lab_port(udp));
    lab_send(client, "hello", 5);
    LAB_ASSERT_EQ(lab_recv_datagram(udp, bytes, sizeof bytes, NULL, LAB_MS(LAB_WAIT_MS)), 5);
    pings(lab, LAB_GATEWAY_V4);
    pings(lab, LAB_DNS_V4);
    slirp_until(lab, "ip -6 route | grep -q '^default'");
    says(lab, six, LAB_GATEWAY_V6, NULL);
    pings(lab, LAB_GATEWAY_V6);
}

LAB_TEST(slirp4netns_net, gateway_is_not_if_that_is_disabled)
{
    int four = lab_listen(lab, LAB_HOST, "127.0.0.1", 0);
    LabOutput output = {NULL, NULL};
    g_autofree char *port = g_strdup_printf("%u", lab_port(four));

    (void)slirp_guest(lab, "-c --enable-ipv6 --disable-host-loopback");
    open_guest_ping(lab);
    errors(lab, LAB_GATEWAY_V4, lab_port(four), ENETUNREACH);
    errors(lab, LAB_GATEWAY_V4, 1, ENETUNREACH);
    errors(lab, LAB_DNS_V4, 80, ENETUNREACH);
    silent(lab, "10.0.2.77", 80);
    pings(lab, LAB_GATEWAY_V4);
    lab_expect_quiet(four, 0, "a connection to the host's loopback");
    /* Its own test reads the words. */
    LAB_ASSERT(
        lab_exec(lab, LAB_GUEST, &output, "nc", "-v", "-w", "5", LAB_GATEWAY_V4, port, NULL) != 0);
    LAB_CHECK(strstr(output.err, "Network is unreachable") != NULL, "%s", output.err);
    lab_output_clear(&output);
    slirp_until(lab, "ip -6 route | grep -q '^default'");
    errors(lab, LAB_GATEWAY_V6, 80, ENETUNREACH);
    errors(lab, LAB_DNS_V6, 80, ENETUNREACH);
    slirp_transfers(lab, LAB_FAR_V4, 1000);
}

/* ---- what our own command line refuses ---- */

LAB_TEST(slirp4netns_net, host_link_local_and_metadata_are_reached)
{
    static const char *const far[] = {LAB_METADATA, LAB_LINKLOCAL, LAB_FAR_V4, LAB_ROUTED_V4};
    int host = lab_listen(lab, LAB_HOST, LAB_HOST_V4, 0);

    (void)slirp_guest(lab, "-c --disable-host-loopback");
    says(lab, host, LAB_HOST_V4, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(far); i++) {
        int listener = lab_listen(lab, LAB_FAR, far[i], 0);

        says(lab, listener, far[i], NULL);
        close(listener);
    }
}

/* ---- name service ---- */

static LabDnsReply asks(Lab *lab, const char *server, bool tcp, int timeout_ms)
{
    return lab_dns_ask(lab, LAB_GUEST, server, "www.example.test", false, tcp, timeout_ms);
}

static void name_server(Lab *lab)
{
    const char *path = lab_path(lab, "resolv.conf");

    (void)lab_dns_start(lab, LAB_FAR, LAB_FAR_V4, LAB_DNS_ANSWER, "198.51.100.77",
                        "2001:db8:2::77");
    lab_write_file(path, "nameserver " LAB_FAR_V4 "\n");
    lab_mount_over(lab, path, "/etc/resolv.conf");
}

LAB_TEST(slirp4netns_net, name_server_answers_unless_disabled)
{
    LabRaw *raw;

    name_server(lab);
    raw = slirp_guest(lab, "-c --enable-ipv6");
    LAB_ASSERT_EQ(asks(lab, LAB_DNS_V4, false, LAB_MS(LAB_WAIT_MS)).answers, 1);
    LAB_ASSERT_EQ(asks(lab, LAB_DNS_V4, true, LAB_MS(LAB_WAIT_MS)).answers, 1);
    slirp_until(lab, "ip -6 route | grep -q '^default'");
    LAB_ASSERT_EQ(asks(lab, LAB_DNS_V6, false, LAB_MS(LAB_WAIT_MS)).answers, 1);
    LAB_ASSERT_EQ(asks(lab, LAB_DNS_V6, true, LAB_MS(LAB_WAIT_MS)).answers, 1);
    lab_raw_free(raw);
    (void)slirp_guest(lab, "-c --disable-dns");
    open_guest_ping(lab);
    pings(lab, LAB_GATEWAY_V4);
    silent(lab, LAB_DNS_V4, 53);
    LAB_ASSERT_EQ(asks(lab, LAB_DNS_V4, false, SILENT_MS).rcode, -1);
    slirp_transfers(lab, LAB_FAR_V4, 1000);
}

/* ---- source addresses ---- */

static void leaves_from(Lab *lab, const char *words, int listener, const char *address,
                        const char *wanted)
{
    LabRaw *raw = slirp_guest(lab, words);
    g_autofree char *start = g_strdup_printf("%s:", wanted);
    const char *peer;

    says(lab, listener, address, &peer);
    LAB_CHECK(g_str_has_prefix(peer, start), "%s: the server sees %s", words, peer);
    lab_raw_free(raw);
}

LAB_TEST(slirp4netns_net, outbound_address_is_what_servers_see)
{
    int far = lab_listen(lab, LAB_FAR, LAB_FAR_V4, 0);
    int lo = lab_listen(lab, LAB_HOST, "127.0.0.1", 0);
    int host = lab_listen(lab, LAB_HOST, LAB_HOST_V4, 0);

    leaves_from(lab, "-c", far, LAB_FAR_V4, LAB_HOST_V4);
    leaves_from(lab, "-c --outbound-addr=" LAB_HOST_V4_2, far, LAB_FAR_V4, LAB_HOST_V4_2);
    leaves_from(lab, "-c --outbound-addr=host1", far, LAB_FAR_V4, LAB_HOST_V4_3);
    leaves_from(lab, "-c --outbound-addr=127.0.0.1", lo, LAB_GATEWAY_V4, "127.0.0.1");
    leaves_from(lab, "-c --outbound-addr=" LAB_HOST_V4_2, host, LAB_HOST_V4, LAB_HOST_V4_2);
}

/* ---- who carries it ---- */

static void is_fast(Lab *lab, const char *address)
{
    uint64_t before;

    slirp_await_rules(lab);
    before = lab_tap_bytes(lab, LAB_GUEST);

    slirp_transfers(lab, address, MIB);
    LAB_CHECK(lab_tap_bytes(lab, LAB_GUEST) - before < FEW_BYTES, "%llu bytes over the TAP",
              (unsigned long long)(lab_tap_bytes(lab, LAB_GUEST) - before));
}

/* ---- IPv6 without anybody's hand ---- */

LAB_TEST(slirp4netns_net, ipv6_comes_by_router_advertisement)
{
    LabRaw *raw = slirp_guest(lab, "-c --enable-ipv6");
    LabTrio trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);

    slirp_until(lab, "ip -6 route | grep -q '^default via fe80::2 dev tap0 proto ra'");
    slirp_until(lab, "ip -o -6 address show dev tap0 | grep 'inet6 fd00::.*/64.*dynamic' | grep "
                     "-vq tentative");
    slirp_shows_not(lab, "ip -o -6 address show dev tap0", "fd00::64/");
    slirp_transfers(lab, LAB_FAR_V6, MIB);
    /* Each time the interface comes up it asks again. */
    for (int i = 0; i < 3; i++) {
        lab_do(lab, LAB_GUEST, "ip link set tap0 down");
        slirp_until(lab, "! ip -6 route | grep -q '^default'");
        lab_do(lab, LAB_GUEST, "ip link set tap0 up");
        slirp_until(lab, "ip -6 route | grep -q '^default via fe80::2'");
    }
    LAB_ASSERT_EQ(lab_wait(trio.pidfds[2], POLLIN, 0), 0);
    LAB_CHECK(lab_raw_err_lines(raw) == 0, "%s", lab_raw_err(raw));
}

LAB_TEST(slirp4netns_net, ipv6_is_silent_unless_enabled)
{
    (void)slirp_guest(lab, "-c");
    slirp_transfers(lab, LAB_FAR_V4, 1000);
    slirp_shows_not(lab, "ip -6 route", "default");
    slirp_shows_not(lab, "ip -6 neighbour", "52:56");
}

LAB_TEST(slirp4netns_net, guest_without_ipv6_is_fast_all_the_same)
{
    LabRaw *raw;

    lab_sysctl(lab, LAB_GUEST, "net/ipv6/conf/all/disable_ipv6", "1");
    lab_sysctl(lab, LAB_GUEST, "net/ipv6/conf/default/disable_ipv6", "1");
    raw = slirp_guest(lab, "-c --enable-ipv6");
    is_fast(lab, LAB_FAR_V4);
    LAB_CHECK(lab_raw_err_lines(raw) == 0, "%s", lab_raw_err(raw));
}

/* ---- a guest that others configure ---- */

LAB_TEST(slirp4netns_net, configured_by_us_is_fast)
{
    (void)slirp_guest(lab, "-c --mtu=65520");
    is_fast(lab, LAB_FAR_V4);
}

/* As RootlessKit: a persistent TAP that is up, addresses by ip(8) behind ready. */
LAB_TEST(slirp4netns_net, configured_by_hand_on_a_persistent_tap_is_fast)
{
    LabRaw *raw;

    lab_do(lab, LAB_GUEST, "ip link set lo up");
    lab_do(lab, LAB_GUEST, "ip tuntap add name tap0 mode tap");
    lab_do(lab, LAB_GUEST, "ip link set tap0 up");
    raw = slirp(lab,
                "--mtu 65520 --disable-host-loopback --cidr 10.0.2.0/24 --enable-sandbox "
                "--enable-seccomp --enable-ipv6 %d tap0",
                (int)lab_pid(lab, LAB_GUEST));
    LAB_ASSERT(strstr(lab_raw_out(raw), "* MTU:             65520\n") != NULL);
    slirp_shows_not(lab, "ip -o -4 address show dev tap0", "inet");
    lab_do(lab, LAB_GUEST, "ip link set dev tap0 mtu 65520");
    lab_do(lab, LAB_GUEST, "ip address add 10.0.2.100/24 dev tap0");
    lab_do(lab, LAB_GUEST, "ip route add default via 10.0.2.2 dev tap0");
    is_fast(lab, LAB_FAR_V4);
    slirp_until(lab, "ip -6 route | grep -q '^default via fe80::2'");
    slirp_until(lab, "ip -o -6 address show dev tap0 | grep 'inet6 fd00::' | grep -vq tentative");
    is_fast(lab, LAB_FAR_V6);
    LAB_CHECK(lab_raw_err_lines(raw) == 0, "%s", lab_raw_err(raw));
    lab_raw_free(raw);
    slirp_shows(lab, "ip link show dev tap0", "tap0");
}

/* ---- DHCP ---- */

#define DHCP_LEN      300
#define DHCP_DISCOVER 1
#define DHCP_OFFER    2
#define DHCP_REQUEST  3
#define DHCP_ACK      5

typedef struct Dhcp {
    int sock;
    uint8_t mac[6];
    uint8_t got[1024];
    ssize_t length;
} Dhcp;

static void dhcp_open(Lab *lab, Dhcp *dhcp)
{
    g_autofree char *mac = lab_says(lab, LAB_GUEST,
                                    "cat /sys/class/net/tap0/address || ip -o link "
                                    "show dev tap0 | sed 's/.*ether \\([^ ]*\\).*/\\1/'");
    const int one = 1;

    LAB_CHECK(sscanf(mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &dhcp->mac[0], &dhcp->mac[1],
                     &dhcp->mac[2], &dhcp->mac[3], &dhcp->mac[4], &dhcp->mac[5]) == 6,
              "'%s'", mac);
    dhcp->sock = lab_socket_bound(lab, LAB_GUEST, SOCK_DGRAM, "0.0.0.0", 68);
    LAB_ASSERT(dhcp->sock >= 0);
    LAB_ASSERT_CALL(setsockopt(dhcp->sock, SOL_SOCKET, SO_BROADCAST, &one, sizeof one));
    LAB_ASSERT_CALL(setsockopt(dhcp->sock, SOL_SOCKET, SO_BINDTODEVICE, "tap0", 4));
}

/* The option of the last answer, of @size bytes. NULL if there is none. */
static const uint8_t *dhcp_option(const Dhcp *dhcp, uint8_t option, size_t size)
{
    for (ssize_t at = 240; at + 1 < dhcp->length && dhcp->got[at] != 255;) {
        ssize_t next = dhcp->got[at] == 0 ? at + 1 : at + 2 + dhcp->got[at + 1];

        if (dhcp->got[at] == option && next <= dhcp->length) {
            LAB_ASSERT_EQ(dhcp->got[at + 1], size);
            return dhcp->got + at + 2;
        }
        at = next;
    }
    return NULL;
}

/* One message (RFC 2131) and its answer of type @wanted; @lease: option 50. */
static void dhcp_talk(Dhcp *dhcp, uint8_t type, const uint8_t *lease, uint8_t wanted)
{
    static const uint8_t cookie[] = {99, 130, 83, 99};
    uint8_t message[DHCP_LEN] = {1, 1, 6, 0, 0x5a, 0x11, 0x90, 0x07};
    uint8_t *at = message + 240;
    const uint8_t *got;

    message[10] = 0x80; /* answer by broadcast */
    memcpy(message + 28, dhcp->mac, sizeof dhcp->mac);
    memcpy(message + 236, cookie, sizeof cookie);
    *at++ = 53;
    *at++ = 1;
    *at++ = type;
    if (lease != NULL) {
        *at++ = 50;
        *at++ = 4;
        memcpy(at, lease, 4);
        at += 4;
    }
    *at = 255;
    lab_send_datagram(dhcp->sock, "255.255.255.255", 67, message, sizeof message);
    dhcp->length =
        lab_recv_datagram(dhcp->sock, dhcp->got, sizeof dhcp->got, NULL, LAB_MS(LAB_WAIT_MS));
    LAB_CHECK(dhcp->length > 240, "no answer to DHCP message %u", type);
    got = dhcp_option(dhcp, 53, 1);
    LAB_ASSERT(got != NULL);
    LAB_ASSERT_EQ(*got, wanted);
}

LAB_TEST(slirp4netns_net, dhcp_leases_the_fifteenth_address_and_is_fast)
{
    static const uint8_t gateway[] = {10, 0, 2, 2}, dns[] = {10, 0, 2, 3};
    static const uint8_t lease[] = {10, 0, 2, 15}, mask[] = {255, 255, 255, 0};
    LabRaw *raw = slirp_guest(lab, "");
    Dhcp dhcp = {.sock = -1};

    lab_do(lab, LAB_GUEST, "ip link set lo up");
    lab_do(lab, LAB_GUEST, "ip link set tap0 up");
    dhcp_open(lab, &dhcp);
    dhcp_talk(&dhcp, DHCP_DISCOVER, NULL, DHCP_OFFER);
    LAB_ASSERT(memcmp(dhcp.got + 16, lease, 4) == 0);
    LAB_ASSERT(memcmp(dhcp_option(&dhcp, 54, 4), gateway, 4) == 0);
    dhcp_talk(&dhcp, DHCP_REQUEST, lease, DHCP_ACK);
    LAB_ASSERT(memcmp(dhcp.got + 16, lease, 4) == 0);
    LAB_ASSERT(memcmp(dhcp_option(&dhcp, 1, 4), mask, 4) == 0);
    LAB_ASSERT(memcmp(dhcp_option(&dhcp, 3, 4), gateway, 4) == 0);
    LAB_ASSERT(memcmp(dhcp_option(&dhcp, 6, 4), dns, 4) == 0);
    LAB_ASSERT(dhcp_option(&dhcp, 51, 4) != NULL);
    lab_do(lab, LAB_GUEST, "ip address add 10.0.2.15/24 dev tap0");
    lab_do(lab, LAB_GUEST, "ip route add default via 10.0.2.2");
    /* The interface was down at start, so the first connection brings the rules for the next. */
    slirp_transfers(lab, LAB_FAR_V4, 1000);
    is_fast(lab, LAB_FAR_V4);
    LAB_CHECK(lab_raw_err_lines(raw) == 0, "%s", lab_raw_err(raw));
    close(dhcp.sock);
}

LAB_TEST(slirp4netns_net, interfaces_may_come_up_in_any_order_and_again)
{
    LabRaw *raw = slirp_guest(lab, "");

    lab_do(lab, LAB_GUEST, "ip link set tap0 up");
    lab_do(lab, LAB_GUEST, "ip address add 10.0.2.100/24 dev tap0");
    lab_do(lab, LAB_GUEST, "ip route add default via 10.0.2.2");
    slirp_transfers(lab, LAB_FAR_V4, 1000); /* without lo: libslirp's */
    slirp_transfers(lab, LAB_FAR_V4, 1000);
    lab_do(lab, LAB_GUEST, "ip link set lo up");
    slirp_transfers(lab, LAB_FAR_V4, 1000);
    is_fast(lab, LAB_FAR_V4);
    LAB_CHECK(lab_raw_err_lines(raw) == 0, "%s", lab_raw_err(raw));
    lab_do(lab, LAB_GUEST, "ip link set tap0 down");
    lab_do(lab, LAB_GUEST, "ip link set tap0 up");
    lab_do(lab, LAB_GUEST, "ip route add default via 10.0.2.2");
    slirp_transfers(lab, LAB_ROUTED_V4,
                    1000); /* its routes are gone with UP, which is noticed now */
    is_fast(lab, LAB_FAR_V4);
}
