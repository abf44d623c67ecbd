/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_SKIPS_H
#define SALLYPORT_DATAPATH_SKIPS_H

#include <stdbool.h>

#include <glib.h>

#include "../netaddr.h"

/* Destinations that are not taken over for a minute, because the guest's kernel did not take the last connection to them. */
typedef struct Skips Skips;

Skips *skips_new(GMainContext *context);
void skips_free(Skips *skips);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Skips, skips_free)

void skips_add(Skips *skips, const NetAddr *addr);
bool skips_has(const Skips *skips, const NetAddr *addr);

#endif
