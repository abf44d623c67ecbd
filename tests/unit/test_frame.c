/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_frame.c - what frame_parse() takes for a frame, and changes in place
 *
 * Does:     reads good frames; the same cut at every byte and with every header byte wrong; attack
 *           frames as patches of good ones; rewriting, stripping and shortening.
 * Not here: the builders (test_frame_build.c).
 */
#include "config.h"

#include "datapath/frame.h"

#include <criterion/criterion.h>

#include "frame_samples.h"

static uint8_t buffer[FRAME_MAX + 16];
static uint8_t answer[FRAME_MAX];

Test(frame, every_good_sample_is_read_and_has_good_checksums)
{
    for (size_t i = 0; i < G_N_ELEMENTS(samples); i++) {
        size_t len = sample_unhex(samples[i].hex, buffer);
        g_autofree uint8_t *frame = sample_exact(buffer, len);
        FrameView view;

        cr_assert_eq(frame_parse(frame, len, &view), FRAME_OK, "%s", samples[i].name);
        cr_assert_eq(view.end, len, "%s", samples[i].name);
        cr_assert(frame_checksums_ok(frame, &view), "%s", samples[i].name);
        frame_fix_checksums(frame, &view);
        cr_assert_arr_eq(frame, buffer, len, "%s", samples[i].name);
    }
}

Test(frame, fields_of_a_tcp_frame_are_told)
{
    size_t len = sample_get("tcp4 data", buffer);
    NetAddr src = sample_addr("10.0.2.100");
    NetAddr dst = sample_addr("93.184.216.34");
    FrameView view;

    cr_assert_eq(frame_parse(buffer, len, &view), FRAME_OK);
    cr_assert_eq(view.ethertype, 0x0800);
    cr_assert_eq(view.protocol, IPPROTO_TCP);
    cr_assert_eq(view.hop_limit, 64);
    cr_assert_eq(view.tcp_flags, FRAME_TCP_PSH | FRAME_TCP_ACK);
    cr_assert_eq(view.src_port, 40000);
    cr_assert_eq(view.dst_port, 443);
    cr_assert_eq(view.seq, 0x01020304);
    cr_assert_eq(view.ack, 0x0a0b0c0d);
    cr_assert_eq(view.l3, 14);
    cr_assert_eq(view.l4, 34);
    cr_assert_eq(view.payload, 66);
    cr_assert_eq(view.end - view.payload, 5);
    cr_assert(netaddr_equal(&view.src, &src));
    cr_assert(netaddr_equal(&view.dst, &dst));
}

Test(frame, fields_of_an_ipv6_echo_are_told)
{
    size_t len = sample_get("echo6", buffer);
    NetAddr dst = sample_addr("2606:2800:220:1::1");
    FrameView view;

    cr_assert_eq(frame_parse(buffer, len, &view), FRAME_OK);
    cr_assert_eq(view.protocol, IPPROTO_ICMPV6);
    cr_assert_eq(view.icmp_type, 128);
    cr_assert_eq(view.icmp_code, 0);
    cr_assert_eq(view.icmp_id, 7);
    cr_assert_eq(view.icmp_seq, 1);
    cr_assert_eq(view.payload, 62);
    cr_assert(netaddr_equal(&view.dst, &dst));
}

Test(frame, arp_tells_sender_and_target)
{
    size_t len = sample_get("arp request", buffer);
    NetAddr sender = sample_addr("10.0.2.100");
    NetAddr target = sample_addr("10.0.2.2");
    FrameView view;

    cr_assert_eq(frame_parse(buffer, len, &view), FRAME_OK);
    cr_assert_eq(view.protocol, 0);
    cr_assert(netaddr_equal(&view.src, &sender));
    cr_assert(netaddr_equal(&view.dst, &target));
}

