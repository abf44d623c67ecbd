/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_frame_build.c - frames of our own making, and when none may be made
 *
 * Does:     builds each kind in both families; reads the result back; checks every checksum.
 */
#include "config.h"

#include "datapath/frame.h"

#include <criterion/criterion.h>

#include "frame_samples.h"

static uint8_t in[FRAME_MAX];
static uint8_t out[FRAME_MAX + 1];
static uint8_t data[FRAME_MAX];

/* Reads @out back; it must be a good frame of exactly @len bytes. */
static FrameView read_back(size_t len)
{
    g_autofree uint8_t *frame = sample_exact(out, len);
    FrameView view = {0};

    cr_assert_gt(len, 0);
    cr_assert_eq(frame_parse(frame, len, &view), FRAME_OK);
    cr_assert_eq(view.end, len);
    cr_assert(frame_checksums_ok(frame, &view));
    return view;
}

static size_t read_sample(const char *name, FrameView *view)
{
    size_t len = sample_get(name, in);

    cr_assert_eq(frame_parse(in, len, view), FRAME_OK);
    return len;
}

/* The MACs of @in, swapped. */
static void assert_sent_back(void)
{
    cr_assert_arr_eq(out, in + FRAME_MAC_LEN, FRAME_MAC_LEN);
    cr_assert_arr_eq(out + FRAME_MAC_LEN, in, FRAME_MAC_LEN);
}

Test(frame_build, udp_of_any_length_has_good_checksums)
{
    for (size_t len = 0; len < 64; len++) {
        NetAddr src4 = sample_addr("10.0.2.3"), dst4 = sample_addr("10.0.2.100");
        NetAddr src6 = sample_addr("fd00::3"), dst6 = sample_addr("fd00::64");
        FrameView view;

        memset(data, 0xfe, len);
        view = read_back(frame_build_udp(out, sample_guest_mac, sample_gateway_mac, &src4, 53,
                                         &dst4, 4000, data, len));
        cr_assert_eq(view.src_port, 53);
        cr_assert_eq(view.dst_port, 4000);
        cr_assert_eq(view.hop_limit, 64);
        cr_assert(netaddr_equal(&view.dst, &dst4));
        cr_assert_arr_eq(out + view.payload, data, len);
        view = read_back(frame_build_udp(out, sample_guest_mac, sample_gateway_mac, &src6, 53,
                                         &dst6, 4000, data, len));
        cr_assert_eq(view.end - view.payload, len);
        cr_assert(netaddr_equal(&view.src, &src6));
    }
}

Test(frame_build, udp_ends_at_the_limits_of_ip)
{
    NetAddr a4 = sample_addr("10.0.2.3"), a6 = sample_addr("fd00::3");
    const uint8_t *mac = sample_guest_mac;
    size_t max4 = 65535 - 28;
    size_t max6 = FRAME_MAX - 14 - 48;

    out[FRAME_MAX] = 0x5a;
    (void)read_back(frame_build_udp(out, mac, mac, &a4, 1, &a4, 2, data, max4));
    (void)read_back(frame_build_udp(out, mac, mac, &a6, 1, &a6, 2, data, max6));
    cr_assert_eq(frame_build_udp(out, mac, mac, &a4, 1, &a4, 2, data, max4 + 1), 0);
    cr_assert_eq(frame_build_udp(out, mac, mac, &a6, 1, &a6, 2, data, max6 + 1), 0);
    cr_assert_eq(frame_build_udp(out, mac, mac, &a6, 1, &a6, 2, data, SIZE_MAX), 0);
    cr_assert_eq(frame_build_udp(out, mac, mac, &a4, 1, &a6, 2, data, 1), 0);
    cr_assert_eq(out[FRAME_MAX], 0x5a);
}

