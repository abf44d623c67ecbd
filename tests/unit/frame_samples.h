/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_FRAME_SAMPLES_H
#define SALLYPORT_TESTS_FRAME_SAMPLES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <glib.h>

#include "datapath/frame.h"
#include "datapath/framebytes.h"

/*
 * Frames for the tests of frame, gate and seqguard: good ones as hex text, one of each kind, and
 * small makers for those that only differ in an address or a number. Their checksums were made by
 * other code than ours.
 */

typedef struct Sample {
    const char *name;
    const char *hex;
} Sample;

/* Guest 10.0.2.100 / fd00::64, gateway 10.0.2.2 / fd00::2. */
static const Sample samples[] = {
    {"tcp4 syn",
     "52550a0002020200000000010800"
     "4500003c000040004006f87d0a0002645db8d822"
     "9c4001bb0102030400000000a002faf068ce0000020405b40402080a000000010000000001030307"},
    {"tcp4 data", "52550a0002020200000000010800"
                  "45000039000040004006f8800a0002645db8d822"
                  "9c4001bb010203040a0b0c0d8018faf03d9200000101080a000000010000000268656c6c6f"},
    {"udp4", "52550a0002020200000000010800"
             "45000021000040004011f88d0a0002645db8d822"
             "9c40007b000d000b74696d653f"},
    {"udp4 without checksum", "52550a0002020200000000010800"
                              "45000021000040004011f88d0a0002645db8d822"
                              "9c40007b000d00006e6f73756d"},
    {"echo4", "52550a0002020200000000010800"
              "45000025000040004001f8990a0002645db8d822"
              "080019500007000170696e67706f6e6721"},
    {"tcp6 syn", "52560000000202000000000186dd"
                 "6000000000140640fd00000000000000000000000000006426062800022000010000000000000001"
                 "9c4001bb01020304000000005002faf0c5630000"},
    {"tcp6 data", "52560000000202000000000186dd"
                  "6000000000190640fd00000000000000000000000000006426062800022000010000000000000001"
                  "9c4001bb010203040a0b0c0d5018faf06b5e000068656c6c6f"},
    {"udp6", "52560000000202000000000186dd"
             "60000000000d1140fd00000000000000000000000000006426062800022000010000000000000001"
             "9c40007b000df4bc74696d653f"},
    {"echo6", "52560000000202000000000186dd"
              "6000000000113a40fd00000000000000000000000000006426062800022000010000000000000001"
              "800053770007000170696e67706f6e6721"},
    {"neighbour solicitation",
     "3333ff00000202000000000186dd"
     "6000000000203afffd000000000000000000000000000064ff0200000000000000000001ff000002"
     "87007d3400000000fd0000000000000000000000000000020101020000000001"},
    {"neighbour advertisement",
     "52560000000202000000000186dd"
     "6000000000203afffd000000000000000000000000000064fd000000000000000000000000000002"
     "88001bd660000000fd0000000000000000000000000000640201020000000001"},
    {"router solicitation",
     "33330000000202000000000186dd"
     "6000000000103afffe800000000000000000000000001234ff020000000000000000000000000002"
     "850067f9000000000101020000000001"},
    {"mld report",
     "33330000001602000000000186dd"
     "6000000000240001fe800000000000000000000000001234ff020000000000000000000000000016"
     "3a000502000001008f005ed30000000104000000ff0200000000000000000001ff000002"},
    {"arp request", "ffffffffffff0200000000010806"
                    "00010800060400010200000000010a0002640000000000000a000202"},
    {"arp reply", "52550a0002020200000000010806"
                  "00010800060400020200000000010a00026452550a0002020a000202"},
};

static const uint8_t sample_guest_mac[FRAME_MAC_LEN] = {2, 0, 0, 0, 0, 1};
static const uint8_t sample_gateway_mac[FRAME_MAC_LEN] = {0x52, 0x55, 10, 0, 2, 2};

/* Returns the number of bytes; spaces do not count. */
G_GNUC_UNUSED static size_t sample_unhex(const char *hex, uint8_t *out)
{
    size_t digits = 0;

    for (; *hex; hex++) {
        int value = g_ascii_xdigit_value(*hex);

        if (value < 0)
            continue;
        if (digits % 2 == 0)
            out[digits / 2] = (uint8_t)(value << 4);
        else
            out[digits / 2] |= (uint8_t)value;
        digits++;
    }
    return digits / 2;
}

G_GNUC_UNUSED static size_t sample_get(const char *name, uint8_t *out)
{
    for (size_t i = 0; i < G_N_ELEMENTS(samples); i++)
        if (g_str_equal(samples[i].name, name))
            return sample_unhex(samples[i].hex, out);
    g_error("no sample \"%s\"", name);
}

/* A copy with nothing behind it, so that AddressSanitizer sees every byte read beyond it. */
G_GNUC_UNUSED static uint8_t *sample_exact(const uint8_t *frame, size_t len)
{
    uint8_t *copy = g_malloc(len > 0 ? len : 1);

    if (len > 0)
        memcpy(copy, frame, len);
    return copy;
}

