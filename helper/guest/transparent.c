/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * transparent.c - sockets that speak for addresses which are not the guest's
 *
 * Does:     the transparent listener and the raw sockets of the fast path.
 * Runs in:  inside, in the guest's namespaces, with CAP_NET_ADMIN there.
 * Trusts:   its caller.
 */
#include "config.h"

#include "transparent.h"

#include <errno.h>
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

    /* The mark passes on to accepted sockets (net/ipv4/inet_connection_sock.c: inet_csk_clone_lock()). */
    if (fd < 0 || !transparent_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) ||
        !transparent_set(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1) ||
        !transparent_set(fd, SOL_SOCKET, SO_MARK, RULES_MARK) ||
        !transparent_set(fd, IPPROTO_TCP, TCP_NODELAY, 1) ||
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
