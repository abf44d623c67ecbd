/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * poller.c - one epoll instance on the main loop, and one-shot timers
 *
 * Does:     hands epoll events to the watches' callbacks; fires timers at absolute times.
 * Runs in:  the datapath, on the loop thread.
 * Owns:     the epoll fd. Watches belong to their owners, their fds too.
 * Limits:   POLLER_BATCH events per wake-up, so that one busy room cannot starve the link.
 * Why:      GLib polls with poll(2), whose cost grows with every listener; epoll's does not.
 */
#include "config.h"

#include "poller.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <glib.h>

#define POLLER_BATCH 128

struct Poller {
    GSource *source;
    int epoll_fd;
    /* Events of the batch being dispatched: poller_remove() clears those of the watch it removes. */
    struct epoll_event *batch;
    int batch_count;
};

typedef struct PollerSource {
    GSource base;
    Poller *poller;
    gpointer tag;
} PollerSource;

static gboolean poller_check(GSource *source)
{
    PollerSource *self = (PollerSource *)source;

    return g_source_query_unix_fd(source, self->tag) != 0;
}

static gboolean poller_dispatch(GSource *source, GSourceFunc callback, gpointer user_data)
{
    Poller *poller = ((PollerSource *)source)->poller;
    struct epoll_event batch[POLLER_BATCH];
    int count = epoll_wait(poller->epoll_fd, batch, POLLER_BATCH, 0);

    (void)callback;
    (void)user_data;
    poller->batch = batch;
    poller->batch_count = count;
    for (int i = 0; i < count; i++) {
        PollerWatch *watch = batch[i].data.ptr;

        if (watch != NULL) {
            watch->func(batch[i].events, watch->user_data);
        }
    }
    poller->batch = NULL;
    poller->batch_count = 0;
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs poller_funcs = {
    .check = poller_check,
    .dispatch = poller_dispatch,
};

void poller_attach_source(GSource *source, GMainContext *context)
{
    /* One that may not recurse loses its fds before each dispatch and gets them back after it, and each of the two writes to
     * the loop's eventfd, so that it turns once more for nothing (glib/gmain.c: g_main_dispatch(), block_source()). Nothing
     * here runs the loop from within, so there is nothing to recurse into. */
    g_source_set_can_recurse(source, TRUE);
    (void)g_source_attach(source, context);
}

Poller *poller_new(GMainContext *context, GError **error)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    Poller *poller;

    if (fd < 0) {
        int saved = errno;

        g_set_error(error, G_FILE_ERROR, (gint)g_file_error_from_errno(saved), "epoll_create1: %s",
                    g_strerror(saved));
        return NULL;
    }
    poller = g_new0(Poller, 1);
    poller->epoll_fd = fd;
    poller->source = g_source_new(&poller_funcs, sizeof(PollerSource));
    ((PollerSource *)poller->source)->poller = poller;
    ((PollerSource *)poller->source)->tag = g_source_add_unix_fd(poller->source, fd, G_IO_IN);
    poller_attach_source(poller->source, context);
    return poller;
}

void poller_free(Poller *poller)
{
    if (poller == NULL) {
        return;
    }
    g_source_destroy(poller->source);
    g_source_unref(poller->source);
    (void)close(poller->epoll_fd);
    g_free(poller);
}

int poller_add(Poller *poller, PollerWatch *watch, int fd, uint32_t events, PollerFunc func,
               void *user_data)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};

    g_return_val_if_fail(!watch->active, -EINVAL);
    if (epoll_ctl(poller->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        return -errno;
    }
    *watch = (PollerWatch){.fd = fd, .active = true, .func = func, .user_data = user_data};
    return 0;
}

void poller_modify(Poller *poller, PollerWatch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};

    g_return_if_fail(watch->active);
    /* Cannot fail: the fd is in the set, and MOD allocates nothing. */
    (void)epoll_ctl(poller->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
}

void poller_remove(Poller *poller, PollerWatch *watch)
{
    if (!watch->active) {
        return;
    }
    (void)epoll_ctl(poller->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    for (int i = 0; i < poller->batch_count; i++) {
        if (poller->batch[i].data.ptr == watch) {
            poller->batch[i].data.ptr = NULL;
        }
    }
    watch->active = false;
}

void poller_pause(Poller *poller, bool paused)
{
    PollerSource *source = (PollerSource *)poller->source;

    g_source_modify_unix_fd(poller->source, source->tag, paused ? 0 : G_IO_IN);
}

struct Timer {
    GSource *source;
    int64_t at_us; /* negative: not armed */
    TimerFunc func;
    void *user_data;
};

typedef struct TimerSource {
    GSource base;
    Timer *timer;
} TimerSource;

/* Not by g_source_set_ready_time(), which writes to an eventfd, so that the loop turns once more (glib/gmain.c): timers are set for
 * every packet, and only on the loop's own thread. */
static gboolean timer_prepare(GSource *source, gint *timeout_ms)
{
    const Timer *timer = ((TimerSource *)source)->timer;
    int64_t left_us = timer->at_us < 0 ? -1 : timer->at_us - g_source_get_time(source);

    *timeout_ms = -1;
    if (timer->at_us >= 0) {
        *timeout_ms = (gint)CLAMP((left_us + 999) / 1000, 0, G_MAXINT);
    }
    return timer->at_us >= 0 && left_us <= 0;
}

static gboolean timer_check(GSource *source)
{
    const Timer *timer = ((TimerSource *)source)->timer;

    return timer->at_us >= 0 && timer->at_us <= g_source_get_time(source);
}

static gboolean timer_dispatch(GSource *source, GSourceFunc callback, gpointer user_data)
{
    Timer *timer = ((TimerSource *)source)->timer;

    (void)callback;
    (void)user_data;
    timer->at_us = -1;
    timer->func(timer->user_data);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs timer_funcs = {
    .prepare = timer_prepare,
    .check = timer_check,
    .dispatch = timer_dispatch,
};

Timer *timer_new(GMainContext *context, TimerFunc func, void *user_data)
{
    Timer *timer = g_new0(Timer, 1);

    timer->at_us = -1;
    timer->func = func;
    timer->user_data = user_data;
    timer->source = g_source_new(&timer_funcs, sizeof(TimerSource));
    ((TimerSource *)timer->source)->timer = timer;
    poller_attach_source(timer->source, context);
    return timer;
}

void timer_free(Timer *timer)
{
    if (timer == NULL) {
        return;
    }
    g_source_destroy(timer->source);
    g_source_unref(timer->source);
    g_free(timer);
}

void timer_set(Timer *timer, int64_t at_us)
{
    timer->at_us = at_us;
}
