/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_gate.c - what the gate lets through, and to whom
 *
 * Does:     scrubbing, every verdict and reason in both families, refusals, the name server,
 *           counters.
 * Not here: which destinations are allowed (test_gate_policy.c), sequence numbers
 *           (test_seqguard.c).
 */
#include "config.h"

#include "datapath/gate.h"

#include "gate_fixture.h"

static uint8_t answer[FRAME_MAX];

typedef struct SampleRow {
    const char *sample;
    GateVerdict netns;
    GateReason netns_reason;
    GateVerdict vm;
    GateReason vm_reason;
} SampleRow;

static const SampleRow sample_rows[] = {
    {"tcp4 syn", GATE_TCP_SYN, GATE_REASON_NONE, GATE_TCP_SYN, GATE_REASON_NONE},
    {"tcp4 data", GATE_NAT, GATE_REASON_NONE, GATE_NAT, GATE_REASON_NONE},
    {"udp4", GATE_NAT, GATE_REASON_NONE, GATE_NAT, GATE_REASON_NONE},
    {"udp4 without checksum", GATE_NAT, GATE_REASON_NONE, GATE_NAT, GATE_REASON_NONE},
    {"echo4", GATE_PING, GATE_REASON_NONE, GATE_PING, GATE_REASON_NONE},
    {"tcp6 syn", GATE_TCP_SYN, GATE_REASON_NONE, GATE_TCP_SYN, GATE_REASON_NONE},
    {"tcp6 data", GATE_NAT, GATE_REASON_NONE, GATE_NAT, GATE_REASON_NONE},
    {"udp6", GATE_NAT, GATE_REASON_NONE, GATE_NAT, GATE_REASON_NONE},
    {"echo6", GATE_PING, GATE_REASON_NONE, GATE_PING, GATE_REASON_NONE},
    {"neighbour solicitation", GATE_NAT, GATE_REASON_NONE, GATE_NAT, GATE_REASON_NONE},
    {"neighbour advertisement", GATE_NAT, GATE_REASON_NONE, GATE_NAT, GATE_REASON_NONE},
    {"router solicitation", GATE_DROP, GATE_REASON_NETNS_MODE, GATE_ROUTER, GATE_REASON_NONE},
    {"mld report", GATE_DROP, GATE_REASON_NETNS_MODE, GATE_DROP, GATE_REASON_ICMP_TYPE},
    {"arp request", GATE_NAT, GATE_REASON_NONE, GATE_NAT, GATE_REASON_NONE},
    {"arp reply", GATE_NAT, GATE_REASON_NONE, GATE_NAT, GATE_REASON_NONE},
};

Test(gate, every_good_sample_goes_where_it_belongs)
{
    g_autoptr(Gate) netns = fixture_gate(0, true);
    g_autoptr(Gate) vm = fixture_gate(0, false);

    cr_assert_eq(G_N_ELEMENTS(sample_rows), G_N_ELEMENTS(samples));
    for (size_t i = 0; i < G_N_ELEMENTS(sample_rows); i++) {
        const SampleRow *row = &sample_rows[i];
        Judged judged = judge_sample(netns, row->sample);

        cr_assert_eq(judged.verdict, row->netns, "%s", row->sample);
        cr_assert_eq(judged.reason, row->netns_reason, "%s", row->sample);
        judged = judge_sample(vm, row->sample);
        cr_assert_eq(judged.verdict, row->vm, "%s", row->sample);
        cr_assert_eq(judged.reason, row->vm_reason, "%s", row->sample);
    }
}

