/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * frame.c - say what an Ethernet frame holds, and change it without breaking its checksums
 *
 * Does:     one pass over the headers of a frame, with exact bounds; Internet checksums; small
 *           changes in place.
 * Runs in:  the datapath process. Pure functions over (buffer, length): no I/O, no state, no
 *           allocation.
 * Trusts:   nothing in a frame. A FrameView is only ever made by frame_parse(), so everything that
 *           takes one may rely on its offsets.
 * Limits:   FRAME_MAX bytes. What we do not speak (fragments, IPv4 options, IPv6 extension headers)
 *           is no frame.
 * Not here: building frames (frame_build.c), which frame may pass (gate.c).
 */
#include "config.h"

#include "frame.h"

#include <string.h>

#include <net/ethernet.h>

#include "framebytes.h"

/* Everything in the fragment word but "don't fragment". libslirp reassembles on the reserved bit,
 * too. */
#define IP4_FRAGMENT_MASK 0xbfff

static FrameStatus parse_arp(const uint8_t *frame, size_t len, FrameView *view)
{
    const uint8_t *arp = frame + view->l3;
    uint16_t operation;

    if (len < view->l3 + ARP_LEN)
        return FRAME_SHORT;
    operation = get16(arp + 6);
    if (get16(arp) != 1 || get16(arp + 2) != ETHERTYPE_IP || arp[4] != FRAME_MAC_LEN ||
        arp[5] != 4 || operation < 1 || operation > 2)
        return FRAME_BAD_ARP;
    view->src = netaddr_from_bytes(AF_INET, arp + 14);
    view->dst = netaddr_from_bytes(AF_INET, arp + 24);
    view->end = view->l3 + ARP_LEN;
    view->l4 = view->end;
    view->payload = view->end;
    return FRAME_OK;
}

static FrameStatus parse_tcp(const uint8_t *frame, FrameView *view)
{
    const uint8_t *tcp = frame + view->l4;
    size_t segment = view->end - view->l4;
    size_t header;

    if (segment < TCP_LEN)
        return FRAME_BAD_TCP;
    header = (size_t)(tcp[12] >> 4) * 4;
    view->src_port = get16(tcp);
    view->dst_port = get16(tcp + 2);
    if (header < TCP_LEN || header > segment || view->src_port == 0 || view->dst_port == 0)
        return FRAME_BAD_TCP;
    view->seq = get32(tcp + 4);
    view->ack = get32(tcp + 8);
    view->tcp_flags = tcp[TCP_FLAGS] & 0x3f;
    view->payload = view->l4 + header;
    return FRAME_OK;
}

static FrameStatus parse_udp(const uint8_t *frame, FrameView *view)
{
    const uint8_t *udp = frame + view->l4;
    size_t datagram = view->end - view->l4;

    if (datagram < UDP_LEN)
        return FRAME_BAD_UDP;
    view->src_port = get16(udp);
    view->dst_port = get16(udp + 2);
    /* A length short of the packet is legal (RFC 768) but nobody sends it; bytes behind the
     * datagram would be bytes that one reader sees and another does not. */
    if (get16(udp + 4) != datagram || view->src_port == 0 || view->dst_port == 0)
        return FRAME_BAD_UDP;
    /* RFC 8200 8.1: over IPv6 the checksum is not optional. */
    if (view->ethertype == ETHERTYPE_IPV6 && get16(udp + UDP_SUM) == 0)
        return FRAME_BAD_UDP;
    view->payload = view->l4 + UDP_LEN;
    return FRAME_OK;
}

static FrameStatus parse_icmp(const uint8_t *frame, FrameView *view)
{
    const uint8_t *icmp = frame + view->l4;

    if (view->end - view->l4 < ICMP_LEN)
        return FRAME_BAD_ICMP;
    view->icmp_type = icmp[0];
    view->icmp_code = icmp[1];
    view->icmp_id = get16(icmp + 4);
    view->icmp_seq = get16(icmp + 6);
    view->payload = view->l4 + ICMP_LEN;
    return FRAME_OK;
}

static FrameStatus parse_l4(const uint8_t *frame, FrameView *view)
{
    uint8_t icmp = view->ethertype == ETHERTYPE_IP ? IPPROTO_ICMP : IPPROTO_ICMPV6;

    if (view->protocol == IPPROTO_TCP)
        return parse_tcp(frame, view);
    if (view->protocol == IPPROTO_UDP)
        return parse_udp(frame, view);
    if (view->protocol == icmp)
        return parse_icmp(frame, view);
    return FRAME_PROTOCOL;
}

