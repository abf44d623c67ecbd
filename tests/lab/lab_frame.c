/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab_frame.c - raw Ethernet frames of a guest's root, and what comes back
 *
 * Runs in:  the body; the AF_PACKET socket is made by the guest's keeper.
 * Why own:  the tests must be able to say what a kernel would never send (source ::1, destination 127.0.0.1), so
 *           nothing of the helper's own frame builder is used here.
 */
#include "config.h"

#include "lab_bytes.h"
#include "lab_internal.h"
#include "lab_wire.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FRAME_MAX   LAB_FRAME_MAX
#define PROTO_TCP   6
#define PROTO_UDP   17
#define PROTO_ICMP  1
#define PROTO_ICMP6 58

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

static size_t frame_tcp(LabFrames *frames, const LabSegment *segment)
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
    return frame_wrap(frames, segment, PROTO_TCP, TCP_SIZE + segment->length, 16);
}

static size_t frame_udp(LabFrames *frames, const LabSegment *segment)
{
    uint8_t *udp = frame_transport(frames, segment, UDP_SIZE);

    put16(udp, segment->from_port);
    put16(udp + 2, segment->to_port);
    put16(udp + 4, (unsigned)(UDP_SIZE + segment->length));
    return frame_wrap(frames, segment, PROTO_UDP, UDP_SIZE + segment->length, 6);
}

static size_t frame_echo(LabFrames *frames, const LabSegment *segment)
{
    bool v6 = lab_address_is_v6(segment->to);
    uint8_t *echo = frame_transport(frames, segment, ECHO_SIZE);

    echo[0] = v6 ? 128 : 8;
    put16(echo + 4, segment->from_port);
    put16(echo + 6, 1);
    return frame_wrap(frames, segment, v6 ? PROTO_ICMP6 : PROTO_ICMP, ECHO_SIZE + segment->length,
                      2);
}

size_t lab_frame_make(LabFrames *frames, int protocol, const LabSegment *segment, uint8_t *out)
{
    size_t length = protocol == PROTO_TCP   ? frame_tcp(frames, segment)
                    : protocol == PROTO_UDP ? frame_udp(frames, segment)
                                            : frame_echo(frames, segment);

    memcpy(out, frames->frame, length);
    return length;
}

bool lab_frames_offer(LabFrames *frames, const void *frame, size_t length)
{
    return send(frames->fd, frame, length, MSG_NOSIGNAL) == (ssize_t)length;
}

void lab_frames_send_raw(LabFrames *frames, const void *frame, size_t length)
{
    LAB_CHECK(lab_frames_offer(frames, frame, length), "frame of %zu bytes: %s", length,
              strerror(errno));
}

void lab_frames_send_tcp(LabFrames *frames, const LabSegment *segment)
{
    lab_frames_send_raw(frames, frames->frame, frame_tcp(frames, segment));
}

void lab_frames_send_udp(LabFrames *frames, const LabSegment *segment)
{
    lab_frames_send_raw(frames, frames->frame, frame_udp(frames, segment));
}

void lab_frames_send_echo(LabFrames *frames, const LabSegment *segment)
{
    lab_frames_send_raw(frames, frames->frame, frame_echo(frames, segment));
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

size_t lab_frames_take(LabFrames *frames, uint8_t out[FRAME_MAX], int timeout_ms)
{
    int64_t end = lab_now() + timeout_ms;

    for (;;) {
        int64_t left = end - lab_now();
        struct sockaddr_ll from = {.sll_pkttype = PACKET_HOST};
        socklen_t size = sizeof from;
        ssize_t length;

        if (lab_wait(frames->fd, POLLIN, (int)MAX(0, left)) == 0)
            return 0;
        length =
            recvfrom(frames->fd, out, FRAME_MAX, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
        if (length == 0 || (length < 0 && errno == ECONNRESET))
            return 0; /* there is nobody any more */
        if (length >= ETHER_SIZE && from.sll_pkttype != PACKET_OUTGOING)
            return (size_t)length;
    }
}

bool lab_frames_next(LabFrames *frames, LabAnswer *ret, int timeout_ms)
{
    int64_t end = lab_now() + timeout_ms;
    g_autofree uint8_t *frame = g_malloc(FRAME_MAX);

    for (;;) {
        size_t length = lab_frames_take(frames, frame, (int)MAX(0, end - lab_now()));
        unsigned type = length >= ETHER_SIZE + V4_SIZE ? get16(frame + 12) : 0;
        bool v6 = type == ETHERTYPE_IPV6;

        if (length == 0)
            return false;
        if ((v6 && length >= ETHER_SIZE + V6_SIZE) || type == ETHERTYPE_IP) {
            if (answer_parse(frame + ETHER_SIZE, length - ETHER_SIZE, v6, ret))
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

LabFrames *lab_frames_of(int take_fd, const uint8_t mac[6])
{
    LabFrames *frames = g_new0(LabFrames, 1);

    frames->fd = take_fd;
    memcpy(frames->mac, mac, 6);
    frames_ask_gateway(frames);
    return frames;
}

LabFrames *lab_frames_open(Lab *lab, LabPlace place, const char *ifname)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    struct ifreq request;
    uint8_t mac[6];
    int fd = lab_socket(lab, place, AF_PACKET, SOCK_RAW, 0);

    memset(&request, 0, sizeof request);
    g_strlcpy(request.ifr_name, ifname, sizeof request.ifr_name);
    LAB_CHECK(fd >= 0, "packet socket: %s", strerror(errno));
    LAB_CHECK(ioctl(fd, SIOCGIFHWADDR, &request) == 0, "%s: %s", ifname, strerror(errno));
    memcpy(mac, request.ifr_hwaddr.sa_data, 6);
    LAB_CHECK(ioctl(fd, SIOCGIFINDEX, &request) == 0, "%s: %s", ifname, strerror(errno));
    address.sll_ifindex = request.ifr_ifindex;
    LAB_ASSERT_CALL(bind(fd, (struct sockaddr *)&address, sizeof address));
    return lab_frames_of(fd, mac);
}

void lab_frames_close(LabFrames *frames)
{
    close(frames->fd);
    g_free(frames);
}
