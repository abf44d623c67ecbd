/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_GUEST_RULES_H
#define SALLYPORT_GUEST_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

/* What marks packets as the fast path's own: of our sockets; and of SYNs that are put back in. */
#define RULES_MARK        0x53a11b01U
#define RULES_MARK_INJECT 0x53a11b02U

/* Policy routing, sysctl and nftables table of the fast path in the network namespace of the calling process. */
typedef struct Rules Rules;

/**
 * rules_new() - claim the namespace for this helper, and set up the policy routing
 * @ifname:  the TAP; @ifindex: its number
 * @ipv6:    for IPv6 too
 *
 * Needs CAP_NET_ADMIN. Sets tcp_fwmark_accept, so that what a server in the guest accepts from one of our marked
 * sockets answers with that mark. Leftovers of a helper that was killed are taken over. After failure nothing is left.
 *
 * Return: new, or NULL with @error set (FAULT_FAST_PATH; EADDRINUSE: another helper lives here)
 */
Rules *rules_new(const char *ifname, unsigned ifindex, bool ipv6, GError **error);
/* Undoes all of it. */
void rules_free(Rules *rules);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Rules, rules_free)

/**
 * rules_load() - (again) put the nftables table in place, and the policy routing if that is gone
 * @port: of the transparent listener
 *
 * Return: false with @error set (FAULT_FAST_PATH): then the table is as it was before
 */
bool rules_load(Rules *rules, uint16_t port, GError **error);

/* Did rules_load() fail because the interface, or lo, is not up? Whoever configures the guest will see to that: then it is worth another try. */
bool rules_wait(const GError *error);

/* Can the table be put in place, as far as is known without doing it? @error says what is missing (FAULT_FAST_PATH). */
bool rules_loadable(const Rules *rules, GError **error);

/* Were there rules in the guest already, of its own or of a killed helper's? Then rules_load() should not wait. */
bool rules_found_company(const Rules *rules);

/* Has the table been put in place? */
bool rules_loaded(const Rules *rules);

#endif
