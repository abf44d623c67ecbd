/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_hostile_policy.c - where a guest's root must not get, by frames of its own making
 *
 * Who shows which of the 50 tests that a helper should pass (hostile guests):
 *
 *    10  hostile_frames::of_any_length_make_no_sound; frame::lengths_no_link_of_ours_has_are_short
 *    11  hostile_frames::cut_or_wrong_at_any_byte_end_nothing; gate and frame: ...cut_at_any_byte..., any_header_byte_may_be_wrong
 *    12  hostile_libslirp::fragments_of_mixed_header_lengths_come_to_nothing, and its control
 *    13  hostile_libslirp::urgent_pointers_of_any_kind_add_no_byte, and its controls
 *    14  hostile_libslirp::segments_in_any_order_cross_..., and the controls; seqguard
 *    15  hostile_frames::that_are_fragments_cost_no_memory (for_long: make check-long)
 *    16  hostile_headers::with_options_or_extension_headers..., of_other_protocols..., for_dhcp_and_tftp..., that_are_malformed...
 *    17  hostile_headers::of_bad_udp_come_to_nothing; no checksum over IPv4 is legal (RFC 768) and passes
 *    18  hostile_frames::of_icmp..., of_icmpv6..., of_sixty_four_kib_are_echoed_once_and_whole
 *    21  gate::loopback_in_every_form..., gateway_and_host_addresses..., addresses_inside_the_networks...; that libslirp alone
 *        lets it through: hostile_libslirp::control_loopback_is_reached_without_the_gate
 *    22  gate::gateway_and_host_addresses..., host_address_added_after_the_start..., allow_host_opens_that_class_alone
 *    23  below, and gate::metadata_and_link_local_are_not_reached
 *    24  below
 *    25  below; the true client: source::*
 *    26  below, and gate::frames_with_a_source_that_is_not_the_guests_are_dropped
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "hostilefixture.h"
#include "lab_test.h"

#define WEB_PORT 80

/* ---- metadata ---- */

static const char *const metadata[] = {
    LAB_METADATA,  "169.254.170.2", "169.254.170.23", "100.100.100.200", "168.63.129.16",
    "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23",   "fd20:ce::254",
};

/* The same, said in IPv6. */
static const char *const metadata_within[] = {
    "64:ff9b::a9fe:a9fe", "64:ff9b::6464:64c8", "64:ff9b::a83f:8110",
    "2002:a9fe:a9fe::1",  "2002:6464:64c8::1",  "::ffff:169.254.169.254",
};

/* HOST counts what leaves it for those addresses, and FAR has them. */
static void metadata_watch(Lab *lab)
{
    for (size_t i = 0; i < G_N_ELEMENTS(metadata); i++) {
        bool six = lab_address_is_v6(metadata[i]);

        if (strcmp(metadata[i], LAB_METADATA) != 0)
            lab_do(lab, LAB_FAR, "ip address add %s/%d dev lo%s", metadata[i], six ? 128 : 32,
                   six ? " nodad" : "");
    }
    lab_nft(lab, LAB_HOST,
            "table inet watch { chain o { type filter hook output priority 0;\n"
            "ip daddr { 169.254.0.0/16, 100.100.100.200, 168.63.129.16, 192.0.0.192 } counter\n"
            "ip6 daddr { fd00:ec2::254, fd00:ec2::23, fd20:ce::254, 64:ff9b::/96, 2002::/16, "
            "::ffff:0:0/96 } counter\n}\n}\n");
}

static unsigned long metadata_left(Lab *lab)
{
    g_autofree char *text =
        lab_says(lab, LAB_HOST,
                 "nft list table inet watch | "
                 "sed -n 's/.*counter packets \\([0-9]*\\).*/\\1/p' | awk '{ s += $1 } END { "
                 "print s + 0 }'");

    return strtoul(text, NULL, 10);
}

/* By the guest's kernel, and by hand. */
static void metadata_try(Lab *lab, LabFrames *frames, const char *address)
{
    static uint16_t from_port = 52000;
    LabSegment segment = {.from = raw_addresses[lab_address_is_v6(address)],
                          .to = address,
                          .from_port = ++from_port,
                          .to_port = WEB_PORT,
                          .tcp_flags = LAB_TCP_SYN,
                          .tcp_seq = 1000};
    int fd = lab_connect(lab, LAB_GUEST, address, WEB_PORT, LAB_MS(100));

    if (fd >= 0)
        close(fd);
    lab_frames_send_tcp(frames, &segment);
    segment.data = "probe";
    segment.length = 5;
    lab_frames_send_udp(frames, &segment);
    lab_frames_send_echo(frames, &segment);
    LAB_ASSERT(lab_frames_fence(frames, NULL, NULL) >= 0);
}

