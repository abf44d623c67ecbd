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
 * How a connection goes, both families (M is RULES_MARK, M2 is RULES_MARK_INJECT, T is RULES_TABLE):
 *   1. The guest's SYN is unmarked and leaves by the TAP. Chain n gives it its own address as source first, so that a
 *      MASQUERADE of the guest's, which comes at priority 100, finds the flow decided.
 *   2. takeover connects on the host, then sends the same SYN through a raw socket marked M2. Chain o turns M2 into M, and
 *      routing is done again: table T makes every address local, so the SYN goes to lo and comes in there.
 *   3. Chain p gives it to the transparent listener, whose answers carry M: chain o remembers that in the flow's
 *      conntrack mark, and from then on marks every packet of the flow.
 *   M2 has no routing rule of its own: a raw send with M would be routed to lo before chain o, too early for the
 *   conntrack entry of step 1 to be found in its original direction.
 * T's route is on the TAP and not on lo, because a socket bound to the TAP (SO_BINDTODEVICE) finds no other.
 */
#include "config.h"

#include "rules.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <nftables/libnftables.h>

#include "../fault.h"
#include "../fd.h"
#include "rtnl.h"

#define RULES_TABLE   0x53a11bU
#define RULES_CLAIM   "sallyport-fast-path"
#define RULES_LIBRARY "libnftables.so.1"
#define RULES_SYSCTL  "/proc/sys/net/ipv4/tcp_fwmark_accept"

/* %1$s: "flags owner;" or nothing; %2$u: M; %3$u: M2; %4$u: the TAP; %5$u: the listener's port. Interface 1 is lo in every
 * network namespace (net/core/net_namespace.c makes it first). */
#define RULES_TEXT                                                                                 \
    "table inet sallyport {\n"                                                                     \
    "  %1$s\n"                                                                                     \
    "  chain o {\n"                                                                                \
    "    type route hook output priority mangle;\n"                                                \
    "    meta mark %3$u meta mark set %2$u return\n"                                               \
    "    meta mark %2$u ct mark set %2$u return\n"                                                 \
    "    tcp flags & (syn|ack) == syn ct mark %2$u ct mark set 0 return\n"                         \
    "    ct mark %2$u meta mark set %2$u\n"                                                        \
    "  }\n"                                                                                        \
    "  chain p {\n"                                                                                \
    "    type filter hook prerouting priority mangle;\n"                                           \
    "    iif 1 meta mark %2$u tcp flags & (syn|ack) == syn fib daddr type != local tproxy to "     \
    ":%5$u accept\n"                                                                               \
    "  }\n"                                                                                        \
    "  chain n {\n"                                                                                \
    "    type nat hook postrouting priority 90;\n"                                                 \
    "    oif %4$u meta nfproto ipv4 tcp flags & (syn|ack) == syn fib saddr . oif type local snat " \
    "ip to ip saddr\n"                                                                             \
    "    oif %4$u meta nfproto ipv6 tcp flags & (syn|ack) == syn fib saddr . oif type local snat " \
    "ip6 to ip6 saddr\n"                                                                           \
    "  }\n"                                                                                        \
    "}\n"

/* Adding what may be there and deleting it is how to replace a table in one transaction (nft(8)). The flags of one that is
 * there may not change (EOPNOTSUPP: nf_tables_updtable()). Costs 1.5 ms, so it is not for the first time. */
#define RULES_REPLACE_TEXT "table inet sallyport { %s }\ndelete table inet sallyport\n"

/* The few functions of libnftables(3) we use. It is opened only when wanted: with its libraries it is 0.3 MiB of private
 * memory in each of our processes, and a millisecond of start-up, that a helper without the fast path saves. */
typedef struct RulesLibrary {
    void *handle;
    __typeof__(nft_ctx_new) *ctx_new;
    __typeof__(nft_ctx_free) *ctx_free;
    __typeof__(nft_ctx_buffer_error) *buffer_error;
    __typeof__(nft_ctx_get_error_buffer) *get_error;
    __typeof__(nft_run_cmd_from_buffer) *run;
} RulesLibrary;

