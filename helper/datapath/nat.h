/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_NAT_H
#define SALLYPORT_DATAPATH_NAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "../settings.h"
#include "frame.h"

/*
 * The one adapter to libslirp. What its header does not say (read in 4.7.0):
 * - the callback table and the outbound addresses are kept by pointer, strings are copied;
 * - clock_get_ns is in ns, timer_mod in absolute ms, the timeout of slirp_pollfds_fill() in relative ms;
 * - that timeout never leaves above 1000: 1000 means that nothing is due;
 * - its notion of now is one process-wide variable, renewed by slirp_pollfds_poll() alone;
 * - ports are host-order int, addresses network-order.
 */
typedef struct Nat Nat;

/**
 * struct NatHooks - copied
 * @send:   one frame to the guest, borrowed for the call
 * @log:    a message libslirp has about the guest
 * @opened: (optional) a new socket, and what the frame of the guest says that it was made for
 * @closed: (optional) a socket that is about to be closed, @opened or not
 */
typedef struct NatHooks {
    void (*send)(const uint8_t *frame, size_t len, void *user_data);
    void (*log)(const char *message, void *user_data);
    void (*opened)(int fd, const FrameView *view, void *user_data);
    void (*closed)(int fd, void *user_data);
    void *user_data;
} NatHooks;

/* @settings is read, not kept; @mtu of the guest's interface; @ipv6: the guest has IPv6. NULL with @error set. */
Nat *nat_new(const Settings *settings, unsigned mtu, bool ipv6, GMainContext *context,
             const NatHooks *hooks, GError **error);
void nat_free(Nat *nat);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Nat, nat_free)

/* One frame that the gate let through, and what it says. What libslirp closes for a RST, it closes with RST too, or a server would
 * take an aborted upload for a whole one. */
void nat_input(Nat *nat, const uint8_t *frame, size_t len, const FrameView *view);

/*
 * What libslirp is told of a connect(2) that failed with @errnum. When that is ECONNREFUSED, tcp_input() of libslirp 4.7.0 sends
 * the guest's SYN back as a RST and frees it, though it may still wait for the guest's link address, or be freed already. TCP
 * itself says EINPROGRESS first, of a closed port of the host's too (net/ipv4/af_inet.c: __inet_stream_connect() holds the socket's
 * lock); who refuses earlier is a filter of the host's (seccomp, BPF, an LSM). Then libslirp hears that it is under way.
 */
int nat_connect_errno(int errnum);

/* Sockets libslirp holds now. It has no limit of its own, and a TCP connection may cost 256 KiB. */
unsigned nat_sockets(const Nat *nat);

/* Has libslirp a socket with this local address, connected to a loopback port @to_port? Ports in host byte order. */
bool nat_owns_local(const Nat *nat, const NetAddr *local, uint16_t local_port, uint16_t to_port);

#endif
