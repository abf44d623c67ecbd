/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_GUESTSOCK_H
#define SALLYPORT_DATAPATH_GUESTSOCK_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "../message.h"
#include "../netaddr.h"

/* Sockets in the guest's network namespace, made by the process that lives there. */
typedef struct GuestSock GuestSock;

/* @fd: connected (UDP) or connecting (TCP), non-blocking, the callee's; or -errno: ECONNREFUSED, ENETUNREACH, EMFILE... */
typedef void (*GuestSockFunc)(int fd, void *user_data);

/* What takeover works with has come; the fds are the callee's. */
typedef void (*GuestSockFastPathFunc)(const MessageFastPath *message, const int *take_fds,
                                      size_t count, void *user_data);

/* @take_sock: the connection to the process inside; @fast_path gets each MESSAGE_FAST_PATH. */
GuestSock *guestsock_new(int take_sock, GMainContext *context, GuestSockFastPathFunc fast_path,
                         void *user_data);
/* Requests under way are forgotten without a call. */
void guestsock_free(GuestSock *gs);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GuestSock, guestsock_free)

/* Asks for what the fast path needs. False: it could not be asked now. */
bool guestsock_repair(GuestSock *gs, MessageRepairWhat what);

/* @request: copied; type and id are filled in. The callback is called once, later, from the loop. Returns an id for
 * guestsock_cancel(), never 0. */
uint64_t guestsock_request(GuestSock *gs, const MessageSocketRequest *request, GuestSockFunc done,
                           void *user_data);
/* The callback will not be called; the socket, if it still comes, is closed. 0 is no request. */
void guestsock_cancel(GuestSock *gs, uint64_t id);

/* Sockets so far whose source is not quite what was asked for: the client's address with another port; the gateway. */
typedef struct GuestSockCounters {
    uint64_t other_port;
    uint64_t as_gateway;
} GuestSockCounters;

const GuestSockCounters *guestsock_counters(const GuestSock *gs);

#endif
