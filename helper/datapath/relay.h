/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_RELAY_H
#define SALLYPORT_DATAPATH_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "flow.h"
#include "poller.h"

/* Joins pairs of connected TCP sockets. One object holds all relays of one thread. */
typedef struct Relays Relays;

/* A relay has ended and both its sockets are closed. */
typedef void (*RelayEndFunc)(void *relay_data, void *user_data);

/* @pipes_max: pipes at most in use at once (256 in any case); beyond that bytes are copied. */
Relays *relays_new(GMainContext *context, unsigned pipes_max, RelayEndFunc ended, void *user_data,
                   GError **error);
void relays_free(Relays *relays);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Relays, relays_free)

/**
 * relays_join() - move bytes between two sockets until both sides are done
 * @take_client: host side, connected, non-blocking; consumed whatever happens
 * @take_guest:  guest side, likewise
 * @key:         what the flow is listed under; must be new
 * @idle_us:     end with RST after so long without a byte, 0: never
 * @relay_data:  given to the RelayEndFunc
 *
 * FIN passes as FIN, RST as RST. Return: 0, or -errno (ENOMEM, ENOSPC of epoll): then both were reset and no RelayEndFunc is called.
 */
int relays_join(Relays *relays, int take_client, int take_guest, const FlowKey *key,
                int64_t idle_us, void *relay_data);

/* Is there a relay under that key? @ret_data: its relay_data. */
bool relays_lookup(const Relays *relays, const FlowKey *key, void **ret_data);
/* Resets both sockets of the relay under that key, if there is one. */
void relays_reset(Relays *relays, const FlowKey *key);

unsigned relays_count(const Relays *relays);

/* Closes a TCP socket so that its peer sees RST (SO_LINGER with zero timeout, socket(7)). */
void relay_reset(int take_fd);

#endif
