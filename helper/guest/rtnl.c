/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rtnl.c - rtnetlink requests: links, addresses, routes
 *
 * Does:     builds one request, sends it, waits for its acknowledgement.
 * Runs in:  inside, in the guest's network namespace, before ready and to mend the routing. Blocks as long as the kernel takes.
 * Trusts:   the kernel's answers.
 */
#include "config.h"

#include "rtnl.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <libmnl/libmnl.h>

#define RTNL_WAIT_STEP_US 100
/* Before any rule that a guest is likely to have of its own (ip-rule(8): those without a priority end at 32765). */
#define RTNL_RULE_PRIORITY 100

struct Rtnl {
    struct mnl_socket *socket;
    unsigned seq;
    char
        buffer[8192]; /* requests of ours stay below 200 bytes; the kernel fills a page of a dump */
};

Rtnl *rtnl_new(void)
{
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    Rtnl *rtnl;

    if (socket == NULL) {
        return NULL;
    }
    if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
        int saved = errno;

        (void)mnl_socket_close(socket);
        errno = saved;
        return NULL;
    }
    rtnl = g_new0(Rtnl, 1);
    rtnl->socket = socket;
    return rtnl;
}

void rtnl_free(Rtnl *rtnl)
{
    if (rtnl == NULL) {
        return;
    }
    (void)mnl_socket_close(rtnl->socket);
    g_free(rtnl);
}

static struct nlmsghdr *rtnl_begin(Rtnl *rtnl, uint16_t type, uint16_t flags)
{
    struct nlmsghdr *header = mnl_nlmsg_put_header(rtnl->buffer);

    header->nlmsg_type = type;
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    header->nlmsg_seq = ++rtnl->seq;
    return header;
}

