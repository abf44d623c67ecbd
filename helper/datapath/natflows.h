/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_NATFLOWS_H
#define SALLYPORT_DATAPATH_NATFLOWS_H

#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "flowlist.h"
#include "frame.h"

/* What libslirp carries: a TCP connection, or a UDP source of the guest's with all it talks to. */
typedef struct NatFlows NatFlows;

NatFlows *natflows_new(GMainContext *context);
void natflows_free(NatFlows *flows);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NatFlows, natflows_free)

/* libslirp has made a socket, because of that frame of the guest; or is about to close one. NatHooks.opened, .closed. */
void natflows_opened(NatFlows *flows, int fd, const FrameView *view);
void natflows_closed(NatFlows *flows, int fd);

/* A frame on its way to libslirp, and one from it, before its addresses are changed. */
void natflows_from_guest(NatFlows *flows, const FrameView *view);
void natflows_to_guest(NatFlows *flows, const uint8_t *frame, size_t len);

/* See flow_table_page(). The guest's peer of a UDP source is the one it wrote to last. */
uint32_t natflows_page(const NatFlows *flows, uint32_t place, FlowList *list);

/* @protocol: IPPROTO_TCP or IPPROTO_UDP. */
FlowTotal natflows_total(const NatFlows *flows, uint8_t protocol);

#endif
