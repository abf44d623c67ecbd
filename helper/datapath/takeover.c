/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * takeover.c - outbound TCP of a network namespace at the speed of its own kernel
 *
 * Does:     holds the guest's SYN, connects on the host, then puts the SYN back into the guest's kernel, where rules
 *           (guest/rules.c) lead it to a transparent listener; joins what it accepts with the host socket.
 * Runs in:  the datapath, on the loop thread.
 * Trusts:   the gate's verdict on the SYN, and that alone: the address connected to comes from the frame it judged. What
 *           the listener accepts may be anything, for the guest's root owns that namespace; it only finds a SYN of ours
 *           by all of its tuple, once, or is reset.
 * Owns:     listener and raw sockets; pending connections.
 * Not here: what becomes of one pending connection (takeover_pending.c); sockets in the guest (takeover_guest.c); repairs
 *           (mender.c).
 * Limits:   pending_max, flows_max.
 * States:   of a connection. Every way to "libslirp" closes the host socket and hands the held SYN over, so that nothing works
 *           less than without the fast path.
 *
 *   state       entered by                 on                                      goes to
 *   ----------  -------------------------  --------------------------------------  ---------------------------
 *   CONNECTING  a SYN fit to be taken;     the same SYN again                      stays
 *               host connect() under way   a newer SYN of the tuple                stays, holds that one
 *                                          connected, and the rules are there      INJECTED
 *                                          connected, and they are being loaded    HELD
 *                                          refused, reset                          RST to the guest; end
 *                                          unreachable, prohibited                 ICMP(v6) error; end
 *                                          timeout                                 end without a word
 *                                          too many pending                        end without a word
 *                                          an error of our own (no port, no fd)    libslirp
 *                                          connected, but the rules are gone       libslirp
 *                                          connected, but the caller is gone       end without a word
 *                                          a SYN of the tuple that is not fit      libslirp
 *   HELD        connected; the rules have  they are loaded                         INJECTED
 *               not come yet               they cannot be, or do not in time       libslirp
 *                                          the same or a newer SYN                 stays, holds the newer
 *                                          a SYN of the tuple that is not fit      libslirp
 *                                          too many pending                        end without a word
 *   INJECTED    the SYN sent through the   accept() of exactly this tuple          joined (a relay's)
 *               raw socket marked M2       refused to the raw socket               libslirp; destination skipped
 *                                          the SYN on the TAP, as we sent it       libslirp; rules repaired
 *                                          the guest's own copy of it once more    stays, sent again, at most twice
 *                                          a newer SYN of the tuple                INJECTED with that one
 *                                          80 ms without accept()
 *                                          and the guest's socket waits for it     libslirp; destination skipped
 *                                          and is connected to the listener        stays, for 10 s at most
 *                                          and is gone                             end without a word
 *   joined      relays_join()              a newer SYN of the tuple                end, and from the beginning
 *                                          any other segment on the TAP            stays, segment sent back marked
 *                                          such a segment, as we sent it           stays; rules repaired
 *
 *           "As we sent it" is told by the hop limit: the guest's own SYNs have the default of its namespace, or are not
 *           taken; a re-injected one carries another.
 */
#include "config.h"

#include "takeover_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "../fd.h"
#include "../scratch.h"

#define TAKEOVER_ACCEPT_BUDGET 256
#define TAKEOVER_RETRY_US      (250 * 1000)

static void takeover_listener_gone(Takeover *takeover)
{
    poller_remove(takeover->poller, &takeover->listener);
    fd_clear(&takeover->guest.fds[FAST_PATH_LISTENER]);
    mender_listener_gone(takeover->mender);
}

/* ---- the guest's side ---- */

static FlowKey takeover_key(const FrameView *view)
{
    return flow_key(&view->dst, view->dst_port, &view->src, view->src_port, 0);
}

static void takeover_join(Takeover *takeover, Pending *pending, int take_fd)
{
    FlowKey key = pending->flow.key;
    uint32_t isn = pending->isn;
    RelayPair pair;
    int host;

    poller_remove(takeover->poller, &pending->watch);
    host = fd_steal(&pending->fd);
    pending_end(pending);
    takeover->counters.taken++;
    pair = (RelayPair){
        .client = host, .guest = take_fd, .owner = &takeover->owner, .data = GUINT_TO_POINTER(isn)};
    relays_reset(takeover->relays,
                 &key); /* a published port's, if the guest and a client agree on it */
    (void)relays_join(takeover->relays, &pair, &key);
}

/* One accepted connection: a SYN of ours led to it, or it is reset. */
static void takeover_accepted(Takeover *takeover, int take_fd, const struct sockaddr_storage *peer)
{
    struct sockaddr_storage own;
    socklen_t len = sizeof(own);
    NetAddr addresses[2];
    uint16_t ports[2];
    Pending *pending = NULL;

    if (getsockname(take_fd, (struct sockaddr *)&own, &len) == 0 &&
        netaddr_from_sockaddr((const struct sockaddr *)&own, &addresses[0], &ports[0]) &&
        netaddr_from_sockaddr((const struct sockaddr *)peer, &addresses[1], &ports[1])) {
        NetAddr to = netaddr_unmap(&addresses[0]);
        NetAddr from = netaddr_unmap(&addresses[1]);
        FlowKey key = flow_key(&to, ports[0], &from, ports[1], 0);

        pending = (Pending *)flow_table_lookup(takeover->pending, &key);
    }
    if (pending == NULL || !pending->injected) {
        takeover->counters.unmatched++;
        takeover->hooks.note(TAKEOVER_NOTE_UNMATCHED,
                             "reset a connection to the listener of the fast path that no SYN of "
                             "the guest led to",
                             takeover->hooks.user_data);
        relay_reset(take_fd);
        return;
    }
    takeover_join(takeover, pending, take_fd);
}

void takeover_accept(Takeover *takeover)
{
    for (unsigned i = 0; i < TAKEOVER_ACCEPT_BUDGET; i++) {
        struct sockaddr_storage peer;
        socklen_t len = sizeof(peer);
        int fd;

        if (takeover->guest.fds[FAST_PATH_LISTENER] < 0) {
            return;
        }
        fd = accept4(takeover->guest.fds[FAST_PATH_LISTENER], (struct sockaddr *)&peer, &len,
                     SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            takeover_accepted(takeover, fd, &peer);
        } else if (errno == EINVAL) {
            takeover_listener_gone(takeover); /* closed by sock_diag(7) SOCK_DESTROY */
            return;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            /* What has been answered waits in the backlog, and would be an event all the time. */
            poller_remove(takeover->poller, &takeover->listener);
            timer_set(takeover->retry, g_get_monotonic_time() + TAKEOVER_RETRY_US);
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return; /* EAGAIN */
        }
    }
}

static void takeover_listener_event(uint32_t events, void *user_data)
{
    Takeover *takeover = user_data;

    if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
        takeover_listener_gone(takeover);
        return;
    }
    takeover_accept(takeover);
}

