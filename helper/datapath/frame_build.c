/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * frame_build.c - write whole frames: datagrams, and the answers a host or router owes
 *
 * Does:     UDP datagrams, TCP resets, ICMP(v6) errors, echo messages, a neighbour's word on itself, a router's on the link, all with
 *           good checksums.
 * Runs in:  the datapath process. Pure functions over (buffer, length): no I/O, no state, no
 *           allocation.
 * Trusts:   a FrameView as frame_parse() made it. What it says about addresses is the guest's
 *           claim, so every answer is checked against the cases in which none may be sent (RFC 1122
 *           3.2.2, RFC 4443 2.4).
 * Limits:   FRAME_MAX bytes and the length fields of IP; quotes as said in frame.h.
 * Not here: who is answered, and how often (gate.c and its callers).
 */
#include "config.h"

#include "frame.h"

#include <string.h>

#include <net/ethernet.h>

#include "framebytes.h"

#define HOP_LIMIT 64
#define IP_MAX    65535
/* A neighbour advertisement and its one option. */
#define ND_ADVERT_LEN 32
/* A router advertisement; its options: link address, prefix, one name server. */
#define ROUTER_LEN      16
#define ROUTER_LINK_LEN 8
#define ROUTER_NET_LEN  32
#define ROUTER_DNS_LEN  24
/* Seconds. */
#define ROUTER_LIFETIME  1800
#define ROUTER_VALID     86400
#define ROUTER_PREFERRED 14400

/* RFC 1812 4.3.2.3: what fits 576 bytes. RFC 4443 2.4 (c): what fits the minimum MTU. */
#define QUOTE4_MAX (576 - IP4_LEN - ICMP_LEN)
#define QUOTE6_MAX (1280 - IP6_LEN - ICMP_LEN)

#define ICMP4_UNREACHABLE   3
#define ICMP4_FRAG_NEEDED   4 /* code of the above */
#define ICMP4_SOURCE_QUENCH 4
#define ICMP4_REDIRECT      5
#define ICMP4_TIME_EXCEEDED 11
#define ICMP4_PARAMETER     12

/* Bytes that an IP packet of @family carries at most behind its header, given what a frame can
 * hold. */
static size_t ip_payload_max(sa_family_t family)
{
    return family == AF_INET ? IP_MAX - IP4_LEN : FRAME_MAX - FRAME_ETH_LEN - IP6_LEN;
}

/* Ethernet and IP header of a packet with @len bytes behind the IP header; returns their offset. */
static size_t put_headers(uint8_t *out, const uint8_t *dst_mac, const uint8_t *src_mac,
                          const NetAddr *src, const NetAddr *dst, uint8_t protocol,
                          uint8_t hop_limit, size_t len)
{
    uint8_t *ip = out + FRAME_ETH_LEN;
    uint16_t checksum;

    memcpy(out, dst_mac, FRAME_MAC_LEN);
    memcpy(out + FRAME_MAC_LEN, src_mac, FRAME_MAC_LEN);
    if (src->family == AF_INET) {
        put16(out + 12, ETHERTYPE_IP);
        memset(ip, 0, IP4_LEN);
        ip[0] = 0x45;
        put16(ip + 2, (uint16_t)(IP4_LEN + len));
        put16(ip + 6, 0x4000); /* atomic (RFC 6864 4.1): may not be fragmented, so the id stays 0 */
        ip[8] = hop_limit;
        ip[9] = protocol;
        memcpy(ip + 12, &src->v4, sizeof(src->v4));
        memcpy(ip + 16, &dst->v4, sizeof(dst->v4));
        checksum = frame_ip4_checksum(ip);
        memcpy(ip + 10, &checksum, sizeof(checksum));
        return FRAME_ETH_LEN + IP4_LEN;
    }
    put16(out + 12, ETHERTYPE_IPV6);
    put32(ip, 0x60000000);
    put16(ip + 4, (uint16_t)len);
    ip[6] = protocol;
    ip[7] = hop_limit;
    memcpy(ip + 8, &src->v6, sizeof(src->v6));
    memcpy(ip + 24, &dst->v6, sizeof(dst->v6));
    return FRAME_ETH_LEN + IP6_LEN;
}

