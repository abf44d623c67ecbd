/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * takeover_guest.c - the guest's half of a connection being taken over
 *
 * Does:     sends packets into the guest's kernel, and asks that kernel about its addresses and sockets. Never blocks: the
 *           answers are there when the question has been sent.
 * Runs in:  the datapath, on the loop thread. The sockets were made by inside, in the guest's namespace.
 * Trusts:   nothing that it learns, beyond choosing who shall carry the guest's own connection.
 * Rights:   the sock_diag(7) socket can list the guest's sockets, and destroy them where our user owns the guest's user
 *           namespace; what is outside the guest's network namespace it cannot see.
 */
#include "config.h"

#include "takeover_guest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "../fd.h"

#define TAKEOVER_HOP_LIMIT 255
/* An inet_diag_msg with all the attributes that come unasked. */
#define TAKEOVER_ANSWER_MAX 1024
#define TAKEOVER_FORGED_MAX 64

void takeover_guest_init(TakeoverGuest *guest)
{
    *guest = (TakeoverGuest){.diag = false};
    memset(guest->fds, -1, sizeof(guest->fds));
}

void takeover_guest_clear(TakeoverGuest *guest)
{
    for (unsigned i = 0; i < FAST_PATH_FDS; i++) {
        fd_clear(&guest->fds[i]);
    }
}

uint8_t takeover_guest_inject_hop_limit(const TakeoverGuest *guest, sa_family_t family)
{
    uint8_t own = guest->hop_limit[family == AF_INET6];

    return own == TAKEOVER_HOP_LIMIT ? TAKEOVER_HOP_LIMIT - 1 : TAKEOVER_HOP_LIMIT;
}

/* Where TTL or hop limit is in an IP packet; the kernel makes the IPv4 checksum (raw(7)). */
void takeover_guest_mark(const TakeoverGuest *guest, uint8_t *packet, sa_family_t family)
{
    packet[family == AF_INET6 ? 7 : 8] = takeover_guest_inject_hop_limit(guest, family);
}

bool takeover_guest_fits(const TakeoverGuest *guest, const FrameView *view)
{
    bool ipv6 = view->dst.family == AF_INET6;

    return view->payload == view->end && view->end <= TAKEOVER_SYN_MAX &&
           view->hop_limit == guest->hop_limit[ipv6] &&
           !(ipv6 &&
             (IN6_IS_ADDR_LINKLOCAL(&view->dst.v6) || IN6_IS_ADDR_LINKLOCAL(&view->src.v6)));
}

int takeover_guest_send(const TakeoverGuest *guest, MessageFastPathFd first, const uint8_t *packet,
                        size_t len, const NetAddr *to)
{
    struct sockaddr_storage sa;
    socklen_t sa_len = netaddr_to_sockaddr(to, 0, &sa);
    int fd = guest->fds[first + (to->family == AF_INET6)];

    return sendto(fd, packet, len, MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&sa,
                  sa_len) < 0
               ? -errno
               : 0;
}

/* bind(2) tells, as often as it is asked (net/ipv4/raw.c: raw_bind(), net/ipv6/raw.c: rawv6_bind()); the socket sends whole
 * packets, so its own address means nothing. */
bool takeover_guest_is_local(const TakeoverGuest *guest, const NetAddr *addr)
{
    struct sockaddr_storage sa;
    socklen_t len = netaddr_to_sockaddr(addr, 0, &sa);
    int fd = guest->fds[FAST_PATH_INJECT4 + (addr->family == AF_INET6)];

    return bind(fd, (const struct sockaddr *)&sa, len) == 0;
}

/* ---- sockets of the guest, by sock_diag(7) ---- */

typedef struct DiagRequest {
    struct nlmsghdr header;
    struct inet_diag_req_v2 request;
} DiagRequest;

static void diag_put(__be32 words[4], const NetAddr *addr)
{
    if (addr->family == AF_INET) {
        memcpy(words, &addr->v4, sizeof(addr->v4));
    } else {
        memcpy(words, &addr->v6, sizeof(addr->v6));
    }
}

/* The state of one socket (TCP_SYN_SENT, TCP_LISTEN...), or -errno: ENOENT: there is none. A listener answers for what is not
 * connected (net/ipv4/inet_diag.c: inet_diag_find_one_icsk()). */
