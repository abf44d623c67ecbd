/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_RATE_H
#define SALLYPORT_RATE_H

#include <stdbool.h>
#include <stdint.h>

/* So many in any one second, wherever it begins. */
#define RATE_MAX 10

/* Zeroed: nothing has been yet. */
typedef struct Rate {
    int64_t past_us[RATE_MAX]; /* a ring of the last ones; 0: never */
    unsigned next;
} Rate;

/**
 * rate_admits() - may one more be, now
 * @rate:   remembers it if it may
 * @most:   1 to RATE_MAX: so many in a second, those of other callers among them
 * @now_us: g_get_monotonic_time()
 */
bool rate_admits(Rate *rate, unsigned most, int64_t now_us);

#endif
