/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_LISTENS_H
#define SALLYPORT_DATAPATH_LISTENS_H

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

#include "../message.h"
#include "answers.h"
#include "forward.h"

/* What the supervisor asks about published ports, and what it is answered. */
typedef struct Listens Listens;

/* @answers, @context: borrowed. */
Listens *listens_new(Answers *answers, GMainContext *context);

/* Takes the fds of a MESSAGE_LISTEN and answers it; before listens_begin() they are only kept. @errnum: they got lost on the way. */
void listens_take(Listens *listens, const MessageListen *listen, const int *take_fds, size_t count,
                  int errnum);

/* Hands over what was kept; @forward, borrowed, gets the rest at once. False with @error set (FAULT_PUBLISH). */
bool listens_begin(Listens *listens, Forward *forward, GError **error);

/* Answers a MESSAGE_UNLISTEN when it is done, which may take some rounds of the loop. False: nothing has begun yet. */
bool listens_remove(Listens *listens, const MessageUnlisten *unlisten);

#endif
