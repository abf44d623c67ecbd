/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_MENDER_H
#define SALLYPORT_DATAPATH_MENDER_H

#include <stdbool.h>

#include <glib.h>

#include "takeover.h"

/* What the guest's root can destroy of the fast path, and when to ask for it again. */
typedef struct Mender Mender;

/* @hooks: repair and note are called; borrowed. Begins without a listener, and asks for nothing. */
Mender *mender_new(GMainContext *context, const TakeoverHooks *hooks);
void mender_free(Mender *mender);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Mender, mender_free)

/* Both are as they must be. */
bool mender_sound(const Mender *mender);

/* Asks for the rules, at most once in 10 s. */
void mender_rules_gone(Mender *mender);
/* Asks for a new listener, at most once a second and five times in all; then the fast path stays off. */
void mender_listener_gone(Mender *mender);
/* What was asked for has come (@done), or could not be made; @listener: there is one. */
void mender_answered(Mender *mender, bool done, bool listener);

#endif
