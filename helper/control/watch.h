/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_CONTROL_WATCH_H
#define SALLYPORT_CONTROL_WATCH_H

#include <stdint.h>

#include <glib.h>

/* One fd and one deadline, as one source of a main loop. */
typedef struct Watch Watch;

/* @condition: what there is of the fd; 0: the deadline has passed, and is off. May free the watch. */
typedef void (*WatchFunc)(GIOCondition condition, void *user_data);

/* @fd is borrowed; it is not looked at, and there is no deadline, until one of the calls below. */
Watch *watch_new(GMainContext *context, int fd, WatchFunc func, void *user_data);
void watch_free(Watch *watch);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Watch, watch_free)

/* Which of G_IO_IN and G_IO_OUT to wait for; G_IO_HUP and G_IO_ERR always come. */
void watch_for(Watch *watch, GIOCondition condition);
/* Nothing of the fd is seen, hang-ups included. */
void watch_pause(Watch *watch);
/* Milliseconds from now; -1: none. */
void watch_deadline(Watch *watch, int64_t after_ms);

#endif
