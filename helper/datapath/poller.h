/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_POLLER_H
#define SALLYPORT_DATAPATH_POLLER_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

typedef struct Poller Poller;

/* @events: EPOLL* bits. The callback may remove any watch, its own included, and may close its fd after that. */
typedef void (*PollerFunc)(uint32_t events, void *user_data);

/**
 * struct PollerWatch - one fd being watched; embedded in its owner, who must remove it before freeing itself
 *
 * An all-zero PollerWatch is "not watching". The fields are the poller's own.
 */
typedef struct PollerWatch {
    int fd;
    bool active;
    PollerFunc func;
    void *user_data;
} PollerWatch;

/* One epoll instance behind one GSource of @context: 10,000 idle listeners cost a wake-up nothing. @context is
 * borrowed. NULL with @error set (G_FILE_ERROR) if epoll_create1() fails. */
Poller *poller_new(GMainContext *context, GError **error);
void poller_free(Poller *poller);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Poller, poller_free)

/* Returns 0 or -errno (ENOMEM, ENOSPC, EPERM of epoll_ctl(2)). @events may hold EPOLLET. */
int poller_add(Poller *poller, PollerWatch *watch, int fd, uint32_t events, PollerFunc func,
               void *user_data);
void poller_modify(Poller *poller, PollerWatch *watch, uint32_t events);
/* Safe on a watch that is not active, and inside callbacks: an event already fetched for it is dropped. */
void poller_remove(Poller *poller, PollerWatch *watch);

/* While paused nothing is dispatched and nothing wakes the process; what is ready then is seen when it goes on. */
void poller_pause(Poller *poller, bool paused);

/* Attaches a source that never runs the loop from its callback, so that its dispatch costs no system calls of GLib's. */
void poller_attach_source(GSource *source, GMainContext *context);

/* A one-shot timer on the same context. All times in microseconds of g_get_monotonic_time(). */
typedef struct Timer Timer;
typedef void (*TimerFunc)(void *user_data);

Timer *timer_new(GMainContext *context, TimerFunc func, void *user_data);
void timer_free(Timer *timer);
/* (Re)arms for the absolute time @at_us; a negative value disarms. The callback may arm again, not free. */
void timer_set(Timer *timer, int64_t at_us);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Timer, timer_free)

#endif
