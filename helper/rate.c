/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rate.c - no more than so many in a second
 *
 * Does:     remembers when the last ones were. Exact in every second: a bucket that fills up again would let twice as many through
 *           around the turn of a second.
 * Runs in:  any process; a pure function of its arguments.
 */
#include "config.h"

#include "rate.h"

#include <glib.h>

bool rate_admits(Rate *rate, unsigned most, int64_t now_us)
{
    int64_t before;

    g_return_val_if_fail(most > 0 && most <= RATE_MAX, false);
    before = rate->past_us[(rate->next + RATE_MAX - most) % RATE_MAX];
    if (before != 0 && now_us - before < G_USEC_PER_SEC) {
        return false;
    }
    rate->past_us[rate->next] = now_us;
    rate->next = (rate->next + 1) % RATE_MAX;
    return true;
}
