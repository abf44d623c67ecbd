/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_PING_H
#define SALLYPORT_DATAPATH_PING_H

#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "flowlist.h"
#include "frame.h"
#include "poller.h"

typedef struct Ping Ping;

/* One frame to the guest, borrowed for the call. */
typedef void (*PingSendFunc)(const uint8_t *frame, size_t len, void *user_data);

/* @max: flows (guest address, destination, id) at most; the idlest goes first. */
Ping *ping_new(GMainContext *context, Poller *poller, unsigned max, PingSendFunc send,
               void *user_data);
void ping_free(Ping *ping);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Ping, ping_free)

/* 0 if echo sockets of @family can be made, else the errno: EACCES is sysctl net.ipv4.ping_group_range, which speaks for both
 * families (icmp(7)). */
int ping_probe(sa_family_t family);

/* An echo request the gate judged GATE_PING; borrowed. Identifier, sequence number and payload reach the host asked, and
 * come back with its reply, whose hop limit the guest sees. Failures are silent, as on a network. */
void ping_request(Ping *ping, const uint8_t *frame, const FrameView *view);

/* @failed: requests that no socket could be had for, or that it did not take. @over_limit: flows ended for newer ones. */
typedef struct PingCounters {
    uint64_t failed;
    uint64_t over_limit;
} PingCounters;

PingCounters ping_counters(const Ping *ping);
/* Bytes behind the ICMP header. */
FlowTotal ping_total(const Ping *ping);

#endif
