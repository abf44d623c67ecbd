/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_BINDPORT_H
#define SALLYPORT_BINDPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "netaddr.h"
#include "portmap.h"

/**
 * struct BindSlot - one protocol, family and host address that a port map is bound to
 * @protocol:      one PORTMAP_* bit
 * @both_families: an IPv6 wildcard that takes IPv4 clients too
 * @optional:      its family may be missing on the host
 */
typedef struct BindSlot {
    PortMapProtocol protocol;
    NetAddr addr;
    bool both_families;
    bool optional;
} BindSlot;

#define BIND_SLOTS_MAX 4

/* Which sockets each host port of @map needs. Returns how many were written. */
size_t bindport_slots(const PortMap *map, BindSlot ret[BIND_SLOTS_MAX]);

/**
 * bindport_open() - a socket bound to one host port, listening if it is TCP
 * @port: host byte order; 0: the kernel picks
 *
 * Return: the fd (non-blocking, CLOEXEC) or -errno: -EADDRINUSE, -EACCES (a privileged port), -EADDRNOTAVAIL, -EAFNOSUPPORT,
 * -ENODEV (no such interface)...
 */
int bindport_open(const PortMap *map, const BindSlot *slot, uint16_t port);

/* The port a socket is bound to, host byte order. */
uint16_t bindport_port(int fd);

/* What went wrong with one port, as FAULT_PUBLISH; names ip_unprivileged_port_start for a privileged one. */
GError *bindport_fault(const PortMap *map, const BindSlot *slot, uint16_t port, int errnum);

/* A listening TCP socket on a port of the loopback address that the kernel picks, or -errno. */
int bindport_open_loopback(sa_family_t family);

/* Why no socket can be bound to an --outbound-addr, as FAULT_OPTION; NULL if one can, or if @addr is AF_UNSPEC. */
GError *bindport_source_fault(const NetAddr *addr);

/* "tcp" or "udp". */
const char *bindport_protocol_name(PortMapProtocol protocol);

#endif