static void put_l4_checksum(uint8_t *out, size_t l4, size_t len, size_t sum_at, const NetAddr *src,
                            const NetAddr *dst, uint8_t protocol)
{
    uint16_t checksum = frame_l4_checksum(src, dst, protocol, out + l4, len);

    memcpy(out + l4 + sum_at, &checksum, sizeof(checksum));
}

size_t frame_build_udp(uint8_t *out, const uint8_t *dst_mac, const uint8_t *src_mac,
                       const NetAddr *src, uint16_t src_port, const NetAddr *dst, uint16_t dst_port,
                       const void *data, size_t len)
{
    size_t l4;

    if (src->family != dst->family || len > ip_payload_max(src->family) - UDP_LEN)
        return 0;
    l4 = put_headers(out, dst_mac, src_mac, src, dst, IPPROTO_UDP, HOP_LIMIT, UDP_LEN + len);
    put16(out + l4, src_port);
    put16(out + l4 + 2, dst_port);
    put16(out + l4 + 4, (uint16_t)(UDP_LEN + len));
    put16(out + l4 + UDP_SUM, 0);
    if (len > 0)
        memcpy(out + l4 + UDP_LEN, data, len);
    put_l4_checksum(out, l4, UDP_LEN + len, UDP_SUM, src, dst, IPPROTO_UDP);
    return l4 + UDP_LEN + len;
}

size_t frame_build_announcement(uint8_t *out, const uint8_t *dst_mac, const uint8_t *src_mac,
                                const NetAddr *addr, const NetAddr *to)
{
    static const uint8_t arp_reply[] = {0, 1, 8, 0, 6, 4, 0, 2};
    uint8_t *arp = out + FRAME_ETH_LEN;
    size_t l4;

    if (addr->family == AF_INET6) {
        l4 = put_headers(out, dst_mac, src_mac, addr, to, IPPROTO_ICMPV6, 255, ND_ADVERT_LEN);
        memset(out + l4, 0, ND_ADVERT_LEN);
        out[l4] = ICMP6_NEIGHBOR_ADVERTISEMENT;
        out[l4 + 4] = 0x60; /* solicited, override */
        memcpy(out + l4 + 8, &addr->v6, sizeof(addr->v6));
        out[l4 + 24] = 2; /* target link-layer address, of one unit of 8 bytes */
        out[l4 + 25] = 1;
        memcpy(out + l4 + 26, src_mac, FRAME_MAC_LEN);
        put_l4_checksum(out, l4, ND_ADVERT_LEN, ICMP_SUM, addr, to, IPPROTO_ICMPV6);
        return l4 + ND_ADVERT_LEN;
    }
    memcpy(out, dst_mac, FRAME_MAC_LEN);
    memcpy(out + FRAME_MAC_LEN, src_mac, FRAME_MAC_LEN);
    put16(out + 12, ETHERTYPE_ARP);
    memcpy(arp, arp_reply, sizeof(arp_reply));
    memcpy(arp + 8, src_mac, FRAME_MAC_LEN);
    memcpy(arp + 14, &addr->v4, sizeof(addr->v4));
    memcpy(arp + 18, dst_mac, FRAME_MAC_LEN);
    memcpy(arp + 24, &to->v4, sizeof(to->v4));
    return FRAME_ETH_LEN + ARP_LEN;
}

