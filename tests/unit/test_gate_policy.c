/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_gate_policy.c - where the guest may go, what it is told when it may not, and the name server
 *
 * Does:     every class of destination over TCP, UDP and echo, refused and allowed; the host's
 *           addresses; refusals; DNS over TCP both ways.
 */
#include "config.h"

#include "datapath/gate.h"

#include "gate_fixture.h"

static uint8_t answer[FRAME_MAX];

/* A destination, why it is refused, and the classes that open it (0: none does). */
typedef struct Place {
    const char *dst;
    GateReason reason;
    unsigned opened_by;
} Place;

static const Place places[] = {
    {"1.1.1.1", GATE_REASON_NONE, 0},
    {"192.168.7.8", GATE_REASON_NONE, 0},
    {"10.0.3.1", GATE_REASON_NONE, 0},
    {"2606:4700::1", GATE_REASON_NONE, 0},
    {"fd00:0:0:1::2", GATE_REASON_NONE, 0},
    {"64:ff9b::101:101", GATE_REASON_NONE, 0},
    {"2002:101:101::1", GATE_REASON_NONE, 0},
    {"127.0.0.1", GATE_REASON_NEVER, 0},
    {"127.1.2.3", GATE_REASON_NEVER, 0},
    {"0.0.0.0", GATE_REASON_NEVER, 0},
    {"0.1.2.3", GATE_REASON_NEVER, 0},
    {"240.0.0.1", GATE_REASON_NEVER, 0},
    {"::", GATE_REASON_NEVER, 0},
    {"::1", GATE_REASON_NEVER, 0},
    {"::ffff:127.0.0.1", GATE_REASON_NEVER, 0},
    {"::ffff:1.1.1.1", GATE_REASON_NEVER, 0},
    {"64:ff9b::7f00:1", GATE_REASON_NEVER, 0},
    {"64:ff9b:1::7f00:1", GATE_REASON_NEVER, 0},
    {"2002:7f00:1::", GATE_REASON_NEVER, 0},
    {"::127.0.0.1", GATE_REASON_NEVER, 0},
    {"10.0.2.0", GATE_REASON_INSIDE_CIDR, 0},
    {"10.0.2.1", GATE_REASON_INSIDE_CIDR, 0},
    {"10.0.2.100", GATE_REASON_INSIDE_CIDR, 0},
    {"10.0.2.254", GATE_REASON_INSIDE_CIDR, 0},
    {"fd00::", GATE_REASON_INSIDE_CIDR, 0},
    {"fd00::1", GATE_REASON_INSIDE_CIDR, 0},
    {"fd00::dead:beef", GATE_REASON_INSIDE_CIDR, 0},
    {"64:ff9b::a00:202", GATE_REASON_INSIDE_CIDR, 0},
    {"2002:a00:264::", GATE_REASON_INSIDE_CIDR, 0},
    {"169.254.1.1", GATE_REASON_LINK_LOCAL, NETCLASS_LINK_LOCAL},
    {"fe80::1", GATE_REASON_LINK_LOCAL, NETCLASS_LINK_LOCAL},
    {"64:ff9b::a9fe:101", GATE_REASON_LINK_LOCAL, NETCLASS_LINK_LOCAL},
    {"169.254.169.254", GATE_REASON_METADATA, NETCLASS_METADATA},
    {"100.100.100.200", GATE_REASON_METADATA, NETCLASS_METADATA},
    {"168.63.129.16", GATE_REASON_METADATA, NETCLASS_METADATA},
    {"192.0.0.192", GATE_REASON_METADATA, NETCLASS_METADATA},
    {"fd00:ec2::254", GATE_REASON_METADATA, NETCLASS_METADATA},
    {"64:ff9b::a9fe:a9fe", GATE_REASON_METADATA, NETCLASS_METADATA},
    {"192.0.2.7", GATE_REASON_HOST, NETCLASS_HOST},
    {"2001:db8::7", GATE_REASON_HOST, NETCLASS_HOST},
    {"64:ff9b::c000:207", GATE_REASON_HOST, NETCLASS_HOST},
    {"2002:c000:207::9", GATE_REASON_HOST, NETCLASS_HOST},
    {"169.254.9.9", GATE_REASON_HOST, NETCLASS_HOST | NETCLASS_LINK_LOCAL},
    {"fe80::9", GATE_REASON_HOST, NETCLASS_HOST | NETCLASS_LINK_LOCAL},
};

