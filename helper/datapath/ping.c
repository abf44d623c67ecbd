/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ping.c - echo of both families over ping sockets
 *
 * Does:     one connected socket per (guest address, destination, identifier); the kernel puts an identifier of its own on
 *           the wire and gives each socket its own replies, so concurrent pings never mix.
 * Runs in:  the datapath, on the loop thread.
 * Trusts:   nothing: replies are matched by socket, and their size is bounded by the buffer.
 * Limits:   PING_IDLE_US of silence ends a flow; max flows.
 * Why:      libslirp 4.7.0 drops ICMPv6 echo to the outside.
 */
#include "config.h"

#include "ping.h"

#include <errno.h>
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "../fd.h"
#include "../scratch.h"
#include "flow.h"

#define PING_IDLE_US    (30 * G_USEC_PER_SEC)
#define PING_HEADER_LEN 8
#define PING_BUDGET     32

struct Ping {
    Poller *poller;
    FlowTable *flows;
    PingSendFunc send;
    void *user_data;
    uint64_t failed;
    FlowTotal total; /* without "now" */
    uint8_t packet[FRAME_MAX];
    uint8_t frame[FRAME_MAX];
};

typedef struct PingFlow {
    Flow flow;
    Ping *ping;
    int fd;
    PollerWatch watch;
    uint8_t hop_limit; /* as set on the socket */
    uint8_t guest_mac[FRAME_MAC_LEN];
    uint8_t our_mac[FRAME_MAC_LEN];
} PingFlow;

static int ping_socket(sa_family_t family)
{
    return socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                  family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

int ping_probe(sa_family_t family)
{
    FD_AUTO fd = ping_socket(family);

    return fd < 0 ? errno : 0;
}

static void ping_flow_free(PingFlow *flow)
{
    poller_remove(flow->ping->poller, &flow->watch);
    fd_close(flow->fd);
    g_free(flow);
}

static void ping_flow_ended(Flow *base, FlowEnd why, void *user_data)
{
    (void)why;
    (void)user_data;
    ping_flow_free((PingFlow *)base);
}

Ping *ping_new(GMainContext *context, Poller *poller, unsigned max, PingSendFunc send,
               void *user_data)
{
    Ping *ping = NEW0_UP_TO(Ping, packet);

    ping->poller = poller;
    ping->flows = flow_table_new(context, max, ping_flow_ended, ping);
    ping->send = send;
    ping->user_data = user_data;
    return ping;
}

void ping_free(Ping *ping)
{
    if (ping == NULL) {
        return;
    }
    flow_table_free(ping->flows);
    g_free(ping);
}

static uint8_t ping_received_hop_limit(struct msghdr *header)
{
    int hops = 64;

    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(header); cmsg != NULL;
         cmsg = CMSG_NXTHDR(header, cmsg)) {
        if ((cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_TTL) ||
            (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_HOPLIMIT)) {
            memcpy(&hops, CMSG_DATA(cmsg), sizeof(hops));
        }
    }
    return (uint8_t)hops;
}

/* The socket is connected, so what it receives is from the destination and for this flow. */
static void ping_reply(PingFlow *flow, size_t len, uint8_t hop_limit)
{
    Ping *ping = flow->ping;
    const FlowKey *key = &flow->flow.key;
    uint8_t expected = key->remote.family == AF_INET ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY;
    uint16_t seq;
    size_t frame_len;

    if (len < PING_HEADER_LEN || ping->packet[0] != expected) {
        return;
    }
    memcpy(&seq, ping->packet + 6, sizeof(seq));
    frame_len = frame_build_echo(ping->frame, flow->guest_mac, flow->our_mac, &key->remote,
                                 &key->local, key->local_port, ntohs(seq), hop_limit,
                                 ping->packet + PING_HEADER_LEN, len - PING_HEADER_LEN);
    if (frame_len > 0) {
        ping->total.bytes_in += len - PING_HEADER_LEN;
        ping->send(ping->frame, frame_len, ping->user_data);
    }
}