size_t frame_build_router(uint8_t *out, const NetAddr *from, const NetCidr *prefix,
                          const NetAddr *dns)
{
    static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};
    static const uint8_t all_nodes_mac[FRAME_MAC_LEN] = {0x33, 0x33, 0, 0, 0, 1};
    const NetAddr to = netaddr_from_bytes(AF_INET6, all_nodes);
    size_t len = ROUTER_LEN + ROUTER_LINK_LEN + ROUTER_NET_LEN + (dns != NULL ? ROUTER_DNS_LEN : 0);
    uint8_t mac[FRAME_MAC_LEN];
    uint8_t *at;
    size_t l4;

    netaddr_virtual_mac(from, mac);
    l4 = put_headers(out, all_nodes_mac, mac, from, &to, IPPROTO_ICMPV6, 255, len);
    at = out + l4;
    memset(at, 0, len);
    at[0] = ICMP6_ROUTER_ADVERTISEMENT;
    at[4] = HOP_LIMIT;
    put16(at + 6, ROUTER_LIFETIME);
    at += ROUTER_LEN;
    at[0] = 1; /* source link-layer address; lengths are in units of 8 bytes */
    at[1] = ROUTER_LINK_LEN / 8;
    memcpy(at + 2, mac, FRAME_MAC_LEN);
    at += ROUTER_LINK_LEN;
    at[0] = 3; /* prefix information */
    at[1] = ROUTER_NET_LEN / 8;
    at[2] = prefix->prefix;
    at[3] = 0xc0; /* on-link, autonomous */
    put32(at + 4, ROUTER_VALID);
    put32(at + 8, ROUTER_PREFERRED);
    memcpy(at + 16, &prefix->net.v6, sizeof(prefix->net.v6));
    at += ROUTER_NET_LEN;
    if (dns != NULL) {
        at[0] = 25; /* recursive DNS server */
        at[1] = ROUTER_DNS_LEN / 8;
        put32(at + 4, ROUTER_LIFETIME);
        memcpy(at + 8, &dns->v6, sizeof(dns->v6));
    }
    put_l4_checksum(out, l4, len, ICMP_SUM, from, &to, IPPROTO_ICMPV6);
    return l4 + len;
}

static bool is_ip4_broadcast(const NetAddr *addr)
{
    return addr->family == AF_INET && addr->v4.s_addr == INADDR_BROADCAST;
}

/* Is @in a packet of one host to one host? No other may be answered (RFC 1122 3.2.2, RFC 4443 2.4
 * (e)). A directed broadcast cannot be told from an address here: the gate drops those. */
static bool may_answer(const uint8_t *in, const FrameView *view)
{
    if (view->ethertype != ETHERTYPE_IP && view->ethertype != ETHERTYPE_IPV6)
        return false;
    if ((in[0] & 1) || (in[FRAME_MAC_LEN] & 1))
        return false;
    if (netaddr_is_multicast(&view->dst) || netaddr_is_multicast(&view->src))
        return false;
    if (is_ip4_broadcast(&view->dst) || is_ip4_broadcast(&view->src))
        return false;
    return !netaddr_is_any(&view->src);
}

size_t frame_build_tcp_rst(uint8_t *out, const uint8_t *in, const FrameView *view)
{
    size_t data = view->end - view->payload;
    uint8_t flags = view->tcp_flags;
    size_t l4;

    if (view->protocol != IPPROTO_TCP || (flags & FRAME_TCP_RST) || !may_answer(in, view))
        return 0;
    l4 = put_headers(out, in + FRAME_MAC_LEN, in, &view->dst, &view->src, IPPROTO_TCP, HOP_LIMIT,
                     TCP_LEN);
    memset(out + l4, 0, TCP_LEN);
    put16(out + l4, view->dst_port);
    put16(out + l4 + 2, view->src_port);
    out[l4 + 12] = TCP_LEN / 4 << 4;
    out[l4 + TCP_FLAGS] = FRAME_TCP_RST;
    /* RFC 9293 3.10.7.1 */
    if (flags & FRAME_TCP_ACK) {
        put32(out + l4 + 4, view->ack);
    } else {
        uint32_t len = (uint32_t)data + !!(flags & FRAME_TCP_SYN) + !!(flags & FRAME_TCP_FIN);

        put32(out + l4 + 8, view->seq + len);
        out[l4 + TCP_FLAGS] |= FRAME_TCP_ACK;
    }
    put_l4_checksum(out, l4, TCP_LEN, TCP_SUM, &view->dst, &view->src, IPPROTO_TCP);
    return l4 + TCP_LEN;
}

static bool is_icmp_error(const FrameView *view)
{
    if (view->protocol == IPPROTO_ICMPV6)
        return view->icmp_type < ICMP6_ECHO_REQUEST_TYPE || view->icmp_type == ICMP6_REDIRECT;
    if (view->protocol != IPPROTO_ICMP)
        return false;
    return view->icmp_type == ICMP4_UNREACHABLE || view->icmp_type == ICMP4_SOURCE_QUENCH ||
           view->icmp_type == ICMP4_REDIRECT || view->icmp_type == ICMP4_TIME_EXCEEDED ||
           view->icmp_type == ICMP4_PARAMETER;
}

