/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * answers.c - answers to the supervisor that never hold up a packet
 *
 * Does:     sends messages in order; keeps those for which the connection has no room now, because the supervisor is slow and
 *           log lines fill it.
 * Runs in:  the datapath, on the loop thread.
 * Trusts:   the supervisor to ask for little at a time.
 * Owns:     what waits.
 * Limits:   ANSWERS_MAX messages.
 * Why not message_send_patiently(): after "ready" frames wait for nobody.
 */
#include "config.h"

#include "answers.h"

#include <errno.h>
#include <glib-unix.h>

#include "../message.h"
#include "poller.h"

struct Answers {
    int sock;
    GMainContext *context;
    GQueue waiting; /* of Message, as long as its type says */
    GSource *source;
};

Answers *answers_new(int sock, GMainContext *context)
{
    Answers *answers = g_new0(Answers, 1);

    answers->sock = sock;
    answers->context = context;
    g_queue_init(&answers->waiting);
    return answers;
}

static void answers_unwatch(Answers *answers)
{
    if (answers->source != NULL) {
        g_source_destroy(answers->source);
        g_source_unref(answers->source);
        answers->source = NULL;
    }
}

void answers_free(Answers *answers)
{
    if (answers == NULL) {
        return;
    }
    answers_unwatch(answers);
    g_queue_clear_full(&answers->waiting, g_free);
    g_free(answers);
}

static gboolean answers_writable(gint fd, GIOCondition condition, gpointer user_data)
{
    Answers *answers = user_data;

    (void)condition;
    while (!g_queue_is_empty(&answers->waiting)) {
        if (message_send(fd, g_queue_peek_head(&answers->waiting), NULL, 0) == -EAGAIN) {
            return G_SOURCE_CONTINUE;
        }
        /* Sent, or there is nobody left to send it to. */
        g_free(g_queue_pop_head(&answers->waiting));
    }
    answers_unwatch(answers);
    return G_SOURCE_REMOVE;
}

void answers_send(Answers *answers, const void *message, size_t size)
{
    if (g_queue_is_empty(&answers->waiting) &&
        message_send(answers->sock, message, NULL, 0) != -EAGAIN) {
        return;
    }
    if (g_queue_get_length(&answers->waiting) >= ANSWERS_MAX) {
        return;
    }
    g_queue_push_tail(&answers->waiting, g_memdup2(message, size));
    if (answers->source == NULL) {
        answers->source = g_unix_fd_source_new(answers->sock, G_IO_OUT);
        g_source_set_callback(answers->source, G_SOURCE_FUNC(answers_writable), answers, NULL);
        poller_attach_source(answers->source, answers->context);
    }
}
