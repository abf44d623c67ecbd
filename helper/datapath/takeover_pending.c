/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * takeover_pending.c - a connection from the guest's SYN until it is joined, or is libslirp's
 *
 * Does:     connects on the host, gives the SYN back to the guest's kernel, and gives up in time. The states stand in takeover.c.
 * Runs in:  the datapath, on the loop thread.
 * Owns:     the host socket and the SYN, until the connection is joined.
 * Not here: connect() and the words for its failure (takeover_host.c); sockets in the guest (takeover_guest.c); the listener
 *           (takeover.c).
 */
#include "config.h"

#include "takeover_private.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "../fd.h"
#include "takeover_host.h"

/* A connection that libslirp carries in the end shall not take 100 ms longer for it. */
#define TAKEOVER_ACCEPT_US (80 * 1000)
/* Of that, for rules that are still to come. */
#define TAKEOVER_PATIENCE_US (TAKEOVER_ACCEPT_US / 2)
/* One that the listener has answered and nobody accepts, for want of an fd. */
#define TAKEOVER_GIVE_UP_US (10 * G_USEC_PER_SEC)
/* So old a SYN may have been sent before, to libslirp, and answered. */
#define TAKEOVER_STALE_US   (20 * 1000)
#define TAKEOVER_INJECTIONS 3
/* A SYN older than this may be one whose sender has given up: no reason to avoid the destination. */
#define TAKEOVER_FRESH_US G_USEC_PER_SEC

static void pending_free(Pending *pending)
{
    Takeover *takeover = pending->takeover;

    if (pending->injected || pending->held) {
        g_queue_unlink(pending->held ? &takeover->held : &takeover->injected, &pending->link);
    }
    poller_remove(takeover->poller, &pending->watch);
    fd_close(pending->fd);
    g_free(pending);
}

void pending_end(Pending *pending)
{
    flow_table_remove(pending->takeover->pending, &pending->flow);
    pending_free(pending);
}

void pending_evicted(Flow *flow, FlowEnd why, void *user_data)
{
    Takeover *takeover = user_data;

    takeover->counters.given_up += why == FLOW_END_EVICTED;
    pending_free((Pending *)flow);
}

static void takeover_skip(Takeover *takeover, const Pending *pending)
{
    if (!pending->early && g_get_monotonic_time() - pending->syn_us <= TAKEOVER_FRESH_US) {
        skips_add(takeover->skips, &pending->flow.key.remote);
    }
}

static void pending_to_nat(Pending *pending)
{
    Takeover *takeover = pending->takeover;
    uint8_t syn[TAKEOVER_SYN_MAX];
    size_t len = pending->len;

    memcpy(syn, pending->syn, len);
    pending_end(pending);
    takeover->hooks.nat(syn, len, takeover->hooks.user_data);
}

/* ---- the guest's side ---- */

/* Nobody waits for it any more, and libslirp would make a connection for nobody. Of an early one we cannot know: the guest's own NAT
 * may have given it another port. */
static bool pending_is_over(Pending *pending, TakeoverCaller caller)
{
    if (caller != TAKEOVER_CALLER_CONNECTED && (caller != TAKEOVER_CALLER_GONE || pending->early)) {
        return false;
    }
    pending->takeover->counters.given_up++;
    pending_end(pending);
    return true;
}

/* @pending is gone afterwards, or waits for its accept(). Most often the latter comes here at once: lo delivers before
 * sendto() returns. */
static void pending_inject(Pending *pending)
{
    Takeover *takeover = pending->takeover;
    const NetAddr *to = &pending->flow.key.remote;
    uint8_t packet[TAKEOVER_SYN_MAX];
    size_t len = pending->len - FRAME_ETH_LEN;
    int failed;

    if (!mender_sound(takeover->mender)) {
        pending_to_nat(pending);
        return;
    }
    if (g_get_monotonic_time() - pending->flow.born_us > TAKEOVER_STALE_US) {
        TakeoverCaller caller = takeover_guest_caller(&takeover->guest, &pending->flow.key);

        /* Nobody waits any more, or libslirp has connected it: a second answer would break that. */
        if (pending_is_over(pending, caller)) {
            return;
        }
    }
    memcpy(packet, pending->syn + FRAME_ETH_LEN, len);
    takeover_guest_mark(&takeover->guest, packet, to->family);
    pending->injections++;
    if (!pending->injected) {
        pending->injected = true;
        pending->injected_us = g_get_monotonic_time() - (pending->early ? TAKEOVER_PATIENCE_US : 0);
        pending->link.data = pending;
        g_queue_push_tail_link(&takeover->injected, &pending->link);
        if (g_queue_get_length(&takeover->injected) == 1) {
            timer_set(takeover->expiry, pending->injected_us + TAKEOVER_ACCEPT_US);
        }
    }
    failed = takeover_guest_send(&takeover->guest, FAST_PATH_INJECT4, packet, len, to);
    if (failed != 0 && failed != -EAGAIN && failed != -ENOBUFS) {
        /* EPERM: a rule of the guest's own drops it (net/ipv4/raw.c passes the hook's verdict on). */
        takeover->counters.not_accepted++;
        takeover_skip(takeover, pending);
        pending_to_nat(pending);
        return;
    }
    takeover_accept(takeover);
}

/* @pending is gone afterwards, or waits for the rules or for its accept(). */
static void pending_go_on(Pending *pending)
{
    Takeover *takeover = pending->takeover;

    if (!mender_sound(takeover->mender) || mender_load(takeover->mender)) {
        pending_inject(pending);
        return;
    }
    if (takeover->impatient) {
        pending_to_nat(pending);
        return;
    }
    if (g_queue_is_empty(&takeover->held)) {
        timer_set(takeover->patience, g_get_monotonic_time() + TAKEOVER_PATIENCE_US);
    }
    pending->held = true;
    pending->early = true;
    pending->link.data = pending;
    g_queue_push_tail_link(&takeover->held, &pending->link);
}