G_GNUC_UNUSED static NetAddr sample_addr(const char *text)
{
    NetAddr addr;

    if (!netaddr_parse(text, &addr))
        g_error("no address: %s", text);
    return addr;
}

/* Any IP packet: @l4 with a checksum at @sum_at. */
G_GNUC_UNUSED static size_t sample_ip(uint8_t *out, const NetAddr *src, const NetAddr *dst,
                                      uint8_t protocol, uint8_t hop_limit, const uint8_t *l4,
                                      size_t len, size_t sum_at)
{
    size_t header = src->family == AF_INET ? IP4_LEN : IP6_LEN;
    uint8_t *ip = out + FRAME_ETH_LEN;
    uint16_t checksum;

    memset(out, 0, FRAME_ETH_LEN + header);
    memcpy(out, sample_gateway_mac, FRAME_MAC_LEN);
    memcpy(out + FRAME_MAC_LEN, sample_guest_mac, FRAME_MAC_LEN);
    if (src->family == AF_INET) {
        put16(out + 12, 0x0800);
        ip[0] = 0x45;
        put16(ip + 2, (uint16_t)(IP4_LEN + len));
        ip[8] = hop_limit;
        ip[9] = protocol;
        memcpy(ip + 12, &src->v4, 4);
        memcpy(ip + 16, &dst->v4, 4);
        checksum = frame_ip4_checksum(ip);
        memcpy(ip + 10, &checksum, 2);
    } else {
        put16(out + 12, 0x86dd);
        ip[0] = 0x60;
        put16(ip + 4, (uint16_t)len);
        ip[6] = protocol;
        ip[7] = hop_limit;
        memcpy(ip + 8, &src->v6, 16);
        memcpy(ip + 24, &dst->v6, 16);
    }
    memcpy(ip + header, l4, len);
    put16(ip + header + sum_at, 0);
    checksum = frame_l4_checksum(src, dst, protocol, ip + header, len);
    memcpy(ip + header + sum_at, &checksum, 2);
    return FRAME_ETH_LEN + header + len;
}

typedef struct TcpSpec {
    const char *src;
    const char *dst;
    uint16_t src_port;
    uint16_t dst_port;
    uint32_t seq;
    uint32_t ack;
    uint16_t window;
    uint16_t urgent;
    uint8_t flags;
    size_t len; /* of data; byte n is 'a' + n % 23, n its sequence number */
} TcpSpec;

G_GNUC_UNUSED static size_t sample_tcp(uint8_t *out, const TcpSpec *spec)
{
    g_autofree uint8_t *l4 = g_malloc0(TCP_LEN + spec->len);
    NetAddr src = sample_addr(spec->src);
    NetAddr dst = sample_addr(spec->dst);

    put16(l4, spec->src_port ? spec->src_port : 40000);
    put16(l4 + 2, spec->dst_port ? spec->dst_port : 80);
    put32(l4 + 4, spec->seq);
    put32(l4 + 8, spec->ack);
    l4[12] = 0x50;
    l4[TCP_FLAGS] = spec->flags;
    put16(l4 + 14, spec->window ? spec->window : 65535);
    put16(l4 + 18, spec->urgent);
    for (size_t i = 0; i < spec->len; i++)
        l4[TCP_LEN + i] = (uint8_t)('a' + (spec->seq + (uint32_t)i) % 23);
    return sample_ip(out, &src, &dst, IPPROTO_TCP, 64, l4, TCP_LEN + spec->len, TCP_SUM);
}

G_GNUC_UNUSED static size_t sample_udp(uint8_t *out, const char *src_text, uint16_t src_port,
                                       const char *dst_text, uint16_t dst_port)
{
    uint8_t l4[UDP_LEN + 5] = {[4] = 0, [5] = UDP_LEN + 5, [8] = 'h', 'e', 'l', 'l', 'o'};
    NetAddr src = sample_addr(src_text);
    NetAddr dst = sample_addr(dst_text);

    put16(l4, src_port);
    put16(l4 + 2, dst_port);
    return sample_ip(out, &src, &dst, IPPROTO_UDP, 64, l4, sizeof(l4), UDP_SUM);
}

/* @body follows type, code and checksum. */
G_GNUC_UNUSED static size_t sample_icmp(uint8_t *out, const char *src_text, const char *dst_text,
                                        uint8_t hop_limit, uint8_t type, uint8_t code,
                                        const char *body)
{
    uint8_t l4[256] = {type, code};
    NetAddr src = sample_addr(src_text);
    NetAddr dst = sample_addr(dst_text);
    size_t len = 4 + sample_unhex(body, l4 + 4);

    return sample_ip(out, &src, &dst, src.family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6,
                     hop_limit, l4, len, ICMP_SUM);
}

#endif
