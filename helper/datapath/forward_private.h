/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_FORWARD_PRIVATE_H
#define SALLYPORT_DATAPATH_FORWARD_PRIVATE_H

#include "forward.h"

#include "flow.h"
#include "poller.h"

/* Shared by forward.c (registry), forward_tcp.c and forward_udp.c. */

/* What listeners of one -p share. @flows: connections or UDP clients now. @removed: the listeners are being closed, the first
 * @closed are; what refers to it then is its flows, and it goes with the last one. @parked: TCP listeners (Listener) that are not looked at until one of its connections
 * ends, because it holds its share. */
typedef struct Publication {
    uint32_t id;
    uint32_t max; /* 0: none of its own */
    unsigned flows;
    bool removed;
    bool removing; /* and that is not all done yet */
    guint closed;
    GPtrArray *listeners; /* Listener */
    GPtrArray *parked;
} Publication;

/* One listening socket. */
typedef struct Listener {
    Forward *forward;
    Publication *publication;
    int fd;
    PollerWatch watch;
    uint32_t number; /* unique: part of UDP flow keys */
    uint16_t host_port;
    uint16_t guest_port;
    bool udp;
    int64_t idle_us;    /* -1: the protocol's default */
    NetAddr guest_addr; /* AF_UNSPEC: the guest's own */
    MessageSource source;
} Listener;

typedef struct ForwardTcp ForwardTcp;
typedef struct ForwardUdp ForwardUdp;

struct Forward {
    ForwardConfig config;
    GuestSock *gs;
    Relays *relays;
    GHashTable *publications;
    ForwardTcp *tcp;
    ForwardUdp *udp;
    ForwardCounters counters;
    uint32_t next_number; /* of the next listener */
};

/*
 * The guest addresses to try for a client of @family, in order: the one given by the publication, or the guest's own of the
 * client's family and then of the other. Returns how many were written (0 to 2).
 */
unsigned forward_guest_addresses(const Forward *forward, const Listener *listener,
                                 sa_family_t family, NetAddr ret[2]);

/* Did this process or the host run out of fds? Then the other family would fare no better. */
bool forward_out_of_fds(int errnum);
/* Own address and peer of a socket in the guest, and their ports. False if it has no peer any more. */
bool forward_socket_names(int fd, NetAddr ret_ends[2], uint16_t ret_ports[2]);

ForwardTcp *forward_tcp_new(Forward *forward, GMainContext *context, GError **error);
void forward_tcp_free(ForwardTcp *tcp);
int forward_tcp_listen(ForwardTcp *tcp, Listener *listener);
void forward_tcp_unlisten(ForwardTcp *tcp, Listener *listener);
/* Resets connections of a publication, @max at most. True: there are no more. */
bool forward_tcp_cut(ForwardTcp *tcp, const Publication *publication, unsigned max);

void forward_tcp_room(ForwardTcp *tcp);

ForwardUdp *forward_udp_new(Forward *forward, GMainContext *context, GError **error);
void forward_udp_free(ForwardUdp *udp);
int forward_udp_listen(ForwardUdp *udp, Listener *listener);
void forward_udp_unlisten(ForwardUdp *udp, Listener *listener);
/* Ends flows of a publication, @max at most. True: there are no more. */
bool forward_udp_cut(ForwardUdp *udp, const Publication *publication, unsigned max);

/* A flow of @publication has ended. Frees it if it was the last one of a removed publication. */
void forward_release(Forward *forward, Publication *publication);
/* Stops looking at a listener; it stays in the registry. */
void forward_unwatch(Forward *forward, Listener *listener);
/* A listening socket that is none any more (SOCK_DESTROY of ss(8)): unwatched, and said. */
void forward_listener_lost(Listener *listener, int errnum);
bool forward_udp_owns(const ForwardUdp *udp, const FlowKey *key);

#endif