LAB_TEST(hostile_policy, no_packet_leaves_for_metadata)
{
    Site site = site_begin(lab, NULL, NULL);

    metadata_watch(lab);
    for (size_t i = 0; i < G_N_ELEMENTS(metadata); i++)
        metadata_try(lab, site.frames, metadata[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(metadata_within); i++)
        metadata_try(lab, site.frames, metadata_within[i]);
    g_usleep((gulong)LAB_MS(100) * 1000);
    LAB_ASSERT_EQ(metadata_left(lab), 0);
    site_serves(&site);
}

LAB_TEST(hostile_policy, what_counts_packets_for_metadata_does_count)
{
    Site site = site_begin(lab, "--allow=metadata,link-local", NULL);

    metadata_watch(lab);
    for (size_t i = 0; i < G_N_ELEMENTS(metadata); i++) {
        unsigned long before = metadata_left(lab);

        metadata_try(lab, site.frames, metadata[i]);
        LAB_CHECK(metadata_left(lab) > before, "%s is not counted", metadata[i]);
    }
}

/* First it means the far machine, then the metadata address: the gate judges what is connected to, and no name. */
LAB_TEST(hostile_policy, a_name_that_changes_its_address_does_not_lead_to_metadata)
{
    static const char *const said[] = {LAB_FAR_V4, LAB_METADATA};
    int far = lab_listen(lab, LAB_FAR, LAB_FAR_V4, WEB_PORT);
    int trap = lab_listen(lab, LAB_FAR, LAB_METADATA, WEB_PORT);

    (void)lab_helper(lab, NULL);
    metadata_watch(lab);
    for (size_t i = 0; i < G_N_ELEMENTS(said); i++) {
        LabDns *dns = lab_dns_start(lab, LAB_FAR, LAB_FAR_V4, LAB_DNS_ANSWER, said[i], LAB_FAR_V6);
        LabDnsReply reply = lab_dns_ask(lab, LAB_GUEST, LAB_DNS_V4, "rebind.example.test", false,
                                        false, LAB_MS(LAB_WAIT_MS));
        int fd;

        LAB_CHECK(strcmp(reply.address, said[i]) == 0, "the name means '%s'", reply.address);
        fd = lab_connect(lab, LAB_GUEST, reply.address, WEB_PORT, LAB_MS(2000));
        LAB_CHECK((fd >= 0) == (i == 0), "connect to %s: %s", reply.address,
                  fd >= 0 ? "worked" : strerror(errno));
        if (fd >= 0) {
            close(lab_accepted(far));
            close(fd);
        }
        lab_dns_stop(dns);
    }
    lab_expect_quiet(trap, LAB_MS(100), "the metadata address was reached");
    LAB_ASSERT_EQ(metadata_left(lab), 0);
}

/* ---- every port of gateway and name server ---- */

/* A question for A of "a.test", so that a name server has something to say. */
static const char question[] = "\x12\x34\x01\0\0\x01\0\0\0\0\0\0\1a\4test\0\0\x01\0\x01";

#define SCAN_BATCH 128

typedef struct Scan {
    const char *to;
    unsigned answers, refusals;
    unsigned port_answered; /* the last one */
} Scan;

static void scan_take(const uint8_t *answer, size_t length, void *user_data)
{
    Scan *scan = user_data;
    bool six = get16(answer + 12) == 0x86dd;
    const uint8_t *l4 = answer + ETHER_SIZE + (six ? V6_SIZE : V4_SIZE);
    unsigned protocol = answer[ETHER_SIZE + (six ? 6 : 9)];
    bool ends = protocol == IPPROTO_TCP && (l4[13] & LAB_TCP_RST) != 0;

    LAB_ASSERT(length >= ETHER_SIZE + (six ? V6_SIZE : V4_SIZE) + UDP_SIZE);
    if (ends || protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
        scan->refusals++;
        return;
    }
    /* The same once more is a retransmission. */
    scan->answers += scan->port_answered != get16(l4);
    scan->port_answered = get16(l4);
}

static void scan_port(const Site *site, const Scan *scan, int protocol, unsigned port)
{
    LabSegment segment = {.from = raw_addresses[lab_address_is_v6(scan->to)],
                          .to = scan->to,
                          .from_port = 53000,
                          .to_port = (uint16_t)port,
                          .tcp_flags = LAB_TCP_SYN,
                          .tcp_seq = 1000};

    if (protocol == IPPROTO_TCP) {
        lab_frames_send_tcp(site->frames, &segment);
        return;
    }
    segment.data = question;
    segment.length = sizeof question - 1;
    lab_frames_send_udp(site->frames, &segment);
}

/* Under a sanitizer every fifth port, and those that mean something. */
static bool is_scanned(unsigned port)
{
    static const unsigned always[] = {7, 53, 67, 68, 69, 80, 111, 123, 546, 547, 4444, 7777, 65535};

    for (size_t i = 0; i < G_N_ELEMENTS(always); i++)
        if (port == always[i])
            return true;
    return port % (unsigned)lab_time_factor() == 0;
}

static void scan(const Site *site, const char *to, int protocol, unsigned open)
{
    Scan result = {.to = to};
    unsigned sent = 0, silent;
    int64_t end;

    for (unsigned port = 1; port <= UINT16_MAX; port++) {
        if (!is_scanned(port))
            continue;
        scan_port(site, &result, protocol, port);
        if (++sent % SCAN_BATCH == 0)
            LAB_ASSERT(lab_frames_fence(site->frames, scan_take, &result) >= 0);
    }
    end = lab_now() + LAB_MS(LAB_WAIT_MS);
    do {
        LAB_ASSERT(lab_frames_fence(site->frames, scan_take, &result) >= 0);
    } while (open != 0 && result.answers == 0 && lab_now() < end);
    LAB_CHECK(result.answers == (open != 0) && result.port_answered == open,
              "%s, protocol %d: %u ports answer, the last is %u", to, protocol, result.answers,
              result.port_answered);
    /* The gateway says nothing to DHCP. */
    silent = protocol == IPPROTO_UDP && strcmp(to, LAB_GATEWAY_V4) == 0;
    LAB_CHECK(result.refusals == sent - (open != 0) - silent, "%s, protocol %d: %u of %u refused",
              to, protocol, result.refusals, sent);
}

LAB_TEST(hostile_policy, of_gateway_and_name_server_only_port_53_answers, .limit_ms = 60000)
{
    static const int protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
    static const char *const loopback[] = {"127.0.0.1", "::1"};
    int traps[4];
    Site site;

    for (int i = 0; i < 2; i++) {
        traps[2 * i] = lab_listen(lab, LAB_HOST, loopback[i], WEB_PORT);
        traps[2 * i + 1] = lab_udp(lab, LAB_HOST, loopback[i], WEB_PORT);
    }
    (void)lab_dns_start(lab, LAB_FAR, LAB_FAR_V4, LAB_DNS_ANSWER, LAB_FAR_V4, LAB_FAR_V6);
    site = site_begin(lab, NULL, NULL);
    for (int six = 0; six < 2; six++)
        for (size_t p = 0; p < G_N_ELEMENTS(protocols); p++) {
            scan(&site, gateways[six], protocols[p], 0);
            scan(&site, dns_addresses[six], protocols[p], 53);
        }
    for (size_t i = 0; i < G_N_ELEMENTS(traps); i++)
        lab_expect_quiet(traps[i], i == 0 ? LAB_MS(100) : 0, "the host's loopback was reached");
    site_alive(&site);
}

/* ---- services of the guest on its own loopback ---- */

static void is_not_reached(Lab *lab, LabPlace from, const char *address)
{
    int fd = lab_connect(lab, from, address, 8080, LAB_MS(2000)), udp;
    char byte;

    if (fd >= 0) {
        LabEnd end = lab_wait_end(fd, LAB_MS(2000));

        LAB_CHECK(end == LAB_END_RESET || end == LAB_END_EOF, "%s: %s", address, lab_end_text(end));
        close(fd);
    }
    udp = lab_udp_connected(lab, from, address, 8081);
    (void)send(udp, "u", 1, MSG_NOSIGNAL);
    LAB_CHECK(lab_recv_datagram(udp, &byte, 1, NULL, LAB_MS(100)) < 0, "%s answers", address);
    close(udp);
}

LAB_TEST(hostile_policy, services_on_the_guests_loopback_are_not_reached_by_a_forward)
{
    static const char *const loopback[] = {"127.0.0.1", "::1"};
    static const struct {
        LabPlace from;
        const char *address;
    } clients[] = {
        {LAB_FAR, LAB_HOST_V4}, {LAB_FAR, LAB_HOST_V6},     {LAB_RUNTIME, "127.0.0.1"},
        {LAB_RUNTIME, "::1"},   {LAB_RUNTIME, LAB_HOST_V4}, {LAB_RUNTIME, LAB_HOST_V6},
    };
    int traps[4], open;

    (void)lab_helper(lab, "-p 8080:8000", "-p 8081:8001/udp", NULL);
    for (int i = 0; i < 2; i++) {
        traps[2 * i] = lab_listen(lab, LAB_GUEST, loopback[i], 8000);
        traps[2 * i + 1] = lab_udp(lab, LAB_GUEST, loopback[i], 8001);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(clients); i++)
        is_not_reached(lab, clients[i].from, clients[i].address);
    for (size_t i = 0; i < G_N_ELEMENTS(traps); i++)
        lab_expect_quiet(traps[i], i == 0 ? LAB_MS(100) : 0, "the guest's loopback was reached");
    /* The forward does work. */
    open = lab_listen(lab, LAB_GUEST, LAB_GUEST_V4, 8000);
    (void)lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8080);
    (void)lab_accepted(open);
}

