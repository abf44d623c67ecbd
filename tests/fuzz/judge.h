/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_FUZZ_JUDGE_H
#define SALLYPORT_TESTS_FUZZ_JUDGE_H

#include <stdbool.h>
#include <stddef.h>

#include "netaddr.h"

/* Whom the guest may reach, said a second time and without any code of the gate's or of netaddr.c's classes: long and plain, so
 * that both are unlikely to be wrong in the same way. */

/**
 * struct Judge - the policy in force
 * @host_loopback, @host, @link_local, @metadata: that class is allowed
 * @hosts:  addresses of the host's interfaces, @host_count of them
 * @net4:   the guest's IPv4 network, host byte order, with its @mask4
 * @net6:   the first bytes of its IPv6 network, as many as @prefix6 says; a multiple of 8
 */
typedef struct Judge {
    bool host_loopback;
    bool host;
    bool link_local;
    bool metadata;
    const NetAddr *hosts;
    size_t host_count;
    uint32_t net4;
    uint32_t mask4;
    uint8_t net6[16];
    unsigned prefix6;
} Judge;

/* May a packet to this address outside the guest's networks leave? The host's loopback is never one: that is the caller's affair,
 * who knows whether the gateway was meant. */
bool judge_outside(const Judge *judge, const NetAddr *addr);

#endif
