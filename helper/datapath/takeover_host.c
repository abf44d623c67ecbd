/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * takeover_host.c - the host's half of a connection being taken over
 *
 * Does:     begins connect(), and turns its failure into the frame that a real network would have sent.
 * Runs in:  the datapath, on the loop thread. Never blocks.
 * Trusts:   its caller to have asked the gate.
 */
#include "config.h"

#include "takeover_host.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "../fd.h"

int takeover_host_connect(const TakeoverConfig *config, const NetAddr *to, uint16_t port)
{
    const NetAddr *from = &config->outbound[to->family == AF_INET6];
    FD_AUTO fd = socket(to->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_storage sa;
    socklen_t len;
    int one = 1;

    if (fd < 0) {
        return -errno;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    /* The guest's own keepalives end at the relay. */
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    if (from->family == to->family) {
        /* connect() chooses the port, when it knows the whole tuple (ip(7)). */
        (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
        len = netaddr_to_sockaddr(from, 0, &sa);
        if (bind(fd, (const struct sockaddr *)&sa, len) < 0) {
            return -errno;
        }
    }
    len = netaddr_to_sockaddr(to, port, &sa);
    if (connect(fd, (const struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS) {
        return -errno;
    }
    return fd_steal(&fd);
}

int takeover_host_outcome(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    int failed = 0;
    socklen_t len = sizeof(failed);

    if (poll(&poll_fd, 1, 0) == 0) {
        return EINPROGRESS;
    }
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &len) < 0 ? errno : failed;
}

bool takeover_host_answer(const TakeoverConfig *config, const uint8_t *syn, size_t len, int failed,
                          uint8_t out[FRAME_MAX], size_t *ret_len)
{
    FrameView view;
    bool ipv6;
    uint8_t code;

    *ret_len = 0;
    if (failed == ETIMEDOUT) {
        return true;
    }
    if (frame_parse(syn, len, &view) != FRAME_OK) {
        return false;
    }
    ipv6 = view.dst.family == AF_INET6;
    if (failed == ECONNREFUSED || failed == ECONNRESET) {
        *ret_len = frame_build_tcp_rst(out, syn, &view);
        return true;
    }
    /* The errno values that ICMP(v6) errors become: net/ipv4/icmp.c: icmp_err_convert[], net/ipv6/icmp.c: tab_unreach[]. */
    if (failed == ENETUNREACH || failed == ENETDOWN || failed == EAFNOSUPPORT) {
        code = ipv6 ? ICMP6_DST_UNREACH_NOROUTE : ICMP_NET_UNREACH;
    } else if (failed == EHOSTUNREACH || failed == EHOSTDOWN) {
        code = ipv6 ? ICMP6_DST_UNREACH_ADDR : ICMP_HOST_UNREACH;
    } else if (failed == EACCES || failed == EPERM) {
        code = ipv6 ? ICMP6_DST_UNREACH_ADMIN : ICMP_PKT_FILTERED;
    } else {
        return false;
    }
    *ret_len = frame_build_icmp_error(out, syn, &view, &config->gateway[ipv6],
                                      ipv6 ? ICMP6_DST_UNREACH : ICMP_DEST_UNREACH, code, 0);
    return true;
}
