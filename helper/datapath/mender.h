/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_MENDER_H
#define SALLYPORT_DATAPATH_MENDER_H

#include <stdbool.h>

#include <glib.h>

#include "takeover.h"

/* What the fast path needs in the guest: when to ask for it, and again, for the guest's root can destroy it. */
typedef struct Mender Mender;

/* @hooks: repair and note are called; borrowed. Begins without a listener, and asks for nothing. */
Mender *mender_new(GMainContext *context, const TakeoverHooks *hooks);
void mender_free(Mender *mender);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Mender, mender_free)

/* Nothing is known to be missing. The rules may still have to be loaded. */
bool mender_sound(const Mender *mender);

/* The same, when a connection has come. If rules could not be loaded because an interface of the guest's was not up, they are asked for
 * again, for the next one. */
bool mender_try(Mender *mender);

/* Asks for the rules, the first time. True: they are there. */
bool mender_load(Mender *mender);

/* Asks for the rules, at most once in 10 s. */
void mender_rules_gone(Mender *mender);
/* Asks for a new listener, at most once a second and five times in all; then the fast path stays off. */
void mender_listener_gone(Mender *mender);
/* What was asked for has come (@errnum 0), or could not be made; at start, what there is. @loaded: the rules were put into the
 * guest; @listener: there is one. ENETDOWN: not before the guest's interfaces are up. */
void mender_answered(Mender *mender, int errnum, bool loaded, bool listener);

#endif
