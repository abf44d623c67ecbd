/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * forward_udp.c - published UDP ports
 *
 * Does:     one socket in the guest's namespace per client; datagrams in by the listener, out by that socket, replies back
 *           from the very address the client wrote to.
 * Runs in:  the datapath, on the loop thread.
 * Trusts:   clients not at all: source addresses can be forged, so the table is capped and the idlest goes first.
 * Owns:     the guest-side socket of each flow.
 * Limits:   udp_max flows; UDP_PENDING_MAX datagrams of at most UDP_PENDING_BYTES in all wait while a flow's socket is being
 *           made; UDP_BUDGET datagrams per socket and wake-up.
 * States:   PENDING (socket asked for) -> OPEN, unreplied (30 s) -> OPEN, replied (180 s, or idle=). A closed guest port ends
 *           the flow at once, after the other family was tried; no ICMP error can be sent to the client without
 *           CAP_NET_RAW, so it is only counted.
 */
#include "config.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "../fd.h"
#include "../scratch.h"
#include "forward_private.h"

#define UDP_IDLE_UNREPLIED_US (30 * G_USEC_PER_SEC)
#define UDP_IDLE_REPLIED_US   (180 * G_USEC_PER_SEC)
#define UDP_PENDING_MAX       16
#define UDP_PENDING_BYTES     (256 * 1024)
#define UDP_BUDGET            64
#define UDP_DATAGRAM_MAX      65535

struct ForwardUdp {
    Forward *forward;
    Poller *poller;
    FlowTable *flows;
    FlowTable *shown;     /* UdpFlow.shown: by the guest's names for both ends */
    size_t pending_bytes; /* of all flows */
    uint64_t bytes_in;    /* since start */
    uint64_t bytes_out;
    uint8_t buffer[UDP_DATAGRAM_MAX];
};

typedef struct UdpFlow {
    Flow flow;
    Flow shown; /* in ForwardUdp.shown if is_shown */
    bool is_shown;
    ForwardUdp *udp;
    Listener *listener;
    struct sockaddr_storage client;
    socklen_t client_len;
    int fd; /* in the guest's namespace; -1: not yet */
    PollerWatch watch;
    uint64_t request;
    bool replied;
    NetAddr addresses[2];
    unsigned address_count;
    unsigned address_next;
    GQueue pending; /* GBytes */
} UdpFlow;

static void udp_flow_clear_pending(UdpFlow *flow)
{
    GBytes *datagram;

    while ((datagram = g_queue_pop_head(&flow->pending)) != NULL) {
        flow->udp->pending_bytes -= g_bytes_get_size(datagram);
        g_bytes_unref(datagram);
    }
}

static void udp_flow_hide(UdpFlow *flow)
{
    if (flow->is_shown) {
        flow->is_shown = false;
        flow_table_remove(flow->udp->shown, &flow->shown);
    }
}

/* False if another flow has these ends. */
static bool udp_flow_show(UdpFlow *flow, const NetAddr *own, uint16_t own_port, const NetAddr *peer,
                          uint16_t peer_port)
{
    FlowKey key = flow_key(own, own_port, peer, peer_port, 0);

    udp_flow_hide(flow);
    if (flow_table_lookup(flow->udp->shown, &key) != NULL) {
        return false;
    }
    flow->shown = (Flow){.key = key};
    flow->is_shown = true;
    flow_table_insert(flow->udp->shown, &flow->shown, 0);
    return true;
}

static void udp_flow_free(UdpFlow *flow)
{
    udp_flow_hide(flow);
    guestsock_cancel(flow->udp->forward->gs, flow->request);
    poller_remove(flow->udp->poller, &flow->watch);
    fd_close(flow->fd);
    udp_flow_clear_pending(flow);
    forward_release(flow->udp->forward, flow->listener->publication);
    g_free(flow);
}

static void udp_flow_ended(Flow *base, FlowEnd why, void *user_data)
{
    ForwardUdp *udp = user_data;

    if (why == FLOW_END_EVICTED) {
        udp->forward->counters.over_limit++;
    }
    udp_flow_free((UdpFlow *)base);
}

