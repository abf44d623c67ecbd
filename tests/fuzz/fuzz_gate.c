/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fuzz_gate.c - gate.c, gate_policy.c and seqguard.c: frames of the guest under every policy
 *
 * Oracles:  a frame that passes is well formed, not longer than before, without URG, goes where guest_may_reach() lets it go, and
 *           ends nowhere near what libslirp 4.7.0 cannot stand; a plain one that may be reached is not refused; what is dropped or
 *           refused is not changed; a refusal and an echo go to the guest and are no longer than they may be; each frame is
 *           counted once.
 */
#include "config.h"

#include <net/ethernet.h>

#include "datapath/framebytes.h"
#include "datapath/gate.h"

#include "bytes.h"
#include "check.h"
#include "guest.h"

#define EDGES 64

/* What libslirp has offered a connection last: a segment across the poisoned number may not go beyond. */
typedef struct Edge {
    NetAddr guest;
    NetAddr remote;
    uint16_t guest_port;
    uint16_t remote_port;
    uint32_t edge;
    bool known;
} Edge;

typedef struct Fuzz {
    Guest guest;
    Gate *gate;
    Edge edges[EDGES];
    size_t edge_count;
} Fuzz;

static uint8_t frame[FRAME_MAX];
static uint8_t out[FRAME_MAX];

static Edge *edge_of(Fuzz *fuzz, const NetAddr *guest, uint16_t guest_port, const NetAddr *remote,
                     uint16_t remote_port)
{
    Edge *edge;

    for (size_t i = 0; i < fuzz->edge_count; i++) {
        edge = &fuzz->edges[i];
        if (edge->guest_port == guest_port && edge->remote_port == remote_port &&
            netaddr_equal(&edge->guest, guest) && netaddr_equal(&edge->remote, remote)) {
            return edge;
        }
    }
    edge = &fuzz->edges[fuzz->edge_count < EDGES ? fuzz->edge_count++ : 0];
    *edge = (Edge){*guest, *remote, guest_port, remote_port, 0, false};
    return edge;
}

static void check_counted(Fuzz *fuzz, uint64_t before, GateReason reason, uint64_t malformed)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < FRAME_STATUS_COUNT; i++) {
        count += gate_malformed_counter(fuzz->gate, i);
    }
    FUZZ_CHECK(gate_counter(fuzz->gate, reason) == before + 1, "%s", gate_reason_name(reason));
    FUZZ_CHECK(count == malformed + (reason == GATE_REASON_MALFORMED), "malformed");
    FUZZ_CHECK(strcmp(gate_reason_name(reason), "unknown") != 0, "reason %d", (int)reason);
}

static void check_tcp(Fuzz *fuzz, const FrameView *view)
{
    uint32_t poison = guest_poison(&view->src);
    size_t len = view->end - view->payload;
    bool syn = view->tcp_flags & FRAME_TCP_SYN;
    uint32_t end = view->seq + syn + (uint32_t)len;
    const Edge *edge = edge_of(fuzz, &view->src, view->src_port, &view->dst, view->dst_port);

    FUZZ_CHECK(!(view->tcp_flags & FRAME_TCP_URG) && get16(frame + view->l4 + 18) == 0, "URG");
    FUZZ_CHECK(!syn || len == 0, "data on a SYN");
    FUZZ_CHECK(len == 0 || end != poison, "data ends at %08x", poison);
    FUZZ_CHECK(len > 0 || syn || !(view->tcp_flags & FRAME_TCP_FIN) || view->seq != poison,
               "FIN at %08x", poison);
    if (len > 0 && poison - view->seq - 1 < len - 1) {
        FUZZ_CHECK(edge->known && (int32_t)(edge->edge - end) >= 0,
                   "across %08x, beyond the window", poison);
    }
}

