/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * skips.c - destinations that takeover leaves to libslirp for a while
 *
 * Runs in:  the datapath, on the loop thread.
 * Limits:   SKIPS_MAX; the oldest is forgotten first.
 */
#include "config.h"

#include "skips.h"

#include "flow.h"

#define SKIPS_MAX 1024
#define SKIPS_US  (60 * G_USEC_PER_SEC)

struct Skips {
    FlowTable *flows;
};

static void skips_ended(Flow *flow, FlowEnd why, void *user_data)
{
    (void)why;
    (void)user_data;
    g_free(flow);
}

static FlowKey skips_key(const NetAddr *addr)
{
    NetAddr nobody = {.family = addr->family};

    return flow_key(addr, 0, &nobody, 0, 0);
}

Skips *skips_new(GMainContext *context)
{
    Skips *skips = g_new0(Skips, 1);

    skips->flows = flow_table_new(context, SKIPS_MAX, skips_ended, skips);
    return skips;
}

void skips_free(Skips *skips)
{
    if (skips == NULL) {
        return;
    }
    flow_table_free(skips->flows);
    g_free(skips);
}

void skips_add(Skips *skips, const NetAddr *addr)
{
    Flow *flow;

    if (skips_has(skips, addr)) {
        return;
    }
    flow = g_new0(Flow, 1);
    flow->key = skips_key(addr);
    flow_table_insert(skips->flows, flow, SKIPS_US);
}

bool skips_has(const Skips *skips, const NetAddr *addr)
{
    FlowKey key = skips_key(addr);

    return flow_table_lookup(skips->flows, &key) != NULL;
}