static void udp_flow_end(UdpFlow *flow)
{
    flow_table_remove(flow->udp->flows, &flow->flow);
    udp_flow_free(flow);
}

static void udp_flow_answered(int fd, void *user_data);

static void udp_flow_ask(UdpFlow *flow)
{
    const NetAddr *addr = &flow->addresses[flow->address_next++];

    MessageSocketRequest request = {.udp = true,
                                    .addr = *addr,
                                    .port = flow->listener->guest_port,
                                    .source = flow->listener->source,
                                    .client = flow->flow.key.remote};

    /* Two sockets of one tuple would be no error for UDP, and get each other's replies. */
    if (request.source == MESSAGE_SOURCE_CLIENT &&
        udp_flow_show(flow, &request.client, flow->flow.key.remote_port, addr, request.port)) {
        request.client_port = flow->flow.key.remote_port;
    }
    flow->request = guestsock_request(flow->udp->forward->gs, &request, udp_flow_answered, flow);
}

/* @first: before what waits already, as it came before it. */
static void udp_flow_hold(UdpFlow *flow, const void *data, size_t len, bool first)
{
    ForwardUdp *udp = flow->udp;

    if (g_queue_get_length(&flow->pending) >= UDP_PENDING_MAX ||
        udp->pending_bytes + len > UDP_PENDING_BYTES) {
        udp->forward->counters.udp_dropped++;
        return;
    }
    udp->pending_bytes += len;
    if (first) {
        g_queue_push_head(&flow->pending, g_bytes_new(data, len));
    } else {
        g_queue_push_tail(&flow->pending, g_bytes_new(data, len));
    }
}

/* The guest's port is closed: the other address if there is one, else the end. False if the flow has ended. */
static bool udp_flow_refused(UdpFlow *flow)
{
    poller_remove(flow->udp->poller, &flow->watch);
    fd_clear(&flow->fd);
    if (!flow->replied && flow->address_next < flow->address_count) {
        udp_flow_ask(flow);
        return true;
    }
    flow->udp->forward->counters.refused++;
    udp_flow_end(flow);
    return false;
}

/* Errors that cost one datagram. Any other stays: the socket was destroyed, or the guest's addresses have changed. */
static bool udp_error_passes(int errnum)
{
    return errnum == EAGAIN || errnum == EINTR || errnum == ENOBUFS || errnum == ENOMEM ||
           errnum == EMSGSIZE || errnum == EPERM;
}

static int udp_socket_error(int fd)
{
    int failed = 0;
    socklen_t len = sizeof(failed);

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &len) < 0 ? errno : failed;
}

/*
 * One datagram to the guest. Over the guest's loopback a port unreachable is back before send() returns, so asking for
 * the error at once tells whether the datagram found a reader. False if the flow has ended.
 */