Test(frame_build, udp_checksum_is_never_zero)
{
    NetAddr a4 = sample_addr("10.0.2.3"), a6 = sample_addr("fd00::3");
    const uint8_t *mac = sample_guest_mac;

    for (unsigned i = 0; i < 65536; i++) {
        put16(data, (uint16_t)i);
        (void)frame_build_udp(out, mac, mac, &a4, 1, &a4, 2, data, 2);
        if (get16(out + 40) == 0)
            cr_assert_fail("IPv4, %u", i);
        (void)frame_build_udp(out, mac, mac, &a6, 1, &a6, 2, data, 2);
        if (get16(out + 60) == 0)
            cr_assert_fail("IPv6, %u", i);
    }
}

/* RFC 9293 3.10.7.1 */
typedef struct RstRow {
    uint8_t flags;
    size_t len;
    uint8_t rst_flags;
    uint32_t rst_seq;
    uint32_t rst_ack;
} RstRow;

static const RstRow rst_rows[] = {
    {FRAME_TCP_SYN, 0, FRAME_TCP_RST | FRAME_TCP_ACK, 0, 1001},
    {FRAME_TCP_SYN, 5, FRAME_TCP_RST | FRAME_TCP_ACK, 0, 1006},
    {FRAME_TCP_SYN | FRAME_TCP_FIN, 5, FRAME_TCP_RST | FRAME_TCP_ACK, 0, 1007},
    {FRAME_TCP_FIN, 0, FRAME_TCP_RST | FRAME_TCP_ACK, 0, 1001},
    {0, 0, FRAME_TCP_RST | FRAME_TCP_ACK, 0, 1000},
    {FRAME_TCP_ACK, 5, FRAME_TCP_RST, 7777, 0},
    {FRAME_TCP_SYN | FRAME_TCP_ACK, 0, FRAME_TCP_RST, 7777, 0},
};

Test(frame_build, rst_takes_its_numbers_from_what_it_answers)
{
    static const char *const src[] = {"10.0.2.100", "fd00::64"};
    static const char *const dst[] = {"1.1.1.1", "2606:4700::1"};

    for (size_t i = 0; i < 2 * G_N_ELEMENTS(rst_rows); i++) {
        const RstRow *row = &rst_rows[i / 2];
        TcpSpec spec = {src[i & 1], dst[i & 1], .seq = 1000, .ack = 7777};
        FrameView view;
        FrameView rst;

        spec.flags = row->flags;
        spec.len = row->len;
        cr_assert_eq(frame_parse(in, sample_tcp(in, &spec), &view), FRAME_OK);
        rst = read_back(frame_build_tcp_rst(out, in, &view));
        cr_assert_eq(rst.tcp_flags, row->rst_flags);
        cr_assert_eq(rst.seq, row->rst_seq);
        cr_assert_eq(rst.ack, row->rst_ack);
        cr_assert_eq(rst.src_port, 80);
        cr_assert_eq(rst.dst_port, 40000);
        cr_assert(netaddr_equal(&rst.src, &view.dst));
        cr_assert(netaddr_equal(&rst.dst, &view.src));
        assert_sent_back();
    }
}

Test(frame_build, rst_does_not_answer_rst_nor_udp_nor_many)
{
    TcpSpec rst = {"10.0.2.100", "1.1.1.1", .flags = FRAME_TCP_RST};
    TcpSpec many = {"10.0.2.100", "224.0.0.1", .flags = FRAME_TCP_SYN};
    TcpSpec many6 = {"fd00::64", "ff02::1", .flags = FRAME_TCP_SYN};
    FrameView view;

    cr_assert_eq(frame_parse(in, sample_tcp(in, &rst), &view), FRAME_OK);
    cr_assert_eq(frame_build_tcp_rst(out, in, &view), 0);
    cr_assert_eq(frame_parse(in, sample_tcp(in, &many), &view), FRAME_OK);
    cr_assert_eq(frame_build_tcp_rst(out, in, &view), 0);
    cr_assert_eq(frame_parse(in, sample_tcp(in, &many6), &view), FRAME_OK);
    cr_assert_eq(frame_build_tcp_rst(out, in, &view), 0);
    (void)read_sample("udp4", &view);
    cr_assert_eq(frame_build_tcp_rst(out, in, &view), 0);
    (void)read_sample("tcp4 syn", &view);
    in[0] = 0xff;
    cr_assert_eq(frame_build_tcp_rst(out, in, &view), 0);
}

