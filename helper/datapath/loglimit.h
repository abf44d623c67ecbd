/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_LOGLIMIT_H
#define SALLYPORT_DATAPATH_LOGLIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "../fault.h"
#include "../settings.h"

/* Log lines whose causes are the guest's or the network's: one of each class in five seconds, and eight of all in one, however
 * often they come. */
typedef struct LogLimit LogLimit;

typedef void (*LogLimitFunc)(LogLevel level, FaultKind kind, int errnum, const char *text,
                             void *user_data);

/* @classes: how many there are, numbered from 0; @most: lines above that level are nobody's wish. */
LogLimit *loglimit_new(unsigned classes, LogLevel most, LogLimitFunc func, void *user_data);
void loglimit_free(LogLimit *limit);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogLimit, loglimit_free)

/* From now on. */
void loglimit_set_most(LogLimit *limit, LogLevel most);
/* Is a line of that level anybody's wish? For those who would first have to make its text. */
bool loglimit_wants(const LogLimit *limit, LogLevel level);

/* Lines that were wanted, and left out because there were too many. */
uint64_t loglimit_left_out(const LogLimit *limit);

/* A line that comes after others were left out says how many. */
void loglimit_say(LogLimit *limit, unsigned class, LogLevel level, FaultKind kind, int errnum,
                  const char *format, ...) G_GNUC_PRINTF(6, 7);

#endif
