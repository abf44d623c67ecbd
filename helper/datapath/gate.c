/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * gate.c - the only way from the guest to anything
 *
 * Does:     scrubs every frame of the guest, decides whether its destination may be reached, says
 *           who gets it; keeps from libslirp what it cannot stand; joins DNS over TCP with our own
 *           listener, both ways.
 * Runs in:  the datapath process, loop thread.
 * Trusts:   nothing in a frame. Its configuration was validated; the host's addresses come from
 *           the supervisor.
 * Owns:     its copy of the configuration, the set of host addresses, the counters.
 * Limits:   none that grow: no flow is remembered (but see seqguard.c), nothing is allocated per
 *           frame, and the payload of a TCP or UDP frame is not looked at.
 * Order:    a frame is changed only after it may pass, so that refusals quote what the guest sent.
 * Not here: what frames look like (frame.c), which addresses may be reached (gate_policy.c), rates
 *           and the log (the callers).
 */
#include "config.h"

#include "gate.h"

#include <string.h>

#include <net/ethernet.h>

#include "framebytes.h"
#include "gate_internal.h"
#include "seqguard.h"

#define PORT_DNS           53
#define PORT_DHCP_SERVER   67
#define PORT_DHCP_CLIENT   68
#define PORT_TFTP          69
#define PORT_DHCPV6_SERVER 547

#define ICMP4_UNREACHABLE 3
#define ICMP4_NETWORK     0
#define ICMP4_PROHIBITED  13 /* RFC 1812 5.2.7.1: communication administratively prohibited */
#define ICMP6_UNREACHABLE 1
#define ICMP6_NO_ROUTE    0
#define ICMP6_PROHIBITED  1

#define NDP_HOP_LIMIT 255

static NetAddr broadcast_of(const NetCidr *cidr)
{
    uint32_t hosts = cidr->prefix == 0 ? UINT32_MAX : (1u << (32 - cidr->prefix)) - 1;

    /* RFC 3021: networks of one or two addresses have no broadcast address. */
    if (cidr->prefix > 30)
        return (NetAddr){0};
    return netaddr_from_v4(ntohl(cidr->net.v4.s_addr) | hosts);
}

/* libslirp answers for fe80::/64 with the interface identifier of its own addresses, too. */
static NetAddr link_local_twin(const NetAddr *addr)
{
    uint8_t bytes[16] = {0xfe, 0x80};

    memcpy(bytes + 8, addr->v6.s6_addr + 8, 8);
    return netaddr_from_bytes(AF_INET6, bytes);
}

Gate *gate_new(const GateConfig *config)
{
    Gate *gate = g_new0(Gate, 1);

    gate->sides[0].cidr = config->cidr;
    gate->sides[0].gateway = config->gateway;
    gate->sides[0].dns = config->dns;
    gate->sides[0].broadcast = broadcast_of(&config->cidr);
    if (config->ipv6) {
        gate->sides[1].cidr = config->cidr6;
        gate->sides[1].gateway = config->gateway6;
        gate->sides[1].dns = config->dns6;
        gate->sides[1].link_gateway = link_local_twin(&config->gateway6);
        gate->sides[1].link_dns = link_local_twin(&config->dns6);
    }
    gate->ipv6 = config->ipv6;
    gate->dns_enabled = config->dns_enabled;
    gate->netns_mode = config->netns_mode;
    gate->unreachable = config->unreachable;
    gate->allow = config->allow;
    gate->seqguard = seqguard_new();
    memset(gate->guest_mac, 0xff, sizeof(gate->guest_mac));
    netaddr_virtual_mac(&config->gateway, gate->gateway_mac);
    netaddr_virtual_mac(&config->dns, gate->dns_mac);
    netaddr_virtual_mac(&config->gateway6, gate->gateway_mac6);
    netaddr_virtual_mac(&config->dns6, gate->dns_mac6);
    return gate;
}

void gate_free(Gate *gate)
{
    if (!gate)
        return;
    g_free(gate->hosts);
    seqguard_free(gate->seqguard);
    g_free(gate);
}

/* ---- scrubbing: is this a frame the guest may send at all? ---- */

static bool source_mac_ok(const Gate *gate, const uint8_t *mac)
{
    static const uint8_t zero[FRAME_MAC_LEN];

    return !(mac[0] & 1) && memcmp(mac, zero, FRAME_MAC_LEN) != 0 &&
           memcmp(mac, gate->gateway_mac, FRAME_MAC_LEN) != 0 &&
           memcmp(mac, gate->dns_mac, FRAME_MAC_LEN) != 0 &&
           memcmp(mac, gate->gateway_mac6, FRAME_MAC_LEN) != 0 &&
           memcmp(mac, gate->dns_mac6, FRAME_MAC_LEN) != 0;
}

