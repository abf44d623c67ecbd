/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab_frame.c - raw Ethernet frames of a guest's root, and what comes back
 *
 * Runs in:  the body; the AF_PACKET socket is made by the guest's keeper.
 * Why own:  the tests must be able to say what a kernel would never send (source ::1, destination 127.0.0.1), so
 *           nothing of the helper's own frame builder is used here.
 */
#include "config.h"

#include "lab_internal.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FRAME_MAX   65550
#define ETHER_SIZE  14
#define V4_SIZE     20
#define V6_SIZE     40
#define TCP_SIZE    20
#define UDP_SIZE    8
#define ECHO_SIZE   8
#define ARP_SIZE    28
#define PROTO_TCP   6
#define PROTO_UDP   17
#define PROTO_ICMP  1
#define PROTO_ICMP6 58

struct LabFrames {
    int fd;
    uint8_t mac[6];
    uint8_t gateway_mac[6];
    uint8_t frame[FRAME_MAX];
};

static void put16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value & 0xffffU);
}

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static uint32_t sum16(uint32_t sum, const uint8_t *data, size_t length)
{
    for (size_t at = 0; at + 1 < length; at += 2)
        sum += get16(data + at);
    if (length % 2 != 0)
        sum += (uint32_t)data[length - 1] << 8;
    return sum;
}