Test(frame_build, icmp_error_quotes_what_fits)
{
    static const size_t lens[] = {0, 1, 520, 521, 1000, 1184, 1185, 9000};

    for (size_t i = 0; i < 2 * G_N_ELEMENTS(lens); i++) {
        bool ip4 = i & 1;
        TcpSpec spec = {ip4 ? "10.0.2.100" : "fd00::64", ip4 ? "1.1.1.1" : "2606:4700::1",
                        .len = lens[i / 2]};
        size_t len = sample_tcp(in, &spec);
        size_t quote = MIN(len - 14, (size_t)(ip4 ? 548 : 1232));
        NetAddr from = sample_addr(ip4 ? "10.0.2.2" : "fd00::2");
        FrameView view;
        FrameView error;

        cr_assert_eq(frame_parse(in, len, &view), FRAME_OK);
        error = read_back(frame_build_icmp_error(out, in, &view, &from, ip4 ? 3 : 1, 13, 1400));
        cr_assert_eq(error.icmp_type, ip4 ? 3 : 1);
        cr_assert_eq(error.icmp_code, 13);
        cr_assert_eq(get32(out + error.l4 + 4), 0);
        cr_assert_eq(error.end - error.payload, quote);
        cr_assert_arr_eq(out + error.payload, in + 14, quote);
        cr_assert_leq(error.end - error.l3, ip4 ? 576 : 1280);
        cr_assert(netaddr_equal(&error.src, &from));
        cr_assert(netaddr_equal(&error.dst, &view.src));
        assert_sent_back();
    }
}

Test(frame_build, icmp_error_carries_the_mtu_where_there_is_a_field_for_it)
{
    NetAddr from4 = sample_addr("10.0.2.2"), from6 = sample_addr("fd00::2");
    FrameView view;
    FrameView error;

    (void)read_sample("udp4", &view);
    error = read_back(frame_build_icmp_error(out, in, &view, &from4, 3, 4, 1400));
    cr_assert_eq(get32(out + error.l4 + 4), 1400);
    error = read_back(frame_build_icmp_error(out, in, &view, &from4, 3, 4, 1 << 20));
    cr_assert_eq(get32(out + error.l4 + 4), 65535);
    (void)read_sample("udp6", &view);
    error = read_back(frame_build_icmp_error(out, in, &view, &from6, 2, 0, 1 << 20));
    cr_assert_eq(get32(out + error.l4 + 4), 1 << 20);
}

/* RFC 1122 3.2.2, RFC 4443 2.4 (e). */
typedef struct Silence {
    const char *src;
    const char *dst;
    uint8_t type;
    bool answered;
} Silence;

static const Silence silences[] = {
    {"10.0.2.100", "1.1.1.1", 8, true},          {"10.0.2.100", "1.1.1.1", 0, true},
    {"10.0.2.100", "1.1.1.1", 3, false},         {"10.0.2.100", "1.1.1.1", 4, false},
    {"10.0.2.100", "1.1.1.1", 5, false},         {"10.0.2.100", "1.1.1.1", 11, false},
    {"10.0.2.100", "1.1.1.1", 12, false},        {"10.0.2.100", "224.0.0.1", 8, false},
    {"10.0.2.100", "255.255.255.255", 8, false}, {"0.0.0.0", "1.1.1.1", 8, false},
    {"255.255.255.255", "1.1.1.1", 8, false},    {"239.1.1.1", "1.1.1.1", 8, false},
    {"fd00::64", "2606:4700::1", 128, true},     {"fd00::64", "2606:4700::1", 1, false},
    {"fd00::64", "2606:4700::1", 2, false},      {"fd00::64", "2606:4700::1", 127, false},
    {"fd00::64", "2606:4700::1", 137, false},    {"fd00::64", "ff02::1", 128, false},
    {"::", "2606:4700::1", 128, false},          {"ff02::1", "2606:4700::1", 128, false},
};

