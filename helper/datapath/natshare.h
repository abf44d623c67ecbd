/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_NATSHARE_H
#define SALLYPORT_DATAPATH_NATSHARE_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "frame.h"
#include "nat.h"

/* libslirp's share of the process's fds: it has no limit of its own. */
typedef struct NatShare NatShare;

/* @nat: borrowed. @max: sockets at most; UDP sources get half of them. */
NatShare *natshare_new(GMainContext *context, const Nat *nat, unsigned max);
void natshare_free(NatShare *share);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NatShare, natshare_free)

/* May libslirp see this frame? What makes no socket always may; so may a UDP source it holds a socket for already. To be asked of
 * every frame, wherever it goes: the gateway and the name server cost a socket too. */
bool natshare_admits(NatShare *share, const FrameView *view);
/* How often the answer was no. */
uint64_t natshare_refused(const NatShare *share);

#endif