/* ---- frames ---- */

static bool takeover_has_room(Takeover *takeover)
{
    bool room = relays_count(takeover->relays) + flow_table_count(takeover->pending) <
                takeover->config.flows_max;

    takeover->counters.over_limit += !room;
    return room;
}

static bool takeover_skips(Takeover *takeover, const NetAddr *to)
{
    bool skips = skips_has(takeover->skips, to);

    takeover->counters.skipped += skips;
    return skips;
}

bool takeover_syn(Takeover *takeover, const uint8_t *frame, size_t len, const FrameView *view)
{
    FlowKey key = takeover_key(view);
    Pending *pending = (Pending *)flow_table_lookup(takeover->pending, &key);
    const RelayOwner *owner;
    void *isn;

    (void)len;
    if (pending != NULL) {
        return pending_again(pending, frame, view);
    }
    owner = relays_lookup(takeover->relays, &key, &isn);
    if (owner != NULL) {
        if (owner == &takeover->owner && GPOINTER_TO_UINT(isn) == view->seq) {
            return true; /* a copy that was on its way when the connection was made */
        }
        /* The guest has forgotten that connection. Its remains would answer the new SYN. */
        relays_reset(takeover->relays, &key);
    }
    if (!mender_try(takeover->mender) || !takeover_guest_fits(&takeover->guest, view) ||
        !takeover_has_room(takeover) || takeover_skips(takeover, &view->dst) ||
        !takeover_guest_is_local(&takeover->guest, &view->src)) {
        return false;
    }
    pending_begin(takeover, &key, frame, view);
    return true;
}

/* Sent with the hop limit of what we send, so that one that comes back, because nothing leads to lo any more, is not sent for
 * ever. @frame stays as it is. */
void takeover_return(Takeover *takeover, const uint8_t *frame, const FrameView *view)
{
    sa_family_t family = view->dst.family;
    uint8_t sent_with = takeover_guest_inject_hop_limit(&takeover->guest, family);
    size_t len = view->end - view->l3;

    if (view->hop_limit == sent_with) {
        takeover->counters.came_back++;
        mender_rules_gone(takeover->mender);
    } else if (takeover->guest.fds[FAST_PATH_RETURN4] >= 0) {
        takeover->counters.returned++;
        memcpy(takeover->frame, frame + view->l3, len);
        takeover_guest_mark(&takeover->guest, takeover->frame, family);
        /* A segment lost here is sent again by the guest. */
        (void)takeover_guest_send(&takeover->guest, FAST_PATH_RETURN4, takeover->frame, len,
                                  &view->dst);
    }
}

