/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_LINK_H
#define SALLYPORT_DATAPATH_LINK_H

#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "pcap.h"

typedef struct Link Link;

/**
 * struct LinkHooks - who gets the frames; copied
 * @frame: one frame from the guest; the buffer may be changed and is good until the call returns
 * @gone:  the interface was deleted; called once, no frame follows
 */
typedef struct LinkHooks {
    void (*frame)(uint8_t *frame, size_t len, void *user_data);
    void (*gone)(void *user_data);
    void *user_data;
} LinkHooks;

/* @take_fd: a non-blocking TAP; closed by link_free(). */
Link *link_new(int take_fd, GMainContext *context, const LinkHooks *hooks);
void link_free(Link *link);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Link, link_free)

/* One frame to the guest. Never blocks and never fails: what the interface does not take (down, no memory) is counted. */
void link_send(Link *link, const void *frame, size_t len);

/* Shows all frames from now on to @pcap, which is borrowed. */
void link_set_pcap(Link *link, Pcap *pcap);

/* Frames since start. @dropped: of those to the guest. */
typedef struct LinkCounters {
    uint64_t from_guest;
    uint64_t to_guest;
    uint64_t dropped;
} LinkCounters;

const LinkCounters *link_counters(const Link *link);

#endif
