/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_ROUTER_H
#define SALLYPORT_DATAPATH_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "../settings.h"

/* The router of a guest that configures its IPv6 by itself. */
typedef struct Router Router;

/* @frame: borrowed for the call. */
typedef void (*RouterSend)(const uint8_t *frame, size_t len, void *user_data);

/**
 * router_new() - advertise the gateway, from now on every ten minutes, to all nodes
 * @settings: read, not kept
 *
 * Return: NULL unless the guest has IPv6 and may configure itself; the functions below take that
 */
Router *router_new(GMainContext *context, const Settings *settings, RouterSend send,
                   void *user_data);
void router_free(Router *router);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Router, router_free)

/* The answer to a solicitation, at once. */
void router_solicited(Router *router);

#endif