static bool udp_flow_send(UdpFlow *flow, const void *data, size_t len)
{
    ssize_t sent = send(flow->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    int failed = sent < 0 ? errno : 0;

    if (failed == 0 && !flow->replied) {
        failed = udp_socket_error(flow->fd);
    }
    if (failed == ECONNREFUSED) {
        udp_flow_hold(flow, data, len, true); /* for the other family, if there is one */
        return udp_flow_refused(flow);
    }
    if (failed != 0) {
        flow->udp->forward->counters.udp_dropped++;
        if (udp_error_passes(failed)) {
            return true;
        }
        udp_flow_end(flow); /* the client's next datagram begins anew */
        return false;
    }
    flow->flow.bytes_in += len;
    flow->udp->bytes_in += len;
    return true;
}

/* A reply must leave from the address the client wrote to, which a wildcard socket does not know by itself. */
static void udp_send_to_client(UdpFlow *flow, void *data, size_t len)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
    } control = {0};
    struct iovec iov = {data, len};
    struct msghdr header = {.msg_name = &flow->client,
                            .msg_namelen = flow->client_len,
                            .msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = &control};
    const NetAddr *local = &flow->flow.key.local;
    struct cmsghdr *cmsg = &control.align;

    if (local->family == AF_INET && flow->client.ss_family == AF_INET) {
        struct in_pktinfo info = {.ipi_spec_dst = local->v4};

        header.msg_controllen = CMSG_SPACE(sizeof(info));
        cmsg->cmsg_level = IPPROTO_IP;
        cmsg->cmsg_type = IP_PKTINFO;
        cmsg->cmsg_len = CMSG_LEN(sizeof(info));
        memcpy(CMSG_DATA(cmsg), &info, sizeof(info));
    } else if (local->family == AF_INET6) {
        struct in6_pktinfo info = {.ipi6_addr = local->v6};

        header.msg_controllen = CMSG_SPACE(sizeof(info));
        cmsg->cmsg_level = IPPROTO_IPV6;
        cmsg->cmsg_type = IPV6_PKTINFO;
        cmsg->cmsg_len = CMSG_LEN(sizeof(info));
        memcpy(CMSG_DATA(cmsg), &info, sizeof(info));
    } else {
        header.msg_control = NULL;
    }
    if (sendmsg(flow->listener->fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        flow->udp->forward->counters.udp_dropped++;
        return;
    }
    flow->flow.bytes_out += len;
    flow->udp->bytes_out += len;
}

static void udp_guest_readable(uint32_t events, void *user_data)
{
    UdpFlow *flow = user_data;
    ForwardUdp *udp = flow->udp;

    (void)events;
    for (unsigned i = 0; i < UDP_BUDGET; i++) {
        ssize_t got = recv(flow->fd, udp->buffer, sizeof(udp->buffer), MSG_DONTWAIT);

        if (got < 0) {
            if (errno == ECONNREFUSED) {
                (void)udp_flow_refused(flow);
            } else if (!udp_error_passes(errno)) {
                udp_flow_end(flow);
            }
            return;
        }
        if (!flow->replied) {
            flow->replied = true;
            if (flow->listener->idle_us < 0) {
                flow_set_idle(udp->flows, &flow->flow, UDP_IDLE_REPLIED_US);
            }
        }
        flow_touch(udp->flows, &flow->flow);
        udp_send_to_client(flow, udp->buffer, (size_t)got);
    }
}

static void udp_flow_answered(int fd, void *user_data)
{
    UdpFlow *flow = user_data;
    GBytes *datagram;
    NetAddr ends[2];
    uint16_t ports[2];

    flow->request = 0;
    if (forward_out_of_fds(-fd)) {
        flow->udp->forward->counters.over_limit++;
        flow->udp->forward->config.problem("limit reached: file descriptors", -fd,
                                           flow->udp->forward->config.user_data);
        udp_flow_end(flow);
        return;
    }
    if (fd >= 0 && flow->listener->source != MESSAGE_SOURCE_GUEST &&
        forward_socket_names(fd, ends, ports)) {
        (void)udp_flow_show(flow, &ends[0], ports[0], &ends[1], ports[1]);
    }
    if (fd < 0 ||
        poller_add(flow->udp->poller, &flow->watch, fd, EPOLLIN, udp_guest_readable, flow) != 0) {
        fd_close(fd);
        (void)udp_flow_refused(flow);
        return;
    }
    flow->fd = fd;
    while (flow->fd >= 0 && (datagram = g_queue_pop_head(&flow->pending)) != NULL) {
        gsize len;
        const void *data = g_bytes_get_data(datagram, &len);
        bool alive;

        flow->udp->pending_bytes -= len;
        alive = udp_flow_send(flow, data, len);
        g_bytes_unref(datagram);
        if (!alive) {
            return;
        }
    }
}