/* To any DHCP server: by broadcast, or to the gateway when a lease is renewed (RFC 2131 4.1). */
static bool is_dhcp(const Gate *gate, const FrameView *view)
{
    const Side *side = &gate->sides[0];

    return view->ethertype == ETHERTYPE_IP && view->protocol == IPPROTO_UDP &&
           view->dst_port == PORT_DHCP_SERVER &&
           (gate_is_to_many(side, &view->dst) || gate_is_gateway(side, &view->dst));
}

/* To the one that libslirp plays (udp.c: udp_input()). To other addresses it would send a datagram on, into the host's network. */
static bool is_dhcp_to_libslirp(const Gate *gate, const FrameView *view)
{
    return view->src_port == PORT_DHCP_CLIENT && (view->dst.v4.s_addr == INADDR_BROADCAST ||
                                                  gate_is_gateway(&gate->sides[0], &view->dst));
}

static bool is_mld(const FrameView *view)
{
    return view->protocol == IPPROTO_ICMPV6 &&
           ((view->icmp_type >= ICMP6_MLD_QUERY && view->icmp_type <= ICMP6_MLD_DONE) ||
            view->icmp_type == ICMP6_MLD2_REPORT);
}

/* RFC 4861 4.1, 4.3 and RFC 3590: who has no address yet asks for routers, for duplicates, or
 * reports groups. */
static bool may_lack_address6(const FrameView *view)
{
    return is_mld(view) ||
           (view->protocol == IPPROTO_ICMPV6 && (view->icmp_type == ICMP6_ROUTER_SOLICITATION ||
                                                 view->icmp_type == ICMP6_NEIGHBOR_SOLICITATION));
}

static bool is_link_local6(const NetAddr *addr)
{
    return addr->family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&addr->v6);
}

static bool source_address_ok(const Gate *gate, const FrameView *view)
{
    const NetAddr *src = &view->src;
    const Side *side = gate_side(gate, src->family);

    if (netaddr_is_any(src)) {
        if (view->ethertype == ETHERTYPE_ARP)
            return true; /* a probe, RFC 5227 2.1.1 */
        if (view->ethertype == ETHERTYPE_IPV6)
            return may_lack_address6(view);
        return is_dhcp(gate, view) && view->src_port == PORT_DHCP_CLIENT;
    }
    if (gate_is_virtual(side, src))
        return false;
    if (is_link_local6(src))
        return true;
    return netcidr_contains(&side->cidr, src) && !netaddr_equal(src, &side->cidr.net) &&
           !gate_is_to_many(side, src);
}

/* RFC 4861 6.1.1, 7.1.1, 7.1.2. libslirp 4.7.0 takes the lengths for granted. */
static bool ndp_ok(const uint8_t *frame, const FrameView *view)
{
    bool solicits_routers = view->icmp_type == ICMP6_ROUTER_SOLICITATION;
    size_t at = view->l4 + (solicits_routers ? ICMP_LEN : ICMP_LEN + 16);

    if (view->hop_limit != NDP_HOP_LIMIT || view->icmp_code != 0 || at > view->end)
        return false;
    if (!solicits_routers && frame[view->l4 + ICMP_LEN] == 0xff)
        return false; /* a multicast target */
    while (at < view->end) {
        size_t left = view->end - at;
        size_t len;

        if (left < 8)
            return false;
        len = (size_t)frame[at + 1] * 8;
        if (len == 0 || len > left)
            return false;
        at += len;
    }
    return true;
}

/* ff02::1:ffXX:XXXX for solicitations of neighbours, ff02::2 for those of routers. */
static bool ndp_destination_ok(const FrameView *view)
{
    static const uint8_t solicited_node[13] = {0xff, 2, [11] = 1, [12] = 0xff};
    static const uint8_t all_routers[16] = {0xff, 2, [15] = 2};
    const uint8_t *dst = view->dst.v6.s6_addr;

    if (!netaddr_is_multicast(&view->dst))
        return true;
    if (view->icmp_type == ICMP6_ROUTER_SOLICITATION)
        return memcmp(dst, all_routers, sizeof(all_routers)) == 0;
    return memcmp(dst, solicited_node, sizeof(solicited_node)) == 0;
}

