/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * natflows.c - what libslirp carries, and how much
 *
 * Does:     keeps one flow for each socket of libslirp's, from the frame that made it to its close; counts bytes.
 * Runs in:  the datapath, on the loop thread.
 * Trusts:   of TCP what libslirp says alone: bytes towards the guest are those it has sent, each once however often it is sent
 *           again, bytes from the guest those it has acknowledged. What the guest claims moves no count by more than one.
 * Why:      slirp_connection_info() has text, no bytes, and no order that a page could go on from.
 * Cost:     one look at the headers and one look-up for each frame to the guest, and for each datagram from it: 90 ns of the
 *           several microseconds that a frame costs libslirp.
 */
#include "config.h"

#include "natflows.h"

#include <netinet/in.h>

typedef struct NatFlow {
    Flow flow; /* of UDP without a remote end */
    int fd;
    FlowAddr last;     /* UDP: written to last */
    uint32_t sent;     /* TCP: of libslirp's stream, the next byte it has not sent yet */
    uint32_t acked;    /* TCP: of the guest's stream, the next byte libslirp waits for */
    uint32_t fin;      /* TCP: where the guest's stream ends */
    bool guest_closed; /* fin is known */
    bool remote_closed;
    bool connected; /* TCP: the guest was told so */
} NatFlow;

struct NatFlows {
    FlowTable *table;
    GPtrArray *by_fd; /* NatFlow or NULL */
    FlowTotal tcp;
    FlowTotal udp;
};

/* Never called: no flow idles out, and the table has no limit but libslirp's; at the end it is empty. */
static void natflow_ended(Flow *flow, FlowEnd why, void *user_data)
{
    (void)why;
    (void)user_data;
    g_free(flow);
}

NatFlows *natflows_new(GMainContext *context)
{
    NatFlows *flows = g_new0(NatFlows, 1);

    flows->table = flow_table_new(context, G_MAXUINT, natflow_ended, flows);
    flows->by_fd = g_ptr_array_new();
    return flows;
}

void natflows_free(NatFlows *flows)
{
    if (flows == NULL) {
        return;
    }
    flow_table_free(flows->table);
    g_ptr_array_unref(flows->by_fd);
    g_free(flows);
}

static FlowKey natflow_key(uint8_t protocol, const NetAddr *guest, uint16_t guest_port,
                           const NetAddr *remote, uint16_t remote_port)
{
    NetAddr none = {.family = AF_UNSPEC};

    return protocol == IPPROTO_UDP ? flow_key(&none, 0, guest, guest_port, protocol)
                                   : flow_key(remote, remote_port, guest, guest_port, protocol);
}

static NatFlow *natflow_of_guest(const NatFlows *flows, const FrameView *view)
{
    FlowKey key =
        natflow_key(view->protocol, &view->src, view->src_port, &view->dst, view->dst_port);

    return (NatFlow *)flow_table_lookup(flows->table, &key);
}

static FlowTotal *natflows_sum(NatFlows *flows, const NatFlow *flow)
{
    return flow->flow.key.owner == IPPROTO_TCP ? &flows->tcp : &flows->udp;
}

static void natflow_count(NatFlows *flows, NatFlow *flow, uint64_t in, uint64_t out)
{
    FlowTotal *sum = natflows_sum(flows, flow);

    flow->flow.bytes_in += in;
    flow->flow.bytes_out += out;
    sum->bytes_in += in;
    sum->bytes_out += out;
}

static void natflow_end(NatFlows *flows, NatFlow *flow)
{
    flow_table_remove(flows->table, &flow->flow);
    natflows_sum(flows, flow)->now--;
    g_ptr_array_index(flows->by_fd, flow->fd) = NULL;
    g_free(flow);
}

void natflows_opened(NatFlows *flows, int fd, const FrameView *view)
{
    NatFlow *flow;

    if (view->protocol != IPPROTO_TCP && view->protocol != IPPROTO_UDP) {
        return;
    }
    natflows_closed(flows, fd);
    flow = natflow_of_guest(flows, view);
    if (flow != NULL) {
        natflow_end(flows, flow); /* libslirp lets the old one linger under the same names */
    }
    flow = g_new0(NatFlow, 1);
    flow->flow.key =
        natflow_key(view->protocol, &view->src, view->src_port, &view->dst, view->dst_port);
    flow->fd = fd;
    flow->acked = view->seq + 1;
    if ((guint)fd >= flows->by_fd->len) {
        g_ptr_array_set_size(flows->by_fd, fd + 1);
    }
    g_ptr_array_index(flows->by_fd, fd) = flow;
    flow_table_insert(flows->table, &flow->flow, 0);
    natflows_sum(flows, flow)->now++;
    natflows_sum(flows, flow)->ever++;
    natflows_from_guest(flows, view); /* it was not known when that came */
}