/* "max=": the publication's own oldest would be the fair one to go; its newest is refused instead, which needs no search. */
static UdpFlow *udp_flow_new(ForwardUdp *udp, Listener *listener, const FlowKey *key,
                             const struct sockaddr_storage *client, socklen_t client_len)
{
    Forward *forward = udp->forward;
    UdpFlow *flow;

    if (listener->publication->max != 0 &&
        listener->publication->flows >= listener->publication->max) {
        forward->counters.over_limit++;
        forward->config.problem("limit reached: max= of a published port", 0,
                                forward->config.user_data);
        return NULL;
    }
    flow = g_new0(UdpFlow, 1);
    flow->flow.key = *key;
    flow->udp = udp;
    flow->listener = listener;
    flow->client = *client;
    flow->client_len = client_len;
    flow->fd = -1;
    g_queue_init(&flow->pending);
    listener->publication->flows++;
    forward->counters.udp_flows++;
    flow->address_count =
        forward_guest_addresses(forward, listener, key->remote.family, flow->addresses);
    flow_table_insert(udp->flows, &flow->flow,
                      listener->idle_us < 0 ? UDP_IDLE_UNREPLIED_US : listener->idle_us);
    if (flow->address_count == 0) {
        (void)udp_flow_refused(flow);
        return NULL;
    }
    udp_flow_ask(flow);
    return flow;
}

static NetAddr udp_local_address(struct msghdr *header)
{
    NetAddr local = {.family = AF_UNSPEC};

    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(header); cmsg != NULL;
         cmsg = CMSG_NXTHDR(header, cmsg)) {
        if (cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;

            memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
            local.family = AF_INET;
            local.v4 =
                info.ipi_spec_dst; /* of a broadcast: our address it came to, which can be a source */
        } else if (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;

            memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
            local.family = IN6_IS_ADDR_MULTICAST(&info.ipi6_addr)
                               ? AF_UNSPEC
                               : AF_INET6; /* no source of a reply */
            local.v6 = info.ipi6_addr;
        }
    }
    return local;
}

static void udp_datagram(ForwardUdp *udp, Listener *listener, struct msghdr *header, size_t len)
{
    struct sockaddr_storage *client = header->msg_name;
    NetAddr local = udp_local_address(header);
    NetAddr remote;
    NetAddr shown;
    uint16_t port;
    FlowKey key;
    UdpFlow *flow;

    if (!netaddr_from_sockaddr((const struct sockaddr *)client, &remote, &port)) {
        return;
    }
    /* On a socket for both families an IPv4 client shows as v4-mapped, and so does the address it wrote to. */
    shown = netaddr_unmap(&remote);
    key = flow_key(&shown, port, &local, listener->host_port, listener->number);
    flow = (UdpFlow *)flow_table_lookup(udp->flows, &key);
    if (flow == NULL) {
        flow = udp_flow_new(udp, listener, &key, client, header->msg_namelen);
    } else {
        flow_touch(udp->flows, &flow->flow);
    }
    if (flow == NULL) {
        udp->forward->counters.udp_dropped++;
    } else if (flow->fd < 0) {
        udp_flow_hold(flow, udp->buffer, len, false);
    } else {
        (void)udp_flow_send(flow, udp->buffer, len);
    }
}

static void udp_listener_readable(uint32_t events, void *user_data)
{
    Listener *listener = user_data;
    ForwardUdp *udp = listener->forward->udp;

    for (unsigned i = 0; i < UDP_BUDGET; i++) {
        struct sockaddr_storage client;
        char control[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))]
            __attribute__((aligned(__alignof__(struct cmsghdr))));
        struct iovec iov = {udp->buffer, sizeof(udp->buffer)};
        struct msghdr header = {.msg_name = &client,
                                .msg_namelen = sizeof(client),
                                .msg_iov = &iov,
                                .msg_iovlen = 1,
                                .msg_control = control,
                                .msg_controllen = sizeof(control)};
        ssize_t got = recvmsg(listener->fd, &header, MSG_DONTWAIT);

        if (got < 0) {
            if (errno == EAGAIN) {
                return;
            }
            if ((events & EPOLLHUP) != 0) {
                forward_listener_lost(listener, errno); /* destroyed: reading would fail for ever */
                return;
            }
            continue; /* an ICMP error about an earlier reply (udp(7)); reading clears it */
        }
        udp_datagram(udp, listener, &header, (size_t)got);
    }
}

