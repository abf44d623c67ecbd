/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_GATE_INTERNAL_H
#define SALLYPORT_DATAPATH_GATE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../netaddr.h"
#include "frame.h"
#include "gate.h"
#include "seqguard.h"

/* What gate.c and gate_policy.c share, and nobody else may include. */

/* An address of either family as 16 bytes; IPv4 as ::ffff:a.b.c.d, which as an address of its own
 * is never allowed. */
typedef struct HostKey {
    uint8_t bytes[16];
} HostKey;

/* What libslirp owns in one family; index 0 is IPv4, 1 is IPv6. */
typedef struct Side {
    NetCidr cidr;
    NetAddr gateway;
    NetAddr dns;
    NetAddr broadcast;    /* IPv4: of the network; "none" for IPv6 */
    NetAddr link_gateway; /* IPv6: libslirp answers for these as well; "none" for IPv4 */
    NetAddr link_dns;
    uint16_t dns_tcp_port; /* 0: there is no listener */
} Side;

struct Gate {
    Side sides[2];
    bool ipv6;
    bool dns_enabled;
    bool netns_mode;
    bool unreachable;
    unsigned allow;
    HostKey *hosts; /* sorted */
    size_t host_count;
    SeqGuard *seqguard;
    uint8_t guest_mac[FRAME_MAC_LEN];
    uint8_t gateway_mac[FRAME_MAC_LEN];
    uint8_t dns_mac[FRAME_MAC_LEN];
    uint8_t gateway_mac6[FRAME_MAC_LEN];
    uint8_t dns_mac6[FRAME_MAC_LEN];
    uint64_t counters[GATE_REASON_COUNT];
    uint64_t malformed[FRAME_STATUS_COUNT];
};

const Side *gate_side(const Gate *gate, sa_family_t family);
bool gate_is_gateway(const Side *side, const NetAddr *addr);
bool gate_is_dns(const Side *side, const NetAddr *addr);
/* Gateway, name server, or the link-local twin of one. */
bool gate_is_virtual(const Side *side, const NetAddr *addr);
/* Multicast, or broadcast of any kind: reached by none of our ways, answered by nobody. */
bool gate_is_to_many(const Side *side, const NetAddr *addr);

#endif
