/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ctl_rates.c - bytes a second, from two listings of flows
 *
 * Does:     remembers flows by their addresses, subtracts, sorts. Pure functions of their arguments.
 */
#include "config.h"

#include "control/ctl_rates.h"

#include <string.h>

struct CtlListing {
    int64_t taken_us;
    GPtrArray *flows;  /* of CtlFlow */
    GHashTable *known; /* key -> CtlFlow, borrowed from @flows */
    GStringChunk *strings;
};

CtlListing *ctl_listing_new(int64_t taken_us)
{
    CtlListing *listing = g_new0(CtlListing, 1);

    listing->taken_us = taken_us;
    listing->flows = g_ptr_array_new_with_free_func(g_free);
    listing->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    listing->strings = g_string_chunk_new(4096);
    return listing;
}

void ctl_listing_free(CtlListing *listing)
{
    if (listing == NULL) {
        return;
    }
    g_hash_table_unref(listing->known);
    g_ptr_array_unref(listing->flows);
    g_string_chunk_free(listing->strings);
    g_free(listing);
}

/* No part of it has a newline that matters: a mistaken match costs a wrong rate. */
static char *listing_key(const SallyportFlow *flow)
{
    return g_strjoin("\n", flow->path, flow->protocol, flow->guest_local, flow->guest_remote,
                     flow->host_local != NULL ? flow->host_local : "",
                     flow->host_remote != NULL ? flow->host_remote : "", NULL);
}

static const char *listing_string(CtlListing *listing, const char *text)
{
    return text != NULL ? g_string_chunk_insert_const(listing->strings, text) : NULL;
}

void ctl_listing_add(CtlListing *listing, const SallyportFlow *flow)
{
    char *key = listing_key(flow);
    CtlFlow *own = g_hash_table_lookup(listing->known, key);

    if (own == NULL) {
        own = g_new0(CtlFlow, 1);
        g_ptr_array_add(listing->flows, own);
        g_hash_table_insert(listing->known, key, own);
    } else {
        g_free(key);
    }
    own->flow = (SallyportFlow){
        .path = listing_string(listing, flow->path),
        .protocol = listing_string(listing, flow->protocol),
        .state = listing_string(listing, flow->state),
        .guest_local = listing_string(listing, flow->guest_local),
        .guest_remote = listing_string(listing, flow->guest_remote),
        .host_local = listing_string(listing, flow->host_local),
        .host_remote = listing_string(listing, flow->host_remote),
        .bytes_in = flow->bytes_in,
        .bytes_out = flow->bytes_out,
        .age_ms = flow->age_ms,
    };
}

static uint64_t listing_rate(uint64_t bytes, int64_t over_us)
{
    return over_us > 0 ? (uint64_t)((double)bytes * G_USEC_PER_SEC / (double)over_us) : 0;
}

static int listing_compare(const void *a, const void *b)
{
    const CtlFlow *left = *(const CtlFlow *const *)a;
    const CtlFlow *right = *(const CtlFlow *const *)b;
    uint64_t left_rate = left->rate_in + left->rate_out;
    uint64_t right_rate = right->rate_in + right->rate_out;
    uint64_t left_bytes = left->flow.bytes_in + left->flow.bytes_out;
    uint64_t right_bytes = right->flow.bytes_in + right->flow.bytes_out;

    if (left_rate != right_rate) {
        return left_rate > right_rate ? -1 : 1;
    }
    if (left_bytes != right_bytes) {
        return left_bytes > right_bytes ? -1 : 1;
    }
    return strcmp(left->flow.guest_local, right->flow.guest_local);
}

void ctl_listing_rate(CtlListing *listing, const CtlListing *before)
{
    int64_t elapsed_us = listing->taken_us - before->taken_us;

    for (guint i = 0; i < listing->flows->len; i++) {
        CtlFlow *now = g_ptr_array_index(listing->flows, i);
        g_autofree char *key = listing_key(&now->flow);
        const CtlFlow *past = g_hash_table_lookup(before->known, key);
        int64_t over_us = elapsed_us;
        uint64_t in = now->flow.bytes_in, out = now->flow.bytes_out;

        if (past != NULL && past->flow.age_ms <= now->flow.age_ms && past->flow.bytes_in <= in &&
            past->flow.bytes_out <= out) {
            in -= past->flow.bytes_in;
            out -= past->flow.bytes_out;
        } else if (now->flow.age_ms > elapsed_us / 1000) {
            over_us = MIN(now->flow.age_ms, INT64_MAX / 1000) * 1000;
        }
        now->rate_in = listing_rate(in, over_us);
        now->rate_out = listing_rate(out, over_us);
    }
    g_ptr_array_sort(listing->flows, listing_compare);
}

size_t ctl_listing_count(const CtlListing *listing)
{
    return listing->flows->len;
}

const CtlFlow *ctl_listing_at(const CtlListing *listing, size_t index)
{
    return g_ptr_array_index(listing->flows, index);
}

void ctl_listing_total(const CtlListing *listing, uint64_t *ret_rate_in, uint64_t *ret_rate_out)
{
    *ret_rate_in = 0;
    *ret_rate_out = 0;
    for (guint i = 0; i < listing->flows->len; i++) {
        const CtlFlow *flow = g_ptr_array_index(listing->flows, i);

        *ret_rate_in += flow->rate_in;
        *ret_rate_out += flow->rate_out;
    }
}
