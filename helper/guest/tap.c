/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tap.c - the guest's interface
 *
 * Does:     makes or attaches to the TAP; lo up; link address, MTU, addresses, default routes.
 * Runs in:  inside, in the guest's namespaces, with CAP_NET_ADMIN there.
 * Trusts:   the kernel; whoever made a persistent TAP chose its flags.
 */
#include "config.h"

#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "../fault.h"
#include "../fd.h"
#include "rtnl.h"

/* The kernel takes well under a millisecond for it; more than this is a kernel that will not. */
#define TAP_WAIT_MS 2000

static bool tap_attach(Tap *tap, const GuestSettings *guest, GError **error)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};

    /* Opened here and not earlier: the device belongs to the network namespace of the opener (drivers/net/tun.c). */
    tap->fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (tap->fd < 0) {
        const char *hint = errno == ENOENT || errno == ENODEV || errno == ENXIO
                               ? " (is the kernel module tun loaded?)"
                               : " (it is usually mode 0666)";

        fault_set(error, FAULT_TAP, errno, "/dev/net/tun: %s%s", g_strerror(errno), hint);
        return false;
    }
    tap->attached = if_nametoindex(guest->ifname) != 0;
    g_strlcpy(request.ifr_name, guest->ifname, sizeof(request.ifr_name));
    if (ioctl(tap->fd, TUNSETIFF, &request) < 0) {
        int saved = errno;

        if (tap->attached) {
            fault_set(
                error, FAULT_TAP, saved,
                "--ifname %s: the name is taken in the guest, and not by a free persistent TAP: %s",
                guest->ifname, g_strerror(saved));
        } else {
            fault_set(error, FAULT_TAP, saved, "--ifname %s: cannot make a TAP: %s", guest->ifname,
                      g_strerror(saved));
        }
        return false;
    }
    tap->ifindex = if_nametoindex(guest->ifname);
    return true;
}

/* What the interface is in the end; the kernel may have chosen. */
static bool tap_read_back(Tap *tap, const GuestSettings *guest, GError **error)
{
    FD_AUTO sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {0};

    g_strlcpy(request.ifr_name, guest->ifname, sizeof(request.ifr_name));
    if (sock < 0 || ioctl(sock, SIOCGIFMTU, &request) < 0) {
        fault_set(error, FAULT_TAP, errno, "%s: SIOCGIFMTU: %s", guest->ifname, g_strerror(errno));
        return false;
    }
    tap->mtu = (unsigned)request.ifr_mtu;
    if (ioctl(sock, SIOCGIFHWADDR, &request) < 0) {
        fault_set(error, FAULT_TAP, errno, "%s: SIOCGIFHWADDR: %s", guest->ifname,
                  g_strerror(errno));
        return false;
    }
    memcpy(tap->mac, request.ifr_hwaddr.sa_data, sizeof(tap->mac));
    if (guest->autoconf && !guest->configure) {
        tap->mtu = guest->mtu; /* what it is going to be, whoever sets it */
    }
    return true;
}

static bool tap_write_sysctl(const char *ifname, const char *name, const char *value)
{
    g_autofree char *path = g_strdup_printf("/proc/sys/net/ipv6/conf/%s/%s", ifname, name);
    FD_AUTO fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);

    return fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);
}

static void tap_warn(Tap *tap, FaultKind kind, int errnum, const char *ifname, const char *what)
{
    g_ptr_array_add(tap->warnings,
                    fault_new(kind, errnum, "%s: %s: %s", ifname, what, g_strerror(errnum)));
}

static bool tap_configure_ipv4(Tap *tap, const GuestSettings *guest, Rtnl *rtnl, GError **error)
{
    int failed = rtnl_address_add(rtnl, tap->ifindex, &guest->addr, guest->cidr.prefix);

    if (failed != 0) {
        fault_set(error, FAULT_CONFIGURE, -failed, "%s: cannot set the IPv4 address: %s",
                  guest->ifname, g_strerror(-failed));
        return false;
    }
    failed = rtnl_default_route_add(rtnl, tap->ifindex, &guest->gateway);
    if (failed == -EEXIST) {
        tap_warn(tap, FAULT_CONFIGURE, EEXIST, guest->ifname,
                 "the guest's IPv4 default route was left as it is");
    } else if (failed != 0) {
        fault_set(error, FAULT_CONFIGURE, -failed, "%s: cannot set the IPv4 default route: %s",
                  guest->ifname, g_strerror(-failed));
        return false;
    }
    return true;
}

