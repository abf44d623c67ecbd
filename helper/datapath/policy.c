/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * policy.c - what the settings mean to the gate
 *
 * Does:     one translation, so that the gate need not know settings, nor whoever has settings how the gate wants them.
 * Runs in:  the datapath, before any frame is read.
 * Trusts:   settings.c.
 */
#include "config.h"

#include "policy.h"

GateConfig policy_of(const Settings *settings)
{
    const GuestSettings *guest = &settings->guest;

    return (GateConfig){
        .cidr = guest->cidr,
        .gateway = guest->gateway,
        .dns = guest->dns,
        .ipv6 = guest->ipv6,
        .cidr6 = guest->cidr6,
        .gateway6 = guest->gateway6,
        .dns6 = guest->dns6,
        .dns_enabled = settings->dns,
        .netns_mode = !guest->autoconf,
        .unreachable = settings->personality == PERSONALITY_SLIRP4NETNS,
        .allow = settings->allow,
    };
}
