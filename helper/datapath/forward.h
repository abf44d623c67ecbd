/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_FORWARD_H
#define SALLYPORT_DATAPATH_FORWARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "../message.h"
#include "frame.h"
#include "guestsock.h"
#include "relay.h"

typedef struct Forward Forward;

/**
 * struct ForwardConfig - copied
 * @guest, @guest6: the guest's own addresses; @guest6 AF_UNSPEC if it has no IPv6
 * @flows_max:      TCP connections at most, all relays counted; beyond that clients wait in the backlog
 * @udp_max:        UDP clients at most; beyond that the one idle longest is ended
 * @problem:        called with what an administrator should know: a limit reached, a listener lost; may be called often
 */
typedef struct ForwardConfig {
    NetAddr guest;
    NetAddr guest6;
    unsigned flows_max;
    unsigned udp_max;
    void (*problem)(const char *what, int errnum, void *user_data);
    void *user_data;
} ForwardConfig;

/* Published ports: listeners that the supervisor bound, joined to sockets in the guest's namespace. @gs and @relays are
 * borrowed. */
Forward *forward_new(GMainContext *context, GuestSock *gs, Relays *relays,
                     const ForwardConfig *config, GError **error);
void forward_free(Forward *forward);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Forward, forward_free)

/* Takes the fds of one MESSAGE_LISTEN. 0, or -errno: then all of them are closed. */
int forward_add(Forward *forward, const MessageListen *listen, const int *take_fds, size_t count);

/**
 * forward_remove() - close the listeners of a publication, a piece at a time so that no packet waits for it
 * @publication_id: its number; one that is not there is none to remove
 * @cut:            reset its TCP connections, those that are not joined yet included; else they go on until they end
 *
 * UDP clients are forgotten in any case: replies can only leave by the listener.
 *
 * Return: true when no listener is open; false: to be called again
 */
bool forward_remove(Forward *forward, uint32_t publication_id, bool cut);

/* A relay of somebody else's has ended: clients that wait may have room. */
void forward_room(Forward *forward);

/* Is this UDP packet of the guest for a client that a socket in the guest shows by its own address? */
bool forward_owns(const Forward *forward, const FrameView *view);

/* Counters since start. @refused: connections and datagrams whose guest port was closed. */
typedef struct ForwardCounters {
    uint64_t accepted;
    uint64_t refused;
    uint64_t over_limit;
    uint64_t udp_flows;
    uint64_t udp_dropped;
} ForwardCounters;

const ForwardCounters *forward_counters(const Forward *forward);

/* UDP clients: a page of them (flow_table_page()), and all there ever were. */
uint32_t forward_udp_page(const Forward *forward, uint32_t place, FlowList *list);
FlowTotal forward_udp_total(const Forward *forward);

#endif
