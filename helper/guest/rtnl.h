/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_GUEST_RTNL_H
#define SALLYPORT_GUEST_RTNL_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "../netaddr.h"

/*
 * rtnetlink(7) of the network namespace the calling process is in, one acknowledged request at a time.
 * All functions return 0 or -errno, the kernel's own answer included.
 */
typedef struct Rtnl Rtnl;

/* NULL if the socket is refused; errno says why. */
Rtnl *rtnl_new(void);
void rtnl_free(Rtnl *rtnl);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Rtnl, rtnl_free)

/* Sets MTU (0: leave) and link address (NULL: leave; 6 bytes), and brings the interface up. */
int rtnl_link_up(Rtnl *rtnl, unsigned ifindex, unsigned mtu, const uint8_t *mac);

int rtnl_link_is_up(Rtnl *rtnl, unsigned ifindex, bool *ret);

/* Adds an address; IPv6 without duplicate address detection (IFA_F_NODAD), so that it is usable at once. An address that is
 * there already is no error. */
int rtnl_address_add(Rtnl *rtnl, unsigned ifindex, const NetAddr *addr, uint8_t prefix);

/* Adds the default route of the gateway's family. -EEXIST if there is one. */
int rtnl_default_route_add(Rtnl *rtnl, unsigned ifindex, const NetAddr *gateway);

/* The link address (6 bytes) of a neighbour, for good: the kernel does not ask for it, nor whether it is still there. */
int rtnl_neighbour_add(Rtnl *rtnl, unsigned ifindex, const NetAddr *addr, const uint8_t *mac);

/*
 * Policy routing of the fast path, one family: the rule "fwmark @mark looks up @table", and in that table the route that
 * makes every address local on an interface. What is there already is no error, and neither is what is gone.
 * @ret_was_there (optional) becomes true if the rule was there already, else it is left alone.
 */
int rtnl_mark_rule(Rtnl *rtnl, sa_family_t family, uint32_t mark, uint32_t table, bool there,
                   bool *ret_was_there);
int rtnl_local_route(Rtnl *rtnl, sa_family_t family, unsigned ifindex, uint32_t table, bool there);

/**
 * rtnl_address_wait() - wait until an IPv6 address just added can be used
 *
 * The kernel finishes an IPv6 address in a work queue, even without duplicate address detection: until then it has
 * no local route, and a connection to it would leave by the default route (net/ipv6/addrconf.c: addrconf_dad_work()).
 * Also waits for the interface's other addresses to be no longer tentative. -ETIMEDOUT after @timeout_ms.
 */
int rtnl_address_wait(Rtnl *rtnl, unsigned ifindex, const NetAddr *addr, int timeout_ms);

#endif