Test(frame, a_frame_cut_at_any_byte_is_refused_and_nothing_is_written)
{
    for (size_t i = 0; i < G_N_ELEMENTS(samples); i++) {
        size_t len = sample_unhex(samples[i].hex, buffer);

        for (size_t cut = 0; cut < len; cut++) {
            g_autofree uint8_t *frame = sample_exact(buffer, cut);
            FrameView view = {.l3 = 4711};

            cr_assert_neq(frame_parse(frame, cut, &view), FRAME_OK, "%s at %zu", samples[i].name,
                          cut);
            cr_assert_eq(view.l3, 4711);
        }
    }
}

/* Everything that may be done with a frame that was read; only the sanitizers judge. */
static void do_everything(uint8_t *frame, size_t len, FrameView *view)
{
    NetAddr addr = view->ethertype == 0x86dd ? sample_addr("fd00::2") : sample_addr("10.0.2.2");

    cr_assert_leq(view->end, len);
    cr_assert_leq(view->payload, view->end);
    cr_assert_leq(view->l4, view->payload);
    (void)frame_checksums_ok(frame, view);
    cr_assert_leq(frame_build_tcp_rst(answer, frame, view), 74);
    cr_assert_leq(frame_build_icmp_error(answer, frame, view, &addr, 1, 1, 1280), 1294);
    cr_assert_leq(frame_build_echo_reply(answer, frame, view), len);
    if (view->protocol == IPPROTO_TCP || view->protocol == IPPROTO_UDP) {
        frame_rewrite_dst(frame, view, &addr, 53);
        frame_rewrite_src(frame, view, &addr, 53);
    }
    if (view->protocol == IPPROTO_TCP) {
        frame_strip_urg(frame, view);
        cr_assert_leq(frame_shorten_tcp(frame, view, 1), len);
    }
    frame_fix_checksums(frame, view);
}

Test(frame, any_header_byte_may_be_wrong)
{
    static const uint8_t values[] = {0x00, 0xff, 0x01, 0x7f, 0x80};

    for (size_t i = 0; i < G_N_ELEMENTS(samples); i++) {
        size_t len = sample_unhex(samples[i].hex, buffer);

        for (size_t at = 0; at < len * G_N_ELEMENTS(values); at++) {
            g_autofree uint8_t *frame = sample_exact(buffer, len);
            FrameView view;

            frame[at % len] = values[at / len];
            if (frame_parse(frame, len, &view) == FRAME_OK)
                do_everything(frame, len, &view);
        }
    }
}

Test(frame, lengths_no_link_of_ours_has_are_short)
{
    FrameView view;

    memset(buffer, 0, sizeof(buffer));
    for (size_t len = 0; len < FRAME_ETH_LEN; len++) {
        g_autofree uint8_t *frame = sample_exact(buffer, len);

        cr_assert_eq(frame_parse(frame, len, &view), FRAME_SHORT);
    }
    sample_get("tcp4 syn", buffer);
    cr_assert_eq(frame_parse(buffer, FRAME_MAX, &view), FRAME_OK);
    cr_assert_eq(frame_parse(buffer, FRAME_MAX + 1, &view), FRAME_SHORT);
}

Test(frame, padding_is_not_part_of_the_packet)
{
    size_t len = sample_get("udp4", buffer);
    FrameView view;

    memset(buffer + len, 0xaa, 13);
    cr_assert_eq(frame_parse(buffer, len + 13, &view), FRAME_OK);
    cr_assert_eq(view.end, len);
}

/* A good sample, and what is written over it at @at. */
typedef struct Attack {
    const char *sample;
    size_t at;
    const char *hex;
    FrameStatus status;
} Attack;

