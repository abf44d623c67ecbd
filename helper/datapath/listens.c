/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * listens.c - the supervisor's messages about published ports
 *
 * Does:     keeps listeners until the datapath begins, hands them to forward, answers.
 * Runs in:  the datapath, on the loop thread.
 * Trusts:   the supervisor.
 * Owns:     the listeners that wait.
 * Not here: clients (forward.c).
 */
#include "config.h"

#include "listens.h"

#include <errno.h>
#include <string.h>

#include "../fault.h"
#include "poller.h"

typedef struct Listen {
    MessageListen message;
    int fds[MESSAGE_FDS_MAX];
    size_t count;
} Listen;

struct Listens {
    Answers *answers;
    Forward *forward;   /* NULL: not begun */
    GPtrArray *waiting; /* Listen */
    GMainContext *context;
    GQueue removing; /* MessageUnlisten; the first one is at work */
    GSource *source; /* as long as there is one */
};

Listens *listens_new(Answers *answers, GMainContext *context)
{
    Listens *listens = g_new0(Listens, 1);

    listens->answers = answers;
    listens->context = context;
    g_queue_init(&listens->removing);
    listens->waiting = g_ptr_array_new_with_free_func(g_free);
    return listens;
}

void listens_take(Listens *listens, const MessageListen *listen, const int *take_fds, size_t count,
                  int errnum)
{
    MessageListening answer = {
        .type = MESSAGE_LISTENING, .publication = listen->publication, .errnum = errnum};

    if (errnum == 0 && listens->forward != NULL) {
        answer.errnum = -forward_add(listens->forward, listen, take_fds, count);
    } else if (errnum == 0) {
        Listen *wait = g_new0(Listen, 1);

        wait->message = *listen;
        wait->count = count;
        memcpy(wait->fds, take_fds, count * sizeof(int));
        g_ptr_array_add(listens->waiting, wait);
    }
    answers_send(listens->answers, &answer, sizeof(answer));
}

bool listens_begin(Listens *listens, Forward *forward, GError **error)
{
    for (guint i = 0; i < listens->waiting->len; i++) {
        Listen *wait = g_ptr_array_index(listens->waiting, i);
        int failed = forward_add(forward, &wait->message, wait->fds, wait->count);

        if (failed != 0) {
            fault_set(error, FAULT_PUBLISH, -failed, "watching published ports: %s%s",
                      g_strerror(-failed),
                      failed == -ENOSPC ? " (sysctl fs.epoll.max_user_watches)" : "");
            return false;
        }
    }
    g_ptr_array_set_size(listens->waiting, 0);
    listens->forward = forward;
    return true;
}

/* A piece; the loop looks at frames between them. False: there is nothing left to do. */
static bool listens_go_on(Listens *listens)
{
    MessageUnlisten *first = g_queue_peek_head(&listens->removing);
    MessageUnlistened answer = {MESSAGE_UNLISTENED, first->publication};

    if (forward_remove(listens->forward, first->publication, first->cut)) {
        answers_send(listens->answers, &answer, sizeof(answer));
        g_free(g_queue_pop_head(&listens->removing));
    }
    return !g_queue_is_empty(&listens->removing);
}

static gboolean listens_turn(gpointer user_data)
{
    Listens *listens = user_data;

    if (listens_go_on(listens)) {
        return G_SOURCE_CONTINUE;
    }
    g_clear_pointer(&listens->source, g_source_unref);
    return G_SOURCE_REMOVE;
}

bool listens_remove(Listens *listens, const MessageUnlisten *unlisten)
{
    if (listens->forward == NULL) {
        return false;
    }
    g_queue_push_tail(&listens->removing, g_memdup2(unlisten, sizeof(*unlisten)));
    if (listens->source == NULL && listens_go_on(listens)) {
        listens->source = g_timeout_source_new(0);
        g_source_set_callback(listens->source, listens_turn, listens, NULL);
        poller_attach_source(listens->source, listens->context);
    }
    return true;
}
