/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_RECORD_H
#define SALLYPORT_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "lockdown/role.h"
#include "message.h"
#include "settings.h"

/* Of the three processes (LockdownHeld); @insecure: --insecure-no-lockdown. */
typedef struct RecordLocked {
    uint32_t held[ROLES];
    bool insecure;
} RecordLocked;

/* The keys of the ready record. @published: number of port maps. The caller's to json_decref(). */
json_t *record_ready(const Settings *settings, const MessageLink *link,
                     const MessageFastPathState *fast_path, const RecordLocked *locked,
                     unsigned published);

/* What to tell people of an end nobody wished for, by its SALLYPORT_REASON_*; NULL for all other ends. @signal_name: what killed the
 * process that ended, or NULL, then @status is its exit status. g_free(). */
char *record_exit_line(const Settings *settings, const char *reason, int status,
                       const char *signal_name);

/* "SIGKILL", or "SIGRTMIN+6" for what has no name. g_free(). */
char *record_signal_name(int number);

#endif