bool takeover_segment(Takeover *takeover, const uint8_t *frame, const FrameView *view)
{
    FlowKey key;
    void *data;

    if (relays_count(takeover->relays) == 0) {
        return false;
    }
    key = takeover_key(view);
    if (relays_lookup(takeover->relays, &key, &data) == NULL) {
        return false;
    }
    takeover_return(takeover, frame, view);
    return true;
}

/* ---- beginning and end ---- */

static void takeover_watch_listener(void *user_data)
{
    Takeover *takeover = user_data;
    int fd = takeover->guest.fds[FAST_PATH_LISTENER];

    if (fd >= 0 && !takeover->listener.active &&
        poller_add(takeover->poller, &takeover->listener, fd, EPOLLIN, takeover_listener_event,
                   takeover) != 0) {
        fd_clear(&takeover->guest.fds[FAST_PATH_LISTENER]);
    }
}

void takeover_equip(Takeover *takeover, const MessageFastPath *message, const int *take_fds,
                    size_t count)
{
    bool inbound_alone = count == FAST_PATH_INBOUND_FDS;

    takeover_guest_equip(&takeover->guest, message, take_fds, count);
    if (inbound_alone) {
        return; /* no table: nothing is taken over, and there is nothing to mend */
    }
    takeover_watch_listener(takeover);
    mender_answered(takeover->mender, message->errnum, message->loaded,
                    takeover->guest.fds[FAST_PATH_LISTENER] >= 0);
    pending_release(takeover);
}

void takeover_load(Takeover *takeover)
{
    if (takeover->guest.fds[FAST_PATH_LISTENER] >= 0) {
        (void)mender_load(takeover->mender);
    }
}

static void takeover_relay_ended(void *relay_data, void *user_data)
{
    Takeover *takeover = user_data;

    (void)relay_data;
    takeover->hooks.ended(takeover->hooks.user_data);
}

Takeover *takeover_new(GMainContext *context, Relays *relays, const TakeoverConfig *config,
                       const TakeoverHooks *hooks, GError **error)
{
    g_autoptr(Takeover) takeover = NEW0_UP_TO(Takeover, frame);

    takeover->config = *config;
    takeover->hooks = *hooks;
    takeover->relays = relays;
    takeover->owner = (RelayOwner){takeover_relay_ended, takeover};
    takeover_guest_init(&takeover->guest);
    g_queue_init(&takeover->injected);
    g_queue_init(&takeover->held);
    takeover->pending =
        flow_table_new(context, MAX(config->pending_max, 1), pending_evicted, takeover);
    takeover->skips = skips_new(context);
    takeover->expiry = timer_new(context, pending_expire, takeover);
    takeover->patience = timer_new(context, pending_lose_patience, takeover);
    takeover->retry = timer_new(context, takeover_watch_listener, takeover);
    takeover->mender = mender_new(context, &takeover->hooks);
    takeover->poller = poller_new(context, error);
    return takeover->poller == NULL ? NULL : g_steal_pointer(&takeover);
}

void takeover_free(Takeover *takeover)
{
    if (takeover == NULL) {
        return;
    }
    flow_table_free(takeover->pending);
    skips_free(takeover->skips);
    if (takeover->poller != NULL) {
        poller_remove(takeover->poller, &takeover->listener);
    }
    poller_free(takeover->poller);
    timer_free(takeover->expiry);
    timer_free(takeover->patience);
    timer_free(takeover->retry);
    mender_free(takeover->mender);
    takeover_guest_clear(&takeover->guest);
    g_free(takeover);
}

const TakeoverCounters *takeover_counters(const Takeover *takeover)
{
    return &takeover->counters;
}

unsigned takeover_pending(const Takeover *takeover)
{
    return flow_table_count(takeover->pending);
}

bool takeover_owns(const Takeover *takeover, const RelayOwner *owner)
{
    return owner == &takeover->owner;
}

/* FlowListFill */
static void takeover_fill(const Flow *flow, FlowRecord *ret, void *fill_data)
{
    const Pending *pending = (const Pending *)flow;

    (void)fill_data;
    ret->path = FLOW_PATH_TAKEOVER;
    ret->protocol = IPPROTO_TCP;
    ret->state = FLOW_STATE_CONNECTING;
    flowlist_names(pending->fd, &ret->host_local, &ret->host_remote);
}

uint32_t takeover_page(const Takeover *takeover, uint32_t place, FlowList *list)
{
    return flowlist_page(takeover->pending, place, list, takeover_fill, NULL);
}
