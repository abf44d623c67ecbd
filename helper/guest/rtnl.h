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

/* Adds an address; IPv6 without duplicate address detection (IFA_F_NODAD), so that it is usable at once. An address that is
 * there already is no error. */
int rtnl_address_add(Rtnl *rtnl, unsigned ifindex, const NetAddr *addr, uint8_t prefix);

/* Adds the default route of the gateway's family. -EEXIST if there is one. */
int rtnl_default_route_add(Rtnl *rtnl, unsigned ifindex, const NetAddr *gateway);

#endif
