/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rules.c - what makes the guest's kernel carry the guest's TCP
 *
 * Does:     policy routing (rtnetlink), one sysctl, and the nftables table "sallyport", held as long as we live.
 * Runs in:  inside, in the guest's namespaces, with CAP_NET_ADMIN there.
 * Trusts:   the kernel. The guest's root may flush all of it at any time: takeover notices and asks for it again.
 * Owns:     an abstract unix socket that says "a helper lives here" (unix(7): it is bound to the network namespace and
 *           goes with us), the netlink socket that owns the table.
 *
 * When:     the routing at start, or when the interfaces are up (rules_wait()); the table when rules_load() is called. That takes 4 to 5 ms where nobody else has netfilter hooks: the
 *           kernel patches its own code for the first of each (include/linux/netfilter.h: nf_hooks_needed). A SYN that passes
 *           the guest's own NAT before chain n is there is lost to step 1: hence rules_found_company().
 *
 * How a connection goes, both families (M is RULES_MARK, M2 is RULES_MARK_INJECT, T is RULES_TABLE):
 *   1. The guest's SYN is unmarked and leaves by the TAP. Chain n gives it its own address as source first, so that a
 *      MASQUERADE of the guest's, which comes at priority 100, finds the flow decided.
 *   2. takeover connects on the host, then sends the same SYN through a raw socket marked M2. Chain o turns M2 into M, and
 *      routing is done again: table T makes every address local, so the SYN goes to lo and comes in there.
 *   3. Chain p gives it to the transparent listener, whose answers carry M: chain o remembers that in the flow's
 *      conntrack mark, and from then on marks every packet of the flow.
 *   M2 has no routing rule of its own: a raw send with M would be routed to lo before chain o, too early for the
 *   conntrack entry of step 1 to be found in its original direction.
 * Published ports: a socket of ours with mark M, bound to the client's address, reaches the guest by lo; chain n gives its first
 * packet its own address as source too, for a MASQUERADE that names no interface.
 * T's route is on the TAP and not on lo, because a socket bound to the TAP (SO_BINDTODEVICE) finds no other.
 */
#include "config.h"

#include "rules.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../fault.h"
#include "../fd.h"
#include "nftables.h"
#include "rtnl.h"

#define RULES_ROUTES 0x53a11bU /* the routing table, T */
#define RULES_LO     1         /* include/net/flow.h: LOOPBACK_IFINDEX */
#define RULES_CLAIM  "sallyport-fast-path"
#define RULES_SYSCTL "/proc/sys/net/ipv4/tcp_fwmark_accept"

struct Rules {
    NftablesTable table;
    bool ipv6;
    Nftables *nft; /* NULL: the kernel has none. It owns the table where the kernel knows owners. */
    int nft_errno;
    int claim;
    Rtnl *rtnl;
    int sysctl; /* held: nothing can be opened later */
    char sysctl_before;
    bool company; /* rules of others were there before */
    bool loaded;
    bool routed; /* once; the kernel takes routes away with the interface's UP */
};

static bool rules_claim(Rules *rules, GError **error)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t len = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(RULES_CLAIM);

    memcpy(name.sun_path + 1, RULES_CLAIM, strlen(RULES_CLAIM));
    /* A listener: of an attacker's in this process it can reach nobody, which a datagram socket could. */
    rules->claim = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (rules->claim < 0 || bind(rules->claim, (const struct sockaddr *)&name, len) < 0 ||
        listen(rules->claim, 0) < 0) {
        fault_set(error, FAULT_FAST_PATH, errno, "%s",
                  errno == EADDRINUSE ? "another helper has the fast path of this network namespace"
                                      : g_strerror(errno));
        return false;
    }
    return true;
}

/* @value is one character, and the previous one comes back in @ret_before. False with errno set. */
static bool rules_sysctl(int fd, char value, char *ret_before)
{
    if (fd < 0 || (ret_before != NULL && pread(fd, ret_before, 1, 0) != 1)) {
        return false;
    }
    return pwrite(fd, &value, 1, 0) == 1;
}

/* @ret_left (optional): becomes true if the rule was there already. */
static int rules_route_family(const Rules *rules, sa_family_t family, bool there, bool *ret_left)
{
    int failed = rtnl_local_route(rules->rtnl, family, rules->table.ifindex, RULES_ROUTES, there);

    /* Taking away goes on whatever happens: the route may have gone with its interface. */
    return failed != 0 && there
               ? failed
               : rtnl_mark_rule(rules->rtnl, family, RULES_MARK, RULES_ROUTES, there, ret_left);
}

static bool rules_route(const Rules *rules, bool *ret_left, GError **error)
{
    bool up;
    int failed = rtnl_link_is_up(rules->rtnl, RULES_LO, &up);

    /* What is taken over goes by lo. The TAP's state shows with its route. */
    if (failed == 0) {
        failed = up ? rules_route_family(rules, AF_INET, true, ret_left) : -ENETDOWN;
    }
    if (failed == 0 && rules->ipv6) {
        failed = rules_route_family(rules, AF_INET6, true, ret_left);
        if (failed == -EACCES || failed == -EOPNOTSUPP || failed == -EAFNOSUPPORT) {
            failed = 0; /* IPv6 is switched off here, so that nothing of it can leave either */
        }
    }
    if (failed != 0) {
        fault_set(error, FAULT_FAST_PATH, -failed, "policy routing in the guest: %s",
                  g_strerror(-failed));
    }
    return failed == 0;
}