/* The frame passed: is it what libslirp and we may see? @sent is what the guest sent. */
static void check_passed(Fuzz *fuzz, const FrameView *sent, size_t len, const FrameView *view,
                         GateVerdict verdict)
{
    g_autofree uint8_t *exact = fuzz_exact(frame, len);
    FrameView again;
    bool inside;
    bool may;

    FUZZ_CHECK(frame_parse(exact, len, &again) == FRAME_OK && again.end == len &&
                   again.seq == view->seq && again.tcp_flags == view->tcp_flags &&
                   again.payload == view->payload && netaddr_equal(&again.dst, &view->dst) &&
                   again.dst_port == view->dst_port,
               "the view differs from the frame");
    FUZZ_CHECK(fuzz->guest.config.ipv6 || view->ethertype != ETHERTYPE_IPV6, "IPv6");
    FUZZ_CHECK(!(frame[FRAME_MAC_LEN] & 1) &&
                   memcmp(gate_guest_mac(fuzz->gate), frame + FRAME_MAC_LEN, FRAME_MAC_LEN) == 0,
               "whose link address?");
    if (view->ethertype == ETHERTYPE_ARP || verdict == GATE_ECHO ||
        ((verdict == GATE_NAT || verdict == GATE_ROUTER) && view->protocol == IPPROTO_ICMPV6)) {
        return;
    }
    may = guest_may_reach(&fuzz->guest, &sent->dst, &inside);
    if (sent->dst_port == 53 &&
        netaddr_equal(&sent->dst, sent->dst.family == AF_INET ? &fuzz->guest.config.dns
                                                              : &fuzz->guest.config.dns6)) {
        FUZZ_CHECK(fuzz->guest.config.dns_enabled, "name service is off");
        FUZZ_CHECK(verdict == GATE_DNS ||
                       netaddr_equal(&view->dst, sent->dst.family == AF_INET
                                                     ? &fuzz->guest.config.gateway
                                                     : &fuzz->guest.config.gateway6),
                   "name service leads elsewhere");
    } else if (!(verdict == GATE_NAT && view->protocol == IPPROTO_UDP && sent->dst_port == 67 &&
                 !fuzz->guest.config.netns_mode &&
                 (sent->dst.v4.s_addr == INADDR_BROADCAST ||
                  netaddr_equal(&sent->dst, &fuzz->guest.config.gateway)))) {
        char text[NETADDR_STRLEN];

        FUZZ_CHECK(may && netaddr_equal(&sent->dst, &view->dst), "to %s",
                   netaddr_format(&sent->dst, text));
    }
    if (view->protocol == IPPROTO_TCP) {
        check_tcp(fuzz, view);
    }
}

static void check_refused(Fuzz *fuzz, const FrameView *view)
{
    size_t len = gate_refusal(fuzz->gate, frame, view, out);
    bool inside;
    FrameView answer;
    bool may = guest_may_reach(&fuzz->guest, &view->dst, &inside);

    FUZZ_CHECK(!may || inside || !netaddr_is_multicast(&view->src), "refused without a reason");
    FUZZ_CHECK(!may || inside, "refused what may be reached");
    if (len == 0) {
        return;
    }
    FUZZ_CHECK(frame_parse(out, len, &answer) == FRAME_OK && answer.end == len &&
                   frame_checksums_ok(out, &answer) && netaddr_equal(&answer.dst, &view->src) &&
                   memcmp(out, frame + FRAME_MAC_LEN, FRAME_MAC_LEN) == 0,
               "a refusal that is none");
    FUZZ_CHECK(len <= FRAME_ETH_LEN + (view->src.family == AF_INET ? 576U : 1280U), "%zu bytes",
               len);
}

static void check_echo(Fuzz *fuzz, const FrameView *view)
{
    size_t len = frame_build_echo_reply(out, frame, view);
    const GateConfig *config = &fuzz->guest.config;
    bool twin = view->dst.family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&view->dst.v6);

    FUZZ_CHECK(len <= view->end, "%zu bytes for %zu", len, view->end);
    FUZZ_CHECK(
        twin ||
            netaddr_equal(&view->dst,
                          view->dst.family == AF_INET ? &config->gateway : &config->gateway6) ||
            netaddr_equal(&view->dst, view->dst.family == AF_INET ? &config->dns : &config->dns6),
        "an echo of somebody else");
}

static void from_guest(Fuzz *fuzz, Bytes *bytes)
{
    size_t before = guest_frame(&fuzz->guest, bytes, frame);
    g_autofree uint8_t *exact = fuzz_exact(frame, before);
    size_t len = before;
    GateReason reason = GATE_REASON_COUNT;
    FrameView sent = {0};
    FrameView view = {0};
    uint64_t counters[GATE_REASON_COUNT];
    uint64_t malformed = 0;
    FrameStatus status = frame_parse(exact, before, &sent);
    GateVerdict verdict;

    for (unsigned i = 0; i < GATE_REASON_COUNT; i++) {
        counters[i] = gate_counter(fuzz->gate, i);
    }
    for (unsigned i = 0; i < FRAME_STATUS_COUNT; i++) {
        malformed += gate_malformed_counter(fuzz->gate, i);
    }
    verdict = gate_judge(fuzz->gate, exact, &len, &view, &reason);
    FUZZ_CHECK(reason < GATE_REASON_COUNT && len <= before, "reason %d", (int)reason);
    check_counted(fuzz, counters[reason], reason, malformed);
    FUZZ_CHECK((verdict == GATE_DROP || verdict == GATE_REFUSE) == (reason != GATE_REASON_NONE),
               "verdict %d", (int)verdict);
    FUZZ_CHECK(status == FRAME_OK || verdict == GATE_DROP, "a malformed frame passed");
    if (reason != GATE_REASON_NONE) {
        FUZZ_CHECK(before == 0 || memcmp(exact, frame, before) == 0,
                   "changed, though it stays here");
    }
    if (verdict == GATE_REFUSE) {
        check_refused(fuzz, &view);
    }
    if (before > 0) {
        memcpy(frame, exact, before);
    }
    if (reason == GATE_REASON_NONE) {
        check_passed(fuzz, &sent, len, &view, verdict);
    }
    if (verdict == GATE_ECHO) {
        check_echo(fuzz, &view);
    }
}