/* @each (optional) sees every message of the answer. */
static int rtnl_talk_each(Rtnl *rtnl, struct nlmsghdr *header, mnl_cb_t each, void *data)
{
    unsigned port = mnl_socket_get_portid(rtnl->socket);

    if (mnl_socket_sendto(rtnl->socket, header, header->nlmsg_len) < 0) {
        return -errno;
    }
    for (;;) {
        ssize_t len = mnl_socket_recvfrom(rtnl->socket, rtnl->buffer, sizeof(rtnl->buffer));
        int done;

        if (len < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        /* An error in an acknowledgement comes back as errno. */
        done = mnl_cb_run(rtnl->buffer, (size_t)len, rtnl->seq, port, each, data);
        if (done < 0) {
            return -errno;
        }
        if (done == MNL_CB_STOP) {
            return 0;
        }
    }
}

static int rtnl_talk(Rtnl *rtnl, struct nlmsghdr *header)
{
    return rtnl_talk_each(rtnl, header, NULL, NULL);
}

int rtnl_link_up(Rtnl *rtnl, unsigned ifindex, unsigned mtu, const uint8_t *mac)
{
    struct nlmsghdr *header = rtnl_begin(rtnl, RTM_NEWLINK, 0);
    struct ifinfomsg *info = mnl_nlmsg_put_extra_header(header, sizeof(*info));

    info->ifi_index = (int)ifindex;
    info->ifi_flags = IFF_UP;
    info->ifi_change = IFF_UP;
    if (mtu != 0) {
        mnl_attr_put_u32(header, IFLA_MTU, mtu);
    }
    if (mac != NULL) {
        mnl_attr_put(header, IFLA_ADDRESS, 6, mac);
    }
    return rtnl_talk(rtnl, header);
}

static int rtnl_see_link(const struct nlmsghdr *header, void *data)
{
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(header);
    bool *up = data;

    if (header->nlmsg_type == RTM_NEWLINK) {
        *up = (info->ifi_flags & IFF_UP) != 0;
    }
    return MNL_CB_OK;
}

int rtnl_link_is_up(Rtnl *rtnl, unsigned ifindex, bool *ret)
{
    struct nlmsghdr *header = rtnl_begin(rtnl, RTM_GETLINK, 0);
    struct ifinfomsg *info = mnl_nlmsg_put_extra_header(header, sizeof(*info));

    info->ifi_index = (int)ifindex;
    *ret = false;
    return rtnl_talk_each(rtnl, header, rtnl_see_link, ret);
}

static void rtnl_put_addr(struct nlmsghdr *header, uint16_t type, const NetAddr *addr)
{
    if (addr->family == AF_INET) {
        mnl_attr_put(header, type, sizeof(addr->v4), &addr->v4);
    } else {
        mnl_attr_put(header, type, sizeof(addr->v6), &addr->v6);
    }
}

int rtnl_address_add(Rtnl *rtnl, unsigned ifindex, const NetAddr *addr, uint8_t prefix)
{
    struct nlmsghdr *header = rtnl_begin(rtnl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
    struct ifaddrmsg *info = mnl_nlmsg_put_extra_header(header, sizeof(*info));
    int error;

    info->ifa_family = (uint8_t)addr->family;
    info->ifa_prefixlen = prefix;
    info->ifa_flags = addr->family == AF_INET6 ? IFA_F_NODAD | IFA_F_PERMANENT : IFA_F_PERMANENT;
    info->ifa_index = ifindex;
    rtnl_put_addr(header, IFA_LOCAL, addr);
    rtnl_put_addr(header, IFA_ADDRESS, addr);
    if (addr->family == AF_INET) {
        struct in_addr broadcast = {addr->v4.s_addr | htonl(0xffffffffU >> prefix)};

        mnl_attr_put(header, IFA_BROADCAST, sizeof(broadcast), &broadcast);
    }
    error = rtnl_talk(rtnl, header);
    return error == -EEXIST ? 0 : error;
}

int rtnl_default_route_add(Rtnl *rtnl, unsigned ifindex, const NetAddr *gateway)
{
    struct nlmsghdr *header = rtnl_begin(rtnl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
    struct rtmsg *route = mnl_nlmsg_put_extra_header(header, sizeof(*route));

    route->rtm_family = (uint8_t)gateway->family;
    route->rtm_table = RT_TABLE_MAIN;
    route->rtm_protocol = RTPROT_BOOT;
    route->rtm_scope = RT_SCOPE_UNIVERSE;
    route->rtm_type = RTN_UNICAST;
    rtnl_put_addr(header, RTA_GATEWAY, gateway);
    mnl_attr_put_u32(header, RTA_OIF, ifindex);
    return rtnl_talk(rtnl, header);
}

int rtnl_neighbour_add(Rtnl *rtnl, unsigned ifindex, const NetAddr *addr, const uint8_t *mac)
{
    struct nlmsghdr *header = rtnl_begin(rtnl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
    struct ndmsg *neighbour = mnl_nlmsg_put_extra_header(header, sizeof(*neighbour));

    neighbour->ndm_family = (uint8_t)addr->family;
    neighbour->ndm_ifindex = (int)ifindex;
    neighbour->ndm_state = NUD_PERMANENT;
    rtnl_put_addr(header, NDA_DST, addr);
    mnl_attr_put(header, NDA_LLADDR, 6, mac);
    return rtnl_talk(rtnl, header);
}

int rtnl_mark_rule(Rtnl *rtnl, sa_family_t family, uint32_t mark, uint32_t table, bool there,
                   bool *ret_was_there)
{
    struct nlmsghdr *header =
        rtnl_begin(rtnl, there ? RTM_NEWRULE : RTM_DELRULE, there ? NLM_F_CREATE | NLM_F_EXCL : 0);
    struct fib_rule_hdr *rule = mnl_nlmsg_put_extra_header(header, sizeof(*rule));
    int error;

    rule->family = (uint8_t)family;
    rule->action = FR_ACT_TO_TBL;
    mnl_attr_put_u32(header, FRA_PRIORITY, RTNL_RULE_PRIORITY);
    mnl_attr_put_u32(header, FRA_FWMARK, mark);
    mnl_attr_put_u32(header, FRA_FWMASK, UINT32_MAX);
    mnl_attr_put_u32(header, FRA_TABLE, table);
    error = rtnl_talk(rtnl, header);
    if (there && error == -EEXIST && ret_was_there != NULL) {
        *ret_was_there = true;
    }
    return error == (there ? -EEXIST : -ENOENT) ? 0 : error;
}

int rtnl_local_route(Rtnl *rtnl, sa_family_t family, unsigned ifindex, uint32_t table, bool there)
{
    struct nlmsghdr *header = rtnl_begin(rtnl, there ? RTM_NEWROUTE : RTM_DELROUTE,
                                         there ? NLM_F_CREATE | NLM_F_REPLACE : 0);
    struct rtmsg *route = mnl_nlmsg_put_extra_header(header, sizeof(*route));
    int error;

    route->rtm_family = (uint8_t)family;
    route->rtm_table = RT_TABLE_UNSPEC;
    route->rtm_protocol = RTPROT_BOOT;
    route->rtm_scope = family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
    route->rtm_type = RTN_LOCAL;
    mnl_attr_put_u32(header, RTA_TABLE, table);
    mnl_attr_put_u32(header, RTA_OIF, ifindex);
    error = rtnl_talk(rtnl, header);
    return !there && error == -ESRCH ? 0 : error;
}

static int rtnl_see_route(const struct nlmsghdr *header, void *data)
{
    const struct rtmsg *route = mnl_nlmsg_get_payload(header);
    bool *is_local = data;

    if (header->nlmsg_type == RTM_NEWROUTE) {
        *is_local = route->rtm_type == RTN_LOCAL;
    }
    return MNL_CB_OK;
}

static int rtnl_is_local(Rtnl *rtnl, const NetAddr *addr, bool *ret)
{
    struct nlmsghdr *header = rtnl_begin(rtnl, RTM_GETROUTE, 0);
    struct rtmsg *route = mnl_nlmsg_put_extra_header(header, sizeof(*route));

    route->rtm_family = (uint8_t)addr->family;
    route->rtm_dst_len = 128;
    rtnl_put_addr(header, RTA_DST, addr);
    return rtnl_talk_each(rtnl, header, rtnl_see_route, ret);
}

typedef struct RtnlTentative {
    unsigned ifindex;
    bool found;
} RtnlTentative;

static int rtnl_see_address(const struct nlmsghdr *header, void *data)
{
    const struct ifaddrmsg *info = mnl_nlmsg_get_payload(header);
    RtnlTentative *tentative = data;

    if (header->nlmsg_type == RTM_NEWADDR && info->ifa_index == tentative->ifindex &&
        (info->ifa_flags & IFA_F_TENTATIVE) != 0) {
        tentative->found = true;
    }
    return MNL_CB_OK;
}

static int rtnl_has_tentative(Rtnl *rtnl, unsigned ifindex, bool *ret)
{
    struct nlmsghdr *header = rtnl_begin(rtnl, RTM_GETADDR, NLM_F_DUMP);
    struct ifaddrmsg *info = mnl_nlmsg_put_extra_header(header, sizeof(*info));
    RtnlTentative tentative = {.ifindex = ifindex};
    int error;

    /* A dump ends with NLMSG_DONE; an acknowledgement besides would be read as the next answer. */
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    info->ifa_family = AF_INET6;
    error = rtnl_talk_each(rtnl, header, rtnl_see_address, &tentative);
    *ret = tentative.found;
    return error;
}

int rtnl_address_wait(Rtnl *rtnl, unsigned ifindex, const NetAddr *addr, int timeout_ms)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;

    for (;;) {
        bool local = false;
        bool tentative = true;
        int error = rtnl_is_local(rtnl, addr, &local);

        if (error == 0 && local) {
            error = rtnl_has_tentative(rtnl, ifindex, &tentative);
        }
        if (error != 0 || (local && !tentative)) {
            return error == -EINTR ? 0 : error;
        }
        if (g_get_monotonic_time() > deadline) {
            return -ETIMEDOUT;
        }
        /* There is no event for it: the notice of a new address is sent before its route is there. */
        g_usleep(RTNL_WAIT_STEP_US);
    }
}
