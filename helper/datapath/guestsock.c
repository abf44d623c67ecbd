/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * guestsock.c - asking the process inside for sockets
 *
 * Does:     sends requests, at most GUESTSOCK_WINDOW unanswered ones, the rest waits here; matches replies by id.
 * Runs in:  the datapath, on the loop thread.
 * Trusts:   the process inside to answer each request once. A reply to nothing is dropped, its fd closed.
 * Limits:   GUESTSOCK_WINDOW: both queues of the connection hold that many, and fds in flight stay few (unix(7):
 *           ETOOMANYREFS counts them against RLIMIT_NOFILE of the user).
 */
#include "config.h"

#include "guestsock.h"

#include <errno.h>
#include <unistd.h>

#include <glib-unix.h>

#include "../message.h"
#include "poller.h"

/* Then the kernel is asked again for what it had no room for. */
#define GUESTSOCK_RETRY_US 10000

#define GUESTSOCK_WINDOW 32

typedef struct GuestSockWait {
    GList link; /* in unsent */
    bool sent;
    MessageSocketRequest request;
    GuestSockFunc done; /* NULL: cancelled */
    void *user_data;
} GuestSockWait;

struct GuestSock {
    int sock;
    GSource *source;
    uint64_t last_id;
    unsigned sent;       /* requests without a reply */
    GHashTable *waiting; /* id -> GuestSockWait, sent or not */
    GQueue unsent;       /* GuestSockWait, borrowed from waiting */
    Timer *retry;
    bool broken;
    GuestSockCounters counters;
    GuestSockFastPathFunc fast_path;
    void *fast_path_data;
};

static void guestsock_finish(GuestSock *gs, GuestSockWait *wait, int fd)
{
    GuestSockFunc done = wait->done;
    void *user_data = wait->user_data;

    (void)g_hash_table_remove(gs->waiting, &wait->request.id);
    if (done != NULL) {
        done(fd, user_data);
    } else if (fd >= 0) {
        (void)close(fd);
    }
}

static void guestsock_pump(GuestSock *gs)
{
    while (!gs->broken && gs->sent < GUESTSOCK_WINDOW && !g_queue_is_empty(&gs->unsent)) {
        GuestSockWait *wait = g_queue_peek_head(&gs->unsent);

        int failed = message_send(gs->sock, &wait->request, NULL, 0);

        if (failed == -EAGAIN) {
            timer_set(gs->retry, g_get_monotonic_time() + GUESTSOCK_RETRY_US);
            return;
        }
        if (failed != 0) {
            /* It has ended; so will we, as soon as the supervisor has seen it. */
            gs->broken = true;
            return;
        }
        g_queue_unlink(&gs->unsent, &wait->link);
        wait->sent = true;
        gs->sent++;
    }
}

/* TimerFunc */
static void guestsock_retry(void *user_data)
{
    guestsock_pump(user_data);
}

static void guestsock_reply(GuestSock *gs, const MessageSocketReply *reply, int fd)
{
    GuestSockWait *wait = g_hash_table_lookup(gs->waiting, &reply->id);

    if (wait == NULL || !wait->sent) {
        /* Nothing was asked under that number: the other end is not what it should be. */
        if (fd >= 0) {
            (void)close(fd);
        }
        gs->broken = true;
        return;
    }
    gs->sent--;
    if (wait->request.source == MESSAGE_SOURCE_CLIENT && fd >= 0) {
        gs->counters.as_gateway += reply->source == MESSAGE_SOURCE_GATEWAY;
        gs->counters.other_port += reply->source == MESSAGE_SOURCE_CLIENT && reply->other_port;
    }
    guestsock_finish(gs, wait, fd);
}