static const char *const hosts[] = {"192.0.2.7", "2001:db8::7", "fe80::9",  "169.254.9.9",
                                    "127.0.0.1", "::1",         "192.0.2.8"};

static void set_hosts(Gate *gate)
{
    NetAddr addrs[G_N_ELEMENTS(hosts) + 1] = {{0}};

    for (size_t i = 0; i < G_N_ELEMENTS(hosts); i++)
        addrs[i] = sample_addr(hosts[i]);
    gate_set_host_addresses(gate, addrs, G_N_ELEMENTS(addrs));
}

Test(gate_policy, every_class_is_refused_unless_all_that_it_is_are_allowed)
{
    for (unsigned allow = 0; allow <= GATE_ALL; allow++) {
        g_autoptr(Gate) gate = fixture_gate(allow, true);

        set_hosts(gate);
        for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
            const Place *place = &places[i];
            NetAddr dst = sample_addr(place->dst);
            bool open = place->reason == GATE_REASON_NONE ||
                        (place->opened_by && (place->opened_by & ~allow) == 0);
            Judged tcp = judge_tcp(gate, place->dst, 80, FRAME_TCP_SYN);
            Judged udp = judge_udp(gate, place->dst, 80);
            Judged echo = judge_echo(gate, place->dst);

            cr_assert_eq(tcp.verdict, open ? GATE_TCP_SYN : GATE_REFUSE, "%s", place->dst);
            cr_assert_eq(udp.verdict, open ? GATE_NAT : GATE_REFUSE, "%s", place->dst);
            cr_assert_eq(echo.verdict, open ? GATE_PING : GATE_REFUSE, "%s", place->dst);
            cr_assert_eq(gate_decide(gate, &dst), tcp.reason);
            cr_assert_eq(udp.reason, tcp.reason);
            cr_assert_eq(echo.reason, tcp.reason);
            if (allow == 0)
                cr_assert_eq(tcp.reason, place->reason, "%s: %s", place->dst,
                             gate_reason_name(tcp.reason));
        }
    }
}

Test(gate_policy, multicast_and_broadcast_are_dropped_without_an_answer)
{
    static const char *const many[] = {"224.0.0.1",  "239.255.255.250", "255.255.255.255",
                                       "10.0.2.255", "ff02::1",         "ff02::1:2",
                                       "ff05::2",    "ff02::1:ff00:2"};
    g_autoptr(Gate) gate = fixture_gate(GATE_ALL, false);

    for (size_t i = 0; i < G_N_ELEMENTS(many); i++) {
        NetAddr dst = sample_addr(many[i]);

        for (size_t kind = 0; kind < 3; kind++) {
            Judged judged = kind == 0   ? judge_tcp(gate, many[i], 80, FRAME_TCP_SYN)
                            : kind == 1 ? judge_udp(gate, many[i], 547)
                                        : judge_echo(gate, many[i]);

            cr_assert_eq(judged.verdict, GATE_DROP, "%s", many[i]);
            cr_assert_eq(judged.reason, GATE_REASON_MULTICAST, "%s", many[i]);
        }
        cr_assert_eq(gate_decide(gate, &dst), GATE_REASON_MULTICAST);
    }
}

Test(gate_policy, no_address_is_never_reached)
{
    g_autoptr(Gate) gate = fixture_gate(GATE_ALL, true);
    NetAddr none = {0};

    cr_assert_eq(gate_decide(gate, &none), GATE_REASON_NEVER);
}

