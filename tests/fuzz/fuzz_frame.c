/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fuzz_frame.c - frame.c and frame_build.c: any bytes in, sound frames out
 *
 * Oracles:  what frame_parse() says lies within the frame; every change in place leaves a frame that reads as it should, with a
 *           good checksum where it was good and a wrong one where it was wrong; what a builder writes is read back as it was
 *           asked for; an answer goes to whoever asked, and is no longer than it may be.
 */
#include "config.h"

#include <net/ethernet.h>

#include "datapath/frame.h"
#include "datapath/framebytes.h"

#include "bytes.h"
#include "check.h"

static uint8_t out[FRAME_MAX];

static NetAddr take_addr(Bytes *bytes, sa_family_t family)
{
    uint8_t raw[16];

    bytes_copy(bytes, raw, family == AF_INET ? 4 : 16);
    return netaddr_from_bytes(family, raw);
}

static void check_view(const uint8_t *frame, size_t len, const FrameView *view)
{
    FUZZ_CHECK(view->l3 == FRAME_ETH_LEN && view->l3 < view->l4 && view->l4 <= view->payload &&
                   view->payload <= view->end && view->end <= len,
               "l3 %zu l4 %zu payload %zu end %zu of %zu", view->l3, view->l4, view->payload,
               view->end, len);
    FUZZ_CHECK(view->src.family == view->dst.family, "families differ");
    switch (view->ethertype) {
    case ETHERTYPE_ARP:
        FUZZ_CHECK(view->protocol == 0 && view->end == view->l3 + ARP_LEN, "ARP");
        return;
    case ETHERTYPE_IP:
        FUZZ_CHECK(view->l4 == view->l3 + IP4_LEN && view->src.family == AF_INET, "IPv4");
        FUZZ_CHECK((get16(frame + view->l3 + 6) & 0xbfff) == 0, "a fragment");
        break;
    case ETHERTYPE_IPV6:
        FUZZ_CHECK(view->l4 >= view->l3 + IP6_LEN && view->src.family == AF_INET6, "IPv6");
        break;
    default:
        FUZZ_CHECK(false, "ethertype %04x", view->ethertype);
    }
    switch (view->protocol) {
    case IPPROTO_TCP:
        FUZZ_CHECK(view->payload >= view->l4 + TCP_LEN, "TCP");
        break;
    case IPPROTO_UDP:
        FUZZ_CHECK(view->payload == view->l4 + UDP_LEN &&
                       get16(frame + view->l4 + 4) == view->end - view->l4,
                   "UDP");
        break;
    default:
        FUZZ_CHECK(view->protocol == (view->src.family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6),
                   "protocol %u", view->protocol);
        FUZZ_CHECK(view->payload == view->l4 + ICMP_LEN, "ICMP");
        return;
    }
    FUZZ_CHECK(view->src_port != 0 && view->dst_port != 0, "a zero port");
}

/* The frame reads as before but for what @want says. */
static FrameView parse_again(const uint8_t *frame, const FrameView *want)
{
    g_autofree uint8_t *exact = fuzz_exact(frame, want->end);
    FrameView again;
    FrameStatus status = frame_parse(exact, want->end, &again);

    FUZZ_CHECK(status == FRAME_OK, "%s", frame_status_name(status));
    FUZZ_CHECK(again.protocol == want->protocol && again.l4 == want->l4 &&
                   again.payload == want->payload && again.end == want->end &&
                   again.seq == want->seq && again.ack == want->ack &&
                   again.tcp_flags == want->tcp_flags && again.src_port == want->src_port &&
                   again.dst_port == want->dst_port && netaddr_equal(&again.src, &want->src) &&
                   netaddr_equal(&again.dst, &want->dst),
               "reads differently");
    return again;
}

