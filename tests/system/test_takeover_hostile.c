/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_takeover_hostile.c - what the guest's root tries on the fast path, and where it ends
 *
 * The gate's word on a SYN is the only way to a connection on the host. Everything else that comes to the takeover listener
 * is reset, and what the guest breaks costs the guest speed at most.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <poll.h>

#include "lab_test.h"
#include "takeoverfixture.h"

static const uint32_t marks[] = {MARK, MARK_INJECT};

/* ---- listeners that must hear nothing ---- */

typedef struct Watch {
    uint16_t port;
    int refused[3]; /* HOST, both families, and the metadata address */
    int far[2];
} Watch;

static Watch watch_begin(Lab *lab)
{
    int first = lab_listen(lab, LAB_HOST, "0.0.0.0", 0);
    uint16_t port = lab_port(first);

    return (Watch){
        port,
        {first, lab_listen(lab, LAB_HOST, "::", port),
         lab_listen(lab, LAB_FAR, LAB_METADATA, port)},
        {lab_listen(lab, LAB_FAR, LAB_FAR_V4, port), lab_listen(lab, LAB_FAR, LAB_FAR_V6, port)}};
}

static void watch_refused(const Watch *watch)
{
    (void)poll(NULL, 0, 100);
    for (size_t i = 0; i < G_N_ELEMENTS(watch->refused); i++)
        lab_expect_quiet(watch->refused[i], 0, "an address that policy refuses was reached");
}

static void watch_all(const Watch *watch)
{
    watch_refused(watch);
    for (size_t i = 0; i < G_N_ELEMENTS(watch->far); i++)
        lab_expect_quiet(watch->far[i], 0, "the far machine was reached past the gate");
}

static const char *const refused_addresses[] = {
    LAB_GATEWAY_V4, LAB_GATEWAY_V6, LAB_METADATA, LAB_HOST_V4,
    LAB_HOST_V6,    LAB_DNS_V4,     LAB_DNS_V6,   LAB_HOST_V4_3,
};

/* ---- straight to the listener ---- */

static void direct_is_reset(Lab *lab, const char *address, uint16_t port)
{
    int fd = lab_connect(lab, LAB_GUEST, address, port, LAB_MS(1000));

    LAB_CHECK(fd < 0 ? errno == ECONNRESET : lab_wait_end(fd, LAB_MS(1000)) == LAB_END_RESET, "%s",
              address);
    if (fd >= 0)
        close(fd);
}

LAB_TEST(takeover_hostile, five_hundred_direct_connections_leave_no_trace, .limit_ms = 60000)
{
    static const char *const addresses[] = {"127.0.0.1", "::1", LAB_GUEST_V4, LAB_GUEST_V6};
    LabTrio trio = trio_of(lab, fast_helper(lab));
    Ends live[] = {connection(lab, LAB_FAR_V4), connection(lab, LAB_FAR_V6)};
    uint16_t port = listener_port(lab);
    Watch watch = watch_begin(lab);
    unsigned before = fds_of_all(lab, &trio);

    for (size_t i = 0; i < 500; i++)
        direct_is_reset(lab, addresses[i % G_N_ELEMENTS(addresses)], port);
    fds_return(lab, &trio, before);
    watch_all(&watch);
    for (size_t i = 0; i < G_N_ELEMENTS(live); i++) {
        say_both_ways(live[i]);
        LAB_ASSERT(carries(lab, live[i]));
    }
    LAB_ASSERT_EQ(listener_port(lab), port);
    is_fast(lab);
}

LAB_TEST(takeover_hostile, two_hundred_held_direct_connections_hold_nothing, .limit_ms = 60000)
{
    LabTrio trio = trio_of(lab, fast_helper(lab));
    uint16_t port = listener_port(lab);
    unsigned before = fds_of_all(lab, &trio);
    int fds[200];

    /* None is closed by the guest. */
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        fds[i] = lab_connect(lab, LAB_GUEST, i % 2 == 0 ? "127.0.0.1" : "::1", port, LAB_MS(1000));
    fds_return(lab, &trio, before);
    is_fast(lab);
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        close(fds[i]);
}

LAB_TEST(takeover_hostile, a_direct_connection_is_told_of_at_level_debug)
{
    LabHelper *helper = lab_helper(lab, "--fast-path=require", "--log-level=debug", NULL);
    const char *record;

    direct_is_reset(lab, "127.0.0.1", listener_port(lab));
    while ((record = lab_helper_await(helper, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_FAST_PATH,
                                      LAB_MS(2000))) != NULL)
        if (strstr(record, "no SYN") != NULL)
            return;
    LAB_CHECK(false, "no record of a connection that no SYN led to");
}

/* ---- marks ---- */

