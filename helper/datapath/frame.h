/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_FRAME_H
#define SALLYPORT_DATAPATH_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../netaddr.h"

#define FRAME_ETH_LEN 14
#define FRAME_MAC_LEN 6
/* Largest frame on any link of ours: 65521 bytes of MTU and an Ethernet header. */
#define FRAME_MAX 65550

#define FRAME_TCP_FIN 0x01
#define FRAME_TCP_SYN 0x02
#define FRAME_TCP_RST 0x04
#define FRAME_TCP_PSH 0x08
#define FRAME_TCP_ACK 0x10
#define FRAME_TCP_URG 0x20

/* Why a frame is not a well-formed member of what we speak. Each has a counter in the gate. */
typedef enum FrameStatus {
    FRAME_OK,
    FRAME_SHORT,         /* shorter than its headers, or longer than FRAME_MAX */
    FRAME_ETHERTYPE,     /* not IPv4, ARP or IPv6 */
    FRAME_BAD_ARP,       /* not an Ethernet/IPv4 request or reply */
    FRAME_BAD_IP,        /* version, header length, total length */
    FRAME_IP_OPTIONS,    /* IPv4 header longer than 20 bytes */
    FRAME_FRAGMENT,      /* any IPv4 fragment, any IPv6 fragment header */
    FRAME_IP6_EXTENSION, /* an extension header other than a hop-by-hop one before MLD */
    FRAME_PROTOCOL,      /* not TCP, UDP, ICMP (IPv4), ICMPv6 (IPv6) */
    FRAME_BAD_UDP,       /* length field below 8 or beyond the packet, a zero port */
    FRAME_BAD_TCP,       /* header length, a zero port */
    FRAME_BAD_ICMP,      /* shorter than 8 bytes; gate: NDP against RFC 4861 6.1.1, 7.1 */
    FRAME_STATUS_COUNT
} FrameStatus;

/**
 * struct FrameView - where things are in one frame, and what they say
 * @ethertype:   host byte order
 * @protocol:    IPPROTO_TCP, _UDP, _ICMP, _ICMPV6, or 0 for ARP
 * @hop_limit:   TTL or hop limit
 * @tcp_flags:   FRAME_TCP_* bits
 * @icmp_type:   ICMP or ICMPv6 type, with @icmp_code, @icmp_id, @icmp_seq (the latter two of echo messages)
 * @l3:          offset of the IP or ARP header; @l4: of the TCP, UDP or ICMP header; @payload: behind that
 * @end:         offset just behind the IP packet; Ethernet padding beyond it is not part of the packet
 * @src:         source address (of ARP: sender protocol address), @dst: destination (of ARP: target)
 * @src_port:    host byte order, with @dst_port, @seq and @ack
 */
typedef struct FrameView {
    uint16_t ethertype;
    uint8_t protocol;
    uint8_t hop_limit;
    uint8_t tcp_flags;
    uint8_t icmp_type;
    uint8_t icmp_code;
    uint16_t icmp_id;
    uint16_t icmp_seq;
    uint16_t src_port;
    uint16_t dst_port;
    uint32_t seq;
    uint32_t ack;
    size_t l3;
    size_t l4;
    size_t payload;
    size_t end;
    NetAddr src;
    NetAddr dst;
} FrameView;

/* Looks at @frame only within @len. @ret is written only when FRAME_OK is returned. Checksums are not looked at. */
FrameStatus frame_parse(const uint8_t *frame, size_t len, FrameView *ret);
const char *frame_status_name(FrameStatus status);

/* Internet checksum (RFC 1071) of the 20-byte IPv4 header at @header, as it is stored (memcpy). The checksum field
 * itself must be zero; over a header with a good checksum the result is 0. */
uint16_t frame_ip4_checksum(const uint8_t *header);
/* Internet checksum of the TCP, UDP, ICMP or ICMPv6 segment at @segment, with its pseudo header (ICMP: none), as it is
 * stored (memcpy); never 0 for UDP. The checksum field itself must be zero. */
uint16_t frame_l4_checksum(const NetAddr *src, const NetAddr *dst, uint8_t protocol,
                           const uint8_t *segment, size_t len);
