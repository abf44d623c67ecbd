/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * bindport.c - binding one host port
 *
 * Does:     makes and binds listening sockets as a port map wants them; says in words what failed.
 * Runs in:  the supervisor, in the host's network namespace.
 * Not here: in which order, and what happens to the others when one fails (publisher.c).
 */
#include "config.h"

#include "bindport.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "fault.h"
#include "fd.h"

/* Two sockets a port would not fit the usual limit on fds for ranges beyond this: one for both families then. */
#define BINDPORT_TWO_SOCKETS_MAX 1024
/* A peer that went without FIN is found out by probing: after two minutes, then every 15 s, eight times. */
#define BINDPORT_KEEPIDLE_S  120
#define BINDPORT_KEEPINTVL_S 15
#define BINDPORT_KEEPCNT     8

static bool bindport_wildcard(const PortMap *map)
{
    return map->host_kind == PORTMAP_HOST_UNSET || map->host_kind == PORTMAP_HOST_ANY;
}

static NetAddr bindport_address(const PortMap *map, sa_family_t family)
{
    NetAddr addr;

    switch (map->host_kind) {
    case PORTMAP_HOST_LOCALHOST:
        return netaddr_loopback(family);
    case PORTMAP_HOST_ADDR:
        addr = map->host_addr;
        if (map->ifname[0] != '\0' && addr.family == AF_INET6) {
            addr.scope_id = netaddr_ifindex(map->ifname);
        }
        return addr;
    case PORTMAP_HOST_UNSET:
    case PORTMAP_HOST_ANY:
    case PORTMAP_HOST_UNIX:
        break;
    }
    return netaddr_any(family);
}

static bool bindport_host_has_ipv6(void)
{
    FD_AUTO fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd >= 0;
}

size_t bindport_slots(const PortMap *map, BindSlot ret[BIND_SLOTS_MAX])
{
    static const struct {
        PortMapProtocol protocol;
        PortMapProtocol other; /* the same of the other family */
        sa_family_t family;
    } rows[] = {
        {PORTMAP_TCP4, PORTMAP_TCP6, AF_INET},
        {PORTMAP_TCP6, PORTMAP_TCP4, AF_INET6},
        {PORTMAP_UDP4, PORTMAP_UDP6, AF_INET},
        {PORTMAP_UDP6, PORTMAP_UDP4, AF_INET6},
    };
    unsigned ports = map->ports_kind == PORTMAP_PORTS_RANGE
                         ? (unsigned)map->host_ports.last - map->host_ports.first + 1
                         : 1;
    bool merge = bindport_wildcard(map) && ports > BINDPORT_TWO_SOCKETS_MAX && !map->first_free &&
                 bindport_host_has_ipv6();
    size_t count = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        bool both = (map->protocols & rows[i].other) != 0;

        if ((map->protocols & rows[i].protocol) == 0 ||
            (merge && both && rows[i].family == AF_INET)) {
            continue;
        }
        if (map->host_kind == PORTMAP_HOST_ADDR && map->host_addr.family != rows[i].family) {
            continue;
        }
        ret[count++] = (BindSlot){.protocol = rows[i].protocol,
                                  .addr = bindport_address(map, rows[i].family),
                                  .both_families = merge && both,
                                  .optional = bindport_wildcard(map) && both && !merge &&
                                              rows[i].family == AF_INET6};
    }
    return count;
}

static bool bindport_is_udp(const BindSlot *slot)
{
    return (slot->protocol & (PORTMAP_UDP4 | PORTMAP_UDP6)) != 0;
}

static int bindport_set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* Options that accepted sockets inherit are set here once, not for each connection (net/ipv4/tcp_minisocks.c). */
static int bindport_prepare_tcp(int fd)
{
    int failed =
        bindport_set(fd, SOL_SOCKET, SO_REUSEADDR, 1); /* over TIME_WAIT, never over a listener */

    if (failed == 0) {
        failed = bindport_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    }
    (void)bindport_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, BINDPORT_KEEPIDLE_S);
    (void)bindport_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, BINDPORT_KEEPINTVL_S);
    (void)bindport_set(fd, IPPROTO_TCP, TCP_KEEPCNT, BINDPORT_KEEPCNT);
    (void)bindport_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    return failed;
}