Test(gate_policy, host_addresses_are_replaced_at_run_time)
{
    g_autoptr(Gate) gate = fixture_gate(0, true);
    NetAddr addr = sample_addr("198.51.100.1");

    cr_assert_eq(gate_decide(gate, &addr), GATE_REASON_NONE);
    gate_set_host_addresses(gate, &addr, 1);
    cr_assert_eq(gate_decide(gate, &addr), GATE_REASON_HOST);
    gate_set_host_addresses(gate, NULL, 0);
    cr_assert_eq(gate_decide(gate, &addr), GATE_REASON_NONE);
}

Test(gate_policy, thousands_of_host_addresses_are_all_found)
{
    g_autoptr(Gate) gate = fixture_gate(0, true);
    g_autofree NetAddr *addrs = g_new0(NetAddr, 5000);

    for (uint32_t i = 0; i < 5000; i++)
        addrs[i] = netaddr_from_v4(0xc6336400 + i * 7919 % 100000);
    gate_set_host_addresses(gate, addrs, 5000);
    for (size_t i = 0; i < 5000; i++)
        cr_assert_eq(gate_decide(gate, &addrs[i]), GATE_REASON_HOST);
}

Test(gate_policy, the_gateway_is_the_hosts_loopback)
{
    static const char *const gateways[] = {"10.0.2.2", "fd00::2"};
    g_autoptr(Gate) shut = fixture_gate(GATE_ALL & ~(unsigned)NETCLASS_HOST_LOOPBACK, true);
    g_autoptr(Gate) open = fixture_gate(NETCLASS_HOST_LOOPBACK, true);

    for (size_t i = 0; i < 2; i++) {
        const char *gw = gateways[i];
        NetAddr dst = sample_addr(gw);

        cr_assert_eq(judge_tcp(shut, gw, 80, FRAME_TCP_SYN).reason, GATE_REASON_HOST_LOOPBACK);
        cr_assert_eq(judge_tcp(shut, gw, 80, FRAME_TCP_ACK).verdict, GATE_REFUSE);
        cr_assert_eq(judge_udp(shut, gw, 80).reason, GATE_REASON_HOST_LOOPBACK);
        cr_assert_eq(judge_udp(shut, gw, 53).reason, GATE_REASON_HOST_LOOPBACK);
        cr_assert_eq(judge_echo(shut, gw).verdict, GATE_ECHO);
        cr_assert_eq(gate_decide(shut, &dst), GATE_REASON_HOST_LOOPBACK);

        cr_assert_eq(judge_tcp(open, gw, 80, FRAME_TCP_SYN).verdict, GATE_NAT);
        cr_assert_eq(judge_udp(open, gw, 80).verdict, GATE_NAT);
        cr_assert_eq(judge_echo(open, gw).verdict, GATE_ECHO);
        cr_assert_eq(gate_decide(open, &dst), GATE_REASON_NONE);
    }
}

Test(gate_policy, services_of_libslirp_are_shut_even_where_loopback_is_open)
{
    g_autoptr(Gate) gate = fixture_gate(GATE_ALL, false);

    cr_assert_eq(judge_udp(gate, "10.0.2.2", 69).reason, GATE_REASON_INSIDE_CIDR);
    cr_assert_eq(judge_udp(gate, "10.0.2.2", 67).reason, GATE_REASON_INSIDE_CIDR);
    cr_assert_eq(judge_udp(gate, "fd00::2", 69).reason, GATE_REASON_INSIDE_CIDR);
    cr_assert_eq(judge_udp(gate, "fd00::2", 547).reason, GATE_REASON_INSIDE_CIDR);
    cr_assert_eq(judge_udp(gate, "fd00::2", 67).verdict, GATE_NAT);
}

Test(gate_policy, link_local_twins_of_the_virtual_addresses_are_virtual)
{
    static const char *const twins[] = {"fe80::2", "fe80::3"};
    g_autoptr(Gate) gate = fixture_gate(GATE_ALL, false);

    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(judge_tcp(gate, twins[i], 53, FRAME_TCP_SYN).reason, GATE_REASON_INSIDE_CIDR);
        cr_assert_eq(judge_udp(gate, twins[i], 53).reason, GATE_REASON_INSIDE_CIDR);
        cr_assert_eq(judge_echo(gate, twins[i]).verdict, GATE_ECHO);
    }
}

