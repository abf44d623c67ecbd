/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_BRIEFING_H
#define SALLYPORT_BRIEFING_H

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

#include "children.h"
#include "report.h"
#include "settings.h"

/* What the datapath is told of the host: the addresses of its interfaces, its name servers, and each change of them. */
typedef struct Briefing Briefing;

/* One message for the datapath; @fds stay the caller's. */
typedef void (*BriefingSendFunc)(const void *message, size_t size, const int *fds, size_t count,
                                 void *user_data);

/* Begins to watch the host, and says nothing yet. All pointers are borrowed; @datapath is only asked whether it is behind. NULL with
 * @error set. */
Briefing *briefing_new(const Settings *settings, const Child *datapath, GMainContext *context,
                       Report *report, BriefingSendFunc send, void *user_data, GError **error);
void briefing_free(Briefing *briefing);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Briefing, briefing_free)

/* All of it, for the first time; from now on changes too. @ipv6: the guest has IPv6. False with @error set. */
bool briefing_begin(Briefing *briefing, bool ipv6, GError **error);

/* The datapath has caught up: it gets what has changed meanwhile. */
void briefing_renew(Briefing *briefing);

#endif
