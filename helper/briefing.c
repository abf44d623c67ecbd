/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * briefing.c - what the datapath is told of the host
 *
 * Does:     sends the addresses of the host's interfaces and its name servers, at start and when they change, and opens the
 *           loopback listeners of DNS over TCP.
 * Runs in:  the supervisor.
 * Limits:   however often something changes while the datapath is busy, nothing is queued for it twice: the last list is what counts.
 * Not here: how addresses (hostaddr.c) and name servers (resolvconf.c) are watched.
 */
#include "config.h"

#include "briefing.h"

#include <string.h>

#include "bindport.h"
#include "fault.h"
#include "fd.h"
#include "hostaddr.h"
#include "message.h"
#include "resolvconf.h"

struct Briefing {
    const Settings *settings;
    const Child *datapath;
    GMainContext *context;
    Report *report;
    BriefingSendFunc send;
    void *user_data;
    HostAddr *hostaddr;
    ResolvConf *resolvconf; /* NULL: --dns-upstream, or none at all */
    bool begun;
    /* Since the datapath fell behind. */
    bool addresses_changed;
    bool servers_changed;
};

static void briefing_send_addresses(Briefing *briefing)
{
    size_t count;
    const NetAddr *addrs = hostaddr_list(briefing->hostaddr, &count);
    size_t done = 0;

    do {
        MessageAddresses part = {.type = MESSAGE_HOST_ADDRESSES, .first = done == 0};

        part.count = (uint32_t)MIN(count - done, MESSAGE_ADDRS_MAX);
        memcpy(part.addrs, addrs + done, part.count * sizeof(NetAddr));
        done += part.count;
        part.last = done == count;
        briefing->send(&part, sizeof(part), NULL, 0, briefing->user_data);
    } while (done < count);
}

static void briefing_send_servers(Briefing *briefing, const NetAddr *servers, size_t count)
{
    MessageServers message = {.type = MESSAGE_DNS_SERVERS};

    message.count = (uint32_t)MIN(count, G_N_ELEMENTS(message.addrs));
    memcpy(message.addrs, servers, message.count * sizeof(NetAddr));
    briefing->send(&message, sizeof(message), NULL, 0, briefing->user_data);
}

static void briefing_addresses_changed(void *user_data)
{
    Briefing *briefing = user_data;

    if (briefing->begun && child_is_behind(briefing->datapath)) {
        briefing->addresses_changed = true;
    } else if (briefing->begun) {
        briefing_send_addresses(briefing);
    }
}

static void briefing_servers_changed(const NetAddr *servers, size_t count, void *user_data)
{
    Briefing *briefing = user_data;

    if (child_is_behind(briefing->datapath)) {
        briefing->servers_changed = true;
    } else {
        briefing_send_servers(briefing, servers, count);
    }
}

void briefing_renew(Briefing *briefing)
{
    NetAddr servers[RESOLVCONF_SERVERS_MAX];

    if (briefing->addresses_changed) {
        briefing->addresses_changed = false;
        briefing_send_addresses(briefing);
    }
    if (briefing->servers_changed) {
        briefing->servers_changed = false;
        briefing_send_servers(briefing, servers, resolvconf_servers(briefing->resolvconf, servers));
    }
}

/* Without IPv6 on the host there is no listener for it, and the gate refuses that port. */
static void briefing_send_listener(Briefing *briefing, sa_family_t family)
{
    MessageDnsListener message = {.type = MESSAGE_DNS_LISTENER, .family = family};
    int fd = bindport_open_loopback(family);

    if (fd < 0) {
        report_log(briefing->report, LOG_LEVEL_INFO, FAULT_RESOLVER, -fd,
                   "no DNS over TCP for %s guests: %s", family == AF_INET ? "IPv4" : "IPv6",
                   g_strerror(-fd));
        return;
    }
    message.port = bindport_port(fd);
    briefing->send(&message, sizeof(message), &fd, 1, briefing->user_data);
    fd_close(fd);
}

static bool briefing_begin_dns(Briefing *briefing, bool ipv6, GError **error)
{
    const GArray *upstream = briefing->settings->dns_upstream;
    NetAddr servers[RESOLVCONF_SERVERS_MAX];
    size_t count = upstream->len;

    if (count > 0) {
        memcpy(servers, upstream->data, count * sizeof(NetAddr));
    } else {
        briefing->resolvconf = resolvconf_new(briefing->settings->resolv_conf, briefing->context,
                                              briefing_servers_changed, briefing, error);
        if (briefing->resolvconf == NULL) {
            return false;
        }
        count = resolvconf_servers(briefing->resolvconf, servers);
        if (count == 0) {
            report_log(briefing->report, LOG_LEVEL_WARNING, FAULT_RESOLVER, 0,
                       "%s names no name server; queries fail until it does",
                       briefing->settings->resolv_conf);
        }
    }
    briefing_send_servers(briefing, servers, count);
    briefing_send_listener(briefing, AF_INET);
    if (ipv6) {
        briefing_send_listener(briefing, AF_INET6);
    }
    return true;
}

bool briefing_begin(Briefing *briefing, bool ipv6, GError **error)
{
    briefing->begun = true;
    briefing_send_addresses(briefing);
    return !briefing->settings->dns || briefing_begin_dns(briefing, ipv6, error);
}

Briefing *briefing_new(const Settings *settings, const Child *datapath, GMainContext *context,
                       Report *report, BriefingSendFunc send, void *user_data, GError **error)
{
    g_autoptr(Briefing) briefing = g_new0(Briefing, 1);

    *briefing = (Briefing){.settings = settings,
                           .datapath = datapath,
                           .context = context,
                           .report = report,
                           .send = send,
                           .user_data = user_data};
    briefing->hostaddr = hostaddr_new(context, briefing_addresses_changed, briefing, error);
    return briefing->hostaddr == NULL ? NULL : g_steal_pointer(&briefing);
}

void briefing_free(Briefing *briefing)
{
    if (briefing == NULL) {
        return;
    }
    hostaddr_free(briefing->hostaddr);
    resolvconf_free(briefing->resolvconf);
    g_free(briefing);
}