/* Tables of xtables without nftables below have their names in /proc, which need not be for us to read: then connections that come
 * before our rules may be libslirp's. */
static bool rules_others(const Rules *rules)
{
    static const char *const names[] = {"/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        FD_AUTO fd = open(names[i], O_RDONLY | O_CLOEXEC | O_NOCTTY);
        char byte;

        if (fd >= 0 && read(fd, &byte, 1) > 0) {
            return true;
        }
    }
    return rules->nft != NULL && nftables_any(rules->nft);
}

bool rules_wait(const GError *error)
{
    return fault_errno(error) == ENETDOWN;
}

Rules *rules_new(const char *ifname, unsigned ifindex, bool ipv6, GError **error)
{
    g_autoptr(Rules) rules = g_new0(Rules, 1);
    g_autoptr(GError) fault = NULL;
    bool left = false;

    rules->table = (NftablesTable){
        .mark = RULES_MARK, .mark_inject = RULES_MARK_INJECT, .ifindex = ifindex, .owner = true};
    rules->ipv6 = ipv6;
    rules->claim = -1;
    rules->sysctl = -1;
    /* Before the claim: if we are killed, the kernel closes in this order, and the table is gone when the claim is free. */
    rules->nft = nftables_new();
    rules->nft_errno = errno;
    if (!rules_claim(rules, error)) {
        return NULL;
    }
    rules->rtnl = rtnl_new();
    if (rules->rtnl == NULL) {
        fault_set(error, FAULT_FAST_PATH, errno, "rtnetlink: %s", g_strerror(errno));
        return NULL;
    }
    rules->sysctl = open(RULES_SYSCTL, O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (!rules_sysctl(rules->sysctl, '1', &rules->sysctl_before)) {
        fault_set(error, FAULT_FAST_PATH, errno, RULES_SYSCTL ": %s", g_strerror(errno));
        return NULL;
    }
    rules->routed = rules_route(rules, &left, &fault);
    if (!rules->routed && !rules_wait(fault)) {
        g_prefix_error(&fault, "%s: ", ifname);
        g_propagate_error(error, g_steal_pointer(&fault));
        return NULL;
    }
    if (left) {
        /* The 1 is the killed helper's too. What was there before it nobody knows; this is the kernel's default. */
        rules->sysctl_before = '0';
    }
    rules->company = left || rules_others(rules);
    return g_steal_pointer(&rules);
}

/* Replaces what is there, if something is: what a killed helper left, or our own. 0 or -errno. */
static int rules_put(Rules *rules, const char **ret_what)
{
    int failed = nftables_put(rules->nft, &rules->table, rules->loaded, ret_what);

    if (failed == (rules->loaded ? -ENOENT : -EEXIST)) {
        failed = nftables_put(rules->nft, &rules->table, !rules->loaded, ret_what);
    }
    return failed;
}

bool rules_loadable(const Rules *rules, GError **error)
{
    if (rules->nft == NULL) {
        fault_set(error, FAULT_FAST_PATH, rules->nft_errno, "the kernel has no nf_tables: %s",
                  g_strerror(rules->nft_errno));
    }
    return rules->nft != NULL;
}

bool rules_load(Rules *rules, uint16_t port, GError **error)
{
    const char *what;
    int failed;

    /* The first time it was set up just now. */
    if (!rules_loadable(rules, error) ||
        ((rules->loaded || !rules->routed) && !rules_route(rules, NULL, error))) {
        return false;
    }
    rules->routed = true;
    rules->table.port = port;
    failed = rules_put(rules, &what);
    if (rules->table.owner && (failed == -EOPNOTSUPP || failed == -EINVAL)) {
        rules->table.owner = false; /* before Linux 5.12 */
        failed = rules_put(rules, &what);
    }
    if (failed != 0) {
        fault_set(error, FAULT_FAST_PATH, -failed, "the kernel refuses %s of nftables: %s", what,
                  g_strerror(-failed));
        return false;
    }
    rules->loaded = true;
    return true;
}

bool rules_loaded(const Rules *rules)
{
    return rules->loaded;
}

bool rules_found_company(const Rules *rules)
{
    return rules->company;
}

void rules_free(Rules *rules)
{
    if (rules == NULL) {
        return;
    }
    if (rules->loaded) {
        (void)nftables_delete(rules->nft);
    }
    nftables_free(rules->nft);
    if (rules->rtnl != NULL) {
        (void)rules_route_family(rules, AF_INET, false, NULL);
        if (rules->ipv6) {
            (void)rules_route_family(rules, AF_INET6, false, NULL);
        }
        if (rules->sysctl_before != 0) {
            (void)rules_sysctl(rules->sysctl, rules->sysctl_before, NULL);
        }
        rtnl_free(rules->rtnl);
    }
    fd_close(rules->sysctl);
    fd_close(rules->claim);
    g_free(rules);
}
