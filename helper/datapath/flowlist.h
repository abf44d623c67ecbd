/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_FLOWLIST_H
#define SALLYPORT_DATAPATH_FLOWLIST_H

#include <stdbool.h>
#include <stdint.h>

#include "../flowrecord.h"
#include "../stats.h"
#include "flow.h"

/* What each room with flows has for those who ask which there are. */

/* False: it was not taken, because there is no room for it. */
typedef bool (*FlowListFunc)(const FlowRecord *record, void *user_data);

/**
 * struct FlowList - one page being written
 * @places: to be looked at, at most, in the room and those after it; those looked at are taken off
 */
typedef struct FlowList {
    FlowListFunc func;
    void *user_data;
    unsigned places;
} FlowList;

/* One flow of a table: fills in what it knows of @ret, which begins with key, age and bytes of the flow as they stand there. */
typedef void (*FlowListFill)(const Flow *flow, FlowRecord *ret, void *fill_data);

/* flow_table_page(), record by record. A key's local end is taken for the guest's, its remote one for the guest's peer. */
uint32_t flowlist_page(const FlowTable *table, uint32_t place, FlowList *list, FlowListFill fill,
                       void *fill_data);

/* Own address and peer of a socket, IPv4 as such; AF_UNSPEC for what it has not, or no more. */
void flowlist_names(int fd, FlowAddr *ret_local, FlowAddr *ret_remote);

#endif