struct Rules {
    unsigned ifindex;
    bool ipv6;
    int claim;
    Rtnl *rtnl;
    char sysctl_before;
    RulesLibrary nft;
    struct nft_ctx *ctx; /* owns the table where the kernel knows owners (Linux 5.12) */
    bool loaded;
    const char *flags; /* of the table in place, else empty */
};

static bool rules_claim(Rules *rules, GError **error)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t len = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(RULES_CLAIM);

    memcpy(name.sun_path + 1, RULES_CLAIM, strlen(RULES_CLAIM));
    rules->claim = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (rules->claim < 0 || bind(rules->claim, (const struct sockaddr *)&name, len) < 0) {
        fault_set(error, FAULT_FAST_PATH, errno, "%s",
                  errno == EADDRINUSE ? "another helper has the fast path of this network namespace"
                                      : g_strerror(errno));
        return false;
    }
    return true;
}

/* @value is one character, and the previous one comes back in @ret_before. False with errno set. */
static bool rules_sysctl(char value, char *ret_before)
{
    FD_AUTO fd = open(RULES_SYSCTL, O_RDWR | O_CLOEXEC | O_NOCTTY);

    if (fd < 0 || (ret_before != NULL && pread(fd, ret_before, 1, 0) != 1)) {
        return false;
    }
    return pwrite(fd, &value, 1, 0) == 1;
}

static int rules_route_family(const Rules *rules, sa_family_t family, bool there)
{
    int failed = rtnl_local_route(rules->rtnl, family, rules->ifindex, RULES_TABLE, there);

    /* Taking away goes on whatever happens: the route may have gone with its interface. */
    return failed != 0 && there
               ? failed
               : rtnl_mark_rule(rules->rtnl, family, RULES_MARK, RULES_TABLE, there);
}

static bool rules_route(const Rules *rules, GError **error)
{
    int failed = rules_route_family(rules, AF_INET, true);

    if (failed == 0 && rules->ipv6) {
        failed = rules_route_family(rules, AF_INET6, true);
    }
    if (failed != 0) {
        fault_set(error, FAULT_FAST_PATH, -failed, "policy routing in the guest: %s",
                  g_strerror(-failed));
    }
    return failed == 0;
}

Rules *rules_new(const char *ifname, unsigned ifindex, bool ipv6, GError **error)
{
    g_autoptr(Rules) rules = g_new0(Rules, 1);

    rules->flags = "";
    rules->ifindex = ifindex;
    rules->ipv6 = ipv6;
    if (!rules_claim(rules, error)) {
        return NULL;
    }
    rules->rtnl = rtnl_new();
    if (rules->rtnl == NULL) {
        fault_set(error, FAULT_FAST_PATH, errno, "rtnetlink: %s", g_strerror(errno));
        return NULL;
    }
    if (!rules_sysctl('1', &rules->sysctl_before)) {
        fault_set(error, FAULT_FAST_PATH, errno, RULES_SYSCTL ": %s", g_strerror(errno));
        return NULL;
    }
    if (!rules_route(rules, error)) {
        g_prefix_error(error, "%s: ", ifname);
        return NULL;
    }
    return g_steal_pointer(&rules);
}

void *rules_preload(void *unused)
{
    (void)unused;
    return dlopen(RULES_LIBRARY, RTLD_NOW | RTLD_LOCAL);
}