Test(frame_build, icmp_error_answers_no_error_and_nothing_of_or_to_many)
{
    for (size_t i = 0; i < G_N_ELEMENTS(silences); i++) {
        const Silence *row = &silences[i];
        NetAddr from = sample_addr(strchr(row->src, ':') ? "fd00::2" : "10.0.2.2");
        size_t len = sample_icmp(in, row->src, row->dst, 64, row->type, 0, "00000000");
        FrameView view;

        cr_assert_eq(frame_parse(in, len, &view), FRAME_OK);
        len = frame_build_icmp_error(out, in, &view, &from, 3, 1, 0);
        cr_assert_eq(len > 0, row->answered, "%s %s %u", row->src, row->dst, row->type);
        len = frame_build_echo_reply(out, in, &view);
        cr_assert_eq(len > 0, row->answered && (row->type == 8 || row->type == 128));
        in[0] = 0x33;
        cr_assert_eq(frame_build_icmp_error(out, in, &view, &from, 3, 1, 0), 0);
    }
}

Test(frame_build, icmp_error_does_not_answer_arp_nor_the_other_family)
{
    NetAddr from = sample_addr("10.0.2.2");
    FrameView view;

    (void)read_sample("arp reply", &view);
    cr_assert_eq(frame_build_icmp_error(out, in, &view, &from, 3, 1, 0), 0);
    (void)read_sample("udp6", &view);
    cr_assert_eq(frame_build_icmp_error(out, in, &view, &from, 3, 1, 0), 0);
}

Test(frame_build, echo_reply_is_the_request_sent_back)
{
    static const char *const names[] = {"echo4", "echo6"};

    for (size_t i = 0; i < 2; i++) {
        FrameView view;
        size_t len = read_sample(names[i], &view);
        FrameView reply = read_back(frame_build_echo_reply(out, in, &view));

        cr_assert_eq(reply.end, len);
        cr_assert_eq(reply.icmp_type, i == 0 ? 0 : 129);
        cr_assert_eq(reply.icmp_id, 7);
        cr_assert_eq(reply.icmp_seq, 1);
        cr_assert_arr_eq(out + reply.payload, in + view.payload, len - view.payload);
        cr_assert(netaddr_equal(&reply.src, &view.dst));
        cr_assert(netaddr_equal(&reply.dst, &view.src));
        assert_sent_back();

        in[len - 1] ^= 1;
        cr_assert_eq(frame_build_echo_reply(out, in, &view), len);
        cr_assert_not(frame_checksums_ok(out, &reply), "a damaged request is not made good");
    }
}

Test(frame_build, echo_reply_to_anything_else_is_none)
{
    static const char *const names[] = {"tcp4 data", "udp6", "arp request",
                                        "neighbour solicitation"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        FrameView view;

        (void)read_sample(names[i], &view);
        cr_assert_eq(frame_build_echo_reply(out, in, &view), 0, "%s", names[i]);
    }
}

Test(frame_build, echo_of_our_own_carries_what_it_is_given)
{
    NetAddr src[2] = {sample_addr("1.1.1.1"), sample_addr("2606:4700::1")};
    NetAddr dst[2] = {sample_addr("10.0.2.100"), sample_addr("fd00::64")};
    const uint8_t *mac = sample_guest_mac;

    memset(data, 0xa5, 70);
    for (size_t i = 0; i < 2; i++) {
        size_t max = i == 0 ? 65535 - 28 : FRAME_MAX - 14 - 48;

        for (size_t len = 0; len < 70; len++) {
            size_t built =
                frame_build_echo(out, mac, mac, &src[i], &dst[i], 0, 65535, 57, data, len);
            FrameView view = read_back(built);

            cr_assert_eq(view.icmp_type, i == 0 ? 0 : 129);
            cr_assert_eq(view.icmp_id, 0);
            cr_assert_eq(view.icmp_seq, 65535);
            cr_assert_eq(view.hop_limit, 57);
            cr_assert_eq(view.end - view.payload, len);
        }
        (void)read_back(frame_build_echo(out, mac, mac, &src[i], &dst[i], 1, 1, 1, data, max));
        cr_assert_eq(frame_build_echo(out, mac, mac, &src[i], &dst[i], 1, 1, 1, data, max + 1), 0);
        cr_assert_eq(frame_build_echo(out, mac, mac, &src[i], &dst[1 - i], 1, 1, 1, data, 1), 0);
    }
}

