/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_GUEST_TAP_H
#define SALLYPORT_GUEST_TAP_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "../settings.h"

/**
 * struct Tap - the interface in the guest
 * @fd:       non-blocking, CLOEXEC; one read or write is one frame, without a virtio header
 * @attached: a persistent TAP that somebody else made
 * @ipv6:     IPv6 addresses are in place
 * @warnings: GError elements (FAULT_IPV6, FAULT_CONFIGURE): what was gone without
 */
typedef struct Tap {
    int fd;
    unsigned ifindex;
    unsigned mtu;
    uint8_t mac[SETTINGS_MAC_LEN];
    bool attached;
    bool ipv6;
    GPtrArray *warnings;
} Tap;

/**
 * tap_new() - make the interface in the network namespace the calling process is in, and configure it
 * @guest: name, MTU, addresses; @guest->configure false: leave the interface as it is after TUNSETIFF
 *
 * Needs CAP_NET_ADMIN over that namespace. A persistent TAP of the name is attached to; any other interface of the name is
 * an error. After failure nothing of it is left: a TAP goes with its last fd (Documentation/networking/tuntap.rst).
 *
 * Return: new, or NULL with @error set (FAULT_TAP, FAULT_CONFIGURE, FAULT_IPV6)
 */
Tap *tap_new(const GuestSettings *guest, GError **error);
void tap_free(Tap *tap);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Tap, tap_free)

#endif