static const Attack attacks[] = {
    {"echo4", 12, "88f8", FRAME_ETHERTYPE}, /* NC-SI, which libslirp would speak */
    {"echo4", 12, "8100", FRAME_ETHERTYPE},
    {"echo4", 12, "0017", FRAME_ETHERTYPE}, /* IEEE 802.3 length */
    {"echo4", 12, "0806", FRAME_BAD_ARP},
    {"echo4", 12, "86dd", FRAME_SHORT},
    {"tcp4 syn", 12, "86dd", FRAME_BAD_IP},
    {"tcp6 syn", 12, "0800", FRAME_BAD_IP},
    {"arp request", 14, "0006", FRAME_BAD_ARP},
    {"arp request", 16, "86dd", FRAME_BAD_ARP},
    {"arp request", 18, "08", FRAME_BAD_ARP},
    {"arp request", 19, "10", FRAME_BAD_ARP},
    {"arp request", 20, "0000", FRAME_BAD_ARP},
    {"arp request", 20, "0003", FRAME_BAD_ARP}, /* RARP */
    {"udp4", 14, "44", FRAME_BAD_IP},
    {"udp4", 14, "40", FRAME_BAD_IP},
    {"udp4", 14, "65", FRAME_BAD_IP},
    {"udp4", 14, "46", FRAME_IP_OPTIONS},
    {"udp4", 14, "4f", FRAME_IP_OPTIONS},
    {"udp4", 16, "0013", FRAME_BAD_IP},
    {"udp4", 16, "0000", FRAME_BAD_IP},
    {"udp4", 16, "0022", FRAME_BAD_IP}, /* one byte beyond the frame */
    {"udp4", 16, "ffff", FRAME_BAD_IP},
    {"udp4", 16, "0014", FRAME_BAD_UDP},
    {"udp4", 20, "2000", FRAME_FRAGMENT}, /* more fragments */
    {"udp4", 20, "0001", FRAME_FRAGMENT}, /* an offset */
    {"udp4", 20, "6000", FRAME_FRAGMENT},
    {"udp4", 20, "8000", FRAME_FRAGMENT}, /* the reserved bit: libslirp would reassemble */
    {"udp4", 23, "3a", FRAME_PROTOCOL},   /* ICMPv6 in IPv4 */
    {"udp4", 23, "02", FRAME_PROTOCOL},
    {"udp4", 23, "84", FRAME_PROTOCOL},
    {"udp4", 23, "00", FRAME_PROTOCOL},
    {"udp4", 38, "0000", FRAME_BAD_UDP},
    {"udp4", 38, "0007", FRAME_BAD_UDP}, /* libslirp would send -8 bytes */
    {"udp4", 38, "0008", FRAME_BAD_UDP}, /* legal, but leaves bytes behind */
    {"udp4", 38, "000c", FRAME_BAD_UDP},
    {"udp4", 38, "000e", FRAME_BAD_UDP},
    {"udp4", 38, "ffff", FRAME_BAD_UDP},
    {"udp4", 34, "0000", FRAME_BAD_UDP},
    {"udp4", 36, "0000", FRAME_BAD_UDP},
    {"tcp4 data", 34, "0000", FRAME_BAD_TCP},
    {"tcp4 data", 36, "0000", FRAME_BAD_TCP},
    {"tcp4 data", 46, "40", FRAME_BAD_TCP},
    {"tcp4 data", 46, "00", FRAME_BAD_TCP},
    {"tcp4 data", 46, "f0", FRAME_BAD_TCP},
    {"tcp4 data", 16, "0027", FRAME_BAD_TCP},
    {"echo4", 16, "001b", FRAME_BAD_ICMP},
    {"udp6", 14, "50", FRAME_BAD_IP},
    {"udp6", 18, "000e", FRAME_BAD_IP},
    {"udp6", 18, "ffff", FRAME_BAD_IP},
    {"udp6", 18, "0000", FRAME_BAD_UDP}, /* a jumbogram */
    {"udp6", 18, "0007", FRAME_BAD_UDP},
    {"udp6", 20, "2c", FRAME_FRAGMENT},
    {"udp6", 20, "00", FRAME_IP6_EXTENSION},
    {"udp6", 20, "2b", FRAME_IP6_EXTENSION},
    {"udp6", 20, "3c", FRAME_IP6_EXTENSION},
    {"udp6", 20, "33", FRAME_IP6_EXTENSION},
    {"udp6", 20, "32", FRAME_IP6_EXTENSION},
    {"udp6", 20, "87", FRAME_IP6_EXTENSION},
    {"udp6", 20, "8b", FRAME_IP6_EXTENSION},
    {"udp6", 20, "8c", FRAME_IP6_EXTENSION},
    {"udp6", 20, "3b", FRAME_PROTOCOL},
    {"udp6", 20, "01", FRAME_PROTOCOL}, /* ICMP in IPv6 */
    {"udp6", 58, "0007", FRAME_BAD_UDP},
    {"udp6", 58, "000e", FRAME_BAD_UDP},
    {"udp6", 60, "0000", FRAME_BAD_UDP}, /* no checksum: IPv4 only */
    {"udp6", 54, "0000", FRAME_BAD_UDP},
    {"udp6", 56, "0000", FRAME_BAD_UDP},
    {"tcp6 data", 66, "40", FRAME_BAD_TCP},
    {"tcp6 data", 66, "70", FRAME_BAD_TCP},
    {"tcp6 data", 18, "0013", FRAME_BAD_TCP},
    {"echo6", 18, "0007", FRAME_BAD_ICMP},
    {"mld report", 54, "00", FRAME_IP6_EXTENSION},
    {"mld report", 54, "06", FRAME_IP6_EXTENSION},
    {"mld report", 55, "01", FRAME_IP6_EXTENSION},
    {"mld report", 62, "80", FRAME_IP6_EXTENSION}, /* hop-by-hop before anything but MLD */
    {"mld report", 62, "87", FRAME_IP6_EXTENSION},
    {"mld report", 18, "0007", FRAME_IP6_EXTENSION},
    {"mld report", 18, "000f", FRAME_BAD_ICMP},
};

