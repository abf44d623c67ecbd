/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_CHILDREN_H
#define SALLYPORT_CHILDREN_H

#include <stdbool.h>
#include <sys/types.h>

#include <glib.h>

#include "message.h"

/* A child process of the supervisor, by pidfd, and the connection to it. */
typedef struct Child Child;

/**
 * struct ChildHooks - what the supervisor wants to know of a child; copied
 * @message: one message; @fds are the callee's
 * @broken:  it sent what is no message, or -EMFILE lost fds: -errno. Nothing more is read
 * @drained: (optional) everything that child_send() had to keep is sent
 * @ended:   it was reaped; all its messages were handed out before. @wstatus: waitpid(2). Called once
 */
typedef struct ChildHooks {
    void (*message)(Child *child, const Message *message, int *fds, size_t count, void *user_data);
    void (*broken)(Child *child, int error, void *user_data);
    void (*ended)(Child *child, int wstatus, void *user_data);
    void (*drained)(Child *child, void *user_data);
    void *user_data;
} ChildHooks;

/* @take_sock: -1 if there is no connection. NULL with @error set (FAULT_INTERNAL): the process is killed and reaped then. */
Child *child_new(pid_t pid, int take_sock, GMainContext *context, const ChildHooks *hooks,
                 GError **error);
/* Ends the connection and gives it that time to clear up and end by itself; child_free() still has to follow. */
void child_dismiss(Child *child, int timeout_ms);
/* Kills it if it lives, and reaps it: its fds are closed when this returns. */
void child_free(Child *child);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Child, child_free)

/* message_send(), but what does not fit now is kept (fds duplicated) and sent in order when it does. @size: of the message. Returns 0 or
 * -errno; -EPIPE of a child that has ended. child_is_behind(): something is being kept. */
int child_send(Child *child, const void *message, size_t size, const int *fds, size_t count);
bool child_is_behind(const Child *child);

int child_sock(const Child *child);
pid_t child_pid(const Child *child);
/* By pidfd, so it cannot hit another process. */
void child_signal(Child *child, int number);

#endif