/* Connects with a mark, and a source of another's if @from. It must fail, be reset, or stay without an answer. */
static void marked_comes_to_nothing(Lab *lab, uint32_t mark, const char *from, const char *to,
                                    uint16_t port)
{
    struct sockaddr_storage sa, own;
    socklen_t len = lab_address(&sa, to, port), own_len, size = sizeof(int);
    int fd = lab_socket(lab, LAB_GUEST, sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int one = 1, error = 0;
    bool six = sa.ss_family == AF_INET6;
    LabEnd end;

    LAB_ASSERT_CALL(fd);
    LAB_ASSERT_CALL(setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark));
    if (from != NULL) {
        own_len = lab_address(&own, from, 0);
        LAB_ASSERT_CALL(six ? setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &one, sizeof one)
                            : setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &one, sizeof one));
        LAB_ASSERT_CALL(bind(fd, (struct sockaddr *)&own, own_len));
    }
    if (connect(fd, (struct sockaddr *)&sa, len) < 0 && errno == EINPROGRESS &&
        lab_wait(fd, POLLOUT, LAB_MS(200)) != 0) {
        LAB_ASSERT_CALL(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size));
        end = error == 0 ? lab_wait_end(fd, LAB_MS(1000)) : LAB_END_ERROR;
        LAB_CHECK(end != LAB_END_NONE && end != LAB_END_DATA, "mark %x to %s: %s", mark, to,
                  lab_end_text(end));
    }
    close(fd);
}

static void all_marks_come_to_nothing(Lab *lab, const char *four, const char *six,
                                      const Watch *watch)
{
    for (size_t i = 0; i < G_N_ELEMENTS(marks); i++) {
        EACH_FAMILY(address)
        marked_comes_to_nothing(lab, marks[i], lab_address_is_v6(address) ? six : four, address,
                                watch->port);
        for (size_t j = 0; j < G_N_ELEMENTS(refused_addresses); j++)
            marked_comes_to_nothing(lab, marks[i],
                                    lab_address_is_v6(refused_addresses[j]) ? six : four,
                                    refused_addresses[j], watch->port);
    }
    watch_all(watch);
}

LAB_TEST(takeover_hostile, a_socket_with_our_marks_reaches_nothing, .limit_ms = 60000)
{
    LabTrio trio = trio_of(lab, fast_helper(lab));
    Ends live[] = {connection(lab, LAB_FAR_V4), connection(lab, LAB_FAR_V6)};
    Watch watch = watch_begin(lab);
    unsigned before = fds_of_all(lab, &trio);

    all_marks_come_to_nothing(lab, NULL, NULL, &watch);
    fds_return(lab, &trio, before);
    for (size_t i = 0; i < G_N_ELEMENTS(live); i++)
        LAB_ASSERT(carries(lab, live[i]));
    is_fast(lab);
}

LAB_TEST(takeover_hostile, nor_does_one_with_an_address_of_anothers, .limit_ms = 60000)
{
    LabTrio trio = trio_of(lab, fast_helper(lab));
    Watch watch = watch_begin(lab);
    unsigned before = fds_of_all(lab, &trio);

    all_marks_come_to_nothing(lab, "10.0.2.55", "fd00::55", &watch);
    all_marks_come_to_nothing(lab, "198.18.9.9", "2001:db8:99::9", &watch);
    all_marks_come_to_nothing(lab, LAB_FAR_V4, LAB_FAR_V6, &watch);
    fds_return(lab, &trio, before);
    is_fast(lab);
}

LAB_TEST(takeover_hostile, rules_that_mark_everything_open_no_way, .limit_ms = 90000)
{
    static const int priorities[] = {-300, -100, 100};
    LabHelper *helper = fast_helper(lab);
    Ends live[] = {connection(lab, LAB_FAR_V4), connection(lab, LAB_FAR_V6)};
    Watch watch = watch_begin(lab);

    for (size_t i = 0; i < G_N_ELEMENTS(marks) * G_N_ELEMENTS(priorities); i++) {
        g_autofree char *rules = g_strdup_printf(
            "table inet g { chain o { type route hook output priority %d;\nmeta mark set 0x%x; "
            "}\n}\n",
            priorities[i / G_N_ELEMENTS(marks)], marks[i % G_N_ELEMENTS(marks)]);

        guest_firewall(lab, rules);
        for (size_t j = 0; j < G_N_ELEMENTS(refused_addresses); j++)
            marked_comes_to_nothing(lab, 0, NULL, refused_addresses[j], watch.port);
        EACH_FAMILY(address)
        {
            int fd = lab_connect(lab, LAB_GUEST, address, watch.port, LAB_MS(200));

            if (fd >= 0)
                close(fd);
        }
        lab_do(lab, LAB_GUEST, "nft delete table inet g");
        watch_refused(&watch);
    }
    is_served(lab);
    for (size_t i = 0; i < G_N_ELEMENTS(live); i++) {
        say_both_ways(live[i]);
        ends_close(live[i]);
    }
    LAB_ASSERT_EQ(lab_helper_count(helper, SALLYPORT_EVENT_EXIT, NULL), 0);
}