static FrameStatus parse_ip4(const uint8_t *frame, size_t len, FrameView *view)
{
    const uint8_t *ip = frame + view->l3;
    size_t total;

    if (len < view->l3 + IP4_LEN)
        return FRAME_SHORT;
    total = get16(ip + 2);
    if (ip[0] >> 4 != 4 || (ip[0] & 15) < 5)
        return FRAME_BAD_IP;
    if ((ip[0] & 15) > 5)
        return FRAME_IP_OPTIONS;
    if (total < IP4_LEN || total > len - view->l3)
        return FRAME_BAD_IP;
    if (get16(ip + 6) & IP4_FRAGMENT_MASK)
        return FRAME_FRAGMENT;
    view->hop_limit = ip[8];
    view->protocol = ip[9];
    view->src = netaddr_from_bytes(AF_INET, ip + 12);
    view->dst = netaddr_from_bytes(AF_INET, ip + 16);
    view->l4 = view->l3 + IP4_LEN;
    view->end = view->l3 + total;
    return parse_l4(frame, view);
}

static bool is_mld(uint8_t type)
{
    return (type >= ICMP6_MLD_QUERY && type <= ICMP6_MLD_DONE) || type == ICMP6_MLD2_REPORT;
}

/* RFC 3810 5: every MLD message comes behind a hop-by-hop header with a router alert, and that fits
 * 8 bytes. */
static FrameStatus parse_hop_by_hop(const uint8_t *frame, FrameView *view)
{
    const uint8_t *hbh = frame + view->l4;
    FrameStatus status;

    if (view->end - view->l4 < HBH_LEN || hbh[0] != IPPROTO_ICMPV6 || hbh[1] != 0)
        return FRAME_IP6_EXTENSION;
    view->protocol = hbh[0];
    view->l4 += HBH_LEN;
    status = parse_icmp(frame, view);
    if (status != FRAME_OK)
        return status;
    return is_mld(view->icmp_type) ? FRAME_OK : FRAME_IP6_EXTENSION;
}

static FrameStatus parse_ip6(const uint8_t *frame, size_t len, FrameView *view)
{
    const uint8_t *ip = frame + view->l3;
    size_t payload;

    if (len < view->l3 + IP6_LEN)
        return FRAME_SHORT;
    payload = get16(ip + 4);
    if (ip[0] >> 4 != 6 || payload > len - view->l3 - IP6_LEN)
        return FRAME_BAD_IP;
    view->hop_limit = ip[7];
    view->protocol = ip[6];
    view->src = netaddr_from_bytes(AF_INET6, ip + 8);
    view->dst = netaddr_from_bytes(AF_INET6, ip + 24);
    view->l4 = view->l3 + IP6_LEN;
    view->end = view->l4 + payload;
    switch (view->protocol) {
    case IPPROTO_HOPOPTS:
        return parse_hop_by_hop(frame, view);
    case IPPROTO_FRAGMENT:
        return FRAME_FRAGMENT;
    case IPPROTO_ROUTING:
    case IPPROTO_ESP:
    case IPPROTO_AH:
    case IPPROTO_DSTOPTS:
    case IPPROTO_MH:
    case 139: /* HIP, RFC 7401 */
    case 140: /* Shim6, RFC 5533 */
        return FRAME_IP6_EXTENSION;
    default:
        return parse_l4(frame, view);
    }
}

FrameStatus frame_parse(const uint8_t *frame, size_t len, FrameView *ret)
{
    FrameView view = {.l3 = FRAME_ETH_LEN};
    FrameStatus status;

    if (len < FRAME_ETH_LEN || len > FRAME_MAX)
        return FRAME_SHORT;
    view.ethertype = get16(frame + 12);
    switch (view.ethertype) {
    case ETHERTYPE_ARP:
        status = parse_arp(frame, len, &view);
        break;
    case ETHERTYPE_IP:
        status = parse_ip4(frame, len, &view);
        break;
    case ETHERTYPE_IPV6:
        status = parse_ip6(frame, len, &view);
        break;
    default:
        return FRAME_ETHERTYPE;
    }
    if (status == FRAME_OK)
        *ret = view;
    return status;
}

