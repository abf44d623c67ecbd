/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab_wire.c - frames by hand: good checksums under bad headers, a fence behind them, a TCP without a kernel
 *
 * Runs in:  the body.
 */
#include "config.h"

#include "lab_wire.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <string.h>

#include "lab_bytes.h"
#include "lab_internal.h"

#define NDP_SIZE          32
#define NDP_SOLICITATION  135
#define NDP_HOP_LIMIT     255
#define FENCE_MARK        0xfe0ce000U
#define FENCE_ID          0xfe0c
#define LINK_ADDRESS_SIZE 6

/* ---- frames ---- */

void lab_frame_seal(uint8_t *frame, size_t length)
{
    uint8_t *ip = frame + ETHER_SIZE;
    bool v6 = get16(frame + 12) == ETHERTYPE_IPV6;
    size_t left = length - ETHER_SIZE, header, total, checksum_at;
    unsigned protocol;
    uint32_t sum;

    if (length < ETHER_SIZE + (v6 ? V6_SIZE : V4_SIZE) ||
        (!v6 && get16(frame + 12) != ETHERTYPE_IP))
        return;
    header = v6 ? V6_SIZE : (size_t)(ip[0] & 15) * 4;
    total = MIN(left, v6 ? V6_SIZE + (size_t)get16(ip + 4) : get16(ip + 2));
    protocol = v6 ? ip[6] : ip[9];
    if (!v6) {
        put16(ip + 10, 0);
        put16(ip + 10, fold(sum16(0, ip, MIN(MAX(header, V4_SIZE), left))));
    }
    checksum_at = protocol == IPPROTO_TCP ? 16 : protocol == IPPROTO_UDP ? 6 : 2;
    if ((protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != IPPROTO_ICMP &&
         protocol != IPPROTO_ICMPV6) ||
        total < header + checksum_at + 2)
        return;
    put16(ip + header + checksum_at, 0);
    sum = protocol == IPPROTO_ICMP ? 0 : protocol + (uint32_t)(total - header);
    if (protocol != IPPROTO_ICMP)
        sum = v6 ? sum16(sum, ip + 8, 32) : sum16(sum, ip + 12, 8);
    put16(ip + header + checksum_at, fold(sum16(sum, ip + header, total - header)));
}

static void adopt4(LabFrames *frames, const char *address, const char *gateway)
{
    uint8_t arp[ETHER_SIZE + ARP_SIZE] = {0};

    memset(arp, 0xff, LINK_ADDRESS_SIZE);
    memcpy(arp + 6, frames->mac, LINK_ADDRESS_SIZE);
    put16(arp + 12, ETHERTYPE_ARP);
    put16(arp + 14, 1);
    put16(arp + 16, ETHERTYPE_IP);
    arp[18] = LINK_ADDRESS_SIZE;
    arp[19] = 4;
    put16(arp + 20, 1);
    memcpy(arp + 22, frames->mac, LINK_ADDRESS_SIZE);
    g_assert(inet_pton(AF_INET, address, arp + 28) == 1);
    g_assert(inet_pton(AF_INET, gateway, arp + 38) == 1);
    lab_frames_send_raw(frames, arp, sizeof arp);
}

static void adopt6(LabFrames *frames, const char *address, const char *gateway)
{
    uint8_t ndp[ETHER_SIZE + V6_SIZE + NDP_SIZE] = {0}, *ip = ndp + ETHER_SIZE, *icmp = ip + 40;

    memcpy(ndp, frames->gateway_mac, LINK_ADDRESS_SIZE);
    memcpy(ndp + 6, frames->mac, LINK_ADDRESS_SIZE);
    put16(ndp + 12, ETHERTYPE_IPV6);
    ip[0] = 0x60;
    put16(ip + 4, NDP_SIZE);
    ip[6] = IPPROTO_ICMPV6;
    ip[7] = NDP_HOP_LIMIT;
    g_assert(inet_pton(AF_INET6, address, ip + 8) == 1);
    g_assert(inet_pton(AF_INET6, gateway, ip + 24) == 1);
    icmp[0] = NDP_SOLICITATION;
    memcpy(icmp + 8, ip + 24, 16);
    icmp[24] = 1; /* source link-layer address, 8 bytes */
    icmp[25] = 1;
    memcpy(icmp + 26, frames->mac, LINK_ADDRESS_SIZE);
    lab_frame_seal(ndp, sizeof ndp);
    lab_frames_send_raw(frames, ndp, sizeof ndp);
}

void lab_frames_adopt(LabFrames *frames, const char *address, const char *gateway)
{
    if (lab_address_is_v6(address))
        adopt6(frames, address, gateway);
    else
        adopt4(frames, address, gateway);
}

/* ---- the fence ---- */