/* ---- forged packets ---- */

static uint32_t sum16(uint32_t sum, const void *data, size_t length)
{
    const uint8_t *at = data;

    for (size_t i = 0; i + 1 < length; i += 2)
        sum += (uint32_t)at[i] << 8 | at[i + 1];
    return sum;
}

/* A SYN as a whole IP packet. Return: its length */
static size_t forge_syn(uint8_t *packet, const char *from, uint16_t from_port, const char *to,
                        uint16_t to_port)
{
    struct tcphdr tcp = {.source = htons(from_port),
                         .dest = htons(to_port),
                         .seq = htonl(0x1000),
                         .doff = 5,
                         .syn = 1,
                         .window = htons(64000)};
    struct sockaddr_storage a, b;
    uint32_t sum = IPPROTO_TCP + sizeof tcp;
    size_t length;

    (void)lab_address(&a, from, 0);
    (void)lab_address(&b, to, 0);
    if (a.ss_family == AF_INET) {
        struct iphdr ip = {.version = 4,
                           .ihl = 5,
                           .tot_len = htons(sizeof ip + sizeof tcp),
                           .ttl = 64,
                           .protocol = IPPROTO_TCP,
                           .saddr = ((struct sockaddr_in *)(void *)&a)->sin_addr.s_addr,
                           .daddr = ((struct sockaddr_in *)(void *)&b)->sin_addr.s_addr};

        length = sizeof ip;
        memcpy(packet, &ip, sizeof ip);
        sum = sum16(sum, packet + offsetof(struct iphdr, saddr), 8);
    } else {
        struct ip6_hdr ip = {
            .ip6_ctlun.ip6_un1 = {htonl(6U << 28), htons(sizeof tcp), IPPROTO_TCP, 64},
            .ip6_src = ((struct sockaddr_in6 *)(void *)&a)->sin6_addr,
            .ip6_dst = ((struct sockaddr_in6 *)(void *)&b)->sin6_addr};

        length = sizeof ip;
        memcpy(packet, &ip, sizeof ip);
        sum = sum16(sum, &ip.ip6_src, 32);
    }
    sum = sum16(sum, &tcp, sizeof tcp);
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    tcp.check = htons((uint16_t)~sum);
    memcpy(packet + length, &tcp, sizeof tcp);
    return length + sizeof tcp;
}

/* A raw socket of the guest's root that sends whole packets with a mark. */
static int raw_socket(Lab *lab, bool six, uint32_t mark)
{
    int fd = lab_socket(lab, LAB_GUEST, six ? AF_INET6 : AF_INET, SOCK_RAW, IPPROTO_RAW);

    LAB_ASSERT_CALL(fd);
    LAB_ASSERT_CALL(setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark));
    return fd;
}

static void raw_send(int fd, const uint8_t *packet, size_t length, const char *to)
{
    struct sockaddr_storage sa;
    socklen_t len = lab_address(&sa, to, 0);

    /* The kernel may refuse to route it (EINVAL, EHOSTUNREACH), and that is as good. */
    (void)sendto(fd, packet, length, 0, (struct sockaddr *)&sa, len);
}

LAB_TEST(takeover_hostile, forged_syns_with_our_marks_reach_nothing, .limit_ms = 60000)
{
    static const char *const sources[] = {
        LAB_GUEST_V4, "10.0.2.55", LAB_GATEWAY_V4, "198.18.9.9",     LAB_FAR_V4, LAB_HOST_V4,
        LAB_GUEST_V6, "fd00::55",  LAB_GATEWAY_V6, "2001:db8:99::9", LAB_FAR_V6, LAB_HOST_V6};
    LabTrio trio = trio_of(lab, fast_helper(lab));
    Ends live[] = {connection(lab, LAB_FAR_V4), connection(lab, LAB_FAR_V6)};
    Watch watch = watch_begin(lab);
    unsigned before = fds_of_all(lab, &trio);
    uint16_t from_port = 20000;

    for (size_t m = 0; m < G_N_ELEMENTS(marks); m++) {
        int raws[] = {raw_socket(lab, false, marks[m]), raw_socket(lab, true, marks[m])};

        for (size_t s = 0; s < G_N_ELEMENTS(sources); s++) {
            bool six = lab_address_is_v6(sources[s]);
            uint8_t packet[128];

            for (size_t r = 0; r <= G_N_ELEMENTS(refused_addresses); r++) {
                const char *to =
                    r < G_N_ELEMENTS(refused_addresses) ? refused_addresses[r] : far_addresses[six];

                if (lab_address_is_v6(to) != six)
                    continue;
                raw_send(raws[six], packet,
                         forge_syn(packet, sources[s], from_port++, to, watch.port), to);
            }
        }
        close(raws[0]);
        close(raws[1]);
    }
    watch_all(&watch);
    fds_return(lab, &trio, before);
    for (size_t i = 0; i < G_N_ELEMENTS(live); i++)
        LAB_ASSERT(carries(lab, live[i]));
    is_fast(lab);
}