const char *frame_status_name(FrameStatus status)
{
    static const char *const names[FRAME_STATUS_COUNT] = {
        [FRAME_OK] = "ok",
        [FRAME_SHORT] = "short",
        [FRAME_ETHERTYPE] = "ethertype",
        [FRAME_BAD_ARP] = "bad-arp",
        [FRAME_BAD_IP] = "bad-ip",
        [FRAME_IP_OPTIONS] = "ip-options",
        [FRAME_FRAGMENT] = "fragment",
        [FRAME_IP6_EXTENSION] = "ip6-extension",
        [FRAME_PROTOCOL] = "protocol",
        [FRAME_BAD_UDP] = "bad-udp",
        [FRAME_BAD_TCP] = "bad-tcp",
        [FRAME_BAD_ICMP] = "bad-icmp",
    };

    return (unsigned)status < FRAME_STATUS_COUNT ? names[status] : "unknown";
}

/* The sum does not care for byte order (RFC 1071 2 B), so it is made of native 32-bit words. */
static uint64_t sum_bytes(uint64_t sum, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint32_t word;

    for (; len >= sizeof(word); p += sizeof(word), len -= sizeof(word)) {
        memcpy(&word, p, sizeof(word));
        sum += word;
    }
    if (len > 0) {
        word = 0;
        memcpy(&word, p, len);
        sum += word;
    }
    return sum;
}

static uint16_t sum_fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

uint16_t frame_ip4_checksum(const uint8_t *header)
{
    return (uint16_t)~sum_fold(sum_bytes(0, header, IP4_LEN));
}

/* RFC 9293 3.1, RFC 8200 8.1. ICMP of IPv4 is the one without a pseudo header. */
static uint64_t sum_segment(const NetAddr *src, const NetAddr *dst, uint8_t protocol,
                            const uint8_t *segment, size_t len)
{
    uint8_t tail[8] = {[7] = protocol};
    uint64_t sum = sum_bytes(0, segment, len);

    if (protocol == IPPROTO_ICMP)
        return sum;
    put32(tail, (uint32_t)len);
    sum = sum_bytes(sum, tail, sizeof(tail));
    if (src->family == AF_INET) {
        sum = sum_bytes(sum, &src->v4, sizeof(src->v4));
        return sum_bytes(sum, &dst->v4, sizeof(dst->v4));
    }
    sum = sum_bytes(sum, &src->v6, sizeof(src->v6));
    return sum_bytes(sum, &dst->v6, sizeof(dst->v6));
}

uint16_t frame_l4_checksum(const NetAddr *src, const NetAddr *dst, uint8_t protocol,
                           const uint8_t *segment, size_t len)
{
    uint16_t checksum = (uint16_t)~sum_fold(sum_segment(src, dst, protocol, segment, len));

    /* RFC 768: zero would say "no checksum". */
    return protocol == IPPROTO_UDP && checksum == 0 ? 0xffff : checksum;
}

/* Where the checksum of the segment is, as an offset into the frame; 0 for ARP, which has none. */
static size_t l4_sum_offset(const FrameView *view)
{
    switch (view->protocol) {
    case IPPROTO_TCP:
        return view->l4 + TCP_SUM;
    case IPPROTO_UDP:
        return view->l4 + UDP_SUM;
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
        return view->l4 + ICMP_SUM;
    default:
        return 0;
    }
}

/* RFC 768: a zero checksum over IPv4 means that the sender made none. */
static bool has_l4_checksum(const uint8_t *frame, const FrameView *view)
{
    size_t at = l4_sum_offset(view);

    if (at == 0)
        return false;
    return view->protocol != IPPROTO_UDP || view->ethertype != ETHERTYPE_IP ||
           get16(frame + at) != 0;
}

bool frame_checksums_ok(const uint8_t *frame, const FrameView *view)
{
    uint64_t sum;

    if (view->ethertype == ETHERTYPE_IP && frame_ip4_checksum(frame + view->l3) != 0)
        return false;
    if (!has_l4_checksum(frame, view))
        return true;
    sum =
        sum_segment(&view->src, &view->dst, view->protocol, frame + view->l4, view->end - view->l4);
    return sum_fold(sum) == 0xffff;
}

void frame_fix_checksums(uint8_t *frame, const FrameView *view)
{
    size_t at = l4_sum_offset(view);
    uint16_t checksum;

    if (view->ethertype == ETHERTYPE_IP) {
        put16(frame + view->l3 + 10, 0);
        checksum = frame_ip4_checksum(frame + view->l3);
        memcpy(frame + view->l3 + 10, &checksum, sizeof(checksum));
    }
    if (!has_l4_checksum(frame, view))
        return;
    put16(frame + at, 0);
    checksum = frame_l4_checksum(&view->src, &view->dst, view->protocol, frame + view->l4,
                                 view->end - view->l4);
    memcpy(frame + at, &checksum, sizeof(checksum));
}

