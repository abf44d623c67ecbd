/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_ANSWERS_H
#define SALLYPORT_DATAPATH_ANSWERS_H

#include <stddef.h>

#include <glib.h>

/* What the datapath owes the supervisor. */
typedef struct Answers Answers;

/* @sock: the connection to the supervisor; borrowed. */
Answers *answers_new(int sock, GMainContext *context);
void answers_free(Answers *answers);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Answers, answers_free)

/* Sends a message without fds, @size bytes of it. Never waits: what does not fit now is sent in order when it does. It is lost if
 * ANSWERS_MAX wait already, which a supervisor that asks a few things at a time never sees, or if the supervisor has ended. */
#define ANSWERS_MAX 64
void answers_send(Answers *answers, const void *message, size_t size);

#endif
