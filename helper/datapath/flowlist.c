/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * flowlist.c - flows as those see them who ask
 *
 * Does:     makes one record of each flow of a table, page by page.
 * Runs in:  the datapath, on the loop thread.
 * Cost:     a page is bounded by the places looked at, not by what there is; names of sockets are asked for only when listed.
 */
#include "config.h"

#include "flowlist.h"

#include <string.h>
#include <sys/socket.h>

static void flowlist_name(const struct sockaddr_storage *sa, FlowAddr *ret)
{
    NetAddr addr;

    if (netaddr_from_sockaddr((const struct sockaddr *)sa, &addr, &ret->port)) {
        ret->addr = netaddr_unmap(&addr);
    }
}

void flowlist_names(int fd, FlowAddr *ret_local, FlowAddr *ret_remote)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);

    if (getsockname(fd, (struct sockaddr *)&sa, &len) == 0) {
        flowlist_name(&sa, ret_local);
    }
    len = sizeof(sa);
    if (getpeername(fd, (struct sockaddr *)&sa, &len) == 0) {
        flowlist_name(&sa, ret_remote);
    }
}

typedef struct FlowListPage {
    FlowList *list;
    FlowListFill fill;
    void *fill_data;
    int64_t now_us;
} FlowListPage;

/* FlowPageFunc */
static bool flowlist_one(Flow *flow, void *user_data)
{
    const FlowListPage *page = user_data;
    FlowRecord record;

    memset(&record, 0, sizeof(record)); /* padding too: it goes to another process */
    record.guest_local.addr = flow->key.local;
    record.guest_local.port = flow->key.local_port;
    record.guest_remote.addr = flow->key.remote;
    record.guest_remote.port = flow->key.remote_port;
    record.bytes_in = flow->bytes_in;
    record.bytes_out = flow->bytes_out;
    record.age_ms = (uint64_t)(page->now_us - flow->born_us) / 1000;
    page->fill(flow, &record, page->fill_data);
    return page->list->func(&record, page->list->user_data);
}

uint32_t flowlist_page(const FlowTable *table, uint32_t place, FlowList *list, FlowListFill fill,
                       void *fill_data)
{
    FlowListPage page = {list, fill, fill_data, g_get_monotonic_time()};
    uint32_t next = flow_table_page(table, place, list->places, flowlist_one, &page);
    uint32_t looked = (next == FLOW_PLACE_END ? flow_table_places(table) : next) - place;

    list->places -= MIN(looked, list->places);
    return next;
}
