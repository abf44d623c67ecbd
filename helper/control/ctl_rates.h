/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_CTL_RATES_H
#define SALLYPORT_CTL_RATES_H

#include <stdint.h>

#include <glib.h>

#include "sallyport.h"

/* @flow: its strings live as long as the listing. @rate_in, @rate_out: bytes a second; 0 before ctl_listing_rate() */
typedef struct CtlFlow {
    SallyportFlow flow;
    uint64_t rate_in;
    uint64_t rate_out;
} CtlFlow;

/* All flows at one time. */
typedef struct CtlListing CtlListing;

/* @taken_us: when; monotonic microseconds */
CtlListing *ctl_listing_new(int64_t taken_us);
void ctl_listing_free(CtlListing *listing);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CtlListing, ctl_listing_free)

/* Copies @flow. Of two that cannot be told apart the later one stays: a flow may move to a later page while they are read. */
void ctl_listing_add(CtlListing *listing, const SallyportFlow *flow);

/* Works out the rates since @before and puts the fastest first. A flow that is not in @before, or was another one of the same
 * addresses there, has moved all its bytes since then, or over its age if that is longer. */
void ctl_listing_rate(CtlListing *listing, const CtlListing *before);

size_t ctl_listing_count(const CtlListing *listing);
const CtlFlow *ctl_listing_at(const CtlListing *listing, size_t index);
/* Sums of all flows. */
void ctl_listing_total(const CtlListing *listing, uint64_t *ret_rate_in, uint64_t *ret_rate_out);

#endif
