/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_PORTMAP_H
#define SALLYPORT_PORTMAP_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "netaddr.h"

#define PORTMAP_ERROR (portmap_error_quark())
GQuark portmap_error_quark(void);

typedef enum PortMapError {
    PORTMAP_ERROR_SYNTAX,
} PortMapError;

typedef enum PortMapHost {
    PORTMAP_HOST_UNSET, /* no host address in the text: --publish-address decides */
    PORTMAP_HOST_ANY,   /* "*" or "%iface": every address, both families */
    PORTMAP_HOST_LOCALHOST,
    PORTMAP_HOST_ADDR,
    PORTMAP_HOST_UNIX,
} PortMapHost;

typedef enum PortMapPorts {
    PORTMAP_PORTS_KERNEL, /* the kernel picks one */
    PORTMAP_PORTS_RANGE,  /* host_ports, less the holes */
    PORTMAP_PORTS_ALL,
    PORTMAP_PORTS_AUTO,
} PortMapPorts;

/* Protocol and family of one listener; PortMap.protocols is a set of these. */
typedef enum PortMapProtocol {
    PORTMAP_TCP4 = 1 << 0,
    PORTMAP_TCP6 = 1 << 1,
    PORTMAP_UDP4 = 1 << 2,
    PORTMAP_UDP6 = 1 << 3,
} PortMapProtocol;

typedef enum PortMapSource {
    PORTMAP_SOURCE_UNSET,
    PORTMAP_SOURCE_KEEP,
    PORTMAP_SOURCE_GATEWAY,
} PortMapSource;

/* Host byte order, both ends included. */
typedef struct PortRange {
    uint16_t first;
    uint16_t last;
} PortRange;

/**
 * struct PortMap - one published port or range, parsed; the grammar stands in sallyport(1)
 * @text:       the specification as it was given
 * @host_kind:  what stands on the host side
 * @host_addr:  valid when @host_kind is PORTMAP_HOST_ADDR
 * @ifname:     interface to bind to, or ""
 * @unix_path:  path or "@name", unescaped, when @host_kind is PORTMAP_HOST_UNIX; else NULL
 * @ports_kind: how the host ports are chosen
 * @host_ports: valid when @ports_kind is PORTMAP_PORTS_RANGE
 * @holes:      PortRange elements cut out of the host side; never NULL
 * @first_free: host range and one guest port: the first free host port is used
 * @guest_addr: AF_UNSPEC means the guest's own address of the listener's family
 * @guest_ports: as long as @host_ports, or one port
 * @protocols:  set of PortMapProtocol
 * @src:        "src="
 * @weak:       "weak": what can be bound, at least one
 * @backlog:    "backlog=", -1 if not given
 * @idle_s:     "idle=" in seconds, -1 if not given
 * @max:        "max=" connections or UDP clients, 0 if not given
 * @mode:       "mode=" of a unix socket, -1 if not given
 * @uid:        "uid=", -1 if not given
 * @gid:        "gid=", -1 if not given
 * @proxy:      "proxy=" version 1 or 2, 0 if not given
 * @fd_name:    "fd=" or NULL
 * @name:       "name=" or NULL
 */
typedef struct PortMap {
    char *text;
    PortMapHost host_kind;
    NetAddr host_addr;
    char ifname[IFNAMSIZ];
    char *unix_path;
    PortMapPorts ports_kind;
    PortRange host_ports;
    GArray *holes;
    bool first_free;
    NetAddr guest_addr;
    PortRange guest_ports;
    unsigned protocols;
    PortMapSource src;
    bool weak;
    int backlog;
    int64_t idle_s;
    unsigned max;
    int mode;
    int64_t uid;
    int64_t gid;
    int proxy;
    char *fd_name;
    char *name;
} PortMap;

/**
 * portmap_parse() - parse one -p argument (docker's grammar and more)
 *
 * Return: a new PortMap for portmap_free(), or NULL with @error set (PORTMAP_ERROR_SYNTAX). The message does not
 * repeat the option's name; it is the text of the test vectors.
 */
PortMap *portmap_parse(const char *spec, GError **error);
void portmap_free(PortMap *map);
PortMap *portmap_copy(const PortMap *map);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PortMap, portmap_free)

/* The canonical reading of a specification, as the documentation's table of examples shows it. g_free(). */
char *portmap_to_string(const PortMap *map);

/**
 * portmap_set_default_host() - fill in --publish-address where the specification named no host address
 * @haddr: "*", "localhost", an address (IPv6 bare or in [ ]), "%iface", or one of these with "%iface"
 *
 * Does nothing to a map whose host_kind is not PORTMAP_HOST_UNSET. If @haddr has one family, the protocols of the
 * other family are taken out; if none is left that is an error. @map is unchanged on error.
 */
bool portmap_set_default_host(PortMap *map, const char *haddr, GError **error);

/* Would one host port, protocol and address be bound twice? Kernel-picked ports and unix sockets of different
 * paths never overlap; a wildcard overlaps each address of its family; interfaces count as different only if both
 * name one and the names differ. first_free and weak maps can still overlap. */
bool portmap_overlaps(const PortMap *a, const PortMap *b);

/* Is @port one of the host ports, holes taken out? Only for PORTMAP_PORTS_RANGE. */
bool portmap_has_host_port(const PortMap *map, uint16_t port);

#endif
