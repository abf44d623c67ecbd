/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * link.c - whole frames between the guest's interface and the datapath
 *
 * Does:     reads frames in batches; writes frames; notices that the interface is gone.
 * Runs in:  the datapath, on the loop thread.
 * Trusts:   nothing: a frame goes to its reader (gate) with its length and no more.
 * Limits:   LINK_BATCH frames per wake-up, so that the guest cannot keep the loop from everything else.
 */
#include "config.h"

#include "link.h"

#include <errno.h>
#include <unistd.h>

#include <glib-unix.h>

#include "../scratch.h"
#include "frame.h"
#include "poller.h"

#define LINK_BATCH 64

struct Link {
    int fd;
    GSource *source;
    LinkHooks hooks;
    Pcap *pcap; /* or NULL */
    LinkCounters counters;
    uint8_t buffer[FRAME_MAX + 1]; /* one byte more than is taken shows that a frame is too long */
};

static gboolean link_readable(gint fd, GIOCondition condition, gpointer user_data)
{
    Link *link = user_data;

    (void)condition;
    for (unsigned i = 0; i < LINK_BATCH; i++) {
        ssize_t len = read(fd, link->buffer, sizeof(link->buffer));

        if (len > 0) {
            link->counters.from_guest++;
            if (link->pcap != NULL) {
                pcap_frame(link->pcap, link->buffer, (size_t)len); /* as it came */
            }
            link->hooks.frame(link->buffer, (size_t)len, link->hooks.user_data);
        } else if (len < 0 && (errno == EAGAIN || errno == EINTR || errno == EIO)) {
            /* EIO: the interface is down (drivers/net/tun.c); it may come up again. */
            return G_SOURCE_CONTINUE;
        } else {
            /* EBADFD: tun_get() found no device behind the file, so it was deleted. */
            link->hooks.gone(link->hooks.user_data);
            return G_SOURCE_REMOVE;
        }
    }
    return G_SOURCE_CONTINUE;
}

Link *link_new(int take_fd, GMainContext *context, const LinkHooks *hooks)
{
    Link *link = NEW0_UP_TO(Link, buffer);

    link->fd = take_fd;
    link->hooks = *hooks;
    link->source = g_unix_fd_source_new(take_fd, G_IO_IN | G_IO_ERR | G_IO_HUP);
    g_source_set_callback(link->source, G_SOURCE_FUNC(link_readable), link, NULL);
    poller_attach_source(link->source, context);
    return link;
}

void link_free(Link *link)
{
    if (link == NULL) {
        return;
    }
    g_source_destroy(link->source);
    g_source_unref(link->source);
    (void)close(link->fd);
    g_free(link);
}

void link_send(Link *link, const void *frame, size_t len)
{
    ssize_t done;

    if (link->pcap != NULL) {
        pcap_frame(link->pcap, frame,
                   len); /* before: what the guest has seen is on record, whatever ends us */
    }
    do {
        done = write(link->fd, frame, len);
    } while (done < 0 && errno == EINTR);
    link->counters.dropped += done < 0;
    link->counters.to_guest += done >= 0;
}

void link_set_pcap(Link *link, Pcap *pcap)
{
    link->pcap = pcap;
}

const LinkCounters *link_counters(const Link *link)
{
    return &link->counters;
}
