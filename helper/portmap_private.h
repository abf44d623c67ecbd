/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_PORTMAP_PRIVATE_H
#define SALLYPORT_PORTMAP_PRIVATE_H

/* What the portmap*.c files share; nobody else includes it. */

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "netaddr.h"
#include "portmap.h"

#define PORTMAP_ALL_TCP (PORTMAP_TCP4 | PORTMAP_TCP6)
#define PORTMAP_ALL_UDP (PORTMAP_UDP4 | PORTMAP_UDP6)
#define PORTMAP_ALL_V4  (PORTMAP_TCP4 | PORTMAP_UDP4)
#define PORTMAP_ALL_V6  (PORTMAP_TCP6 | PORTMAP_UDP6)

/**
 * struct PortMapListen - the host side's address, read but not yet part of a PortMap
 * @kind:   never PORTMAP_HOST_UNSET or PORTMAP_HOST_UNIX
 * @addr:   valid when @kind is PORTMAP_HOST_ADDR; no scope, the interface stands in @ifname
 * @ifname: interface to bind to, or ""
 */
typedef struct PortMapListen {
    PortMapHost kind;
    NetAddr addr;
    char ifname[IFNAMSIZ];
} PortMapListen;

/**
 * struct PortMapParts - a specification cut up but not yet read; NULL stands for "not given"
 * @spec:   all of it but the options, for messages
 * @path:   of a host socket, escaped; then @host and @hports are NULL
 * @host:   host address
 * @hports: host ports; "" is given and empty: the kernel picks
 * @gaddr:  guest address
 * @gports: guest ports; always given once the cutting is done
 * @proto:  protocol
 */
typedef struct PortMapParts {
    char *spec;
    char *path;
    char *host;
    char *hports;
    char *gaddr;
    char *gports;
    char *proto;
} PortMapParts;

/* Sets PORTMAP_ERROR_SYNTAX with this text; always false, so that a parser can return it. */
bool portmap_fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Text fit for a parser and for an error message: short, UTF-8, no control characters. */
bool portmap_check_text(const char *text, GError **error);

/* haddr of the grammar, IPv6 with or without [ ]. */
bool portmap_read_listen(const char *text, PortMapListen *ret, GError **error);

/* gaddr of the grammar, IPv6 with or without [ ]. */
bool portmap_read_guest_addr(const char *text, NetAddr *ret, GError **error);

/* Everything but the options. On failure @map holds some of it and can only be freed. */
bool portmap_read_parts(PortMap *map, const PortMapParts *parts, GError **error);

/* Name of the set @protocols, without the family where @possible leaves only one. */
const char *portmap_protocol_name(unsigned protocols, unsigned possible);

/* The protocols that a listener on this address can have; all for an address of no family. */
unsigned portmap_possible_protocols(PortMapHost kind, const NetAddr *addr);

/* Takes out of @wanted what @listen cannot do; an error if nothing is left. */
bool portmap_restrict_protocols(const PortMapListen *listen, unsigned wanted, unsigned *ret,
                                GError **error);

/* Marks the host ports of a PORTMAP_PORTS_RANGE or _ALL map in @ports, G_MAXUINT16 + 1 bytes; how many. */
unsigned portmap_mark_host_ports(const PortMap *map, uint8_t *ports);

/* One "key" or "key=value"; @inout_seen is 0 before the first and finds duplicates. */
bool portmap_option_parse(PortMap *map, const char *word, unsigned *inout_seen, GError **error);

/* Do the options suit the rest of the map? Called when everything else is in place. */
bool portmap_options_check(const PortMap *map, GError **error);

/* " {weak, backlog=64}", or nothing if there are no options. */
void portmap_options_append(const PortMap *map, GString *text);

#endif