static gboolean guestsock_readable(gint sock, GIOCondition condition, gpointer user_data)
{
    GuestSock *gs = user_data;

    (void)condition;
    for (unsigned i = 0; i < GUESTSOCK_WINDOW; i++) {
        Message message;
        int fds[MESSAGE_FDS_MAX];
        size_t count;
        int got = message_recv(sock, &message, fds, &count);

        if (got == -EAGAIN) {
            break;
        }
        if (got == -EMFILE && message.type == MESSAGE_SOCKET_REPLY) {
            guestsock_reply(gs, &message.socket_reply, -EMFILE);
        } else if (got == 1 && message.type == MESSAGE_SOCKET_REPLY) {
            guestsock_reply(gs, &message.socket_reply,
                            count == 1 ? fds[0] : -message.socket_reply.errnum);
        } else if (got == -EMFILE && message.type == MESSAGE_FAST_PATH) {
            message.fast_path.errnum = EMFILE;
            gs->fast_path(&message.fast_path, NULL, 0, gs->fast_path_data);
        } else if (got == 1 && message.type == MESSAGE_FAST_PATH) {
            gs->fast_path(&message.fast_path, fds, count, gs->fast_path_data);
        } else {
            gs->broken = true;
            return G_SOURCE_REMOVE;
        }
    }
    guestsock_pump(gs);
    return G_SOURCE_CONTINUE;
}

GuestSock *guestsock_new(int take_sock, GMainContext *context, GuestSockFastPathFunc fast_path,
                         void *user_data)
{
    GuestSock *gs = g_new0(GuestSock, 1);

    gs->fast_path = fast_path;
    gs->fast_path_data = user_data;
    gs->sock = take_sock;
    gs->waiting = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    g_queue_init(&gs->unsent);
    gs->retry = timer_new(context, guestsock_retry, gs);
    gs->source = g_unix_fd_source_new(take_sock, G_IO_IN | G_IO_HUP | G_IO_ERR);
    g_source_set_callback(gs->source, G_SOURCE_FUNC(guestsock_readable), gs, NULL);
    poller_attach_source(gs->source, context);
    return gs;
}

bool guestsock_repair(GuestSock *gs, MessageRepairWhat what)
{
    MessageRepair request = {.type = MESSAGE_REPAIR, .what = what};
    int failed = gs->broken ? 0 : message_send(gs->sock, &request, NULL, 0);

    gs->broken |= failed != 0 && failed != -EAGAIN;
    return failed != -EAGAIN;
}

void guestsock_free(GuestSock *gs)
{
    if (gs == NULL) {
        return;
    }
    g_source_destroy(gs->source);
    g_source_unref(gs->source);
    timer_free(gs->retry);
    g_hash_table_unref(gs->waiting); /* the links of unsent are in them */
    (void)close(gs->sock);
    g_free(gs);
}

const GuestSockCounters *guestsock_counters(const GuestSock *gs)
{
    return &gs->counters;
}

uint64_t guestsock_request(GuestSock *gs, const MessageSocketRequest *request, GuestSockFunc done,
                           void *user_data)
{
    GuestSockWait *wait = g_new0(GuestSockWait, 1);
    uint64_t id = ++gs->last_id;

    wait->request = *request;
    wait->request.type = MESSAGE_SOCKET_REQUEST;
    wait->request.id = id;
    wait->done = done;
    wait->user_data = user_data;
    (void)g_hash_table_insert(gs->waiting, &wait->request.id, wait);
    wait->link.data = wait;
    g_queue_push_tail_link(&gs->unsent, &wait->link);
    guestsock_pump(gs);
    return id;
}

void guestsock_cancel(GuestSock *gs, uint64_t id)
{
    GuestSockWait *wait = id == 0 ? NULL : g_hash_table_lookup(gs->waiting, &id);

    if (wait == NULL) {
        return;
    }
    if (wait->sent) {
        wait->done = NULL; /* its reply is still to come */
        return;
    }
    g_queue_unlink(&gs->unsent, &wait->link);
    (void)g_hash_table_remove(gs->waiting, &id);
}