Test(gate, a_frame_cut_at_any_byte_is_malformed_and_counted)
{
    g_autoptr(Gate) gate = fixture_gate(GATE_ALL, false);

    for (size_t i = 0; i < G_N_ELEMENTS(samples); i++) {
        size_t len = sample_get(samples[i].name, fixture_frame);

        for (size_t cut = 0; cut < len; cut++) {
            uint64_t sum = 0;
            Judged judged = judge(gate, cut);

            cr_assert_eq(judged.verdict, GATE_DROP);
            cr_assert_eq(judged.reason, GATE_REASON_MALFORMED);
            for (unsigned s = FRAME_OK + 1; s < FRAME_STATUS_COUNT; s++)
                sum += gate_malformed_counter(gate, s);
            cr_assert_eq(sum, gate_counter(gate, GATE_REASON_MALFORMED));
        }
    }
}

Test(gate, any_header_byte_may_be_wrong)
{
    static const uint8_t values[] = {0x00, 0xff};
    g_autoptr(Gate) gate = fixture_gate(GATE_ALL, false);

    for (size_t i = 0; i < G_N_ELEMENTS(samples); i++) {
        size_t len = sample_unhex(samples[i].hex, fixture_frame);

        for (size_t at = 0; at < 2 * len; at++) {
            Judged judged;

            (void)sample_unhex(samples[i].hex, fixture_frame);
            fixture_frame[at % len] = values[at / len];
            judged = judge(gate, len);
            if (judged.verdict == GATE_REFUSE)
                cr_assert_leq(gate_refusal(gate, fixture_frame, &judged.view, answer), 1294);
            gate_reply(gate, fixture_frame, judged.len);
        }
    }
}

Test(gate, fragments_and_options_have_counters)
{
    g_autoptr(Gate) gate = fixture_gate(0, true);
    size_t len = sample_get("echo4", fixture_frame);

    fixture_frame[20] = 0x20;
    (void)judge(gate, len);
    (void)judge(gate, len);
    fixture_frame[14] = 0x46;
    (void)judge(gate, len);
    cr_assert_eq(gate_malformed_counter(gate, FRAME_FRAGMENT), 2);
    cr_assert_eq(gate_malformed_counter(gate, FRAME_IP_OPTIONS), 1);
    cr_assert_eq(gate_malformed_counter(gate, FRAME_STATUS_COUNT), 0);
}

Test(gate, padding_is_cut)
{
    g_autoptr(Gate) gate = fixture_gate(0, false);

    for (size_t i = 0; i < G_N_ELEMENTS(samples); i++) {
        size_t len = sample_unhex(samples[i].hex, fixture_frame);
        Judged judged;

        memset(fixture_frame + len, 0x55, 40);
        judged = judge(gate, len + 40);
        if (judged.verdict != GATE_DROP)
            cr_assert_eq(judged.len, len, "%s", samples[i].name);
    }
}

Test(gate, segments_libslirp_cannot_stand_are_cut_and_replies_say_where)
{
    g_autoptr(Gate) gate = fixture_gate(0, true);
    TcpSpec ends = {"10.0.2.100", "1.1.1.1", .seq = -10u, .flags = 0x10, .len = 10};
    TcpSpec across = {"10.0.2.100", "1.1.1.1", .seq = -10u, .flags = 0x10, .len = 20};
    TcpSpec reply = {"1.1.1.1", "10.0.2.100", 80, 40000, .ack = -10u, .flags = 0x10};
    size_t len = sample_tcp(fixture_frame, &ends);

    cr_assert_eq(judge(gate, len).len, len - 1);
    len = sample_tcp(fixture_frame, &across);
    cr_assert_eq(judge(gate, len).len, len - 11);
    gate_reply(gate, fixture_frame, sample_tcp(fixture_frame, &reply));
    len = sample_tcp(fixture_frame, &across);
    cr_assert_eq(judge(gate, len).len, len);
}

