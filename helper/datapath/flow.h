/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_FLOW_H
#define SALLYPORT_DATAPATH_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "../netaddr.h"

/**
 * struct FlowKey - what a flow is found by; flow_key() makes one with all padding zero
 * @owner: tells apart what has the same addresses: a listener's number, an ICMP id
 */
typedef struct FlowKey {
    NetAddr remote;
    NetAddr local;
    uint16_t remote_port;
    uint16_t local_port;
    uint32_t owner;
} FlowKey;

typedef struct FlowTable FlowTable;
typedef struct FlowClass FlowClass;

/**
 * struct Flow - one flow; the first member of what the owner keeps of it
 * @born_us, @last_us: g_get_monotonic_time() of insertion and of the last flow_touch()
 * @bytes_in, @bytes_out: towards the guest and from it; kept by the owner
 *
 * The other fields are the table's own.
 */
typedef struct Flow {
    FlowKey key;
    int64_t born_us;
    int64_t last_us;
    uint64_t bytes_in;
    uint64_t bytes_out;
    FlowClass *class;
    GList link;
    uint32_t place;
} Flow;

typedef enum FlowEnd {
    FLOW_END_IDLE,
    FLOW_END_EVICTED,
    FLOW_END_TABLE, /* the table is being freed */
} FlowEnd;

/* The flow is out of the table already; the owner frees it. Must not insert into the same table. */
typedef void (*FlowEndFunc)(Flow *flow, FlowEnd why, void *user_data);

/* When it was last used (g_get_monotonic_time()), if that is seen elsewhere than by flow_touch(). */
typedef int64_t (*FlowSeenFunc)(const Flow *flow);

/* @max: flows at most; inserting one more ends the one that was idle longest. Nothing is armed while the table is empty
 * or holds only flows that never idle out. */
FlowTable *flow_table_new(GMainContext *context, unsigned max, FlowEndFunc ended, void *user_data);
void flow_table_free(FlowTable *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FlowTable, flow_table_free)

/* Ports in host byte order. */
FlowKey flow_key(const NetAddr *remote, uint16_t remote_port, const NetAddr *local,
                 uint16_t local_port, uint32_t owner);

Flow *flow_table_lookup(const FlowTable *table, const FlowKey *key);
/* @flow->key must be set and not be in the table. @idle_us: 0 means it never idles out. */
void flow_table_insert(FlowTable *table, Flow *flow, int64_t idle_us);
void flow_table_remove(FlowTable *table, Flow *flow);
void flow_touch(FlowTable *table, Flow *flow);
void flow_set_idle(FlowTable *table, Flow *flow, int64_t idle_us);
/* From now on the owner is asked before a flow ends for being idle. */
void flow_table_set_seen(FlowTable *table, FlowSeenFunc seen);
/* Calls @func for each flow; it must not change the table. Within one timeout in order of their last use. */
void flow_table_each(const FlowTable *table, void (*func)(Flow *flow, void *user_data),
                     void *user_data);

/* Past the last place there can be. */
#define FLOW_PLACE_END UINT32_MAX

/* False: it was not taken, because there is no room for it; it comes first in the next page. */
typedef bool (*FlowPageFunc)(Flow *flow, void *user_data);

/**
 * flow_table_page() - some of the flows, in a bounded time
 * @place:  0, or what the page before returned
 * @places: to be looked at, at most; each holds one flow or none
 *
 * A flow keeps its place for as long as it lives. So whatever begins and ends between the pages, one that lives from the first
 * to the last comes exactly once; one that does not, once at most. Returns where the next page begins; FLOW_PLACE_END: there is none.
 */
uint32_t flow_table_page(const FlowTable *table, uint32_t place, unsigned places, FlowPageFunc func,
                         void *user_data);

/* Where the last place in use ends. */
uint32_t flow_table_places(const FlowTable *table);

unsigned flow_table_count(const FlowTable *table);
uint64_t flow_table_evicted(const FlowTable *table);

#endif