static void ping_readable(uint32_t events, void *user_data)
{
    PingFlow *flow = user_data;
    Ping *ping = flow->ping;

    (void)events;
    for (unsigned i = 0; i < PING_BUDGET; i++) {
        char control[64] __attribute__((aligned(__alignof__(struct cmsghdr))));
        struct iovec iov = {ping->packet, sizeof(ping->packet)};
        struct msghdr header = {.msg_iov = &iov,
                                .msg_iovlen = 1,
                                .msg_control = control,
                                .msg_controllen = sizeof(control)};
        ssize_t got = recvmsg(flow->fd, &header, MSG_DONTWAIT);

        if (got < 0) {
            if (errno == EAGAIN) {
                return;
            }
            continue; /* an ICMP error (unreachable and its like); reading clears it */
        }
        ping_reply(flow, (size_t)got, ping_received_hop_limit(&header));
    }
}

static PingFlow *ping_flow_new(Ping *ping, const FlowKey *key)
{
    FD_AUTO fd = ping_socket(key->remote.family);
    struct sockaddr_storage sa;
    socklen_t len = netaddr_to_sockaddr(&key->remote, 0, &sa);
    int one = 1;
    PingFlow *flow;

    if (fd < 0 || connect(fd, (const struct sockaddr *)&sa, len) < 0) {
        return NULL;
    }
    if (key->remote.family == AF_INET) {
        (void)setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &one, sizeof(one));
    } else {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &one, sizeof(one));
    }
    flow = g_new0(PingFlow, 1);
    flow->flow.key = *key;
    flow->ping = ping;
    flow->fd = fd_steal(&fd);
    if (poller_add(ping->poller, &flow->watch, flow->fd, EPOLLIN, ping_readable, flow) != 0) {
        ping_flow_free(flow);
        return NULL;
    }
    flow_table_insert(ping->flows, &flow->flow, PING_IDLE_US);
    ping->total.ever++;
    return flow;
}

/* A router takes one off; a request that would not leave us with one left is answered by nobody. */
static void ping_set_hop_limit(PingFlow *flow, uint8_t hop_limit)
{
    int hops = hop_limit > 1 ? hop_limit - 1 : 1;

    if (flow->hop_limit == hop_limit) {
        return;
    }
    flow->hop_limit = hop_limit;
    if (flow->flow.key.remote.family == AF_INET) {
        (void)setsockopt(flow->fd, IPPROTO_IP, IP_TTL, &hops, sizeof(hops));
    } else {
        (void)setsockopt(flow->fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, sizeof(hops));
    }
}

void ping_request(Ping *ping, const uint8_t *frame, const FrameView *view)
{
    FlowKey key = flow_key(&view->dst, 0, &view->src, view->icmp_id, 0);
    PingFlow *flow = (PingFlow *)flow_table_lookup(ping->flows, &key);

    if (flow == NULL) {
        flow = ping_flow_new(ping, &key);
        if (flow == NULL) {
            ping->failed++;
            return;
        }
    } else {
        flow_touch(ping->flows, &flow->flow);
    }
    memcpy(flow->our_mac, frame, FRAME_MAC_LEN);
    memcpy(flow->guest_mac, frame + FRAME_MAC_LEN, FRAME_MAC_LEN);
    ping_set_hop_limit(flow, view->hop_limit);
    /* Type, code and sequence number are the guest's; the kernel sets identifier and checksum (net/ipv4/ping.c). */
    if (send(flow->fd, frame + view->l4, view->end - view->l4, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        ping->failed++;
    } else {
        ping->total.bytes_out += view->end - view->payload;
    }
}

PingCounters ping_counters(const Ping *ping)
{
    return (PingCounters){ping->failed, flow_table_evicted(ping->flows)};
}

FlowTotal ping_total(const Ping *ping)
{
    FlowTotal total = ping->total;

    total.now = flow_table_count(ping->flows);
    return total;
}