/* A segment that libslirp might send: the window it offers is what seqguard.c goes by. */
static void from_nat(Fuzz *fuzz, Bytes *bytes)
{
    GuestFlow *flow = &fuzz->guest.flows[bytes_below(bytes, GUEST_FLOWS)];
    uint8_t kind = bytes_u8(bytes);
    const NetAddr *dns =
        flow->local.family == AF_INET ? &fuzz->guest.config.dns : &fuzz->guest.config.dns6;
    const NetAddr *gateway =
        flow->local.family == AF_INET ? &fuzz->guest.config.gateway : &fuzz->guest.config.gateway6;
    uint16_t dns_port = fuzz->guest.dns_ports[flow->local.family == AF_INET6];
    bool is_dns =
        flow->used && netaddr_equal(&flow->remote, dns) && flow->remote_port == 53 && dns_port != 0;
    NetAddr from = is_dns ? *gateway : flow->remote;
    uint16_t port = is_dns ? dns_port : flow->remote_port;
    size_t head = flow->local.family == AF_INET ? IP4_LEN : IP6_LEN;
    uint8_t *tcp = frame + FRAME_ETH_LEN + head;
    uint32_t edge;
    FrameView view;
    size_t len;
    Edge *known;

    if (!flow->used || (netaddr_equal(&flow->remote, gateway) && flow->remote_port == dns_port) ||
        (flow->local.family == AF_INET6 && !fuzz->guest.config.ipv6)) {
        return; /* libslirp has no such connection: nothing gets there in the guest's own name */
    }
    /* The headers of a datagram, with a segment put in its place. */
    len = frame_build_udp(frame, (const uint8_t *)"\x02\0\0\0\0\x01",
                          (const uint8_t *)"\x52\x55\0\0\0\1", &from, 1, &flow->local, 1,
                          "\0\0\0\0\0\0\0\0\0\0\0\0", TCP_LEN - UDP_LEN);
    frame[FRAME_ETH_LEN + (head == IP4_LEN ? 9 : 6)] = IPPROTO_TCP;
    memset(tcp, 0, TCP_LEN);
    put16(tcp, port);
    put16(tcp + 2, flow->local_port);
    put32(tcp + 8, guest_poison(&flow->local) - bytes_u16(bytes));
    tcp[12] = 0x50;
    tcp[TCP_FLAGS] = (uint8_t)(FRAME_TCP_ACK | (kind % 8 == 1 ? FRAME_TCP_SYN : 0) |
                               (kind % 8 == 2 ? FRAME_TCP_RST : 0));
    put16(tcp + 14, bytes_u16(bytes));
    edge = get32(tcp + 8) + get16(tcp + 14);
    FUZZ_CHECK(frame_parse(frame, len, &view) == FRAME_OK, "our own segment, %zu bytes", len);
    frame_fix_checksums(frame, &view);
    known = edge_of(fuzz, &view.dst, view.dst_port, &view.src, view.src_port);
    known->known = !(view.tcp_flags & FRAME_TCP_RST);
    known->edge = edge;
    gate_reply(fuzz->gate, frame, len);
    FUZZ_CHECK(frame_parse(frame, len, &view) == FRAME_OK && view.end == len &&
                   frame_checksums_ok(frame, &view),
               "broken on its way to the guest");
    FUZZ_CHECK(netaddr_equal(&view.src, &flow->remote) && view.src_port == flow->remote_port,
               "from somebody the guest does not know");
}

static void reply_raw(Fuzz *fuzz, Bytes *bytes)
{
    size_t len = guest_frame(&fuzz->guest, bytes, frame);
    g_autofree uint8_t *exact = fuzz_exact(frame, len);
    FrameView view;

    if (frame_parse(frame, len, &view) != FRAME_OK || view.protocol != IPPROTO_TCP) {
        gate_reply(fuzz->gate, exact, len);
        FUZZ_CHECK(len == 0 || memcmp(exact, frame, len) == 0, "changed what is no segment");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static Fuzz fuzz;
    Bytes bytes = {data, data + size};

    memset(&fuzz, 0, sizeof(fuzz));
    guest_init(&fuzz.guest, &bytes);
    fuzz.gate = guest_gate(&fuzz.guest);
    while (bytes_left(&bytes) > 0) {
        switch (bytes_below(&bytes, 4)) {
        case 2:
            from_nat(&fuzz, &bytes);
            break;
        case 3:
            reply_raw(&fuzz, &bytes);
            break;
        default:
            from_guest(&fuzz, &bytes);
            break;
        }
    }
    gate_free(fuzz.gate);
    return 0;
}
