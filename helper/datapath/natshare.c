/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * natshare.c - how many sockets libslirp may hold
 *
 * Does:     counts: libslirp makes one socket for each UDP source and each TCP connection of the guest, and a TCP connection may
 *           cost 256 KiB. Remembers the UDP sources for as long as libslirp does.
 * Runs in:  the datapath, on the loop thread.
 * Trusts:   the guest not at all: it may open as many as it likes.
 */
#include "config.h"

#include "natshare.h"

#include <netinet/in.h>

#include "flow.h"

/* libslirp forgets a UDP socket after 240 s without a datagram of the guest (src/socket.h: SO_EXPIRE). */
#define NATSHARE_UDP_IDLE_US (240 * G_USEC_PER_SEC)

struct NatShare {
    const Nat *nat;
    unsigned max;
    uint64_t refused;
    FlowTable *udp;
};

static void natshare_udp_ended(Flow *flow, FlowEnd why, void *user_data)
{
    (void)why;
    (void)user_data;
    g_free(flow);
}

NatShare *natshare_new(GMainContext *context, const Nat *nat, unsigned max)
{
    NatShare *share = g_new0(NatShare, 1);

    share->nat = nat;
    share->max = max;
    share->udp = flow_table_new(context, G_MAXUINT, natshare_udp_ended, NULL);
    return share;
}

void natshare_free(NatShare *share)
{
    if (share == NULL) {
        return;
    }
    flow_table_free(share->udp);
    g_free(share);
}

static bool natshare_has_room(NatShare *share, const FrameView *view)
{
    /* On no other segment does tcp_input() of libslirp make a socket. */
    const uint8_t control = FRAME_TCP_SYN | FRAME_TCP_ACK | FRAME_TCP_FIN | FRAME_TCP_RST;
    NetAddr none = {.family = AF_UNSPEC};
    FlowKey key;
    Flow *flow;

    if (view->protocol == IPPROTO_TCP && (view->tcp_flags & control) == FRAME_TCP_SYN) {
        return nat_sockets(share->nat) < share->max;
    }
    if (view->protocol != IPPROTO_UDP) {
        return true;
    }
    key = flow_key(&none, 0, &view->src, view->src_port, 0);
    flow = flow_table_lookup(share->udp, &key);
    if (flow != NULL) {
        flow_touch(share->udp, flow);
        return true;
    }
    if (flow_table_count(share->udp) >= share->max / 2 || nat_sockets(share->nat) >= share->max) {
        return false;
    }
    flow = g_new0(Flow, 1);
    flow->key = key;
    flow_table_insert(share->udp, flow, NATSHARE_UDP_IDLE_US);
    return true;
}

bool natshare_admits(NatShare *share, const FrameView *view)
{
    bool admits = natshare_has_room(share, view);

    share->refused += !admits;
    return admits;
}

uint64_t natshare_refused(const NatShare *share)
{
    return share->refused;
}
