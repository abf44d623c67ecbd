/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * gate_policy.c - which addresses the guest may reach
 *
 * Does:     the half of the gate that knows addresses only: which are virtual, which are the
 *           host's, which classes are allowed.
 * Decides:  by the final address. The gateway's address means the host's loopback; an IPv4 address
 *           inside an IPv6 one is judged like itself.
 * Not here: frames (gate.c), which addresses are special (netaddr.c).
 */
#include "config.h"

#include "gate_internal.h"

#include <stdlib.h>
#include <string.h>

const Side *gate_side(const Gate *gate, sa_family_t family)
{
    return &gate->sides[family == AF_INET6];
}

bool gate_is_gateway(const Side *side, const NetAddr *addr)
{
    return netaddr_equal(addr, &side->gateway);
}

bool gate_is_dns(const Side *side, const NetAddr *addr)
{
    return netaddr_equal(addr, &side->dns);
}

static bool is_link_twin(const Side *side, const NetAddr *addr)
{
    return side->link_dns.family != AF_UNSPEC &&
           (netaddr_equal(addr, &side->link_gateway) || netaddr_equal(addr, &side->link_dns));
}

bool gate_is_virtual(const Side *side, const NetAddr *addr)
{
    return gate_is_gateway(side, addr) || gate_is_dns(side, addr) || is_link_twin(side, addr);
}

bool gate_is_to_many(const Side *side, const NetAddr *addr)
{
    if (addr->family == AF_INET && addr->v4.s_addr == INADDR_BROADCAST)
        return true;
    if (side->broadcast.family != AF_UNSPEC && netaddr_equal(addr, &side->broadcast))
        return true;
    return netaddr_is_multicast(addr);
}

static HostKey host_key(const NetAddr *addr)
{
    HostKey key = {{[10] = 0xff, [11] = 0xff}};

    if (addr->family == AF_INET)
        memcpy(key.bytes + 12, &addr->v4, sizeof(addr->v4));
    else
        memcpy(key.bytes, &addr->v6, sizeof(key.bytes));
    return key;
}

static int compare_keys(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(HostKey));
}

static bool is_host_address(const Gate *gate, const NetAddr *addr)
{
    HostKey key = host_key(addr);

    if (gate->host_count == 0)
        return false;
    return bsearch(&key, gate->hosts, gate->host_count, sizeof(key), compare_keys) != NULL;
}

void gate_set_host_addresses(Gate *gate, const NetAddr *addrs, size_t count)
{
    g_free(gate->hosts);
    gate->hosts = g_new0(HostKey, count);
    gate->host_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (addrs[i].family != AF_INET && addrs[i].family != AF_INET6)
            continue;
        gate->hosts[gate->host_count++] = host_key(&addrs[i]);
    }
    if (gate->host_count > 0)
        qsort(gate->hosts, gate->host_count, sizeof(HostKey), compare_keys);
}

/* Every class the address is in must be allowed. */
static GateReason decide_outside(const Gate *gate, const NetAddr *dst)
{
    unsigned classes = netaddr_classify(dst);
    unsigned refused;
    NetAddr within;

    if (is_host_address(gate, dst))
        classes |= NETCLASS_HOST;
    if (netaddr_embedded(dst, &within)) {
        /* The guest's own network by another name; plainly written it leads nowhere. */
        if (netcidr_contains(&gate->sides[0].cidr, &within))
            return GATE_REASON_INSIDE_CIDR;
        if (is_host_address(gate, &within))
            classes |= NETCLASS_HOST;
    }
    refused = classes & ~gate->allow;
    if (classes & NETCLASS_NEVER)
        return GATE_REASON_NEVER;
    if (refused & NETCLASS_METADATA)
        return GATE_REASON_METADATA;
    if (refused & NETCLASS_HOST)
        return GATE_REASON_HOST;
    if (refused & NETCLASS_LINK_LOCAL)
        return GATE_REASON_LINK_LOCAL;
    return GATE_REASON_NONE;
}

GateReason gate_decide(const Gate *gate, const NetAddr *dst)
{
    const Side *side = gate_side(gate, dst->family);

    if (dst->family != AF_INET && dst->family != AF_INET6)
        return GATE_REASON_NEVER;
    if (dst->family == AF_INET6 && !gate->ipv6)
        return GATE_REASON_NO_IPV6;
    if (gate_is_to_many(side, dst))
        return GATE_REASON_MULTICAST;
    if (gate_is_gateway(side, dst))
        return gate->allow & NETCLASS_HOST_LOOPBACK ? GATE_REASON_NONE : GATE_REASON_HOST_LOOPBACK;
    if (netcidr_contains(&side->cidr, dst) || is_link_twin(side, dst))
        return GATE_REASON_INSIDE_CIDR;
    return decide_outside(gate, dst);
}
