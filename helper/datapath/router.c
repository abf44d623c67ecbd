/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * router.c - router advertisements for a guest that configures its IPv6 by itself
 *
 * Does:     answers solicitations, and says the same unasked before the guest's default route can expire.
 * Runs in:  the datapath, on the loop thread.
 * Trusts:   nothing of the guest's: one frame, made at start, is sent to all nodes whatever it asks.
 * Instead of libslirp's own: that reads resolv.conf for each, which in this process is the end of it (lockdown/calls.c), and names
 *           no name server unless the host has one with IPv6; ours at the virtual address always answers.
 * Values:   libslirp's, which guests know: lifetimes of half an hour for the router, a day for the prefix.
 */
#include "config.h"

#include "router.h"

#include <string.h>

#include "frame.h"
#include "poller.h"

/* RFC 4861 6.2.1: MaxRtrAdvInterval; the lifetime is three times that. */
#define ROUTER_INTERVAL_US (INT64_C(600) * G_USEC_PER_SEC)

struct Router {
    Timer *timer;
    RouterSend send;
    void *user_data;
    size_t len;
    uint8_t frame[FRAME_ROUTER_MAX];
};

static void router_arm(Router *router)
{
    timer_set(router->timer, g_get_monotonic_time() + ROUTER_INTERVAL_US);
}

static void router_due(void *user_data)
{
    router_solicited(user_data);
}

/* The address of libslirp's router on the link: fe80::/64 with the gateway's interface identifier. It answers for that. */
static NetAddr router_link_local(const NetAddr *gateway)
{
    uint8_t bytes[16] = {0xfe, 0x80};

    memcpy(bytes + 8, gateway->v6.s6_addr + 8, 8);
    return netaddr_from_bytes(AF_INET6, bytes);
}

Router *router_new(GMainContext *context, const Settings *settings, RouterSend send,
                   void *user_data)
{
    const GuestSettings *guest = &settings->guest;
    NetAddr from;
    Router *router;

    if (!guest->autoconf || !guest->ipv6) {
        return NULL;
    }
    router = g_new0(Router, 1);
    from = router_link_local(&guest->gateway6);
    router->len = frame_build_router(router->frame, &from, &guest->cidr6,
                                     settings->dns ? &guest->dns6 : NULL);
    router->send = send;
    router->user_data = user_data;
    router->timer = timer_new(context, router_due, router);
    router_arm(router);
    return router;
}

void router_free(Router *router)
{
    if (router == NULL) {
        return;
    }
    timer_free(router->timer);
    g_free(router);
}

void router_solicited(Router *router)
{
    if (router == NULL) {
        return;
    }
    router->send(router->frame, router->len, router->user_data);
    router_arm(router);
}
