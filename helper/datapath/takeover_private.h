/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_TAKEOVER_PRIVATE_H
#define SALLYPORT_DATAPATH_TAKEOVER_PRIVATE_H

#include "takeover.h"

#include "flow.h"
#include "mender.h"
#include "poller.h"
#include "skips.h"
#include "takeover_guest.h"

/* Shared by takeover.c (the listener, frames, beginning and end) and takeover_pending.c (a connection until it is joined). */

struct Takeover {
    TakeoverConfig config;
    TakeoverHooks hooks;
    Poller *poller;
    Relays *relays;
    RelayOwner owner; /* of the joined ones; their data is the ISN */
    FlowTable *pending;
    Skips *skips;
    GQueue injected; /* Pending, by age */
    Timer *expiry;
    GQueue held; /* Pending, connected, until the rules are there */
    Timer *patience;
    bool impatient; /* the rules have not come in time: nobody waits for them */
    Timer *retry;   /* of accept(), for want of an fd */
    Mender *mender;
    TakeoverGuest guest;
    PollerWatch listener;
    TakeoverCounters counters;
    uint8_t frame[FRAME_MAX];
};

/* A connection that is not joined yet. */
typedef struct Pending {
    Flow flow; /* remote: where to; local: the guest's address */
    Takeover *takeover;
    bool held;
    bool early; /* was held: the guest's own NAT may have seen its SYN before our rules came */
    bool injected;
    unsigned injections;
    int64_t injected_us;
    int64_t syn_us; /* when the guest last sent it */
    GList link;     /* of Takeover.injected, or Takeover.held */
    int fd;
    PollerWatch watch;
    uint32_t isn;
    size_t len;
    uint8_t syn[TAKEOVER_SYN_MAX];
} Pending;

/* A SYN fit to be taken: connects on the host. The connection may have come and gone when this returns. */
void pending_begin(Takeover *takeover, const FlowKey *key, const uint8_t *frame,
                   const FrameView *view);

/* One more SYN of a tuple that is pending; @pending may be gone afterwards. False: it is libslirp's. */
bool pending_again(Pending *pending, const uint8_t *frame, const FrameView *view);

/* Takes it out of the table and closes its host socket, if it still has one. */
void pending_end(Pending *pending);

/* FlowEndFunc of pending: given up for a newer one, or all is ending. */
void pending_evicted(Flow *flow, FlowEnd why, void *user_data);

/* TimerFunc: those that were not accepted in time. */
void pending_expire(void *takeover);

/* Those that waited for the rules go on: the rules are there, or will not be. */
void pending_release(Takeover *takeover);
/* TimerFunc: they have waited long enough. */
void pending_lose_patience(void *takeover);

/* Takes what the listener has. */
void takeover_accept(Takeover *takeover);

#endif