static bool is_neighbour_traffic(const uint8_t *frame, size_t length)
{
    return get16(frame + 12) == ETHERTYPE_ARP ||
           (get16(frame + 12) == ETHERTYPE_IPV6 && length > ETHER_SIZE + V6_SIZE &&
            frame[ETHER_SIZE + 6] == IPPROTO_ICMPV6 && frame[ETHER_SIZE + V6_SIZE] >= 130);
}

static bool is_fence(const uint8_t *frame, size_t length, uint32_t mark)
{
    const uint8_t *echo = frame + ETHER_SIZE + V4_SIZE;

    return get16(frame + 12) == ETHERTYPE_IP && length >= ETHER_SIZE + V4_SIZE + ECHO_SIZE + 4 &&
           frame[ETHER_SIZE + 9] == IPPROTO_ICMP && echo[0] == 0 && get16(echo + 4) == FENCE_ID &&
           get32(echo + ECHO_SIZE) == mark;
}

int lab_frames_fence(LabFrames *frames, LabTake take, void *user_data)
{
    static uint32_t count;
    g_autofree uint8_t *frame = g_malloc(LAB_FRAME_MAX);
    uint32_t mark = FENCE_MARK + ++count;
    uint8_t data[4];
    LabSegment echo = {.from = LAB_RAW_V4,
                       .to = LAB_GATEWAY_V4,
                       .from_port = FENCE_ID,
                       .data = data,
                       .length = sizeof data};
    int taken = 0;

    put32(data, mark);
    if (!lab_frames_offer(frames, frame, lab_frame_make(frames, IPPROTO_ICMP, &echo, frame)))
        return -1;
    for (;;) {
        size_t length = lab_frames_take(frames, frame, LAB_MS(LAB_WAIT_MS));

        if (length == 0)
            return -1;
        if (is_fence(frame, length, mark))
            return taken;
        if (is_neighbour_traffic(frame, length))
            continue;
        taken++;
        if (take != NULL)
            take(frame, length, user_data);
    }
}

/* ---- TCP by hand ---- */

void lab_rawtcp_send(const LabRawTcp *tcp, uint32_t at, const void *data, size_t length,
                     uint8_t flags, uint16_t urgent)
{
    g_autofree uint8_t *frame = g_malloc(LAB_FRAME_MAX);
    LabSegment segment = {.from = tcp->from,
                          .to = tcp->to,
                          .from_port = tcp->from_port,
                          .to_port = tcp->to_port,
                          .data = data,
                          .length = length,
                          .tcp_flags = flags | LAB_TCP_ACK,
                          .tcp_seq = tcp->first + at,
                          .tcp_ack = tcp->next,
                          .tcp_urgent = urgent};

    (void)lab_frames_offer(tcp->frames, frame,
                           lab_frame_make(tcp->frames, IPPROTO_TCP, &segment, frame));
}

bool lab_rawtcp_open(LabRawTcp *tcp, int timeout_ms)
{
    LabSegment syn = {.from = tcp->from,
                      .to = tcp->to,
                      .from_port = tcp->from_port,
                      .to_port = tcp->to_port,
                      .tcp_flags = LAB_TCP_SYN,
                      .tcp_seq = tcp->first - 1};
    int64_t end = lab_now() + timeout_ms;
    LabAnswer answer;

    lab_frames_send_tcp(tcp->frames, &syn);
    while (lab_frames_next(tcp->frames, &answer, (int)MAX(0, end - lab_now()))) {
        if (!answer.tcp || answer.to_port != tcp->from_port || answer.from_port != tcp->to_port)
            continue;
        if ((answer.tcp_flags & LAB_TCP_RST) != 0)
            return false;
        if ((answer.tcp_flags & LAB_TCP_SYN) == 0 || answer.tcp_ack != tcp->first)
            continue;
        tcp->next = answer.tcp_seq + 1;
        lab_rawtcp_send(tcp, 0, NULL, 0, 0, 0);
        return true;
    }
    return false;
}

static void rawtcp_take(const uint8_t *frame, size_t length, void *user_data)
{
    LabRawTcp *tcp = user_data;
    size_t at = ETHER_SIZE + (get16(frame + 12) == ETHERTYPE_IPV6 ? V6_SIZE : V4_SIZE);
    const uint8_t *header = frame + at;
    uint32_t acked;

    if (length < at + TCP_SIZE || get16(header) != tcp->to_port ||
        get16(header + 2) != tcp->from_port)
        return;
    tcp->reset |= (header[13] & LAB_TCP_RST) != 0;
    acked = get32(header + 8) - tcp->first;
    if ((header[13] & LAB_TCP_ACK) != 0 && (int32_t)(acked - tcp->acked) > 0)
        tcp->acked = acked;
}

bool lab_rawtcp_listen(LabRawTcp *tcp)
{
    return lab_frames_fence(tcp->frames, rawtcp_take, tcp) >= 0 && !tcp->reset;
}

void lab_rawtcp_reset(LabRawTcp *tcp)
{
    lab_rawtcp_send(tcp, tcp->acked, NULL, 0, LAB_TCP_RST, 0);
}
