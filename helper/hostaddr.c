/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * hostaddr.c - which addresses are the host's own
 *
 * Does:     dumps all addresses; dumps them again after each notice, or after notices were lost.
 * Runs in:  the supervisor: the datapath may not make netlink sockets.
 * Why so:   a whole new list is right even when the kernel dropped notices (ENOBUFS); addresses change seldom.
 */
#include "config.h"

#include "hostaddr.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#include <glib-unix.h>
#include <libmnl/libmnl.h>

#include "fault.h"

struct HostAddr {
    struct mnl_socket *notices;
    GSource *source;
    GArray *addrs; /* NetAddr */
    HostAddrFunc changed;
    void *user_data;
};

static int hostaddr_attribute(const struct nlattr *attr, void *data)
{
    const struct nlattr **found = data;
    uint16_t type = mnl_attr_get_type(attr);

    /* Of a point-to-point link IFA_ADDRESS is the peer's: IFA_LOCAL wins. */
    if (type == IFA_LOCAL || (type == IFA_ADDRESS && *found == NULL)) {
        *found = attr;
    }
    return MNL_CB_OK;
}

static int hostaddr_message(const struct nlmsghdr *header, void *data)
{
    GArray *addrs = data;
    const struct ifaddrmsg *info = mnl_nlmsg_get_payload(header);
    const struct nlattr *found = NULL;
    NetAddr addr;
    size_t len;

    if (header->nlmsg_type != RTM_NEWADDR ||
        (info->ifa_family != AF_INET && info->ifa_family != AF_INET6)) {
        return MNL_CB_OK;
    }
    len = info->ifa_family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr);
    if (mnl_attr_parse(header, sizeof(*info), hostaddr_attribute, &found) < 0 || found == NULL ||
        mnl_attr_get_payload_len(found) < len) {
        return MNL_CB_OK;
    }
    addr = netaddr_from_bytes(info->ifa_family, mnl_attr_get_payload(found));
    g_array_append_val(addrs, addr);
    return MNL_CB_OK;
}

/* 0 or -errno. */
static int hostaddr_dump_into(struct mnl_socket *socket, GArray *addrs)
{
    g_autofree char *buffer =
        g_malloc(32768); /* the size the kernel fills at most (libmnl: MNL_SOCKET_DUMP_SIZE) */
    struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
    struct ifaddrmsg *info;
    int more = MNL_CB_OK;

    header->nlmsg_type = RTM_GETADDR;
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    header->nlmsg_seq = 1;
    info = mnl_nlmsg_put_extra_header(header, sizeof(*info));
    info->ifa_family = AF_UNSPEC;
    if (mnl_socket_sendto(socket, header, header->nlmsg_len) < 0) {
        return -errno;
    }
    while (more == MNL_CB_OK) {
        ssize_t len = mnl_socket_recvfrom(socket, buffer, 32768);

        if (len < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        more = mnl_cb_run(buffer, (size_t)len, 1, mnl_socket_get_portid(socket), hostaddr_message,
                          addrs);
    }
    return more < 0 ? -errno : 0;
}

static int hostaddr_read(HostAddr *hostaddr)
{
    int failed = -EINTR;

    /* NLM_F_DUMP_INTR: the list changed under the dump; libmnl says EINTR. A busy host is asked a few times. */
    for (unsigned tries = 0; tries < 5 && failed == -EINTR; tries++) {
        struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
        g_autoptr(GArray) addrs = g_array_new(FALSE, FALSE, sizeof(NetAddr));

        if (socket == NULL) {
            return -errno;
        }
        failed = mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0
                     ? -errno
                     : hostaddr_dump_into(socket, addrs);
        (void)mnl_socket_close(socket);
        if (failed == 0 || failed == -EINTR) {
            g_array_unref(hostaddr->addrs);
            hostaddr->addrs = g_steal_pointer(&addrs);
        }
    }
    return failed;
}

static gboolean hostaddr_notice(gint fd, GIOCondition condition, gpointer user_data)
{
    HostAddr *hostaddr = user_data;
    char buffer[8192];
    int failed;

    (void)condition;
    /* What they say does not matter, nor does ENOBUFS. */
    while (recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT) >= 0 || errno == ENOBUFS) {
    }
    failed = hostaddr_read(hostaddr);
    if (failed == 0 || failed == -EINTR) {
        hostaddr->changed(hostaddr->user_data);
    }
    return G_SOURCE_CONTINUE;
}

HostAddr *hostaddr_new(GMainContext *context, HostAddrFunc changed, void *user_data, GError **error)
{
    g_autoptr(HostAddr) hostaddr = g_new0(HostAddr, 1);
    int failed;

    hostaddr->changed = changed;
    hostaddr->user_data = user_data;
    hostaddr->addrs = g_array_new(FALSE, FALSE, sizeof(NetAddr));
    /* Listening begins before the first list is read, so that no change falls between. */
    hostaddr->notices = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (hostaddr->notices == NULL ||
        mnl_socket_bind(hostaddr->notices, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR,
                        MNL_SOCKET_AUTOPID) < 0) {
        fault_set(error, FAULT_INTERNAL, errno, "watching the host's addresses: %s",
                  g_strerror(errno));
        return NULL;
    }
    failed = hostaddr_read(hostaddr);
    if (failed != 0 &&
        failed !=
            -EINTR) { /* EINTR: it changes all the time, the last list will do until the notice */
        fault_set(error, FAULT_INTERNAL, -failed, "reading the host's addresses: %s",
                  g_strerror(-failed));
        return NULL;
    }
    hostaddr->source = g_unix_fd_source_new(mnl_socket_get_fd(hostaddr->notices), G_IO_IN);
    g_source_set_callback(hostaddr->source, G_SOURCE_FUNC(hostaddr_notice), hostaddr, NULL);
    g_source_attach(hostaddr->source, context);
    return g_steal_pointer(&hostaddr);
}

void hostaddr_free(HostAddr *hostaddr)
{
    if (hostaddr == NULL) {
        return;
    }
    if (hostaddr->source != NULL) {
        g_source_destroy(hostaddr->source);
        g_source_unref(hostaddr->source);
    }
    if (hostaddr->notices != NULL) {
        (void)mnl_socket_close(hostaddr->notices);
    }
    g_array_unref(hostaddr->addrs);
    g_free(hostaddr);
}

const NetAddr *hostaddr_list(const HostAddr *hostaddr, size_t *ret_count)
{
    *ret_count = hostaddr->addrs->len;
    return (const NetAddr *)(const void *)hostaddr->addrs->data;
}
