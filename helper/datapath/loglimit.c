/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * loglimit.c - what may come often is said seldom
 *
 * Does:     lets one line of a class through in so long, and of all classes together so many in a second; counts the others.
 * Runs in:  the datapath, on the loop thread.
 */
#include "config.h"

#include "loglimit.h"

#include <stdarg.h>

#include "../rate.h"

#define LOGLIMIT_INTERVAL_US (5 * G_USEC_PER_SEC)
/* In a second. The process inside says at most two more (INSIDE_REPAIR_US), and the supervisor writes RATE_MAX. What the guest
 * tries leaves room for what the parent should know. */
#define LOGLIMIT_LINES   8
#define LOGLIMIT_REFUSED 5

typedef struct LogLimitClass {
    int64_t last_us;
    uint64_t since; /* lines left out since */
} LogLimitClass;

struct LogLimit {
    LogLevel most;
    LogLimitFunc func;
    void *user_data;
    Rate rate;
    uint64_t left_out;
    unsigned count;
    LogLimitClass classes[];
};

LogLimit *loglimit_new(unsigned classes, LogLevel most, LogLimitFunc func, void *user_data)
{
    LogLimit *limit = g_malloc0(sizeof(LogLimit) + classes * sizeof(LogLimitClass));

    limit->most = most;
    limit->func = func;
    limit->user_data = user_data;
    limit->count = classes;
    return limit;
}

void loglimit_free(LogLimit *limit)
{
    g_free(limit);
}

void loglimit_set_most(LogLimit *limit, LogLevel most)
{
    limit->most = most;
}

bool loglimit_wants(const LogLimit *limit, LogLevel level)
{
    return level <= limit->most;
}

uint64_t loglimit_left_out(const LogLimit *limit)
{
    return limit->left_out;
}

void loglimit_say(LogLimit *limit, unsigned class, LogLevel level, FaultKind kind, int errnum,
                  const char *format, ...)
{
    LogLimitClass *own = &limit->classes[class];
    int64_t now = g_get_monotonic_time();
    g_autoptr(GString) text = NULL;
    va_list args;

    g_return_if_fail(class < limit->count);
    if (level > limit->most) {
        return;
    }
    if ((own->last_us != 0 && now - own->last_us < LOGLIMIT_INTERVAL_US) ||
        !rate_admits(&limit->rate, kind == FAULT_REFUSED ? LOGLIMIT_REFUSED : LOGLIMIT_LINES,
                     now)) {
        own->since++;
        limit->left_out++;
        return;
    }
    text = g_string_new(NULL);
    va_start(args, format);
    g_string_vprintf(text, format, args);
    va_end(args);
    if (own->since > 0) {
        g_string_append_printf(text, " (and %" G_GUINT64_FORMAT " more like it before)",
                               own->since);
    }
    own->last_us = now;
    own->since = 0;
    limit->func(level, kind, errnum, text->str, limit->user_data);
}