Test(gate_policy, of_the_name_server_only_port_53_and_echo_answer)
{
    static const char *const servers[] = {"10.0.2.3", "fd00::3"};
    g_autoptr(Gate) gate = fixture_gate(GATE_ALL, true);

    for (size_t i = 0; i < 2; i++) {
        for (unsigned port = 1; port < 65536; port += port < 1100 ? 1 : 997) {
            Judged tcp = judge_tcp(gate, servers[i], (uint16_t)port, FRAME_TCP_SYN);
            Judged udp = judge_udp(gate, servers[i], (uint16_t)port);

            cr_assert_eq(tcp.verdict, port == 53 ? GATE_NAT : GATE_REFUSE);
            cr_assert_eq(udp.verdict, port == 53 ? GATE_DNS : GATE_REFUSE);
            if (port != 53)
                cr_assert_eq(udp.reason, GATE_REASON_INSIDE_CIDR);
        }
        cr_assert_eq(judge_echo(gate, servers[i]).verdict, GATE_ECHO);
    }
}

Test(gate_policy, a_name_server_that_is_off_is_silent)
{
    static const char *const servers[] = {"10.0.2.3", "fd00::3"};
    GateConfig config = fixture_config();
    g_autoptr(Gate) gate = NULL;

    config.dns_enabled = false;
    gate = gate_new(&config);
    gate_set_dns_tcp_port(gate, AF_INET, 5353);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(judge_udp(gate, servers[i], 53).verdict, GATE_DROP);
        cr_assert_eq(judge_tcp(gate, servers[i], 53, FRAME_TCP_SYN).verdict, GATE_DROP);
        cr_assert_eq(judge_udp(gate, servers[i], 54).verdict, GATE_REFUSE);
    }
}

Test(gate_policy, dns_over_tcp_goes_to_our_listener_and_comes_back)
{
    static const char *const servers[] = {"10.0.2.3", "fd00::3"};
    static const char *const gateways[] = {"10.0.2.2", "fd00::2"};

    for (size_t i = 0; i < 2; i++) {
        g_autoptr(Gate) gate = fixture_gate(0, true);
        Judged judged = judge_tcp(gate, servers[i], 53, FRAME_TCP_SYN);
        NetAddr gateway = sample_addr(gateways[i]);
        NetAddr server = sample_addr(servers[i]);
        TcpSpec reply = {gateways[i],
                         fixture_guest(gateways[i]),
                         .src_port = (uint16_t)(5353 + i),
                         .dst_port = 40000,
                         .flags = 0x18,
                         .seq = 1,
                         .ack = 1001,
                         .len = 9};
        FrameView view;
        size_t len;

        cr_assert_eq(judged.verdict, GATE_NAT, "needs no --allow");
        cr_assert(netaddr_equal(&judged.view.dst, &gateway));
        cr_assert_eq(judged.view.dst_port, 5353 + i);
        cr_assert(frame_checksums_ok(fixture_frame, &judged.view));

        len = sample_tcp(fixture_frame, &reply);
        gate_reply(gate, fixture_frame, len);
        cr_assert_eq(frame_parse(fixture_frame, len, &view), FRAME_OK);
        cr_assert(netaddr_equal(&view.src, &server));
        cr_assert_eq(view.src_port, 53);
        cr_assert_eq(view.dst_port, 40000);
        cr_assert(frame_checksums_ok(fixture_frame, &view));
    }
}

