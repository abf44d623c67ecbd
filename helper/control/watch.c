/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * watch.c - an fd and a deadline in one source of the main loop
 *
 * Does:     saves the many sources that a client with changing wishes would need otherwise.
 * Runs in:  the supervisor.
 * Not here: what happens then (clients.c).
 */
#include "config.h"

#include "watch.h"

struct Watch {
    GSource source; /* first, so that it is one */
    int fd;
    gpointer tag; /* NULL: the fd is not looked at */
    WatchFunc func;
    void *user_data;
};

/* GSourceFuncs.dispatch: the fd first; a deadline that passed meanwhile is seen next time. */
static gboolean watch_dispatch(GSource *source, GSourceFunc unused, gpointer user_data)
{
    Watch *watch = (Watch *)source;
    GIOCondition condition = watch->tag != NULL ? g_source_query_unix_fd(source, watch->tag) : 0;

    (void)unused;
    (void)user_data;
    if (condition == 0) {
        g_source_set_ready_time(source, -1);
    }
    watch->func(condition, watch->user_data);
    return G_SOURCE_CONTINUE; /* watch_free() has destroyed it, if it is to go */
}

static GSourceFuncs watch_funcs = {.dispatch = watch_dispatch};

Watch *watch_new(GMainContext *context, int fd, WatchFunc func, void *user_data)
{
    Watch *watch = (Watch *)g_source_new(&watch_funcs, sizeof(Watch));

    watch->fd = fd;
    watch->func = func;
    watch->user_data = user_data;
    g_source_attach(&watch->source, context);
    return watch;
}

void watch_free(Watch *watch)
{
    if (watch != NULL) {
        g_source_destroy(&watch->source);
        g_source_unref(&watch->source);
    }
}

void watch_for(Watch *watch, GIOCondition condition)
{
    if (watch->tag != NULL) {
        g_source_modify_unix_fd(&watch->source, watch->tag, condition | G_IO_HUP | G_IO_ERR);
    } else {
        watch->tag =
            g_source_add_unix_fd(&watch->source, watch->fd, condition | G_IO_HUP | G_IO_ERR);
    }
}

void watch_pause(Watch *watch)
{
    if (watch->tag != NULL) {
        g_source_remove_unix_fd(&watch->source, watch->tag);
        watch->tag = NULL;
    }
}

void watch_deadline(Watch *watch, int64_t after_ms)
{
    g_source_set_ready_time(&watch->source, after_ms < 0 ? -1
                                                         : g_get_monotonic_time() +
                                                               after_ms * (G_USEC_PER_SEC / 1000));
}