/* ---- who the guest says it is ---- */

static const uint8_t bad_macs[][6] = {
    {0, 0, 0, 0, 0, 0},                   /* nobody */
    {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, /* everybody */
    {0x01, 0x00, 0x5e, 0, 0, 1},          /* a group */
    {0x33, 0x33, 0, 0, 0, 1},             /* another */
    {0x52, 0x55, 10, 0, 2, 2},            /* the gateway */
    {0x52, 0x55, 10, 0, 2, 3},            /* the name server */
    {0x52, 0x56, 0, 0, 0, 2},             /* both, over IPv6 */
};

static const char *const bad_sources[][2] = {
    {"127.0.0.1", "::1"},
    {LAB_HOST_V4, LAB_HOST_V6},
    {LAB_FAR_V4, LAB_FAR_V6},
    {LAB_GATEWAY_V4, LAB_GATEWAY_V6},
    {LAB_DNS_V4, LAB_DNS_V6},
    {"0.0.0.0", "::"},
    {"255.255.255.255", "ff02::1"},
    {"224.0.0.1", "::ffff:10.0.2.77"},
    {"10.0.2.255", "64:ff9b::a00:24d"},
    {"10.0.3.77", "fd00:0:0:1::77"},
};

/* RST, data and a new SYN of a connection that is there, and a datagram: from the wrong one. */
static void forge(const Site *site, const LabRawTcp *tcp, const char *from, const uint8_t *mac)
{
    static const uint8_t flags[] = {LAB_TCP_RST | LAB_TCP_ACK, LAB_TCP_ACK | LAB_TCP_PSH,
                                    LAB_TCP_SYN, 0};
    static uint8_t frame[LAB_FRAME_MAX];

    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        LabSegment segment = {.from = from,
                              .to = tcp->to,
                              .from_port = tcp->from_port,
                              .to_port = flags[i] == 0 || flags[i] == LAB_TCP_SYN ? TRAP_PORT
                                                                                  : tcp->to_port,
                              .data = "forged",
                              .length = flags[i] == LAB_TCP_SYN ? 0 : 6,
                              .tcp_flags = flags[i],
                              .tcp_seq = tcp->first + tcp->acked,
                              .tcp_ack = tcp->next};
        size_t length = lab_frame_make(site->frames, flags[i] == 0 ? IPPROTO_UDP : IPPROTO_TCP,
                                       &segment, frame);

        if (mac != NULL)
            memcpy(frame + 6, mac, 6);
        lab_frames_send_raw(site->frames, frame, length);
    }
    LAB_CHECK(lab_frames_fence(site->frames, NULL, NULL) == 0, "a forged frame from %s is answered",
              from);
}

