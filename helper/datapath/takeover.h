/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_TAKEOVER_H
#define SALLYPORT_DATAPATH_TAKEOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "../message.h"
#include "frame.h"
#include "relay.h"

/* The fast path: connect on the host first, then let the guest's own kernel carry the connection. */
typedef struct Takeover Takeover;

/**
 * struct TakeoverConfig - copied
 * @gateway:     IPv4, IPv6: where ICMP errors come from
 * @outbound:    IPv4, IPv6: source address of host sockets, AF_UNSPEC for the kernel's choice
 * @pending_max: connections at most that wait for the host or the guest; beyond that the oldest is given up
 * @flows_max:   connections at most, all relays counted; beyond that libslirp gets them
 */
typedef struct TakeoverConfig {
    NetAddr gateway[2];
    NetAddr outbound[2];
    unsigned pending_max;
    unsigned flows_max;
} TakeoverConfig;

typedef enum TakeoverNote {
    TAKEOVER_NOTE_LOST,      /* a part of it was destroyed: the parent should know */
    TAKEOVER_NOTE_OFF,       /* for good */
    TAKEOVER_NOTE_UNMATCHED, /* somebody in the guest tries something */
    TAKEOVER_NOTE_COUNT
} TakeoverNote;

/**
 * struct TakeoverHooks - copied
 * @send:   a frame to the guest
 * @nat:    a frame for libslirp after all
 * @repair: asks the process inside; false: it could not be asked now
 * @note:   may come often
 * @ended:  there is one relay less
 */
typedef struct TakeoverHooks {
    void (*send)(const uint8_t *frame, size_t len, void *user_data);
    void (*nat)(const uint8_t *frame, size_t len, void *user_data);
    bool (*repair)(MessageRepairWhat what, void *user_data);
    void (*note)(TakeoverNote about, const char *what, void *user_data);
    void (*ended)(void *user_data);
    void *user_data;
} TakeoverHooks;

/* @relays: for the joined connections; borrowed. NULL with @error set. Does nothing until takeover_equip(). */
Takeover *takeover_new(GMainContext *context, Relays *relays, const TakeoverConfig *config,
                       const TakeoverHooks *hooks, GError **error);
void takeover_free(Takeover *takeover);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Takeover, takeover_free)

/* Takes the fds of a MESSAGE_FAST_PATH: all of them, those that takeover_return() needs, or what a repair brought. */
void takeover_equip(Takeover *takeover, const MessageFastPath *message, const int *take_fds,
                    size_t count);

/* Asks for the rules, if they are not there: when all that "ready" waits for is done. */
void takeover_load(Takeover *takeover);

/* A SYN without ACK that the gate judged GATE_TCP_SYN. False: it is libslirp's. */
bool takeover_syn(Takeover *takeover, const uint8_t *frame, size_t len, const FrameView *view);

/* Any other TCP segment. True: it belongs to a connection that the guest's kernel carries, and was given back to it. */
bool takeover_segment(Takeover *takeover, const uint8_t *frame, const FrameView *view);

/* An IP packet of the guest back into its kernel, marked as the fast path's. For flows that others keep. */
void takeover_return(Takeover *takeover, const uint8_t *frame, const FrameView *view);

/**
 * struct TakeoverCounters - since start
 * @came_back: packets of ours seen on the TAP: the rules were gone
 * @skipped:   SYNs to destinations that are left to libslirp for a while; @over_limit: for want of room
 * @unmatched: accepted connections that no SYN of ours led to; they were reset
 */
typedef struct TakeoverCounters {
    uint64_t taken;
    uint64_t refused;
    uint64_t came_back;
    uint64_t not_accepted;
    uint64_t given_up;
    uint64_t skipped;
    uint64_t over_limit;
    uint64_t unmatched;
    uint64_t returned;
} TakeoverCounters;

const TakeoverCounters *takeover_counters(const Takeover *takeover);

/* Connections that are not joined yet: how many there are, and a page of them (flow_table_page()). */
unsigned takeover_pending(const Takeover *takeover);
uint32_t takeover_page(const Takeover *takeover, uint32_t place, FlowList *list);
/* Is a relay the fast path's? */
bool takeover_owns(const Takeover *takeover, const RelayOwner *owner);

#endif