/* RFC 1624 equation 3, which unlike equation 4 never turns a right checksum into minus zero. */
static void adjust(uint8_t *checksum, uint16_t old_word, uint16_t new_word)
{
    uint64_t sum = (uint16_t)~get16(checksum);

    sum += (uint16_t)~old_word;
    sum += new_word;
    put16(checksum, (uint16_t)~sum_fold(sum));
}

/* Writes @value over the 16-bit field at @field; adjusts the checksums that cover it, if any. */
static void replace16(uint8_t *field, uint16_t value, uint8_t *sum_a, uint8_t *sum_b)
{
    uint16_t before = get16(field);

    if (before == value)
        return;
    if (sum_a)
        adjust(sum_a, before, value);
    if (sum_b)
        adjust(sum_b, before, value);
    put16(field, value);
}

static void rewrite(uint8_t *frame, const FrameView *view, size_t addr_at, size_t port_at,
                    const NetAddr *addr, uint16_t port)
{
    bool ip4 = view->ethertype == ETHERTYPE_IP;
    uint8_t *ip_sum = ip4 ? frame + view->l3 + 10 : NULL;
    uint8_t *l4_sum = has_l4_checksum(frame, view) ? frame + l4_sum_offset(view) : NULL;
    const uint8_t *bytes = ip4 ? (const uint8_t *)&addr->v4 : (const uint8_t *)&addr->v6;
    size_t size = ip4 ? sizeof(addr->v4) : sizeof(addr->v6);

    for (size_t i = 0; i < size; i += 2)
        replace16(frame + addr_at + i, get16(bytes + i), ip_sum, l4_sum);
    replace16(frame + port_at, port, l4_sum, NULL);
    if (view->protocol == IPPROTO_UDP && l4_sum && get16(l4_sum) == 0)
        put16(l4_sum, 0xffff);
}

void frame_rewrite_dst(uint8_t *frame, const FrameView *view, const NetAddr *dst, uint16_t port)
{
    size_t addr_at = view->l3 + (view->ethertype == ETHERTYPE_IP ? 16 : 24);

    rewrite(frame, view, addr_at, view->l4 + 2, dst, port);
}

void frame_rewrite_src(uint8_t *frame, const FrameView *view, const NetAddr *src, uint16_t port)
{
    size_t addr_at = view->l3 + (view->ethertype == ETHERTYPE_IP ? 12 : 8);

    rewrite(frame, view, addr_at, view->l4, src, port);
}

/* Data offset and flags share one 16-bit word. */
static void clear_flag(uint8_t *frame, const FrameView *view, uint8_t flag)
{
    uint8_t *word = frame + view->l4 + TCP_FLAGS - 1;

    replace16(word, (uint16_t)(get16(word) & ~flag), frame + view->l4 + TCP_SUM, NULL);
}

void frame_strip_urg(uint8_t *frame, const FrameView *view)
{
    clear_flag(frame, view, FRAME_TCP_URG);
    replace16(frame + view->l4 + 18, 0, frame + view->l4 + TCP_SUM, NULL);
}

size_t frame_shorten_tcp(uint8_t *frame, FrameView *view, size_t count)
{
    uint8_t *sum = frame + view->l4 + TCP_SUM;
    size_t segment = view->end - view->l4;
    bool ip4 = view->ethertype == ETHERTYPE_IP;
    uint8_t *length = frame + view->l3 + (ip4 ? 2 : 4);
    uint16_t gone;

    clear_flag(frame, view, FRAME_TCP_FIN);
    view->tcp_flags &= (uint8_t)~FRAME_TCP_FIN;
    if (count > view->end - view->payload)
        count = view->end - view->payload;
    if (count == 0)
        return view->end;
    view->end -= count;
    /* Bytes that began in the low half of a word count swapped (RFC 1071 2 B). */
    gone = ntohs(sum_fold(sum_bytes(0, frame + view->end, count)));
    if ((view->end - view->l4) & 1)
        gone = (uint16_t)(gone << 8 | gone >> 8);
    adjust(sum, gone, 0);
    adjust(sum, (uint16_t)segment, (uint16_t)(segment - count));
    replace16(length, (uint16_t)(get16(length) - count), ip4 ? frame + view->l3 + 10 : NULL, NULL);
    return view->end;
}