static void check_rewrite(Bytes *bytes, const uint8_t *frame, const FrameView *view)
{
    g_autofree uint8_t *copy = fuzz_exact(frame, view->end);
    NetAddr addr = take_addr(bytes, view->src.family);
    uint16_t port = bytes_port(bytes);
    bool good = frame_checksums_ok(frame, view);
    FrameView want = *view;
    FrameView again;

    if (bytes_u8(bytes) & 1) {
        frame_rewrite_dst(copy, view, &addr, port);
        want.dst = addr;
        want.dst_port = port;
    } else {
        frame_rewrite_src(copy, view, &addr, port);
        want.src = addr;
        want.src_port = port;
    }
    again = parse_again(copy, &want);
    FUZZ_CHECK(!good || frame_checksums_ok(copy, &again), "a checksum became wrong");
}

static void check_shorten(Bytes *bytes, const uint8_t *frame, const FrameView *view)
{
    g_autofree uint8_t *copy = fuzz_exact(frame, view->end);
    size_t data = view->end - view->payload;
    size_t count = bytes_u16(bytes);
    bool good = frame_checksums_ok(frame, view);
    FrameView shorter = *view;
    FrameView again;

    frame_strip_urg(copy, &shorter);
    shorter.tcp_flags &= (uint8_t)~FRAME_TCP_URG;
    FUZZ_CHECK(get16(copy + view->l4 + 18) == 0, "an urgent pointer");
    again = parse_again(copy, &shorter);
    FUZZ_CHECK(frame_checksums_ok(copy, &again) == good, "a checksum became another");
    FUZZ_CHECK(frame_shorten_tcp(copy, &shorter, count) == shorter.end &&
                   shorter.end == view->end - MIN(count, data),
               "%zu of %zu bytes less", count, data);
    FUZZ_CHECK((shorter.tcp_flags & FRAME_TCP_FIN) == 0, "FIN");
    again = parse_again(copy, &shorter);
    FUZZ_CHECK(frame_checksums_ok(copy, &again) == good, "a checksum became another");
    FUZZ_CHECK(memcmp(copy + again.payload, frame + view->payload, again.end - again.payload) == 0,
               "other data");
}

/* What answers @view: from @from to who asked, by the way it came. */
static FrameView check_answer(const uint8_t *frame, const FrameView *view, const NetAddr *from,
                              size_t len, size_t most)
{
    g_autofree uint8_t *exact = fuzz_exact(out, len);
    FrameView answer;
    FrameStatus status = frame_parse(exact, len, &answer);

    FUZZ_CHECK(status == FRAME_OK && answer.end == len, "%s", frame_status_name(status));
    check_view(exact, len, &answer);
    FUZZ_CHECK(len <= most, "%zu bytes, at most %zu", len, most);
    FUZZ_CHECK(netaddr_equal(&answer.dst, &view->src) && netaddr_equal(&answer.src, from),
               "goes elsewhere");
    FUZZ_CHECK(memcmp(out, frame + FRAME_MAC_LEN, FRAME_MAC_LEN) == 0 && (out[0] & 1) == 0,
               "goes elsewhere on the link");
    FUZZ_CHECK(!netaddr_is_multicast(&answer.dst) && !netaddr_is_any(&answer.dst), "to many");
    return answer;
}