/* The guest's own SYN to that port, as it leaves by the TAP: a whole IP packet. Return: its length */
static size_t sniffed_syn(int sniffer, uint8_t *packet, size_t size, bool six, uint16_t port)
{
    int64_t end = lab_now() + LAB_MS(2000);

    while (lab_now() < end) {
        struct sockaddr_ll from;
        socklen_t len = sizeof from;
        size_t ip = six ? sizeof(struct ip6_hdr) : sizeof(struct iphdr);
        struct tcphdr tcp;
        ssize_t got;

        if (lab_wait(sniffer, POLLIN, 100) == 0)
            continue;
        got = recvfrom(sniffer, packet, size, 0, (struct sockaddr *)&from, &len);
        if (got < (ssize_t)(ip + sizeof tcp) || packet[0] >> 4 != (six ? 6 : 4) ||
            packet[six ? 6 : 9] != IPPROTO_TCP || from.sll_pkttype != PACKET_OUTGOING)
            continue;
        memcpy(&tcp, packet + ip, sizeof tcp);
        if (tcp.syn && !tcp.ack && tcp.dest == htons(port))
            return (size_t)got;
    }
    LAB_CHECK(false, "no SYN on the TAP");
    return 0;
}

/* The guest's root re-injects its own SYN before the host has answered: nothing may be joined. */
static void forged_pending(Lab *lab, uint32_t mark, const char *hole, uint16_t port)
{
    bool six = lab_address_is_v6(hole);
    int sniffer = lab_socket(lab, LAB_GUEST, AF_PACKET, SOCK_DGRAM, htons(ETH_P_ALL));
    int app = lab_socket(lab, LAB_GUEST, six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int raw = raw_socket(lab, six, mark), error = 0, listener, far;
    struct sockaddr_storage sa;
    socklen_t len = lab_address(&sa, hole, port), size = sizeof error;
    uint8_t packet[256];
    size_t length;
    LabEnd end;

    LAB_ASSERT(sniffer >= 0 && app >= 0);
    LAB_ASSERT_EQ(connect(app, (struct sockaddr *)&sa, len), -1);
    LAB_ASSERT_EQ(errno, EINPROGRESS);
    length = sniffed_syn(sniffer, packet, sizeof packet, six, port);
    raw_send(raw, packet, length, hole);
    LAB_CHECK(lab_wait(app, POLLOUT, LAB_MS(1000)) != 0, "%s: the forged SYN came nowhere", hole);
    LAB_ASSERT_CALL(getsockopt(app, SOL_SOCKET, SO_ERROR, &error, &size));
    if (error == 0) {
        end = lab_wait_end(app, LAB_MS(1000));
        LAB_CHECK(end == LAB_END_RESET, "%s: %s", hole, lab_end_text(end));
    } else {
        LAB_ASSERT_EQ(error, ECONNRESET);
    }
    /* Now the destination comes to life, and the host's connect(), which is still under way, succeeds. */
    lab_do(lab, LAB_FAR, "ip address add %s/%d dev lo%s", hole, six ? 128 : 32,
           six ? " nodad" : "");
    listener = lab_listen(lab, LAB_FAR, hole, port);
    while ((far = lab_accept(listener, LAB_MS(2500))) >= 0) {
        end = lab_wait_end(far, LAB_MS(500));
        LAB_CHECK(end != LAB_END_DATA, "%s: %s at FAR", hole, lab_end_text(end));
        close(far);
    }
    close(listener);
    close(raw);
    close(app);
    close(sniffer);
}

LAB_TEST(takeover_hostile, a_forged_syn_of_a_pending_connection_joins_nothing, .limit_ms = 60000)
{
    LabTrio trio = trio_of(lab, fast_helper(lab));
    unsigned before = fds_of_all(lab, &trio);

    lab_do(lab, LAB_HOST, "ip route add 198.18.1.0/24 via " LAB_FAR_V4);
    lab_do(lab, LAB_HOST, "ip route add 2001:db8:77::/64 via " LAB_FAR_V6);
    forged_pending(lab, MARK_INJECT, "198.18.1.1", 81);
    forged_pending(lab, MARK, "198.18.1.2", 82);
    forged_pending(lab, MARK_INJECT, "2001:db8:77::1", 83);
    forged_pending(lab, MARK, "2001:db8:77::2", 84);
    fds_return(lab, &trio, before);
    is_fast(lab);
}