Test(frame, every_attack_is_refused_for_its_reason)
{
    for (size_t i = 0; i < G_N_ELEMENTS(attacks); i++) {
        size_t len = sample_get(attacks[i].sample, buffer);
        g_autofree uint8_t *frame = NULL;
        FrameView view;

        (void)sample_unhex(attacks[i].hex, buffer + attacks[i].at);
        frame = sample_exact(buffer, len);
        cr_assert_eq(frame_parse(frame, len, &view), attacks[i].status, "%s, %s at %zu: %s",
                     attacks[i].sample, attacks[i].hex, attacks[i].at,
                     frame_status_name(frame_parse(frame, len, &view)));
    }
}

Test(frame, a_wrong_byte_breaks_a_checksum)
{
    static const char *const names[] = {"tcp4 data", "udp4", "echo4", "tcp6 data", "udp6", "echo6"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        size_t len = sample_get(names[i], buffer);
        FrameView view;

        cr_assert_eq(frame_parse(buffer, len, &view), FRAME_OK);
        for (size_t at = view.l4; at < len; at++) {
            buffer[at] ^= 0x10;
            cr_assert_not(frame_checksums_ok(buffer, &view), "%s at %zu", names[i], at);
            buffer[at] ^= 0x10;
        }
        if (view.ethertype == 0x0800) {
            buffer[view.l3 + 8]--;
            cr_assert_not(frame_checksums_ok(buffer, &view), "%s", names[i]);
        }
    }
}

Test(frame, rewriting_keeps_good_checksums_good_and_wrong_ones_wrong)
{
    static const char *const names[] = {"tcp4 syn", "tcp4 data", "udp4",
                                        "tcp6 syn", "tcp6 data", "udp6"};

    for (size_t i = 0; i < G_N_ELEMENTS(names) * 2; i++) {
        size_t len = sample_get(names[i / 2], buffer);
        bool wrong = i % 2;
        FrameView view;
        NetAddr to;

        cr_assert_eq(frame_parse(buffer, len, &view), FRAME_OK);
        to = sample_addr(view.ethertype == 0x0800 ? "255.254.1.0" : "2001:db8:ffff::1:0");
        buffer[len - 1] ^= wrong;
        frame_rewrite_dst(buffer, &view, &to, 65535);
        frame_rewrite_src(buffer, &view, &view.dst, 1);
        cr_assert_eq(frame_parse(buffer, len, &view), FRAME_OK);
        cr_assert(netaddr_equal(&view.dst, &to));
        cr_assert_eq(view.dst_port, 65535);
        cr_assert_eq(view.src_port, 1);
        cr_assert_eq(frame_checksums_ok(buffer, &view), !wrong, "%s", names[i / 2]);
    }
}