Test(gate_policy, other_replies_stay_as_they_are)
{
    static const TcpSpec replies[] = {
        {"10.0.2.2", "10.0.2.100", .src_port = 5354, .flags = 0x18},
        {"10.0.2.4", "10.0.2.100", .src_port = 5353, .flags = 0x18},
        {"1.1.1.1", "10.0.2.100", .src_port = 5353, .flags = 0x18},
        {"fd00::2", "fd00::64", .src_port = 5353, .flags = 0x18},
        {"2606:4700::1", "fd00::64", .src_port = 5354, .flags = 0x18},
    };
    g_autoptr(Gate) gate = fixture_gate(0, true);

    for (size_t i = 0; i < G_N_ELEMENTS(replies) + G_N_ELEMENTS(samples); i++) {
        size_t s = i - G_N_ELEMENTS(replies);
        size_t len = i < G_N_ELEMENTS(replies) ? sample_tcp(fixture_frame, &replies[i])
                                               : sample_unhex(samples[s].hex, fixture_frame);

        for (size_t cut = 0; cut <= len; cut++) {
            g_autofree uint8_t *frame = sample_exact(fixture_frame, cut);

            gate_reply(gate, frame, cut);
            cr_assert_arr_eq(frame, fixture_frame, cut);
        }
    }
}

Test(gate_policy, the_listener_of_dns_is_shut_to_the_guest_itself)
{
    g_autoptr(Gate) shut = fixture_gate(0, true);
    g_autoptr(Gate) open = fixture_gate(GATE_ALL, true);

    cr_assert_eq(judge_tcp(shut, "10.0.2.2", 5353, FRAME_TCP_SYN).reason,
                 GATE_REASON_HOST_LOOPBACK);
    cr_assert_eq(judge_tcp(open, "10.0.2.2", 5353, FRAME_TCP_SYN).verdict, GATE_REFUSE);
    cr_assert_eq(judge_tcp(open, "10.0.2.2", 5353, FRAME_TCP_ACK).verdict, GATE_REFUSE);
    cr_assert_eq(judge_tcp(open, "fd00::2", 5354, FRAME_TCP_SYN).verdict, GATE_REFUSE);
    cr_assert_eq(judge_tcp(open, "10.0.2.2", 5354, FRAME_TCP_SYN).verdict, GATE_NAT);
    cr_assert_eq(judge_udp(open, "10.0.2.2", 5353).verdict, GATE_NAT);
}

Test(gate_policy, without_a_listener_dns_over_tcp_is_refused)
{
    static const char *const servers[] = {"10.0.2.3", "fd00::3"};
    g_autoptr(Gate) gate = fixture_gate(GATE_ALL, true);

    gate_set_dns_tcp_port(gate, AF_INET, 0);
    gate_set_dns_tcp_port(gate, AF_INET6, 0);
    for (size_t i = 0; i < 2; i++) {
        Judged judged = judge_tcp(gate, servers[i], 53, FRAME_TCP_SYN);

        cr_assert_eq(judged.verdict, GATE_REFUSE);
        cr_assert_eq(judged.reason, GATE_REASON_INSIDE_CIDR);
    }
}

Test(gate_policy, refusals_are_a_rst_or_an_icmp_error_of_the_gateway)
{
    static const char *const dsts[] = {"127.0.0.1", "::1"};
    static const char *const gateways[] = {"10.0.2.2", "fd00::2"};
    g_autoptr(Gate) gate = fixture_gate(0, true);

    for (size_t i = 0; i < 6; i++) {
        const char *dst = dsts[i % 2];
        Judged judged = i < 2   ? judge_tcp(gate, dst, 80, FRAME_TCP_SYN)
                        : i < 4 ? judge_udp(gate, dst, 80)
                                : judge_echo(gate, dst);
        NetAddr gateway = sample_addr(gateways[i % 2]);
        FrameView view;
        size_t len;

        cr_assert_eq(judged.verdict, GATE_REFUSE);
        len = gate_refusal(gate, fixture_frame, &judged.view, answer);
        cr_assert_eq(frame_parse(answer, len, &view), FRAME_OK);
        cr_assert(frame_checksums_ok(answer, &view));
        cr_assert(netaddr_equal(&view.dst, &judged.view.src));
        if (i < 2) {
            cr_assert_eq(view.tcp_flags, FRAME_TCP_RST | FRAME_TCP_ACK);
            cr_assert_eq(view.ack, 1001);
            cr_assert(netaddr_equal(&view.src, &judged.view.dst));
        } else {
            cr_assert_eq(view.icmp_type, i % 2 ? 1 : 3);
            cr_assert_eq(view.icmp_code, i % 2 ? 1 : 13);
            cr_assert(netaddr_equal(&view.src, &gateway));
        }
    }
}