static void check_answers(Bytes *bytes, const uint8_t *frame, const FrameView *view)
{
    NetAddr from = take_addr(bytes, bytes_u8(bytes) % 16 == 0 ? AF_INET6 : view->src.family);
    uint8_t type = bytes_u8(bytes);
    uint8_t code = bytes_u8(bytes);
    size_t head = view->src.family == AF_INET ? IP4_LEN : IP6_LEN;
    size_t len = frame_build_tcp_rst(out, frame, view);
    FrameView answer;

    if (len > 0) {
        answer = check_answer(frame, view, &view->dst, len, FRAME_ETH_LEN + head + TCP_LEN);
        FUZZ_CHECK((answer.tcp_flags & FRAME_TCP_RST) && !(view->tcp_flags & FRAME_TCP_RST) &&
                       answer.src_port == view->dst_port && answer.dst_port == view->src_port,
                   "no RST for this");
        FUZZ_CHECK(frame_checksums_ok(out, &answer), "checksum of a RST");
    }
    len = frame_build_icmp_error(out, frame, view, &from, type, code, bytes_u32(bytes));
    if (len > 0) {
        size_t bound = view->src.family == AF_INET ? 576 : 1280;

        answer = check_answer(frame, view, &from, len,
                              FRAME_ETH_LEN + MIN(bound, head + ICMP_LEN + (view->end - view->l3)));
        FUZZ_CHECK(frame_checksums_ok(out, &answer) && answer.icmp_type == type, "an ICMP error");
        FUZZ_CHECK(memcmp(out + answer.payload, frame + view->l3, len - answer.payload) == 0,
                   "quotes something else");
    }
    len = frame_build_echo_reply(out, frame, view);
    if (len > 0) {
        answer = check_answer(frame, view, &view->dst, len, view->end);
        FUZZ_CHECK(len - answer.payload == view->end - view->payload &&
                       memcmp(out + answer.payload, frame + view->payload, len - answer.payload) ==
                           0 &&
                       answer.icmp_id == view->icmp_id && answer.icmp_seq == view->icmp_seq,
                   "an echo of something else");
    }
}

static void check_parse(Bytes *bytes)
{
    size_t want = bytes_u16(bytes);
    size_t len;
    const uint8_t *at = bytes_take(bytes, want, &len);
    g_autofree uint8_t *frame = fuzz_exact(at, len);
    g_autofree uint8_t *fixed = NULL;
    FrameView view;
    FrameStatus status = frame_parse(frame, len, &view);

    FUZZ_CHECK(strcmp(frame_status_name(status), "unknown") != 0, "status %d", (int)status);
    if (status != FRAME_OK) {
        return;
    }
    check_view(frame, len, &view);
    fixed = fuzz_exact(frame, view.end);
    frame_fix_checksums(fixed, &view);
    FUZZ_CHECK(frame_checksums_ok(fixed, &view), "checksums cannot be made good");
    (void)parse_again(fixed, &view);
    check_answers(bytes, frame, &view);
    if (view.protocol == IPPROTO_TCP || view.protocol == IPPROTO_UDP) {
        check_rewrite(bytes, frame, &view);
        check_rewrite(bytes, fixed, &view);
    }
    if (view.protocol == IPPROTO_TCP) {
        check_shorten(bytes, frame, &view);
        check_shorten(bytes, fixed, &view);
    }
}

static void check_build(Bytes *bytes)
{
    static uint8_t data[65400 + 256];
    sa_family_t family = bytes_u8(bytes) & 1 ? AF_INET6 : AF_INET;
    NetAddr src = take_addr(bytes, family);
    NetAddr dst = take_addr(bytes, bytes_u8(bytes) % 16 == 0 ? AF_INET : family);
    uint16_t src_port = bytes_port(bytes);
    uint16_t dst_port = bytes_port(bytes);
    bool echo = bytes_u8(bytes) & 1;
    bool far = bytes_u8(bytes) % 8 == 0; /* about as long as it may be */
    size_t len = far ? 65400 + bytes_u8(bytes) : bytes_u16(bytes) % 2048;
    size_t most = family == AF_INET ? 65535 - IP4_LEN - 8 : FRAME_MAX - FRAME_ETH_LEN - IP6_LEN - 8;
    uint8_t macs[2 * FRAME_MAC_LEN];
    size_t length;
    FrameView view;

    bytes_copy(bytes, macs, sizeof(macs));
    bytes_copy(bytes, data, len);
    length =
        echo ? frame_build_echo(out, macs, macs + 6, &src, &dst, src_port, dst_port, 9, data, len)
             : frame_build_udp(out, macs, macs + 6, &src, src_port, &dst, dst_port, data, len);
    if (src.family != dst.family || len > most) {
        FUZZ_CHECK(length == 0, "built what cannot be");
        return;
    }
    FUZZ_CHECK(length != 0 && frame_parse(out, length, &view) == FRAME_OK && view.end == length,
               "built what is no frame");
    check_view(out, length, &view);
    FUZZ_CHECK(memcmp(out, macs, sizeof(macs)) == 0 && netaddr_equal(&view.src, &src) &&
                   netaddr_equal(&view.dst, &dst) && view.end - view.payload == len &&
                   memcmp(out + view.payload, data, len) == 0 && frame_checksums_ok(out, &view),
               "built something else");
    if (echo) {
        FUZZ_CHECK(view.icmp_id == src_port && view.icmp_seq == dst_port && view.hop_limit == 9,
                   "another echo");
    } else {
        FUZZ_CHECK(view.src_port == src_port && view.dst_port == dst_port, "other ports");
    }
}