/* ---- dispatch ---- */

static GateVerdict refuse(GateReason reason, GateReason *ret_reason)
{
    *ret_reason = reason;
    return reason == GATE_REASON_NONE ? GATE_NAT : GATE_REFUSE;
}

static GateVerdict drop(GateReason reason, GateReason *ret_reason)
{
    *ret_reason = reason;
    return GATE_DROP;
}

static GateVerdict judge_ndp(Gate *gate, const uint8_t *frame, const FrameView *view,
                             GateReason *ret_reason)
{
    if (view->icmp_type == ICMP6_ROUTER_SOLICITATION && gate->netns_mode)
        return drop(GATE_REASON_NETNS_MODE, ret_reason);
    if (!ndp_ok(frame, view)) {
        gate->malformed[FRAME_BAD_ICMP]++;
        return drop(GATE_REASON_MALFORMED, ret_reason);
    }
    if (!ndp_destination_ok(view))
        return drop(GATE_REASON_MULTICAST, ret_reason);
    return view->icmp_type == ICMP6_ROUTER_SOLICITATION ? GATE_ROUTER : GATE_NAT;
}

static GateVerdict judge_echo(const Gate *gate, const FrameView *view, GateReason *ret_reason)
{
    const Side *side = gate_side(gate, view->dst.family);
    GateReason reason;

    if (view->icmp_code != 0)
        return drop(GATE_REASON_ICMP_TYPE, ret_reason);
    if (gate_is_virtual(side, &view->dst))
        return GATE_ECHO;
    reason = gate_decide(gate, &view->dst);
    if (reason == GATE_REASON_MULTICAST)
        return drop(reason, ret_reason);
    return reason == GATE_REASON_NONE ? GATE_PING : refuse(reason, ret_reason);
}

static GateVerdict judge_icmp(Gate *gate, const uint8_t *frame, const FrameView *view,
                              GateReason *ret_reason)
{
    if (view->protocol == IPPROTO_ICMP) {
        if (view->icmp_type == ICMP4_ECHO_REQUEST)
            return judge_echo(gate, view, ret_reason);
        return drop(GATE_REASON_ICMP_TYPE, ret_reason);
    }
    switch (view->icmp_type) {
    case ICMP6_ECHO_REQUEST_TYPE:
        return judge_echo(gate, view, ret_reason);
    case ICMP6_ROUTER_SOLICITATION:
    case ICMP6_NEIGHBOR_SOLICITATION:
    case ICMP6_NEIGHBOR_ADVERTISEMENT:
        return judge_ndp(gate, frame, view, ret_reason);
    default:
        if (is_mld(view) && gate->netns_mode)
            return drop(GATE_REASON_NETNS_MODE, ret_reason);
        return drop(GATE_REASON_ICMP_TYPE, ret_reason);
    }
}

/* The services that libslirp has under the gateway's address and that we do not want, even where
 * the host's loopback is open: it would answer before it looks there. DHCP of the wrong source port
 * is one of them. */
static bool is_libslirp_service(const FrameView *view)
{
    if (view->ethertype == ETHERTYPE_IP)
        return view->dst_port == PORT_TFTP || view->dst_port == PORT_DHCP_SERVER;
    return view->dst_port == PORT_TFTP || view->dst_port == PORT_DHCPV6_SERVER;
}

static GateVerdict judge_udp(Gate *gate, const FrameView *view, GateReason *ret_reason)
{
    const Side *side = gate_side(gate, view->dst.family);
    GateReason reason;

    if (is_dhcp(gate, view)) {
        if (gate->netns_mode)
            return drop(GATE_REASON_NETNS_MODE, ret_reason);
        if (is_dhcp_to_libslirp(gate, view))
            return GATE_NAT;
    }
    if (gate_is_dns(side, &view->dst) && view->dst_port == PORT_DNS) {
        if (!gate->dns_enabled)
            return drop(GATE_REASON_INSIDE_CIDR, ret_reason);
        return GATE_DNS;
    }
    reason = gate_decide(gate, &view->dst);
    if (reason == GATE_REASON_MULTICAST)
        return drop(reason, ret_reason);
    if (reason == GATE_REASON_NONE && gate_is_gateway(side, &view->dst) &&
        is_libslirp_service(view))
        reason = GATE_REASON_INSIDE_CIDR;
    return refuse(reason, ret_reason);
}