int forward_udp_listen(ForwardUdp *udp, Listener *listener)
{
    return poller_add(udp->poller, &listener->watch, listener->fd, EPOLLIN, udp_listener_readable,
                      listener);
}

void forward_udp_unlisten(ForwardUdp *udp, Listener *listener)
{
    poller_remove(udp->poller, &listener->watch);
}

typedef struct UdpChoice {
    const Publication *publication;
    unsigned max;
    GPtrArray *chosen;
} UdpChoice;

static void udp_choose(Flow *flow, void *user_data)
{
    const UdpChoice *choice = user_data;

    if (((const UdpFlow *)flow)->listener->publication == choice->publication &&
        choice->chosen->len < choice->max) {
        g_ptr_array_add(choice->chosen, flow);
    }
}

bool forward_udp_cut(ForwardUdp *udp, const Publication *publication, unsigned max)
{
    g_autoptr(GPtrArray) chosen = g_ptr_array_new();
    UdpChoice choice = {publication, max, chosen};

    flow_table_each(udp->flows, udp_choose, &choice);
    for (guint i = 0; i < chosen->len; i++) {
        udp_flow_end(g_ptr_array_index(chosen, i));
    }
    return chosen->len < max;
}

/* Never called: a flow leaves the table before it goes, and none idles out there. */
static void udp_shown_ended(Flow *flow, FlowEnd why, void *user_data)
{
    (void)flow;
    (void)why;
    (void)user_data;
}

ForwardUdp *forward_udp_new(Forward *forward, GMainContext *context, GError **error)
{
    Poller *poller = poller_new(context, error);
    ForwardUdp *udp;

    if (poller == NULL) {
        return NULL;
    }
    udp = NEW0_UP_TO(ForwardUdp, buffer);
    udp->forward = forward;
    udp->poller = poller;
    udp->flows = flow_table_new(context, forward->config.udp_max, udp_flow_ended, udp);
    udp->shown = flow_table_new(context, G_MAXUINT, udp_shown_ended, udp);
    return udp;
}

bool forward_udp_owns(const ForwardUdp *udp, const FlowKey *key)
{
    return flow_table_lookup(udp->shown, key) != NULL;
}

void forward_udp_free(ForwardUdp *udp)
{
    if (udp == NULL) {
        return;
    }
    flow_table_free(udp->flows);
    flow_table_free(udp->shown);
    poller_free(udp->poller);
    g_free(udp);
}

/* FlowListFill */
static void udp_flow_fill(const Flow *base, FlowRecord *ret, void *fill_data)
{
    const UdpFlow *flow = (const UdpFlow *)base;

    (void)fill_data;
    ret->path = FLOW_PATH_UDP;
    ret->protocol = IPPROTO_UDP;
    ret->state = flow->fd < 0 ? FLOW_STATE_CONNECTING : FLOW_STATE_OPEN;
    ret->host_local = (FlowAddr){netaddr_unmap(&base->key.local), base->key.local_port};
    ret->host_remote = (FlowAddr){base->key.remote, base->key.remote_port};
    memset(&ret->guest_local, 0, sizeof(ret->guest_local));
    memset(&ret->guest_remote, 0, sizeof(ret->guest_remote));
    if (flow->fd >= 0) {
        flowlist_names(flow->fd, &ret->guest_remote, &ret->guest_local);
    }
}

uint32_t forward_udp_page(const Forward *forward, uint32_t place, FlowList *list)
{
    return flowlist_page(forward->udp->flows, place, list, udp_flow_fill, NULL);
}

FlowTotal forward_udp_total(const Forward *forward)
{
    const ForwardUdp *udp = forward->udp;

    return (FlowTotal){.now = flow_table_count(udp->flows),
                       .ever = forward->counters.udp_flows,
                       .bytes_in = udp->bytes_in,
                       .bytes_out = udp->bytes_out};
}