size_t frame_build_icmp_error(uint8_t *out, const uint8_t *in, const FrameView *view,
                              const NetAddr *from, uint8_t type, uint8_t code, uint32_t mtu)
{
    bool ip4 = view->ethertype == ETHERTYPE_IP;
    uint8_t protocol = ip4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
    size_t quote = view->end - view->l3;
    size_t quote_max = ip4 ? QUOTE4_MAX : QUOTE6_MAX;
    size_t l4;

    if (is_icmp_error(view) || !may_answer(in, view) || from->family != view->src.family)
        return 0;
    if (quote > quote_max)
        quote = quote_max;
    l4 = put_headers(out, in + FRAME_MAC_LEN, in, from, &view->src, protocol, HOP_LIMIT,
                     ICMP_LEN + quote);
    memset(out + l4, 0, ICMP_LEN);
    out[l4] = type;
    out[l4 + 1] = code;
    if (ip4 && type == ICMP4_UNREACHABLE && code == ICMP4_FRAG_NEEDED)
        put16(out + l4 + 6, (uint16_t)(mtu > IP_MAX ? IP_MAX : mtu));
    if (!ip4 && type == ICMP6_PACKET_TOO_BIG)
        put32(out + l4 + 4, mtu);
    memcpy(out + l4 + ICMP_LEN, in + view->l3, quote);
    put_l4_checksum(out, l4, ICMP_LEN + quote, ICMP_SUM, from, &view->src, protocol);
    return l4 + ICMP_LEN + quote;
}

size_t frame_build_echo_reply(uint8_t *out, const uint8_t *in, const FrameView *view)
{
    bool ip4 = view->ethertype == ETHERTYPE_IP;
    uint8_t request = ip4 ? ICMP4_ECHO_REQUEST : ICMP6_ECHO_REQUEST_TYPE;
    uint8_t reply = ip4 ? ICMP4_ECHO_REPLY : ICMP6_ECHO_REPLY_TYPE;
    size_t len = view->end - view->l4;
    uint32_t sum;
    size_t l4;

    if ((view->protocol != IPPROTO_ICMP && view->protocol != IPPROTO_ICMPV6) ||
        view->icmp_type != request || view->icmp_code != 0 || !may_answer(in, view))
        return 0;
    l4 = put_headers(out, in + FRAME_MAC_LEN, in, &view->dst, &view->src, view->protocol, HOP_LIMIT,
                     len);
    memcpy(out + l4, in + view->l4, len);
    out[l4] = reply;
    /* RFC 1624 equation 3: the addresses only change places, so the type is the whole difference,
     * and a request with a wrong checksum gets a reply with a wrong one, as it should. */
    sum = (uint16_t)~get16(out + l4 + ICMP_SUM);
    sum += (uint16_t) ~(request << 8);
    sum += (uint32_t)reply << 8;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    put16(out + l4 + ICMP_SUM, (uint16_t)~sum);
    return l4 + len;
}

size_t frame_build_echo(uint8_t *out, const uint8_t *dst_mac, const uint8_t *src_mac,
                        const NetAddr *src, const NetAddr *dst, uint16_t id, uint16_t seq,
                        uint8_t hop_limit, const void *data, size_t len)
{
    bool ip4 = src->family == AF_INET;
    uint8_t protocol = ip4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
    size_t l4;

    if (src->family != dst->family || len > ip_payload_max(src->family) - ICMP_LEN)
        return 0;
    l4 = put_headers(out, dst_mac, src_mac, src, dst, protocol, hop_limit, ICMP_LEN + len);
    memset(out + l4, 0, ICMP_LEN);
    out[l4] = ip4 ? ICMP4_ECHO_REPLY : ICMP6_ECHO_REPLY_TYPE;
    put16(out + l4 + 4, id);
    put16(out + l4 + 6, seq);
    if (len > 0)
        memcpy(out + l4 + ICMP_LEN, data, len);
    put_l4_checksum(out, l4, ICMP_LEN + len, ICMP_SUM, src, dst, protocol);
    return l4 + ICMP_LEN + len;
}
