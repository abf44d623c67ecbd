/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_GATE_FIXTURE_H
#define SALLYPORT_TESTS_GATE_FIXTURE_H

#include <criterion/criterion.h>

#include "datapath/gate.h"

#include "frame_samples.h"

/* A gate with the default networks, and one frame in front of it; for test_gate*.c. */

#define GATE_ALL (NETCLASS_HOST_LOOPBACK | NETCLASS_HOST | NETCLASS_LINK_LOCAL | NETCLASS_METADATA)

typedef struct Judged {
    GateVerdict verdict;
    GateReason reason;
    size_t len;
    FrameView view;
} Judged;

static uint8_t fixture_frame[FRAME_MAX + 1];

G_GNUC_UNUSED static GateConfig fixture_config(void)
{
    GateConfig config = {
        .gateway = sample_addr("10.0.2.2"),
        .dns = sample_addr("10.0.2.3"),
        .ipv6 = true,
        .gateway6 = sample_addr("fd00::2"),
        .dns6 = sample_addr("fd00::3"),
        .dns_enabled = true,
        .netns_mode = true,
    };

    cr_assert(netcidr_parse("10.0.2.0/24", AF_INET, &config.cidr, NULL));
    cr_assert(netcidr_parse("fd00::/64", AF_INET6, &config.cidr6, NULL));
    return config;
}

G_GNUC_UNUSED static Gate *fixture_gate(unsigned allow, bool netns_mode)
{
    GateConfig config = fixture_config();
    Gate *gate;

    config.allow = allow;
    config.netns_mode = netns_mode;
    gate = gate_new(&config);
    gate_set_dns_tcp_port(gate, AF_INET, 5353);
    gate_set_dns_tcp_port(gate, AF_INET6, 5354);
    return gate;
}

/* Judges @len bytes of fixture_frame, in a copy without a byte to spare, and copies the result
 * back. Whatever passes must be a good frame still. */
G_GNUC_UNUSED static Judged judge(Gate *gate, size_t len)
{
    g_autofree uint8_t *frame = sample_exact(fixture_frame, len);
    Judged judged = {.len = len};
    FrameView again;
    uint64_t before[GATE_REASON_COUNT];

    for (unsigned i = 0; i < GATE_REASON_COUNT; i++)
        before[i] = gate_counter(gate, i);
    judged.verdict = gate_judge(gate, frame, &judged.len, &judged.view, &judged.reason);
    cr_assert_eq(gate_counter(gate, judged.reason), before[judged.reason] + 1);
    cr_assert_leq(judged.len, len);
    memcpy(fixture_frame, frame, len);
    if (judged.verdict != GATE_DROP) {
        cr_assert_eq(frame_parse(frame, judged.len, &again), FRAME_OK);
        cr_assert_eq(again.end, judged.len);
        cr_assert(netaddr_equal(&again.dst, &judged.view.dst));
        cr_assert_eq(again.dst_port, judged.view.dst_port);
        cr_assert_eq(again.tcp_flags, judged.view.tcp_flags);
        cr_assert_eq(again.seq, judged.view.seq);
        cr_assert_eq(again.end, judged.view.end);
    }
    return judged;
}

G_GNUC_UNUSED static Judged judge_sample(Gate *gate, const char *name)
{
    return judge(gate, sample_get(name, fixture_frame));
}

/* Source and destination of all short forms below. */
G_GNUC_UNUSED static const char *fixture_guest(const char *dst)
{
    return strchr(dst, ':') ? "fd00::64" : "10.0.2.100";
}

G_GNUC_UNUSED static Judged judge_tcp(Gate *gate, const char *dst, uint16_t port, uint8_t flags)
{
    TcpSpec spec = {fixture_guest(dst), dst, .dst_port = port, .seq = 1000, .flags = flags};

    return judge(gate, sample_tcp(fixture_frame, &spec));
}

G_GNUC_UNUSED static Judged judge_udp(Gate *gate, const char *dst, uint16_t port)
{
    return judge(gate, sample_udp(fixture_frame, fixture_guest(dst), 40000, dst, port));
}

G_GNUC_UNUSED static Judged judge_echo(Gate *gate, const char *dst)
{
    uint8_t type = strchr(dst, ':') ? 128 : 8;

    return judge(gate, sample_icmp(fixture_frame, fixture_guest(dst), dst, 64, type, 0,
                                   "0007 0001 70696e67"));
}

#endif
