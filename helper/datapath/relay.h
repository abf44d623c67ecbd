/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_RELAY_H
#define SALLYPORT_DATAPATH_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "flow.h"
#include "flowlist.h"

/*
 * Joins pairs of connected TCP sockets. Bytes are moved by worker threads; everything here is called on the loop thread, and
 * calls back there.
 */
typedef struct Relays Relays;

/* A relay has ended: both its sockets are closed, or reset and about to be. */
typedef void (*RelayEndFunc)(void *relay_data, void *user_data);

/* Whose relay it is; compared by address, and must outlive its relays. */
typedef struct RelayOwner {
    RelayEndFunc ended;
    void *user_data;
} RelayOwner;

/**
 * relays_new() - makes the worker threads, which sleep until there is something to relay
 * @threads:   0: one for each core, at most 4
 * @pipes_max: pipes at most in use at once (256 in any case); beyond that bytes are copied
 *
 * To be called when the process has the rights it shall keep: credentials belong to a thread.
 */
Relays *relays_new(GMainContext *context, unsigned threads, unsigned pipes_max, GError **error);
/* Resets what is joined, calls nobody, and waits for the threads. */
void relays_free(Relays *relays);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Relays, relays_free)

/**
 * struct RelayPair - two sockets to be joined
 * @client:  host side, connected, non-blocking; consumed whatever happens
 * @guest:   guest side, likewise; how much the kernel queues on it is watched, because the guest's root sets its limits
 * @idle_us: end with RST after so long without a byte, 0: never
 * @owner:   is told of the end
 * @data:    given to the RelayEndFunc
 */
typedef struct RelayPair {
    int client;
    int guest;
    int64_t idle_us;
    const RelayOwner *owner;
    void *data;
} RelayPair;

/**
 * relays_join() - move bytes between two sockets until both sides are done
 * @key: what the flow is listed under; must be new
 *
 * FIN passes as FIN, RST as RST. Return: 0, or -errno (ENOMEM, ENOSPC of epoll): then both were reset and nobody is called.
 */
int relays_join(Relays *relays, const RelayPair *take_pair, const FlowKey *key);

/* The owner of the relay under that key, and its data; NULL if there is none. */
const RelayOwner *relays_lookup(const Relays *relays, const FlowKey *key, void **ret_data);
/* Resets both sockets of the relay under that key, if there is one, and tells its owner. Its addresses and ports are free when
 * this returns. */
void relays_reset(Relays *relays, const FlowKey *key);

/* The same for relays of @owner with that data, @max of them at most. Returns how many there were. */
unsigned relays_reset_some(Relays *relays, const RelayOwner *owner, const void *data, unsigned max);

unsigned relays_count(const Relays *relays);

/* A page of what there is (flow_table_page()); @path_of says whose a relay is. */
typedef FlowPath (*RelayPathFunc)(const RelayOwner *owner, void *path_data);
uint32_t relays_page(const Relays *relays, uint32_t place, FlowList *list, RelayPathFunc path_of,
                     void *path_data);

/* All relays, those that have ended included. */
FlowTotal relays_total(const Relays *relays);

/* Closes a TCP socket so that its peer sees RST (SO_LINGER with zero timeout, socket(7)). */
void relay_reset(int take_fd);

#endif