Test(frame, rewriting_udp_makes_no_checksum_where_none_was_and_never_zero)
{
    size_t len = sample_get("udp4 without checksum", buffer);
    NetAddr to = sample_addr("10.0.2.2");
    FrameView view;

    cr_assert_eq(frame_parse(buffer, len, &view), FRAME_OK);
    frame_rewrite_dst(buffer, &view, &to, 9);
    cr_assert_eq(get16(buffer + view.l4 + UDP_SUM), 0);
    frame_fix_checksums(buffer, &view);
    cr_assert_eq(get16(buffer + view.l4 + UDP_SUM), 0);

    for (unsigned port = 1; port < 65536; port++) {
        len = sample_get("udp4", buffer);
        cr_assert_eq(frame_parse(buffer, len, &view), FRAME_OK);
        frame_rewrite_dst(buffer, &view, &view.dst, (uint16_t)port);
        view.dst_port = (uint16_t)port;
        if (get16(buffer + view.l4 + UDP_SUM) == 0 || !frame_checksums_ok(buffer, &view))
            cr_assert_fail("port %u", port);
    }
}

Test(frame, urg_is_stripped_with_its_pointer)
{
    static const char *const src[] = {"10.0.2.100", "fd00::64"};
    static const char *const dst[] = {"1.1.1.1", "2606:4700::1"};

    for (unsigned i = 0; i < 2 * 65536; i += 251) {
        TcpSpec spec = {src[i & 1], dst[i & 1], .seq = 5, .flags = 0x38, .len = 4};
        FrameView view;
        size_t len;

        spec.urgent = (uint16_t)(i >> 1);
        len = sample_tcp(buffer, &spec);
        cr_assert_eq(frame_parse(buffer, len, &view), FRAME_OK);
        frame_strip_urg(buffer, &view);
        cr_assert_eq(frame_parse(buffer, len, &view), FRAME_OK);
        cr_assert_eq(view.tcp_flags, 0x18);
        cr_assert_eq(get16(buffer + view.l4 + 18), 0);
        cr_assert(frame_checksums_ok(buffer, &view));
    }
}

Test(frame, shortening_takes_bytes_and_fin_and_keeps_checksums)
{
    static const char *const src[] = {"10.0.2.100", "fd00::64"};
    static const char *const dst[] = {"1.1.1.1", "2606:4700::1"};

    for (size_t i = 0; i < 2 * 10 * 12; i++) {
        TcpSpec spec = {src[i & 1], dst[i & 1], .seq = 5, .flags = 0x19, .len = i / 2 % 10};
        size_t count = i / 20;
        size_t left = spec.len - MIN(count, spec.len);
        size_t len = sample_tcp(buffer, &spec);
        FrameView view;
        FrameView again;

        cr_assert_eq(frame_parse(buffer, len, &view), FRAME_OK);
        len = frame_shorten_tcp(buffer, &view, count);
        cr_assert_eq(frame_parse(buffer, len, &again), FRAME_OK);
        cr_assert_eq(again.end, len);
        cr_assert_eq(view.end, len);
        cr_assert_eq(len - view.payload, left);
        cr_assert_eq(view.tcp_flags, 0x18);
        cr_assert_eq(again.tcp_flags, 0x18);
        cr_assert(frame_checksums_ok(buffer, &again), "%zu of %zu", count, spec.len);
    }
}

Test(frame, every_status_has_a_name_of_its_own)
{
    for (unsigned a = 0; a < FRAME_STATUS_COUNT; a++)
        for (unsigned b = 0; b < a; b++)
            cr_assert_str_neq(frame_status_name(a), frame_status_name(b));
    cr_assert_str_eq(frame_status_name(FRAME_STATUS_COUNT), "unknown");
}