static GateVerdict judge_tcp(Gate *gate, uint8_t *frame, FrameView *view, GateReason *ret_reason)
{
    const uint8_t control = FRAME_TCP_SYN | FRAME_TCP_ACK | FRAME_TCP_FIN | FRAME_TCP_RST;
    const Side *side = gate_side(gate, view->dst.family);
    bool to_gateway = gate_is_gateway(side, &view->dst);
    bool to_dns = gate_is_dns(side, &view->dst) && view->dst_port == PORT_DNS;
    GateReason reason;

    if (to_dns && !gate->dns_enabled)
        return drop(GATE_REASON_INSIDE_CIDR, ret_reason);
    if (to_dns && side->dns_tcp_port != 0) {
        frame_rewrite_dst(frame, view, &side->gateway, side->dns_tcp_port);
        view->dst = side->gateway;
        view->dst_port = side->dns_tcp_port;
        return GATE_NAT;
    }
    reason = gate_decide(gate, &view->dst);
    if (reason == GATE_REASON_MULTICAST)
        return drop(reason, ret_reason);
    /* Replies from there are taken for those of the name server: see gate_reply(). */
    if (reason == GATE_REASON_NONE && to_gateway && view->dst_port == side->dns_tcp_port)
        reason = GATE_REASON_INSIDE_CIDR;
    if (reason == GATE_REASON_NONE && !to_gateway && (view->tcp_flags & control) == FRAME_TCP_SYN)
        return GATE_TCP_SYN;
    return refuse(reason, ret_reason);
}

static GateVerdict judge_scrubbed(Gate *gate, uint8_t *frame, size_t *inout_len, FrameView *view,
                                  GateReason *ret_reason)
{
    GateVerdict verdict;

    if (view->ethertype == ETHERTYPE_ARP)
        return GATE_NAT;
    if (view->protocol == IPPROTO_UDP)
        return judge_udp(gate, view, ret_reason);
    if (view->protocol != IPPROTO_TCP)
        return judge_icmp(gate, frame, view, ret_reason);
    verdict = judge_tcp(gate, frame, view, ret_reason);
    if (verdict == GATE_NAT || verdict == GATE_TCP_SYN) {
        /* CVE-2026-9539: libslirp trusts the urgent pointer. RFC 6093 5 tells applications not to
         * use it. */
        frame_strip_urg(frame, view);
        view->tcp_flags &= (uint8_t)~FRAME_TCP_URG;
        /* TCP Fast Open (RFC 7413). libslirp 4.7.0 loses the place of what comes behind such data; what is not acknowledged
         * with the SYN is sent again after it. */
        if ((view->tcp_flags & FRAME_TCP_SYN) != 0)
            (void)frame_shorten_tcp(frame, view, view->end - view->payload);
        *inout_len = seqguard_to_nat(gate->seqguard, frame, view);
    }
    return verdict;
}

/* On a real network nobody would be there to answer. */
static bool gate_is_nobody(const Gate *gate, const NetAddr *dst, GateReason reason)
{
    return gate->unreachable && reason == GATE_REASON_INSIDE_CIDR &&
           !gate_is_virtual(gate_side(gate, dst->family), dst);
}

GateVerdict gate_judge(Gate *gate, uint8_t *frame, size_t *inout_len, FrameView *ret_view,
                       GateReason *ret_reason)
{
    FrameStatus status = frame_parse(frame, *inout_len, ret_view);
    GateReason reason = GATE_REASON_NONE;
    GateVerdict verdict;

    if (status != FRAME_OK) {
        gate->malformed[status]++;
        verdict = drop(GATE_REASON_MALFORMED, &reason);
    } else if (!source_mac_ok(gate, frame + FRAME_MAC_LEN)) {
        verdict = drop(GATE_REASON_SOURCE_MAC, &reason);
    } else if (ret_view->ethertype == ETHERTYPE_IPV6 && !gate->ipv6) {
        verdict = drop(GATE_REASON_NO_IPV6, &reason);
    } else if (!source_address_ok(gate, ret_view)) {
        verdict = drop(GATE_REASON_SOURCE_ADDRESS, &reason);
    } else {
        memcpy(gate->guest_mac, frame + FRAME_MAC_LEN, FRAME_MAC_LEN);
        *inout_len = ret_view->end;
        verdict = judge_scrubbed(gate, frame, inout_len, ret_view, &reason);
    }
    if (verdict == GATE_REFUSE && gate_is_nobody(gate, &ret_view->dst, reason))
        verdict = GATE_DROP;
    gate->counters[reason]++;
    *ret_reason = reason;
    return verdict;
}