static void forged_frames_touch_nothing(Lab *lab, int six)
{
    int listener = lab_listen(lab, LAB_FAR, far_addresses[six], OPEN_PORT), far;
    Site site = site_begin(lab, NULL, NULL);
    LabRawTcp tcp = {.frames = site.frames,
                     .from = raw_addresses[six],
                     .to = far_addresses[six],
                     .from_port = 54000,
                     .to_port = OPEN_PORT,
                     .first = 1000};
    char got[8] = "";

    LAB_ASSERT(lab_rawtcp_open(&tcp, LAB_MS(LAB_WAIT_MS)));
    far = lab_accepted(listener);
    site.sockets = site_sockets(lab);
    for (size_t i = 0; i < G_N_ELEMENTS(bad_macs); i++)
        forge(&site, &tcp, raw_addresses[six], bad_macs[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(bad_sources); i++)
        forge(&site, &tcp, bad_sources[i][six], NULL);
    site_quiet(&site, "a forged frame arrived");
    lab_rawtcp_send(&tcp, 0, "honest", 6, LAB_TCP_PSH, 0);
    lab_recv(far, got, 6);
    LAB_CHECK(strcmp(got, "honest") == 0, "'%s' arrived", got);
    lab_rawtcp_reset(&tcp);
    LAB_ASSERT(lab_wait_end(far, LAB_MS(LAB_WAIT_MS)) != LAB_END_NONE);
}

LAB_TEST(hostile_policy, forged_senders_touch_no_connection)
{
    forged_frames_touch_nothing(lab, 0);
}

LAB_TEST(hostile_policy, forged_senders_touch_no_connection_over_ipv6)
{
    forged_frames_touch_nothing(lab, 1);
}
