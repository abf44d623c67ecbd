/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_CONTROL_API_H
#define SALLYPORT_CONTROL_API_H

#include "clients.h"
#include "commands.h"

/* The server of slirp4netns's API socket: add_hostfwd, list_hostfwd and remove_hostfwd. */
typedef struct Api Api;

/* @parts: borrowed, complete before the first client is served. */
Api *api_new(GMainContext *context, const CommandParts *parts);
void api_free(Api *api);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Api, api_free)

/* Where its clients come from; owned by it. */
Clients *api_clients(Api *api);

#endif