/* ---- answers ---- */

size_t gate_refusal(Gate *gate, const uint8_t *frame, const FrameView *view, uint8_t out[FRAME_MAX])
{
    bool begins = (view->tcp_flags & (FRAME_TCP_SYN | FRAME_TCP_ACK)) == FRAME_TCP_SYN;

    /* Of an established connection an ICMP error would be no end. */
    if (view->protocol == IPPROTO_TCP && !(gate->unreachable && begins))
        return frame_build_tcp_rst(out, frame, view);
    if (view->ethertype == ETHERTYPE_IP)
        return frame_build_icmp_error(out, frame, view, &gate->sides[0].gateway, ICMP4_UNREACHABLE,
                                      gate->unreachable ? ICMP4_NETWORK : ICMP4_PROHIBITED, 0);
    return frame_build_icmp_error(out, frame, view, &gate->sides[1].gateway, ICMP6_UNREACHABLE,
                                  gate->unreachable ? ICMP6_NO_ROUTE : ICMP6_PROHIBITED, 0);
}

void gate_reply(Gate *gate, uint8_t *frame, size_t len)
{
    const uint8_t *ip = frame + FRAME_ETH_LEN;
    const Side *side;
    const uint8_t *tcp;
    FrameView view;
    bool ip4;

    if (len < FRAME_ETH_LEN + IP4_LEN + TCP_LEN)
        return;
    ip4 = get16(frame + 12) == ETHERTYPE_IP;
    if (!ip4 && (get16(frame + 12) != ETHERTYPE_IPV6 || len < FRAME_ETH_LEN + IP6_LEN + TCP_LEN))
        return;
    if ((ip4 ? ip[9] : ip[6]) != IPPROTO_TCP)
        return;
    /* If there are options after all, these are the wrong bytes, and frame_parse() will say so. */
    tcp = ip + (ip4 ? IP4_LEN : IP6_LEN);
    side = &gate->sides[!ip4];
    if (get16(tcp) != side->dns_tcp_port &&
        !seqguard_cares(gate->seqguard, ip4 ? NULL : ip + 24, get32(tcp + 8)))
        return;
    if (frame_parse(frame, len, &view) != FRAME_OK)
        return;
    seqguard_from_nat(gate->seqguard, frame, &view);
    if (view.src_port == side->dns_tcp_port && gate_is_gateway(side, &view.src))
        frame_rewrite_src(frame, &view, &side->dns, PORT_DNS);
}

/* ---- what others ask ---- */

void gate_set_dns_tcp_port(Gate *gate, sa_family_t family, uint16_t port)
{
    gate->sides[family == AF_INET6].dns_tcp_port = port;
}

const uint8_t *gate_guest_mac(const Gate *gate)
{
    return gate->guest_mac;
}

const uint8_t *gate_virtual_mac(const Gate *gate, sa_family_t family)
{
    return family == AF_INET6 ? gate->gateway_mac6 : gate->gateway_mac;
}

uint64_t gate_counter(const Gate *gate, GateReason reason)
{
    return (unsigned)reason < GATE_REASON_COUNT ? gate->counters[reason] : 0;
}

uint64_t gate_malformed_counter(const Gate *gate, FrameStatus status)
{
    return (unsigned)status < FRAME_STATUS_COUNT ? gate->malformed[status] : 0;
}

const char *gate_reason_name(GateReason reason)
{
    static const char *const names[GATE_REASON_COUNT] = {
        [GATE_REASON_NONE] = "none",
        [GATE_REASON_MALFORMED] = "malformed",
        [GATE_REASON_SOURCE_MAC] = "source-mac",
        [GATE_REASON_SOURCE_ADDRESS] = "source-address",
        [GATE_REASON_NO_IPV6] = "no-ipv6",
        [GATE_REASON_INSIDE_CIDR] = "inside-cidr",
        [GATE_REASON_NEVER] = "never",
        [GATE_REASON_HOST_LOOPBACK] = "host-loopback",
        [GATE_REASON_HOST] = "host",
        [GATE_REASON_LINK_LOCAL] = "link-local",
        [GATE_REASON_METADATA] = "metadata",
        [GATE_REASON_MULTICAST] = "multicast",
        [GATE_REASON_NETNS_MODE] = "netns-mode",
        [GATE_REASON_ICMP_TYPE] = "icmp-type",
    };

    return (unsigned)reason < GATE_REASON_COUNT ? names[reason] : "unknown";
}
