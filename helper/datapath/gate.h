/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_GATE_H
#define SALLYPORT_DATAPATH_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "../netaddr.h"
#include "frame.h"

typedef struct Gate Gate;

/**
 * struct GateConfig - the gate's slice of the configuration; copied by gate_new()
 * @cidr, @gateway, @dns:    the guest's IPv4 network and the virtual addresses in it
 * @cidr6, @gateway6, @dns6: the same for IPv6, valid if @ipv6
 * @ipv6:          false: every IPv6 frame is dropped
 * @dns_enabled:   false (--no-dns): port 53 of the virtual name server is silent
 * @netns_mode:    the guest is a network namespace that was configured: DHCP and router solicitations are dropped
 * @unreachable:   what is refused is network unreachable, not reset or prohibited; hosts of the CIDRs that are none are silent
 * @allow:         set of NetClass bits that may pass
 */
typedef struct GateConfig {
    NetCidr cidr;
    NetAddr gateway;
    NetAddr dns;
    bool ipv6;
    NetCidr cidr6;
    NetAddr gateway6;
    NetAddr dns6;
    bool dns_enabled;
    bool netns_mode;
    bool unreachable;
    unsigned allow;
} GateConfig;

/* Who gets the frame. */
typedef enum GateVerdict {
    GATE_DROP,   /* counted by reason; nothing is answered */
    GATE_REFUSE, /* counted; the caller sends gate_refusal() */
    GATE_NAT,    /* libslirp: ARP, NDP, TCP, UDP */
    GATE_TCP_SYN, /* a SYN without ACK to somewhere outside that may pass: takeover if there is one, else nat */
    GATE_DNS,    /* a UDP query to port 53 of the virtual name server */
    GATE_PING,   /* an echo request to somewhere outside */
    GATE_ROUTER, /* a router solicitation: router_solicited() */
    GATE_ECHO, /* an echo request to gateway or name server: answer with frame_build_echo_reply() */
} GateVerdict;

/* Why a well-formed frame was dropped or refused. Counters: gate_counter(). */
typedef enum GateReason {
    GATE_REASON_NONE,
    GATE_REASON_MALFORMED,      /* FrameStatus says more: gate_malformed_counter() */
    GATE_REASON_SOURCE_MAC,     /* multicast, zero or one of ours */
    GATE_REASON_SOURCE_ADDRESS, /* outside the CIDRs, or a virtual address */
    GATE_REASON_NO_IPV6,
    GATE_REASON_INSIDE_CIDR, /* a destination inside the CIDRs where nothing answers */
    GATE_REASON_NEVER,       /* NETCLASS_NEVER */
    GATE_REASON_HOST_LOOPBACK,
    GATE_REASON_HOST,
    GATE_REASON_LINK_LOCAL,
    GATE_REASON_METADATA,
    GATE_REASON_MULTICAST, /* multicast and broadcast, dropped without an answer */
    GATE_REASON_NETNS_MODE, /* router solicitations, DHCP, MLD, redirects... of a configured namespace */
    GATE_REASON_ICMP_TYPE, /* an ICMP(v6) message that is neither echo request nor NDP we answer */
    GATE_REASON_COUNT
} GateReason;

/* Never fails. Starts with an empty set of host addresses. */
Gate *gate_new(const GateConfig *config);
void gate_free(Gate *gate);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Gate, gate_free)

/**
 * gate_judge() - scrub one frame from the guest, decide, say who gets it
 * @frame:      the frame; may be changed in place (URG stripped, shortened, DNS over TCP redirected)
 * @inout_len:  its length; may get smaller (padding is cut, see frame_shorten_tcp())
 * @ret_view:   what the frame says after all changes; valid unless the frame was malformed
 * @ret_reason: why, for GATE_DROP and GATE_REFUSE
 *
 * The destination judged is the final one: the gateway's address means the host's loopback, and embedded IPv4
 * addresses are taken out. Remembers the guest's link address for gate_guest_mac(). No I/O.
 */
GateVerdict gate_judge(Gate *gate, uint8_t *frame, size_t *inout_len, FrameView *ret_view,
                       GateReason *ret_reason);

/* The RST or ICMP(v6) error that tells the guest of a GATE_REFUSE; returns its length, 0 if none may be sent. */
size_t gate_refusal(Gate *gate, const uint8_t *frame, const FrameView *view,
                    uint8_t out[FRAME_MAX]);

/* A frame from libslirp on its way to the guest: DNS over TCP gets the name server's address and port back. In place. */
void gate_reply(Gate *gate, uint8_t *frame, size_t len);

/* May a host-side socket of ours be connected to @dst for the guest? The same decision as gate_judge(), for modules
 * that connect by themselves. GATE_REASON_NONE means yes. @dst is a guest's destination (gateway not translated). */
GateReason gate_decide(const Gate *gate, const NetAddr *dst);

/* Ports (host order) of the loopback listeners that take DNS over TCP; 0 refuses TCP to port 53 of that family. */
void gate_set_dns_tcp_port(Gate *gate, sa_family_t family, uint16_t port);

/* Replaces the set of addresses of the host's interfaces. @addrs is copied. */
void gate_set_host_addresses(Gate *gate, const NetAddr *addrs, size_t count);

/* FRAME_MAC_LEN bytes: the last valid source address seen, broadcast before the first frame. Valid until freed. */
const uint8_t *gate_guest_mac(const Gate *gate);
/* The link address under which gateway and name server of @family answer (FRAME_MAC_LEN bytes). */
const uint8_t *gate_virtual_mac(const Gate *gate, sa_family_t family);

uint64_t gate_counter(const Gate *gate, GateReason reason);
uint64_t gate_malformed_counter(const Gate *gate, FrameStatus status);
const char *gate_reason_name(GateReason reason);

#endif