Test(gate, source_link_address_must_be_one_of_a_guest)
{
    static const char *const bad[] = {
        "000000000000", "ffffffffffff", "030000000001", "333300000001",
        "52550a000202", "52550a000203", "525600000002", "525600000003",
    };
    g_autoptr(Gate) gate = fixture_gate(0, true);

    for (size_t i = 0; i < G_N_ELEMENTS(bad) * G_N_ELEMENTS(samples); i++) {
        const char *mac = bad[i % G_N_ELEMENTS(bad)];
        size_t len = sample_unhex(samples[i / G_N_ELEMENTS(bad)].hex, fixture_frame);
        Judged judged;

        (void)sample_unhex(mac, fixture_frame + FRAME_MAC_LEN);
        judged = judge(gate, len);
        cr_assert_eq(judged.verdict, GATE_DROP, "%s", mac);
        cr_assert_eq(judged.reason, GATE_REASON_SOURCE_MAC, "%s", mac);
    }
    cr_assert_eq(gate_guest_mac(gate)[0], 0xff, "none of them is the guest's");
}

Test(gate, guest_mac_is_the_last_valid_one)
{
    g_autoptr(Gate) gate = fixture_gate(0, true);
    const uint8_t *mac = gate_guest_mac(gate);
    size_t len;

    for (size_t i = 0; i < FRAME_MAC_LEN; i++)
        cr_assert_eq(mac[i], 0xff);
    (void)judge_sample(gate, "arp request");
    cr_assert_arr_eq(mac, sample_guest_mac, FRAME_MAC_LEN);
    len = sample_udp(fixture_frame, "10.9.9.9", 1, "1.1.1.1", 1);
    fixture_frame[11] = 9;
    (void)judge(gate, len);
    cr_assert_eq(mac[5], 1, "a frame with a false source address teaches nothing");
    len = sample_get("udp6", fixture_frame);
    fixture_frame[11] = 7;
    (void)judge(gate, len);
    cr_assert_eq(mac[5], 7);
}

Test(gate, virtual_macs_are_those_of_libslirp)
{
    static const uint8_t mac6[] = {0x52, 0x56, 0, 0, 0, 2};
    g_autoptr(Gate) gate = fixture_gate(0, true);

    cr_assert_arr_eq(gate_virtual_mac(gate, AF_INET), sample_gateway_mac, FRAME_MAC_LEN);
    cr_assert_arr_eq(gate_virtual_mac(gate, AF_INET6), mac6, FRAME_MAC_LEN);
}

static const char *const bad_sources[] = {
    "0.0.0.0",
    "10.0.2.0",
    "10.0.2.255",
    "10.0.2.2",
    "10.0.2.3",
    "10.0.3.1",
    "10.0.1.255",
    "127.0.0.1",
    "1.1.1.1",
    "255.255.255.255",
    "224.0.0.1",
    "169.254.1.1",
    "::",
    "::1",
    "fd00::",
    "fd00::2",
    "fd00::3",
    "fe80::2",
    "fe80::3",
    "fd00:0:0:1::64",
    "ff02::1",
    "2606:4700::1",
    "::ffff:10.0.2.100",
    "64:ff9b::a00:264",
};

Test(gate, source_address_must_be_one_of_a_guest)
{
    g_autoptr(Gate) gate = fixture_gate(GATE_ALL, false);

    for (size_t i = 0; i < G_N_ELEMENTS(bad_sources); i++) {
        const char *src = bad_sources[i];
        bool ip6 = strchr(src, ':');
        const char *dst = ip6 ? "2606:4700::1" : "1.1.1.1";
        TcpSpec tcp = {src, dst, .flags = FRAME_TCP_SYN};

        cr_assert_eq(judge(gate, sample_tcp(fixture_frame, &tcp)).reason,
                     GATE_REASON_SOURCE_ADDRESS, "%s", src);
        cr_assert_eq(judge(gate, sample_udp(fixture_frame, src, 68, dst, 67)).reason,
                     GATE_REASON_SOURCE_ADDRESS, "%s", src);
        cr_assert_eq(
            judge(gate, sample_icmp(fixture_frame, src, dst, 64, ip6 ? 128 : 8, 0, "00000000"))
                .reason,
            GATE_REASON_SOURCE_ADDRESS, "%s", src);
    }
    cr_assert_eq(gate_counter(gate, GATE_REASON_SOURCE_ADDRESS), 3 * G_N_ELEMENTS(bad_sources));
    cr_assert_eq(gate_guest_mac(gate)[0], 0xff);
}

