/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_TAKEOVER_GUEST_H
#define SALLYPORT_DATAPATH_TAKEOVER_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../message.h"
#include "flow.h"
#include "frame.h"

/**
 * struct TakeoverGuest - the guest's half of takeover: sockets in its namespace
 * @fds:       by MessageFastPathFd; -1: not there
 * @hop_limit: with which packets of the guest's own leave: IPv4, IPv6
 * @ifindex:   of the TAP, there
 * @diag:      the guest's kernel answers what is asked of its sockets
 */
typedef struct TakeoverGuest {
    int fds[FAST_PATH_FDS];
    uint8_t hop_limit[2];
    unsigned ifindex;
    bool diag;
} TakeoverGuest;

void takeover_guest_init(TakeoverGuest *guest);
void takeover_guest_clear(TakeoverGuest *guest);

/* Takes the fds of a MESSAGE_FAST_PATH, as far as they are wanted; others are closed. */
void takeover_guest_equip(TakeoverGuest *guest, const MessageFastPath *message, const int *take_fds,
                          size_t count);

/* The hop limit that tells a re-injected SYN from the guest's own; and an IP packet that gets it. */
uint8_t takeover_guest_inject_hop_limit(const TakeoverGuest *guest, sa_family_t family);
void takeover_guest_mark(const TakeoverGuest *guest, uint8_t *packet, sa_family_t family);

/* Ethernet, IPv6 and the largest TCP header. */
#define TAKEOVER_SYN_MAX (14 + 40 + 60)

/* Is it a SYN of the guest's own stack, as far as the frame says, and nothing that only libslirp can do? */
bool takeover_guest_fits(const TakeoverGuest *guest, const FrameView *view);

/* A whole IP packet through the raw socket of its family; @first: FAST_PATH_INJECT4 or FAST_PATH_RETURN4. 0 or -errno. */
int takeover_guest_send(const TakeoverGuest *guest, MessageFastPathFd first, const uint8_t *packet,
                        size_t len, const NetAddr *to);

/* Is the address one of the guest's own namespace? Forwarded traffic of a bridge inside is not, and could not be answered
 * there. */
bool takeover_guest_is_local(const TakeoverGuest *guest, const NetAddr *addr);

/* What has become of a socket of the guest's that sent a SYN. */
typedef enum TakeoverCaller {
    TAKEOVER_CALLER_UNKNOWN, /* the kernel does not say */
    TAKEOVER_CALLER_GONE,
    TAKEOVER_CALLER_WAITS,    /* for the answer to its SYN */
    TAKEOVER_CALLER_CONNECTED /* by the listener: it waits to be accepted */
} TakeoverCaller;

/* @key: local is the guest's end. */
TakeoverCaller takeover_guest_caller(const TakeoverGuest *guest, const FlowKey *key);

#endif