static int diag_state(const TakeoverGuest *guest, const FlowKey *key)
{
    DiagRequest ask = {
        .header = {.nlmsg_len = sizeof(ask),
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST},
        .request = {.sdiag_family = (uint8_t)key->local.family,
                    .sdiag_protocol = IPPROTO_TCP,
                    .idiag_states = UINT32_MAX,
                    .id = {.idiag_sport = htons(key->local_port),
                           .idiag_dport = htons(key->remote_port),
                           .idiag_if = guest->ifindex,
                           .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}},
    };
    union {
        struct nlmsghdr header;
        char bytes[TAKEOVER_ANSWER_MAX];
    } answer;
    int fd = guest->fds[FAST_PATH_DIAG];
    struct sockaddr_nl from;
    socklen_t from_len = sizeof(from);
    ssize_t got;

    diag_put(ask.request.id.idiag_src, &key->local);
    diag_put(ask.request.id.idiag_dst, &key->remote);
    /* What the guest's root may have sent here is in the way. */
    for (unsigned i = 0; i < TAKEOVER_FORGED_MAX &&
                         recv(fd, &answer, sizeof(answer), MSG_DONTWAIT | MSG_TRUNC) >= 0;
         i++) {
    }
    if (send(fd, &ask, sizeof(ask), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        return -errno;
    }
    got = recvfrom(fd, &answer, sizeof(answer), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
    if (got < (ssize_t)NLMSG_HDRLEN || from.nl_pid != 0) {
        return -EIO;
    }
    if (answer.header.nlmsg_type == NLMSG_ERROR && got >= (ssize_t)NLMSG_LENGTH(sizeof(int))) {
        return ((const struct nlmsgerr *)NLMSG_DATA(&answer.header))->error;
    }
    if (answer.header.nlmsg_type != SOCK_DIAG_BY_FAMILY ||
        got < (ssize_t)NLMSG_LENGTH(sizeof(struct inet_diag_msg))) {
        return -EPROTO;
    }
    return ((const struct inet_diag_msg *)NLMSG_DATA(&answer.header))->idiag_state;
}

/* Without the kernel's module the answer is ENOENT to everything: the listener is known to be there. */
static bool diag_works(const TakeoverGuest *guest)
{
    NetAddr lo = netaddr_loopback(AF_INET);
    struct sockaddr_in6 own;
    socklen_t len = sizeof(own);
    FlowKey key;

    if (getsockname(guest->fds[FAST_PATH_LISTENER], (struct sockaddr *)&own, &len) < 0) {
        return false;
    }
    key = flow_key(&lo, 1, &lo, ntohs(own.sin6_port), 0);
    return diag_state(guest, &key) == TCP_LISTEN;
}

TakeoverCaller takeover_guest_caller(const TakeoverGuest *guest, const FlowKey *key)
{
    int state = guest->diag ? diag_state(guest, key) : -EOPNOTSUPP;

    if (state == -ENOENT || state == TCP_LISTEN || state == TCP_TIME_WAIT) {
        return TAKEOVER_CALLER_GONE;
    }
    if (state < 0) {
        return TAKEOVER_CALLER_UNKNOWN;
    }
    return state == TCP_SYN_SENT ? TAKEOVER_CALLER_WAITS : TAKEOVER_CALLER_CONNECTED;
}

void takeover_guest_equip(TakeoverGuest *guest, const MessageFastPath *message, const int *take_fds,
                          size_t count)
{
    bool listener = guest->fds[FAST_PATH_LISTENER] >= 0;

    if (count == FAST_PATH_INBOUND_FDS && guest->fds[FAST_PATH_RETURN4] < 0) {
        memcpy(guest->fds, take_fds, count * sizeof(*take_fds));
    } else if (count == FAST_PATH_FDS && !listener) {
        memcpy(guest->fds, take_fds, sizeof(guest->fds));
        memcpy(guest->hop_limit, message->hop_limit, sizeof(guest->hop_limit));
        guest->ifindex = message->ifindex;
        guest->diag = diag_works(guest);
    } else if (count == 1 && !listener) {
        guest->fds[FAST_PATH_LISTENER] = take_fds[0];
    } else {
        for (size_t i = 0; i < count; i++) {
            fd_close(take_fds[i]);
        }
    }
}