Test(gate, any_address_of_the_guests_networks_may_be_a_source)
{
    g_autoptr(Gate) gate = fixture_gate(0, true);
    static const char *const good[] = {"10.0.2.1",       "10.0.2.254", "fd00::1",
                                       "fd00::ffff:0:1", "fe80::1",    "fe80::1234:5678:9abc:def0"};

    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        const char *dst = strchr(good[i], ':') ? "2606:4700::1" : "1.1.1.1";
        size_t len = sample_udp(fixture_frame, good[i], 9, dst, 9);

        cr_assert_eq(judge(gate, len).verdict, GATE_NAT, "%s", good[i]);
    }
}

Test(gate, arp_senders_are_checked_and_probes_pass)
{
    g_autoptr(Gate) gate = fixture_gate(0, true);

    for (size_t i = 0; i < G_N_ELEMENTS(bad_sources); i++) {
        size_t len = sample_get("arp request", fixture_frame);
        NetAddr sender = sample_addr(bad_sources[i]);
        bool probe = netaddr_is_any(&sender);

        if (sender.family != AF_INET)
            continue;
        memcpy(fixture_frame + 28, &sender.v4, 4);
        cr_assert_eq(judge(gate, len).verdict, probe ? GATE_NAT : GATE_DROP, "%s", bad_sources[i]);
    }
}

Test(gate, ipv6_that_is_off_is_dropped_whole)
{
    GateConfig config = fixture_config();
    g_autoptr(Gate) gate = NULL;
    NetAddr dst = sample_addr("2606:4700::1");

    config.ipv6 = false;
    gate = gate_new(&config);
    for (size_t i = 0; i < G_N_ELEMENTS(samples); i++) {
        size_t len = sample_unhex(samples[i].hex, fixture_frame);
        bool ip6 = fixture_frame[12] == 0x86;

        cr_assert_eq(judge(gate, len).reason == GATE_REASON_NO_IPV6, ip6, "%s", samples[i].name);
    }
    cr_assert_eq(gate_decide(gate, &dst), GATE_REASON_NO_IPV6);
}

typedef struct DhcpRow {
    const char *src;
    uint16_t src_port;
    const char *dst;
    GateReason vm;
    GateReason netns;
} DhcpRow;

static const DhcpRow dhcp_rows[] = {
    {"0.0.0.0", 68, "255.255.255.255", GATE_REASON_NONE, GATE_REASON_NETNS_MODE},
    {"0.0.0.0", 68, "10.0.2.2", GATE_REASON_NONE, GATE_REASON_NETNS_MODE},
    {"10.0.2.100", 68, "10.0.2.2", GATE_REASON_NONE, GATE_REASON_NETNS_MODE},
    {"10.0.2.100", 68, "255.255.255.255", GATE_REASON_NONE, GATE_REASON_NETNS_MODE},
    {"0.0.0.0", 67, "255.255.255.255", GATE_REASON_SOURCE_ADDRESS, GATE_REASON_SOURCE_ADDRESS},
    {"0.0.0.0", 68, "1.1.1.1", GATE_REASON_SOURCE_ADDRESS, GATE_REASON_SOURCE_ADDRESS},
    {"10.0.2.100", 99, "255.255.255.255", GATE_REASON_MULTICAST, GATE_REASON_NETNS_MODE},
    {"10.0.2.100", 99, "10.0.2.2", GATE_REASON_INSIDE_CIDR, GATE_REASON_NETNS_MODE},
    /* libslirp takes these for no DHCP, and would send them into the host's network. */
    {"10.0.2.100", 68, "10.0.2.255", GATE_REASON_MULTICAST, GATE_REASON_NETNS_MODE},
    {"10.0.2.100", 68, "224.0.0.1", GATE_REASON_MULTICAST, GATE_REASON_NETNS_MODE},
    {"0.0.0.0", 68, "239.1.1.1", GATE_REASON_MULTICAST, GATE_REASON_NETNS_MODE},
    {"10.0.2.100", 68, "10.0.2.3", GATE_REASON_INSIDE_CIDR, GATE_REASON_INSIDE_CIDR},
    {"10.0.2.100", 68, "1.1.1.1", GATE_REASON_NONE, GATE_REASON_NONE},
};