Test(frame_build, announcement_says_where_its_sender_is)
{
    NetAddr addr4 = sample_addr("10.0.2.100"), to4 = sample_addr("10.0.2.2");
    NetAddr addr6 = sample_addr("fd00::64"), to6 = sample_addr("fd00::2");
    size_t len = frame_build_announcement(out, sample_gateway_mac, sample_guest_mac, &addr4, &to4);
    FrameView view = read_back(len);

    cr_assert_eq(len, 14 + 28);
    cr_assert_eq(view.ethertype, 0x0806);
    cr_assert(netaddr_equal(&view.src, &addr4) && netaddr_equal(&view.dst, &to4));
    cr_assert_arr_eq(out + view.l3 + 8, sample_guest_mac, FRAME_MAC_LEN);
    len = frame_build_announcement(out, sample_gateway_mac, sample_guest_mac, &addr6, &to6);
    cr_assert_leq(len, FRAME_ANNOUNCEMENT_MAX);
    view = read_back(len);
    cr_assert_eq(view.icmp_type, 136);
    cr_assert_eq(view.hop_limit, 255); /* RFC 4861 7.1.2: no other is taken */
    cr_assert(netaddr_equal(&view.src, &addr6) && netaddr_equal(&view.dst, &to6));
    cr_assert_arr_eq(out + view.l4 + 8, &addr6.v6, 16);
    cr_assert_arr_eq(out + view.l4 + 26, sample_guest_mac, FRAME_MAC_LEN);
}

/* Byte for byte what RFC 4861 4.2, 4.6.2 and RFC 8106 5.1 want. */
Test(frame_build, router_advertisement)
{
    static const uint8_t body[] = {
        134,  0, 0,    0,    64, 0, 0x07, 0x08, 0, 0, 0,    0,    0, 0, 0, 0, /* lifetime 1800 */
        1,    1, 0x52, 0x56, 0,  0, 0,    2, /* source link address */
        3,    4, 64,   0xc0, 0,  1, 0x51, 0x80, 0, 0, 0x38, 0x40, 0, 0, 0, 0, /* 86400, 14400 */
        0xfd, 0, 0,    0,    0,  0, 0,    0,    0, 0, 0,    0,    0, 0, 0, 0,
        25,   3, 0,    0,    0,  0, 0x07, 0x08, /* name server */
        0xfd, 0, 0,    0,    0,  0, 0,    0,    0, 0, 0,    0,    0, 0, 0, 3,
    };
    NetAddr from = sample_addr("fe80::2"), all = sample_addr("ff02::1");
    NetAddr dns = sample_addr("fd00::3");
    NetCidr prefix;

    cr_assert(netcidr_parse("fd00::/64", AF_INET6, &prefix, NULL));
    for (size_t i = 0; i < 2; i++) {
        size_t len = frame_build_router(out, &from, &prefix, i == 0 ? &dns : NULL);
        size_t expected = sizeof(body) - (i == 0 ? 0 : 24);
        FrameView view = read_back(len);

        cr_assert_leq(len, FRAME_ROUTER_MAX);
        cr_assert_arr_eq(out, "\x33\x33\0\0\0\x01\x52\x56\0\0\0\x02", 12);
        cr_assert(netaddr_equal(&view.src, &from) && netaddr_equal(&view.dst, &all));
        cr_assert_eq(view.hop_limit, 255);
        cr_assert_eq(view.end - view.l4, expected);
        cr_assert_arr_eq(out + view.l4 + 4, body + 4, expected - 4);
        cr_assert_eq(view.icmp_type, 134);
    }
}