void natflows_closed(NatFlows *flows, int fd)
{
    NatFlow *flow =
        fd >= 0 && (guint)fd < flows->by_fd->len ? g_ptr_array_index(flows->by_fd, fd) : NULL;

    if (flow != NULL) {
        natflow_end(flows, flow);
    }
}

void natflows_from_guest(NatFlows *flows, const FrameView *view)
{
    bool fin = view->protocol == IPPROTO_TCP && (view->tcp_flags & FRAME_TCP_FIN) != 0;
    NatFlow *flow = view->protocol == IPPROTO_UDP || fin ? natflow_of_guest(flows, view) : NULL;

    if (flow == NULL) {
        return;
    }
    if (fin) {
        flow->guest_closed = true;
        flow->fin = view->seq + (uint32_t)(view->end - view->payload);
        return;
    }
    flow->last = (FlowAddr){view->dst, view->dst_port};
    natflow_count(flows, flow, 0, view->end - view->payload);
}

static void natflow_segment(NatFlows *flows, NatFlow *flow, const FrameView *view)
{
    uint32_t end = view->seq + (uint32_t)(view->end - view->payload);
    uint32_t ack = view->ack;
    uint64_t in = 0;
    uint64_t out = 0;

    if ((view->tcp_flags & FRAME_TCP_RST) != 0) {
        return; /* its numbers may be the guest's */
    }
    if ((view->tcp_flags & FRAME_TCP_SYN) != 0) {
        flow->connected = true;
        flow->sent = view->seq + 1;
        return;
    }
    flow->remote_closed |= (view->tcp_flags & FRAME_TCP_FIN) != 0;
    /* Without bytes it may be one further: behind libslirp's own FIN. */
    if (view->end > view->payload && (int32_t)(end - flow->sent) > 0) {
        in = end - flow->sent;
        flow->sent = end;
    }
    ack -= flow->guest_closed && ack == flow->fin + 1; /* FIN has a number and is no byte */
    if ((view->tcp_flags & FRAME_TCP_ACK) != 0 && (int32_t)(ack - flow->acked) > 0) {
        out = ack - flow->acked;
        flow->acked = ack;
    }
    natflow_count(flows, flow, in, out);
}

void natflows_to_guest(NatFlows *flows, const uint8_t *frame, size_t len)
{
    FrameView view;
    FlowKey key;
    NatFlow *flow;

    if (frame_parse(frame, len, &view) != FRAME_OK ||
        (view.protocol != IPPROTO_TCP && view.protocol != IPPROTO_UDP)) {
        return;
    }
    key = natflow_key(view.protocol, &view.dst, view.dst_port, &view.src, view.src_port);
    flow = (NatFlow *)flow_table_lookup(flows->table, &key);
    if (flow == NULL) {
        return;
    }
    if (view.protocol == IPPROTO_TCP) {
        natflow_segment(flows, flow, &view);
    } else {
        natflow_count(flows, flow, view.end - view.payload, 0);
    }
}

static FlowState natflow_state(const NatFlow *flow)
{
    if (flow->flow.key.owner == IPPROTO_UDP) {
        return FLOW_STATE_OPEN;
    }
    if (!flow->connected) {
        return FLOW_STATE_CONNECTING;
    }
    if (flow->remote_closed) {
        return flow->guest_closed ? FLOW_STATE_BOTH_CLOSED : FLOW_STATE_REMOTE_CLOSED;
    }
    return flow->guest_closed ? FLOW_STATE_LOCAL_CLOSED : FLOW_STATE_OPEN;
}

/* FlowListFill */
static void natflow_fill(const Flow *base, FlowRecord *ret, void *fill_data)
{
    const NatFlow *flow = (const NatFlow *)base;

    (void)fill_data;
    ret->path = FLOW_PATH_NAT;
    ret->protocol = (uint8_t)base->key.owner;
    ret->state = (uint8_t)natflow_state(flow);
    if (base->key.owner == IPPROTO_UDP) {
        ret->guest_remote = flow->last;
    }
    flowlist_names(flow->fd, &ret->host_local, &ret->host_remote);
}

uint32_t natflows_page(const NatFlows *flows, uint32_t place, FlowList *list)
{
    return flowlist_page(flows->table, place, list, natflow_fill, NULL);
}

FlowTotal natflows_total(const NatFlows *flows, uint8_t protocol)
{
    return protocol == IPPROTO_TCP ? flows->tcp : flows->udp;
}