Test(gate, dhcp_reaches_libslirp_from_a_vm_only)
{
    g_autoptr(Gate) vm = fixture_gate(GATE_ALL, false);
    g_autoptr(Gate) netns = fixture_gate(GATE_ALL, true);

    for (size_t i = 0; i < G_N_ELEMENTS(dhcp_rows); i++) {
        const DhcpRow *row = &dhcp_rows[i];
        size_t len = sample_udp(fixture_frame, row->src, row->src_port, row->dst, 67);

        cr_assert_eq(judge(vm, len).reason, row->vm, "row %zu", i);
        cr_assert_eq(judge(netns, len).reason, row->netns, "row %zu", i);
    }
}

typedef struct NdpRow {
    const char *what;
    const char *src;
    const char *dst;
    uint8_t hop_limit;
    uint8_t type;
    uint8_t code;
    const char *body;
    GateReason reason; /* GATE_REASON_NONE: to libslirp */
} NdpRow;

#define TARGET "00000000 fd000000000000000000000000000002"
#define LLADDR "0101 020000000001"

static const NdpRow ndp_rows[] = {
    {"plain", "fd00::64", "ff02::1:ff00:2", 255, 135, 0, TARGET LLADDR, GATE_REASON_NONE},
    {"unicast", "fd00::64", "fd00::2", 255, 135, 0, TARGET LLADDR, GATE_REASON_NONE},
    {"no option", "fe80::9", "ff02::1:ff00:2", 255, 135, 0, TARGET, GATE_REASON_NONE},
    {"duplicate detection", "::", "ff02::1:ff00:64", 255, 135, 0, TARGET, GATE_REASON_NONE},
    {"two options", "fd00::64", "fd00::2", 255, 135, 0, TARGET LLADDR LLADDR, GATE_REASON_NONE},
    {"hop limit", "fd00::64", "fd00::2", 254, 135, 0, TARGET LLADDR, GATE_REASON_MALFORMED},
    {"code", "fd00::64", "fd00::2", 255, 135, 1, TARGET LLADDR, GATE_REASON_MALFORMED},
    {"no target", "fd00::64", "fd00::2", 255, 135, 0, "00000000", GATE_REASON_MALFORMED},
    {"half a target", "fd00::64", "fd00::2", 255, 135, 0, "00000000 fd000000000000000000000000",
     GATE_REASON_MALFORMED},
    {"multicast target", "fd00::64", "fd00::2", 255, 135, 0,
     "00000000 ff020000000000000000000000000001", GATE_REASON_MALFORMED},
    {"empty option", "fd00::64", "fd00::2", 255, 135, 0, TARGET "0100 020000000001",
     GATE_REASON_MALFORMED},
    {"option beyond the end", "fd00::64", "fd00::2", 255, 135, 0, TARGET "0102 020000000001",
     GATE_REASON_MALFORMED},
    {"huge option", "fd00::64", "fd00::2", 255, 135, 0, TARGET LLADDR "01ff 020000000001",
     GATE_REASON_MALFORMED},
    {"half an option", "fd00::64", "fd00::2", 255, 135, 0, TARGET "0101", GATE_REASON_MALFORMED},
    {"one byte more", "fd00::64", "fd00::2", 255, 135, 0, TARGET LLADDR "00",
     GATE_REASON_MALFORMED},
    {"all nodes", "fd00::64", "ff02::1", 255, 135, 0, TARGET, GATE_REASON_MULTICAST},
    {"false source", "fd00::2", "ff02::1:ff00:2", 255, 135, 0, TARGET, GATE_REASON_SOURCE_ADDRESS},
    {"advertisement", "fd00::64", "fd00::2", 255, 136, 0, TARGET LLADDR, GATE_REASON_NONE},
    {"advertisement of nobody", "::", "fd00::2", 255, 136, 0, TARGET, GATE_REASON_SOURCE_ADDRESS},
    {"advertisement, hop limit", "fd00::64", "fd00::2", 64, 136, 0, TARGET, GATE_REASON_MALFORMED},
    {"routers", "fe80::9", "ff02::2", 255, 133, 0, "00000000" LLADDR, GATE_REASON_NONE},
    {"routers, no address", "::", "ff02::2", 255, 133, 0, "00000000", GATE_REASON_NONE},
    {"routers, hop limit", "::", "ff02::2", 1, 133, 0, "00000000", GATE_REASON_MALFORMED},
    {"routers, empty option", "::", "ff02::2", 255, 133, 0, "00000000 0100000000000000",
     GATE_REASON_MALFORMED},
    {"routers, wrong group", "::", "ff02::1:ff00:2", 255, 133, 0, "00000000",
     GATE_REASON_MULTICAST},
    {"router advertisement", "fe80::9", "ff02::1", 255, 134, 0, "40000708 0000000000000000",
     GATE_REASON_ICMP_TYPE},
    {"redirect", "fe80::9", "fe80::2", 255, 137, 0, TARGET TARGET, GATE_REASON_ICMP_TYPE},
    {"echo reply", "fd00::64", "2606:4700::1", 64, 129, 0, "00010001", GATE_REASON_ICMP_TYPE},
    {"echo code", "fd00::64", "2606:4700::1", 64, 128, 1, "00010001", GATE_REASON_ICMP_TYPE},
    {"unreachable", "fd00::64", "2606:4700::1", 64, 1, 4, "00000000", GATE_REASON_ICMP_TYPE},
    {"mld without alert", "fe80::9", "ff02::16", 1, 143, 0, "00000000", GATE_REASON_ICMP_TYPE},
    {"node information", "fd00::64", "fd00::2", 64, 139, 0, "00000000", GATE_REASON_ICMP_TYPE},
};