/* True if the IPv4 header checksum (IPv4) and the TCP/UDP/ICMP checksum hold. For tests and for ping. */
bool frame_checksums_ok(const uint8_t *frame, const FrameView *view);

/* Recomputes IPv4 header checksum and L4 checksum (a zero UDP/IPv4 checksum stays zero). */
void frame_fix_checksums(uint8_t *frame, const FrameView *view);

/* In place: changes destination or source address (same family) and port of a TCP or UDP frame, adjusting the
 * checksums incrementally (RFC 1624), so a wrong checksum stays wrong. @port in host byte order. */
void frame_rewrite_dst(uint8_t *frame, const FrameView *view, const NetAddr *dst, uint16_t port);
void frame_rewrite_src(uint8_t *frame, const FrameView *view, const NetAddr *src, uint16_t port);

/* Clears URG and the urgent pointer of a TCP frame, adjusting the checksum incrementally. */
void frame_strip_urg(uint8_t *frame, const FrameView *view);
/* Takes the last @count bytes of data (at most what there is) off a TCP frame, and FIN, which stands behind them.
 * Lengths and checksums are adjusted incrementally. Returns the new frame length. @view is updated. */
size_t frame_shorten_tcp(uint8_t *frame, FrameView *view, size_t count);

/*
 * Builders. Each writes one whole frame into @out (room for FRAME_MAX unless a smaller bound is said) and returns its
 * length, or 0 if the result would not fit the limits of IP or if no answer may be sent (RFC 1122 3.2.2: never to
 * an ICMP error, a multicast or broadcast, a RST). @dst_mac and @src_mac are FRAME_MAC_LEN bytes.
 */

/* UDP datagram; hop limit 64; families of @src and @dst must agree. Ports host order. */
size_t frame_build_udp(uint8_t *out, const uint8_t *dst_mac, const uint8_t *src_mac,
                       const NetAddr *src, uint16_t src_port, const NetAddr *dst, uint16_t dst_port,
                       const void *data, size_t len);

/* The RST that answers the TCP frame @in (RFC 9293 3.10.7.1: seq/ack by whether ACK was set); MACs swapped. */
size_t frame_build_tcp_rst(uint8_t *out, const uint8_t *in, const FrameView *view);

/* The ICMP(v6) error that answers @in; @from is its source address (same family). @type/@code are of ICMP for an
 * IPv4 frame, of ICMPv6 for an IPv6 one. Quotes up to 548 bytes (IPv4: 576 in all) or 1,232 (IPv6: 1,280 in all);
 * the quoted headers are those of the guest. @mtu goes to the next-hop MTU field of frag-needed/packet-too-big. */
size_t frame_build_icmp_error(uint8_t *out, const uint8_t *in, const FrameView *view,
                              const NetAddr *from, uint8_t type, uint8_t code, uint32_t mtu);

/* The reply to the echo request @in, MACs and addresses swapped, payload copied; 0 if @in is no echo request. */
size_t frame_build_echo_reply(uint8_t *out, const uint8_t *in, const FrameView *view);

/* How a neighbour says that @addr has the link address @src_mac: ARP reply (RFC 826) to @to, or neighbour advertisement (RFC 4861
 * 4.4), override set. At most FRAME_ANNOUNCEMENT_MAX bytes. */
#define FRAME_ANNOUNCEMENT_MAX 86
size_t frame_build_announcement(uint8_t *out, const uint8_t *dst_mac, const uint8_t *src_mac,
                                const NetAddr *addr, const NetAddr *to);

/* The router advertisement (RFC 4861 4.2) of @from, an fe80:: address, to all nodes: a default router, @prefix for addresses the
 * nodes make up themselves, and unless NULL @dns as name server (RFC 8106). */
#define FRAME_ROUTER_MAX 134
size_t frame_build_router(uint8_t *out, const NetAddr *from, const NetCidr *prefix,
                          const NetAddr *dns);

/* An echo reply of our own making: what a host answered to a guest's ping. @hop_limit as it came. */
size_t frame_build_echo(uint8_t *out, const uint8_t *dst_mac, const uint8_t *src_mac,
                        const NetAddr *src, const NetAddr *dst, uint16_t id, uint16_t seq,
                        uint8_t hop_limit, const void *data, size_t len);

#endif
