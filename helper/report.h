/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_REPORT_H
#define SALLYPORT_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>
#include <jansson.h>

#include "fault.h"
#include "settings.h"

typedef struct Report Report;

/**
 * report_new() - the last word, from the first on
 * @fd:    the --report-fd, borrowed, or -1: then the same events go to stderr as readable lines
 * @level: log records above it are left out
 *
 * From now on SIGPIPE is ignored: a reader that goes away ends nothing.
 *
 * Never fails and never blocks: a pipe is opened anew through /proc/self/fd so that O_NONBLOCK is not set on the
 * description the parent shares; a socket is written with MSG_DONTWAIT; where neither works (no /proc), each
 * write waits for POLLOUT first, which for a pipe promises PIPE_BUF bytes of room (pipe(7)), and no record is longer.
 */
Report *report_new(int fd, LogLevel level);
void report_free(Report *report);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Report, report_free)

/* Without a report fd: of all events only error and log become lines. */
void report_set_plain(Report *report);

/* Records that wait are written from @context when the reader reads on. */
void report_attach(Report *report, GMainContext *context);

/* One record. @take_body: its keys less v, event, time and seq; a record that would pass 4096 bytes loses its "message"
 * (cut) and is then dropped as if the queue were full. */
void report_event(Report *report, const char *event, json_t *take_body);

/* One error record, and its line on stderr. @take_extra: more keys, or NULL. */
void report_error(Report *report, const GError *error, json_t *take_extra);

/* One log record, if the level is wanted. @errnum 0 for none. */
void report_log(Report *report, LogLevel level, FaultKind kind, int errnum, const char *format, ...)
    G_GNUC_PRINTF(5, 6);

/* What is worth a record from now on. */
void report_set_level(Report *report, LogLevel level);

/* May one more line of a child be written now? Else it counts as lost. The children keep to limits of their own, but not one in an
 * attacker's hands, nor lines that have waited for us to run: RATE_MAX a second shall not fill the parent's disk. */
bool report_admits(Report *report);

/* The last record. @line: (optional) what to say on stderr as well: an end nobody wished for. */
void report_exit(Report *report, const char *line, json_t *take_body);

/* What a user typed, as it may stand in a record beside other keys: valid, without control characters, 512 bytes at most. g_free(). */
char *report_cut(const char *text);

/* Was a record that is no log dropped because the reader does not read? Start-up fails then. */
bool report_overflowed(const Report *report);

/* Waits until everything is written, the reader is gone, or @timeout_ms have passed. */
void report_drain(Report *report, int timeout_ms);

#endif