Test(gate, ndp_and_other_icmpv6_is_checked_before_libslirp_sees_it)
{
    g_autoptr(Gate) gate = fixture_gate(GATE_ALL, false);

    for (size_t i = 0; i < G_N_ELEMENTS(ndp_rows); i++) {
        const NdpRow *row = &ndp_rows[i];
        Judged judged = judge(gate, sample_icmp(fixture_frame, row->src, row->dst, row->hop_limit,
                                                row->type, row->code, row->body));

        cr_assert_eq(judged.reason, row->reason, "%s: %s", row->what,
                     gate_reason_name(judged.reason));
        cr_assert_eq(judged.verdict, row->reason != GATE_REASON_NONE ? GATE_DROP
                                     : row->type == 133              ? GATE_ROUTER
                                                                     : GATE_NAT);
    }
}

Test(gate, icmp_of_any_type_but_echo_request_is_dropped)
{
    g_autoptr(Gate) gate = fixture_gate(GATE_ALL, true);

    for (unsigned type = 0; type < 256; type++) {
        size_t len =
            sample_icmp(fixture_frame, "10.0.2.100", "1.1.1.1", 64, (uint8_t)type, 0, "00000000");

        cr_assert_eq(judge(gate, len).reason, type == 8 ? GATE_REASON_NONE : GATE_REASON_ICMP_TYPE);
        len =
            sample_icmp(fixture_frame, "10.0.2.100", "10.0.2.2", 64, (uint8_t)type, 1, "00000000");
        cr_assert_eq(judge(gate, len).reason, GATE_REASON_ICMP_TYPE, "code 1");
    }
}