static uint16_t fold(uint32_t sum)
{
    while (sum > 0xffff)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* ---- sending ---- */

/* Ethernet and IP headers around a transport of @length bytes that is in place. Return: length of the frame */
static size_t frame_wrap(LabFrames *frames, const LabSegment *segment, uint8_t protocol,
                         size_t length, size_t checksum_at)
{
    bool v6 = lab_address_is_v6(segment->to);
    const char *from = segment->from;
    uint8_t *frame = frames->frame, *ip = frame + ETHER_SIZE;
    size_t header = v6 ? V6_SIZE : V4_SIZE;
    uint8_t *transport = ip + header;
    uint32_t sum = 0;

    if (from == NULL)
        from = v6 ? LAB_GUEST_V6 : LAB_GUEST_V4;
    memcpy(frame, frames->gateway_mac, 6);
    memcpy(frame + 6, frames->mac, 6);
    put16(frame + 12, v6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP);
    memset(ip, 0, header);
    if (v6) {
        ip[0] = 0x60;
        put16(ip + 4, (unsigned)length);
        ip[6] = protocol;
        ip[7] = segment->ttl != 0 ? segment->ttl : 64;
        g_assert(inet_pton(AF_INET6, from, ip + 8) == 1);
        g_assert(inet_pton(AF_INET6, segment->to, ip + 24) == 1);
        sum = sum16(sum, ip + 8, 32);
    } else {
        ip[0] = 0x45;
        put16(ip + 2, (unsigned)(header + length));
        put16(ip + 6, 0x4000);
        ip[8] = segment->ttl != 0 ? segment->ttl : 64;
        ip[9] = protocol;
        g_assert(inet_pton(AF_INET, from, ip + 12) == 1);
        g_assert(inet_pton(AF_INET, segment->to, ip + 16) == 1);
        put16(ip + 10, fold(sum16(0, ip, V4_SIZE)));
        if (protocol != PROTO_ICMP)
            sum = sum16(sum, ip + 12, 8);
    }
    if (protocol != PROTO_ICMP)
        sum += protocol + (uint32_t)length;
    uint16_t checksum = fold(sum16(sum, transport, length));
    put16(transport + checksum_at, checksum == 0 && protocol == PROTO_UDP ? 0xffff : checksum);
    return ETHER_SIZE + header + length;
}

static uint8_t *frame_transport(LabFrames *frames, const LabSegment *segment, size_t header)
{
    size_t ip = lab_address_is_v6(segment->to) ? V6_SIZE : V4_SIZE;
    uint8_t *transport = frames->frame + ETHER_SIZE + ip;

    g_assert(ETHER_SIZE + ip + header + segment->length <= FRAME_MAX);
    memset(transport, 0, header);
    if (segment->length != 0)
        memcpy(transport + header, segment->data, segment->length);
    return transport;
}

void lab_frames_send_raw(LabFrames *frames, const void *frame, size_t length)
{
    LAB_CHECK(send(frames->fd, frame, length, 0) == (ssize_t)length, "frame of %zu bytes: %s",
              length, strerror(errno));
}

void lab_frames_send_tcp(LabFrames *frames, const LabSegment *segment)
{
    uint8_t *tcp = frame_transport(frames, segment, TCP_SIZE);

    put16(tcp, segment->from_port);
    put16(tcp + 2, segment->to_port);
    put32(tcp + 4, segment->tcp_seq);
    put32(tcp + 8, segment->tcp_ack);
    tcp[12] = (TCP_SIZE / 4) << 4;
    tcp[13] = segment->tcp_flags;
    put16(tcp + 14, 64240);
    put16(tcp + 18, segment->tcp_urgent);
    lab_frames_send_raw(frames, frames->frame,
                        frame_wrap(frames, segment, PROTO_TCP, TCP_SIZE + segment->length, 16));
}

void lab_frames_send_udp(LabFrames *frames, const LabSegment *segment)
{
    uint8_t *udp = frame_transport(frames, segment, UDP_SIZE);

    put16(udp, segment->from_port);
    put16(udp + 2, segment->to_port);
    put16(udp + 4, (unsigned)(UDP_SIZE + segment->length));
    lab_frames_send_raw(frames, frames->frame,
                        frame_wrap(frames, segment, PROTO_UDP, UDP_SIZE + segment->length, 6));
}

void lab_frames_send_echo(LabFrames *frames, const LabSegment *segment)
{
    bool v6 = lab_address_is_v6(segment->to);
    uint8_t *echo = frame_transport(frames, segment, ECHO_SIZE);

    echo[0] = v6 ? 128 : 8;
    put16(echo + 4, segment->from_port);
    put16(echo + 6, 1);
    lab_frames_send_raw(
        frames, frames->frame,
        frame_wrap(frames, segment, v6 ? PROTO_ICMP6 : PROTO_ICMP, ECHO_SIZE + segment->length, 2));
}

/* ---- receiving ---- */

/* A frame whose IP header is at @ip; false if it is of no interest. */
static bool answer_parse(const uint8_t *ip, size_t length, bool v6, LabAnswer *ret)
{
    size_t header = v6 ? V6_SIZE : (size_t)(ip[0] & 0x0f) * 4;
    uint8_t protocol = v6 ? ip[6] : ip[9];
    size_t total = v6 ? V6_SIZE + get16(ip + 4) : get16(ip + 2);
    const uint8_t *at = ip + header;

    if (total > length || total < header + 8)
        return false;
    *ret = (LabAnswer){.length = total - header};
    inet_ntop(v6 ? AF_INET6 : AF_INET, v6 ? ip + 8 : ip + 12, ret->from, sizeof ret->from);
    if (protocol == PROTO_TCP && ret->length >= TCP_SIZE) {
        ret->tcp = true;
        ret->tcp_seq = get32(at + 4);
        ret->tcp_ack = get32(at + 8);
        ret->tcp_flags = at[13];
        ret->length -= MIN(ret->length, (size_t)(at[12] >> 4) * 4);
    } else if (protocol == PROTO_UDP) {
        ret->udp = true;
        ret->length -= UDP_SIZE;
    } else if (protocol == PROTO_ICMP || protocol == PROTO_ICMP6) {
        /* Neighbour and router messages, multicast listener reports. */
        if (protocol == PROTO_ICMP6 && at[0] >= 130)
            return false;
        ret->icmp = true;
        ret->icmp_type = at[0];
        ret->icmp_code = at[1];
        ret->length -= ECHO_SIZE;
        return true;
    } else {
        return false;
    }
    ret->from_port = get16(at);
    ret->to_port = get16(at + 2);
    return true;
}

bool lab_frames_next(LabFrames *frames, LabAnswer *ret, int timeout_ms)
{
    int64_t end = lab_now() + timeout_ms;
    g_autofree uint8_t *frame = g_malloc(FRAME_MAX);

    for (;;) {
        int64_t left = end - lab_now();

        if (lab_wait(frames->fd, POLLIN, (int)MAX(0, left)) == 0)
            return false;
        struct sockaddr_ll from;
        socklen_t size = sizeof from;
        ssize_t length =
            recvfrom(frames->fd, frame, FRAME_MAX, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
        if (length < ETHER_SIZE + V4_SIZE || from.sll_pkttype == PACKET_OUTGOING)
            continue;
        unsigned type = get16(frame + 12);
        bool v6 = type == ETHERTYPE_IPV6;
        if ((v6 && length >= ETHER_SIZE + V6_SIZE) || type == ETHERTYPE_IP) {
            if (answer_parse(frame + ETHER_SIZE, (size_t)length - ETHER_SIZE, v6, ret))
                return true;
        }
    }
}

/* ---- opening ---- */

static void frames_ask_gateway(LabFrames *frames)
{
    uint8_t arp[ETHER_SIZE + ARP_SIZE] = {0}, reply[FRAME_MAX];
    int64_t end = lab_now() + LAB_MS(LAB_WAIT_MS);

    memset(arp, 0xff, 6);
    memcpy(arp + 6, frames->mac, 6);
    put16(arp + 12, ETHERTYPE_ARP);
    put16(arp + 14, 1);
    put16(arp + 16, ETHERTYPE_IP);
    arp[18] = 6;
    arp[19] = 4;
    put16(arp + 20, 1);
    memcpy(arp + 22, frames->mac, 6);
    g_assert(inet_pton(AF_INET, LAB_GUEST_V4, arp + 28) == 1);
    g_assert(inet_pton(AF_INET, LAB_GATEWAY_V4, arp + 38) == 1);
    lab_frames_send_raw(frames, arp, sizeof arp);
    while (lab_now() < end) {
        if (lab_wait(frames->fd, POLLIN, 100) == 0)
            continue;
        ssize_t length = recv(frames->fd, reply, sizeof reply, MSG_DONTWAIT);
        if (length >= (ssize_t)sizeof arp && get16(reply + 12) == ETHERTYPE_ARP &&
            get16(reply + 20) == 2 && memcmp(reply + 28, arp + 38, 4) == 0) {
            memcpy(frames->gateway_mac, reply + 22, 6);
            return;
        }
    }
    LAB_CHECK(false, "no ARP reply from the gateway");
}

LabFrames *lab_frames_open(Lab *lab, LabPlace place, const char *ifname)
{
    LabFrames *frames = g_new0(LabFrames, 1);
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    struct ifreq request;

    memset(&request, 0, sizeof request);
    g_strlcpy(request.ifr_name, ifname, sizeof request.ifr_name);
    frames->fd = lab_socket(lab, place, AF_PACKET, SOCK_RAW, 0);
    LAB_CHECK(frames->fd >= 0, "packet socket: %s", strerror(errno));
    LAB_CHECK(ioctl(frames->fd, SIOCGIFHWADDR, &request) == 0, "%s: %s", ifname, strerror(errno));
    memcpy(frames->mac, request.ifr_hwaddr.sa_data, 6);
    LAB_CHECK(ioctl(frames->fd, SIOCGIFINDEX, &request) == 0, "%s: %s", ifname, strerror(errno));
    address.sll_ifindex = request.ifr_ifindex;
    LAB_ASSERT_CALL(bind(frames->fd, (struct sockaddr *)&address, sizeof address));
    frames_ask_gateway(frames);
    return frames;
}

void lab_frames_close(LabFrames *frames)
{
    close(frames->fd);
    g_free(frames);
}