static bool tap_configure_ipv6(Tap *tap, const GuestSettings *guest, Rtnl *rtnl, GError **error)
{
    int failed = rtnl_address_add(rtnl, tap->ifindex, &guest->addr6, guest->cidr6.prefix);

    if (failed == 0) {
        failed = rtnl_default_route_add(rtnl, tap->ifindex, &guest->gateway6);
        if (failed == -EEXIST) {
            tap_warn(tap, FAULT_CONFIGURE, EEXIST, guest->ifname,
                     "the guest's IPv6 default route was left as it is");
            failed = 0;
        }
    }
    if (failed == 0) {
        failed = rtnl_address_wait(rtnl, tap->ifindex, &guest->addr6, TAP_WAIT_MS);
    }
    tap->ipv6 = failed == 0;
    if (failed != 0 && guest->ipv6_required) {
        fault_set(error, FAULT_IPV6, -failed, "--cidr6: the guest's kernel refuses IPv6 on %s: %s",
                  guest->ifname, g_strerror(-failed));
        return false;
    }
    if (failed != 0) {
        tap_warn(tap, FAULT_IPV6, -failed, guest->ifname,
                 "IPv4 alone, the guest's kernel refuses IPv6");
    }
    return true;
}

/* The gateway and the name server, which are us. Taken-over connections get no answer by the TAP, so the kernel would ask every
 * few seconds whether the gateway is still there, and wake us. Without an entry it does just that: a refusal is no fault. */
static void tap_know_us(const Tap *tap, const GuestSettings *guest, Rtnl *rtnl)
{
    const NetAddr *us[] = {&guest->gateway, &guest->dns, &guest->gateway6, &guest->dns6};

    for (size_t i = 0; i < G_N_ELEMENTS(us); i++) {
        uint8_t mac[6];

        if (us[i]->family == AF_INET6 && !tap->ipv6) {
            continue;
        }
        netaddr_virtual_mac(us[i], mac);
        (void)rtnl_neighbour_add(rtnl, tap->ifindex, us[i], mac);
    }
}

static bool tap_configure(Tap *tap, const GuestSettings *guest, GError **error)
{
    g_autoptr(Rtnl) rtnl = rtnl_new();
    bool ipv6 = guest->ipv6 && guest->mtu >= SETTINGS_MTU_IPV6_MIN;
    int failed;

    if (rtnl == NULL) {
        fault_set(error, FAULT_CONFIGURE, errno, "rtnetlink: %s", g_strerror(errno));
        return false;
    }
    if (guest->ipv6 && !ipv6) {
        tap_warn(tap, FAULT_IPV6, EINVAL, guest->ifname,
                 "IPv4 alone, the MTU is below the 1280 that IPv6 needs");
    }
    /* Before the link is up: its link-local address must be usable when we say ready, and routes are ours to set. Where
     * there is no IPv6 or no writable /proc/sys, the addresses below tell. */
    (void)tap_write_sysctl(guest->ifname, "accept_dad", "0");
    if (!guest->autoconf) {
        (void)tap_write_sysctl(guest->ifname, "accept_ra", "0");
    }
    failed = rtnl_link_up(rtnl, if_nametoindex("lo"), 0, NULL);
    if (failed == 0) {
        failed = rtnl_link_up(rtnl, tap->ifindex, guest->mtu, guest->has_mac ? guest->mac : NULL);
    }
    if (failed != 0) {
        fault_set(error, FAULT_CONFIGURE, -failed, "%s: cannot bring it up with MTU %u: %s",
                  guest->ifname, guest->mtu, g_strerror(-failed));
        return false;
    }
    if (!tap_configure_ipv4(tap, guest, rtnl, error) ||
        (ipv6 && !guest->autoconf && !tap_configure_ipv6(tap, guest, rtnl, error))) {
        return false;
    }
    tap->ipv6 |=
        ipv6 && guest->autoconf; /* the guest's kernel asks for a router and does the rest */
    tap_know_us(tap, guest, rtnl);
    return true;
}

Tap *tap_new(const GuestSettings *guest, GError **error)
{
    g_autoptr(Tap) tap = g_new0(Tap, 1);

    tap->fd = -1;
    tap->warnings = g_ptr_array_new_with_free_func((GDestroyNotify)g_error_free);
    /* Without configuration of ours, addresses of both families may come from elsewhere. */
    tap->ipv6 = !guest->configure && guest->ipv6;
    if (!tap_attach(tap, guest, error) || (guest->configure && !tap_configure(tap, guest, error)) ||
        !tap_read_back(tap, guest, error)) {
        return NULL;
    }
    return g_steal_pointer(&tap);
}

void tap_free(Tap *tap)
{
    if (tap == NULL) {
        return;
    }
    fd_close(tap->fd);
    g_ptr_array_unref(tap->warnings);
    g_free(tap);
}