Test(gate_policy, a_refused_frame_is_quoted_as_it_was_sent)
{
    g_autoptr(Gate) gate = fixture_gate(0, true);
    TcpSpec spec = {"10.0.2.100", "127.0.0.1", .flags = 0x38, .urgent = 9, .seq = -4u, .len = 4};
    size_t len = sample_tcp(fixture_frame, &spec);
    g_autofree uint8_t *before = sample_exact(fixture_frame, len);

    cr_assert_eq(judge(gate, len).verdict, GATE_REFUSE);
    cr_assert_arr_eq(fixture_frame, before, len);
}

Test(gate_policy, no_rst_answers_a_refused_rst)
{
    g_autoptr(Gate) gate = fixture_gate(0, true);
    Judged judged = judge_tcp(gate, "127.0.0.1", 80, FRAME_TCP_RST);

    cr_assert_eq(judged.verdict, GATE_REFUSE);
    cr_assert_eq(gate_refusal(gate, fixture_frame, &judged.view, answer), 0);
}

/* As slirp4netns: network unreachable for what is refused, silence where nobody is. */
Test(gate_policy, unreachable_instead_of_reset_or_prohibited)
{
    static const char *const refused[] = {"10.0.2.2", "10.0.2.3", "fd00::2", "fd00::3",
                                          "127.0.0.1"};
    static const char *const nobody[] = {"10.0.2.77", "fd00::77"};
    GateConfig config = fixture_config();
    g_autoptr(Gate) gate = NULL;
    uint8_t out[FRAME_MAX];
    FrameView view;

    config.unreachable = true;
    config.netns_mode = false;
    gate = gate_new(&config);
    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        bool ip4 = strchr(refused[i], ':') == NULL;
        Judged judged = judge_tcp(gate, refused[i], 80, FRAME_TCP_SYN);
        size_t len = gate_refusal(gate, fixture_frame, &judged.view, out);

        cr_assert_eq(judged.verdict, GATE_REFUSE, "%s", refused[i]);
        cr_assert_eq(frame_parse(out, len, &view), FRAME_OK);
        cr_expect_eq(view.icmp_type, ip4 ? 3 : 1, "%s", refused[i]);
        cr_expect_eq(view.icmp_code, 0, "%s", refused[i]);
        judged = judge_udp(gate, refused[i], 80);
        len = gate_refusal(gate, fixture_frame, &judged.view, out);
        cr_assert_eq(frame_parse(out, len, &view), FRAME_OK);
        cr_expect_eq(view.icmp_type, ip4 ? 3 : 1, "%s", refused[i]);
        cr_expect_eq(view.icmp_code, 0, "%s", refused[i]);
        /* What is no beginning is still reset. */
        judged = judge_tcp(gate, refused[i], 80, FRAME_TCP_ACK);
        len = gate_refusal(gate, fixture_frame, &judged.view, out);
        cr_assert_eq(frame_parse(out, len, &view), FRAME_OK);
        cr_expect_eq(view.protocol, IPPROTO_TCP, "%s", refused[i]);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(nobody); i++) {
        cr_expect_eq(judge_tcp(gate, nobody[i], 80, FRAME_TCP_SYN).verdict, GATE_DROP);
        cr_expect_eq(judge_udp(gate, nobody[i], 80).verdict, GATE_DROP);
        cr_expect_eq(judge_echo(gate, nobody[i]).verdict, GATE_DROP);
        cr_expect_eq(judge_echo(gate, nobody[i]).reason, GATE_REASON_INSIDE_CIDR);
    }
    cr_expect_eq(judge_echo(gate, "10.0.2.2").verdict, GATE_ECHO);
}
