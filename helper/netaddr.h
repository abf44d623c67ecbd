/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_NETADDR_H
#define SALLYPORT_NETADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include <glib.h>

/* Room for any text netaddr_format() writes: an IPv6 address, '%', an interface index, NUL. */
#define NETADDR_STRLEN 64

/**
 * struct NetAddr - one IPv4 or IPv6 address
 * @family:   AF_INET, AF_INET6, or AF_UNSPEC for "none" (an all-zero NetAddr is "none")
 * @scope_id: interface index of a scoped IPv6 address, 0 otherwise
 * @v4:       the address, network byte order, when @family is AF_INET
 * @v6:       the address when @family is AF_INET6
 */
typedef struct NetAddr {
    sa_family_t family;
    uint32_t scope_id;
    union {
        struct in_addr v4;
        struct in6_addr v6;
    };
} NetAddr;

/**
 * struct NetCidr - a network: all host bits of @net are zero
 */
typedef struct NetCidr {
    NetAddr net;
    uint8_t prefix;
} NetCidr;

/* What a destination is, as far as policy is concerned. NETCLASS_NEVER cannot be allowed. */
typedef enum NetClass {
    NETCLASS_NONE = 0,
    NETCLASS_HOST_LOOPBACK = 1 << 0, /* only ever reached through the gateway's address */
    NETCLASS_HOST = 1 << 1,          /* an address of one of the host's interfaces */
    NETCLASS_LINK_LOCAL = 1 << 2,    /* 169.254/16, fe80::/10 */
    NETCLASS_METADATA = 1 << 3,      /* the cloud metadata services */
    NETCLASS_NEVER = 1 << 4, /* 0/8, 127/8, class E, multicast, broadcast, ::, ::1, v4-mapped... */
} NetClass;

#define NETADDR_ERROR (netaddr_error_quark())
GQuark netaddr_error_quark(void);

typedef enum NetAddrError {
    NETADDR_ERROR_SYNTAX,
    NETADDR_ERROR_RANGE,
    NETADDR_ERROR_HOST_BITS,
} NetAddrError;

/* Text of an address, without brackets, port or scope. inet_pton(3) rules. False if it is neither family. */
bool netaddr_parse(const char *text, NetAddr *ret);

/* The number of an interface in this network namespace, 0 if there is none of that name. Allowed when locked down. */
unsigned netaddr_ifindex(const char *name);

/* As netaddr_parse(), but "fe80::1%eth0" and "fe80::1%2" set scope_id; an unknown interface is false. */
bool netaddr_parse_scoped(const char *text, NetAddr *ret);

/* Writes the RFC 5952 text ("%index" behind a scoped address, "none" for AF_UNSPEC); returns @buf. */
const char *netaddr_format(const NetAddr *addr, char buf[NETADDR_STRLEN]);

/* "1.2.3.4:80" or "[::1]:80"; @port in host byte order. Returns @buf. */
const char *netaddr_format_port(const NetAddr *addr, uint16_t port, char buf[NETADDR_STRLEN]);

/* Family and address bytes; the scope does not count. */
bool netaddr_equal(const NetAddr *a, const NetAddr *b);

NetAddr netaddr_from_v4(uint32_t host_order);
NetAddr netaddr_from_bytes(sa_family_t family, const uint8_t *bytes);
NetAddr netaddr_any(sa_family_t family);
/* The link address (6 bytes) that libslirp names when it is asked for one of its own addresses. */
void netaddr_virtual_mac(const NetAddr *addr, uint8_t *ret_mac);
NetAddr netaddr_loopback(sa_family_t family);
bool netaddr_is_any(const NetAddr *addr);
bool netaddr_is_loopback(const NetAddr *addr);
bool netaddr_is_multicast(const NetAddr *addr);

/* ::ffff:a.b.c.d becomes a.b.c.d; everything else stays as it is. */
NetAddr netaddr_unmap(const NetAddr *addr);

/* @port in host byte order. Returns the length of the address written to @ret. */
socklen_t netaddr_to_sockaddr(const NetAddr *addr, uint16_t port, struct sockaddr_storage *ret);

/* False for a family that is neither AF_INET nor AF_INET6. @ret_port (optional) in host byte order. */
bool netaddr_from_sockaddr(const struct sockaddr *sa, NetAddr *ret, uint16_t *ret_port);

/* "10.0.2.0/24". @family AF_INET or AF_INET6. Errors: NETADDR_ERROR_SYNTAX, _RANGE (prefix), _HOST_BITS. */
bool netcidr_parse(const char *text, sa_family_t family, NetCidr *ret, GError **error);
bool netcidr_contains(const NetCidr *cidr, const NetAddr *addr);
/* The @n-th address of the network; @n must fit the host bits (caller's duty: see settings.c). */
NetAddr netcidr_host(const NetCidr *cidr, uint32_t n);

/**
 * netaddr_classify() - what an address is by itself
 *
 * Returns a set of NetClass bits. NETCLASS_HOST is never among them: that needs the host's list, which
 * the gate keeps. NAT64 (64:ff9b::/96, 64:ff9b:1::/48 by its last 32 bits) and 6to4 (2002::/16)
 * forms take the class of the IPv4 address within (netaddr_embedded()), so that no spelling reaches what the
 * plain address does not; v4-mapped and IPv4-compatible addresses are NETCLASS_NEVER whatever is within.
 */
NetClass netaddr_classify(const NetAddr *addr);

/* The IPv4 address inside a NAT64, 6to4 or v4-mapped/compatible one; false if there is none. */
bool netaddr_embedded(const NetAddr *addr, NetAddr *ret_v4);

/* "host-loopback,host" -> bits. Returns false and sets @ret_bad (g_free) to the first unknown word. */
bool netclass_parse_list(const char *text, unsigned *inout_classes, char **ret_bad);

#endif