Test(gate, only_a_pure_syn_is_one)
{
    g_autoptr(Gate) gate = fixture_gate(GATE_ALL, true);

    for (unsigned flags = 0; flags < 64; flags++) {
        bool syn = (flags & 0x17) == FRAME_TCP_SYN;
        GateVerdict expected = syn ? GATE_TCP_SYN : GATE_NAT;

        cr_assert_eq(judge_tcp(gate, "1.1.1.1", 80, (uint8_t)flags).verdict, expected);
        cr_assert_eq(judge_tcp(gate, "2606:4700::1", 80, (uint8_t)flags).verdict, expected);
        cr_assert_eq(judge_tcp(gate, "10.0.2.2", 80, (uint8_t)flags).verdict, GATE_NAT,
                     "libslirp translates the gateway");
    }
}

Test(gate, urg_never_passes)
{
    g_autoptr(Gate) gate = fixture_gate(0, true);
    static const char *const dst[] = {"1.1.1.1", "2606:4700::1", "10.0.2.3", "fd00::3"};

    for (size_t i = 0; i < G_N_ELEMENTS(dst); i++) {
        TcpSpec spec = {fixture_guest(dst[i]), dst[i],   .dst_port = 53, .urgent = 100,
                        .flags = 0x38,         .seq = 1, .len = 4};
        Judged judged = judge(gate, sample_tcp(fixture_frame, &spec));

        cr_assert_eq(judged.verdict, GATE_NAT);
        cr_assert_eq(judged.view.tcp_flags, 0x18);
        cr_assert_eq(get16(fixture_frame + judged.view.l4 + 18), 0);
        cr_assert(frame_checksums_ok(fixture_frame, &judged.view));
    }
}

Test(gate, data_on_a_syn_is_cut_off)
{
    static const char *const dst[] = {"198.51.100.9", "2606:4700::1"};
    g_autoptr(Gate) gate = fixture_gate(0, true);

    for (size_t i = 0; i < G_N_ELEMENTS(dst); i++) {
        TcpSpec spec = {fixture_guest(dst[i]),  dst[i],        .dst_port = 80,
                        .flags = FRAME_TCP_SYN, .seq = 100000, .len = 77};
        Judged judged = judge(gate, sample_tcp(fixture_frame, &spec));

        cr_assert_eq(judged.verdict, GATE_TCP_SYN);
        cr_assert_eq(judged.view.end, judged.view.payload);
        cr_assert_eq(judged.view.seq, 100000);
        cr_assert(frame_checksums_ok(fixture_frame, &judged.view));
    }
}

Test(gate, the_largest_frame_is_judged_without_its_payload)
{
    g_autoptr(Gate) gate = fixture_gate(0, true);
    TcpSpec spec = {"fd00::64", "2606:4700::1", .flags = 0x10, .len = FRAME_MAX - 74};
    size_t len = sample_tcp(fixture_frame, &spec);
    size_t inout_len = len;
    g_autofree uint8_t *headers = NULL;
    GateReason reason;
    FrameView view;

    cr_assert_eq(len, FRAME_MAX);
    /* Only the headers are there: what reads the payload reads beyond this. */
    headers = sample_exact(fixture_frame, 74);
    cr_assert_eq(gate_judge(gate, headers, &inout_len, &view, &reason), GATE_NAT);
    cr_assert_eq(inout_len, len);
}

Test(gate, every_reason_has_a_name_of_its_own)
{
    g_autoptr(Gate) gate = fixture_gate(0, true);

    for (unsigned a = 0; a < GATE_REASON_COUNT; a++)
        for (unsigned b = 0; b < a; b++)
            cr_assert_str_neq(gate_reason_name(a), gate_reason_name(b));
    cr_assert_str_eq(gate_reason_name(GATE_REASON_COUNT), "unknown");
    cr_assert_eq(gate_counter(gate, GATE_REASON_COUNT), 0);
}