static bool rules_open_library(RulesLibrary *nft, GError **error)
{
    if (nft->handle != NULL) {
        return true;
    }
    nft->handle = dlopen(RULES_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (nft->handle == NULL) {
        fault_set(error, FAULT_FAST_PATH, ENOENT, "%s", dlerror());
        return false;
    }
    *(void **)&nft->ctx_new = dlsym(nft->handle, "nft_ctx_new");
    *(void **)&nft->ctx_free = dlsym(nft->handle, "nft_ctx_free");
    *(void **)&nft->buffer_error = dlsym(nft->handle, "nft_ctx_buffer_error");
    *(void **)&nft->get_error = dlsym(nft->handle, "nft_ctx_get_error_buffer");
    *(void **)&nft->run = dlsym(nft->handle, "nft_run_cmd_from_buffer");
    if (nft->ctx_new == NULL || nft->ctx_free == NULL || nft->buffer_error == NULL ||
        nft->get_error == NULL || nft->run == NULL) {
        fault_set(error, FAULT_FAST_PATH, ENOENT, RULES_LIBRARY " lacks a function");
        return false;
    }
    return true;
}

static bool rules_open(Rules *rules, GError **error)
{
    /* libnftables ends the whole process if it gets no socket (src/mnl.c: nft_mnl_socket_open() of 1.0.6): ask first. */
    FD_AUTO probe = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

    if (rules->ctx != NULL) {
        return true;
    }
    if (probe < 0) {
        fault_set(error, FAULT_FAST_PATH, errno, "the kernel has no nf_tables: %s",
                  g_strerror(errno));
        return false;
    }
    if (!rules_open_library(&rules->nft, error)) {
        return false;
    }
    rules->ctx = rules->nft.ctx_new(NFT_CTX_DEFAULT);
    if (rules->ctx == NULL || rules->nft.buffer_error(rules->ctx) != 0) {
        fault_set(error, FAULT_FAST_PATH, ENOMEM, "libnftables: no context");
        return false;
    }
    return true;
}

static bool rules_run(Rules *rules, bool replace, const char *flags, uint16_t port)
{
    g_autofree char *before =
        replace ? g_strdup_printf(RULES_REPLACE_TEXT, rules->flags) : g_strdup("");
    g_autofree char *table = g_strdup_printf(RULES_TEXT, flags, RULES_MARK, RULES_MARK_INJECT,
                                             rules->ifindex, (unsigned)port);
    g_autofree char *text = g_strconcat(before, table, NULL);

    if (rules->nft.run(rules->ctx, text) != 0) {
        return false;
    }
    rules->loaded = true;
    rules->flags = flags;
    return true;
}

bool rules_load(Rules *rules, uint16_t port, GError **error)
{
    if (!rules_route(rules, error) || !rules_open(rules, error)) {
        return false;
    }
    /* In this order: nothing is there; what a killed helper left, or our own; a kernel without owners. */
    if ((rules->loaded || !rules_run(rules, false, "flags owner;", port)) &&
        !rules_run(rules, true, "flags owner;", port) && !rules_run(rules, true, "", port)) {
        const char *said = rules->nft.get_error(rules->ctx);
        g_autofree char *line =
            g_strndup(said, strcspn(said, "\n")); /* the rest quotes our own rules */

        fault_set(error, FAULT_FAST_PATH, EOPNOTSUPP, "nftables: %s", line);
        return false;
    }
    return true;
}

bool rules_loaded(const Rules *rules)
{
    return rules->loaded;
}

void rules_free(Rules *rules)
{
    if (rules == NULL) {
        return;
    }
    if (rules->ctx != NULL) {
        if (rules->loaded) {
            (void)rules->nft.run(rules->ctx, "delete table inet sallyport");
        }
        rules->nft.ctx_free(rules->ctx);
    }
    if (rules->rtnl != NULL) {
        (void)rules_route_family(rules, AF_INET, false);
        if (rules->ipv6) {
            (void)rules_route_family(rules, AF_INET6, false);
        }
        if (rules->sysctl_before != 0) {
            (void)rules_sysctl(rules->sysctl_before, NULL);
        }
        rtnl_free(rules->rtnl);
    }
    if (rules->nft.handle != NULL) {
        (void)dlclose(rules->nft.handle);
    }
    fd_close(rules->claim);
    g_free(rules);
}