/* To answer from the address that was asked. */
static int bindport_prepare_udp(int fd, const BindSlot *slot)
{
    if (slot->addr.family == AF_INET) {
        return bindport_set(fd, IPPROTO_IP, IP_PKTINFO, 1);
    }
    return bindport_set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
}

int bindport_open(const PortMap *map, const BindSlot *slot, uint16_t port)
{
    bool udp = bindport_is_udp(slot);
    FD_AUTO fd = socket(slot->addr.family,
                        (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_storage sa;
    socklen_t len = netaddr_to_sockaddr(&slot->addr, port, &sa);
    int failed = fd < 0 ? -errno : 0;

    if (failed == 0) {
        failed = udp ? bindport_prepare_udp(fd, slot) : bindport_prepare_tcp(fd);
    }
    if (failed == 0 && slot->addr.family == AF_INET6) {
        failed = bindport_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, !slot->both_families);
    }
    if (failed == 0 && map->ifname[0] != '\0' &&
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, map->ifname, (socklen_t)strlen(map->ifname)) <
            0) {
        failed = -errno;
    }
    if (failed == 0 && bind(fd, (const struct sockaddr *)&sa, len) < 0) {
        failed = -errno;
    }
    /* The kernel lowers the backlog to net.core.somaxconn. */
    if (failed == 0 && !udp && listen(fd, map->backlog > 0 ? map->backlog : G_MAXINT) < 0) {
        failed = -errno;
    }
    return failed != 0 ? failed : fd_steal(&fd);
}

uint16_t bindport_port(int fd)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    NetAddr addr;
    uint16_t port = 0;

    if (getsockname(fd, (struct sockaddr *)&sa, &len) == 0) {
        (void)netaddr_from_sockaddr((const struct sockaddr *)&sa, &addr, &port);
    }
    return port;
}

static char *bindport_hint(const PortMap *map, uint16_t port, int errnum)
{
    g_autofree char *start = NULL;

    if (errnum == EACCES && port != 0 &&
        g_file_get_contents("/proc/sys/net/ipv4/ip_unprivileged_port_start", &start, NULL, NULL)) {
        return g_strdup_printf(
            " (a privileged port: sysctl net.ipv4.ip_unprivileged_port_start is %s)",
            g_strstrip(start));
    }
    if (errnum == ENODEV) {
        return g_strdup_printf(" (interface %s)", map->ifname);
    }
    return g_strdup("");
}

GError *bindport_fault(const PortMap *map, const BindSlot *slot, uint16_t port, int errnum)
{
    g_autofree char *hint = bindport_hint(map, port, errnum);
    char where[NETADDR_STRLEN];

    return fault_new(FAULT_PUBLISH, errnum, "--publish %s: cannot bind %s/%s: %s%s", map->text,
                     netaddr_format_port(&slot->addr, port, where),
                     bindport_protocol_name(slot->protocol), g_strerror(errnum), hint);
}

int bindport_open_loopback(sa_family_t family)
{
    FD_AUTO fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    NetAddr loopback = netaddr_loopback(family);
    struct sockaddr_storage sa;
    socklen_t len = netaddr_to_sockaddr(&loopback, 0, &sa);

    if (fd < 0 || bind(fd, (const struct sockaddr *)&sa, len) < 0 || listen(fd, SOMAXCONN) < 0) {
        return -errno;
    }
    return fd_steal(&fd);
}

GError *bindport_source_fault(const NetAddr *addr)
{
    FD_AUTO fd =
        addr->family != AF_UNSPEC ? socket(addr->family, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
    struct sockaddr_storage sa;
    socklen_t len = netaddr_to_sockaddr(addr, 0, &sa);
    char text[NETADDR_STRLEN];

    if (addr->family == AF_UNSPEC ||
        (fd >= 0 && bind(fd, (const struct sockaddr *)&sa, len) == 0)) {
        return NULL;
    }
    return fault_new(FAULT_OPTION, errno, "--outbound-addr %s: %s", netaddr_format(addr, text),
                     g_strerror(errno));
}

const char *bindport_protocol_name(PortMapProtocol protocol)
{
    return (protocol & (PORTMAP_UDP4 | PORTMAP_UDP6)) != 0 ? "udp" : "tcp";
}