static Pending *pending_unhold(Takeover *takeover)
{
    Pending *pending = g_queue_peek_head(&takeover->held);

    if (pending != NULL) {
        g_queue_unlink(&takeover->held, &pending->link);
        pending->held = false;
    }
    return pending;
}

void pending_release(Takeover *takeover)
{
    Pending *pending;

    while ((pending = pending_unhold(takeover)) != NULL) {
        pending_inject(pending);
    }
    timer_set(takeover->patience, -1);
    takeover->impatient = false;
}

void pending_lose_patience(void *user_data)
{
    Takeover *takeover = user_data;
    Pending *pending;

    takeover->impatient = true;
    while ((pending = pending_unhold(takeover)) != NULL) {
        takeover->counters.not_accepted++;
        pending_to_nat(pending);
    }
}

/* Its time is up, and it is at the head of the queue. */
static void pending_not_accepted(Pending *pending, int64_t now)
{
    Takeover *takeover = pending->takeover;
    TakeoverCaller caller = takeover_guest_caller(&takeover->guest, &pending->flow.key);

    if (caller == TAKEOVER_CALLER_CONNECTED && now - pending->syn_us < TAKEOVER_GIVE_UP_US) {
        pending->injected_us = now;
        g_queue_unlink(&takeover->injected, &pending->link);
        g_queue_push_tail_link(&takeover->injected, &pending->link);
    } else if (!pending_is_over(pending, caller)) {
        takeover->counters.not_accepted++;
        takeover_skip(takeover, pending);
        pending_to_nat(pending);
    }
}

void pending_expire(void *user_data)
{
    Takeover *takeover = user_data;
    int64_t now = g_get_monotonic_time();
    Pending *pending;

    takeover_accept(takeover);
    while ((pending = g_queue_peek_head(&takeover->injected)) != NULL &&
           pending->injected_us + TAKEOVER_ACCEPT_US <= now) {
        pending_not_accepted(pending, now);
    }
    timer_set(takeover->expiry, pending != NULL ? pending->injected_us + TAKEOVER_ACCEPT_US : -1);
}

/* ---- the host's side ---- */

static void pending_failed(Pending *pending, int failed)
{
    Takeover *takeover = pending->takeover;
    size_t len;

    if (!takeover_host_answer(&takeover->config, pending->syn, pending->len, failed,
                              takeover->frame, &len)) {
        pending_to_nat(pending);
        return;
    }
    takeover->counters.refused++;
    pending_end(pending);
    if (len > 0) {
        takeover->hooks.send(takeover->frame, len, takeover->hooks.user_data);
    }
}

static void pending_answered(Pending *pending, int failed)
{
    if (failed != 0) {
        pending_failed(pending, failed);
    } else {
        pending_go_on(pending);
    }
}

static void pending_connected(uint32_t events, void *user_data)
{
    Pending *pending = user_data;
    int failed = takeover_host_outcome(pending->fd);

    (void)events;
    if (failed != EINPROGRESS) {
        poller_remove(pending->takeover->poller, &pending->watch);
        pending_answered(pending, failed);
    }
}

/* @pending may be gone afterwards. A near server's answer is there when connect(2) returns, which spares a turn of the loop. */
static void pending_connect(Pending *pending)
{
    Takeover *takeover = pending->takeover;
    const FlowKey *key = &pending->flow.key;
    int fd = takeover_host_connect(&takeover->config, &key->remote, key->remote_port);
    int failed = fd < 0 ? -fd : takeover_host_outcome(fd);

    pending->fd = MAX(fd, -1);
    if (failed == EINPROGRESS) {
        failed = -poller_add(takeover->poller, &pending->watch, fd, EPOLLOUT, pending_connected,
                             pending);
        if (failed == 0) {
            return;
        }
    }
    pending_answered(pending, failed);
}

/* ---- frames ---- */

static void pending_hold(Pending *pending, const uint8_t *frame, const FrameView *view)
{
    pending->isn = view->seq;
    pending->syn_us = g_get_monotonic_time();
    pending->len = view->end;
    memcpy(pending->syn, frame, view->end);
}

bool pending_again(Pending *pending, const uint8_t *frame, const FrameView *view)
{
    Takeover *takeover = pending->takeover;
    bool same = view->seq == pending->isn;

    if (same && pending->injected &&
        view->hop_limit == takeover_guest_inject_hop_limit(&takeover->guest, view->dst.family)) {
        takeover->counters.came_back++;
        mender_rules_gone(takeover->mender);
        pending_to_nat(pending);
        return true;
    }
    if (!takeover_guest_fits(&takeover->guest, view)) {
        pending_end(pending);
        return false;
    }
    if (same) {
        pending->syn_us = g_get_monotonic_time();
        if (pending->injected && pending->injections < TAKEOVER_INJECTIONS) {
            pending_inject(pending);
        }
        return true;
    }
    pending_hold(pending, frame, view);
    if (pending->injected) {
        g_queue_unlink(&takeover->injected, &pending->link);
        pending->injected = false;
        pending->injections = 0;
        pending_inject(pending);
    }
    return true;
}

void pending_begin(Takeover *takeover, const FlowKey *key, const uint8_t *frame,
                   const FrameView *view)
{
    Pending *pending = g_new0(Pending, 1);

    *pending = (Pending){.flow.key = *key, .takeover = takeover, .fd = -1};
    pending_hold(pending, frame, view);
    flow_table_insert(takeover->pending, &pending->flow, 0);
    pending_connect(pending);
}