/* ARP reply or neighbour advertisement. */
static void check_announcement(Bytes *bytes)
{
    sa_family_t family = bytes_u8(bytes) & 1 ? AF_INET6 : AF_INET;
    NetAddr addr = take_addr(bytes, family);
    NetAddr to = take_addr(bytes, family);
    uint8_t macs[2 * FRAME_MAC_LEN];
    FrameView view;
    size_t len;

    bytes_copy(bytes, macs, sizeof(macs));
    len = frame_build_announcement(out, macs, macs + FRAME_MAC_LEN, &addr, &to);
    FUZZ_CHECK(frame_parse(out, len, &view) == FRAME_OK && view.end == len, "no announcement");
    check_view(out, len, &view);
    FUZZ_CHECK(memcmp(out, macs, sizeof(macs)) == 0 && netaddr_equal(&view.src, &addr) &&
                   netaddr_equal(&view.dst, &to),
               "another announcement");
    if (family == AF_INET6) {
        FUZZ_CHECK(view.hop_limit == 255 && view.icmp_type == 136 &&
                       frame_checksums_ok(out, &view) &&
                       memcmp(out + len - FRAME_MAC_LEN, macs + FRAME_MAC_LEN, FRAME_MAC_LEN) == 0,
                   "another neighbour advertisement");
    }
}

static void check_router(Bytes *bytes)
{
    bool dns = (bytes_u8(bytes) & 1) != 0;
    NetAddr from = take_addr(bytes, AF_INET6);
    NetCidr prefix = {take_addr(bytes, AF_INET6), (uint8_t)(bytes_u8(bytes) % 129)};
    NetAddr server = take_addr(bytes, AF_INET6);
    FrameView view;
    size_t len;

    from.v6.s6_addr[0] = 0xfe;
    from.v6.s6_addr[1] = 0x80;
    len = frame_build_router(out, &from, &prefix, dns ? &server : NULL);
    FUZZ_CHECK(len <= FRAME_ROUTER_MAX && frame_parse(out, len, &view) == FRAME_OK &&
                   view.end == len,
               "no router advertisement");
    check_view(out, len, &view);
    FUZZ_CHECK(netaddr_equal(&view.src, &from) && view.hop_limit == 255 && view.icmp_type == 134 &&
                   frame_checksums_ok(out, &view),
               "another router advertisement");
    FUZZ_CHECK(memcmp(out + view.l4 + 16 + 8 + 16, &prefix.net.v6, 16) == 0 &&
                   (!dns || memcmp(out + len - 16, &server.v6, 16) == 0),
               "another prefix, or another name server");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Bytes bytes = {data, data + size};

    while (bytes_left(&bytes) > 0) {
        uint8_t what = bytes_u8(&bytes);

        if (what == 0x20) {
            check_announcement(&bytes);
        } else if (what == 0x22) {
            check_router(&bytes);
        } else if (what & 1) {
            check_build(&bytes);
        } else {
            check_parse(&bytes);
        }
    }
    return 0;
}
