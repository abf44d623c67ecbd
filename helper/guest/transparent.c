/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * transparent.c - sockets that speak for addresses which are not the guest's
 *
 * Does:     the transparent listener and the raw sockets of the fast path; sockets for clients of published ports.
 * Runs in:  inside, in the guest's namespaces, with CAP_NET_ADMIN there.
 * Trusts:   its caller, but not the addresses of a request.
 */
#include "config.h"

#include "transparent.h"

#include <errno.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "../fd.h"
#include "rules.h"

/* The kernel takes the smaller of this and net.core.somaxconn. */
#define TRANSPARENT_BACKLOG 4096

static bool transparent_set(int fd, int level, int name, uint32_t value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

int transparent_listener(uint16_t *ret_port)
{
    FD_AUTO fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
    socklen_t len = sizeof(sa);

    /* The mark passes on to accepted sockets (net/ipv4/inet_connection_sock.c: inet_csk_clone_lock()), and so do the others. One
     * whose peer is gone without a word, as a guest's root can make it, is found by keepalives. SO_REUSEADDR: they have the far
     * server's port as their own, TIME_WAIT included, and the guest's servers are to have that port too. */
    if (fd < 0 || !transparent_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) ||
        !transparent_set(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1) ||
        !transparent_set(fd, SOL_SOCKET, SO_MARK, RULES_MARK) ||
        !transparent_set(fd, SOL_SOCKET, SO_REUSEADDR, 1) ||
        !transparent_set(fd, IPPROTO_TCP, TCP_NODELAY, 1) ||
        !transparent_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1) ||
        bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 ||
        listen(fd, TRANSPARENT_BACKLOG) < 0 || getsockname(fd, (struct sockaddr *)&sa, &len) < 0) {
        return -errno;
    }
    *ret_port = ntohs(sa.sin6_port);
    return fd_steal(&fd);
}

int transparent_raw(sa_family_t family, uint32_t mark)
{
    FD_AUTO fd = socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);

    if (fd < 0 || !transparent_set(fd, SOL_SOCKET, SO_MARK, mark)) {
        return -errno;
    }
    return fd_steal(&fd);
}

int transparent_diag(void)
{
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);

    return fd < 0 ? -errno : fd;
}

/* May a socket in the guest show this address as its own? */
static bool transparent_may_show(const GuestSettings *guest, const NetAddr *addr)
{
    const NetCidr *cidr = addr->family == AF_INET6 ? &guest->cidr6 : &guest->cidr;

    if (addr->family != AF_INET && addr->family != AF_INET6) {
        return false;
    }
    /* NETCLASS_NEVER: unspecified, loopback, multicast, broadcast, v4-mapped and the like. */
    return (netaddr_classify(addr) & (NETCLASS_NEVER | NETCLASS_LINK_LOCAL)) == 0 &&
           !netcidr_contains(cidr, addr);
}

static int transparent_socket(const MessageSocketRequest *request)
{
    FD_AUTO fd =
        socket(request->addr.family,
               (request->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        return -errno;
    }
    if (!request->udp) {
        (void)transparent_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
        /* A guest that drops the SYN (a full queue, a firewall) is given 15 s, not two minutes: a client waits. */
        (void)transparent_set(fd, IPPROTO_TCP, TCP_SYNCNT, 3);
    }
    return fd_steal(&fd);
}

static int transparent_try(const MessageSocketRequest *request, const NetAddr *from, uint16_t port)
{
    bool ipv6 = request->addr.family == AF_INET6;
    struct sockaddr_storage sa;
    socklen_t len = netaddr_to_sockaddr(&request->addr, request->port, &sa);
    FD_AUTO fd = transparent_socket(request);

    if (fd < 0) {
        return fd;
    }
    if (from != NULL) {
        struct sockaddr_storage own;
        socklen_t own_len = netaddr_to_sockaddr(from, port, &own);

        if (!transparent_set(fd, ipv6 ? IPPROTO_IPV6 : IPPROTO_IP,
                             ipv6 ? IPV6_TRANSPARENT : IP_TRANSPARENT, 1) ||
            !transparent_set(fd, SOL_SOCKET, SO_MARK, RULES_MARK) ||
            !transparent_set(fd, SOL_SOCKET, SO_REUSEADDR, 1) ||
            bind(fd, (const struct sockaddr *)&own, own_len) < 0) {
            return -errno;
        }
    }
    if (connect(fd, (const struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS) {
        return -errno;
    }
    return fd_steal(&fd);
}

/* Did this come of the address it was bound to, and not of the server? EACCES: a port below 1024 of a foreign namespace. */
static bool transparent_is_taken(int failed)
{
    return failed == -EADDRINUSE || failed == -EADDRNOTAVAIL || failed == -EACCES;
}

int transparent_connect(const GuestSettings *guest, const MessageSocketRequest *request,
                        MessageSocketReply *ret_reply)
{
    const NetAddr *gateway = request->addr.family == AF_INET6 ? &guest->gateway6 : &guest->gateway;
    int fd = -EADDRNOTAVAIL;

    ret_reply->source = request->source;
    /* A published port leads to a host of the guest's, never to a group or to "any", which would be loopback. */
    if ((request->addr.family != AF_INET && request->addr.family != AF_INET6) ||
        request->port == 0 || netaddr_is_any(&request->addr) ||
        netaddr_is_multicast(&request->addr)) {
        return -EINVAL;
    }
    if (request->source == MESSAGE_SOURCE_GUEST) {
        return transparent_try(request, NULL, 0);
    }
    if (request->source == MESSAGE_SOURCE_CLIENT &&
        request->client.family == request->addr.family &&
        transparent_may_show(guest, &request->client)) {
        fd = transparent_try(request, &request->client, request->client_port);
        ret_reply->other_port = request->client_port == 0;
        if (transparent_is_taken(fd) && request->client_port != 0) {
            fd = transparent_try(request, &request->client, 0);
            ret_reply->other_port = true;
        }
    }
    if (transparent_is_taken(fd)) {
        ret_reply->source = MESSAGE_SOURCE_GATEWAY;
        fd = transparent_try(request, gateway, 0);
    }
    return fd;
}
