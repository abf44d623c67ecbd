/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_DNS_TCP_H
#define SALLYPORT_DATAPATH_DNS_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "../netaddr.h"
#include "dns.h"
#include "poller.h"

/* Internal to dns.c and dns_tcp.c. */

/* One connection of the guest: silence allowed. */
#define DNS_TCP_IDLE_US (10 * 1000 * 1000)
/* Time one server is given to connect and answer before the next one is asked. */
#define DNS_TCP_SERVER_TIMEOUT_US (3 * 1000 * 1000)
#define DNS_TCP_CONNECTIONS_MAX   64

/**
 * struct DnsServers - a list of servers, never changed once made; shared by g_rc_box_acquire()
 * @port: where each of them is asked, host byte order
 */
typedef struct DnsServers {
    uint16_t port;
    size_t count;
    NetAddr addr[DNS_SERVERS_MAX];
} DnsServers;

/* Is @error (positive errno) a lack of fds or memory, which asking another server would not cure? */
bool dns_error_is_local(int error);
/* A fresh id from getrandom(2). False if the kernel has none to give. */
bool dns_random_id(uint16_t *ret_id);
/* A non-blocking socket of @type (SOCK_DGRAM, SOCK_STREAM) connected or connecting to server @index; -errno on failure. */
int dns_connect(const DnsServers *servers, size_t index, int type);

typedef struct DnsTcp DnsTcp;

/* @hooks is copied; @servers is the first list, on which a reference is taken. */
DnsTcp *dns_tcp_new(Poller *poller, GMainContext *context, const DnsHooks *hooks,
                    DnsServers *servers);
void dns_tcp_free(DnsTcp *tcp);
/* For queries to come; takes a reference. */
void dns_tcp_set_servers(DnsTcp *tcp, DnsServers *servers);
/* See dns_add_listener(). */
bool dns_tcp_add_listener(DnsTcp *tcp, int take_fd, GError **error);
uint64_t dns_tcp_dropped(const DnsTcp *tcp);

#endif
